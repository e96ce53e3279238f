/* heal: fetches what one host could not serve from another that still has it. Private to source.
 *
 * A thread of its own opens one connection after the other to the hosts that did not make the gap, from the gap's
 * beginning to its end, and hands the events out through the queue, marked `backfill`, followed by the gap marked
 * `healed`. A gap that no host can fill now is tried again, ever more rarely, for two days: longer than any host looks
 * back. What is open at the end of the process is for the next one to add again. */
#pragma once
#include "source/queue.h"

struct heal;
/* `o` and what it points to must outlive it. */
struct heal *heal_start(const struct source_options *o, struct queue *queue);
/* The receiver lost what it got lately: gaps filled since then, and the one in work, are filled again. */
void heal_restart(struct heal *h, unsigned epoch);
void heal_add(struct heal *h, const struct source_gap *gap);
bool heal_busy(struct heal *h); /* a gap is being filled now */
void heal_stop(struct heal **h);
