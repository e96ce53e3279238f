#include "index/fold.h"

#include <emmintrin.h>

struct rule {
    unsigned from, to;
    int step, add;
};
static const struct rule lower_rules[] = {
#define LOWER(from, to, step, add) {from, to, step, add},
#include "index/lower.def"
#undef LOWER
};
struct range {
    unsigned from, to;
};
static const struct range word_ranges[] = {
#define WORD(from, to) {from, to},
#include "index/word.def"
#undef WORD
};

unsigned fold_next(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    long length = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
    if (end - *p < length) length = end - *p;
    *p += length;
    unsigned code = length == 1 ? *s : *s & (0x7fu >> length);
    for (long i = 1; i < length; i++) code = code << 6 | (s[i] & 0x3fu);
    return code;
}

unsigned fold_before(const char *start, const char *p) {
    const char *at = p - 1;
    while (at > start && ((unsigned char)*at & 0xc0) == 0x80) at--;
    return fold_next(&at, p);
}

/* Scripts without case make up most of what is not ASCII. */
static bool has_no_case(unsigned code) {
    return (code >= 0x2e00 && code < 0xa640) || (code >= 0xac00 && code < 0xff00) || code >= 0x1f000;
}

unsigned fold_code(unsigned code) {
    if (has_no_case(code)) return code;
    size_t low = 0, high = sizeof lower_rules / sizeof *lower_rules;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (lower_rules[middle].to < code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == sizeof lower_rules / sizeof *lower_rules || code < lower_rules[low].from) return code;
    const struct rule *rule = &lower_rules[low];
    return (code - rule->from) % (unsigned)rule->step ? code : code + (unsigned)rule->add;
}

bool fold_is_word(unsigned code) {
    size_t low = 0, high = sizeof word_ranges / sizeof *word_ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (word_ranges[middle].to < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof word_ranges / sizeof *word_ranges && code >= word_ranges[low].from;
}

static char *put_code(char *p, unsigned code) {
    if (code < 0x80) {
        *p++ = (char)code;
    } else if (code < 0x800) {
        *p++ = (char)(0xc0 | code >> 6);
        *p++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *p++ = (char)(0xe0 | code >> 12);
        *p++ = (char)(0x80 | (code >> 6 & 0x3f));
        *p++ = (char)(0x80 | (code & 0x3f));
    } else {
        *p++ = (char)(0xf0 | code >> 18);
        *p++ = (char)(0x80 | (code >> 12 & 0x3f));
        *p++ = (char)(0x80 | (code >> 6 & 0x3f));
        *p++ = (char)(0x80 | (code & 0x3f));
    }
    return p;
}

/* Sixteen ASCII characters at once; false where one of them is none. */
static bool fold_ascii(const char *from, char *to) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)from);
    if (_mm_movemask_epi8(bytes)) return false;
    __m128i upper =
        _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8('A' - 1)), _mm_cmplt_epi8(bytes, _mm_set1_epi8('Z' + 1)));
    _mm_storeu_si128((__m128i *)to, _mm_add_epi8(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20))));
    return true;
}

void fold_append(struct bl_buf *out, struct bl_str text) {
    enum { GROWTH = 2 }; /* of a character's bytes at most: U+023A has two, its lower case three */
    if (text.n == 0 || !bl_buf_reserve(out, text.n * GROWTH + 16)) return;
    const char *p = text.p, *end = p + text.n;
    char *to = out->p + out->n;
    while (p < end) {
        if (end - p >= 16 && fold_ascii(p, to)) {
            p += 16;
            to += 16;
            continue;
        }
        for (const char *stop = end - p >= 16 ? p + 16 : end; p < stop;) {
            unsigned char c = (unsigned char)*p;
            if (c < 0x80) {
                *to++ = (char)(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
                p++;
            } else
                to = put_code(to, fold_code(fold_next(&p, end)));
        }
    }
    out->n = (size_t)(to - out->p);
}
