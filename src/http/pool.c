#include "http/pool.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "lake/catalog.h"
#include "obs/log.h"

enum {
    WORKERS_MAX = 64,
    TICK_US = 50000,
    SNAPSHOT_EVERY_NS = 500000000,
    PROBE_EVERY_S = 5,  /* a question of our own tells whether the lake can be read */
    WORKER_THREADS = 2, /* of DuckDB, in each session */
    LIGHT_MEMORY = 64 << 20,
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    bool started;
    bool light; /* takes light jobs only, so that they do not wait for others */
    struct http_context context;
    struct pool_job *job; /* running; under the lock */
};
struct pool {
    struct pool_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct pool_job *first, **last;
    size_t waiting;
    int long_running;
    bool stopping, probing;
    bool stopped; /* the threads are joined, by whoever calls pool_stop */
    int64_t snapshot, last_probe_ns;
    char trouble[512]; /* why the lake cannot be read; "" = it can */
    bool broken;       /* a question failed for a reason of the lake's */
    pthread_t watcher;
    bool watching;
    struct worker workers[WORKERS_MAX + 1];
    int worker_count;
};

/* ---- sessions ---- */

static void close_session(struct worker *w) {
    pthread_mutex_lock(&w->pool->lock);
    struct query *q = w->context.query;
    w->context.query = NULL;
    pthread_mutex_unlock(&w->pool->lock);
    query_close(&q);
    views_close(&w->context.views);
}

static enum bl_rc open_session(struct worker *w, struct bl_error *err) {
    const struct pool_options *o = &w->pool->options;
    struct query_options query = {.lake_dir = o->lake_dir,
                                  .memory_bytes = w->light ? LIGHT_MEMORY : o->memory_bytes / o->workers,
                                  .threads = w->light ? 1 : WORKER_THREADS,
                                  .deadline_us = o->deadline_us,
                                  .resolver = o->resolver};
    struct query *q = NULL;
    BL_TRY(query_open(&query, &q, err));
    pthread_mutex_lock(&w->pool->lock);
    w->context.query = q;
    pthread_mutex_unlock(&w->pool->lock);
    return BL_OK;
}

static void note_trouble(struct pool *p, const struct bl_error *err) {
    pthread_mutex_lock(&p->lock);
    snprintf(p->trouble, sizeof p->trouble, "%.500s", err ? err->message : "");
    p->broken = err != NULL;
    pthread_mutex_unlock(&p->lock);
}

static bool prepare_session(struct worker *w) {
    struct bl_error err = {0};
    enum bl_rc rc = w->context.query ? BL_OK : open_session(w, &err);
    if (rc == BL_OK && query_snapshot(w->context.query) != pool_snapshot(w->pool))
        rc = query_refresh(w->context.query, &err);
    if (rc == BL_OK) return true;
    note_trouble(w->pool, &err);
    if (w->context.query) close_session(w);
    return false;
}

/* ---- jobs ---- */

static bool is_being_answered(const struct pool *p, const struct pool_job *job) {
    for (int i = 0; i < p->worker_count && job->same; i++)
        if (p->workers[i].job && p->workers[i].job->same == job->same) return true;
    return false;
}

static int room_for_long(const struct pool *p) {
    return p->options.workers > 1 ? p->options.workers - 1 : 1;
}

/* Does the client hold as many sessions with long jobs as one may? */
static bool has_its_share(const struct pool *p, const struct pool_job *job) {
    int running = 0, share = room_for_long(p) > 1 ? room_for_long(p) - 1 : 1;
    for (int i = 0; i < p->worker_count; i++) {
        const struct pool_job *other = p->workers[i].job;
        running += other && other->weight == POOL_LONG && other->client == job->client;
    }
    return job->weight == POOL_LONG && job->client && running >= share;
}

static bool may_run(const struct pool *p, const struct pool_job *job) {
    if (is_being_answered(p, job)) return false;
    return job->weight != POOL_LONG || (p->long_running < room_for_long(p) && !has_its_share(p, job));
}

static struct pool_job *unlink_job(struct pool *p, struct pool_job **link) {
    struct pool_job *job = *link;
    *link = job->next;
    if (!*link) p->last = link;
    p->waiting--;
    return job;
}

/* The oldest light job, else the oldest that may run now. */
static struct pool_job *take_job(struct pool *p, bool light) {
    struct pool_job **oldest = NULL;
    for (struct pool_job **link = &p->first; *link; link = &(*link)->next) {
        if (!may_run(p, *link)) continue;
        if ((*link)->weight == POOL_LIGHT) return unlink_job(p, link);
        if (!oldest && !light) oldest = link;
    }
    return oldest ? unlink_job(p, oldest) : NULL;
}

static void probe(struct worker *w) {
    struct bl_error err = {0};
    if (!prepare_session(w)) return;
    enum bl_rc rc = query_probe(w->context.query, &err);
    note_trouble(w->pool, rc == BL_OK || rc == BL_E_CANCELLED || rc == BL_E_TIMEOUT ? NULL : &err);
}

static void run_job(struct worker *w, struct pool_job *job) {
    if (prepare_session(w))
        job->run(job, &w->context);
    else
        job->refuse(job, POOL_NO_LAKE);
}

static void *work(void *context) {
    struct worker *w = context;
    struct pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        bool want_probe = p->probing && !w->light;
        struct pool_job *job = want_probe ? NULL : take_job(p, w->light);
        if (!job && !want_probe) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        if (want_probe) p->probing = false;
        bool is_long = job && job->weight == POOL_LONG;
        w->job = job;
        p->long_running += is_long;
        pthread_mutex_unlock(&p->lock);
        if (job)
            run_job(w, job);
        else
            probe(w);
        pthread_mutex_lock(&p->lock);
        w->job = NULL;
        p->long_running -= is_long;
        if (job) job->release(job);
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    close_session(w);
    return NULL;
}

/* ---- watching ---- */

static struct pool_job *take_expired(struct pool *p, int64_t now_ns, bool all) {
    for (struct pool_job **link = &p->first; *link; link = &(*link)->next) {
        struct pool_job *job = *link;
        if (!all && now_ns - job->queued_ns < p->options.wait_us * 1000) continue;
        return unlink_job(p, link);
    }
    return NULL;
}

static void refuse_expired(struct pool *p, bool all) {
    for (;;) {
        pthread_mutex_lock(&p->lock);
        struct pool_job *job = take_expired(p, bl_mono_ns(), all);
        bool own = job && has_its_share(p, job);
        pthread_mutex_unlock(&p->lock);
        if (!job) return;
        job->refuse(job, all ? POOL_STOPPING : own ? POOL_OWN_SHARE : POOL_WAITED);
        job->release(job);
    }
}

static bool hung_up(int fd) {
    struct pollfd socket = {.fd = fd, .events = POLLRDHUP};
    return fd >= 0 && poll(&socket, 1, 0) == 1 && (socket.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* The lock is held: the job cannot end and its descriptor cannot be closed meanwhile. */
static void cancel_abandoned(struct pool *p, bool all) {
    for (int i = 0; i < p->worker_count; i++) {
        struct worker *w = &p->workers[i];
        if (!w->job || (!all && !atomic_load(w->job->gone) && !hung_up(w->job->fd))) continue;
        atomic_store(w->job->gone, true);
        if (w->context.query) query_cancel(w->context.query);
    }
}

static void look_at_snapshot(struct pool *p, struct catalog **catalog) {
    struct bl_error err = {0};
    struct catalog_totals totals;
    enum bl_rc rc = *catalog ? BL_OK : catalog_open(p->options.lake_dir, CATALOG_READ, catalog, &err);
    if (rc == BL_OK) rc = catalog_totals(*catalog, &totals, &err);
    pthread_mutex_lock(&p->lock);
    if (rc == BL_OK && p->snapshot < 0) p->trouble[0] = 0;
    if (rc == BL_OK)
        p->snapshot = totals.snapshot;
    else
        snprintf(p->trouble, sizeof p->trouble, "%.500s", err.message);
    pthread_mutex_unlock(&p->lock);
    if (rc != BL_OK) catalog_close(catalog);
}

static void ask_for_probe(struct pool *p, int64_t now_ns) {
    if (p->snapshot < 0 || now_ns - p->last_probe_ns < PROBE_EVERY_S * INT64_C(1000000000)) return;
    p->probing = true;
    p->last_probe_ns = now_ns;
    pthread_cond_broadcast(&p->changed);
}

static void *watch(void *context) {
    struct pool *p = context;
    struct catalog *catalog = NULL;
    int64_t looked_ns = bl_mono_ns();
    look_at_snapshot(p, &catalog);
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        int64_t now = bl_mono_ns();
        cancel_abandoned(p, false);
        ask_for_probe(p, now);
        pthread_mutex_unlock(&p->lock);
        refuse_expired(p, false);
        if (now - looked_ns >= SNAPSHOT_EVERY_NS) {
            look_at_snapshot(p, &catalog);
            looked_ns = now;
        }
        nanosleep(&(struct timespec){.tv_nsec = TICK_US * 1000}, NULL);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    catalog_close(&catalog);
    return NULL;
}

/* ---- outside ---- */

enum bl_rc pool_start(const struct pool_options *o, struct pool **out, struct bl_error *err) {
    if (o->workers < 1 || o->workers > WORKERS_MAX)
        return bl_fail(err, BL_E_USAGE, "serve.sessions: from 1 to %d, not %d", WORKERS_MAX, o->workers);
    struct pool *p = bl_xcalloc(1, sizeof *p);
    p->options = *o;
    p->last = &p->first;
    p->snapshot = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->watching = pthread_create(&p->watcher, NULL, watch, p) == 0;
    bool started = p->watching;
    p->worker_count = o->workers + 1;
    for (int i = 0; i < p->worker_count && started; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .light = i == o->workers, .context = {.server = o->server}};
        started = w->started = pthread_create(&w->thread, NULL, work, w) == 0;
    }
    if (!started) {
        pool_stop(p);
        pool_free(&p);
        return bl_fail(err, BL_E_IO, "the threads of the server cannot be started");
    }
    *out = p;
    return BL_OK;
}

/* Cancelling is repeated: a job may be between two questions. */
static void wait_for_workers(struct pool *p) {
    for (;;) {
        bool busy = false;
        pthread_mutex_lock(&p->lock);
        cancel_abandoned(p, true);
        for (int i = 0; i < p->worker_count; i++) busy |= p->workers[i].job != NULL;
        pthread_mutex_unlock(&p->lock);
        if (!busy) return;
        nanosleep(&(struct timespec){.tv_nsec = TICK_US * 200}, NULL);
    }
}

void pool_stop(struct pool *p) {
    if (!p || p->stopped) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = p->stopped = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    refuse_expired(p, true);
    wait_for_workers(p);
    for (int i = 0; i < p->worker_count; i++)
        if (p->workers[i].started) pthread_join(p->workers[i].thread, NULL);
    if (p->watching) pthread_join(p->watcher, NULL);
}

void pool_free(struct pool **p) {
    if (!*p) return;
    pthread_cond_destroy(&(*p)->changed);
    pthread_mutex_destroy(&(*p)->lock);
    free(*p);
    *p = NULL;
}

void pool_submit(struct pool *p, struct pool_job *job) {
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping, full = p->waiting >= p->options.queue_max, lake = p->snapshot >= 0;
    if (!stopping && !full && lake) {
        job->next = NULL;
        job->queued_ns = bl_mono_ns();
        *p->last = job;
        p->last = &job->next;
        p->waiting++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    if (!stopping && !full && lake) return;
    job->refuse(job, stopping ? POOL_STOPPING : full ? POOL_FULL : POOL_NO_LAKE);
    job->release(job);
}

int64_t pool_snapshot(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    int64_t snapshot = p->snapshot;
    pthread_mutex_unlock(&p->lock);
    return snapshot;
}

bool pool_ready(struct pool *p, char *why, size_t size) {
    pthread_mutex_lock(&p->lock);
    bool ready = p->snapshot >= 0 && !*p->trouble && !p->stopping;
    snprintf(why, size, "%s", p->stopping ? "the server is stopping" : p->trouble);
    pthread_mutex_unlock(&p->lock);
    return ready;
}

bool pool_healthy(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    bool healthy = !p->broken;
    pthread_mutex_unlock(&p->lock);
    return healthy;
}

struct pool_load pool_load(struct pool *p) {
    struct pool_load load = {0};
    pthread_mutex_lock(&p->lock);
    load.waiting = (int)p->waiting;
    for (int i = 0; i < p->worker_count; i++) load.running += p->workers[i].job != NULL;
    pthread_mutex_unlock(&p->lock);
    return load;
}
