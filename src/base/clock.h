/* clock: time, with the unit in every name.
 *
 * Wall time is microseconds since 1970-01-01 UTC (int64), the unit of Jetstream's time_us. Monotonic time is
 * nanoseconds from an arbitrary start and serves timers and ages only. Code whose behaviour depends on time takes a
 * `const struct bl_clock *`, so that tests decide what time it is; bl_clock_system is the real one.
 *
 * Civil dates are proleptic Gregorian, UTC, years 0..9999. */
#pragma once
#include "base/mem.h"

struct bl_clock {
    int64_t (*wall_us)(void *context);
    int64_t (*mono_ns)(void *context);
    void *context;
};
extern const struct bl_clock bl_clock_system;

int64_t bl_wall_us(void);
int64_t bl_mono_ns(void);
int64_t bl_thread_cpu_ns(void);

struct bl_date {
    int year, month, day, hour, minute, second; /* month and day from 1 */
    int micros;
};
struct bl_date bl_date_of_us(int64_t wall_us);
int64_t bl_us_of_date(struct bl_date d);
int bl_days_in_month(int year, int month);

enum { BL_TIME_TEXT_MAX = 32 };
/* "2026-11-21T08:05:00.123456Z" (digits 0, 3 or 6); returns `out`. */
const char *bl_format_time(int64_t wall_us, int digits, char out[static BL_TIME_TEXT_MAX]);
/* What a person types: YYYY-MM-DD, or RFC 3339 with zone, or YYYY-MM-DDTHH:MM[:SS[.f]] taken as UTC. With
 * `end_of_day` a bare date means its last microsecond. Returns false when it is not a time. */
bool bl_parse_time(struct bl_str s, bool end_of_day, int64_t *wall_us);

/* "3.2s", "14 min", "2.1 h": for people. */
const char *bl_format_duration(int64_t us, char out[static BL_TIME_TEXT_MAX]);
const char *bl_format_bytes(int64_t bytes, char out[static BL_TIME_TEXT_MAX]);
const char *bl_format_count(int64_t count, char out[static BL_TIME_TEXT_MAX]); /* 1,234,567 */
