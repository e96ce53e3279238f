/* json: a validating scanner over one JSON text (RFC 8259) and the comparison of two values.
 *
 * Pure; allocates only from the arena it is given. May include: base.
 * Depth is counted, not recursed into the C stack without bound. Numbers are never converted unless asked: their text
 * is kept. */
#pragma once
#include <emmintrin.h>

#include "base/mem.h"

enum js_kind { JS_NULL, JS_FALSE, JS_TRUE, JS_NUMBER, JS_STRING, JS_ARRAY, JS_OBJECT };

enum js_fault { JS_OK, JS_BAD_SYNTAX, JS_BAD_UTF8, JS_TOO_DEEP };

struct js_cursor {
    const char *p, *start, *end; /* p = next byte to read */
    unsigned depth, depth_max;
    enum js_fault fault; /* sticky */
};

struct js_string {
    struct bl_str raw; /* between the quotes, escapes as they stand */
    bool escaped;      /* raw holds a backslash */
};

enum { JS_DEPTH_LIMIT = 1024 }; /* js_open clamps depth_max to it */

struct js_cursor js_open(struct bl_str text, unsigned depth_max);
int js_peek_slow(struct js_cursor *c);
/* Kind of the next value, after white space; -1 at a fault or at the end. Consumes no value. */
static inline int js_peek(struct js_cursor *c) {
    if (!c->fault && c->p < c->end) {
        if (*c->p == '"') return JS_STRING;
        if (*c->p == '{') return JS_OBJECT;
        if (*c->p == '[') return JS_ARRAY;
    }
    return js_peek_slow(c);
}
/* Skip one value, checking it completely; `*raw` (if not NULL) is its text; `*has_space` (if not NULL) is set when
 * white space stands outside its strings. False on a fault. */
bool js_skip(struct js_cursor *c, struct bl_str *raw, bool *has_space);
bool js_string_slow(struct js_cursor *c, struct js_string *out);
/* Most strings are ASCII without escapes and stand right at the cursor: those are found here, all others there. */
static inline bool js_string(struct js_cursor *c, struct js_string *out) {
    if (c->fault || c->p == c->end || *c->p != '"') return js_string_slow(c, out);
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (const char *p = c->p + 1; p < c->end && c->end - c->start >= 16; p += 16) {
        /* Near the end, the last 16 bytes are read and those before `p` shifted out. */
        long before = c->end - p < 16 ? 16 - (c->end - p) : 0;
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p - before));
        /* As signed numbers, control characters and all beyond ASCII are less than a space. */
        __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(v, backslash), _mm_cmplt_epi8(v, space));
        unsigned odds = (unsigned)_mm_movemask_epi8(odd) >> before;
        unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, quote)) >> before;
        if (odds & ((quotes & (0u - quotes)) - 1)) break;
        if (!quotes) continue;
        p += __builtin_ctz(quotes);
        *out = (struct js_string){{c->p + 1, (size_t)(p - c->p - 1)}, false};
        c->p = p + 1;
        return true;
    }
    return js_string_slow(c, out);
}
/* The text of a string: `raw` itself when it has no escape, else unescaped into the arena. False for a lone surrogate
 * or when the arena is full. */
bool js_unescape(struct js_string s, struct bl_arena *arena, struct bl_str *out);
/* The same into `to`, which has room for s.raw.n bytes (no escape is shorter than its UTF-8); `*n` are used. */
bool js_unescape_into(struct js_string s, char *to, size_t *n);
/* Order of two strings by their code points (lone surrogates count as their own), whatever their spelling. */
int js_string_cmp(struct js_string a, struct js_string b);
static inline bool js_string_is(struct js_string s, struct bl_str text) {
    if (!s.escaped) return bl_str_eq(s.raw, text);
    return js_string_cmp(s, (struct js_string){text, false}) == 0;
}
/* Walk an object: bool first = true; if (js_object(c)) while (js_member(c, &key, &first)) { read or skip exactly one
 * value }. The end of the container and a fault both end the walk: look at c->fault. */
bool js_object(struct js_cursor *c);
bool js_member(struct js_cursor *c, struct js_string *key, bool *first);
/* Of a member in an object: is it `name`, written as expected? `quoted` holds "name": with its quotes and the colon,
 * `n` bytes of it, at most 16. Then it is consumed as js_member would; a "no" consumes nothing and proves nothing. */
static inline bool js_member_is(struct js_cursor *c, const char quoted[static 16], size_t n, bool *first) {
    const char *p = c->p + !*first;
    if (c->end - p < 16 || (!*first && *c->p != ',') || c->fault) return false;
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)quoted);
    if (~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) & ((1u << n) - 1)) return false;
    c->p = p + n;
    *first = false;
    return true;
}
/* Consumes the end of the object right at the cursor, as js_member would; a "no" consumes nothing and proves nothing.
 */
static inline bool js_object_ends(struct js_cursor *c) {
    if (c->fault || c->p == c->end || *c->p != '}') return false;
    c->p++;
    c->depth--;
    return true;
}
bool js_array(struct js_cursor *c);
bool js_element(struct js_cursor *c, bool *first);
/* Only white space is left. */
bool js_done(struct js_cursor *c);
/* Is `raw` an integer without fraction or exponent that fits? "-0" is none: an int64 cannot give that text back. */
bool js_i64(struct bl_str raw, int64_t *out);

/* Append `value` without white space outside strings. `value` must be valid. */
void js_minify(struct bl_str value, struct bl_buf *out);

/* Append `value` minified, each object in key order and without the members a later duplicate overrides. */
void js_normalise(struct bl_str value, struct bl_buf *out);

/* Value equality: objects as sets of members (of duplicate keys the last counts), arrays in order, strings by their
 * code points, numbers by their text. Both texts must be valid JSON. On difference, when `where` is not NULL, it
 * receives the path of the first one found, such as $.commit.record.langs[0]. */
bool js_equal(struct bl_str a, struct bl_str b, struct bl_buf *where);
