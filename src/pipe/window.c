#include "pipe/window.h"

#include <stdlib.h>

enum { SLOTS = WINDOW_EVENTS / 4 * 6, EMPTY = 0 };

void window_release(struct window *w) {
    free(w->sets[0]);
    free(w->sets[1]);
    *w = (struct window){0};
}

void window_clear(struct window *w) {
    for (int s = 0; s < 2; s++)
        if (w->sets[s]) memset(w->sets[s], 0, SLOTS * sizeof *w->sets[s]);
    w->count = 0;
}

/* The slot that holds `id`, or the empty one where it goes. An id of zeros does not occur: it is a hash. */
static struct ev_id *slot_of(struct ev_id *set, struct ev_id id) {
    size_t at = (size_t)(((unsigned __int128)id.lo * SLOTS) >> 64);
    while ((set[at].lo | set[at].hi) != EMPTY && (set[at].lo != id.lo || set[at].hi != id.hi)) at = (at + 1) % SLOTS;
    return &set[at];
}

static bool is_empty(const struct ev_id *slot) {
    return (slot->lo | slot->hi) == EMPTY;
}

static void turn(struct window *w) {
    struct ev_id *oldest = w->sets[1];
    w->sets[1] = w->sets[0];
    w->sets[0] = oldest;
    memset(oldest, 0, SLOTS * sizeof *oldest);
    w->count = 0;
}

bool window_saw(struct window *w, struct ev_id id) {
    for (int s = 0; s < 2; s++)
        if (!w->sets[s]) w->sets[s] = bl_xcalloc(SLOTS, sizeof *w->sets[s]);
    struct ev_id *slot = slot_of(w->sets[0], id);
    if (!is_empty(slot) || !is_empty(slot_of(w->sets[1], id))) return true;
    if (w->count == WINDOW_EVENTS) {
        turn(w);
        slot = slot_of(w->sets[0], id);
    }
    *slot = id;
    w->count++;
    return false;
}
