/* What leaves the program: CSV that reads back, JSON that parses, tables that cannot drive a terminal. */
#include "cmd/output.h"

#include <stdlib.h>

#include "base/rng.h"
#include "cmd/cmd.h"
#include "expect.h"

struct capture {
    char *text;
    size_t n;
    FILE *file;
};

static struct capture print(enum cmd_format format, bool raw, const struct query_column *columns, size_t count,
                            const struct bl_str *values, size_t rows) {
    struct capture c = {0};
    struct bl_error err = {0};
    c.file = open_memstream(&c.text, &c.n);
    struct cmd_sink_state *state = cmd_sink_new(c.file, format, raw);
    struct query_sink sink = cmd_sink(state);
    EXPECT_OK(sink.columns(sink.context, columns, count, &err), &err);
    for (size_t r = 0; r < rows; r++) EXPECT_OK(sink.row(sink.context, values + r * count, count, &err), &err);
    cmd_sink_end(&state);
    fclose(c.file);
    return c;
}

static const struct query_column two[] = {{"name", QUERY_TEXT}, {"count", QUERY_NUMBER}};

static void a_table_is_aligned_by_cells_not_bytes(void **state) {
    (void)state;
    const struct bl_str values[] = {
        BL_LIT("caf\xc3\xa9"), BL_LIT("7"), BL_LIT("\xe7\x8c\xab\xe7\x8c\xab"), BL_LIT("12345"),
        BL_LIT("e\xcc\x81"),   {0},         BL_LIT("\xf0\x9f\x8e\x89!"),        BL_LIT("-1")};
    struct capture c = print(FORMAT_TABLE, false, two, 2, values, 4);
    assert_string_equal(c.text, "name  count\n"
                                "----  -----\n"
                                "caf\xc3\xa9      7\n"
                                "\xe7\x8c\xab\xe7\x8c\xab  12345\n"
                                "e\xcc\x81\n"
                                "\xf0\x9f\x8e\x89!      -1\n");
    free(c.text);
}

static void a_post_cannot_drive_the_terminal(void **state) {
    (void)state;
    const struct query_column one[] = {{"text\x1b[2J", QUERY_TEXT}};
    const struct bl_str values[] = {BL_LIT("\x1b]0;owned\x07\r\n\ttab"),
                                    BL_LIT("\xe2\x80\xaetxt.exe\xc2\x9b"
                                           "31m"),
                                    BL_LIT("nul\0here"), BL_LIT("bad\xff\xc3")};
    struct capture c = print(FORMAT_TABLE, false, one, 1, values, 4);
    for (size_t i = 0; i < c.n; i++) EXPECT((unsigned char)c.text[i] >= 0x20 || c.text[i] == '\n');
    EXPECT(strstr(c.text, "\\x1b]0;owned\\x07\\r\\n\\ttab\n"));
    EXPECT(strstr(c.text, "\\u{202e}txt.exe\\x9b31m\n"));
    EXPECT(strstr(c.text, "nul\\x00here\n"));
    EXPECT(strstr(c.text, "bad\xef\xbf\xbd\xef\xbf\xbd\n"));
    EXPECT(strstr(c.text, "text\\x1b[2J\n"));
    free(c.text);
}

static void rows_after_the_first_thousand_are_printed_too(void **state) {
    (void)state;
    enum { ROWS = 1500 };
    static struct bl_str values[2 * ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        values[2 * i] = i < 1200 ? BL_LIT("a") : BL_LIT("a long name that comes late");
        values[2 * i + 1] = BL_LIT("1");
    }
    struct capture c = print(FORMAT_TABLE, false, two, 2, values, ROWS);
    size_t lines = 0;
    for (size_t i = 0; i < c.n; i++) lines += c.text[i] == '\n';
    assert_int_equal(lines, ROWS + 2);
    EXPECT(strstr(c.text, "a long name that comes late"));
    free(c.text);
}

static void an_empty_table_has_its_header(void **state) {
    (void)state;
    struct capture c = print(FORMAT_TABLE, false, two, 2, NULL, 0);
    assert_string_equal(c.text, "name  count\n----  -----\n");
    free(c.text);
}

static void csv_guards_against_formulas_unless_raw(void **state) {
    (void)state;
    const struct bl_str values[] = {BL_LIT("=1+1"), BL_LIT("-1"), BL_LIT("@SUM(A1)"), BL_LIT("2"),
                                    BL_LIT("+a,b"), {0},          BL_LIT("\ttab"),    BL_LIT("3"),
                                    BL_LIT("\rcr"), BL_LIT("4"),  BL_LIT("-\"x\""),   BL_LIT("5"),
                                    BL_LIT(""),     BL_LIT("6")};
    struct capture c = print(FORMAT_CSV, false, two, 2, values, 7);
    assert_string_equal(c.text, "name,count\r\n'=1+1,-1\r\n'@SUM(A1),2\r\n\"'+a,b\",\r\n'\ttab,3\r\n\"'\rcr\",4\r\n\"'-"
                                "\"\"x\"\"\",5\r\n\"\",6\r\n");
    free(c.text);
    c = print(FORMAT_CSV, true, two, 2, values, 1);
    assert_string_equal(c.text, "name,count\r\n=1+1,-1\r\n");
    free(c.text);
}

/* A reader of RFC 4180 of its own: one field, with `*quoted` telling null from empty; returns what follows it. */
static const char *read_field(const char *p, const char *end, struct bl_buf *out, bool *quoted) {
    *quoted = p < end && *p == '"';
    p += *quoted;
    for (; p < end; p++) {
        if (!*quoted && (*p == ',' || *p == '\r')) return p;
        if (*quoted && *p == '"') {
            if (p + 1 == end || p[1] != '"') return p + 1;
            p++;
        }
        bl_buf_byte(out, *p);
    }
    return p;
}

static void csv_reads_back_to_the_same_texts(void **state) {
    (void)state;
    enum { ROWS = 2000 };
    static const char alphabet[] = "ab,\"\r\n =+-@\t'";
    static char texts[ROWS][12];
    static struct bl_str values[2 * ROWS];
    struct bl_rng r = {.state = 7};
    const struct query_column columns[] = {{"a", QUERY_TEXT}, {"b", QUERY_TEXT}};
    for (size_t i = 0; i < 2 * ROWS; i++) {
        size_t n = bl_rng_below(&r, 6), half = i % 2 * 6;
        for (size_t k = 0; k < n; k++) texts[i / 2][half + k] = alphabet[bl_rng_below(&r, sizeof alphabet - 1)];
        values[i] = bl_rng_below(&r, 10) ? bl_strn(texts[i / 2] + half, n) : (struct bl_str){0};
    }
    struct capture c = print(FORMAT_CSV, true, columns, 2, values, ROWS);
    const char *p = c.text + strlen("a,b\r\n"), *end = c.text + c.n;
    for (size_t i = 0; i < 2 * ROWS; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf field = {0};
        bool quoted;
        p = read_field(p, end, &field, &quoted);
        EXPECT(bl_str_eq(bl_buf_view(&field), values[i]));
        EXPECT(values[i].p ? values[i].n || quoted : !quoted);
        EXPECT(i % 2 ? p + 1 < end && p[0] == '\r' && p[1] == '\n' : *p == ',');
        p += i % 2 ? 2 : 1;
    }
    EXPECT(p == end);
    free(c.text);
}

static void ndjson_keeps_kinds_apart(void **state) {
    (void)state;
    const struct query_column columns[] = {
        {"t\"x", QUERY_TEXT}, {"n", QUERY_NUMBER}, {"b", QUERY_BOOL}, {"j", QUERY_JSON}};
    const struct bl_str values[] = {BL_LIT("42"), BL_LIT("42"), BL_LIT("true"), BL_LIT("[\"a\"]"), {0}, {0}, {0}, {0},
                                    BL_LIT("\x1b\"\\\n"), BL_LIT("nan"), BL_LIT("false"), BL_LIT("[]"),
                                    BL_LIT(""), BL_LIT("-1.5e300"), BL_LIT("true"), BL_LIT("[null]")};
    struct capture c = print(FORMAT_NDJSON, false, columns, 4, values, 4);
    static const char *const lines[] = {"{\"t\\\"x\":\"42\",\"n\":42,\"b\":true,\"j\":[\"a\"]}\n",
                                        "{\"t\\\"x\":null,\"n\":null,\"b\":null,\"j\":null}\n",
                                        "\"n\":\"nan\",\"b\":false,\"j\":[]}\n",
                                        "{\"t\\\"x\":\"\",\"n\":-1.5e300,\"b\":true,\"j\":[null]}\n"};
    for (size_t i = 0; i < 4; i++)
        if (!strstr(c.text, lines[i])) fail_msg("no %s in %s", lines[i], c.text);
    EXPECT(strchr(c.text, 0x1b) == NULL);
    free(c.text);
}

static void formats_go_by_their_names(void **state) {
    (void)state;
    enum cmd_format format;
    EXPECT(cmd_format_by_name("table", &format) && format == FORMAT_TABLE);
    EXPECT(cmd_format_by_name("csv", &format) && format == FORMAT_CSV);
    EXPECT(cmd_format_by_name("json", &format) && format == FORMAT_NDJSON);
    EXPECT(!cmd_format_by_name("xml", &format));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_aligned_by_cells_not_bytes),
        cmocka_unit_test(a_post_cannot_drive_the_terminal),
        cmocka_unit_test(rows_after_the_first_thousand_are_printed_too),
        cmocka_unit_test(an_empty_table_has_its_header),
        cmocka_unit_test(csv_guards_against_formulas_unless_raw),
        cmocka_unit_test(csv_reads_back_to_the_same_texts),
        cmocka_unit_test(ndjson_keeps_kinds_apart),
        cmocka_unit_test(formats_go_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
