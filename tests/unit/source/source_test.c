#include "host.h"

#include <pthread.h>

/* ---- the tests ---- */

static void a_reconnect_resumes_from_the_durable_cursor_and_flags_the_overlap(void **state) {
    (void)state;
    struct host *h = new_host();
    h->plans[0] = (struct plan){
        .first_us = T0, .step_us = SECOND, .count = 10, .ending = CLOSE, .close_code = 1001, .close_reason = "bye"};
    h->plans[1] = (struct plan){.first_us = T0 + 2 * SECOND, .step_us = SECOND, .count = 80, .ending = HOLD};
    start(h);
    struct source *s = open_source(OPTIONS(h));
    struct source_message m;
    take(s, 10, &m);
    EXPECT(!m.overlap && m.received_us > T0 && time_of(&m) == T0 + 9 * SECOND);
    source_set_cursor(s, &(struct source_cursor){.us = T0 + 7 * SECOND});
    source_set_cursor(s, &(struct source_cursor){.us = 17}); /* not a time: ignored */
    for (int i = 0; i < 80; i++) {
        take(s, 1, &m);
        EXPECT(time_of(&m) == T0 + (2 + i) * SECOND);
        EXPECT(m.overlap == (2 + i <= 9 + 60));
    }
    EXPECT(asked_for(h, 0, "GET /subscribe HTTP") && asked_for(h, 1, "GET /subscribe?cursor=1760000002000000 HTTP"));
    struct source_stats stats = stats_of(s);
    EXPECT(stats.messages == 90 && stats.connects == 2 && stats.failures == 1 && stats.gaps == 0);
    EXPECT(stats.state == SOURCE_LIVE && stats.connected_since_us > 0 && strstr(stats.last_error, "1001 bye"));
    EXPECT(strncmp(stats.host, "127.0.0.1:", 10) == 0);
    source_close(&s);
    stop(h);
}

static void a_restart_goes_back_to_the_cursor_it_is_given(void **state) {
    (void)state;
    struct host *h = new_host();
    for (int i = 0; i < 2; i++)
        h->plans[i] = (struct plan){.first_us = T0, .step_us = SECOND, .count = 10, .ending = HOLD};
    start(h);
    struct source *s = open_source(OPTIONS(h));
    struct source_message m;
    take(s, 10, &m);
    source_set_cursor(s, &(struct source_cursor){.us = T0 + 9 * SECOND});
    source_restart(s, &(struct source_cursor){.us = T0 + 8 * SECOND});
    take(s, 1, &m);
    assert_int_equal(time_of(&m), T0);
    EXPECT(asked_for(h, 1, "cursor=1760000003000000"));
    struct source_gap gap;
    EXPECT(!source_take_gap(s, &gap));
    source_close(&s);
    stop(h);
}

static void without_a_durable_cursor_the_newest_message_counts(void **state) {
    (void)state;
    struct host *h = new_host();
    h->plans[0] = (struct plan){.first_us = T0, .step_us = SECOND, .count = 3, .ending = VANISH};
    h->plans[1] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(h);
    struct source *s = open_source(OPTIONS(h, .rewind_us = SECOND));
    struct source_message m;
    take(s, 4, &m);
    EXPECT(m.overlap && asked_for(h, 1, "cursor=1760000001000000"));
    source_close(&s);
    stop(h);
}

static void a_start_cursor_is_used_and_the_first_messages_are_overlap(void **state) {
    (void)state;
    struct host *h = new_host();
    h->plans[0] = (struct plan){.first_us = T0, .step_us = 61 * SECOND, .count = 2, .ending = HOLD};
    start(h);
    struct source *s = open_source(OPTIONS(h, .start_cursor_us = T0));
    struct source_message m;
    take(s, 1, &m);
    EXPECT(m.overlap && asked_for(h, 0, "cursor=1759999995000000"));
    take(s, 1, &m);
    EXPECT(!m.overlap);
    source_close(&s);
    stop(h);
}

static void answers_that_cannot_change_are_final(void **state) {
    (void)state;
    static const char *const refusals[] = {"HTTP/1.1 400 B\r\n\r\ninvalid collection nsid",
                                           "HTTP/1.1 404 N\r\n\r\nnothing here", "HTTP/1.1 403 F\r\n\r\ngo away",
                                           "HTTP/1.1 302 F\r\nLocation: wss://x/\r\n\r\n"};
    static const char *const quotes[] = {"HTTP 400: invalid collection nsid; check", "usually ends in /subscribe",
                                         "go away; this host", "wss://x/"};
    for (size_t i = 0; i < 4; i++) {
        struct host *h = new_host();
        h->plans[0].refusal = refusals[i];
        start(h);
        struct source *s = open_source(OPTIONS(h));
        struct source_message m;
        struct bl_error err = {0};
        EXPECT_RC(next(s, &m, &err), BL_E_USAGE);
        if (!strstr(err.message, quotes[i])) fail_msg("%s", err.message);
        EXPECT_RC(source_next(s, 0, &m, &err), BL_E_USAGE);
        source_close(&s);
        stop(h);
    }
}

/* Lets the clock go on until the host has been asked `n` times; how long that took. */
static int64_t until_asked(struct source *s, struct host *h, struct fake_clock *clock, int n) {
    struct source_message m;
    int64_t from = clock->now_us, end = bl_mono_ns() + 20 * SECOND * 1000;
    while (h->connections < n && bl_mono_ns() < end) {
        if (stats_of(s).state == SOURCE_BACKOFF) clock->now_us += SECOND;
        EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
    }
    assert_int_equal(h->connections, n);
    return clock->now_us - from;
}

static void a_refusal_after_the_first_event_passes(void **state) {
    (void)state;
    struct host *h = new_host();
    struct fake_clock clock = {0};
    struct source_message m;
    h->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = VANISH};
    for (int i = 1; i < 8; i++) h->plans[i].refusal = i % 2 ? "HTTP/1.1 400 B\r\n\r\nno" : "HTTP/1.1 302 F\r\n\r\n";
    h->plans[8] = (struct plan){.first_us = T0, .count = 2, .ending = VANISH};
    for (int i = 9; i < PLANS_MAX; i++) h->plans[i].refusal = "HTTP/1.1 403 F\r\n\r\ngo away";
    start(h);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(OPTIONS(h, .clock = &c, .backoff_max_us = 30 * SECOND));
    take(s, 1, &m);
    until_asked(s, h, &clock, 2);
    static const int64_t pauses_s[] = {60, 120, 240, 480, 600, 600};
    for (int i = 0; i < 6; i++) {
        while (stats_of(s).failures < (uint64_t)i + 2) EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
        int64_t waited = until_asked(s, h, &clock, i + 3);
        if (waited < pauses_s[i] * SECOND || waited > (pauses_s[i] + 30) * SECOND)
            fail_msg("pause %d: %lld us", i, (long long)waited);
    }
    EXPECT(!stats_of(s).refused);
    while (stats_of(s).failures < 8) EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
    clock.now_us += 601 * SECOND;
    take(s, 2, &m);
    until_asked(s, h, &clock, 10); /* and the pauses begin anew */
    while (stats_of(s).failures < 10) EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
    EXPECT(until_asked(s, h, &clock, 11) < 120 * SECOND);
    source_close(&s);
    stop(h);
}

static void a_host_that_refused_at_first_is_asked_when_the_others_are_gone(void **state) {
    (void)state;
    struct host *bad = new_host(), *good = new_host();
    struct fake_clock clock = {0};
    struct source_message m;
    bad->plans[0].refusal = "HTTP/1.1 403 F\r\n\r\nnot from here";
    bad->plans[1] = (struct plan){.first_us = T0 + SECOND, .count = 1, .ending = HOLD};
    good->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = VANISH};
    for (int i = 1; i < PLANS_MAX; i++) good->plans[i].refusal = "HTTP/1.1 503 S\r\n\r\n";
    start(bad);
    start(good);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source((struct source_options){.urls = (const char *const[]){bad->url, good->url},
                                                           .url_count = 2,
                                                           .clock = &c,
                                                           .backoff_max_us = 4 * SECOND});
    until_asked(s, bad, &clock, 1);
    while (stats_of(s).failures < 1) EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
    clock.now_us += SECOND;
    take(s, 1, &m);
    EXPECT(time_of(&m) == T0);
    while (source_next(s, 1, &m, NULL) == BL_E_TIMEOUT && clock.now_us < 60 * SECOND)
        if (stats_of(s).state == SOURCE_BACKOFF) clock.now_us += SECOND;
    EXPECT(time_of(&m) == T0 + SECOND && stats_of(s).state == SOURCE_LIVE);
    EXPECT(clock.now_us >= 8 * SECOND && clock.now_us <= 16 * SECOND); /* the pause, and the longest backoff */
    source_close(&s);
    stop(bad);
    stop(good);
}

static void retry_after_is_honoured(void **state) {
    (void)state;
    struct host *h = new_host();
    struct fake_clock clock = {0};
    h->plans[0].refusal = "HTTP/1.1 503 S\r\nRetry-After: 7\r\n\r\nwarming up";
    h->plans[1] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(h);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(OPTIONS(h, .clock = &c));
    struct source_message m;
    struct bl_error err = {0};
    while (stats_of(s).failures == 0) EXPECT_RC(source_next(s, TICK_MS, &m, &err), BL_E_TIMEOUT);
    EXPECT(strstr(stats_of(s).last_error, "503: warming up") && stats_of(s).state == SOURCE_BACKOFF);
    clock.now_us = 6900000;
    EXPECT_RC(source_next(s, TICK_MS, &m, &err), BL_E_TIMEOUT);
    assert_int_equal(h->connections, 1);
    clock.now_us = 7000000;
    EXPECT_OK(next(s, &m, &err), &err);
    source_close(&s);
    stop(h);
}

static void backoff_doubles_up_to_its_limit(void **state) {
    (void)state;
    struct host *h = new_host();
    struct fake_clock clock = {0};
    for (int i = 0; i < PLANS_MAX; i++) h->plans[i].refusal = "HTTP/1.1 500 S\r\n\r\n";
    start(h);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(OPTIONS(h, .clock = &c, .backoff_min_us = SECOND, .backoff_max_us = 8 * SECOND));
    struct source_message m;
    int64_t longest = 0;
    for (uint64_t n = 1; n < 9; n++) {
        int64_t cap = n < 4 ? SECOND << (n - 1) : 8 * SECOND, waited = 0, end = bl_mono_ns() + 10000000000;
        while (stats_of(s).failures < n && bl_mono_ns() < end)
            EXPECT_RC(source_next(s, TICK_MS, &m, NULL), BL_E_TIMEOUT);
        assert_int_equal(stats_of(s).failures, n);
        assert_int_equal(h->connections, n);
        while (stats_of(s).state == SOURCE_BACKOFF && stats_of(s).failures == n && waited <= cap) {
            clock.now_us += cap / 16;
            waited += cap / 16;
            EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
        }
        EXPECT(waited <= cap);
        if (waited > longest) longest = waited;
    }
    EXPECT(longest > 2 * SECOND);
    source_close(&s);
    stop(h);
}

static void a_silent_connection_is_left_for_the_next_host(void **state) {
    (void)state;
    struct host *silent = new_host(), *good = new_host();
    struct fake_clock clock = {0};
    silent->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = PING};
    good->plans[0] = (struct plan){.first_us = T0 + SECOND, .count = 1, .ending = HOLD};
    start(silent);
    start(good);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(
        (struct source_options){.urls = (const char *const[]){silent->url, good->url}, .url_count = 2, .clock = &c});
    struct source_message m;
    struct bl_error err = {0};
    take(s, 1, &m);
    EXPECT_RC(source_next(s, 50, &m, &err), BL_E_TIMEOUT);
    clock.now_us = 29 * SECOND;
    EXPECT_RC(source_next(s, 50, &m, &err), BL_E_TIMEOUT);
    EXPECT(stats_of(s).state == SOURCE_LIVE);
    clock.now_us = 31 * SECOND;
    EXPECT_RC(source_next(s, 50, &m, &err), BL_E_TIMEOUT);
    EXPECT(stats_of(s).failures == 1 && strstr(stats_of(s).last_error, "no data for 30.0 s"));
    clock.now_us = 32 * SECOND;
    take(s, 1, &m);
    EXPECT(time_of(&m) == T0 + SECOND && asked_for(good, 0, "cursor=1759999940000000")); /* the wider rewind */
    source_close(&s);
    stop(silent);
    stop(good);
}

static void a_dead_host_makes_room_for_the_next(void **state) {
    (void)state;
    struct host *good = new_host();
    int port;
    EXPECT_RC(bl_free_port(&port, NULL), BL_OK);
    good->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(good);
    char *dead = bl_xasprintf("ws://127.0.0.1:%d", port);
    struct source *s =
        open_source((struct source_options){.urls = (const char *const[]){dead, good->url}, .url_count = 2});
    struct source_message m;
    take(s, 1, &m);
    EXPECT(stats_of(s).failures == 2 && strstr(stats_of(s).last_error, "refused"));
    source_close(&s);
    free(dead);
    stop(good);
}

struct waker {
    struct source *s;
    enum source_state during;
    int64_t at_ns;
};
static void *wake_soon(void *argument) {
    struct waker *w = argument;
    int64_t end_ns = bl_mono_ns() + 4 * SECOND * 1000;
    while (stats_of(w->s).state != w->during && bl_mono_ns() < end_ns) usleep(1000);
    usleep(60000); /* so that it waits */
    w->at_ns = bl_mono_ns();
    source_wake(w->s);
    return NULL;
}

static void expect_prompt_wake(struct source *s, enum source_state during) {
    struct waker w = {.s = s, .during = during};
    struct source_message m;
    pthread_t thread;
    pthread_create(&thread, NULL, wake_soon, &w);
    enum bl_rc rc = source_next(s, 60000, &m, NULL);
    int64_t returned = bl_mono_ns();
    pthread_join(thread, NULL);
    EXPECT_RC(rc, BL_E_CANCELLED);
    EXPECT(returned - w.at_ns < 10 * SECOND * 1000); /* long before the tick */
    EXPECT(stats_of(s).state == during);
    int64_t from = bl_mono_ns();
    source_close(&s);
    EXPECT(bl_mono_ns() - from < 8 * SECOND * 1000);
}

static void mute(struct peer_connection *c, void *context) {
    (void)context;
    peer_wait(c, PEER_PATIENCE_MS);
}

static void a_wake_is_answered_at_once_in_every_state(void **state) {
    (void)state;
    struct host *h = new_host();
    h->plans[0] = (struct plan){.ending = HOLD};
    start(h);
    expect_prompt_wake(open_source(OPTIONS(h)), SOURCE_LIVE);
    stop(h);
    h = new_host();
    for (int i = 0; i < PLANS_MAX; i++) h->plans[i].refusal = "HTTP/1.1 500 S\r\nRetry-After: 100\r\n\r\n";
    start(h);
    expect_prompt_wake(open_source(OPTIONS(h)), SOURCE_BACKOFF);
    stop(h);
    struct peer *p = peer_start(mute, NULL);
    char *url = bl_xasprintf("ws://127.0.0.1:%d", peer_port(p));
    expect_prompt_wake(open_source((struct source_options){.urls = (const char *const[]){url}, .url_count = 1}),
                       SOURCE_CONNECTING);
    peer_stop(&p);
    free(url);
}

static void ticks_go_on_while_connecting(void **state) {
    (void)state;
    struct peer *p = peer_start(mute, NULL);
    char *url = bl_xasprintf("ws://127.0.0.1:%d", peer_port(p));
    struct source *s = open_source((struct source_options){.urls = (const char *const[]){url}, .url_count = 1});
    struct source_message m;
    int64_t from = bl_mono_ns();
    for (int i = 0; i < 5; i++) EXPECT_RC(source_next(s, 10, &m, NULL), BL_E_TIMEOUT);
    EXPECT(bl_mono_ns() - from < 8000000000);
    source_close(&s);
    peer_stop(&p);
    free(url);
}

/* ---- filters ---- */

static void long_filters_are_sent_as_hello_and_a_complaint_before_the_first_event_is_final(void **state) {
    (void)state;
    static const char *dids[3000];
    const struct plan serving = {.hello = true, .first_us = T0, .count = 1, .ending = VANISH},
                      complaint = {.hello = true, .ending = CLOSE, .close_code = 1008, .close_reason = "invalid DID"};
    for (size_t i = 0; i < 3000; i++) dids[i] = "did:plc:abcdefghijklmnopqrstuvwx";
    struct source_message m;
    struct bl_error err = {0};
    struct host *h = new_host();
    h->plans[0] = complaint;
    start(h);
    struct source *s = open_source(OPTIONS(h, .dids = dids, .did_count = 3000));
    EXPECT_RC(next(s, &m, &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "invalid DID"));
    EXPECT(asked_for(h, 0, "/subscribe?requireHello=true HTTP") && h->hello.n > 3000 * 34);
    source_close(&s);
    stop(h);
    h = new_host();
    h->plans[0] = h->plans[2] = serving;
    h->plans[1] = complaint;
    start(h);
    s = open_source(OPTIONS(h, .dids = dids, .did_count = 3000));
    take(s, 2, &m); /* what was taken before is not wrong now */
    EXPECT(stats_of(s).connects == 3);
    source_close(&s);
    stop(h);
}

/* Until a ping has come and been noticed. */
static void hear_a_ping(struct source *s) {
    struct source_message m;
    uint64_t before = stats_of(s).bytes;
    int64_t end_ns = bl_mono_ns() + 20 * SECOND * 1000;
    while (stats_of(s).bytes == before && bl_mono_ns() < end_ns) EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
}

static void a_filtered_stream_may_be_silent_for_longer(void **state) {
    (void)state;
    static const char *const dids[] = {"did:plc:abcdefghijklmnopqrstuvwx"};
    struct host *h = new_host();
    struct fake_clock clock = {0};
    h->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = PING};
    h->plans[1] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(h);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(OPTIONS(h, .clock = &c, .dids = dids, .did_count = 1));
    struct source_message m;
    take(s, 1, &m);
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    for (; clock.now_us < 599 * SECOND; clock.now_us += 60 * SECOND) hear_a_ping(s);
    clock.now_us = 599 * SECOND;
    hear_a_ping(s);
    EXPECT(stats_of(s).state == SOURCE_LIVE && stats_of(s).connects == 1);
    clock.now_us = 601 * SECOND;
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    EXPECT(stats_of(s).failures == 1);
    clock.now_us = 602 * SECOND;
    take(s, 1, &m); /* and the position is the last event's, however long ago that was */
    EXPECT(asked_for(h, 1, "cursor=1759999995000000"));
    source_close(&s);
    stop(h);
}

static void a_host_that_does_not_even_ping_is_dead_however_patient_the_filter(void **state) {
    (void)state;
    static const char *const dids[] = {"did:plc:abcdefghijklmnopqrstuvwx"};
    struct host *h = new_host();
    struct fake_clock clock = {0};
    h->plans[0] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    h->plans[1] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(h);
    struct bl_clock c = {fake_wall, fake_mono, &clock};
    struct source *s = open_source(OPTIONS(h, .clock = &c, .dids = dids, .did_count = 1));
    struct source_message m;
    take(s, 1, &m);
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    clock.now_us = 89 * SECOND;
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    EXPECT(stats_of(s).state == SOURCE_LIVE && stats_of(s).failures == 0);
    clock.now_us = 91 * SECOND;
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    EXPECT(stats_of(s).failures == 1 && strstr(stats_of(s).last_error, "no data and no ping"));
    clock.now_us = 92 * SECOND;
    take(s, 1, &m);
    source_close(&s);
    stop(h);
}

/* Wall clock and monotonic clock apart from each other. */
struct two_clocks {
    int64_t wall_us, mono_ns;
};
static int64_t jumping_wall(void *context) {
    return ((struct two_clocks *)context)->wall_us;
}
static int64_t steady_mono(void *context) {
    return ((struct two_clocks *)context)->mono_ns;
}

static void a_jump_of_the_wall_clock_moves_neither_timers_nor_cursor(void **state) {
    (void)state;
    struct host *h = new_host();
    struct two_clocks clocks = {.wall_us = T0};
    h->plans[0] = (struct plan){.first_us = T0, .step_us = SECOND, .count = 2, .ending = PING};
    h->plans[1] = (struct plan){.first_us = T0, .count = 1, .ending = HOLD};
    start(h);
    struct bl_clock c = {jumping_wall, steady_mono, &clocks};
    struct source *s = open_source(OPTIONS(h, .clock = &c));
    struct source_message m;
    take(s, 1, &m);
    static const int64_t jumps_s[] = {86400 * 365, -86400 * 365, 3600, -3600};
    for (size_t i = 0; i < 4; i++) {
        clocks.wall_us = T0 + jumps_s[i] * SECOND;
        EXPECT(source_next(s, 20, &m, NULL) == (i ? BL_E_TIMEOUT : BL_OK));
        EXPECT(stats_of(s).state == SOURCE_LIVE && stats_of(s).connects == 1 && stats_of(s).failures == 0);
    }
    clocks.mono_ns = 31000000000; /* only real time counts as silence */
    EXPECT_RC(source_next(s, 20, &m, NULL), BL_E_TIMEOUT);
    EXPECT(stats_of(s).failures == 1);
    clocks.mono_ns = 40000000000;
    take(s, 1, &m);
    EXPECT(asked_for(h, 1, "cursor=1759999996000000") && stats_of(s).gaps == 0);
    source_close(&s);
    stop(h);
}

static void a_host_that_cuts_within_the_overlap_is_got_past(void **state) {
    (void)state;
    struct host *h = new_host();
    for (int i = 0; i < PLANS_MAX; i++)
        h->plans[i] = (struct plan){.first_us = T0, .step_us = SECOND, .count = 3, .ending = VANISH};
    start(h);
    struct source *s = open_source(OPTIONS(h, .start_cursor_us = T0 + 5 * SECOND));
    struct source_message m;
    take(s, 3 * 6, &m);
    EXPECT(asked_for(h, 0, "cursor=1760000000000000") && asked_for(h, 1, "cursor=1760000002500000"));
    EXPECT(asked_for(h, 2, "cursor=1760000003750000") && asked_for(h, 4, "cursor=1760000004687500"));
    source_close(&s);
    stop(h);
}

static void bad_settings_are_refused_at_once(void **state) {
    (void)state;
    const char *urls[] = {"wss://example.invalid"};
    struct source *s = NULL;
    EXPECT_RC(source_open(&(struct source_options){0}, &s, NULL), BL_E_USAGE);
    EXPECT_RC(
        source_open(&(struct source_options){.urls = urls, .url_count = 1, .start_cursor_us = 1700000000}, &s, NULL),
        BL_E_USAGE);
    EXPECT_RC(source_open(&(struct source_options){.urls = urls, .url_count = 1, .dictionary_file = "/nonexistent"}, &s,
                          NULL),
              BL_E_USAGE);
    EXPECT(s == NULL);
}

static void an_oversized_message_is_counted_and_passed_over(void **state) {
    (void)state;
    char *big = bl_xcalloc(1, 200000);
    struct bl_str frames[2] = {{big, 200000}, {big, 100}};
    struct host *h = new_host();
    h->plans[0] = (struct plan){.binary = frames, .binary_count = 2, .ending = HOLD};
    start(h);
    struct source *s = open_source(OPTIONS(h, .message_max = 100000));
    struct source_message m;
    take(s, 1, &m);
    EXPECT(m.json.n == 100);
    EXPECT_RC(source_next(s, 1, &m, NULL), BL_E_TIMEOUT);
    EXPECT(stats_of(s).oversized == 1 && stats_of(s).bytes > 200000 && !source_pending(s));
    source_close(&s);
    stop(h);
    free(big);
}

static void reachability_is_told_within_the_time(void **state) {
    (void)state;
    struct host *h = new_host();
    int port;
    EXPECT_RC(bl_free_port(&port, NULL), BL_OK);
    start(h);
    char *dead = bl_xasprintf("ws://127.0.0.1:%d", port);
    struct bl_error why = {0};
    EXPECT(source_reachable((const char *const[]){dead, h->url}, 2, 2000, &why));
    EXPECT(!source_reachable((const char *const[]){dead}, 1, 2000, &why) && strstr(why.message, "refused"));
    EXPECT(!source_reachable(NULL, 0, 2000, &why));
    free(dead);
    stop(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reconnect_resumes_from_the_durable_cursor_and_flags_the_overlap),
        cmocka_unit_test(a_restart_goes_back_to_the_cursor_it_is_given),
        cmocka_unit_test(without_a_durable_cursor_the_newest_message_counts),
        cmocka_unit_test(a_start_cursor_is_used_and_the_first_messages_are_overlap),
        cmocka_unit_test(answers_that_cannot_change_are_final),
        cmocka_unit_test(a_refusal_after_the_first_event_passes),
        cmocka_unit_test(a_host_that_refused_at_first_is_asked_when_the_others_are_gone),
        cmocka_unit_test(retry_after_is_honoured),
        cmocka_unit_test(backoff_doubles_up_to_its_limit),
        cmocka_unit_test(a_silent_connection_is_left_for_the_next_host),
        cmocka_unit_test(a_dead_host_makes_room_for_the_next),
        cmocka_unit_test(a_wake_is_answered_at_once_in_every_state),
        cmocka_unit_test(ticks_go_on_while_connecting),
        cmocka_unit_test(long_filters_are_sent_as_hello_and_a_complaint_before_the_first_event_is_final),
        cmocka_unit_test(a_filtered_stream_may_be_silent_for_longer),
        cmocka_unit_test(a_host_that_does_not_even_ping_is_dead_however_patient_the_filter),
        cmocka_unit_test(a_jump_of_the_wall_clock_moves_neither_timers_nor_cursor),
        cmocka_unit_test(a_host_that_cuts_within_the_overlap_is_got_past),
        cmocka_unit_test(bad_settings_are_refused_at_once),
        cmocka_unit_test(an_oversized_message_is_counted_and_passed_over),
        cmocka_unit_test(reachability_is_told_within_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
