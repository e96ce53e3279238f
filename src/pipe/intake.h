/* intake: decoded chunks -> lake, with the ledger kept. What the writer and the importer have in common.
 *
 * May include: base, event, obs, lake, pipe/decode.h. One thread.
 * Per chunk: every event is appended or recognised as a repetition, every bad line becomes a dead letter, and one
 * ledger row says received = written + duplicates + dead. */
#pragma once
#include "buffer/block.h"
#include "lake/lake.h"
#include "pipe/decode.h"

struct intake_source { /* where a chunk came from */
    enum ev_type type;         /* of the block; EV_TYPE_COUNT for a file of mixed types */
    uint64_t incarnation, seq; /* 0,0 for files */
    uint64_t offset;           /* UINT64_MAX for files */
    int64_t first_us, last_us; /* of the block; 0 for files */
    const char *origin; /* for dead letters: unique a line, e.g. "block 0011..ff/posts/17" or "file.ndjson chunk 3" */
    int64_t received_us;
};
struct intake_counts {
    int64_t received[EV_TYPE_COUNT], written[EV_TYPE_COUNT], duplicates[EV_TYPE_COUNT];
    int64_t dead;
    int64_t cids_verified, cids_kept;
};
/* Adds to `counts`. The lake must have room for a whole chunk: commit before
 * its memory is used up, a chunk is never split over two commits. After a
 * failure the batch may hold part of a chunk: of a file's chunk that part is
 * in the ledger and may be committed, of a block it must be forgotten. */
enum bl_rc intake_chunk(struct lake *lake, const struct chunk *chunk, const struct intake_source *from,
                        struct intake_counts *counts, struct bl_error *err);
/* A block that is in the lake already came once more: nothing to write, but the ledger is told its offset. */
void intake_repeated(struct lake *lake, enum ev_type type, const struct block *block);
/* Must the batch be committed before the next chunk? A chunk of sparse events opens a file for each hour it touches. */
bool intake_is_full(const struct lake *lake, int64_t memory_bytes);
