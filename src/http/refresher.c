#include "http/refresher.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "index/index.h"
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

/* Before somebody's search has to wait for it. */
static void complete_index(struct refresher *r, int64_t *last_log_ns) {
    struct bl_error err = {0};
    struct index_build_stats stats = {0};
    enum bl_rc rc =
        index_build_missing(&(struct index_build_options){.lake_dir = r->lake_dir, .stop = &r->stop}, &stats, &err);
    if (rc != BL_OK && !is_ordinary(rc) && bl_log_due(last_log_ns, 60000000)) bl_log_error("index", &err);
}

static void *keep_fresh(void *context) {
    struct refresher *r = context;
    int64_t last_log_ns = 0, last_index_log_ns = 0;
    while (!atomic_load(&r->stop)) {
        complete_index(r, &last_index_log_ns);
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
