/* appender: one block or note into Redis, also into one that comes back without its newest entries.
 *
 * May include: base, obs, event, buffer, pipe/recent.h. Belongs to one sender; its thread calls, `lost` may be read by
 * others. The counters of a session are what Redis had when the position was loaded, and every block goes behind them.
 * Redis answers BL_E_FORGOTTEN (it was restarted, replaced or emptied): what the last seconds held is compared with
 * what it has and sent again. Where that does not explain the difference the session is lost: `lost` turns true, and it
 * has to start over from the position (sender.h). Every other error is for the caller to try again. */
#pragma once
#include <stdatomic.h>

#include "buffer/buffer.h"
#include "pipe/recent.h"

struct appender {
    struct buffer *buffer; /* borrowed */
    struct recent recent;
    uint64_t received[EV_TYPE_COUNT]; /* events Redis has counted: the next block's offset */
    int64_t redis_cursor_us;          /* stored with the last block Redis took */
    struct appender_doubt {
        bool any;
        enum ev_type type;
        uint64_t incarnation, seq;
    } doubt;               /* the block whose append was not answered: Redis may hold and count it */
    bool counters_changed; /* of the loss: Redis's counters were not merely older */
    unsigned vanished;     /* types to be numbered anew before the next block */
    _Atomic bool lost;
};

/* A session begins: these are Redis's counters. */
void appender_start(struct appender *a, const struct buffer_position *position);
/* The counters speak of what is gone: the next block is the first of a new numbering, of every type. */
void appender_number_anew(struct appender *a);

/* BL_OK: it is in Redis, once. Sets the block's offset. */
enum bl_rc appender_block(struct appender *a, enum ev_type type, struct block *block, int64_t cursor_us,
                          const char *host, struct bl_error *err);
enum bl_rc appender_note(struct appender *a, const struct note *n, struct bl_str message, struct bl_error *err);
/* Was this block sent and not answered? */
bool appender_in_doubt(const struct appender *a, enum ev_type type, const struct block *block);
/* Ends the session; BL_E_FORGOTTEN. */
enum bl_rc appender_lose(struct appender *a, bool counters_changed, const char *why, struct bl_error *err);
