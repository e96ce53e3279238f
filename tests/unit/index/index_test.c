/* The index of a lake: built when missing, built anew when damaged, swept when left over. */
#include "index/index.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"
#include "fixture.h"

static const int64_t START_US = INT64_C(1795219200000000);

static void add_posts(struct fixture *lake, int first, int count) {
    static char rkeys[6000][16];
    static struct post posts[6000];
    for (int i = 0; i < count; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "r%d", first + i);
        /* Not in order, and some of one microsecond. */
        posts[i] = (struct post){.time_us = START_US + (first + (i * 7919) % count) / 2,
                                 .did = i % 3 ? "did:plc:a" : "did:plc:b",
                                 .operation = "create",
                                 .rkey = rkeys[i],
                                 .text = "Hello"};
    }
    fixture_posts(lake, posts, (size_t)count);
}

static size_t files_in_index(const struct fixture *lake) {
    char path[100];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/index", lake->dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static struct index_build_stats build(const struct fixture *lake) {
    struct bl_error err = {0};
    struct index_build_stats stats;
    EXPECT_OK(index_build_missing(&(struct index_build_options){.lake_dir = lake->dir}, &stats, &err), &err);
    return stats;
}

static void rows_come_in_the_order_of_an_answer(void **state) {
    (void)state;
    struct fixture lake;
    struct bl_error err = {0};
    struct duck *duck = NULL;
    struct catalog_file *files = NULL;
    struct segment *s = NULL;
    struct segment_cache cache = {0};
    struct segment_record before = {.time_us = INT64_MAX}, row;
    BL_CLEANUP(bl_buf_release) struct bl_buf kept = {0};
    size_t count, seen = 0;
    fixture_open(&lake);
    add_posts(&lake, 0, 5000);
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &duck, &err), &err);
    EXPECT_OK(catalog_files(lake.catalog, EV_posts, 0, 0, &files, &count, &err), &err);
    struct index *x = index_open(lake.dir);
    EXPECT_OK(index_segment(x, duck, &files[0], &s, &err), &err);
    for (size_t block = 0; block < segment_blocks(s); block++) {
        struct segment_block b;
        EXPECT_OK(segment_block(s, block, &b, &err), &err);
        for (unsigned i = 0; i < b.rows; i++, seen++) {
            EXPECT_OK(segment_record(s, block, i, &cache, &row, &err), &err);
            int names = bl_str_cmp(before.did, row.did);
            if (names == 0) names = bl_str_cmp(before.rkey, row.rkey);
            EXPECT(before.time_us > row.time_us || (before.time_us == row.time_us && names < 0));
            bl_buf_clear(&kept);
            segment_pack(&kept, &row);
            EXPECT(segment_unpack(bl_buf_view(&kept), &before));
        }
    }
    assert_int_equal(seen, 5000);
    segment_cache_release(&cache);
    index_close(&x);
    duck_close(&duck);
    free(files);
    fixture_close(&lake);
}

static void what_is_missing_is_built_and_what_is_left_over_removed(void **state) {
    (void)state;
    struct fixture lake;
    struct bl_error err = {0};
    fixture_open(&lake);
    add_posts(&lake, 0, 100);
    add_posts(&lake, 100, 50);
    fixture_accounts(&lake, (struct account[]){{START_US, "did:plc:a", "a.example.com", true}}, 1);
    struct index_build_stats stats = build(&lake);
    EXPECT(stats.segments == 3 && stats.built == 3 && stats.removed == 0 && stats.rows == 151 && stats.bytes > 0);
    assert_int_equal(files_in_index(&lake), 3);
    stats = build(&lake);
    EXPECT(stats.segments == 3 && stats.built == 0 && stats.removed == 0);
    /* A compaction replaces the first file. */
    struct catalog_file *files;
    size_t count;
    int64_t snapshot;
    EXPECT_OK(catalog_files(lake.catalog, EV_posts, 0, 0, &files, &count, &err), &err);
    EXPECT_OK(catalog_commit(lake.catalog,
                             &(struct catalog_commit){.remove = &files[0].id, .remove_count = 1, .job = "compact"},
                             &snapshot, &err),
              &err);
    free(files);
    stats = build(&lake);
    EXPECT(stats.segments == 2 && stats.built == 0 && stats.removed == 1);
    assert_int_equal(files_in_index(&lake), 2);
    fixture_close(&lake);
}

static void an_old_half_written_file_is_removed_and_a_new_one_left(void **state) {
    (void)state;
    struct fixture lake;
    char path[200];
    fixture_open(&lake);
    add_posts(&lake, 0, 10);
    build(&lake);
    static const char *const names[] = {"posts-0123456789abcdef.seg.1-0.tmp", "posts-0123456789abcdef.seg.1-1.tmp"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/index/%s", lake.dir, names[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0644);
        EXPECT(fd >= 0);
        if (i == 0) EXPECT(futimens(fd, (struct timespec[]){{1, 0}, {1, 0}}) == 0);
        close(fd);
    }
    struct index_build_stats stats = build(&lake);
    EXPECT(stats.removed == 1);
    EXPECT(access(path, F_OK) == 0);
    fixture_close(&lake);
}

/* Two threads with an index each: both end with the same segments, and nobody fails. */
static void *build_in_thread(void *context) { /* a text where something went wrong */
    static char failed[] = "failed", incomplete[] = "incomplete";
    struct bl_error err = {0};
    struct index_build_stats stats;
    if (index_build_missing(&(struct index_build_options){.lake_dir = context}, &stats, &err) != BL_OK) return failed;
    return stats.segments == 6 ? NULL : incomplete;
}

static void many_may_build_at_the_same_time(void **state) {
    (void)state;
    enum { THREADS = 4 };
    struct fixture lake;
    pthread_t threads[THREADS];
    fixture_open(&lake);
    for (int i = 0; i < 6; i++) add_posts(&lake, i * 200, 200);
    for (int i = 0; i < THREADS; i++) EXPECT(pthread_create(&threads[i], NULL, build_in_thread, lake.dir) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        if (problem) fail_msg("%s", (const char *)problem);
    }
    assert_int_equal(files_in_index(&lake), 6);
    fixture_close(&lake);
}

static enum bl_rc count_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    (void)hit, (void)err;
    ++*(int *)context;
    return BL_OK;
}

/* Also for root, to whom permissions mean nothing: a file stands where the folder would. */
static void where_the_folder_cannot_be_written_the_index_lives_in_memory(void **state) {
    (void)state;
    struct fixture lake;
    struct bl_error err = {0};
    char path[100];
    int hits = 0;
    fixture_open(&lake);
    add_posts(&lake, 0, 100);
    snprintf(path, sizeof path, "%s/index", lake.dir);
    close(open(path, O_CREAT | O_WRONLY, 0644));
    struct query *q = fixture_query(&lake, 0);
    EXPECT_OK(
        query_search(q, &(struct query_search){.text = BL_LIT("hello"), .limit = 1000}, count_hit, &hits, NULL, &err),
        &err);
    assert_int_equal(hits, 100);
    query_close(&q);
    EXPECT_RC(index_build_missing(&(struct index_build_options){.lake_dir = lake.dir}, NULL, &err), BL_E_IO);
    fixture_close(&lake);
}

static void building_can_be_stopped(void **state) {
    (void)state;
    struct fixture lake;
    struct bl_error err = {0};
    atomic_bool stop = true;
    fixture_open(&lake);
    add_posts(&lake, 0, 10);
    EXPECT_RC(index_build_missing(&(struct index_build_options){.lake_dir = lake.dir, .stop = &stop}, NULL, &err),
              BL_E_CANCELLED);
    fixture_close(&lake);
}

static struct segment *segment_of(struct index *x, struct duck *duck, const struct catalog_file *file) {
    struct bl_error err = {0};
    struct segment *s = NULL;
    EXPECT_OK(index_segment(x, duck, file, &s, &err), &err);
    return s;
}

static void a_file_is_mapped_once_however_many_use_it(void **state) {
    (void)state;
    struct fixture lake;
    struct bl_error err = {0};
    struct duck *duck = NULL;
    struct catalog_file *files = NULL;
    struct segment_block b;
    size_t count;
    fixture_open(&lake);
    add_posts(&lake, 0, 3000);
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &duck, &err), &err);
    EXPECT_OK(catalog_files(lake.catalog, EV_posts, 0, 0, &files, &count, &err), &err);
    struct index *first = index_open(lake.dir), *second = index_open(lake.dir), *third = index_open(lake.dir);
    struct segment *s = segment_of(first, duck, &files[0]);
    EXPECT(segment_of(second, duck, &files[0]) == s);
    index_close(&first);
    EXPECT_OK(segment_block(s, 1, &b, &err), &err);
    index_note_damaged(second, s); /* whoever comes now gets another; who has it goes on */
    struct segment *other = segment_of(third, duck, &files[0]);
    EXPECT(other != s && segment_rows(other) == 3000);
    EXPECT_OK(segment_block(s, 0, &b, &err), &err);
    EXPECT(segment_of(second, duck, &files[0]) == other);
    index_close(&second);
    index_close(&third);
    duck_close(&duck);
    free(files);
    fixture_close(&lake);
}

struct reader {
    const struct fixture *lake;
    const struct catalog_file *file;
    pthread_t thread;
    uint64_t sum;
};

static void *read_all(void *context) {
    struct reader *r = context;
    struct duck *duck = NULL;
    struct segment *s = NULL;
    struct index *x = index_open(r->lake->dir);
    bool good = duck_open(&(struct duck_options){.threads = 1}, &duck, NULL) == BL_OK &&
                index_segment(x, duck, r->file, &s, NULL) == BL_OK;
    for (size_t i = 0; good && i < segment_blocks(s); i++) {
        struct segment_block b;
        good = segment_block(s, i, &b, NULL) == BL_OK;
        for (unsigned k = 0; good && k < b.rows; k++) r->sum += b.keys[k];
    }
    if (!good) r->sum = 0;
    index_close(&x);
    duck_close(&duck);
    return NULL;
}

static void many_read_one_mapping_at_the_same_time(void **state) {
    (void)state;
    enum { READERS = 4 };
    struct fixture lake;
    struct bl_error err = {0};
    struct catalog_file *files = NULL;
    struct reader readers[READERS];
    size_t count;
    fixture_open(&lake);
    add_posts(&lake, 0, 6000);
    build(&lake);
    EXPECT_OK(catalog_files(lake.catalog, EV_posts, 0, 0, &files, &count, &err), &err);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.lake = &lake, .file = &files[0]};
        EXPECT(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0);
    }
    for (int i = 0; i < READERS; i++) pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < READERS; i++) EXPECT(readers[i].sum && readers[i].sum == readers[0].sum);
    free(files);
    fixture_close(&lake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_the_order_of_an_answer),
        cmocka_unit_test(what_is_missing_is_built_and_what_is_left_over_removed),
        cmocka_unit_test(an_old_half_written_file_is_removed_and_a_new_one_left),
        cmocka_unit_test(many_may_build_at_the_same_time),
        cmocka_unit_test(where_the_folder_cannot_be_written_the_index_lives_in_memory),
        cmocka_unit_test(building_can_be_stopped),
        cmocka_unit_test(a_file_is_mapped_once_however_many_use_it),
        cmocka_unit_test(many_read_one_mapping_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
