#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "lake/lake_priv.h"

/* ---- open and close */

enum bl_rc lake_lock(const char *dir, const char *name, const char *who, int *fd, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", dir, name);
    *fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (*fd < 0) return bl_fail_errno(err, BL_E_IO, "cannot open %s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return BL_OK;
    int saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
    if (errno != EWOULDBLOCK) return bl_fail_errno(err, BL_E_IO, "cannot lock %s", path);
    return bl_fail(err, BL_E_BUSY, "another bluelake process %s %s: stop it, or use another folder", who, dir);
}

static enum bl_rc lock(struct lake *l, struct bl_error *err) {
    return l->o.compactor ? lake_lock(l->dir, ".compact.lock", "compacts", &l->lock_fd, err)
                          : lake_lock(l->dir, ".lock", "writes to", &l->lock_fd, err);
}

static enum bl_rc set_up(struct lake *l, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *staging = bl_xasprintf("%s/.staging", l->dir);
    BL_TRY(bl_make_dirs(staging, err));
    BL_TRY(lock(l, err));
    BL_TRY(catalog_open(l->dir, CATALOG_WRITE, &l->catalog, err));
    BL_TRY(lake_sweep(l, err));
    l->dedup = dedup_new(l->dir, l->catalog, &(struct dedup_options){.max_bytes = l->o.dedup_bytes});
    return BL_OK;
}

static void find_required(struct lake *l) {
    for (int type = 0; type < EV_TYPE_COUNT; type++) {
        const struct ev_schema *schema = ev_schema((enum ev_type)type);
        for (unsigned i = 0; i < schema->count; i++)
            if (!schema->columns[i].optional) l->required[type] |= (uint64_t)1 << i;
    }
}

enum bl_rc lake_open(const struct lake_options *o, struct lake **out, struct bl_error *err) {
    struct lake *l = bl_xcalloc(1, sizeof *l);
    l->lock_fd = -1;
    l->o = *o;
    l->dir = bl_xstrdup(o->dir);
    l->o.dir = l->dir;
    if (!l->o.codec_set) l->o.codec = PQ_ZSTD;
    if (l->o.memory_bytes <= 0) l->o.memory_bytes = 192 << 20;
    if (l->o.file_rows_max <= 0) l->o.file_rows_max = 4000000;
    if (l->o.file_bytes_max <= 0) l->o.file_bytes_max = 100 << 20;
    if (l->o.encode_threads <= 0) l->o.encode_threads = 2;
    find_required(l);
    enum bl_rc rc = set_up(l, err);
    if (rc != BL_OK)
        lake_close(&l);
    else
        *out = l;
    return rc;
}

struct catalog *lake_catalog(struct lake *l) {
    return l->catalog;
}
int64_t lake_pending_rows(const struct lake *l) {
    return l->rows;
}
int64_t lake_pending_bytes(const struct lake *l) {
    return l->memory;
}
int64_t lake_pending_files(const struct lake *l) {
    return (int64_t)l->file_count;
}

/* What was appended and noted is over, committed or not. */
static void clear_batch(struct lake *l) {
    memset(l->current, 0, sizeof l->current);
    l->file_count = l->intake_count = l->dead_count = l->revived_count = l->taken_count = 0;
    l->rows = l->memory = 0;
    l->broken = false;
    bl_arena_reset(&l->texts);
}

static void discard_files(struct lake *l) {
    for (size_t i = 0; i < l->file_count; i++) lake_file_discard(l->dir, &l->files[i]);
}

void lake_close(struct lake **pl) {
    struct lake *l = *pl;
    *pl = NULL;
    if (!l) return;
    discard_files(l);
    dedup_free(&l->dedup);
    catalog_close(&l->catalog);
    if (l->lock_fd >= 0) close(l->lock_fd);
    bl_arena_release(&l->texts);
    free(l->intake);
    free(l->dead);
    free(l->revived);
    free(l->taken);
    free(l->dir);
    free(l);
}

/* ---- append */

static bool takes(const struct lake *l, const struct lake_file *f, enum ev_type type, int64_t hour_us) {
    return f && f->type == type && f->hour_us == hour_us && f->rows < l->o.file_rows_max;
}

static enum bl_rc file_for(struct lake *l, enum ev_type type, int64_t hour_us, struct lake_file **out,
                           struct bl_error *err) {
    struct lake_file *f = l->current[type];
    for (size_t i = l->file_count; !takes(l, f, type, hour_us) && i-- > 0;) f = l->files[i];
    if (!takes(l, f, type, hour_us)) {
        if (l->file_count == LAKE_OPEN_MAX)
            return bl_fail(err, BL_E_FULL, "%d files are open: commit first", LAKE_OPEN_MAX);
        struct lake_file_options o = {.codec = l->o.codec, .stage = LAKE_STAGE_WRITE};
        BL_TRY(lake_file_open(l->dir, type, hour_us, l->next_number++, &o, &f, err));
        l->files[l->file_count++] = f;
        l->memory += pq_memory(f->w);
    }
    l->current[type] = *out = f;
    return BL_OK;
}

/* An event is refused here, whole, or not at all: half a row cannot be taken back. */
static enum bl_rc check_event(const struct lake *l, const struct event *ev, struct bl_error *err) {
    uint64_t missing = l->required[ev->type] & ~ev->has;
    if (missing)
        return bl_fail(err, BL_E_INVALID, "the event has no %s, which every row of %s needs",
                       ev_schema(ev->type)->columns[__builtin_ctzll(missing)].name, ev_schema(ev->type)->name);
    int64_t time_us = ev->v[EV_TIME_US].i;
    struct bl_date d = bl_date_of_us(time_us);
    if (d.year >= 0 && d.year <= 9999) return BL_OK;
    return bl_fail(err, BL_E_INVALID, "time_us %" PRId64 " lies outside the years 0 to 9999: no folder holds it",
                   time_us);
}

static enum bl_rc append_new(struct lake *l, struct lake_file *f, const struct event *ev, size_t raw_bytes,
                             struct bl_error *err) {
    int64_t before = pq_memory(f->w);
    enum bl_rc rc = lake_file_append(f, ev, raw_bytes, &l->broken_by);
    l->memory += pq_memory(f->w) - before;
    l->rows++;
    if (rc == BL_OK) return BL_OK;
    l->broken = true;
    if (err) *err = l->broken_by;
    return rc;
}

enum bl_rc lake_append(struct lake *l, const struct event *ev, struct ev_id id, size_t raw_bytes,
                       enum lake_outcome *outcome, struct bl_error *err) {
    struct lake_file *f = NULL;
    bool known = false;
    if (l->broken) return bl_fail(err, l->broken_by.code, "%s", l->broken_by.message);
    BL_TRY(check_event(l, ev, err));
    int64_t time_us = ev->v[EV_TIME_US].i;
    if (l->memory >= l->o.memory_bytes)
        return bl_fail(err, BL_E_FULL, "%" PRId64 " bytes of rows wait in memory: commit first", l->memory);
    /* The file comes first: when it cannot be had, the event must not be remembered as seen. */
    BL_TRY(file_for(l, ev->type, lake_hour_of(time_us), &f, err));
    BL_TRY(dedup_check(l->dedup, ev->type, id, time_us, &known, err));
    if (!known) BL_TRY(append_new(l, f, ev, raw_bytes, err));
    *outcome = known ? LAKE_DUPLICATE : LAKE_WRITTEN;
    return BL_OK;
}

void lake_expect(const struct lake *l, const struct event *ev, struct ev_id id) {
    dedup_expect(l->dedup, id, ev->v[EV_TIME_US].i);
}

void lake_note_intake(struct lake *l, const struct catalog_intake *intake) {
    if (l->intake_count == l->intake_cap) {
        l->intake_cap = l->intake_cap ? l->intake_cap * 2 : 16;
        l->intake = bl_xrealloc(l->intake, l->intake_cap * sizeof *l->intake);
    }
    l->intake[l->intake_count++] = *intake;
}

static const char *keep_text(struct lake *l, const char *text) {
    if (!text) return NULL;
    return bl_arena_dup(&l->texts, bl_strn(text, strlen(text) + 1)).p;
}

void lake_note_dead(struct lake *l, const struct catalog_dead *dead) {
    if (l->dead_count == l->dead_cap) {
        l->dead_cap = l->dead_cap ? l->dead_cap * 2 : 16;
        l->dead = bl_xrealloc(l->dead, l->dead_cap * sizeof *l->dead);
    }
    struct catalog_dead *d = &l->dead[l->dead_count++];
    *d = *dead;
    d->reason = keep_text(l, dead->reason);
    d->detail = keep_text(l, dead->detail);
    d->origin = keep_text(l, dead->origin);
    d->message = bl_arena_dup(&l->texts, dead->message);
    l->memory += (int64_t)(sizeof *d + dead->message.n);
}

void lake_note_revived(struct lake *l, int64_t dead_letter) {
    if (l->revived_count == l->revived_cap) {
        l->revived_cap = l->revived_cap ? l->revived_cap * 2 : 16;
        l->revived = bl_xrealloc(l->revived, l->revived_cap * sizeof *l->revived);
    }
    l->revived[l->revived_count++] = dead_letter;
}

void lake_note_taken(struct lake *l, const char *id) {
    if (l->taken_count == l->taken_cap) {
        l->taken_cap = l->taken_cap ? l->taken_cap * 2 : 16;
        l->taken = bl_xrealloc(l->taken, l->taken_cap * sizeof *l->taken);
    }
    l->taken[l->taken_count++] = keep_text(l, id);
}

/* ---- commit */

struct finishing {
    struct lake *l;
    atomic_size_t next;
};

static void *finish_files(void *context) {
    struct finishing *job = context;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->l->file_count;) {
        struct lake_file *f = job->l->files[i];
        f->rc = lake_file_finish(f, &f->err);
    }
    return NULL;
}

/* The largest first, so that the threads end at about the same time. */
static int by_memory(const void *a, const void *b) {
    int64_t x = pq_memory((*(struct lake_file *const *)a)->w), y = pq_memory((*(struct lake_file *const *)b)->w);
    return (x < y) - (x > y);
}

static enum bl_rc finish_all(struct lake *l, struct bl_error *err) {
    enum { THREADS_MAX = 64 };
    pthread_t threads[THREADS_MAX];
    struct finishing job = {.l = l};
    size_t wanted = (size_t)l->o.encode_threads < l->file_count ? (size_t)l->o.encode_threads : l->file_count, n = 0;
    qsort(l->files, l->file_count, sizeof *l->files, by_memory);
    while (n + 1 < wanted && n < THREADS_MAX && pthread_create(&threads[n], NULL, finish_files, &job) == 0) n++;
    finish_files(&job);
    while (n > 0) pthread_join(threads[--n], NULL);
    for (size_t i = 0; i < l->file_count; i++) {
        if (l->files[i]->rc == BL_OK) continue;
        if (err) *err = l->files[i]->err;
        return l->files[i]->rc;
    }
    return BL_OK;
}

static enum bl_rc sync_chain(struct lake *l, const char *folder, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", l->dir, folder);
    size_t root = strlen(l->dir);
    while (strlen(path) > root) {
        *strrchr(path, '/') = 0;
        BL_TRY(bl_fsync_dir(path, err));
    }
    return BL_OK;
}

enum bl_rc lake_sync_folder(struct lake *l, int64_t hour_us, struct bl_error *err) {
    char folder[64];
    lake_hour_folder(hour_us, folder, sizeof folder);
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", l->dir, folder);
    BL_CRASH_POINT("lake.before_folder_fsync");
    BL_TRY(bl_fsync_dir(path, err));
    BL_CRASH_POINT("lake.after_folder_fsync");
    size_t known = l->synced_count < LAKE_SYNCED ? l->synced_count : LAKE_SYNCED;
    for (size_t i = 0; i < known; i++)
        if (l->synced[i] == hour_us) return BL_OK;
    BL_TRY(sync_chain(l, folder, err));
    l->synced[l->synced_count++ % LAKE_SYNCED] = hour_us;
    return BL_OK;
}

static enum bl_rc place_all(struct lake *l, struct bl_error *err) {
    for (size_t i = 0; i < l->file_count; i++) {
        struct lake_file *f = l->files[i];
        char stem[96];
        snprintf(stem, sizeof stem, "%s-%" PRId64 "-%" PRId64, ev_schema(f->type)->name, f->min_us, f->max_us);
        BL_TRY(lake_file_place(l->dir, f, stem, err));
    }
    for (size_t i = 0; i < l->file_count; i++) {
        bool done = false;
        for (size_t k = 0; k < i; k++) done |= l->files[k]->hour_us == l->files[i]->hour_us;
        if (!done) BL_TRY(lake_sync_folder(l, l->files[i]->hour_us, err));
    }
    return BL_OK;
}

/* A file that only saw duplicates holds nothing. */
static void drop_empty(struct lake *l) {
    size_t kept = 0;
    for (size_t i = 0; i < l->file_count; i++) {
        if (l->files[i]->rows == 0)
            lake_file_discard(l->dir, &l->files[i]);
        else
            l->files[kept++] = l->files[i];
    }
    l->file_count = kept;
}

static enum bl_rc commit_catalog(struct lake *l, const char *job, struct lake_commit_stats *stats,
                                 struct bl_error *err) {
    struct catalog_file *add = bl_xcalloc(l->file_count + 1, sizeof *add);
    for (size_t i = 0; i < l->file_count; i++) {
        add[i] = lake_file_entry(l->files[i]);
        stats->rows += add[i].rows;
        stats->bytes += add[i].bytes;
    }
    stats->files = (int64_t)l->file_count;
    struct catalog_commit commit = {
        .add = add,
        .add_count = l->file_count,
        .intake = l->intake,
        .intake_count = l->intake_count,
        .dead = l->dead,
        .dead_count = l->dead_count,
        .revived = l->revived,
        .revived_count = l->revived_count,
        .taken = l->taken,
        .taken_count = l->taken_count,
        .job = job,
    };
    BL_CRASH_POINT("lake.before_catalog");
    enum bl_rc rc = catalog_commit(l->catalog, &commit, &stats->snapshot, err);
    BL_CRASH_POINT("lake.after_catalog");
    free(add);
    return rc;
}

static enum bl_rc commit_batch(struct lake *l, const char *job, struct lake_commit_stats *stats, struct bl_error *err) {
    if (l->broken) return bl_fail(err, l->broken_by.code, "%s", l->broken_by.message);
    drop_empty(l);
    if (l->file_count + l->intake_count + l->dead_count + l->revived_count + l->taken_count == 0) return BL_OK;
    BL_TRY(finish_all(l, err));
    BL_TRY(place_all(l, err));
    return commit_catalog(l, job, stats, err);
}

/* An error from the catalogue does not prove that nothing was committed (the disk may have failed after the fact): a
 * file it lists stays. */
void lake_forget(struct lake *l) {
    for (size_t i = 0; i < l->file_count; i++) {
        struct lake_file *f = l->files[i];
        if (f->path[0] && catalog_knows_path(l->catalog, f->path))
            lake_file_free(&l->files[i]);
        else
            lake_file_discard(l->dir, &l->files[i]);
    }
    clear_batch(l);
    dedup_forget(l->dedup);
}

enum bl_rc lake_commit(struct lake *l, const char *job, struct lake_commit_stats *stats, struct bl_error *err) {
    struct lake_commit_stats done = {0};
    enum bl_rc rc = commit_batch(l, job, &done, err);
    if (rc != BL_OK) {
        lake_forget(l);
        return rc;
    }
    for (size_t i = 0; i < l->file_count; i++) lake_file_free(&l->files[i]);
    clear_batch(l);
    dedup_committed(l->dedup);
    if (stats) *stats = done;
    return BL_OK;
}
