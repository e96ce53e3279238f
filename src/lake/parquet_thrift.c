#include "base/version.h"
#include "lake/parquet_priv.h"

/* Field numbers below are those of parquet.thrift in apache/parquet-format. */

enum thrift_type { T_TRUE = 1, T_FALSE = 2, T_I16 = 4, T_I32 = 5, T_I64 = 6, T_BINARY = 8, T_LIST = 9, T_STRUCT = 12 };
enum { NESTING_MAX = 8 };

struct thrift {
    struct bl_buf *out;
    int last[NESTING_MAX]; /* field number written last, per open struct */
    int depth;
};

static uint64_t zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }

static void field(struct thrift *t, int id, enum thrift_type type) {
    int delta = id - t->last[t->depth];
    BL_ASSERT(delta > 0 && delta <= 15);
    bl_buf_byte(t->out, (char)(delta << 4 | (int)type));
    t->last[t->depth] = id;
}

static void put_i32(struct thrift *t, int id, int64_t v) {
    field(t, id, T_I32);
    pq_put_varint(t->out, zigzag(v));
}
static void put_i64(struct thrift *t, int id, int64_t v) {
    field(t, id, T_I64);
    pq_put_varint(t->out, zigzag(v));
}
static void put_bool(struct thrift *t, int id, bool v) { field(t, id, v ? T_TRUE : T_FALSE); }

static void put_bytes(struct thrift *t, struct bl_str s) {
    pq_put_varint(t->out, s.n);
    bl_buf_str(t->out, s);
}
static void put_binary(struct thrift *t, int id, struct bl_str s) {
    field(t, id, T_BINARY);
    put_bytes(t, s);
}

static void list(struct thrift *t, int id, enum thrift_type element, size_t count) {
    field(t, id, T_LIST);
    if (count < 15) {
        bl_buf_byte(t->out, (char)((unsigned)count << 4 | element));
        return;
    }
    bl_buf_byte(t->out, (char)(0xf0 | element));
    pq_put_varint(t->out, count);
}

/* A struct that is an element of a list has no field header. */
static void begin_element(struct thrift *t) {
    t->depth++;
    BL_ASSERT(t->depth < NESTING_MAX);
    t->last[t->depth] = 0;
}
static void begin(struct thrift *t, int id) {
    field(t, id, T_STRUCT);
    begin_element(t);
}
static void end(struct thrift *t) {
    bl_buf_byte(t->out, 0);
    t->depth--;
}
static void empty_struct(struct thrift *t, int id) {
    begin(t, id);
    end(t);
}

/* ---- page headers */

enum { PAGE_DATA = 0, PAGE_DICTIONARY = 2 };

static struct thrift page_header(struct bl_buf *out, int type, size_t raw, size_t packed) {
    struct thrift t = {.out = out};
    put_i32(&t, 1, type);
    put_i32(&t, 2, (int64_t)raw);
    put_i32(&t, 3, (int64_t)packed);
    return t;
}

void pq_thrift_data_page(struct bl_buf *out, size_t raw, size_t packed, size_t values, enum pq_encoding encoding) {
    struct thrift t = page_header(out, PAGE_DATA, raw, packed);
    begin(&t, 5);
    put_i32(&t, 1, (int64_t)values);
    put_i32(&t, 2, encoding);
    put_i32(&t, 3, PQ_ENC_RLE); /* definition levels */
    put_i32(&t, 4, PQ_ENC_RLE); /* repetition levels */
    end(&t);
    bl_buf_byte(out, 0);
}

void pq_thrift_dictionary_page(struct bl_buf *out, size_t raw, size_t packed, size_t values) {
    struct thrift t = page_header(out, PAGE_DICTIONARY, raw, packed);
    begin(&t, 7);
    put_i32(&t, 1, (int64_t)values);
    put_i32(&t, 2, PQ_ENC_PLAIN);
    end(&t);
    bl_buf_byte(out, 0);
}

/* ---- column chunks */

static int physical_type(enum pq_kind kind) {
    if (kind == PQ_BOOL) return 0;
    return pq_is_text(kind) ? 6 : 2; /* BYTE_ARRAY, INT64 */
}

static int codec_number(enum pq_codec codec) {
    switch (codec) {
    case PQ_SNAPPY: return 1;
    case PQ_GZIP: return 2;
    case PQ_ZSTD: return 6;
    case PQ_UNCOMPRESSED: break;
    }
    return 0;
}

static void encodings(struct thrift *t, const struct pq_chunk *k) {
    int used[4];
    size_t n = 0;
    used[n++] = PQ_ENC_RLE; /* levels */
    used[n++] = (int)k->encoding;
    if (k->encoding != PQ_ENC_PLAIN && (k->dictionary || k->empty_pages)) used[n++] = PQ_ENC_PLAIN;
    list(t, 2, T_I32, n);
    for (size_t i = 0; i < n; i++) pq_put_varint(t->out, zigzag(used[i]));
}

static void path_in_schema(struct thrift *t, const struct pq_column *c) {
    bool nested = c->kind == PQ_STRING_LIST;
    list(t, 3, T_BINARY, nested ? 3 : 1);
    put_bytes(t, bl_str(c->name));
    if (!nested) return;
    put_bytes(t, BL_LIT("list"));
    put_bytes(t, BL_LIT("element"));
}

static void statistics(struct thrift *t, const struct pq_stats *s) {
    begin(t, 12);
    put_i64(t, 3, s->null_count);
    if (s->has_max) put_binary(t, 5, bl_strn(s->max, s->max_n));
    if (s->has_min) put_binary(t, 6, bl_strn(s->min, s->min_n));
    if (s->has_max) put_bool(t, 7, s->max_exact);
    if (s->has_min) put_bool(t, 8, s->min_exact);
    end(t);
}

static void column_chunk(struct thrift *t, const struct pq_chunk *k) {
    begin_element(t);
    put_i64(t, 2, 0); /* file_offset: no copy of the metadata stands outside the footer */
    begin(t, 3);
    put_i32(t, 1, physical_type(k->column->kind));
    encodings(t, k);
    path_in_schema(t, k->column);
    put_i32(t, 4, codec_number(k->codec));
    put_i64(t, 5, k->values);
    put_i64(t, 6, k->uncompressed);
    put_i64(t, 7, k->compressed);
    put_i64(t, 9, k->data_offset);
    if (k->dictionary) put_i64(t, 11, k->dictionary_offset);
    statistics(t, &k->stats);
    end(t);
    end(t);
}

static int64_t first_offset(const struct pq_chunk *k) { return k->dictionary ? k->dictionary_offset : k->data_offset; }

void pq_thrift_row_group(struct bl_buf *out, const struct pq_chunk *chunks, size_t count, int64_t rows, int64_t ordinal) {
    struct thrift t = {.out = out};
    int64_t raw = 0, packed = 0;
    list(&t, 1, T_STRUCT, count);
    for (size_t i = 0; i < count; i++) {
        column_chunk(&t, &chunks[i]);
        raw += chunks[i].uncompressed;
        packed += chunks[i].compressed;
    }
    put_i64(&t, 2, raw);
    put_i64(&t, 3, rows);
    put_i64(&t, 5, count ? first_offset(&chunks[0]) : 0);
    put_i64(&t, 6, packed);
    if (ordinal <= INT16_MAX) {
        field(&t, 7, T_I16);
        pq_put_varint(out, zigzag(ordinal));
    }
    bl_buf_byte(out, 0);
}

/* ---- footer */

enum { REQUIRED = 0, OPTIONAL = 1, REPEATED = 2 };
enum { CONVERTED_UTF8 = 0, CONVERTED_LIST = 3, CONVERTED_TIMESTAMP_MICROS = 10 };

static void text_type(struct thrift *t) {
    put_i32(t, 6, CONVERTED_UTF8);
    begin(t, 10);
    empty_struct(t, 1); /* STRING */
    end(t);
}

static void timestamp_type(struct thrift *t) {
    put_i32(t, 6, CONVERTED_TIMESTAMP_MICROS);
    begin(t, 10);
    begin(t, 8); /* TIMESTAMP */
    put_bool(t, 1, true); /* adjusted to UTC */
    begin(t, 2);
    empty_struct(t, 2); /* MICROS */
    end(t);
    end(t);
    end(t);
}

static void leaf(struct thrift *t, const char *name, enum pq_kind kind, bool optional) {
    begin_element(t);
    put_i32(t, 1, physical_type(kind));
    put_i32(t, 3, optional ? OPTIONAL : REQUIRED);
    put_binary(t, 4, bl_str(name));
    if (pq_is_text(kind)) text_type(t);
    else if (kind == PQ_TIMESTAMP_US) timestamp_type(t);
    end(t);
}

/* The three-level form: optional group NAME (LIST) { repeated group list { optional binary element (STRING) } } */
static void list_column(struct thrift *t, const struct pq_column *c) {
    begin_element(t);
    put_i32(t, 3, c->optional ? OPTIONAL : REQUIRED);
    put_binary(t, 4, bl_str(c->name));
    put_i32(t, 5, 1);
    put_i32(t, 6, CONVERTED_LIST);
    begin(t, 10);
    empty_struct(t, 3); /* LIST */
    end(t);
    end(t);
    begin_element(t);
    put_i32(t, 3, REPEATED);
    put_binary(t, 4, BL_LIT("list"));
    put_i32(t, 5, 1);
    end(t);
    leaf(t, "element", PQ_STRING, true);
}

static void schema(struct thrift *t, const struct pq_footer *f) {
    size_t elements = 1;
    for (size_t i = 0; i < f->column_count; i++) elements += f->columns[i].kind == PQ_STRING_LIST ? 3 : 1;
    list(t, 2, T_STRUCT, elements);
    begin_element(t);
    put_binary(t, 4, BL_LIT("schema"));
    put_i32(t, 5, (int64_t)f->column_count);
    end(t);
    for (size_t i = 0; i < f->column_count; i++) {
        const struct pq_column *c = &f->columns[i];
        if (c->kind == PQ_STRING_LIST) list_column(t, c);
        else leaf(t, c->name, c->kind, c->optional);
    }
}

static void metadata(struct thrift *t, const struct pq_footer *f) {
    if (f->metadata_count == 0) return;
    list(t, 5, T_STRUCT, f->metadata_count);
    for (size_t i = 0; i < f->metadata_count; i++) {
        begin_element(t);
        put_binary(t, 1, bl_str(f->metadata[i][0]));
        put_binary(t, 2, bl_str(f->metadata[i][1]));
        end(t);
    }
}

/* Without these, readers have to ignore min and max of strings (PARQUET-1025). */
static void column_orders(struct thrift *t, const struct pq_footer *f) {
    list(t, 7, T_STRUCT, f->column_count);
    for (size_t i = 0; i < f->column_count; i++) {
        begin_element(t);
        empty_struct(t, 1); /* TYPE_ORDER */
        end(t);
    }
}

void pq_thrift_footer(struct bl_buf *out, const struct pq_footer *f) {
    struct thrift t = {.out = out};
    put_i32(&t, 1, 2);
    schema(&t, f);
    put_i64(&t, 3, f->rows);
    list(&t, 4, T_STRUCT, (size_t)f->row_group_count);
    bl_buf_str(out, bl_buf_view(f->row_groups));
    metadata(&t, f);
    put_binary(&t, 6, BL_LIT("bluelake version " BL_VERSION " (build C)"));
    column_orders(&t, f);
    bl_buf_byte(out, 0);
}
