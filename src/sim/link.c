#include "sim/serving.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum bl_rc link_tls(const char *cert_file, const char *key_file, SSL_CTX **out, struct bl_error *err) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls) return bl_fail(err, BL_E_NOMEM, "cannot set up TLS");
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const char *bad = SSL_CTX_use_certificate_chain_file(tls, cert_file) != 1                          ? cert_file
                      : !key_file || SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1 ? key_file
                                                                                                       : NULL;
    if (!bad && key_file) {
        *out = tls;
        return BL_OK;
    }
    SSL_CTX_free(tls);
    ERR_clear_error();
    return bl_fail(err, BL_E_USAGE, "cannot use the TLS file \"%s\": give a certificate chain and its key, both PEM",
                   bad ? bad : "(no key file)");
}

void link_tls_free(SSL_CTX **tls) {
    SSL_CTX_free(*tls);
    *tls = NULL;
}

static int wait_for(const struct link *l, short events, int timeout_ms) {
    struct pollfd p[2] = {{.fd = l->fd, .events = events}, {.fd = l->stop_fd, .events = POLLIN}};
    if (poll(p, 2, timeout_ms) <= 0) return 0;
    return (p[0].revents ? LINK_READABLE : 0) | (p[1].revents ? LINK_STOPPED : 0);
}

int link_wait(const struct link *l, int timeout_ms) {
    return wait_for(l, POLLIN, timeout_ms);
}

/* 0 and the direction to wait for, or 1 when done, -1 when the peer is gone. */
static int tls_outcome(SSL *ssl, int result, short *direction) {
    if (result > 0) return 1;
    int why = SSL_get_error(ssl, result);
    ERR_clear_error();
    *direction = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

bool link_accept(struct link *l, SSL_CTX *tls, int timeout_ms) {
    if (!tls) return true;
    l->ssl = SSL_new(tls);
    if (!l->ssl || SSL_set_fd(l->ssl, l->fd) != 1) return false;
    int64_t deadline = bl_mono_ns() + timeout_ms * (int64_t)1000000;
    for (;;) {
        short direction;
        int outcome = tls_outcome(l->ssl, SSL_accept(l->ssl), &direction);
        if (outcome) return outcome > 0;
        int64_t left_ms = (deadline - bl_mono_ns()) / 1000000;
        if (left_ms <= 0 || wait_for(l, direction, (int)left_ms) != LINK_READABLE) return false;
    }
}

enum link_result link_read(struct link *l, char *p, size_t capacity, size_t *got) {
    if (l->ssl) {
        short direction;
        int outcome = tls_outcome(l->ssl, SSL_read_ex(l->ssl, p, capacity, got), &direction);
        return outcome > 0 ? LINK_OK : outcome < 0 ? LINK_GONE : LINK_AGAIN;
    }
    ssize_t n = recv(l->fd, p, capacity, MSG_DONTWAIT);
    if (n > 0) {
        *got = (size_t)n;
        return LINK_OK;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? LINK_AGAIN : LINK_GONE;
}

static enum link_result write_some(struct link *l, struct bl_str bytes, size_t *put, short *direction) {
    *direction = POLLOUT;
    if (l->ssl) {
        int outcome = tls_outcome(l->ssl, SSL_write_ex(l->ssl, bytes.p, bytes.n, put), direction);
        return outcome > 0 ? LINK_OK : outcome < 0 ? LINK_GONE : LINK_AGAIN;
    }
    ssize_t n = send(l->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        *put = (size_t)n;
        return LINK_OK;
    }
    return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_GONE;
}

/* After a stop the peer gets this long for the rest of what was begun, so that a close frame can follow. */
enum { STOP_MS = 300 };

bool link_write(struct link *l, struct bl_str bytes, int stall_ms) {
    while (bytes.n) {
        size_t put = 0;
        short direction;
        enum link_result result = write_some(l, bytes, &put, &direction);
        if (result == LINK_GONE) return false;
        bytes = bl_str_skip(bytes, put);
        if (result == LINK_OK) continue;
        int got = wait_for(l, direction, stall_ms);
        if (got == LINK_STOPPED) {
            struct pollfd p = {.fd = l->fd, .events = direction};
            if (poll(&p, 1, STOP_MS) <= 0) return false;
        } else if (!got) {
            return false;
        }
    }
    return true;
}

void link_reset(struct link *l) {
    struct linger at_once = {.l_onoff = 1};
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void link_linger(struct link *l, bool politely, int timeout_ms) {
    if (l->ssl && politely) SSL_shutdown(l->ssl);
    ERR_clear_error();
    shutdown(l->fd, SHUT_WR);
    int64_t deadline = bl_mono_ns() + timeout_ms * (int64_t)1000000;
    char waste[4096];
    for (;;) {
        int64_t left_ms = (deadline - bl_mono_ns()) / 1000000;
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (left_ms <= 0 || poll(&p, 1, (int)left_ms) <= 0) return;
        ssize_t n = recv(l->fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;
    }
}

void link_close(struct link *l) {
    SSL_free(l->ssl);
    l->ssl = NULL;
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
}
