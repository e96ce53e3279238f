/* The server, spoken to over real sockets by a client made of ws.h alone. */
#include "expect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <zdict.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/io.h"
#include "net/ws.h"
#include "net/wsclient.h"
#include "sim/server.h"

/* ---- a plain client ---- */

struct peer {
    int fd;
    struct ws_parser parser;
    char *in;
    size_t n, room, fed;
    char head[2048];
};
enum { WAIT_S = 20, QUIET_MS = 150 };

static void peer_open(struct peer *p, const struct sim_server *s) {
    *p = (struct peer){.room = 4 << 20};
    p->in = bl_xmalloc(p->room);
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)sim_server_port(s)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    EXPECT(connect(p->fd, (struct sockaddr *)&a, sizeof a) == 0);
    struct timeval wait = {.tv_sec = WAIT_S};
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ws_parser_init(&p->parser, false, 32 << 20);
}

static void peer_close(struct peer *p) {
    close(p->fd);
    free(p->in);
    ws_parser_release(&p->parser);
}

/* Sends the request; returns the status. What follows the head stays in `in`. */
static int peer_request(struct peer *p, const char *target, const char *headers) {
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                     target, headers);
    EXPECT(send(p->fd, text, (size_t)n, 0) == n);
    char *end = NULL;
    while (!end) {
        ssize_t got = recv(p->fd, p->in + p->n, p->room - p->n, 0);
        EXPECT(got > 0);
        p->n += (size_t)got;
        end = memmem(p->in, p->n, "\r\n\r\n", 4);
    }
    size_t head = (size_t)(end - p->in) + 4;
    EXPECT(head < sizeof p->head);
    memcpy(p->head, p->in, head);
    p->n -= head;
    memmove(p->in, p->in + head, p->n);
    return (int)strtol(p->head + 9, NULL, 10);
}

static void connect_to(struct peer *p, const struct sim_server *s, const char *target) {
    peer_open(p, s);
    EXPECT(peer_request(p, target, "") == 101);
    EXPECT(strstr(p->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    EXPECT(!strstr(p->head, "Sec-WebSocket-Extensions"));
}

/* 1: a message, 0: the connection ended, -1: nothing within the time set on the socket. */
static int peer_next(struct peer *p, struct ws_message *m) {
    struct bl_error err;
    for (;;) {
        if (p->fed) {
            int got = ws_next(&p->parser, m, &err);
            EXPECT(got >= 0);
            if (got == 1) return 1;
            size_t used = ws_consumed(&p->parser);
            p->n -= used;
            memmove(p->in, p->in + used, p->n);
            p->fed = 0;
        }
        if (p->n == 0 || !p->fed) {
            EXPECT(p->n < p->room);
            bool first = p->n && p->parser.p == NULL;
            ssize_t got = first ? 0 : recv(p->fd, p->in + p->n, p->room - p->n, 0);
            if (!first && got == 0) return 0;
            if (got < 0) return errno == EAGAIN || errno == EINTR ? -1 : 0;
            p->n += (size_t)got;
            ws_feed(&p->parser, p->in, p->n);
            p->fed = p->n;
        }
    }
}

static void expect_quiet(struct peer *p) {
    struct timeval short_wait = {.tv_usec = QUIET_MS * 1000}, wait = {.tv_sec = WAIT_S};
    struct ws_message m;
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait);
    EXPECT(peer_next(p, &m) == -1);
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}

static struct bl_str expect_text(struct peer *p) {
    struct ws_message m;
    EXPECT(peer_next(p, &m) == 1);
    EXPECT(m.op == WS_TEXT);
    return m.data;
}

static void say(struct peer *p, enum ws_op op, const char *text) {
    struct bl_buf out = {0};
    ws_frame(&out, op, bl_str(text), true, 0x12345678);
    EXPECT(send(p->fd, out.p, out.n, 0) == (ssize_t)out.n);
    bl_buf_release(&out);
}

static void expect_close(struct peer *p, unsigned code) {
    struct ws_message m;
    int got;
    while ((got = peer_next(p, &m)) == 1 && m.op != WS_CLOSE) {
    }
    EXPECT(got == 1 && m.close_code == code);
}

static struct sim_server *start(struct sim_server_options o) {
    struct sim_server *s = NULL;
    struct bl_error err = {0};
    o.address = "127.0.0.1";
    EXPECT_OK(sim_server_start(&o, &s, &err), &err);
    return s;
}

/* Events as they should be. */
struct truth {
    struct sim *sim;
    struct bl_buf line;
};
static struct bl_str true_event(struct truth *t, uint64_t i) {
    if (!t->sim) t->sim = sim_new(&(struct sim_options){0});
    bl_buf_clear(&t->line);
    sim_event(t->sim, i, &t->line);
    return bl_buf_view(&t->line);
}
static void truth_release(struct truth *t) {
    sim_free(&t->sim);
    bl_buf_release(&t->line);
}
#define EXPECT_EVENT(got, truth, i)                                                                                    \
    do {                                                                                                               \
        struct bl_str got_ = (got), want_ = true_event((truth), (i));                                                  \
        if (!bl_str_eq(got_, want_)) fail_msg("not event %d but %.*s", (int)(i), BL_ARG(got_));                        \
    } while (0)

/* ---- tests ---- */

static void the_whole_stream_arrives_in_order(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 5000});
    struct truth t = {0};
    struct peer p;
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 5000; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    expect_quiet(&p);
    struct sim_server_stats stats;
    sim_server_get_stats(s, &stats);
    EXPECT(stats.connections == 1 && stats.clients_now == 1 && stats.events_sent == 5000 && stats.next_event == 5000);
    EXPECT(stats.bytes_sent > 5000 * 300);
    sim_server_stop(&s);
    expect_close(&p, 1001);
    peer_close(&p);
    truth_release(&t);
}

/* Read `count` events' worth of a filtered stream and compare with the filter applied here. */
typedef bool wanted(struct bl_str json);
static void expect_filtered(const char *target, wanted *keep) {
    enum { COUNT = 4000 };
    struct sim_server *s = start((struct sim_server_options){.count = COUNT});
    struct truth t = {0};
    struct peer p;
    connect_to(&p, s, target);
    unsigned seen = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        if (!keep(true_event(&t, i))) continue;
        EXPECT_EVENT(expect_text(&p), &t, i);
        seen++;
    }
    EXPECT(seen > 0);
    expect_quiet(&p);
    peer_close(&p);
    sim_server_stop(&s);
    truth_release(&t);
}

static bool has(struct bl_str json, const char *part) {
    return memmem(json.p, json.n, part, strlen(part)) != NULL;
}
static bool no_commit(struct bl_str json) {
    return !has(json, "\"kind\":\"commit\"");
}
static bool a_post_or_graph(struct bl_str json) {
    return no_commit(json) || has(json, "\"collection\":\"app.bsky.feed.post\"") ||
           has(json, "\"collection\":\"app.bsky.graph.");
}
static bool small(struct bl_str json) {
    return json.n <= 400;
}

static void filters_keep_what_is_wanted_and_account_events(void **state) {
    (void)state;
    expect_filtered("/subscribe?wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.*",
                    a_post_or_graph);
    expect_filtered("/subscribe?wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.%2A&other=x",
                    a_post_or_graph);
    expect_filtered("/subscribe?maxMessageSizeBytes=400", small);
}

static bool by_first_author(struct bl_str json) {
    struct truth t = {0};
    static char did[33];
    if (!did[0]) memcpy(did, true_event(&t, 0).p + 8, 32);
    truth_release(&t);
    return memcmp(json.p + 8, did, 32) == 0;
}

static void wanted_dids_apply_to_every_kind(void **state) {
    (void)state;
    struct truth t = {0};
    char target[200];
    snprintf(target, sizeof target, "/subscribe?wantedDids=%.32s&wantedDids=%.32s", true_event(&t, 0).p + 8,
             true_event(&t, 0).p + 8);
    truth_release(&t);
    struct sim_server *s = start((struct sim_server_options){.count = 4000});
    struct peer p;
    connect_to(&p, s, target);
    EXPECT(by_first_author(expect_text(&p)));
    struct ws_message m;
    struct timeval short_wait = {.tv_usec = QUIET_MS * 1000};
    setsockopt(p.fd, SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait);
    while (peer_next(&p, &m) == 1) EXPECT(by_first_author(m.data));
    peer_close(&p);
    sim_server_stop(&s);
}

static void expect_refused(struct sim_server *s, const char *target, const char *headers, int status,
                           const char *text) {
    struct peer p;
    peer_open(&p, s);
    int got = peer_request(&p, target, headers);
    if (got != status) fail_msg("%s: %d instead of %d", target, got, status);
    while (p.n < strlen(text)) {
        ssize_t more = recv(p.fd, p.in + p.n, p.room - p.n, 0);
        EXPECT(more > 0);
        p.n += (size_t)more;
    }
    if (!bl_str_starts(bl_strn(p.in, p.n), bl_str(text))) fail_msg("%s: %.*s", target, (int)p.n, p.in);
    peer_close(&p);
}

static void bad_requests_are_refused_with_a_text(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 10});
    expect_refused(s, "/subscribe?wantedCollections=app.bsky.fo*", "", 400,
                   "invalid options: invalid collection: app.bsky.fo*");
    expect_refused(s, "/subscribe?wantedDids=alice", "", 400, "invalid options: invalid DID: alice");
    expect_refused(s, "/subscribe?cursor=yesterday", "", 400, "invalid cursor: yesterday");
    expect_refused(s, "/subscribe?cursor=%zz", "", 400, "invalid options: invalid URL escape");
    expect_refused(s, "/subscribe?compress=true", "", 400, "zstd is not available");
    expect_refused(s, "/subscribe", "Socket-Encoding: zstd\r\n", 400, "zstd is not available");
    expect_refused(s, "/subscribe?compress=true", "Sec-WebSocket-Extensions: permessage-deflate\r\n", 400,
                   "choose one compression");
    expect_refused(s, "/", "", 404, "404 page not found");
    expect_refused(s, "/subscribe/", "", 404, "404 page not found");
    char many[8192] = "/subscribe?x=y";
    for (int n = 0; n < 101; n++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "&wantedCollections=a.b.c%d", n);
    struct peer p;
    peer_open(&p, s);
    size_t at = strlen(many);
    snprintf(many + at, sizeof many - at, " HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    EXPECT(send(p.fd, "GET ", 4, 0) == 4 && send(p.fd, many, strlen(many), 0) == (ssize_t)strlen(many));
    EXPECT(recv(p.fd, p.in, 12, MSG_WAITALL) == 12 && memcmp(p.in, "HTTP/1.1 400", 12) == 0);
    peer_close(&p);
    sim_server_stop(&s);
}

static void a_cursor_is_inclusive_clamped_and_live_when_in_the_future(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 3000, .lookback_us = 1000000});
    struct truth t = {0};
    true_event(&t, 0);
    char target[100];
    struct peer p;
    snprintf(target, sizeof target, "/subscribe?cursor=%" PRId64, sim_time_us(t.sim, 2900));
    connect_to(&p, s, target);
    EXPECT_EVENT(expect_text(&p), &t, 2900);
    peer_close(&p);
    snprintf(target, sizeof target, "/subscribe?cursor=%" PRId64, sim_time_us(t.sim, 2900) + 1);
    connect_to(&p, s, target);
    EXPECT_EVENT(expect_text(&p), &t, 2901);
    peer_close(&p);
    connect_to(&p, s, "/subscribe?cursor=1");
    EXPECT_EVENT(expect_text(&p), &t, sim_first_at(t.sim, sim_time_us(t.sim, 2999) - 1000000));
    peer_close(&p);
    connect_to(&p, s, "/subscribe?cursor=9000000000000000");
    expect_quiet(&p);
    peer_close(&p);
    sim_server_stop(&s);
    truth_release(&t);
}

static void at_a_rate_events_come_as_they_fall_due(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.rate = 500});
    struct truth t = {0};
    struct peer p, late;
    int64_t from = bl_mono_ns();
    connect_to(&p, s, "/subscribe?cursor=1");
    for (uint64_t i = 0; i < 200; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    int64_t took_ms = (bl_mono_ns() - from) / 1000000;
    if (took_ms < 300) fail_msg("200 events at 500/s took %d ms", (int)took_ms);
    connect_to(&late, s, "/subscribe");
    struct bl_str first = expect_text(&late);
    EXPECT(!bl_str_eq(first, true_event(&t, 0)));
    peer_close(&late);
    peer_close(&p);
    sim_server_stop(&s);
    truth_release(&t);
}

static void live_events_exist_once_their_time_has_come(void **state) {
    (void)state;
    const struct sim_options network = {.rate = 1000, .start_us = bl_wall_us() - 1000000};
    struct sim_server *s = start((struct sim_server_options){.network = network, .live = true});
    struct sim *sim = sim_new(&network);
    struct bl_buf line = {0};
    struct peer p;
    connect_to(&p, s, "/subscribe?cursor=1");
    for (uint64_t i = 0; i < 1500; i++) {
        bl_buf_clear(&line);
        sim_event(sim, i, &line);
        EXPECT(bl_str_eq(expect_text(&p), bl_buf_view(&line)));
        EXPECT(bl_wall_us() >= sim_time_us(sim, i));
    }
    peer_close(&p);
    connect_to(&p, s, "/subscribe");
    EXPECT(!bl_str_eq(expect_text(&p), bl_buf_view(&line)));
    peer_close(&p);
    sim_server_stop(&s);
    sim_free(&sim);
    bl_buf_release(&line);
}

static void hello_holds_the_stream_and_updates_replace_the_filter(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 3000});
    struct truth t = {0};
    struct peer p;
    connect_to(&p, s, "/subscribe?requireHello=true&wantedCollections=app.bsky.feed.like");
    expect_quiet(&p);
    say(&p, WS_TEXT, "{\"type\":\"something_else\",\"payload\":{}}");
    say(&p, WS_BINARY, "ignored");
    expect_quiet(&p);
    say(&p, WS_TEXT,
        "{\"type\":\"options_update\",\"payload\":{\"wantedCollections\":[\"app.bsky.feed.post\"],\"wantedDids\":null}"
        "}");
    unsigned posts = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        struct bl_str json = true_event(&t, i);
        if (!no_commit(json) && !has(json, "\"collection\":\"app.bsky.feed.post\"")) continue;
        EXPECT_EVENT(expect_text(&p), &t, i);
        posts++;
    }
    EXPECT(posts > 300);
    say(&p, WS_PING, "are you there");
    struct ws_message m;
    EXPECT(peer_next(&p, &m) == 1 && m.op == WS_PONG);
    EXPECT_STR(m.data, "are you there");
    peer_close(&p);
    static const char *const bad[] = {
        "{\"type\":", "{\"type\":\"options_update\",\"payload\":{\"wantedDids\":[\"x\"]}}",
        "{\"type\":\"options_update\",\"payload\":{\"wantedCollections\":\"x\"}}"};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        connect_to(&p, s, "/subscribe?requireHello=true");
        say(&p, WS_TEXT, bad[n]);
        expect_close(&p, 1000);
        peer_close(&p);
    }
    sim_server_stop(&s);
    truth_release(&t);
}

static char folder[64];

static void write_file(const char *name, const void *p, size_t n, char path[static 128]) {
    struct bl_error err = {0};
    snprintf(path, 128, "%s/%s", folder, name);
    EXPECT_OK(bl_write_file_atomic(path, bl_strn(p, n), &err), &err);
}

static void frames_are_compressed_with_the_dictionary(void **state) {
    (void)state;
    struct truth t = {0};
    struct bl_buf samples = {0};
    size_t sizes[2000];
    for (uint64_t i = 0; i < 2000; i++) {
        bl_buf_str(&samples, true_event(&t, i));
        sizes[i] = t.line.n;
    }
    static char dictionary[32768];
    size_t n = ZDICT_trainFromBuffer(dictionary, sizeof dictionary, samples.p, sizes, 2000);
    EXPECT(!ZDICT_isError(n));
    char path[128];
    write_file("dict", dictionary, n, path);
    struct sim_server *s = start((struct sim_server_options){.count = 5000, .dictionary_file = path});
    ZSTD_DCtx *d = ZSTD_createDCtx();
    static char json[1 << 20];
    for (int round = 0; round < 2; round++) {
        struct peer p;
        peer_open(&p, s);
        EXPECT(peer_request(&p, round ? "/subscribe?compress=true" : "/subscribe",
                            round ? "" : "Socket-Encoding: zstd\r\n") == 101);
        size_t packed = 0, whole = 0;
        for (uint64_t i = 0; i < 5000; i++) {
            struct ws_message m;
            EXPECT(peer_next(&p, &m) == 1 && m.op == WS_BINARY);
            size_t got = ZSTD_decompress_usingDict(d, json, sizeof json, m.data.p, m.data.n, dictionary, n);
            EXPECT(!ZSTD_isError(got));
            EXPECT_EVENT(bl_strn(json, got), &t, i);
            packed += m.data.n;
            whole += got;
        }
        EXPECT(packed * 2 < whole);
        peer_close(&p);
    }
    expect_refused(s, "/subscribe?compress=true", "Sec-WebSocket-Extensions: permessage-deflate\r\n", 400,
                   "choose one compression");
    ZSTD_freeDCtx(d);
    sim_server_stop(&s);
    bl_buf_release(&samples);
    truth_release(&t);
    unlink(path);
}

static void pings_come_and_a_client_without_pongs_is_dropped(void **state) {
    (void)state;
    struct sim_server *s = start((struct sim_server_options){.count = 1, .ping_ms = 100});
    struct peer p;
    struct ws_message m;
    connect_to(&p, s, "/subscribe");
    expect_text(&p);
    int64_t from = bl_mono_ns();
    int pings = 0, got;
    while ((got = peer_next(&p, &m)) == 1) {
        EXPECT(m.op == WS_PING);
        if (++pings <= 3) say(&p, WS_PONG, "bluelake");
    }
    int64_t took_ms = (bl_mono_ns() - from) / 1000000;
    EXPECT(got == 0 && pings > 10 && took_ms > 4500 && took_ms < 15000);
    peer_close(&p);
    sim_server_stop(&s);
}

static void a_file_is_served_in_its_own_order(void **state) {
    (void)state;
    static const char lines[] =
        "{\"did\":\"did:plc:a\",\"time_us\":1000,\"kind\":\"identity\"}\n"
        "{\"kind\":\"commit\",\"commit\":{\"x\":[1],\"collection\":\"a.b.c\"},\"time_us\":3000,\"did\":\"did:plc:b\"}\n"
        "not an event\n\n"
        "{\"did\":\"did:plc:a\",\"time_us\":2000,\"kind\":\"commit\",\"commit\":{\"collection\":\"a.b.d\"}}\r\n"
        "{\"did\":\"did:plc:a\",\"time_us\":4000,\"kind\":\"account\"}";
    char path[128];
    write_file("events.ndjson", lines, sizeof lines - 1, path);
    struct sim_server *s = start((struct sim_server_options){.from_file = path});
    struct peer p;
    connect_to(&p, s, "/subscribe");
    EXPECT(has(expect_text(&p), ":1000"));
    EXPECT(has(expect_text(&p), ":3000"));
    EXPECT_STR(expect_text(&p), "not an event");
    EXPECT(has(expect_text(&p), ":2000"));
    EXPECT(has(expect_text(&p), ":4000"));
    expect_quiet(&p);
    peer_close(&p);
    connect_to(&p, s, "/subscribe?cursor=2000");
    EXPECT(has(expect_text(&p), ":3000"));
    peer_close(&p);
    connect_to(&p, s, "/subscribe?wantedCollections=a.b.c&wantedDids=did:plc:b");
    EXPECT(has(expect_text(&p), ":3000"));
    expect_quiet(&p);
    peer_close(&p);
    sim_server_stop(&s);
    struct bl_error err = {0};
    EXPECT_RC(sim_server_start(&(struct sim_server_options){.from_file = "/nonexistent"}, &s, &err), BL_E_NOT_FOUND);
    unlink(path);
}

static void connections_are_cut_closed_and_broken_on_demand(void **state) {
    (void)state;
    struct truth t = {0};
    struct peer p;
    struct ws_message m;
    struct sim_server *s = start((struct sim_server_options){.count = 500, .misbehave = "cut-every=100"});
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 100; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    EXPECT(peer_next(&p, &m) == 0);
    peer_close(&p);
    sim_server_stop(&s);

    s = start((struct sim_server_options){.count = 500, .misbehave = "close-every=100"});
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 100; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    expect_close(&p, 1001);
    peer_close(&p);
    sim_server_stop(&s);

    s = start((struct sim_server_options){.count = 500, .misbehave = "half-frame-every=100"});
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 99; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    EXPECT(peer_next(&p, &m) == 0);
    EXPECT(p.n > 0); /* the half */
    peer_close(&p);
    sim_server_stop(&s);

    s = start((struct sim_server_options){.count = 500, .misbehave = "stall-after=50"});
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 50; i++) EXPECT_EVENT(expect_text(&p), &t, i);
    expect_quiet(&p);
    struct peer second;
    connect_to(&second, s, "/subscribe");
    for (uint64_t i = 0; i < 500; i++) EXPECT_EVENT(expect_text(&second), &t, i);
    peer_close(&second);
    peer_close(&p);
    sim_server_stop(&s);
    truth_release(&t);
}

static void events_are_repeated_swapped_and_poisoned_on_demand(void **state) {
    (void)state;
    struct truth t = {0};
    struct peer p;
    struct sim_server *s = start((struct sim_server_options){
        .count = 8, .misbehave = "duplicate-every=3, poison-every=4,badutf8-every=5,bignum-every=6"});
    connect_to(&p, s, "/subscribe");
    for (uint64_t i = 0; i < 8; i++) {
        EXPECT_EVENT(expect_text(&p), &t, i);
        if ((i + 1) % 3 == 0) EXPECT_EVENT(expect_text(&p), &t, i);
        if ((i + 1) % 4 == 0) {
            struct bl_str poison = expect_text(&p);
            EXPECT(poison.n == 5000 && poison.p[4999] == '[');
        }
        if ((i + 1) % 5 == 0) EXPECT(!bl_utf8_valid(expect_text(&p)));
        if ((i + 1) % 6 == 0) EXPECT(has(expect_text(&p), "123456789012345678901234567890"));
    }
    expect_quiet(&p);
    peer_close(&p);
    sim_server_stop(&s);

    static const int swapped[] = {0, 1, 3, 2, 4, 6, 5, 7};
    s = start((struct sim_server_options){.count = 8, .misbehave = "swap-every=3"});
    connect_to(&p, s, "/subscribe");
    for (int n = 0; n < 8; n++) EXPECT_EVENT(expect_text(&p), &t, (uint64_t)swapped[n]);
    peer_close(&p);
    sim_server_stop(&s);

    s = start((struct sim_server_options){.count = 8, .misbehave = "http-503-first=2"});
    expect_refused(s, "/subscribe", "", 503, "service not ready");
    expect_refused(s, "/subscribe", "", 503, "service not ready");
    connect_to(&p, s, "/subscribe");
    EXPECT_EVENT(expect_text(&p), &t, 0);
    peer_close(&p);
    sim_server_stop(&s);
    struct bl_error err = {0};
    EXPECT_RC(sim_server_start(&(struct sim_server_options){.misbehave = "dance=1"}, &s, &err), BL_E_USAGE);
    EXPECT_RC(sim_server_start(&(struct sim_server_options){.misbehave = "cut-every"}, &s, &err), BL_E_USAGE);
    truth_release(&t);
}

/* A certificate for localhost that signs itself. */
static void make_certificate(char cert_path[static 128], char key_path[static 128]) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_add_ext(cert, alt, -1);
    X509_EXTENSION_free(alt);
    EXPECT(X509_sign(cert, key, EVP_sha256()) > 0);
    write_file("cert.pem", "", 0, cert_path);
    write_file("key.pem", "", 0, key_path);
    FILE *c = fopen(cert_path, "w"), *k = fopen(key_path, "w");
    EXPECT(PEM_write_X509(c, cert) == 1 && PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(c);
    fclose(k);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void the_stream_can_be_had_over_tls(void **state) {
    (void)state;
    char cert[128], key[128];
    make_certificate(cert, key);
    struct sim_server *s =
        start((struct sim_server_options){.count = 3000, .tls_cert_file = cert, .tls_key_file = key});
    struct truth t = {0};
    struct bl_error err = {0};
    struct wsclient *c = NULL;
    struct wsclient_answer answer;
    struct wsclient_options o = {.ca_file = cert, .wake_fd = -1};
    char address[64];
    snprintf(address, sizeof address, "wss://127.0.0.1:%d/subscribe", sim_server_port(s));
    EXPECT_OK(url_parse(bl_str(address), &o.url, &err), &err);
    EXPECT_OK(wsclient_open(&o, &c, &answer, &err), &err);
    for (uint64_t i = 0; i < 3000; i++) {
        struct ws_message m;
        EXPECT_OK(wsclient_next(c, WAIT_S * 1000, &m, &err), &err);
        EXPECT_EVENT(m.data, &t, i);
    }
    wsclient_close(&c);
    sim_server_stop(&s);
    truth_release(&t);
    EXPECT_RC(sim_server_start(&(struct sim_server_options){.tls_cert_file = key, .tls_key_file = key}, &s, &err),
              BL_E_USAGE);
    unlink(cert);
    unlink(key);
}

static void several_clients_are_served_at_full_speed(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    struct sim_server *s = start((struct sim_server_options){0});
    struct peer p;
    struct ws_message m;
    connect_to(&p, s, "/subscribe");
    int64_t from = bl_mono_ns();
    for (int n = 0; n < COUNT; n++) EXPECT(peer_next(&p, &m) == 1);
    print_message("one client, full speed: %.0f events/s\n", COUNT / ((double)(bl_mono_ns() - from) / 1e9));
    struct peer q;
    connect_to(&q, s, "/subscribe");
    for (int n = 0; n < 1000; n++) EXPECT(peer_next(&p, &m) == 1 && peer_next(&q, &m) == 1);
    sim_server_stop(&s); /* while both lag behind */
    peer_close(&p);
    peer_close(&q);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/bluelake-sim-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_stream_arrives_in_order),
        cmocka_unit_test(filters_keep_what_is_wanted_and_account_events),
        cmocka_unit_test(wanted_dids_apply_to_every_kind),
        cmocka_unit_test(bad_requests_are_refused_with_a_text),
        cmocka_unit_test(a_cursor_is_inclusive_clamped_and_live_when_in_the_future),
        cmocka_unit_test(at_a_rate_events_come_as_they_fall_due),
        cmocka_unit_test(live_events_exist_once_their_time_has_come),
        cmocka_unit_test(hello_holds_the_stream_and_updates_replace_the_filter),
        cmocka_unit_test(frames_are_compressed_with_the_dictionary),
        cmocka_unit_test(pings_come_and_a_client_without_pongs_is_dropped),
        cmocka_unit_test(a_file_is_served_in_its_own_order),
        cmocka_unit_test(connections_are_cut_closed_and_broken_on_demand),
        cmocka_unit_test(events_are_repeated_swapped_and_poisoned_on_demand),
        cmocka_unit_test(the_stream_can_be_had_over_tls),
        cmocka_unit_test(several_clients_are_served_at_full_speed),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
