#include "source/queue.h"

#include <time.h>

struct head {
    size_t n; /* bytes of text behind it, padded to a multiple of 8 */
    bool is_gap;
    unsigned epoch;
    struct source_message message; /* its text stands behind */
};

static size_t padded(size_t n) {
    return (n + 7) & ~(size_t)7;
}

void queue_init(struct queue *q, size_t limit) {
    pthread_condattr_t monotonic;
    *q = (struct queue){.limit = limit};
    pthread_mutex_init(&q->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void queue_release(struct queue *q) {
    bl_buf_release(&q->filling);
    bl_buf_release(&q->draining);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->mutex);
}

static bool put(struct queue *q, const struct head *h, const void *text, size_t n) {
    static const char padding[8];
    pthread_mutex_lock(&q->mutex);
    while (!q->closed && q->filling.n >= q->limit) pthread_cond_wait(&q->changed, &q->mutex);
    bool open = !q->closed;
    if (open && h->epoch == q->epoch) {
        bl_buf_add(&q->filling, h, sizeof *h);
        bl_buf_add(&q->filling, text, n);
        bl_buf_add(&q->filling, padding, padded(n) - n);
        BL_ASSERT(!q->filling.failed); /* out of memory: what is in Redis is safe, the rest is asked for again */
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->mutex);
    return open;
}

bool queue_put(struct queue *q, unsigned epoch, const struct source_message *m) {
    return put(q, &(struct head){.n = m->json.n, .epoch = epoch, .message = *m}, m->json.p, m->json.n);
}

bool queue_put_gap(struct queue *q, unsigned epoch, const struct source_gap *gap) {
    return put(q, &(struct head){.n = sizeof *gap, .is_gap = true, .epoch = epoch}, gap, sizeof *gap);
}

static void wait_ms(struct queue *q, int timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&q->changed, &q->mutex, &until);
}

unsigned queue_restart(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    unsigned epoch = ++q->epoch;
    bl_buf_clear(&q->filling);
    q->at = q->draining.n;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    return epoch;
}

/* Everything in draining has been taken: read on in what was filled meanwhile. */
static bool turn(struct queue *q, int timeout_ms) {
    pthread_mutex_lock(&q->mutex);
    if (!q->filling.n && timeout_ms > 0) wait_ms(q, timeout_ms);
    bool more = q->filling.n > 0;
    if (more) {
        struct bl_buf empty = q->draining;
        bl_buf_clear(&empty);
        if (empty.cap > 2 * q->limit) bl_buf_release(&empty); /* grown by a huge message */
        q->draining = q->filling;
        q->filling = empty;
        q->at = 0;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->mutex);
    return more;
}

enum queue_item queue_take(struct queue *q, int timeout_ms, struct source_message *m, struct source_gap *gap) {
    struct head h;
    if (q->at == q->draining.n && !turn(q, timeout_ms)) return QUEUE_NOTHING;
    memcpy(&h, q->draining.p + q->at, sizeof h);
    const char *text = q->draining.p + q->at + sizeof h;
    q->at += sizeof h + padded(h.n);
    if (h.is_gap) {
        memcpy(gap, text, sizeof *gap);
        return QUEUE_GAP;
    }
    *m = h.message;
    m->json = bl_strn(text, h.n);
    return QUEUE_MESSAGE;
}

bool queue_waiting(struct queue *q) {
    if (q->at < q->draining.n) return true;
    pthread_mutex_lock(&q->mutex);
    bool yes = q->filling.n > 0;
    pthread_mutex_unlock(&q->mutex);
    return yes;
}

void queue_wake(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
}

void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
}
