/* peek: the time of an event without decoding it. Pure. Private to source. */
#pragma once
#include "base/str.h"

/* The value of the envelope's "time_us", as Jetstream v1 writes it: an integer member of the outermost object. False when
 * there is none. Members of inner objects are never taken for it. */
bool peek_time_us(struct bl_str json, int64_t *out);
