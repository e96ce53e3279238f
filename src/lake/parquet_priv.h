/* parquet_priv: what the files of the Parquet writer share. Included by parquet*.c alone. */
#pragma once
#include "lake/parquet.h"

enum {
    PQ_PAGE_ROWS = 128 * 1024, /* a multiple of 64, so that such pages start at a word of the null bitmap */
    PQ_PAGE_BYTES = 1 << 20,   /* of values before compression; one longer value makes a longer page */
    PQ_STAT_MAX = 64,          /* longer strings are cut in the statistics */
};

enum pq_encoding {
    PQ_ENC_PLAIN = 0,
    PQ_ENC_RLE = 3,
    PQ_ENC_DELTA_BINARY_PACKED = 5,
    PQ_ENC_DELTA_LENGTH_BYTE_ARRAY = 6,
    PQ_ENC_DELTA_BYTE_ARRAY = 7,
    PQ_ENC_RLE_DICTIONARY = 8,
};

/* ---- parquet_strings.c: the strings of one column chunk, as a dictionary while that pays, else one after the other */
struct pq_entry {
    uint32_t offset, length; /* in heap */
};
struct pq_slot {
    uint32_t hash, entry; /* entry + 1; 0 = free */
};
/* Strings that wait to be looked up together, so that the cache misses of their lookups overlap. */
enum { PQ_PENDING = 32, PQ_PENDING_BYTES = 4096 };
struct pq_pending {
    size_t n, used;
    struct {
        uint32_t hash, offset, length;
    } item[PQ_PENDING];
    char bytes[PQ_PENDING_BYTES];
};
struct pq_strings {
    bool plain;
    bool overflow;   /* sticky: a string did not fit and was replaced by an empty one */
    uint32_t *v;     /* per value: entry, or length once `plain` */
    size_t n, cap;
    char *heap;      /* distinct strings, or all once `plain` */
    size_t heap_n, heap_cap;
    struct pq_entry *entry;
    size_t entry_n, entry_cap;
    struct pq_slot *slot;
    size_t slot_count; /* a power of two; 0 before the first string */
    size_t review;     /* number of values at which to ask again whether the dictionary pays */
    uint64_t bytes;    /* of all values */
    struct pq_pending *pending;
};
void pq_strings_add(struct pq_strings *s, struct bl_str v, int64_t *memory);
void pq_strings_settle(struct pq_strings *s, int64_t *memory); /* before anything below is read */
bool pq_strings_dictionary_pays(const struct pq_strings *s);
void pq_strings_release(struct pq_strings *s, int64_t *memory);

/* Grow an array of `size`-byte elements to hold `need`; `*memory` follows the capacity. */
void *pq_grow(void *p, size_t *cap, size_t need, size_t size, int64_t *memory);

/* ---- parquet_encode.c: value encodings, appended to `out` */
void pq_put_varint(struct bl_buf *out, uint64_t v);
unsigned pq_bits_for(uint64_t max); /* bits that hold 0..max, at least 1 */
void pq_encode_hybrid(struct bl_buf *out, const uint32_t *v, size_t n, unsigned width);
void pq_encode_hybrid_run(struct bl_buf *out, uint32_t v, size_t n, unsigned width);
void pq_encode_bitmap(struct bl_buf *out, const uint64_t *words, size_t from, size_t n);
void pq_encode_i64(struct bl_buf *out, const int64_t *v, size_t n);
void pq_encode_bools(struct bl_buf *out, const uint8_t *v, size_t n);
void pq_encode_plain(struct bl_buf *out, const struct bl_str *v, size_t n);
void pq_encode_lengths(struct bl_buf *out, const struct bl_str *v, size_t n);
void pq_encode_prefixes(struct bl_buf *out, const struct bl_str *v, size_t n);

/* ---- parquet_thrift.c: Thrift compact protocol and the structures of the format */
struct pq_stats {
    bool has_min, has_max, min_exact, max_exact;
    int64_t null_count;
    char min[PQ_STAT_MAX], max[PQ_STAT_MAX];
    size_t min_n, max_n;
};
struct pq_chunk {
    const struct pq_column *column;
    enum pq_codec codec;
    enum pq_encoding encoding; /* of the data pages that hold values */
    bool dictionary, empty_pages;
    int64_t values; /* level entries, nulls included */
    int64_t uncompressed, compressed;
    int64_t dictionary_offset, data_offset;
    struct pq_stats stats;
};
void pq_thrift_data_page(struct bl_buf *out, size_t raw, size_t packed, size_t values, enum pq_encoding encoding);
void pq_thrift_dictionary_page(struct bl_buf *out, size_t raw, size_t packed, size_t values);
void pq_thrift_row_group(struct bl_buf *out, const struct pq_chunk *chunks, size_t count, int64_t rows, int64_t ordinal);
struct pq_footer {
    const struct pq_column *columns;
    size_t column_count;
    int64_t rows;
    const struct bl_buf *row_groups; /* serialised one after the other */
    int64_t row_group_count;
    const char *const (*metadata)[2];
    size_t metadata_count;
};
void pq_thrift_footer(struct bl_buf *out, const struct pq_footer *footer);

/* ---- parquet_codec.c: page compression with reused contexts */
struct pq_packer {
    enum pq_codec codec;
    void *zstd, *gzip;
};
/* Appends the compressed form of `raw`. */
enum bl_rc pq_pack(struct pq_packer *p, int level, struct bl_str raw, struct bl_buf *out, struct bl_error *err);
void pq_packer_release(struct pq_packer *p);

/* ---- parquet.c */
struct pq_col {
    struct pq_column spec; /* name owned */
    size_t rows, values;
    uint64_t *bits; /* optional and no list: bit r set where row r has a value; rows beyond are null */
    size_t bits_cap;
    uint8_t *levels; /* list: repetition level << 4 | definition level of each entry */
    size_t levels_n, levels_cap;
    int64_t *ints;
    size_t ints_cap;
    uint8_t *bools;
    size_t bools_cap;
    struct pq_strings strings;
};
struct pq_writer {
    int fd;
    struct pq_options o;
    struct pq_col *cols;
    struct pq_column *specs;
    size_t count;
    int64_t rows, group_rows, groups, memory, offset;
    int64_t scratch_memory; /* of the page in work: no reason to flush a row group */
    struct bl_buf out, body, packed, row_groups;
    uint32_t *scratch;       /* PQ_PAGE_ROWS at least; levels and indices of a page */
    size_t scratch_cap;
    struct bl_str *page;     /* strings of a page */
    size_t page_cap;
    struct pq_chunk *chunks;
    struct pq_packer packer;
    void *hash;
    bool finished;
};
enum bl_rc pq_flush_out(struct pq_writer *w, size_t keep_below, struct bl_error *err);

/* ---- parquet_page.c */
enum bl_rc pq_write_chunk(struct pq_writer *w, struct pq_col *c, struct pq_chunk *k, struct bl_error *err);
static inline bool pq_is_text(enum pq_kind kind) { return kind >= PQ_STRING; }
static inline unsigned pq_max_definition(const struct pq_column *c) {
    return (c->optional ? 1u : 0u) + (c->kind == PQ_STRING_LIST ? 2u : 0u);
}
