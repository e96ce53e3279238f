/* decode: threads that turn lines of JSON into events, in order.
 *
 * May include: base, event. A chunk is a run of lines (a block from the buffer, a piece of a file); workers decode it,
 * verify every CID and compute identities; chunks come back in the order they went in. The CPU-heavy part of writing
 * runs here, side by side; what touches the lake stays on one thread.
 *
 *     struct chunk *c = decode_chunk(d);   // an idle chunk to fill: c->raw, c->tag
 *     decode_submit(d, c); ...
 *     while ((c = decode_next(d))) { use(c->events[i], c->ids[i]); decode_recycle(d, c); }
 *
 * Memory: at most `depth` chunks exist. decode_chunk returns NULL when all are under way: take one with decode_next
 * first. Threading: one owner calls everything; the workers are inside. */
#pragma once
#include "base/mem.h"
#include "event/event.h"

struct dead_line { /* a line that is no event */
    enum ev_reason reason;
    char detail[192];
    struct bl_str line;
};
struct chunk {
    struct bl_buf raw;          /* lines, each ended by '\n'; filled by the owner */
    void *tag;                  /* the owner's */
    struct event **events;      /* valid until recycled; only the type's columns of v[] exist */
    struct ev_id *ids;
    uint32_t *line_bytes;       /* JSON bytes of each event */
    size_t count;
    struct dead_line *dead;
    size_t dead_count;
    size_t cids_verified, cids_kept;
    /* the room's own */
    struct bl_arena arena;
    size_t capacity, dead_capacity;
    int state;
};
struct decode;
struct decode *decode_new(unsigned threads, unsigned depth);
void decode_free(struct decode **d);
struct chunk *decode_chunk(struct decode *d);
void decode_submit(struct decode *d, struct chunk *c);
struct chunk *decode_next(struct decode *d);  /* waits for the oldest submitted chunk; NULL when none is under way */
void decode_recycle(struct decode *d, struct chunk *c);
