/* Questions over small lakes with known answers: what is hidden, SQL and its walls, the day's figures, deadlines. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "expect.h"
#include "fixture.h"

static const int64_t T = INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */, HOUR = INT64_C(3600000000),
                     SECOND = 1000000;

#define ALICE "did:plc:alice"
#define BOB "did:plc:bob"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct post create(int64_t time_us, const char *did, const char *rkey, const char *text) {
    return (struct post){.time_us = time_us, .did = did, .operation = "create", .rkey = rkey, .text = text};
}

static void expect_hits(struct query *q, const char *text, unsigned limit, const char *rkeys) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_search_stats stats;
    struct query_search s = {.text = bl_str(text), .limit = limit};
    EXPECT_OK(fixture_search(q, &s, &got, &stats, &err), &err);
    assert_string_equal(bl_buf_cstr(&got), rkeys);
}

static void expect_rows(struct query *q, const char *sql, const char *rows) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    EXPECT_OK(fixture_sql(q, sql, &got, &err), &err);
    assert_string_equal(bl_buf_cstr(&got), rows);
}

static void expect_refused(struct query *q, const char *sql) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    if (fixture_sql(q, sql, &got, &err) == BL_OK) fail_msg("answered: %s: %s", sql, bl_buf_cstr(&got));
}

static void deleted_and_superseded_posts_are_hidden_and_the_page_is_filled_up(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post first[] = {create(T + 1, ALICE, "a", "cat one"),   create(T + 2, ALICE, "b", "cat two"),
                           create(T + 3, BOB, "a", "cat three"),   create(T + 4, BOB, "c", "cat four"),
                           create(T + 5, BOB, "d", "cat of five"), create(T + 6, BOB, "e", "cat gone and back")};
    struct post later[] = {
        {.time_us = T + HOUR, .did = ALICE, .operation = "delete", .rkey = "a"},
        {.time_us = T + HOUR + 1, .did = BOB, .operation = "update", .rkey = "c", .text = "now a dog"},
        {.time_us = T + HOUR + 2, .did = BOB, .operation = "update", .rkey = "d", .text = "cat, edited"},
        {.time_us = T + HOUR + 3, .did = BOB, .operation = "delete", .rkey = "e"},
        create(T + HOUR + 4, BOB, "e", "cat again")};
    fixture_posts(&f, first, COUNT(first));
    fixture_posts(&f, later, COUNT(later));
    struct query *q = fixture_query(&f, 0);
    expect_hits(q, "cat", 50, "e d a b ");
    expect_hits(q, "cat", 3, "e d a ");
    expect_hits(q, "cat until:2026-11-21T00:30:00Z", 1, "a "); /* four of five newer ones are history */
    expect_hits(q, "dog", 50, "c ");
    expect_hits(q, "from:" ALICE, 50, "b ");
    expect_hits(q, "", 2, "e d ");
    query_close(&q);
    fixture_close(&f);
}

static void posts_of_accounts_that_are_not_active_are_hidden_until_they_return(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T + 1, ALICE, "a", "cat"), create(T + 2, BOB, "b", "cat")};
    struct account gone[] = {{T + 10, ALICE, NULL, false}, {T + 11, BOB, "bob.test.example", true}};
    struct account back[] = {{T + 20, ALICE, NULL, true}};
    fixture_posts(&f, posts, COUNT(posts));
    fixture_accounts(&f, gone, COUNT(gone));
    struct query *q = fixture_query(&f, 0);
    expect_hits(q, "cat", 50, "b ");
    expect_hits(q, "from:@Bob.test.example", 50, "b ");
    fixture_accounts(&f, back, COUNT(back));
    struct bl_error err = {0};
    expect_hits(q, "cat", 50, "b "); /* the snapshot is pinned */
    EXPECT_OK(query_refresh(q, &err), &err);
    expect_hits(q, "cat", 50, "b a ");
    query_close(&q);
    fixture_close(&f);
}

static void an_unknown_handle_finds_nothing_and_says_why(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T + 1, ALICE, "a", "cat")};
    struct account renamed[] = {{T + 1, ALICE, "old.example.com", true}, {T + 2, ALICE, "new.example.com", true}};
    fixture_posts(&f, posts, COUNT(posts));
    fixture_accounts(&f, renamed, COUNT(renamed));
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_search_stats stats;
    EXPECT_OK(fixture_search(q, &(struct query_search){.text = BL_LIT("from:old.example.com")}, &got, &stats, &err),
              &err);
    EXPECT(stats.hits == 0 && stats.files_read == 0);
    EXPECT(strstr(stats.note, "no account is known by the handle old.example.com"));
    expect_hits(q, "from:new.example.com", 50, "a ");
    expect_hits(q, "-from:nobody.example.com", 50, "a ");
    query_close(&q);
    fixture_close(&f);
}

static void hostile_searches_change_nothing_and_find_only_what_they_say(void **state) {
    (void)state;
    static const char *const hostile[] = {"\"' OR 1=1 --\"",
                                          "\"'; DROP VIEW posts; --\"",
                                          "from:did:plc:x'OR'1'='1",
                                          "#x'||'",
                                          "mentions:did:plc:\\'\"",
                                          "\"%\"",
                                          "\"_\"",
                                          "\"\\\\\"",
                                          "\"$1\"",
                                          "\"?\"",
                                          "\".*\"",
                                          "\"[a-z]\"",
                                          "domain:a.b|.*",
                                          "\"(?i)cat\"",
                                          "\"\\\\Ecat\\\\Q\"",
                                          "lang:en-OR-1",
                                          "domain:.*.*"};
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T + 1, ALICE, "a", "cat"), create(T + 2, BOB, "b", "100% _ \\ ?")};
    fixture_posts(&f, posts, COUNT(posts));
    struct query *q = fixture_query(&f, 0);
    for (size_t i = 0; i < COUNT(hostile); i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        EXPECT_OK(fixture_search(q, &(struct query_search){.text = bl_str(hostile[i])}, &got, NULL, &err), &err);
        EXPECT(strstr(bl_buf_cstr(&got), "a ") == NULL);
        expect_rows(q, "SELECT count(*) FROM posts", "2\n");
    }
    expect_hits(q, "\"%\"", 50, "b ");
    expect_hits(q, "\"_\"", 50, "b ");
    expect_hits(q, "\"\\\\\"", 50, "b ");
    query_close(&q);
    fixture_close(&f);
}

/* Three days; the middle one has known figures. */
static void make_days(struct fixture *f) {
    fixture_open(f);
    struct post before[] = {create(T - HOUR, ALICE, "x", "yesterday")};
    struct post morning[] = {create(T, ALICE, "a", "four"), create(T + 1, BOB, "b", "caf\xc3\xa9s\xc3\xa9"),
                             {.time_us = T + 2, .did = BOB, .operation = "delete", .rkey = "old"}};
    struct post night[] = {create(T + 24 * HOUR - 1, ALICE, "c", "Term term \xf0\x9f\x8e\x89")};
    struct post after[] = {create(T + 24 * HOUR, BOB, "y", "tomorrow")};
    night[0].langs[0] = "en";
    night[0].hashtags[0] = "art";
    fixture_posts(f, before, COUNT(before));
    fixture_posts(f, morning, COUNT(morning));
    fixture_posts(f, night, COUNT(night));
    fixture_posts(f, after, COUNT(after));
}

static void a_days_figures_are_known_and_read_that_day_only(void **state) {
    (void)state;
    struct fixture f;
    make_days(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    struct query_daily_stats day;
    EXPECT_OK(query_daily_stats(q, T + 5 * HOUR, &day, &err), &err);
    assert_int_equal(day.total_posts, 3);
    assert_int_equal(day.unique_authors, 2);
    assert_int_equal(day.files_read, 2);
    EXPECT(day.avg_post_length > 6.99 && day.avg_post_length < 7.01); /* 4, 6 and 11 characters */
    EXPECT_OK(query_daily_stats(q, T + 100 * 24 * HOUR, &day, &err), &err);
    EXPECT(day.total_posts == 0 && day.files_read == 0);
    query_close(&q);
    fixture_close(&f);
}

static void the_statements_of_the_specification_run_as_they_stand(void **state) {
    (void)state;
    struct fixture f;
    make_days(&f);
    struct query *q = fixture_query(&f, 0);
    expect_rows(q,
                "SELECT author, text FROM records WHERE date BETWEEN '2026-11-20' AND '2026-11-21' AND record_type = "
                "'post' ORDER BY time_us",
                ALICE "|yesterday\n" ALICE "|four\n" BOB "|caf\xc3\xa9s\xc3\xa9\n" ALICE
                      "|Term term \xf0\x9f\x8e\x89\n");
    expect_rows(q,
                "SELECT COUNT(*) AS total_posts, COUNT(DISTINCT author) AS unique_authors, AVG(LENGTH(text)) AS "
                "avg_post_length "
                "FROM records WHERE date = '2026-11-21' AND record_type = 'post'",
                "3|2|7.0\n");
    expect_rows(q, "SELECT uri FROM records WHERE text ILIKE '%TERM%' AND record_type = 'post'",
                "at://" ALICE "/app.bsky.feed.post/c\n");
    expect_rows(q, "SELECT type, count(*) FROM events GROUP BY type", "posts|6\n");
    expect_rows(q, "SELECT DISTINCT typeof(date), typeof(hour), typeof(created_at) FROM posts",
                "DATE|INTEGER|TIMESTAMP\n");
    expect_rows(q, "SELECT (SELECT typeof(any_value(created_at)) FROM posts), (SELECT count(*) FROM likes)",
                "TIMESTAMP|0\n");
    query_close(&q);
    fixture_close(&f);
}

static void posts_are_filtered_by_structure(void **state) {
    (void)state;
    struct fixture f;
    make_days(&f);
    struct query *q = fixture_query(&f, 0);
    static const struct {
        const char *field, *value, *uris;
    } cases[] = {{"author", BOB, "b"},
                 {"lang", "EN", "c"},
                 {"text", "TERM T", "c"},
                 {"hashtag", "#Art", "c"},
                 {"text", "%", ""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        struct query_filter filter = {cases[i].field, bl_str(cases[i].value)};
        struct query_sink sink = fixture_sink(&got);
        EXPECT_OK(query_posts(q, T, T + 24 * HOUR - 1, &filter, 1, &sink, &err), &err);
        size_t lines = 0;
        for (size_t k = 0; k < got.n; k++) lines += got.p[k] == '\n';
        assert_int_equal(lines, strlen(cases[i].uris));
        if (lines) {
            char end[64];
            snprintf(end, sizeof end, "/app.bsky.feed.post/%s|", cases[i].uris);
            EXPECT(strstr(bl_buf_cstr(&got), end));
        }
    }
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf all = {0};
    struct query_sink sink = fixture_sink(&all);
    EXPECT_OK(query_posts(q, T, T + 24 * HOUR - 1, NULL, 0, &sink, &err), &err);
    const char *c = strstr(bl_buf_cstr(&all), "post/c"), *b = strstr(all.p, "post/b"), *a = strstr(all.p, "post/a");
    EXPECT(c && b && a && c < b && b < a);
    struct query_filter wrong = {"1=1; --", BL_LIT("x")};
    EXPECT_RC(query_posts(q, T, T + HOUR, &wrong, 1, &sink, &err), BL_E_USAGE);
    query_close(&q);
    fixture_close(&f);
}

static void sql_that_writes_or_looks_outside_is_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT content FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/bluelake-out.csv'",
        "ATTACH '/tmp/bluelake-out.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "RESET memory_limit",
        "PRAGMA database_list",
        "CREATE TABLE t (i INTEGER)",
        "DROP VIEW posts",
        "INSERT INTO posts VALUES (1)",
        "DELETE FROM posts",
        "EXPORT DATABASE '/tmp/bluelake-out'",
        "CALL pragma_version()",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW posts",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/bluelake-out.csv'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '/tmp/bluelake-out.csv'",
        "/* SELECT */ DROP VIEW posts",
        "-- SELECT\nDROP VIEW posts",
        "/* a /* b */ SELECT */ DROP VIEW posts",
        "",
        "  -- nothing\n",
        "(DROP VIEW posts)",
        "SELECT ?",
    };
    struct fixture f;
    make_days(&f);
    struct query *q = fixture_query(&f, 0);
    for (size_t i = 0; i < COUNT(refused); i++) expect_refused(q, refused[i]);
    char copy[256], made[128];
    snprintf(made, sizeof made, "%s/made.csv", f.dir);
    static const char *const writers[] = {"COPY (SELECT 1) TO '%s'",
                                          "EXPLAIN ANALYZE COPY (SELECT 1) TO '%s'",
                                          "WITH a AS (SELECT 1) COPY a TO '%s'",
                                          "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '%s'",
                                          "EXPLAIN EXPLAIN ANALYZE COPY (SELECT 1) TO '%s'",
                                          "DESCRIBE COPY (SELECT 1) TO '%s'",
                                          "SUMMARIZE COPY (SELECT 1) TO '%s'",
                                          "SHOW COPY (SELECT 1) TO '%s'"};
    for (size_t i = 0; i < COUNT(writers); i++) {
        snprintf(copy, sizeof copy, writers[i], made);
        expect_refused(q, copy);
        EXPECT(access(made, F_OK) != 0);
    }
    expect_rows(q, "SELECT count(*) FROM posts", "6\n");
    query_close(&q);
    fixture_close(&f);
}

static void questions_in_every_form_are_answered(void **state) {
    (void)state;
    static const char *const answered[] = {"SELECT 1",         "select 1;",
                                           "(SELECT 1)",       "WITH a AS (SELECT 1) SELECT * FROM a",
                                           "FROM posts",       "VALUES (1)",
                                           "TABLE posts",      "DESCRIBE posts",
                                           "SHOW TABLES",      "SUMMARIZE posts",
                                           "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT 1",
                                           "-- why\nSELECT 1", "/* a /* b */ c */ SELECT ';'"};
    struct fixture f;
    make_days(&f);
    struct query *q = fixture_query(&f, 0);
    for (size_t i = 0; i < COUNT(answered); i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        EXPECT_OK(fixture_sql(q, answered[i], &got, &err), &err);
    }
    query_close(&q);
    fixture_close(&f);
}

static void views_stand_on_an_empty_lake(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct query *q = fixture_query(&f, 0);
    expect_rows(q, "SELECT count(*) FROM records", "0\n");
    expect_rows(q, "SELECT count(*), max(date) FROM events WHERE year = 2026", "0|NULL\n");
    expect_hits(q, "cats", 50, "");
    query_close(&q);
    fixture_close(&f);
}

static const char *const heavy = "SELECT sum(sin(a.i * b.i)) FROM range(1000000) a(i), range(1000000) b(i)";

static void a_deadline_ends_a_heavy_question_and_the_session_lives_on(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct query *q = fixture_query(&f, SECOND / 2);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    int64_t start = bl_mono_ns();
    EXPECT_RC(fixture_sql(q, heavy, &got, &err), BL_E_TIMEOUT);
    EXPECT(bl_mono_ns() - start < INT64_C(10000000000));
    expect_rows(q, "SELECT 42", "42\n");
    query_close(&q);
    fixture_close(&f);
}

/* Cancels until the question has ended: no guess is made about when it starts. */
static void *cancel_until_done(void *context) {
    struct {
        struct query *q;
        _Atomic bool done;
    } *c = context;
    while (!c->done) {
        query_cancel(c->q);
        usleep(1000);
    }
    return NULL;
}

static void a_cancelled_question_says_so(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct {
        struct query *q;
        _Atomic bool done;
    } c = {.q = fixture_query(&f, 60 * SECOND)};
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, cancel_until_done, &c) == 0);
    EXPECT_RC(fixture_sql(c.q, heavy, &got, &err), BL_E_CANCELLED);
    c.done = true;
    pthread_join(thread, NULL);
    expect_rows(c.q, "SELECT 42", "42\n");
    query_close(&c.q);
    fixture_close(&f);
}

static void a_question_moves_on_when_compaction_took_its_files_away(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T + 1, ALICE, "a", "cat")};
    fixture_posts(&f, posts, COUNT(posts));
    struct query *q = fixture_query(&f, 0);
    expect_rows(q, "SELECT count(*) FROM posts", "1\n");
    struct bl_error err = {0};
    struct catalog_file *old;
    size_t count;
    EXPECT_OK(catalog_files(f.catalog, EV_posts, 0, INT64_MAX, &old, &count, &err), &err);
    assert_int_equal(count, 1);
    fixture_posts(&f, posts, COUNT(posts));
    int64_t snapshot;
    struct catalog_commit commit = {.remove = &old[0].id, .remove_count = 1, .job = "compact"};
    EXPECT_OK(catalog_commit(f.catalog, &commit, &snapshot, &err), &err);
    char path[400];
    snprintf(path, sizeof path, "%s/%s", f.dir, old[0].path);
    EXPECT(unlink(path) == 0);
    free(old);
    expect_hits(q, "cat", 50, "a ");
    EXPECT(query_snapshot(q) == snapshot);
    expect_rows(q, "SELECT count(*) FROM posts", "1\n");
    query_close(&q);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deleted_and_superseded_posts_are_hidden_and_the_page_is_filled_up),
        cmocka_unit_test(posts_of_accounts_that_are_not_active_are_hidden_until_they_return),
        cmocka_unit_test(an_unknown_handle_finds_nothing_and_says_why),
        cmocka_unit_test(hostile_searches_change_nothing_and_find_only_what_they_say),
        cmocka_unit_test(a_days_figures_are_known_and_read_that_day_only),
        cmocka_unit_test(the_statements_of_the_specification_run_as_they_stand),
        cmocka_unit_test(posts_are_filtered_by_structure),
        cmocka_unit_test(sql_that_writes_or_looks_outside_is_refused),
        cmocka_unit_test(questions_in_every_form_are_answered),
        cmocka_unit_test(views_stand_on_an_empty_lake),
        cmocka_unit_test(a_deadline_ends_a_heavy_question_and_the_session_lives_on),
        cmocka_unit_test(a_cancelled_question_says_so),
        cmocka_unit_test(a_question_moves_on_when_compaction_took_its_files_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
