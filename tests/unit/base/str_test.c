#include "base/str.h"

#include "base/near.h"
#include "expect.h"

static void cut_and_trim_take_a_text_apart(void **state) {
    (void)state;
    struct bl_str rest = BL_LIT("a,,b");
    EXPECT_STR(bl_str_cut(&rest, ','), "a");
    EXPECT_STR(bl_str_cut(&rest, ','), "");
    EXPECT_STR(bl_str_cut(&rest, ','), "b");
    EXPECT(rest.n == 0);
    EXPECT_STR(bl_str_cut(&rest, ','), "");
    struct bl_str nothing = {0};
    EXPECT(bl_str_cut(&nothing, ',').n == 0 && bl_str_trim(nothing).n == 0);
    EXPECT_STR(bl_str_trim(BL_LIT(" \t\r\n x y \n")), "x y");
    EXPECT_STR(bl_str_trim(BL_LIT(" \n ")), "");
}

static void comparing_counts_every_byte_also_nul(void **state) {
    (void)state;
    EXPECT(bl_str_cmp(BL_LIT("a"), BL_LIT("a\0b")) < 0 && !bl_str_eq(BL_LIT("a"), BL_LIT("a\0b")));
    EXPECT(bl_str_cmp(BL_LIT("b"), BL_LIT("ab")) > 0 && bl_str_cmp(BL_LIT(""), BL_LIT("")) == 0);
    EXPECT(bl_str_cmp(BL_LIT("\xff"), BL_LIT("a")) > 0);
    EXPECT(bl_str_starts(BL_LIT("abc"), BL_LIT("ab")) && bl_str_starts(BL_LIT("abc"), BL_LIT("")));
    EXPECT(!bl_str_starts(BL_LIT("a"), BL_LIT("ab")) && bl_str_ends(BL_LIT("abc"), BL_LIT("bc")));
    EXPECT(!bl_str_ends(BL_LIT("c"), BL_LIT("bc")) && bl_str_skip(BL_LIT("abc"), 9).n == 0);
}

static void whole_numbers_are_read_strictly(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"007", 7},
                {"-0", 0},
                {"-1", -1},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "1.0", "0x10", "--1", "9223372036854775808",
                                      "-9223372036854775809", "99999999999999999999999999", "1e3", "\xd9\xa1"};
    int64_t v = 42;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!bl_parse_i64(bl_str(good[i].text), INT64_MIN, INT64_MAX, &v) || v != good[i].value)
            fail_msg("%s was not read right", good[i].text);
    v = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (bl_parse_i64(bl_str(bad[i]), INT64_MIN, INT64_MAX, &v) || v != 42) fail_msg("\"%s\" was taken", bad[i]);
    EXPECT(!bl_parse_i64(BL_LIT("1\0"), 0, 9, &v) && !bl_parse_i64(BL_LIT("10"), 0, 9, &v) && v == 42);
    EXPECT(!bl_parse_i64(BL_LIT("-1"), 0, 9, &v) && bl_parse_i64(BL_LIT("9"), 0, 9, &v) && v == 9);
    uint64_t u;
    EXPECT(bl_parse_u64(BL_LIT("18446744073709551615"), UINT64_MAX, &u) && u == UINT64_MAX);
    EXPECT(!bl_parse_u64(BL_LIT("18446744073709551616"), UINT64_MAX, &u) && !bl_parse_u64(BL_LIT("-1"), 9, &u));
}

static void durations_and_sizes_know_their_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } durations[] = {{"0", 0},         {"90", 90000000},    {"90s", 90000000},   {"250ms", 250000},    {"7us", 7},
                     {"5m", 300000000}, {"5min", 300000000}, {"8h", 28800000000}, {"2d", 172800000000}, {"5x", -1},
                     {"", -1},          {"s", -1},           {"-5s", -1},         {"1.5h", -1},         {"5 m", -1},
                     {"5S", -1},        {"106751991d", 9223372022400000000},       {"106751992d", -1}},
      sizes[] = {{"4096", 4096}, {"64k", 65536},   {"64K", 65536},         {"512m", 536870912},
                 {"2g", 2147483648}, {"2GB", 2147483648}, {"1t", 1099511627776}, {"12b", 12},
                 {"", -1},       {"b", -1},        {"k", -1},              {"-1k", -1},
                 {"1.5g", -1},   {"2 g", -1},      {"1p", -1},             {"9223372036854775807", INT64_MAX},
                 {"9g9", -1},    {"8388608t", -1}, {"8388607t", 9223370937343148032}};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        int64_t v = -1;
        bool taken = bl_parse_duration_us(bl_str(durations[i].text), &v);
        if (v != durations[i].value || taken != (v >= 0)) fail_msg("duration \"%s\"", durations[i].text);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v = -1;
        bool taken = bl_parse_bytes(bl_str(sizes[i].text), &v);
        if (v != sizes[i].value || taken != (v >= 0)) fail_msg("size \"%s\"", sizes[i].text);
    }
}

static size_t encode(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 63));
        out[2] = (char)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 63));
    out[2] = (char)(0x80 | (point >> 6 & 63));
    out[3] = (char)(0x80 | (point & 63));
    return 4;
}

static void every_code_point_but_surrogates_is_utf8(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x120000; point++) {
        char bytes[4];
        size_t n = encode(point, bytes);
        bool wanted = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        if (bl_utf8_valid(bl_strn(bytes, n)) != wanted) fail_msg("U+%04X", point);
    }
}

/* Well-formed byte sequences, table 3-7 of the Unicode standard: lead byte, range of the second, length. */
static size_t well_formed(const unsigned char *p, size_t n) {
    static const struct {
        unsigned char from, to, low, high;
        size_t length;
    } table[] = {{0x00, 0x7f, 0, 0, 1},          {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3},    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4},    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (p[0] < table[i].from || p[0] > table[i].to) continue;
        if (table[i].length > n) return 0;
        if (table[i].length > 1 && (p[1] < table[i].low || p[1] > table[i].high)) return 0;
        for (size_t k = 2; k < table[i].length; k++)
            if (p[k] < 0x80 || p[k] > 0xbf) return 0;
        return table[i].length;
    }
    return 0;
}

static bool reference(const unsigned char *p, size_t n) {
    while (n) {
        size_t step = well_formed(p, n);
        if (!step) return false;
        p += step;
        n -= step;
    }
    return true;
}

static void utf8_agrees_with_the_table_of_the_unicode_standard(void **state) {
    (void)state;
    static const unsigned char edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
                                          0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfe, 0xff};
    enum { EDGES = sizeof edges };
    /* All runs of up to four edge bytes, alone and behind eight ASCII bytes, which are skipped as one word. */
    for (unsigned i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        unsigned char bytes[12] = "abcdefgh";
        unsigned rest = i;
        for (size_t k = 0; k < 4; k++, rest /= EDGES) bytes[8 + k] = edges[rest % EDGES];
        for (size_t n = 1; n <= 4; n++) {
            bool wanted = reference(bytes + 8, n);
            if (bl_utf8_valid(bl_strn(bytes + 8, n)) != wanted || bl_utf8_valid(bl_strn(bytes, 8 + n)) != wanted)
                fail_msg("%02x %02x %02x %02x, first %zu", bytes[8], bytes[9], bytes[10], bytes[11], n);
        }
    }
    EXPECT(bl_utf8_valid((struct bl_str){0}));
}

static const char *candidate(size_t i, const void *context) {
    const char *const *words = context;
    return words[i];
}

static void slips_of_the_keyboard_find_their_word_and_other_words_none(void **state) {
    (void)state;
    static const char *const words[] = {"search", "stats", "simulate", "compact", NULL};
    static const struct {
        const char *typed, *meant;
    } table[] = {{"serch", "search"}, {"stat", "stats"},     {"simlate", "simulate"}, {"compcat", "compact"},
                 {"stats", "stats"},  {"deadletter", NULL}, {"x", NULL},             {"", NULL}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *found = bl_nearest(bl_str(table[i].typed), candidate, words);
        if (found != table[i].meant && (!found || !table[i].meant || strcmp(found, table[i].meant) != 0))
            fail_msg("%s: found %s", table[i].typed, found ? found : "nothing");
    }
    char huge[5000];
    memset(huge, 's', sizeof huge);
    EXPECT(!bl_nearest(bl_strn(huge, sizeof huge), candidate, words));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_and_trim_take_a_text_apart),
        cmocka_unit_test(comparing_counts_every_byte_also_nul),
        cmocka_unit_test(whole_numbers_are_read_strictly),
        cmocka_unit_test(durations_and_sizes_know_their_units),
        cmocka_unit_test(every_code_point_but_surrogates_is_utf8),
        cmocka_unit_test(utf8_agrees_with_the_table_of_the_unicode_standard),
        cmocka_unit_test(slips_of_the_keyboard_find_their_word_and_other_words_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
