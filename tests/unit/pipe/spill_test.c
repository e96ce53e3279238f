#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/rng.h"
#include "expect.h"
#include "obs/log.h"
#include "pipe/recent.h"
#include "pipe/spill.h"

enum { ROUNDS = 300 };

struct world {
    char dir[64], folder[96];
    struct bl_rng rng;
    uint64_t seq[EV_TYPE_COUNT];
    struct bl_buf bytes;
};

static int set_up(void **state) {
    struct world *w = bl_xcalloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/bl-spill-XXXXXX");
    EXPECT(mkdtemp(w->dir));
    snprintf(w->folder, sizeof w->folder, "%s/spill", w->dir);
    w->rng.state = 7;
    *state = w;
    return 0;
}

static void each_file(const struct world *w, void (*visit)(const char *path)) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", w->folder);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) visit(found.gl_pathv[i]);
    globfree(&found);
}
static void remove_path(const char *path) { EXPECT(remove(path) == 0); }

static int tear_down(void **state) {
    struct world *w = *state;
    each_file(w, remove_path);
    rmdir(w->folder);
    rmdir(w->dir);
    bl_buf_release(&w->bytes);
    free(w);
    return 0;
}

/* A record whose content follows from the numbers drawn; slices point into w->bytes. */
static struct spill_record random_record(struct world *w, size_t size_max) {
    bl_buf_clear(&w->bytes);
    size_t n = 1 + bl_rng_below(&w->rng, size_max);
    for (size_t i = 0; i < n; i++) bl_buf_byte(&w->bytes, (char)bl_rng_u64(&w->rng));
    struct bl_str data = bl_buf_view(&w->bytes);
    if (bl_rng_below(&w->rng, 5) == 0)
        return (struct spill_record){
            .reason = BL_LIT("utf8"), .detail = BL_LIT("at byte 3"), .received_us = 77, .message = data};
    enum ev_type type = (enum ev_type)bl_rng_below(&w->rng, EV_TYPE_COUNT);
    return (struct spill_record){.is_block = true,
                                 .type = type,
                                 .cursor_us = (int64_t)(1 + bl_rng_below(&w->rng, INT64_MAX - 1)),
                                 .host = BL_LIT("host.example:443"),
                                 .block = {.incarnation = 0xabcdef,
                                           .seq = ++w->seq[type],
                                           .count = (uint32_t)(1 + bl_rng_below(&w->rng, 1000)),
                                           .first_us = 5,
                                           .last_us = 9,
                                           .raw_len = 12345,
                                           .sum = bl_rng_u64(&w->rng),
                                           .compressed = bl_rng_below(&w->rng, 2) == 0,
                                           .data = data}};
}

static void expect_same(const struct spill_record *a, const struct spill_record *b) {
    EXPECT(a->is_block == b->is_block);
    if (!a->is_block) {
        EXPECT(bl_str_eq(a->reason, b->reason) && bl_str_eq(a->detail, b->detail) && bl_str_eq(a->message, b->message));
        assert_int_equal(a->received_us, b->received_us);
        return;
    }
    EXPECT(a->type == b->type && a->cursor_us == b->cursor_us && bl_str_eq(a->host, b->host));
    EXPECT(a->block.incarnation == b->block.incarnation && a->block.seq == b->block.seq &&
           a->block.count == b->block.count);
    EXPECT(a->block.first_us == b->block.first_us && a->block.last_us == b->block.last_us &&
           a->block.raw_len == b->block.raw_len);
    EXPECT(a->block.sum == b->block.sum && a->block.compressed == b->block.compressed &&
           bl_str_eq(a->block.data, b->block.data));
}

static void random_records_come_back(void **state) {
    struct world *w = *state;
    struct bl_buf text = {0};
    for (int i = 0; i < ROUNDS; i++) {
        bl_buf_clear(&text);
        struct spill_record wanted = random_record(w, 500), got;
        spill_encode(&wanted, &text);
        spill_encode(&wanted, &text);
        struct bl_str rest = bl_buf_view(&text);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(spill_decode(&rest, &got), SPILL_RECORD);
            expect_same(&wanted, &got);
        }
        assert_int_equal(spill_decode(&rest, &got), SPILL_END);
    }
    bl_buf_release(&text);
}

static void every_truncation_is_torn_and_every_flipped_bit_is_noticed(void **state) {
    struct world *w = *state;
    struct bl_buf text = {0};
    struct spill_record wanted = random_record(w, 60), got;
    spill_encode(&wanted, &text);
    for (size_t n = 1; n < text.n; n++) {
        struct bl_str rest = bl_strn(text.p, n);
        assert_int_equal(spill_decode(&rest, &got), SPILL_TORN);
    }
    for (size_t bit = 0; bit < text.n * 8; bit++) {
        text.p[bit / 8] ^= (char)(1 << bit % 8);
        struct bl_str rest = bl_buf_view(&text);
        EXPECT(spill_decode(&rest, &got) != SPILL_RECORD);
        text.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    bl_buf_release(&text);
}

static struct spill *open_spill(struct world *w, int64_t max_bytes) {
    struct spill *s = NULL;
    struct bl_error err = {0};
    EXPECT_OK(spill_open(w->folder, max_bytes, &s, &err), &err);
    return s;
}

static const uint64_t nothing[EV_TYPE_COUNT];

/* Appends `count` blocks of one type with ascending seq, each with its own fsync. */
static void fill(struct spill *s, int from, int count, size_t size) {
    struct bl_error err = {0};
    char *bytes = bl_xcalloc(1, size);
    for (int i = from; i < from + count; i++) {
        struct spill_record r = {
            .is_block = true,
            .type = EV_posts,
            .cursor_us = 1000 + i,
            .host = BL_LIT("h"),
            .block = {.incarnation = 1, .seq = (uint64_t)i, .count = 2, .data = bl_strn(bytes, size)}};
        EXPECT_OK(spill_append(s, &r, &err), &err);
        EXPECT_OK(spill_sync(s, &err), &err);
    }
    free(bytes);
}

/* Reads and consumes `count` blocks, which must be seq `from` and following. */
static void drain(struct spill *s, int from, int count) {
    struct bl_error err = {0};
    for (int i = from; i < from + count; i++) {
        struct spill_record r;
        EXPECT_OK(spill_peek(s, &r, &err), &err);
        assert_int_equal(r.block.seq, i);
        spill_consume(s);
    }
}

static void records_come_back_in_order_over_segments_and_restarts(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 30, 1 << 20);
    EXPECT(spill_waiting(s));
    drain(s, 1, 10);
    spill_close(&s);
    s = open_spill(w, INT64_MAX);
    spill_begin(s, 2, NULL);
    assert_int_equal(spill_cursor(s), 1030);
    fill(s, 31, 5, 100);
    drain(s, 1, 35);
    EXPECT(!spill_waiting(s));
    spill_rewind(s);
    drain(s, 1, 35);
    spill_collect(s, bl_mono_ns(), 0);
    assert_int_equal(spill_bytes(s), 0);
    assert_int_equal(spill_cursor(s), 0);
    spill_close(&s);
}

static void reading_and_writing_take_turns(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    int written = 0, read = 0;
    for (int i = 0; i < 200; i++) {
        int n = (int)bl_rng_below(&w->rng, 6), m = (int)bl_rng_below(&w->rng, 6);
        fill(s, written + 1, n, 60 << 10);
        written += n;
        if (m > written - read) m = written - read;
        drain(s, read + 1, m);
        read += m;
        if (i % 7 == 0) spill_collect(s, bl_mono_ns(), 0);
    }
    drain(s, read + 1, written - read);
    spill_close(&s);
}

static void the_bound_is_kept_and_what_is_there_stays_good(void **state) {
    struct world *w = *state;
    struct bl_error err = {0};
    struct spill *s = open_spill(w, 10000);
    spill_begin(s, 1, nothing);
    fill(s, 1, 9, 1000);
    char bytes[1000] = {0};
    struct spill_record r = {
        .is_block = true, .type = EV_posts, .block = {.seq = 10, .data = bl_strn(bytes, sizeof bytes)}};
    EXPECT_RC(spill_append(s, &r, &err), BL_E_FULL);
    drain(s, 1, 9);
    spill_close(&s);
}

static void a_torn_tail_is_cut_off_silently(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 3, 1000);
    spill_close(&s);
    char path[128];
    snprintf(path, sizeof path, "%s/0000000000000001-1.seg", w->folder);
    struct stat whole;
    EXPECT(stat(path, &whole) == 0);
    for (int cut = 1; cut < 900; cut += 100) EXPECT(truncate(path, whole.st_size - cut) == 0);
    for (int i = 0; i < 2; i++) { /* the second time the segment is no longer the newest */
        s = open_spill(w, INT64_MAX);
        assert_int_equal(spill_damaged(s), 0);
        assert_int_equal(spill_cursor(s), i ? 1099 : 1002);
        spill_begin(s, 2, NULL);
        if (!i) fill(s, 99, 1, 10);
        spill_close(&s);
    }
    s = open_spill(w, INT64_MAX);
    drain(s, 1, 2);
    drain(s, 99, 1);
    spill_close(&s);
}

/* A file system may give back as zeros what a power cut kept it from writing. */
static void a_tail_of_zeros_is_cut_off_silently(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 3, 1000);
    spill_close(&s);
    char path[128];
    snprintf(path, sizeof path, "%s/0000000000000001-1.seg", w->folder);
    struct stat whole, cut;
    EXPECT(stat(path, &whole) == 0 && truncate(path, whole.st_size + 4096) == 0);
    s = open_spill(w, INT64_MAX);
    assert_int_equal(spill_damaged(s), 0);
    assert_int_equal(spill_cursor(s), 1003);
    drain(s, 1, 3);
    EXPECT(!spill_waiting(s) && stat(path, &cut) == 0 && cut.st_size == whole.st_size);
    spill_close(&s);
}

static void overwrite(const char *path, struct bl_str bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    EXPECT(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
    close(fd);
}

/* Every prefix of a file, and the file with any one bit turned: what is read is the beginning of what was written, in
 * order, and no cursor stands behind what is not read. */
static void whatever_becomes_of_a_file_order_is_kept_and_no_cursor_runs_ahead(void **state) {
    struct world *w = *state;
    enum { RECORDS = 6 };
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, RECORDS, 20);
    spill_close(&s);
    char path[128];
    snprintf(path, sizeof path, "%s/0000000000000001-1.seg", w->folder);
    struct bl_buf file = {0};
    struct bl_error err = {0};
    EXPECT_OK(bl_read_file(path, 1 << 20, &file, &err), &err);
    bl_log_setup("test", (enum bl_level)(BL_ERROR_LEVEL + 1), false); /* thousands of damages */
    for (size_t i = 0; i < file.n * 9; i++) { /* the ninth round cuts */
        size_t at = i % file.n, n = i / file.n == 8 ? at : file.n;
        char kept = file.p[at];
        if (n == file.n) file.p[at] ^= (char)(1 << i / file.n);
        overwrite(path, bl_strn(file.p, n));
        file.p[at] = kept;
        s = open_spill(w, INT64_MAX);
        int64_t cursor = spill_cursor(s);
        struct spill_record r;
        int read = 0;
        while (spill_waiting(s) && spill_peek(s, &r, &err) == BL_OK) {
            assert_int_equal(r.block.seq, ++read);
            spill_consume(s);
        }
        EXPECT(cursor <= 1000 + read);
        size_t header = 16 + 8 * EV_TYPE_COUNT, last = file.n - (file.n - header) / RECORDS;
        if (at >= header) EXPECT(read < RECORDS);
        if (at >= header && n == file.n) EXPECT(spill_damaged(s) == (at < last)); /* the last may be torn as well */
        if (n < file.n) EXPECT(spill_damaged(s) == 0);
        spill_close(&s);
    }
    bl_log_setup("test", BL_INFO, false);
    bl_buf_release(&file);
}

static void damage_is_told_and_no_cursor_behind_it_is_believed(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 12, 1 << 20); /* three segments */
    spill_close(&s);
    char path[128], byte = 'x';
    snprintf(path, sizeof path, "%s/0000000000000001-2.seg", w->folder);
    int fd = open(path, O_WRONLY);
    EXPECT(fd >= 0 && pwrite(fd, &byte, 1, (1 << 20) + 5000) == 1);
    close(fd);
    s = open_spill(w, INT64_MAX);
    assert_int_equal(spill_damaged(s), 1);
    int64_t cursor = spill_cursor(s);
    EXPECT(cursor > 1000 && cursor < 1008);
    drain(s, 1, (int)(cursor - 1000));
    struct spill_record r;
    struct bl_error err = {0};
    EXPECT_OK(spill_peek(s, &r, &err), &err); /* what lies behind the damaged segment still comes */
    EXPECT(r.block.seq >= 9);
    spill_close(&s);
}

static int64_t resume_at(const struct spill *s, uint64_t posts, uint64_t likes) {
    struct bl_str host = BL_LIT("none");
    int64_t cursor_us = spill_resume(s, (uint64_t[EV_TYPE_COUNT]){[EV_posts] = posts, [EV_likes] = likes}, &host);
    EXPECT(bl_str_eq(host, cursor_us ? BL_LIT("h") : BL_LIT("none")));
    return cursor_us;
}

/* Between two segments Redis took events that are in neither; it must still have them, or the second one's cursor says
 * too much. */
static void a_cursor_counts_only_when_redis_has_what_lies_before_its_segment(void **state) {
    struct world *w = *state;
    uint64_t received[EV_TYPE_COUNT] = {[EV_posts] = 500, [EV_likes] = 7};
    struct spill *s = open_spill(w, INT64_MAX);
    assert_int_equal(resume_at(s, 500, 7), 0);
    spill_begin(s, 1, received);
    fill(s, 1, 5, 100); /* 10 posts */
    received[EV_posts] = 512; /* those, and 2 more that went straight to Redis */
    spill_begin(s, 1, received);
    fill(s, 6, 2, 100);
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(resume_at(s, 512, 7), 1007);
        assert_int_equal(resume_at(s, 600, 9), 1007);
        assert_int_equal(resume_at(s, 511, 7), 1005);
        assert_int_equal(resume_at(s, 500, 7), 1005);
        assert_int_equal(resume_at(s, 499, 7), 0);
        assert_int_equal(resume_at(s, 600, 6), 0);
        spill_close(&s);
        s = open_spill(w, INT64_MAX);
    }
    drain(s, 1, 5);
    spill_collect(s, bl_mono_ns(), 0);
    assert_int_equal(resume_at(s, 511, 7), 0);
    assert_int_equal(resume_at(s, 512, 7), 1007);
    spill_close(&s);
}

/* Reading a folder fails as reading a bad sector does. */
static void make_unreadable(const struct world *w, int number) {
    char path[128];
    snprintf(path, sizeof path, "%s/0000000000000001-%d.seg", w->folder, number);
    EXPECT(unlink(path) == 0 && mkdir(path, 0755) == 0);
}

static bool is_there(const struct world *w, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    return access(path, F_OK) == 0;
}

/* Three segments of four events each; the second one cannot be read any more. */
static void an_unreadable_segment_is_set_aside_and_no_cursor_behind_it_is_believed(void **state) {
    struct world *w = *state;
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 12, 1 << 20);
    spill_close(&s);
    make_unreadable(w, 2);
    for (int opened = 0; opened < 2; opened++) {
        s = open_spill(w, INT64_MAX);
        EXPECT(is_there(w, "0000000000000001-2.seg.unreadable-3") && !is_there(w, "0000000000000001-2.seg"));
        assert_int_equal(spill_damaged(s), !opened);
        assert_int_equal(spill_cursor(s), opened ? 0 : 1004); /* later only what is written from now on counts */
        assert_int_equal(spill_take_lost(s), opened ? 0 : 1009);
        assert_int_equal(spill_take_lost(s), 0);
        assert_int_equal(resume_at(s, 1000, 0), opened ? 0 : 1004);
        drain(s, 1, 4);
        drain(s, 9, 4);
        EXPECT(!spill_waiting(s));
        if (!opened) spill_close(&s);
    }
    spill_begin(s, 2, NULL);
    fill(s, 13, 1, 10);
    EXPECT(is_there(w, "0000000000000002-4.seg"));
    assert_int_equal(spill_cursor(s), 1013);
    drain(s, 13, 1);
    spill_close(&s);
}

static void a_segment_that_becomes_unreadable_ends_the_reading_once(void **state) {
    struct world *w = *state;
    struct spill_record r;
    struct bl_error err = {0};
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 12, 1 << 20);
    drain(s, 1, 4);
    make_unreadable(w, 2);
    EXPECT_RC(spill_peek(s, &r, &err), BL_E_CORRUPT);
    EXPECT(is_there(w, "0000000000000001-2.seg.unreadable-3"));
    assert_int_equal(spill_damaged(s), 1);
    assert_int_equal(spill_cursor(s), 1004);
    assert_int_equal(spill_take_lost(s), 1008);
    assert_int_equal(resume_at(s, 1000, 0), 1004);
    drain(s, 9, 4);
    spill_rewind(s);
    drain(s, 1, 4);
    drain(s, 9, 4);
    spill_begin(s, 2, NULL);
    fill(s, 13, 1, 10);
    assert_int_equal(spill_cursor(s), 1013);
    spill_close(&s);
}

static void a_record_that_rots_while_it_waits_ends_the_reading_once(void **state) {
    struct world *w = *state;
    struct spill_record r;
    struct bl_error err = {0};
    struct spill *s = open_spill(w, INT64_MAX);
    spill_begin(s, 1, nothing);
    fill(s, 1, 8, 1 << 20); /* two segments of four */
    char path[128], byte = 'x';
    snprintf(path, sizeof path, "%s/0000000000000001-1.seg", w->folder);
    int fd = open(path, O_WRONLY);
    EXPECT(fd >= 0 && pwrite(fd, &byte, 1, (2 << 20) + 5000) == 1);
    close(fd);
    drain(s, 1, 2);
    EXPECT_RC(spill_peek(s, &r, &err), BL_E_CORRUPT);
    assert_int_equal(spill_damaged(s), 1);
    assert_int_equal(spill_take_lost(s), 1004);
    assert_int_equal(resume_at(s, 1000, 0), 0);
    drain(s, 5, 4);
    spill_rewind(s);
    drain(s, 1, 2);
    drain(s, 5, 4);
    EXPECT(!spill_waiting(s));
    spill_close(&s);
}

/* ---- recent ---- */

static void keep(struct recent *r, enum ev_type type, uint64_t offset, uint32_t count, int64_t now_ns) {
    struct block b = {.offset = offset, .count = count, .data = BL_LIT("data")};
    recent_add(r, type, &b, 1, "h", now_ns);
}

static size_t marked(const struct recent *r) {
    size_t n = 0;
    for (const struct sent *s = r->head; s; s = s->next) n += s->again;
    return n;
}

static void what_redis_forgot_is_found_among_the_recent(void **state) {
    (void)state;
    struct recent r = {0};
    keep(&r, EV_posts, 100, 10, 1);
    keep(&r, EV_likes, 50, 5, 2);
    keep(&r, EV_posts, 110, 20, 3);
    keep(&r, EV_likes, 55, 5, 4);
    uint64_t sent[EV_TYPE_COUNT] = {[EV_posts] = 130, [EV_likes] = 60}, has[EV_TYPE_COUNT];
    memcpy(has, sent, sizeof has);
    EXPECT(recent_after(&r, has, 0, sent) && marked(&r) == 0);
    has[EV_posts] = 110;
    EXPECT(recent_after(&r, has, 0, sent) && marked(&r) == 1);
    has[EV_posts] = 100, has[EV_likes] = 50;
    EXPECT(recent_after(&r, has, 0, sent) && marked(&r) == 4);
    has[EV_posts] = 90; /* forgot more than is kept */
    EXPECT(!recent_after(&r, has, 0, sent));
    has[EV_posts] = 105; /* somebody else counts, too */
    EXPECT(!recent_after(&r, has, 0, sent));
    recent_clear(&r);
}

static void notes_redis_forgot_are_found_by_their_number(void **state) {
    (void)state;
    struct recent r = {0};
    struct note note = {.reason = "gap", .detail = "d", .received_us = 7};
    uint64_t sent[EV_TYPE_COUNT] = {[EV_posts] = 10};
    keep(&r, EV_posts, 0, 10, 1);
    recent_add_note(&r, &note, BL_LIT("first"), 1, 2);
    recent_add_note(&r, &note, BL_LIT("second"), 3, 3); /* the one before was counted twice */
    EXPECT(recent_after(&r, sent, 3, sent) && marked(&r) == 0);
    EXPECT(recent_after(&r, sent, 2, sent) && marked(&r) == 1 && r.tail->again);
    EXPECT(recent_after(&r, sent, 0, sent) && marked(&r) == 2 && !r.head->again);
    EXPECT(bl_str_eq(r.tail->block.data, BL_LIT("second")) && strcmp(r.tail->note.reason, "gap") == 0);
    recent_clear(&r);
}

static void the_recent_are_bounded_by_age_and_size(void **state) {
    (void)state;
    struct recent r = {0};
    keep(&r, EV_posts, 0, 1, 0);
    keep(&r, EV_posts, 1, 1, (int64_t)RECENT_US * 1000 + 1);
    EXPECT(r.head == r.tail && r.head->block.offset == 1);
    char *large = bl_xcalloc(1, 1 << 20);
    for (int i = 0; i < 20; i++) {
        struct block b = {.offset = 2, .count = 1, .data = bl_strn(large, 1 << 20)};
        recent_add(&r, EV_posts, &b, 1, "h", (int64_t)RECENT_US * 1000 + 2);
        EXPECT(r.bytes <= RECENT_BYTES);
    }
    free(large);
    large = bl_xcalloc(1, RECENT_BYTES + 1); /* a refused message of that size exists */
    for (uint64_t i = 0; i < 2; i++) {
        recent_add_note(&r, &(struct note){.reason = "too_large"}, bl_strn(large, RECENT_BYTES + 1), i,
                        (int64_t)RECENT_US * 1000 + 3);
        EXPECT(r.head == r.tail && r.head->number == i);
    }
    keep(&r, EV_posts, 2, 1, (int64_t)RECENT_US * 1000 + 4);
    EXPECT(r.head == r.tail && !r.head->is_note);
    free(large);
    recent_clear(&r);
    EXPECT(r.bytes == 0 && !r.head && !r.tail);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(random_records_come_back),
        CASE(every_truncation_is_torn_and_every_flipped_bit_is_noticed),
        CASE(records_come_back_in_order_over_segments_and_restarts),
        CASE(reading_and_writing_take_turns),
        CASE(the_bound_is_kept_and_what_is_there_stays_good),
        CASE(a_torn_tail_is_cut_off_silently),
        CASE(a_tail_of_zeros_is_cut_off_silently),
        CASE(whatever_becomes_of_a_file_order_is_kept_and_no_cursor_runs_ahead),
        CASE(damage_is_told_and_no_cursor_behind_it_is_believed),
        CASE(a_cursor_counts_only_when_redis_has_what_lies_before_its_segment),
        CASE(an_unreadable_segment_is_set_aside_and_no_cursor_behind_it_is_believed),
        CASE(a_segment_that_becomes_unreadable_ends_the_reading_once),
        CASE(a_record_that_rots_while_it_waits_ends_the_reading_once),
        CASE(what_redis_forgot_is_found_among_the_recent),
        CASE(notes_redis_forgot_are_found_by_their_number),
        CASE(the_recent_are_bounded_by_age_and_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
