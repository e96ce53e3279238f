/* bluelake views: answers kept ready, listed, shown and renewed. */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "query/views.h"

static const char *data = "data", *format_name;
static int64_t memory, threads;
static bool json, raw, refresh;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default \"data\")", 0, 0},
    {"refresh", OPT_FLAG, &refresh, NULL, "read new files and renew all views first", 0, 0},
    {"format", OPT_TEXT, &format_name, "FORMAT", "table, csv or ndjson (default: table on a terminal, else csv)", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "the same as --format ndjson", 0, 0},
    {"raw", OPT_FLAG, &raw, NULL, "CSV without the guard against spreadsheet formulas", 0, 0},
    {"threads", OPT_INT, &threads, "N", "threads of DuckDB (default 1)", 1, 256},
    {"memory", OPT_BYTES, &memory, "SIZE", "memory of DuckDB (default 256m)", 0, 0},
    CMD_END};

static const struct cmd_spec spec = {
    "views", "[NAME]", "trends and rankings, kept ready",
    "Without NAME lists the views: what each says and how fresh it is. With NAME shows it. A refresh reads only files "
    "that no\n"
    "refresh has read before; \"now\" is the newest event in the lake. docs/VIEWS.md defines each view.\n\n"
    "Examples:\n"
    "  bluelake views --refresh\n"
    "  bluelake views trending_hashtags_daily\n"
    "  bluelake views most_liked --json | jq -r .uri\n",
    options};

static enum bl_rc renew(struct bl_error *err) {
    struct views_refresh_options o = {.lake_dir = data, .force = true, .memory_bytes = memory, .threads = (int)threads};
    struct views_refresh_stats stats;
    BL_TRY(views_refresh(&o, &stats, err));
    fprintf(stderr, "%zu view%s renewed from %zu new file%s in %" PRId64 " ms (%zu known already)\n",
            stats.views_renewed, stats.views_renewed == 1 ? "" : "s", stats.files_read,
            stats.files_read == 1 ? "" : "s", (stats.elapsed_us + 999) / 1000, stats.files_known);
    return BL_OK;
}

static enum bl_rc give_info(const struct view_info *info, const struct query_sink *sink, struct bl_error *err) {
    char refreshed[BL_TIME_TEXT_MAX], as_of[BL_TIME_TEXT_MAX], stale[24], rows[24];
    bool known = info->stale_us >= 0;
    snprintf(stale, sizeof stale, "%" PRId64, info->stale_us / 1000000);
    snprintf(rows, sizeof rows, "%" PRId64, info->rows);
    const struct bl_str cells[] = {bl_str(info->name),
                                   bl_str(info->title),
                                   bl_str(info->cadence),
                                   known ? bl_str(bl_format_time(info->refreshed_us, 0, refreshed))
                                         : (struct bl_str){0},
                                   known ? bl_str(bl_format_time(info->as_of_us, 0, as_of)) : (struct bl_str){0},
                                   known ? bl_str(stale) : (struct bl_str){0},
                                   bl_str(rows),
                                   bl_str(info->definition)};
    return sink->row(sink->context, cells, sizeof cells / sizeof cells[0], err);
}

static enum bl_rc list(struct views *v, const struct query_sink *sink, struct bl_error *err) {
    static const struct query_column columns[] = {
        {"name", QUERY_TEXT},  {"title", QUERY_TEXT},           {"cadence", QUERY_TEXT}, {"refreshed_at", QUERY_TEXT},
        {"as_of", QUERY_TEXT}, {"stale_seconds", QUERY_NUMBER}, {"rows", QUERY_NUMBER},  {"definition", QUERY_TEXT}};
    BL_TRY(sink->columns(sink->context, columns, sizeof columns / sizeof columns[0], err));
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        BL_TRY(views_info(v, i, &info, &exists, err));
        if (!exists) return BL_OK;
        BL_TRY(give_info(&info, sink, err));
    }
}

static enum bl_rc run(const char *name, enum cmd_format format, struct bl_error *err) {
    if (refresh) BL_TRY(renew(err));
    BL_CLEANUP(views_close) struct views *v = NULL;
    BL_TRY(views_open(data, &v, err));
    struct cmd_sink_state *state = cmd_sink_new(stdout, format, raw);
    struct query_sink sink = cmd_sink(state);
    enum bl_rc rc = name ? views_answer(v, name, &sink, NULL, err) : list(v, &sink, err);
    cmd_sink_end(&state);
    return rc;
}

int cmd_views(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (argc - first > 1) return cmd_usage_error("views", "give one view at most");
    enum cmd_format format;
    rc = cmd_output_format("views", format_name, json, &format);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    if (run(first < argc ? argv[first] : NULL, format, &err) != BL_OK) return cmd_fail("views", &err);
    return cmd_finish_output("views");
}
