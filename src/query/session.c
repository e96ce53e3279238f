#include "query/session.h"

#include "query/hidden.h"
#include "query/names.h"
#include "query/views_store.h"

#include <inttypes.h>
#include <stdlib.h>

enum { DEADLINE_DEFAULT_US = 30000000 };

static void forget_files(struct query *q) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        free(q->files[t].files);
        q->files[t] = (struct file_list){0};
    }
}

void query_close(struct query **query) {
    struct query *q = *query;
    if (!q) return;
    watchdog_stop(&q->watchdog);
    if (q->duck) duck_close(&q->duck);
    if (q->catalog) catalog_close(&q->catalog);
    forget_files(q);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) free(q->stored[t].ids);
    hidden_close(&q->hidden);
    people_close(&q->people);
    index_close(&q->index);
    store_close(&q->store);
    free(q->dir);
    free(q);
    *query = NULL;
}

/* DuckDB takes these for patterns in a path. */
static enum bl_rc check_folder(const char *dir, struct bl_error *err) {
    if (!strpbrk(dir, "*?[")) return BL_OK;
    return bl_fail(err, BL_E_USAGE, "the lake's folder name holds one of * ? [, which cannot be queried: %s", dir);
}

static enum bl_rc open_parts(struct query *q, const struct query_options *o, struct bl_error *err) {
    BL_TRY(check_folder(o->lake_dir, err));
    BL_TRY(catalog_open(o->lake_dir, CATALOG_READ, &q->catalog, err));
    struct duck_options options = {
        .confine_to = o->lake_dir, .memory_bytes = o->memory_bytes, .threads = o->threads, .temp_dir = o->temp_dir};
    BL_TRY(duck_open(&options, &q->duck, err));
    BL_TRY(watchdog_start(q->duck, &q->watchdog, err));
    return query_refresh(q, err);
}

enum bl_rc query_open(const struct query_options *o, struct query **out, struct bl_error *err) {
    struct query *q = bl_xcalloc(1, sizeof *q);
    q->dir = bl_xstrdup(o->lake_dir);
    q->deadline_us = o->deadline_us ? o->deadline_us : DEADLINE_DEFAULT_US;
    q->snapshot = q->views_snapshot = q->store_generation = -1;
    q->index = index_open(o->lake_dir);
    q->threads = o->threads ? o->threads : 2;
    q->resolver = o->resolver;
    q->patient = o->patient;
    enum bl_rc rc = open_parts(q, o, err);
    if (rc == BL_OK)
        *out = q;
    else
        query_close(&q);
    return rc;
}

static int newest_first(const void *a, const void *b) {
    const struct catalog_file *x = a, *y = b;
    if (x->max_us != y->max_us) return x->max_us > y->max_us ? -1 : 1;
    return (x->id < y->id) - (x->id > y->id);
}

static enum bl_rc read_files(struct query *q, struct file_list into[EV_TYPE_COUNT], struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        BL_TRY(catalog_files(q->catalog, (enum ev_type)t, INT64_MIN, INT64_MAX, &into[t].files, &into[t].count, err));
        if (into[t].count) qsort(into[t].files, into[t].count, sizeof *into[t].files, newest_first);
    }
    return BL_OK;
}

/* The lists of all types have to be of one snapshot; a commit in between means reading them again. */
enum bl_rc query_refresh(struct query *q, struct bl_error *err) {
    enum { ATTEMPTS = 10 };
    struct catalog_totals before, after;
    BL_TRY(catalog_totals(q->catalog, &before, err));
    if (before.snapshot == q->snapshot) return BL_OK;
    for (int i = 0; i < ATTEMPTS; i++) {
        struct file_list lists[EV_TYPE_COUNT] = {0};
        enum bl_rc rc = read_files(q, lists, err);
        if (rc == BL_OK) rc = catalog_totals(q->catalog, &after, err);
        if (rc == BL_OK && after.snapshot == before.snapshot) {
            forget_files(q);
            memcpy(q->files, lists, sizeof lists);
            q->snapshot = after.snapshot;
            return BL_OK;
        }
        for (unsigned t = 0; t < EV_TYPE_COUNT; t++) free(lists[t].files);
        BL_TRY(rc);
        before = after;
    }
    return bl_fail(err, BL_E_BUSY, "the catalogue changed %d times while it was read: try again", ATTEMPTS);
}

int64_t query_snapshot(const struct query *q) {
    return q->snapshot;
}

void query_cancel(struct query *q) {
    watchdog_cancel(q->watchdog);
}

static void add_quoted(struct bl_buf *sql, const char *text) {
    for (; *text; text++) {
        if (*text == '\'') bl_buf_byte(sql, '\'');
        bl_buf_byte(sql, *text);
    }
}

void session_add_files(const struct query *q, struct bl_buf *sql, const struct catalog_file *const *files, size_t count,
                       bool hive) {
    bl_buf_z(sql, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        bl_buf_z(sql, i ? ", '" : "'");
        add_quoted(sql, q->dir);
        bl_buf_byte(sql, '/');
        add_quoted(sql, files[i]->path);
        bl_buf_byte(sql, '\'');
    }
    bl_buf_z(sql, hive
                      ? "], hive_partitioning = true, hive_types = {'year': INTEGER, 'month': INTEGER, 'day': INTEGER, "
                        "'hour': INTEGER})"
                      : "], hive_partitioning = false)");
}

size_t session_files(const struct query *q, enum ev_type type, int64_t from_us, int64_t to_us,
                     const struct catalog_file ***out) {
    const struct file_list *list = &q->files[type];
    const struct catalog_file **found = bl_xcalloc(list->count + 1, sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].rows > 0 && list->files[i].max_us >= from_us && list->files[i].min_us <= to_us)
            found[n++] = &list->files[i];
    *out = found;
    return n;
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

size_t session_files_near(const struct query *q, enum ev_type type, const int64_t *hours, size_t hour_count,
                          const struct catalog_file ***out) {
    static const int64_t hour_us = INT64_C(3600000000);
    size_t all = session_files(q, type, INT64_MIN, INT64_MAX, out), kept = 0;
    for (size_t i = 0; i < all && hour_count; i++) {
        const struct catalog_file *file = (*out)[i];
        bool near = false;
        for (int64_t hour = file->hour_us / hour_us - 1, end = hour + 2; hour <= end && !near; hour++)
            near = bsearch(&hour, hours, hour_count, sizeof *hours, by_number);
        if (near) (*out)[kept++] = file;
    }
    return kept;
}

bool session_moved_on(struct query *q, enum bl_rc rc) {
    if (rc == BL_OK || rc == BL_E_CANCELLED || rc == BL_E_TIMEOUT || rc == BL_E_FULL) return false;
    int64_t before = q->snapshot;
    return query_refresh(q, NULL) == BL_OK && q->snapshot != before;
}

enum bl_rc session_run(struct query *q, session_ask ask, void *context, struct bl_error *err) {
    bool given = false;
    enum { REPAIRS_MAX = 64 }; /* of damaged segments of the index, each found by asking again */
    names_begin(q);
    watchdog_begin(q->watchdog, q->deadline_us);
    index_trim(q->index);
    enum bl_rc rc = ask(q, context, &given, err);
    for (int i = 0; rc == BL_E_CORRUPT && !given && i < REPAIRS_MAX && index_had_damage(q->index); i++)
        rc = ask(q, context, &given, err);
    if (rc != BL_OK && !given && session_moved_on(q, rc)) rc = ask(q, context, &given, err);
    return watchdog_end(q->watchdog, rc, err);
}
