#include "lake/parquet_priv.h"

/* Where the next page of a chunk begins and how far it goes. */
struct page {
    size_t entry, entries; /* rows, or level entries of a list */
    size_t value, values;  /* values present */
    size_t heap;           /* plain strings: offset of the first one */
};

static bool has_bitmap(const struct pq_col *c) {
    return c->spec.optional && c->spec.kind != PQ_STRING_LIST;
}

static bool entry_has_value(const struct pq_col *c, size_t entry) {
    if (c->spec.kind == PQ_STRING_LIST) return (c->levels[entry] & 15) == pq_max_definition(&c->spec);
    return !has_bitmap(c) || (c->bits[entry / 64] >> entry % 64 & 1);
}

static bool starts_row(const struct pq_col *c, size_t entry) {
    return c->spec.kind != PQ_STRING_LIST || c->levels[entry] >> 4 == 0;
}

static size_t entries_of(const struct pq_col *c) {
    return c->spec.kind == PQ_STRING_LIST ? c->levels_n : c->rows;
}

static size_t count_bits(const uint64_t *words, size_t from, size_t n) { /* `from` is a multiple of 64 */
    size_t count = 0;
    for (words += from / 64; n >= 64; n -= 64) count += (size_t)__builtin_popcountll(*words++);
    if (n) count += (size_t)__builtin_popcountll(*words & (((uint64_t)1 << n) - 1));
    return count;
}

/* Values of a fixed width (numbers, indices): pages of PQ_PAGE_ROWS rows. */
static void measure_fixed(const struct pq_col *c, struct page *p) {
    size_t left = c->rows - p->entry;
    p->entries = left < PQ_PAGE_ROWS ? left : PQ_PAGE_ROWS;
    p->values = has_bitmap(c) ? count_bits(c->bits, p->entry, p->entries) : p->entries;
}

static uint32_t length_of(const struct pq_strings *s, size_t value) {
    return s->plain ? s->v[value] : s->entry[s->v[value]].length;
}

static void measure_text(const struct pq_col *c, bool dictionary, struct page *p) {
    size_t total = entries_of(c), bytes = 0, i = p->entry;
    p->values = 0;
    for (; i < total; i++) {
        if (starts_row(c, i) && (bytes >= PQ_PAGE_BYTES || i - p->entry >= PQ_PAGE_ROWS)) break;
        if (!entry_has_value(c, i)) continue;
        bytes += dictionary ? 4 : length_of(&c->strings, p->value + p->values);
        p->values++;
    }
    p->entries = i - p->entry;
}

static void measure(const struct pq_col *c, bool dictionary, struct page *p) {
    bool fixed = !pq_is_text(c->spec.kind) || (dictionary && c->spec.kind != PQ_STRING_LIST);
    if (fixed)
        measure_fixed(c, p);
    else
        measure_text(c, dictionary, p);
}

static uint32_t *scratch(struct pq_writer *w, size_t n) {
    w->scratch = pq_grow(w->scratch, &w->scratch_cap, n, sizeof *w->scratch, &w->scratch_memory);
    return w->scratch;
}

static struct bl_str *page_strings(struct pq_writer *w, const struct pq_col *c, struct page *p, size_t n) {
    const struct pq_strings *s = &c->strings;
    w->page = pq_grow(w->page, &w->page_cap, n, sizeof *w->page, &w->scratch_memory);
    size_t heap = p->heap;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = s->v[p->value + i];
        if (s->plain) {
            w->page[i] = bl_strn(s->heap + heap, v);
            heap += v;
        } else {
            w->page[i] = bl_strn(s->heap + s->entry[v].offset, s->entry[v].length);
        }
    }
    p->heap = heap;
    return w->page;
}

/* ---- statistics */

/* The first eight bytes as a number that sorts like them: most comparisons end there. */
static uint64_t sort_key(struct bl_str s) {
    uint64_t k = 0;
    if (s.n) memcpy(&k, s.p, s.n < 8 ? s.n : 8);
    return __builtin_bswap64(k);
}

struct range {
    bool any;
    struct bl_str min, max;
    uint64_t min_key, max_key;
};

static void widen(struct range *r, struct bl_str s) {
    uint64_t k = sort_key(s);
    if (!r->any || k < r->min_key || (k == r->min_key && bl_str_cmp(s, r->min) < 0)) {
        r->min = s;
        r->min_key = k;
    }
    if (!r->any || k > r->max_key || (k == r->max_key && bl_str_cmp(s, r->max) > 0)) {
        r->max = s;
        r->max_key = k;
    }
    r->any = true;
}

static size_t cut_utf8(struct bl_str s, size_t max) {
    size_t n = max;
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80) n--;
    return n;
}

static void set_min(struct pq_stats *st, struct bl_str s) {
    st->has_min = true;
    st->min_exact = s.n <= PQ_STAT_MAX;
    st->min_n = st->min_exact ? s.n : cut_utf8(s, PQ_STAT_MAX);
    if (st->min_n) memcpy(st->min, s.p, st->min_n);
}

/* A cut maximum has to be raised to stay an upper bound: its last ASCII character goes up by one. Where there is none
 * to raise, no maximum is better than a wrong one. */
static void set_max(struct pq_stats *st, struct bl_str s) {
    size_t n = s.n;
    st->max_exact = s.n <= PQ_STAT_MAX;
    if (!st->max_exact) {
        n = cut_utf8(s, PQ_STAT_MAX);
        while (n > 0 && (unsigned char)s.p[n - 1] >= 0x7e) n--;
        if (n == 0) return;
    }
    if (n) memcpy(st->max, s.p, n);
    if (!st->max_exact) st->max[n - 1] = (char)(st->max[n - 1] + 1);
    st->max_n = n;
    st->has_max = true;
}

static void text_range(struct pq_strings *s, struct range *r) {
    size_t heap = 0;
    for (size_t i = 0; s->plain && i < s->n; heap += s->v[i++]) widen(r, bl_strn(s->heap + heap, s->v[i]));
    for (size_t i = 0; i < s->entry_n; i++) widen(r, bl_strn(s->heap + s->entry[i].offset, s->entry[i].length));
}

static void set_fixed(struct pq_stats *st, const void *min, const void *max, size_t n) {
    memcpy(st->min, min, n);
    memcpy(st->max, max, n);
    st->min_n = st->max_n = n;
    st->has_min = st->has_max = st->min_exact = st->max_exact = true;
}

static void number_stats(const struct pq_col *c, struct pq_stats *st) {
    int64_t min = c->ints[0], max = c->ints[0];
    for (size_t i = 1; i < c->values; i++) {
        min = c->ints[i] < min ? c->ints[i] : min;
        max = c->ints[i] > max ? c->ints[i] : max;
    }
    set_fixed(st, &min, &max, sizeof min);
}

static void bool_stats(const struct pq_col *c, struct pq_stats *st) {
    uint8_t min = memchr(c->bools, 0, c->values) == NULL, max = memchr(c->bools, 1, c->values) != NULL;
    set_fixed(st, &min, &max, 1);
}

static void chunk_stats(struct pq_col *c, struct pq_stats *st) {
    *st = (struct pq_stats){.null_count = (int64_t)(entries_of(c) - c->values)};
    if (c->values == 0) return;
    if (c->spec.kind == PQ_BOOL) {
        bool_stats(c, st);
    } else if (!pq_is_text(c->spec.kind)) {
        number_stats(c, st);
    } else {
        struct range r = {0};
        text_range(&c->strings, &r);
        set_min(st, r.min);
        set_max(st, r.max);
    }
}

/* ---- pages */

static enum bl_rc emit_page(struct pq_writer *w, const struct pq_col *c, struct pq_chunk *k, const struct page *p,
                            enum pq_encoding encoding, struct bl_error *err) {
    int level = c->spec.zstd_level ? c->spec.zstd_level : w->o.zstd_level;
    size_t before = w->out.n;
    bl_buf_clear(&w->packed);
    BL_TRY(bl_buf_check(&w->body, "a Parquet page", err));
    BL_TRY(pq_pack(&w->packer, level, bl_buf_view(&w->body), &w->packed, err));
    BL_TRY(bl_buf_check(&w->packed, "a compressed Parquet page", err));
    if (p)
        pq_thrift_data_page(&w->out, w->body.n, w->packed.n, p->entries, encoding);
    else
        pq_thrift_dictionary_page(&w->out, w->body.n, w->packed.n, c->strings.entry_n);
    size_t header = w->out.n - before;
    bl_buf_str(&w->out, bl_buf_view(&w->packed));
    BL_TRY(bl_buf_check(&w->out, "Parquet output", err));
    k->uncompressed += (int64_t)(header + w->body.n);
    k->compressed += (int64_t)(header + w->packed.n);
    w->offset += (int64_t)(header + w->packed.n);
    return pq_flush_out(w, PQ_PAGE_BYTES, err);
}

static enum bl_rc dictionary_page(struct pq_writer *w, struct pq_col *c, struct pq_chunk *k, struct bl_error *err) {
    const struct pq_strings *s = &c->strings;
    k->dictionary = true;
    k->dictionary_offset = w->offset;
    bl_buf_clear(&w->body);
    for (size_t i = 0; i < s->entry_n; i++) {
        struct bl_str v = bl_strn(s->heap + s->entry[i].offset, s->entry[i].length);
        pq_encode_plain(&w->body, &v, 1);
    }
    return emit_page(w, c, k, NULL, PQ_ENC_PLAIN, err);
}

/* A level block of a V1 page: its length in four bytes, then the hybrid. */
static size_t open_levels(struct bl_buf *out) {
    uint32_t zero = 0;
    bl_buf_add(out, &zero, 4);
    return out->n;
}
static void close_levels(struct bl_buf *out, size_t start) {
    uint32_t length = (uint32_t)(out->n - start);
    if (!out->failed) memcpy(out->p + start - 4, &length, 4);
}

static void list_levels(struct pq_writer *w, const struct pq_col *c, const struct page *p) {
    uint32_t *v = scratch(w, p->entries);
    for (size_t i = 0; i < p->entries; i++) v[i] = c->levels[p->entry + i] >> 4;
    size_t start = open_levels(&w->body);
    pq_encode_hybrid(&w->body, v, p->entries, 1);
    close_levels(&w->body, start);
    for (size_t i = 0; i < p->entries; i++) v[i] = c->levels[p->entry + i] & 15;
    start = open_levels(&w->body);
    pq_encode_hybrid(&w->body, v, p->entries, pq_bits_for(pq_max_definition(&c->spec)));
    close_levels(&w->body, start);
}

static void null_levels(struct pq_writer *w, const struct pq_col *c, const struct page *p) {
    size_t start = open_levels(&w->body);
    if (p->values == p->entries || p->values == 0)
        pq_encode_hybrid_run(&w->body, p->values != 0, p->entries, 1);
    else
        pq_encode_bitmap(&w->body, c->bits, p->entry, p->entries);
    close_levels(&w->body, start);
}

static void page_values(struct pq_writer *w, const struct pq_col *c, struct page *p, enum pq_encoding encoding) {
    const struct pq_strings *s = &c->strings;
    if (c->spec.kind == PQ_BOOL) {
        pq_encode_bools(&w->body, c->bools + p->value, p->values);
    } else if (!pq_is_text(c->spec.kind)) {
        pq_encode_i64(&w->body, c->ints + p->value, p->values);
    } else if (encoding == PQ_ENC_RLE_DICTIONARY) {
        /* Entries are numbered as they come: the first pages need fewer bits. */
        uint32_t most = 0;
        for (size_t i = 0; i < p->values; i++) most = s->v[p->value + i] > most ? s->v[p->value + i] : most;
        unsigned width = pq_bits_for(most);
        bl_buf_byte(&w->body, (char)width);
        pq_encode_hybrid(&w->body, s->v + p->value, p->values, width);
    } else if (encoding == PQ_ENC_DELTA_BYTE_ARRAY) {
        pq_encode_prefixes(&w->body, page_strings(w, c, p, p->values), p->values);
    } else {
        pq_encode_lengths(&w->body, page_strings(w, c, p, p->values), p->values);
    }
}

/* A page without values is PLAIN and empty, which every reader takes; what an empty delta or dictionary block looks
 * like is less certain. */
static enum bl_rc data_page(struct pq_writer *w, struct pq_col *c, struct pq_chunk *k, struct page *p,
                            struct bl_error *err) {
    bl_buf_clear(&w->body);
    if (c->spec.kind == PQ_STRING_LIST)
        list_levels(w, c, p);
    else if (c->spec.optional)
        null_levels(w, c, p);
    if (p->values)
        page_values(w, c, p, k->encoding);
    else
        k->empty_pages = true;
    return emit_page(w, c, k, p, p->values ? k->encoding : PQ_ENC_PLAIN, err);
}

/* ---- which encoding */

/* Try both forms on the first values and keep the smaller: shared prefixes help record keys in time order and hurt
 * text. */
static enum bl_rc choose_text(struct pq_writer *w, struct pq_col *c, enum pq_encoding *out, struct bl_error *err) {
    enum { SAMPLE_VALUES = 8192, SAMPLE_BYTES = 256 << 10 };
    struct page p = {0};
    size_t n = 0, bytes = 0, size[2];
    for (; n < c->values && n < SAMPLE_VALUES && bytes < SAMPLE_BYTES; n++) bytes += length_of(&c->strings, n);
    struct bl_str *v = page_strings(w, c, &p, n);
    for (int i = 0; i < 2; i++) {
        bl_buf_clear(&w->body);
        bl_buf_clear(&w->packed);
        if (i == 0)
            pq_encode_lengths(&w->body, v, n);
        else
            pq_encode_prefixes(&w->body, v, n);
        BL_TRY(bl_buf_check(&w->body, "a Parquet page", err));
        BL_TRY(pq_pack(&w->packer, c->spec.zstd_level ? c->spec.zstd_level : w->o.zstd_level, bl_buf_view(&w->body),
                       &w->packed, err));
        size[i] = w->packed.n;
    }
    *out = size[1] + size[1] / 32 < size[0] ? PQ_ENC_DELTA_BYTE_ARRAY : PQ_ENC_DELTA_LENGTH_BYTE_ARRAY;
    return BL_OK;
}

static enum bl_rc choose(struct pq_writer *w, struct pq_col *c, struct pq_chunk *k, struct bl_error *err) {
    k->encoding = PQ_ENC_PLAIN;
    if (c->values == 0 || c->spec.kind == PQ_BOOL) return BL_OK;
    if (!pq_is_text(c->spec.kind)) {
        k->encoding = PQ_ENC_DELTA_BINARY_PACKED;
        return BL_OK;
    }
    if (!pq_strings_dictionary_pays(&c->strings)) return choose_text(w, c, &k->encoding, err);
    k->encoding = PQ_ENC_RLE_DICTIONARY;
    return dictionary_page(w, c, k, err);
}

static void complete_bitmap(struct pq_writer *w, struct pq_col *c) {
    size_t words = (c->rows + 63) / 64, had = c->bits_cap;
    if (!has_bitmap(c) || words <= had) return;
    c->bits = pq_grow(c->bits, &c->bits_cap, words, sizeof *c->bits, &w->memory);
    memset(c->bits + had, 0, (c->bits_cap - had) * sizeof *c->bits);
}

enum bl_rc pq_write_chunk(struct pq_writer *w, struct pq_col *c, struct pq_chunk *k, struct bl_error *err) {
    *k = (struct pq_chunk){.column = &c->spec, .codec = w->o.codec, .values = (int64_t)entries_of(c)};
    pq_strings_settle(&c->strings, &w->memory);
    complete_bitmap(w, c);
    chunk_stats(c, &k->stats);
    BL_TRY(choose(w, c, k, err));
    k->data_offset = w->offset;
    struct page p = {0};
    size_t total = entries_of(c);
    while (p.entry < total) {
        measure(c, k->dictionary, &p);
        BL_TRY(data_page(w, c, k, &p, err));
        p.entry += p.entries;
        p.value += p.values;
    }
    return BL_OK;
}
