/* What the writer writes, DuckDB has to read back, value by value. */
#include "lake/parquet.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/io.h"
#include "base/rng.h"
#include "expect.h"
#include "lake/duck.h"

/* A table is a pure function of (seed, column, row), so that nothing has to be stored to compare. */
enum style { CONSTANT, FEW, SKEWED, UNIQUE, ORDERED, TEXT, WILD, HUGE, ALL_NULL, NULL_RUNS, STYLES };
enum { COLUMNS_MAX = 12, ITEMS_MAX = 5, ITEM_MAX = 400, HUGE_BYTES = 3 << 20 };

struct table {
    uint64_t seed;
    size_t columns;
    int64_t rows;
    struct pq_column column[COLUMNS_MAX];
    char name[COLUMNS_MAX][16];
    enum style style[COLUMNS_MAX];
};
struct cell {
    bool null;
    int64_t i;
    size_t count;
    struct bl_str item[ITEMS_MAX];
    char bytes[ITEMS_MAX][ITEM_MAX];
};

static char huge[HUGE_BYTES];

static struct bl_str make_text(enum style style, struct bl_rng *r, int64_t row, char out[static ITEM_MAX]) {
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    static const char *const wild[] = {"", "\xc3\xa9", "\xf0\x9f\xa6\x8b", "\n", "\"", "x", "\x01", "\xe6\x97\xa5", "~", "\x7f"};
    size_t n = 0;
    uint64_t number = bl_rng_u64(r);
    if (style == CONSTANT) return BL_LIT("create");
    if (style == FEW) number %= 7;
    if (style == SKEWED) number = (uint64_t)(1000 / (1 + number % 1000));
    if (style == ORDERED) number = ((uint64_t)row << 24) + number % 1024;
    if (style == HUGE && number % 50 == 0) return bl_strn(huge, HUGE_BYTES - number % 1000);
    if (style == TEXT || style == HUGE) {
        for (size_t words = number % 30; words-- > 0;) n += (size_t)snprintf(out + n, ITEM_MAX - n, "w%d ", (int)bl_rng_below(r, 500));
        return bl_strn(out, n);
    }
    if (style == WILD) {
        for (size_t parts = number % 40; parts-- > 0;) {
            size_t pick = bl_rng_below(r, 11);
            if (pick == 10) out[n++] = 0;
            else n = (size_t)(stpcpy(out + n, wild[pick]) - out);
        }
        return bl_strn(out, n);
    }
    for (int k = 12; k >= 0; k--) out[n++] = alphabet[number >> (k * 5) & 31];
    return bl_strn(out, n);
}

static int64_t make_number(enum style style, struct bl_rng *r, int64_t row) {
    static const int64_t edges[] = {INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MIN + 1};
    if (style == CONSTANT) return 42;
    if (style == FEW || style == SKEWED) return (int64_t)bl_rng_below(r, 5) - 2;
    if (style == ORDERED) return 1700000000000000 + row * 1000 + (int64_t)bl_rng_below(r, 2000);
    if (style == WILD) return edges[bl_rng_below(r, 6)];
    return (int64_t)bl_rng_u64(r) >> bl_rng_below(r, 64);
}

static void make_cell(const struct table *t, size_t column, int64_t row, struct cell *c) {
    enum style style = t->style[column];
    enum pq_kind kind = t->column[column].kind;
    struct bl_rng r = {bl_mix64(t->seed * 1000003 + column * 1009 + (uint64_t)row * BL_GOLDEN)};
    c->null = t->column[column].optional &&
              (style == ALL_NULL || (style == NULL_RUNS ? row / 1000 % 2 == 0 : bl_rng_below(&r, 4) == 0));
    c->count = kind == PQ_STRING_LIST ? bl_rng_below(&r, ITEMS_MAX + 1) : 1;
    if (kind == PQ_I64) c->i = make_number(style, &r, row);
    if (kind == PQ_TIMESTAMP_US) c->i = make_number(style, &r, row) >> (style == ORDERED || style == CONSTANT ? 0 : 8);
    if (kind == PQ_BOOL) c->i = style == CONSTANT ? 1 : (int64_t)bl_rng_below(&r, 2);
    for (size_t k = 0; kind >= PQ_STRING && k < c->count; k++) c->item[k] = make_text(style, &r, row, c->bytes[k]);
}

static struct table make_table(uint64_t seed, int64_t rows_max) {
    struct bl_rng r = {bl_mix64(seed)};
    struct table t = {.seed = seed, .columns = 1 + bl_rng_below(&r, COLUMNS_MAX), .rows = (int64_t)bl_rng_below(&r, (uint64_t)rows_max + 1)};
    for (size_t i = 0; i < t.columns; i++) {
        snprintf(t.name[i], sizeof t.name[i], "c%zu", i);
        t.style[i] = (enum style)bl_rng_below(&r, STYLES);
        if (t.style[i] == HUGE && seed % 20) t.style[i] = TEXT;
        if (t.style[i] == HUGE) t.rows %= 200;
        t.column[i] = (struct pq_column){.kind = (enum pq_kind)bl_rng_below(&r, 6), .optional = bl_rng_below(&r, 3) > 0};
    }
    return t;
}

static void append_cell(struct pq_writer *w, const struct table *t, unsigned column, const struct cell *c) {
    if (c->null) {
        pq_null(w, column);
        return;
    }
    switch (t->column[column].kind) {
    case PQ_I64:
    case PQ_TIMESTAMP_US: pq_i64(w, column, c->i); break;
    case PQ_BOOL: pq_bool(w, column, c->i); break;
    case PQ_STRING:
    case PQ_JSON: pq_str(w, column, c->item[0]); break;
    case PQ_STRING_LIST: pq_list(w, column, c->item, c->count); break;
    }
}

static struct pq_summary write_table(struct table *t, const char *path, const struct pq_options *o) {
    struct bl_error err = {0};
    struct pq_summary sum = {0};
    for (size_t i = 0; i < t->columns; i++) t->column[i].name = t->name[i];
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    EXPECT(fd >= 0);
    struct pq_writer *w = pq_open(fd, t->column, t->columns, o);
    struct cell c;
    for (int64_t row = 0; row < t->rows; row++) {
        for (unsigned i = 0; i < t->columns; i++) {
            make_cell(t, i, row, &c);
            append_cell(w, t, i, &c);
        }
        EXPECT_OK(pq_row_end(w, &err), &err);
    }
    static const char *const metadata[][2] = {{"bluelake.type", "posts"}, {"bluelake.schema_version", "1"}};
    EXPECT_OK(pq_finish(w, metadata, 2, &sum, &err), &err);
    pq_close(&w);
    close(fd);
    return sum;
}

static void expect_cell(const struct table *t, struct duck_result *r, unsigned column, size_t at, int64_t row) {
    struct cell c;
    make_cell(t, column, row, &c);
    bool same = duck_is_null(r, column, at) == c.null;
    struct bl_str items[ITEMS_MAX];
    if (same && !c.null) switch (t->column[column].kind) {
        case PQ_I64:
        case PQ_TIMESTAMP_US:
        case PQ_BOOL: same = duck_i64(r, column, at) == c.i; break;
        case PQ_STRING:
        case PQ_JSON: same = bl_str_eq(duck_text(r, column, at), c.item[0]); break;
        case PQ_STRING_LIST:
            same = duck_list(r, column, at, items, ITEMS_MAX) == c.count;
            for (size_t k = 0; same && k < c.count; k++) same = bl_str_eq(items[k], c.item[k]);
        }
    if (!same) fail_msg("seed %llu column %u (kind %d, style %d) row %lld differs", (unsigned long long)t->seed, column,
                        (int)t->column[column].kind, (int)t->style[column], (long long)row);
}

static void expect_table(const struct table *t, struct duck *d, const char *path) {
    struct bl_error err = {0};
    struct duck_result *r = NULL;
    BL_CLEANUP(bl_freep) char *sql = bl_xasprintf("SELECT * FROM read_parquet('%s')", path);
    EXPECT_OK(duck_query(d, sql, NULL, 0, &r, &err), &err);
    assert_int_equal(duck_columns(r), t->columns);
    for (unsigned i = 0; i < t->columns; i++) {
        static const enum duck_kind kinds[] = {DUCK_I64, DUCK_TIMESTAMP_US, DUCK_BOOL, DUCK_TEXT, DUCK_TEXT, DUCK_LIST};
        assert_string_equal(duck_column_name(r, i), t->name[i]);
        assert_int_equal(duck_column_kind(r, i), kinds[t->column[i].kind]);
    }
    int64_t row = 0;
    for (size_t n = 1; n;) {
        EXPECT_OK(duck_next(r, &n, &err), &err);
        for (size_t at = 0; at < n; at++, row++)
            for (unsigned i = 0; i < t->columns; i++) expect_cell(t, r, i, at, row);
    }
    duck_result_close(&r);
    assert_int_equal(row, t->rows);
}

static int64_t ask_i64(struct duck *d, const char *sql) {
    struct bl_error err = {0};
    struct duck_result *r = NULL;
    size_t n;
    EXPECT_OK(duck_query(d, sql, NULL, 0, &r, &err), &err);
    EXPECT_OK(duck_next(r, &n, &err), &err);
    assert_int_equal(n, 1);
    int64_t v = duck_i64(r, 0, 0);
    duck_result_close(&r);
    return v;
}

/* DuckDB prunes row groups and answers min and max by the statistics: they must not lie. */
static void expect_statistics_hold(const struct table *t, struct duck *d, const char *path) {
    for (size_t i = 0; i < t->columns; i++) {
        if (t->column[i].kind == PQ_STRING_LIST) continue;
        BL_CLEANUP(bl_freep) char *sql = bl_xasprintf(
            "WITH v AS MATERIALIZED (SELECT min(c%zu) lo, max(c%zu) hi, count(c%zu) n FROM read_parquet('%s')) SELECT count(*) FROM v "
            "WHERE n = 0 OR (EXISTS (SELECT 1 FROM read_parquet('%s') p, v WHERE p.c%zu = v.lo) AND EXISTS (SELECT 1 FROM "
            "read_parquet('%s') p, v WHERE p.c%zu = v.hi))", i, i, i, path, path, i, path, i);
        if (ask_i64(d, sql) != 1) fail_msg("seed %llu column %zu: minimum or maximum not found", (unsigned long long)t->seed, i);
    }
}

struct place {
    char dir[64], path[96];
    struct duck *duck;
};
static struct place open_place(void) {
    struct bl_error err = {0};
    struct place p = {.dir = "/tmp/bl_parquet_XXXXXX"};
    EXPECT(mkdtemp(p.dir) != NULL);
    snprintf(p.path, sizeof p.path, "%s/t.parquet", p.dir);
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &p.duck, &err), &err);
    return p;
}
static void close_place(struct place *p) {
    duck_close(&p->duck);
    unlink(p->path);
    rmdir(p->dir);
}

static void expect_summary(const struct table *t, const char *path, struct pq_summary sum) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf file = {0};
    EXPECT_OK(bl_read_file(path, (size_t)1 << 30, &file, &err), &err);
    assert_int_equal(sum.rows, t->rows);
    assert_int_equal(sum.bytes, file.n);
    EXPECT(sum.checksum == XXH3_64bits(file.p, file.n));
}

static void random_tables_come_back_value_by_value(void **state) {
    (void)state;
    struct place p = open_place();
    memset(huge, 'h', sizeof huge);
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct table t = make_table(seed, seed % 10 ? 3000 : 40000);
        struct pq_options o = {.codec = (enum pq_codec)(seed % 4), .row_group_rows = seed % 3 ? 0 : 1 + (int64_t)(bl_mix64(seed) % 2500)};
        if (seed % 7 == 0) o.row_group_bytes = 100000;
        struct pq_summary sum = write_table(&t, p.path, &o);
        expect_summary(&t, p.path, sum);
        expect_table(&t, p.duck, p.path);
        if (seed % 10 == 0 && t.rows < 5000) expect_statistics_hold(&t, p.duck, p.path);
    }
    close_place(&p);
}

static void every_kind_in_every_style_survives_many_pages_and_a_full_row_group(void **state) {
    (void)state;
    struct place p = open_place();
    for (int kind = 0; kind < 6; kind++)
        for (int style = 0; style < STYLES; style += 1 + (kind < 3)) {
            if (style == HUGE) continue;
            struct table t = {.seed = 77, .columns = 2, .rows = 140000};
            for (int i = 0; i < 2; i++) {
                snprintf(t.name[i], sizeof t.name[i], "c%d", i);
                t.style[i] = (enum style)style;
                t.column[i] = (struct pq_column){.kind = (enum pq_kind)kind, .optional = i};
            }
            write_table(&t, p.path, &(struct pq_options){.codec = PQ_ZSTD});
            expect_table(&t, p.duck, p.path);
        }
    close_place(&p);
}

static void a_file_without_rows_has_its_columns_and_metadata(void **state) {
    (void)state;
    struct place p = open_place();
    struct table t = make_table(5, 100);
    t.rows = 0;
    struct pq_summary sum = write_table(&t, p.path, &(struct pq_options){.codec = PQ_ZSTD});
    assert_int_equal(sum.row_groups, 0);
    expect_summary(&t, p.path, sum);
    expect_table(&t, p.duck, p.path);
    BL_CLEANUP(bl_freep) char *sql = bl_xasprintf(
        "SELECT count(*) FROM parquet_kv_metadata('%s') WHERE (key, value) IN (('bluelake.type', 'posts'), ('bluelake.schema_version', '1'))", p.path);
    assert_int_equal(ask_i64(p.duck, sql), 2);
    close_place(&p);
}

static void long_strings_have_bounds_that_enclose_them(void **state) {
    (void)state;
    struct place p = open_place();
    struct bl_error err = {0};
    static const char euro[] = "\xe2\x82\xac";
    char text[3][300];
    for (int i = 0; i < 3; i++) memset(text[i], i == 0 ? 'a' : 'z', 300);
    for (int i = 0; i < 300; i += 3) memcpy(text[2] + i, euro, 3); /* nothing in it can be raised */
    for (int which = 1; which < 3; which++) {
        int fd = open(p.path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
        struct pq_column column = {.name = "s", .kind = PQ_STRING};
        struct pq_writer *w = pq_open(fd, &column, 1, &(struct pq_options){0});
        struct pq_summary sum;
        pq_str(w, 0, bl_strn(text[0], 300));
        EXPECT_OK(pq_row_end(w, &err), &err);
        pq_str(w, 0, bl_strn(text[which], 300));
        EXPECT_OK(pq_row_end(w, &err), &err);
        EXPECT_OK(pq_finish(w, NULL, 0, &sum, &err), &err);
        pq_close(&w);
        close(fd);
        BL_CLEANUP(bl_freep) char *sql = bl_xasprintf("SELECT (stats_min_value <= repeat('a', 300) AND length(stats_min_value) <= 64 AND "
            "coalesce(stats_max_value > repeat('%s', %d) AND length(stats_max_value) <= 64, %s))::INT FROM parquet_metadata('%s')",
            which == 1 ? "z" : euro, which == 1 ? 300 : 100, which == 1 ? "false" : "true", p.path);
        assert_int_equal(ask_i64(p.duck, sql), 1);
    }
    close_place(&p);
}

static void memory_stays_within_the_row_group_and_one_row(void **state) {
    (void)state;
    struct place p = open_place();
    struct bl_error err = {0};
    int fd = open(p.path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    struct pq_column column = {.name = "s", .kind = PQ_STRING};
    struct pq_writer *w = pq_open(fd, &column, 1, &(struct pq_options){.row_group_bytes = 4 << 20});
    struct pq_summary sum;
    char text[100];
    for (int i = 0; i < 300000; i++) {
        int n = snprintf(text, sizeof text, "%080d", i);
        pq_str(w, 0, bl_strn(text, (size_t)n));
        EXPECT_OK(pq_row_end(w, &err), &err);
        EXPECT(pq_memory(w) <= 4 << 20);
    }
    EXPECT_OK(pq_finish(w, NULL, 0, &sum, &err), &err);
    EXPECT(sum.row_groups > 5 && sum.row_groups < 40);
    pq_close(&w);
    close(fd);
    close_place(&p);
}

static void a_full_device_is_an_error_and_no_file(void **state) {
    (void)state;
    struct bl_error err = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) skip();
    struct pq_column column = {.name = "s", .kind = PQ_I64};
    struct pq_writer *w = pq_open(fd, &column, 1, &(struct pq_options){0});
    struct pq_summary sum;
    pq_i64(w, 0, 1);
    EXPECT_OK(pq_row_end(w, &err), &err);
    EXPECT_RC(pq_finish(w, NULL, 0, &sum, &err), BL_E_IO);
    pq_close(&w);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tables_come_back_value_by_value),
        cmocka_unit_test(every_kind_in_every_style_survives_many_pages_and_a_full_row_group),
        cmocka_unit_test(a_file_without_rows_has_its_columns_and_metadata),
        cmocka_unit_test(long_strings_have_bounds_that_enclose_them),
        cmocka_unit_test(memory_stays_within_the_row_group_and_one_row),
        cmocka_unit_test(a_full_device_is_an_error_and_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
