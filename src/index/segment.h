/* segment: what searching a posts file takes, derived from it and laid out for that: one file, read through mmap.
 *
 * May include: base, event (identities of rows only). Little-endian.
 * A segment holds every row of one Parquet file of posts, newest first; of one microsecond by author, then record key,
 * which is the order of an answer. Rows stand in blocks of SEGMENT_ROWS, or fewer where posts are very long:
 *
 *   places   16 bytes of hashes, 4 of time and 2 of flags a row: whose, which record, when, what it carries
 *   text     the post's text in lower case (fold.h), SEGMENT_END behind each row's
 *   labels   the other values a search can ask for, in lower case where case never counts: each a byte that says what
 * it is (SEGMENT_TAG, ...) and the value; SEGMENT_END behind each row's bloom    which runs of three bytes occur in the
 * text: most blocks without a rare word need not be unpacked records  what an answer shows, in chunks of SEGMENT_CHUNK
 * rows
 *
 * Bytes from 0xf8 on never occur in UTF-8, so neither a value nor a needle can be mistaken for what separates them.
 * Places and bloom lie there as they are, text and labels packed with LZ4, records with zstd. Every part has an XXH3 in
 * the table of contents at the end, which has one in the header: a part that was changed by anything is BL_E_CORRUPT
 * when it is read, never a wrong answer and never a crash, and the segment is built anew. Hence nothing is fsynced.
 *
 * Ownership: a segment_block or segment_record points into its segment or into buffers of its own, and lives as long as
 * both. Threading: any number of threads may read a segment; a segment_block belongs to one. */
#pragma once
#include "base/mem.h"

enum { SEGMENT_VERSION = 1, SEGMENT_ROWS = 2048, SEGMENT_CHUNK = 128, SEGMENT_LIST_MAX = 4096 };
enum { SEGMENT_WORDS = SEGMENT_ROWS / 64 };

enum { SEGMENT_END = 0xff };
enum segment_label { /* first byte of a label */
                     SEGMENT_TAG = 0xf8,
                     SEGMENT_LANG,
                     SEGMENT_LINK,
                     SEGMENT_MENTION,
                     SEGMENT_PARENT
};
enum segment_flag {
    SEGMENT_DELETE = 1,
    SEGMENT_CHANGE = 2, /* an update or a delete: of this record nothing older may be shown */
    SEGMENT_IMAGE = 4,
    SEGMENT_VIDEO = 8,
    SEGMENT_HAS_LINK = 16,
    SEGMENT_QUOTE = 32,
    SEGMENT_REPLY = 64,
    SEGMENT_CREATED = 128 /* created_us is set, and created_at is null */
};

/* The names rows go by. */
uint64_t segment_account(struct bl_str did);
uint64_t segment_key(struct bl_str did, struct bl_str rkey);

/* What one row holds. p == NULL: null. Lists have no null members. */
struct segment_record {
    int64_t time_us, created_us; /* created_us: what created_at says, where its text is the usual form of that */
    unsigned flags;
    struct bl_str did, rkey, rev, text, created_at, facets, embed, parent, quote;
    struct bl_str langs, tags, links, mentions; /* runs of (uint32 length, bytes); segment_item takes them apart */
};
/* The next item of a list; false at its end. */
bool segment_item(struct bl_str *list, struct bl_str *item);

/* --- Reading --- */

struct segment;
/* Takes over `fd`, also when it fails. `identity`: of the Parquet file it must have been made from. BL_E_CORRUPT. */
enum bl_rc segment_open(int fd, const char *name, uint64_t identity, struct segment **out, struct bl_error *err);
void segment_close(struct segment **s);
size_t segment_blocks(const struct segment *s);
uint32_t segment_rows(const struct segment *s);
size_t segment_bytes(const struct segment *s);

/* Rows of one block, as far as they were asked for. */
struct segment_block {
    const struct segment *segment;
    size_t number;
    unsigned rows;
    int64_t newest_us, oldest_us;
    const uint64_t *keys, *accounts; /* segment_key, segment_account */
    const uint32_t *ages;            /* microseconds before newest_us */
    const uint16_t *flags;
};
/* Which block `number` is; its arrays are set. */
enum bl_rc segment_block(struct segment *s, size_t number, struct segment_block *out, struct bl_error *err);
static inline int64_t segment_time(const struct segment_block *b, unsigned row) {
    return b->newest_us - b->ages[row];
}
/* The time range of a block, without a look at it. */
void segment_span(const struct segment *s, size_t number, int64_t *newest_us, int64_t *oldest_us);

/* An unpacked part: the values of all rows, one behind the other. SCAN_SLACK bytes behind it may be read. */
struct segment_part {
    struct bl_str all;
    const uint32_t *ends; /* of each row in `all`, its SEGMENT_END included */
    struct bl_buf memory;
};
void segment_part_release(struct segment_part *p);
enum bl_rc segment_text(struct segment *s, size_t number, struct segment_part *out, struct bl_error *err);
enum bl_rc segment_labels(struct segment *s, size_t number, struct segment_part *out, struct bl_error *err);
/* False: no text of the block holds `needle` (folded). True says nothing. */
enum bl_rc segment_may_hold(struct segment *s, size_t number, struct bl_str needle, bool *may, struct bl_error *err);

/* Some chunks of records last read, of any number of segments. Clear it before a segment it was used with is closed. */
enum { SEGMENT_CACHED = 8 };
struct segment_cache {
    struct {
        const struct segment *segment;
        size_t block, chunk;
        struct bl_buf bytes;
    } slots[SEGMENT_CACHED];
    size_t next;
    struct ZSTD_DCtx_s *zstd;
};
void segment_cache_release(struct segment_cache *c);
/* Slices of `out` are valid until SEGMENT_CACHED - 1 further chunks were read. */
enum bl_rc segment_record(struct segment *s, size_t block, unsigned row, struct segment_cache *cache,
                          struct segment_record *out, struct bl_error *err);

/* --- Writing --- */

/* Writes a segment front to back into `fd`, which must be seekable; rows come in the segment's order. One block at a
 * time is in memory. */
struct segment_writer;
struct segment_writer *segment_writer_open(int fd, const char *name, uint64_t identity);
enum bl_rc segment_add(struct segment_writer *w, struct bl_str packed, struct bl_error *err); /* segment_pack */
/* The file is complete after this. */
enum bl_rc segment_finish(struct segment_writer *w, struct bl_error *err);
void segment_writer_close(struct segment_writer **w); /* frees; `fd` stays the caller's */

/* A row as bytes, as it is held until it can be written, and back. */
void segment_pack(struct bl_buf *out, const struct segment_record *row);
bool segment_unpack(struct bl_str bytes, struct segment_record *out);
