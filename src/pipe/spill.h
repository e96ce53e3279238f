/* spill: blocks that Redis does not take, kept on disk in order until it does.
 *
 * May include: base, event, buffer/block.h. One thread. Format: docs/FORMATS.md, "Spill segment".
 * Segments DIR/<incarnation>-<n>.seg hold records, each with its own checksum. A record is durable once spill_sync has
 * returned; what was being written when the machine stopped is a torn tail, which nobody relied on. Damage anywhere
 * else is told by spill_damaged, and spill_cursor then stays before it. A segment that cannot be read at all is set
 * aside: renamed to NAME.seg.unreadable-LAST, kept, and not looked at again. Records are read in the order they were
 * written, over all segments and restarts. A segment whose records have all been consumed stays for a while
 * (spill_collect): a Redis that comes back without its last seconds gets them again after spill_rewind.
 *
 *     BL_TRY(spill_append(s, &record, err)); BL_TRY(spill_sync(s, err));      // durable
 *     while (spill_waiting(s)) { BL_TRY(spill_peek(s, &record, err)); send(&record); spill_consume(s); } */
#pragma once
#include "buffer/block.h"

enum {
    SPILL_SEGMENT_BYTES = 4 << 20, /* a segment of this size gets no more records */
    SPILL_BATCH_BYTES = 4 << 20,   /* from here on a batch of spill_append wants its spill_sync */
    SPILL_FREE_MIN = 1 << 30,      /* nothing is spilled while the file system has less free than this, */
    SPILL_FREE_PERCENT = 2,        /* or than this share of it: Redis and the lake may live there too */
    SPILL_RECORD_MAX = BLOCK_RAW_MAX + (1 << 20),
    SPILL_FILE_MAX = SPILL_SEGMENT_BYTES + SPILL_BATCH_BYTES + SPILL_RECORD_MAX
};

struct spill_record {
    bool is_block; /* else a message that was refused, or a note */
    enum ev_type type;
    struct block block; /* its `offset` is not kept: it is numbered when Redis takes it */
    int64_t cursor_us;
    struct bl_str host;
    struct bl_str reason, detail, message;
    int64_t received_us;
};

/* ---- the codec, pure ---- */
void spill_encode(const struct spill_record *r, struct bl_buf *out); /* appends one framed record */
enum spill_found { SPILL_RECORD, SPILL_END, SPILL_TORN, SPILL_DAMAGED };
/* The record at the front of `*rest`, which moves behind it. Slices point into the input. TORN: it ends too early;
 * DAMAGED: its checksum or form is wrong. */
enum spill_found spill_decode(struct bl_str *rest, struct spill_record *out);

/* ---- the files ---- */
struct spill;
/* Makes no folder and no file before the first record. spill_append answers BL_E_FULL beyond `max_bytes`, and while
 * too little is free on the file system (SPILL_FREE_MIN, SPILL_FREE_PERCENT). */
enum bl_rc spill_open(const char *dir, int64_t max_bytes, struct spill **out, struct bl_error *err);
void spill_close(struct spill **s);
/* The run that spills from now on, and the EV_TYPE_COUNT numbers of events Redis has been given when the next record's
 * turn comes; NULL: what follows from the records that are there. */
void spill_begin(struct spill *s, uint64_t incarnation, const uint64_t *received);
enum bl_rc spill_append(struct spill *s, const struct spill_record *r, struct bl_error *err);
bool spill_batch_full(const struct spill *s); /* what is appended and not synced has reached SPILL_BATCH_BYTES */
enum bl_rc spill_sync(struct spill *s, struct bl_error *err);
bool spill_waiting(const struct spill *s); /* records that are not consumed */
/* Valid until the next call. BL_E_NOT_FOUND: nothing is left. BL_E_CORRUPT: a segment that was good cannot be read any
 * more, at all or from here on; it is counted as damage, passed over by the next call, and spill_resume then stays
 * before it, so that the caller asks upstream again from there. Anything else passes: try again later. */
enum bl_rc spill_peek(struct spill *s, struct spill_record *out, struct bl_error *err);
void spill_consume(struct spill *s);
/* Where the newest hole that damage left ends, as far as is known; told once, 0 = there is none. */
int64_t spill_take_lost(struct spill *s);
/* Start again with the oldest record there is. */
void spill_rewind(struct spill *s);
/* Remove segments consumed for longer than `keep_us`. */
void spill_collect(struct spill *s, int64_t now_ns, int64_t keep_us);
int64_t spill_bytes(const struct spill *s); /* on disk */
int64_t spill_damaged(const struct spill *s);
/* Newest cursor among the durable records before any damage; 0 when there is none. */
int64_t spill_cursor(const struct spill *s);
/* The newest cursor that stands on no gap, when Redis has counted `received` events and the segments are drained: a
 * segment that expects more than Redis and the segments before it bring says that something was given to Redis alone
 * and lost there. 0 when there is none; `*host` then stays. */
int64_t spill_resume(const struct spill *s, const uint64_t received[static EV_TYPE_COUNT], struct bl_str *host);
