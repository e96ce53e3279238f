#include "base/mem.h"

#include <stdlib.h>

void *bl_xneed(void *p) {
    if (p) return p;
    fputs("bluelake: out of memory\n", stderr);
    abort();
}

void *bl_xmalloc(size_t n) { return bl_xneed(malloc(n ? n : 1)); }
void *bl_xcalloc(size_t count, size_t size) { return bl_xneed(calloc(count ? count : 1, size ? size : 1)); }
void *bl_xrealloc(void *p, size_t n) { return bl_xneed(realloc(p, n ? n : 1)); }
char *bl_xstrdup(const char *z) { return bl_xneed(strdup(z)); }

char *bl_xstrndup(struct bl_str s) {
    char *copy = bl_xmalloc(s.n + 1);
    if (s.n) memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return copy;
}

char *bl_xasprintf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *out = NULL;
    int n = vasprintf(&out, format, arguments);
    va_end(arguments);
    return bl_xneed(n < 0 ? NULL : out);
}

void bl_freep(void *pointer_to_pointer) {
    void **p = pointer_to_pointer;
    free(*p);
    *p = NULL;
}

void bl_buf_release(struct bl_buf *b) {
    free(b->p);
    *b = (struct bl_buf){.max = b->max};
}

bool bl_buf_reserve(struct bl_buf *b, size_t extra) {
    if (b->failed) return false;
    if (b->cap - b->n >= extra) return true;
    size_t max = b->max ? b->max : BL_BUF_DEFAULT_MAX;
    if (extra > max || b->n > max - extra) {
        b->failed = true;
        return false;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->n < extra) cap += cap / 2 + 64;
    if (cap > max) cap = max;
    b->p = bl_xrealloc(b->p, cap);
    b->cap = cap;
    return true;
}

void bl_buf_add_slow(struct bl_buf *b, const void *p, size_t n) {
    if (!bl_buf_reserve(b, n)) return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void bl_buf_u64(struct bl_buf *b, uint64_t v) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    bl_buf_add(b, digits + at, sizeof digits - at);
}

void bl_buf_i64(struct bl_buf *b, int64_t v) {
    if (v < 0) bl_buf_byte(b, '-');
    bl_buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void bl_buf_printf(struct bl_buf *b, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0) {
        b->failed = true;
    } else if (bl_buf_reserve(b, (size_t)n + 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void bl_buf_json(struct bl_buf *b, struct bl_str s) {
    static const char hex[] = "0123456789abcdef";
    bl_buf_byte(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        bl_buf_add(b, s.p + from, i - from);
        from = i + 1;
        char escape[6] = {'\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15]};
        size_t n = 2;
        if (c == '\n') {
            escape[1] = 'n';
        } else if (c == '\t') {
            escape[1] = 't';
        } else if (c == '\r') {
            escape[1] = 'r';
        } else if (c < 0x20) {
            escape[1] = 'u';
            n = 6;
        }
        bl_buf_add(b, escape, n);
    }
    bl_buf_add(b, s.p + from, s.n - from);
    bl_buf_byte(b, '"');
}

enum bl_rc bl_buf_check(const struct bl_buf *b, const char *what, struct bl_error *err) {
    if (!b->failed) return BL_OK;
    return bl_fail(err, BL_E_FULL, "%s does not fit in %zu bytes", what, b->max ? b->max : (size_t)BL_BUF_DEFAULT_MAX);
}

const char *bl_buf_cstr(struct bl_buf *b) {
    if (!bl_buf_reserve(b, 1)) return "";
    b->p[b->n] = 0;
    return b->p;
}

struct bl_arena_chunk {
    struct bl_arena_chunk *next;
    size_t size;
    _Alignas(16) char bytes[];
};

enum { CHUNK_MIN = 64 << 10 };

void bl_arena_release(struct bl_arena *a) {
    while (a->head) {
        struct bl_arena_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    *a = (struct bl_arena){.max = a->max};
}

void bl_arena_reset(struct bl_arena *a) {
#if defined(__SANITIZE_ADDRESS__)
    bl_arena_release(a);
#else
    struct bl_arena_chunk *keep = a->head;
    for (struct bl_arena_chunk *c = a->head; c; c = c->next)
        if (c->size > keep->size) keep = c;
    while (a->head) {
        struct bl_arena_chunk *next = a->head->next;
        if (a->head != keep) free(a->head);
        a->head = next;
    }
    a->used = 0;
    a->head = keep;
    a->p = keep ? keep->bytes : NULL;
    a->end = keep ? keep->bytes + keep->size : NULL;
    if (keep) keep->next = NULL;
#endif
}

void *bl_arena_slow(struct bl_arena *a, size_t n) {
    if (a->max && (n > a->max || a->used > a->max - n)) return NULL;
    size_t size = n;
#if !defined(__SANITIZE_ADDRESS__)
    size_t wanted = a->head ? a->head->size * 2 : CHUNK_MIN;
    if (wanted > (size_t)4 << 20) wanted = (size_t)4 << 20;
    if (size < wanted) size = wanted;
#endif
    struct bl_arena_chunk *chunk = bl_xmalloc(sizeof *chunk + size);
    chunk->next = a->head;
    chunk->size = size;
    a->head = chunk;
    a->p = chunk->bytes + n;
    a->end = chunk->bytes + size;
    a->used += n;
    return chunk->bytes;
}

struct bl_str bl_arena_dup(struct bl_arena *a, struct bl_str s) {
    if (s.n == 0) return (struct bl_str){"", 0};
    char *copy = bl_arena_alloc(a, s.n);
    if (!copy) return (struct bl_str){0};
    memcpy(copy, s.p, s.n);
    return (struct bl_str){copy, s.n};
}
