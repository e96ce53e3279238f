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

void recent_add(struct recent *r, enum ev_type type, const struct block *block, int64_t cursor_us, const char *host,
                int64_t now_ns) {
    struct sent *s = bl_xcalloc(1, sizeof *s + block->data.n);
    *s = (struct sent){.type = type, .block = *block, .cursor_us = cursor_us, .sent_ns = now_ns};
    memcpy(s + 1, block->data.p, block->data.n);
    s->block.data.p = (const char *)(s + 1);
    snprintf(s->host, sizeof s->host, "%s", host);
    *(r->tail ? &r->tail->next : &r->head) = s;
    r->tail = s;
    r->bytes += sizeof *s + block->data.n;
    while (r->bytes > RECENT_BYTES || now_ns - r->head->sent_ns > (int64_t)RECENT_US * 1000) drop_oldest(r);
}

bool recent_after(struct recent *r, const uint64_t received[static EV_TYPE_COUNT],
                  const uint64_t sent[static EV_TYPE_COUNT]) {
    uint64_t at[EV_TYPE_COUNT];
    memcpy(at, received, sizeof at);
    for (struct sent *s = r->head; s; s = s->next) {
        s->again = s->block.offset == at[s->type];
        if (s->again) at[s->type] += s->block.count;
    }
    return memcmp(at, sent, sizeof at) == 0;
}
