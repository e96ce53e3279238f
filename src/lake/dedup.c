#include "lake/dedup.h"

#include "lake/damage.h"
#include "lake/idset.h"
#include "lake/reader.h"

#include <stdlib.h>

struct bucket {
    int64_t index; /* time_us / DEDUP_BUCKET_US */
    struct idset set;
    uint64_t used; /* tick of the last lookup, for giving up the least recently used */
    bool dirty;    /* holds identities of rows not committed yet */
};

struct dedup {
    char *lake_dir;
    struct catalog *catalog;
    int64_t max_bytes, bytes, shrink_above;
    uint64_t tick;
    struct bucket **buckets; /* by index, ascending */
    size_t count, capacity;
    struct bucket *recent[2]; /* the buckets of the last lookups: nearly always the next ones, too */
};

/* --- One bucket --- */

static void insert(struct dedup *d, struct bucket *b, struct ev_id id) {
    d->bytes -= idset_memory(&b->set);
    idset_add(&b->set, id);
    d->bytes += idset_memory(&b->set);
}

static int64_t memory_of(const struct bucket *b) {
    return (int64_t)(sizeof *b + sizeof(struct bucket *)) + idset_memory(&b->set);
}

static struct bucket *bucket_new(struct dedup *d, int64_t index) {
    struct bucket *b = bl_xcalloc(1, sizeof *b);
    b->index = index;
    d->bytes += memory_of(b);
    return b;
}

static void bucket_free(struct dedup *d, struct bucket *b) {
    d->bytes -= memory_of(b);
    idset_release(&b->set);
    free(b);
}

/* --- Loading from the lake --- */

struct loading {
    struct dedup *d;
    struct bucket *bucket;
};

static enum bl_rc load_row(void *context, const struct event *ev, struct bl_error *err) {
    (void)err;
    struct loading *l = context;
    insert(l->d, l->bucket, ev_identity(ev));
    return BL_OK;
}

#define BIT(column) ((uint64_t)1 << (column))

static uint64_t identity_columns(enum ev_type type) {
    if (type == EV_accounts) return BIT(EV_accounts_did) | BIT(EV_accounts_kind) | BIT(EV_accounts_seq);
    uint64_t columns = BIT(EV_DID) | BIT(EV_OPERATION) | BIT(EV_RKEY) | BIT(EV_REV);
    return type == EV_others ? columns | BIT(EV_others_collection) : columns;
}

/* DuckDB is started with the first file to read, and serves all types. */
static enum bl_rc load_type(struct dedup *d, struct bucket *b, enum ev_type type, struct duck **duck,
                            struct bl_error *err) {
    struct lake_scan scan = {.lake_dir = d->lake_dir, .type = type, .columns = identity_columns(type)};
    scan.from_us = b->index * DEDUP_BUCKET_US;
    scan.to_us = scan.from_us + DEDUP_BUCKET_US - 1;
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    BL_TRY(catalog_files(d->catalog, type, scan.from_us, scan.to_us, &files, &scan.file_count, err));
    if (scan.file_count == 0) return BL_OK;
    if (!*duck) BL_TRY(duck_open(&(struct duck_options){.memory_bytes = 256 << 20, .threads = 1}, duck, err));
    scan.files = files;
    scan.duck = *duck;
    enum bl_rc rc = lake_scan_rows(&scan, load_row, &(struct loading){d, b}, err);
    return rc == BL_OK ? rc : blame_damaged_file(d->lake_dir, files, scan.file_count, rc, err);
}

static enum bl_rc load(struct dedup *d, struct bucket *b, struct bl_error *err) {
    BL_CLEANUP(duck_close) struct duck *duck = NULL;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) BL_TRY(load_type(d, b, (enum ev_type)t, &duck, err));
    return BL_OK;
}

/* --- All buckets --- */

/* Position of the bucket, or of the first one behind it. */
static size_t position(const struct dedup *d, int64_t index) {
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (d->buckets[middle]->index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void add_bucket(struct dedup *d, size_t at, struct bucket *b) {
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? d->capacity * 2 : 16;
        d->buckets = bl_xrealloc(d->buckets, d->capacity * sizeof(struct bucket *));
    }
    memmove(d->buckets + at + 1, d->buckets + at, (d->count - at) * sizeof(struct bucket *));
    d->buckets[at] = b;
    d->count++;
}

static enum bl_rc find_or_load(struct dedup *d, int64_t index, struct bucket **out, struct bl_error *err) {
    size_t at = position(d, index);
    if (at < d->count && d->buckets[at]->index == index) {
        *out = d->buckets[at];
        return BL_OK;
    }
    struct bucket *b = bucket_new(d, index);
    enum bl_rc rc = load(d, b, err);
    if (rc != BL_OK) {
        bucket_free(d, b);
        return rc;
    }
    add_bucket(d, at, b);
    *out = b;
    return BL_OK;
}

static enum bl_rc bucket_at(struct dedup *d, int64_t index, struct bucket **out, struct bl_error *err) {
    struct bucket **cached = &d->recent[index & 1]; /* neighbours differ in the last bit */
    if (!*cached || (*cached)->index != index) BL_TRY(find_or_load(d, index, cached, err));
    (*cached)->used = d->tick;
    *out = *cached;
    return BL_OK;
}

/* Remove the buckets that `drop` chooses, keeping the order of the others. */
static void drop_buckets(struct dedup *d, bool (*drop)(const struct bucket *b, uint64_t limit), uint64_t limit) {
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct bucket *b = d->buckets[i];
        if (drop(b, limit)) {
            bucket_free(d, b);
        } else {
            d->buckets[kept++] = b;
        }
    }
    d->count = kept;
    d->recent[0] = d->recent[1] = NULL;
}

static int by_use(const void *a, const void *b) {
    const struct bucket *x = *(struct bucket *const *)a, *y = *(struct bucket *const *)b;
    return (x->used > y->used) - (x->used < y->used);
}

static bool unused_since(const struct bucket *b, uint64_t limit) { return !b->dirty && b->used <= limit; }

/* Gives up a good part at once, so that the sorting is paid rarely; what the current lookup uses stays. */
static void shrink(struct dedup *d) {
    struct bucket **oldest = bl_xcalloc(d->count, sizeof *oldest);
    memcpy(oldest, d->buckets, d->count * sizeof *oldest);
    qsort(oldest, d->count, sizeof *oldest, by_use);
    int64_t excess = d->bytes - d->max_bytes / 8 * 7;
    uint64_t limit = 0;
    for (size_t i = 0; i < d->count && excess > 0 && oldest[i]->used < d->tick; i++) {
        if (oldest[i]->dirty) continue;
        excess -= memory_of(oldest[i]);
        limit = oldest[i]->used;
    }
    free(oldest);
    if (limit) drop_buckets(d, unused_since, limit);
    /* Where uncommitted buckets alone fill the limit, trying again at every lookup would be in vain. */
    int64_t later = d->bytes + d->max_bytes / 16;
    d->shrink_above = later > d->max_bytes ? later : d->max_bytes;
}

struct dedup *dedup_new(const char *lake_dir, struct catalog *catalog, const struct dedup_options *o) {
    struct dedup *d = bl_xcalloc(1, sizeof *d);
    d->lake_dir = bl_xstrdup(lake_dir);
    d->catalog = catalog;
    d->max_bytes = o && o->max_bytes ? o->max_bytes : (int64_t)160 << 20;
    d->shrink_above = d->max_bytes;
    return d;
}

static bool any(const struct bucket *b, uint64_t limit) {
    (void)b, (void)limit;
    return true;
}

void dedup_free(struct dedup **dedup) {
    struct dedup *d = *dedup;
    if (!d) return;
    drop_buckets(d, any, 0);
    free(d->buckets);
    free(d->lake_dir);
    free(d);
    *dedup = NULL;
}

/* The other bucket a repetition may stand in, or the event's own when it is far from both edges. */
static int64_t neighbour(int64_t index, int64_t time_us) {
    int64_t into = time_us - index * DEDUP_BUCKET_US;
    if (into < DEDUP_SLACK_US) return index - 1;
    if (into >= DEDUP_BUCKET_US - DEDUP_SLACK_US) return index + 1;
    return index;
}

enum bl_rc dedup_check(struct dedup *d, enum ev_type type, struct ev_id id, int64_t time_us, bool *known,
                       struct bl_error *err) {
    (void)type; /* part of the identity */
    d->tick++;
    int64_t index = time_us / DEDUP_BUCKET_US, beside = neighbour(index, time_us);
    struct bucket *own, *other = NULL;
    BL_TRY(bucket_at(d, index, &own, err));
    if (beside != index) {
        BL_TRY(bucket_at(d, beside, &other, err));
        idset_prefetch(&other->set, id);
    }
    *known = idset_has(&own->set, id) || (other && idset_has(&other->set, id));
    if (*known) return BL_OK;
    insert(d, own, id);
    own->dirty = true;
    if (d->bytes > d->shrink_above) shrink(d);
    return BL_OK;
}

void dedup_expect(const struct dedup *d, struct ev_id id, int64_t time_us) {
    int64_t index = time_us / DEDUP_BUCKET_US;
    const struct bucket *b = d->recent[index & 1];
    if (b && b->index == index) idset_prefetch(&b->set, id);
}

void dedup_committed(struct dedup *d) {
    for (size_t i = 0; i < d->count; i++) d->buckets[i]->dirty = false;
}

static bool is_dirty(const struct bucket *b, uint64_t limit) {
    (void)limit;
    return b->dirty;
}

void dedup_forget(struct dedup *d) { drop_buckets(d, is_dirty, 0); }

int64_t dedup_memory(const struct dedup *d) { return d->bytes; }
