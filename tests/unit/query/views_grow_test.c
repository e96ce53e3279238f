/* Views of a lake that grows: whatever came, in whatever order, and however it was read, the answers are those of a
 * lake that is read for the first time. */
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "event/syntax.h"
#include "expect.h"
#include "fixture.h"
#include "query/views.h"

static const int64_t T = INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */, HOUR = INT64_C(3600000000);
#define ALICE "did:plc:alice"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct views_refresh_stats refresh(const struct fixture *f) {
    struct bl_error err = {0};
    struct views_refresh_stats stats;
    struct views_refresh_options o = {.lake_dir = f->dir, .force = true};
    EXPECT_OK(views_refresh(&o, &stats, &err), &err);
    return stats;
}

/* All views, one after the other. */
static void answers(const struct fixture *f, struct bl_buf *out) {
    struct bl_error err = {0};
    struct views *v = NULL;
    struct query_sink sink = fixture_sink(out);
    EXPECT_OK(views_open(f->dir, &v, &err), &err);
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        EXPECT_OK(views_info(v, i, &info, &exists, &err), &err);
        if (!exists) break;
        bl_buf_printf(out, "%s\n", info.name);
        EXPECT_OK(views_answer(v, info.name, &sink, NULL, &err), &err);
    }
    views_close(&v);
}

static void forget_everything(const struct fixture *f) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        char path[120];
        snprintf(path, sizeof path, "%s/views.sqlite%s", f->dir, suffixes[i]);
        unlink(path);
    }
}

/* The answers as they are now, against those of a first reading. */
static void expect_same_from_scratch(const struct fixture *f) {
    BL_CLEANUP(bl_buf_release) struct bl_buf grown = {0}, fresh = {0};
    refresh(f);
    answers(f, &grown);
    forget_everything(f);
    EXPECT(refresh(f).files_known == 0);
    answers(f, &fresh);
    struct bl_str a = bl_buf_view(&grown), b = bl_buf_view(&fresh);
    while (a.n || b.n) {
        struct bl_str had = bl_str_cut(&a, '\n'), has = bl_str_cut(&b, '\n');
        if (!bl_str_eq(had, has)) fail_msg("grown: %.*s\nfrom scratch: %.*s", BL_ARG(had), BL_ARG(has));
    }
}

/* --- A network of our own: some posts, likes of them, some taken back --- */

enum { LIKES = 400, HOURS = 30, HOUR_LIKES_MAX = 4 * LIKES };
struct like {
    int64_t time_us, undone_us; /* 0: never */
    int post;
    char rkey[14];
};
struct network {
    struct like likes[LIKES];
    char uris[20][80];
    struct bl_rng rng;
};

static int64_t below(struct network *n, int64_t end) {
    return (int64_t)bl_rng_below(&n->rng, (uint64_t)end);
}

static void make_network(struct network *n, uint64_t seed) {
    n->rng = (struct bl_rng){seed};
    for (int i = 0; i < 20; i++) snprintf(n->uris[i], sizeof n->uris[i], "at://" ALICE "/app.bsky.feed.post/p%d", i);
    for (unsigned i = 0; i < LIKES; i++) {
        struct like *l = &n->likes[i];
        *l = (struct like){.time_us = T - 6 * HOUR + below(n, HOURS * HOUR),
                           .post = (int)(below(n, 20) * below(n, 20) / 20)};
        if (below(n, 3) == 0) l->undone_us = l->time_us + 1 + below(n, T + 24 * HOUR - l->time_us);
        at_tid_of(l->time_us, i, l->rkey);
        l->rkey[13] = 0;
    }
}

/* What happened in [from, to), as rows of one hour. */
static size_t rows_of(const struct network *n, int64_t from_us, int64_t to_us, struct record *out) {
    size_t count = 0;
    for (int i = 0; i < LIKES; i++) {
        const struct like *l = &n->likes[i];
        const char *did = i % 2 ? "did:plc:odd" : "did:plc:even";
        if (l->time_us >= from_us && l->time_us < to_us)
            out[count++] = (struct record){l->time_us, did, "create", l->rkey, n->uris[l->post]};
        if (l->undone_us >= from_us && l->undone_us < to_us)
            out[count++] = (struct record){l->undone_us, did, "delete", l->rkey, NULL};
    }
    return count;
}

static void add_rows(struct fixture *f, const struct network *n, int64_t from_us, int64_t to_us) {
    static struct record rows[HOUR_LIKES_MAX];
    size_t count = rows_of(n, from_us, to_us, rows);
    if (count) fixture_records(f, EV_likes, rows, count);
}

static void compact_hour(struct fixture *f, const struct network *n, int64_t hour_us) {
    struct bl_error err = {0};
    struct catalog_file *old;
    int64_t ids[64], snapshot;
    size_t count;
    EXPECT_OK(catalog_files(f->catalog, EV_likes, hour_us, hour_us + HOUR - 1, &old, &count, &err), &err);
    for (size_t i = 0; i < count; i++) ids[i] = old[i].id;
    free(old);
    if (count == 0) return;
    f->compacted = true;
    add_rows(f, n, hour_us, hour_us + HOUR);
    f->compacted = false;
    struct catalog_commit commit = {.remove = ids, .remove_count = count, .job = "compact"};
    EXPECT_OK(catalog_commit(f->catalog, &commit, &snapshot, &err), &err);
}

static void add_posts(struct fixture *f) {
    static char rkeys[20][8];
    struct post posts[20];
    for (int i = 0; i < 20; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "p%d", i);
        posts[i] = (struct post){
            .time_us = T - 7 * HOUR + i, .did = ALICE, .operation = "create", .rkey = rkeys[i], .text = "x"};
        posts[i].hashtags[0] = i % 3 ? "art" : "music";
        posts[i].langs[0] = "en";
    }
    fixture_posts(f, posts, COUNT(posts));
    struct post deleted[] = {{.time_us = T, .did = ALICE, .operation = "delete", .rkey = "p0"}};
    fixture_posts(f, deleted, 1);
}

/* --- What is said --- */

static void a_lake_read_as_it_grew_gives_the_answers_of_a_first_reading(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct fixture f;
        static struct network n;
        fixture_open(&f);
        make_network(&n, seed);
        add_posts(&f);
        for (int64_t hour = 0; hour < HOURS; hour++) {
            int64_t at = T - 6 * HOUR + hour * HOUR;
            add_rows(&f, &n, at, at + HOUR / 2);
            if (below(&n, 3) == 0) refresh(&f);
            add_rows(&f, &n, at + HOUR / 2, at + HOUR);
            if (below(&n, 3) == 0) refresh(&f);
            if (hour && below(&n, 2) == 0) compact_hour(&f, &n, at - HOUR);
        }
        expect_same_from_scratch(&f);
        fixture_close(&f);
    }
}

static void hours_that_come_late_are_counted_as_if_they_had_come_in_time(void **state) {
    (void)state;
    for (uint64_t seed = 11; seed <= 12; seed++) {
        struct fixture f;
        static struct network n;
        bool late[HOURS];
        fixture_open(&f);
        make_network(&n, seed);
        add_posts(&f);
        for (int64_t hour = 0; hour < HOURS; hour++) {
            int64_t at = T - 6 * HOUR + hour * HOUR;
            late[hour] = below(&n, 4) == 0;
            if (!late[hour]) add_rows(&f, &n, at, at + HOUR);
            if (below(&n, 4) == 0) refresh(&f);
        }
        refresh(&f);
        for (int64_t hour = 0; hour < HOURS; hour++) {
            int64_t at = T - 6 * HOUR + hour * HOUR;
            if (late[hour]) add_rows(&f, &n, at, at + HOUR);
            if (below(&n, 4) == 0) refresh(&f);
        }
        expect_same_from_scratch(&f);
        fixture_close(&f);
    }
}

static void rows_that_were_purged_are_not_counted_any_more(void **state) {
    (void)state;
    struct fixture f;
    static struct network n;
    fixture_open(&f);
    make_network(&n, 21);
    add_posts(&f);
    for (int64_t at = T - 6 * HOUR; at < T + 24 * HOUR; at += HOUR) add_rows(&f, &n, at, at + HOUR);
    refresh(&f);
    for (int i = 0; i < LIKES; i += 7) n.likes[i].time_us = n.likes[i].undone_us = 0;
    for (int64_t at = T - 6 * HOUR; at < T + 24 * HOUR; at += HOUR) compact_hour(&f, &n, at);
    expect_same_from_scratch(&f);
    fixture_close(&f);
}

/* A file of more rows than are read at once is read in pieces of its time. */
static void a_large_file_is_read_in_pieces_and_nothing_falls_between_them(void **state) {
    (void)state;
    enum { ROWS = 260001, KEYS = 7 };
    struct fixture f;
    static char rkeys[KEYS][14], uri[80];
    char made[14];
    fixture_open(&f);
    at_tid_of(T, 1, made);
    made[13] = 0;
    snprintf(uri, sizeof uri, "at://" ALICE "/app.bsky.feed.post/%s", made);
    struct post post[] = {{.time_us = T, .did = ALICE, .operation = "create", .rkey = made, .text = "x"}};
    struct record *rows = bl_xcalloc(ROWS, sizeof *rows);
    for (int i = 0; i < KEYS; i++) snprintf(rkeys[i], sizeof rkeys[i], "k%d", i);
    for (int64_t i = 0; i < ROWS; i++)
        rows[i] = (struct record){T + 1 + i * (HOUR - 2) / ROWS, "did:plc:z", "create", rkeys[i % KEYS], uri};
    fixture_posts(&f, post, 1);
    fixture_records(&f, EV_likes, rows, ROWS);
    free(rows);
    refresh(&f);
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    answers(&f, &got);
    char wanted[200];
    snprintf(wanted, sizeof wanted, "\n0|%d|100.0|%d", ROWS, ROWS * 1000); /* ages: all within the first hour */
    EXPECT(strstr(bl_buf_cstr(&got), wanted));
    snprintf(wanted, sizeof wanted, "\nday|1|%d|%s|", ROWS, uri);
    EXPECT(strstr(bl_buf_cstr(&got), wanted));
    EXPECT(strstr(bl_buf_cstr(&got), "\n2026-11-21T00:00:00Z|1|0|260001|0"));
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lake_read_as_it_grew_gives_the_answers_of_a_first_reading),
        cmocka_unit_test(hours_that_come_late_are_counted_as_if_they_had_come_in_time),
        cmocka_unit_test(rows_that_were_purged_are_not_counted_any_more),
        cmocka_unit_test(a_large_file_is_read_in_pieces_and_nothing_falls_between_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
