#include "lake/lake_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "lake/event_file.h"

int64_t lake_hour_of(int64_t time_us) {
    int64_t rest = time_us % LAKE_HOUR_US;
    return time_us - rest - (rest < 0 ? LAKE_HOUR_US : 0);
}

void lake_hour_folder(int64_t hour_us, char *out, size_t size) {
    struct bl_date d = bl_date_of_us(hour_us);
    snprintf(out, size, "year=%04d/month=%02d/day=%02d/hour=%02d", d.year, d.month, d.day, d.hour);
}

enum bl_rc lake_file_open(const char *dir, enum ev_type type, int64_t hour_us, uint64_t number,
                          const struct lake_file_options *o, struct lake_file **out, struct bl_error *err) {
    struct lake_file *f = bl_xcalloc(1, sizeof *f);
    char path[LAKE_PATH_MAX];
    f->type = type;
    f->hour_us = hour_us;
    f->min_us = INT64_MAX;
    f->max_us = INT64_MIN;
    snprintf(f->staging, sizeof f->staging, ".staging/%s%s-%" PRIu64 ".parquet", o->stage, ev_schema(type)->name,
             number);
    snprintf(path, sizeof path, "%s/%s", dir, f->staging);
    f->fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        enum bl_rc rc = bl_fail_errno(err, BL_E_IO, "cannot create %s", path);
        free(f);
        return rc;
    }
    BL_CRASH_POINT("lake.after_create");
    f->w = event_file_open(f->fd, type, &(struct pq_options){.codec = o->codec, .row_group_bytes = o->row_group_bytes});
    *out = f;
    return BL_OK;
}

enum bl_rc lake_file_append(struct lake_file *f, const struct event *ev, size_t raw_bytes, struct bl_error *err) {
    int64_t time_us = ev->v[EV_TIME_US].i;
    if (time_us < f->min_us) f->min_us = time_us;
    if (time_us > f->max_us) f->max_us = time_us;
    f->rows++;
    f->raw_bytes += (int64_t)raw_bytes;
    return event_file_append(f->w, ev, err);
}

enum bl_rc lake_file_finish(struct lake_file *f, struct bl_error *err) {
    BL_CRASH_POINT("lake.before_finish");
    BL_TRY(event_file_finish(f->w, f->type, &f->sum, err));
    BL_CRASH_POINT("lake.before_fsync");
    if (fsync(f->fd) != 0) return bl_fail_errno(err, BL_E_IO, "cannot fsync %s", f->staging);
    BL_CRASH_POINT("lake.after_fsync");
    pq_close(&f->w);
    int fd = f->fd;
    f->fd = -1;
    return close(fd) == 0 ? BL_OK : bl_fail_errno(err, BL_E_IO, "cannot close %s", f->staging);
}

/* Some file systems know no RENAME_NOREPLACE; a link never replaces either. */
static int move_without_replacing(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (link(from, to) != 0) return -1;
    return unlink(from);
}

enum bl_rc lake_file_place(const char *dir, struct lake_file *f, const char *stem, struct bl_error *err) {
    enum { NAMES_MAX = 100000 };
    char folder[64], from[LAKE_PATH_MAX], to[LAKE_PATH_MAX], path[sizeof f->path];
    lake_hour_folder(f->hour_us, folder, sizeof folder);
    snprintf(from, sizeof from, "%s/%s", dir, f->staging);
    snprintf(to, sizeof to, "%s/%s", dir, folder);
    BL_TRY(bl_make_dirs(to, err));
    for (int n = 1; n < NAMES_MAX; n++) {
        if (n == 1)
            snprintf(path, sizeof path, "%s/%s.parquet", folder, stem);
        else
            snprintf(path, sizeof path, "%s/%s-%d.parquet", folder, stem, n);
        snprintf(to, sizeof to, "%s/%s", dir, path);
        BL_CRASH_POINT("lake.before_rename");
        if (move_without_replacing(from, to) == 0) {
            memcpy(f->path, path, sizeof path);
            BL_CRASH_POINT("lake.after_rename");
            return BL_OK;
        }
        if (errno != EEXIST) return bl_fail_errno(err, BL_E_IO, "cannot move %s to %s", from, to);
    }
    return bl_fail(err, BL_E_IO, "cannot place %s: every name like %s is taken", from, to);
}

struct catalog_file lake_file_entry(const struct lake_file *f) {
    struct catalog_file e = {
        .type = f->type,
        .hour_us = f->hour_us,
        .rows = f->rows,
        .bytes = f->sum.bytes,
        .min_us = f->min_us,
        .max_us = f->max_us,
        .checksum = f->sum.checksum,
        .schema_version = EV_SCHEMA_VERSION,
        .raw_bytes = f->raw_bytes,
    };
    memcpy(e.path, f->path[0] ? f->path : f->staging, f->path[0] ? sizeof f->path : sizeof f->staging);
    return e;
}

void lake_file_free(struct lake_file **pf) {
    struct lake_file *f = *pf;
    *pf = NULL;
    if (!f) return;
    pq_close(&f->w);
    if (f->fd >= 0) close(f->fd);
    free(f);
}

void lake_file_discard(const char *dir, struct lake_file **pf) {
    if (!*pf) return;
    char path[LAKE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, (*pf)->path[0] ? (*pf)->path : (*pf)->staging);
    unlink(path); /* what cannot be removed now is swept away when the lake is opened again */
    lake_file_free(pf);
}
