/* What makes a host one of the v2 family: subscribeEvents, its typed errors, and what /subscribe does differently. */
#include "expect.h"

#include <stdlib.h>
#include <unistd.h>
#include <zdict.h>
#include <zstd.h>

#include "base/io.h"
#include "event/event.h"
#include "net/wsclient.h"
#include "sim/server.h"

#define EVENTS "/xrpc/network.bsky.jetstream.subscribeEvents"
enum { COUNT = 2000, PATIENCE_MS = 5000, QUIET_MS = 100 };

static struct sim_server *start(struct sim_server_options o) {
    struct sim_server *s = NULL;
    struct bl_error err = {0};
    o.v2 = true;
    EXPECT_OK(sim_server_start(&o, &s, &err), &err);
    return s;
}

static enum bl_rc open_at(struct sim_server *s, const char *target, struct wsclient **out, struct wsclient_answer *a) {
    struct wsclient_options o = {.wake_fd = -1, .subprotocol = "xrpc.v1.json"};
    snprintf(o.url.host, sizeof o.url.host, "127.0.0.1");
    snprintf(o.url.target, sizeof o.url.target, "%s", target);
    o.url.port = sim_server_port(s);
    return wsclient_open(&o, out, a, NULL);
}

static struct wsclient *connect_to(struct sim_server *s, const char *target) {
    struct wsclient *c = NULL;
    struct wsclient_answer a;
    EXPECT_RC(open_at(s, target, &c, &a), BL_OK);
    bool typed = strncmp(target, EVENTS, strlen(EVENTS)) == 0;
    assert_string_equal(a.subprotocol, typed ? "xrpc.v1.json" : "");
    return c;
}

static struct bl_str next_text(struct wsclient *c) {
    struct ws_message m;
    struct bl_error err = {0};
    EXPECT_OK(wsclient_next(c, PATIENCE_MS, &m, &err), &err);
    EXPECT(m.op == WS_TEXT);
    return m.data;
}

static bool holds(struct bl_str text, const char *part) {
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

static int64_t number_after(struct bl_str text, const char *name) {
    const char *at = memmem(text.p, text.n, name, strlen(name));
    return at ? strtoll(at + strlen(name), NULL, 10) : -1;
}
static int64_t seq_of(struct bl_str frame) { /* the outer one is written last */
    const char *at = NULL;
    for (const char *p = frame.p; (p = memmem(p, (size_t)(frame.p + frame.n - p), "\"seq\":", 6)); p++) at = p;
    return at ? strtoll(at + 6, NULL, 10) : -1;
}

static void expect_seq(struct sim_server *s, const char *query, int64_t seq) {
    struct wsclient *c = connect_to(s, query);
    int64_t got = seq_of(next_text(c));
    if (got != seq) fail_msg("%s begins at %lld", query, (long long)got);
    wsclient_close(&c);
}

static void expect_refused(struct sim_server *s, const char *query, int status, const char *error) {
    struct wsclient *c = NULL;
    struct wsclient_answer a;
    char target[400];
    snprintf(target, sizeof target, EVENTS "?%s", query);
    EXPECT_RC(open_at(s, target, &c, &a), BL_E_NET);
    if (a.status != status || !strstr(a.body, error)) fail_msg("%s: %d %s", query, a.status, a.body);
}

static void parameters_are_strict_and_errors_have_names(void **state) {
    (void)state;
    static const char *const invalid[] = {"cursor=x",
                                          "cursor=-1",
                                          "cursor=",
                                          "kinds=post",
                                          "kinds=commit&kinds=identity&kinds=account&kinds=sync&kinds=commit",
                                          "collections=app.bsky.fo*",
                                          "collections=app.*",
                                          "kinds=identity&collections=app.bsky.feed.post",
                                          "dids=alice",
                                          "maxMessageSizeBytes=-1",
                                          "maxMessageSizeBytes=4294967296",
                                          "zstdDictionary=0",
                                          "zstdDictionary=abc",
                                          "wantedDids=did:plc:a",
                                          "wantedCollections=app.bsky.*",
                                          "requireHello=true",
                                          "compress=true",
                                          "cursor=%zz"};
    struct sim_server *s = start((struct sim_server_options){.count = COUNT, .lookback_us = 1000000});
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        expect_refused(s, invalid[i], 400, "{\"error\":\"InvalidRequest\",\"message\":\"");
    expect_refused(s, "zstdDictionary=5", 400, "{\"error\":\"UnknownZstdDictionary\"");
    expect_refused(s, "cursor=1", 400, "{\"error\":\"CursorTooOld\",\"message\":\"cursor 1 is too old: the floor is 1");
    sim_server_stop(&s);
    s = start((struct sim_server_options){.count = COUNT, .misbehave = "http-503-first=1"});
    expect_refused(s, "", 503, "{\"error\":\"ServiceUnavailable\"");
    expect_seq(s, EVENTS "?unknown=1&compress=false", 1);
    sim_server_stop(&s);
}

static void a_cursor_is_a_number_or_a_time_and_inclusive(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){0});
    char target[200];
    struct sim_server *s = start((struct sim_server_options){.count = COUNT, .seq_start = 5000});
    expect_seq(s, EVENTS, 5000);
    expect_seq(s, EVENTS "?cursor=5123", 5123);
    expect_seq(s, EVENTS "?cursor=17", 5000);
    snprintf(target, sizeof target, EVENTS "?cursor=%lld", (long long)sim_time_us(sim, 700));
    expect_seq(s, target, 5700);
    snprintf(target, sizeof target, "/subscribe?cursor=%lld", (long long)sim_time_us(sim, 700));
    struct wsclient *c = connect_to(s, target);
    EXPECT(number_after(next_text(c), "\"cursor\":") == 5700);
    wsclient_close(&c);
    c = connect_to(s, "/subscribe?cursor=5800");
    EXPECT(number_after(next_text(c), "\"cursor\":") == 5800);
    wsclient_close(&c);
    c = connect_to(s, EVENTS "?cursor=999999"); /* beyond the newest: live */
    struct ws_message m;
    EXPECT_RC(wsclient_next(c, QUIET_MS, &m, NULL), BL_E_TIMEOUT);
    wsclient_close(&c);
    sim_server_stop(&s);
    sim_free(&sim);
}

static void a_time_before_the_floor_is_raised_and_said_so(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = COUNT, .lookback_us = 1000000});
    struct wsclient *c = connect_to(s, EVENTS "?cursor=1000000000000000");
    struct bl_str info = next_text(c);
    EXPECT(holds(info, "subscribeEvents#info\"") && holds(info, "\"name\":\"OutdatedCursor\""));
    int64_t first = seq_of(next_text(c));
    EXPECT(first > 1 && first < COUNT);
    wsclient_close(&c);
    c = connect_to(s, "/subscribe?cursor=1"); /* v1 raises without a word */
    EXPECT(number_after(next_text(c), "\"cursor\":") == first);
    wsclient_close(&c);
    sim_server_stop(&s);
}

static void kinds_and_collections_filter_and_every_frame_is_whole(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = COUNT, .misbehave = "sync-every=100"});
    struct wsclient *c = connect_to(s, EVENTS "?kinds=identity&kinds=sync");
    int identities = 0, syncs = 0;
    int64_t last = 0;
    for (int i = 0; i < COUNT / 1000 * 7; i++) {
        struct bl_str frame = next_text(c);
        EXPECT(bl_str_starts(frame, BL_LIT("{\"$type\":\"message\",\"payload\":{\"$type\":\"network.bsky.")));
        identities += holds(frame, "#identity\"");
        syncs += holds(frame, "#sync\"");
        EXPECT(holds(frame, "\"time\":\"2026-01-05T00:00:0"));
        if (!holds(frame, "#sync\"")) EXPECT(seq_of(frame) > last);
        if (!holds(frame, "#sync\"")) last = seq_of(frame);
    }
    EXPECT(identities > 0 && identities + syncs == COUNT / 1000 * 7);
    wsclient_close(&c);
    c = connect_to(s, EVENTS "?kinds=commit&collections=app.bsky.graph.*");
    for (int i = 0; i < 20; i++) EXPECT(holds(next_text(c), "\"collection\":\"app.bsky.graph."));
    wsclient_close(&c);
    sim_server_stop(&s);
}

static void a_message_of_the_client_ends_the_connection(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 3});
    struct wsclient *c = connect_to(s, EVENTS);
    struct ws_message m;
    for (int i = 0; i < 3; i++) (void)next_text(c);
    EXPECT_RC(wsclient_send(c, WS_TEXT, BL_LIT("{}"), NULL), BL_OK);
    EXPECT_RC(wsclient_next(c, PATIENCE_MS, &m, NULL), BL_E_NET);
    EXPECT(wsclient_close_code(c) == 1008);
    wsclient_close(&c);
    sim_server_stop(&s);
}

static void an_error_frame_comes_before_the_close(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = COUNT, .misbehave = "error-every=10"});
    struct wsclient *c = connect_to(s, EVENTS);
    struct ws_message m;
    for (int i = 0; i < 10; i++) EXPECT(holds(next_text(c), "\"$type\":\"message\""));
    EXPECT(bl_str_starts(next_text(c), BL_LIT("{\"$type\":\"error\",\"error\":\"InternalError\"")));
    EXPECT_RC(wsclient_next(c, PATIENCE_MS, &m, NULL), BL_E_NET);
    wsclient_close(&c);
    sim_server_stop(&s);
}

static size_t make_dictionary(const char *path, char *dictionary, size_t room) {
    struct sim *sim = sim_new(&(struct sim_options){0});
    struct bl_buf samples = {0};
    static size_t sizes[2000];
    for (uint64_t i = 0; i < 2000; i++) {
        size_t before = samples.n;
        sim_event(sim, i, &samples);
        sizes[i] = samples.n - before;
    }
    size_t n = ZDICT_trainFromBuffer(dictionary, room, samples.p, sizes, 2000);
    EXPECT(!ZDICT_isError(n));
    EXPECT_RC(bl_write_file_atomic(path, bl_strn(dictionary, n), NULL), BL_OK);
    bl_buf_release(&samples);
    sim_free(&sim);
    return n;
}

static void with_a_dictionary_every_frame_is_compressed(void **state) {
    (void)state;
    char path[] = "/tmp/bluelake-v2-XXXXXX", target[200];
    static char dictionary[32768], text[1 << 20];
    close(mkstemp(path));
    size_t n = make_dictionary(path, dictionary, sizeof dictionary);
    struct sim_server *s =
        start((struct sim_server_options){.count = COUNT, .dictionary_file = path, .lookback_us = 1000000});
    snprintf(target, sizeof target, EVENTS "?cursor=1000000000000000&zstdDictionary=%u",
             ZSTD_getDictID_fromDict(dictionary, n));
    struct wsclient *c = connect_to(s, target);
    ZSTD_DCtx *d = ZSTD_createDCtx();
    for (int i = 0; i < 50; i++) {
        struct ws_message m;
        EXPECT_RC(wsclient_next(c, PATIENCE_MS, &m, NULL), BL_OK);
        EXPECT(m.op == WS_BINARY);
        size_t got = ZSTD_decompress_usingDict(d, text, sizeof text, m.data.p, m.data.n, dictionary, n);
        EXPECT(!ZSTD_isError(got));
        EXPECT(holds(bl_strn(text, got), "#info\"") == (i == 0));
    }
    ZSTD_freeDCtx(d);
    wsclient_close(&c);
    sim_server_stop(&s);
    unlink(path);
}

static void neighbours_share_a_time_and_time_cursors_start_early(void **state) {
    (void)state;
    struct sim_options network = {.batch = 8};
    struct sim *sim = sim_new(&network);
    for (uint64_t i = 0; i < 64; i++) EXPECT(sim_time_us(sim, i) == sim_time_us(sim, i / 8 * 8));
    EXPECT(sim_first_at(sim, sim_time_us(sim, 20)) == 16);
    struct sim_server *s =
        start((struct sim_server_options){.count = COUNT, .network = network, .misbehave = "early-start=600"});
    char target[200];
    snprintf(target, sizeof target, "/subscribe?cursor=%lld", (long long)sim_time_us(sim, 1900));
    struct wsclient *c = connect_to(s, target);
    struct bl_str event = next_text(c);
    EXPECT(number_after(event, "\"cursor\":") == 1801);
    EXPECT(number_after(event, "\"time_us\":") == sim_time_us(sim, 1800));
    wsclient_close(&c);
    sim_server_stop(&s);
    sim_free(&sim);
}

static void an_old_host_knows_no_v2(void **state) {
    (void)state;
    struct sim_server *s = NULL;
    struct wsclient *c = NULL;
    struct wsclient_answer a;
    EXPECT_RC(sim_server_start(&(struct sim_server_options){.count = COUNT}, &s, NULL), BL_OK);
    EXPECT_RC(open_at(s, EVENTS, &c, &a), BL_E_NET);
    EXPECT(a.status == 404);
    c = connect_to(s, "/subscribe");
    EXPECT(!holds(next_text(c), "\"cursor\":"));
    wsclient_close(&c);
    sim_server_stop(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_strict_and_errors_have_names),
        cmocka_unit_test(a_cursor_is_a_number_or_a_time_and_inclusive),
        cmocka_unit_test(a_time_before_the_floor_is_raised_and_said_so),
        cmocka_unit_test(kinds_and_collections_filter_and_every_frame_is_whole),
        cmocka_unit_test(a_message_of_the_client_ends_the_connection),
        cmocka_unit_test(an_error_frame_comes_before_the_close),
        cmocka_unit_test(with_a_dictionary_every_frame_is_compressed),
        cmocka_unit_test(neighbours_share_a_time_and_time_cursors_start_early),
        cmocka_unit_test(an_old_host_knows_no_v2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
