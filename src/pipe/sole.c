#include "pipe/sole.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/rng.h"
#include "obs/log.h"

static enum bl_rc lock_folder(struct sole *s, const char *data, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/.ingest.lock", data);
    BL_TRY(bl_make_dirs(data, err));
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) return BL_OK;
    bool taken = errno == EWOULDBLOCK;
    enum bl_rc rc = bl_fail_errno(err, BL_E_IO, "%s", path);
    close(s->lock_fd);
    s->lock_fd = -1;
    if (!taken) return rc;
    return bl_fail(err, BL_E_BUSY, "another ingest uses %s: stop it, or give this one a folder of its own with --data",
                   data);
}

static char *name_owner(const struct sole *s, const char *data) {
    char host[65] = "?";
    BL_IGNORE(gethostname(host, sizeof host - 1));
    BL_CLEANUP(bl_freep) char *folder = realpath(data, NULL);
    const char *where = folder ? folder : data;
    if (s->lock_fd >= 0) return bl_xasprintf("%s:%s", host, where);
    return bl_xasprintf("%s:%s#%016" PRIx64, host, where, bl_random_u64());
}

enum bl_rc sole_open(struct sole *s, const char *data, int64_t lease_us, struct bl_error *err) {
    *s = (struct sole){.lock_fd = -1, .lease_us = lease_us};
    struct bl_error why = {0};
    enum bl_rc rc = lock_folder(s, data, &why);
    if (rc == BL_E_BUSY) return bl_fail(err, rc, "%s", why.message);
    if (rc != BL_OK) bl_log_error("cannot lock the folder; another ingest in it is noticed by the lease alone", &why);
    s->owner = name_owner(s, data);
    return BL_OK;
}

void sole_close(struct sole *s) {
    if (!s->owner) return;
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->owner);
    *s = (struct sole){.lock_fd = -1};
}

enum bl_rc sole_hold(struct sole *s, struct buffer *b, struct bl_error *err) {
    int64_t now = bl_mono_ns(), left_ms = 0;
    if (s->renewed_ns && now - s->renewed_ns < s->lease_us * 1000 / 3) return BL_OK;
    if (now < s->ask_ns) return bl_fail(err, BL_E_BUSY, "%s", s->holder);
    enum bl_rc rc = buffer_ingest_lease(b, s->owner, s->lease_us / 1000, &left_ms, err);
    if (rc == BL_OK) s->renewed_ns = now;
    if (rc != BL_E_BUSY) return rc;
    s->renewed_ns = 0;
    s->ask_ns = bl_mono_ns() + left_ms * 1000000;
    snprintf(s->holder, sizeof s->holder, "%.255s", err->message);
    return rc;
}

void sole_release(struct sole *s, struct buffer *b) {
    struct bl_error err = {0};
    if (s->renewed_ns && buffer_release_ingest_lease(b, s->owner, &err) != BL_OK)
        bl_log_error("cannot give the lease back; it runs out by itself", &err);
    s->renewed_ns = 0;
}
