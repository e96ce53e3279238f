/* settled: the file that keeps the settled position (everything before it is in the lake), for a Redis that comes back
 * empty. May include: base. Writing is atomic and fsynced. */
#pragma once
#include <stdint.h>

#include "base/err.h"

/* Makes the file's folder where it is missing. */
enum bl_rc settled_write(const char *path, int64_t settled_us, struct bl_error *err);
/* 0 when there is none, or it cannot be read. */
int64_t settled_read(const char *path);
