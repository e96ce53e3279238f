/* A search over the lake: files newest first, a few at a time, until no older file can hold a newer hit.
 *
 * A page of hits is kept sorted (newest first, then by author and record key). Each chunk of files is asked for its own best
 * rows no older than the page's last; what was deleted, changed later or belongs to a hidden account is taken out, and the
 * chunk is asked again from where it stopped until it has no more to give. When the page is full and the next file's newest
 * row is older than the page's last hit, nothing can change any more. */
#include <stdlib.h>

#include "base/clock.h"
#include "query/find.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 10000 };

struct page {
    struct found *items;
    size_t count;
};
struct walk {
    struct find find;
    struct filter filter;
    struct query_search_stats *stats;
    struct bl_arena arena;   /* of the question: tree, patterns, texts of hits */
    size_t limit;            /* one more than wanted: is there more? */
    struct page page, chunk; /* page: the best so far; chunk: of the files at hand */
};

static int by_position(const void *a, const void *b) { return found_compare(a, b); }

/* The chunk's best rows. Where it may have more than were asked for, hidden ones are replaced by asking again; what the last
 * answer held stays unchecked, so that a rare word costs one look for later versions and not one a chunk. */
static enum bl_rc fill_chunk(struct walk *w, const struct catalog_file *const *files, size_t count, struct bl_error *err) {
    bool full = w->page.count == w->limit;
    int64_t from_us = full ? w->page.items[w->limit - 1].hit.time_us : INT64_MIN;
    struct place last;
    const struct place *after = NULL;
    w->chunk.count = 0;
    for (;;) {
        BL_TRY(watchdog_check(w->find.q->watchdog, err));
        size_t before = w->chunk.count;
        BL_TRY(find_rows(&w->find, files, count, from_us, after, w->chunk.items, &w->chunk.count, w->limit, err));
        if (w->chunk.count < w->limit) return BL_OK;
        const struct query_hit *hit = &w->chunk.items[w->limit - 1].hit;
        last = (struct place){hit->time_us, hit->did, hit->rkey};
        after = &last;
        BL_TRY(find_hidden(&w->find, w->chunk.items + before, w->limit - before, err));
        w->chunk.count = before + find_drop_hidden(w->chunk.items + before, w->limit - before);
        if (w->chunk.count == w->limit) return BL_OK;
    }
}

/* After this the page holds only what may be shown, at most `limit`. */
static enum bl_rc settle_page(struct walk *w, struct bl_error *err) {
    bool checked = true;
    for (size_t i = 0; i < w->page.count; i++) checked &= w->page.items[i].checked;
    if (!checked) BL_TRY(find_hidden(&w->find, w->page.items, w->page.count, err));
    w->page.count = find_drop_hidden(w->page.items, w->page.count);
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
    size_t count = session_files(w->find.q, EV_posts, w->filter.from_us, w->filter.to_us, &files);
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

struct search_question {
    const struct query_search *search;
    query_hit_fn hit;
    void *context;
    struct query_search_stats *stats;
};

static enum bl_rc give_hits(struct walk *w, const struct search_question *question, bool *given, struct bl_error *err) {
    size_t end = w->page.count < w->limit ? w->page.count : w->limit - 1;
    w->stats->more = w->page.count == w->limit;
    if (w->stats->more) cursor_write(&w->page.items[end - 1].hit, w->stats->next_cursor);
    for (size_t i = question->search->skip; i < end; i++) {
        *given = true;
        BL_TRY(find_give(&w->page.items[i], question->hit, question->context, err));
        w->stats->hits++;
    }
    return BL_OK;
}

static enum bl_rc search_lake(struct walk *w, const struct search_question *question, bool *given, struct bl_error *err) {
    BL_TRY(filter_parse(question->search, &w->arena, &w->filter, err));
    w->stats->from_us = w->filter.from_us;
    w->stats->to_us = w->filter.to_us;
    BL_TRY(filter_resolve(&w->filter, w->find.q, &w->arena, w->stats->note, err));
    if (!w->filter.never) BL_TRY(walk_files(w, err));
    return give_hits(w, question, given, err);
}

static enum bl_rc ask_search(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct search_question *question = context;
    const struct query_search *s = question->search;
    struct walk w = {.stats = question->stats, .limit = (size_t)(s->limit ? s->limit : LIMIT_DEFAULT) + s->skip + 1};
    w.find = (struct find){q, &w.filter, &w.arena};
    *w.stats = (struct query_search_stats){0};
    w.page.items = bl_xcalloc(2 * w.limit, sizeof *w.page.items);
    w.chunk.items = bl_xcalloc(w.limit, sizeof *w.chunk.items);
    enum bl_rc rc = search_lake(&w, question, given, err);
    free(w.page.items);
    free(w.chunk.items);
    bl_arena_release(&w.arena);
    return rc;
}

enum bl_rc query_search(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err) {
    if (s->limit > LIMIT_MAX || s->skip > LIMIT_MAX || s->limit + s->skip > LIMIT_MAX)
        return bl_fail(err, BL_E_USAGE, "at most %d hits are given, not %u: go on with the cursor of the answer before", LIMIT_MAX,
                       s->limit + s->skip);
    struct query_search_stats ignored;
    struct search_question question = {s, hit, context, stats ? stats : &ignored};
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
