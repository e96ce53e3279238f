/* fuzz_url: addresses. What is accepted is safe to put into a request, and written out again it means the same. */
#include "fuzz.h"
#include "net/url.h"

static const char *const fuzz_seeds[] = {"wss://jetstream1.us-east.bsky.network",
                                         "ws://127.0.0.1:6008/subscribe?wantedCollections=app.bsky.*",
                                         "[::1]:80/x",
                                         "host:65535",
                                         "https://h/a?b=c&d=%20",
                                         "WS://H",
                                         "127.0.0.1:0"};
static const char *const fuzz_words[] = {"wss://", "ws://", "http://", "://", ":",   "/", "?",    "#",    "@",
                                         "[",      "]",     "[::1]",   "%",   "%zz", " ", "\r\n", "\x7f", "\xc3\xa9",
                                         "0",      "65536", "-1",      "..",  "_",   "-", "a",    "&",    "="};
static const size_t fuzz_seed_count = sizeof fuzz_seeds / sizeof *fuzz_seeds;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static bool printable(const char *p) {
    for (; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f) return false;
    return true;
}

static void check_encoding(struct bl_str input) {
    struct bl_buf out = {0};
    url_encode(&out, input);
    for (size_t i = 0, n = 0; i < out.n; i++, n++) {
        char c = out.p[i];
        if (c == '%') {
            char pair[3] = {out.p[i + 1], out.p[i + 2], 0};
            c = (char)strtoul(pair, NULL, 16);
            i += 2;
        }
        if (n >= input.n || c != input.p[n]) fuzz_fail("an encoded value reads differently", input);
    }
    bl_buf_release(&out);
}

static bool fuzz_one(struct bl_str input) {
    struct url u, again;
    char addr[64], text[9000];
    int port;
    check_encoding(input);
    if (url_parse_listen(input, addr, &port, NULL) == BL_OK && (port < 0 || port > 65535 || !printable(addr)))
        fuzz_fail("an address to listen on", input);
    if (url_parse(input, &u, NULL) != BL_OK) return false;
    if (u.port < 1 || u.port > 65535 || !*u.host || !printable(u.host) || !printable(u.target) || u.target[0] != '/')
        fuzz_fail("an unusable address was accepted", input);
    bool six = strchr(u.host, ':') != NULL;
    snprintf(text, sizeof text, "%s%s://%s%s%s:%d%s", u.websocket ? "ws" : "http", u.tls ? "s" : "", six ? "[" : "",
             u.host, six ? "]" : "", u.port, u.target);
    if (url_parse(bl_str(text), &again, NULL) != BL_OK) fuzz_fail("its own text is refused", input);
    if (again.tls != u.tls || again.websocket != u.websocket || again.port != u.port ||
        strcmp(again.host, u.host) != 0 || strcmp(again.target, u.target) != 0)
        fuzz_fail("its own text means something else", input);
    return true;
}
