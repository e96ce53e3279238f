/* scan: where one run of bytes stands in another, many bytes at a time.
 *
 * May include: base. Pure. Two bytes of the needle that are rare in text are looked for with the widest compares of the
 * processor (SSE2, or AVX2 where it is there); where both stand, the whole is compared. Adversarial text costs at most
 * needle times text, as for any such search; needles are short.
 *
 *     struct scan_needle n = scan_needle(BL_LIT("cat"));
 *     for (const char *at = p; (at = scan_find(&n, at, end)); at++) ... */
#pragma once
#include "base/str.h"

enum {
    SCAN_SLACK = 64
}; /* so many bytes behind the end of what is searched must be readable; their value is of no
    * consequence */

struct scan_needle {
    struct bl_str s;      /* at least one byte; borrowed */
    size_t first, second; /* first <= second: places of two bytes that are rare in text */
};
struct scan_needle scan_needle(struct bl_str s);
/* The first occurrence that lies wholly within [p, end), or NULL. */
const char *scan_find(const struct scan_needle *n, const char *p, const char *end);
/* The same with nothing but SSE2, for tests. */
const char *scan_find_sse2(const struct scan_needle *n, const char *p, const char *end);
