#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

#include "base/rng.h"
#include "expect.h"

static void a_buffer_holds_what_was_appended_in_order(void **state) {
    (void)state;
    struct bl_buf b = {0};
    bl_buf_z(&b, "a");
    bl_buf_i64(&b, INT64_MIN);
    bl_buf_byte(&b, ' ');
    bl_buf_u64(&b, UINT64_MAX);
    bl_buf_printf(&b, " %s %d", "x", 7);
    bl_buf_str(&b, (struct bl_str){0});
    EXPECT_STR(bl_buf_view(&b), "a-9223372036854775808 18446744073709551615 x 7");
    assert_string_equal(bl_buf_cstr(&b), "a-9223372036854775808 18446744073709551615 x 7");
    bl_buf_release(&b);
    EXPECT(!b.p && !b.n && !b.cap);
}

static void a_full_buffer_stays_failed_and_keeps_a_prefix(void **state) {
    (void)state;
    struct bl_buf b = {.max = 10};
    struct bl_error err = {0};
    bl_buf_z(&b, "12345678");
    EXPECT_OK(bl_buf_check(&b, "text", &err), &err);
    bl_buf_z(&b, "abc");
    bl_buf_z(&b, "d");
    EXPECT(b.failed && bl_str_starts(BL_LIT("12345678abcd"), bl_buf_view(&b)) && b.n <= 10);
    EXPECT_RC(bl_buf_check(&b, "text", &err), BL_E_FULL);
    EXPECT(strstr(err.message, "text") && strstr(err.message, "10"));
    bl_buf_clear(&b);
    bl_buf_z(&b, "0123456789");
    EXPECT(!b.failed && b.n == 10);
    EXPECT(!bl_buf_reserve(&b, SIZE_MAX) && b.failed); /* no overflow on the way to "too large" */
    bl_buf_release(&b);
    EXPECT(b.max == 10);
}

static void random_appends_give_the_same_as_one_by_one(void **state) {
    (void)state;
    enum { MAX = 300000 };
    static char model[MAX];
    struct bl_rng r = {7};
    struct bl_buf b = {0};
    while (b.n < 200000) {
        char piece[5000];
        size_t n = (size_t)bl_rng_below(&r, sizeof piece);
        memset(piece, 'a' + (int)bl_rng_below(&r, 26), n);
        memcpy(model + b.n, piece, n);
        bl_buf_add(&b, piece, n);
    }
    EXPECT(memcmp(model, b.p, b.n) == 0);
    bl_buf_release(&b);
}

static void json_literals_escape_what_json_forbids(void **state) {
    (void)state;
    struct bl_buf b = {0};
    bl_buf_json(&b, BL_LIT("a\"b\\c\n\r\t\x01\x1f\x7f\0é</x>"));
    EXPECT_STR(bl_buf_view(&b), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\x7f\\u0000é</x>\"");
    bl_buf_clear(&b);
    bl_buf_json(&b, (struct bl_str){0});
    EXPECT_STR(bl_buf_view(&b), "\"\"");
    bl_buf_release(&b);
}

static void an_arena_hands_out_aligned_pieces_that_do_not_touch(void **state) {
    (void)state;
    enum { PIECES = 3000 };
    static unsigned char *pieces[PIECES];
    static size_t sizes[PIECES];
    struct bl_rng r = {1};
    struct bl_arena a = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            sizes[i] = (size_t)(bl_rng_below(&r, 100) ? bl_rng_below(&r, 200) : bl_rng_below(&r, 200000));
            pieces[i] = bl_arena_alloc(&a, sizes[i]);
            EXPECT(pieces[i] && (uintptr_t)pieces[i] % 8 == 0);
            memset(pieces[i], (int)(i & 255), sizes[i]);
        }
        for (size_t i = 0; i < PIECES; i++)
            for (size_t k = 0; k < sizes[i]; k++) EXPECT(pieces[i][k] == (i & 255));
        bl_arena_reset(&a);
        EXPECT(a.used == 0);
    }
    bl_arena_release(&a);
}

static void an_arena_stops_at_its_cap_and_starts_over_after_reset(void **state) {
    (void)state;
    struct bl_arena a = {.max = 100000};
    size_t total = 0;
    while (bl_arena_alloc(&a, 1000)) total += 1000;
    EXPECT(total <= 200000 && total >= 90000); /* the cap counts what is asked of the system, a chunk may be larger */
    EXPECT(!bl_arena_alloc(&a, SIZE_MAX / 2));
    bl_arena_reset(&a);
    EXPECT_STR(bl_arena_dup(&a, BL_LIT("again")), "again");
    bl_arena_release(&a);
    EXPECT(a.max == 100000);
}

static void an_error_is_told_once_and_gains_context_on_its_way_up(void **state) {
    (void)state;
    struct bl_error err = {0};
    EXPECT_RC(bl_fail(&err, BL_E_SYNTAX, "bad %d", 7), BL_E_SYNTAX);
    EXPECT_RC(bl_err_prefix(&err, BL_E_SYNTAX, "file %s", "x"), BL_E_SYNTAX);
    assert_string_equal(err.message, "file x: bad 7");
    errno = ENOENT;
    EXPECT_RC(bl_fail_cure(&err, BL_E_USAGE, "give 1: or 2", "bad %s", "x: y"), BL_E_USAGE);
    assert_string_equal(err.message, "bad x: y: give 1: or 2");
    assert_string_equal(bl_err_cure(&err), "give 1: or 2");
    EXPECT_RC(bl_err_prefix(&err, BL_E_USAGE, "file %s", "x"), BL_E_USAGE);
    assert_string_equal(bl_err_cure(&err), "give 1: or 2");
    EXPECT_RC(bl_fail_errno(&err, BL_E_IO, "open"), BL_E_IO);
    EXPECT(!bl_err_cure(&err));
    EXPECT(err.sys_errno == ENOENT && strstr(err.message, "open: No such file"));
    EXPECT_RC(bl_fail(NULL, BL_E_NET, "nobody asks"), BL_E_NET);
    EXPECT_RC(bl_err_prefix(NULL, BL_E_NET, "nobody asks"), BL_E_NET);
    char long_text[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    EXPECT_RC(bl_fail(&err, BL_E_IO, "%s", long_text), BL_E_IO);
    EXPECT_RC(bl_err_prefix(&err, BL_E_IO, "%s", long_text), BL_E_IO);
    EXPECT(strlen(err.message) == BL_ERROR_MESSAGE_MAX - 1);
}

static void every_code_has_a_name_a_text_a_class_and_an_exit_code(void **state) {
    (void)state;
    for (unsigned i = BL_OK + 1; i < BL_RC_COUNT; i++) {
        enum bl_rc rc = (enum bl_rc)i;
        EXPECT(*bl_rc_name(rc) && *bl_rc_text(rc) && bl_rc_class(rc) != BL_CLASS_OK);
        EXPECT(bl_rc_exit_code(rc) >= 1 && bl_rc_exit_code(rc) <= 3);
    }
    EXPECT(bl_rc_exit_code(BL_OK) == 0 && bl_rc_class(BL_OK) == BL_CLASS_OK);
    EXPECT(bl_rc_exit_code(BL_E_USAGE) == 2 && bl_rc_exit_code(BL_E_DIFFERS) == 3);
}

static void random_numbers_can_be_replayed_and_stay_in_range(void **state) {
    (void)state;
    struct bl_rng a = {5}, b = {5};
    for (int i = 0; i < 1000; i++) {
        uint64_t n = bl_rng_u64(&a);
        EXPECT(n == bl_rng_u64(&b) && n == bl_mix64(5 + (uint64_t)(i + 1) * BL_GOLDEN));
    }
    for (uint64_t n = 1; n < 1000; n++) EXPECT(bl_rng_below(&a, n) < n);
    for (int i = 0; i < 1000; i++) {
        double unit = bl_rng_unit(&a);
        EXPECT(unit >= 0 && unit < 1);
    }
    EXPECT(bl_random_u64() != bl_random_u64());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_holds_what_was_appended_in_order),
        cmocka_unit_test(a_full_buffer_stays_failed_and_keeps_a_prefix),
        cmocka_unit_test(random_appends_give_the_same_as_one_by_one),
        cmocka_unit_test(json_literals_escape_what_json_forbids),
        cmocka_unit_test(an_arena_hands_out_aligned_pieces_that_do_not_touch),
        cmocka_unit_test(an_arena_stops_at_its_cap_and_starts_over_after_reset),
        cmocka_unit_test(an_error_is_told_once_and_gains_context_on_its_way_up),
        cmocka_unit_test(every_code_has_a_name_a_text_a_class_and_an_exit_code),
        cmocka_unit_test(random_numbers_can_be_replayed_and_stay_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
