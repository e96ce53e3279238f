#include "pipe/item.h"

#include <stdlib.h>

size_t item_bytes(const struct item *item) {
    return item->block.raw.cap + sizeof *item;
}

void item_free(struct item *item) {
    bl_buf_release(&item->block.raw);
    bl_buf_release(&item->packed);
    free(item);
}

struct spill_record item_record(const struct item *item) {
    return (struct spill_record){.is_block = item->is_block,
                                 .type = item->block.type,
                                 .block = item->block.block,
                                 .cursor_us = item->block.cursor_us,
                                 .host = bl_str(item->host),
                                 .reason = bl_str(item->note.reason),
                                 .detail = bl_str(item->note.detail),
                                 .received_us = item->note.received_us,
                                 .message = item->is_block ? (struct bl_str){0} : bl_buf_view(&item->block.raw)};
}
