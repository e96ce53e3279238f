/* settled: the position before which everything is in the lake, on disk for a Redis that comes back empty.
 *
 * May include: base. The file holds one line, "settled_us=N\n" (microseconds since 1970), and is replaced whole, so it
 * is there in full or as it was before. Without it a run begins where the settings say. */
#pragma once
#include "base/err.h"

#include <stdint.h>

/* Makes the folder when it is missing. Synced: a power cut afterwards leaves this position. */
enum bl_rc settled_write(const char *path, int64_t settled_us, struct bl_error *err);
/* 0: there is no file yet, or nothing usable in it. */
int64_t settled_read(const char *path);
