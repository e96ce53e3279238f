#include "pipe/blocks.h"

enum { RATIO_GUESS = 4, RAW_TARGET_MIN = 16 << 10, RAW_TARGET_MAX = 4 << 20 };
enum { BACKWARDS_MAX_US = 60000000 };

void blocks_init(struct blocks *b, uint64_t incarnation, const uint64_t offsets[static EV_TYPE_COUNT],
                 int64_t cursor_us, size_t packed_target, int64_t age_max_us) {
    *b = (struct blocks){.incarnation = incarnation,
                         .packed_target = packed_target,
                         .age_max_ns = age_max_us * 1000,
                         .position_us = cursor_us};
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        b->next_seq[t] = 1;
        b->next_offset[t] = offsets[t];
        b->raw_target[t] = packed_target * RATIO_GUESS;
    }
}

void blocks_release(struct blocks *b) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) bl_buf_release(&b->open[t].raw);
}

void blocks_change_host(struct blocks *b, uint64_t seq) {
    b->position_seq = seq;
}

void blocks_add(struct blocks *b, enum ev_type type, const struct blocks_event *e, int64_t now_ns) {
    struct open_block *o = &b->open[type];
    int64_t time_us = e->time_us;
    if (!o->count) {
        o->opened_ns = now_ns;
        o->cursor_before_us = b->position_us;
        o->seq_before = b->position_seq;
        o->first_received_us = e->received_us;
        o->first_us = o->last_us = time_us;
    }
    if (time_us < o->first_us) o->first_us = time_us;
    if (time_us > o->last_us) o->last_us = time_us;
    bl_buf_str(&o->raw, e->json);
    bl_buf_byte(&o->raw, '\n');
    BL_ASSERT(!o->raw.failed); /* out of memory: what is in Redis is safe, the rest is asked for again */
    o->count++;
    if (time_us > b->position_us && time_us <= e->horizon_us) b->position_us = time_us;
    if (e->seq > b->position_seq) b->position_seq = e->seq;
}

/* Before every event of an open block. Time stamps go back by seconds now and then; one that goes back further comes
 * from a wrong clock, and following it would ask upstream for hours again. */
static int64_t position_before(const struct open_block *o) {
    int64_t earliest = o->cursor_before_us - BACKWARDS_MAX_US;
    if (o->first_us >= o->cursor_before_us || !o->cursor_before_us) return o->cursor_before_us;
    return o->first_us > earliest ? o->first_us : earliest;
}

/* Everything before this position is in a closed block, given that `closing` is closed now. */
static int64_t safe_cursor(const struct blocks *b, enum ev_type closing) {
    int64_t safe = b->position_us;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct open_block *o = &b->open[t];
        if (t != closing && o->count && position_before(o) < safe) safe = position_before(o);
    }
    return safe;
}

static uint64_t safe_seq(const struct blocks *b, enum ev_type closing) {
    uint64_t safe = b->position_seq;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct open_block *o = &b->open[t];
        if (t != closing && o->count && o->seq_before < safe) safe = o->seq_before;
    }
    return safe;
}

static void close_block(struct blocks *b, enum ev_type type, struct closed_block *out) {
    struct open_block *o = &b->open[type];
    *out = (struct closed_block){.type = type,
                                 .raw = o->raw,
                                 .cursor_us = safe_cursor(b, type),
                                 .cursor_seq = safe_seq(b, type),
                                 .first_received_us = o->first_received_us,
                                 .block = {.incarnation = b->incarnation,
                                           .seq = b->next_seq[type]++,
                                           .offset = b->next_offset[type],
                                           .count = o->count,
                                           .first_us = o->first_us,
                                           .last_us = o->last_us}};
    b->next_offset[type] += o->count;
    *o = (struct open_block){0};
}

bool blocks_take(struct blocks *b, int64_t now_ns, bool flush, struct closed_block *out) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct open_block *o = &b->open[t];
        if (!o->count) continue;
        if (!flush && o->raw.n < b->raw_target[t] && now_ns - o->opened_ns < b->age_max_ns) continue;
        close_block(b, (enum ev_type)t, out);
        return true;
    }
    return false;
}

int64_t blocks_due_in_ns(const struct blocks *b, int64_t now_ns) {
    int64_t due = -1;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        if (!b->open[t].count) continue;
        int64_t left = b->open[t].opened_ns + b->age_max_ns - now_ns;
        if (left < 0) left = 0;
        if (due < 0 || left < due) due = left;
    }
    return due;
}

size_t blocks_bytes(const struct blocks *b) {
    size_t n = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) n += b->open[t].raw.n;
    return n;
}

/* Aim the raw size so that the packed block ends just under the target; small blocks compress worse and teach nothing.
 */
void blocks_learn(struct blocks *b, enum ev_type type, size_t raw_bytes, size_t packed_bytes) {
    if (raw_bytes < RAW_TARGET_MIN || !packed_bytes) return;
    double wanted = 0.97 * (double)b->packed_target * (double)raw_bytes / (double)packed_bytes;
    double next = 0.75 * (double)b->raw_target[type] + 0.25 * wanted;
    b->raw_target[type] = next < RAW_TARGET_MIN   ? RAW_TARGET_MIN
                          : next > RAW_TARGET_MAX ? RAW_TARGET_MAX
                                                  : (size_t)next;
}
