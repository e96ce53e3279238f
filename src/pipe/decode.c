#include "pipe/decode.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

enum { THREADS_MAX = 16, DEPTH_MAX = 64, KEEP_RAW = 8 << 20 };
enum { IDLE, FILLING, WAITING, WORKING, DONE };

struct decode {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count, depth;
    struct chunk chunks[DEPTH_MAX];
    struct chunk *order[DEPTH_MAX]; /* ring of submitted chunks, oldest at `out` */
    unsigned in, out, under_way;
    bool closing;
};

static void grow(struct chunk *c) {
    c->capacity = c->capacity ? c->capacity * 2 : 1024;
    c->events = bl_xrealloc(c->events, c->capacity * sizeof *c->events);
    c->ids = bl_xrealloc(c->ids, c->capacity * sizeof *c->ids);
    c->line_bytes = bl_xrealloc(c->line_bytes, c->capacity * sizeof *c->line_bytes);
}

static void add_dead(struct chunk *c, struct bl_str line, enum ev_reason reason, const struct bl_error *err) {
    if (c->dead_count == c->dead_capacity) {
        c->dead_capacity = c->dead_capacity ? c->dead_capacity * 2 : 16;
        c->dead = bl_xrealloc(c->dead, c->dead_capacity * sizeof *c->dead);
    }
    struct dead_line *dead = &c->dead[c->dead_count++];
    dead->reason = reason ? reason : EV_REASON_too_large;
    dead->line = line;
    snprintf(dead->detail, sizeof dead->detail, "%.191s", err->message);
}

/* Only the slots its type has: a like takes half of what struct event holds. */
static struct event *keep(struct bl_arena *arena, const struct event *ev) {
    size_t size = offsetof(struct event, v) + ev_schema(ev->type)->count * sizeof ev->v[0];
    struct event *copy = bl_arena_alloc(arena, size);
    BL_ASSERT(copy);
    memcpy(copy, ev, size);
    return copy;
}

static void decode_line(struct chunk *c, struct bl_str line, struct bl_buf *scratch) {
    struct event ev;
    enum ev_reason reason = EV_REASON_NONE;
    struct bl_error err = {0};
    if (ev_decode(line, &c->arena, &ev, &reason, &err) != BL_OK) {
        add_dead(c, line, reason, &err);
        return;
    }
    if (ev.type != EV_accounts) {
        ev_verify_cid(&ev, scratch);
        if (ev_has(&ev, EV_CID_VERIFIED)) ev.v[EV_CID_VERIFIED].i ? c->cids_verified++ : c->cids_kept++;
    }
    if (c->count == c->capacity) grow(c);
    c->ids[c->count] = ev_identity(&ev);
    c->line_bytes[c->count] = (uint32_t)line.n;
    c->events[c->count++] = keep(&c->arena, &ev);
}

static void decode_one(struct chunk *c, struct bl_buf *scratch) {
    struct bl_str rest = bl_buf_view(&c->raw);
    while (rest.n) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (line.n && line.p[line.n - 1] == '\r') line.n--;
        if (line.n) decode_line(c, line, scratch);
    }
}

static struct chunk *oldest_waiting(struct decode *d) {
    for (unsigned i = 0; i < d->under_way; i++) {
        struct chunk *c = d->order[(d->out + i) % DEPTH_MAX];
        if (c->state == WAITING) return c;
    }
    return NULL;
}

static void *work(void *context) {
    struct decode *d = context;
    struct bl_buf scratch = {0};
    pthread_mutex_lock(&d->mutex);
    for (;;) {
        struct chunk *c = oldest_waiting(d);
        if (!c) {
            if (d->closing) break;
            pthread_cond_wait(&d->changed, &d->mutex);
            continue;
        }
        c->state = WORKING;
        pthread_mutex_unlock(&d->mutex);
        decode_one(c, &scratch);
        pthread_mutex_lock(&d->mutex);
        c->state = DONE;
        pthread_cond_broadcast(&d->changed);
    }
    pthread_mutex_unlock(&d->mutex);
    bl_buf_release(&scratch);
    return NULL;
}

struct decode *decode_new(unsigned threads, unsigned depth) {
    struct decode *d = bl_xcalloc(1, sizeof *d);
    d->depth = depth < 1 ? 1 : depth > DEPTH_MAX ? DEPTH_MAX : depth;
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->changed, NULL);
    unsigned wanted = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    for (; d->thread_count < wanted; d->thread_count++)
        if (pthread_create(&d->threads[d->thread_count], NULL, work, d) != 0) break;
    if (d->thread_count == 0) bl_xneed(NULL); /* a thread lacks nothing but memory */
    return d;
}

static void release_chunk(struct chunk *c) {
    bl_buf_release(&c->raw);
    bl_arena_release(&c->arena);
    free(c->events);
    free(c->ids);
    free(c->line_bytes);
    free(c->dead);
}

void decode_free(struct decode **d) {
    if (!*d) return;
    pthread_mutex_lock(&(*d)->mutex);
    (*d)->closing = true;
    pthread_cond_broadcast(&(*d)->changed);
    pthread_mutex_unlock(&(*d)->mutex);
    for (unsigned i = 0; i < (*d)->thread_count; i++) pthread_join((*d)->threads[i], NULL);
    for (unsigned i = 0; i < (*d)->depth; i++) release_chunk(&(*d)->chunks[i]);
    pthread_cond_destroy(&(*d)->changed);
    pthread_mutex_destroy(&(*d)->mutex);
    free(*d);
    *d = NULL;
}

struct chunk *decode_chunk(struct decode *d) {
    struct chunk *found = NULL;
    pthread_mutex_lock(&d->mutex); /* workers write the state of theirs meanwhile */
    for (unsigned i = 0; i < d->depth && !found; i++)
        if (d->chunks[i].state == IDLE) found = &d->chunks[i];
    if (found) found->state = FILLING;
    pthread_mutex_unlock(&d->mutex);
    return found;
}

void decode_submit(struct decode *d, struct chunk *c) {
    pthread_mutex_lock(&d->mutex);
    c->state = WAITING;
    d->order[d->in++ % DEPTH_MAX] = c;
    d->under_way++;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
}

struct chunk *decode_next(struct decode *d) {
    pthread_mutex_lock(&d->mutex);
    struct chunk *c = NULL;
    if (d->under_way) {
        c = d->order[d->out % DEPTH_MAX];
        while (c->state != DONE) pthread_cond_wait(&d->changed, &d->mutex);
        d->out++;
        d->under_way--;
    }
    pthread_mutex_unlock(&d->mutex);
    return c;
}

void decode_recycle(struct decode *d, struct chunk *c) {
    bl_buf_clear(&c->raw);
    if (c->raw.cap > KEEP_RAW) bl_buf_release(&c->raw);
    bl_arena_reset(&c->arena);
    c->count = c->dead_count = c->cids_verified = c->cids_kept = 0;
    c->tag = NULL;
    pthread_mutex_lock(&d->mutex);
    c->state = IDLE;
    pthread_mutex_unlock(&d->mutex);
}
