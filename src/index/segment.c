#include <errno.h>
#include <lz4.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "index/scan.h"
#include "index/segment_priv.h"

struct segment {
    const char *bytes;
    size_t size;
    char *name;
    const struct segment_header *header;
    const struct block_entry *toc;
    /* A bit for each part of each block that lies there as it is and was compared with its checksum. */
    _Atomic uint8_t *checked;
};

/* --- Opening --- */

static enum bl_rc damaged(const struct segment *s, const char *what, struct bl_error *err) {
    return bl_fail(err, BL_E_CORRUPT, "%s: %s of this index segment is damaged", s->name, what);
}

static enum bl_rc check_header(const struct segment *s, uint64_t identity, struct bl_error *err) {
    const struct segment_header *h = s->header;
    if (s->size < sizeof *h || h->magic != segment_magic || h->version != SEGMENT_VERSION ||
        h->header_bytes != sizeof *h || h->check != segment_checksum(h, offsetof(struct segment_header, check)))
        return damaged(s, "the header", err);
    if (h->identity != identity) return damaged(s, "the name", err);
    if (h->file_bytes != s->size || h->toc_at > s->size || h->toc_at % 8 || s->size - h->toc_at != h->toc_bytes ||
        h->toc_bytes != (uint64_t)h->blocks * sizeof(struct block_entry))
        return damaged(s, "the size", err);
    if (h->toc_check != segment_checksum(s->bytes + h->toc_at, h->toc_bytes))
        return damaged(s, "the table of contents", err);
    return BL_OK;
}

/* A checksum proves that nothing changed by accident; that no number leads outside of the file is checked all the same.
 */
static bool fits(const struct segment *s, const struct part_ref *p) {
    return p->at % 8 == 0 && p->at <= s->header->toc_at && p->stored <= s->header->toc_at - p->at &&
           p->raw <= SEGMENT_PART_MAX;
}

static bool check_entry(const struct segment *s, const struct block_entry *e) {
    static const int64_t far = INT64_C(1) << 62; /* differences of times stay within 64 bits */
    if (e->rows == 0 || e->rows > SEGMENT_ROWS || e->newest_us < e->oldest_us) return false;
    if (e->oldest_us < -far || e->newest_us > far) return false;
    for (unsigned i = 0; i < PART_COUNT; i++)
        if (!fits(s, &e->parts[i])) return false;
    const struct part_ref *bloom = &e->parts[PART_BLOOM];
    return e->parts[PART_PLACES].stored == e->rows * PLACE_BYTES && bloom->raw >= BLOOM_BITS_MIN &&
           bloom->raw <= BLOOM_BITS_MAX && bloom->stored == (uint32_t)1 << (bloom->raw - 3);
}

static enum bl_rc check_toc(const struct segment *s, struct bl_error *err) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < s->header->blocks; i++) {
        if (!check_entry(s, &s->toc[i]) || (i && s->toc[i].newest_us > s->toc[i - 1].oldest_us))
            return damaged(s, "the table of contents", err);
        rows += s->toc[i].rows;
    }
    return rows == s->header->rows ? BL_OK : damaged(s, "the table of contents", err);
}

static enum bl_rc map_file(struct segment *s, int fd, struct bl_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return bl_fail_errno(err, BL_E_IO, "cannot read %s", s->name);
    if (st.st_size < (off_t)sizeof(struct segment_header)) return damaged(s, "the size", err);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return bl_fail_errno(err, BL_E_IO, "cannot map %s", s->name);
    s->bytes = p;
    s->size = (size_t)st.st_size;
    s->header = p;
    return BL_OK;
}

static enum bl_rc check_file(struct segment *s, uint64_t identity, struct bl_error *err) {
    BL_TRY(check_header(s, identity, err));
    s->toc = (const struct block_entry *)(const void *)(s->bytes + s->header->toc_at);
    BL_TRY(check_toc(s, err));
    s->checked = bl_xcalloc((size_t)s->header->blocks + 1, sizeof *s->checked);
    return BL_OK;
}

enum bl_rc segment_open(int fd, const char *name, uint64_t identity, struct segment **out, struct bl_error *err) {
    struct segment *s = bl_xcalloc(1, sizeof *s);
    s->name = bl_xstrdup(name);
    enum bl_rc rc = map_file(s, fd, err);
    close(fd);
    if (rc == BL_OK) rc = check_file(s, identity, err);
    if (rc == BL_OK)
        *out = s;
    else
        segment_close(&s);
    return rc;
}

void segment_close(struct segment **segment) {
    struct segment *s = *segment;
    if (!s) return;
    if (s->bytes) munmap((void *)(uintptr_t)s->bytes, s->size);
    free((void *)s->checked);
    free(s->name);
    free(s);
    *segment = NULL;
}

size_t segment_blocks(const struct segment *s) {
    return s->header->blocks;
}
uint32_t segment_rows(const struct segment *s) {
    return s->header->rows;
}
size_t segment_bytes(const struct segment *s) {
    return s->size;
}

void segment_span(const struct segment *s, size_t number, int64_t *newest_us, int64_t *oldest_us) {
    *newest_us = s->toc[number].newest_us;
    *oldest_us = s->toc[number].oldest_us;
}

/* --- Parts --- */

static enum bl_rc stored_part(const struct segment *s, const struct part_ref *ref, struct bl_str *out,
                              struct bl_error *err) {
    *out = bl_strn(s->bytes + ref->at, ref->stored);
    return segment_checksum(out->p, out->n) == ref->check ? BL_OK : damaged(s, "a part", err);
}

static bool was_checked(const struct segment *s, size_t number, unsigned part) {
    return atomic_load_explicit(&s->checked[number], memory_order_relaxed) >> part & 1;
}

static void note_checked(struct segment *s, size_t number, unsigned part) {
    atomic_fetch_or_explicit(&s->checked[number], (uint8_t)(1u << part), memory_order_relaxed);
}

/* Parts that are used where they lie are compared with their checksum once, or twice where two threads are as fast. */
static enum bl_rc plain_part(struct segment *s, size_t number, unsigned part, struct bl_str *out,
                             struct bl_error *err) {
    const struct part_ref *ref = &s->toc[number].parts[part];
    if (was_checked(s, number, part)) {
        *out = bl_strn(s->bytes + ref->at, ref->stored);
        return BL_OK;
    }
    BL_TRY(stored_part(s, ref, out, err));
    note_checked(s, number, part);
    return BL_OK;
}

static bool ascends(const struct block_entry *e, const uint32_t *ages) {
    for (uint64_t i = 1; i < e->rows; i++)
        if (ages[i] < ages[i - 1]) return false;
    return ages[0] == 0 && e->newest_us - ages[e->rows - 1] == e->oldest_us;
}

enum bl_rc segment_block(struct segment *s, size_t number, struct segment_block *out, struct bl_error *err) {
    BL_ASSERT(number < s->header->blocks);
    const struct block_entry *e = &s->toc[number];
    const struct part_ref *ref = &e->parts[PART_PLACES];
    bool known = was_checked(s, number, PART_PLACES);
    struct bl_str places = bl_strn(s->bytes + ref->at, ref->stored);
    if (!known) BL_TRY(stored_part(s, ref, &places, err));
    const uint64_t *keys = (const uint64_t *)(const void *)places.p, *accounts = keys + e->rows;
    const uint32_t *ages = (const uint32_t *)(accounts + e->rows);
    if (!known && !ascends(e, ages)) return damaged(s, "a time", err);
    if (!known) note_checked(s, number, PART_PLACES);
    *out = (struct segment_block){.segment = s,
                                  .number = number,
                                  .rows = (unsigned)e->rows,
                                  .newest_us = e->newest_us,
                                  .oldest_us = e->oldest_us,
                                  .keys = keys,
                                  .accounts = accounts,
                                  .ages = ages,
                                  .flags = (const uint16_t *)(ages + e->rows)};
    return BL_OK;
}

void segment_part_release(struct segment_part *p) {
    bl_buf_release(&p->memory);
}

/* Ends ascend, and the last of them is the end of all. */
static bool good_ends(const uint32_t *ends, size_t rows, size_t size) {
    uint32_t before = 0;
    for (size_t i = 0; i < rows; i++) {
        if (ends[i] < before) return false;
        before = ends[i];
    }
    return before == size;
}

static enum bl_rc unpack_text(struct segment *s, size_t number, unsigned part, struct segment_part *out,
                              struct bl_error *err) {
    const struct block_entry *e = &s->toc[number];
    const struct part_ref *ref = &e->parts[part];
    struct bl_str packed;
    size_t table = e->rows * sizeof *out->ends;
    BL_TRY(stored_part(s, ref, &packed, err));
    bl_buf_clear(&out->memory);
    if (!bl_buf_reserve(&out->memory, (size_t)ref->raw + SCAN_SLACK))
        return bl_buf_check(&out->memory, "a part of an index segment", err);
    int n = LZ4_decompress_safe(packed.p, out->memory.p, (int)packed.n, (int)ref->raw);
    if (n < 0 || (uint32_t)n != ref->raw || ref->raw < table) return damaged(s, "a text", err);
    memset(out->memory.p + n, 0, SCAN_SLACK);
    out->ends = (const uint32_t *)(const void *)out->memory.p;
    out->all = bl_strn(out->memory.p + table, (size_t)n - table);
    return good_ends(out->ends, e->rows, out->all.n) ? BL_OK : damaged(s, "a text", err);
}

enum bl_rc segment_text(struct segment *s, size_t number, struct segment_part *out, struct bl_error *err) {
    return unpack_text(s, number, PART_TEXT, out, err);
}

enum bl_rc segment_labels(struct segment *s, size_t number, struct segment_part *out, struct bl_error *err) {
    return unpack_text(s, number, PART_LABELS, out, err);
}

enum bl_rc segment_may_hold(struct segment *s, size_t number, struct bl_str needle, bool *may, struct bl_error *err) {
    struct bl_str table;
    *may = true;
    if (needle.n < 3) return BL_OK;
    BL_TRY(plain_part(s, number, PART_BLOOM, &table, err));
    unsigned bits = s->toc[number].parts[PART_BLOOM].raw;
    for (size_t i = 0; i + 3 <= needle.n && *may; i++) {
        uint32_t bit = bloom_bit(bloom_run(needle.p + i), bits);
        *may = (unsigned char)table.p[bit / 8] >> bit % 8 & 1;
    }
    return BL_OK;
}

/* --- Records --- */

static bool take_varint(struct bl_str *s, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
        unsigned char c = (unsigned char)s->p[0];
        *s = bl_str_skip(*s, 1);
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool take_value(struct bl_str *s, struct bl_str *out) {
    uint64_t n;
    if (!take_varint(s, &n) || (n && n - 1 > s->n)) return false;
    *out = n ? bl_strn(s->p, (size_t)(n - 1)) : (struct bl_str){0};
    if (n) *s = bl_str_skip(*s, (size_t)(n - 1));
    return true;
}

bool segment_unpack(struct bl_str bytes, struct segment_record *out) {
    uint64_t flags;
    if (bytes.n < sizeof out->time_us) return false;
    memcpy(&out->time_us, bytes.p, sizeof out->time_us);
    bytes = bl_str_skip(bytes, sizeof out->time_us);
    if (!take_varint(&bytes, &flags)) return false;
    out->flags = (unsigned)flags;
    if (bytes.n < sizeof out->created_us) return false;
    memcpy(&out->created_us, bytes.p, sizeof out->created_us);
    bytes = bl_str_skip(bytes, sizeof out->created_us);
    struct bl_str *values[] = {&out->did,   &out->rkey,   &out->rev,   &out->created_at, &out->text,
                               &out->langs, &out->tags,   &out->links, &out->mentions,   &out->parent,
                               &out->quote, &out->facets, &out->embed};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (!take_value(&bytes, values[i])) return false;
    return bytes.n == 0;
}

bool segment_item(struct bl_str *list, struct bl_str *item) {
    uint32_t n;
    if (list->n < sizeof n) return false;
    memcpy(&n, list->p, sizeof n);
    if (n > list->n - sizeof n) return false;
    *item = bl_strn(list->p + sizeof n, n);
    *list = bl_str_skip(*list, sizeof n + n);
    return true;
}

void segment_cache_release(struct segment_cache *c) {
    for (size_t i = 0; i < SEGMENT_CACHED; i++) bl_buf_release(&c->slots[i].bytes);
    ZSTD_freeDCtx(c->zstd);
    *c = (struct segment_cache){0};
}

static enum bl_rc unpack_chunk(const struct segment *s, const struct part_ref *ref, struct segment_cache *cache,
                               struct bl_buf *out, struct bl_error *err) {
    struct bl_str packed;
    BL_TRY(stored_part(s, ref, &packed, err));
    bl_buf_clear(out);
    if (!bl_buf_reserve(out, (size_t)ref->raw + 1)) return bl_buf_check(out, "records of an index segment", err);
    if (!cache->zstd) cache->zstd = bl_xneed(ZSTD_createDCtx());
    size_t n = ZSTD_decompressDCtx(cache->zstd, out->p, ref->raw, packed.p, packed.n);
    if (ZSTD_isError(n) || n != ref->raw) return damaged(s, "a record", err);
    out->n = n;
    return BL_OK;
}

/* The unpacked chunk that holds a row. */
static enum bl_rc find_chunk(const struct segment *s, size_t block, size_t chunk, struct segment_cache *cache,
                             struct bl_str *out, struct bl_error *err) {
    for (size_t i = 0; i < SEGMENT_CACHED; i++)
        if (cache->slots[i].segment == s && cache->slots[i].block == block && cache->slots[i].chunk == chunk) {
            *out = bl_buf_view(&cache->slots[i].bytes);
            return BL_OK;
        }
    size_t i = cache->next++ % SEGMENT_CACHED;
    cache->slots[i].segment = NULL;
    BL_TRY(unpack_chunk(s, &s->toc[block].parts[PART_RECORDS + chunk], cache, &cache->slots[i].bytes, err));
    cache->slots[i].segment = s;
    cache->slots[i].block = block;
    cache->slots[i].chunk = chunk;
    *out = bl_buf_view(&cache->slots[i].bytes);
    return BL_OK;
}

enum bl_rc segment_record(struct segment *s, size_t block, unsigned row, struct segment_cache *cache,
                          struct segment_record *out, struct bl_error *err) {
    struct bl_str bytes;
    size_t chunk = row / SEGMENT_CHUNK, left = (size_t)s->toc[block].rows - chunk * SEGMENT_CHUNK;
    BL_TRY(find_chunk(s, block, chunk, cache, &bytes, err));
    size_t rows = left < SEGMENT_CHUNK ? left : SEGMENT_CHUNK, table = rows * sizeof(uint32_t),
           at = row % SEGMENT_CHUNK;
    uint32_t ends[2] = {0};
    if (bytes.n < table) return damaged(s, "a record", err);
    if (at) memcpy(&ends[0], bytes.p + (at - 1) * sizeof *ends, sizeof *ends);
    memcpy(&ends[1], bytes.p + at * sizeof *ends, sizeof *ends);
    if (ends[0] > ends[1] || ends[1] > bytes.n - table) return damaged(s, "a record", err);
    return segment_unpack(bl_strn(bytes.p + table + ends[0], ends[1] - ends[0]), out) ? BL_OK
                                                                                      : damaged(s, "a record", err);
}
