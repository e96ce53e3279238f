#include "query/timeline.h"

#include <stdlib.h>

void timeline_open(struct timeline *s, struct query *q, const struct filter *filter,
                   const struct catalog_file *const *files, size_t count) {
    *s = (struct timeline){.q = q, .files = files, .file_count = count, .after = filter->after, .best = SIZE_MAX};
    s->match = (struct match){
        .tree = filter->tree, .exact = filter->exact, .from_us = filter->from_us, .to_us = filter->to_us};
    s->match.cache = &s->cache;
}

void timeline_close(struct timeline *s) {
    match_release(&s->match);
    segment_cache_release(&s->cache);
    free(s->cursors);
}

static enum bl_rc noted(struct timeline *s, struct segment *segment, enum bl_rc rc) {
    if (rc == BL_E_CORRUPT) index_note_damaged(s->q->index, segment);
    return rc;
}

enum bl_rc timeline_record(struct timeline *s, const struct cursor *c, struct segment_record *out,
                           struct bl_error *err) {
    return noted(s, c->segment, segment_record(c->segment, c->block, c->row, &s->cache, out, err));
}

/* Of one microsecond: behind `after` stands what has a larger name. */
static enum bl_rc is_behind(struct timeline *s, const struct cursor *c, bool *behind, struct bl_error *err) {
    struct segment_record r;
    *behind = true;
    if (!s->after.did.p || c->time_us != s->after.time_us) return BL_OK;
    BL_TRY(timeline_record(s, c, &r, err));
    int order = bl_str_cmp(r.did, s->after.did);
    *behind = order > 0 || (order == 0 && bl_str_cmp(r.rkey, s->after.rkey) > 0);
    return BL_OK;
}

/* The next block within the range, newest first; false at the end of the file. */
static bool next_block(const struct timeline *s, struct cursor *c, bool first) {
    for (c->block += !first; c->block < segment_blocks(c->segment); c->block++) {
        int64_t newest_us, oldest_us;
        segment_span(c->segment, c->block, &newest_us, &oldest_us);
        if (newest_us < s->match.from_us) return false;
        if (oldest_us <= s->match.to_us) return true;
    }
    return false;
}

/* To the next row that matches, c->row being one behind the last; `*more` false at the end of the file. */
static enum bl_rc move_on(struct timeline *s, struct cursor *c, bool *more, struct bl_error *err) {
    for (;;) {
        c->row = match_next(&c->rows, c->row);
        if (c->row < SEGMENT_ROWS) {
            struct segment_block b;
            bool behind;
            BL_TRY(noted(s, c->segment, segment_block(c->segment, c->block, &b, err)));
            c->time_us = segment_time(&b, c->row);
            c->key = b.keys[c->row];
            c->account = b.accounts[c->row];
            BL_TRY(is_behind(s, c, &behind, err));
            *more = true;
            if (behind) return BL_OK;
            c->row++;
            continue;
        }
        BL_TRY(watchdog_check(s->q->watchdog, err));
        *more = next_block(s, c, false);
        if (!*more) return BL_OK;
        BL_TRY(noted(s, c->segment, match_block(&s->match, c->segment, c->block, &c->rows, err)));
        c->row = 0;
    }
}

static enum bl_rc start(struct timeline *s, struct cursor *c, bool *more, struct bl_error *err) {
    BL_TRY(watchdog_check(s->q->watchdog, err));
    BL_TRY(index_segment(s->q->index, s->q->duck, c->file, &c->segment, err));
    *more = next_block(s, c, true);
    if (!*more) return BL_OK;
    BL_TRY(noted(s, c->segment, match_block(&s->match, c->segment, c->block, &c->rows, err)));
    return move_on(s, c, more, err);
}

/* Whoever reads on after the first files is likely to read many more. */
static void prepare(struct timeline *s) {
    if (s->opened < s->prepared) return;
    size_t ahead = s->opened * 2 < 256 ? s->opened * 2 : 256, left = s->file_count - s->opened;
    if (ahead > left) ahead = left;
    s->prepared = s->opened + ahead + 1;
    find_prepare(s->q, s->files + s->opened, ahead);
}

static enum bl_rc open_next(struct timeline *s, struct bl_error *err) {
    prepare(s);
    struct cursor c = {.file = s->files[s->opened]};
    bool more;
    BL_TRY(start(s, &c, &more, err));
    s->opened++;
    if (!more) return BL_OK;
    if (s->cursor_count == s->cursor_room) {
        s->cursor_room = s->cursor_room ? s->cursor_room * 2 : 8;
        s->cursors = bl_xrealloc(s->cursors, s->cursor_room * sizeof *s->cursors);
    }
    s->cursors[s->cursor_count++] = c;
    return BL_OK;
}

/* Which of two comes first. Names are read only where the times are the same. */
static enum bl_rc precedes(struct timeline *s, const struct cursor *a, const struct cursor *b, bool *first,
                           struct bl_error *err) {
    struct segment_record x, y;
    *first = a->time_us > b->time_us;
    if (a->time_us != b->time_us) return BL_OK;
    BL_TRY(timeline_record(s, a, &x, err));
    BL_TRY(timeline_record(s, b, &y, err));
    int c = bl_str_cmp(x.did, y.did);
    if (c == 0) c = bl_str_cmp(x.rkey, y.rkey);
    *first = c < 0 || (c == 0 && bl_str_cmp(x.rev, y.rev) > 0);
    return BL_OK;
}

static enum bl_rc choose(struct timeline *s, struct bl_error *err) {
    s->best = s->cursor_count ? 0 : SIZE_MAX;
    for (size_t i = 1; i < s->cursor_count; i++) {
        bool first;
        BL_TRY(precedes(s, &s->cursors[i], &s->cursors[s->best], &first, err));
        if (first) s->best = i;
    }
    return BL_OK;
}

static enum bl_rc leave_last(struct timeline *s, struct bl_error *err) {
    if (s->best == SIZE_MAX) return BL_OK;
    struct cursor *c = &s->cursors[s->best];
    bool more;
    c->row++;
    BL_TRY(move_on(s, c, &more, err));
    if (!more) *c = s->cursors[--s->cursor_count];
    return BL_OK;
}

enum bl_rc timeline_next(struct timeline *s, const struct cursor **out, struct bl_error *err) {
    BL_TRY(leave_last(s, err));
    BL_TRY(choose(s, err));
    while (s->opened < s->file_count &&
           (s->best == SIZE_MAX || s->files[s->opened]->max_us >= s->cursors[s->best].time_us)) {
        BL_TRY(open_next(s, err));
        BL_TRY(choose(s, err));
    }
    *out = s->best == SIZE_MAX ? NULL : &s->cursors[s->best];
    return BL_OK;
}
