#include "pipe/decode.h"

#include "base/rng.h"
#include "expect.h"
#include "sim/sim.h"

static void chunks_come_back_whole_and_in_the_order_they_went_in(void **state) {
    (void)state;
    enum { CHUNKS = 300, DEPTH = 8 };
    struct sim *sim = sim_new(&(struct sim_options){.seed = 3, .rate = 300});
    struct decode *d = decode_new(4, DEPTH);
    struct bl_rng r = {1};
    uint64_t next = 0;
    size_t in = 0, out = 0, sizes[CHUNKS];
    int tags[CHUNKS];
    while (out < CHUNKS) {
        struct chunk *c = in < CHUNKS ? decode_chunk(d) : NULL;
        if (c) {
            EXPECT(c->count == 0 && c->dead_count == 0 && c->raw.n == 0 && !c->tag);
            sizes[in] = (size_t)bl_rng_below(&r, 200);
            for (size_t i = 0; i < sizes[in]; i++) {
                sim_event(sim, next++, &c->raw);
                bl_buf_byte(&c->raw, '\n');
            }
            c->tag = &tags[in++];
            decode_submit(d, c);
            continue;
        }
        c = decode_next(d);
        EXPECT(c && c->tag == &tags[out] && c->count == sizes[out] && c->dead_count == 0);
        out++;
        decode_recycle(d, c);
    }
    EXPECT(!decode_next(d));
    decode_free(&d);
    EXPECT(!d);
    sim_free(&sim);
}

static void decoded_events_are_those_of_the_lines(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 9, .rate = 300});
    struct decode *d = decode_new(1, 1);
    struct chunk *c = decode_chunk(d);
    for (uint64_t i = 0; i < 3000; i++) {
        sim_event(sim, i, &c->raw);
        bl_buf_z(&c->raw, i % 3 ? "\n" : "\r\n\n"); /* line ends of other systems and empty lines are no events */
    }
    decode_submit(d, c);
    EXPECT(!decode_chunk(d));
    EXPECT(decode_next(d) == c && c->count == 3000 && c->cids_kept == 0 && c->cids_verified > 2000);
    struct bl_arena arena = {0};
    struct bl_buf line = {0}, scratch = {0};
    for (uint64_t i = 0; i < 3000; i++) {
        struct event ev;
        enum ev_reason why;
        struct bl_error err = {0};
        bl_buf_clear(&line);
        sim_event(sim, i, &line);
        bl_arena_reset(&arena);
        EXPECT_OK(ev_decode(bl_buf_view(&line), &arena, &ev, &why, &err), &err);
        if (ev.type != EV_accounts) ev_verify_cid(&ev, &scratch);
        struct ev_id id = ev_identity(&ev);
        EXPECT(c->ids[i].lo == id.lo && c->ids[i].hi == id.hi && c->line_bytes[i] == line.n);
        EXPECT(c->events[i]->type == ev.type && c->events[i]->has == ev.has);
        EXPECT(c->events[i]->v[EV_TIME_US].i == ev.v[EV_TIME_US].i);
    }
    bl_buf_release(&line), bl_buf_release(&scratch);
    bl_arena_release(&arena);
    decode_recycle(d, c);
    decode_free(&d);
    sim_free(&sim);
}

static void lines_that_are_no_events_are_set_aside_with_their_reason(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 9, .rate = 300});
    struct decode *d = decode_new(2, 2);
    struct chunk *c = decode_chunk(d);
    for (uint64_t i = 0; i < 50; i++) {
        sim_event(sim, i, &c->raw);
        bl_buf_z(&c->raw, "\n{\"did\":\n[]\n");
    }
    decode_submit(d, c);
    EXPECT(decode_next(d) == c && c->count == 50 && c->dead_count == 100);
    EXPECT(c->dead[0].reason == EV_REASON_json_syntax && c->dead[1].reason == EV_REASON_not_object);
    EXPECT_STR(c->dead[0].line, "{\"did\":");
    EXPECT_STR(c->dead[99].line, "[]");
    EXPECT(*c->dead[0].detail);
    decode_recycle(d, c);
    decode_free(&d);
    sim_free(&sim);
}

static void work_under_way_may_be_abandoned(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 9, .rate = 300});
    for (int round = 0; round < 20; round++) {
        struct decode *d = decode_new(3, 6);
        for (int k = 0; k < 6; k++) {
            struct chunk *c = decode_chunk(d);
            for (uint64_t i = 0; i < 100; i++) {
                sim_event(sim, i, &c->raw);
                bl_buf_byte(&c->raw, '\n');
            }
            decode_submit(d, c);
        }
        decode_free(&d);
    }
    sim_free(&sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_come_back_whole_and_in_the_order_they_went_in),
        cmocka_unit_test(decoded_events_are_those_of_the_lines),
        cmocka_unit_test(lines_that_are_no_events_are_set_aside_with_their_reason),
        cmocka_unit_test(work_under_way_may_be_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
