#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    CONNECT_TIMEOUT_DEFAULT_MS = 10000,
    CLOSE_PATIENCE_MS = 100,
    CLOSE_DRAIN_MAX = 1 << 20,
    TLS_READ_AHEAD = 64 << 10,
};

struct stream {
    int fd, wake_fd;
    SSL *ssl; /* NULL for plain TCP */
    char peer[INET6_ADDRSTRLEN + 16];
};

static int64_t deadline_in(int timeout_ms) {
    return bl_mono_ns() + (timeout_ms > 0 ? timeout_ms : 0) * 1000000LL;
}

static int ms_until(int64_t deadline_ns) {
    int64_t left = deadline_ns - bl_mono_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
}

/* Wait until `fd` is ready for `events`. A readable `wake_fd` goes first, so that a busy peer cannot hold up a stop. */
static enum bl_rc wait_ready(int fd, short events, int wake_fd, int64_t deadline_ns, struct bl_error *err) {
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = wake_fd, .events = POLLIN}};
        int n = poll(fds, 2, ms_until(deadline_ns));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bl_fail_errno(err, BL_E_NET, "poll");
        if (fds[1].revents) return bl_fail(err, BL_E_CANCELLED, "asked to stop while waiting for the network");
        if (fds[0].revents) return BL_OK;
        if (ms_until(deadline_ns) == 0) return bl_fail(err, BL_E_TIMEOUT, "the network did not answer in time");
    }
}

/* ---- name resolution: getaddrinfo cannot be interrupted, so a helper thread waits for it ---- */

struct lookup {
    atomic_int owners; /* caller and thread; the last one frees */
    atomic_bool done;  /* publishes result and list */
    int done_fd, result;
    struct addrinfo *list;
    char host[256], service[8];
};

static void lookup_unref(struct lookup *l) {
    if (atomic_fetch_sub(&l->owners, 1) != 1) return;
    if (l->list) freeaddrinfo(l->list);
    close(l->done_fd);
    free(l);
}

static void *lookup_main(void *argument) {
    struct lookup *l = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    l->result = getaddrinfo(l->host, l->service, &hints, &l->list);
    atomic_store(&l->done, true);
    if (eventfd_write(l->done_fd, 1) != 0) { /* cannot fail: the counter is zero */
    }
    lookup_unref(l);
    return NULL;
}

/* Signals belong to the threads that expect them. */
static int start_detached(void *(*function)(void *), void *argument) {
    sigset_t all, old;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failure = pthread_create(&thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!failure) pthread_detach(thread);
    return failure;
}

static enum bl_rc lookup_by_thread(const char *host, const char *service, int wake_fd, int64_t deadline_ns,
                                   struct addrinfo **out, struct bl_error *err) {
    int done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (done_fd < 0) return bl_fail_errno(err, BL_E_NET, "eventfd");
    struct lookup *l = bl_xcalloc(1, sizeof *l);
    l->done_fd = done_fd;
    atomic_init(&l->owners, 2);
    snprintf(l->host, sizeof l->host, "%s", host);
    snprintf(l->service, sizeof l->service, "%s", service);
    enum bl_rc rc;
    int failure = start_detached(lookup_main, l);
    if (failure) {
        errno = failure;
        rc = bl_fail_errno(err, BL_E_NET, "cannot start a thread to resolve %s", host);
        lookup_unref(l);
    } else {
        rc = wait_ready(done_fd, POLLIN, wake_fd, deadline_ns, err);
        if (rc == BL_E_TIMEOUT) rc = bl_fail(err, BL_E_TIMEOUT, "resolving %s took too long: check DNS", host);
    }
    if (rc == BL_OK) BL_ASSERT(atomic_load(&l->done));
    if (rc == BL_OK && l->result != 0) {
        rc = bl_fail(err, BL_E_NET, "cannot resolve %s: %s", host, gai_strerror(l->result));
    } else if (rc == BL_OK) {
        *out = l->list;
        l->list = NULL;
    }
    lookup_unref(l);
    return rc;
}

static enum bl_rc resolve(const struct stream_options *o, int64_t deadline_ns, struct addrinfo **out,
                          struct bl_error *err) {
    char service[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    snprintf(service, sizeof service, "%d", o->port);
    if (getaddrinfo(o->host, service, &hints, out) == 0) return BL_OK;
    return lookup_by_thread(o->host, service, o->wake_fd, deadline_ns, out, err);
}

/* ---- TCP ---- */

static void name_peer(const struct sockaddr *address, socklen_t length, char *out, size_t size) {
    char host[INET6_ADDRSTRLEN + 2], port[8];
    if (getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, size, "?");
    else
        snprintf(out, size, address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void set_options(int fd, int receive_buffer_bytes) {
    int on = 1; /* none of these is essential: a refusal is of no consequence */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (receive_buffer_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
}

static enum bl_rc connect_address(const struct stream_options *o, const struct addrinfo *a, int64_t deadline_ns,
                                  struct stream *s, struct bl_error *err) {
    name_peer(a->ai_addr, a->ai_addrlen, s->peer, sizeof s->peer);
    BL_CLEANUP(close_fd) int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return bl_fail_errno(err, BL_E_NET, "socket");
    set_options(fd, o->receive_buffer_bytes);
    int failure = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS || failure == EINTR) {
        enum bl_rc rc = wait_ready(fd, POLLOUT, o->wake_fd, deadline_ns, err);
        if (rc == BL_E_TIMEOUT) return bl_fail(err, BL_E_TIMEOUT, "%s does not answer", s->peer);
        BL_TRY(rc);
        socklen_t size = sizeof failure;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    }
    if (failure) {
        errno = failure;
        return bl_fail_errno(err, BL_E_NET, "cannot connect to %s", s->peer);
    }
    s->fd = fd;
    fd = -1;
    return BL_OK;
}

/* One address after the other; each gets its share of the time left, so that a silent one cannot use it all up. */
static enum bl_rc connect_any(const struct stream_options *o, int64_t deadline_ns, struct stream *s,
                              struct bl_error *err) {
    struct addrinfo *list = NULL;
    BL_TRY(resolve(o, deadline_ns, &list, err));
    int left = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next) left++;
    enum bl_rc rc = bl_fail(err, BL_E_NET, "%s has no address", o->host);
    for (const struct addrinfo *a = list; a; a = a->ai_next, left--) {
        int64_t share_ns = (deadline_ns - bl_mono_ns()) / left;
        rc = connect_address(o, a, bl_mono_ns() + share_ns, s, err);
        if (rc == BL_OK || rc == BL_E_CANCELLED) break;
    }
    freeaddrinfo(list);
    return rc;
}

/* ---- TLS ----
 * OpenSSL's own socket BIO writes with write(2), which raises SIGPIPE on a closed connection. This one uses send(2)
 * with MSG_NOSIGNAL, so that no signal disposition of the process has to change. */

static int bio_result(BIO *b, ssize_t n, int retry_flag) {
    BIO_clear_retry_flags(b);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_flags(b, retry_flag | BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

static int bio_fd(BIO *b) {
    return ((struct stream *)BIO_get_data(b))->fd;
}

static int bio_write(BIO *b, const char *p, int n) {
    return bio_result(b, send(bio_fd(b), p, (size_t)n, MSG_NOSIGNAL), BIO_FLAGS_WRITE);
}

static int bio_read(BIO *b, char *p, int n) {
    ssize_t got = recv(bio_fd(b), p, (size_t)n, 0);
    if (got == 0) BIO_set_flags(b, BIO_FLAGS_IN_EOF);
    return bio_result(b, got, BIO_FLAGS_READ);
}

static long bio_control(BIO *b, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF) return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static void make_bio_method(void) {
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bluelake socket");
    BL_ASSERT(bio_method && BIO_meth_set_write(bio_method, bio_write) && BIO_meth_set_read(bio_method, bio_read) &&
              BIO_meth_set_ctrl(bio_method, bio_control));
}

static void attach_socket(struct stream *s) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    BIO *bio = BIO_new(bio_method);
    BL_ASSERT(bio);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
}

static void release_context(SSL_CTX **context) {
    SSL_CTX_free(*context);
}

static enum bl_rc tls_fail(struct bl_error *err, enum bl_rc code, const char *what) {
    char text[256] = "no details";
    unsigned long first = ERR_get_error();
    if (first) ERR_error_string_n(first, text, sizeof text);
    ERR_clear_error();
    return bl_fail(err, code, "%s: %s", what, text);
}

static SSL_CTX *new_context(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    BL_ASSERT(context);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, TLS_READ_AHEAD);
    return context;
}

/* The name to verify: an IP address must be among the certificate's IP SANs, a name among its DNS names. */
static bool expect_name(SSL *ssl, const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static enum bl_rc explain_tls_failure(const struct stream *s, const char *host, int kind, struct bl_error *err) {
    long verdict = SSL_get_verify_result(s->ssl);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return bl_fail(
            err, BL_E_NET,
            "the certificate of %s (%s) is refused: %s; check the host name, or name its authority in source.ca_file",
            host, s->peer, X509_verify_cert_error_string(verdict));
    }
    if (kind == SSL_ERROR_SYSCALL && ERR_peek_error() == 0)
        return bl_fail(err, BL_E_NET, "%s (%s) cut the connection during the TLS handshake", host, s->peer);
    enum bl_rc rc = tls_fail(err, BL_E_NET, "TLS handshake");
    return bl_err_prefix(err, rc, "%s (%s)", host, s->peer);
}

/* Which readiness OpenSSL waits for, 0 when it failed. */
static short wanted_events(int kind) {
    return kind == SSL_ERROR_WANT_READ ? POLLIN : kind == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

static enum bl_rc shake_hands(struct stream *s, const char *host, int64_t deadline_ns, struct bl_error *err) {
    for (;;) {
        ERR_clear_error();
        int result = SSL_do_handshake(s->ssl);
        if (result == 1) return BL_OK;
        int kind = SSL_get_error(s->ssl, result);
        short events = wanted_events(kind);
        if (!events) return explain_tls_failure(s, host, kind, err);
        enum bl_rc rc = wait_ready(s->fd, events, s->wake_fd, deadline_ns, err);
        if (rc == BL_E_TIMEOUT) return bl_fail(err, rc, "%s (%s): TLS handshake takes too long", host, s->peer);
        BL_TRY(rc);
    }
}

static enum bl_rc start_tls(struct stream *s, const struct stream_options *o, int64_t deadline_ns,
                            struct bl_error *err) {
    BL_CLEANUP(release_context) SSL_CTX *context = new_context(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    ERR_clear_error();
    if (o->ca_file && SSL_CTX_load_verify_locations(context, o->ca_file, NULL) != 1) {
        enum bl_rc rc = tls_fail(err, BL_E_USAGE, "cannot read CA certificates");
        return bl_err_prefix(err, rc, "%s", o->ca_file);
    }
    if (!o->ca_file && SSL_CTX_set_default_verify_paths(context) != 1)
        return tls_fail(err, BL_E_USAGE, "the system's trust store cannot be read: install ca-certificates");
    s->ssl = SSL_new(context);
    BL_ASSERT(s->ssl);
    attach_socket(s);
    SSL_set_connect_state(s->ssl);
    if (!expect_name(s->ssl, o->host)) return tls_fail(err, BL_E_USAGE, "the host name cannot be verified");
    return shake_hands(s, o->host, deadline_ns, err);
}

/* ---- the contract ---- */

static void discard(struct stream **s) {
    if (!*s) return;
    SSL_free((*s)->ssl);
    close_fd(&(*s)->fd);
    free(*s);
    *s = NULL;
}

enum bl_rc stream_connect(const struct stream_options *o, struct stream **out, struct bl_error *err) {
    int64_t deadline_ns = deadline_in(o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_DEFAULT_MS);
    BL_CLEANUP(discard) struct stream *s = bl_xcalloc(1, sizeof *s);
    s->fd = -1;
    s->wake_fd = o->wake_fd;
    BL_TRY(connect_any(o, deadline_ns, s, err));
    if (o->tls) BL_TRY(start_tls(s, o, deadline_ns, err));
    *out = s;
    s = NULL;
    return BL_OK;
}

struct stream *stream_of_fd(int fd, int wake_fd) {
    struct stream *s = bl_xcalloc(1, sizeof *s);
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    s->fd = fd;
    s->wake_fd = wake_fd;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    set_options(fd, 0);
    if (getpeername(fd, (struct sockaddr *)&address, &length) == 0)
        name_peer((struct sockaddr *)&address, length, s->peer, sizeof s->peer);
    return s;
}

enum bl_rc stream_accept_tls(int fd, int wake_fd, const char *cert_file, const char *key_file, int timeout_ms,
                             struct stream **out, struct bl_error *err) {
    BL_CLEANUP(discard) struct stream *s = stream_of_fd(fd, wake_fd);
    BL_CLEANUP(release_context) SSL_CTX *context = new_context(TLS_server_method());
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        return bl_err_prefix(err, tls_fail(err, BL_E_USAGE, "cannot use the certificate"), "%s", cert_file);
    if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
        return bl_err_prefix(err, tls_fail(err, BL_E_USAGE, "cannot use the private key"), "%s", key_file);
    s->ssl = SSL_new(context);
    BL_ASSERT(s->ssl);
    attach_socket(s);
    SSL_set_accept_state(s->ssl);
    BL_TRY(shake_hands(s, "client", deadline_in(timeout_ms), err));
    *out = s;
    s = NULL;
    return BL_OK;
}

/* What OpenSSL has already taken from the socket is handed over too: no poll would report it. */
static enum bl_rc tls_read_once(struct stream *s, char *p, size_t capacity, size_t *got, short *events,
                                struct bl_error *err) {
    size_t total = 0, n = 0;
    int ok;
    ERR_clear_error();
    do {
        ok = SSL_read_ex(s->ssl, p + total, capacity - total, &n);
        if (ok) total += n;
    } while (ok && total < capacity && SSL_has_pending(s->ssl));
    *got = total;
    *events = 0;
    if (total) return BL_OK;
    int kind = SSL_get_error(s->ssl, ok);
    if (kind == SSL_ERROR_ZERO_RETURN) return BL_OK;
    *events = wanted_events(kind);
    if (*events) return BL_OK;
    if (kind == SSL_ERROR_SYSCALL && errno) return bl_fail_errno(err, BL_E_NET, "reading from %s", s->peer);
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return bl_fail(err, BL_E_NET, "%s cut the connection", s->peer);
    }
    enum bl_rc rc = tls_fail(err, BL_E_NET, "TLS");
    return bl_err_prefix(err, rc, "reading from %s", s->peer);
}

static enum bl_rc plain_read_once(struct stream *s, char *p, size_t capacity, size_t *got, short *events,
                                  struct bl_error *err) {
    ssize_t n = recv(s->fd, p, capacity, 0);
    *got = n > 0 ? (size_t)n : 0;
    *events = n < 0 ? POLLIN : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) return bl_fail_errno(err, BL_E_NET, "reading from %s", s->peer);
    return BL_OK;
}

enum bl_rc stream_read(struct stream *s, char *p, size_t capacity, int timeout_ms, size_t *got, struct bl_error *err) {
    int64_t deadline_ns = deadline_in(timeout_ms);
    for (;;) {
        size_t n;
        short events;
        BL_TRY(s->ssl ? tls_read_once(s, p, capacity, &n, &events, err)
                      : plain_read_once(s, p, capacity, &n, &events, err));
        if (!events) {
            *got = n;
            return BL_OK;
        }
        BL_TRY(wait_ready(s->fd, events, s->wake_fd, deadline_ns, err));
    }
}

static enum bl_rc tls_write_once(struct stream *s, struct bl_str bytes, size_t *sent, short *events,
                                 struct bl_error *err) {
    *sent = 0;
    *events = 0;
    ERR_clear_error();
    int ok = SSL_write_ex(s->ssl, bytes.p, bytes.n, sent);
    if (ok) return BL_OK;
    *sent = 0;
    int kind = SSL_get_error(s->ssl, ok);
    *events = wanted_events(kind);
    if (*events) return BL_OK;
    if (kind == SSL_ERROR_SYSCALL && errno) return bl_fail_errno(err, BL_E_NET, "writing to %s", s->peer);
    enum bl_rc rc = tls_fail(err, BL_E_NET, "TLS");
    return bl_err_prefix(err, rc, "writing to %s", s->peer);
}

static enum bl_rc plain_write_once(struct stream *s, struct bl_str bytes, size_t *sent, short *events,
                                   struct bl_error *err) {
    ssize_t n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    *sent = n > 0 ? (size_t)n : 0;
    *events = n < 0 ? POLLOUT : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) return bl_fail_errno(err, BL_E_NET, "writing to %s", s->peer);
    return BL_OK;
}

enum bl_rc stream_write_all(struct stream *s, struct bl_str bytes, int timeout_ms, struct bl_error *err) {
    int64_t deadline_ns = deadline_in(timeout_ms);
    while (bytes.n) {
        size_t sent;
        short events;
        BL_TRY(s->ssl ? tls_write_once(s, bytes, &sent, &events, err)
                      : plain_write_once(s, bytes, &sent, &events, err));
        bytes = bl_str_skip(bytes, sent);
        if (events) BL_TRY(wait_ready(s->fd, events, s->wake_fd, deadline_ns, err));
    }
    return BL_OK;
}

const char *stream_peer(const struct stream *s) {
    return s->peer;
}

/* Closing a socket with unread bytes resets the connection, which may destroy what was just sent: read them away first.
 */
static void drain(struct stream *s) {
    char waste[4096];
    int64_t deadline_ns = deadline_in(CLOSE_PATIENCE_MS);
    for (size_t total = 0; total < CLOSE_DRAIN_MAX;) {
        ssize_t n = recv(s->fd, waste, sizeof waste, 0);
        if (n > 0) total += (size_t)n;
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        if (n == 0 || (n < 0 && !again)) return;
        if (again && wait_ready(s->fd, POLLIN, s->wake_fd, deadline_ns, NULL) != BL_OK) return;
    }
}

void stream_close(struct stream **s) {
    if (!*s) return;
    ERR_clear_error();
    if ((*s)->ssl && SSL_is_init_finished((*s)->ssl)) SSL_shutdown((*s)->ssl);
    ERR_clear_error();
    if (shutdown((*s)->fd, SHUT_WR) == 0) drain(*s);
    discard(s);
}
