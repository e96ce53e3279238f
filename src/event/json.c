#include "event/json.h"

#include <stdlib.h>

struct js_cursor js_open(struct bl_str text, unsigned depth_max) {
    const char *p = text.p ? text.p : "";
    return (struct js_cursor){
        .p = p, .start = p, .end = p + text.n, .depth_max = depth_max < JS_DEPTH_LIMIT ? depth_max : JS_DEPTH_LIMIT};
}

static bool fail(struct js_cursor *c, enum js_fault fault) {
    if (c->fault == JS_OK) c->fault = fault;
    return false;
}

static inline bool is_space(char ch) {
    return ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t';
}

/* Returns whether there was any. */
static inline bool skip_space(struct js_cursor *c) {
    if (c->p == c->end || (unsigned char)*c->p > ' ') return false;
    const char *from = c->p;
    while (c->p < c->end && is_space(*c->p)) c->p++;
    return c->p != from;
}

static inline int hex_digit(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    char lower = (char)(ch | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* c->p stands on a backslash. */
static bool scan_escape(struct js_cursor *c) {
    if (c->end - c->p < 2) return fail(c, JS_BAD_SYNTAX);
    switch (c->p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        c->p += 2;
        return true;
    case 'u':
        if (c->end - c->p < 6) return fail(c, JS_BAD_SYNTAX);
        for (int i = 2; i < 6; i++)
            if (hex_digit(c->p[i]) < 0) return fail(c, JS_BAD_SYNTAX);
        c->p += 6;
        return true;
    default:
        return fail(c, JS_BAD_SYNTAX);
    }
}

/* Move to the next quote, backslash or control character, or to the end; collects the high bits it passes. */
static inline void scan_plain(struct js_cursor *c, unsigned *high) {
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    while (c->end - c->p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)c->p);
        __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)),
                                    _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        unsigned stops = (unsigned)_mm_movemask_epi8(stop), highs = (unsigned)_mm_movemask_epi8(v);
        if (stops) {
            *high |= highs & ((stops & (0u - stops)) - 1);
            c->p += __builtin_ctz(stops);
            return;
        }
        *high |= highs;
        c->p += 16;
    }
    for (; c->p < c->end; c->p++) {
        unsigned char ch = (unsigned char)*c->p;
        if (ch == '"' || ch == '\\' || ch < 0x20) return;
        *high |= ch & 0x80;
    }
}

/* c->p stands on the opening quote. */
static inline bool scan_string(struct js_cursor *c, struct js_string *out) {
    const char *from = ++c->p;
    unsigned high = 0;
    bool escaped = false;
    for (;;) {
        scan_plain(c, &high);
        if (c->p == c->end) return fail(c, JS_BAD_SYNTAX);
        if (*c->p == '"') break;
        if (*c->p != '\\') return fail(c, JS_BAD_SYNTAX);
        escaped = true;
        if (!scan_escape(c)) return false;
    }
    *out = (struct js_string){{from, (size_t)(c->p - from)}, escaped};
    if (high && !bl_utf8_valid(out->raw)) {
        c->p = from;
        return fail(c, JS_BAD_UTF8);
    }
    c->p++;
    return true;
}

static inline const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

static bool scan_number(struct js_cursor *c) {
    const char *p = c->p, *end = c->end, *from;
    if (p < end && *p == '-') p++;
    from = p;
    p = skip_digits(p, end);
    bool good = p > from && (*from != '0' || p == from + 1);
    if (good && p < end && *p == '.') {
        from = ++p;
        p = skip_digits(p, end);
        good = p > from;
    }
    if (good && p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        from = p;
        p = skip_digits(p, end);
        good = p > from;
    }
    c->p = p;
    return good || fail(c, JS_BAD_SYNTAX);
}

static bool scan_word(struct js_cursor *c, const char *word, size_t n) {
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) return fail(c, JS_BAD_SYNTAX);
    c->p += n;
    return true;
}

static bool scan_scalar(struct js_cursor *c) {
    struct js_string ignored;
    switch (*c->p) {
    case '"':
        return js_string(c, &ignored);
    case 't':
        return scan_word(c, "true", 4);
    case 'f':
        return scan_word(c, "false", 5);
    case 'n':
        return scan_word(c, "null", 4);
    default:
        return scan_number(c);
    }
}

int js_peek_slow(struct js_cursor *c) {
    if (c->fault) return -1;
    skip_space(c);
    if (c->p == c->end) return -1;
    switch (*c->p) {
    case '"':
        return JS_STRING;
    case '{':
        return JS_OBJECT;
    case '[':
        return JS_ARRAY;
    case 't':
        return JS_TRUE;
    case 'f':
        return JS_FALSE;
    case 'n':
        return JS_NULL;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return JS_NUMBER;
    default:
        fail(c, JS_BAD_SYNTAX);
        return -1;
    }
}

static inline bool enter(struct js_cursor *c) {
    if (c->depth >= c->depth_max) return fail(c, JS_TOO_DEEP);
    c->depth++;
    c->p++;
    return true;
}

/* Consume `ch` after white space. */
static inline bool take(struct js_cursor *c, char ch) {
    skip_space(c);
    if (c->p == c->end || *c->p != ch) return false;
    c->p++;
    return true;
}

/* One bit a level: is it an object? Kept apart from the C stack, so that nesting costs a bit instead of a frame. */
struct nesting {
    uint64_t object[JS_DEPTH_LIMIT / 64];
};
static inline void nesting_set(struct nesting *n, unsigned depth, bool object) {
    uint64_t bit = (uint64_t)1 << depth % 64;
    n->object[depth / 64] = object ? n->object[depth / 64] | bit : n->object[depth / 64] & ~bit;
}
static inline bool nesting_is_object(const struct nesting *n, unsigned depth) {
    return n->object[depth / 64] >> depth % 64 & 1;
}

static inline bool scan_key(struct js_cursor *c, bool *space) {
    struct js_string ignored;
    *space |= skip_space(c);
    if (c->p == c->end || *c->p != '"') return fail(c, JS_BAD_SYNTAX);
    if (!js_string(c, &ignored)) return false;
    *space |= skip_space(c);
    if (c->p == c->end || *c->p != ':') return fail(c, JS_BAD_SYNTAX);
    c->p++;
    return true;
}

/* c->p stands on '{' or '['. */
static bool skip_container(struct js_cursor *c, bool *space) {
    struct nesting nesting;
    unsigned base = c->depth;
    bool want_value = true; /* else: a comma or an end */
    for (;;) {
        *space |= skip_space(c);
        if (c->p == c->end) return fail(c, JS_BAD_SYNTAX);
        char ch = *c->p;
        if (want_value && (ch == '{' || ch == '[')) {
            if (!enter(c)) return false;
            nesting_set(&nesting, c->depth - 1, ch == '{');
            *space |= skip_space(c);
            if (c->p < c->end && *c->p == ch + 2) { /* '{' and '}', '[' and ']' are two apart in ASCII */
                want_value = false;
                continue;
            }
            if (ch == '{' && !scan_key(c, space)) return false;
        } else if (want_value) {
            if (!scan_scalar(c)) return false;
            want_value = false;
        } else if (ch == ',') {
            c->p++;
            if (nesting_is_object(&nesting, c->depth - 1) && !scan_key(c, space)) return false;
            want_value = true;
        } else if (ch == (nesting_is_object(&nesting, c->depth - 1) ? '}' : ']')) {
            c->p++;
            if (--c->depth == base) return true;
        } else {
            return fail(c, JS_BAD_SYNTAX);
        }
    }
}

bool js_skip(struct js_cursor *c, struct bl_str *raw, bool *has_space) {
    if (c->fault) return false;
    skip_space(c);
    if (c->p == c->end) return fail(c, JS_BAD_SYNTAX);
    const char *from = c->p;
    bool space = false;
    if (!(*from == '{' || *from == '[' ? skip_container(c, &space) : scan_scalar(c))) return false;
    if (raw) *raw = (struct bl_str){from, (size_t)(c->p - from)};
    if (has_space && space) *has_space = true;
    return true;
}

bool js_string_slow(struct js_cursor *c, struct js_string *out) {
    if (c->fault) return false;
    skip_space(c);
    if (c->p == c->end || *c->p != '"') return fail(c, JS_BAD_SYNTAX);
    return scan_string(c, out);
}

bool js_object(struct js_cursor *c) {
    if (c->fault) return false;
    skip_space(c);
    if (c->p == c->end || *c->p != '{') return fail(c, JS_BAD_SYNTAX);
    return enter(c);
}

bool js_array(struct js_cursor *c) {
    if (c->fault) return false;
    skip_space(c);
    if (c->p == c->end || *c->p != '[') return fail(c, JS_BAD_SYNTAX);
    return enter(c);
}

/* Before an element: true when there is one, false at the container's end (consumed) or at a fault. */
static inline bool next_element(struct js_cursor *c, char close, bool *first) {
    if (c->fault) return false;
    skip_space(c);
    if (c->p == c->end) return fail(c, JS_BAD_SYNTAX);
    if (*c->p == close) {
        c->p++;
        c->depth--;
        return false;
    }
    if (!*first) {
        if (*c->p != ',') return fail(c, JS_BAD_SYNTAX);
        c->p++;
    }
    *first = false;
    return true;
}

bool js_member(struct js_cursor *c, struct js_string *key, bool *first) {
    if (!next_element(c, '}', first)) return false;
    skip_space(c);
    if (c->p == c->end || *c->p != '"') return fail(c, JS_BAD_SYNTAX);
    if (!js_string(c, key)) return false;
    return take(c, ':') || fail(c, JS_BAD_SYNTAX);
}

bool js_element(struct js_cursor *c, bool *first) {
    return next_element(c, ']', first);
}

bool js_done(struct js_cursor *c) {
    if (c->fault) return false;
    skip_space(c);
    return c->p == c->end || fail(c, JS_BAD_SYNTAX);
}

bool js_i64(struct bl_str raw, int64_t *out) {
    enum { NEVER_TOO_LARGE = 18 };
    if (raw.n >= 1 && raw.n <= NEVER_TOO_LARGE) {
        int64_t value = 0;
        size_t i = 0;
        for (unsigned digit; i < raw.n && (digit = (unsigned char)raw.p[i] - (unsigned)'0') <= 9; i++)
            value = value * 10 + digit;
        if (i == raw.n) {
            *out = value;
            return true;
        }
    }
    if (bl_str_eq(raw, BL_LIT("-0"))) return false;
    return bl_parse_i64(raw, INT64_MIN, INT64_MAX, out);
}

/* `p` stands on the u of \uXXXX whose digits were checked. */
static unsigned hex4(const char *p) {
    unsigned value = 0;
    for (int i = 1; i <= 4; i++) value = value << 4 | (unsigned)hex_digit(p[i]);
    return value;
}

/* The code point of the escape at `*p` (which stands on the backslash); a lone surrogate is returned as such. */
static unsigned take_escape(const char **p, const char *end) {
    const char *s = *p;
    *p = s + 2;
    switch (s[1]) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return (unsigned char)s[1];
    }
    unsigned code = hex4(s + 1);
    *p = s + 6;
    if (code < 0xd800 || code > 0xdbff || end - *p < 6 || s[6] != '\\' || s[7] != 'u') return code;
    unsigned low = hex4(s + 7);
    if (low < 0xdc00 || low > 0xdfff) return code;
    *p = s + 12;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static char *put_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

bool js_unescape_into(struct js_string s, char *to, size_t *n) {
    const char *start = to, *p = s.raw.p, *end = p + s.raw.n;
    while (p < end) {
        const char *stop = s.escaped ? memchr(p, '\\', (size_t)(end - p)) : NULL;
        size_t plain = (size_t)((stop ? stop : end) - p);
        memcpy(to, p, plain);
        to += plain;
        p += plain;
        if (!stop) break;
        unsigned code = take_escape(&p, end);
        if (code >= 0xd800 && code <= 0xdfff) return false;
        to = put_utf8(to, code);
    }
    *n = (size_t)(to - start);
    return true;
}

bool js_unescape(struct js_string s, struct bl_arena *arena, struct bl_str *out) {
    if (!s.escaped) {
        *out = s.raw;
        return true;
    }
    char *text = bl_arena_alloc(arena, s.raw.n);
    size_t n;
    if (!text || !js_unescape_into(s, text, &n)) return false;
    *out = (struct bl_str){text, n};
    return true;
}

/* The next code point of a checked string. */
static unsigned take_code(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    if (*s == '\\') return take_escape(p, end);
    int length = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
    *p += length;
    switch (length) {
    case 1:
        return *s;
    case 2:
        return (*s & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3:
        return (*s & 0xfu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    default:
        return (*s & 7u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    }
}

/* The next code point of `s` from `*p`, where only an escaped string has escapes. */
static unsigned take_code_of(struct js_string s, const char **p) {
    const char *end = s.raw.p + s.raw.n;
    if (!s.escaped && **p == '\\') {
        ++*p;
        return '\\';
    }
    return take_code(p, end);
}

int js_string_cmp(struct js_string a, struct js_string b) {
    if (!a.escaped && !b.escaped) return bl_str_cmp(a.raw, b.raw); /* UTF-8 sorts as code points do */
    const char *pa = a.raw.p, *pb = b.raw.p, *end_a = pa + a.raw.n, *end_b = pb + b.raw.n;
    while (pa < end_a && pb < end_b) {
        unsigned ca = take_code_of(a, &pa), cb = take_code_of(b, &pb);
        if (ca != cb) return ca < cb ? -1 : 1;
    }
    return (pa < end_a) - (pb < end_b);
}

void js_minify(struct bl_str value, struct bl_buf *out) {
    struct js_cursor c = js_open(value, JS_DEPTH_LIMIT);
    const char *from = c.p;
    struct js_string ignored;
    while (c.p < c.end) {
        if (*c.p == '"') {
            if (!scan_string(&c, &ignored)) return;
        } else if (is_space(*c.p)) {
            bl_buf_add(out, from, (size_t)(c.p - from));
            skip_space(&c);
            from = c.p;
        } else {
            c.p++;
        }
    }
    bl_buf_add(out, from, (size_t)(c.p - from));
}

struct member {
    struct js_string key;
    struct bl_str value;
    size_t order;
};

/* `members` is a stack: each open object owns the run above its parent's. */
struct comparison {
    struct member *members;
    size_t count, cap;
    struct bl_buf *where;
};

static bool equal_values(struct comparison *k, struct bl_str a, struct bl_str b, unsigned depth);

static void push_member(struct comparison *k, struct member m) {
    if (k->count == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 64;
        k->members = bl_xrealloc(k->members, k->cap * sizeof *k->members);
    }
    k->members[k->count++] = m;
}

static int by_key(const void *x, const void *y) {
    const struct member *a = x, *b = y;
    int order = js_string_cmp(a->key, b->key);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* Push the object's members in key order, the last of duplicates only; returns how many. */
static size_t push_members(struct comparison *k, struct bl_str object) {
    struct js_cursor c = js_open(object, JS_DEPTH_LIMIT);
    struct member m = {0};
    size_t base = k->count;
    bool first = true;
    if (js_object(&c))
        for (; js_member(&c, &m.key, &first) && js_skip(&c, &m.value, NULL); m.order++) push_member(k, m);
    size_t n = k->count - base, kept = 0;
    if (n == 0) return 0;
    struct member *run = k->members + base;
    qsort(run, n, sizeof *run, by_key);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || js_string_cmp(run[i].key, run[i + 1].key) != 0) run[kept++] = run[i];
    k->count = base + kept;
    return kept;
}

static void normalise(struct comparison *k, struct bl_str value, struct bl_buf *out);

static void normalise_object(struct comparison *k, struct bl_str value, struct bl_buf *out) {
    size_t base = k->count, n = push_members(k, value);
    bl_buf_byte(out, '{');
    for (size_t i = 0; i < n; i++) {
        struct member m = k->members[base + i]; /* a copy: deeper levels may move the stack */
        bl_buf_z(out, i ? ",\"" : "\"");
        bl_buf_str(out, m.key.raw);
        bl_buf_z(out, "\":");
        normalise(k, m.value, out);
    }
    bl_buf_byte(out, '}');
    k->count = base;
}

static void normalise_array(struct comparison *k, struct bl_str value, struct bl_buf *out) {
    struct js_cursor c = js_open(value, JS_DEPTH_LIMIT);
    struct bl_str element;
    bl_buf_byte(out, '[');
    if (js_array(&c)) {
        bool first = true;
        for (bool comma = false; js_element(&c, &first) && js_skip(&c, &element, NULL); comma = true) {
            if (comma) bl_buf_byte(out, ',');
            normalise(k, element, out);
        }
    }
    bl_buf_byte(out, ']');
}

static void normalise(struct comparison *k, struct bl_str value, struct bl_buf *out) {
    struct js_cursor c = js_open(value, JS_DEPTH_LIMIT);
    int kind = js_peek(&c);
    if (kind == JS_OBJECT) {
        normalise_object(k, value, out);
    } else if (kind == JS_ARRAY) {
        normalise_array(k, value, out);
    } else {
        bl_buf_str(out, bl_str_trim(value));
    }
}

void js_normalise(struct bl_str value, struct bl_buf *out) {
    struct comparison k = {0};
    normalise(&k, value, out);
    free(k.members);
}

static size_t path_mark(struct comparison *k) {
    return k->where ? k->where->n : 0;
}

static void path_key(struct comparison *k, struct js_string key) {
    if (!k->where) return;
    bl_buf_byte(k->where, '.');
    bl_buf_str(k->where, key.raw);
}

static bool equal_objects(struct comparison *k, struct bl_str a, struct bl_str b, unsigned depth) {
    size_t base = k->count, mark = path_mark(k);
    size_t na = push_members(k, a), nb = push_members(k, b);
    bool same = true;
    for (size_t i = 0; same && (i < na || i < nb); i++) {
        int order = i == na ? 1 : i == nb ? -1 : 0;
        if (order == 0) order = js_string_cmp(k->members[base + i].key, k->members[base + na + i].key);
        struct member left =
            k->members[base + (order <= 0 ? i : na + i)]; /* a copy: deeper levels may move the stack */
        path_key(k, left.key);
        same = order == 0 && equal_values(k, left.value, k->members[base + na + i].value, depth + 1);
        if (same && k->where) k->where->n = mark;
    }
    k->count = base;
    return same;
}

static bool equal_arrays(struct comparison *k, struct bl_str a, struct bl_str b, unsigned depth) {
    struct js_cursor ca = js_open(a, JS_DEPTH_LIMIT), cb = js_open(b, JS_DEPTH_LIMIT);
    bool first_a = true, first_b = true;
    size_t mark = path_mark(k);
    if (!js_array(&ca) || !js_array(&cb)) return false;
    for (uint64_t i = 0;; i++) {
        if (k->where) {
            bl_buf_byte(k->where, '[');
            bl_buf_u64(k->where, i);
            bl_buf_byte(k->where, ']');
        }
        bool more_a = js_element(&ca, &first_a), more_b = js_element(&cb, &first_b);
        struct bl_str va, vb;
        if (more_a != more_b) return false;
        if (more_a && (!js_skip(&ca, &va, NULL) || !js_skip(&cb, &vb, NULL))) return false;
        if (more_a && !equal_values(k, va, vb, depth + 1)) return false;
        if (k->where) k->where->n = mark;
        if (!more_a) return ca.fault == JS_OK && cb.fault == JS_OK;
    }
}

static bool equal_strings(struct bl_str a, struct bl_str b) {
    struct js_cursor ca = js_open(a, 1), cb = js_open(b, 1);
    struct js_string sa, sb;
    return js_string(&ca, &sa) && js_string(&cb, &sb) && js_string_cmp(sa, sb) == 0;
}

static bool equal_values(struct comparison *k, struct bl_str a, struct bl_str b, unsigned depth) {
    if (bl_str_eq(a, b)) return true;
    if (depth > JS_DEPTH_LIMIT) return false;
    struct js_cursor ca = js_open(a, JS_DEPTH_LIMIT), cb = js_open(b, JS_DEPTH_LIMIT);
    int kind = js_peek(&ca);
    if (kind < 0 || js_peek(&cb) != kind) return false;
    switch ((enum js_kind)kind) {
    case JS_OBJECT:
        return equal_objects(k, a, b, depth);
    case JS_ARRAY:
        return equal_arrays(k, a, b, depth);
    case JS_STRING:
        return equal_strings(a, b);
    case JS_NUMBER:
    case JS_NULL:
    case JS_TRUE:
    case JS_FALSE:
        break;
    }
    return bl_str_eq(bl_str_trim(a), bl_str_trim(b));
}

bool js_equal(struct bl_str a, struct bl_str b, struct bl_buf *where) {
    struct comparison k = {.where = where};
    size_t mark = path_mark(&k);
    if (where) bl_buf_byte(where, '$');
    bool same = equal_values(&k, a, b, 0);
    if (same && where) where->n = mark;
    free(k.members);
    return same;
}
