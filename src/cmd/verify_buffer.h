/* verify_buffer: the conservation equation with what waits in Redis, for each type and for what ingest refused.
 *
 * May include: base, conf, buffer, lake. Reads only, and holds while ingest and writer run: the queue is counted first,
 * up to its newest entry, and the ledger afterwards, so that what the writer took meanwhile is in one of them.
 * Where Redis lost its counters nothing can be proven about what they counted: that is reported, and is no problem. */
#pragma once
#include "conf/conf.h"
#include "lake/verify.h"

/* `print`: a line a type on stdout. */
enum bl_rc verify_buffer(const struct conf *conf, bool print, verify_report_fn report, struct verify_result *result,
                         struct bl_error *err);
