#include "pipe/blocks.h"

#include "base/rng.h"
#include "expect.h"

enum { MS = 1000000 };
#define START_US INT64_C(1767571200000000)
static const uint64_t zero[EV_TYPE_COUNT];

static void add(struct blocks *b, enum ev_type type, int64_t time_us, int64_t now_ns) {
    struct blocks_event e = {
        .json = BL_LIT("{\"some\":\"event\"}"), .time_us = time_us, .received_us = time_us, .horizon_us = INT64_MAX};
    blocks_add(b, type, &e, now_ns);
}

static void a_block_closes_when_it_is_full_or_old_or_flushed(void **state) {
    (void)state;
    struct blocks b;
    struct closed_block c;
    blocks_init(&b, 7, zero, 0, 1024, 250000);
    EXPECT(!blocks_take(&b, 0, true, &c) && blocks_due_in_ns(&b, 0) == -1);
    add(&b, EV_posts, START_US, 100 * MS);
    EXPECT(blocks_due_in_ns(&b, 100 * MS) == 250 * MS && blocks_due_in_ns(&b, 400 * MS) == 0);
    EXPECT(!blocks_take(&b, 349 * MS, false, &c) && blocks_take(&b, 350 * MS, false, &c));
    EXPECT(c.type == EV_posts && c.block.count == 1 && c.block.seq == 1 && c.block.offset == 0);
    EXPECT(c.block.incarnation == 7 && c.first_received_us == START_US);
    bl_buf_release(&c.raw);
    uint32_t count = 0;
    while (!blocks_take(&b, 0, false, &c)) add(&b, EV_likes, START_US, 0), count++;
    EXPECT(c.block.count == count && c.raw.n >= 1024 && c.raw.p[c.raw.n - 1] == '\n');
    bl_buf_release(&c.raw);
    add(&b, EV_posts, START_US + 5, 0);
    EXPECT(blocks_bytes(&b) > 0 && blocks_take(&b, 0, true, &c) && c.block.seq == 2 && c.block.offset == 1);
    EXPECT(blocks_bytes(&b) == 0);
    bl_buf_release(&c.raw);
    blocks_release(&b);
}

static void a_time_beyond_the_horizon_does_not_move_the_cursor(void **state) {
    (void)state;
    struct blocks b;
    struct closed_block c;
    blocks_init(&b, 1, zero, START_US, 1024, 1000);
    struct blocks_event e = {.json = BL_LIT("{}"), .time_us = START_US + 10, .horizon_us = START_US + 100};
    blocks_add(&b, EV_posts, &e, 0);
    e.time_us = START_US + 1000;
    blocks_add(&b, EV_posts, &e, 0);
    EXPECT(blocks_take(&b, 0, true, &c) && c.cursor_us == START_US + 10 && c.block.last_us == START_US + 1000);
    bl_buf_release(&c.raw);
    blocks_release(&b);
}

static void one_event_from_long_ago_does_not_throw_the_cursor_back(void **state) {
    (void)state;
    struct blocks b;
    struct closed_block c;
    blocks_init(&b, 1, zero, START_US, 1024, 1000);
    add(&b, EV_posts, START_US - INT64_C(86400000000), 0);
    add(&b, EV_likes, START_US + 10, 0);
    b.open[EV_posts].opened_ns = 5000000; /* younger: the likes close alone */
    EXPECT(blocks_take(&b, 1000000, false, &c) && c.type == EV_likes);
    EXPECT(c.cursor_us >= START_US - INT64_C(60000000) && c.cursor_us <= START_US);
    bl_buf_release(&c.raw);
    blocks_release(&b);
}

static uint64_t number_after(struct blocks *b, enum ev_type type, uint64_t seq) {
    struct blocks_event e = {.json = BL_LIT("{}"), .time_us = START_US + 1, .seq = seq, .horizon_us = INT64_MAX};
    struct closed_block c;
    blocks_add(b, type, &e, 0);
    EXPECT(blocks_take(b, 0, true, &c));
    bl_buf_release(&c.raw);
    return c.cursor_seq;
}

static void the_hosts_number_lags_like_the_time_and_is_not_mixed_with_anothers(void **state) {
    (void)state;
    struct blocks b;
    struct closed_block c;
    struct blocks_event e = {.json = BL_LIT("{}"), .time_us = START_US, .seq = 12, .horizon_us = INT64_MAX};
    blocks_init(&b, 1, zero, START_US, 1024, 1000);
    blocks_change_host(&b, 10);
    EXPECT(number_after(&b, EV_posts, 11) == 11);
    blocks_add(&b, EV_likes, &e, 0);
    EXPECT(number_after(&b, EV_posts, 13) == 11); /* event 12 is in an open block */
    EXPECT(blocks_take(&b, 0, true, &c) && c.cursor_seq == 13);
    bl_buf_release(&c.raw);
    blocks_change_host(&b, 0);
    EXPECT(number_after(&b, EV_posts, 3) == 3);
    EXPECT(number_after(&b, EV_posts, 0) == 3); /* an event without a number */
    blocks_release(&b);
}

static void the_raw_size_learns_from_the_compression_seen(void **state) {
    (void)state;
    struct blocks b;
    blocks_init(&b, 1, zero, 0, 60000, 1000);
    for (int i = 0; i < 50; i++) blocks_learn(&b, EV_likes, 300000, 50000); /* ratio 6 */
    EXPECT(b.raw_target[EV_likes] > 345000 && b.raw_target[EV_likes] <= 360000);
    size_t before = b.raw_target[EV_likes];
    blocks_learn(&b, EV_likes, 100, 90); /* too small to teach anything */
    blocks_learn(&b, EV_likes, 300000, 0);
    EXPECT(b.raw_target[EV_likes] == before);
    for (int i = 0; i < 50; i++) blocks_learn(&b, EV_likes, 1 << 20, 1);
    EXPECT(b.raw_target[EV_likes] <= 4 << 20);
    for (int i = 0; i < 50; i++) blocks_learn(&b, EV_likes, 1 << 20, 1 << 30);
    EXPECT(b.raw_target[EV_likes] >= 16 << 10);
}

/* What a crash after any closed block would leave behind: every event received by then is in a block, or at or after
 * the stored cursor, so that upstream sends it again. Times go back by up to 30 s now and then, as on the real stream.
 */
static void check_one_history(uint64_t seed) {
    enum { EVENTS = 400 };
    struct {
        int64_t time_us;
        bool closed;
    } seen[EVENTS];
    size_t waiting[EV_TYPE_COUNT][EVENTS], waiting_count[EV_TYPE_COUNT] = {0};
    struct bl_rng r = {seed};
    struct blocks b;
    uint64_t offsets[EV_TYPE_COUNT], seqs[EV_TYPE_COUNT] = {0};
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) offsets[t] = bl_rng_below(&r, 1000);
    int64_t cursor_us = bl_rng_below(&r, 2) ? START_US : 0, now_ns = 0, time_us = START_US;
    blocks_init(&b, seed, offsets, cursor_us, 64, 5 * 1000);
    for (size_t i = 0; i <= EVENTS; i++) {
        struct closed_block c;
        while (blocks_take(&b, now_ns, i == EVENTS, &c)) {
            EXPECT(c.block.count == waiting_count[c.type] && c.block.offset == offsets[c.type]);
            EXPECT(c.block.seq == ++seqs[c.type]);
            offsets[c.type] += c.block.count;
            for (size_t k = 0; k < c.block.count; k++) {
                seen[waiting[c.type][k]].closed = true;
                int64_t at = seen[waiting[c.type][k]].time_us;
                EXPECT(at >= c.block.first_us && at <= c.block.last_us);
            }
            waiting_count[c.type] = 0;
            for (size_t k = 0; c.cursor_us && k < i; k++)
                if (!seen[k].closed && seen[k].time_us < c.cursor_us)
                    fail_msg("seed %llu: the cursor passes event %zu", (unsigned long long)seed, k);
            bl_buf_release(&c.raw);
        }
        if (i == EVENTS) break;
        time_us += (int64_t)bl_rng_below(&r, 2000000);
        int64_t jitter = bl_rng_below(&r, 8) ? 0 : (int64_t)bl_rng_below(&r, 30000000);
        enum ev_type type = (enum ev_type)bl_rng_below(&r, EV_TYPE_COUNT);
        seen[i].time_us = time_us - jitter;
        seen[i].closed = false;
        waiting[type][waiting_count[type]++] = i;
        add(&b, type, seen[i].time_us, now_ns);
        now_ns += (int64_t)bl_rng_below(&r, 3 * MS);
    }
    for (size_t i = 0; i < EVENTS; i++) EXPECT(seen[i].closed);
    blocks_release(&b);
}

static void the_cursor_never_passes_an_event_that_is_in_no_block_yet(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) check_one_history(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_closes_when_it_is_full_or_old_or_flushed),
        cmocka_unit_test(a_time_beyond_the_horizon_does_not_move_the_cursor),
        cmocka_unit_test(one_event_from_long_ago_does_not_throw_the_cursor_back),
        cmocka_unit_test(the_hosts_number_lags_like_the_time_and_is_not_mixed_with_anothers),
        cmocka_unit_test(the_raw_size_learns_from_the_compression_seen),
        cmocka_unit_test(the_cursor_never_passes_an_event_that_is_in_no_block_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
