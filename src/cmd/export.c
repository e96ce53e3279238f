#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "lake/reader.h"

static const char *data = "data", *format_name = "ndjson", *type_name;
static int64_t since_us, until_us = INT64_MAX;
static bool raw;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default: data)", 0, 0},
    {"format", OPT_TEXT, &format_name, "ndjson|csv",
     "ndjson: events as Jetstream sent them; csv: the columns of one type", 0, 0},
    {"type", OPT_TEXT, &type_name, "TYPE",
     "posts, likes, reposts, follows, blocks, profiles, accounts or others (default: all)", 0, 0},
    {"since", OPT_TIME, &since_us, "TIME", "from this time on (time_us, UTC)", 0, 0},
    {"until", OPT_END_TIME, &until_us, "TIME", "up to this time, inclusive", 0, 0},
    {"raw", OPT_FLAG, &raw, NULL, "csv: leave cells that start like a formula (= + - @) as they are", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {"export", "", "events as they were received",
                                     "ndjson: one Jetstream event a line, equal value for value to the one received, "
                                     "CIDs recomputed; hour by hour, within an hour type by type in\n"
                                     "the order of time_us. The output is complete only if the exit code is 0.\n\n"
                                     "Examples:\n  bluelake export --since 2026-11-20 --until 2026-11-20 > day.ndjson\n"
                                     "  bluelake export --type posts --format csv > posts.csv\n",
                                     options};

static enum bl_rc print_event(void *context, const struct event *ev, struct bl_error *err) {
    struct bl_buf *out = context;
    bl_buf_clear(out);
    BL_TRY(ev_encode(ev, out, err));
    bl_buf_byte(out, '\n');
    BL_TRY(bl_buf_check(out, "an event", err));
    if (fwrite(out->p, 1, out->n, stdout) == out->n) return BL_OK;
    return bl_fail_errno(err, BL_E_IO, "cannot write the output");
}

/* One type's files of one hour: the newest come first in the list, the oldest hour is wanted first. */
static enum bl_rc export_files(const struct catalog_file *files, size_t count, struct bl_buf *out,
                               struct bl_error *err) {
    struct lake_scan scan = {.lake_dir = data,
                             .type = files[0].type,
                             .files = files,
                             .file_count = count,
                             .from_us = since_us,
                             .to_us = until_us,
                             .ordered = true};
    return lake_scan_rows(&scan, print_event, out, err);
}

static int by_hour_and_type(const void *a, const void *b) {
    const struct catalog_file *x = a, *y = b;
    if (x->hour_us != y->hour_us) return x->hour_us < y->hour_us ? -1 : 1;
    if (x->type != y->type) return x->type < y->type ? -1 : 1;
    return (x->min_us > y->min_us) - (x->min_us < y->min_us);
}

static enum bl_rc export_ndjson(enum ev_type type, struct bl_error *err) {
    struct catalog *c = NULL;
    struct catalog_file *files = NULL;
    size_t count = 0;
    BL_TRY(catalog_open(data, CATALOG_READ, &c, err));
    enum bl_rc rc = catalog_files(c, type, since_us, until_us, &files, &count, err);
    if (count) qsort(files, count, sizeof *files, by_hour_and_type);
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    for (size_t from = 0, to; from < count && rc == BL_OK; from = to) {
        to = from + 1;
        while (to < count && files[to].hour_us == files[from].hour_us && files[to].type == files[from].type) to++;
        rc = export_files(files + from, to - from, &out, err);
    }
    free(files);
    catalog_close(&c);
    return rc;
}

/* The type name comes from our own table, the times are numbers: nothing of the user's stands in this SQL. */
static enum bl_rc export_csv(enum ev_type type, struct bl_error *err) {
    struct query_options o = {.lake_dir = data, .deadline_us = INT64_MAX / 4};
    struct query *q = NULL;
    BL_TRY(query_open(&o, &q, err));
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql,
                  "SELECT * FROM %s WHERE time_us BETWEEN %" PRId64 " AND %" PRId64 " ORDER BY time_us, did, rkey",
                  ev_schema(type)->name, since_us, until_us);
    struct cmd_sink_state *state = cmd_sink_new(stdout, FORMAT_CSV, raw);
    struct query_sink sink = cmd_sink(state);
    enum bl_rc rc = query_sql(q, bl_buf_view(&sql), &sink, err);
    cmd_sink_end(&state);
    query_close(&q);
    return rc;
}

int cmd_export(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    enum ev_type type = EV_TYPE_COUNT;
    if (type_name && strcmp(type_name, "all") != 0 && !ev_type_by_name(bl_str(type_name), &type))
        return cmd_usage_error(spec.name, "--type: \"%s\" is no type", type_name);
    bool csv = strcmp(format_name, "csv") == 0;
    if (!csv && strcmp(format_name, "ndjson") != 0)
        return cmd_usage_error(spec.name, "--format: \"%s\" is neither ndjson nor csv", format_name);
    if (csv && type == EV_TYPE_COUNT)
        return cmd_usage_error(spec.name, "--format csv needs --type: each type has its own columns");
    if (until_us < since_us) return cmd_usage_error(spec.name, "--until lies before --since");
    struct bl_error err = {0};
    enum bl_rc done = csv ? export_csv(type, &err) : export_ndjson(type, &err);
    return done == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}
