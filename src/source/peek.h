/* peek: the time of an event without decoding it. Pure. Private to source. */
#pragma once
#include "base/str.h"

/* The value of the envelope's "time_us", as Jetstream v1 writes it: an integer member of the outermost object. False
 * when there is none. Members of inner objects are never taken for it. */
bool peek_time_us(struct bl_str json, int64_t *out);
/* The "cursor" that hosts of the v2 family put right behind it: the event's number at that host. 0 when there is none.
 */
uint64_t peek_cursor(struct bl_str json);
