#include "lake/verify.h"

#include <fcntl.h>
#include <time.h>

#include "event/json.h"
#include "lake/duck.h"
#include "lake/reader.h"
#include "lake_fixture.h"

#define STEP INT64_C(20000000) /* 20 s between messages: 360 of them span two hours */

static void keep_finding(void *context, const char *check, const char *finding) {
    bl_buf_printf(context, "%s: %s\n", check, finding);
}

static struct verify_result verify(struct fixture *f, struct bl_buf *findings) {
    struct bl_error err = {0};
    struct verify_result result = {0};
    bl_buf_clear(findings);
    EXPECT_OK(lake_verify(f->dir, keep_finding, findings, &result, &err), &err);
    return result;
}

static void expect_problem(struct fixture *f, const char *wanted) {
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    struct verify_result result = verify(f, &findings);
    if (result.problems == 0 || !strstr(bl_buf_cstr(&findings), wanted))
        fail_msg("want \"%s\" among %lld problems:\n%s", wanted, (long long)result.problems, bl_buf_cstr(&findings));
}

static void expect_sound(struct fixture *f) {
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    struct verify_result result = verify(f, &findings);
    if (result.problems) fail_msg("problems in a sound lake:\n%s", bl_buf_cstr(&findings));
}

static void a_sound_lake_passes_before_and_after_compaction(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct bl_error err = {0};
    expect_sound(&f);
    fixture_fill(&f, 0, 200, STEP);
    fixture_fill(&f, 190, 360, STEP); /* ten of them for the second time */
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    struct verify_result result = verify(&f, &findings);
    assert_true(result.problems == 0 && result.rows == 360 && result.files > 8);
    struct lake_compact_stats stats;
    EXPECT_OK(lake_compact(f.lake, INT64_MAX, &stats, &err), &err);
    result = verify(&f, &findings);
    if (result.problems) fail_msg("%s", bl_buf_cstr(&findings));
    assert_true(result.rows == 360);
    fixture_drop(&f);
}

static char *path_of_first(struct fixture *f, enum ev_type type) {
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_true(fixture_files(f, type, &files) > 0);
    return bl_xasprintf("%s/%s", f->dir, files->path);
}

static void damaged_missing_and_stray_files_are_found(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    fixture_fill(&f, 0, 100, STEP);
    expect_sound(&f);
    BL_CLEANUP(bl_freep) char *likes = path_of_first(&f, EV_likes);
    int fd = open(likes, O_RDWR | O_CLOEXEC);
    unsigned char byte = 0;
    assert_int_equal(pread(fd, &byte, 1, 40), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 40), 1);
    expect_problem(&f, "checksum: year=");
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 40), 1);
    close(fd);
    expect_sound(&f);

    BL_CLEANUP(bl_freep) char *stray = bl_xasprintf("%s.copy", likes);
    assert_int_equal(link(likes, stray), 0);
    expect_sound(&f); /* it might be a commit in progress */
    assert_int_equal(utimensat(AT_FDCWD, stray, (struct timespec[]){{1000, 0}, {1000, 0}}, 0), 0);
    expect_problem(&f, "is not in the catalogue");
    unlink(stray);

    BL_CLEANUP(bl_freep) char *aside = bl_xasprintf("%s/aside", f.dir);
    assert_int_equal(rename(likes, aside), 0);
    expect_problem(&f, "file: year=");
    assert_int_equal(rename(aside, likes), 0);
    assert_int_equal(truncate(likes, 100), 0);
    expect_problem(&f, "size: year=");
    fixture_drop(&f);
}

static void an_event_that_stands_in_two_hours_far_apart_is_found(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    fixture_fill(&f, 0, 50, STEP);
    for (int64_t hours = 0; hours <= 40;
         hours += 20) /* another host stamps it hours later: the writer takes it for new */
        assert_int_equal(fixture_put(&f, fixture_message(&f, 4711, FIXTURE_NOON + hours * 3600000000)), LAKE_WRITTEN);
    fixture_commit(&f);
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    struct verify_result r = verify(&f, &findings);
    assert_true(r.twice == 2 && r.problems == 2);
    EXPECT(strstr(bl_buf_cstr(&findings), " is in the lake already, in year="));
    fixture_drop(&f);
}

static void a_ledger_that_does_not_add_up_is_found(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct bl_error err = {0};
    fixture_fill(&f, 0, 50, STEP);
    struct catalog_intake intake = {
        .type = EV_posts, .incarnation = 1, .seq = 1, .offset = 7, .received = 3, .duplicates = 1};
    lake_note_intake(f.lake, &intake);
    fixture_put(&f, fixture_message(&f, 1000, FIXTURE_NOON));
    struct lake_commit_stats stats;
    EXPECT_OK(lake_commit(f.lake, "write", &stats, &err), &err);
    expect_problem(&f, "ledger: posts: received");
    expect_problem(&f, "7 buffered events never arrived");
    fixture_drop(&f);
}

/* Rewrite a type's first file by SQL and list the result in its place, checksum and all: only its content is wrong. */
static void falsify(struct fixture *f, enum ev_type type, const char *sql_tail, int64_t rows) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_true(fixture_files(f, type, &files) > 0);
    BL_CLEANUP(bl_freep)
    char *sql = bl_xasprintf("COPY (SELECT * %s FROM read_parquet('%s/%s', hive_partitioning = false)) TO '%s/%s.x' "
                             "(FORMAT parquet, KV_METADATA {'bluelake.schema_version': '1'})",
                             sql_tail, f->dir, files->path, f->dir, files->path);
    BL_CLEANUP(duck_close) struct duck *d = NULL;
    EXPECT_OK(duck_open(&(struct duck_options){0}, &d, &err), &err);
    EXPECT_OK(duck_run(d, sql, &err), &err);
    struct catalog_file in = *files;
    snprintf(in.path, sizeof in.path, "%.250s.x", files->path);
    in.rows = rows ? rows : in.rows;
    struct catalog_commit what = {.add = &in, .add_count = 1, .remove = &files->id, .remove_count = 1};
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", f->dir, in.path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    in.bytes = st.st_size;
    in.checksum = 0;
    EXPECT_OK(catalog_commit(lake_catalog(f->lake), &what, NULL, &err), &err);
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0}; /* the checksum is learned from the finding */
    verify(f, &findings);
    const char *told = strstr(bl_buf_cstr(&findings), "has checksum ");
    assert_non_null(told);
    in.checksum = strtoull(told + strlen("has checksum "), NULL, 16);
    free(files);
    files = NULL;
    int64_t id = -1;
    size_t count = fixture_files(f, type, &files);
    for (size_t i = 0; i < count; i++)
        if (strcmp(files[i].path, in.path) == 0) id = files[i].id;
    what = (struct catalog_commit){.add = &in, .add_count = 1, .remove = &id, .remove_count = 1};
    EXPECT_OK(catalog_commit(lake_catalog(f->lake), &what, NULL, &err), &err);
}

static void rows_that_contradict_their_file_are_found(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    fixture_fill(&f, 0, 100, STEP);
    falsify(&f, EV_likes, "REPLACE (time_us + 3600000000 AS time_us)", 0);
    expect_problem(&f, "belongs to another hour");
    expect_problem(&f, "time range: year=");
    falsify(&f, EV_follows, "EXCLUDE (via_cid)", 0);
    expect_problem(&f, "schema: year=");
    falsify(&f, EV_profiles, "REPLACE ('did:plc:x' AS did, 'r' AS rkey, 'v' AS rev)", 0);
    expect_problem(&f, "is in the lake already");
    falsify(&f, EV_posts, "", 3);
    expect_problem(&f, "the catalogue says 3");
    fixture_drop(&f);
}

/* --- Against expected events --- */

struct expectation {
    struct fixture *f;
    uint64_t n, end;
    uint64_t changed; /* the message that differs; UINT64_MAX = none */
    const char *extra;
    struct bl_buf text;
};

static enum bl_rc next_expected(void *context, struct bl_str *message, bool *end, struct bl_error *err) {
    (void)err;
    struct expectation *e = context;
    if (e->extra) {
        *message = bl_str(e->extra);
        e->extra = NULL;
        return BL_OK;
    }
    *end = e->n >= e->end;
    if (*end) return BL_OK;
    uint64_t n = e->n++;
    *message = fixture_message(e->f, n, FIXTURE_NOON + (int64_t)n * STEP);
    if (n != e->changed) return BL_OK;
    bl_buf_clear(&e->text);
    bl_buf_str(&e->text, *message);
    char *at = strstr((char *)(uintptr_t)bl_buf_cstr(&e->text), "Post ");
    assert_non_null(at);
    *at = 'M';
    *message = bl_buf_view(&e->text);
    return BL_OK;
}

static struct verify_result compare(struct expectation *e, struct bl_buf *findings) {
    struct bl_error err = {0};
    struct verify_result result = {0};
    bl_buf_clear(findings);
    EXPECT_OK(lake_verify_against(e->f->dir, next_expected, e, keep_finding, findings, &result, &err), &err);
    bl_buf_release(&e->text);
    return result;
}

static void every_event_is_found_again_value_for_value(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    fixture_fill(&f, 0, 360, STEP);
    struct verify_result r = compare(&(struct expectation){.f = &f, .end = 360, .changed = UINT64_MAX}, &findings);
    if (findings.n) fail_msg("%s", bl_buf_cstr(&findings));
    assert_true(r.compared == 360 && r.missing == 0 && r.different == 0 && r.unexpected == 0 && r.twice == 0);
    fixture_drop(&f);
}

static void each_kind_of_difference_is_told_apart(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    BL_CLEANUP(bl_buf_release) struct bl_buf findings = {0};
    fixture_fill(&f, 0, 360, STEP);
    struct verify_result r = compare(&(struct expectation){.f = &f, .end = 370, .changed = UINT64_MAX}, &findings);
    assert_true(r.compared == 370 && r.missing == 10 && r.different == 0 && r.unexpected == 0);
    r = compare(&(struct expectation){.f = &f, .n = 30, .end = 360, .changed = UINT64_MAX}, &findings);
    assert_true(r.compared == 330 && r.missing == 0 && r.unexpected == 30);
    assert_non_null(strstr(bl_buf_cstr(&findings), "unexpected: ... 30 in all"));
    r = compare(&(struct expectation){.f = &f, .end = 360, .changed = 14}, &findings);
    assert_true(r.different == 1 && r.missing == 0 && r.unexpected == 0);
    assert_non_null(strstr(bl_buf_cstr(&findings), "differs at $.commit"));
    r = compare(&(struct expectation){.f = &f, .end = 360, .changed = UINT64_MAX, .extra = "{\"not\":\"an event\"}"},
                &findings);
    assert_true(r.missing == 1 && strstr(bl_buf_cstr(&findings), "no dead letter"));
    struct catalog_dead dead = {
        .type = EV_TYPE_COUNT, .reason = "missing_field", .message = BL_LIT("{\"not\":\"an event\"}")};
    lake_note_dead(f.lake, &dead);
    fixture_put(&f, fixture_message(&f, 359, FIXTURE_NOON + 359 * STEP));
    fixture_commit(&f);
    r = compare(&(struct expectation){.f = &f, .end = 360, .changed = UINT64_MAX, .extra = "{\"not\":\"an event\"}"},
                &findings);
    if (r.missing || r.unexpected) fail_msg("%s", bl_buf_cstr(&findings));
    fixture_drop(&f);
}

/* --- The reader below --- */

struct reading {
    int64_t rows, last_us, from_us, to_us;
    bool ordered;
    uint64_t seen_columns;
};

static enum bl_rc read_row(void *context, const struct event *ev, struct bl_error *err) {
    (void)err;
    struct reading *r = context;
    r->rows++;
    r->seen_columns |= ev->has;
    if (ev_has(ev, EV_TIME_US)) {
        int64_t us = ev->v[EV_TIME_US].i;
        assert_true(us >= r->from_us && us <= r->to_us);
        if (us < r->last_us) r->ordered = false;
        r->last_us = us;
    }
    return BL_OK;
}

static void the_reader_keeps_to_the_columns_range_and_order_asked_for(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct bl_error err = {0};
    fixture_fill(&f, 200, 360, STEP);
    fixture_fill(&f, 0, 200, STEP);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    struct lake_scan scan = {.lake_dir = f.dir, .type = EV_posts, .file_count = fixture_files(&f, EV_posts, &files)};
    scan.files = files;
    struct reading all = {.from_us = INT64_MIN, .to_us = INT64_MAX, .ordered = true};
    EXPECT_OK(lake_scan_rows(&scan, read_row, &all, &err), &err);
    assert_int_equal(all.rows, 52);
    assert_true(all.seen_columns >> EV_posts_langs & 1 && all.seen_columns >> EV_posts_created_at & 1);

    scan.ordered = true;
    scan.from_us = FIXTURE_NOON + 7 * STEP;
    scan.to_us = FIXTURE_NOON + 280 * STEP;
    scan.columns = (uint64_t)1 << EV_TIME_US | (uint64_t)1 << EV_posts_text;
    struct reading some = {.from_us = scan.from_us, .to_us = scan.to_us, .ordered = true, .last_us = INT64_MIN};
    EXPECT_OK(lake_scan_rows(&scan, read_row, &some, &err), &err);
    assert_true(some.rows == 40 && some.ordered && some.seen_columns == scan.columns);

    files->schema_version = EV_SCHEMA_VERSION + 1;
    EXPECT_RC(lake_scan_rows(&scan, read_row, &some, &err), BL_E_USAGE);
    scan.file_count = 0;
    EXPECT_OK(lake_scan_rows(&scan, read_row, &some, &err), &err);
    fixture_drop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reader_keeps_to_the_columns_range_and_order_asked_for),
        cmocka_unit_test(a_sound_lake_passes_before_and_after_compaction),
        cmocka_unit_test(damaged_missing_and_stray_files_are_found),
        cmocka_unit_test(an_event_that_stands_in_two_hours_far_apart_is_found),
        cmocka_unit_test(a_ledger_that_does_not_add_up_is_found),
        cmocka_unit_test(rows_that_contradict_their_file_are_found),
        cmocka_unit_test(every_event_is_found_again_value_for_value),
        cmocka_unit_test(each_kind_of_difference_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
