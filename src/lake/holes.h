/* holes: where the buffer's numbering of one type jumped, and between which events: what of it comes again when the
 * buffer numbers anew, and what never does.
 *
 * May include: base. Pure. Kept as text in the catalogue's facts ("holes:likes"): the newest time of the block taken
 * last, then FROM:TO:EVENTS a hole, times in microseconds; {0} is a type that has none.
 * A buffer that lost its contents is filled again from a settled position, and the first block of the new numbering
 * shows from where. A hole that begins at or behind it comes again whole; one before it, for which blocks behind it
 * were settled already, does not. Threading: one owner at a time. */
#pragma once
#include "base/mem.h"

enum { HOLES_MAX = 64 }; /* further ones are counted with the newest */
struct hole {
    int64_t from_us, to_us; /* time of the newest event before it and of the oldest behind it; from_us 0: unknown */
    int64_t events;         /* that are missing still */
};
struct holes {
    int64_t newest_us;
    struct hole list[HOLES_MAX];
    size_t count;
};
void holes_parse(struct holes *h, struct bl_str text); /* what is not a list of holes is none */
void holes_print(const struct holes *h, struct bl_buf *out);
/* `events` never came before the block whose first event is of `first_us`. */
void holes_add(struct holes *h, int64_t first_us, int64_t events);
/* A block that comes late brings `events` of them. */
void holes_fill(struct holes *h, int64_t first_us, int64_t events);
/* The buffer numbers anew, from an event of `first_us` on: takes out every hole that comes again, and returns their
 * events. What stays is lost. */
int64_t holes_anew(struct holes *h, int64_t first_us);
