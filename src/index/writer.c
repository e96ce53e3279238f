#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "index/fold.h"
#include "index/segment_priv.h"

struct segment_writer {
    int fd;
    const char *name;
    uint64_t identity, at; /* at: bytes written so far */
    uint32_t rows;
    struct block_entry *toc;
    size_t blocks, toc_room;
    /* The block at hand. */
    unsigned count;
    int64_t times[SEGMENT_ROWS];
    uint64_t keys[SEGMENT_ROWS], accounts[SEGMENT_ROWS];
    uint16_t flags[SEGMENT_ROWS];
    uint32_t text_ends[SEGMENT_ROWS], label_ends[SEGMENT_ROWS], record_ends[SEGMENT_ROWS];
    struct bl_buf text, labels, records;
    struct bl_buf raw, packed; /* work */
    uint64_t bloom[(1 << BLOOM_BITS_MAX) / 64];
    ZSTD_CCtx *zstd;
};

uint64_t segment_account(struct bl_str did) {
    return XXH3_64bits(did.n ? did.p : "", did.n);
}

uint64_t segment_key(struct bl_str did, struct bl_str rkey) {
    return XXH3_64bits_withSeed(rkey.n ? rkey.p : "", rkey.n, segment_account(did));
}

/* --- A row as bytes: time, flags, then (length + 1, bytes) a value, 0 for null --- */

static void put_u32(struct bl_buf *out, uint32_t v) {
    bl_buf_add(out, &v, sizeof v);
}

static void put_varint(struct bl_buf *out, uint64_t v) {
    for (; v >= 0x80; v >>= 7) bl_buf_byte(out, (char)(v | 0x80));
    bl_buf_byte(out, (char)v);
}

static void put_value(struct bl_buf *out, struct bl_str s) {
    put_varint(out, s.p ? s.n + 1 : 0);
    bl_buf_str(out, s);
}

void segment_pack(struct bl_buf *out, const struct segment_record *row) {
    bl_buf_add(out, &row->time_us, sizeof row->time_us);
    put_varint(out, row->flags);
    bl_buf_add(out, &row->created_us, sizeof row->created_us);
    const struct bl_str values[] = {row->did,   row->rkey,   row->rev,   row->created_at, row->text,
                                    row->langs, row->tags,   row->links, row->mentions,   row->parent,
                                    row->quote, row->facets, row->embed};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) put_value(out, values[i]);
}

/* --- The block at hand --- */

static void add_label(struct bl_buf *out, enum segment_label kind, struct bl_str value, bool folded) {
    bl_buf_byte(out, (char)kind);
    if (folded)
        fold_append(out, value);
    else
        bl_buf_str(out, value);
}

static void add_labels(struct bl_buf *out, const struct segment_record *row) {
    struct bl_str item, tags = row->tags, langs = row->langs, links = row->links, mentions = row->mentions;
    while (segment_item(&tags, &item)) add_label(out, SEGMENT_TAG, item, true);
    while (segment_item(&langs, &item)) add_label(out, SEGMENT_LANG, item, true);
    while (segment_item(&links, &item)) add_label(out, SEGMENT_LINK, item, true);
    while (segment_item(&mentions, &item)) add_label(out, SEGMENT_MENTION, item, false);
    if (row->parent.p) add_label(out, SEGMENT_PARENT, row->parent, false);
    bl_buf_byte(out, (char)SEGMENT_END);
}

static enum bl_rc write_out(struct segment_writer *w, struct bl_str bytes, struct bl_error *err) {
    static const char zeros[8];
    BL_TRY(bl_write_all(w->fd, bytes, w->name, err));
    w->at += bytes.n;
    size_t rest = (8 - w->at % 8) % 8; /* arrays of 64-bit numbers follow */
    w->at += rest;
    return rest ? bl_write_all(w->fd, bl_strn(zeros, rest), w->name, err) : BL_OK;
}

static enum bl_rc put_part(struct segment_writer *w, struct part_ref *ref, struct bl_str stored, size_t raw,
                           struct bl_error *err) {
    if (stored.n > UINT32_MAX || raw > UINT32_MAX)
        return bl_fail(err, BL_E_TOO_LARGE, "%s: %d posts need more than 4 GiB", w->name, SEGMENT_ROWS);
    *ref = (struct part_ref){w->at, (uint32_t)stored.n, (uint32_t)raw, segment_checksum(stored.p, stored.n)};
    return write_out(w, stored, err);
}

static enum bl_rc put_places(struct segment_writer *w, struct block_entry *e, struct bl_error *err) {
    struct bl_buf *raw = &w->raw;
    bl_buf_clear(raw);
    bl_buf_add(raw, w->keys, w->count * sizeof *w->keys);
    bl_buf_add(raw, w->accounts, w->count * sizeof *w->accounts);
    for (unsigned i = 0; i < w->count; i++) {
        int64_t age = w->times[0] - w->times[i];
        if (age < 0 || age > UINT32_MAX)
            return bl_fail(err, BL_E_CORRUPT, "%s: posts more than an hour apart in one file: run bluelake verify",
                           w->name);
        put_u32(raw, (uint32_t)age);
    }
    bl_buf_add(raw, w->flags, w->count * sizeof *w->flags);
    e->newest_us = w->times[0];
    e->oldest_us = w->times[w->count - 1];
    e->rows = w->count;
    BL_TRY(bl_buf_check(raw, "a block of an index segment", err));
    return put_part(w, &e->parts[PART_PLACES], bl_buf_view(raw), raw->n, err);
}

static enum bl_rc put_lz4(struct segment_writer *w, struct part_ref *ref, const uint32_t *ends,
                          const struct bl_buf *values, struct bl_error *err) {
    bl_buf_clear(&w->raw);
    bl_buf_clear(&w->packed);
    bl_buf_add(&w->raw, ends, w->count * sizeof *ends);
    bl_buf_add(&w->raw, values->p, values->n);
    BL_TRY(bl_buf_check(values, "the texts of an index segment", err));
    BL_TRY(bl_buf_check(&w->raw, "the texts of an index segment", err));
    if (w->raw.n > LZ4_MAX_INPUT_SIZE)
        return bl_fail(err, BL_E_TOO_LARGE, "%s: %u posts of %zu bytes", w->name, w->count, w->raw.n);
    int room = LZ4_compressBound((int)w->raw.n);
    if (!bl_buf_reserve(&w->packed, (size_t)room)) return bl_buf_check(&w->packed, "an index segment", err);
    int n = LZ4_compress_default(w->raw.p, w->packed.p, (int)w->raw.n, room);
    BL_ASSERT(n > 0);
    return put_part(w, ref, bl_strn(w->packed.p, (size_t)n), w->raw.n, err);
}

static enum bl_rc put_chunk(struct segment_writer *w, struct part_ref *ref, unsigned from, unsigned to,
                            struct bl_error *err) {
    enum { LEVEL = 1 };
    uint32_t start = from ? w->record_ends[from - 1] : 0;
    bl_buf_clear(&w->raw);
    bl_buf_clear(&w->packed);
    for (unsigned i = from; i < to; i++) put_u32(&w->raw, w->record_ends[i] - start);
    bl_buf_add(&w->raw, w->records.p + start, w->record_ends[to - 1] - start);
    BL_TRY(bl_buf_check(&w->raw, "the records of an index segment", err));
    size_t room = ZSTD_compressBound(w->raw.n);
    if (!bl_buf_reserve(&w->packed, room)) return bl_buf_check(&w->packed, "an index segment", err);
    size_t n = ZSTD_compressCCtx(w->zstd, w->packed.p, room, w->raw.p, w->raw.n, LEVEL);
    BL_ASSERT(!ZSTD_isError(n));
    return put_part(w, ref, bl_strn(w->packed.p, n), w->raw.n, err);
}

static void mark_runs(struct segment_writer *w) {
    memset(w->bloom, 0, sizeof w->bloom);
    for (unsigned row = 0; row < w->count; row++) {
        uint32_t from = row ? w->text_ends[row - 1] : 0, end = w->text_ends[row] - 1, run = 0;
        for (uint32_t i = from; i < end; i++) {
            run = run >> 8 | (uint32_t)(unsigned char)w->text.p[i] << 16;
            if (i < from + 2) continue;
            uint32_t bit = bloom_bit(run, BLOOM_BITS_MAX);
            w->bloom[bit / 64] |= (uint64_t)1 << bit % 64;
        }
    }
}

/* Half the table: two neighbours become one bit, which is what bloom_bit makes of them with one bit less. */
static void halve(uint64_t *table, unsigned bits) {
    for (size_t i = 0; i < (size_t)1 << (bits - 6); i++) {
        uint64_t pairs = (table[i] | table[i] >> 1) & 0x5555555555555555u;
        for (unsigned shift = 1; shift < 32; shift *= 2) {
            static const uint64_t masks[] = {0, 0x3333333333333333u, 0x0f0f0f0f0f0f0f0fu, 0, 0x00ff00ff00ff00ffu, 0, 0,
                                             0, 0x0000ffff0000ffffu};
            pairs = (pairs | pairs >> shift) & (shift == 16 ? 0xffffffffu : masks[shift]);
        }
        if (i % 2)
            table[i / 2] |= pairs << 32;
        else
            table[i / 2] = pairs;
    }
}

/* One bit for each run that occurs, in a table in which one in eight or fewer is set, if it can be that large. */
static enum bl_rc put_bloom(struct segment_writer *w, struct part_ref *ref, struct bl_error *err) {
    size_t set = 0;
    unsigned bits = BLOOM_BITS_MAX;
    mark_runs(w);
    for (size_t i = 0; i < sizeof w->bloom / sizeof *w->bloom; i++) set += (size_t)__builtin_popcountll(w->bloom[i]);
    for (; bits > BLOOM_BITS_MIN && set * 8 <= (size_t)1 << (bits - 1); bits--) halve(w->bloom, bits);
    return put_part(w, ref, bl_strn(w->bloom, (size_t)1 << (bits - 3)), bits, err);
}

static enum bl_rc put_block(struct segment_writer *w, struct bl_error *err) {
    if (w->count == 0) return BL_OK;
    if (w->blocks == w->toc_room) {
        w->toc_room = w->toc_room ? w->toc_room * 2 : 16;
        w->toc = bl_xrealloc(w->toc, w->toc_room * sizeof *w->toc);
    }
    struct block_entry *e = &w->toc[w->blocks];
    *e = (struct block_entry){0};
    BL_TRY(put_places(w, e, err));
    BL_TRY(put_lz4(w, &e->parts[PART_TEXT], w->text_ends, &w->text, err));
    BL_TRY(put_lz4(w, &e->parts[PART_LABELS], w->label_ends, &w->labels, err));
    BL_TRY(put_bloom(w, &e->parts[PART_BLOOM], err));
    for (unsigned from = 0; from < w->count; from += SEGMENT_CHUNK) {
        unsigned to = from + SEGMENT_CHUNK < w->count ? from + SEGMENT_CHUNK : w->count;
        BL_TRY(put_chunk(w, &e->parts[PART_RECORDS + from / SEGMENT_CHUNK], from, to, err));
    }
    w->blocks++;
    w->count = 0;
    bl_buf_clear(&w->text);
    bl_buf_clear(&w->labels);
    bl_buf_clear(&w->records);
    return BL_OK;
}

enum bl_rc segment_add(struct segment_writer *w, struct bl_str packed, struct bl_error *err) {
    struct segment_record row;
    if (!segment_unpack(packed, &row)) return bl_fail(err, BL_E_INTERNAL, "%s: a row that was never packed", w->name);
    if (w->at == 0) {
        struct segment_header empty = {0};
        BL_TRY(write_out(w, bl_strn(&empty, sizeof empty), err));
    }
    unsigned i = w->count;
    w->times[i] = row.time_us;
    w->keys[i] = segment_key(row.did, row.rkey);
    w->accounts[i] = segment_account(row.did);
    w->flags[i] = (uint16_t)row.flags;
    fold_append(&w->text, row.text);
    bl_buf_byte(&w->text, (char)SEGMENT_END);
    add_labels(&w->labels, &row);
    bl_buf_str(&w->records, packed);
    w->text_ends[i] = (uint32_t)w->text.n;
    w->label_ends[i] = (uint32_t)w->labels.n;
    w->record_ends[i] = (uint32_t)w->records.n;
    w->count++;
    w->rows++;
    bool full = w->count == SEGMENT_ROWS || w->text.n + w->labels.n + w->records.n > SEGMENT_BLOCK_BYTES;
    return full ? put_block(w, err) : BL_OK;
}

enum bl_rc segment_finish(struct segment_writer *w, struct bl_error *err) {
    BL_TRY(put_block(w, err));
    struct bl_str toc = {(const char *)w->toc, w->blocks * sizeof *w->toc};
    struct segment_header h = {.magic = segment_magic,
                               .version = SEGMENT_VERSION,
                               .header_bytes = sizeof h,
                               .identity = w->identity,
                               .toc_at = w->at ? w->at : sizeof h,
                               .toc_bytes = toc.n,
                               .toc_check = segment_checksum(toc.n ? toc.p : "", toc.n),
                               .rows = w->rows,
                               .blocks = (uint32_t)w->blocks};
    h.file_bytes = h.toc_at + toc.n;
    h.check = segment_checksum(&h, offsetof(struct segment_header, check));
    if (toc.n) BL_TRY(bl_write_all(w->fd, toc, w->name, err));
    if (pwrite(w->fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
        return bl_fail_errno(err, BL_E_IO, "cannot write %s", w->name);
    return BL_OK;
}

struct segment_writer *segment_writer_open(int fd, const char *name, uint64_t identity) {
    struct segment_writer *w = bl_xcalloc(1, sizeof *w);
    w->fd = fd;
    w->name = name;
    w->identity = identity;
    w->zstd = bl_xneed(ZSTD_createCCtx());
    return w;
}

void segment_writer_close(struct segment_writer **writer) {
    struct segment_writer *w = *writer;
    if (!w) return;
    struct bl_buf *buffers[] = {&w->text, &w->labels, &w->records, &w->raw, &w->packed};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) bl_buf_release(buffers[i]);
    ZSTD_freeCCtx(w->zstd);
    free(w->toc);
    free(w);
    *writer = NULL;
}
