#include "peer.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct peer {
    int listen_fd, stop_fd, port;
    pthread_t thread;
    peer_script *script;
    void *context;
    const char *cert_file, *key_file;
};

static void serve(struct peer *p, int fd, int index) {
    struct peer_connection *c = bl_xcalloc(1, sizeof *c);
    c->index = index;
    bool ready = true;
    if (p->cert_file)
        ready = stream_accept_tls(fd, p->stop_fd, p->cert_file, p->key_file, PEER_PATIENCE_MS, &c->stream, NULL) == BL_OK;
    else
        c->stream = stream_of_fd(fd, p->stop_fd);
    ws_parser_init(&c->parser, true, 0);
    if (ready) p->script(c, p->context);
    stream_close(&c->stream);
    ws_parser_release(&c->parser);
    bl_buf_release(&c->in);
    bl_buf_release(&c->out);
    free(c);
}

static void *peer_main(void *argument) {
    struct peer *p = argument;
    for (int index = 0;; index++) {
        struct pollfd fds[2] = {{.fd = p->listen_fd, .events = POLLIN}, {.fd = p->stop_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0) continue;
        if (fds[1].revents) return NULL;
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) serve(p, fd, index);
    }
}

struct peer *peer_start_tls(peer_script *script, void *context, const char *cert_file, const char *key_file) {
    struct peer *p = bl_xcalloc(1, sizeof *p);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *p = (struct peer){.script = script, .context = context, .cert_file = cert_file, .key_file = key_file};
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BL_ASSERT(bind(p->listen_fd, (struct sockaddr *)&address, length) == 0 && listen(p->listen_fd, 16) == 0);
    BL_ASSERT(getsockname(p->listen_fd, (struct sockaddr *)&address, &length) == 0);
    p->port = ntohs(address.sin_port);
    BL_ASSERT(pthread_create(&p->thread, NULL, peer_main, p) == 0);
    return p;
}

struct peer *peer_start(peer_script *script, void *context) { return peer_start_tls(script, context, NULL, NULL); }

int peer_port(const struct peer *p) { return p->port; }

void peer_stop(struct peer **peer) {
    struct peer *p = *peer;
    if (!p) return;
    BL_ASSERT(eventfd_write(p->stop_fd, 1) == 0);
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    close(p->stop_fd);
    free(p);
    *peer = NULL;
}

bool peer_read_request(struct peer_connection *c) {
    size_t n = 0, got = 1;
    while (n + 1 < sizeof c->request && !strstr(c->request, "\r\n\r\n")) {
        if (stream_read(c->stream, c->request + n, sizeof c->request - 1 - n, PEER_PATIENCE_MS, &got, NULL) != BL_OK || !got)
            return false;
        n += got;
        c->request[n] = 0;
    }
    return true;
}

void peer_send(struct peer_connection *c, struct bl_str bytes) {
    BL_IGNORE(stream_write_all(c->stream, bytes, PEER_PATIENCE_MS, NULL)); /* a client that left is what some tests want */
}
void peer_send_z(struct peer_connection *c, const char *text) { peer_send(c, bl_str(text)); }

bool peer_upgrade(struct peer_connection *c, const char *extra) {
    if (!peer_read_request(c)) return false;
    const char *key = strstr(c->request, "Sec-WebSocket-Key: ");
    char accept[29];
    if (!key) return false;
    ws_accept_of_key(bl_strn(key + 19, 24), accept);
    bl_buf_clear(&c->out);
    bl_buf_printf(&c->out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %s\r\n%s\r\n", accept, extra);
    peer_send(c, bl_buf_view(&c->out));
    return true;
}

void peer_frame(struct peer_connection *c, enum ws_op op, struct bl_str data) {
    bl_buf_clear(&c->out);
    ws_frame(&c->out, op, data, false, 0);
    peer_send(c, bl_buf_view(&c->out));
}

void peer_close_frame(struct peer_connection *c, unsigned code, const char *reason) {
    bl_buf_clear(&c->out);
    ws_close_frame(&c->out, code, bl_str(reason), false, 0);
    peer_send(c, bl_buf_view(&c->out));
}

bool peer_receive(struct peer_connection *c, struct ws_message *out) {
    for (;;) {
        int got = ws_next(&c->parser, out, NULL);
        if (got != 0) return got == 1;
        size_t done = ws_consumed(&c->parser), n = 0;
        c->in.n -= done;
        if (c->in.n) memmove(c->in.p, c->in.p + done, c->in.n);
        if (!bl_buf_reserve(&c->in, 65536)) return false;
        if (stream_read(c->stream, c->in.p + c->in.n, 65536, PEER_PATIENCE_MS, &n, NULL) != BL_OK || n == 0) return false;
        c->in.n += n;
        ws_feed(&c->parser, c->in.p, c->in.n);
    }
}

void peer_wait_gone(struct peer_connection *c) {
    struct ws_message m;
    while (peer_receive(c, &m)) {
    }
}

bool peer_wait(struct peer_connection *c, int ms) {
    char waste[256];
    int64_t end = bl_mono_ns() + ms * INT64_C(1000000);
    for (;;) {
        size_t got = 0;
        int64_t left_ms = (end - bl_mono_ns()) / 1000000;
        enum bl_rc rc = stream_read(c->stream, waste, sizeof waste, (int)left_ms, &got, NULL);
        if (rc == BL_E_TIMEOUT || (got && left_ms <= 0)) return true;
        if (rc != BL_OK || got == 0) return false;
    }
}
