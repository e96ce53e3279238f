/* write: buffer -> lake. The role on port 8000.
 *
 * May include: base, conf, obs, event, buffer, lake, pipe.
 * Reads continuously; a batch is committed when its first event has waited 4/5 of write.interval (so that nothing is
 * older than the interval when it is durable), at write.batch_rows, or at write.memory. Only then are its blocks
 * acknowledged. A block that was committed and not acknowledged (crash in between) is recognised by (run, type, seq)
 * and skipped; events that come again under another block are recognised by identity. One writer at a time: a lock on
 * the lake and a lease in Redis. On stop: drains what is in the buffer within a bound, commits, acknowledges. What
 * cannot be drained stays in Redis. */
#pragma once
#include "conf/conf.h"
#include "lake/lake.h"
#include "pipe/role.h"

enum bl_rc write_run(const struct conf *conf, struct role *role, struct bl_error *err);
/* The lake as the settings want it; also for import and compaction. */
enum bl_rc write_open_lake(const struct conf *conf, bool compactor, struct lake **out, struct bl_error *err);
/* Who holds the lease in Redis. It is the lake's: within one lake its lock keeps writers apart, and the successor of a
 * killed writer need not wait for the lease to run out; a writer of another lake on the same Redis is refused. */
enum bl_rc write_lease_owner(struct lake *lake, char *owner, size_t size, struct bl_error *err);
