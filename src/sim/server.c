#include "sim/serving.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "obs/log.h"

enum { PING_MS = 30000, DICTIONARY_MAX = 16 << 20, PACK_LEVEL = 3, REAP_MS = 1000 };

static void *listen_main(void *context) {
    struct sim_server *s = context;
    for (;;) {
        struct pollfd p[2] = {{.fd = s->listen_fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
        poll(p, 2, s->clients ? REAP_MS : -1);
        if (p[1].revents) break;
        s->clients = client_reap(s->clients, false);
        if (!p[0].revents) continue;
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            s->clients = client_start(s, fd, s->clients);
        else if (errno == EMFILE || errno == ENFILE)
            poll(p + 1, 1, 100); /* until a client ends */
    }
    s->clients = client_reap(s->clients, true);
    return NULL;
}

static enum bl_rc open_listener(struct sim_server *s, const struct sim_server_options *o, struct bl_error *err) {
    const char *address = o->address ? o->address : "127.0.0.1";
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)o->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
        return bl_fail(err, BL_E_USAGE, "\"%s\" is not an IP address to listen on: use 127.0.0.1, 0.0.0.0 or ::1",
                       address);
    struct sockaddr *name = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t length = is_six ? sizeof six : sizeof four;
    s->listen_fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0) return bl_fail_errno(err, BL_E_IO, "cannot make a socket");
    int on = 1;
    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s->listen_fd, name, length) != 0 || listen(s->listen_fd, SOMAXCONN) != 0)
        return bl_fail_errno(err, BL_E_IO, "cannot listen on %s port %d: choose another port or 0 for a free one",
                             address, o->port);
    if (getsockname(s->listen_fd, name, &length) != 0) return bl_fail_errno(err, BL_E_IO, "cannot tell the port");
    s->port = ntohs(is_six ? six.sin6_port : four.sin_port);
    return BL_OK;
}

static enum bl_rc open_dictionary(struct sim_server *s, const char *path, struct bl_error *err) {
    BL_TRY(bl_read_file(path, DICTIONARY_MAX, &s->dictionary, err));
    s->dictionary_id = ZSTD_getDictID_fromDict(s->dictionary.p, s->dictionary.n);
    if (!s->dictionary_id)
        return bl_fail(err, BL_E_INVALID, "%s is not a zstd dictionary: make one with zstd --train", path);
    s->packing = ZSTD_createCDict(s->dictionary.p, s->dictionary.n, PACK_LEVEL);
    return s->packing ? BL_OK : bl_fail(err, BL_E_INVALID, "%s is not a usable zstd dictionary", path);
}

static void release(struct sim_server *s) {
    if (s->listen_fd >= 0) close(s->listen_fd);
    if (s->stop_fd >= 0) close(s->stop_fd);
    ZSTD_freeCDict(s->packing);
    bl_buf_release(&s->dictionary);
    link_tls_free(&s->tls);
    feed_release(&s->feed);
    free(s);
}

static enum bl_rc open_all(struct sim_server *s, const struct sim_server_options *o, struct bl_error *err) {
    if (o->misbehave) BL_TRY(misbehave_parse(o->misbehave, &s->faults, err));
    if (o->dictionary_file) BL_TRY(open_dictionary(s, o->dictionary_file, err));
    if (o->tls_cert_file) BL_TRY(link_tls(o->tls_cert_file, o->tls_key_file, &s->tls, err));
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_fd < 0) return bl_fail_errno(err, BL_E_IO, "cannot make an eventfd");
    BL_TRY(open_listener(s, o, err));
    BL_TRY(feed_open(&s->feed, o, err)); /* last: the pace starts here */
    s->feed.segment = s->faults.every[FAULT_EARLY];
    s->feed.seq_step = s->faults.every[FAULT_SYNC] ? 2 : 1;
    if (pthread_create(&s->thread, NULL, listen_main, s) != 0) return bl_fail(err, BL_E_NOMEM, "cannot start a thread");
    return BL_OK;
}

enum bl_rc sim_server_start(const struct sim_server_options *o, struct sim_server **out, struct bl_error *err) {
    struct sim_server *s = bl_xcalloc(1, sizeof *s);
    s->listen_fd = s->stop_fd = -1;
    s->ping_ms = o->ping_ms > 0 ? o->ping_ms : PING_MS;
    s->v2 = o->v2;
    enum bl_rc rc = open_all(s, o, err);
    if (rc == BL_OK)
        *out = s;
    else
        release(s);
    return rc;
}

int sim_server_port(const struct sim_server *s) {
    return s->port;
}

void sim_server_get_stats(struct sim_server *s, struct sim_server_stats *out) {
    *out = (struct sim_server_stats){.connections = atomic_load(&s->connections),
                                     .clients_now = atomic_load(&s->clients_now),
                                     .events_sent = atomic_load(&s->events),
                                     .bytes_sent = atomic_load(&s->bytes),
                                     .next_event = feed_existing(&s->feed)};
}

/* Faults that whoever reads the stream cannot see: what they prove about him rests on these lines. */
static void tell_faults(struct sim_server *s) {
    uint64_t swapped = atomic_load(&s->swapped), fragmented = atomic_load(&s->fragmented);
    if (swapped) bl_log(BL_INFO, "%" PRIu64 " events were sent after their successor", swapped);
    if (fragmented) bl_log(BL_INFO, "%" PRIu64 " messages were sent in fragments", fragmented);
}

void sim_server_stop(struct sim_server **s) {
    if (!*s) return;
    uint64_t one = 1;
    BL_ASSERT(write((*s)->stop_fd, &one, sizeof one) == sizeof one);
    pthread_join((*s)->thread, NULL);
    tell_faults(*s);
    release(*s);
    *s = NULL;
}
