#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "lake/parquet_priv.h"

static enum bl_rc pack_zstd(struct pq_packer *p, int level, struct bl_str raw, struct bl_buf *out,
                            struct bl_error *err) {
    if (!p->zstd) p->zstd = bl_xneed(ZSTD_createCCtx());
    if (!bl_buf_reserve(out, ZSTD_compressBound(raw.n))) return BL_OK; /* the caller checks the buffer */
    size_t n = ZSTD_compressCCtx(p->zstd, out->p + out->n, out->cap - out->n, raw.p, raw.n, level);
    if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation) bl_xneed(NULL);
    if (ZSTD_isError(n)) return bl_fail(err, BL_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
    out->n += n;
    return BL_OK;
}

static enum bl_rc pack_snappy(struct bl_str raw, struct bl_buf *out, struct bl_error *err) {
    size_t n = snappy_max_compressed_length(raw.n);
    if (!bl_buf_reserve(out, n)) return BL_OK;
    if (snappy_compress(raw.p, raw.n, out->p + out->n, &n) != SNAPPY_OK)
        return bl_fail(err, BL_E_INTERNAL, "snappy refused a page of %zu bytes", raw.n);
    out->n += n;
    return BL_OK;
}

static enum bl_rc open_gzip(struct pq_packer *p, struct bl_error *err) {
    enum { LEVEL = 6, GZIP_WINDOW = 15 + 16, MEMORY = 8 };
    if (p->gzip) return deflateReset(p->gzip) == Z_OK ? BL_OK : bl_fail(err, BL_E_INTERNAL, "gzip: cannot be reset");
    p->gzip = bl_xcalloc(1, sizeof(z_stream));
    if (deflateInit2(p->gzip, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK) return BL_OK;
    free(p->gzip);
    p->gzip = NULL;
    return bl_fail(err, BL_E_NOMEM, "no memory for a gzip stream");
}

static enum bl_rc pack_gzip(struct pq_packer *p, struct bl_str raw, struct bl_buf *out, struct bl_error *err) {
    BL_TRY(open_gzip(p, err));
    z_stream *z = p->gzip;
    size_t bound = deflateBound(z, raw.n);
    if (!bl_buf_reserve(out, bound)) return BL_OK;
    z->next_in = (Bytef *)(uintptr_t)raw.p;
    z->avail_in = (uInt)raw.n;
    z->next_out = (Bytef *)(out->p + out->n);
    z->avail_out = (uInt)bound;
    if (deflate(z, Z_FINISH) != Z_STREAM_END)
        return bl_fail(err, BL_E_INTERNAL, "gzip refused a page of %zu bytes", raw.n);
    out->n += bound - z->avail_out;
    return BL_OK;
}

enum bl_rc pq_pack(struct pq_packer *p, int level, struct bl_str raw, struct bl_buf *out, struct bl_error *err) {
    switch (p->codec) {
    case PQ_ZSTD:
        return pack_zstd(p, level, raw, out, err);
    case PQ_SNAPPY:
        return pack_snappy(raw, out, err);
    case PQ_GZIP:
        return pack_gzip(p, raw, out, err);
    case PQ_UNCOMPRESSED:
        break;
    }
    bl_buf_str(out, raw);
    return BL_OK;
}

void pq_packer_release(struct pq_packer *p) {
    ZSTD_freeCCtx(p->zstd);
    if (p->gzip) deflateEnd(p->gzip);
    free(p->gzip);
    *p = (struct pq_packer){.codec = p->codec};
}
