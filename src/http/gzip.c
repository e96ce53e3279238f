#include "http/gzip.h"

#include <strings.h>
#include <zlib.h>

static const struct {
    const char *name;
    int window_bits; /* 16 more: with a gzip header */
} encodings[] = {{"gzip", 15 + 16}, {"deflate", 15}};
enum { ENCODINGS = sizeof encodings / sizeof *encodings, LEVEL = 4, MEMORY = 8 };

/* "q=0" and "q=0.0" refuse. */
static bool refused(struct bl_str weight) {
    weight = bl_str_trim(weight);
    if (!bl_str_starts(weight, BL_LIT("q=")) && !bl_str_starts(weight, BL_LIT("Q="))) return false;
    for (size_t i = 2; i < weight.n; i++)
        if (weight.p[i] != '0' && weight.p[i] != '.') return false;
    return weight.n > 2;
}

static bool accepts(struct bl_str accept, const char *name) {
    while (accept.n) {
        struct bl_str weight = bl_str_cut(&accept, ',');
        struct bl_str coding = bl_str_trim(bl_str_cut(&weight, ';'));
        if (coding.n == strlen(name) && strncasecmp(coding.p, name, coding.n) == 0) return !refused(weight);
    }
    return false;
}

const char *gzip_choose(struct bl_str accept) {
    for (size_t i = 0; i < ENCODINGS; i++)
        if (accepts(accept, encodings[i].name)) return encodings[i].name;
    return NULL;
}

static bool compress_into(int window_bits, const struct bl_buf *body, struct bl_buf *out) {
    z_stream z = {0};
    if (body->n > UINT32_MAX || deflateInit2(&z, LEVEL, Z_DEFLATED, window_bits, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    if (!bl_buf_reserve(out, deflateBound(&z, body->n))) {
        deflateEnd(&z);
        return false;
    }
    z.next_in = (Bytef *)body->p;
    z.avail_in = (uInt)body->n;
    z.next_out = (Bytef *)out->p;
    z.avail_out = (uInt)out->cap;
    bool done = deflate(&z, Z_FINISH) == Z_STREAM_END;
    out->n = z.total_out;
    deflateEnd(&z);
    return done && out->n < body->n;
}

bool gzip_body(const char *encoding, struct bl_buf *body) {
    struct bl_buf out = {0};
    int window_bits = 0;
    for (size_t i = 0; i < ENCODINGS; i++)
        if (strcmp(encodings[i].name, encoding) == 0) window_bits = encodings[i].window_bits;
    bool smaller = window_bits && compress_into(window_bits, body, &out);
    struct bl_buf loser = smaller ? *body : out;
    if (smaller) {
        out.max = body->max;
        *body = out;
    }
    bl_buf_release(&loser);
    return smaller;
}
