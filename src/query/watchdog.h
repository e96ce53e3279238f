/* watchdog: a thread that interrupts DuckDB when a question is out of time or cancelled.
 *
 * Private to the query room. DuckDB forgets an interrupt that arrives between two statements of one question, so the
 * thread repeats it until the question has ended.
 * Threading: watchdog_cancel from any thread; the rest from the session's. */
#pragma once
#include "base/mem.h"
#include "lake/duck.h"

struct watchdog;
enum bl_rc watchdog_start(struct duck *duck, struct watchdog **out, struct bl_error *err);
void watchdog_stop(struct watchdog **w);
void watchdog_begin(struct watchdog *w, int64_t deadline_us); /* a question starts and may take so long */
/* The same question goes on and may take so long again; a cancel stands. */
void watchdog_extend(struct watchdog *w, int64_t deadline_us);
/* The question ended with `rc`; says BL_E_TIMEOUT or BL_E_CANCELLED where that was the reason. */
enum bl_rc watchdog_end(struct watchdog *w, enum bl_rc rc, struct bl_error *err);
/* Between two statements: BL_E_TIMEOUT or BL_E_CANCELLED when there is no point in going on. */
enum bl_rc watchdog_check(struct watchdog *w, struct bl_error *err);
void watchdog_cancel(struct watchdog *w); /* nothing happens when no question is running */
