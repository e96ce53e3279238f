/* idset: a set of event identities, 16 B each at a load between 1/2 and 3/4.
 *
 * May include: base, event (types only). {0} is the empty set.
 * Threading: one owner at a time. */
#pragma once
#include "event/event.h"

struct idset {
    struct ev_id *slots; /* open addressing, linear probing; {0,0} marks a free slot */
    size_t capacity, count;
};
void idset_release(struct idset *s); /* frees, back to {0} */
bool idset_has(const struct idset *s, struct ev_id id);
/* True when it was not in the set before. */
bool idset_add(struct idset *s, struct ev_id id);

static inline int64_t idset_memory(const struct idset *s) { return (int64_t)(s->capacity * sizeof *s->slots); }
/* The identity is a hash already: its upper half, scaled to the table, is the place. No power of two is needed, so
 * tables grow by half and stay well filled. */
static inline size_t idset_place(const struct idset *s, struct ev_id id) {
    return (size_t)((unsigned __int128)id.hi * s->capacity >> 64);
}
static inline void idset_prefetch(const struct idset *s, struct ev_id id) {
    if (s->capacity) __builtin_prefetch(&s->slots[idset_place(s, id)]);
}
