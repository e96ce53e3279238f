#include "event/syntax.h"

#include <emmintrin.h>

#include "base/clock.h"

/* What a byte may be part of. One table look-up a byte, no branch: these predicates run for every event. */
enum {
    LOWER = 1,
    UPPER = 2,
    DIGIT = 4,
    HYPHEN = 8,
    IN_DID = 16,  /* method-specific part of a DID */
    IN_RKEY = 32, /* record key */
    IN_CID = 128, /* any multibase the lexicon's check lets through */
    LETTER = LOWER | UPPER,
    ALNUM = LETTER | DIGIT,
    IN_LABEL = ALNUM | HYPHEN,
    IN_ALL = IN_DID | IN_RKEY | IN_CID,
};

static const unsigned char class_of[256] = {
    ['a' ... 'z'] = LOWER | IN_ALL,
    ['A' ... 'Z'] = UPPER | IN_ALL,
    ['0' ... '1'] = DIGIT | IN_ALL,
    ['2' ... '7'] = DIGIT | IN_ALL,
    ['8' ... '9'] = DIGIT | IN_ALL,
    ['-'] = HYPHEN | IN_DID | IN_RKEY,
    ['.'] = IN_DID | IN_RKEY,
    ['_'] = IN_DID | IN_RKEY,
    [':'] = IN_DID | IN_RKEY,
    ['%'] = IN_DID,
    ['~'] = IN_RKEY,
    ['+'] = IN_CID,
    ['='] = IN_CID,
};

enum {
    DID_MAX = 2048,
    HANDLE_MAX = 253,
    LABEL_MAX = 63,
    NSID_MAX = 317,
    RKEY_MAX = 512,
    TID_LEN = 13,
    URI_MAX = 8192,
    CID_MIN = 8,
    CID_MAX = 256,
    LANGUAGE_MAX = 128,
    SUBTAG_MAX = 8,
    DATETIME_MAX = 64,
    FRACTION_MAX = 20,
};

static unsigned class_at(struct bl_str s, size_t i) { return class_of[(unsigned char)s.p[i]]; }

/* Does every byte belong to a class of which at least one bit is in `mask`? */
static bool all_in(struct bl_str s, unsigned mask) {
    bool good = true;
    for (size_t i = 0; i < s.n; i++) good &= (class_at(s, i) & mask) != 0;
    return good;
}

/* Are these 16 bytes a to z and 2 to 7? */
static inline bool is_base32(__m128i v) {
    __m128i letter = _mm_sub_epi8(v, _mm_set1_epi8('a')), digit = _mm_sub_epi8(v, _mm_set1_epi8('2'));
    __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter),
                                _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(5)), digit));
    return _mm_movemask_epi8(good) == 0xffff;
}

static inline __m128i load16(const char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }

static inline bool is_base32_text(struct bl_str s) { /* 8 to 16 bytes, or 16 to 32: in two loads that may overlap */
    if (s.n >= 16) return is_base32(load16(s.p)) && is_base32(load16(s.p + s.n - 16));
    return is_base32(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)s.p),
                                        _mm_loadl_epi64((const __m128i *)(const void *)(s.p + s.n - 8))));
}

bool at_is_did(struct bl_str s) {
    enum { PLC_LEN = 32, PLC_PREFIX = 8 }; /* nearly all are did:plc: and 24 digits of base32 */
    if (s.n == PLC_LEN && memcmp(s.p, "did:plc:", PLC_PREFIX) == 0 && is_base32_text(bl_str_skip(s, PLC_PREFIX)))
        return true;
    if (s.n > DID_MAX || !bl_str_starts(s, BL_LIT("did:"))) return false;
    size_t i = 4;
    while (i < s.n && class_at(s, i) & LOWER) i++;
    if (i == 4 || i + 1 >= s.n || s.p[i] != ':') return false;
    char last = s.p[s.n - 1];
    return last != ':' && last != '%' && all_in(bl_str_skip(s, i + 1), IN_DID);
}

static bool is_label(struct bl_str s) {
    return s.n >= 1 && s.n <= LABEL_MAX && s.p[0] != '-' && s.p[s.n - 1] != '-' && all_in(s, IN_LABEL);
}

/* Labels between dots, all well formed; `*last` is the one behind the last dot. Returns their number, 0 when one is not
 * well formed. */
static unsigned count_labels(struct bl_str s, struct bl_str *last) {
    for (unsigned count = 1;; count++) {
        const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
        struct bl_str label = {s.p, dot ? (size_t)(dot - s.p) : s.n};
        if (!is_label(label)) return 0;
        if (!dot) {
            *last = label;
            return count;
        }
        s = bl_str_skip(s, label.n + 1);
    }
}

bool at_is_handle(struct bl_str s) {
    struct bl_str last;
    return s.n <= HANDLE_MAX && count_labels(s, &last) >= 2 && class_at(last, 0) & LETTER;
}

bool at_is_identifier(struct bl_str s) { return at_is_did(s) || at_is_handle(s); }

bool at_is_nsid(struct bl_str s) {
    struct bl_str last;
    return s.n <= NSID_MAX && count_labels(s, &last) >= 3 && class_at(s, 0) & LETTER && class_at(last, 0) & LETTER &&
           all_in(last, ALNUM);
}

/* 13 digits of five bits make 65 bits, a TID has 64: the first digit is below 16, "2" to "j". */
bool at_is_tid(struct bl_str s) { return s.n == TID_LEN && s.p[0] <= 'j' && is_base32_text(s); }

bool at_is_rkey(struct bl_str s) {
    if (at_is_tid(s)) return true;
    if (s.n < 1 || s.n > RKEY_MAX || !all_in(s, IN_RKEY)) return false;
    return !bl_str_eq(s, BL_LIT(".")) && !bl_str_eq(s, BL_LIT(".."));
}

bool at_is_uri(struct bl_str s) {
    if (s.n > URI_MAX || !bl_str_starts(s, BL_LIT("at://"))) return false;
    /* A slash at the end leaves an empty part, which no predicate accepts; one missing ends the URI. */
    struct bl_str rest = bl_str_skip(s, 5);
    bool more = rest.n && memchr(rest.p, '/', rest.n);
    if (!at_is_identifier(bl_str_cut(&rest, '/'))) return false;
    if (!more) return true;
    more = rest.n && memchr(rest.p, '/', rest.n);
    if (!at_is_nsid(bl_str_cut(&rest, '/'))) return false;
    return !more || at_is_rkey(rest);
}

bool at_is_cid(struct bl_str s) {
    return s.n >= CID_MIN && s.n <= CID_MAX && all_in(s, IN_CID) && !bl_str_starts(s, BL_LIT("Qmb"));
}

static bool eq_ignoring_case(struct bl_str a, struct bl_str b) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if ((a.p[i] | (class_at(a, i) & UPPER ? 0x20 : 0)) != (b.p[i] | (class_at(b, i) & UPPER ? 0x20 : 0)))
            return false;
    return true;
}

static bool is_private_use(struct bl_str subtag) { return subtag.n == 1 && (subtag.p[0] | 0x20) == 'x'; }

static bool is_variant(struct bl_str subtag) {
    return subtag.n >= 5 || (subtag.n == 4 && class_at(subtag, 0) & DIGIT);
}

/* RFC 5646, 2.2.9: no variant and no singleton occurs twice. `rest` is what follows `subtag`. Within an extension only
 * singletons count, and private use ends the search. */
static bool repeated(struct bl_str subtag, bool in_extension, struct bl_str rest) {
    bool singleton = subtag.n == 1;
    if (!singleton && (in_extension || !is_variant(subtag))) return false;
    while (rest.n) {
        struct bl_str other = bl_str_cut(&rest, '-');
        if (is_private_use(other) || (!singleton && other.n == 1)) return false;
        if (eq_ignoring_case(subtag, other)) return true;
    }
    return false;
}

/* The interop vectors want the primary language in lower case and short (or the grandfathered i-, or x- in either
 * case), and leave the order of what follows free: sgn-BE-NL is fine. */
bool at_is_language(struct bl_str s) {
    if (s.n > LANGUAGE_MAX || (s.n && s.p[s.n - 1] == '-')) return false;
    struct bl_str rest = s, primary = bl_str_cut(&rest, '-');
    bool private_use = is_private_use(primary), grandfathered = bl_str_eq(primary, BL_LIT("i"));
    if (private_use || grandfathered) {
        if (rest.n == 0) return false;
    } else if (primary.n < 2 || primary.n > 3 || !all_in(primary, LOWER)) {
        return false;
    }
    for (bool in_extension = false; rest.n;) {
        struct bl_str subtag = bl_str_cut(&rest, '-');
        if (subtag.n < 1 || subtag.n > SUBTAG_MAX || !all_in(subtag, ALNUM)) return false;
        if (private_use) continue;
        if (subtag.n == 1 && rest.n == 0) return false;
        private_use = is_private_use(subtag);
        if (!private_use && repeated(subtag, in_extension, rest)) return false;
        in_extension |= subtag.n == 1;
    }
    return true;
}

bool at_is_weburi(struct bl_str s) {
    if (s.n > URI_MAX || s.n < 1 || !(class_at(s, 0) & LETTER)) return false;
    size_t i = 1;
    while (i < s.n && (class_at(s, i) & IN_LABEL || s.p[i] == '.' || s.p[i] == '+')) i++;
    if (i + 1 >= s.n || s.p[i] != ':') return false;
    while (++i < s.n)
        if (s.p[i] < '!' || s.p[i] > '~') return false;
    return true;
}

static int two(const unsigned char *d) { return d[0] * 10 + d[1]; }

/* "YYYY-MM-DDTHH:MM:SS" whose digits are already values 0..9 and whose separators are known to be right. */
static bool instant_of_digits(const unsigned char d[static 19], int micros, int64_t *wall_us) {
    struct bl_date date = {.year = two(d) * 100 + two(d + 2),
                           .month = two(d + 5),
                           .day = two(d + 8),
                           .hour = two(d + 11),
                           .minute = two(d + 14),
                           .second = two(d + 17),
                           .micros = micros};
    if (date.month < 1 || date.month > 12 || date.day < 1 || date.hour > 23 || date.minute > 59 || date.second > 59)
        return false;
    if (date.day > 28 && date.day > bl_days_in_month(date.year, date.month)) return false;
    *wall_us = bl_us_of_date(date);
    return true;
}

/* Subtracting the form leaves the value of each digit and 0 for each right separator. */
static bool has_canonical_form(const char text[static 24], unsigned char digits[static 24]) {
    static const char form[] = "0000-00-00T00:00:00.000Z", most[] = "9999-99-99T99:99:99.999Z";
    int good = 0xffff;
    for (size_t i = 0; i <= 8; i += 8) { /* bytes 0 to 15 and 8 to 23 */
        __m128i zero = load16(form + i), d = _mm_sub_epi8(load16(text + i), zero);
        good &= _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(d, _mm_sub_epi8(load16(most + i), zero)), d));
        _mm_storeu_si128((__m128i *)(void *)(digits + i), d);
    }
    return good == 0xffff;
}

bool at_is_canonical_datetime(struct bl_str s, int64_t *wall_us) {
    unsigned char d[24];
    int64_t instant;
    if (s.n != 24 || !has_canonical_form(s.p, d)) return false;
    if (!instant_of_digits(d, (two(d + 20) * 10 + d[22]) * 1000, &instant)) return false;
    if (wall_us) *wall_us = instant;
    return true;
}

static bool parse_fraction(struct bl_str *rest, int *micros) {
    *micros = 0;
    if (rest->n == 0 || rest->p[0] != '.') return true;
    size_t digits = 0;
    int unit = 100000;
    for (*rest = bl_str_skip(*rest, 1); digits < rest->n && class_at(*rest, digits) & DIGIT; digits++, unit /= 10)
        *micros += (rest->p[digits] - '0') * unit;
    *rest = bl_str_skip(*rest, digits);
    return digits >= 1 && digits <= FRACTION_MAX;
}

static bool parse_zone(struct bl_str s, int64_t *east_us) {
    *east_us = 0;
    if (bl_str_eq(s, BL_LIT("Z"))) return true;
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':') return false;
    int64_t hours, minutes;
    if (!bl_parse_i64((struct bl_str){s.p + 1, 2}, 0, 23, &hours)) return false;
    if (!bl_parse_i64((struct bl_str){s.p + 4, 2}, 0, 59, &minutes)) return false;
    int64_t offset = (hours * 60 + minutes) * 60000000;
    *east_us = s.p[0] == '-' ? -offset : offset;
    return s.p[0] == '+' || offset != 0; /* -00:00 means "zone unknown" in RFC 3339 and is not ISO 8601 */
}

/* The instant is held to the years 0 to 9999, which the zone can leave. Leap seconds are refused: no instant of ours
 * names them. */
bool at_is_datetime(struct bl_str s, int64_t *wall_us) {
    static const int64_t year_0 = -62167219200000000, year_10000 = 253402300800000000;
    if (s.n < 20 || s.n > DATETIME_MAX) return false;
    char date[24];
    memcpy(date, s.p, 19);
    memcpy(date + 19, ".000Z", 5);
    unsigned char d[24];
    int micros;
    int64_t instant, east;
    struct bl_str rest = bl_str_skip(s, 19);
    if (!has_canonical_form(date, d) || !parse_fraction(&rest, &micros) || !parse_zone(rest, &east)) return false;
    if (!instant_of_digits(d, micros, &instant)) return false;
    instant -= east;
    if (instant < year_0 || instant >= year_10000) return false;
    if (wall_us) *wall_us = instant;
    return true;
}

static const char tid_alphabet[] = "234567abcdefghijklmnopqrstuvwxyz";

static uint64_t tid_number(struct bl_str s) {
    BL_ASSERT(at_is_tid(s));
    uint64_t number = 0;
    for (size_t i = 0; i < TID_LEN; i++) {
        unsigned c = (unsigned char)s.p[i];
        number = number << 5 | (c >= 'a' ? c - 'a' + 6 : c - '2');
    }
    return number;
}

int64_t at_tid_us(struct bl_str s) { return (int64_t)(tid_number(s) >> 10); }

void at_tid_of(int64_t wall_us, unsigned clock_id, char out[static 13]) {
    /* The shift keeps 54 bits of time, one more than the specification uses and as many as the syntax lets through. */
    uint64_t number = (uint64_t)wall_us << 10 | (clock_id & 1023);
    for (size_t i = TID_LEN; i-- > 0; number >>= 5) out[i] = tid_alphabet[number & 31];
}
