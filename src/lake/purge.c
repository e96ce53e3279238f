#include <inttypes.h>
#include <stdlib.h>

#include "lake/duck.h"
#include "lake/lake_priv.h"

enum { MEMORY = 512 << 20, THREADS = 2 };

struct gone { /* a deleted account, and when it was */
    struct bl_str did;
    int64_t us;
};
struct purge {
    struct lake *l;
    struct duck *duck;
    struct lake_purge_stats *stats;
    struct bl_arena names;
    struct gone *gone; /* by DID */
    size_t count;
    int64_t *hours; /* of the type at hand: those that hold such rows; ascending, each once */
    size_t hour_count;
};

static void release(struct purge *p) {
    duck_close(&p->duck);
    bl_arena_release(&p->names);
    free(p->gone);
    free(p->hours);
}

static void add_quoted(struct bl_buf *sql, const char *text) {
    for (; *text; text++) {
        if (*text == '\'') bl_buf_byte(sql, '\'');
        bl_buf_byte(sql, *text);
    }
}

static void add_files(const struct lake *l, const struct catalog_file *files, size_t count, struct bl_buf *sql) {
    bl_buf_z(sql, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        bl_buf_z(sql, i ? ", '" : "'");
        add_quoted(sql, l->dir);
        bl_buf_byte(sql, '/');
        add_quoted(sql, files[i].path);
        bl_buf_byte(sql, '\'');
    }
    bl_buf_z(sql, "], hive_partitioning = false, union_by_name = true, filename = true)");
}

/* --- Who is gone --- */

static int by_did(const void *a, const void *b) {
    return bl_str_cmp(((const struct gone *)a)->did, ((const struct gone *)b)->did);
}

static enum bl_rc take_gone(struct purge *p, struct duck_result *r, struct bl_error *err) {
    for (size_t rows, room = 0;;) {
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) break;
        for (size_t i = 0; i < rows; i++) {
            if (p->count == room) p->gone = bl_xrealloc(p->gone, (room = room ? room * 2 : 256) * sizeof *p->gone);
            p->gone[p->count++] = (struct gone){bl_arena_dup(&p->names, duck_text(r, 0, i)), duck_i64(r, 1, i)};
        }
    }
    if (p->count) qsort(p->gone, p->count, sizeof *p->gone, by_did);
    return BL_OK;
}

static enum bl_rc find_gone(struct purge *p, int64_t before_us, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    size_t count = 0;
    BL_TRY(catalog_files(p->l->catalog, EV_accounts, 0, 0, &files, &count, err));
    if (count == 0) return BL_OK;
    bl_buf_z(&sql, "CREATE TEMP TABLE gone AS SELECT did, max(time_us) AS gone_us FROM ");
    add_files(p->l, files, count, &sql);
    bl_buf_printf(&sql,
                  " WHERE active IS NOT NULL GROUP BY did HAVING NOT last(active ORDER BY time_us, seq) AND "
                  "last(status ORDER BY time_us, seq) = 'deleted' AND gone_us < %" PRId64,
                  before_us);
    BL_TRY(bl_buf_check(&sql, "the question who is gone", err));
    BL_TRY(duck_run(p->duck, bl_buf_cstr(&sql), err));
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(p->duck, "SELECT did, gone_us FROM gone", NULL, 0, &r, err));
    return take_gone(p, r, err);
}

/* --- What they left --- */

static int by_hour(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t hour_of_file(const struct purge *p, const struct catalog_file *files, size_t count, struct bl_str name) {
    struct bl_str path = bl_str_skip(name, strlen(p->l->dir) + 1);
    for (size_t i = 0; i < count; i++)
        if (bl_str_eq(path, bl_str(files[i].path))) return files[i].hour_us;
    return -1;
}

static enum bl_rc take_hours(struct purge *p, enum ev_type type, const struct catalog_file *files, size_t count,
                             struct duck_result *r, struct bl_error *err) {
    for (size_t rows, room = 0;;) {
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) break;
        for (size_t i = 0; i < rows; i++) {
            int64_t hour_us = hour_of_file(p, files, count, duck_text(r, 0, i));
            BL_ASSERT(hour_us >= 0);
            if (p->hour_count == room)
                p->hours = bl_xrealloc(p->hours, (room = room ? room * 2 : 64) * sizeof *p->hours);
            p->hours[p->hour_count++] = hour_us;
            p->stats->files++;
            p->stats->rows += duck_i64(r, 1, i);
            p->stats->rows_by_type[type] += duck_i64(r, 1, i);
        }
    }
    size_t kept = 0;
    if (p->hour_count) qsort(p->hours, p->hour_count, sizeof *p->hours, by_hour);
    for (size_t i = 0; i < p->hour_count; i++)
        if (kept == 0 || p->hours[kept - 1] != p->hours[i]) p->hours[kept++] = p->hours[i];
    p->hour_count = kept;
    return BL_OK;
}

static enum bl_rc find_hours(struct purge *p, enum ev_type type, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    size_t count = 0;
    bl_freep(&p->hours);
    p->hour_count = 0;
    BL_TRY(catalog_files(p->l->catalog, type, 0, 0, &files, &count, err));
    if (count == 0) return BL_OK;
    bl_buf_z(&sql, "SELECT filename, count(*) FROM ");
    add_files(p->l, files, count, &sql);
    bl_buf_z(&sql, " JOIN gone USING (did) WHERE time_us <= gone_us GROUP BY filename");
    BL_TRY(bl_buf_check(&sql, "the question what they left", err));
    BL_TRY(duck_query(p->duck, bl_buf_cstr(&sql), NULL, 0, &r, err));
    return take_hours(p, type, files, count, r, err);
}

/* Rows of every type begin alike. */
#define TYPE(id, collection, sentence)                                                                                 \
    _Static_assert((int)EV_##id##_time_us == (int)EV_posts_time_us && (int)EV_##id##_did == (int)EV_posts_did, #id);
#define COL(type, id, kind, level, path, since, sentence)
#include "event/schema.def"
#undef TYPE
#undef COL

static bool is_of_gone(const void *context, const struct event *ev) {
    const struct purge *p = context;
    struct gone wanted = {.did = ev->v[EV_posts_did].s};
    const struct gone *found = bsearch(&wanted, p->gone, p->count, sizeof *p->gone, by_did);
    return found && ev->v[EV_posts_time_us].i <= found->us;
}

static enum bl_rc purge_type(struct purge *p, enum ev_type type, bool look_only, struct bl_error *err) {
    const struct lake_sieve sieve = {is_of_gone, p};
    BL_TRY(find_hours(p, type, err));
    for (size_t i = 0; i < p->hour_count && !look_only; i++)
        BL_TRY(lake_rewrite_hour(p->l, type, p->hours[i], &sieve, &p->stats->rewritten, err));
    return BL_OK;
}

enum bl_rc lake_purge(struct lake *l, int64_t before_us, bool look_only, struct lake_purge_stats *stats,
                      struct bl_error *err) {
    BL_CLEANUP(release) struct purge p = {.l = l, .stats = stats};
    BL_CLEANUP(bl_freep) char *temp_dir = bl_xasprintf("%s/.staging", l->dir);
    struct duck_options o = {.confine_to = l->dir, .memory_bytes = MEMORY, .threads = THREADS, .temp_dir = temp_dir};
    *stats = (struct lake_purge_stats){0};
    BL_TRY(duck_open(&o, &p.duck, err));
    BL_TRY(find_gone(&p, before_us, err));
    stats->accounts = (int64_t)p.count;
    if (p.count == 0) return BL_OK;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (t != EV_accounts) BL_TRY(purge_type(&p, (enum ev_type)t, look_only, err));
    return BL_OK;
}
