#include "base/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"

enum { READ_CHUNK = 64 << 10 };

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
}

enum bl_rc bl_read_file(const char *path, size_t max, struct bl_buf *out, struct bl_error *err) {
    BL_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return bl_fail_errno(err, errno == ENOENT ? BL_E_NOT_FOUND : BL_E_IO, "%s", path);
    size_t start = out->n;
    for (;;) {
        size_t left = max - (out->n - start) + 1; /* one byte more tells a file that is too large */
        size_t chunk = left < READ_CHUNK ? left : READ_CHUNK;
        if (!bl_buf_reserve(out, chunk)) return bl_buf_check(out, path, err);
        ssize_t n = read(fd, out->p + out->n, chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
        if (n == 0) return BL_OK;
        out->n += (size_t)n;
        if (out->n - start > max) return bl_fail(err, BL_E_TOO_LARGE, "%s: larger than %zu bytes", path, max);
    }
}

enum bl_rc bl_write_all(int fd, struct bl_str bytes, const char *path, struct bl_error *err) {
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
        bytes = bl_str_skip(bytes, (size_t)n);
    }
    return BL_OK;
}

enum bl_rc bl_fsync_dir(const char *path, struct bl_error *err) {
    BL_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
    return BL_OK;
}

enum bl_rc bl_write_file_atomic(const char *path, struct bl_str bytes, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *temporary = bl_xasprintf("%s.tmp", path);
    BL_CLEANUP(bl_freep) char *folder = bl_xstrdup(path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    {
        BL_CLEANUP(close_fd) int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", temporary);
        BL_TRY(bl_write_all(fd, bytes, temporary, err));
        if (fsync(fd) != 0) return bl_fail_errno(err, BL_E_IO, "%s", temporary);
    }
    if (rename(temporary, path) != 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
    return bl_fsync_dir(slash ? folder : ".", err);
}

enum bl_rc bl_make_dirs(const char *path, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *copy = bl_xstrdup(path);
    for (char *p = copy + 1; *copy; p++) {
        bool last = *p == 0;
        if (*p != '/' && !last) continue;
        *p = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST) return bl_fail_errno(err, BL_E_IO, "%s", copy);
        if (last) break;
        *p = '/';
    }
    return BL_OK;
}

const char *bl_folder_id(const char *path, char out[static BL_FOLDER_ID_MAX]) {
    struct stat s;
    *out = 0;
    if (stat(path, &s) == 0)
        snprintf(out, BL_FOLDER_ID_MAX, "%016" PRIx64, bl_mix64((uint64_t)s.st_ino + BL_GOLDEN * (uint64_t)s.st_dev));
    return out;
}

enum bl_rc bl_free_port(int *port, struct bl_error *err) {
    BL_CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return bl_fail_errno(err, BL_E_IO, "no free TCP port on 127.0.0.1");
    *port = ntohs(address.sin_port);
    return BL_OK;
}

uint64_t bl_random_u64(void) {
    uint64_t value;
    BL_ASSERT(getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value);
    return value;
}
