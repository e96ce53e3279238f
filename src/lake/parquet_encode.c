#include "lake/parquet_priv.h"

void pq_put_varint(struct bl_buf *out, uint64_t v) {
    char bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) bytes[n++] = (char)(v | 0x80);
    bytes[n++] = (char)v;
    bl_buf_add(out, bytes, n);
}

static uint64_t zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }

unsigned pq_bits_for(uint64_t max) { return max ? 64 - (unsigned)__builtin_clzll(max) : 1; }

/* Bits are collected from the low end and leave 32 at a time. */
struct bit_sink {
    char *p;
    uint64_t acc;
    unsigned bits;
};

static inline void put_bits(struct bit_sink *s, uint64_t v, unsigned width) {
    s->acc |= v << s->bits;
    s->bits += width;
    if (s->bits >= 32) {
        memcpy(s->p, &s->acc, 4);
        s->p += 4;
        s->acc >>= 32;
        s->bits -= 32;
    }
}

static inline void put_wide_bits(struct bit_sink *s, uint64_t v, unsigned width) {
    if (width <= 32) {
        put_bits(s, v, width);
        return;
    }
    put_bits(s, v & UINT32_MAX, 32);
    put_bits(s, v >> 32, width - 32);
}

static char *finish_bits(struct bit_sink *s) {
    size_t n = (s->bits + 7) / 8;
    memcpy(s->p, &s->acc, n);
    return s->p + n;
}

void pq_encode_hybrid_run(struct bl_buf *out, uint32_t v, size_t n, unsigned width) {
    pq_put_varint(out, (uint64_t)n << 1);
    bl_buf_add(out, &v, (width + 7) / 8);
}

static void literal_run(struct bl_buf *out, const uint32_t *v, size_t n, unsigned width) {
    if (n == 0) return;
    size_t groups = (n + 7) / 8;
    pq_put_varint(out, (uint64_t)groups << 1 | 1);
    if (!bl_buf_reserve(out, groups * width + 8)) return;
    struct bit_sink sink = {.p = out->p + out->n};
    for (size_t i = 0; i < n; i++) put_bits(&sink, v[i], width);
    for (size_t i = n; i < groups * 8; i++) put_bits(&sink, 0, width);
    finish_bits(&sink);
    out->n += groups * width;
}

/* A repetition is worth a run of its own from 16 values on; before it the literals have to fill groups of eight, which
 * they do with the first values of the repetition. */
void pq_encode_hybrid(struct bl_buf *out, const uint32_t *v, size_t n, unsigned width) {
    enum { RUN_MIN = 16 };
    size_t literals = 0, i = 0;
    while (i < n) {
        size_t end = i + 1;
        while (end < n && v[end] == v[i]) end++;
        size_t start = literals + (i - literals + 7) / 8 * 8;
        if (end - i >= RUN_MIN + 8) {
            literal_run(out, v + literals, start - literals, width);
            pq_encode_hybrid_run(out, v[start], end - start, width);
            literals = end;
        }
        i = end;
    }
    literal_run(out, v + literals, n - literals, width);
}

/* One literal run of width 1 straight from the bitmap: nulls are left to the page's codec. */
void pq_encode_bitmap(struct bl_buf *out, const uint64_t *words, size_t from, size_t n) {
    size_t groups = (n + 7) / 8;
    pq_put_varint(out, (uint64_t)groups << 1 | 1);
    if (!bl_buf_reserve(out, groups + 8)) return;
    char *p = out->p + out->n;
    unsigned shift = from & 63;
    const uint64_t *w = words + from / 64;
    for (size_t done = 0; done < n; done += 64, w++) {
        uint64_t bits = w[0] >> shift;
        if (shift && done + 64 - shift < n) bits |= w[1] << (64 - shift);
        memcpy(p + done / 8, &bits, 8);
    }
    if (n % 8) p[groups - 1] = (char)(p[groups - 1] & ((1 << n % 8) - 1));
    out->n += groups;
}

enum { BLOCK = 128, MINIBLOCKS = 4, MINIBLOCK = BLOCK / MINIBLOCKS };

static void delta_block(struct bl_buf *out, const uint64_t *delta, size_t n) {
    int64_t min = (int64_t)delta[0];
    for (size_t i = 1; i < n; i++)
        if ((int64_t)delta[i] < min) min = (int64_t)delta[i];
    pq_put_varint(out, zigzag(min));
    if (!bl_buf_reserve(out, MINIBLOCKS + BLOCK * 8 + 8)) return;
    char *widths = out->p + out->n;
    memset(widths, 0, MINIBLOCKS);
    struct bit_sink sink = {.p = widths + MINIBLOCKS};
    for (size_t m = 0; m * MINIBLOCK < n; m++) {
        uint64_t all = 0, rest[MINIBLOCK] = {0};
        size_t count = n - m * MINIBLOCK < MINIBLOCK ? n - m * MINIBLOCK : MINIBLOCK;
        for (size_t i = 0; i < count; i++) all |= rest[i] = delta[m * MINIBLOCK + i] - (uint64_t)min;
        unsigned width = all ? pq_bits_for(all) : 0;
        widths[m] = (char)width;
        for (size_t i = 0; width && i < MINIBLOCK; i++) put_wide_bits(&sink, rest[i], width);
    }
    out->n = (size_t)(finish_bits(&sink) - out->p);
}

void pq_encode_i64(struct bl_buf *out, const int64_t *v, size_t n) {
    pq_put_varint(out, BLOCK);
    pq_put_varint(out, MINIBLOCKS);
    pq_put_varint(out, n);
    pq_put_varint(out, zigzag(n ? v[0] : 0));
    for (size_t i = 1; i < n; i += BLOCK) {
        uint64_t delta[BLOCK];
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        for (size_t k = 0; k < count; k++) delta[k] = (uint64_t)v[i + k] - (uint64_t)v[i + k - 1];
        delta_block(out, delta, count);
    }
}

void pq_encode_bools(struct bl_buf *out, const uint8_t *v, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        unsigned byte = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) byte |= (unsigned)v[i + k] << k;
        bl_buf_byte(out, (char)byte);
    }
}

void pq_encode_plain(struct bl_buf *out, const struct bl_str *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t length = (uint32_t)v[i].n;
        bl_buf_add(out, &length, 4);
        bl_buf_str(out, v[i]);
    }
}

static size_t common_prefix(struct bl_str a, struct bl_str b) {
    size_t n = a.n < b.n ? a.n : b.n, i = 0;
    while (i < n && a.p[i] == b.p[i]) i++;
    return i;
}

/* DELTA_BINARY_PACKED for lengths that come one at a time. */
struct length_block {
    struct bl_buf *out;
    uint64_t delta[BLOCK];
    size_t n, total;
    int64_t last;
};

static void lengths_begin(struct length_block *b, struct bl_buf *out, size_t total, size_t first) {
    *b = (struct length_block){.out = out, .total = total, .last = (int64_t)first};
    pq_put_varint(out, BLOCK);
    pq_put_varint(out, MINIBLOCKS);
    pq_put_varint(out, total);
    pq_put_varint(out, zigzag((int64_t)first));
}

static void lengths_add(struct length_block *b, size_t length) {
    b->delta[b->n++] = (uint64_t)length - (uint64_t)b->last;
    b->last = (int64_t)length;
    if (b->n == BLOCK) {
        delta_block(b->out, b->delta, BLOCK);
        b->n = 0;
    }
}

static void lengths_end(struct length_block *b) {
    if (b->n) delta_block(b->out, b->delta, b->n);
}

void pq_encode_lengths(struct bl_buf *out, const struct bl_str *v, size_t n) {
    struct length_block b;
    lengths_begin(&b, out, n, n ? v[0].n : 0);
    for (size_t i = 1; i < n; i++) lengths_add(&b, v[i].n);
    lengths_end(&b);
    for (size_t i = 0; i < n; i++) bl_buf_str(out, v[i]);
}

void pq_encode_prefixes(struct bl_buf *out, const struct bl_str *v, size_t n) {
    struct length_block b;
    lengths_begin(&b, out, n, 0);
    for (size_t i = 1; i < n; i++) lengths_add(&b, common_prefix(v[i - 1], v[i]));
    lengths_end(&b);
    lengths_begin(&b, out, n, n ? v[0].n : 0);
    for (size_t i = 1; i < n; i++) lengths_add(&b, v[i].n - common_prefix(v[i - 1], v[i]));
    lengths_end(&b);
    if (n) bl_buf_str(out, v[0]);
    for (size_t i = 1; i < n; i++) bl_buf_str(out, bl_str_skip(v[i], common_prefix(v[i - 1], v[i])));
}
