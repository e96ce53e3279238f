#include "lake/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum bl_rc file_hash(int fd, const char *path, uint64_t *hash, struct bl_error *err) {
    enum { STEP = 1 << 20 };
    BL_CLEANUP(bl_freep) char *bytes = bl_xmalloc(STEP);
    XXH3_state_t *state = XXH3_createState();
    if (!state) return bl_fail(err, BL_E_NOMEM, "no memory to check %s", path);
    XXH3_64bits_reset(state);
    ssize_t n;
    while ((n = read(fd, bytes, STEP)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0) XXH3_64bits_update(state, bytes, (size_t)n);
    *hash = XXH3_64bits_digest(state);
    enum bl_rc rc = n < 0 ? bl_fail_errno(err, BL_E_IO, "cannot read %s", path) : BL_OK;
    XXH3_freeState(state);
    return rc;
}

static bool differs(int fd, const char *path, const struct catalog_file *f, char why[static DAMAGE_TEXT_MAX]) {
    struct stat st;
    uint64_t hash = 0;
    if (fstat(fd, &st) != 0 || file_hash(fd, path, &hash, NULL) != BL_OK) {
        snprintf(why, DAMAGE_TEXT_MAX, "cannot be read: %s", strerror(errno));
    } else if (st.st_size != f->bytes) {
        snprintf(why, DAMAGE_TEXT_MAX, "has %" PRId64 " bytes, the catalogue says %" PRId64, (int64_t)st.st_size,
                 f->bytes);
    } else if (hash != f->checksum) {
        snprintf(why, DAMAGE_TEXT_MAX, "has checksum %016" PRIx64 ", the catalogue says %016" PRIx64, hash,
                 f->checksum);
    } else {
        return false;
    }
    return true;
}

bool file_is_damaged(const char *lake_dir, const struct catalog_file *f, char why[static DAMAGE_TEXT_MAX]) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", lake_dir, f->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(why, DAMAGE_TEXT_MAX, "cannot be opened: %s", strerror(errno));
        return true;
    }
    bool damaged = differs(fd, path, f, why);
    close(fd);
    return damaged;
}

enum bl_rc blame_damaged_file(const char *lake_dir, const struct catalog_file *files, size_t count, enum bl_rc rc,
                              struct bl_error *err) {
    char why[DAMAGE_TEXT_MAX];
    for (size_t i = 0; i < count; i++)
        if (file_is_damaged(lake_dir, &files[i], why))
            return bl_fail(err, rc,
                           "%s %s: put it back from a backup (bluelake verify names every damaged file); nothing is "
                           "lost meanwhile, events wait in Redis",
                           files[i].path, why);
    return rc;
}
