#include "lake/idset.h"

#include <stdlib.h>

enum { SLOTS_MIN = 64 };

static bool is_free(struct ev_id slot) { return slot.lo == 0 && slot.hi == 0; }

static struct ev_id storable(struct ev_id id) {
    if (is_free(id)) id.lo = 1;
    return id;
}

/* Where `id` is, or where it would go. */
static struct ev_id *slot_of(const struct idset *s, struct ev_id id) {
    size_t at = idset_place(s, id);
    while (!is_free(s->slots[at]) && (s->slots[at].lo != id.lo || s->slots[at].hi != id.hi))
        at = at + 1 == s->capacity ? 0 : at + 1;
    return &s->slots[at];
}

static void grow(struct idset *s) {
    struct idset old = *s;
    s->capacity = old.capacity ? old.capacity + old.capacity / 2 : SLOTS_MIN;
    s->slots = bl_xcalloc(s->capacity, sizeof *s->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (!is_free(old.slots[i])) *slot_of(s, old.slots[i]) = old.slots[i];
    free(old.slots);
}

void idset_release(struct idset *s) {
    free(s->slots);
    *s = (struct idset){0};
}

bool idset_has(const struct idset *s, struct ev_id id) { return s->capacity && !is_free(*slot_of(s, storable(id))); }

bool idset_add(struct idset *s, struct ev_id id) {
    if ((s->count + 1) * 4 > s->capacity * 3) grow(s);
    id = storable(id);
    struct ev_id *slot = slot_of(s, id);
    if (!is_free(*slot)) return false;
    *slot = id;
    s->count++;
    return true;
}
