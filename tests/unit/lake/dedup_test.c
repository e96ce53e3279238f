#include "lake/dedup.h"

#include "base/clock.h"
#include "base/rng.h"
#include "lake_fixture.h"

static bool known(struct dedup *d, uint64_t n, int64_t time_us) {
    struct bl_error err = {0};
    bool result = false;
    struct ev_id id = {bl_mix64(n), bl_mix64(n + (UINT64_C(1) << 40))};
    EXPECT_OK(dedup_check(d, EV_posts, id, time_us, &result, &err), &err);
    return result;
}

static bool knows_message(struct dedup *d, struct fixture *f, uint64_t n, int64_t time_us, int64_t asked_us) {
    struct bl_error err = {0};
    struct event ev;
    enum ev_reason why;
    bool result = false;
    bl_arena_reset(&f->arena);
    EXPECT_OK(ev_decode(fixture_message(f, n, time_us), &f->arena, &ev, &why, &err), &err);
    EXPECT_OK(dedup_check(d, ev.type, ev_identity(&ev), asked_us, &result, &err), &err);
    return result;
}

static void an_event_is_known_from_its_second_time_on(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), NULL);
    for (uint64_t n = 0; n < 20000; n++) assert_false(known(d, n, FIXTURE_NOON + (int64_t)n * 50000));
    for (uint64_t n = 0; n < 20000; n++) assert_true(known(d, n, FIXTURE_NOON + (int64_t)n * 50000));
    dedup_committed(d);
    for (uint64_t n = 0; n < 20000; n++) assert_true(known(d, n, FIXTURE_NOON + (int64_t)n * 50000));
    struct bl_error err = {0};
    bool zero = true;
    EXPECT_OK(dedup_check(d, EV_posts, (struct ev_id){0}, FIXTURE_NOON, &zero, &err), &err);
    assert_false(zero);
    EXPECT_OK(dedup_check(d, EV_posts, (struct ev_id){0}, FIXTURE_NOON, &zero, &err), &err);
    assert_true(zero);
    dedup_free(&d);
    fixture_drop(&f);
}

static void a_repetition_stamped_across_a_bucket_edge_is_recognised(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), NULL);
    int64_t edge = FIXTURE_NOON + DEDUP_BUCKET_US;
    assert_false(known(d, 1, edge - 1));
    assert_true(known(d, 1, edge + DEDUP_SLACK_US - 2));
    assert_false(known(d, 2, edge));
    assert_true(known(d, 2, edge - DEDUP_SLACK_US));
    dedup_free(&d);
    fixture_drop(&f);
}

static void the_lake_itself_is_the_memory(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    fixture_fill(&f, 0, 700, 5000000); /* about an hour */
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), NULL);
    for (uint64_t n = 0; n < 700; n++) {
        int64_t time_us = FIXTURE_NOON + (int64_t)n * 5000000;
        assert_true(knows_message(d, &f, n, time_us, time_us));
        assert_true(knows_message(d, &f, n, time_us, time_us + 30000000)); /* another host's stamp */
    }
    assert_false(knows_message(d, &f, 700, FIXTURE_NOON, FIXTURE_NOON));
    dedup_free(&d);
    fixture_drop(&f);
}

static void a_failed_commit_forgets_what_was_remembered(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    fixture_fill(&f, 0, 70, 1000000);
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), NULL);
    assert_false(known(d, 5, FIXTURE_NOON));
    assert_false(known(d, 6, FIXTURE_NOON + 7200000000));
    dedup_forget(d);
    assert_false(known(d, 5, FIXTURE_NOON));
    assert_false(known(d, 6, FIXTURE_NOON + 7200000000));
    assert_true(knows_message(d, &f, 3, FIXTURE_NOON + 3000000, FIXTURE_NOON + 3000000));
    dedup_free(&d);
    fixture_drop(&f);
}

static void memory_stays_bounded_but_for_what_is_not_committed(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), &(struct dedup_options){.max_bytes = 1 << 20});
    int64_t most = 0;
    for (uint64_t n = 0; n < 400000; n++) {
        assert_false(known(d, n, FIXTURE_NOON + (int64_t)n * 100000));
        if (n % 5000 == 4999) dedup_committed(d);
        if (dedup_memory(d) > most) most = dedup_memory(d);
    }
    assert_true(most < (2 << 20));
    for (uint64_t n = 400000; n < 500000; n++) assert_false(known(d, n, FIXTURE_NOON + (int64_t)n * 100000));
    assert_true(dedup_memory(d) > 100000 * 16);
    for (uint64_t n = 400000; n < 500000; n++) assert_true(known(d, n, FIXTURE_NOON + (int64_t)n * 100000));
    dedup_free(&d);
    fixture_drop(&f);
}

static void a_check_costs_well_under_a_microsecond(void **state) {
    (void)state;
    struct fixture f = fixture_new();
    struct dedup *d = dedup_new(f.dir, lake_catalog(f.lake), NULL);
    enum { EVENTS = 1000000 };
    int64_t start = bl_thread_cpu_ns();
    for (uint64_t n = 0; n < EVENTS; n++) assert_false(known(d, n, FIXTURE_NOON + (int64_t)n * 1000));
    int64_t spent = (bl_thread_cpu_ns() - start) / EVENTS;
    print_message("%" PRId64 " ns a check, %" PRId64 " bytes an identity\n", spent, dedup_memory(d) / EVENTS);
    assert_true(spent < 5000); /* slow machines and sanitizers included */
    dedup_free(&d);
    fixture_drop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_known_from_its_second_time_on),
        cmocka_unit_test(a_repetition_stamped_across_a_bucket_edge_is_recognised),
        cmocka_unit_test(the_lake_itself_is_the_memory),
        cmocka_unit_test(a_failed_commit_forgets_what_was_remembered),
        cmocka_unit_test(memory_stays_bounded_but_for_what_is_not_committed),
        cmocka_unit_test(a_check_costs_well_under_a_microsecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
