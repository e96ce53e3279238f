/* freshness: the clocks of the stages, and whether each is within its limit. What /ready is made of: a role is ready
 * while events move through it, not merely while its connections are open.
 *
 * May include: base. Pure. Five stages have a clock: witnessed (Jetstream's own time stamp), received, buffered
 * (ingest's page); read, written (the writer's page). */
#pragma once
#include "base/clock.h"

struct stage_clock {
    const char *name;
    int64_t at_us;    /* wall clock of the newest (or, where something waits, of the oldest waiting) event; 0 = none */
    int64_t limit_us; /* age from which the stage is late; 0 = not judged */
};
/* Seconds since then, by a clock that may have been ahead of ours: never negative; 0 also when there is no `at_us`. */
double freshness_age_s(int64_t at_us, int64_t now_us);
/* "clocks":{"received":{"age_seconds":0.1,"limit_seconds":60,"late":false},...}; age and limit are null where there is
 * none. */
void freshness_print(const struct stage_clock *clocks, size_t count, int64_t now_us, struct bl_buf *json);
/* The first stage that is late, as a sentence; false when none is. */
bool freshness_late(const struct stage_clock *clocks, size_t count, int64_t now_us, char *why, size_t size);
