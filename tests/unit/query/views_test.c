/* Every materialised view over planted events with known answers. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/syntax.h"
#include "expect.h"
#include "fixture.h"
#include "query/views.h"

/* 2026-11-21 is a Saturday. */
static const int64_t T = INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */, HOUR = INT64_C(3600000000),
                     DAY = INT64_C(86400000000);

#define ALICE "did:plc:alice"
#define BOB "did:plc:bob"
#define CAROL "did:plc:carol"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct post create(int64_t time_us, const char *did, const char *rkey, const char *text) {
    return (struct post){.time_us = time_us, .did = did, .operation = "create", .rkey = rkey, .text = text};
}

static struct views_refresh_stats refresh(const struct fixture *f, bool force) {
    struct bl_error err = {0};
    struct views_refresh_stats stats;
    struct views_refresh_options o = {.lake_dir = f->dir, .force = force};
    EXPECT_OK(views_refresh(&o, &stats, &err), &err);
    return stats;
}

static void answer(const struct fixture *f, const char *name, struct bl_buf *out) {
    struct bl_error err = {0};
    struct views *v = NULL;
    struct query_sink sink = fixture_sink(out);
    EXPECT_OK(views_open(f->dir, &v, &err), &err);
    EXPECT_OK(views_answer(v, name, &sink, NULL, &err), &err);
    views_close(&v);
}

static void expect_view(const struct fixture *f, const char *name, const char *rows) {
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    answer(f, name, &got);
    if (!bl_str_eq(bl_buf_view(&got), bl_str(rows))) fail_msg("%s\n got  %s\n want %s", name, bl_buf_cstr(&got), rows);
}

static void expect_line(const struct fixture *f, const char *name, const char *line, bool there) {
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    bl_buf_byte(&got, '\n');
    answer(f, name, &got);
    BL_CLEANUP(bl_freep) char *wanted = bl_xasprintf("\n%s\n", line);
    if ((strstr(bl_buf_cstr(&got), wanted) != NULL) != there) fail_msg("%s: \"%s\" in%s", name, line, got.p);
}

/* --- Volume --- */

static void volume_falls_into_the_hour_it_was_witnessed_in(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post first[] = {create(T, ALICE, "a", "x"),
                           create(T + HOUR - 1, ALICE, "b", "x"),
                           {.time_us = T + 1, .did = ALICE, .operation = "delete", .rkey = "z"}};
    struct post second[] = {create(T + HOUR, BOB, "c", "x"),
                            {.time_us = T + HOUR + 1, .did = BOB, .operation = "update", .rkey = "c", .text = "y"}};
    second[0].reply_uri = "at://" ALICE "/app.bsky.feed.post/a";
    struct post last[] = {create(T + 23 * HOUR, BOB, "d", "x")};
    struct record likes[] = {{T + HOUR, ALICE, "create", "l1", "at://" BOB "/app.bsky.feed.post/c"},
                             {T + HOUR + 1, ALICE, "delete", "l0", NULL}};
    fixture_posts(&f, first, COUNT(first));
    fixture_posts(&f, second, COUNT(second));
    fixture_posts(&f, last, COUNT(last));
    fixture_records(&f, EV_likes, likes, COUNT(likes));
    refresh(&f, true);
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    answer(&f, "posts_by_hour_24h", &got);
    size_t lines = 0;
    for (size_t i = 0; i < got.n; i++) lines += got.p[i] == '\n';
    assert_int_equal(lines, 24);
    expect_line(&f, "posts_by_hour_24h", "2026-11-21T00:00:00Z|2|0|0|0", true);
    expect_line(&f, "posts_by_hour_24h", "2026-11-21T01:00:00Z|1|1|1|0", true);
    expect_line(&f, "posts_by_hour_24h", "2026-11-21T02:00:00Z|0|0|0|0", true);
    expect_line(&f, "posts_by_hour_24h", "2026-11-21T23:00:00Z|1|0|0|0", true);
    struct post next[] = {create(T + 24 * HOUR, BOB, "e", "x")};
    fixture_posts(&f, next, 1);
    refresh(&f, true); /* the window moves on */
    expect_line(&f, "posts_by_hour_24h", "2026-11-21T00:00:00Z|2|0|0|0", false);
    expect_line(&f, "posts_by_hour_24h", "2026-11-22T00:00:00Z|1|0|0|0", true);
    fixture_close(&f);
}

static void weeks_months_and_weekdays_have_their_borders_where_the_calendar_has(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    /* Sunday 2026-11-29 23:59:59.999999, Monday 2026-11-30 twice, Tuesday 2026-12-01. */
    struct post sunday[] = {create(T + 9 * DAY - 1, ALICE, "a", "x")},
                monday[] = {create(T + 9 * DAY, ALICE, "b", "x"), create(T + 9 * DAY + 1, BOB, "c", "x")};
    struct post tuesday[] = {create(T + 10 * DAY + 5 * HOUR, BOB, "d", "x")},
                before[] = {create(T + 2 * DAY, BOB, "e", "x")};
    fixture_posts(&f, sunday, 1);
    fixture_posts(&f, monday, 2);
    fixture_posts(&f, tuesday, 1);
    fixture_posts(&f, before, 1);
    refresh(&f, true);
    expect_view(&f, "posts_weekly", "2026-11-23|2|2|NULL\n2026-11-30|3|2|50.0\n");
    expect_view(&f, "posts_monthly", "2026-11|4|3|1.3\n2026-12|1|1|1.0\n");
    expect_line(&f, "peak_hours", "7|Sun|23|1|1.0", true);
    expect_line(&f, "peak_hours", "1|Mon|0|3|1.5", true); /* two Mondays */
    expect_line(&f, "peak_hours", "2|Tue|5|1|1.0", true);
    expect_line(&f, "peak_hours", "2|Tue|6|0|0.0", true);
    fixture_close(&f);
}

/* --- Authors --- */

static void accounts_with_equal_counts_share_a_rank_and_hidden_ones_have_none(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post today[] = {create(T + 1, ALICE, "a", "x"),
                           create(T + 2, ALICE, "b", "x"),
                           create(T + 3, BOB, "c", "x"),
                           create(T + 4, BOB, "d", "x"),
                           create(T + 5, CAROL, "e", "x"),
                           create(T + 6, "did:plc:gone", "f", "x"),
                           create(T + 7, "did:plc:gone", "g", "x"),
                           create(T + 8, "did:plc:gone", "h", "x")};
    struct post earlier[] = {create(T - 6 * DAY, CAROL, "i", "x"), create(T - 6 * DAY + 1, CAROL, "j", "x")},
                older[] = {create(T - 7 * DAY, BOB, "k", "x")};
    struct post oldest[] = {create(T - 30 * DAY, CAROL, "l", "x")};
    struct account accounts[] = {{T, ALICE, "alice.example.com", true}, {T + 1, "did:plc:gone", NULL, false}};
    struct profile profiles[] = {{T, BOB, "create", "Bob", NULL}};
    fixture_posts(&f, today, COUNT(today));
    fixture_posts(&f, earlier, COUNT(earlier));
    fixture_posts(&f, older, 1);
    fixture_posts(&f, oldest, 1);
    fixture_accounts(&f, accounts, COUNT(accounts));
    fixture_profiles(&f, profiles, 1);
    refresh(&f, true);
    expect_view(&f, "most_active_daily",
                "1|2|" ALICE "|alice.example.com|NULL\n1|2|" BOB "|NULL|Bob\n3|1|" CAROL "|NULL|NULL\n");
    expect_view(&f, "most_active_weekly",
                "1|3|" CAROL "|NULL|NULL\n2|2|" ALICE "|alice.example.com|NULL\n2|2|" BOB "|NULL|Bob\n");
    expect_view(&f, "most_active_monthly",
                "1|3|" BOB "|NULL|Bob\n1|3|" CAROL "|NULL|NULL\n3|2|" ALICE "|alice.example.com|NULL\n");
    expect_view(&f, "engagement_rates",
                "2026-11-14|1|1|1.0|1|100.0\n2026-11-15|2|1|2.0|2|0.0\n2026-11-21|8|4|2.0|3|25.0\n");
    fixture_close(&f);
}

/* --- Tags, languages, domains, lengths --- */

static void tags_are_folded_and_counted_once_a_post(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post before[] = {create(T - 2 * HOUR, ALICE, "a", "x"), create(T - HOUR - 1, ALICE, "b", "x")};
    struct post hour[] = {create(T - HOUR, ALICE, "c", "x"), create(T - HOUR + 1, BOB, "d", "x")},
                now[] = {create(T, BOB, "e", "x")};
    before[0].hashtags[0] = before[1].hashtags[0] = "art";
    hour[0].hashtags[0] = "ART", hour[0].hashtags[1] = "art", hour[0].hashtags[2] = "\xc3\x89t\xc3\xa9";
    hour[1].hashtags[0] = "Art";
    now[0].hashtags[0] = "art", now[0].hashtags[1] = "\xc3\xa9t\xc3\xa9", now[0].hashtags[2] = "new";
    struct post old[] = {create(T - 24 * HOUR, ALICE, "f", "x")},
                last_week[] = {create(T - 168 * HOUR, ALICE, "g", "x")};
    old[0].hashtags[0] = "old";
    last_week[0].hashtags[0] = "new";
    fixture_posts(&f, before, COUNT(before));
    fixture_posts(&f, hour, COUNT(hour));
    fixture_posts(&f, now, COUNT(now));
    fixture_posts(&f, old, 1);
    fixture_posts(&f, last_week, 1);
    refresh(&f, true);
    expect_view(&f, "trending_hashtags_hourly", "1|art|3|2|50.0\n2|\xc3\xa9t\xc3\xa9|2|0|NULL\n3|new|1|0|NULL\n");
    expect_view(&f, "trending_hashtags_daily", "1|art|5|0|NULL\n2|\xc3\xa9t\xc3\xa9|2|0|NULL\n3|new|1|0|NULL\n");
    expect_view(&f, "trending_hashtags_weekly",
                "1|art|5|0|NULL\n2|\xc3\xa9t\xc3\xa9|2|0|NULL\n3|new|1|1|0.0\n3|old|1|0|NULL\n");
    fixture_close(&f);
}

static void languages_domains_and_lengths_are_shares_of_posts(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    char exactly_50[51], long_text[400];
    memset(exactly_50, 'x', 50), exactly_50[50] = 0;
    memset(long_text, 'y', 399), long_text[399] = 0;
    struct post posts[] = {create(T, ALICE, "a", "caf\xc3\xa9"), create(T + 1, ALICE, "b", exactly_50),
                           create(T + 2, BOB, "c", long_text), create(T + 3, BOB, "d", NULL)};
    posts[0].langs[0] = "en-GB", posts[0].langs[1] = "EN", posts[0].langs[2] = "de";
    posts[1].langs[0] = "en";
    posts[0].links[0] = "https://www.Example.com/a?b#c", posts[0].links[1] = "http://example.com:8080/",
    posts[0].links[2] = "nonsense";
    posts[1].links[0] = "https://user@example.com", posts[1].links[1] = "https://www.www.test/";
    fixture_posts(&f, posts, COUNT(posts));
    refresh(&f, true);
    expect_view(&f, "languages", "1|en|2|50.0\n1|none|2|50.0\n3|de|1|25.0\n");
    expect_view(&f, "link_domains", "1|example.com|2|50.0\n2|www.test|1|25.0\n");
    expect_view(&f, "post_length", "2026-11-21|0|49|2|50.0\n2026-11-21|50|99|1|25.0\n2026-11-21|300|NULL|1|25.0\n");
    fixture_close(&f);
}

/* --- Likes --- */

static char keys[64][14];
static const char *key_at(int64_t time_us) { /* a record key made at that time */
    static int next;
    char *key = keys[next++ % 64];
    at_tid_of(time_us, (unsigned)next, key);
    key[13] = 0;
    return key;
}

static void likes_taken_back_are_subtracted_and_deleted_posts_left_out(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T, ALICE, "a", "first"), create(T + 1, BOB, "b", "second"),
                           create(T + 2, BOB, "c", "third"), create(T + 3, CAROL, "gone", "x")};
    struct post later[] = {{.time_us = T + HOUR, .did = CAROL, .operation = "delete", .rkey = "gone"}};
    fixture_posts(&f, posts, COUNT(posts));
    fixture_posts(&f, later, 1);
    const char *a = "at://" ALICE "/app.bsky.feed.post/a", *b = "at://" BOB "/app.bsky.feed.post/b",
               *gone = "at://" CAROL "/app.bsky.feed.post/gone";
    const char *undone = key_at(T + 10), *yesterday = key_at(T - HOUR);
    struct record old[] = {{T - HOUR, "did:plc:z", "create", yesterday, b}};
    struct record likes[] = {
        {T + 10, "did:plc:x", "create", undone, a},
        {T + 11, "did:plc:y", "create", key_at(T + 11), a},
        {T + 12, "did:plc:x", "create", key_at(T + 12), b},
        {T + 13, "did:plc:y", "create", key_at(T + 13), b},
        {T + 14, "did:plc:x", "create", key_at(T + 14), gone},
        {T + 15, "did:plc:x", "create", key_at(T + 15), "at://" ALICE "/app.bsky.feed.generator/feed"}};
    /* Another account's record of the same key is another record. */
    struct record unlikes[] = {{T + 2 * HOUR, "did:plc:x", "delete", undone, NULL},
                               {T + 2 * HOUR + 1, "did:plc:other", "delete", undone, NULL},
                               {T + 2 * HOUR + 2, "did:plc:z", "delete", yesterday, NULL},
                               {T + 2 * HOUR + 3, "did:plc:z", "delete", "never-seen", NULL}};
    fixture_records(&f, EV_likes, old, COUNT(old));
    fixture_records(&f, EV_likes, likes, COUNT(likes));
    refresh(&f, true);
    expect_line(&f, "most_liked",
                "day|1|2|at://" ALICE "/app.bsky.feed.post/a|" ALICE "|NULL|NULL|first|2026-11-21T00:00:00.000Z", true);
    expect_line(&f, "most_liked",
                "week|1|3|at://" BOB "/app.bsky.feed.post/b|" BOB "|NULL|NULL|second|2026-11-21T00:00:00.000Z", true);
    fixture_records(&f, EV_likes, unlikes, COUNT(unlikes));
    struct views_refresh_stats stats = refresh(&f, true);
    assert_int_equal(stats.files_read, 1);
    expect_view(&f, "most_liked",
                "day|1|1|at://" ALICE "/app.bsky.feed.post/a|" ALICE "|NULL|NULL|first|2026-11-21T00:00:00.000Z\n"
                "day|1|1|at://" BOB "/app.bsky.feed.post/b|" BOB "|NULL|NULL|second|2026-11-21T00:00:00.000Z\n"
                "week|1|2|at://" BOB "/app.bsky.feed.post/b|" BOB "|NULL|NULL|second|2026-11-21T00:00:00.000Z\n"
                "week|2|1|at://" ALICE "/app.bsky.feed.post/a|" ALICE "|NULL|NULL|first|2026-11-21T00:00:00.000Z\n"
                "month|1|2|at://" BOB "/app.bsky.feed.post/b|" BOB "|NULL|NULL|second|2026-11-21T00:00:00.000Z\n"
                "month|2|1|at://" ALICE "/app.bsky.feed.post/a|" ALICE "|NULL|NULL|first|2026-11-21T00:00:00.000Z\n");
    expect_view(&f, "like_to_post_ratio", "2026-11-20|1|0|NULL\n2026-11-21|2|4|0.5\n");
    fixture_close(&f);
}

static void velocity_counts_likes_by_the_age_of_the_post(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    static char uris[3][80];
    int64_t made[] = {T, T + 30 * INT64_C(60000000), T - 24 * HOUR};
    struct post posts[] = {create(T, ALICE, "p", "x")};
    for (int i = 0; i < 3; i++)
        snprintf(uris[i], sizeof uris[i], "at://" ALICE "/app.bsky.feed.post/%s", key_at(made[i]));
    struct record first[] = {{T + 1000, BOB, "create", "a", uris[0]},
                             {T + HOUR - 1000, BOB, "create", "b", uris[0]},
                             {T + HOUR - 500, BOB, "create", "c", uris[1]},
                             {T + 2000, BOB, "create", "d", uris[2]},
                             {T + 3000, BOB, "create", "e", "at://" ALICE "/app.bsky.feed.post/no-time"}};
    struct record second[] = {{T + HOUR + 2000, BOB, "create", "f", uris[0]},
                              {T + HOUR + 3000, CAROL, "create", "g", uris[1]}};
    fixture_posts(&f, posts, 1);
    fixture_records(&f, EV_likes, first, COUNT(first));
    fixture_records(&f, EV_likes, second, COUNT(second));
    refresh(&f, true);
    expect_line(&f, "engagement_velocity", "0|4|80.0|4000.0", true);
    expect_line(&f, "engagement_velocity", "1|1|20.0|1000.0", true);
    expect_line(&f, "engagement_velocity", "2|0|0.0|0.0", true);
    fixture_close(&f);
}

static void a_planted_viral_post_is_found_and_a_steady_one_is_not(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T, ALICE, "viral", "look at this"), create(T + 1, BOB, "steady", "always liked")};
    fixture_posts(&f, posts, COUNT(posts));
    struct record likes[100];
    static char rkeys[100][8];
    for (int hour = 0; hour < 3; hour++) {
        size_t n = 0;
        int viral = hour == 0 ? 6 : hour == 1 ? 20 : 59;
        for (int i = 0; i < viral + 22; i++, n++) {
            snprintf(rkeys[n], sizeof rkeys[n], "%d-%d", hour, i);
            likes[n] = (struct record){T + hour * HOUR + 10 + i, "did:plc:fan", "create", rkeys[n],
                                       i < viral ? "at://" ALICE "/app.bsky.feed.post/viral"
                                                 : "at://" BOB "/app.bsky.feed.post/steady"};
        }
        fixture_records(&f, EV_likes, likes, n);
    }
    refresh(&f, true);
    /* Its best qualifying hour: 20 after 6; 59 after 20 are more, but not three times as many. The steady one's first
     * hour counts. */
    expect_view(&f, "viral",
                "1|22|2026-11-21T00:00:00Z|0|at://" BOB "/app.bsky.feed.post/steady|" BOB
                "|NULL|NULL|always liked|2026-11-21T00:00:00.000Z\n"
                "2|20|2026-11-21T01:00:00Z|6|at://" ALICE "/app.bsky.feed.post/viral|" ALICE
                "|NULL|NULL|look at this|2026-11-21T00:00:00.000Z\n");
    fixture_close(&f);
}

static void follows_taken_back_shrink_the_network(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct record first[] = {{T, ALICE, "create", "1", BOB},
                             {T + 1, ALICE, "create", "2", CAROL},
                             {T + 2, ALICE, "delete", "1", NULL}},
                  second[] = {{T + DAY, BOB, "delete", "9", NULL}};
    struct record blocks[] = {{T + DAY, ALICE, "create", "3", BOB}};
    fixture_records(&f, EV_follows, first, COUNT(first));
    fixture_records(&f, EV_follows, second, COUNT(second));
    fixture_records(&f, EV_blocks, blocks, COUNT(blocks));
    refresh(&f, true);
    expect_view(&f, "network_growth", "2026-11-21|2|1|1|0\n2026-11-22|0|1|-1|1\n");
    fixture_close(&f);
}

/* --- Refreshing --- */

static void replace_by_compacted(struct fixture *f, int64_t hour_us, const struct post *posts, size_t count) {
    struct bl_error err = {0};
    struct catalog_file *old;
    size_t n, kept = 0;
    int64_t ids[16], snapshot;
    EXPECT_OK(catalog_files(f->catalog, EV_posts, hour_us, hour_us + HOUR - 1, &old, &n, &err), &err);
    for (size_t i = 0; i < n; i++) ids[kept++] = old[i].id;
    free(old);
    f->compacted = true;
    fixture_posts(f, posts, count);
    f->compacted = false;
    struct catalog_commit commit = {.remove = ids, .remove_count = kept, .job = "compact"};
    EXPECT_OK(catalog_commit(f->catalog, &commit, &snapshot, &err), &err);
}

static void a_refresh_reads_new_files_only_and_compacted_ones_not_again(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post posts[] = {create(T, ALICE, "a", "x"), create(T + 1, BOB, "b", "x"), create(T + 2, BOB, "c", "x")};
    fixture_posts(&f, posts, 1);
    EXPECT(refresh(&f, false).files_read == 1);
    struct views_refresh_stats again = refresh(&f, false);
    EXPECT(again.files_read == 0 && again.files_known == 1 && again.views_renewed == 0);
    fixture_posts(&f, posts + 1, 1);
    EXPECT(refresh(&f, true).files_read == 1);
    expect_view(&f, "posts_monthly", "2026-11|2|1|2.0\n");
    replace_by_compacted(&f, T, posts, 2);
    EXPECT(refresh(&f, true).files_read == 0);
    expect_view(&f, "posts_monthly", "2026-11|2|1|2.0\n");
    fixture_posts(&f, posts + 2, 1); /* not read before it is compacted away: the day is counted again */
    replace_by_compacted(&f, T, posts, 3);
    EXPECT(refresh(&f, true).files_read == 1);
    expect_view(&f, "posts_monthly", "2026-11|3|1|3.0\n");
    replace_by_compacted(&f, T, posts, 1); /* rows were purged */
    refresh(&f, true);
    expect_view(&f, "posts_monthly", "2026-11|1|1|1.0\n");
    expect_view(&f, "most_active_daily", "1|1|" ALICE "|NULL|NULL\n");
    fixture_close(&f);
}

static void a_view_is_renewed_when_it_is_due(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post many[30], same_hour[] = {create(T + 1, ALICE, "b", "x")},
                          next_hour[] = {create(T + HOUR, ALICE, "c", "x")};
    struct post next_day[] = {create(T + DAY, ALICE, "d", "x")};
    static char rkeys[30][4];
    for (int i = 0; i < 30; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "m%d", i);
        many[i] = create(T, ALICE, rkeys[i], "x");
    }
    fixture_posts(&f, many, COUNT(many));
    EXPECT(refresh(&f, false).views_renewed == 19);
    fixture_posts(&f, same_hour, 1);
    EXPECT(refresh(&f, false).views_renewed == 0);
    EXPECT(refresh(&f, true).views_renewed == 19);
    fixture_posts(&f, next_hour, 1);
    EXPECT(refresh(&f, false).views_renewed == 6);
    fixture_posts(&f, next_day, 1);
    EXPECT(refresh(&f, false).views_renewed == 19);
    for (int i = 0; i < 7; i++) many[i] = create(T + DAY + 1, BOB, rkeys[i], "x");
    fixture_posts(&f, many, 7); /* a fifth more */
    EXPECT(refresh(&f, false).views_renewed == 19);
    fixture_close(&f);
}

static void staleness_is_told(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post first[] = {create(T, ALICE, "a", "x")}, second[] = {create(T + 1, ALICE, "b", "x")};
    fixture_posts(&f, first, 1);
    struct bl_error err = {0};
    struct views *v = NULL;
    struct view_info info;
    bool exists;
    EXPECT_OK(views_open(f.dir, &v, &err), &err);
    EXPECT_OK(views_info(v, 0, &info, &exists, &err), &err);
    EXPECT(exists && info.refreshed_us == 0 && info.stale_us == -1);
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_sink sink = fixture_sink(&got);
    EXPECT_RC(views_answer(v, "most_liked", &sink, NULL, &err), BL_E_NOT_FOUND);
    EXPECT(strstr(err.message, "views --refresh"));
    EXPECT_RC(views_answer(v, "most_like", &sink, NULL, &err), BL_E_NOT_FOUND);
    assert_string_equal(err.message, "there is no view \"most_like\": did you mean \"most_liked\"?");
    refresh(&f, false);
    EXPECT_OK(views_info(v, 0, &info, &exists, &err), &err);
    EXPECT(info.refreshed_us > 0 && info.stale_us == 0 && info.as_of_us == T);
    fixture_posts(&f, second, 1);
    EXPECT_OK(views_info(v, 0, &info, &exists, &err), &err);
    EXPECT(info.stale_us > 0);
    size_t i = 0;
    do EXPECT_OK(views_info(v, i++, &info, &exists, &err), &err);
    while (exists);
    assert_int_equal(i - 1, 19);
    views_close(&v);
    fixture_close(&f);
}

static void views_of_an_empty_lake_are_empty(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    refresh(&f, true);
    expect_view(&f, "most_liked", "");
    expect_view(&f, "languages", "");
    fixture_close(&f);
}

static void a_damaged_store_is_begun_anew(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post first[] = {create(T, ALICE, "a", "x")};
    fixture_posts(&f, first, 1);
    refresh(&f, true);
    char path[100];
    snprintf(path, sizeof path, "%s/views.sqlite", f.dir);
    FILE *file = fopen(path, "w");
    EXPECT(file && fputs("this is no database, and long enough to be looked at as one", file) >= 0 &&
           fclose(file) == 0);
    EXPECT(refresh(&f, true).files_read == 1);
    expect_view(&f, "posts_monthly", "2026-11|1|1|1.0\n");
    fixture_close(&f);
}

static void a_stored_answer_takes_less_than_10_ms(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct post first[] = {create(T, ALICE, "a", "x")};
    fixture_posts(&f, first, 1);
    refresh(&f, true);
    struct bl_error err = {0};
    struct views *v = NULL;
    EXPECT_OK(views_open(f.dir, &v, &err), &err);
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
        struct query_sink sink = fixture_sink(&got);
        int64_t start = bl_mono_ns();
        EXPECT_OK(views_answer(v, "peak_hours", &sink, NULL, &err), &err);
        if (bl_mono_ns() - start < best_ns) best_ns = bl_mono_ns() - start;
    }
    EXPECT(best_ns < 10000000);
    views_close(&v);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volume_falls_into_the_hour_it_was_witnessed_in),
        cmocka_unit_test(weeks_months_and_weekdays_have_their_borders_where_the_calendar_has),
        cmocka_unit_test(accounts_with_equal_counts_share_a_rank_and_hidden_ones_have_none),
        cmocka_unit_test(tags_are_folded_and_counted_once_a_post),
        cmocka_unit_test(languages_domains_and_lengths_are_shares_of_posts),
        cmocka_unit_test(likes_taken_back_are_subtracted_and_deleted_posts_left_out),
        cmocka_unit_test(velocity_counts_likes_by_the_age_of_the_post),
        cmocka_unit_test(a_planted_viral_post_is_found_and_a_steady_one_is_not),
        cmocka_unit_test(follows_taken_back_shrink_the_network),
        cmocka_unit_test(a_refresh_reads_new_files_only_and_compacted_ones_not_again),
        cmocka_unit_test(a_view_is_renewed_when_it_is_due),
        cmocka_unit_test(staleness_is_told),
        cmocka_unit_test(views_of_an_empty_lake_are_empty),
        cmocka_unit_test(a_damaged_store_is_begun_anew),
        cmocka_unit_test(a_stored_answer_takes_less_than_10_ms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
