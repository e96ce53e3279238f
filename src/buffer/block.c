#include "buffer/block.h"

#include <inttypes.h>
#include <stdlib.h>

#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

struct block_codec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

struct block_codec *block_codec_new(int level) {
    struct block_codec *c = bl_xcalloc(1, sizeof *c);
    c->compress = bl_xneed(ZSTD_createCCtx());
    c->decompress = bl_xneed(ZSTD_createDCtx());
    /* Level 3 costs twice the time of level 1 and saves nothing on events, whose residue is random identifiers. */
    size_t set = ZSTD_CCtx_setParameter(c->compress, ZSTD_c_compressionLevel, level ? level : 1);
    BL_ASSERT(!ZSTD_isError(set));
    return c;
}

void block_codec_free(struct block_codec **c) {
    if (!*c) return;
    ZSTD_freeCCtx((*c)->compress);
    ZSTD_freeDCtx((*c)->decompress);
    free(*c);
    *c = NULL;
}

/* ---- payload ---- */

/* For want of memory no block is taken for a damaged one. */
static bool failed(size_t n) {
    if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation) bl_xneed(NULL);
    return ZSTD_isError(n) != 0;
}

enum bl_rc block_pack(struct block_codec *c, struct bl_str raw, struct bl_buf *out, struct block *b,
                      struct bl_error *err) {
    bl_buf_clear(out);
    if (raw.n > BLOCK_RAW_MAX)
        return bl_fail(err, BL_E_TOO_LARGE, "block of %zu bytes: at most %d are allowed; close it earlier", raw.n,
                       BLOCK_RAW_MAX);
    if (raw.n == 0 || raw.p[raw.n - 1] != '\n')
        return bl_fail(err, BL_E_INVALID, "block of %zu bytes does not end with a newline", raw.n);
    if (!bl_buf_reserve(out, ZSTD_compressBound(raw.n))) return bl_buf_check(out, "block", err);
    size_t n = ZSTD_compress2(c->compress, out->p, out->cap, raw.p, raw.n);
    if (failed(n)) return bl_fail(err, BL_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
    b->compressed = n < raw.n;
    if (b->compressed)
        out->n = n;
    else
        bl_buf_str(out, raw);
    b->data = bl_buf_view(out);
    b->raw_len = (uint32_t)raw.n;
    b->sum = XXH3_64bits(raw.p, raw.n);
    return BL_OK;
}

static uint64_t count_lines(struct bl_str s) {
    uint64_t lines = 0;
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) lines++;
    return lines;
}

static enum bl_rc decompress(struct block_codec *c, const struct block *b, struct bl_buf *out, struct bl_error *err) {
    if (!bl_buf_reserve(out, b->raw_len)) return bl_buf_check(out, "block", err);
    size_t frame = ZSTD_findFrameCompressedSize(b->data.p, b->data.n);
    if (ZSTD_isError(frame) || frame != b->data.n)
        return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": %zu bytes are not exactly one zstd frame", b->seq,
                       b->data.n);
    size_t n = ZSTD_decompressDCtx(c->decompress, out->p, b->raw_len, b->data.p, b->data.n);
    if (failed(n)) return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": zstd: %s", b->seq, ZSTD_getErrorName(n));
    out->n = n;
    return BL_OK;
}

enum bl_rc block_unpack(struct block_codec *c, const struct block *b, struct bl_buf *out, struct bl_error *err) {
    bl_buf_clear(out);
    if (b->raw_len > BLOCK_RAW_MAX)
        return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": len %" PRIu32 " is above %d", b->seq, b->raw_len,
                       BLOCK_RAW_MAX);
    if (b->compressed) {
        BL_TRY(decompress(c, b, out, err));
    } else {
        bl_buf_str(out, b->data);
        BL_TRY(bl_buf_check(out, "block", err));
    }
    if (out->n != b->raw_len)
        return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": %zu bytes, len says %" PRIu32, b->seq, out->n,
                       b->raw_len);
    uint64_t sum = XXH3_64bits(out->p, out->n);
    if (sum != b->sum)
        return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": checksum %016" PRIx64 ", sum says %016" PRIx64, b->seq,
                       sum, b->sum);
    uint64_t lines = count_lines(bl_buf_view(out));
    if (!out->n || lines != b->count || out->p[out->n - 1] != '\n')
        return bl_fail(err, BL_E_CORRUPT, "block %" PRIu64 ": %" PRIu64 " lines, n says %" PRIu32, b->seq, lines,
                       b->count);
    return BL_OK;
}

/* ---- fields of the stream entry ---- */

/* Every number is at most 20 characters, so no text moves once the buffer has this much room. */
enum { NUMBER_MAX = 24 };

static struct bl_str number(struct bl_buf *scratch, const char *format, uint64_t value) {
    char text[NUMBER_MAX];
    int n = snprintf(text, sizeof text, format, value);
    size_t start = scratch->n;
    bl_buf_add(scratch, text, (size_t)n);
    return bl_strn(scratch->p + start, (size_t)n);
}

static struct bl_str signed_number(struct bl_buf *scratch, int64_t value) {
    size_t start = scratch->n;
    bl_buf_i64(scratch, value);
    return bl_strn(scratch->p + start, scratch->n - start);
}

void block_fields(const struct block *b, struct bl_buf *scratch, struct block_field out[static BLOCK_FIELDS]) {
    bool room = bl_buf_reserve(scratch, BLOCK_FIELDS * NUMBER_MAX);
    BL_ASSERT(room);
    size_t i = 0;
    out[i++] = (struct block_field){BL_LIT("v"), number(scratch, "%" PRIu64, BLOCK_VERSION)};
    out[i++] = (struct block_field){BL_LIT("inc"), number(scratch, "%016" PRIx64, b->incarnation)};
    out[i++] = (struct block_field){BL_LIT("seq"), number(scratch, "%" PRIu64, b->seq)};
    out[i++] = (struct block_field){BL_LIT("off"), number(scratch, "%" PRIu64, b->offset)};
    out[i++] = (struct block_field){BL_LIT("n"), number(scratch, "%" PRIu64, b->count)};
    out[i++] = (struct block_field){BL_LIT("first"), signed_number(scratch, b->first_us)};
    out[i++] = (struct block_field){BL_LIT("last"), signed_number(scratch, b->last_us)};
    out[i++] = (struct block_field){BL_LIT("codec"), b->compressed ? BL_LIT("zstd") : BL_LIT("raw")};
    out[i++] = (struct block_field){BL_LIT("len"), number(scratch, "%" PRIu64, b->raw_len)};
    out[i++] = (struct block_field){BL_LIT("sum"), number(scratch, "%016" PRIx64, b->sum)};
    out[i++] = (struct block_field){BL_LIT("data"), b->data};
    BL_ASSERT(i == BLOCK_FIELDS);
}

bool block_parse_hex(struct bl_str s, uint64_t *out) {
    uint64_t value = 0;
    if (s.n != 16) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

static bool parse_number(struct bl_str s, uint64_t least, uint64_t most, uint64_t *out) {
    return bl_parse_u64(s, most, out) && *out >= least;
}

enum field { F_V, F_INC, F_SEQ, F_OFF, F_N, F_FIRST, F_LAST, F_CODEC, F_LEN, F_SUM, F_DATA, F_UNKNOWN };
static const char *const field_names[BLOCK_FIELDS] = {"v",    "inc",   "seq", "off", "n",   "first",
                                                      "last", "codec", "len", "sum", "data"};

static enum field field_of(struct bl_str name) {
    for (unsigned f = 0; f < BLOCK_FIELDS; f++)
        if (bl_str_eq(name, bl_str(field_names[f]))) return (enum field)f;
    return F_UNKNOWN;
}

static bool parse_field(enum field f, struct bl_str s, struct block *b) {
    uint64_t u = 0;
    bool good = false;
    switch (f) {
    case F_V:
        return parse_number(s, BLOCK_VERSION, BLOCK_VERSION, &u);
    case F_INC:
        return block_parse_hex(s, &b->incarnation);
    case F_SEQ:
        return parse_number(s, 1, INT64_MAX, &b->seq);
    case F_OFF:
        return parse_number(s, 0, INT64_MAX, &b->offset);
    case F_N:
        good = parse_number(s, 1, BLOCK_RAW_MAX, &u);
        b->count = (uint32_t)u;
        return good;
    case F_FIRST:
        return bl_parse_i64(s, 0, INT64_MAX, &b->first_us);
    case F_LAST:
        return bl_parse_i64(s, 0, INT64_MAX, &b->last_us);
    case F_CODEC:
        b->compressed = bl_str_eq(s, BL_LIT("zstd"));
        return b->compressed || bl_str_eq(s, BL_LIT("raw"));
    case F_LEN:
        good = parse_number(s, 1, BLOCK_RAW_MAX, &u);
        b->raw_len = (uint32_t)u;
        return good;
    case F_SUM:
        return block_parse_hex(s, &b->sum);
    case F_DATA:
        b->data = s;
        return s.n > 0;
    case F_UNKNOWN:
        break;
    }
    return true;
}

static enum bl_rc bad_field(enum field f, struct bl_str value, struct bl_error *err) {
    if (f == F_DATA) return bl_fail(err, BL_E_CORRUPT, "block field data: empty");
    struct bl_str shown = {value.p, value.n < 40 ? value.n : 40};
    return bl_fail(err, BL_E_CORRUPT, "block field %s: unusable value \"%.*s\"", field_names[f], BL_ARG(shown));
}

enum bl_rc block_parse(const struct block_field *fields, size_t count, struct block *out, struct bl_error *err) {
    struct block b = {0};
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        enum field f = field_of(fields[i].name);
        if (f == F_UNKNOWN) continue;
        if (seen >> f & 1) return bl_fail(err, BL_E_CORRUPT, "block field %s: given twice", field_names[f]);
        if (!parse_field(f, fields[i].value, &b)) return bad_field(f, fields[i].value, err);
        seen |= 1u << f;
    }
    for (unsigned f = 0; f < BLOCK_FIELDS; f++)
        if (!(seen >> f & 1)) return bl_fail(err, BL_E_CORRUPT, "block field %s: missing", field_names[f]);
    if (b.first_us > b.last_us)
        return bl_fail(err, BL_E_CORRUPT, "block field first: %" PRId64 " is after last, %" PRId64, b.first_us,
                       b.last_us);
    if (!b.compressed && b.data.n != b.raw_len)
        return bl_fail(err, BL_E_CORRUPT, "block field len: %" PRIu32 ", data has %zu bytes", b.raw_len, b.data.n);
    *out = b;
    return BL_OK;
}
