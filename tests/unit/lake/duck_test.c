#include "lake/duck.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "expect.h"

static struct duck *open_duck(const char *confine_to) {
    struct bl_error err = {0};
    struct duck *d = NULL;
    EXPECT_OK(duck_open(&(struct duck_options){.confine_to = confine_to}, &d, &err), &err);
    return d;
}

static struct duck_result *ask(struct duck *d, const char *sql) {
    struct bl_error err = {0};
    struct duck_result *r = NULL;
    EXPECT_OK(duck_query(d, sql, NULL, 0, &r, &err), &err);
    size_t rows;
    EXPECT_OK(duck_next(r, &rows, &err), &err);
    assert_int_equal(rows, 1);
    return r;
}

static void expect_shown(struct duck *d, const char *expression, enum duck_kind kind, const char *wanted) {
    BL_CLEANUP(bl_freep) char *sql = bl_xasprintf("SELECT %s", expression);
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    struct duck_result *r = ask(d, sql);
    duck_show(r, 0, 0, &text);
    if (!bl_str_eq(bl_buf_view(&text), bl_str(wanted)))
        fail_msg("%s shows as %.*s, want %s", expression, BL_ARG(bl_buf_view(&text)), wanted);
    assert_int_equal(duck_column_kind(r, 0), kind);
    duck_result_close(&r);
}

static void every_type_is_shown_as_people_read_it(void **state) {
    (void)state;
    struct duck *d = open_duck(NULL);
    static const struct {
        const char *expression;
        enum duck_kind kind;
        const char *wanted;
    } cases[] = {
        {"true", DUCK_BOOL, "true"},
        {"(-5)::TINYINT", DUCK_I64, "-5"},
        {"300::USMALLINT", DUCK_I64, "300"},
        {"18446744073709551615::UBIGINT", DUCK_I64, "18446744073709551615"},
        {"170141183460469231731687303715884105727::HUGEINT", DUCK_I64, "170141183460469231731687303715884105727"},
        {"(-12.340)::DECIMAL(9,3)", DUCK_F64, "-12.340"},
        {"12345678901234567890.5::DECIMAL(38,1)", DUCK_F64, "12345678901234567890.5"},
        {"0.1::DOUBLE", DUCK_F64, "0.1"},
        {"'short'", DUCK_TEXT, "short"},
        {"'longer than the inlined twelve bytes'", DUCK_TEXT, "longer than the inlined twelve bytes"},
        {"TIMESTAMP '2026-11-21 08:05:00.123456'", DUCK_TIMESTAMP_US, "2026-11-21T08:05:00.123456Z"},
        {"TIMESTAMPTZ '2026-11-21 09:05:00+01'", DUCK_TIMESTAMP_US, "2026-11-21T08:05:00Z"},
        {"'1969-12-31 23:59:59.999999999'::TIMESTAMP_NS", DUCK_TIMESTAMP_US, "1969-12-31T23:59:59.999999Z"},
        {"'2026-11-21 08:05:00'::TIMESTAMP_S", DUCK_TIMESTAMP_US, "2026-11-21T08:05:00Z"},
        {"'2026-11-21 08:05:00.25'::TIMESTAMP_MS", DUCK_TIMESTAMP_US, "2026-11-21T08:05:00.250Z"},
        {"'infinity'::TIMESTAMP", DUCK_TIMESTAMP_US, "infinity"},
        {"DATE '2026-11-21'", DUCK_DATE, "2026-11-21"},
        {"TIME '08:05:00'", DUCK_OTHER, "08:05:00"},
        {"TIMETZ '08:05:00+02'", DUCK_OTHER, "08:05:00+02"},
        {"INTERVAL 3 DAY", DUCK_OTHER, "3 days"},
        {"'0a6d4a5c-3b3c-4e6e-8a5f-0f3f5a2b1c0d'::UUID", DUCK_OTHER, "0a6d4a5c-3b3c-4e6e-8a5f-0f3f5a2b1c0d"},
        {"'b'::ENUM('a', 'b')", DUCK_OTHER, "b"},
        {"'0101'::BIT", DUCK_OTHER, "0101"},
        {"'\\x00A'::BLOB", DUCK_OTHER, "\\x00A"},
        {"'-123456789012345678901234567890123456789012'::BIGNUM", DUCK_OTHER,
         "-123456789012345678901234567890123456789012"},
        {"['a\"b', NULL, 'c']", DUCK_LIST, "[\"a\\\"b\",null,\"c\"]"},
        {"[1, 2]::INTEGER[2]", DUCK_OTHER, "[1,2]"},
        {"[[1.5::DOUBLE, 'nan'::DOUBLE], []]", DUCK_OTHER, "[[1.5,\"nan\"],[]]"},
        {"{'a': 1, 'b': ['x'], 'c': DATE '2026-01-02'}", DUCK_OTHER, "{\"a\":1,\"b\":[\"x\"],\"c\":\"2026-01-02\"}"},
        {"MAP {1: 'x', 2: NULL}", DUCK_OTHER, "{\"1\":\"x\",\"2\":null}"},
        {"union_value(n := 7)", DUCK_OTHER, "7"},
        {"NULL::VARCHAR", DUCK_TEXT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_shown(d, cases[i].expression, cases[i].kind, cases[i].wanted);
    duck_close(&d);
}

static void numbers_are_read_whatever_their_width(void **state) {
    (void)state;
    struct duck *d = open_duck(NULL);
    struct duck_result *r = ask(d, "SELECT 200::UTINYINT, (-3)::SMALLINT, sum(4), 18446744073709551615::UBIGINT, "
                                   "2.5::DECIMAL(4,1), true, 1.5::FLOAT, NULL::BIGINT, -(2::HUGEINT ** 100)::HUGEINT");
    static const int64_t wanted[] = {200, -3, 4, INT64_MAX, 2, 1, 1, 0, INT64_MIN};
    for (unsigned c = 0; c < 9; c++)
        if (c != 7) assert_true(duck_i64(r, c, 0) == wanted[c]);
    assert_true(duck_is_null(r, 7, 0));
    assert_true(fabs(duck_f64(r, 4, 0) - 2.5) < 1e-9 && fabs(duck_f64(r, 2, 0) - 4) < 1e-9);
    duck_result_close(&r);
    duck_close(&d);
}

static void values_are_bound_and_never_spliced(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct duck *d = open_duck(NULL);
    const struct bl_str items[] = {BL_LIT("x"), BL_LIT("a list item that is long"), {NULL, 0}};
    const struct duck_bind binds[] = {
        {.kind = DUCK_TEXT, .s = BL_LIT("'; DROP TABLE \0 x")},
        {.kind = DUCK_I64, .i = INT64_MIN},
        {.kind = DUCK_F64, .f = 0.25},
        {.kind = DUCK_BOOL, .i = 1},
        {.kind = DUCK_NULL},
        {.kind = DUCK_TIMESTAMP_US, .i = 1000001},
        {.kind = DUCK_LIST, .items = items, .count = 3},
        {.kind = DUCK_LIST},
    };
    struct duck_result *r = NULL;
    EXPECT_OK(duck_query(d, "SELECT ?, ?, ?, ?, ?, ?, ?, ?", binds, 8, &r, &err), &err);
    size_t rows;
    EXPECT_OK(duck_next(r, &rows, &err), &err);
    assert_true(bl_str_eq(duck_text(r, 0, 0), binds[0].s));
    assert_true(duck_i64(r, 1, 0) == INT64_MIN && duck_i64(r, 3, 0) == 1 && duck_i64(r, 5, 0) == 1000001);
    assert_true(duck_is_null(r, 4, 0));
    struct bl_str got[2];
    assert_int_equal(duck_list(r, 6, 0, got, 2), 3);
    EXPECT_STR(got[1], "a list item that is long");
    assert_int_equal(duck_list(r, 7, 0, got, 2), 0);
    EXPECT_OK(duck_next(r, &rows, &err), &err);
    assert_int_equal(rows, 0);
    EXPECT_OK(duck_next(r, &rows, &err), &err);
    assert_int_equal(rows, 0);
    duck_result_close(&r);
    EXPECT_RC(duck_query(d, "SELECT ?", NULL, 0, &r, &err), BL_E_USAGE);
    duck_close(&d);
}

static void large_answers_stream_chunk_by_chunk(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct duck *d = NULL;
    EXPECT_OK(duck_open(&(struct duck_options){.memory_bytes = 64 << 20}, &d, &err), &err);
    struct duck_result *r = NULL;
    EXPECT_OK(duck_query(d, "SELECT i, repeat('x', 100) || i FROM range(3000000) t(i)", NULL, 0, &r, &err), &err);
    assert_string_equal(duck_column_name(r, 0), "i");
    int64_t next = 0;
    for (size_t rows = 1; rows;) {
        EXPECT_OK(duck_next(r, &rows, &err), &err);
        for (size_t i = 0; i < rows; i++, next++) assert_true(duck_i64(r, 0, i) == next);
    }
    assert_int_equal(next, 3000000);
    duck_result_close(&r);
    duck_close(&d);
}

static void errors_say_whose_fault_it_is(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct duck *d = open_duck(NULL);
    struct duck_result *r = NULL;
    EXPECT_RC(duck_query(d, "SELEC 1", NULL, 0, &r, &err), BL_E_USAGE);
    assert_non_null(strstr(err.message, "LINE 1"));
    EXPECT_RC(duck_query(d, "SELECT nope FROM range(3)", NULL, 0, &r, &err), BL_E_USAGE);
    EXPECT_RC(duck_query(d, "SELECT 1; SELECT 2", NULL, 0, &r, &err), BL_E_USAGE);
    EXPECT_RC(duck_query(d, "FROM read_parquet('/nowhere/x.parquet')", NULL, 0, &r, &err), BL_E_BACKEND);
    duck_close(&d);
    EXPECT_OK(duck_open(&(struct duck_options){.memory_bytes = 16 << 20}, &d, &err), &err);
    EXPECT_RC(duck_run(d, "SELECT list(i || repeat('y', 100)) FROM range(2000000) t(i)", &err), BL_E_FULL);
    duck_close(&d);
}

static void a_confined_instance_stays_inside_its_folder(void **state) {
    (void)state;
    struct bl_error err = {0};
    char folder[] = "/tmp/bl-duck-XXXXXX";
    assert_non_null(mkdtemp(folder));
    BL_CLEANUP(bl_freep) char *file = bl_xasprintf("%s/it's.csv", folder);
    EXPECT_OK(bl_write_file_atomic(file, BL_LIT("a,b\n1,2\n"), &err), &err);
    struct duck *d = open_duck(folder);
    struct duck_bind bind = {.kind = DUCK_TEXT, .s = bl_str(file)};
    struct duck_result *r = NULL;
    EXPECT_OK(duck_query(d, "FROM read_csv(?)", &bind, 1, &r, &err), &err);
    duck_result_close(&r);
    BL_CLEANUP(bl_freep) char *up = bl_xasprintf("SELECT * FROM read_text('%s/../../etc/hostname')", folder);
    const char *const refused[] = {
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        up,
        "COPY (SELECT 1) TO '/tmp/bl-duck-out.csv'",
        "ATTACH '/tmp/bl-duck-out.db'",
        "SET enable_external_access = true",
        "SET threads = 1",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "INSTALL httpfs",
        "LOAD httpfs",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (duck_run(d, refused[i], &err) == BL_OK) fail_msg("%s is allowed", refused[i]);
    duck_close(&d);
    EXPECT_RC(duck_open(&(struct duck_options){.confine_to = "/nowhere/at/all"}, &d, &err), BL_E_NOT_FOUND);
    unlink(file);
    rmdir(folder);
}

static void *interrupt_until_told(void *argument) {
    struct {
        struct duck *d;
        _Atomic bool done;
    } *shared = argument;
    while (!shared->done) {
        duck_interrupt(shared->d);
        usleep(1000);
    }
    return NULL;
}

static void a_running_statement_can_be_interrupted(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct {
        struct duck *d;
        _Atomic bool done;
    } shared = {.d = open_duck(NULL)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_until_told, &shared), 0);
    enum bl_rc rc = duck_run(
        shared.d, "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE (a.range * b.range) % 7 = 1", &err);
    shared.done = true;
    pthread_join(thread, NULL);
    assert_int_equal(rc, BL_E_CANCELLED);
    EXPECT_OK(duck_run(shared.d, "SELECT 1", &err), &err);

    struct duck_result *r = NULL;
    EXPECT_OK(duck_query(shared.d, "SELECT i FROM range(100000000) t(i)", NULL, 0, &r, &err), &err);
    size_t rows;
    EXPECT_OK(duck_next(r, &rows, &err), &err);
    duck_interrupt(shared.d);
    do rc = duck_next(r, &rows, &err);
    while (rc == BL_OK && rows);
    assert_int_equal(rc, BL_E_CANCELLED);
    duck_result_close(&r);
    duck_close(&shared.d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_shown_as_people_read_it),
        cmocka_unit_test(numbers_are_read_whatever_their_width),
        cmocka_unit_test(values_are_bound_and_never_spliced),
        cmocka_unit_test(large_answers_stream_chunk_by_chunk),
        cmocka_unit_test(errors_say_whose_fault_it_is),
        cmocka_unit_test(a_confined_instance_stays_inside_its_folder),
        cmocka_unit_test(a_running_statement_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
