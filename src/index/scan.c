#include "index/scan.h"

#include <immintrin.h>

/* How common a byte is in folded text of many languages, roughly: the rarer, the better to look for. */
static unsigned commonness(unsigned char c) {
    static const char order[] = " etaoinshrdlucmfygpwbvk.,'\"-/:0123456789#@!?xjqz";
    const char *at = c ? strchr(order, c) : NULL;
    if (at) return 200 - (unsigned)(at - order) * 3;
    if (c >= 0xe2 && c <= 0xef) return 150; /* leads of three bytes, in most scripts the same for long stretches */
    if (c >= 0xc3 && c <= 0xd9) return 120;
    if (c >= 0x80 && c < 0xc0) return 90;
    return 20;
}

struct scan_needle scan_needle(struct bl_str s) {
    size_t best = 0, next = s.n - 1;
    for (size_t i = 1; i < s.n; i++)
        if (commonness((unsigned char)s.p[i]) < commonness((unsigned char)s.p[best])) best = i;
    if (next == best && s.n > 1) next = 0;
    for (size_t i = 0; i < s.n; i++)
        if (i != best && commonness((unsigned char)s.p[i]) < commonness((unsigned char)s.p[next])) next = i;
    return (struct scan_needle){s, best < next ? best : next, best < next ? next : best};
}

/* One of the places in `mask`, counted from `at`, where the needle stands, up to `last`. */
static inline const char *check(const struct scan_needle *n, const char *at, const char *last, unsigned mask) {
    for (; mask; mask &= mask - 1) {
        const char *p = at + __builtin_ctz(mask);
        if (p > last) return NULL;
        if (memcmp(p, n->s.p, n->s.n) == 0) return p;
    }
    return NULL;
}

/* Loads reach at most 31 bytes beyond what the last place of the needle covers. */
const char *scan_find_sse2(const struct scan_needle *n, const char *p, const char *end) {
    if (end - p < (ptrdiff_t)n->s.n) return NULL;
    const char *last = end - n->s.n;
    const __m128i a = _mm_set1_epi8(n->s.p[n->first]), b = _mm_set1_epi8(n->s.p[n->second]);
    for (; p <= last; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(p + n->first)),
                y = _mm_loadu_si128((const __m128i *)(p + n->second));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(x, a), _mm_cmpeq_epi8(y, b)));
        const char *found = mask ? check(n, p, last, mask) : NULL;
        if (found) return found;
    }
    return NULL;
}

__attribute__((target("avx2"))) static const char *find_avx2(const struct scan_needle *n, const char *p,
                                                             const char *end) {
    if (end - p < (ptrdiff_t)n->s.n) return NULL;
    const char *last = end - n->s.n;
    const __m256i a = _mm256_set1_epi8(n->s.p[n->first]), b = _mm256_set1_epi8(n->s.p[n->second]);
    for (; p <= last; p += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(p + n->first)),
                y = _mm256_loadu_si256((const __m256i *)(p + n->second));
        unsigned mask =
            (unsigned)_mm256_movemask_epi8(_mm256_and_si256(_mm256_cmpeq_epi8(x, a), _mm256_cmpeq_epi8(y, b)));
        const char *found = mask ? check(n, p, last, mask) : NULL;
        if (found) return found;
    }
    return NULL;
}

const char *scan_find(const struct scan_needle *n, const char *p, const char *end) {
    return __builtin_cpu_supports("avx2") ? find_avx2(n, p, end) : scan_find_sse2(n, p, end);
}
