/* What the first event after a resume says about a loss. */
#include "host.h"

#define STREAM(from_s, step_s, n, end)                                                                                 \
    ((struct plan){.first_us = T0 + (from_s) * SECOND, .step_us = (step_s) * SECOND, .count = (n), .ending = (end)})

static const char *name_of(const struct host *h) {
    return strchr(h->url, '1'); /* behind ws:// */
}

static void expect_gap(struct source *s, int64_t from_s, int64_t to_s, const struct host *h) {
    struct source_gap gap;
    EXPECT(source_take_gap(s, &gap));
    assert_int_equal(gap.from_us, T0 + from_s * SECOND);
    assert_int_equal(gap.to_us, T0 + to_s * SECOND);
    assert_string_equal(gap.host, name_of(h));
    assert_string_equal(gap.reason, "cursor_too_old");
    EXPECT(!gap.healed);
}

static void expect_whole(struct source *s) {
    struct source_gap gap;
    EXPECT(!source_take_gap(s, &gap) && stats_of(s).gaps == 0);
}

/* Takes `count` messages from a host with these plans; the last one is at `last_s`. */
static struct source *read_plans(struct host *h, const struct plan *plans, size_t n, struct source_options o, int count,
                                 int64_t last_s) {
    struct source_message m;
    for (size_t i = 0; i < n; i++) h->plans[i] = plans[i];
    start(h);
    o.urls = (const char *const[]){h->url};
    o.url_count = 1;
    if (o.start_host) o.start_host = name_of(h);
    struct source *s = open_source(o);
    take(s, count, &m);
    assert_int_equal(time_of(&m), T0 + last_s * SECOND);
    return s;
}
#define READ(h, count, last_s, options, ...)                                                                           \
    read_plans(h, (const struct plan[]){__VA_ARGS__}, sizeof((struct plan[]){__VA_ARGS__}) / sizeof(struct plan),      \
               (struct source_options)options, count, last_s)
#define OF(...) {__VA_ARGS__}

static void end(struct source *s, struct host *h) {
    source_close(&s);
    stop(h);
}

static void a_host_that_does_not_begin_with_what_it_has_delivered_lost_what_follows(void **state) {
    (void)state;
    struct host *h = new_host(); /* 10 s in between; it is asked twice, and what it says first is not handed out */
    struct source *s = READ(h, 11, 19, OF(0), STREAM(0, 1, 10, VANISH), STREAM(19, 1, 5, HOLD), STREAM(19, 1, 5, HOLD));
    expect_gap(s, 9, 19, h);
    EXPECT(stats_of(s).gaps == 1 && stats_of(s).messages == 11 && stats_of(s).connects == 3);
    EXPECT(asked_for(h, 1, "cursor=1760000004000000") && asked_for(h, 2, "cursor=1760000004000000"));
    end(s, h);
}

static void the_shortest_loss_counts_with_the_narrowest_overlap(void **state) {
    (void)state;
    struct host *h = new_host();
    struct source *s = READ(h, 11, 10, OF(.rewind_us = 1), STREAM(0, 1, 10, VANISH), STREAM(10, 1, 5, HOLD),
                            STREAM(10, 1, 5, HOLD));
    expect_gap(s, 9, 10, h);
    end(s, h);
}

static void a_position_stored_at_the_same_host_is_an_event_it_had(void **state) {
    (void)state;
    struct host *h = new_host();
    struct source *s = READ(h, 1, 30, OF(.start_cursor_us = T0, .start_host = ""), STREAM(30, 1, 1, HOLD),
                            STREAM(30, 1, 1, HOLD));
    expect_gap(s, 0, 30, h);
    end(s, h);
}

static void a_live_event_before_the_replay_is_no_loss(void **state) {
    (void)state;
    struct host *h = new_host(); /* T0 + 40 is live; asked once more, it begins with the replay */
    struct source *s = READ(h, 12, 6, OF(0), STREAM(0, 1, 10, VANISH), STREAM(40, -35, 2, HOLD),
                            STREAM(5, 1, 50, HOLD));
    expect_whole(s);
    EXPECT(stats_of(s).connects == 3);
    end(s, h);
}

static void a_stream_of_an_event_a_minute_has_no_gaps(void **state) {
    (void)state;
    static const int64_t rewinds[] = {0, 1, 60 * SECOND};
    for (size_t i = 0; i < 3; i++) {
        struct host *h = new_host();
        struct source *s = READ(h, 7, 240, OF(.rewind_us = rewinds[i]), STREAM(0, 60, 3, VANISH),
                                STREAM(120, 60, 2, VANISH), STREAM(180, 60, 2, HOLD));
        expect_whole(s);
        EXPECT(stats_of(s).connects == 3);
        end(s, h);
        h = new_host();
        s = READ(h, 1, 0, OF(.rewind_us = rewinds[i], .start_cursor_us = T0, .start_host = ""), STREAM(0, 60, 2, HOLD));
        expect_whole(s);
        end(s, h);
    }
}

static void a_loss_is_seen_behind_an_event_with_an_absurd_time(void **state) {
    (void)state;
    struct bl_str absurd = BL_LIT("{\"did\":\"did:plc:x\",\"time_us\":7258118400000000,\"kind\":\"commit\"}");
    struct plan first = STREAM(0, 1, 10, VANISH);
    struct host *h = new_host();
    struct source_message m;
    first.binary = &absurd;
    first.binary_count = 1;
    h->plans[0] = first;
    h->plans[1] = h->plans[2] = STREAM(19, 1, 5, HOLD);
    start(h);
    struct source *s = open_source(OPTIONS(h));
    take(s, 11, &m);
    source_set_cursor(s, &(struct source_cursor){.us = T0 + 9 * SECOND});
    take(s, 1, &m);
    assert_int_equal(time_of(&m), T0 + 19 * SECOND);
    expect_gap(s, 9, 19, h);
    end(s, h);
}

static void where_nothing_is_known_a_minute_may_be_silent(void **state) {
    (void)state;
    static const int64_t first_s[] = {30, 7200};
    for (size_t i = 0; i < 2; i++) {
        struct host *h = new_host();
        struct plan p = STREAM(first_s[i], 1, 1, VANISH);
        struct source *s = READ(h, i ? 2 : 3, first_s[i], OF(.start_cursor_us = T0), p, p, p, p, p, p);
        if (i == 0) expect_whole(s);
        if (i == 1) expect_gap(s, 0, first_s[i], h); /* once, however often it is come upon */
        EXPECT(stats_of(s).gaps == i);
        end(s, h);
    }
}

static void a_part_of_the_stream_may_be_silent(void **state) {
    (void)state;
    static const char *const dids[] = {"did:plc:abcdefghijklmnopqrstuvwx"}, *const rare[] = {"app.bsky.graph.list"};
    struct host *h = new_host(); /* accounts: whatever the host has delivered */
    struct source *s = READ(h, 11, 7200, OF(.dids = dids, .did_count = 1), STREAM(0, 1, 10, VANISH),
                            STREAM(7200, 1, 1, HOLD), STREAM(7200, 1, 1, HOLD));
    expect_gap(s, 9, 7200, h); /* T0 is more than a day ago */
    end(s, h);
    h = new_host();
    s = READ(h, 11, 60, OF(.dids = dids, .did_count = 1), STREAM(0, 1, 10, VANISH), STREAM(60, 1, 1, HOLD));
    expect_whole(s);
    end(s, h);
    h = new_host(); /* collections: what was stored may have come under others */
    s = READ(h, 1, 50, OF(.collections = rare, .collection_count = 1, .start_cursor_us = T0, .start_host = ""),
             STREAM(50, 1, 1, HOLD));
    expect_whole(s);
    end(s, h);
    h = new_host(); /* but what came under these comes again */
    s = READ(h, 11, 19, OF(.collections = rare, .collection_count = 1), STREAM(0, 1, 10, VANISH),
             STREAM(19, 1, 5, HOLD), STREAM(19, 1, 5, HOLD));
    expect_gap(s, 9, 19, h);
    end(s, h);
}

/* Ten events of one host, which then refuses; the other begins at `first_s`. */
static struct source *switch_hosts(struct host *hosts[2], int64_t first_s, int64_t rewind_us) {
    struct source_message m;
    for (int i = 0; i < 2; i++) hosts[i] = new_host();
    hosts[0]->plans[0] = STREAM(0, 1, 10, VANISH);
    for (int i = 1; i < PLANS_MAX; i++) hosts[0]->plans[i].refusal = "HTTP/1.1 503 S\r\n\r\n";
    for (int i = 0; i < PLANS_MAX; i++) hosts[1]->plans[i] = STREAM(first_s, 1, 1, HOLD);
    for (int i = 0; i < 2; i++) start(hosts[i]);
    struct source *s = open_source((struct source_options){.urls = (const char *const[]){hosts[0]->url, hosts[1]->url},
                                                           .url_count = 2,
                                                           .host_switch_rewind_us = rewind_us});
    take(s, 11, &m);
    assert_int_equal(time_of(&m), T0 + first_s * SECOND);
    return s;
}

static void another_host_has_the_same_within_seconds(void **state) {
    (void)state;
    static const int64_t rewinds[] = {0, SECOND};
    struct host *hosts[2];
    for (size_t i = 0; i < 2; i++) {
        struct source *s = switch_hosts(hosts, 18, rewinds[i]);
        expect_whole(s);
        source_close(&s);
        for (int n = 0; n < 2; n++) stop(hosts[n]);
        s = switch_hosts(hosts, 20, rewinds[i]);
        expect_gap(s, 9, 20, hosts[1]);
        source_close(&s);
        for (int n = 0; n < 2; n++) stop(hosts[n]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_does_not_begin_with_what_it_has_delivered_lost_what_follows),
        cmocka_unit_test(the_shortest_loss_counts_with_the_narrowest_overlap),
        cmocka_unit_test(a_position_stored_at_the_same_host_is_an_event_it_had),
        cmocka_unit_test(a_live_event_before_the_replay_is_no_loss),
        cmocka_unit_test(a_stream_of_an_event_a_minute_has_no_gaps),
        cmocka_unit_test(a_loss_is_seen_behind_an_event_with_an_absurd_time),
        cmocka_unit_test(where_nothing_is_known_a_minute_may_be_silent),
        cmocka_unit_test(a_part_of_the_stream_may_be_silent),
        cmocka_unit_test(another_host_has_the_same_within_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
