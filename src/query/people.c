#include "query/people.h"

#include <stdlib.h>

static struct bl_str keep(struct bl_arena *arena, const struct duck_result *r, unsigned column, size_t row) {
    if (duck_is_null(r, column, row)) return (struct bl_str){0};
    struct bl_str copy = bl_arena_dup(arena, duck_text(r, column, row));
    return copy.p ? copy : BL_LIT("");
}

/* " FROM read_parquet([...])" over all files of a type; false when there are none. */
static bool add_source(const struct query *q, enum ev_type type, struct bl_buf *sql) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, &files);
    if (count) session_add_files(q, sql, files, count, false);
    return count > 0;
}

struct asked { /* distinct, sorted */
    struct bl_str *dids;
    size_t count;
};

static int by_text(const void *a, const void *b) { return bl_str_cmp(*(const struct bl_str *)a, *(const struct bl_str *)b); }

static struct asked distinct(const struct bl_str *dids, size_t count) {
    struct asked a = {.dids = bl_xcalloc(count, sizeof *a.dids)};
    memcpy(a.dids, dids, count * sizeof *dids);
    qsort(a.dids, count, sizeof *a.dids, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !bl_str_eq(a.dids[i], a.dids[i - 1])) a.dids[a.count++] = a.dids[i];
    return a;
}

static void release_asked(struct asked *a) { free(a->dids); }

static struct person *find(const struct asked *a, struct person *people, struct bl_str did) {
    const struct bl_str *at = bsearch(&did, a->dids, a->count, sizeof *a->dids, by_text);
    return at ? &people[at - a->dids] : NULL;
}

struct lookup {
    struct query *q;
    struct bl_arena *arena;
    const struct asked *asked;
    struct person *people; /* of asked->dids */
};

typedef void (*note_fn)(struct lookup *l, struct person *p, const struct duck_result *r, size_t row);

/* `select` ... FROM the files of `type` ... GROUP BY did, one row a person. */
static enum bl_rc ask(struct lookup *l, enum ev_type type, const char *select, const char *where, note_fn note,
                      struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql, "SELECT did, %s FROM ", select);
    if (!add_source(l->q, type, &sql)) return BL_OK;
    bl_buf_printf(&sql, " WHERE did IN (SELECT unnest(?::VARCHAR[])) AND %s GROUP BY did", where);
    BL_TRY(bl_buf_check(&sql, "looking up accounts", err));
    const struct duck_bind bind = {.kind = DUCK_LIST, .items = l->asked->dids, .count = l->asked->count};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(l->q->duck, bl_buf_cstr(&sql), &bind, 1, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            struct person *p = find(l->asked, l->people, duck_text(r, 0, i));
            if (p) note(l, p, r, i);
        }
    }
}

static void note_account(struct lookup *l, struct person *p, const struct duck_result *r, size_t row) {
    p->handle = keep(l->arena, r, 1, row);
    p->hidden = !duck_is_null(r, 2, row) && !duck_i64(r, 2, row);
    p->status = keep(l->arena, r, 3, row);
}

static void note_profile(struct lookup *l, struct person *p, const struct duck_result *r, size_t row) {
    if (duck_i64(r, 1, row)) return; /* the newest word on the profile is that it was deleted */
    p->display_name = keep(l->arena, r, 2, row);
    p->description = keep(l->arena, r, 3, row);
}

static enum bl_rc ask_files(struct lookup *l, struct bl_error *err) {
    BL_TRY(ask(l, EV_accounts,
               "arg_max(handle, (time_us, seq)) FILTER (handle IS NOT NULL), "
               "arg_max(active, (time_us, seq)) FILTER (active IS NOT NULL), "
               "arg_max(coalesce(status, ''), (time_us, seq)) FILTER (active IS NOT NULL)",
               "true", note_account, err));
    return ask(l, EV_profiles,
               "arg_max(operation, (time_us, rev)) = 'delete', arg_max(coalesce(display_name, ''), (time_us, rev)), "
               "arg_max(coalesce(description, ''), (time_us, rev))",
               "rkey = 'self'", note_profile, err);
}

enum bl_rc people_lookup(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena, struct person *out,
                         struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_CLEANUP(release_asked) struct asked asked = distinct(dids, count);
    BL_CLEANUP(bl_freep) struct person *people = bl_xcalloc(asked.count, sizeof *people);
    struct lookup l = {q, arena, &asked, people};
    BL_TRY(ask_files(&l, err));
    for (size_t i = 0; i < count; i++) out[i] = *find(&asked, people, dids[i]);
    return BL_OK;
}

enum bl_rc people_by_handle(struct query *q, struct bl_str handle, struct bl_arena *arena, struct bl_str *dids, size_t max,
                            size_t *count, struct bl_error *err) {
    *count = 0;
    BL_CLEANUP(bl_buf_release) struct bl_buf files = {0}, sql = {0};
    if (!add_source(q, EV_accounts, &files)) return BL_OK;
    const char *from = bl_buf_cstr(&files);
    bl_buf_printf(&sql,
                  "SELECT did FROM %s WHERE handle IS NOT NULL AND did IN (SELECT did FROM %s WHERE lower(handle) = "
                  "lower(?)) GROUP BY did HAVING lower(arg_max(handle, (time_us, seq))) = lower(?) ORDER BY did LIMIT %zu",
                  from, from, max);
    BL_TRY(bl_buf_check(&sql, "looking up a handle", err));
    const struct duck_bind binds[] = {{.kind = DUCK_TEXT, .s = handle}, {.kind = DUCK_TEXT, .s = handle}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(q->duck, bl_buf_cstr(&sql), binds, 2, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows && *count < max; i++) dids[(*count)++] = keep(arena, r, 0, i);
    }
}
