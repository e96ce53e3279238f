/* shape: time stamps and the order of kinds. Integer and basic IEEE arithmetic only: libm's results differ between
 * machines, and the stream must not. */
#include "sim/network.h"

#include <stdlib.h>

const unsigned shape_count[SIM_KINDS] = {
    [SIM_LIKE] = SHAPE_LIKES,     [SIM_POST] = SHAPE_POSTS, [SIM_REPOST] = SHAPE_REPOSTS,
    [SIM_FOLLOW] = SHAPE_FOLLOWS, [SIM_BLOCK] = 7,          [SIM_PROFILE] = 7,
    [SIM_OTHER] = 8,              [SIM_DELETE] = SHAPE_DELETES, [SIM_IDENTITY] = 7,
    [SIM_ACCOUNT] = 7,
};

static const double window_us = 600e6, day_us = 86400e6;
enum { DEFAULT_RATE = 300, FASTEST_RATE = 50000 };
static const int64_t default_start_us = 1767571200000000; /* Monday 2026-01-05 */

/* One period of a sine-like wave made of two parabolas, x in [0,1). */
static double wave(double x) { return x < 0.5 ? 16 * x * (0.5 - x) : -16 * (x - 0.5) * (1 - x); }

void shape_init(struct shape *h, uint64_t seed, int64_t start_us, double rate) {
    if (rate <= 0) rate = DEFAULT_RATE;
    if (rate > FASTEST_RATE) rate = FASTEST_RATE; /* keeps time stamps strictly increasing */
    *h = (struct shape){.seed = seed, .start_us = start_us ? start_us : default_start_us, .step_us = 1e6 / rate};
    double length[SHAPE_WINDOWS], sum = 0;
    for (int w = 0; w < SHAPE_WINDOWS; w++) {
        length[w] = 1 / (1 + 0.4 * wave((double)w / SHAPE_WINDOWS));
        sum += length[w];
    }
    for (int w = 0; w < SHAPE_WINDOWS; w++) h->warp[w + 1] = h->warp[w] + length[w] * (day_us / sum);
    h->blocks = bl_xmalloc(sizeof *h->blocks * SHAPE_CACHED);
    for (int b = 0; b < SHAPE_CACHED; b++) h->blocks[b].number = UINT64_MAX;
}

void shape_release(struct shape *h) {
    free(h->blocks);
    h->blocks = NULL;
}

/* One window in eight holds a burst: a fifth of its events arrive in a twentieth of its time. */
static double with_burst(uint64_t hash, double v) {
    if (hash & 7) return v;
    const double share = 0.2, haste = 0.25, calm = (1 - share * haste) / (1 - share);
    double from = 0.1 + 0.6 * ((double)(hash >> 40) * 0x1p-24);
    if (v < from) return v * calm;
    if (v < from + share) return from * calm + (v - from) * haste;
    return from * calm + share * haste + (v - from - share) * calm;
}

/* Event number as a real -> microseconds since start. Continuous, increasing, and the identity at whole days. */
static double warped(const struct shape *h, double i) {
    double even = i * h->step_us;
    uint64_t windows = (uint64_t)(even / window_us);
    double v = even / window_us - (double)windows;
    unsigned w = (unsigned)(windows % SHAPE_WINDOWS);
    double day = (double)(windows / SHAPE_WINDOWS) * day_us;
    v = with_burst(sim_hash(h->seed, SALT_BURST, windows), v);
    return day + h->warp[w] + v * (h->warp[w + 1] - h->warp[w]);
}

int64_t shape_time(const struct shape *h, uint64_t i) {
    double here = warped(h, (double)i), next = warped(h, (double)i + 1);
    double jitter = (double)(sim_hash(h->seed, SALT_JITTER, i) >> 11) * 0x1p-53;
    return h->start_us + (int64_t)(here + 0.6 * jitter * (next - here));
}

static void shuffle(struct shape_block *t, uint64_t seed) {
    unsigned at = 0;
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned n = 0; n < shape_count[k]; n++) t->kind[at++] = (uint8_t)k;
    struct bl_rng r = {sim_hash(seed, SALT_SHUFFLE, t->number)};
    for (unsigned n = SHAPE_BLOCK - 1; n > 0; n--) {
        unsigned other = (unsigned)bl_rng_below(&r, n + 1);
        uint8_t kind = t->kind[n];
        t->kind[n] = t->kind[other];
        t->kind[other] = kind;
    }
    /* The stream begins with a post, so that everything after it has something to refer to. */
    if (t->number) return;
    uint8_t *post = memchr(t->kind, SIM_POST, SHAPE_BLOCK);
    *post = t->kind[0];
    t->kind[0] = SIM_POST;
}

static unsigned first_of_kind(enum sim_kind kind) {
    unsigned first = 0;
    for (unsigned k = 0; k < kind; k++) first += shape_count[k];
    return first;
}

const struct shape_block *shape_block(struct shape *h, uint64_t number) {
    struct shape_block *t = &h->blocks[number % SHAPE_CACHED];
    if (t->number == number) return t;
    t->number = number;
    shuffle(t, h->seed);
    unsigned seen[SIM_KINDS] = {0}, first[SIM_KINDS];
    for (unsigned k = 0; k < SIM_KINDS; k++) first[k] = first_of_kind((enum sim_kind)k);
    for (unsigned p = 0; p < SHAPE_BLOCK; p++) {
        unsigned kind = t->kind[p], n = seen[kind]++;
        t->within[p] = (uint16_t)n;
        t->position[first[kind] + n] = (uint16_t)p;
    }
    return t;
}

struct shape_place shape_of_event(struct shape *h, uint64_t i) {
    const struct shape_block *t = shape_block(h, i / SHAPE_BLOCK);
    unsigned p = (unsigned)(i % SHAPE_BLOCK);
    enum sim_kind kind = (enum sim_kind)t->kind[p];
    return (struct shape_place){kind, t->number * shape_count[kind] + t->within[p], t->number, t->within[p]};
}

uint64_t shape_event_of(struct shape *h, enum sim_kind kind, uint64_t number) {
    const struct shape_block *t = shape_block(h, number / shape_count[kind]);
    return t->number * SHAPE_BLOCK + t->position[first_of_kind(kind) + number % shape_count[kind]];
}

uint64_t shape_before(struct shape *h, enum sim_kind kind, uint64_t i) {
    const struct shape_block *t = shape_block(h, i / SHAPE_BLOCK);
    const uint16_t *position = t->position + first_of_kind(kind);
    unsigned p = (unsigned)(i % SHAPE_BLOCK), low = 0, high = shape_count[kind];
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (position[middle] < p) low = middle + 1;
        else high = middle;
    }
    return t->number * shape_count[kind] + low;
}

/* The j-th delete of a kind in block b names a record of block b - lag[j]. Every block is so visited once by every j, and
 * the j-th visitor takes the record at (base + j * stride): no record is deleted twice, and the deleter of a record is
 * found by trying each j. */
static const uint16_t lag_like[] = {1, 1, 1, 2, 2, 3, 4, 6, 9, 14, 30, 60, 240};
static const uint16_t lag_post[] = {1, 3, 20, 180};
static const uint16_t lag_repost[] = {1, 8, 90};
static const uint16_t lag_follow[] = {1, 2, 10, 40, 120, 240};
struct erasing {
    enum sim_kind kind;
    unsigned first, count; /* deletes of a block, by number within it */
    const uint16_t *lag;
};
static const struct erasing erasings[] = {
    {SIM_LIKE, 0, 13, lag_like}, {SIM_POST, 13, 4, lag_post}, {SIM_REPOST, 17, 3, lag_repost}, {SIM_FOLLOW, 20, 6, lag_follow}};

static unsigned skipped_of(enum sim_kind kind) {
    return kind == SIM_LIKE || kind == SIM_POST ? SHAPE_NEWCOMER_RECORDS : 0;
}

static unsigned base_of(const struct shape *h, enum sim_kind kind, uint64_t block) {
    return (unsigned)(sim_hash(h->seed, SALT_DELETE, block * SIM_KINDS + kind) % (shape_count[kind] - skipped_of(kind)));
}

static unsigned erased_within(const struct shape *h, const struct erasing *e, uint64_t block, unsigned j) {
    unsigned skipped = skipped_of(e->kind), usable = shape_count[e->kind] - skipped;
    return skipped + (base_of(h, e->kind, block) + j * (usable / e->count)) % usable;
}

bool shape_delete_target(const struct shape *h, uint64_t block, unsigned within, enum sim_kind *kind, uint64_t *number) {
    for (size_t x = 0; x < sizeof erasings / sizeof *erasings; x++) {
        const struct erasing *e = &erasings[x];
        if (within < e->first || within >= e->first + e->count) continue;
        unsigned j = within - e->first;
        if (block < e->lag[j]) return false;
        uint64_t target = block - e->lag[j];
        *kind = e->kind;
        *number = target * shape_count[e->kind] + erased_within(h, e, target, j);
        return true;
    }
    return false;
}

/* Which visitor takes the record, and with which lag; false when nobody does. */
static bool eraser_of(const struct shape *h, const struct erasing *e, uint64_t number, unsigned *visitor) {
    uint64_t block = number / shape_count[e->kind];
    unsigned within = (unsigned)(number % shape_count[e->kind]), skipped = skipped_of(e->kind);
    if (within < skipped) return false;
    unsigned usable = shape_count[e->kind] - skipped, stride = usable / e->count;
    unsigned ahead = (within - skipped + usable - base_of(h, e->kind, block)) % usable;
    if (ahead % stride || ahead / stride >= e->count) return false;
    *visitor = ahead / stride;
    return true;
}

bool shape_deleted_before(struct shape *h, enum sim_kind kind, uint64_t number, uint64_t i) {
    for (size_t x = 0; x < sizeof erasings / sizeof *erasings; x++) {
        const struct erasing *e = &erasings[x];
        unsigned j;
        if (e->kind != kind || !eraser_of(h, e, number, &j)) continue;
        uint64_t block = number / shape_count[kind] + e->lag[j];
        if (block != i / SHAPE_BLOCK) return block < i / SHAPE_BLOCK;
        return shape_event_of(h, SIM_DELETE, block * SHAPE_DELETES + e->first + j) < i;
    }
    return false;
}
