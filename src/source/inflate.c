#include "source/inflate.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/io.h"

enum {
    DICTIONARY_MAX = 16 << 20,
    OUT_KEEP = 256 << 10, /* an output buffer beyond this is given back after its message */
};

struct inflate {
    ZSTD_DCtx *context;
    ZSTD_DDict *dictionary;
    unsigned dictionary_id; /* 0 for a dictionary of raw content */
    char *file;
    char *p;
    size_t cap, max;
};

static void release(struct inflate **z) {
    if (!*z) return;
    ZSTD_freeDCtx((*z)->context);
    ZSTD_freeDDict((*z)->dictionary);
    free((*z)->file);
    free((*z)->p);
    free(*z);
    *z = NULL;
}

void inflate_close(struct inflate **z) {
    release(z);
}

enum bl_rc inflate_open(const char *dictionary_file, size_t max, struct inflate **out, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf bytes = {0};
    if (bl_read_file(dictionary_file, DICTIONARY_MAX, &bytes, err) != BL_OK) {
        struct bl_error why = err ? *err : (struct bl_error){0};
        return bl_fail(err, BL_E_USAGE, "cannot read the zstd dictionary: %s", why.message);
    }
    if (bytes.n < 8) return bl_fail(err, BL_E_USAGE, "%s: too short for a zstd dictionary", dictionary_file);
    BL_CLEANUP(release) struct inflate *z = bl_xcalloc(1, sizeof *z);
    z->max = max;
    z->file = bl_xstrdup(dictionary_file);
    z->context = bl_xneed(ZSTD_createDCtx());
    z->dictionary = ZSTD_createDDict(bytes.p, bytes.n);
    if (!z->dictionary)
        return bl_fail(err, BL_E_USAGE, "%s: zstd does not accept this dictionary", dictionary_file);
    z->dictionary_id = ZSTD_getDictID_fromDDict(z->dictionary);
    z->cap = OUT_KEEP;
    z->p = bl_xmalloc(z->cap);
    *out = z;
    z = NULL;
    return BL_OK;
}

/* What the frame says it becomes, where it says so. A frame that lies costs address space alone: memory is only
 * promised. */
static size_t stated_size(const struct inflate *z, struct bl_str in) {
    unsigned long long size = ZSTD_getFrameContentSize(in.p, in.n);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size < OUT_KEEP) return OUT_KEEP;
    return size > z->max ? z->max + 1 : (size_t)size;
}

static void resize(struct inflate *z, size_t cap) {
    if (z->cap == cap) return;
    free(z->p);
    z->p = bl_xmalloc(cap);
    z->cap = cap;
}

/* One-shot, since the streaming interface would keep a window of the sender's choosing. A frame that does not state its
 * size is tried with ever more room. */
static size_t unpack(struct inflate *z, struct bl_str in) {
    for (size_t cap = stated_size(z, in);; cap = cap > z->max / 2 ? z->max + 1 : 2 * cap) {
        resize(z, cap);
        size_t n = ZSTD_decompress_usingDDict(z->context, z->p, z->cap, in.p, in.n, z->dictionary);
        bool too_small = ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall;
        if (!too_small || cap > z->max) return n;
    }
}

static enum inflate_result wrong_dictionary(const struct inflate *z, unsigned frame_id, struct bl_error *err) {
    (void)!bl_fail(
        err, BL_E_USAGE,
        "messages are compressed with zstd dictionary %u, but %s is dictionary %u: name the host's dictionary in "
        "source.dictionary, or leave it empty to do without compression",
        frame_id, z->file, z->dictionary_id);
    return INFLATE_WRONG_DICTIONARY;
}

enum inflate_result inflate_message(struct inflate *z, struct bl_str in, struct bl_str *out, struct bl_error *err) {
    unsigned frame_id = ZSTD_getDictID_fromFrame(in.p, in.n);
    if (frame_id && frame_id != z->dictionary_id) return wrong_dictionary(z, frame_id, err);
    size_t n = unpack(z, in);
    if (!ZSTD_isError(n)) {
        if (n > z->max) return INFLATE_TOO_LARGE;
        *out = bl_strn(z->p, n);
        return INFLATE_OK;
    }
    ZSTD_ErrorCode code = ZSTD_getErrorCode(n);
    if (code == ZSTD_error_memory_allocation) bl_xneed(NULL); /* that is no fault of the message's */
    if (code == ZSTD_error_dstSize_tooSmall) return INFLATE_TOO_LARGE;
    if (code == ZSTD_error_dictionary_wrong) return wrong_dictionary(z, frame_id, err);
    (void)!bl_fail(err, BL_E_NET, "a compressed message cannot be unpacked: %s", ZSTD_getErrorName(n));
    return INFLATE_CORRUPT;
}
