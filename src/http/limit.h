/* limit: token buckets by name (an address, a key). A bucket holds an hour's worth of requests and refills evenly.
 *
 * May include: base. Memory is fixed: when the table is full, the fullest bucket of a neighbourhood makes room, which
 * can only be generous to whoever had it. Threading: one thread. */
#pragma once
#include "base/clock.h"

struct limit;
struct limit *limit_new(int64_t per_hour, const struct bl_clock *clock); /* per_hour 0: no limit */
void limit_free(struct limit **l);
void limit_set(struct limit *l, int64_t per_hour); /* from now on; what was taken already counts */
struct limit_state {
    int64_t remaining;
    int64_t retry_after_s; /* when not allowed */
};
/* Take one token from the bucket of `name`. */
bool limit_take(struct limit *l, struct bl_str name, struct limit_state *state);
