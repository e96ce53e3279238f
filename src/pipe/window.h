/* window: have I seen this event lately? For two hosts that deliver the same events.
 *
 * May include: base, event. Two hash sets of WINDOW_EVENTS identities: when the newer is full it becomes the older, and
 * the older is forgotten. So at least the last WINDOW_EVENTS identities are known, at most twice as many; 12 MB. An
 * identity that fell out is recognised by the writer. One thread. */
#pragma once
#include "event/event.h"

enum { WINDOW_EVENTS = 1 << 18 };
struct window {
    struct ev_id *sets[2]; /* open addressing; the older one is sets[1] */
    size_t count;          /* in sets[0] */
};
void window_release(struct window *w);
void window_clear(struct window *w);
/* True when `id` is known; otherwise it is from now on. */
bool window_saw(struct window *w, struct ev_id id);
