#include "query/find.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "query/people.h"
#include "query/shadow.h"

enum { HITS_MEMORY_MAX = 256 << 20 };

static int compare_keys(struct bl_str did, struct bl_str rkey, struct bl_str other_did, struct bl_str other_rkey) {
    int c = bl_str_cmp(did, other_did);
    return c ? c : bl_str_cmp(rkey, other_rkey);
}

int found_compare(const struct found *a, const struct found *b) {
    if (a->hit.time_us != b->hit.time_us) return a->hit.time_us > b->hit.time_us ? -1 : 1;
    return compare_keys(a->hit.did, a->hit.rkey, b->hit.did, b->hit.rkey);
}

/* --- Rows of files --- */

enum {
    C_TIME,
    C_DID,
    C_RKEY,
    C_REV,
    C_TEXT,
    C_CREATED_TEXT,
    C_CREATED,
    C_LANGS,
    C_HASHTAGS,
    C_LINKS,
    C_FACETS,
    C_EMBED,
    C_PARENT,
    C_QUOTE
};
static const char place_columns[] = "time_us, did, rkey, rev";
static const char columns[] =
    "time_us, did, rkey, rev, text, created_at_text, created_at::TIMESTAMP, to_json(langs)::VARCHAR, "
    "to_json(hashtags)::VARCHAR, to_json(links)::VARCHAR, facets::VARCHAR, embed::VARCHAR, "
    "reply_parent_uri, quote_uri";

static struct bl_str keep(const struct find *f, const struct duck_result *r, unsigned column, size_t row) {
    if (duck_is_null(r, column, row)) return (struct bl_str){0};
    struct bl_str copy = bl_arena_dup(f->arena, duck_text(r, column, row));
    return copy.p ? copy : BL_LIT("");
}

static void read_row(const struct find *f, const struct duck_result *r, size_t row, struct found *out) {
    *out = (struct found){.rev = keep(f, r, C_REV, row)};
    if (duck_columns(r) <= C_TEXT) {
        out->hit = (struct query_hit){
            .time_us = duck_i64(r, C_TIME, row), .did = keep(f, r, C_DID, row), .rkey = keep(f, r, C_RKEY, row)};
        return;
    }
    out->hit = (struct query_hit){.time_us = duck_i64(r, C_TIME, row),
                                  .did = keep(f, r, C_DID, row),
                                  .rkey = keep(f, r, C_RKEY, row),
                                  .text = keep(f, r, C_TEXT, row),
                                  .created_at = keep(f, r, C_CREATED_TEXT, row),
                                  .langs_json = keep(f, r, C_LANGS, row),
                                  .hashtags_json = keep(f, r, C_HASHTAGS, row),
                                  .links_json = keep(f, r, C_LINKS, row),
                                  .facets_json = keep(f, r, C_FACETS, row),
                                  .embed_json = keep(f, r, C_EMBED, row),
                                  .reply_parent_uri = keep(f, r, C_PARENT, row),
                                  .quote_uri = keep(f, r, C_QUOTE, row)};
    if (out->hit.created_at.p || duck_is_null(r, C_CREATED, row)) return;
    char text[BL_TIME_TEXT_MAX];
    out->hit.created_at = bl_arena_dup(f->arena, bl_str(bl_format_time(duck_i64(r, C_CREATED, row), 3, text)));
}

static enum bl_rc read_rows(const struct find *f, const struct search_sql *sql, struct found *items, size_t *count,
                            size_t limit, struct bl_error *err) {
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(f->q->duck, sql->text.p, sql->binds, sql->count, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            BL_ASSERT(*count < limit);
            read_row(f, r, i, &items[(*count)++]);
        }
        if (f->arena->used > HITS_MEMORY_MAX)
            return bl_fail(err, BL_E_FULL, "the hits need more than %d MiB: ask for fewer with --limit",
                           HITS_MEMORY_MAX >> 20);
    }
}

/* Rows behind `after` in the order of the answer. */
static void add_keyset(struct search_sql *sql, const struct place *after) {
    bl_buf_z(&sql->text, " AND (time_us < ? OR (time_us = ? AND (did > ? OR (did = ? AND rkey > ?))))");
    search_bind_i64(sql, after->time_us);
    search_bind_i64(sql, after->time_us);
    search_bind_text(sql, after->did);
    search_bind_text(sql, after->did);
    search_bind_text(sql, after->rkey);
}

/* "FROM files WHERE the filter holds", to be selected from. */
static void add_matches(const struct find *f, struct search_sql *sql, const struct catalog_file *const *files,
                        size_t files_count, const struct find_range *range) {
    const struct filter *filter = f->filter;
    bl_buf_z(&sql->text, " FROM ");
    session_add_files(f->q, &sql->text, files, files_count, false);
    bl_buf_z(&sql->text, " WHERE operation <> 'delete' AND time_us >= ? AND time_us <= ?");
    search_bind_i64(sql, range->from_us > filter->from_us ? range->from_us : filter->from_us);
    search_bind_i64(sql, range->to_us < filter->to_us ? range->to_us : filter->to_us);
    if (range->after.did.p) add_keyset(sql, &range->after);
    bl_buf_z(&sql->text, " AND ");
    search_clause(sql, filter->tree);
}

enum bl_rc find_rows(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                     const struct find_range *range, struct found *items, size_t *count, size_t limit,
                     struct bl_error *err) {
    struct search_sql sql = {.exact = f->filter->exact, .arena = f->arena};
    const char *selected = range->columns == FIND_PLACES ? place_columns : columns;
    if (range->shadowed)
        bl_buf_printf(&sql.text, "SELECT %s FROM (SELECT *, %s AS key", selected, shadow_key);
    else
        bl_buf_printf(&sql.text, "SELECT %s", selected);
    add_matches(f, &sql, files, files_count, range);
    if (range->shadowed) bl_buf_printf(&sql.text, ") c WHERE %s", shadow_condition);
    bl_buf_printf(&sql.text, " ORDER BY time_us DESC, did, rkey LIMIT %zu", limit - *count);
    bl_buf_cstr(&sql.text);
    enum bl_rc rc = bl_buf_check(&sql.text, "the search", err);
    if (rc == BL_OK) rc = read_rows(f, &sql, items, count, limit, err);
    search_sql_release(&sql);
    return rc;
}

/* Rows of the records named, read into a growing array; `when` narrows the rows looked at. */
static enum bl_rc read_records(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                               const char *when, const struct bl_str *dids, const struct bl_str *rkeys, size_t count,
                               struct found **items, size_t *items_count, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql, "SELECT %s FROM ", columns);
    session_add_files(f->q, &sql, files, files_count, false);
    bl_buf_printf(&sql,
                  " WHERE operation <> 'delete'%s AND did IN (SELECT unnest(?::VARCHAR[])) AND rkey IN (SELECT "
                  "unnest(?::VARCHAR[]))",
                  when);
    BL_TRY(bl_buf_check(&sql, "looking up posts", err));
    const struct duck_bind binds[] = {{.kind = DUCK_LIST, .items = dids, .count = count},
                                      {.kind = DUCK_LIST, .items = rkeys, .count = count}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(f->q->duck, bl_buf_cstr(&sql), binds, 2, &r, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        *items = bl_xrealloc(*items, (*items_count + rows) * sizeof **items);
        for (size_t i = 0; i < rows; i++) read_row(f, r, i, &(*items)[(*items_count)++]);
    }
}

enum bl_rc find_records(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                        const struct bl_str *dids, const struct bl_str *rkeys, size_t count, struct found **items,
                        size_t *items_count, struct bl_error *err) {
    if (files_count == 0 || count == 0) return BL_OK;
    return read_records(f, files, files_count, "", dids, rkeys, count, items, items_count, err);
}

/* --- From places to hits --- */

/* Our own numbers, of the lake: few enough are named one by one, so that the reader passes over all other rows. */
static void add_times(struct bl_buf *when, const struct found *items, size_t count) {
    enum { NAMED_MAX = 256 };
    int64_t from = INT64_MAX, to = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        if (items[i].hit.time_us < from) from = items[i].hit.time_us;
        if (items[i].hit.time_us > to) to = items[i].hit.time_us;
    }
    bl_buf_printf(when, " AND time_us BETWEEN %" PRId64 " AND %" PRId64, from, to);
    if (count > NAMED_MAX) return;
    for (size_t i = 0; i < count; i++)
        bl_buf_printf(when, "%s%" PRId64, i ? ", " : " AND time_us IN (", items[i].hit.time_us);
    bl_buf_byte(when, ')');
}

static bool holds_any(const struct catalog_file *file, const struct found *items, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (items[i].hit.time_us >= file->min_us && items[i].hit.time_us <= file->max_us) return true;
    return false;
}

static int by_version(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    int c = found_compare(x, y);
    return c ? c : bl_str_cmp(x->rev, y->rev);
}

enum bl_rc find_complete(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                         struct found *items, size_t count, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_CLEANUP(bl_freep) const struct catalog_file **near = bl_xcalloc(files_count, sizeof *near);
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(2 * count, sizeof *dids);
    BL_CLEANUP(bl_freep) struct found *complete = NULL;
    BL_CLEANUP(bl_buf_release) struct bl_buf when = {0};
    struct bl_str *rkeys = dids + count;
    size_t near_count = 0, found = 0;
    for (size_t i = 0; i < files_count; i++)
        if (holds_any(files[i], items, count)) near[near_count++] = files[i];
    for (size_t i = 0; i < count; i++) {
        dids[i] = items[i].hit.did;
        rkeys[i] = items[i].hit.rkey;
    }
    add_times(&when, items, count);
    BL_TRY(read_records(f, near, near_count, bl_buf_cstr(&when), dids, rkeys, count, &complete, &found, err));
    if (found) qsort(complete, found, sizeof *complete, by_version);
    for (size_t i = 0; i < count; i++) {
        const struct found *row = found ? bsearch(&items[i], complete, found, sizeof *complete, by_version) : NULL;
        if (!row) return bl_fail(err, BL_E_CORRUPT, "a post was found, and then not: its file changed");
        struct bl_str handle = items[i].hit.handle, name = items[i].hit.display_name;
        items[i].hit = row->hit;
        items[i].hit.handle = handle;
        items[i].hit.display_name = name;
    }
    return BL_OK;
}

/* --- What is hidden --- */

static int compare_key(const struct found *f, struct bl_str did, struct bl_str rkey) {
    return compare_keys(f->hit.did, f->hit.rkey, did, rkey);
}

static int by_key(const void *a, const void *b) {
    const struct found *const *y = b;
    return compare_key(*(const struct found *const *)a, (*y)->hit.did, (*y)->hit.rkey);
}

/* A later row of the same record makes this one history: it was deleted, or an update took its place. */
static void note_later_row(struct found *const *sorted, size_t count, const struct duck_result *r, size_t row) {
    struct bl_str did = duck_text(r, 0, row), rkey = duck_text(r, 1, row), rev = duck_text(r, 3, row);
    int64_t time_us = duck_i64(r, 2, row);
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_key(sorted[middle], did, rkey) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && compare_key(sorted[low], did, rkey) == 0; low++) {
        struct found *item = sorted[low];
        bool later = time_us > item->hit.time_us || (time_us == item->hit.time_us && bl_str_cmp(rev, item->rev) > 0);
        if (later) item->hidden = true;
    }
}

struct keys {
    struct found **sorted; /* by (did, rkey) */
    struct bl_str *dids, *rkeys;
    size_t count;
    int64_t oldest_us;
};

static void release_keys(struct keys *k) {
    free(k->sorted);
    free(k->dids);
    free(k->rkeys);
}

static struct keys keys_of(struct found *items, size_t count) {
    struct keys k = {.sorted = bl_xcalloc(count, sizeof *k.sorted),
                     .dids = bl_xcalloc(count, sizeof *k.dids),
                     .rkeys = bl_xcalloc(count, sizeof *k.rkeys),
                     .count = count,
                     .oldest_us = INT64_MAX};
    for (size_t i = 0; i < count; i++) {
        k.sorted[i] = &items[i];
        if (items[i].hit.time_us < k.oldest_us) k.oldest_us = items[i].hit.time_us;
    }
    qsort(k.sorted, count, sizeof *k.sorted, by_key);
    for (size_t i = 0; i < count; i++) {
        k.dids[i] = k.sorted[i]->hit.did;
        k.rkeys[i] = k.sorted[i]->hit.rkey;
    }
    return k;
}

static enum bl_rc hide_in(const struct find *f, const struct keys *k, const struct catalog_file *const *files,
                          size_t count, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, rkey, time_us, rev FROM ");
    session_add_files(f->q, &sql, files, count, false);
    bl_buf_z(&sql,
             " WHERE time_us >= ? AND did IN (SELECT unnest(?::VARCHAR[])) AND rkey IN (SELECT unnest(?::VARCHAR[]))");
    BL_TRY(bl_buf_check(&sql, "looking for later versions", err));
    const struct duck_bind binds[] = {{.kind = DUCK_I64, .i = k->oldest_us},
                                      {.kind = DUCK_LIST, .items = k->dids, .count = k->count},
                                      {.kind = DUCK_LIST, .items = k->rkeys, .count = k->count}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(f->q->duck, bl_buf_cstr(&sql), binds, 3, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) note_later_row(k->sorted, k->count, r, i);
    }
}

static enum bl_rc hide_changed(const struct find *f, const struct keys *k, struct bl_error *err) {
    enum { FILES_AT_ONCE = 1024 };
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(f->q, EV_posts, k->oldest_us, INT64_MAX, &files);
    for (size_t at = 0; at < count; at += FILES_AT_ONCE) {
        BL_TRY(watchdog_check(f->q->watchdog, err));
        size_t n = count - at < FILES_AT_ONCE ? count - at : FILES_AT_ONCE;
        BL_TRY(hide_in(f, k, files + at, n, err));
    }
    return BL_OK;
}

enum bl_rc find_authors(const struct find *f, struct found *items, size_t count, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(count + 1, sizeof *dids);
    BL_CLEANUP(bl_freep) struct person *people = bl_xcalloc(count + 1, sizeof *people);
    for (size_t i = 0; i < count; i++) dids[i] = items[i].hit.did;
    BL_TRY(people_lookup(f->q, dids, count, f->arena, people, err));
    for (size_t i = 0; i < count; i++) {
        items[i].hit.handle = people[i].handle;
        items[i].hit.display_name = people[i].display_name;
        items[i].hidden |= people[i].hidden;
    }
    return BL_OK;
}

enum bl_rc find_hidden(const struct find *f, struct found *items, size_t count, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_CLEANUP(release_keys) struct keys k = keys_of(items, count);
    BL_TRY(hide_changed(f, &k, err));
    BL_TRY(find_authors(f, items, count, err));
    for (size_t i = 0; i < count; i++) items[i].checked = true;
    return BL_OK;
}

size_t find_drop_hidden(struct found *items, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!items[i].hidden) items[kept++] = items[i];
    return kept;
}

enum bl_rc find_give(const struct found *item, query_hit_fn hit, void *context, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf uri = {0};
    bl_buf_printf(&uri, "at://%.*s/%s/%.*s", BL_ARG(item->hit.did), ev_schema(EV_posts)->collection,
                  BL_ARG(item->hit.rkey));
    BL_TRY(bl_buf_check(&uri, "a hit's URI", err));
    struct query_hit complete = item->hit;
    complete.uri = bl_buf_view(&uri);
    return hit(context, &complete, err);
}
