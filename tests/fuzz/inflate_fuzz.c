/* fuzz_inflate: bytes as a compressed message. It unpacks to what zstd's streaming decoder makes of it, or is refused;
 * never to more than the limit, whatever the frame claims. */
#include <zstd.h>

#include "source/inflate.h"

#define FUZZ_MAKES_SEEDS
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

enum { OUT_MAX = 1 << 20, MANY = 64 << 20 };

static const char *const fuzz_words[] = {"\x28\xb5\x2f\xfd", "\x50\x2a\x4d\x18", "\x01", "\x04", "\x60", "\xa0",
                                         "\xff\xff\xff\xff", "\xe0",             "\x21", "{\"did\":\"did:plc:"};
static const size_t fuzz_seed_count = 6;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;
static const char words[] = "{\"did\":\"did:plc:\",\"time_us\":1767571200000000,\"kind\":\"commit\",\"commit\":{";

/* 0: plain, 1: does not state its size, 2: with checksum, 3: two frames, 4: more than the limit, 5: a bomb */
static void fuzz_make_seed(size_t n, struct bl_buf *out) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t size = n == 5 ? MANY : n == 4 ? OUT_MAX + 1 : 300;
    char *text = bl_xcalloc(1, size), *packed = bl_xmalloc(ZSTD_compressBound(size));
    for (size_t i = 0; i < size && n < 4; i++) text[i] = words[i % 70];
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, n != 1 && n != 5);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, n == 2);
    ZSTD_CCtx_loadDictionary(context, words, sizeof words);
    size_t packed_n = ZSTD_compress2(context, packed, ZSTD_compressBound(size), text, size);
    BL_ASSERT(!ZSTD_isError(packed_n));
    for (int times = n == 3 ? 2 : 1; times; times--) bl_buf_add(out, packed, packed_n);
    free(text);
    free(packed);
    ZSTD_freeCCtx(context);
}

static struct inflate *open_inflate(void) {
    char path[64];
    struct inflate *z = NULL;
    struct bl_error err = {0};
    int fd = memfd_create("dictionary", MFD_CLOEXEC);
    BL_ASSERT(fd >= 0 && write(fd, words, sizeof words) == (ssize_t)sizeof words);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (inflate_open(path, OUT_MAX, &z, &err) != BL_OK) abort();
    close(fd);
    return z;
}

/* By streaming, up to the limit and a byte. False: not whole frames. */
static bool stream(struct bl_str in, struct bl_buf *out) {
    static ZSTD_DCtx *context;
    if (!context) context = ZSTD_createDCtx();
    ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters);
    ZSTD_DCtx_loadDictionary(context, words, sizeof words);
    bl_buf_clear(out);
    BL_ASSERT(bl_buf_reserve(out, OUT_MAX + 1));
    ZSTD_inBuffer from = {in.p, in.n, 0};
    ZSTD_outBuffer to = {out->p, OUT_MAX + 1, 0};
    size_t left = 1;
    while (to.pos < to.size && (from.pos < from.size || left)) {
        size_t in_before = from.pos, out_before = to.pos;
        left = ZSTD_decompressStream(context, &to, &from);
        if (ZSTD_isError(left) || (from.pos == in_before && to.pos == out_before && left)) return false;
        if (left == 0 && from.pos == from.size) break;
    }
    out->n = to.pos;
    return true;
}

static bool fuzz_one(struct bl_str input) {
    static struct inflate *z;
    static struct bl_buf reference;
    struct bl_str out = {0};
    struct bl_error err = {0};
    if (!z) z = open_inflate();
    enum inflate_result result = inflate_message(z, input, &out, &err);
    bool streamed = input.n && stream(input, &reference);
    switch (result) {
    case INFLATE_OK:
        if (out.n > OUT_MAX) fuzz_fail("more than the limit", input);
        if (streamed && !bl_str_eq(out, bl_buf_view(&reference))) fuzz_fail("streaming unpacks it differently", input);
        return true;
    case INFLATE_TOO_LARGE:
        break;
    case INFLATE_CORRUPT:
    case INFLATE_WRONG_DICTIONARY:
        if (!*err.message) fuzz_fail("refused without a word", input);
        break;
    }
    return false;
}
