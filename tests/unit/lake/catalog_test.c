#include "lake/catalog.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "expect.h"

#define HOUR INT64_C(3600000000)
#define NOON INT64_C(1785585600000000)

static char *new_folder(void) {
    char *folder = bl_xstrdup("/tmp/bl-catalog-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void drop_folder(char **folder) {
    static const char *const names[] = {"catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"};
    for (size_t i = 0; i < 3; i++) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", *folder, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(*folder), 0);
    free(*folder);
}

static struct catalog *open_catalog(const char *folder, enum catalog_mode mode) {
    struct bl_error err = {0};
    struct catalog *c = NULL;
    EXPECT_OK(catalog_open(folder, mode, &c, &err), &err);
    return c;
}

static struct catalog_file file(enum ev_type type, int64_t hour_us, const char *name, int64_t rows) {
    struct catalog_file f = {.type = type, .hour_us = hour_us, .rows = rows, .bytes = rows * 40, .schema_version = 1};
    f.min_us = hour_us + 5;
    f.max_us = hour_us + HOUR - 5;
    f.checksum = UINT64_C(0xfedcba9876543210);
    f.raw_bytes = rows * 500;
    snprintf(f.path, sizeof f.path, "%s", name);
    return f;
}

static int64_t commit(struct catalog *c, struct catalog_commit what) {
    struct bl_error err = {0};
    int64_t snapshot = 0;
    EXPECT_OK(catalog_commit(c, &what, &snapshot, &err), &err);
    return snapshot;
}

static size_t count_files(struct catalog *c, enum ev_type type, int64_t from_us, int64_t to_us) {
    struct bl_error err = {0};
    struct catalog_file *files = NULL;
    size_t count = 0;
    EXPECT_OK(catalog_files(c, type, from_us, to_us, &files, &count, &err), &err);
    free(files);
    return count;
}

static struct catalog_ledger ledger(struct catalog *c, enum ev_type type) {
    struct bl_error err = {0};
    struct catalog_ledger l[EV_TYPE_COUNT];
    EXPECT_OK(catalog_ledger(c, l, &err), &err);
    return l[type];
}

static void a_file_comes_back_as_it_was_committed(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    struct catalog_file in = file(EV_likes, NOON, "a/likes-1-2.parquet", 7);
    in.compacted = true;
    int64_t snapshot = commit(c, (struct catalog_commit){.add = &in, .add_count = 1, .job = "write"});
    catalog_close(&c);
    c = open_catalog(folder, CATALOG_READ);
    struct catalog_file *out = NULL;
    size_t count;
    EXPECT_OK(catalog_files(c, EV_TYPE_COUNT, 0, 0, &out, &count, &err), &err);
    assert_int_equal(count, 1);
    in.id = out->id;
    in.snapshot_added = snapshot;
    assert_string_equal(out->path, in.path);
    assert_true(out->checksum == in.checksum && out->rows == 7 && out->bytes == 280 && out->raw_bytes == 3500);
    assert_true(out->type == EV_likes && out->hour_us == NOON && out->min_us == in.min_us && out->max_us == in.max_us);
    assert_true(out->compacted && out->schema_version == 1 && out->snapshot_added == snapshot);
    assert_true(catalog_knows_path(c, in.path) && !catalog_knows_path(c, "a/other.parquet"));
    struct catalog_totals totals;
    EXPECT_OK(catalog_totals(c, &totals, &err), &err);
    assert_true(totals.files == 1 && totals.rows == 7 && totals.snapshot == snapshot &&
                totals.last_commit_us > NOON / 2);
    free(out);
    catalog_close(&c);
}

static void files_are_found_by_type_and_time_newest_first(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    struct catalog_file in[] = {file(EV_posts, NOON, "1", 1), file(EV_posts, NOON + 2 * HOUR, "3", 1),
                                file(EV_posts, NOON + HOUR, "2", 1), file(EV_likes, NOON, "4", 1)};
    commit(c, (struct catalog_commit){.add = in, .add_count = 4});
    struct catalog_file *out = NULL;
    size_t count;
    EXPECT_OK(catalog_files(c, EV_posts, NOON, NOON + HOUR + 5, &out, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(out[0].path, "2");
    assert_string_equal(out[1].path, "1");
    free(out);
    assert_int_equal(count_files(c, EV_posts, NOON, NOON + 4), 0);
    assert_int_equal(count_files(c, EV_posts, NOON, NOON + 5), 1);
    assert_int_equal(count_files(c, EV_TYPE_COUNT, NOON, NOON + HOUR - 1), 2);
    assert_int_equal(count_files(c, EV_TYPE_COUNT, 0, 0), 4);
    catalog_close(&c);
}

static void a_commit_is_all_or_nothing(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    struct catalog_file first = file(EV_posts, NOON, "same-name", 3);
    commit(c, (struct catalog_commit){.add = &first, .add_count = 1});
    struct catalog_file bad[] = {file(EV_posts, NOON, "new", 4), first};
    struct catalog_intake intake = {
        .type = EV_posts, .incarnation = 9, .seq = 1, .offset = 0, .received = 4, .written = 4};
    struct catalog_dead dead = {.type = EV_posts, .reason = "utf8", .message = BL_LIT("x")};
    struct catalog_commit what = {
        .add = bad, .add_count = 2, .intake = &intake, .intake_count = 1, .dead = &dead, .dead_count = 1};
    int64_t snapshot = 77, count = 0;
    EXPECT_RC(catalog_commit(c, &what, &snapshot, &err), BL_E_BACKEND);
    int64_t unlisted = 4711;
    what = (struct catalog_commit){.add = bad, .add_count = 1, .remove = &unlisted, .remove_count = 1};
    EXPECT_RC(catalog_commit(c, &what, &snapshot, &err), BL_E_NOT_FOUND);
    assert_int_equal(snapshot, 77);
    assert_int_equal(count_files(c, EV_TYPE_COUNT, 0, 0), 1);
    assert_int_equal(ledger(c, EV_posts).received, 0);
    EXPECT_OK(catalog_dead_count(c, &count, &err), &err);
    assert_int_equal(count, 0);
    uint64_t seq = 1;
    EXPECT_OK(catalog_committed_seq(c, 9, EV_posts, &seq, &err), &err);
    assert_int_equal(seq, 0);
    catalog_close(&c);
}

/* Blocks of ten events, numbered and timed by `offset` and `first_us`; each of a run of its own. */
static void take_block(struct catalog *c, uint64_t run, uint64_t offset, int64_t first_us) {
    struct catalog_intake in = {.type = EV_likes, .incarnation = run, .seq = 1, .offset = offset, .received = 10};
    in.written = 10;
    in.first_us = first_us;
    in.last_us = first_us + 9;
    commit(c, (struct catalog_commit){.intake = &in, .intake_count = 1});
}

static void what_was_lost_before_the_settled_position_stays_lost_when_redis_numbers_anew(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    take_block(c, 1, 0, NOON);
    take_block(c, 2, 17, NOON + 100); /* 7 are lost */
    take_block(c, 3, 27, NOON + 200);
    take_block(c, 4, 40, NOON + 300); /* and 3 */
    assert_int_equal(ledger(c, EV_likes).missing, 10);

    take_block(c, 5, 0, NOON + 205); /* Redis was emptied: asked again from behind the first hole, before the second */
    struct catalog_ledger l = ledger(c, EV_likes);
    assert_true(l.missing == 7 && l.next_offset == 10);
    BL_CLEANUP(bl_freep) struct catalog_gap *gaps = NULL;
    size_t count = 0;
    EXPECT_OK(catalog_gaps(c, 0, 0, &gaps, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(gaps[0].from_us == NOON + 9 && gaps[0].to_us == NOON + 100 && !gaps[0].healed);
    assert_string_equal(gaps[0].reason, "buffer_lost");

    take_block(c, 6, 0, NOON); /* once more, from before everything: what is a gap is not counted again */
    assert_int_equal(ledger(c, EV_likes).missing, 7);
    catalog_close(&c);
}

static void the_ledger_tells_missing_from_forgotten_offsets(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    const struct catalog_intake in[] = {
        {.type = EV_likes,
         .incarnation = ~UINT64_C(0),
         .seq = 1,
         .offset = 0,
         .received = 10,
         .written = 8,
         .duplicates = 1,
         .dead = 1},
        {.type = EV_likes, .incarnation = ~UINT64_C(0), .seq = 2, .offset = 10, .received = 5, .written = 5},
        {.type = EV_posts, .incarnation = ~UINT64_C(0), .seq = 1, .offset = 0, .received = 3, .written = 3},
        {.type = EV_likes, .received = 100, .duplicates = 100, .offset = UINT64_MAX}, /* an import */
    };
    commit(c, (struct catalog_commit){.intake = in, .intake_count = 4, .job = "write"});
    struct catalog_ledger l = ledger(c, EV_likes);
    assert_true(l.received == 115 && l.written == 13 && l.duplicates == 101 && l.dead == 1);
    assert_true(l.next_offset == 15 && l.missing == 0 && l.forgotten == 0);

    const struct catalog_intake hole = {
        .type = EV_likes, .incarnation = ~UINT64_C(0), .seq = 5, .offset = 22, .received = 3, .written = 3};
    commit(c, (struct catalog_commit){.intake = &hole, .intake_count = 1});
    l = ledger(c, EV_likes);
    assert_true(l.next_offset == 25 && l.missing == 7 && l.forgotten == 0);

    const struct catalog_intake late = {
        .type = EV_likes, .incarnation = ~UINT64_C(0), .seq = 4, .offset = 18, .received = 4, .written = 4};
    commit(c, (struct catalog_commit){.intake = &late, .intake_count = 1});
    l = ledger(c, EV_likes);
    assert_true(l.next_offset == 25 && l.missing == 3);

    const struct catalog_intake restart = {
        .type = EV_likes, .incarnation = 2, .seq = 1, .offset = 20, .received = 10, .duplicates = 10};
    commit(c, (struct catalog_commit){.intake = &restart, .intake_count = 1});
    l = ledger(c, EV_likes);
    assert_true(l.next_offset == 30 && l.missing == 3 && l.forgotten == 5);

    struct catalog_intake again = restart; /* delivered twice by a crash, then forgotten by Redis and numbered anew */
    again.repeated = true;
    commit(c, (struct catalog_commit){.intake = &again, .intake_count = 1});
    struct catalog_ledger same = ledger(c, EV_likes);
    assert_memory_equal(&same, &l, sizeof l);
    again.offset = 30;
    commit(c, (struct catalog_commit){.intake = &again, .intake_count = 1});
    l = ledger(c, EV_likes);
    assert_true(l.next_offset == 40 && l.missing == 3 && l.forgotten == 5 && l.duplicates == same.duplicates + 10);

    uint64_t seq = 0;
    EXPECT_OK(catalog_committed_seq(c, ~UINT64_C(0), EV_likes, &seq, &err), &err);
    assert_int_equal(seq, 5);
    EXPECT_OK(catalog_committed_seq(c, ~UINT64_C(0), EV_blocks, &seq, &err), &err);
    assert_int_equal(seq, 0);
    catalog_close(&c);
}

static void compaction_replaces_files_and_remembers_the_old_until_swept(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    struct catalog_file in[] = {file(EV_posts, NOON, "p-1", 10), file(EV_posts, NOON, "p-2", 20),
                                file(EV_posts, NOON + HOUR, "p-3", 5)};
    commit(c, (struct catalog_commit){.add = in, .add_count = 3});
    struct catalog_hour *hours = NULL;
    size_t count;
    EXPECT_OK(catalog_hours_to_compact(c, NOON + HOUR, &hours, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(hours->type == EV_posts && hours->hour_us == NOON && hours->files == 2);
    free(hours);

    struct catalog_file *old = NULL;
    EXPECT_OK(catalog_files(c, EV_posts, NOON, NOON + HOUR - 1, &old, &count, &err), &err);
    int64_t ids[] = {old[0].id, old[1].id};
    free(old);
    struct catalog_file whole = file(EV_posts, NOON, "posts", 30);
    whole.compacted = true;
    commit(c,
           (struct catalog_commit){.add = &whole, .add_count = 1, .remove = ids, .remove_count = 2, .job = "compact"});
    assert_int_equal(ledger(c, EV_posts).rows, 35);
    assert_true(catalog_knows_path(c, "p-1") && catalog_knows_path(c, "posts"));
    EXPECT_OK(catalog_hours_to_compact(c, NOON + HOUR, &hours, &count, &err), &err);
    assert_int_equal(count, 0);
    free(hours);

    char **paths = NULL;
    EXPECT_OK(catalog_removed_paths(c, &paths, &count, &err), &err);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        EXPECT_OK(catalog_forget_removed(c, paths[i], &err), &err);
        free(paths[i]);
    }
    free(paths);
    assert_false(catalog_knows_path(c, "p-1"));
    struct catalog_file again = file(EV_posts, NOON, "p-1", 1); /* ids of removed files are not given out again */
    commit(c, (struct catalog_commit){.add = &again, .add_count = 1});
    catalog_close(&c);
}

/* Its bytes went, its row stayed (the process died in between), and a new file got the free name. */
static void a_removed_path_that_is_listed_again_is_not_given_to_the_sweep(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    struct catalog_file first = file(EV_posts, NOON, "posts", 10), *listed = NULL;
    commit(c, (struct catalog_commit){.add = &first, .add_count = 1});
    size_t count;
    char **paths = NULL;
    EXPECT_OK(catalog_files(c, EV_posts, NOON, NOON + HOUR - 1, &listed, &count, &err), &err);
    commit(c, (struct catalog_commit){.add = &first, .add_count = 1, .remove = &listed[0].id, .remove_count = 1});
    free(listed);
    EXPECT_OK(catalog_removed_paths(c, &paths, &count, &err), &err);
    assert_int_equal(count, 0);
    free(paths);
    catalog_close(&c);
}

static void *commit_many(void *folder) {
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    for (int i = 0; i < 60; i++) {
        char name[2][32];
        snprintf(name[0], sizeof name[0], "a-%d", i);
        snprintf(name[1], sizeof name[1], "b-%d", i);
        struct catalog_file in[] = {file(EV_posts, NOON, name[0], 10), file(EV_likes, NOON, name[1], 10)};
        struct catalog_intake intake[] = {
            {.type = EV_posts,
             .incarnation = 1,
             .seq = (uint64_t)i + 1,
             .offset = 10 * (uint64_t)i,
             .received = 10,
             .written = 10},
            {.type = EV_likes,
             .incarnation = 1,
             .seq = (uint64_t)i + 1,
             .offset = 10 * (uint64_t)i,
             .received = 10,
             .written = 10},
        };
        commit(c, (struct catalog_commit){.add = in, .add_count = 2, .intake = intake, .intake_count = 2});
    }
    catalog_close(&c);
    return NULL;
}

static void readers_see_whole_commits_while_a_writer_commits(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    catalog_close(&c);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, commit_many, folder), 0);
    c = open_catalog(folder, CATALOG_READ);
    for (int64_t rows = 0; rows < 600;) {
        struct catalog_ledger l[EV_TYPE_COUNT];
        EXPECT_OK(catalog_ledger(c, l, &err), &err);
        assert_true(l[EV_posts].rows == l[EV_likes].rows && l[EV_posts].rows == l[EV_posts].written);
        assert_true(l[EV_posts].rows >= rows);
        rows = l[EV_posts].rows;
    }
    pthread_join(writer, NULL);
    catalog_close(&c);
}

static void a_pinned_handle_stays_at_its_moment(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *w = open_catalog(folder, CATALOG_WRITE), *r = open_catalog(folder, CATALOG_READ);
    EXPECT_OK(catalog_pin(r, &err), &err);
    struct catalog_file in = file(EV_posts, NOON, "x", 1);
    commit(w, (struct catalog_commit){.add = &in, .add_count = 1});
    assert_int_equal(count_files(r, EV_TYPE_COUNT, 0, 0), 0);
    assert_int_equal(ledger(r, EV_posts).rows, 0);
    catalog_unpin(r);
    assert_int_equal(count_files(r, EV_TYPE_COUNT, 0, 0), 1);
    catalog_close(&r);
    catalog_close(&w);
}

static void keep_last_dead(void *context, const struct catalog_dead *d) {
    struct bl_buf *out = context;
    bl_buf_printf(out, "%d|%s|%s|%s|%lld|", d->type == EV_TYPE_COUNT ? -1 : (int)d->type, d->reason, d->detail,
                  d->origin, (long long)d->received_us);
    bl_buf_str(out, d->message);
    bl_buf_byte(out, '\n');
}

static void dead_letters_gaps_and_facts_are_kept(void **state) {
    (void)state;
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    struct bl_error err = {0};
    struct catalog *c = open_catalog(folder, CATALOG_WRITE);
    const struct catalog_dead dead[] = {
        {.type = EV_posts,
         .reason = "utf8",
         .detail = "byte 7",
         .origin = "block 1",
         .received_us = 1,
         .message = BL_LIT("a")},
        {.type = EV_TYPE_COUNT, .reason = "json_syntax", .received_us = 2, .message = BL_LIT("\0\xff")},
    };
    commit(c, (struct catalog_commit){.dead = dead, .dead_count = 2});
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    EXPECT_OK(catalog_dead_letters(c, 10, keep_last_dead, &text, &err), &err);
    assert_true(bl_str_eq(bl_buf_view(&text), BL_LIT("-1|json_syntax|||2|\0\xff\n0|utf8|byte 7|block 1|1|a\n")));

    struct catalog_gap gap = {.from_us = 100, .to_us = 200, .noted_us = 300, .host = "h", .reason = "cursor_too_old"};
    EXPECT_OK(catalog_add_gap(c, &gap, &err), &err);
    struct catalog_gap *gaps = NULL;
    size_t count;
    EXPECT_OK(catalog_gaps(c, 200, 500, &gaps, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(gaps->reason, "cursor_too_old");
    gaps->healed = true;
    EXPECT_OK(catalog_add_gap(c, gaps, &err), &err);
    free(gaps);
    EXPECT_OK(catalog_gaps(c, 0, 0, &gaps, &count, &err), &err);
    assert_true(count == 1 && gaps->healed);
    free(gaps);
    EXPECT_OK(catalog_gaps(c, 201, 500, &gaps, &count, &err), &err);
    assert_int_equal(count, 0);
    free(gaps);

    bl_buf_clear(&text);
    EXPECT_OK(catalog_get(c, "source", &text, &err), &err);
    EXPECT_STR(bl_buf_view(&text), "");
    EXPECT_OK(catalog_set(c, "source", "simulated seed=1", &err), &err);
    EXPECT_OK(catalog_set(c, "source", "live", &err), &err);
    EXPECT_OK(catalog_get(c, "source", &text, &err), &err);
    EXPECT_STR(bl_buf_view(&text), "live");
    catalog_close(&c);
}

static void what_is_no_lake_is_named_with_the_cure(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct catalog *c = NULL;
    EXPECT_RC(catalog_open("/tmp/bl-there-is-no-such-lake", CATALOG_READ, &c, &err), BL_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "bluelake up"));
    BL_CLEANUP(drop_folder) char *folder = new_folder();
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/catalog.sqlite", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2000; i++) fputs("no database ", f);
    fclose(f);
    EXPECT_RC(catalog_open(folder, CATALOG_READ, &c, &err), BL_E_CORRUPT);
    EXPECT_RC(catalog_open(folder, CATALOG_WRITE, &c, &err), BL_E_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_as_it_was_committed),
        cmocka_unit_test(files_are_found_by_type_and_time_newest_first),
        cmocka_unit_test(a_commit_is_all_or_nothing),
        cmocka_unit_test(the_ledger_tells_missing_from_forgotten_offsets),
        cmocka_unit_test(what_was_lost_before_the_settled_position_stays_lost_when_redis_numbers_anew),
        cmocka_unit_test(compaction_replaces_files_and_remembers_the_old_until_swept),
        cmocka_unit_test(a_removed_path_that_is_listed_again_is_not_given_to_the_sweep),
        cmocka_unit_test(readers_see_whole_commits_while_a_writer_commits),
        cmocka_unit_test(a_pinned_handle_stays_at_its_moment),
        cmocka_unit_test(dead_letters_gaps_and_facts_are_kept),
        cmocka_unit_test(what_is_no_lake_is_named_with_the_cure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
