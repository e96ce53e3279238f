#define XXH_INLINE_ALL
#include <xxhash.h>

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "lake/lake_priv.h"
#include "lake/reader.h"

/* Rows of one (type, hour), counted and summed up so that the order plays no part. */
struct tally {
    int64_t rows;
    uint64_t sum;
};

struct hour_job {
    struct lake *l;
    enum ev_type type;
    int64_t hour_us;
    struct catalog_file *old;
    size_t old_count;
    struct lake_file **made;
    size_t made_count;
    struct lake_file_options options;
    const struct lake_sieve *sieve; /* NULL: every row is kept */
    const char *job;
    struct tally before, dropped, after;
    int64_t raw_bytes;
};

static uint64_t hash_text(struct bl_str s, uint64_t seed) {
    return XXH3_64bits_withSeed(s.n ? s.p : "", s.n, seed);
}

static uint64_t hash_list(struct ev_list list, uint64_t seed) {
    uint64_t h = seed ^ (list.count + 1) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < list.count; i++) h = hash_text(list.items[i], h + list.items[i].n);
    return h;
}

/* Over every value of the row, identity included: each value seeded by what came before, its column and length. */
static uint64_t hash_row(const struct event *ev) {
    const struct ev_schema *schema = ev_schema(ev->type);
    uint64_t h = XXH3_64bits_withSeed(&ev->has, sizeof ev->has, schema->count);
    for (unsigned i = 0; i < schema->count; i++) {
        if (!ev_has(ev, i)) continue;
        const struct ev_value *v = &ev->v[i];
        switch (schema->columns[i].kind) {
        case EV_STR:
        case EV_JSON:
            h = hash_text(v->s, h + i);
            break;
        case EV_LIST:
            h = hash_list(v->list, h + i);
            break;
        case EV_I64:
        case EV_TIME:
        case EV_BOOL:
            h = XXH3_64bits_withSeed(&v->i, sizeof v->i, h + i);
            break;
        }
    }
    return h;
}

static void count_row(struct tally *t, const struct event *ev) {
    t->rows++;
    t->sum += hash_row(ev);
}

static enum bl_rc next_file(struct hour_job *j, struct bl_error *err) {
    j->made = bl_xrealloc(j->made, (j->made_count + 1) * sizeof *j->made);
    BL_TRY(
        lake_file_open(j->l->dir, j->type, j->hour_us, j->l->next_number++, &j->options, &j->made[j->made_count], err));
    j->made_count++;
    return BL_OK;
}

/* Size is known at row groups only; a file ends where one more like those before would exceed the target. */
static bool is_full(const struct hour_job *j, const struct lake_file *f) {
    int64_t groups, written = pq_written(f->w, &groups);
    return groups > 0 && written + written / groups > j->l->o.file_bytes_max;
}

static enum bl_rc rewrite_row(void *context, const struct event *ev, struct bl_error *err) {
    struct hour_job *j = context;
    count_row(&j->before, ev);
    if (j->sieve && j->sieve->drops(j->sieve->context, ev)) {
        count_row(&j->dropped, ev);
        return BL_OK;
    }
    struct lake_file *f = j->made_count ? j->made[j->made_count - 1] : NULL;
    if (!f || is_full(j, f)) {
        if (f) BL_TRY(lake_file_finish(f, err));
        BL_TRY(next_file(j, err));
        f = j->made[j->made_count - 1];
    }
    return lake_file_append(f, ev, 0, err);
}

static enum bl_rc check_row(void *context, const struct event *ev, struct bl_error *err) {
    struct hour_job *j = context;
    (void)err;
    count_row(&j->after, ev);
    return BL_OK;
}

static enum bl_rc rewrite(struct hour_job *j, struct bl_error *err) {
    struct lake_scan scan = {
        .lake_dir = j->l->dir,
        .type = j->type,
        .files = j->old,
        .file_count = j->old_count,
        .ordered = true,
    };
    BL_TRY(lake_scan_rows(&scan, rewrite_row, j, err));
    return j->made_count ? lake_file_finish(j->made[j->made_count - 1], err) : BL_OK;
}

static enum bl_rc read_back(struct hour_job *j, struct bl_error *err) {
    struct catalog_file *files = bl_xcalloc(j->made_count + 1, sizeof *files);
    for (size_t i = 0; i < j->made_count; i++) files[i] = lake_file_entry(j->made[i]);
    struct lake_scan scan = {.lake_dir = j->l->dir, .type = j->type, .files = files, .file_count = j->made_count};
    enum bl_rc rc = lake_scan_rows(&scan, check_row, j, err);
    free(files);
    return rc;
}

static enum bl_rc compare(const struct hour_job *j, struct bl_error *err) {
    int64_t listed = 0;
    for (size_t i = 0; i < j->old_count; i++) listed += j->old[i].rows;
    struct tally kept = {j->before.rows - j->dropped.rows, j->before.sum - j->dropped.sum};
    if (listed == j->before.rows && kept.rows == j->after.rows && kept.sum == j->after.sum) return BL_OK;
    return bl_fail(err, BL_E_CORRUPT,
                   "%s of %s, hour starting at %" PRId64 ", would change rows: %" PRId64 " listed, %" PRId64
                   " read, %" PRId64 " to be kept, %" PRId64 " written, sums %016" PRIx64 " and %016" PRIx64
                   ": nothing was replaced; run verify",
                   j->job, ev_schema(j->type)->name, j->hour_us, listed, j->before.rows, kept.rows, j->after.rows,
                   kept.sum, j->after.sum);
}

static enum bl_rc place(struct hour_job *j, struct bl_error *err) {
    for (size_t i = 0; i < j->made_count; i++)
        BL_TRY(lake_file_place(j->l->dir, j->made[i], ev_schema(j->type)->name, err));
    return j->made_count ? lake_sync_folder(j->l, j->hour_us, err) : BL_OK;
}

static enum bl_rc replace(struct hour_job *j, struct lake_compact_stats *stats, struct bl_error *err) {
    struct catalog_file *add = bl_xcalloc(j->made_count + 1, sizeof *add);
    int64_t *remove = bl_xcalloc(j->old_count + 1, sizeof *remove), snapshot, rows_left = j->before.rows,
            raw_left = j->raw_bytes;
    for (size_t i = 0; i < j->old_count; i++) remove[i] = j->old[i].id;
    for (size_t i = 0; i < j->made_count; i++) {
        add[i] = lake_file_entry(j->made[i]);
        add[i].compacted = true;
        add[i].raw_bytes = (int64_t)((double)raw_left * (double)add[i].rows / (double)rows_left);
        raw_left -= add[i].raw_bytes;
        rows_left -= add[i].rows;
        stats->bytes_after += add[i].bytes;
    }
    int64_t purged[EV_TYPE_COUNT] = {0};
    purged[j->type] = j->dropped.rows;
    struct catalog_commit commit = {.add = add,
                                    .add_count = j->made_count,
                                    .remove = remove,
                                    .remove_count = j->old_count,
                                    .purged = purged,
                                    .job = j->job};
    enum bl_rc rc = catalog_commit(j->l->catalog, &commit, &snapshot, err);
    free(add);
    free(remove);
    return rc;
}

/* The lake no longer lists them; what cannot be unlinked now is swept when the lake is opened again. */
static enum bl_rc unlink_old(struct hour_job *j, struct bl_error *err) {
    for (size_t i = 0; i < j->old_count; i++) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", j->l->dir, j->old[i].path);
        BL_CRASH_POINT("compact.before_unlink");
        if (unlink(path) != 0) continue;
        BL_CRASH_POINT("compact.after_unlink");
        BL_TRY(catalog_forget_removed(j->l->catalog, j->old[i].path, err));
        BL_CRASH_POINT("compact.after_forget");
    }
    return BL_OK;
}

static enum bl_rc compact_files(struct hour_job *j, struct lake_compact_stats *stats, struct bl_error *err) {
    BL_TRY(rewrite(j, err));
    BL_TRY(read_back(j, err));
    BL_TRY(compare(j, err));
    BL_CRASH_POINT("compact.before_place");
    BL_TRY(place(j, err));
    BL_CRASH_POINT("compact.before_replace");
    return replace(j, stats, err);
}

/* Keeps only this hour's files of the list; false when they are all in their final form, and no row is to go. */
static bool needs_work(struct hour_job *j) {
    size_t kept = 0;
    bool open = false;
    for (size_t i = 0; i < j->old_count; i++) {
        if (j->old[i].hour_us != j->hour_us) continue;
        open |= !j->old[i].compacted;
        j->raw_bytes += j->old[i].raw_bytes;
        j->old[kept++] = j->old[i];
    }
    j->old_count = kept;
    return open || (j->sieve && kept);
}

static void release(struct hour_job *j, bool keep_files) {
    for (size_t i = 0; i < j->made_count; i++) {
        bool listed = j->made[i]->path[0] && catalog_knows_path(j->l->catalog, j->made[i]->path);
        if (keep_files || listed)
            lake_file_free(&j->made[i]);
        else
            lake_file_discard(j->l->dir, &j->made[i]);
    }
    free(j->made);
    free(j->old);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

enum bl_rc lake_rewrite_hour(struct lake *l, enum ev_type type, int64_t hour_us, const struct lake_sieve *sieve,
                             struct lake_compact_stats *stats, struct bl_error *err) {
    struct hour_job j = {.l = l,
                         .type = type,
                         .hour_us = hour_us,
                         .sieve = sieve,
                         .job = sieve ? "purge" : "compact",
                         .options = {.codec = l->o.codec, .stage = LAKE_STAGE_COMPACT}};
    j.options.row_group_bytes = clamp(l->o.file_bytes_max, 64 << 10, 96 << 20);
    BL_TRY(catalog_files(l->catalog, j.type, j.hour_us, j.hour_us + LAKE_HOUR_US - 1, &j.old, &j.old_count, err));
    if (!needs_work(&j)) {
        release(&j, false);
        return BL_OK;
    }
    struct lake_compact_stats done = *stats;
    enum bl_rc rc = compact_files(&j, &done, err);
    if (rc == BL_OK) {
        done.hours++;
        done.files_before += (int64_t)j.old_count;
        done.files_after += (int64_t)j.made_count;
        done.rows += j.before.rows;
        done.dropped += j.dropped.rows;
        for (size_t i = 0; i < j.old_count; i++) done.bytes_before += j.old[i].bytes;
        *stats = done;
        rc = unlink_old(&j, err);
    }
    release(&j, rc == BL_OK);
    return rc;
}

enum bl_rc lake_compact(struct lake *l, int64_t before_us, struct lake_compact_stats *stats, struct bl_error *err) {
    struct lake_compact_stats done = {0};
    struct catalog_hour *hours = NULL;
    size_t count = 0;
    BL_TRY(catalog_hours_to_compact(l->catalog, before_us, &hours, &count, err));
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; rc == BL_OK && i < count; i++)
        rc = lake_rewrite_hour(l, hours[i].type, hours[i].hour_us, NULL, &done, err);
    free(hours);
    if (stats) *stats = done;
    return rc;
}
