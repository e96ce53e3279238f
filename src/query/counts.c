/* How many posts fall into each hour or day, newest files first, until the time is up. */
#include <stdlib.h>

#include "base/clock.h"
#include "query/find.h"
#include "query/hidden.h"
#include "query/match.h"

static const int64_t HOUR_US = INT64_C(3600000000);
enum { BUCKETS_MAX = 1 << 20 };

struct counting {
    struct query *q;
    const struct query_search *search;
    struct query_counts *out;
    struct filter filter;
    struct match match;
    struct segment_cache cache;
    struct bl_arena arena;
    int64_t width_us, oldest, newest; /* numbers of buckets */
    struct query_count *found;        /* start_us holds the bucket's number; each may occur several times */
    size_t found_count, found_room;
};

static void note_count(struct counting *c, int64_t number, int64_t count) {
    if (c->found_count == c->found_room) {
        c->found_room = c->found_room ? c->found_room * 2 : 256;
        c->found = bl_xrealloc(c->found, c->found_room * sizeof *c->found);
    }
    c->found[c->found_count++] = (struct query_count){number, count};
    if (number < c->oldest) c->oldest = number;
    if (number > c->newest) c->newest = number;
    c->out->total += count;
}

/* Rows come in the order of time, so neighbours mostly fall into one bucket. */
static void count_rows(struct counting *c, const struct match_rows *rows, const struct segment_block *b) {
    int64_t number = 0, count = 0, starts_us = INT64_MAX;
    for (unsigned row = match_next(rows, 0); row < SEGMENT_ROWS; row = match_next(rows, row + 1)) {
        int64_t time_us = segment_time(b, row);
        if (hidden_is(c->q->hidden, b->keys[row], b->accounts[row], time_us)) continue;
        if (time_us < starts_us) {
            if (count) note_count(c, number, count);
            count = 0;
            number = time_us / c->width_us;
            starts_us = number * c->width_us;
        }
        count++;
    }
    if (count) note_count(c, number, count);
}

static enum bl_rc count_segment(struct counting *c, struct segment *s, struct bl_error *err) {
    for (size_t i = 0; i < segment_blocks(s); i++) {
        struct match_rows rows;
        int64_t newest_us, oldest_us;
        segment_span(s, i, &newest_us, &oldest_us);
        if (oldest_us > c->filter.to_us) continue;
        if (newest_us < c->filter.from_us) return BL_OK;
        BL_TRY(watchdog_check(c->q->watchdog, err));
        BL_TRY(match_block(&c->match, s, i, &rows, err));
        count_rows(c, &rows, &c->match.block);
    }
    return BL_OK;
}

/* Half of an answer is none: the files of an hour count together. */
static enum bl_rc count_files(struct counting *c, const struct catalog_file *const *files, size_t count,
                              struct bl_error *err) {
    size_t before = c->found_count;
    int64_t total = c->out->total;
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < count && rc == BL_OK; i++) {
        struct segment *s = NULL;
        rc = index_segment(c->q->index, c->q->duck, files[i], &s, err);
        if (rc == BL_OK) rc = count_segment(c, s, err);
        if (rc == BL_E_CORRUPT && s) index_note_damaged(c->q->index, s);
    }
    if (rc == BL_OK) return BL_OK;
    c->found_count = before;
    c->out->total = total;
    return rc;
}

static void choose_bucket(struct counting *c, enum query_bucket wanted, const struct catalog_file *const *files,
                          size_t count) {
    int64_t from_us = c->filter.from_us, to_us = c->filter.to_us, oldest = INT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (files[i]->min_us < oldest) oldest = files[i]->min_us;
    if (count && from_us < oldest) from_us = oldest;
    if (count && to_us > files[0]->max_us) to_us = files[0]->max_us;
    bool hours =
        wanted == QUERY_BUCKET_HOUR || (wanted == QUERY_BUCKET_AUTO && (!count || to_us - from_us <= 72 * HOUR_US));
    c->out->bucket = hours ? QUERY_BUCKET_HOUR : QUERY_BUCKET_DAY;
    c->width_us = hours ? HOUR_US : 24 * HOUR_US;
}

/* Whole hours: a deadline leaves complete ones behind. */
static enum bl_rc count_newest_first(struct counting *c, const struct catalog_file *const *files, size_t count,
                                     struct bl_error *err) {
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at + 1; end < count && files[end]->hour_us == files[at]->hour_us;) end++;
        BL_TRY(count_files(c, files + at, end - at, err));
        c->out->counted_from_us = files[at]->hour_us;
    }
    return BL_OK;
}

static enum bl_rc fill_buckets(struct counting *c, struct bl_error *err) {
    if (c->found_count == 0) return BL_OK;
    if (c->newest - c->oldest >= BUCKETS_MAX)
        return bl_fail(err, BL_E_FULL, "the range has too many hours: count days");
    struct query_counts *out = c->out;
    out->count = (size_t)(c->newest - c->oldest + 1);
    out->buckets = bl_xcalloc(out->count, sizeof *out->buckets);
    for (size_t i = 0; i < out->count; i++) out->buckets[i].start_us = (c->oldest + (int64_t)i) * c->width_us;
    for (size_t i = 0; i < c->found_count; i++)
        out->buckets[c->found[i].start_us - c->oldest].count += c->found[i].count;
    return BL_OK;
}

static enum bl_rc count_lake(struct counting *c, enum query_bucket bucket, struct bl_error *err) {
    BL_TRY(filter_parse(c->search, &c->arena, &c->filter, err));
    c->out->from_us = c->filter.from_us;
    c->out->to_us = c->filter.to_us;
    BL_TRY(filter_resolve(&c->filter, c->q, &c->arena, c->out->note, err));
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(c->q, EV_posts, c->filter.from_us, c->filter.to_us, &files);
    choose_bucket(c, bucket, files, count);
    if (c->filter.never || count == 0) return BL_OK;
    c->out->counted_from_us = files[0]->max_us;
    enum bl_rc rc = hidden_refresh(c->q, c->filter.from_us, err);
    c->match = (struct match){.tree = c->filter.tree,
                              .exact = c->filter.exact,
                              .from_us = c->filter.from_us,
                              .to_us = c->filter.to_us,
                              .cache = &c->cache};
    if (rc == BL_OK) rc = count_newest_first(c, files, count, err);
    if (rc != BL_OK && watchdog_check(c->q->watchdog, NULL) == BL_E_TIMEOUT) {
        c->out->partial = true;
        rc = BL_OK;
    }
    BL_TRY(rc);
    return fill_buckets(c, err);
}

struct counts_question {
    const struct query_search *search;
    enum query_bucket bucket;
    struct query_counts *out;
};

static enum bl_rc ask_counts(struct query *q, void *context, bool *given, struct bl_error *err) {
    (void)given;
    const struct counts_question *question = context;
    struct counting c = {
        .q = q, .search = question->search, .out = question->out, .oldest = INT64_MAX, .newest = INT64_MIN};
    *c.out = (struct query_counts){0};
    enum bl_rc rc = count_lake(&c, question->bucket, err);
    free(c.found);
    match_release(&c.match);
    segment_cache_release(&c.cache);
    bl_arena_release(&c.arena);
    return rc;
}

enum bl_rc query_counts(struct query *q, const struct query_search *s, enum query_bucket bucket, int64_t deadline_us,
                        struct query_counts *out, struct bl_error *err) {
    struct query_search all = *s;
    all.after = (struct bl_str){0};
    struct counts_question question = {&all, bucket, out};
    int64_t allowed_us = q->deadline_us;
    if (deadline_us) q->deadline_us = deadline_us;
    enum bl_rc rc = session_run(q, ask_counts, &question, err);
    q->deadline_us = allowed_us;
    return rc;
}
