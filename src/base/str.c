#include "base/str.h"

struct bl_str bl_str_cut(struct bl_str *rest, char separator) {
    const char *at = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
    struct bl_str head = *rest;
    if (!at) {
        *rest = (struct bl_str){rest->p + rest->n, 0};
        return head;
    }
    head.n = (size_t)(at - rest->p);
    *rest = bl_str_skip(*rest, head.n + 1);
    return head;
}

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool bl_str_is_formula(struct bl_str s) {
    static const struct bl_str wide[] = {BL_LIT("\xef\xbc\x9d"), BL_LIT("\xef\xbc\x8b"), BL_LIT("\xef\xbc\x8d"),
                                         BL_LIT("\xef\xbc\xa0")};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (bl_str_starts(s, wide[i])) return true;
    return s.n && memchr("=+-@\t\r", s.p[0], 6);
}

struct bl_str bl_str_trim(struct bl_str s) {
    while (s.n && blank(s.p[0])) s = bl_str_skip(s, 1);
    while (s.n && blank(s.p[s.n - 1])) s.n--;
    return s;
}

bool bl_parse_u64(struct bl_str s, uint64_t max, uint64_t *out) {
    if (s.n == 0 || s.n > 20) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (value > max) return false;
    *out = value;
    return true;
}

bool bl_parse_i64(struct bl_str s, int64_t min, int64_t max, int64_t *out) {
    bool negative = s.n && s.p[0] == '-';
    uint64_t magnitude;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    if (!bl_parse_u64(negative ? bl_str_skip(s, 1) : s, limit, &magnitude)) return false;
    int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max) return false;
    *out = value;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

static bool parse_with_units(struct bl_str s, const struct unit *units, size_t count, int64_t *out) {
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9') digits++;
    struct bl_str name = bl_str_skip(s, digits);
    for (size_t i = 0; i < count; i++) {
        if (!bl_str_eq(name, bl_str(units[i].name))) continue;
        int64_t value;
        if (!bl_parse_i64((struct bl_str){s.p, digits}, 0, INT64_MAX / units[i].factor, &value)) return false;
        *out = value * units[i].factor;
        return true;
    }
    return false;
}

bool bl_parse_duration_us(struct bl_str s, int64_t *out) {
    static const struct unit units[] = {{"", 1000000},   {"us", 1},         {"ms", 1000},      {"s", 1000000},
                                        {"m", 60000000}, {"min", 60000000}, {"h", 3600000000}, {"d", 86400000000}};
    return parse_with_units(s, units, sizeof units / sizeof *units, out);
}

bool bl_parse_bytes(struct bl_str s, int64_t *out) {
    char lower[32];
    if (s.n >= sizeof lower) return false;
    for (size_t i = 0; i < s.n; i++) lower[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
    struct bl_str t = {lower, s.n};
    if (t.n && lower[t.n - 1] == 'b') t.n--;
    static const struct unit units[] = {{"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1LL << 40}};
    return parse_with_units(t, units, sizeof units / sizeof *units, out);
}

bool bl_utf8_valid(struct bl_str s) {
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        while (end - p >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            if (word & 0x8080808080808080u) break;
            p += 8;
        }
        if (p == end) break;
        unsigned c = *p;
        if (c < 0x80) {
            p++;
        } else if (c < 0xe0) {
            if (c < 0xc2 || end - p < 2 || (p[1] & 0xc0) != 0x80) return false;
            p += 2;
        } else if (c < 0xf0) {
            if (end - p < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) return false;
            if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f)) return false;
            p += 3;
        } else {
            if (c > 0xf4 || end - p < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
                return false;
            if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f)) return false;
            p += 4;
        }
    }
    return true;
}
