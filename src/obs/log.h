/* log: one line an event, to standard error.
 *
 * May include: base. Library rooms log at DEBUG and INFO about what they do, never an error they return.
 * Form: "2026-11-21T08:05:00.123Z INFO  ingest  connected host=... cursor=..." or, with bl_log_json, one JSON object a
 * line. Key=value pairs carry the data, so that logs can be searched. No post text and no secret is ever logged.
 * Thread-safe; a line is one write. */
#pragma once
#include "base/clock.h"

enum bl_level { BL_DEBUG, BL_INFO, BL_WARN, BL_ERROR_LEVEL };

void bl_log_setup(const char *component, enum bl_level least, bool json);
bool bl_level_by_name(struct bl_str name, enum bl_level *out); /* debug, info, warn, error */
void bl_log(enum bl_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "what: message (CODE)". */
void bl_log_error(const char *what, const struct bl_error *err);
/* True at most once per `interval_us` and key: for conditions that last. `*last` belongs to the caller, starts at 0. */
bool bl_log_due(int64_t *last_ns, int64_t interval_us);
