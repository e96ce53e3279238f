#include "http/rates.h"

#include <pthread.h>
#include <stdlib.h>

enum { SECONDS = 60 };

struct second {
    int64_t at; /* which second of the clock */
    int64_t requests, errors, took_ns, lookups, hits;
};
struct rates {
    pthread_mutex_t lock;
    const struct bl_clock *clock;
    int64_t started;
    struct second seconds[SECONDS];
};

static int64_t now_s(const struct rates *r) {
    return r->clock->mono_ns(r->clock->context) / 1000000000;
}

struct rates *rates_new(const struct bl_clock *clock) {
    struct rates *r = bl_xcalloc(1, sizeof *r);
    r->clock = clock;
    r->started = now_s(r);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void rates_free(struct rates **r) {
    if (!*r) return;
    pthread_mutex_destroy(&(*r)->lock);
    free(*r);
    *r = NULL;
}

static struct second *this_second(struct rates *r) {
    int64_t now = now_s(r);
    struct second *s = &r->seconds[now % SECONDS];
    if (s->at != now) *s = (struct second){.at = now};
    return s;
}

void rates_note(struct rates *r, int64_t took_ns, bool error) {
    pthread_mutex_lock(&r->lock);
    struct second *s = this_second(r);
    s->requests++;
    s->errors += error;
    s->took_ns += took_ns;
    pthread_mutex_unlock(&r->lock);
}

void rates_note_lookup(struct rates *r, bool hit) {
    pthread_mutex_lock(&r->lock);
    struct second *s = this_second(r);
    s->lookups++;
    s->hits += hit;
    pthread_mutex_unlock(&r->lock);
}

static double share(int64_t part, int64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

struct rates_minute rates_minute(struct rates *r) {
    struct second sum = {0};
    pthread_mutex_lock(&r->lock);
    int64_t now = now_s(r);
    for (unsigned i = 0; i < SECONDS; i++) {
        const struct second *s = &r->seconds[i];
        if (now - s->at >= SECONDS) continue;
        sum.requests += s->requests;
        sum.errors += s->errors;
        sum.took_ns += s->took_ns;
        sum.lookups += s->lookups;
        sum.hits += s->hits;
    }
    int64_t seconds = now - r->started + 1 < SECONDS ? now - r->started + 1 : SECONDS;
    pthread_mutex_unlock(&r->lock);
    return (struct rates_minute){.per_second = (double)sum.requests / (double)seconds,
                                 .error_percent = share(sum.errors, sum.requests),
                                 .mean_ms = sum.requests ? (double)sum.took_ns / 1e6 / (double)sum.requests : 0,
                                 .hit_percent = share(sum.hits, sum.lookups)};
}
