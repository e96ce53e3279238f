#include "event/syntax.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/rng.h"
#include "expect.h"

static bool is_any_datetime(struct bl_str s) { return at_is_datetime(s, NULL); }

static const struct predicate {
    const char *name; /* of the interop files: NAME_syntax_valid.txt, NAME_syntax_invalid.txt, NAME_parse_invalid.txt */
    bool (*holds)(struct bl_str s);
} predicates[] = {
    {"did", at_is_did},   {"handle", at_is_handle},    {"atidentifier", at_is_identifier},
    {"nsid", at_is_nsid}, {"tid", at_is_tid},          {"recordkey", at_is_rkey},
    {"aturi", at_is_uri}, {"cid", at_is_cid},          {"language", at_is_language},
    {"uri", at_is_weburi}, {"datetime", is_any_datetime},
};

/* Every line of the file against the predicate; the copy is exactly as long as the line, so that reading past its end
 * is seen by AddressSanitizer. Returns the number of cases, or -1 when there is no such file. */
static int check_file(const struct predicate *p, const char *path, bool wanted) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    struct bl_error err = {0};
    if (bl_read_file(path, 1 << 20, &text, &err) == BL_E_NOT_FOUND) return -1;
    int cases = 0;
    for (struct bl_str rest = bl_buf_view(&text); rest.n;) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (line.n == 0 || line.p[0] == '#') continue;
        char *exact = bl_xmalloc(line.n);
        memcpy(exact, line.p, line.n);
        bool got = p->holds(bl_strn(exact, line.n));
        free(exact);
        if (got != wanted) fail_msg("%s: \"%.100s\" must be %s", path, line.p, wanted ? "accepted" : "refused");
        cases++;
    }
    return cases;
}

static int check_folder(const char *folder) {
    static const char *const suffixes[] = {"syntax_valid", "syntax_invalid", "parse_invalid"};
    int files = 0;
    for (size_t i = 0; i < sizeof predicates / sizeof *predicates; i++)
        for (unsigned k = 0; k < 3; k++) {
            BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s_%s.txt", folder, predicates[i].name, suffixes[k]);
            int cases = check_file(&predicates[i], path, k == 0);
            EXPECT(cases != 0);
            files += cases > 0;
        }
    return files;
}

static void our_own_cases_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(check_folder(BL_REPO_DIR "/tests/fixtures/syntax"), 24);
}

static void the_interop_vectors_are_told_apart(void **state) {
    (void)state;
    int files = check_folder(BL_SHARED_DIR "/data/interop/syntax");
    if (files == 0) {
        print_message("no interop vectors here\n");
        skip();
    }
    assert_int_equal(files, 24);
}

static bool of_repeated(bool (*holds)(struct bl_str), const char *head, size_t count, const char *tail) {
    BL_CLEANUP(bl_buf_release) struct bl_buf b = {0};
    bl_buf_z(&b, head);
    for (size_t i = 0; i < count; i++) bl_buf_byte(&b, 'a');
    bl_buf_z(&b, tail);
    return holds(bl_buf_view(&b));
}

static void lengths_are_held_to_the_byte(void **state) {
    (void)state;
    EXPECT(of_repeated(at_is_did, "did:m:", 2042, "") && !of_repeated(at_is_did, "did:m:", 2043, ""));
    EXPECT(of_repeated(at_is_handle, "", 63, ".com") && !of_repeated(at_is_handle, "", 64, ".com"));
    EXPECT(of_repeated(at_is_handle, "a.", 63, "") && !of_repeated(at_is_handle, "a.", 64, ""));
    EXPECT(of_repeated(at_is_nsid, "com.example.", 63, "") && !of_repeated(at_is_nsid, "com.example.", 64, ""));
    EXPECT(of_repeated(at_is_rkey, "", 512, "") && !of_repeated(at_is_rkey, "", 513, ""));
    EXPECT(of_repeated(at_is_cid, "", 256, "") && !of_repeated(at_is_cid, "", 257, ""));
    EXPECT(of_repeated(at_is_cid, "", 8, "") && !of_repeated(at_is_cid, "", 7, ""));
    EXPECT(of_repeated(at_is_weburi, "a:", 8190, "") && !of_repeated(at_is_weburi, "a:", 8191, ""));
}

static void the_empty_string_and_nul_bytes_are_refused_everywhere(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof predicates / sizeof *predicates; i++) {
        EXPECT(!predicates[i].holds((struct bl_str){0}));
        EXPECT(!predicates[i].holds(BL_LIT("did:plc:abc\0def")));
        EXPECT(!predicates[i].holds(BL_LIT("\0")));
    }
    EXPECT(!at_is_canonical_datetime((struct bl_str){0}, NULL));
}

/* What a predicate accepts for all 256 bytes in the middle of a good value. */
static void one_byte_at_a_time_matches_the_grammar(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char in_did[] = "did:plc:a?a", in_rkey[] = "a?a", in_tid[] = "3jzfc?jpj2z2a";
        in_did[9] = in_rkey[1] = in_tid[5] = (char)c;
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        EXPECT(at_is_did(bl_strn(in_did, 11)) == (alnum || (c && strchr("._:%-", c))));
        EXPECT(at_is_rkey(bl_strn(in_rkey, 3)) == (alnum || (c && strchr("_~.:-", c))));
        EXPECT(at_is_tid(bl_strn(in_tid, 13)) == ((c >= '2' && c <= '7') || (c >= 'a' && c <= 'z')));
    }
}

static int64_t instant(const char *text) {
    int64_t us = INT64_MIN;
    if (!at_is_datetime(bl_str(text), &us)) fail_msg("%s is a datetime", text);
    return us;
}

static void a_datetime_names_its_instant(void **state) {
    (void)state;
    assert_int_equal(instant("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(instant("1970-01-01T00:00:00.1Z"), 100000);
    assert_int_equal(instant("1970-01-01T00:00:00.0000019Z"), 1);
    assert_int_equal(instant("1970-01-01T01:00:00+01:00"), 0);
    assert_int_equal(instant("1969-12-31T22:29:59.999999-01:30"), -1);
    assert_int_equal(instant("2024-02-29T12:34:56.789Z"), 1709210096789000);
    assert_int_equal(instant("0000-01-01T00:00:00.000Z"), -62167219200000000);
    assert_int_equal(instant("9999-12-31T23:59:59.999999Z"), 253402300799999999);
}

/* Canonical means: formatting the instant with three digits gives the same bytes back. */
static void a_canonical_datetime_is_rebuilt_from_its_instant(void **state) {
    (void)state;
    struct bl_rng rng = {7};
    for (int i = 0; i < 200000; i++) {
        int64_t ms = (int64_t)bl_rng_below(&rng, 62167219200000 + 253402300800000) - 62167219200000, got;
        char text[BL_TIME_TEXT_MAX];
        bl_format_time(ms * 1000, 3, text);
        EXPECT(at_is_canonical_datetime(bl_str(text), &got) && got == ms * 1000);
        EXPECT(at_is_datetime(bl_str(text), &got) && got == ms * 1000);
        text[bl_rng_below(&rng, 24)] = (char)bl_rng_below(&rng, 256);
        if (!at_is_canonical_datetime(bl_strn(text, 24), &got)) continue;
        char again[BL_TIME_TEXT_MAX];
        EXPECT(memcmp(bl_format_time(got, 3, again), text, 24) == 0);
    }
}

static void other_datetimes_are_not_canonical(void **state) {
    (void)state;
    static const char *const others[] = {
        "1985-04-12T23:20:50Z",         "1985-04-12T23:20:50.12Z",       "1985-04-12T23:20:50.1234Z",
        "1985-04-12T23:20:50.12+00:00", "1985-04-12T23:20:50.123+00:00",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        EXPECT(at_is_datetime(bl_str(others[i]), NULL));
        EXPECT(!at_is_canonical_datetime(bl_str(others[i]), NULL));
    }
    EXPECT(!at_is_canonical_datetime(BL_LIT("1985-02-29T23:20:50.123Z"), NULL));
    EXPECT(!at_is_canonical_datetime(BL_LIT("1985-04-12T24:00:00.000Z"), NULL));
    EXPECT(!at_is_canonical_datetime(BL_LIT("1985-04-12T23:59:60.000Z"), NULL));
}

static void a_tid_is_its_time_and_clock_id(void **state) {
    (void)state;
    char text[13];
    at_tid_of(0, 0, text);
    EXPECT_STR(bl_strn(text, 13), "2222222222222");
    assert_int_equal(at_tid_us(BL_LIT("2222222222223")), 0);
    assert_int_equal(at_tid_us(BL_LIT("jzzzzzzzzzzzz")), ((int64_t)1 << 54) - 1);
    struct bl_rng rng = {3};
    for (int i = 0; i < 100000; i++) {
        int64_t us = (int64_t)bl_rng_below(&rng, (uint64_t)1 << 54);
        char later[13];
        at_tid_of(us, (unsigned)bl_rng_below(&rng, 1024), text);
        EXPECT(at_is_tid(bl_strn(text, 13)) && at_tid_us(bl_strn(text, 13)) == us);
        if (us + 1 >= (int64_t)1 << 54) continue;
        at_tid_of(us + 1, 0, later);
        EXPECT(memcmp(text, later, 13) < 0); /* byte order is time order */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_cases_are_told_apart),
        cmocka_unit_test(the_interop_vectors_are_told_apart),
        cmocka_unit_test(lengths_are_held_to_the_byte),
        cmocka_unit_test(the_empty_string_and_nul_bytes_are_refused_everywhere),
        cmocka_unit_test(one_byte_at_a_time_matches_the_grammar),
        cmocka_unit_test(a_datetime_names_its_instant),
        cmocka_unit_test(a_canonical_datetime_is_rebuilt_from_its_instant),
        cmocka_unit_test(other_datetimes_are_not_canonical),
        cmocka_unit_test(a_tid_is_its_time_and_clock_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
