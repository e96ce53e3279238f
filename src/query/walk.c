/* A search over the lake: files newest first, a few at a time, until no older file can hold a newer hit.
 *
 * A page of `limit` hits is kept sorted (newest first, then by author and record key). Each chunk of files is asked for its
 * own best `limit` rows no older than the page's last; what was deleted, changed later or belongs to a hidden account is
 * taken out, and the chunk is asked again from where it stopped until it has no more to give. When the page is full and the
 * next file's newest row is older than the page's last hit, nothing can change any more. */
#include <stdlib.h>

#include "base/clock.h"
#include "query/search.h"
#include "query/session.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 10000, HITS_MEMORY_MAX = 256 << 20 };

struct found {
    struct query_hit hit;
    struct bl_str rkey, rev;
    bool checked, hidden; /* was it looked up whether it must be hidden, and must it be */
};
struct page {
    struct found *items;
    size_t count;
};
struct walk {
    struct query *q;
    const struct query_search *search;
    query_hit_fn hit;
    void *context;
    struct query_search_stats *stats;
    struct search_node *tree;
    struct bl_arena arena; /* of the question: tree, patterns, texts of hits */
    struct search_sql where;
    size_t limit;
    struct page page, chunk; /* page: the best so far; chunk: of the files at hand */
};

static int compare_position(const struct found *a, const struct found *b) {
    if (a->hit.time_us != b->hit.time_us) return a->hit.time_us > b->hit.time_us ? -1 : 1;
    int c = bl_str_cmp(a->hit.did, b->hit.did);
    return c ? c : bl_str_cmp(a->rkey, b->rkey);
}

static int by_position(const void *a, const void *b) { return compare_position(a, b); }

static int compare_key(const struct found *f, struct bl_str did, struct bl_str rkey) {
    int c = bl_str_cmp(f->hit.did, did);
    return c ? c : bl_str_cmp(f->rkey, rkey);
}

static int by_key(const void *a, const void *b) {
    const struct found *const *y = b;
    return compare_key(*(const struct found *const *)a, (*y)->hit.did, (*y)->rkey);
}

/* --- Handles --- */

static void add_account_files(const struct query *q, struct bl_buf *sql, size_t *count) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    *count = session_files(q, EV_accounts, INT64_MIN, INT64_MAX, &files);
    if (*count) session_add_files(q, sql, files, *count, false);
}

/* The accounts that bear the handle now: those whose newest event that names a handle names this one. */
static enum bl_rc resolve_handle(struct walk *w, struct search_node *node, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf files = {0}, sql = {0};
    size_t count;
    add_account_files(w->q, &files, &count);
    if (count == 0) return BL_OK;
    const char *from = bl_buf_cstr(&files);
    bl_buf_printf(&sql,
                  "SELECT did FROM %s WHERE handle IS NOT NULL AND did IN (SELECT did FROM %s WHERE lower(handle) = "
                  "lower(?)) GROUP BY did HAVING lower(arg_max(handle, (time_us, seq))) = lower(?) ORDER BY did LIMIT %d",
                  from, from, SEARCH_ACCOUNTS_MAX);
    BL_TRY(bl_buf_check(&sql, "looking up a handle", err));
    const struct duck_bind binds[] = {{.kind = DUCK_TEXT, .s = node->value}, {.kind = DUCK_TEXT, .s = node->value}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(w->q->duck, bl_buf_cstr(&sql), binds, 2, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows && node->did_count < SEARCH_ACCOUNTS_MAX; i++)
            node->dids[node->did_count++] = bl_arena_dup(&w->arena, duck_text(r, 0, i));
    }
}

static enum bl_rc resolve_handles(struct walk *w, struct search_node *node, struct bl_error *err) {
    if (!node) return BL_OK;
    for (struct search_node *child = node->first; child; child = child->next) BL_TRY(resolve_handles(w, child, err));
    if (!node->is_handle) return BL_OK;
    BL_TRY(resolve_handle(w, node, err));
    if (node->did_count == 0)
        snprintf(w->stats->note, sizeof w->stats->note,
                 "no account is known by the handle %.*s: the lake has seen no event that names it; try its DID",
                 BL_ARG(node->value));
    return BL_OK;
}

/* --- Candidates of a chunk of files --- */

/* Rows behind `after` in the order of the page. */
static void add_keyset(struct search_sql *sql, const struct found *after) {
    bl_buf_z(&sql->text, " AND (time_us < ? OR (time_us = ? AND (did > ? OR (did = ? AND rkey > ?))))");
    search_bind_i64(sql, after->hit.time_us);
    search_bind_i64(sql, after->hit.time_us);
    search_bind_text(sql, after->hit.did);
    search_bind_text(sql, after->hit.did);
    search_bind_text(sql, after->rkey);
}

static struct bl_str keep_text(struct walk *w, const struct duck_result *r, unsigned column, size_t row) {
    if (duck_is_null(r, column, row)) return (struct bl_str){0};
    return bl_arena_dup(&w->arena, duck_text(r, column, row));
}

enum { C_TIME, C_DID, C_RKEY, C_REV, C_TEXT, C_LANGS, C_CREATED_TEXT, C_CREATED };
static const char candidate_columns[] = "time_us, did, rkey, rev, text, to_json(langs)::VARCHAR, created_at_text, "
                                        "created_at::TIMESTAMP";

static void read_candidate(struct walk *w, const struct duck_result *r, size_t row, struct found *f) {
    *f = (struct found){.rkey = keep_text(w, r, C_RKEY, row), .rev = keep_text(w, r, C_REV, row)};
    f->hit = (struct query_hit){.time_us = duck_i64(r, C_TIME, row),
                                .did = keep_text(w, r, C_DID, row),
                                .text = keep_text(w, r, C_TEXT, row),
                                .langs_json = keep_text(w, r, C_LANGS, row),
                                .created_at = keep_text(w, r, C_CREATED_TEXT, row)};
    if (f->hit.created_at.p || duck_is_null(r, C_CREATED, row)) return;
    char text[BL_TIME_TEXT_MAX];
    f->hit.created_at = bl_arena_dup(&w->arena, bl_str(bl_format_time(duck_i64(r, C_CREATED, row), 3, text)));
}

/* Appends to w->chunk what the statement yields, at most up to the page's size. */
static enum bl_rc read_candidates(struct walk *w, const struct search_sql *sql, struct bl_error *err) {
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(w->q->duck, sql->text.p, sql->binds, sql->count, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            BL_ASSERT(w->chunk.count < w->limit);
            read_candidate(w, r, i, &w->chunk.items[w->chunk.count++]);
        }
        if (w->arena.used > HITS_MEMORY_MAX)
            return bl_fail(err, BL_E_FULL, "the hits need more than %d MiB: ask for fewer with --limit", HITS_MEMORY_MAX >> 20);
    }
}

/* Asks `files` for rows behind `after` (NULL: from the start), as many as the chunk has room for. */
static enum bl_rc ask_files(struct walk *w, const struct catalog_file *const *files, size_t count, const struct found *after,
                            size_t *wanted, struct bl_error *err) {
    bool full = w->page.count == w->limit;
    int64_t from_us = full ? w->page.items[w->limit - 1].hit.time_us : w->stats->from_us;
    *wanted = w->limit - w->chunk.count;
    struct search_sql sql = {.exact = w->search->exact, .arena = &w->arena};
    bl_buf_printf(&sql.text, "SELECT %s FROM ", candidate_columns);
    session_add_files(w->q, &sql.text, files, count, false);
    bl_buf_z(&sql.text, " WHERE operation <> 'delete' AND time_us >= ? AND time_us <= ?");
    search_bind_i64(&sql, from_us);
    search_bind_i64(&sql, w->stats->to_us);
    if (after) add_keyset(&sql, after);
    bl_buf_z(&sql.text, " AND ");
    search_clause(&sql, w->tree);
    bl_buf_printf(&sql.text, " ORDER BY time_us DESC, did, rkey LIMIT %zu", *wanted);
    bl_buf_cstr(&sql.text);
    enum bl_rc rc = bl_buf_check(&sql.text, "the search", err);
    if (rc == BL_OK) rc = read_candidates(w, &sql, err);
    search_sql_release(&sql);
    return rc;
}

/* --- What is hidden --- */

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
        struct found *f = sorted[low];
        bool later = time_us > f->hit.time_us || (time_us == f->hit.time_us && bl_str_cmp(rev, f->rev) > 0);
        if (later) f->hidden = true;
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
        k.rkeys[i] = k.sorted[i]->rkey;
    }
    return k;
}

static enum bl_rc hide_in(struct walk *w, const struct keys *k, const struct catalog_file *const *files, size_t count,
                          struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, rkey, time_us, rev FROM ");
    session_add_files(w->q, &sql, files, count, false);
    bl_buf_z(&sql, " WHERE time_us >= ? AND did IN (SELECT unnest(?::VARCHAR[])) AND rkey IN (SELECT unnest(?::VARCHAR[]))");
    BL_TRY(bl_buf_check(&sql, "looking for later versions", err));
    const struct duck_bind binds[] = {{.kind = DUCK_I64, .i = k->oldest_us},
                                      {.kind = DUCK_LIST, .items = k->dids, .count = k->count},
                                      {.kind = DUCK_LIST, .items = k->rkeys, .count = k->count}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(w->q->duck, bl_buf_cstr(&sql), binds, 3, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) note_later_row(k->sorted, k->count, r, i);
    }
}

static enum bl_rc hide_changed(struct walk *w, const struct keys *k, struct bl_error *err) {
    enum { FILES_AT_ONCE = 1024 };
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(w->q, EV_posts, k->oldest_us, INT64_MAX, &files);
    for (size_t at = 0; at < count; at += FILES_AT_ONCE) {
        BL_TRY(watchdog_check(w->q->watchdog, err));
        size_t n = count - at < FILES_AT_ONCE ? count - at : FILES_AT_ONCE;
        BL_TRY(hide_in(w, k, files + at, n, err));
    }
    return BL_OK;
}

/* One account's newest state, for every candidate it wrote. */
static void note_account(struct walk *w, const struct keys *k, const struct duck_result *r, size_t row) {
    struct bl_str did = duck_text(r, 0, row);
    struct bl_str handle = keep_text(w, r, 1, row);
    bool hidden = !duck_is_null(r, 2, row) && !duck_i64(r, 2, row);
    for (size_t i = 0; i < k->count; i++) {
        if (!bl_str_eq(k->dids[i], did)) continue;
        k->sorted[i]->hit.handle = handle;
        k->sorted[i]->hidden |= hidden;
    }
}

/* Deleted, taken down, suspended, deactivated: whatever the newest account event calls not active. */
static enum bl_rc hide_accounts(struct walk *w, const struct keys *k, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    size_t files;
    bl_buf_z(&sql, "SELECT did, arg_max(handle, (time_us, seq)) FILTER (handle IS NOT NULL), "
                   "arg_max(active, (time_us, seq)) FILTER (active IS NOT NULL) FROM ");
    add_account_files(w->q, &sql, &files);
    if (files == 0) return BL_OK;
    bl_buf_z(&sql, " WHERE did IN (SELECT unnest(?::VARCHAR[])) GROUP BY did");
    BL_TRY(bl_buf_check(&sql, "looking up accounts", err));
    const struct duck_bind bind = {.kind = DUCK_LIST, .items = k->dids, .count = k->count};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(w->q->duck, bl_buf_cstr(&sql), &bind, 1, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) note_account(w, k, r, i);
    }
}

/* Marks items[0..count) that must not be shown, and names the authors of the others. */
static enum bl_rc hide(struct walk *w, struct found *items, size_t count, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_CLEANUP(release_keys) struct keys k = keys_of(items, count);
    BL_TRY(hide_changed(w, &k, err));
    BL_TRY(hide_accounts(w, &k, err));
    for (size_t i = 0; i < count; i++) items[i].checked = true;
    return BL_OK;
}

/* --- The walk --- */

static size_t drop_hidden(struct found *items, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!items[i].hidden) items[kept++] = items[i];
    return kept;
}

/* The chunk's best rows. Where it may have more than were asked for, hidden ones are replaced by asking again; what the last
 * answer held stays unchecked, so that a rare word costs one look for later versions and not one a chunk. */
static enum bl_rc fill_chunk(struct walk *w, const struct catalog_file *const *files, size_t count, struct bl_error *err) {
    w->chunk.count = 0;
    struct found last, *after = NULL;
    for (;;) {
        BL_TRY(watchdog_check(w->q->watchdog, err));
        size_t before = w->chunk.count, wanted;
        BL_TRY(ask_files(w, files, count, after, &wanted, err));
        size_t got = w->chunk.count - before;
        if (got < wanted) return BL_OK;
        last = w->chunk.items[w->chunk.count - 1];
        after = &last;
        BL_TRY(hide(w, w->chunk.items + before, got, err));
        w->chunk.count = before + drop_hidden(w->chunk.items + before, got);
        if (w->chunk.count == w->limit) return BL_OK;
    }
}

/* After this the page holds only what may be shown, at most `limit`. */
static enum bl_rc settle_page(struct walk *w, struct bl_error *err) {
    bool checked = true;
    for (size_t i = 0; i < w->page.count; i++) checked &= w->page.items[i].checked;
    if (!checked) BL_TRY(hide(w, w->page.items, w->page.count, err));
    w->page.count = drop_hidden(w->page.items, w->page.count);
    if (w->page.count > w->limit) w->page.count = w->limit;
    return BL_OK;
}

/* page.items has room for twice the limit. */
static enum bl_rc merge_chunk(struct walk *w, struct bl_error *err) {
    memcpy(w->page.items + w->page.count, w->chunk.items, w->chunk.count * sizeof *w->chunk.items);
    w->page.count += w->chunk.count;
    qsort(w->page.items, w->page.count, sizeof *w->page.items, by_position);
    return w->page.count >= w->limit ? settle_page(w, err) : BL_OK;
}

/* Chunks grow: a common word is answered by the newest file alone, a rare one by few large statements. */
static size_t chunk_end(const struct catalog_file *const *files, size_t count, size_t at, int64_t rows_wanted) {
    enum { FILES_MAX = 512 };
    int64_t rows = 0;
    size_t end = at;
    while (end < count && end - at < FILES_MAX && rows < rows_wanted) rows += files[end++]->rows;
    return end;
}

static enum bl_rc walk_files(struct walk *w, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(w->q, EV_posts, w->stats->from_us, w->stats->to_us, &files);
    w->stats->files_listed = count;
    int64_t rows_wanted = 100000;
    for (size_t at = 0; at < count; rows_wanted *= 2) {
        bool full = w->page.count == w->limit;
        if (full && files[at]->max_us < w->page.items[w->limit - 1].hit.time_us) return BL_OK;
        size_t end = chunk_end(files, count, at, rows_wanted);
        BL_TRY(fill_chunk(w, files + at, end - at, err));
        w->stats->files_read += end - at;
        BL_TRY(merge_chunk(w, err));
        at = end;
    }
    return settle_page(w, err);
}

static enum bl_rc give_hits(struct walk *w, bool *given, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf uri = {0};
    for (size_t i = 0; i < w->page.count; i++) {
        struct found *f = &w->page.items[i];
        bl_buf_clear(&uri);
        bl_buf_printf(&uri, "at://%.*s/%s/%.*s", BL_ARG(f->hit.did), ev_schema(EV_posts)->collection, BL_ARG(f->rkey));
        BL_TRY(bl_buf_check(&uri, "a hit's URI", err));
        f->hit.uri = bl_buf_view(&uri);
        *given = true;
        BL_TRY(w->hit(w->context, &f->hit, err));
        w->stats->hits++;
    }
    return BL_OK;
}

static enum bl_rc search_lake(struct walk *w, bool *given, struct bl_error *err) {
    const struct query_search *s = w->search;
    BL_TRY(search_parse(s->text, &w->arena, &w->tree, err));
    bool everything = s->from_us == 0 && s->to_us == 0;
    w->stats->from_us = everything ? INT64_MIN : s->from_us;
    w->stats->to_us = everything ? INT64_MAX : s->to_us;
    search_range(w->tree, &w->stats->from_us, &w->stats->to_us);
    BL_TRY(resolve_handles(w, w->tree, err));
    if (!search_never(w->tree) && w->stats->from_us <= w->stats->to_us) BL_TRY(walk_files(w, err));
    return give_hits(w, given, err);
}

static enum bl_rc ask_search(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct walk *question = context;
    struct walk w = *question;
    w.q = q;
    *w.stats = (struct query_search_stats){0};
    w.page.items = bl_xcalloc(2 * w.limit, sizeof *w.page.items);
    w.chunk.items = bl_xcalloc(w.limit, sizeof *w.chunk.items);
    enum bl_rc rc = search_lake(&w, given, err);
    free(w.page.items);
    free(w.chunk.items);
    bl_arena_release(&w.arena);
    return rc;
}

enum bl_rc query_search(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err) {
    if (s->limit > LIMIT_MAX) return bl_fail(err, BL_E_USAGE, "at most %d hits are given, not %u", LIMIT_MAX, s->limit);
    struct query_search_stats ignored;
    struct walk question = {.search = s,
                            .hit = hit,
                            .context = context,
                            .stats = stats ? stats : &ignored,
                            .limit = s->limit ? s->limit : LIMIT_DEFAULT};
    int64_t start_ns = bl_mono_ns();
    enum bl_rc rc = session_run(q, ask_search, &question, err);
    question.stats->elapsed_us = (bl_mono_ns() - start_ns) / 1000;
    return rc;
}

enum bl_rc query_search_explain(struct bl_str text, struct bl_buf *out, struct bl_error *err) {
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct search_node *tree;
    BL_TRY(search_parse(text, &arena, &tree, err));
    search_explain(tree, out);
    return BL_OK;
}
