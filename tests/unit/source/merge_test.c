/* Two hosts at once, gaps that close, and a receiver that lost something: against simulators over real sockets. */
#include "expect.h"

#include <stdlib.h>

#include "sim/server.h"
#include "source/merge.h"
#include "source/peek.h"

enum { COUNT = 3000, TICK_MS = 50, PATIENCE_S = 20 };

struct place {
    struct sim_server *server;
    char url[64];
};

static void serve(struct place *p, struct sim_server_options o, int port) {
    struct bl_error err = {0};
    o.port = port;
    EXPECT_OK(sim_server_start(&o, &p->server, &err), &err);
    snprintf(p->url, sizeof p->url, "ws://127.0.0.1:%d", sim_server_port(p->server));
}

static struct merge *open_merge(struct place *hosts, size_t count, struct merge_options o) {
    struct bl_error err = {0};
    struct merge *m = NULL;
    const char *urls[4];
    for (size_t i = 0; i < count; i++) urls[i] = hosts[i].url;
    o.source.urls = urls;
    o.source.url_count = count;
    o.source.backoff_min_us = 1000;
    o.source.backoff_max_us = 20000;
    EXPECT_OK(merge_open(&o, &m, &err), &err);
    return m;
}

/* How often each event of the network came. */
struct tally {
    struct sim *sim;
    unsigned char times[COUNT];
    size_t distinct;
};

static void count_message(struct tally *t, const struct source_message *m) {
    int64_t time_us = 0;
    EXPECT(peek_time_us(m->json, &time_us));
    uint64_t i = sim_first_at(t->sim, time_us);
    EXPECT(i < COUNT && sim_time_us(t->sim, i) == time_us);
    t->distinct += t->times[i] == 0;
    if (t->times[i] < 255) t->times[i]++;
}

static bool step(struct merge *m, struct tally *t) {
    struct source_message message;
    struct bl_error err = {0};
    enum bl_rc rc = merge_next(m, TICK_MS, &message, &err);
    if (rc == BL_E_TIMEOUT) return false;
    EXPECT_OK(rc, &err);
    count_message(t, &message);
    return true;
}

static void read_until(struct merge *m, struct tally *t, size_t distinct) {
    int64_t end = bl_mono_ns() + PATIENCE_S * INT64_C(1000000000);
    while (t->distinct < distinct && bl_mono_ns() < end) (void)step(m, t);
    assert_int_equal(t->distinct, distinct);
}

static void expect_connected(struct merge *m, struct tally *t, unsigned wanted) {
    struct merge_stats stats;
    int64_t end = bl_mono_ns() + PATIENCE_S * INT64_C(1000000000);
    do {
        (void)step(m, t);
        merge_get_stats(m, &stats);
    } while (stats.connected != wanted && bl_mono_ns() < end);
    assert_int_equal(stats.connected, wanted);
}

static void the_loss_of_one_host_is_not_noticed(void **state) {
    (void)state;
    struct place hosts[2];
    struct tally t = {.sim = sim_new(&(struct sim_options){0})};
    for (int i = 0; i < 2; i++) serve(&hosts[i], (struct sim_server_options){.count = COUNT, .rate = 3000}, 0);
    struct merge *m =
        open_merge(hosts, 2, (struct merge_options){.redundancy = 2, .source.start_cursor_us = sim_time_us(t.sim, 0)});
    expect_connected(m, &t, 2);
    read_until(m, &t, 800);
    sim_server_stop(&hosts[0].server);
    expect_connected(m, &t, 1);
    read_until(m, &t, COUNT);
    struct source_gap gap;
    EXPECT(!merge_take_gap(m, &gap));
    merge_close(&m);
    sim_server_stop(&hosts[1].server);
    sim_free(&t.sim);
}

static void a_restart_brings_everything_after_the_position_again(void **state) {
    (void)state;
    for (unsigned redundancy = 1; redundancy <= 2; redundancy++) {
        struct place hosts[2];
        struct tally t = {.sim = sim_new(&(struct sim_options){0})};
        for (int i = 0; i < 2; i++) serve(&hosts[i], (struct sim_server_options){.count = COUNT}, 0);
        struct source_cursor begin = {.us = sim_time_us(t.sim, 1000)};
        struct merge *m = open_merge(hosts, 2,
                                     (struct merge_options){.redundancy = redundancy,
                                                            .source.start_cursor_us = begin.us,
                                                            .source.host_switch_rewind_us = 1000000});
        for (int i = 0; i < 1500; i++)
            while (!step(m, &t)) {
            }
        merge_restart(m, &begin);
        memset(t.times, 0, sizeof t.times);
        t.distinct = 0;
        int64_t end = bl_mono_ns() + PATIENCE_S * INT64_C(1000000000);
        bool whole = false;
        while (!whole && bl_mono_ns() < end) {
            whole = !step(m, &t);
            for (int i = 1000; whole && i < COUNT; i++) whole = t.times[i] >= 1;
        }
        EXPECT(whole);
        merge_close(&m);
        for (int i = 0; i < 2; i++) sim_server_stop(&hosts[i].server);
        sim_free(&t.sim);
    }
}

static struct source_gap await_gap(struct merge *m, struct tally *t) {
    struct source_gap gap = {0};
    int64_t end = bl_mono_ns() + PATIENCE_S * INT64_C(1000000000);
    while (!merge_take_gap(m, &gap) && bl_mono_ns() < end) (void)step(m, t);
    return gap;
}

static void a_gap_is_filled_from_another_host(void **state) {
    (void)state;
    struct place hosts[3];
    struct sim_options slow = {.rate = 20}; /* 150 s of network time */
    struct tally t = {.sim = sim_new(&slow)};
    serve(&hosts[0], (struct sim_server_options){.network = slow, .count = COUNT, .lookback_us = 10000000}, 0);
    /* Half a minute short of it. */
    serve(&hosts[1], (struct sim_server_options){.network = slow, .count = COUNT, .lookback_us = 120000000}, 0);
    serve(&hosts[2], (struct sim_server_options){.network = slow, .count = COUNT}, 0);
    struct merge *m = open_merge(hosts, 3,
                                 (struct merge_options){.heal = true,
                                                        .source.start_cursor_us = sim_time_us(t.sim, 10),
                                                        .source.rewind_us = 1,
                                                        .source.host_switch_rewind_us = 1000000});
    struct source_gap gap = await_gap(m, &t);
    EXPECT(gap.from_us == sim_time_us(t.sim, 10) && !gap.healed && strstr(hosts[0].url, gap.host));
    struct source_gap again = await_gap(m, &t);
    EXPECT(again.healed && again.from_us == gap.from_us && again.to_us == gap.to_us &&
           strcmp(again.host, gap.host) == 0);
    for (int i = 10; i < COUNT; i++)
        if (!t.times[i]) fail_msg("event %d is missing although the gap is healed", i);
    merge_close(&m);
    for (int i = 0; i < 3; i++) sim_server_stop(&hosts[i].server);
    sim_free(&t.sim);
}

static void a_gap_that_an_earlier_process_noticed_is_filled(void **state) {
    (void)state;
    struct place hosts[2];
    struct sim_options slow = {.rate = 20};
    struct tally t = {.sim = sim_new(&slow)};
    for (int i = 0; i < 2; i++)
        serve(&hosts[i], (struct sim_server_options){.network = slow, .count = COUNT}, 0);
    int64_t end_us = sim_time_us(t.sim, COUNT - 1);
    struct merge *m = open_merge(hosts, 2,
                                 (struct merge_options){.heal = true,
                                                        .source.start_cursor_us = end_us,
                                                        .source.rewind_us = 1,
                                                        .source.host_switch_rewind_us = 1000000});
    struct source_gap gap = {
        .from_us = sim_time_us(t.sim, 10), .to_us = sim_time_us(t.sim, 1000), .reason = "cursor_too_old"};
    snprintf(gap.host, sizeof gap.host, "%s", strstr(hosts[0].url, "127."));
    merge_fill(m, &gap);
    struct source_gap again = await_gap(m, &t);
    EXPECT(again.healed && again.from_us == gap.from_us && again.to_us == gap.to_us);
    assert_string_equal(again.reason, gap.reason);
    for (int i = 10; i <= 1000; i++)
        if (!t.times[i]) fail_msg("event %d is missing although the gap is healed", i);
    merge_close(&m);
    for (int i = 0; i < 2; i++) sim_server_stop(&hosts[i].server);
    sim_free(&t.sim);
}

static void a_gap_nobody_can_fill_stays_open_and_closing_is_prompt(void **state) {
    (void)state;
    struct place hosts[2];
    struct sim_options slow = {.rate = 20};
    struct tally t = {.sim = sim_new(&slow)};
    for (int i = 0; i < 2; i++)
        serve(&hosts[i], (struct sim_server_options){.network = slow, .count = COUNT, .lookback_us = 10000000}, 0);
    struct merge *m =
        open_merge(hosts, 2, (struct merge_options){.heal = true, .source.start_cursor_us = sim_time_us(t.sim, 10)});
    struct source_gap gap = await_gap(m, &t), other;
    EXPECT(gap.from_us && !gap.healed);
    for (int i = 0; i < 20; i++) (void)step(m, &t);
    EXPECT(!merge_take_gap(m, &other));
    int64_t from = bl_mono_ns();
    merge_close(&m);
    EXPECT(bl_mono_ns() - from < 2000000000);
    for (int i = 0; i < 2; i++) sim_server_stop(&hosts[i].server);
    sim_free(&t.sim);
}

static void settings_that_cannot_work_are_refused(void **state) {
    (void)state;
    const char *const one[] = {"ws://127.0.0.1:1"};
    struct merge_options o = {.redundancy = 2, .source.urls = one, .source.url_count = 1};
    EXPECT_RC(merge_check(&o, NULL), BL_E_USAGE);
    o.redundancy = 3;
    EXPECT_RC(merge_check(&o, NULL), BL_E_USAGE);
    o.redundancy = 1;
    EXPECT_RC(merge_check(&o, NULL), BL_OK);
    o.source.protocol = SOURCE_V1;
    o.source.urls = (const char *const[]){"ws://h/xrpc/network.bsky.jetstream.subscribeEvents"};
    EXPECT_RC(merge_check(&o, NULL), BL_E_USAGE);
}

static void both_ending_is_the_end(void **state) {
    (void)state;
    struct place hosts[2];
    for (int i = 0; i < 2; i++)
        serve(&hosts[i], (struct sim_server_options){.count = COUNT, .misbehave = "http-400-first=9"}, 0);
    struct merge *m = open_merge(hosts, 2, (struct merge_options){.redundancy = 2});
    struct source_message message;
    struct bl_error err = {0};
    enum bl_rc rc = BL_E_TIMEOUT;
    for (int i = 0; i < 200 && rc == BL_E_TIMEOUT; i++) rc = merge_next(m, TICK_MS, &message, &err);
    EXPECT_RC(rc, BL_E_USAGE);
    EXPECT(strstr(err.message, "as you wish"));
    merge_close(&m);
    for (int i = 0; i < 2; i++) sim_server_stop(&hosts[i].server);
}

static void one_that_refuses_at_first_comes_back(void **state) {
    (void)state;
    struct place hosts[2];
    struct tally t = {.sim = sim_new(&(struct sim_options){0})};
    for (int i = 0; i < 2; i++)
        serve(&hosts[i], (struct sim_server_options){.count = COUNT, .misbehave = i ? NULL : "http-400-first=3"}, 0);
    struct merge *m = open_merge(hosts, 2, (struct merge_options){.redundancy = 2});
    expect_connected(m, &t, 2);
    merge_close(&m);
    for (int i = 0; i < 2; i++) sim_server_stop(&hosts[i].server);
    sim_free(&t.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_of_one_host_is_not_noticed),
        cmocka_unit_test(a_restart_brings_everything_after_the_position_again),
        cmocka_unit_test(a_gap_is_filled_from_another_host),
        cmocka_unit_test(a_gap_that_an_earlier_process_noticed_is_filled),
        cmocka_unit_test(a_gap_nobody_can_fill_stays_open_and_closing_is_prompt),
        cmocka_unit_test(settings_that_cannot_work_are_refused),
        cmocka_unit_test(both_ending_is_the_end),
        cmocka_unit_test(one_that_refuses_at_first_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
