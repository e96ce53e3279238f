/* rates: the last minute of requests, for the gauges of QRY-08. May include: base. Threading: any thread. */
#pragma once
#include "base/clock.h"

struct rates;
struct rates_minute {
    double per_second, error_percent, mean_ms, hit_percent;
};
struct rates *rates_new(const struct bl_clock *clock);
void rates_free(struct rates **r);
void rates_note(struct rates *r, int64_t took_ns, bool error);
void rates_note_lookup(struct rates *r, bool hit); /* of the cache */
struct rates_minute rates_minute(struct rates *r);
