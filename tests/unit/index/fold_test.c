/* Folding and the ends of words, character by character, against DuckDB. */
#include "index/fold.h"

#include "expect.h"
#include "lake/duck.h"

static struct duck *duck;

static int open_duck(void **state) {
    (void)state;
    struct bl_error err = {0};
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &duck, &err), &err);
    return 0;
}

static int close_duck(void **state) {
    (void)state;
    duck_close(&duck);
    return 0;
}

/* Every character (surrogates are none), its number and what `expression` says of it. */
static struct duck_result *ask(const char *expression) {
    struct bl_error err = {0};
    struct duck_result *r = NULL;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(
        &sql,
        "WITH c AS (SELECT i, chr(CASE WHEN i BETWEEN 55296 AND 57343 THEN 65 ELSE i END::INTEGER) AS ch FROM "
        "range(1, 1114112) t(i)) SELECT i, %s FROM c WHERE i NOT BETWEEN 55296 AND 57343",
        expression);
    EXPECT_OK(duck_query(duck, bl_buf_cstr(&sql), NULL, 0, &r, &err), &err);
    return r;
}

static void every_character_has_the_lower_case_that_sql_gives_it(void **state) {
    (void)state;
    struct duck_result *r = ask("ch, lower(ch), unicode(lower(ch))");
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf folded = {0};
    size_t seen = 0;
    for (size_t rows;;) {
        EXPECT_OK(duck_next(r, &rows, &err), &err);
        if (rows == 0) break;
        for (size_t i = 0; i < rows; i++, seen++) {
            unsigned code = (unsigned)duck_i64(r, 0, i);
            bl_buf_clear(&folded);
            fold_append(&folded, duck_text(r, 1, i));
            if (!bl_str_eq(bl_buf_view(&folded), duck_text(r, 2, i)) || fold_code(code) != duck_i64(r, 3, i))
                fail_msg("U+%04X becomes U+%04X, and in SQL U+%04X", code, fold_code(code),
                         (unsigned)duck_i64(r, 3, i));
        }
    }
    assert_int_equal(seen, 0x10ffff - 2048);
    duck_result_close(&r);
}

static void words_end_where_regular_expressions_end_them(void **state) {
    (void)state;
    struct duck_result *r =
        ask("regexp_matches(ch, '[^\\pL\\pM\\pN_]|[\\p{Han}\\p{Hiragana}\\p{Katakana}\\p{Thai}\\p{Lao}"
            "\\p{Khmer}\\p{Myanmar}]')");
    struct bl_error err = {0};
    for (size_t rows;;) {
        EXPECT_OK(duck_next(r, &rows, &err), &err);
        if (rows == 0) break;
        for (size_t i = 0; i < rows; i++) {
            unsigned code = (unsigned)duck_i64(r, 0, i);
            if (fold_is_word(code) == (duck_i64(r, 1, i) != 0)) fail_msg("U+%04X", code);
        }
    }
    duck_result_close(&r);
    EXPECT(!fold_is_word(0));
}

static void a_text_is_folded_as_its_characters_are(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "ABC",
        "0123456789ABCDEFghijKLMNOPQRSTUVWXYZ[]`@{",
        "0123456789ABCDE\xc3\x89"
        "FGH",
        "\xe2\x84\xaa"
        "ELVIN und \xc4\xb0ZMIR",
        "\xc8\xba\xc8\xba\xc8\xba\xc8\xba\xc8\xba\xc8\xba\xc8\xba\xc8\xba\xc8\xba", /* grows */
        "\xce\xa3\xce\x91\xce\xa3 \xe7\x8c\xab \xf0\x9f\x8e\x89 \xf0\x90\x90\x80"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf whole = {0}, single = {0};
        struct bl_str text = bl_str(texts[t]);
        fold_append(&whole, text);
        for (const char *p = text.p, *end = p + text.n; p < end;) {
            const char *from = p;
            fold_next(&p, end);
            EXPECT(fold_before(text.p, p) == fold_next(&from, end));
            from = p;
            do from--;
            while (((unsigned char)*from & 0xc0) == 0x80);
            fold_append(&single, bl_strn(from, (size_t)(p - from)));
        }
        EXPECT(bl_str_eq(bl_buf_view(&whole), bl_buf_view(&single)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_has_the_lower_case_that_sql_gives_it),
        cmocka_unit_test(words_end_where_regular_expressions_end_them),
        cmocka_unit_test(a_text_is_folded_as_its_characters_are),
    };
    return cmocka_run_group_tests(tests, open_duck, close_duck);
}
