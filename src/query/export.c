/* An answer without a limit: as the index gives it, page by page. Memory holds one page. */
#include <stdlib.h>

#include "base/clock.h"
#include "lake/parquet.h"
#include "query/hidden.h"
#include "query/timeline.h"

struct export_question {
    const struct query_search *search;
    query_hit_fn hit;
    void *context;
    struct query_search_stats *stats;
};
struct export {
    struct find find;
    struct filter filter;
    struct bl_arena arena;      /* of the question */
    struct bl_arena page_arena; /* of the hits at hand */
    struct found *items;
    int64_t left, skip;
    const struct export_question *question;
};
enum { PAGE = 8192, PAGE_BYTES = 32 << 20 };

static enum bl_rc give_page(struct export *e, size_t count, bool *given, struct bl_error *err) {
    struct query_search_stats *stats = e->question->stats;
    const struct query_hit *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (e->skip > 0) {
            e->skip--;
            continue;
        }
        stats->more = e->left == 0;
        if (stats->more) break;
        *given = true;
        BL_TRY(find_give(&e->items[i], e->question->hit, e->question->context, err));
        last = &e->items[i].hit;
        stats->hits++;
        e->left--;
    }
    if (last) cursor_write(last, stats->next_cursor);
    return BL_OK;
}

/* Hits that may be shown, as far as deletes and edits tell, until there is room for no more. */
static enum bl_rc fill_page(struct export *e, struct timeline *s, size_t *count, bool *end, struct bl_error *err) {
    bl_arena_reset(&e->page_arena);
    for (*count = 0, *end = false; *count < PAGE && e->page_arena.used < PAGE_BYTES;) {
        const struct cursor *c;
        BL_TRY(timeline_next(s, &c, err));
        *end = c == NULL;
        if (*end) return BL_OK;
        if (hidden_is(e->find.q->hidden, c->key, c->account, c->time_us)) continue;
        const struct key_row row = {c->segment, c->block, c->row, c->key, c->time_us};
        BL_TRY(find_take(&e->find, &row, &s->cache, &e->items[*count], err));
        ++*count;
    }
    return BL_OK;
}

static enum bl_rc give_pages(struct export *e, struct timeline *s, bool *given, struct bl_error *err) {
    for (bool end = false; !end && !e->question->stats->more;) {
        size_t count;
        watchdog_extend(e->find.q->watchdog, e->find.q->deadline_us);
        BL_TRY(fill_page(e, s, &count, &end, err));
        BL_TRY(find_authors(&e->find, e->items, count, err));
        BL_TRY(give_page(e, find_drop_hidden(e->items, count), given, err));
    }
    return BL_OK;
}

static enum bl_rc give_files(struct export *e, bool *given, struct bl_error *err) {
    struct query_search_stats *stats = e->question->stats;
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    struct timeline s;
    stats->files_listed = session_files(e->find.q, EV_posts, e->filter.from_us, e->filter.to_us, &files);
    timeline_open(&s, e->find.q, &e->filter, files, stats->files_listed);
    enum bl_rc rc = give_pages(e, &s, given, err);
    stats->files_read = s.opened;
    timeline_close(&s);
    return rc;
}

static enum bl_rc export_lake(struct export *e, bool *given, struct bl_error *err) {
    struct query_search_stats *stats = e->question->stats;
    BL_TRY(filter_parse(e->question->search, &e->arena, &e->filter, err));
    stats->from_us = e->filter.from_us;
    stats->to_us = e->filter.to_us;
    BL_TRY(filter_resolve(&e->filter, e->find.q, &e->arena, stats->note, err));
    if (!e->filter.never) {
        BL_TRY(hidden_refresh(e->find.q, e->filter.from_us, err));
        BL_TRY(give_files(e, given, err));
    }
    if (!stats->more) *stats->next_cursor = 0;
    return BL_OK;
}

static enum bl_rc ask_export(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct export_question *question = context;
    const struct query_search *s = question->search;
    struct export e = {.question = question, .left = s->limit ? s->limit : INT64_MAX, .skip = s->skip};
    e.find = (struct find){q, &e.page_arena};
    *question->stats = (struct query_search_stats){0};
    e.items = bl_xcalloc(PAGE, sizeof *e.items);
    enum bl_rc rc = export_lake(&e, given, err);
    free(e.items);
    bl_arena_release(&e.page_arena);
    bl_arena_release(&e.arena);
    return rc;
}

enum bl_rc query_export(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err) {
    struct query_search_stats ignored;
    struct export_question question = {s, hit, context, stats ? stats : &ignored};
    int64_t start_ns = bl_mono_ns();
    size_t built = index_built(q->index);
    enum bl_rc rc = session_run(q, ask_export, &question, err);
    question.stats->files_indexed = index_built(q->index) - built;
    question.stats->elapsed_us = (bl_mono_ns() - start_ns) / 1000;
    return rc;
}

/* --- Parquet --- */

static const struct pq_column parquet_columns[] = {{"timestamp", PQ_TIMESTAMP_US, false, 0},
                                                   {"username", PQ_STRING, false, 0},
                                                   {"text", PQ_STRING, true, 0},
                                                   {"uri", PQ_STRING, false, 0},
                                                   {"did", PQ_STRING, false, 0},
                                                   {"handle", PQ_STRING, true, 0},
                                                   {"display_name", PQ_STRING, true, 0},
                                                   {"langs", PQ_JSON, true, 0},
                                                   {"created_at", PQ_STRING, true, 0},
                                                   {"hashtags", PQ_JSON, true, 0},
                                                   {"links", PQ_JSON, true, 0},
                                                   {"reply_parent_uri", PQ_STRING, true, 0},
                                                   {"quote_uri", PQ_STRING, true, 0},
                                                   {"facets", PQ_JSON, true, 0},
                                                   {"embed", PQ_JSON, true, 0}};
enum { PARQUET_COLUMNS = sizeof parquet_columns / sizeof parquet_columns[0] };

static enum bl_rc put_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct pq_writer *w = context;
    const struct bl_str texts[PARQUET_COLUMNS - 1] = {hit->handle.p ? hit->handle : hit->did,
                                                      hit->text,
                                                      hit->uri,
                                                      hit->did,
                                                      hit->handle,
                                                      hit->display_name,
                                                      hit->langs_json,
                                                      hit->created_at,
                                                      hit->hashtags_json,
                                                      hit->links_json,
                                                      hit->reply_parent_uri,
                                                      hit->quote_uri,
                                                      hit->facets_json,
                                                      hit->embed_json};
    pq_i64(w, 0, hit->time_us);
    for (unsigned c = 1; c < PARQUET_COLUMNS; c++) {
        if (texts[c - 1].p)
            pq_str(w, c, texts[c - 1]);
        else
            pq_null(w, c);
    }
    return pq_row_end(w, err);
}

enum bl_rc query_export_parquet(struct query *q, const struct query_search *s, int fd, struct query_search_stats *stats,
                                struct bl_error *err) {
    static const struct pq_options options = {.codec = PQ_ZSTD, .row_group_rows = 100000, .row_group_bytes = 32 << 20};
    struct pq_writer *w = pq_open(fd, parquet_columns, PARQUET_COLUMNS, &options);
    struct pq_summary summary;
    enum bl_rc rc = query_export(q, s, put_hit, w, stats, err);
    if (rc == BL_OK) rc = pq_finish(w, NULL, 0, &summary, err);
    pq_close(&w);
    return rc;
}
