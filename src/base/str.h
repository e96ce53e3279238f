/* str: a borrowed run of bytes. Post text may hold NUL (JSON allows \u0000), so nothing inside bluelake relies on a
 * terminator; NUL-terminated strings exist only at system calls and third-party libraries.
 *
 * Ownership: none. A bl_str is valid as long as what it points into. Passed by value. {NULL,0} is the empty string. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bl_str {
    const char *p;
    size_t n; /* bytes */
};

#define BL_LIT(literal) ((struct bl_str){"" literal, sizeof(literal) - 1})
/* printf: "%.*s" with BL_ARG(s); cuts at INT_MAX and, as printf does, at a NUL. For messages only. */
#define BL_ARG(s) (int)((s).n > 0x7fffffff ? 0x7fffffff : (s).n), ((s).p ? (s).p : "")

static inline struct bl_str bl_str(const char *z) { return (struct bl_str){z, z ? strlen(z) : 0}; }
static inline struct bl_str bl_strn(const void *p, size_t n) { return (struct bl_str){(const char *)p, n}; }
static inline bool bl_str_eq(struct bl_str a, struct bl_str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline int bl_str_cmp(struct bl_str a, struct bl_str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}
static inline bool bl_str_starts(struct bl_str s, struct bl_str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool bl_str_ends(struct bl_str s, struct bl_str suffix) {
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}
static inline struct bl_str bl_str_skip(struct bl_str s, size_t n) {
    n = n > s.n ? s.n : n;
    return (struct bl_str){s.p + n, s.n - n};
}

/* Cut `*rest` at the first `separator`: returns the part before it, leaves the part after it in `*rest`. Without a
 * separator the whole is returned and `*rest` becomes empty. */
struct bl_str bl_str_cut(struct bl_str *rest, char separator);
/* Would a spreadsheet take the cell for a formula? = + - @, also in full width, and what it skips before them. */
bool bl_str_is_formula(struct bl_str s);
struct bl_str bl_str_trim(struct bl_str s); /* ASCII blanks at both ends */

/* Strict decimal: digits only (and one leading '-' for i64), no blanks, no overflow, value within [min,max]. */
bool bl_parse_i64(struct bl_str s, int64_t min, int64_t max, int64_t *out);
bool bl_parse_u64(struct bl_str s, uint64_t max, uint64_t *out);
/* "90", "90s", "5m", "8h", "2d", "250ms": microseconds. A bare number means seconds. */
bool bl_parse_duration_us(struct bl_str s, int64_t *out);
/* "4096", "64k", "512m", "2g" (powers of 1024, optional trailing b): bytes. */
bool bl_parse_bytes(struct bl_str s, int64_t *out);

/* True when `s` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool bl_utf8_valid(struct bl_str s);
