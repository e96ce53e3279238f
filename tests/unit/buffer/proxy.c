#include "proxy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "expect.h"

enum { PAIRS_MAX = 32, CHUNK = 1 << 20, POLL_MS = 20, ANSWER_LIMIT_MS = 10000 };

struct pair {
    int client, upstream; /* -1: closed */
};
struct proxy {
    int listener;
    struct sockaddr_un upstream;
    pthread_t thread;
    atomic_int mode, count;
    atomic_bool stop;
    struct pair pairs[PAIRS_MAX];
    size_t pair_count;
    char chunk[CHUNK], held[CHUNK];
    size_t held_bytes;
    _Atomic int held_upstream;
};

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    return a;
}

static void close_pair(struct pair *p) {
    if (p->client >= 0) close(p->client);
    if (p->upstream >= 0) close(p->upstream);
    p->client = p->upstream = -1;
}

static bool send_all(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void misbehave(struct proxy *x, struct pair *p, size_t n) {
    switch ((enum proxy_mode)atomic_load(&x->mode)) {
    case PROXY_CUT_REPLY:
        if (send_all(p->upstream, x->chunk, n)) poll(&(struct pollfd){.fd = p->upstream, .events = POLLIN}, 1, ANSWER_LIMIT_MS);
        close_pair(p);
        break;
    case PROXY_HOLD:
        memcpy(x->held, x->chunk, n);
        x->held_bytes = n;
        atomic_store(&x->held_upstream, p->upstream);
        p->upstream = -1;
        break;
    case PROXY_CUT_REQUEST:
    case PROXY_PASS: close_pair(p); break;
    }
    atomic_store(&x->mode, PROXY_PASS);
    atomic_fetch_add(&x->count, 1);
}

static void from_client(struct proxy *x, struct pair *p) {
    static const char last[] = "EXEC\r\n";
    ssize_t n = recv(p->client, x->chunk, CHUNK, 0);
    if (n <= 0) {
        close_pair(p);
        return;
    }
    bool exec = (size_t)n >= sizeof last - 1 && memcmp(x->chunk + n - (sizeof last - 1), last, sizeof last - 1) == 0;
    if (exec && atomic_load(&x->mode) != PROXY_PASS)
        misbehave(x, p, (size_t)n);
    else if (p->upstream < 0 || !send_all(p->upstream, x->chunk, (size_t)n))
        close_pair(p);
}

static void from_upstream(struct proxy *x, struct pair *p) {
    ssize_t n = recv(p->upstream, x->chunk, CHUNK, 0);
    if (n <= 0 || !send_all(p->client, x->chunk, (size_t)n)) close_pair(p);
}

static void accept_client(struct proxy *x) {
    int client = accept(x->listener, NULL, NULL);
    int upstream = socket(AF_UNIX, SOCK_STREAM, 0);
    bool good = client >= 0 && x->pair_count < PAIRS_MAX &&
                connect(upstream, (struct sockaddr *)&x->upstream, sizeof x->upstream) == 0;
    struct pair p = {client, upstream};
    if (good)
        x->pairs[x->pair_count++] = p;
    else
        close_pair(&p);
}

static void *run(void *context) {
    struct proxy *x = context;
    while (!atomic_load(&x->stop)) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = x->listener, .events = POLLIN}};
        size_t pairs = x->pair_count;
        for (size_t i = 0; i < pairs; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = x->pairs[i].client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = x->pairs[i].upstream, .events = POLLIN};
        }
        if (poll(fds, (nfds_t)(1 + 2 * pairs), POLL_MS) <= 0) continue;
        for (size_t i = 0; i < pairs; i++) {
            if (fds[1 + 2 * i].revents && x->pairs[i].client >= 0) from_client(x, &x->pairs[i]);
            if (fds[2 + 2 * i].revents && x->pairs[i].upstream >= 0) from_upstream(x, &x->pairs[i]);
        }
        if (fds[0].revents) accept_client(x);
    }
    return NULL;
}

struct proxy *proxy_start(const char *listen_path, const char *upstream_path) {
    struct proxy *x = bl_xcalloc(1, sizeof *x);
    x->upstream = address_of(upstream_path);
    atomic_store(&x->held_upstream, -1);
    struct sockaddr_un own = address_of(listen_path);
    x->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT(x->listener >= 0);
    EXPECT(bind(x->listener, (struct sockaddr *)&own, sizeof own) == 0);
    EXPECT(listen(x->listener, 16) == 0);
    EXPECT(pthread_create(&x->thread, NULL, run, x) == 0);
    return x;
}

void proxy_next(struct proxy *x, enum proxy_mode mode) { atomic_store(&x->mode, mode); }
int proxy_count(struct proxy *x) { return atomic_load(&x->count); }

bool proxy_release(struct proxy *x) {
    int fd = atomic_exchange(&x->held_upstream, -1);
    if (fd < 0) return false;
    char answer[256];
    bool taken = send_all(fd, x->held, x->held_bytes) &&
                 poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ANSWER_LIMIT_MS) == 1 &&
                 recv(fd, answer, sizeof answer, 0) > 0;
    close(fd);
    return taken;
}

void proxy_stop(struct proxy **p) {
    struct proxy *x = *p;
    atomic_store(&x->stop, true);
    pthread_join(x->thread, NULL);
    for (size_t i = 0; i < x->pair_count; i++) close_pair(&x->pairs[i]);
    int held = atomic_load(&x->held_upstream);
    if (held >= 0) close(held);
    close(x->listener);
    free(x);
    *p = NULL;
}
