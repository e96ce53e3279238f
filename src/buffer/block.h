/* block: many events of one type as one Redis stream entry.
 *
 * May include: base, event (types only). Pure. Format: docs/FORMATS.md.
 * Fields of the stream entry, all text but `data`:
 *   v      format version, "1"
 *   inc    the ingest run that made the block: 16 hex digits, random at start
 *   seq    number of the block within (inc, type), from 1, without gaps
 *   off    events of this type ever buffered before this block: consecutive blocks have consecutive offsets, so a
 * reader notices a block that vanished n      events in the block first, last   smallest and largest time_us codec
 * "zstd" (one frame) or "raw" len    bytes after decompression sum    XXH3-64 of the decompressed bytes, 16 hex digits
 *   data   the events' JSON texts, each followed by '\n'; an event holds no raw newline
 * so that `redis-cli --raw XRANGE ... | zstd -d` shows the events. */
#pragma once
#include "base/mem.h"
#include "event/event.h"

enum { BLOCK_VERSION = 1, BLOCK_RAW_MAX = 64 << 20 };

struct block {
    uint64_t incarnation, seq, offset;
    uint32_t count;
    int64_t first_us, last_us;
    struct bl_str data; /* as stored */
    uint32_t raw_len;
    uint64_t sum;
    bool compressed;
};

struct block_field {
    struct bl_str name, value;
};
enum { BLOCK_FIELDS = 11 };
/* The entry's fields; number texts are written into `scratch`. */
void block_fields(const struct block *b, struct bl_buf *scratch, struct block_field out[static BLOCK_FIELDS]);
/* From the fields of an entry (any order, unknown names ignored). BL_E_CORRUPT names the bad field. */
enum bl_rc block_parse(const struct block_field *fields, size_t count, struct block *out, struct bl_error *err);

/* `inc` and `sum`: exactly 16 hex digits. */
bool block_parse_hex(struct bl_str s, uint64_t *out);

struct block_codec; /* reusable zstd contexts */
struct block_codec *block_codec_new(int level);
void block_codec_free(struct block_codec **c);
/* Compress `raw` into `out` (cleared first) and set data, raw_len, sum, compressed. */
enum bl_rc block_pack(struct block_codec *c, struct bl_str raw, struct bl_buf *out, struct block *b,
                      struct bl_error *err);
/* Decompress into `out` (cleared first), at most raw_len bytes, and check `sum` and the number of lines. BL_E_CORRUPT.
 */
enum bl_rc block_unpack(struct block_codec *c, const struct block *b, struct bl_buf *out, struct bl_error *err);
