/* blocks: collects events into one open block a type and decides when each is full or old enough.
 *
 * May include: base, event, buffer/block.h. No I/O, no clock of its own, one thread.
 * A closed block carries the cursor that may be stored with it: every event before it is in this or an earlier closed
 * block, also where time stamps went back by up to a minute. It lags behind the newest event while other types still
 * have open blocks. */
#pragma once
#include "buffer/block.h"

struct open_block {
    struct bl_buf raw; /* lines */
    uint32_t count;
    int64_t first_us, last_us; /* time_us */
    int64_t opened_ns;         /* monotonic */
    int64_t cursor_before_us;  /* position before its first event */
    uint64_t seq_before;       /* the same as the host's number */
    int64_t first_received_us;
};
struct closed_block {
    enum ev_type type;
    struct bl_buf raw;
    struct block block;  /* counts, times, seq, offset, incarnation; not packed yet */
    int64_t cursor_us;   /* to be stored with it; 0 = none known */
    uint64_t cursor_seq; /* the same as the host's number; 0 = none known */
    int64_t first_received_us;
};
struct blocks {
    struct open_block open[EV_TYPE_COUNT];
    uint64_t next_seq[EV_TYPE_COUNT], next_offset[EV_TYPE_COUNT];
    uint64_t incarnation;
    size_t raw_target[EV_TYPE_COUNT]; /* adapts to the compression seen, see blocks_learn */
    size_t packed_target;             /* bytes after compression */
    int64_t age_max_ns;
    int64_t position_us;   /* newest accepted time_us */
    uint64_t position_seq; /* newest number of the host; 0 = it has none */
};
void blocks_init(struct blocks *b, uint64_t incarnation, const uint64_t offsets[static EV_TYPE_COUNT],
                 int64_t cursor_us, size_t packed_target, int64_t age_max_us);
void blocks_release(struct blocks *b);
/* The next events come from a host that numbers differently; `seq` 0 when it does not. All blocks must be closed. */
void blocks_change_host(struct blocks *b, uint64_t seq);
struct blocks_event {
    struct bl_str json; /* holds no raw newline */
    int64_t time_us, received_us;
    int64_t horizon_us; /* time stamps beyond it (a host with a wrong clock, a backfill) do not move the cursor */
    uint64_t seq;       /* the host's number; 0 = none */
};
void blocks_add(struct blocks *b, enum ev_type type, const struct blocks_event *e, int64_t now_ns);
/* A block that is full or older than age_max (all non-empty ones with `flush`): true and *out owns its bytes. */
bool blocks_take(struct blocks *b, int64_t now_ns, bool flush, struct closed_block *out);
/* Nanoseconds until the oldest open block is due; -1 when all are empty. */
int64_t blocks_due_in_ns(const struct blocks *b, int64_t now_ns);
size_t blocks_bytes(const struct blocks *b);
void blocks_learn(struct blocks *b, enum ev_type type, size_t raw_bytes, size_t packed_bytes);
