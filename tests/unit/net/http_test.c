/* A GET against a server that answers in every way it may, and some it may not. */
#include "expect.h"
#include "net/http.h"
#include "peer.h"

static void answer(struct peer_connection *c, void *context) {
    if (peer_read_request(c)) peer_send_z(c, context);
}

static enum bl_rc get(const char *text, size_t body_max, int *status, struct bl_buf *body) {
    struct peer *p = peer_start(answer, (void *)(uintptr_t)text);
    struct http_get request = {.url = {.target = "/x?id=1"}, .wake_fd = -1, .timeout_ms = 3000, .body_max = body_max};
    snprintf(request.url.host, sizeof request.url.host, "127.0.0.1");
    request.url.port = peer_port(p);
    enum bl_rc rc = http_get(&request, status, body, NULL);
    peer_stop(&p);
    return rc;
}

static void bodies_come_whole_however_they_are_sent(void **state) {
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct bl_buf body = {0};
        int status = 0;
        EXPECT_RC(get(answers[i], 0, &status, &body), BL_OK);
        EXPECT(status == 200 && bl_str_eq(bl_buf_view(&body), BL_LIT("hello")));
        bl_buf_release(&body);
    }
}

static void a_refusal_is_an_answer_too(void **state) {
    (void)state;
    struct bl_buf body = {0};
    int status = 0;
    EXPECT_RC(get("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", 0, &status, &body), BL_OK);
    EXPECT(status == 404 && bl_str_eq(bl_buf_view(&body), BL_LIT("nope")));
    bl_buf_release(&body);
}

static void what_is_cut_off_or_garbled_or_too_large_is_an_error(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum bl_rc rc;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", BL_E_NET},
        {"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\nhello", BL_E_NET},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", BL_E_NET},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", BL_E_NET},
        {"HTTP/1.1 200 OK\r\n", BL_E_NET},
        {"SSH-2.0-x\r\n\r\n", BL_E_NET},
        {"", BL_E_NET},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhello", BL_E_TOO_LARGE},
        {"HTTP/1.1 200 OK\r\n\r\nhello", BL_E_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bl_buf body = {0};
        int status = 0;
        enum bl_rc rc = get(cases[i].text, 4, &status, &body);
        if (rc != cases[i].rc) fail_msg("%s: %s", cases[i].text, bl_rc_name(rc));
        bl_buf_release(&body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_come_whole_however_they_are_sent),
        cmocka_unit_test(a_refusal_is_an_answer_too),
        cmocka_unit_test(what_is_cut_off_or_garbled_or_too_large_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
