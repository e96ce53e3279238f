/* sender: from ingest's closed blocks to Redis, or to disk while Redis does not take them.
 *
 * May include: base, conf, obs, event, buffer, pipe. A thread of its own, with a queue of at most ingest.queue_bytes in
 * front; what is pushed ends in Redis in the order it was pushed.
 *
 * Redis refuses (down, slow, read-only, full, above the high-water mark): the block is tried again; after
 * ingest.spill_after, or at once when the queue is full, the breaker opens: blocks go to spill segments under DIR/spill
 * (pipe/spill.h), fsynced before their cursor counts, and Redis is only probed every ingest.breaker_retry. Once it
 * answers the segments are drained before anything newer. With ingest.spill_bytes 0, or when the disk refuses too, the
 * queue fills and sender_push waits: back-pressure up to the socket. Redis comes back without its newest entries: those
 * of the last seconds, blocks and notes, are sent again. When that does not explain what is missing, sender_lost turns
 * true: the session has to start over from sender_resume, and upstream is asked again.
 *
 * Cursor: an item's host text goes where its cursor goes and comes back with it (see source_cursor_text). sender_cursor
 * is the position up to which everything is in Redis or in a synced segment.
 * DIR/spill/position holds the settled position (everything before it is in the lake), for a Redis that comes back
 * empty. */
#pragma once
#include "buffer/buffer.h"
#include "conf/conf.h"
#include "pipe/blocks.h"
#include "pipe/recent.h"
#include "pipe/role.h"
#include "pipe/sole.h"

struct item {
    struct item *next;
    bool is_block;
    struct closed_block block; /* its raw bytes are owned; for a note they are the message */
    struct note note;
    char host[256]; /* that the cursor belongs to */
    struct bl_buf packed;
};

struct sender;
/* BL_E_BUSY: another ingest uses the DATA folder (pipe/sole.h). */
enum bl_rc sender_open(const struct conf *conf, struct role *role, struct buffer *buffer, struct sender **out,
                       struct bl_error *err);
void sender_close(struct sender **s);

/* Before a session begins: be the only ingest of this Redis. BL_E_BUSY: another one is; it is asked again in due time.
 * A session that is no longer the only one is lost. */
enum bl_rc sender_hold(struct sender *s, struct bl_error *err);

/* Where to resume upstream: Redis's position, the segments', or, when Redis lost both, the settled one. */
struct resume {
    int64_t cursor_us; /* 0 = none known */
    char host[256];
    int64_t lost_to_us; /* Redis lost what lies between the cursor and here, so it comes again; 0 = nothing was lost */
};
/* Start a session: compare segments with what Redis holds, say where to resume, start the thread. */
enum bl_rc sender_start(struct sender *s, const struct buffer_position *position, uint64_t incarnation,
                        struct resume *resume, struct bl_error *err);
/* Takes the item over. Waits while the queue is full. */
void sender_push(struct sender *s, struct item *item);
/* End the session: with `wait_us` for what is queued to become durable; the rest is thrown away, and asked for again
 * upstream. */
void sender_stop(struct sender *s, int64_t wait_us);

bool sender_lost(struct sender *s);
bool sender_running(struct sender *s);
struct resume sender_cursor(struct sender *s);
/* The settled position as seen in this session; 0 = not yet. It passes nothing that Redis or a segment still holds. */
int64_t sender_settled(struct sender *s);
/* Compression seen since the last call: {raw, packed} bytes of the newest block of each type, packed 0 = none. */
void sender_take_learned(struct sender *s, size_t learned[static EV_TYPE_COUNT][2]);

struct sender_health {
    bool redis_up;   /* it answers */
    bool redis_full; /* and has no room for more: above the high-water mark, or at maxmemory */
    bool breaker_open;
    int64_t last_durable_us;   /* wall clock, when something was last put into Redis or a segment; 0 = not yet */
    int64_t oldest_waiting_us; /* receipt of the oldest item in the queue; 0 = none waits */
    int64_t spill_bytes;
    char error[256]; /* newest trouble; "" = none */
};
void sender_get_health(struct sender *s, struct sender_health *out);
/* Trouble met by others on the way to Redis (loading the position); NULL = it works. */
void sender_note_redis(struct sender *s, const struct bl_error *err);
