/* Events into a lake on disk: where they land, what survives a crash, what a failed commit leaves. */
#include "lake/lake.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/rng.h"
#include "expect.h"
#include "lake/reader.h"

#define HOUR_US ((int64_t)3600 * 1000000)

struct place {
    char dir[64];
    struct lake *lake;
};

static void open_with(struct place *p, struct lake_options o) {
    struct bl_error err = {0};
    o.dir = p->dir;
    EXPECT_OK(lake_open(&o, &p->lake, &err), &err);
}
static struct place make_place(void) {
    struct place p = {.dir = "/tmp/bl_lake_XXXXXX"};
    EXPECT(mkdtemp(p.dir) != NULL);
    open_with(&p, (struct lake_options){0});
    return p;
}
static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static void close_place(struct place *p) {
    lake_close(&p->lake);
    nftw(p->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A like or post number `n` at a time: every number is a different event. */
struct sample {
    struct event ev;
    char did[40], rkey[24], uri[96], text[200];
    struct bl_str langs[2];
};
static void make_sample(struct sample *s, enum ev_type type, uint64_t n, int64_t time_us) {
    struct event *ev = &s->ev;
    *ev = (struct event){.type = type};
    ev_set_i64(ev, EV_TIME_US, time_us);
    ev_set_str(ev, EV_DID, bl_strn(s->did, (size_t)snprintf(s->did, sizeof s->did, "did:plc:%024" PRIu64, n % 97)));
    ev_set_str(ev, EV_OPERATION, BL_LIT("create"));
    ev_set_str(ev, EV_RKEY, bl_strn(s->rkey, (size_t)snprintf(s->rkey, sizeof s->rkey, "3k%011" PRIu64, n)));
    ev_set_str(ev, EV_REV, ev->v[EV_RKEY].s);
    ev_set_i64(ev, EV_CID_VERIFIED, 1);
    ev_set_i64(ev, EV_CREATED_AT, time_us - 1000);
    if (type == EV_likes) {
        int length = snprintf(s->uri, sizeof s->uri, "at://did:plc:x/app.bsky.feed.post/%" PRIu64, bl_mix64(n) % 1000);
        ev_set_str(ev, EV_likes_subject_uri, bl_strn(s->uri, (size_t)length));
    }
    if (type == EV_posts) {
        int length = snprintf(s->text, sizeof s->text, "post %" PRIu64 " says %" PRIu64, n, bl_mix64(n));
        ev_set_str(ev, EV_posts_text, bl_strn(s->text, (size_t)length));
        s->langs[0] = BL_LIT("en");
        s->langs[1] = BL_LIT("pt-BR");
        ev->v[EV_posts_langs].list = (struct ev_list){s->langs, n % 3};
        if (n % 4) ev->has |= (uint64_t)1 << EV_posts_langs;
    }
}

static enum lake_outcome append(struct place *p, enum ev_type type, uint64_t n, int64_t time_us) {
    struct bl_error err = {0};
    struct sample s;
    enum lake_outcome outcome;
    make_sample(&s, type, n, time_us);
    EXPECT_OK(lake_append(p->lake, &s.ev, ev_identity(&s.ev), 500, &outcome, &err), &err);
    return outcome;
}
static struct lake_commit_stats commit(struct place *p) {
    struct bl_error err = {0};
    struct lake_commit_stats stats = {0};
    EXPECT_OK(lake_commit(p->lake, "write", &stats, &err), &err);
    return stats;
}
static struct lake_compact_stats compact(struct place *p, int64_t before_us) {
    struct bl_error err = {0};
    struct lake_compact_stats stats = {0};
    EXPECT_OK(lake_compact(p->lake, before_us, &stats, &err), &err);
    return stats;
}
static void reopen(struct place *p) {
    lake_close(&p->lake);
    open_with(p, (struct lake_options){0});
}
static size_t list_files(struct place *p, enum ev_type type, struct catalog_file **files) {
    struct bl_error err = {0};
    size_t count = 0;
    EXPECT_OK(catalog_files(lake_catalog(p->lake), type, INT64_MIN, INT64_MAX, files, &count, &err), &err);
    return count;
}
static bool exists(const struct place *p, const char *relative) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", p->dir, relative);
    return access(path, F_OK) == 0;
}
static void put_file(const struct place *p, const char *relative) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", p->dir, relative);
    BL_CLEANUP(bl_freep) char *folder = bl_xstrdup(path);
    *strrchr(folder, '/') = 0;
    EXPECT_OK(bl_make_dirs(folder, &err), &err);
    EXPECT_OK(bl_write_file_atomic(path, BL_LIT("x"), &err), &err);
}
static size_t staging_entries(const struct place *p) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/.staging", p->dir);
    DIR *d = opendir(path);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* ---- reading back: each sample's number is in its record key */
struct seen {
    uint8_t *times;
    size_t count;
    int64_t rows, last_us;
    bool ordered;
};
static enum bl_rc see_row(void *context, const struct event *ev, struct bl_error *err) {
    (void)err;
    struct seen *s = context;
    uint64_t n = 0;
    struct bl_str rkey = ev_str(ev, EV_RKEY);
    EXPECT(rkey.n == 13 && bl_parse_u64(bl_str_skip(rkey, 2), UINT64_MAX, &n) && n < s->count);
    struct sample want;
    make_sample(&want, ev->type, n, ev->v[EV_TIME_US].i);
    EXPECT(ev->has == want.ev.has);
    EXPECT(bl_str_eq(ev_str(ev, EV_DID), ev_str(&want.ev, EV_DID)));
    if (ev->type == EV_posts) EXPECT(bl_str_eq(ev_str(ev, EV_posts_text), ev_str(&want.ev, EV_posts_text)));
    if (ev->type == EV_posts && ev_has(ev, EV_posts_langs)) EXPECT(ev->v[EV_posts_langs].list.count == n % 3);
    s->times[n]++;
    s->ordered &= ev->v[EV_TIME_US].i >= s->last_us;
    s->last_us = ev->v[EV_TIME_US].i;
    s->rows++;
    return BL_OK;
}
static struct seen read_all(struct place *p, enum ev_type type, size_t count) {
    struct bl_error err = {0};
    struct seen s = {.times = bl_xcalloc(count + 1, 1), .count = count, .last_us = INT64_MIN, .ordered = true};
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    struct lake_scan scan = {.lake_dir = p->dir, .type = type, .file_count = list_files(p, type, &files)};
    scan.files = files;
    if (scan.file_count) EXPECT_OK(lake_scan_rows(&scan, see_row, &s, &err), &err);
    return s;
}
static void expect_each_once(struct place *p, enum ev_type type, size_t count) {
    struct seen s = read_all(p, type, count);
    assert_int_equal(s.rows, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(s.times[i], 1);
    free(s.times);
}

/* ---- the tests */

static int64_t us_of(const char *text) {
    int64_t us = 0;
    EXPECT(bl_parse_time(bl_str(text), false, &us));
    return us;
}

static void events_land_in_the_folder_of_their_hour(void **state) {
    (void)state;
    struct place p = make_place();
    static const struct {
        const char *time, *folder;
    } cases[] = {
        {"2026-11-21T08:00:00Z", "year=2026/month=11/day=21/hour=08"},
        {"2026-11-21T07:59:59.999999Z", "year=2026/month=11/day=21/hour=07"},
        {"2026-03-01T00:00:00Z", "year=2026/month=03/day=01/hour=00"},
        {"2026-02-28T23:59:59.999999Z", "year=2026/month=02/day=28/hour=23"},
        {"2024-02-29T23:59:59.999999Z", "year=2024/month=02/day=29/hour=23"},
        {"2025-12-31T23:59:59.999999Z", "year=2025/month=12/day=31/hour=23"},
        {"2026-01-01T00:00:00Z", "year=2026/month=01/day=01/hour=00"},
        {"1969-12-31T23:59:59.999999Z", "year=1969/month=12/day=31/hour=23"},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    for (size_t i = 0; i < CASES; i++) append(&p, EV_likes, i, us_of(cases[i].time));
    assert_int_equal(commit(&p).files, CASES);
    for (size_t i = 0; i < CASES; i++) {
        int64_t us = us_of(cases[i].time);
        BL_CLEANUP(bl_freep)
        char *path = bl_xasprintf("%s/likes-%" PRId64 "-%" PRId64 ".parquet", cases[i].folder, us, us);
        if (!exists(&p, path)) fail_msg("%s is missing", path);
    }
    expect_each_once(&p, EV_likes, CASES);
    close_place(&p);
}

static void a_time_without_a_folder_and_an_incomplete_event_are_refused(void **state) {
    (void)state;
    struct place p = make_place();
    struct sample s;
    enum lake_outcome outcome;
    make_sample(&s, EV_likes, 1, INT64_MAX);
    EXPECT_RC(lake_append(p.lake, &s.ev, ev_identity(&s.ev), 1, &outcome, NULL), BL_E_INVALID);
    make_sample(&s, EV_likes, 1, HOUR_US);
    s.ev.has &= ~((uint64_t)1 << EV_RKEY);
    EXPECT_RC(lake_append(p.lake, &s.ev, ev_identity(&s.ev), 1, &outcome, NULL), BL_E_INVALID);
    assert_int_equal(commit(&p).files, 0);
    close_place(&p);
}

static void repetitions_are_recognised_within_a_batch_across_commits_and_across_a_restart(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_WRITTEN);
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_DUPLICATE);
    assert_int_equal(commit(&p).rows, 1);
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_DUPLICATE);
    assert_int_equal(commit(&p).files, 0); /* nothing new: no empty file */
    assert_int_equal(staging_entries(&p), 0);
    reopen(&p);
    assert_int_equal(append(&p, EV_likes, 0, at + 2000000), LAKE_DUPLICATE);
    assert_int_equal(append(&p, EV_likes, 1, at), LAKE_WRITTEN);
    assert_int_equal(commit(&p).rows, 1);
    expect_each_once(&p, EV_likes, 2);
    close_place(&p);
}

static void many_types_and_hours_commit_together_and_survive_a_restart(void **state) {
    (void)state;
    struct place p = make_place();
    enum { ROWS = 20000 };
    int64_t from = us_of("2026-11-21T08:00:00Z");
    for (uint64_t i = 0; i < ROWS; i++) {
        append(&p, EV_likes, i, from + (int64_t)(bl_mix64(i) % (uint64_t)(3 * HOUR_US)));
        append(&p, EV_posts, i, from + (int64_t)i * 1000);
    }
    assert_int_equal(lake_pending_rows(p.lake), 2 * ROWS);
    EXPECT(lake_pending_bytes(p.lake) > 0);
    struct lake_commit_stats stats = commit(&p);
    assert_int_equal(stats.rows, 2 * ROWS);
    assert_int_equal(stats.files, 4);
    assert_int_equal(lake_pending_rows(p.lake), 0);
    assert_int_equal(lake_pending_bytes(p.lake), 0);
    reopen(&p);
    expect_each_once(&p, EV_likes, ROWS);
    expect_each_once(&p, EV_posts, ROWS);
    struct bl_error err = {0};
    struct catalog_totals totals;
    EXPECT_OK(catalog_totals(lake_catalog(p.lake), &totals, &err), &err);
    assert_int_equal(totals.rows, 2 * ROWS);
    assert_int_equal(totals.raw_bytes, 2 * ROWS * 500);
    close_place(&p);
}

static void a_full_memory_asks_for_a_commit_and_takes_nothing(void **state) {
    (void)state;
    struct place p = make_place();
    lake_close(&p.lake);
    open_with(&p, (struct lake_options){.memory_bytes = 1 << 20});
    int64_t at = us_of("2026-11-21T08:00:00Z");
    uint64_t n = 0, commits = 0;
    for (enum lake_outcome outcome; n < 30000;) {
        struct sample s;
        make_sample(&s, EV_posts, n, at + (int64_t)n);
        enum bl_rc rc = lake_append(p.lake, &s.ev, ev_identity(&s.ev), 1, &outcome, NULL);
        if (rc == BL_E_FULL) {
            EXPECT(commit(&p).rows > 0);
            commits++;
            continue;
        }
        EXPECT_RC(rc, BL_OK);
        assert_int_equal(outcome, LAKE_WRITTEN);
        n++;
    }
    commit(&p);
    EXPECT(commits > 1);
    expect_each_once(&p, EV_posts, 30000);
    close_place(&p);
}

static void a_crash_before_the_commit_leaves_nothing_and_committed_files_stay(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    append(&p, EV_likes, 0, at);
    commit(&p);
    lake_close(&p.lake);
    /* As if the process had died: in staging, after the rename, and somebody else's file. */
    put_file(&p, ".staging/write-likes-7.parquet");
    put_file(&p, "year=2026/month=11/day=21/hour=08/likes-1-2.parquet");
    put_file(&p, "year=2026/month=11/day=21/hour=09/posts.parquet");
    put_file(&p, "year=2026/month=11/day=21/hour=09/README.txt");
    open_with(&p, (struct lake_options){0});
    assert_int_equal(staging_entries(&p), 0);
    EXPECT(!exists(&p, "year=2026/month=11/day=21/hour=08/likes-1-2.parquet"));
    EXPECT(!exists(&p, "year=2026/month=11/day=21/hour=09/posts.parquet"));
    EXPECT(exists(&p, "year=2026/month=11/day=21/hour=09/README.txt"));
    expect_each_once(&p, EV_likes, 1);
    close_place(&p);
}

static void rows_not_committed_are_gone_after_a_restart_and_can_come_again(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    append(&p, EV_likes, 0, at);
    reopen(&p);
    assert_int_equal(staging_entries(&p), 0);
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_WRITTEN);
    commit(&p);
    expect_each_once(&p, EV_likes, 1);
    close_place(&p);
}

static void a_name_that_exists_is_never_overwritten(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    for (uint64_t i = 0; i < 3; i++) {
        append(&p, EV_likes, i, at); /* the same range, hence the same stem */
        commit(&p);
    }
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_int_equal(list_files(&p, EV_likes, &files), 3);
    BL_CLEANUP(bl_freep)
    char *third = bl_xasprintf("year=2026/month=11/day=21/hour=08/likes-%" PRId64 "-%" PRId64 "-3.parquet", at, at);
    EXPECT(exists(&p, third));
    expect_each_once(&p, EV_likes, 3);
    close_place(&p);
}

static void a_failed_commit_is_forgotten_and_can_be_repeated(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    append(&p, EV_likes, 0, at);
    append(&p, EV_posts, 0, at);
    put_file(&p, "year=2026"); /* a file where a folder has to be */
    EXPECT_RC(lake_commit(p.lake, "write", NULL, NULL), BL_E_IO);
    assert_int_equal(staging_entries(&p), 0);
    assert_int_equal(lake_pending_rows(p.lake), 0);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_int_equal(list_files(&p, EV_TYPE_COUNT, &files), 0);
    BL_CLEANUP(bl_freep) char *clash = bl_xasprintf("%s/year=2026", p.dir);
    unlink(clash);
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_WRITTEN);
    assert_int_equal(append(&p, EV_posts, 0, at), LAKE_WRITTEN);
    assert_int_equal(commit(&p).rows, 2);
    expect_each_once(&p, EV_likes, 1);
    close_place(&p);
}

static void alter_catalogue(const struct place *p, const char *sql) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/catalog.sqlite", p->dir);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_catalogue_that_refuses_takes_the_files_back(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t at = us_of("2026-11-21T08:30:00Z");
    alter_catalogue(&p, "CREATE TRIGGER refuse BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'refused'); END");
    append(&p, EV_likes, 0, at);
    EXPECT(lake_commit(p.lake, "write", NULL, NULL) != BL_OK);
    assert_int_equal(staging_entries(&p), 0);
    BL_CLEANUP(bl_freep)
    char *path = bl_xasprintf("year=2026/month=11/day=21/hour=08/likes-%" PRId64 "-%" PRId64 ".parquet", at, at);
    EXPECT(!exists(&p, path));
    alter_catalogue(&p, "DROP TRIGGER refuse");
    assert_int_equal(append(&p, EV_likes, 0, at), LAKE_WRITTEN);
    commit(&p);
    EXPECT(exists(&p, path));
    expect_each_once(&p, EV_likes, 1);
    close_place(&p);
}

/* A limit on file size stands in for a full disk: write fails half-way through a file. */
static void a_disk_that_fills_up_during_a_commit_costs_no_event(void **state) {
    (void)state;
    enum { ROWS = 20000 };
    struct place p = make_place();
    int64_t from = us_of("2026-11-21T08:00:00Z");
    struct rlimit was, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    tight = was;
    tight.rlim_cur = 100 << 10;
    signal(SIGXFSZ, SIG_IGN);
    for (int attempt = 0; attempt < 2; attempt++) {
        for (uint64_t i = 0; i < ROWS; i++) assert_int_equal(append(&p, EV_posts, i, from + (int64_t)i), LAKE_WRITTEN);
        if (attempt == 1) break;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
        enum bl_rc rc = lake_commit(p.lake, "write", NULL, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        EXPECT_RC(rc, BL_E_IO);
        assert_int_equal(staging_entries(&p), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(commit(&p).rows, ROWS);
    expect_each_once(&p, EV_posts, ROWS);
    close_place(&p);
}

static void write_until_killed(struct place *p, int fd, uint64_t rows, int64_t from) {
    open_with(p, (struct lake_options){0});
    for (uint64_t i = 0; i < rows; i++) {
        append(p, EV_posts, i, from + (int64_t)i * 1000);
        append(p, EV_likes, i, from + (int64_t)i * 1000);
        if (i % 40 != 39) continue;
        if (write(fd, "c", 1) != 1) _exit(1); /* tells the parent that a commit begins */
        commit(p);
        if (i % 400 == 399) compact(p, INT64_MAX);
    }
    _exit(0);
}

/* Each life starts from the first event again, as a writer does that lost its place, and is killed inside a commit or a
 * compaction. */
static void a_writer_killed_again_and_again_loses_nothing_and_writes_nothing_twice(void **state) {
    (void)state;
    enum { LIVES = 12, ROWS = 2000 };
    struct place p = make_place();
    lake_close(&p.lake);
    int64_t from = us_of("2026-11-21T08:59:59Z");
    for (unsigned life = 0; life < LIVES; life++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) write_until_killed(&p, pipes[1], ROWS, from);
        close(pipes[1]);
        char c;
        for (unsigned commits = 2 + life * 4; commits > 0 && read(pipes[0], &c, 1) == 1; commits--) {
        }
        for (volatile uint64_t spin = bl_mix64(life) % 4000000; spin > 0; spin--) {
        }
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT(WIFSIGNALED(status));
        close(pipes[0]);
    }
    open_with(&p, (struct lake_options){0});
    for (uint64_t i = 0; i < ROWS; i++) {
        append(&p, EV_posts, i, from + (int64_t)i * 1000);
        append(&p, EV_likes, i, from + (int64_t)i * 1000);
    }
    commit(&p);
    expect_each_once(&p, EV_posts, ROWS);
    expect_each_once(&p, EV_likes, ROWS);
    close_place(&p);
}

static void only_one_process_writes(void **state) {
    (void)state;
    struct place p = make_place();
    struct lake *second = NULL;
    EXPECT_RC(lake_open(&(struct lake_options){.dir = p.dir}, &second, NULL), BL_E_BUSY);
    EXPECT(second == NULL);
    close_place(&p);
}

static void notes_alone_make_a_commit(void **state) {
    (void)state;
    struct place p = make_place();
    struct bl_error err = {0};
    char reason[] = "json_syntax";
    lake_note_dead(p.lake, &(struct catalog_dead){.type = EV_TYPE_COUNT,
                                                  .reason = reason,
                                                  .detail = "at byte 3",
                                                  .origin = "test",
                                                  .message = BL_LIT("{\"a\"")});
    memset(reason, 'x', sizeof reason - 1);
    EXPECT(commit(&p).snapshot > 0);
    int64_t count = 0;
    EXPECT_OK(catalog_dead_count(lake_catalog(p.lake), &count, &err), &err);
    assert_int_equal(count, 1);
    close_place(&p);
}

/* ---- compaction */

static void fill(struct place *p, uint64_t rows, int64_t from, int commits) {
    for (int c = 0; c < commits; c++) {
        for (uint64_t i = (uint64_t)c; i < rows; i += (uint64_t)commits)
            append(p, EV_posts, i, from + (int64_t)(bl_mix64(i) % (uint64_t)HOUR_US));
        commit(p);
    }
}
static void compaction_makes_one_sorted_file_of_an_hour_and_keeps_every_row(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t from = us_of("2026-11-21T08:00:00Z");
    fill(&p, 5000, from, 5);
    struct lake_compact_stats stats = compact(&p, from + HOUR_US);
    assert_int_equal(stats.hours, 1);
    assert_int_equal(stats.files_before, 5);
    assert_int_equal(stats.files_after, 1);
    assert_int_equal(stats.rows, 5000);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_int_equal(list_files(&p, EV_posts, &files), 1);
    assert_string_equal(files[0].path, "year=2026/month=11/day=21/hour=08/posts.parquet");
    EXPECT(files[0].compacted);
    assert_int_equal(files[0].raw_bytes, 5000 * 500);
    struct seen s = read_all(&p, EV_posts, 5000);
    EXPECT(s.ordered);
    free(s.times);
    expect_each_once(&p, EV_posts, 5000);
    assert_int_equal(compact(&p, from + HOUR_US).hours, 0);
    reopen(&p);
    expect_each_once(&p, EV_posts, 5000);
    assert_int_equal(append(&p, EV_posts, 7, from + (int64_t)(bl_mix64(7) % (uint64_t)HOUR_US)), LAKE_DUPLICATE);
    close_place(&p);
}

static void an_hour_that_is_not_over_is_left_alone(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t from = us_of("2026-11-21T08:00:00Z");
    fill(&p, 100, from, 2);
    assert_int_equal(compact(&p, from + HOUR_US - 1).hours, 0);
    close_place(&p);
}

static void a_late_event_reopens_an_hour_and_the_next_compaction_takes_it_in(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t from = us_of("2026-11-21T08:00:00Z");
    fill(&p, 1000, from, 2);
    compact(&p, from + HOUR_US);
    append(&p, EV_posts, 1000, from + 5);
    assert_int_equal(commit(&p).files, 1);
    struct lake_compact_stats stats = compact(&p, from + HOUR_US);
    assert_int_equal(stats.files_before, 2);
    assert_int_equal(stats.rows, 1001);
    expect_each_once(&p, EV_posts, 1001);
    close_place(&p);
}

static void a_large_hour_is_split(void **state) {
    (void)state;
    struct place p = make_place();
    lake_close(&p.lake);
    open_with(&p, (struct lake_options){.file_bytes_max = 200 << 10});
    int64_t from = us_of("2026-11-21T08:00:00Z");
    fill(&p, 30000, from, 2);
    struct lake_compact_stats stats = compact(&p, from + HOUR_US);
    EXPECT(stats.files_after > 1);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    size_t count = list_files(&p, EV_posts, &files);
    assert_int_equal(count, stats.files_after);
    for (size_t i = 0; i < count; i++) EXPECT(files[i].bytes <= 300 << 10);
    EXPECT(exists(&p, "year=2026/month=11/day=21/hour=08/posts-2.parquet"));
    expect_each_once(&p, EV_posts, 30000);
    assert_int_equal(compact(&p, from + HOUR_US).hours, 0);
    close_place(&p);
}

static void a_file_that_lost_rows_is_not_replaced(void **state) {
    (void)state;
    struct place p = make_place();
    int64_t from = us_of("2026-11-21T08:00:00Z");
    fill(&p, 1000, from, 2);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    assert_int_equal(list_files(&p, EV_posts, &files), 2);
    BL_CLEANUP(bl_freep) char *a = bl_xasprintf("%s/%s", p.dir, files[0].path);
    BL_CLEANUP(bl_freep) char *other = bl_xasprintf("%s/%s", p.dir, files[1].path);
    append(&p, EV_posts, 1000, from + 5); /* a file of one row in the place of one of 500 */
    commit(&p);
    BL_CLEANUP(bl_freep) struct catalog_file *now = NULL;
    size_t count = list_files(&p, EV_posts, &now);
    for (size_t i = 0; i < count; i++) {
        if (now[i].rows != 1) continue;
        BL_CLEANUP(bl_freep) char *one = bl_xasprintf("%s/%s", p.dir, now[i].path);
        unlink(a);
        assert_int_equal(link(one, a), 0);
    }
    EXPECT_RC(lake_compact(p.lake, from + HOUR_US, NULL, NULL), BL_E_CORRUPT);
    BL_CLEANUP(bl_freep) struct catalog_file *after = NULL;
    assert_int_equal(list_files(&p, EV_posts, &after), 3);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(staging_entries(&p), 0);
    close_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_land_in_the_folder_of_their_hour),
        cmocka_unit_test(a_time_without_a_folder_and_an_incomplete_event_are_refused),
        cmocka_unit_test(repetitions_are_recognised_within_a_batch_across_commits_and_across_a_restart),
        cmocka_unit_test(many_types_and_hours_commit_together_and_survive_a_restart),
        cmocka_unit_test(a_full_memory_asks_for_a_commit_and_takes_nothing),
        cmocka_unit_test(a_crash_before_the_commit_leaves_nothing_and_committed_files_stay),
        cmocka_unit_test(rows_not_committed_are_gone_after_a_restart_and_can_come_again),
        cmocka_unit_test(a_name_that_exists_is_never_overwritten),
        cmocka_unit_test(a_failed_commit_is_forgotten_and_can_be_repeated),
        cmocka_unit_test(a_catalogue_that_refuses_takes_the_files_back),
        cmocka_unit_test(a_disk_that_fills_up_during_a_commit_costs_no_event),
        cmocka_unit_test(a_writer_killed_again_and_again_loses_nothing_and_writes_nothing_twice),
        cmocka_unit_test(only_one_process_writes),
        cmocka_unit_test(notes_alone_make_a_commit),
        cmocka_unit_test(compaction_makes_one_sorted_file_of_an_hour_and_keeps_every_row),
        cmocka_unit_test(an_hour_that_is_not_over_is_left_alone),
        cmocka_unit_test(a_late_event_reopens_an_hour_and_the_next_compaction_takes_it_in),
        cmocka_unit_test(a_large_hour_is_split),
        cmocka_unit_test(a_file_that_lost_rows_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
