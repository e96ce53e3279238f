#include "lake/reader.h"

#include <stdlib.h>

/* Room for the items of one list column; lists of one row must stand side by side, so every column has its own. */
struct items {
    struct bl_str *p;
    size_t max;
};

struct scan_state {
    const struct ev_schema *schema;
    uint64_t wanted;
    struct items items[EV_COLS_MAX];
};

static bool wants(const struct scan_state *s, unsigned column) { return s->wanted >> column & 1; }

/* --- The statement --- */

static void quoted(struct bl_buf *sql, const char *name) { bl_buf_printf(sql, "\"%s\"", name); }

static void source_of_version(const struct ev_schema *schema, int version, struct bl_buf *sql) {
    bl_buf_z(sql, "SELECT ");
    for (unsigned c = 0; c < schema->count; c++) {
        if (c) bl_buf_z(sql, ", ");
        if (schema->columns[c].since > version) bl_buf_z(sql, "NULL AS ");
        quoted(sql, schema->columns[c].name);
    }
    bl_buf_z(sql, " FROM read_parquet(?, hive_partitioning = false)");
}

static void select_list(const struct scan_state *s, struct bl_buf *sql) {
    const char *comma = "SELECT ";
    for (unsigned c = 0; c < s->schema->count; c++) {
        if (!wants(s, c)) continue;
        bl_buf_z(sql, comma);
        quoted(sql, s->schema->columns[c].name);
        comma = ", ";
    }
}

/* One read_parquet for each schema version among the files: a column that came later is null in older files. */
struct sources {
    struct bl_buf sql;
    struct duck_bind binds[EV_SCHEMA_VERSION + 2];
    size_t bind_count;
    struct bl_str *paths;
};

static void release_sources(struct sources *s, size_t path_count) {
    for (size_t i = 0; i < path_count; i++) free((char *)(uintptr_t)s->paths[i].p);
    free(s->paths);
    bl_buf_release(&s->sql);
}

static void add_version(const struct lake_scan *scan, int version, struct bl_str *paths, struct sources *out) {
    size_t n = 0;
    for (size_t i = 0; i < scan->file_count; i++)
        if (scan->files[i].schema_version == version)
            paths[n++] = bl_str(bl_xasprintf("%s/%s", scan->lake_dir, scan->files[i].path));
    if (n == 0) return;
    if (out->bind_count) bl_buf_z(&out->sql, " UNION ALL ");
    source_of_version(ev_schema(scan->type), version, &out->sql);
    out->binds[out->bind_count++] = (struct duck_bind){.kind = DUCK_LIST, .items = paths, .count = n};
}

static void write_sources(const struct lake_scan *scan, const struct scan_state *s, struct sources *out) {
    select_list(s, &out->sql);
    bl_buf_z(&out->sql, " FROM (");
    struct bl_str *paths = out->paths;
    for (int version = 1; version <= EV_SCHEMA_VERSION; version++) {
        add_version(scan, version, paths, out);
        for (size_t i = 0; i < scan->file_count; i++) paths += scan->files[i].schema_version == version;
    }
    bl_buf_z(&out->sql, ")");
    if (scan->from_us || scan->to_us) {
        bl_buf_z(&out->sql, " WHERE time_us BETWEEN ? AND ?");
        out->binds[out->bind_count++] = (struct duck_bind){.kind = DUCK_I64, .i = scan->from_us};
        out->binds[out->bind_count++] = (struct duck_bind){.kind = DUCK_I64, .i = scan->to_us};
    }
    if (scan->ordered)
        bl_buf_z(&out->sql, scan->type == EV_accounts ? " ORDER BY time_us, did, seq" : " ORDER BY time_us, did, rkey");
}

static enum bl_rc check_files(const struct lake_scan *scan, struct bl_error *err) {
    for (size_t i = 0; i < scan->file_count; i++) {
        const struct catalog_file *f = &scan->files[i];
        BL_ASSERT(f->type == scan->type);
        if (f->schema_version < 1 || f->schema_version > EV_SCHEMA_VERSION)
            return bl_fail(err, BL_E_USAGE,
                           "%s has schema version %d, this bluelake knows up to %d: use a newer bluelake", f->path,
                           f->schema_version, EV_SCHEMA_VERSION);
    }
    return BL_OK;
}

/* --- Rows --- */

static struct ev_list read_list(const struct duck_result *r, unsigned at, size_t row, struct items *room) {
    size_t n = duck_list(r, at, row, room->p, room->max);
    if (n > room->max) {
        room->max = n + room->max;
        room->p = bl_xrealloc(room->p, room->max * sizeof *room->p);
        n = duck_list(r, at, row, room->p, room->max);
    }
    return (struct ev_list){room->p, n};
}

static void read_value(struct scan_state *s, const struct duck_result *r, unsigned at, size_t row, unsigned column,
                       struct event *ev) {
    switch (s->schema->columns[column].kind) {
    case EV_STR:
    case EV_JSON: ev->v[column].s = duck_text(r, at, row); break;
    case EV_I64:
    case EV_TIME:
    case EV_BOOL: ev->v[column].i = duck_i64(r, at, row); break;
    case EV_LIST: ev->v[column].list = read_list(r, at, row, &s->items[column]); break;
    }
    ev->has |= (uint64_t)1 << column;
}

static void read_row(struct scan_state *s, const struct duck_result *r, size_t row, struct event *ev) {
    ev->has = 0;
    for (unsigned c = 0, at = 0; c < s->schema->count; c++) {
        if (!wants(s, c)) continue;
        if (!duck_is_null(r, at, row)) read_value(s, r, at, row, c, ev);
        at++;
    }
}

/* A column of another type would be read as something it is not. */
static enum bl_rc check_kinds(const struct scan_state *s, const struct duck_result *r, struct bl_error *err) {
    static const enum duck_kind wanted[] = {[EV_STR] = DUCK_TEXT,          [EV_JSON] = DUCK_TEXT,
                                            [EV_I64] = DUCK_I64,           [EV_BOOL] = DUCK_BOOL,
                                            [EV_TIME] = DUCK_TIMESTAMP_US, [EV_LIST] = DUCK_LIST};
    for (unsigned c = 0, at = 0; c < s->schema->count; c++) {
        if (!wants(s, c)) continue;
        if (duck_column_kind(r, at++) != wanted[s->schema->columns[c].kind])
            return bl_fail(err, BL_E_CORRUPT, "column %s of the %s files has an unexpected type",
                           s->schema->columns[c].name, s->schema->name);
    }
    return BL_OK;
}

static enum bl_rc read_all(struct scan_state *s, enum ev_type type, struct duck_result *r, lake_row_fn row,
                           void *context, struct bl_error *err) {
    BL_TRY(check_kinds(s, r, err));
    struct event ev = {.type = type};
    for (;;) {
        size_t rows = 0;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            read_row(s, r, i, &ev);
            BL_TRY(row(context, &ev, err));
        }
    }
}

static enum bl_rc ask(struct duck *d, const struct lake_scan *scan, struct scan_state *s, struct duck_result **out,
                      struct bl_error *err) {
    struct sources sources = {.paths = bl_xcalloc(scan->file_count, sizeof(struct bl_str))};
    write_sources(scan, s, &sources);
    enum bl_rc rc = bl_buf_check(&sources.sql, "a statement", err);
    if (rc == BL_OK) rc = duck_query(d, bl_buf_cstr(&sources.sql), sources.binds, sources.bind_count, out, err);
    release_sources(&sources, scan->file_count);
    return rc;
}

static enum bl_rc open_duck(const struct lake_scan *scan, struct duck **out, struct bl_error *err) {
    /* Only sorting needs to spill, and only writers of the lake sort. */
    BL_CLEANUP(bl_freep) char *temp = scan->ordered ? bl_xasprintf("%s/.staging", scan->lake_dir) : NULL;
    struct duck_options o = {.memory_bytes = scan->memory_bytes ? scan->memory_bytes : 512 << 20,
                             .threads = scan->threads ? scan->threads : 1,
                             .temp_dir = temp};
    return duck_open(&o, out, err);
}

enum bl_rc lake_scan_rows(const struct lake_scan *scan, lake_row_fn row, void *context, struct bl_error *err) {
    if (scan->file_count == 0) return BL_OK;
    BL_TRY(check_files(scan, err));
    struct scan_state s = {.schema = ev_schema(scan->type), .wanted = scan->columns ? scan->columns : ~(uint64_t)0};
    BL_CLEANUP(duck_close) struct duck *own = NULL;
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    enum bl_rc rc = scan->duck ? BL_OK : open_duck(scan, &own, err);
    if (rc == BL_OK) rc = ask(own ? own : scan->duck, scan, &s, &r, err);
    if (rc == BL_OK) rc = read_all(&s, scan->type, r, row, context, err);
    for (unsigned c = 0; c < EV_COLS_MAX; c++) free(s.items[c].p);
    return rc;
}
