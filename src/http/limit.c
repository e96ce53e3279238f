#include "http/limit.h"

#include <stdlib.h>

#include "base/rng.h"

enum { SLOTS = 8192, PROBES = 16, HOUR_S = 3600 };

struct bucket {
    uint64_t id; /* 0: free */
    double tokens;
    int64_t at_ns;
};
struct limit {
    double capacity;
    uint64_t seed; /* unknown outside, so that nobody can choose addresses that share a bucket */
    const struct bl_clock *clock;
    struct bucket buckets[SLOTS];
};

struct limit *limit_new(int64_t per_hour, const struct bl_clock *clock) {
    struct limit *l = bl_xcalloc(1, sizeof *l);
    l->capacity = (double)per_hour;
    l->seed = bl_random_u64();
    l->clock = clock;
    return l;
}

void limit_free(struct limit **l) {
    free(*l);
    *l = NULL;
}

void limit_set(struct limit *l, int64_t per_hour) {
    l->capacity = (double)per_hour;
}

static uint64_t id_of(const struct limit *l, struct bl_str name) {
    uint64_t h = l->seed;
    for (size_t i = 0; i < name.n; i++) h = bl_mix64(h ^ (unsigned char)name.p[i]) + BL_GOLDEN;
    return h ? h : 1;
}

static void refill(const struct limit *l, struct bucket *b, int64_t now_ns) {
    b->tokens += (double)(now_ns - b->at_ns) / 1e9 * l->capacity / HOUR_S;
    if (b->tokens > l->capacity) b->tokens = l->capacity;
    b->at_ns = now_ns;
}

static struct bucket *bucket_of(struct limit *l, struct bl_str name, int64_t now_ns) {
    uint64_t id = id_of(l, name);
    struct bucket *fullest = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        struct bucket *b = &l->buckets[(id + i) % SLOTS];
        if (b->id) refill(l, b, now_ns);
        if (b->id == id) return b;
        if (!b->id) b->tokens = l->capacity + 1; /* better than any in use */
        if (!fullest || b->tokens > fullest->tokens) fullest = b;
    }
    *fullest = (struct bucket){.id = id, .tokens = l->capacity, .at_ns = now_ns};
    return fullest;
}

bool limit_take(struct limit *l, struct bl_str name, struct limit_state *state) {
    *state = (struct limit_state){.remaining = INT64_MAX};
    if (l->capacity <= 0) return true;
    struct bucket *b = bucket_of(l, name, l->clock->mono_ns(l->clock->context));
    bool allowed = b->tokens >= 1;
    if (allowed) b->tokens -= 1;
    state->remaining = (int64_t)b->tokens;
    if (!allowed) state->retry_after_s = (int64_t)((1 - b->tokens) * HOUR_S / l->capacity) + 1;
    return allowed;
}
