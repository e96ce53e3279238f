#include "http/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

struct ring {
    pthread_mutex_t lock;
    pthread_cond_t drained;
    struct ring_reader reader;
    bool asleep, finished, whole, closed;
    size_t capacity, start, used;
    char bytes[];
};

struct ring *ring_new(size_t capacity, const struct ring_reader *reader) {
    struct ring *r = bl_xmalloc(sizeof *r + capacity);
    *r = (struct ring){.capacity = capacity, .reader = *reader};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void ring_free(struct ring **r) {
    if (!*r) return;
    pthread_mutex_destroy(&(*r)->lock);
    pthread_cond_destroy(&(*r)->drained);
    free(*r);
    *r = NULL;
}

static void wake_reader(struct ring *r) {
    if (r->asleep) r->reader.wake(r->reader.context);
    r->asleep = false;
}

static size_t put(struct ring *r, struct bl_str bytes) {
    size_t end = (r->start + r->used) % r->capacity, n = r->capacity - r->used;
    if (n > bytes.n) n = bytes.n;
    size_t first = n < r->capacity - end ? n : r->capacity - end;
    memcpy(r->bytes + end, bytes.p, first);
    memcpy(r->bytes, bytes.p + first, n - first);
    r->used += n;
    return n;
}

static bool wait_for_room(struct ring *r, int64_t stall_us) {
    int64_t until = bl_mono_ns() + stall_us * 1000;
    struct timespec end = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    while (r->used == r->capacity && !r->closed)
        if (pthread_cond_timedwait(&r->drained, &r->lock, &end) == ETIMEDOUT) return r->used < r->capacity;
    return true;
}

static enum bl_rc write_piece(struct ring *r, struct bl_str *bytes, int64_t stall_us, struct bl_error *err) {
    if (!wait_for_room(r, stall_us)) return bl_fail(err, BL_E_CANCELLED, "the client took nothing for too long");
    if (r->closed) return bl_fail(err, BL_E_CANCELLED, "the client hung up");
    *bytes = bl_str_skip(*bytes, put(r, *bytes));
    wake_reader(r);
    return BL_OK;
}

enum bl_rc ring_write(struct ring *r, struct bl_str bytes, int64_t stall_us, struct bl_error *err) {
    enum bl_rc rc = BL_OK;
    pthread_mutex_lock(&r->lock);
    while (rc == BL_OK && bytes.n) rc = write_piece(r, &bytes, stall_us, err);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

void ring_finish(struct ring *r, bool whole) {
    pthread_mutex_lock(&r->lock);
    r->finished = true;
    r->whole = whole;
    if (!whole && !r->closed) r->reader.drop(r->reader.context);
    wake_reader(r);
    pthread_mutex_unlock(&r->lock);
}

static enum ring_state take(struct ring *r, char *to, size_t max, size_t *n) {
    if (r->used == 0 && r->finished) return r->whole ? RING_END : RING_BROKEN;
    if (r->used == 0) {
        r->asleep = true;
        r->reader.sleep(r->reader.context);
        return RING_LATER;
    }
    *n = r->used < max ? r->used : max;
    size_t first = *n < r->capacity - r->start ? *n : r->capacity - r->start;
    memcpy(to, r->bytes + r->start, first);
    memcpy(to + first, r->bytes, *n - first);
    r->start = (r->start + *n) % r->capacity;
    r->used -= *n;
    pthread_cond_signal(&r->drained);
    return RING_DATA;
}

enum ring_state ring_read(struct ring *r, char *to, size_t max, size_t *n) {
    pthread_mutex_lock(&r->lock);
    enum ring_state state = take(r, to, max, n);
    pthread_mutex_unlock(&r->lock);
    return state;
}

void ring_close(struct ring *r) {
    pthread_mutex_lock(&r->lock);
    r->closed = true;
    r->asleep = false;
    pthread_cond_signal(&r->drained);
    pthread_mutex_unlock(&r->lock);
}
