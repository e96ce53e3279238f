#include "http/refresher.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "obs/log.h"
#include "query/views.h"

enum { TICK_NS = 50000000 };

struct refresher {
    struct refresher_options options;
    char *lake_dir;
    pthread_t thread;
    atomic_bool stop;
};

/* No lake yet, or somebody else at work: nothing to say. */
static bool is_ordinary(enum bl_rc rc) {
    return rc == BL_E_BUSY || rc == BL_E_NOT_FOUND || rc == BL_E_CANCELLED;
}

static void refresh(struct refresher *r, int64_t *last_log_ns) {
    struct bl_error err = {0};
    struct views_refresh_stats stats = {0};
    struct views_refresh_options o = {
        .lake_dir = r->lake_dir, .memory_bytes = r->options.memory_bytes, .threads = 1, .stop = &r->stop};
    enum bl_rc rc = views_refresh(&o, &stats, &err);
    if (rc == BL_OK && stats.views_renewed)
        bl_log(BL_INFO, "views renewed=%zu files=%zu ms=%" PRId64, stats.views_renewed, stats.files_read,
               stats.elapsed_us / 1000);
    if (rc != BL_OK && !is_ordinary(rc) && bl_log_due(last_log_ns, 60000000)) bl_log_error("views", &err);
}

/* On Linux each thread has its own: questions come first. With one thread DuckDB works in the caller's. */
static void step_back(void) {
    enum { NICENESS = 10 };
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
}

static void *keep_fresh(void *context) {
    struct refresher *r = context;
    step_back();
    int64_t last_log_ns = 0;
    while (!atomic_load(&r->stop)) {
        refresh(r, &last_log_ns);
        int64_t until = bl_mono_ns() + r->options.every_us * 1000;
        while (!atomic_load(&r->stop) && bl_mono_ns() < until) nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    return NULL;
}

enum bl_rc refresher_start(const struct refresher_options *o, struct refresher **out, struct bl_error *err) {
    struct refresher *r = bl_xcalloc(1, sizeof *r);
    r->options = *o;
    r->lake_dir = bl_xstrdup(o->lake_dir);
    int rc = pthread_create(&r->thread, NULL, keep_fresh, r);
    if (rc != 0) {
        free(r->lake_dir);
        free(r);
        return bl_fail(err, BL_E_IO, "the thread that keeps views fresh cannot be started: %s", strerror(rc));
    }
    *out = r;
    return BL_OK;
}

void refresher_stop(struct refresher **r) {
    if (!*r) return;
    atomic_store(&(*r)->stop, true);
    pthread_join((*r)->thread, NULL);
    free((*r)->lake_dir);
    free(*r);
    *r = NULL;
}
