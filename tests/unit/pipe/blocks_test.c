/* The position that may be stored with a block: what it covers is in this block or an earlier one. */
#include "expect.h"
#include "pipe/blocks.h"

#include <stdlib.h>

#define T0 INT64_C(1767571200000000)
static const uint64_t offsets[EV_TYPE_COUNT];

static void add(struct blocks *b, enum ev_type type, int64_t time_us, uint64_t seq) {
    struct blocks_event e = {.json = BL_LIT("{}"), .time_us = time_us, .seq = seq, .horizon_us = INT64_MAX};
    blocks_add(b, type, &e, 0);
}

static struct closed_block take(struct blocks *b) {
    struct closed_block closed = {0};
    EXPECT(blocks_take(b, 0, true, &closed));
    bl_buf_release(&closed.raw);
    return closed;
}

static void a_position_lags_behind_what_is_still_open(void **state) {
    (void)state;
    struct blocks b;
    blocks_init(&b, 1, offsets, T0, 1 << 20, 1000000);
    blocks_change_host(&b, 10);
    add(&b, EV_posts, T0 + 1, 11);
    add(&b, EV_likes, T0 + 2, 12);
    add(&b, EV_posts, T0 + 3, 13);
    struct closed_block posts = take(&b), likes = take(&b);
    EXPECT(posts.type == EV_posts && posts.cursor_us == T0 + 1 &&
           posts.cursor_seq == 11); /* likes' first is not in yet */
    EXPECT(likes.cursor_us == T0 + 3 && likes.cursor_seq == 13);
    blocks_release(&b);
}

static void numbers_of_two_hosts_are_not_mixed(void **state) {
    (void)state;
    struct blocks b;
    blocks_init(&b, 1, offsets, 0, 1 << 20, 1000000);
    add(&b, EV_posts, T0 + 1, 500);
    EXPECT(take(&b).cursor_seq == 500);
    blocks_change_host(&b, 0);
    add(&b, EV_posts, T0 + 2, 3);
    EXPECT(take(&b).cursor_seq == 3);
    add(&b, EV_posts, T0 + 3, 0); /* an event without a number */
    EXPECT(take(&b).cursor_seq == 3);
    blocks_release(&b);
}

static void what_lies_beyond_the_horizon_moves_nothing(void **state) {
    (void)state;
    struct blocks b;
    blocks_init(&b, 1, offsets, T0, 1 << 20, 1000000);
    blocks_add(&b, EV_posts, &(struct blocks_event){.json = BL_LIT("{}"), .time_us = T0 + 100, .horizon_us = T0 + 50},
               0);
    EXPECT(take(&b).cursor_us == T0);
    blocks_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_lags_behind_what_is_still_open),
        cmocka_unit_test(numbers_of_two_hosts_are_not_mixed),
        cmocka_unit_test(what_lies_beyond_the_horizon_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
