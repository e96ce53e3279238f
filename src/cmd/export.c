#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "cmd/receipt.h"
#include "lake/event_file.h"
#include "lake/reader.h"

static const char *data = "data", *format_name = "ndjson", *type_name;
static int64_t since_us, until_us = INT64_MAX;
static bool raw;

static const struct cmd_option options[] = {
    {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default: data)", 0, 0},
    {"format", OPT_TEXT, &format_name, "ndjson|csv|parquet",
     "ndjson: events as Jetstream sent them; csv, parquet: the columns of one type", 0, 0},
    {"type", OPT_TEXT, &type_name, "TYPE",
     "posts, likes, reposts, follows, blocks, profiles, accounts or others (default: all)", 0, 0},
    {"since", OPT_TIME, &since_us, "TIME", "from this time on (time_us, UTC)", 0, 0},
    {"until", OPT_END_TIME, &until_us, "TIME", "up to this time, inclusive", 0, 0},
    {"raw", OPT_FLAG, &raw, NULL, "csv: leave cells that start like a formula (= + - @) as they are", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {
    "export", "", "events as they were received",
    "ndjson: one Jetstream event a line, equal value for value to the one received, "
    "CIDs recomputed; hour by hour, within an hour type by type in\n"
    "the order of time_us. The output is complete only if the exit code is 0; then stderr says how "
    "many rows and bytes it has, and its SHA-256.\n\n"
    "Examples:\n  bluelake export --since 2026-11-20 --until 2026-11-20 > day.ndjson\n"
    "  bluelake export --type posts --format csv > posts.csv\n"
    "  bluelake export --type likes --format parquet > likes.parquet\n",
    options};

/* What an export is made of: where it goes, what of, how many rows it has. */
struct export {
    struct receipt *receipt;
    enum ev_type type;
    int64_t rows;
    struct bl_buf line;            /* ndjson */
    struct pq_writer *writer;      /* parquet */
    const struct query_sink *sink; /* csv */
};

/* One type's files of one hour. */
static enum bl_rc scan_files(const struct catalog_file *files, size_t count, lake_row_fn row, struct export *e,
                             struct bl_error *err) {
    struct lake_scan scan = {.lake_dir = data,
                             .type = files[0].type,
                             .files = files,
                             .file_count = count,
                             .from_us = since_us,
                             .to_us = until_us,
                             .ordered = true};
    return lake_scan_rows(&scan, row, e, err);
}

/* The newest come first in the list, the oldest hour is wanted first. */
static int by_hour_and_type(const void *a, const void *b) {
    const struct catalog_file *x = a, *y = b;
    if (x->hour_us != y->hour_us) return x->hour_us < y->hour_us ? -1 : 1;
    if (x->type != y->type) return x->type < y->type ? -1 : 1;
    return (x->min_us > y->min_us) - (x->min_us < y->min_us);
}

static enum bl_rc scan_lake(struct export *e, lake_row_fn row, struct bl_error *err) {
    struct catalog *c = NULL;
    struct catalog_file *files = NULL;
    size_t count = 0;
    BL_TRY(catalog_open(data, CATALOG_READ, &c, err));
    enum bl_rc rc = catalog_files(c, e->type, since_us, until_us, &files, &count, err);
    if (count) qsort(files, count, sizeof *files, by_hour_and_type);
    for (size_t from = 0, to; from < count && rc == BL_OK; from = to) {
        to = from + 1;
        while (to < count && files[to].hour_us == files[from].hour_us && files[to].type == files[from].type) to++;
        rc = scan_files(files + from, to - from, row, e, err);
    }
    free(files);
    catalog_close(&c);
    return rc;
}

/* --- ndjson --- */

static enum bl_rc print_event(void *context, const struct event *ev, struct bl_error *err) {
    struct export *e = context;
    bl_buf_clear(&e->line);
    BL_TRY(ev_encode(ev, &e->line, err));
    bl_buf_byte(&e->line, '\n');
    BL_TRY(bl_buf_check(&e->line, "an event", err));
    e->rows++;
    if (fwrite(e->line.p, 1, e->line.n, receipt_file(e->receipt)) == e->line.n) return BL_OK;
    return bl_fail_errno(err, BL_E_IO, "cannot write the output");
}

static enum bl_rc export_ndjson(struct export *e, struct bl_error *err) {
    enum bl_rc rc = scan_lake(e, print_event, err);
    bl_buf_release(&e->line);
    return rc;
}

/* --- parquet --- */

static enum bl_rc add_row(void *context, const struct event *ev, struct bl_error *err) {
    struct export *e = context;
    e->rows++;
    return event_file_append(e->writer, ev, err);
}

static enum bl_rc export_parquet(struct export *e, struct bl_error *err) {
    struct pq_summary summary;
    e->writer = event_file_open(receipt_fd(e->receipt), e->type, &(struct pq_options){.codec = PQ_ZSTD});
    enum bl_rc rc = scan_lake(e, add_row, err);
    if (rc == BL_OK) rc = event_file_finish(e->writer, e->type, &summary, err);
    pq_close(&e->writer);
    return rc;
}

/* --- csv --- */

static enum bl_rc count_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    struct export *e = context;
    e->rows++;
    return e->sink->row(e->sink->context, values, count, err);
}

static enum bl_rc pass_columns(void *context, const struct query_column *columns, size_t count, struct bl_error *err) {
    const struct export *e = context;
    return e->sink->columns(e->sink->context, columns, count, err);
}

/* The type name comes from our own table, the times are numbers: nothing of the user's stands in this SQL. */
static enum bl_rc export_csv(struct export *e, struct bl_error *err) {
    struct query_options o = {.lake_dir = data, .deadline_us = INT64_MAX / 4};
    struct query *q = NULL;
    BL_TRY(query_open(&o, &q, err));
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql,
                  "SELECT * FROM %s WHERE time_us BETWEEN %" PRId64 " AND %" PRId64 " ORDER BY time_us, did, rkey",
                  ev_schema(e->type)->name, since_us, until_us);
    struct cmd_sink_state *state = cmd_sink_new(receipt_file(e->receipt), FORMAT_CSV, raw);
    struct query_sink printed = cmd_sink(state), counted = {pass_columns, count_row, e};
    e->sink = &printed;
    enum bl_rc rc = query_sql(q, bl_buf_view(&sql), &counted, err);
    cmd_sink_end(&state);
    query_close(&q);
    return rc;
}

/* --- all of them --- */

static const struct format {
    const char *name;
    enum bl_rc (*run)(struct export *e, struct bl_error *err);
    bool one_type;
} formats[] = {{"ndjson", export_ndjson, false}, {"csv", export_csv, true}, {"parquet", export_parquet, true}};

static const struct format *format_named(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(name, formats[i].name) == 0) return &formats[i];
    return NULL;
}

/* A result that is not whole gets no receipt. */
static int export(const struct format *format, enum ev_type type) {
    struct bl_error err = {0}, closing = {0};
    struct export e = {.type = type};
    char sha256[RECEIPT_SHA256_TEXT];
    int64_t bytes;
    if (receipt_open(&e.receipt, &err) != BL_OK) return cmd_fail(spec.name, &err);
    enum bl_rc rc = format->run(&e, &err), closed = receipt_close(&e.receipt, &bytes, sha256, &closing);
    if (closed != BL_OK) return cmd_fail(spec.name, &closing);
    if (rc != BL_OK) return cmd_fail(spec.name, &err);
    fprintf(stderr, "%" PRId64 " rows, %" PRId64 " bytes, SHA-256 %s\n", e.rows, bytes, sha256);
    return 0;
}

int cmd_export(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    enum ev_type type = EV_TYPE_COUNT;
    if (type_name && strcmp(type_name, "all") != 0 && !ev_type_by_name(bl_str(type_name), &type))
        return cmd_usage_error(spec.name, "--type: \"%s\" is no type", type_name);
    const struct format *format = format_named(format_name);
    if (!format) return cmd_usage_error(spec.name, "--format: \"%s\" is none of ndjson, csv, parquet", format_name);
    if (format->one_type && type == EV_TYPE_COUNT)
        return cmd_usage_error(spec.name, "--format %s needs --type: each type has its own columns", format_name);
    if (until_us < since_us) return cmd_usage_error(spec.name, "--until lies before --since");
    if (strcmp(format_name, "parquet") == 0 && isatty(STDOUT_FILENO))
        return cmd_usage_error(spec.name, "--format parquet: a terminal cannot show it; add > FILE");
    return export(format, type);
}
