#include "expect.h"
#include "net/url.h"

static struct url parsed(const char *text) {
    struct bl_error err = {0};
    struct url u;
    EXPECT_OK(url_parse(bl_str(text), &u, &err), &err);
    return u;
}

static void every_scheme_has_its_defaults(void **state) {
    (void)state;
    struct url u = parsed("wss://jetstream1.example/subscribe?x=1");
    EXPECT(u.tls && u.websocket && u.port == 443);
    assert_string_equal(u.host, "jetstream1.example");
    assert_string_equal(u.target, "/subscribe?x=1");
    u = parsed("ws://localhost:6008");
    EXPECT(!u.tls && u.websocket && u.port == 6008);
    assert_string_equal(u.target, "/");
    u = parsed("HTTP://a.b?q");
    EXPECT(!u.tls && !u.websocket && u.port == 80);
    assert_string_equal(u.target, "/?q");
    EXPECT(parsed("https://a").tls);
}

static void a_bare_host_means_wss(void **state) {
    (void)state;
    struct url u = parsed("jetstream.example:8443");
    EXPECT(u.tls && u.websocket && u.port == 8443);
    assert_string_equal(u.target, "/");
    u = parsed("jetstream.example/next=http://x");
    assert_string_equal(u.target, "/next=http://x");
}

static void ipv6_addresses_stand_in_brackets(void **state) {
    (void)state;
    struct url u = parsed("ws://[::1]:99/a");
    assert_string_equal(u.host, "::1");
    EXPECT(u.port == 99);
}

static void bad_addresses_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",           "ws://",       "ftp://a",       "ws://a:0",  "ws://a:65536", "ws://a:x", "ws://a:",
        "ws://u@a",   "ws://a/#f",   "ws://a/ b",     "ws://a b",  "ws://[::1",    "ws://[x]", "ws://[::1]9",
        "ws://::1/",  "ws://a/\r\n", "ws://a/\xc3\xa4", "ws://.a",   "://a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct url u;
        struct bl_error err = {0};
        if (url_parse(bl_str(bad[i]), &u, &err) != BL_E_USAGE) fail_msg("\"%s\" was accepted", bad[i]);
        EXPECT(err.message[0]);
    }
    char text[9000];
    memset(text, 'a', sizeof text);
    struct url u;
    EXPECT_RC(url_parse(bl_strn(text, 256), &u, NULL), BL_E_USAGE);
    text[1] = '/';
    EXPECT_RC(url_parse(bl_strn(text, sizeof text), &u, NULL), BL_E_USAGE);
    EXPECT_RC(url_parse(bl_strn("a\0b", 3), &u, NULL), BL_E_USAGE);
}

static void query_values_are_percent_encoded(void **state) {
    (void)state;
    struct bl_buf out = {0};
    url_encode(&out, bl_strn("aZ9-._~ :/?&=%\0\xff", 16));
    EXPECT_STR(bl_buf_view(&out), "aZ9-._~%20%3A%2F%3F%26%3D%25%00%FF");
    bl_buf_release(&out);
}

static void listen_addresses_need_a_port(void **state) {
    (void)state;
    char addr[64];
    int port;
    EXPECT_RC(url_parse_listen(BL_LIT("127.0.0.1:0"), addr, &port, NULL), BL_OK);
    assert_string_equal(addr, "127.0.0.1");
    EXPECT(port == 0);
    EXPECT_RC(url_parse_listen(BL_LIT("[::1]:80"), addr, &port, NULL), BL_OK);
    assert_string_equal(addr, "::1");
    EXPECT_RC(url_parse_listen(BL_LIT("localhost:81"), addr, &port, NULL), BL_OK);
    assert_string_equal(addr, "127.0.0.1");
    EXPECT_RC(url_parse_listen(BL_LIT("127.0.0.1"), addr, &port, NULL), BL_E_USAGE);
    EXPECT_RC(url_parse_listen(BL_LIT(":80"), addr, &port, NULL), BL_E_USAGE);
    EXPECT_RC(url_parse_listen(BL_LIT("example.com:80"), addr, &port, NULL), BL_E_USAGE);
    EXPECT_RC(url_parse_listen(BL_LIT("127.0.0.1:65536"), addr, &port, NULL), BL_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scheme_has_its_defaults),    cmocka_unit_test(a_bare_host_means_wss),
        cmocka_unit_test(ipv6_addresses_stand_in_brackets), cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(query_values_are_percent_encoded), cmocka_unit_test(listen_addresses_need_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
