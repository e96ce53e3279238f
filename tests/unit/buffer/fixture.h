/* fixture: blocks to append, and a second way of looking at Redis. */
#pragma once
#include <hiredis/hiredis.h>

#include "buffer/buffer.h"
#include "expect.h"
#include "server.h"

struct buffer *open_buffer(const char *socket);
/* Fails the test on a connection error; the caller frees. */
redisReply *command(const struct server *s, const char *format, ...);
int64_t command_i64(const struct server *s, const char *format, ...);
void command_ok(const struct server *s, const char *format, ...);

/* One ingest run: numbers its blocks. */
struct run {
    uint64_t incarnation, seq[EV_TYPE_COUNT], offset[EV_TYPE_COUNT];
    struct block_codec *codec;
    struct bl_buf raw, packed[8];
};
void run_start(struct run *r, uint64_t incarnation);
void run_end(struct run *r);
/* The run's next block, of `events` lines; `slot` < 8 holds its bytes until that slot is used again. */
struct buffer_append next_block(struct run *r, enum ev_type type, uint32_t events, unsigned slot);
/* next_block and buffer_append, which must succeed; the cursor is the block's last time. */
void append_block(struct buffer *b, struct run *r, enum ev_type type, uint32_t events);
