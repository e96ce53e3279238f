#include "expect.h"
#include "net/wsclient.h"
#include "peer.h"

#include "base/clock.h"

#include <stdlib.h>

static enum bl_rc open_to(struct peer *p, const char *subprotocol, size_t message_max, struct wsclient **out,
                          struct wsclient_answer *answer, struct bl_error *err) {
    struct wsclient_options o = {.url = {.websocket = true, .host = "127.0.0.1", .port = peer_port(p), .target = "/x?y=1"},
                                 .subprotocol = subprotocol,
                                 .connect_timeout_ms = 5000,
                                 .message_max = message_max,
                                 .wake_fd = -1};
    return wsclient_open(&o, out, answer, err);
}

/* What the peer answers to the handshake: %s stands for the right accept key. */
struct answer_script {
    const char *text;
    char request[2000];
};
static void answer(struct peer_connection *c, void *context) {
    struct answer_script *a = context;
    char accept[29] = "";
    if (!peer_read_request(c)) return;
    snprintf(a->request, sizeof a->request, "%.1999s", c->request);
    const char *key = strstr(c->request, "Sec-WebSocket-Key: ");
    if (key) ws_accept_of_key(bl_strn(key + 19, 24), accept);
    const char *mark = strstr(a->text, "%s");
    peer_send(c, bl_strn(a->text, mark ? (size_t)(mark - a->text) : strlen(a->text)));
    if (mark) {
        peer_send_z(c, accept);
        peer_send_z(c, mark + 2);
    }
}

static struct wsclient_answer expect_answer(const char *text, const char *subprotocol, enum bl_rc wanted,
                                            const char *message) {
    struct answer_script a = {.text = text};
    struct peer *p = peer_start(answer, &a);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct bl_error err = {0};
    enum bl_rc rc = open_to(p, subprotocol, 0, &c, &got, &err);
    wsclient_close(&c);
    peer_stop(&p);
    if (rc != wanted) fail_msg("%s -> %s %s", text, bl_rc_name(rc), err.message);
    if (message && !strstr(err.message, message)) fail_msg("\"%s\" lacks \"%s\"", err.message, message);
    return got;
}

#define OK_HEAD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, UPGRADE\r\n"

static void a_valid_handshake_is_accepted(void **state) {
    (void)state;
    struct wsclient_answer a =
        expect_answer(OK_HEAD "sec-websocket-accept: %s\r\nServer: test/1\r\n\r\n", NULL, BL_OK, NULL);
    assert_int_equal(a.status, 101);
    assert_string_equal(a.server, "test/1");
    a = expect_answer(OK_HEAD "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: a.b\r\n\r\n", "a.b", BL_OK, NULL);
    assert_string_equal(a.subprotocol, "a.b");
}

static void a_wrong_handshake_is_refused(void **state) {
    (void)state;
    expect_answer(OK_HEAD "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", NULL, BL_E_NET, "Accept");
    expect_answer(OK_HEAD "\r\n", NULL, BL_E_NET, "Accept");
    expect_answer("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", NULL, BL_E_NET, "Upgrade");
    expect_answer("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", NULL, BL_E_NET, "Connection");
    expect_answer(OK_HEAD "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: a\r\n\r\n", NULL, BL_E_NET, "subprotocol");
    expect_answer(OK_HEAD "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: b\r\n\r\n", "a", BL_E_NET, "subprotocol");
    expect_answer(OK_HEAD "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", NULL, BL_E_NET,
                  "extension");
    expect_answer("SSH-2.0-OpenSSH\r\n\r\n", NULL, BL_E_NET, "HTTP");
    expect_answer("", NULL, BL_E_NET, "without answering");
}

static void a_refusal_carries_status_body_and_retry_after(void **state) {
    (void)state;
    struct wsclient_answer a = expect_answer(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 16\r\n\r\ninvalid\ncursor \n", NULL, BL_E_NET, "HTTP 400: invalid cursor");
    assert_int_equal(a.status, 400);
    assert_string_equal(a.body, "invalid cursor");
    EXPECT(a.retry_after_s == -1);
    a = expect_answer("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n0\r\n\r\n", NULL,
                      BL_E_NET, "wait");
    assert_int_equal(a.retry_after_s, 7);
    assert_string_equal(a.body, "wait");
    a = expect_answer("HTTP/1.1 503 No\r\nRetry-After: Fri, 01 Jan 1999 00:00:00 GMT\r\n\r\nwarming up", NULL, BL_E_NET, "warming");
    assert_int_equal(a.retry_after_s, 0);
    expect_answer("HTTP/1.1 301 Moved\r\nLocation: wss://new.example/\r\nContent-Length: 0\r\n\r\n", NULL, BL_E_NET,
                  "see wss://new.example/");
}

static void the_request_is_what_the_rfc_asks_for(void **state) {
    (void)state;
    struct answer_script a = {.text = OK_HEAD "Sec-WebSocket-Accept: %s\r\n\r\n"};
    struct peer *p = peer_start(answer, &a);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct bl_error err = {0};
    EXPECT_OK(open_to(p, NULL, 0, &c, &got, &err), &err);
    EXPECT(bl_str_starts(bl_str(a.request), BL_LIT("GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")));
    EXPECT(strstr(a.request, "Sec-WebSocket-Version: 13\r\n") && strstr(a.request, "Upgrade: websocket\r\n"));
    EXPECT(!strstr(a.request, "Extensions") && !strstr(a.request, "Protocol"));
    wsclient_close(&c);
    peer_stop(&p);
}

static void endless_head(struct peer_connection *c, void *context) {
    (void)context;
    if (!peer_read_request(c)) return;
    peer_send_z(c, "HTTP/1.1 101 X\r\n");
    for (int i = 0; i < 3000; i++) peer_send_z(c, "X-Filler: 1234567890\r\n");
}

static void an_endless_head_is_refused(void **state) {
    (void)state;
    struct peer *p = peer_start(endless_head, NULL);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct bl_error err = {0};
    EXPECT_RC(open_to(p, NULL, 0, &c, &got, &err), BL_E_NET);
    EXPECT(strstr(err.message, "head is longer"));
    peer_stop(&p);
}

struct talk {
    atomic_int pong_ok, close_code;
};
static void talk(struct peer_connection *c, void *context) {
    struct talk *t = context;
    struct ws_message m;
    if (!peer_upgrade(c, "")) return;
    peer_frame(c, WS_TEXT, BL_LIT("{\"a\":1}"));
    peer_frame(c, WS_PING, BL_LIT("are you there"));
    if (peer_receive(c, &m) && m.op == WS_PONG && bl_str_eq(m.data, BL_LIT("are you there"))) t->pong_ok = 1;
    peer_frame(c, WS_BINARY, BL_LIT("after the pong"));
    peer_close_frame(c, 1001, "server shutting down");
    if (peer_receive(c, &m) && m.op == WS_CLOSE) t->close_code = (int)m.close_code;
}

static void messages_pings_and_a_close_are_handled(void **state) {
    (void)state;
    struct talk t = {0};
    struct peer *p = peer_start(talk, &t);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct ws_message m;
    struct bl_error err = {0};
    EXPECT_OK(open_to(p, NULL, 0, &c, &got, &err), &err);
    EXPECT_OK(wsclient_next(c, 2000, &m, &err), &err);
    EXPECT(m.op == WS_TEXT);
    EXPECT_STR(m.data, "{\"a\":1}");
    EXPECT_OK(wsclient_next(c, 2000, &m, &err), &err);
    EXPECT(m.op == WS_BINARY);
    EXPECT_STR(m.data, "after the pong");
    EXPECT_RC(wsclient_next(c, 2000, &m, &err), BL_E_NET);
    assert_int_equal(wsclient_close_code(c), 1001);
    assert_string_equal(wsclient_close_reason(c), "server shutting down");
    EXPECT_RC(wsclient_next(c, 2000, &m, &err), BL_E_NET);
    EXPECT(!wsclient_pending(c) && wsclient_bytes(c) > 100);
    wsclient_close(&c);
    peer_stop(&p);
    EXPECT(t.pong_ok && t.close_code == 1001);
}

static void big_messages(struct peer_connection *c, void *context) {
    (void)context;
    size_t sizes[] = {10, 300000, 5000000, 10, 9000001, 20};
    if (!peer_upgrade(c, "")) return;
    for (size_t i = 0; i < 6; i++) {
        char *bytes = bl_xmalloc(sizes[i]);
        memset(bytes, 'a' + (int)i, sizes[i]);
        peer_frame(c, WS_TEXT, bl_strn(bytes, sizes[i]));
        free(bytes);
    }
    peer_wait_gone(c);
}

static void big_messages_pass_and_oversized_ones_are_skipped(void **state) {
    (void)state;
    struct peer *p = peer_start(big_messages, NULL);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct ws_message m;
    struct bl_error err = {0};
    size_t wanted[] = {10, 300000, 5000000, 10, 20};
    EXPECT_OK(open_to(p, NULL, 9000000, &c, &got, &err), &err);
    for (size_t i = 0; i < 5; i++) {
        EXPECT_OK(wsclient_next(c, 5000, &m, &err), &err);
        assert_int_equal(m.data.n, wanted[i]);
        EXPECT(m.data.p[0] == m.data.p[m.data.n - 1]);
    }
    assert_int_equal(wsclient_oversized(c), 1);
    EXPECT_RC(wsclient_next(c, 30, &m, &err), BL_E_TIMEOUT);
    wsclient_close(&c);
    peer_stop(&p);
}

static void pairs(struct peer_connection *c, void *context) {
    (void)context;
    struct bl_buf both = {0};
    if (!peer_upgrade(c, "")) return;
    ws_frame(&both, WS_TEXT, BL_LIT("one"), false, 0);
    ws_frame(&both, WS_PING, BL_LIT(""), false, 0);
    ws_frame(&both, WS_TEXT, BL_LIT("two"), false, 0);
    bl_buf_add(&both, "\x81\x05th", 4);
    peer_send(c, bl_buf_view(&both));
    bl_buf_release(&both);
    peer_wait_gone(c);
}

static void pending_tells_whether_a_message_is_there(void **state) {
    (void)state;
    struct peer *p = peer_start(pairs, NULL);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct ws_message m;
    struct bl_error err = {0};
    EXPECT_OK(open_to(p, NULL, 0, &c, &got, &err), &err);
    EXPECT_OK(wsclient_next(c, 2000, &m, &err), &err);
    EXPECT(wsclient_pending(c));
    EXPECT_STR(m.data, "one"); /* asking does not disturb it */
    EXPECT_OK(wsclient_next(c, 0, &m, &err), &err);
    EXPECT_STR(m.data, "two");
    EXPECT(!wsclient_pending(c));
    wsclient_close(&c);
    peer_stop(&p);
}

static void violate(struct peer_connection *c, void *context) {
    atomic_int *code = context;
    struct ws_message m;
    if (!peer_upgrade(c, "")) return;
    peer_send(c, BL_LIT("\xc1\x01x"));
    if (peer_receive(c, &m) && m.op == WS_CLOSE) *code = (int)m.close_code;
}

static void a_violation_is_answered_with_its_code(void **state) {
    (void)state;
    atomic_int code = 0;
    struct peer *p = peer_start(violate, &code);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct ws_message m;
    struct bl_error err = {0};
    EXPECT_OK(open_to(p, NULL, 0, &c, &got, &err), &err);
    EXPECT_RC(wsclient_next(c, 2000, &m, &err), BL_E_NET);
    EXPECT(strstr(err.message, "reserved bit"));
    wsclient_close(&c);
    peer_stop(&p);
    assert_int_equal(code, 1002);
}

static void ping_for_ever(struct peer_connection *c, void *context) {
    (void)context;
    struct bl_buf pings = {0};
    if (!peer_upgrade(c, "")) return;
    for (int i = 0; i < 100; i++) ws_frame(&pings, WS_PONG, BL_LIT("x"), false, 0);
    while (stream_write_all(c->stream, bl_buf_view(&pings), PEER_PATIENCE_MS, NULL) == BL_OK) {
    }
    bl_buf_release(&pings);
}

static void control_frames_without_end_do_not_hold_the_caller(void **state) {
    (void)state;
    struct peer *p = peer_start(ping_for_ever, NULL);
    struct wsclient *c = NULL;
    struct wsclient_answer got;
    struct ws_message m;
    struct bl_error err = {0};
    EXPECT_OK(open_to(p, NULL, 0, &c, &got, &err), &err);
    int64_t from = bl_mono_ns();
    EXPECT_RC(wsclient_next(c, 50, &m, &err), BL_E_TIMEOUT);
    EXPECT(bl_mono_ns() - from < 2000000000);
    wsclient_close(&c);
    peer_stop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_handshake_is_accepted),
        cmocka_unit_test(a_wrong_handshake_is_refused),
        cmocka_unit_test(a_refusal_carries_status_body_and_retry_after),
        cmocka_unit_test(the_request_is_what_the_rfc_asks_for),
        cmocka_unit_test(an_endless_head_is_refused),
        cmocka_unit_test(messages_pings_and_a_close_are_handled),
        cmocka_unit_test(big_messages_pass_and_oversized_ones_are_skipped),
        cmocka_unit_test(pending_tells_whether_a_message_is_there),
        cmocka_unit_test(a_violation_is_answered_with_its_code),
        cmocka_unit_test(control_frames_without_end_do_not_hold_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
