#include "pipe/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { INPUT_BYTES = 256 << 10 };
enum form { PLAIN, GZIP, ZSTD };

struct lines {
    char *path;
    int fd;
    enum form form;
    z_stream inflate;
    bool inflating;
    ZSTD_DStream *zstd;
    char input[INPUT_BYTES]; /* as in the file */
    size_t at, n;
    bool input_end, frame_open;
    bool pending; /* the decompressor filled its output and may hold more */
    struct bl_buf held; /* the unfinished last line of the previous call */
};

static enum bl_rc fill(struct lines *l, struct bl_error *err) {
    while (l->at == l->n && !l->input_end) {
        ssize_t n = read(l->fd, l->input, sizeof l->input);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bl_fail_errno(err, BL_E_IO, "%s", l->path);
        l->at = 0;
        l->n = (size_t)n;
        l->input_end = n == 0;
    }
    return BL_OK;
}

static enum bl_rc detect(struct lines *l, struct bl_error *err) {
    BL_TRY(fill(l, err));
    const unsigned char *p = (const unsigned char *)l->input;
    if (l->n >= 2 && p[0] == 0x1f && p[1] == 0x8b) l->form = GZIP; /* RFC 1952 */
    if (l->n >= 4 && p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd) l->form = ZSTD; /* RFC 8878 */
    if (l->form == GZIP) {
        if (inflateInit2(&l->inflate, 15 + 32) != Z_OK) return bl_fail(err, BL_E_NOMEM, "zlib: no memory");
        l->inflating = true;
    }
    if (l->form == ZSTD && !(l->zstd = ZSTD_createDStream())) return bl_fail(err, BL_E_NOMEM, "zstd: no memory");
    return BL_OK;
}

enum bl_rc lines_open(const char *path, struct lines **out, struct bl_error *err) {
    struct lines *l = bl_xcalloc(1, sizeof *l);
    l->path = bl_xstrdup(strcmp(path, "-") == 0 ? "(standard input)" : path);
    l->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    enum bl_rc rc =
        l->fd < 0 ? bl_fail_errno(err, errno == ENOENT ? BL_E_NOT_FOUND : BL_E_IO, "%s", path) : detect(l, err);
    if (rc == BL_OK)
        *out = l;
    else
        lines_close(&l);
    return rc;
}

void lines_close(struct lines **l) {
    if (!*l) return;
    if ((*l)->fd >= 0) close((*l)->fd);
    if ((*l)->inflating) inflateEnd(&(*l)->inflate);
    ZSTD_freeDStream((*l)->zstd);
    bl_buf_release(&(*l)->held);
    free((*l)->path);
    free(*l);
    *l = NULL;
}

/* What detect() read comes from the input buffer; the rest is read where it is wanted. */
static enum bl_rc take_plain(struct lines *l, struct bl_buf *out, size_t want, struct bl_error *err) {
    bl_buf_add(out, l->input + l->at, l->n - l->at);
    l->at = l->n = 0;
    if (want < INPUT_BYTES) want = INPUT_BYTES;
    if (!bl_buf_reserve(out, want)) return bl_buf_check(out, l->path, err);
    ssize_t n = read(l->fd, out->p + out->n, want);
    if (n < 0 && errno != EINTR) return bl_fail_errno(err, BL_E_IO, "%s", l->path);
    if (n > 0) out->n += (size_t)n;
    l->input_end = n == 0;
    return BL_OK;
}

static enum bl_rc take_gzip(struct lines *l, struct bl_buf *out, struct bl_error *err) {
    if (!bl_buf_reserve(out, INPUT_BYTES)) return bl_buf_check(out, l->path, err);
    l->inflate.next_in = (unsigned char *)l->input + l->at;
    l->inflate.avail_in = (unsigned)(l->n - l->at);
    l->inflate.next_out = (unsigned char *)out->p + out->n;
    l->inflate.avail_out = INPUT_BYTES;
    int rc = inflate(&l->inflate, Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR) bl_xneed(NULL);
    l->at = l->n - l->inflate.avail_in;
    out->n += INPUT_BYTES - l->inflate.avail_out;
    l->pending = l->inflate.avail_out == 0;
    l->frame_open = rc != Z_STREAM_END;
    if (rc == Z_STREAM_END) rc = inflateReset(&l->inflate); /* members may follow one another */
    if (rc != Z_OK && rc != Z_BUF_ERROR)
        return bl_fail(err, BL_E_CORRUPT, "%s: broken gzip data: %s", l->path,
                       l->inflate.msg ? l->inflate.msg : "unknown");
    return BL_OK;
}

static enum bl_rc take_zstd(struct lines *l, struct bl_buf *out, struct bl_error *err) {
    if (!bl_buf_reserve(out, INPUT_BYTES)) return bl_buf_check(out, l->path, err);
    ZSTD_inBuffer input = {l->input, l->n, l->at};
    ZSTD_outBuffer output = {out->p + out->n, INPUT_BYTES, 0};
    size_t rc = ZSTD_decompressStream(l->zstd, &output, &input);
    l->at = input.pos;
    out->n += output.pos;
    l->pending = output.pos == output.size;
    l->frame_open = rc != 0;
    if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation) bl_xneed(NULL);
    if (ZSTD_isError(rc)) return bl_fail(err, BL_E_CORRUPT, "%s: broken zstd data: %s", l->path, ZSTD_getErrorName(rc));
    return BL_OK;
}

static enum bl_rc take_some(struct lines *l, struct bl_buf *out, size_t want, struct bl_error *err) {
    switch (l->form) {
    case PLAIN: return take_plain(l, out, want, err);
    case GZIP: return take_gzip(l, out, err);
    case ZSTD: return take_zstd(l, out, err);
    }
    return BL_OK;
}

/* Cut the unfinished last line off `out` and keep it for the next call. */
static void hold_back(struct lines *l, struct bl_buf *out, size_t from) {
    const char *last = out->n > from ? memrchr(out->p + from, '\n', out->n - from) : NULL;
    size_t whole = last ? (size_t)(last - out->p) + 1 : from;
    bl_buf_add(&l->held, out->p + whole, out->n - whole);
    out->n = whole;
}

enum bl_rc lines_read(struct lines *l, size_t want, size_t line_max, struct bl_buf *out, bool *end,
                      struct bl_error *err) {
    size_t from = out->n;
    bl_buf_str(out, bl_buf_view(&l->held));
    bl_buf_clear(&l->held);
    for (;;) {
        if (l->form != PLAIN) BL_TRY(fill(l, err));
        if (l->at == l->n && !l->pending && (l->form != PLAIN || l->input_end)) break;
        size_t got = out->n - from;
        BL_TRY(take_some(l, out, got < want ? want - got : 0, err));
        if (out->n - from < want) continue;
        hold_back(l, out, from);
        if (out->n > from) break;
        if (l->held.n > line_max)
            return bl_fail(err, BL_E_TOO_LARGE, "%s: a line is longer than %zu bytes", l->path, line_max);
        bl_buf_str(out, bl_buf_view(&l->held));
        bl_buf_clear(&l->held);
    }
    bool over = l->input_end && l->at == l->n && !l->pending;
    if (over && l->frame_open) return bl_fail(err, BL_E_CORRUPT, "%s: the compressed data ends too early", l->path);
    if (over && l->held.n) {
        bl_buf_str(out, bl_buf_view(&l->held));
        bl_buf_clear(&l->held);
    }
    if (over && out->n > from && out->p[out->n - 1] != '\n') bl_buf_byte(out, '\n');
    *end = over && out->n == from;
    return bl_buf_check(out, l->path, err);
}
