/* A search over the lake: back through time, one window after the other, until the page is full.
 *
 * Windows grow: a common word is answered by the newest few thousand rows, a rare one by few large statements. Only the
 * places of hits are read at first (time, author, key); what was deleted, changed later or belongs to a hidden account
 * is taken out, and the texts and all else are read for the page alone. */
#include <stdlib.h>

#include "base/clock.h"
#include "query/find.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 10000, FILES_AT_ONCE = 512 };

struct walk {
    struct find find;
    struct filter filter;
    struct query_search_stats *stats;
    struct bl_arena arena; /* of the question: tree, patterns, texts of hits */
    const struct catalog_file **files;
    size_t file_count;
    struct found *items;                /* newest first; `checked` ones may be shown, the others follow */
    size_t count, checked, room, limit; /* limit: one more than wanted, to know whether there is more */
};

/* --- Windows --- */

/* Rows of the files within [from_us, to_us], as if they were spread evenly. */
static double rows_between(const struct walk *w, int64_t from_us, int64_t to_us) {
    double rows = 0;
    for (size_t i = 0; i < w->file_count; i++) {
        const struct catalog_file *f = w->files[i];
        int64_t from = from_us > f->min_us ? from_us : f->min_us, to = to_us < f->max_us ? to_us : f->max_us;
        if (from <= to) rows += (double)f->rows * (double)(to - from + 1) / (double)(f->max_us - f->min_us + 1);
    }
    return rows;
}

/* Where a window of about `rows_wanted` rows that ends with `to_us` starts. */
static int64_t window_start(const struct walk *w, int64_t from_us, int64_t to_us, double rows_wanted) {
    int64_t low = from_us, high = to_us;
    while (low < high) {
        int64_t middle = low + (high - low) / 2 + 1;
        if (rows_between(w, middle, to_us) >= rows_wanted)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The files of a window, about FILES_AT_ONCE at most: where there are more, the window starts later. */
static size_t window_files(const struct walk *w, int64_t *from_us, int64_t to_us, const struct catalog_file **out) {
    size_t n = 0;
    for (size_t i = 0; i < w->file_count; i++) {
        const struct catalog_file *f = w->files[i];
        if (f->max_us < *from_us) break;
        if (f->min_us > to_us) continue;
        if (n >= FILES_AT_ONCE &&
            f->max_us < to_us) { /* files come newest end first: no other reaches into what is left */
            *from_us = f->max_us + 1;
            break;
        }
        out[n++] = f;
    }
    return n;
}

/* --- Hits --- */

/* What is not checked yet is; the page then holds only what may be shown. */
static enum bl_rc settle(struct walk *w, struct bl_error *err) {
    BL_TRY(find_hidden(&w->find, w->items + w->checked, w->count - w->checked, err));
    w->count = w->checked = w->checked + find_drop_hidden(w->items + w->checked, w->count - w->checked);
    return BL_OK;
}

/* One window, asked again behind its last row as long as it has more to give and the page has room. A rare word costs
 * one look for later versions, and not one a window: hits stay unchecked until they would fill the page. */
static enum bl_rc read_window(struct walk *w, const struct catalog_file *const *files, size_t count, int64_t from_us,
                              int64_t to_us, struct bl_error *err) {
    struct find_range range = {.from_us = from_us, .to_us = to_us, .after = w->filter.after, .columns = FIND_PLACES};
    for (;;) {
        BL_TRY(watchdog_check(w->find.q->watchdog, err));
        BL_TRY(find_rows(&w->find, files, count, &range, w->items, &w->count, w->room, err));
        bool more = w->count == w->room;
        if (w->count == 0) return BL_OK;
        const struct query_hit *last = &w->items[w->count - 1].hit;
        range.after = (struct place){last->time_us, last->did, last->rkey};
        if (w->count >= w->limit) BL_TRY(settle(w, err));
        if (!more || w->count >= w->limit) return BL_OK;
    }
}

static enum bl_rc walk_windows(struct walk *w, struct bl_error *err) {
    enum { FIRST_ROWS = 6000, GROWTH = 16 };
    BL_CLEANUP(bl_freep) const struct catalog_file **files = bl_xcalloc(w->file_count + 1, sizeof *files);
    int64_t oldest_us = w->filter.from_us, to_us = w->filter.to_us, lowest_us = INT64_MAX;
    for (size_t i = 0; i < w->file_count; i++)
        if (w->files[i]->min_us < lowest_us) lowest_us = w->files[i]->min_us;
    if (oldest_us < lowest_us) oldest_us = lowest_us;
    if (w->file_count && to_us > w->files[0]->max_us) to_us = w->files[0]->max_us;
    const int64_t newest_us = to_us;
    double rows_wanted = (double)(w->limit < FIRST_ROWS / 4 ? FIRST_ROWS : 4 * w->limit);
    for (; oldest_us <= to_us && w->count < w->limit; rows_wanted *= GROWTH) {
        int64_t from_us = window_start(w, oldest_us, to_us, rows_wanted);
        size_t count = window_files(w, &from_us, to_us, files);
        if (count) BL_TRY(read_window(w, files, count, from_us, to_us, err));
        for (size_t i = 0; i < count; i++) /* a file that reaches beyond the window was opened for the one before */
            w->stats->files_read += files[i]->max_us <= to_us || to_us == newest_us;
        to_us = from_us - 1;
    }
    return settle(w, err);
}

static enum bl_rc walk_files(struct walk *w, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    w->file_count = session_files(w->find.q, EV_posts, w->filter.from_us, w->filter.to_us, &files);
    w->files = files;
    w->stats->files_listed = w->file_count;
    BL_TRY(walk_windows(w, err));
    if (w->count > w->limit) w->count = w->limit;
    return find_complete(&w->find, w->files, w->file_count, w->items, w->count, err);
}

struct search_question {
    const struct query_search *search;
    query_hit_fn hit;
    void *context;
    struct query_search_stats *stats;
};

static enum bl_rc give_hits(struct walk *w, const struct search_question *question, bool *given, struct bl_error *err) {
    size_t end = w->count < w->limit ? w->count : w->limit - 1;
    w->stats->more = w->count == w->limit;
    if (w->stats->more) cursor_write(&w->items[end - 1].hit, w->stats->next_cursor);
    for (size_t i = question->search->skip; i < end; i++) {
        *given = true;
        BL_TRY(find_give(&w->items[i], question->hit, question->context, err));
        w->stats->hits++;
    }
    return BL_OK;
}

static enum bl_rc search_lake(struct walk *w, const struct search_question *question, bool *given,
                              struct bl_error *err) {
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
    w.room = w.limit + w.limit / 4 + 16; /* so that a few hidden ones do not mean asking again */
    w.items = bl_xcalloc(w.room, sizeof *w.items);
    enum bl_rc rc = search_lake(&w, question, given, err);
    free(w.items);
    bl_arena_release(&w.arena);
    return rc;
}

enum bl_rc query_search(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err) {
    if (s->limit > LIMIT_MAX || s->skip > LIMIT_MAX || s->limit + s->skip > LIMIT_MAX)
        return bl_fail(err, BL_E_USAGE, "at most %d hits are given, not %u: go on with the cursor of the answer before",
                       LIMIT_MAX, s->limit + s->skip);
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
