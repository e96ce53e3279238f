/* item: what stands in the sender's queue, a closed block or a note. May include: base, event, buffer/block.h, pipe. */
#pragma once
#include "pipe/blocks.h"
#include "pipe/recent.h"
#include "pipe/spill.h"

struct item {
    struct item *next;
    bool is_block;
    struct closed_block block; /* its raw bytes are owned; for a note they are the message */
    struct note note;
    char host[256]; /* that the cursor belongs to */
    struct bl_buf packed;
};
size_t item_bytes(const struct item *item); /* counted against ingest.queue_bytes */
void item_free(struct item *item);
struct spill_record item_record(const struct item *item); /* its slices are the item's */
