/* What the catalogue says of the lake, without opening a file of it. */
#include <stdlib.h>

#include "query/session.h"

enum bl_rc query_gaps(struct query *q, int64_t from_us, int64_t to_us, struct query_gap **out, size_t *count,
                      struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_gap *gaps = NULL;
    size_t n = 0;
    BL_TRY(catalog_gaps(q->catalog, from_us, to_us, &gaps, &n, err));
    struct query_gap *copy = bl_xcalloc(n + 1, sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = (struct query_gap){.from_us = gaps[i].from_us, .to_us = gaps[i].to_us, .healed = gaps[i].healed};
        snprintf(copy[i].host, sizeof copy[i].host, "%s", gaps[i].host);
        snprintf(copy[i].reason, sizeof copy[i].reason, "%s", gaps[i].reason);
    }
    *out = copy;
    *count = n;
    return BL_OK;
}

static void note_dead(void *context, const struct catalog_dead *dead) {
    struct query_lake_status *s = context;
    size_t i = 0;
    while (i < s->reason_count && strcmp(s->dead_by_reason[i].reason, dead->reason) != 0) i++;
    if (i == QUERY_REASONS_MAX) return;
    if (i == s->reason_count)
        snprintf(s->dead_by_reason[s->reason_count++].reason, sizeof s->dead_by_reason[0].reason, "%s", dead->reason);
    s->dead_by_reason[i].count++;
}

static enum bl_rc count_types(struct query *q, struct query_lake_status *s, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    size_t count = 0;
    BL_TRY(catalog_files(q->catalog, EV_TYPE_COUNT, INT64_MIN, INT64_MAX, &files, &count, err));
    s->type_count = EV_TYPE_COUNT;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) s->types[t].type = ev_schema((enum ev_type)t)->name;
    for (size_t i = 0; i < count; i++) {
        s->types[files[i].type].files++;
        s->types[files[i].type].rows += files[i].rows;
        s->types[files[i].type].bytes += files[i].bytes;
    }
    return BL_OK;
}

static enum bl_rc count_gaps(struct query *q, struct query_lake_status *s, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_gap *gaps = NULL;
    size_t count = 0;
    BL_TRY(catalog_gaps(q->catalog, INT64_MIN, INT64_MAX, &gaps, &count, err));
    for (size_t i = 0; i < count; i++) s->gaps += !gaps[i].healed;
    return BL_OK;
}

enum bl_rc query_lake_status(struct query *q, struct query_lake_status *out, struct bl_error *err) {
    _Static_assert((int)EV_TYPE_COUNT <= (int)QUERY_TYPES_MAX, "the status has no room for every type");
    enum { LETTERS_LOOKED_AT = 100000 }; /* the newest; their total is exact */
    struct catalog_totals totals;
    BL_TRY(catalog_totals(q->catalog, &totals, err));
    struct query_lake_status s = {.snapshot = totals.snapshot,
                                  .files = totals.files,
                                  .rows = totals.rows,
                                  .bytes = totals.bytes,
                                  .raw_bytes = totals.raw_bytes,
                                  .oldest_us = totals.min_us,
                                  .newest_us = totals.max_us,
                                  .last_commit_us = totals.last_commit_us,
                                  .dead_letters = totals.dead};
    BL_TRY(count_types(q, &s, err));
    BL_TRY(count_gaps(q, &s, err));
    if (totals.dead) BL_TRY(catalog_dead_letters(q->catalog, LETTERS_LOOKED_AT, note_dead, &s, err));
    *out = s;
    return BL_OK;
}
