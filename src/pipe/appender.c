#include "pipe/appender.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/fault.h"
#include "obs/log.h"
#include "obs/metrics.h"

void appender_start(struct appender *a, const struct buffer_position *position) {
    memcpy(a->received, position->received, sizeof a->received);
    recent_clear(&a->recent);
    a->redis_cursor_us = position->cursor_us;
    a->vanished = 0;
    a->counters_changed = a->doubt.any = false;
    atomic_store(&a->lost, false);
}

void appender_number_anew(struct appender *a) {
    a->vanished = BUFFER_ALL_BITS;
    memset(a->received, 0, sizeof a->received);
}

bool appender_in_doubt(const struct appender *a, enum ev_type type, const struct block *block) {
    return a->doubt.any && a->doubt.type == type && a->doubt.seq == block->seq &&
           a->doubt.incarnation == block->incarnation;
}

static enum bl_rc append(struct appender *a, enum ev_type type, struct block *block, int64_t cursor_us,
                         const char *host, struct bl_error *err) {
    if (a->vanished) BL_TRY(buffer_number_anew(a->buffer, a->vanished, err));
    a->vanished = 0;
    block->offset = a->received[type];
    struct buffer_append one = {.type = type, .block = *block};
    enum bl_rc rc = buffer_append(a->buffer, &one, 1, cursor_us, host, err);
    if (rc == BL_E_NET) {
        a->doubt = (struct appender_doubt){true, type, block->incarnation, block->seq};
    }
    if (rc != BL_OK) return rc;
    a->doubt.any = false;
    a->received[type] += block->count;
    if (cursor_us) a->redis_cursor_us = cursor_us;
    return BL_OK;
}

/* The position stored with the last block lies before every note that comes behind that block. */
static enum bl_rc reject(struct appender *a, const struct note *n, struct bl_str message, uint64_t *number,
                         struct bl_error *err) {
    struct buffer_note note = {n->reason, n->detail, n->received_us, a->redis_cursor_us, message};
    if (a->vanished & BUFFER_NOTES_BIT) BL_TRY(buffer_number_anew(a->buffer, BUFFER_NOTES_BIT, err));
    a->vanished &= ~BUFFER_NOTES_BIT;
    return buffer_reject(a->buffer, &note, number, err);
}

static enum bl_rc send_again(struct appender *a, struct sent *r, struct bl_error *err) {
    if (r->is_note) return reject(a, &r->note, r->block.data, &r->number, err);
    return append(a, r->type, &r->block, r->cursor_us, r->host, err);
}

enum bl_rc appender_lose(struct appender *a, bool counters_changed, const char *why, struct bl_error *err) {
    a->counters_changed = counters_changed;
    atomic_store(&a->lost, true);
    BL_CRASH_POINT("ingest.session_lost");
    return bl_fail(err, BL_E_FORGOTTEN, "%s: starting over", why);
}

/* Another Redis process, or other counters, than the block's offset was taken from. What is missing of the last seconds
 * is sent again, in order; a block (`current`, NULL when a note is next) whose answer was lost with the connection may
 * be there already: buffer_append finds it. */
static enum bl_rc catch_up(struct appender *a, enum ev_type type, const struct block *current, struct bl_error *err) {
    struct buffer_position position;
    BL_TRY(buffer_load_position(a->buffer, &position, err));
    metric_add(M_went_back, 0, 1);
    if (position.vanished & ~a->vanished) return appender_lose(a, true, "Redis threw away a queue", err);
    uint64_t sent[EV_TYPE_COUNT];
    memcpy(sent, a->received, sizeof sent);
    if (current && position.received[type] == sent[type] + current->count) position.received[type] = sent[type];
    if (!recent_after(&a->recent, position.received, position.rejected, sent)) {
        bool changed = position.cursor_us == 0 || position.cursor_us >= a->redis_cursor_us;
        return appender_lose(a, changed, "Redis lost more than the last seconds", err);
    }
    memcpy(a->received, position.received, sizeof a->received);
    int64_t blocks = 0;
    for (struct sent *r = a->recent.head; r; r = r->next) {
        if (!r->again) continue;
        BL_CRASH_POINT("ingest.before_resend");
        enum bl_rc rc = send_again(a, r, err);
        if (rc != BL_OK) {
            /* Half-way: the next append compares again and goes on where the counters say. */
            memcpy(a->received, sent, sizeof a->received);
            buffer_suspect(a->buffer);
            return rc;
        }
        r->sent_ns = bl_mono_ns();
        blocks++;
    }
    metric_add(M_resent, 0, (double)blocks);
    if (blocks) bl_log(BL_WARN, "Redis came back without its newest entries: %" PRId64 " were sent again", blocks);
    return BL_OK;
}

enum bl_rc appender_block(struct appender *a, enum ev_type type, struct block *block, int64_t cursor_us,
                          const char *host, struct bl_error *err) {
    enum bl_rc rc = append(a, type, block, cursor_us, host, err);
    if (rc == BL_E_FORGOTTEN) {
        BL_TRY(catch_up(a, type, block, err));
        rc = append(a, type, block, cursor_us, host, err);
    }
    if (rc == BL_OK) recent_add(&a->recent, type, block, cursor_us, host, bl_mono_ns());
    return rc;
}

enum bl_rc appender_note(struct appender *a, const struct note *n, struct bl_str message, struct bl_error *err) {
    uint64_t number = 0;
    enum bl_rc rc = reject(a, n, message, &number, err);
    if (rc == BL_E_FORGOTTEN) {
        BL_TRY(catch_up(a, EV_TYPE_COUNT, NULL, err));
        rc = reject(a, n, message, &number, err);
    }
    if (rc == BL_OK) recent_add_note(&a->recent, n, message, number, bl_mono_ns());
    return rc;
}
