/* ingest: Jetstream -> checked events -> blocks -> Redis. The role on port 8001.
 *
 * May include: base, conf, obs, event, source, buffer.
 * Two threads: the reader never waits for Redis (it must answer Jetstream's pings), the sender compresses and appends.
 * Between them lies a queue of at most ingest.queue_bytes; when it is full the reader stops reading, and what upstream
 * drops meanwhile is fetched again from the cursor. The cursor stored with a block covers only what is in Redis by
 * then, so a crash at any point repeats events and loses none; the writer recognises the repetitions. Every message
 * received ends as an event in a block or as a rejected message with its reason. Returns when stopped (BL_OK:
 * everything received is in Redis), or when going on is pointless (bad settings). */
#pragma once
#include "conf/conf.h"
#include "pipe/role.h"

enum bl_rc ingest_run(const struct conf *conf, struct role *role, struct bl_error *err);
