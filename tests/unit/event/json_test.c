#include "expect.h"

#include <stdlib.h>

#include "event/json.h"

static enum js_fault check(struct bl_str text, unsigned depth) {
    struct js_cursor c = js_open(text, depth);
    if (js_skip(&c, NULL, NULL)) js_done(&c);
    return c.fault;
}

static void valid_texts_are_accepted(void **state) {
    (void)state;
    static const char *const texts[] = {
        "null", "true", "false", "0", "-0", "-1", "10", "1.5", "0.5e+10", "1E-2", "1e400", "\"\"", "\"\\u00e9\\ud800\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "{}", "[]", " { } ", "[ ]", "[1,[2,{\"a\":[]}]]", "\t{\"a\" : 1 ,\r\n\"b\":[ ]}\n",
        "\"a string that is longer than one SSE register, 0123456789\"", "\"\x7f\"", "[{\"\":{}}]", "\"\xf4\x8f\xbf\xbf\"",
        "123456789012345678901234567890", "\"0123456789abcde\\n\"", "\"0123456789abcdef\\u0041\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (check(bl_str(texts[i]), 16) != JS_OK) fail_msg("refused: %s", texts[i]);
}

static void invalid_texts_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "", " ", "nul", "nulll", "True", "01", "-", "-01", "+1", "1.", ".5", "1e", "1e+", "0x1", "\"", "\"a", "\"\\x\"",
        "\"\\u12g4\"", "\"\\u123\"", "\"\\", "\"\n\"", "\"\x01\"", "{", "}", "[", "]", "[1,]", "[,1]", "[1 2]", "{\"a\"}",
        "{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "[1}", "{\"a\":1]", "1 2", "{} {}", "[1]]", "'a'", "NaN", "\xef\xbb\xbf{}",
        "[1,,2]", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "\"0123456789abcdef\t\"", "{\"a\":1,,}", "\v1", "\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (check(bl_str(texts[i]), 16) != JS_BAD_SYNTAX) fail_msg("not refused: %s", texts[i]);
}

static void invalid_utf8_in_a_string_is_told_apart(void **state) {
    (void)state;
    static const char *const texts[] = {"\"\x80\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"",
                                        "{\"\xff\":1}", "\"0123456789abcdef\xc3\"", "\"\xc3\\u00e9\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (check(bl_str(texts[i]), 16) != JS_BAD_UTF8) fail_msg("text %zu: not refused as UTF-8", i);
}

static void depth_is_counted_across_members_and_skips(void **state) {
    (void)state;
    EXPECT(check(bl_str("[[[]]]"), 3) == JS_OK);
    EXPECT(check(bl_str("[[[[]]]]"), 3) == JS_TOO_DEEP);
    EXPECT(check(bl_str("[[],[[]],[[]]]"), 3) == JS_OK);
    struct js_cursor c = js_open(BL_LIT("{\"a\":[[]]}"), 2);
    struct js_string key;
    bool first = true;
    EXPECT(js_object(&c) && js_member(&c, &key, &first));
    EXPECT(!js_skip(&c, NULL, NULL) && c.fault == JS_TOO_DEEP);
    BL_CLEANUP(bl_buf_release) struct bl_buf bomb = {0};
    for (int i = 0; i < 1000000; i++) bl_buf_byte(&bomb, '[');
    EXPECT(check(bl_buf_view(&bomb), 1u << 30) == JS_TOO_DEEP);
}

static void every_prefix_of_a_text_is_refused(void **state) {
    (void)state;
    struct bl_str text = BL_LIT("{\"a\":[1.5e3,true,null,\"\\u00e9\xc3\xa9 0123456789abcdef\"],\"b\":{\"c\":false}}");
    for (size_t n = 0; n < text.n; n++) {
        char *exact = bl_xmalloc(n); /* AddressSanitizer sees a read past the end */
        memcpy(exact, text.p, n);
        EXPECT(check(bl_strn(exact, n), 16) != JS_OK);
        free(exact);
    }
    EXPECT(check(text, 16) == JS_OK);
}

static void members_are_walked_and_white_space_is_reported(void **state) {
    (void)state;
    struct js_cursor c = js_open(BL_LIT(" { \"a\" : [1, 2] , \"b\":{\"x\":\" \"},\"c\":7}"), 8);
    struct js_string key;
    struct bl_str raw;
    bool first = true, space = false;
    EXPECT(js_object(&c) && js_member(&c, &key, &first) && js_string_is(key, BL_LIT("a")));
    EXPECT(js_peek(&c) == JS_ARRAY && js_skip(&c, &raw, &space) && space);
    EXPECT_STR(raw, "[1, 2]");
    space = false;
    EXPECT(js_member(&c, &key, &first) && js_skip(&c, &raw, &space) && !space);
    EXPECT_STR(raw, "{\"x\":\" \"}");
    EXPECT(js_member(&c, &key, &first) && js_peek(&c) == JS_NUMBER && js_skip(&c, &raw, NULL));
    EXPECT(!js_member(&c, &key, &first) && js_done(&c) && c.depth == 0);
}

static void unescaping_keeps_nul_and_refuses_lone_surrogates(void **state) {
    (void)state;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct bl_str out;
    EXPECT(js_unescape((struct js_string){BL_LIT("a\\u0000\\u00E9\\ud83d\\ude00\\n\\/"), true}, &arena, &out));
    EXPECT(bl_str_eq(out, BL_LIT("a\0\xc3\xa9\xf0\x9f\x98\x80\n/")));
    EXPECT(!js_unescape((struct js_string){BL_LIT("\\ud83d"), true}, &arena, &out));
    EXPECT(!js_unescape((struct js_string){BL_LIT("\\ude00x"), true}, &arena, &out));
    EXPECT(!js_unescape((struct js_string){BL_LIT("\\ud83d\\u0041"), true}, &arena, &out));
    struct bl_arena tiny = {.max = 4};
    EXPECT(!js_unescape((struct js_string){BL_LIT("\\u0041"), true}, &tiny, &out));
    bl_arena_release(&tiny);
}

static void integers_keep_their_text(void **state) {
    (void)state;
    int64_t v;
    EXPECT(js_i64(BL_LIT("9223372036854775807"), &v) && v == INT64_MAX);
    EXPECT(js_i64(BL_LIT("-9223372036854775808"), &v) && v == INT64_MIN);
    EXPECT(!js_i64(BL_LIT("9223372036854775808"), &v));
    EXPECT(!js_i64(BL_LIT("-0"), &v) && !js_i64(BL_LIT("1.0"), &v) && !js_i64(BL_LIT("1e3"), &v));
}

static void minifying_leaves_strings_alone(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    js_minify(BL_LIT(" { \"a b\" : [ 1 , \" \\\" \" ] ,\n\"c\":null } "), &out);
    EXPECT_STR(bl_buf_view(&out), "{\"a b\":[1,\" \\\" \"],\"c\":null}");
}

static void equality_is_of_values(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
    } same[] = {
        {"{\"a\":1,\"b\":2}", " { \"b\" : 2, \"a\":1 }"}, {"\"\\u0041\"", "\"A\""}, {"\"\\ud800\"", "\"\\uD800\""},
        {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""}, {"{\"a\":1,\"a\":2}", "{\"a\":2}"}, {"{\"\\u0061\":1}", "{\"a\":1}"},
        {"[1,{\"x\":[]}]", "[ 1, {\"x\": [ ] } ]"}, {"{\"a\":0,\"b\":1,\"\\u0061\":{\"c\":[2]}}", "{\"b\":1,\"a\":{\"c\":[2]}}"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!js_equal(bl_str(same[i].a), bl_str(same[i].b), NULL)) fail_msg("%s and %s", same[i].a, same[i].b);
    static const struct {
        const char *a, *b, *where;
    } other[] = {
        {"{\"a\":{\"langs\":[\"en\"]}}", "{\"a\":{\"langs\":[\"de\"]}}", "$.a.langs[0]"}, {"1", "1.0", "$"},
        {"1e3", "1E3", "$"}, {"[1]", "[1,2]", "$[1]"}, {"{\"a\":1}", "{}", "$.a"}, {"{}", "{\"b\":1}", "$.b"},
        {"{\"a\":1,\"c\":1}", "{\"b\":1,\"c\":1}", "$.a"}, {"\"\\ud800\"", "\"\\ud801\"", "$"}, {"null", "false", "$"},
        {"\"\\\\\"", "\"\\\\\\\\\"", "$"}, {"{\"a\":1,\"a\":2}", "{\"a\":1}", "$.a"}, {"{}", "[]", "$"}, {"true", "false", "$"},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf where = {0};
        if (js_equal(bl_str(other[i].a), bl_str(other[i].b), &where)) fail_msg("%s and %s", other[i].a, other[i].b);
        EXPECT_STR(bl_buf_view(&where), other[i].where);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_accepted),
        cmocka_unit_test(invalid_texts_are_refused),
        cmocka_unit_test(invalid_utf8_in_a_string_is_told_apart),
        cmocka_unit_test(depth_is_counted_across_members_and_skips),
        cmocka_unit_test(every_prefix_of_a_text_is_refused),
        cmocka_unit_test(members_are_walked_and_white_space_is_reported),
        cmocka_unit_test(unescaping_keeps_nul_and_refuses_lone_surrogates),
        cmocka_unit_test(integers_keep_their_text),
        cmocka_unit_test(minifying_leaves_strings_alone),
        cmocka_unit_test(equality_is_of_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
