/* Pages, exports, counts, single posts and accounts over small lakes with known answers. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "expect.h"
#include "fixture.h"
#include "query/views.h"

static const int64_t T = INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */, HOUR = INT64_C(3600000000);

#define ALICE "did:plc:alice"
#define BOB "did:plc:bob"
#define EVE "did:plc:eve"
#define CAROL "did:plc:carol"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct post create(int64_t time_us, const char *did, const char *rkey, const char *text) {
    return (struct post){.time_us = time_us, .did = did, .operation = "create", .rkey = rkey, .text = text};
}

/* Two hours; b is deleted, d edited, EVE hidden. What may be shown, newest first: d2 (edited) c a. */
static void make_lake(struct fixture *f) {
    fixture_open(f);
    struct post first[] = {create(T + 1, ALICE, "a", "cat one"), create(T + 2, ALICE, "b", "cat two"),
                           create(T + 3, BOB, "c", "Cat #Art three"), create(T + 4, BOB, "d", "cat four"),
                           create(T + 5, EVE, "e", "cat five")};
    first[2].hashtags[0] = "art";
    first[2].langs[0] = "en";
    first[2].links[0] = "https://example.com/x?y=1";
    first[2].quote_uri = "at://" ALICE "/app.bsky.feed.post/a";
    struct post second[] = {
        {.time_us = T + HOUR, .did = ALICE, .operation = "delete", .rkey = "b"},
        {.time_us = T + HOUR + 1, .did = BOB, .operation = "update", .rkey = "d", .text = "cat four, edited"}};
    struct account accounts[] = {
        {T + 1, ALICE, "alice.example.com", true}, {T + 2, EVE, "eve.example.com", true}, {T + 3, EVE, NULL, false}};
    fixture_posts(f, first, COUNT(first));
    fixture_posts(f, second, COUNT(second));
    fixture_accounts(f, accounts, COUNT(accounts));
    struct profile profiles[] = {{T + 1, ALICE, "create", "Old name", "about"},
                                 {T + 2, ALICE, "update", "Alice \xf0\x9f\x8e\x89", "about me"}};
    fixture_profiles(f, profiles, COUNT(profiles));
}

static void expect_page(struct query *q, struct query_search s, const char *rkeys, bool more,
                        char cursor[QUERY_CURSOR_MAX]) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_search_stats stats;
    EXPECT_OK(fixture_search(q, &s, &got, &stats, &err), &err);
    assert_string_equal(bl_buf_cstr(&got), rkeys);
    assert_int_equal(stats.more, more);
    EXPECT(more == (*stats.next_cursor != 0));
    if (cursor) memcpy(cursor, stats.next_cursor, sizeof stats.next_cursor);
}

static void pages_by_cursor_and_by_number_are_disjoint_and_complete(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    char cursor[QUERY_CURSOR_MAX];
    expect_page(q, (struct query_search){.limit = 1}, "d ", true, cursor);
    expect_page(q, (struct query_search){.limit = 1, .after = bl_str(cursor)}, "c ", true, cursor);
    expect_page(q, (struct query_search){.limit = 1, .after = bl_str(cursor)}, "a ", false, cursor);
    expect_page(q, (struct query_search){.limit = 3}, "d c a ", false, NULL);
    expect_page(q, (struct query_search){.limit = 1, .skip = 1}, "c ", true, NULL);
    expect_page(q, (struct query_search){.limit = 2, .skip = 2}, "a ", false, NULL);
    expect_page(q, (struct query_search){.limit = 2, .skip = 20}, "", false, NULL);
    query_close(&q);
    fixture_close(&f);
}

static void equal_times_do_not_confuse_the_cursor(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static char keys[20][8];
    struct post posts[20];
    for (int i = 0; i < 20; i++) {
        snprintf(keys[i], sizeof keys[i], "k%02d", i);
        posts[i] = create(T, i % 2 ? ALICE : BOB, keys[i], "same time");
    }
    fixture_posts(&f, posts, 10);
    fixture_posts(&f, posts + 10, 10);
    struct query *q = fixture_query(&f, 0);
    BL_CLEANUP(bl_buf_release) struct bl_buf all = {0}, paged = {0};
    struct query_search_stats stats = {0};
    struct bl_error err = {0};
    EXPECT_OK(fixture_search(q, &(struct query_search){.limit = 50}, &all, &stats, &err), &err);
    char cursor[QUERY_CURSOR_MAX] = "";
    do {
        EXPECT_OK(fixture_search(q, &(struct query_search){.limit = 3, .after = bl_str(cursor)}, &paged, &stats, &err),
                  &err);
        memcpy(cursor, stats.next_cursor, sizeof cursor);
    } while (stats.more);
    assert_string_equal(bl_buf_cstr(&paged), bl_buf_cstr(&all));
    query_close(&q);
    fixture_close(&f);
}

static void a_structured_filter_narrows_the_words(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    expect_page(q, (struct query_search){.literal = BL_LIT("cat four")}, "d ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("from:alice")}, "", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("#ART")}, "c ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("cat"), .literal = BL_LIT("three")}, "c ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("one OR three"), .account = BL_LIT("@Alice.example.com")}, "a ",
                false, NULL);
    expect_page(q, (struct query_search){.account = BL_LIT(BOB), .lang = BL_LIT("EN")}, "c ", false, NULL);
    expect_page(q, (struct query_search){.to_us = T + HOUR - 1, .from_us = T + 3}, "c ", false, NULL);
    query_close(&q);
    fixture_close(&f);
}

static void wrong_parameters_are_named(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    static const struct {
        struct query_search s;
        const char *start;
    } wrong[] = {{{.account = BL_LIT("alice")}, "username: "},
                 {{.lang = BL_LIT("e")}, "lang: "},
                 {{.after = BL_LIT("x")}, "cursor: "},
                 {{.after = BL_LIT("1AAAA")}, "cursor: "},
                 {{.after = BL_LIT("1!")}, "cursor: "},
                 {{.literal = BL_LIT("\xff")}, "text: "},
                 {{.literal = BL_LIT("a\0b")}, "text: "},
                 {{.limit = 10001}, "at most 10000"},
                 {{.limit = 1, .skip = UINT32_MAX}, "at most 10000"}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        EXPECT_RC(fixture_search(q, &wrong[i].s, &got, NULL, &err), BL_E_USAGE);
        if (strncmp(err.message, wrong[i].start, strlen(wrong[i].start)) != 0) fail_msg("%zu: %s", i, err.message);
    }
    query_close(&q);
    fixture_close(&f);
}

static enum bl_rc take_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct bl_buf *out = context;
    const struct bl_str parts[] = {hit->uri,          hit->rkey,          hit->handle,
                                   hit->display_name, hit->hashtags_json, hit->links_json,
                                   hit->langs_json,   hit->quote_uri,     hit->reply_parent_uri};
    (void)err;
    for (size_t i = 0; i < COUNT(parts); i++) bl_buf_printf(out, "%.*s|", BL_ARG(parts[i].p ? parts[i] : BL_LIT("-")));
    bl_buf_byte(out, '\n');
    return BL_OK;
}

static void hits_carry_what_the_page_shows(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_search s = {.text = BL_LIT("one OR three")};
    EXPECT_OK(query_search(q, &s, take_hit, &got, NULL, &err), &err);
    assert_string_equal(bl_buf_cstr(&got),
                        "at://" BOB "/app.bsky.feed.post/c|c|-|-|[\"art\"]|[\"https://example.com/x?y=1\"]|[\"en\"]|"
                        "at://" ALICE "/app.bsky.feed.post/a|-|\n"
                        "at://" ALICE "/app.bsky.feed.post/a|a|alice.example.com|Alice \xf0\x9f\x8e\x89|-|-|-|-|-|\n");
    query_close(&q);
    fixture_close(&f);
}

static enum bl_rc take_rkey(void *context, const struct query_hit *hit, struct bl_error *err) {
    (void)err;
    bl_buf_printf(context, "%.*s ", BL_ARG(hit->rkey));
    return BL_OK;
}

static void an_export_gives_what_a_search_gives(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    struct query_search_stats stats;
    BL_CLEANUP(bl_buf_release) struct bl_buf all = {0}, some = {0}, none = {0};
    EXPECT_OK(query_export(q, &(struct query_search){0}, take_rkey, &all, &stats, &err), &err);
    assert_string_equal(bl_buf_cstr(&all), "d c a ");
    EXPECT(!stats.more && stats.hits == 3 && !*stats.next_cursor);
    EXPECT_OK(query_export(q, &(struct query_search){.limit = 2}, take_rkey, &some, &stats, &err), &err);
    assert_string_equal(bl_buf_cstr(&some), "d c ");
    EXPECT(stats.more && *stats.next_cursor);
    EXPECT_OK(query_export(q, &(struct query_search){.account = BL_LIT("nobody.example.com")}, take_rkey, &none, &stats,
                           &err),
              &err);
    EXPECT(none.n == 0 && strstr(stats.note, "nobody.example.com"));
    query_close(&q);
    fixture_close(&f);
}

static void an_export_to_a_pipe_is_a_parquet_file(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    int ends[2];
    EXPECT(pipe(ends) == 0);
    EXPECT_OK(query_export_parquet(q, &(struct query_search){0}, ends[1], NULL, &err),
              &err); /* small enough for the pipe */
    close(ends[1]);
    char path[100], bytes[65536], sql[256];
    ssize_t n = read(ends[0], bytes, sizeof bytes);
    close(ends[0]);
    snprintf(path, sizeof path, "%s/export.parquet", f.dir);
    FILE *file = fopen(path, "w");
    EXPECT(file && fwrite(bytes, 1, (size_t)n, file) == (size_t)n && fclose(file) == 0);
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    snprintf(sql, sizeof sql, "SELECT username, text, hashtags->>0 FROM read_parquet('%s') ORDER BY timestamp DESC",
             path);
    EXPECT_OK(fixture_sql(q, sql, &got, &err), &err);
    assert_string_equal(bl_buf_cstr(&got),
                        BOB "|cat four, edited|NULL\n" BOB "|Cat #Art three|art\nalice.example.com|cat one|NULL\n");
    query_close(&q);
    fixture_close(&f);
}

static void expect_counts(struct query *q, struct query_search s, enum query_bucket bucket, const char *wanted) {
    struct bl_error err = {0};
    struct query_counts counts;
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    EXPECT_OK(query_counts(q, &s, bucket, 0, &counts, &err), &err);
    EXPECT(!counts.partial);
    for (size_t i = 0; i < counts.count; i++) {
        char time[BL_TIME_TEXT_MAX];
        bl_buf_printf(&got, "%.13s %d|", bl_format_time(counts.buckets[i].start_us, 0, time),
                      (int)counts.buckets[i].count);
    }
    bl_buf_printf(&got, "=%d", (int)counts.total);
    assert_string_equal(bl_buf_cstr(&got), wanted);
    free(counts.buckets);
}

static void counts_are_those_of_what_may_be_shown(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct post later[] = {create(T + 3 * HOUR, ALICE, "f", "cat")};
    fixture_posts(&f, later, 1);
    struct query *q = fixture_query(&f, 0);
    expect_counts(q, (struct query_search){0}, QUERY_BUCKET_AUTO,
                  "2026-11-21T00 2|2026-11-21T01 1|2026-11-21T02 0|2026-11-21T03 1|=4");
    expect_counts(q, (struct query_search){.text = BL_LIT("cat")}, QUERY_BUCKET_DAY, "2026-11-21T00 4|=4");
    expect_counts(q, (struct query_search){.text = BL_LIT("edited"), .exact = true}, QUERY_BUCKET_HOUR,
                  "2026-11-21T01 1|=1");
    expect_counts(q, (struct query_search){.text = BL_LIT("dog")}, QUERY_BUCKET_HOUR, "=0");
    expect_counts(q, (struct query_search){.account = BL_LIT("eve.example.com")}, QUERY_BUCKET_HOUR, "=0");
    struct post gone[] = {{.time_us = T + 4 * HOUR, .did = ALICE, .operation = "delete", .rkey = "f"}};
    struct account back[] = {{T + 4 * HOUR, EVE, NULL, true}};
    fixture_posts(&f, gone, 1);
    fixture_accounts(&f, back, 1);
    struct bl_error err = {0};
    EXPECT_OK(query_refresh(q, &err), &err); /* what is new is read, and takes effect */
    expect_counts(q, (struct query_search){0}, QUERY_BUCKET_HOUR, "2026-11-21T00 3|2026-11-21T01 1|=4");
    query_close(&q);
    fixture_close(&f);
}

static enum bl_rc take_post(void *context, const struct query_hit *hit, struct bl_str history, struct bl_error *err) {
    (void)err;
    bl_buf_printf(context, "%.*s %.*s", BL_ARG(hit->text), BL_ARG(history));
    return BL_OK;
}

static void a_post_is_told_with_its_history(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    static const char *const names[] = {"at://" BOB "/app.bsky.feed.post/d", BOB "/d"};
    for (size_t i = 0; i < COUNT(names); i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        EXPECT_OK(query_post(q, bl_str(names[i]), take_post, &got, &err), &err);
        assert_string_equal(
            bl_buf_cstr(&got),
            "cat four, edited [{\"timestamp\":\"2026-11-21T00:00:00.000004Z\",\"operation\":\"create\",\"text\":\"cat "
            "four\"},"
            "{\"timestamp\":\"2026-11-21T01:00:00.000001Z\",\"operation\":\"update\",\"text\":\"cat four, edited\"}]");
    }
    static const struct {
        const char *uri;
        enum bl_rc rc;
    } others[] = {{ALICE "/b", BL_E_NOT_FOUND},
                  {EVE "/e", BL_E_NOT_FOUND},
                  {ALICE "/zzz", BL_E_NOT_FOUND},
                  {"alice.example.com/a", BL_OK},
                  {"nonsense", BL_E_USAGE},
                  {"at://" BOB "/app.bsky.feed.like/d", BL_E_USAGE},
                  {"nobody.example.com/d", BL_E_NOT_FOUND},
                  {BOB "/d/e", BL_E_USAGE},
                  {BOB "/", BL_E_USAGE}};
    for (size_t i = 0; i < COUNT(others); i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        enum bl_rc rc = query_post(q, bl_str(others[i].uri), take_post, &got, &err);
        if (rc != others[i].rc) fail_msg("%s: %s", others[i].uri, bl_rc_name(rc));
        EXPECT(rc == BL_OK || got.n == 0);
    }
    query_close(&q);
    fixture_close(&f);
}

static enum bl_rc take_user(void *context, const struct query_user *u, struct bl_error *err) {
    (void)err;
    bl_buf_printf(context, "%.*s|%.*s|%.*s|%.*s|%d|%d|%lld-%lld", BL_ARG(u->did), BL_ARG(u->handle),
                  BL_ARG(u->display_name), BL_ARG(u->description), u->active, (int)u->posts,
                  (long long)(u->first_seen_us - T), (long long)(u->last_seen_us - T));
    return BL_OK;
}

static void an_account_is_told_by_any_of_its_names(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    static const char *const names[][2] = {
        {ALICE, ALICE "|alice.example.com|Alice \xf0\x9f\x8e\x89|about me|1|2|1-3600000000"},
        {"@ALICE.example.com", ALICE "|alice.example.com|Alice \xf0\x9f\x8e\x89|about me|1|2|1-3600000000"},
        {EVE, EVE "|eve.example.com|||0|1|2-5"}};
    for (size_t i = 0; i < COUNT(names); i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        EXPECT_OK(query_user(q, bl_str(names[i][0]), take_user, &got, &err), &err);
        assert_string_equal(bl_buf_cstr(&got), names[i][1]);
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf none = {0};
    EXPECT_RC(query_user(q, BL_LIT("did:plc:nobody"), take_user, &none, &err), BL_E_NOT_FOUND);
    EXPECT_RC(query_user(q, BL_LIT("nobody.example.com"), take_user, &none, &err), BL_E_NOT_FOUND);
    EXPECT_RC(query_user(q, BL_LIT("nobody"), take_user, &none, &err), BL_E_USAGE);
    query_close(&q);
    fixture_close(&f);
}

static void expect_user(const struct fixture *f, const char *name, const char *told) {
    struct query *q = fixture_query(f, 0);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    enum bl_rc rc = query_user(q, bl_str(name), take_user, &got, &err);
    if (rc == BL_E_NOT_FOUND) bl_buf_z(&got, "nobody");
    if (strcmp(bl_buf_cstr(&got), told) != 0) fail_msg("%s: got %s, want %s", name, got.p, told);
    query_close(&q);
}

static void refresh(const struct fixture *f) {
    struct bl_error err = {0};
    struct views_refresh_options o = {.lake_dir = f->dir};
    EXPECT_OK(views_refresh(&o, NULL, &err), &err);
}

/* The store of the views knows older files, the newest are read beside it: an answer never shows the seam. */
static void what_is_known_of_people_does_not_depend_on_refreshes(void **state) {
    (void)state;
    for (int refreshes = 0; refreshes < 3; refreshes++) {
        struct fixture f;
        make_lake(&f);
        if (refreshes > 0) refresh(&f);
        expect_user(&f, "alice.example.com",
                    ALICE "|alice.example.com|Alice \xf0\x9f\x8e\x89|about me|1|2|1-3600000000");
        struct account renamed[] = {{T + 2 * HOUR, ALICE, "new.example.com", true},
                                    {T + 2 * HOUR + 1, BOB, "alice.example.com", true},
                                    {T + 2 * HOUR + 2, EVE, NULL, true}};
        struct profile gone[] = {{T + 2 * HOUR, ALICE, "delete", NULL, NULL}};
        fixture_accounts(&f, renamed, COUNT(renamed));
        fixture_profiles(&f, gone, 1);
        if (refreshes > 1) refresh(&f);
        expect_user(&f, "New.Example.com", ALICE "|new.example.com|||1|2|1-7200000000");
        expect_user(&f, "@alice.example.com", BOB "|alice.example.com|||1|2|3-7200000001");
        expect_user(&f, "eve.example.com", EVE "|eve.example.com|||1|1|2-7200000002");
        expect_user(&f, "old.example.com", "nobody");
        struct query *q = fixture_query(&f, 0);
        expect_page(q, (struct query_search){.text = BL_LIT("from:alice.example.com")}, "d c ", false, NULL);
        /* A session that was open all the time follows a refresh. */
        struct account late[] = {{T + 3 * HOUR, CAROL, "carol.example.com", true}, {T + 3 * HOUR, BOB, NULL, false}};
        struct bl_error err = {0};
        fixture_accounts(&f, late, COUNT(late));
        refresh(&f);
        EXPECT_OK(query_refresh(q, &err), &err);
        expect_page(q, (struct query_search){.text = BL_LIT("from:alice.example.com")}, "", false, NULL);
        query_close(&q);
        fixture_close(&f);
    }
}

static void counts_stop_at_their_deadline_and_say_so(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct query *q = fixture_query(&f, 0);
    struct bl_error err = {0};
    struct query_counts counts;
    EXPECT_OK(query_counts(q, &(struct query_search){0}, QUERY_BUCKET_HOUR, 1, &counts, &err), &err);
    EXPECT(counts.partial && counts.counted_from_us > T);
    free(counts.buckets);
    expect_counts(q, (struct query_search){0}, QUERY_BUCKET_HOUR, "2026-11-21T00 2|2026-11-21T01 1|=3");
    query_close(&q);
    fixture_close(&f);
}

static void exact_means_as_it_is_written_and_alone(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static const char *const texts[] = {"cat",
                                        "Cat",
                                        "bobcats",
                                        "cat's",
                                        "(cat)",
                                        "#cat",
                                        "cat_",
                                        "caf\xc3\xa9",
                                        "cafe\xcc\x81",
                                        "\xe7\x8c\xab\xe3\x81\xa8",
                                        "cat\xe7\x8c\xab",
                                        "100%",
                                        "1000",
                                        "cat\ncat",
                                        "acat cat"};
    static char keys[COUNT(texts)][4];
    struct post posts[COUNT(texts)];
    for (size_t i = 0; i < COUNT(texts); i++) {
        snprintf(keys[i], sizeof keys[i], "%zu", i);
        posts[i] = create(T + (int64_t)i, ALICE, keys[i], texts[i]);
    }
    fixture_posts(&f, posts, COUNT(posts));
    struct query *q = fixture_query(&f, 0);
    expect_page(q, (struct query_search){.text = BL_LIT("cat"), .exact = true}, "14 13 10 5 4 3 0 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("cat")}, "14 13 10 6 5 4 3 2 1 0 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("-cat"), .exact = true}, "12 11 9 8 7 6 2 1 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("caf\xc3\xa9"), .exact = true}, "7 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("cafe"), .exact = true}, "", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("\xe7\x8c\xab"), .exact = true}, "10 9 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("100"), .exact = true}, "11 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("100%"), .exact = true}, "11 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("%"), .exact = true}, "11 ", false, NULL);
    expect_page(q, (struct query_search){.literal = BL_LIT("cat's"), .exact = true}, "3 ", false, NULL);
    query_close(&q);
    fixture_close(&f);
}

static void replies_and_addresses_are_found(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct post posts[] = {create(T + 2 * HOUR, BOB, "r1", "to alice"),
                           create(T + 2 * HOUR + 1, BOB, "r2", "to alicex")};
    posts[0].reply_uri = "at://" ALICE "/app.bsky.feed.post/a";
    posts[1].reply_uri = "at://" ALICE "x/app.bsky.feed.post/a";
    posts[1].links[0] = "https://example.com/Path?q=100%25";
    fixture_posts(&f, posts, COUNT(posts));
    struct query *q = fixture_query(&f, 0);
    expect_page(q, (struct query_search){.text = BL_LIT("to:" ALICE)}, "r1 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("to:@alice.example.com")}, "r1 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("has:reply -to:" ALICE)}, "r2 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("to:nobody.example.com")}, "", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("url:example.com/path")}, "r2 ", false, NULL);
    expect_page(q, (struct query_search){.text = BL_LIT("url:https://example.com/ -url:%")}, "c ", false, NULL);
    query_close(&q);
    fixture_close(&f);
}

static void the_words_to_highlight_are_those_that_are_wanted(void **state) {
    (void)state;
    static const struct {
        struct query_search s;
        const char *json;
    } cases[] = {{{.text = BL_LIT("cat \"black \\\"dog\" -bird #art from:a.b (x OR -(y z))")},
                  "[\"cat\",\"black \\\"dog\",\"#art\",\"x\"]"},
                 {{.literal = BL_LIT("a b"), .account = BL_LIT("a.b.c")}, "[\"a b\"]"},
                 {{.text = BL_LIT("")}, "[]"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf json = {0};
        EXPECT_OK(query_matches(&cases[i].s, &json, &err), &err);
        assert_string_equal(bl_buf_cstr(&json), cases[i].json);
    }
}

static void the_lakes_status_adds_up(void **state) {
    (void)state;
    struct fixture f;
    make_lake(&f);
    struct bl_error err = {0};
    struct catalog_gap gap = {.from_us = T, .to_us = T + HOUR, .host = "h", .reason = "cursor too old"};
    EXPECT_OK(catalog_add_gap(f.catalog, &gap, &err), &err);
    struct query *q = fixture_query(&f, 0);
    struct query_lake_status s;
    EXPECT_OK(query_lake_status(q, &s, &err), &err);
    EXPECT(s.rows == 12 && s.files == 4 && s.gaps == 1 && s.dead_letters == 0 && s.newest_us == T + HOUR + 1 &&
           s.oldest_us == T + 1);
    int64_t rows = 0;
    for (size_t i = 0; i < s.type_count; i++) rows += s.types[i].rows;
    EXPECT(rows == s.rows);
    struct query_gap *gaps;
    size_t count;
    EXPECT_OK(query_gaps(q, T + HOUR, T + 2 * HOUR, &gaps, &count, &err), &err);
    EXPECT(count == 1 && strcmp(gaps[0].reason, "cursor too old") == 0 && !gaps[0].healed);
    free(gaps);
    EXPECT_OK(query_gaps(q, T + HOUR + 1, T + 2 * HOUR, &gaps, &count, &err), &err);
    EXPECT(count == 0);
    free(gaps);
    query_close(&q);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_by_cursor_and_by_number_are_disjoint_and_complete),
        cmocka_unit_test(equal_times_do_not_confuse_the_cursor),
        cmocka_unit_test(a_structured_filter_narrows_the_words),
        cmocka_unit_test(wrong_parameters_are_named),
        cmocka_unit_test(hits_carry_what_the_page_shows),
        cmocka_unit_test(an_export_gives_what_a_search_gives),
        cmocka_unit_test(an_export_to_a_pipe_is_a_parquet_file),
        cmocka_unit_test(counts_are_those_of_what_may_be_shown),
        cmocka_unit_test(a_post_is_told_with_its_history),
        cmocka_unit_test(an_account_is_told_by_any_of_its_names),
        cmocka_unit_test(what_is_known_of_people_does_not_depend_on_refreshes),
        cmocka_unit_test(counts_stop_at_their_deadline_and_say_so),
        cmocka_unit_test(exact_means_as_it_is_written_and_alone),
        cmocka_unit_test(replies_and_addresses_are_found),
        cmocka_unit_test(the_words_to_highlight_are_those_that_are_wanted),
        cmocka_unit_test(the_lakes_status_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
