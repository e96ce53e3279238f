/* bluelake stats: the figures of one day. */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/ask.h"

static const char *data = "data";
static int64_t memory, threads, deadline;
static bool json;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default \"data\")", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "one JSON object", 0, 0},
    {"threads", OPT_INT, &threads, "N", "threads of DuckDB (default 2)", 1, 256},
    {"memory", OPT_BYTES, &memory, "SIZE", "memory of DuckDB (default 1g)", 0, 0},
    {"deadline", OPT_DURATION, &deadline, "TIME", "give up after TIME (default 30s)", 0, 0},
    CMD_END};

static const struct cmd_spec spec = {"stats", "DATE", "posts, authors and events of one day",
                                     "The day is the one Jetstream witnessed the events on, UTC. Posts are counted as "
                                     "they were created; their length is in\n"
                                     "characters (Unicode code points). Only the day's files are read.\n\n"
                                     "Examples:\n"
                                     "  bluelake stats 2026-11-21\n"
                                     "  bluelake stats --json 2026-11-21 | jq .unique_authors\n",
                                     options};

struct count {
    char type[32];
    int64_t events;
};
struct counts {
    struct count items[16];
    size_t n;
};

static enum bl_rc ignore_columns(void *context, const struct query_column *columns, size_t count,
                                 struct bl_error *err) {
    (void)context, (void)columns, (void)count, (void)err;
    return BL_OK;
}

static enum bl_rc take_count(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    struct counts *c = context;
    struct count *item = &c->items[c->n];
    if (count != 2 || c->n == sizeof c->items / sizeof c->items[0] ||
        !bl_parse_i64(values[1], 0, INT64_MAX, &item->events))
        return bl_fail(err, BL_E_INTERNAL, "the counts per type came back in an unexpected form");
    snprintf(item->type, sizeof item->type, "%.*s", BL_ARG(values[0]));
    c->n++;
    return BL_OK;
}

/* `date` has been through bl_format_time: digits and dashes. */
static enum bl_rc count_types(struct query *q, const char *date, struct counts *counts, struct bl_error *err) {
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT type, count(*) FROM events WHERE date = DATE '%s' GROUP BY type ORDER BY type",
             date);
    struct query_sink sink = {ignore_columns, take_count, counts};
    return query_sql(q, bl_str(sql), &sink, err);
}

static void print_people(const char *date, const struct query_daily_stats *day, const struct counts *counts) {
    char text[BL_TIME_TEXT_MAX];
    printf("%s (UTC)\n", date);
    printf("  %-18s %15s\n", "total posts", bl_format_count(day->total_posts, text));
    printf("  %-18s %15s\n", "unique authors", bl_format_count(day->unique_authors, text));
    printf("  %-18s %15.1f characters\n", "avg post length", day->avg_post_length);
    printf("events\n");
    for (size_t i = 0; i < counts->n; i++)
        printf("  %-18s %15s\n", counts->items[i].type, bl_format_count(counts->items[i].events, text));
    if (counts->n == 0) printf("  none: the lake holds nothing of this day\n");
    printf("%zu file%s of posts read\n", day->files_read, day->files_read == 1 ? "" : "s");
}

static void print_json(const char *date, const struct query_daily_stats *day, const struct counts *counts) {
    printf("{\"date\":\"%s\",\"total_posts\":%" PRId64 ",\"unique_authors\":%" PRId64 ",\"avg_post_length\":%.6g,"
           "\"files_read\":%zu,\"events\":{",
           date, day->total_posts, day->unique_authors, day->avg_post_length, day->files_read);
    for (size_t i = 0; i < counts->n; i++)
        printf("%s\"%s\":%" PRId64, i ? "," : "", counts->items[i].type, counts->items[i].events);
    printf("}}\n");
}

static enum bl_rc run(int64_t day_us, struct bl_error *err) {
    struct query_options o = {
        .lake_dir = data, .memory_bytes = memory, .threads = (int)threads, .deadline_us = deadline};
    BL_CLEANUP(query_close) struct query *q = NULL;
    BL_TRY(query_open(&o, &q, err));
    char date[BL_TIME_TEXT_MAX];
    bl_format_time(day_us, 0, date);
    date[strlen("YYYY-MM-DD")] = 0;
    struct query_daily_stats day;
    struct counts counts = {0};
    BL_TRY(query_daily_stats(q, day_us, &day, err));
    BL_TRY(count_types(q, date, &counts, err));
    (json ? print_json : print_people)(date, &day, &counts);
    cmd_say_snapshot(q);
    return BL_OK;
}

int cmd_stats(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (argc - first != 1) return cmd_usage_error("stats", "give one date, such as 2026-11-21");
    int64_t day_us;
    if (!bl_parse_time(bl_str(argv[first]), false, &day_us))
        return cmd_usage_error("stats", "\"%s\" is not a date such as 2026-11-21", argv[first]);
    struct bl_error err = {0};
    if (run(day_us, &err) != BL_OK) return cmd_fail("stats", &err);
    return cmd_finish_output("stats");
}
