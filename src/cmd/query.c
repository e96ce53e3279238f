/* bluelake query: one SQL statement over the lake. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "cmd/cmd.h"
#include "cmd/ask.h"

static const char *data = "data", *format_name, *file;
static int64_t memory, threads, deadline;
static bool json, raw;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default \"data\")", 0, 0},
    {"file", OPT_TEXT, &file, "FILE", "read the statement from FILE (\"-\": standard input)", 0, 0},
    {"format", OPT_TEXT, &format_name, "FORMAT", "table, csv or ndjson (default: table on a terminal, else csv)", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "the same as --format ndjson", 0, 0},
    {"raw", OPT_FLAG, &raw, NULL, "CSV without the guard against spreadsheet formulas", 0, 0},
    {"threads", OPT_INT, &threads, "N", "threads of DuckDB (default 2)", 1, 256},
    {"memory", OPT_BYTES, &memory, "SIZE", "memory of DuckDB (default 1g)", 0, 0},
    {"deadline", OPT_DURATION, &deadline, "TIME", "give up after TIME (default 30s)", 0, 0},
    CMD_END};

static const struct cmd_spec spec = {
    "query", "SQL", "ask the lake in SQL",
    "One read-only statement of DuckDB's SQL. There is one view a type: posts, likes, reposts, follows, blocks, "
    "profiles,\n"
    "accounts, others; `events` holds the common columns of all of them, `records` what accounts made (record_type "
    "post, like,\n"
    "repost, follow, block). Each has year, month, day, hour and date of the moment Jetstream witnessed the event, "
    "UTC; a\n"
    "condition on these opens only the files it needs.\n\n"
    "Examples:\n"
    "  bluelake query 'DESCRIBE posts'\n"
    "  bluelake query \"SELECT hour, count(*) FROM posts WHERE date = '2026-11-21' GROUP BY hour ORDER BY hour\"\n"
    "  bluelake query --json \"SELECT author, text FROM records WHERE record_type = 'post' LIMIT 10\"\n"
    "  bluelake query --format csv 'SELECT tag, count(*) AS posts FROM (SELECT unnest(hashtags) AS tag FROM posts)\n"
    "    GROUP BY tag ORDER BY posts DESC LIMIT 20'\n",
    options};

int cmd_output_format(const char *command, const char *name, bool as_json, enum cmd_format *out) {
    *out = as_json ? FORMAT_NDJSON : isatty(STDOUT_FILENO) ? FORMAT_TABLE : FORMAT_CSV;
    if (name && as_json && strcmp(name, "ndjson") != 0 && strcmp(name, "json") != 0)
        return cmd_usage_error(command, "--json and --format %s contradict each other", name);
    if (name && !cmd_format_by_name(name, out))
        return cmd_usage_error(command, "--format: \"%s\" is none of table, csv, ndjson", name);
    return -1;
}

void cmd_say_snapshot(const struct query *q) {
    fflush(stdout);
    fprintf(stderr, "snapshot %" PRId64 "\n", query_snapshot(q));
}

static enum bl_rc read_statement(struct bl_buf *sql, struct bl_error *err) {
    enum { STATEMENT_MAX = 1 << 20 };
    return bl_read_file(strcmp(file, "-") == 0 ? "/dev/stdin" : file, STATEMENT_MAX, sql, err);
}

static enum bl_rc run(struct bl_str sql, enum cmd_format format, struct bl_error *err) {
    struct query_options o = {
        .lake_dir = data, .memory_bytes = memory, .threads = (int)threads, .deadline_us = deadline};
    BL_CLEANUP(query_close) struct query *q = NULL;
    BL_TRY(query_open(&o, &q, err));
    struct cmd_sink_state *state = cmd_sink_new(stdout, format, raw);
    struct query_sink sink = cmd_sink(state);
    enum bl_rc rc = query_sql(q, sql, &sink, err);
    cmd_sink_end(&state);
    if (rc == BL_OK) cmd_say_snapshot(q);
    return rc;
}

int cmd_query(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (argc - first != (file ? 0 : 1))
        return cmd_usage_error("query",
                               file ? "both --file and a statement are given" : "give one SQL statement, in quotes");
    enum cmd_format format;
    rc = cmd_output_format("query", format_name, json, &format);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    if (file && read_statement(&sql, &err) != BL_OK) return cmd_fail("query", &err);
    if (run(file ? bl_buf_view(&sql) : bl_str(argv[first]), format, &err) != BL_OK) return cmd_fail("query", &err);
    return cmd_finish_output("query");
}
