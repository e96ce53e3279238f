/* segment_priv: the bytes of a segment, shared by its reader and its writer. */
#pragma once
#include "index/segment.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SEGMENT_CHUNKS = SEGMENT_ROWS / SEGMENT_CHUNK };
static const uint64_t segment_magic = 0x3147455345554c42u; /* "BLUESEG1" */

struct segment_header {
    uint64_t magic;
    uint32_t version, header_bytes;
    uint64_t identity;
    uint64_t file_bytes;
    uint64_t toc_at, toc_bytes, toc_check;
    uint32_t rows, blocks;
    uint64_t check; /* of all before it */
};

struct part_ref {
    uint64_t at;
    uint32_t stored, raw; /* bytes in the file, and unpacked */
    uint64_t check;       /* of the stored ones */
};

enum { PART_PLACES, PART_TEXT, PART_LABELS, PART_BLOOM, PART_RECORDS, PART_COUNT = PART_RECORDS + SEGMENT_CHUNKS };
struct block_entry {
    int64_t newest_us, oldest_us;
    uint64_t rows;
    struct part_ref parts[PART_COUNT];
};

enum { PLACE_BYTES = 8 + 8 + 4 + 2 };
/* A block ends with the row that makes its values exceed this; with one row of any size it stays below the other. */
enum { SEGMENT_BLOCK_BYTES = 4 << 20, SEGMENT_PART_MAX = 64 << 20 };

static inline uint64_t segment_checksum(const void *p, size_t n) {
    return XXH3_64bits(p, n);
}

/* --- Bloom of runs of three bytes: one bit each, in a table of a power of two of bits --- */

enum { BLOOM_BITS_MIN = 10, BLOOM_BITS_MAX = 18 };
static inline uint32_t bloom_run(const char *p) {
    return (uint32_t)(unsigned char)p[0] | (uint32_t)(unsigned char)p[1] << 8 | (uint32_t)(unsigned char)p[2] << 16;
}
static inline uint32_t bloom_bit(uint32_t run, unsigned bits) {
    return run * 0x9e3779b1u >> (32 - bits);
}
