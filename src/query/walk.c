/* A search over the lake: back through time, as the index gives hits, until the page is full. A few more are taken than
 * the page has room for, so that one that must not be shown does not mean looking twice. */
#include <stdlib.h>

#include "base/clock.h"
#include "query/names.h"
#include "query/timeline.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 10000 };

struct walk {
    struct find find;
    struct filter filter;
    struct query_search_stats *stats;
    struct bl_arena arena;              /* of the question: tree, needles, texts of hits */
    struct found *items;                /* newest first; `checked` ones may be shown, the others follow */
    size_t count, checked, room, limit; /* limit: one more than wanted, to know whether there is more */
};

/* What is not checked yet is; the page then holds only what may be shown. */
static enum bl_rc settle(struct walk *w, struct bl_error *err) {
    BL_TRY(find_hidden(&w->find, w->items + w->checked, w->count - w->checked, err));
    w->count = w->checked = w->checked + find_drop_hidden(w->items + w->checked, w->count - w->checked);
    return BL_OK;
}

/* Hits until there is room for no more; `*end` when there are no others. */
static enum bl_rc fill(struct walk *w, struct timeline *s, bool *end, struct bl_error *err) {
    for (*end = false; w->count < w->room;) {
        const struct cursor *c;
        BL_TRY(timeline_next(s, &c, err));
        *end = c == NULL;
        if (*end) return BL_OK;
        const struct key_row row = {c->segment, c->block, c->row, c->key, c->time_us};
        BL_TRY(find_take(&w->find, &row, &s->cache, &w->items[w->count], err));
        w->count++;
    }
    return BL_OK;
}

/* Hits stay unchecked until they would fill the page: a rare word costs one look for later versions. */
static enum bl_rc walk_timeline(struct walk *w, struct timeline *s, struct bl_error *err) {
    for (bool end = false; !end && w->count < w->limit;) {
        BL_TRY(fill(w, s, &end, err));
        BL_TRY(settle(w, err));
    }
    if (w->count > w->limit) w->count = w->limit;
    return BL_OK;
}

static enum bl_rc walk_files(struct walk *w, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    struct timeline s;
    w->stats->files_listed = session_files(w->find.q, EV_posts, w->filter.from_us, w->filter.to_us, &files);
    timeline_open(&s, w->find.q, &w->filter, files, w->stats->files_listed);
    enum bl_rc rc = walk_timeline(w, &s, err);
    w->stats->files_read = s.opened;
    timeline_close(&s);
    return rc;
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
    size_t first = question->search->skip;
    if (first < end) BL_TRY(names_of_hits(w->find.q, w->items + first, end - first, &w->arena, err));
    for (size_t i = first; i < end; i++) {
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
    w.find = (struct find){q, &w.arena};
    *w.stats = (struct query_search_stats){0};
    w.room = w.limit + w.limit / 8 + 2;
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
    size_t built = index_built(q->index);
    enum bl_rc rc = session_run(q, ask_search, &question, err);
    question.stats->files_indexed = index_built(q->index) - built;
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
