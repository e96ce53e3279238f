#include "source/heal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "obs/log.h"
#include "source/request.h"
#include "source/thread.h"

enum { JOBS_MAX = 64, TICK_MS = 200, FAILURES_MAX = 3 };
#define SECOND_US INT64_C(1000000)
#define TAIL_US (5 * SECOND_US)    /* read on past the end of the gap: times are not in order */
#define AROUND_US (60 * SECOND_US) /* what lies further outside is not wanted */
#define QUIET_US (10 * SECOND_US)  /* without a message for so long the host has no more */
#define RETRY_FIRST_US (30 * SECOND_US)
#define RETRY_MAX_US (3600 * SECOND_US)
#define GIVE_UP_US (48 * 3600 * SECOND_US)
#define REMEMBER_US (600 * SECOND_US)

struct job {
    struct source_gap gap;
    int64_t due_ns, wait_us, noted_ns;
};

struct heal {
    const struct source_options *options;
    struct queue *queue;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct job jobs[JOBS_MAX];
    size_t count;
    struct source *source; /* of the running job; guarded by mutex, so that it can be woken */
    atomic_bool busy;
    bool stopping;
    unsigned epoch;              /* of the queue */
    struct job healed[JOBS_MAX]; /* lately */
    size_t healed_count;
};

static bool stopping(struct heal *h) {
    pthread_mutex_lock(&h->mutex);
    bool yes = h->stopping;
    pthread_mutex_unlock(&h->mutex);
    return yes;
}

/* ---- one gap from one host ---- */

static void show_source(struct heal *h, struct source *s) {
    pthread_mutex_lock(&h->mutex);
    h->source = s;
    pthread_mutex_unlock(&h->mutex);
}

struct progress {
    bool reached_end, incomplete;
    int64_t last_ns;
};

static bool finished(const struct progress *p, int64_t time_us, const struct source_gap *gap) {
    return p->reached_end && time_us > gap->to_us + TAIL_US;
}

static unsigned epoch_of(struct heal *h) {
    pthread_mutex_lock(&h->mutex);
    unsigned epoch = h->epoch;
    pthread_mutex_unlock(&h->mutex);
    return epoch;
}

static bool hand_out(struct heal *h, unsigned epoch, struct source_message *m, const struct source_gap *gap) {
    if (m->time_us && (m->time_us < gap->from_us - AROUND_US || m->time_us > gap->to_us + AROUND_US)) return true;
    m->backfill = true;
    m->host = NULL;
    m->seq = 0;
    return queue_put(h->queue, epoch, m);
}

static bool gave_up(struct source *s) {
    struct source_stats stats;
    source_get_stats(s, &stats);
    return stats.failures >= FAILURES_MAX;
}

/* True when the whole gap was read. */
static bool read_gap(struct heal *h, unsigned epoch, struct source *s, const struct source_gap *gap) {
    struct progress p = {.last_ns = bl_mono_ns()};
    while (!stopping(h)) {
        struct source_message m;
        struct source_gap hole;
        enum bl_rc rc = source_next(s, TICK_MS, &m, NULL);
        if (rc == BL_E_TIMEOUT) {
            bool quiet = bl_mono_ns() - p.last_ns > QUIET_US * 1000;
            if (gave_up(s) || (quiet && !p.reached_end)) return false;
            if (p.reached_end && bl_mono_ns() - p.last_ns > SECOND_US * 1000) break;
            continue;
        }
        if (rc != BL_OK) return false;
        p.last_ns = bl_mono_ns();
        if (source_take_gap(s, &hole)) p.incomplete = true;
        if (m.time_us >= gap->to_us) p.reached_end = true;
        if (finished(&p, m.time_us, gap)) break;
        if (!hand_out(h, epoch, &m, gap)) return false;
    }
    return p.reached_end && !p.incomplete;
}

static bool try_host(struct heal *h, unsigned epoch, const char *url, const struct source_gap *gap) {
    struct source_options o = *h->options;
    struct source *s = NULL;
    struct bl_error err = {0};
    o.urls = &url;
    o.url_count = 1;
    o.start_cursor_us = gap->from_us;
    o.start_seq = 0;
    o.start_host = gap->host;
    o.rewind_us = o.host_switch_rewind_us; /* the gap's times are another host's */
    if (source_open(&o, &s, &err) != BL_OK) {
        bl_log_error("cannot look for a gap's events", &err);
        return false;
    }
    show_source(h, s);
    bool whole = read_gap(h, epoch, s, gap);
    show_source(h, NULL);
    source_close(&s);
    return whole;
}

static bool made_by(const char *url, enum source_protocol protocol, const struct source_gap *gap) {
    struct url u;
    char name[sizeof gap->host];
    if (request_base(url, protocol, &u, NULL) != BL_OK) return false;
    request_host_name(&u, name);
    return strcmp(name, gap->host) == 0;
}

static bool fill(struct heal *h, struct source_gap gap) {
    unsigned epoch = epoch_of(h);
    for (size_t i = 0; i < h->options->url_count && !stopping(h); i++) {
        const char *url = h->options->urls[i];
        if (made_by(url, h->options->protocol, &gap)) continue;
        bl_log(BL_INFO, "source looks for a gap's events at %s from=%lld to=%lld", url, (long long)gap.from_us,
               (long long)gap.to_us);
        if (!try_host(h, epoch, url, &gap)) continue;
        if (epoch != epoch_of(h)) return false;
        gap.healed = true;
        bl_log(BL_INFO, "source healed a gap from=%lld to=%lld with the help of %s", (long long)gap.from_us,
               (long long)gap.to_us, url);
        return queue_put_gap(h->queue, epoch, &gap);
    }
    return false;
}

/* ---- the list of gaps ---- */

static void pause_until(struct heal *h, int64_t due_ns) {
    struct timespec until = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
    if (due_ns == INT64_MAX)
        pthread_cond_wait(&h->changed, &h->mutex);
    else
        pthread_cond_timedwait(&h->changed, &h->mutex, &until);
}

/* The next one that is due; false when the thread is to end. */
static bool next_job(struct heal *h, struct job *out) {
    pthread_mutex_lock(&h->mutex);
    while (!h->stopping) {
        size_t first = 0;
        for (size_t i = 1; i < h->count; i++)
            if (h->jobs[i].due_ns < h->jobs[first].due_ns) first = i;
        if (h->count && h->jobs[first].due_ns <= bl_mono_ns()) {
            *out = h->jobs[first];
            h->jobs[first] = h->jobs[--h->count];
            atomic_store(&h->busy, true);
            break;
        }
        pause_until(h, h->count ? h->jobs[first].due_ns : INT64_MAX);
    }
    bool go_on = !h->stopping;
    pthread_mutex_unlock(&h->mutex);
    return go_on;
}

static void put_job(struct heal *h, struct job job) {
    pthread_mutex_lock(&h->mutex);
    if (h->count < JOBS_MAX) h->jobs[h->count++] = job;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
}

/* Remembers what was filled within the last minutes: Redis may turn out to have lost it. */
static void remember(struct heal *h, struct job job) {
    pthread_mutex_lock(&h->mutex);
    if (h->healed_count == JOBS_MAX) memmove(h->healed, h->healed + 1, --h->healed_count * sizeof *h->healed);
    job.noted_ns = bl_mono_ns();
    h->healed[h->healed_count++] = job;
    pthread_mutex_unlock(&h->mutex);
}

static void *heal_main(void *context) {
    struct heal *h = context;
    struct job job;
    while (next_job(h, &job)) {
        bool healed = fill(h, job.gap);
        atomic_store(&h->busy, false);
        if (healed) remember(h, job);
        if (healed || bl_mono_ns() - job.noted_ns > GIVE_UP_US * 1000) continue;
        job.due_ns = bl_mono_ns() + job.wait_us * 1000;
        job.wait_us = job.wait_us * 2 < RETRY_MAX_US ? job.wait_us * 2 : RETRY_MAX_US;
        put_job(h, job);
    }
    return NULL;
}

struct heal *heal_start(const struct source_options *o, struct queue *queue) {
    struct heal *h = bl_xcalloc(1, sizeof *h);
    pthread_condattr_t monotonic;
    h->options = o;
    h->queue = queue;
    pthread_mutex_init(&h->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    BL_ASSERT(source_thread(&h->thread, heal_main, h));
    return h;
}

void heal_add(struct heal *h, const struct source_gap *gap) {
    put_job(h, (struct job){.gap = *gap, .due_ns = bl_mono_ns(), .wait_us = RETRY_FIRST_US, .noted_ns = bl_mono_ns()});
}

void heal_restart(struct heal *h, unsigned epoch) {
    int64_t now = bl_mono_ns();
    pthread_mutex_lock(&h->mutex);
    h->epoch = epoch;
    for (size_t i = 0; i < h->count; i++) h->jobs[i].due_ns = now;
    for (size_t i = 0; i < h->healed_count; i++) {
        struct job job = h->healed[i];
        if (now - job.noted_ns > REMEMBER_US * 1000 || h->count == JOBS_MAX) continue;
        job.due_ns = now;
        h->jobs[h->count++] = job;
    }
    h->healed_count = 0;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
}

bool heal_busy(struct heal *h) {
    return atomic_load(&h->busy);
}

void heal_stop(struct heal **heal) {
    struct heal *h = *heal;
    if (!h) return;
    pthread_mutex_lock(&h->mutex);
    h->stopping = true;
    if (h->source) source_wake(h->source);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->mutex);
    free(h);
    *heal = NULL;
}
