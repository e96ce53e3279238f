#include "pipe/recent.h"

#include <stdlib.h>

static void drop_oldest(struct recent *r) {
    struct sent *oldest = r->head;
    r->head = oldest->next;
    if (!r->head) r->tail = NULL;
    r->bytes -= sizeof *oldest + oldest->block.data.n;
    free(oldest);
}

void recent_clear(struct recent *r) {
    while (r->head) drop_oldest(r);
}

static struct sent *add(struct recent *r, struct bl_str data, int64_t now_ns) {
    struct sent *s = bl_xcalloc(1, sizeof *s + data.n);
    memcpy(s + 1, data.p, data.n);
    s->block.data = bl_strn((const char *)(s + 1), data.n);
    s->sent_ns = now_ns;
    *(r->tail ? &r->tail->next : &r->head) = s;
    r->tail = s;
    r->bytes += sizeof *s + data.n;
    return s;
}

/* The newest stays, however large. */
static void keep_bounds(struct recent *r, int64_t now_ns) {
    while (r->head != r->tail &&
           (r->bytes > RECENT_BYTES || now_ns - r->head->sent_ns > (int64_t)RECENT_US * 1000))
        drop_oldest(r);
}

void recent_add(struct recent *r, enum ev_type type, const struct block *block, int64_t cursor_us, const char *host,
                int64_t now_ns) {
    struct sent *s = add(r, block->data, now_ns);
    struct bl_str kept = s->block.data;
    s->type = type;
    s->block = *block;
    s->block.data = kept;
    s->cursor_us = cursor_us;
    snprintf(s->host, sizeof s->host, "%s", host);
    keep_bounds(r, now_ns);
}

void recent_add_note(struct recent *r, const struct note *note, struct bl_str message, uint64_t number,
                     int64_t now_ns) {
    struct sent *s = add(r, message, now_ns);
    s->is_note = true;
    s->note = *note;
    s->number = number;
    keep_bounds(r, now_ns);
}

bool recent_after(struct recent *r, const uint64_t received[static EV_TYPE_COUNT], uint64_t rejected,
                  const uint64_t sent[static EV_TYPE_COUNT]) {
    uint64_t at[EV_TYPE_COUNT];
    memcpy(at, received, sizeof at);
    for (struct sent *s = r->head; s; s = s->next) {
        s->again = s->is_note ? s->number > rejected : s->block.offset == at[s->type];
        if (s->again && !s->is_note) at[s->type] += s->block.count;
    }
    return memcmp(at, sent, sizeof at) == 0;
}
