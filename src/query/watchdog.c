#include "query/watchdog.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

struct watchdog {
    struct duck *duck;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t deadline_ns, allowed_us; /* deadline_ns 0: no question is running */
    bool cancelled, expired, stopping;
};

static void wait_until(struct watchdog *w, int64_t mono_ns) {
    struct timespec until = {.tv_sec = mono_ns / 1000000000, .tv_nsec = mono_ns % 1000000000};
    pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static void *watch(void *context) {
    enum { REPEAT_NS = 5000000 };
    struct watchdog *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        int64_t now = bl_mono_ns();
        bool running = w->deadline_ns != 0;
        if (running && now >= w->deadline_ns) w->expired = true;
        if (!running)
            pthread_cond_wait(&w->changed, &w->lock);
        else if (w->expired || w->cancelled) {
            duck_interrupt(w->duck);
            wait_until(w, now + REPEAT_NS);
        } else
            wait_until(w, w->deadline_ns);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum bl_rc watchdog_start(struct duck *duck, struct watchdog **out, struct bl_error *err) {
    struct watchdog *w = bl_xcalloc(1, sizeof *w);
    w->duck = duck;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = pthread_create(&w->thread, NULL, watch, w);
    if (rc != 0) {
        free(w);
        return bl_fail(err, BL_E_IO, "cannot start the thread that watches deadlines: %s", strerror(rc));
    }
    *out = w;
    return BL_OK;
}

void watchdog_stop(struct watchdog **watchdog) {
    struct watchdog *w = *watchdog;
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *watchdog = NULL;
}

/* Far deadlines saturate: "no deadline" is asked for as a very long one. */
static int64_t ns_from_now(int64_t us) {
    int64_t now = bl_mono_ns();
    return us > (INT64_MAX - now) / 1000 ? INT64_MAX : now + us * 1000;
}

void watchdog_begin(struct watchdog *w, int64_t deadline_us) {
    pthread_mutex_lock(&w->lock);
    w->cancelled = w->expired = false;
    w->allowed_us = deadline_us;
    w->deadline_ns = ns_from_now(deadline_us);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void watchdog_extend(struct watchdog *w, int64_t deadline_us) {
    pthread_mutex_lock(&w->lock);
    w->allowed_us = deadline_us;
    if (!w->expired) w->deadline_ns = ns_from_now(deadline_us);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* The lock is held. */
static enum bl_rc verdict(const struct watchdog *w, struct bl_error *err) {
    if (w->cancelled) return bl_fail(err, BL_E_CANCELLED, "the question was cancelled");
    if (!w->expired) return BL_OK;
    char allowed[BL_TIME_TEXT_MAX];
    return bl_fail(err, BL_E_TIMEOUT, "no answer within %s: narrow the time range, or allow more time with --deadline",
                   bl_format_duration(w->allowed_us, allowed));
}

enum bl_rc watchdog_end(struct watchdog *w, enum bl_rc rc, struct bl_error *err) {
    pthread_mutex_lock(&w->lock);
    w->deadline_ns = 0;
    pthread_cond_signal(&w->changed);
    /* Finished in spite of the interrupt, or failed for a reason of its own: that stands. */
    if (rc == BL_E_CANCELLED) {
        enum bl_rc why = verdict(w, err);
        if (why != BL_OK) rc = why;
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

enum bl_rc watchdog_check(struct watchdog *w, struct bl_error *err) {
    pthread_mutex_lock(&w->lock);
    if (w->deadline_ns && bl_mono_ns() >= w->deadline_ns) w->expired = true;
    enum bl_rc rc = verdict(w, err);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void watchdog_cancel(struct watchdog *w) {
    pthread_mutex_lock(&w->lock);
    if (w->deadline_ns) w->cancelled = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}
