#include "http/refresher.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "index/index.h"
#include "obs/log.h"
#include "query/views.h"

enum { TICK_NS = 50000000, LOOK_NS = 200000000, INDEX_MEMORY = 128 << 20 };
static const int64_t RETRY_NS = INT64_C(5000000000), AGES_NS = INT64_C(5000000000);

struct refresher {
    struct refresher_options options;
    char *lake_dir;
    pthread_t threads[2];
    int started;
    atomic_bool stop;
    int64_t started_us;
    _Atomic int64_t oldest_us;
};

/* No lake yet, or somebody else at work: nothing to say. */
static bool is_ordinary(enum bl_rc rc) {
    return rc == BL_E_BUSY || rc == BL_E_NOT_FOUND || rc == BL_E_CANCELLED;
}

static void refresh(struct refresher *r, int64_t *last_log_ns) {
    struct bl_error err = {0};
    struct views_refresh_stats stats = {0};
    struct views_refresh_options o = {.lake_dir = r->lake_dir,
                                      .memory_bytes = r->options.memory_bytes,
                                      .threads = 1,
                                      .stop = &r->stop,
                                      .resolver = r->options.resolver};
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

static void pause_until(const struct refresher *r, int64_t until_ns) {
    while (!atomic_load(&r->stop) && bl_mono_ns() < until_ns) nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
}

/* What cannot be read stays as it was seen last: its age goes on growing. */
static void see_ages(struct refresher *r, struct views **views) {
    int64_t oldest_us = INT64_MAX;
    if (!*views && views_open(r->lake_dir, views, NULL) != BL_OK) return;
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        if (views_info(*views, i, &info, &exists, NULL) != BL_OK) return;
        if (!exists) break;
        int64_t since_us = info.refreshed_us ? info.refreshed_us : r->started_us;
        if (since_us < oldest_us) oldest_us = since_us;
    }
    atomic_store(&r->oldest_us, oldest_us);
}

static void *keep_fresh(void *context) {
    struct refresher *r = context;
    struct views *views = NULL;
    int64_t last_log_ns = 0, due_ns = 0, every_ns = r->options.every_us * 1000;
    step_back();
    while (!atomic_load(&r->stop)) {
        see_ages(r, &views);
        bool due = every_ns && bl_mono_ns() >= due_ns;
        if (due) {
            refresh(r, &last_log_ns);
            see_ages(r, &views);
            due_ns = bl_mono_ns() + every_ns;
        }
        int64_t look_ns = bl_mono_ns() + AGES_NS;
        pause_until(r, every_ns && due_ns < look_ns ? due_ns : look_ns);
    }
    views_close(&views);
    return NULL;
}

static enum bl_rc build_index(const struct refresher *r, int64_t *last_log_ns) {
    struct bl_error err = {0};
    struct index_build_stats stats = {0};
    struct index_build_options o = {.lake_dir = r->lake_dir, .memory_bytes = INDEX_MEMORY, .stop = &r->stop};
    int64_t start_ns = bl_mono_ns();
    enum bl_rc rc = index_build_missing(&o, &stats, &err);
    if (rc == BL_OK && stats.built)
        bl_log(BL_DEBUG, "index built=%zu rows=%" PRId64 " bytes=%" PRId64 " ms=%" PRId64, stats.built, stats.rows,
               stats.bytes, (bl_mono_ns() - start_ns) / 1000000);
    if (rc != BL_OK && !is_ordinary(rc) && bl_log_due(last_log_ns, 60000000)) bl_log_error("index", &err);
    return rc;
}

/* After each commit; where it failed, again after a while. */
static void *keep_indexed(void *context) {
    struct refresher *r = context;
    int64_t last_log_ns = 0, done = -1;
    step_back();
    while (!atomic_load(&r->stop)) {
        int64_t snapshot = pool_snapshot(r->options.pool);
        enum bl_rc rc = BL_OK;
        if (snapshot >= 0 && snapshot != done) {
            rc = build_index(r, &last_log_ns);
            if (rc == BL_OK) done = snapshot;
        }
        pause_until(r, bl_mono_ns() + (rc == BL_OK ? LOOK_NS : RETRY_NS));
    }
    return NULL;
}

static bool start(struct refresher *r, void *(*run)(void *context)) {
    bool started = pthread_create(&r->threads[r->started], NULL, run, r) == 0;
    r->started += started;
    return started;
}

enum bl_rc refresher_start(const struct refresher_options *o, struct refresher **out, struct bl_error *err) {
    struct refresher *r = bl_xcalloc(1, sizeof *r);
    r->options = *o;
    r->lake_dir = bl_xstrdup(o->lake_dir);
    r->started_us = bl_wall_us();
    bool started = start(r, keep_indexed) && start(r, keep_fresh);
    if (started) {
        *out = r;
        return BL_OK;
    }
    refresher_stop(&r);
    return bl_fail(err, BL_E_IO, "the threads that keep views and index fresh cannot be started");
}

int64_t refresher_oldest_us(const struct refresher *r) {
    return atomic_load(&r->oldest_us);
}

void refresher_stop(struct refresher **refresher) {
    struct refresher *r = *refresher;
    if (!r) return;
    atomic_store(&r->stop, true);
    for (int i = 0; i < r->started; i++) pthread_join(r->threads[i], NULL);
    free(r->lake_dir);
    free(r);
    *refresher = NULL;
}
