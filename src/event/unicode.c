#include "event/unicode.h"

unsigned uc_next(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    long length = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
    if (end - *p < length) length = end - *p;
    *p += length;
    switch (length) {
    case 1: return *s;
    case 2: return (*s & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3: return (*s & 0xfu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    default: return (*s & 7u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    }
}

struct range {
    unsigned from, to;
};

static bool in_ranges(const struct range *ranges, size_t count, unsigned code) {
    for (size_t i = 0; i < count && ranges[i].from <= code; i++)
        if (code <= ranges[i].to) return true;
    return false;
}

bool uc_is_space(unsigned code) {
    static const struct range ranges[] = {
        {0, 0x20},          {0x7f, 0xa0},       {0xad, 0xad},       {0x1680, 0x1680},   {0x2000, 0x200d},
        {0x2028, 0x2029},   {0x202f, 0x202f},   {0x205f, 0x2060},   {0x20e2, 0x20e2},   {0x3000, 0x3000},
        {0xfeff, 0xfeff},
    };
    return in_ranges(ranges, sizeof ranges / sizeof *ranges, code);
}

bool uc_is_punctuation(unsigned code) {
    static const struct range ranges[] = {
        {0x21, 0x2f},     {0x3a, 0x40},     {0x5b, 0x60},     {0x7b, 0x7e},     {0xa1, 0xa1},     {0xa7, 0xa7},
        {0xab, 0xab},     {0xb6, 0xb7},     {0xbb, 0xbb},     {0xbf, 0xbf},     {0x37e, 0x37e},   {0x387, 0x387},
        {0x55a, 0x55f},   {0x589, 0x58a},   {0x5be, 0x5be},   {0x5c0, 0x5c0},   {0x5c3, 0x5c3},   {0x5f3, 0x5f4},
        {0x60c, 0x60d},   {0x61b, 0x61b},   {0x61d, 0x61f},   {0x66a, 0x66d},   {0x6d4, 0x6d4},   {0x964, 0x965},
        {0xe4f, 0xe4f},   {0xe5a, 0xe5b},   {0x10fb, 0x10fb}, {0x1360, 0x1368}, {0x17d4, 0x17d6}, {0x2010, 0x2027},
        {0x2030, 0x205e}, {0x3001, 0x3003}, {0x3008, 0x3011}, {0x3014, 0x301f}, {0x3030, 0x3030}, {0x303d, 0x303d},
        {0x30fb, 0x30fb}, {0xfe30, 0xfe52}, {0xff01, 0xff03}, {0xff05, 0xff0a}, {0xff0c, 0xff0f}, {0xff1a, 0xff1b},
        {0xff1f, 0xff20}, {0xff3b, 0xff3d}, {0xff3f, 0xff3f}, {0xff5b, 0xff5b}, {0xff5d, 0xff5d}, {0xff5f, 0xff65},
    };
    return in_ranges(ranges, sizeof ranges / sizeof *ranges, code);
}

/* Simple lower case. Every mapping keeps the length in UTF-8, on which ev_fold_case relies; letters whose lower case has
 * another length (such as U+0130) stay as they are. `step` 2: upper and lower case alternate from `from`. */
static unsigned lower(unsigned code) {
    static const struct {
        unsigned from, to, step, add;
    } rules[] = {
        {'A', 'Z', 1, 32},        {0xc0, 0xd6, 1, 32},      {0xd8, 0xde, 1, 32},      {0x100, 0x12e, 2, 1},
        {0x132, 0x136, 2, 1},     {0x139, 0x147, 2, 1},     {0x14a, 0x176, 2, 1},     {0x179, 0x17d, 2, 1},
        {0x1cd, 0x1db, 2, 1},     {0x1de, 0x1ee, 2, 1},     {0x1f8, 0x21e, 2, 1},     {0x222, 0x232, 2, 1},
        {0x386, 0x386, 1, 38},    {0x388, 0x38a, 1, 37},    {0x38c, 0x38c, 1, 64},    {0x38e, 0x38f, 1, 63},
        {0x391, 0x3a1, 1, 32},    {0x3a3, 0x3ab, 1, 32},    {0x400, 0x40f, 1, 80},    {0x410, 0x42f, 1, 32},
        {0x460, 0x480, 2, 1},     {0x48a, 0x4be, 2, 1},     {0x4c1, 0x4cd, 2, 1},     {0x4d0, 0x52e, 2, 1},
        {0x531, 0x556, 1, 48},    {0x1e00, 0x1e94, 2, 1},   {0x1ea0, 0x1efe, 2, 1},   {0xff21, 0xff3a, 1, 32},
    };
    if (code == 0x178) return 0xff;
    for (size_t i = 0; i < sizeof rules / sizeof *rules && rules[i].from <= code; i++)
        if (code <= rules[i].to) return (code - rules[i].from) % rules[i].step ? code : code + rules[i].add;
    return code;
}

void ev_fold_case(struct bl_str text, char *out) {
    const char *p = text.p, *end = p + text.n;
    while (p < end) {
        const char *from = p;
        unsigned code = uc_next(&p, end), low = lower(code);
        size_t n = (size_t)(p - from);
        memcpy(out, from, n);
        if (low != code && n == 1) {
            out[0] = (char)low;
        } else if (low != code && n == 2) {
            out[0] = (char)(0xc0 | low >> 6);
            out[1] = (char)(0x80 | (low & 0x3f));
        } else if (low != code && n == 3) {
            out[0] = (char)(0xe0 | low >> 12);
            out[1] = (char)(0x80 | (low >> 6 & 0x3f));
            out[2] = (char)(0x80 | (low & 0x3f));
        }
        out += n;
    }
}
