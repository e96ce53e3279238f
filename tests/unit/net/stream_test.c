#include "expect.h"
#include "net/stream.h"
#include "peer.h"

#include "base/clock.h"
#include "base/io.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static char folder[] = "/tmp/bluelake-stream-XXXXXX";

/* Certificates for 127.0.0.1 and localhost, for another name, an expired one, and one that nobody vouches for. */
static int make_certificates(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    char *command = bl_xasprintf(
        "exec >/dev/null 2>&1; set -e; cd %s; EC='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
        "openssl req -x509 $EC -keyout ca.key -out ca.pem -subj /CN=test-ca -days 2\n"
        "openssl req -x509 $EC -keyout self.key -out self.pem -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
        "-days 2\n"
        "issue() { openssl req $EC -keyout $1.key -out $1.csr -subj /CN=server; echo subjectAltName=$2 >$1.ext\n"
        "  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days $3 -extfile $1.ext -out $1.pem; "
        "}\n"
        "issue good IP:127.0.0.1,DNS:localhost 2; issue other DNS:elsewhere.example,IP:127.0.0.2 2\n"
        "issue expired IP:127.0.0.1 -1\n",
        folder);
    int failure = system(command);
    free(command);
    return failure;
}

static int remove_certificates(void **state) {
    (void)state;
    char *command = bl_xasprintf("rm -rf '%s'", folder);
    int failure = system(command);
    free(command);
    return failure;
}

static char *in_folder(const char *name, const char *suffix) {
    return bl_xasprintf("%s/%s%s", folder, name, suffix);
}

static void echo(struct peer_connection *c, void *context) {
    (void)context;
    char bytes[70000];
    size_t got;
    while (stream_read(c->stream, bytes, sizeof bytes, PEER_PATIENCE_MS, &got, NULL) == BL_OK && got > 0)
        peer_send(c, bl_strn(bytes, got));
}

static void expect_echo(struct stream *s, size_t size) {
    struct bl_error err = {0};
    char *sent = bl_xmalloc(size), *back = bl_xmalloc(size);
    for (size_t i = 0; i < size; i++) sent[i] = (char)(i * 7 + i / 251);
    for (size_t at = 0; at < size;) {
        size_t piece = size - at < 50000 ? size - at : 50000, got, end = at + piece;
        EXPECT_OK(stream_write_all(s, bl_strn(sent + at, piece), 2000, &err), &err);
        while (at < end) {
            EXPECT_OK(stream_read(s, back + at, size - at, 2000, &got, &err), &err);
            EXPECT(got > 0);
            at += got;
        }
    }
    assert_memory_equal(sent, back, size);
    free(sent);
    free(back);
}

static enum bl_rc open_to(int port, const char *host, const char *ca_file, bool tls, struct stream **out,
                          struct bl_error *err) {
    struct stream_options o = {
        .host = host, .port = port, .tls = tls, .ca_file = ca_file, .connect_timeout_ms = 5000, .wake_fd = -1};
    return stream_connect(&o, out, err);
}

static void plain_bytes_come_back(void **state) {
    (void)state;
    struct peer *p = peer_start(echo, NULL);
    struct bl_error err = {0};
    struct stream *s = NULL;
    EXPECT_OK(open_to(peer_port(p), "127.0.0.1", NULL, false, &s, &err), &err);
    EXPECT(strncmp(stream_peer(s), "127.0.0.1:", 10) == 0);
    expect_echo(s, 300000);
    stream_close(&s);
    EXPECT(s == NULL);
    EXPECT_OK(open_to(peer_port(p), "localhost", NULL, false, &s, &err), &err); /* resolved by the helper thread */
    expect_echo(s, 10);
    stream_close(&s);
    stream_close(&s);
    peer_stop(&p);
}

static void a_verified_certificate_is_accepted_by_name_and_address(void **state) {
    (void)state;
    char *cert = in_folder("good", ".pem"), *key = in_folder("good", ".key"), *ca = in_folder("ca", ".pem");
    struct peer *p = peer_start_tls(echo, NULL, cert, key);
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < 2; i++) {
        struct bl_error err = {0};
        struct stream *s = NULL;
        EXPECT_OK(open_to(peer_port(p), hosts[i], ca, true, &s, &err), &err);
        expect_echo(s, 300000);
        stream_close(&s);
    }
    peer_stop(&p);
    free(cert), free(key), free(ca);
}

static void expect_refused(const char *name, bool with_ca, const char *cause) {
    char *cert = in_folder(name, ".pem"), *key = in_folder(name, ".key"), *ca = in_folder("ca", ".pem");
    struct peer *p = peer_start_tls(echo, NULL, cert, key);
    struct bl_error err = {0};
    struct stream *s = NULL;
    EXPECT_RC(open_to(peer_port(p), "127.0.0.1", with_ca ? ca : NULL, true, &s, &err), BL_E_NET);
    if (!strstr(err.message, cause)) fail_msg("\"%s\" does not say \"%s\"", err.message, cause);
    peer_stop(&p);
    free(cert), free(key), free(ca);
}

static void bad_certificates_are_refused(void **state) {
    (void)state;
    expect_refused("other", true, "mismatch");
    expect_refused("expired", true, "expired");
    expect_refused("self", true, "self-signed");
    expect_refused("good", false, "unable to get local issuer");
}

static void an_unreadable_ca_file_is_a_configuration_error(void **state) {
    (void)state;
    struct peer *p = peer_start(echo, NULL);
    struct stream *s = NULL;
    EXPECT_RC(open_to(peer_port(p), "127.0.0.1", "/nonexistent.pem", true, &s, NULL), BL_E_USAGE);
    peer_stop(&p);
}

static void a_server_without_tls_is_refused(void **state) {
    (void)state;
    struct peer *p = peer_start(echo, NULL); /* answers the ClientHello with itself */
    struct bl_error err = {0};
    struct stream *s = NULL;
    EXPECT_RC(open_to(peer_port(p), "127.0.0.1", NULL, true, &s, &err), BL_E_NET);
    EXPECT(strstr(err.message, "TLS handshake"));
    peer_stop(&p);
}

static void a_refused_connection_says_so(void **state) {
    (void)state;
    int port;
    struct bl_error err = {0};
    struct stream *s = NULL;
    EXPECT_OK(bl_free_port(&port, &err), &err);
    EXPECT_RC(open_to(port, "127.0.0.1", NULL, false, &s, &err), BL_E_NET);
    EXPECT(strstr(err.message, "refused"));
    EXPECT_RC(open_to(port, "no-such-host.invalid", NULL, false, &s, &err), BL_E_NET);
    EXPECT(strstr(err.message, "resolve"));
}

static void silent(struct peer_connection *c, void *context) {
    (void)context;
    peer_wait(c, PEER_PATIENCE_MS);
}

static void waits_are_bounded(void **state) {
    (void)state;
    struct peer *p = peer_start(silent, NULL);
    struct stream_options o = {
        .host = "127.0.0.1", .port = peer_port(p), .tls = true, .connect_timeout_ms = 100, .wake_fd = -1};
    struct stream *s = NULL;
    int64_t from = bl_mono_ns();
    EXPECT_RC(stream_connect(&o, &s, NULL), BL_E_TIMEOUT);
    EXPECT(bl_mono_ns() - from < 2000000000);
    peer_stop(&p);
    p = peer_start(silent, NULL);
    o.tls = false;
    o.port = peer_port(p);
    EXPECT_RC(stream_connect(&o, &s, NULL), BL_OK);
    char byte;
    size_t got;
    EXPECT_RC(stream_read(s, &byte, 1, 50, &got, NULL), BL_E_TIMEOUT);
    stream_close(&s);
    peer_stop(&p);
}

struct waker {
    int fd;
    int64_t at_ns;
};
static void *wake_soon(void *argument) {
    struct waker *w = argument;
    usleep(50000);
    w->at_ns = bl_mono_ns();
    BL_ASSERT(eventfd_write(w->fd, 1) == 0);
    return NULL;
}

static void a_wake_ends_a_wait_at_once(void **state) {
    (void)state;
    struct peer *p = peer_start(silent, NULL);
    char *ca = in_folder("ca", ".pem");
    for (int tls = 0; tls < 2; tls++) {
        struct waker w = {.fd = eventfd(0, EFD_CLOEXEC)};
        struct stream_options o = {
            .host = "127.0.0.1", .port = peer_port(p), .tls = tls, .ca_file = ca, .wake_fd = w.fd};
        struct stream *s = NULL;
        pthread_t thread;
        char byte;
        size_t got;
        pthread_create(&thread, NULL, wake_soon, &w);
        if (tls) {
            EXPECT_RC(stream_connect(&o, &s, NULL), BL_E_CANCELLED);
        } else {
            EXPECT_RC(stream_connect(&o, &s, NULL), BL_OK);
            EXPECT_RC(stream_read(s, &byte, 1, 5000, &got, NULL), BL_E_CANCELLED);
        }
        int64_t returned = bl_mono_ns();
        pthread_join(thread, NULL);
        EXPECT(returned - w.at_ns < 2000000000);
        stream_close(&s);
        close(w.fd);
    }
    free(ca);
    peer_stop(&p);
}

static void leave(struct peer_connection *c, void *context) {
    (void)c;
    (void)context;
}

static void writing_to_a_closed_peer_is_an_error_not_a_signal(void **state) {
    (void)state;
    char *cert = in_folder("good", ".pem"), *key = in_folder("good", ".key"), *ca = in_folder("ca", ".pem");
    for (int tls = 0; tls < 2; tls++) {
        struct peer *p = tls ? peer_start_tls(leave, NULL, cert, key) : peer_start(leave, NULL);
        struct bl_error err = {0};
        struct stream *s = NULL;
        EXPECT_OK(open_to(peer_port(p), "127.0.0.1", ca, tls, &s, &err), &err);
        char byte;
        size_t got = 1;
        EXPECT_OK(stream_read(s, &byte, 1, 2000, &got, &err), &err);
        EXPECT(got == 0); /* orderly end */
        enum bl_rc rc = BL_OK;
        for (int64_t end = bl_mono_ns() + 5000000000; bl_mono_ns() < end && rc == BL_OK;)
            rc = stream_write_all(s, BL_LIT("into the void"), 1000, &err);
        EXPECT(rc == BL_E_NET);
        stream_close(&s);
        peer_stop(&p);
    }
    free(cert), free(key), free(ca);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes_come_back),
        cmocka_unit_test(a_verified_certificate_is_accepted_by_name_and_address),
        cmocka_unit_test(bad_certificates_are_refused),
        cmocka_unit_test(an_unreadable_ca_file_is_a_configuration_error),
        cmocka_unit_test(a_server_without_tls_is_refused),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(waits_are_bounded),
        cmocka_unit_test(a_wake_ends_a_wait_at_once),
        cmocka_unit_test(writing_to_a_closed_peer_is_an_error_not_a_signal),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
