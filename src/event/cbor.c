/* The low-level SHA-256 calls: EVP costs more per call than the hash of a typical record, see bench/cid.c. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "event/cbor.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "event/json.h"

enum { DEPTH_MAX = 128, HEAD_MAX = 9, MEMBERS_FIXED = 256, CID_BINARY_MAX = 160 };
enum major { UNSIGNED = 0, NEGATIVE = 1, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5, TAG = 6 };

/* Why there is no DAG-CBOR, and the end of what has none. */
struct flaw {
    const char *why; /* NULL: there is */
    size_t at;
};

/* One encoded member of an open map: its bytes in `out` are key [start,value) and value [value,end). `prefix` is the
 * beginning of the encoded key as a big-endian number. The encoded key begins with its length, so that the order of
 * DAG-CBOR (length, then bytes) is the plain order of encoded bytes, and mostly that of prefixes. */
struct member {
    uint64_t prefix;
    size_t start, value, end;
    struct flaw flaw;
};

/* Members are encoded in the order they come and moved afterwards where that is not the order of DAG-CBOR. `members` is
 * a stack: each open map owns the run above its parent's. It leaves the frame of cbor_of_json only for a record with
 * more members open than real ones have. */
struct encoder {
    struct js_cursor c;
    struct bl_buf *out;
    struct bl_error *err;
    enum bl_rc rc; /* of the first failure that is not the cursor's */
    struct flaw flaw;
    struct member *members;
    size_t count, cap;
    struct bl_buf spill;
    struct member fixed[MEMBERS_FIXED];
};

/* Keys of the two forms that are no maps, as prefixes. */
#define PREFIX(a, b, c, d, e, f, g)                                                                                    \
    ((uint64_t)(a) << 56 | (uint64_t)(b) << 48 | (uint64_t)(c) << 40 | (uint64_t)(d) << 32 | (uint64_t)(e) << 24 |     \
     (uint64_t)(f) << 16 | (uint64_t)(g) << 8)
static const uint64_t link_key = PREFIX(0x65, '$', 'l', 'i', 'n', 'k', 0);
static const uint64_t bytes_key = PREFIX(0x66, '$', 'b', 'y', 't', 'e', 's');

static size_t offset(const struct encoder *e) { return (size_t)(e->c.p - e->c.start); }

/* A value without DAG-CBOR does not end the work, because a later member with the same key may replace it. Returns true
 * for "go on". */
static bool note_flaw(struct encoder *e, const char *why) {
    if (!e->flaw.why) e->flaw = (struct flaw){why, offset(e)};
    return true;
}

static inline bool room(struct encoder *e, size_t n) {
    if (e->out->cap - e->out->n >= n && !e->out->failed) return true;
    if (bl_buf_reserve(e->out, n)) return true;
    e->rc = bl_buf_check(e->out, "DAG-CBOR of a record", e->err);
    return false;
}

/* Shortest head of `major` with `argument`; returns the end. */
static inline char *put_head(char *to, enum major major, uint64_t argument) {
    unsigned high = (unsigned)major << 5;
    if (argument < 24) {
        *to++ = (char)(high | (unsigned)argument);
        return to;
    }
    unsigned log2_size = argument <= 0xff ? 0 : argument <= 0xffff ? 1 : argument <= 0xffffffff ? 2 : 3;
    *to++ = (char)(high | (24 + log2_size));
    for (int shift = (8 << log2_size) - 8; shift >= 0; shift -= 8) *to++ = (char)(argument >> shift);
    return to;
}

static inline size_t head_size(unsigned char first) {
    unsigned low = first & 31;
    return low < 24 ? 1 : 1 + ((size_t)1 << (low - 24));
}

static bool put_text(struct encoder *e, struct js_string s) {
    struct bl_buf *out = e->out;
    if (!room(e, s.raw.n + 2 * HEAD_MAX)) return false;
    char *at = out->p + out->n;
    size_t n = s.raw.n;
    if (!s.escaped) {
        at = put_head(at, TEXT, n);
        memcpy(at, s.raw.p, n);
    } else {
        char *text = at + HEAD_MAX;
        if (!js_unescape_into(s, text, &n)) {
            note_flaw(e, "a string with a lone surrogate");
            n = 0;
        }
        at = put_head(at, TEXT, n);
        memmove(at, text, n);
    }
    out->n = (size_t)(at - out->p) + n;
    return true;
}

/* The integer that a JSON number denotes, whatever its spelling: 100, 100.0, 1e2, 1000e-1. False when it has a fraction
 * or its magnitude exceeds 64 bits. `raw` is a valid number. */
static bool integer_of(struct bl_str raw, bool *negative, uint64_t *magnitude) {
    const char *p = raw.p, *end = p + raw.n;
    uint64_t value = 0;
    int64_t zeros = 0, fraction = 0, exponent = 0; /* zeros: trailing ones, not yet in value */
    *negative = *p == '-';
    p += *negative;
    for (bool behind_point = false; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            behind_point = true;
            continue;
        }
        fraction += behind_point;
        zeros++;
        if (*p == '0') continue;
        for (; zeros; zeros--)
            if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) return false;
    }
    if (p < end) {
        bool minus = p[1] == '-';
        for (p += p[1] == '-' || p[1] == '+' ? 2 : 1; p < end; p++)
            if (exponent < INT32_MAX) exponent = exponent * 10 + (*p - '0');
        exponent = minus ? -exponent : exponent;
    }
    int64_t scale = zeros - fraction + exponent;
    if (value && scale < 0) return false;
    for (; value && scale; scale--)
        if (__builtin_mul_overflow(value, 10, &value)) return false;
    *magnitude = value;
    return true;
}

static bool encode_number(struct encoder *e) {
    struct bl_str raw;
    bool negative;
    uint64_t magnitude;
    if (!js_skip(&e->c, &raw, NULL) || !room(e, HEAD_MAX)) return false;
    if (!integer_of(raw, &negative, &magnitude) || (negative && magnitude > (uint64_t)INT64_MAX + 1)) {
        note_flaw(e, "a number that is no 64-bit integer, so that its CBOR is not recomputable");
        magnitude = 0;
    }
    char *at = e->out->p + e->out->n;
    negative &= magnitude != 0;
    e->out->n = (size_t)(put_head(at, negative ? NEGATIVE : UNSIGNED, magnitude - negative) - e->out->p);
    return true;
}

static bool encode_word(struct encoder *e, unsigned char code) {
    if (!js_skip(&e->c, NULL, NULL) || !room(e, 1)) return false;
    e->out->p[e->out->n++] = (char)code;
    return true;
}

static bool encode_string(struct encoder *e) {
    struct js_string s;
    return js_string(&e->c, &s) && put_text(e, s);
}

/* A container begins with one byte for its head and gets the rest, where it has more than 23 items, once they are
 * counted. */
static bool open_container(struct encoder *e, size_t *at) {
    if (!room(e, 1)) return false;
    *at = e->out->n++;
    return true;
}

static bool close_container(struct encoder *e, size_t at, enum major major, uint64_t items) {
    char head[HEAD_MAX];
    size_t size = (size_t)(put_head(head, major, items) - head);
    if (size > 1) {
        if (!room(e, size - 1)) return false;
        memmove(e->out->p + at + size, e->out->p + at + 1, e->out->n - at - 1);
        e->out->n += size - 1;
    }
    memcpy(e->out->p + at, head, size);
    return true;
}

static bool encode_value(struct encoder *e);

static bool encode_array(struct encoder *e) {
    size_t at;
    uint64_t items = 0;
    bool first = true;
    if (!open_container(e, &at) || !js_array(&e->c)) return false;
    for (; js_element(&e->c, &first); items++)
        if (!encode_value(e)) return false;
    return e->c.fault == JS_OK && close_container(e, at, ARRAY, items);
}

static bool more_members(struct encoder *e) {
    size_t used = e->count * sizeof *e->members;
    if (e->members == e->fixed) bl_buf_add(&e->spill, e->fixed, used);
    if (!bl_buf_reserve(&e->spill, used)) {
        e->rc = bl_buf_check(&e->spill, "members of one record", e->err);
        return false;
    }
    e->spill.n = 2 * used;
    e->members = (struct member *)(void *)e->spill.p;
    e->cap = 2 * e->count;
    return true;
}

static uint64_t prefix_of(const char *key, size_t n) {
    uint64_t word; /* put_text leaves room behind the key */
    memcpy(&word, key, 8);
    word = __builtin_bswap64(word);
    return n < 8 ? word & ~(UINT64_MAX >> 8 * n) : word;
}

static int compare_keys(const struct member *a, const struct member *b, const char *base) {
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    size_t na = a->value - a->start, nb = b->value - b->start; /* equal unless both have many bytes in their heads */
    return memcmp(base + a->start, base + b->start, na < nb ? na : nb);
}

/* Of equal keys the later one comes later. */
static int by_key(const void *a, const void *b, void *base) {
    const struct member *x = a, *y = b;
    int order = compare_keys(x, y, base);
    return order ? order : (x->start > y->start) - (x->start < y->start);
}

static void sort_members(struct member *run, size_t n, char *base) {
    if (n > 32) {
        qsort_r(run, n, sizeof *run, by_key, base);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct member m = run[i];
        size_t j = i;
        for (; j > 0 && compare_keys(&m, &run[j - 1], base) < 0; j--) run[j] = run[j - 1];
        run[j] = m;
    }
}

/* Bring the members of the map at `at` into order, leaving out all but the last of equal keys. */
static bool reorder(struct encoder *e, size_t at, struct member *run, size_t *count) {
    size_t from = at + 1, size = e->out->n - from, kept = 0;
    if (!room(e, size)) return false;
    char *base = e->out->p, *to = base + e->out->n;
    sort_members(run, *count, base);
    for (size_t i = 0; i < *count; i++) {
        if (i + 1 < *count && compare_keys(&run[i], &run[i + 1], base) == 0) continue;
        memcpy(to, base + run[i].start, run[i].end - run[i].start);
        to += run[i].end - run[i].start;
        run[kept++] = run[i];
    }
    size_t used = (size_t)(to - base) - e->out->n;
    memcpy(base + from, base + e->out->n, used);
    e->out->n = from + used;
    *count = kept;
    return true;
}

static int base64_value(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int base32_value(unsigned char c) {
    if (c >= 'a' && c <= 'z') return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* Decode digits of `bits` bits each; `to` may be the place of `text` itself. The bits that are left over must be zero
 * and fewer than a digit has, so that each value has one spelling. */
static inline bool decode_digits(struct bl_str text, unsigned bits, int (*value_of)(unsigned char), char *to,
                                 size_t *n) {
    uint32_t pending = 0;
    unsigned have = 0;
    const char *start = to;
    for (size_t i = 0; i < text.n; i++) {
        int value = value_of((unsigned char)text.p[i]);
        if (value < 0) return false;
        pending = (pending << bits | (unsigned)value) & 0xffff;
        have += bits;
        if (have < 8) continue;
        have -= 8;
        *to++ = (char)(pending >> have);
    }
    *n = (size_t)(to - start);
    return have < bits && (pending & ((1u << have) - 1)) == 0;
}

/* An unsigned varint of at most nine bytes in its shortest form. */
static bool take_varint(struct bl_str *s, uint64_t *value) {
    *value = 0;
    for (unsigned i = 0; i < s->n && i < 9; i++) {
        unsigned char byte = (unsigned char)s->p[i];
        *value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte & 0x80) continue;
        *s = bl_str_skip(*s, i + 1);
        return byte != 0 || i == 0;
    }
    return false;
}

static bool decode_cid(struct bl_str text, char binary[static CID_BINARY_MAX], size_t *n) {
    if (text.n < 2 || text.p[0] != 'b' || text.n > CID_BINARY_MAX * 8 / 5) return false;
    if (!decode_digits(bl_str_skip(text, 1), 5, base32_value, binary, n)) return false;
    struct bl_str rest = {binary, *n};
    uint64_t version, codec, hash, length;
    return take_varint(&rest, &version) && version == 1 && take_varint(&rest, &codec) && take_varint(&rest, &hash) &&
           take_varint(&rest, &length) && length == rest.n;
}

bool cid_binary(struct bl_str text, struct bl_buf *out) {
    char binary[CID_BINARY_MAX];
    size_t n;
    if (!decode_cid(text, binary, &n)) return false;
    bl_buf_add(out, binary, n);
    return !out->failed;
}

/* {"$link":CID}, already encoded as a map at `at`, becomes tag 42 of 0x00 and the binary CID. */
static bool make_link(struct encoder *e, size_t at, struct bl_str text) {
    char binary[CID_BINARY_MAX];
    size_t n;
    if (!decode_cid(text, binary, &n)) return note_flaw(e, "a $link that is not a CID in base32");
    char *to = put_head(e->out->p + at, TAG, 42); /* always shorter than the map */
    to = put_head(to, BYTES, n + 1);
    *to++ = 0;
    memcpy(to, binary, n);
    e->out->n = (size_t)(to - e->out->p) + n;
    return true;
}

/* {"$bytes":BASE64}, with or without padding, becomes a byte string in place. */
static bool make_bytes(struct encoder *e, size_t at, struct bl_str text) {
    if (text.n % 4 == 0)
        for (int i = 0; i < 2 && text.n && text.p[text.n - 1] == '='; i++) text.n--;
    char *to = put_head(e->out->p + at, BYTES, text.n * 3 / 4);
    size_t n;
    if (!decode_digits(text, 6, base64_value, to, &n)) return note_flaw(e, "a $bytes that is not base64");
    e->out->n = (size_t)(to - e->out->p) + n;
    return true;
}

/* atproto reserves both keys: with other members beside them, or another type than string, the value is in error. */
static bool make_special(struct encoder *e, size_t at, size_t count) {
    const char *key = e->out->p + at + 1, *end = e->out->p + e->out->n;
    size_t length = *key & 31; /* of "$link" or "$bytes" where count is 1 */
    const char *value = key + 1 + length;
    if (count != 1 || (unsigned char)*value >> 5 != TEXT)
        return note_flaw(e, "a map with $link or $bytes that is not that string alone");
    const char *text = value + head_size((unsigned char)*value);
    struct bl_str s = {text, (size_t)(end - text)};
    return length == 5 ? make_link(e, at, s) : make_bytes(e, at, s);
}

static bool encode_object(struct encoder *e) {
    size_t at, base = e->count;
    struct js_string key;
    bool first = true, ordered = true, special = false, flawed = false;
    if (!open_container(e, &at) || !js_object(&e->c)) return false;
    while (js_member(&e->c, &key, &first)) {
        struct member m = {.start = e->out->n};
        if (!put_text(e, key)) return false;
        m.value = e->out->n;
        m.prefix = prefix_of(e->out->p + m.start, m.value - m.start);
        special |= m.prefix == link_key || m.prefix == bytes_key;
        struct flaw before = e->flaw;
        e->flaw.why = NULL;
        ordered = ordered && (e->count == base || compare_keys(&e->members[e->count - 1], &m, e->out->p) < 0);
        if (!encode_value(e)) return false;
        m.end = e->out->n;
        m.flaw = e->flaw;
        flawed |= m.flaw.why != NULL;
        e->flaw = before;
        if (e->count == e->cap && !more_members(e)) return false;
        e->members[e->count++] = m;
    }
    if (e->c.fault) return false;
    size_t count = e->count - base;
    e->count = base;
    if (!ordered && !reorder(e, at, e->members + base, &count)) return false;
    for (size_t i = base; flawed && i < base + count; i++)
        if (!e->flaw.why) e->flaw = e->members[i].flaw;
    return special ? make_special(e, at, count) : close_container(e, at, MAP, count);
}

static bool encode_value(struct encoder *e) {
    int kind = js_peek(&e->c);
    if (kind < 0) return false;
    switch ((enum js_kind)kind) {
    case JS_NULL: return encode_word(e, 0xf6);
    case JS_FALSE: return encode_word(e, 0xf4);
    case JS_TRUE: return encode_word(e, 0xf5);
    case JS_NUMBER: return encode_number(e);
    case JS_STRING: return encode_string(e);
    case JS_ARRAY: return encode_array(e);
    case JS_OBJECT: return encode_object(e);
    }
    return false;
}

static enum bl_rc failure(const struct encoder *e) {
    if (e->rc != BL_OK) return e->rc;
    switch (e->c.fault) {
    case JS_TOO_DEEP:
        return bl_fail(e->err, BL_E_INVALID, "no DAG-CBOR: nested deeper than %d levels at byte %zu", DEPTH_MAX,
                       offset(e));
    case JS_BAD_UTF8: return bl_fail(e->err, BL_E_SYNTAX, "invalid UTF-8 in the string at byte %zu", offset(e));
    case JS_OK: case JS_BAD_SYNTAX: break;
    }
    return bl_fail(e->err, BL_E_SYNTAX, "not one well-formed JSON value: see byte %zu", offset(e));
}

enum bl_rc cbor_of_json(struct bl_str json, struct bl_buf *out, struct bl_error *err) {
    struct encoder e;
    e.c = js_open(json, DEPTH_MAX);
    e.out = out;
    e.err = err;
    e.rc = BL_OK;
    e.flaw.why = NULL;
    e.members = e.fixed;
    e.count = 0;
    e.cap = MEMBERS_FIXED;
    e.spill = (struct bl_buf){0};
    size_t before = out->n;
    enum bl_rc rc = encode_value(&e) && js_done(&e.c) ? BL_OK : failure(&e);
    if (rc == BL_OK && e.flaw.why)
        rc = bl_fail(err, BL_E_INVALID, "no DAG-CBOR: %s, before byte %zu", e.flaw.why, e.flaw.at);
    bl_buf_release(&e.spill);
    if (rc != BL_OK) out->n = before;
    return rc;
}

void cid_digest(struct bl_str bytes, unsigned char digest[static CID_DIGEST_LEN]) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, bytes.p, bytes.n);
    SHA256_Final(digest, &context);
}

void cid_text(const unsigned char digest[static CID_DIGEST_LEN], unsigned codec, char out[static CID_TEXT_LEN]) {
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char binary[48] = {1, (unsigned char)codec, 0x12, CID_DIGEST_LEN}; /* 36 bytes and zeros to read beyond */
    char text[64];
    memcpy(binary + 4, digest, CID_DIGEST_LEN);
    for (size_t group = 0; group < 8; group++) {
        uint64_t word;
        memcpy(&word, binary + 5 * group, 8);
        word = __builtin_bswap64(word);
        for (size_t i = 0; i < 8; i++) text[8 * group + i] = alphabet[word >> (59 - 5 * i) & 31];
    }
    out[0] = 'b';
    memcpy(out + 1, text, CID_TEXT_LEN - 1);
}

enum bl_rc cid_of_record(struct bl_str json, struct bl_buf *scratch, char out[static CID_TEXT_LEN],
                         struct bl_error *err) {
    unsigned char digest[CID_DIGEST_LEN];
    bl_buf_clear(scratch);
    BL_TRY(cbor_of_json(json, scratch, err));
    cid_digest(bl_buf_view(scratch), digest);
    cid_text(digest, 0x71, out);
    return BL_OK;
}
