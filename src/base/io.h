/* io: files, with every short write, EINTR and fsync accounted for.
 *
 * Paths are NUL-terminated. All functions block. Errors carry the path. */
#pragma once
#include "base/mem.h"

/* Appends the file to `out`, at most `max` bytes: a larger file is BL_E_TOO_LARGE, a missing one BL_E_NOT_FOUND. */
enum bl_rc bl_read_file(const char *path, size_t max, struct bl_buf *out, struct bl_error *err);
enum bl_rc bl_write_all(int fd, struct bl_str bytes, const char *path, struct bl_error *err);
/* Writes `path`.tmp, fsyncs, renames over `path`, fsyncs the folder: readers see the old or the new content. */
enum bl_rc bl_write_file_atomic(const char *path, struct bl_str bytes, struct bl_error *err);
enum bl_rc bl_fsync_dir(const char *path, struct bl_error *err);
/* mkdir -p, mode 0755. */
enum bl_rc bl_make_dirs(const char *path, struct bl_error *err);
/* A word that names the folder, and not where it lies: the same for whoever means the same folder on this machine; ""
 * while it does not exist. */
enum { BL_FOLDER_ID_MAX = 20 };
const char *bl_folder_id(const char *path, char out[static BL_FOLDER_ID_MAX]);
/* A TCP port of 127.0.0.1 that is free now. */
enum bl_rc bl_free_port(int *port, struct bl_error *err);
