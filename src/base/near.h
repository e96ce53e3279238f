/* near: "did you mean ...?" for names people type. */
#pragma once
#include "base/str.h"

/* The candidate with the smallest edit distance to `word`, if it is close enough to be a slip of the keyboard (at most
 * a third of its length, and 3); NULL otherwise. `at` yields the i-th candidate, NULL after the last. */
const char *bl_nearest(struct bl_str word, const char *(*at)(size_t i, const void *context), const void *context);
