/* lines: a file, plain or compressed, as runs of whole lines.
 *
 * May include: base. zlib.h and zstd.h appear only in lines.c. One thread. */
#pragma once
#include "base/mem.h"

struct lines;
enum bl_rc lines_open(const char *path, struct lines **out, struct bl_error *err); /* "-" = standard input */
/* Append about `want` bytes of whole lines to `out`; a last line without '\n' gets one. *end when nothing is left. A
 * line longer than `line_max` is BL_E_TOO_LARGE. */
enum bl_rc lines_read(struct lines *l, size_t want, size_t line_max, struct bl_buf *out, bool *end,
                      struct bl_error *err);
void lines_close(struct lines **l);
