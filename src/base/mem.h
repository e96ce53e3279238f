/* mem: the two ways bluelake holds bytes it owns, besides plain structs.
 *
 * bl_buf   a growable byte buffer born with a cap. Appending past the cap sets a sticky `failed` flag instead of
 * returning an error from every call: append freely, check bl_buf_check() once. bl_arena many small allocations with
 * one lifetime: allocate, then reset or release all at once. Capped as well. Lifetimes in use: batch (one batch of
 * events), request (one question), boot (settings). No pointer into an arena may be kept by anything that outlives it.
 *
 * A cap that is reached is an ordinary error, since it may be the input's fault. When the machine's memory is exhausted
 * the process says so and aborts: it is crash-only because everything unacknowledged is still in Redis, and an event
 * must never be taken for a bad one for want of memory.
 *
 * Under AddressSanitizer an arena gives every allocation its own malloc, so that overruns are seen.
 * Threading: one owner at a time. */
#pragma once
#include "base/err.h"
#include "base/str.h"

void *bl_xneed(void *p); /* `p`, but for NULL: then "out of memory" and abort. For what other libraries allocate */
void *bl_xmalloc(size_t n);
void *bl_xcalloc(size_t count, size_t size); /* zeroed */
void *bl_xrealloc(void *p, size_t n);
char *bl_xstrdup(const char *z);
char *bl_xstrndup(struct bl_str s); /* copy with a NUL added; an interior NUL stays where it is */
char *bl_xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bl_freep(void *pointer_to_pointer); /* for BL_CLEANUP on a pointer: frees and NULLs */

struct bl_buf {
    char *p;
    size_t n, cap; /* bytes used, bytes allocated */
    size_t max;    /* never grows beyond this; 0 means BL_BUF_DEFAULT_MAX */
    bool failed;   /* sticky: an append did not fit; contents are then a prefix of what was wanted */
};
enum { BL_BUF_DEFAULT_MAX = 1 << 30 };

void bl_buf_release(struct bl_buf *b);             /* frees, back to {0} but for max */
static inline void bl_buf_clear(struct bl_buf *b) { b->n = 0; b->failed = false; } /* keeps memory */
bool bl_buf_reserve(struct bl_buf *b, size_t extra); /* room for `extra` more bytes; false (and failed) if not */
void bl_buf_add_slow(struct bl_buf *b, const void *p, size_t n);
static inline void bl_buf_add(struct bl_buf *b, const void *p, size_t n) {
    if (n == 0) return;
    if (b->cap - b->n < n || b->failed) {
        bl_buf_add_slow(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}
static inline void bl_buf_str(struct bl_buf *b, struct bl_str s) { bl_buf_add(b, s.p, s.n); }
static inline void bl_buf_z(struct bl_buf *b, const char *z) { bl_buf_add(b, z, strlen(z)); }
static inline void bl_buf_byte(struct bl_buf *b, char c) { bl_buf_add(b, &c, 1); }
void bl_buf_i64(struct bl_buf *b, int64_t v); /* decimal */
void bl_buf_u64(struct bl_buf *b, uint64_t v);
void bl_buf_printf(struct bl_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string literal with its quotes: ", \ and control characters escaped, everything else as it is. `s` must be
 * valid UTF-8. */
void bl_buf_json(struct bl_buf *b, struct bl_str s);
static inline struct bl_str bl_buf_view(const struct bl_buf *b) { return (struct bl_str){b->p, b->n}; }
enum bl_rc bl_buf_check(const struct bl_buf *b, const char *what, struct bl_error *err); /* BL_E_FULL when failed */
const char *bl_buf_cstr(struct bl_buf *b); /* NUL-terminates in place (not counted in n); "" on failure */

struct bl_arena_chunk;
struct bl_arena {
    struct bl_arena_chunk *head; /* newest first */
    char *p, *end;               /* free part of the newest chunk */
    size_t used, max;            /* bytes; max 0 means no cap */
};
void bl_arena_release(struct bl_arena *a);
void bl_arena_reset(struct bl_arena *a); /* invalidates everything handed out; keeps the largest chunk */
void *bl_arena_slow(struct bl_arena *a, size_t n);
/* `n` bytes aligned to 8, uninitialised; NULL when the cap is reached. */
static inline void *bl_arena_alloc(struct bl_arena *a, size_t n) {
#if !defined(__SANITIZE_ADDRESS__)
    n = (n + 7) & ~(size_t)7;
    if ((size_t)(a->end - a->p) >= n && a->p) {
        void *r = a->p;
        a->p += n;
        a->used += n;
        return r;
    }
#endif
    return bl_arena_slow(a, n);
}
/* Copies; {NULL,0} with s.n > 0 means the cap was reached. */
struct bl_str bl_arena_dup(struct bl_arena *a, struct bl_str s);
