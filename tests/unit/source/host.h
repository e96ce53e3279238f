/* A Jetstream host for tests that does, connection by connection, what its plan says, and a source to read it. */
#pragma once
#include "expect.h"
#include "peer.h"
#include "source/source.h"

#include "base/io.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define T0 INT64_C(1760000000000000)
#define SECOND INT64_C(1000000)
enum { PLANS_MAX = 12, TICK_MS = 20 };

/* ---- a Jetstream host that does, connection by connection, what its plan says ---- */

enum ending { VANISH, CLOSE, HOLD, PING };
struct plan {
    const char *refusal; /* raw HTTP answer instead of a stream */
    int64_t first_us, step_us;
    int count;
    const struct bl_str *binary; /* frames sent as they are */
    int binary_count;
    bool hello; /* wait for options_update first */
    enum ending ending;
    unsigned close_code;
    const char *close_reason;
};
struct host {
    struct plan plans[PLANS_MAX];
    char targets[PLANS_MAX][8300]; /* request lines seen */
    struct bl_buf hello;
    atomic_int connections;
    struct peer *peer;
    char *url;
};

static inline void serve(struct peer_connection *c, void *context) {
    struct host *h = context;
    int index = c->index < PLANS_MAX ? c->index : PLANS_MAX - 1;
    const struct plan *p = &h->plans[index];
    struct ws_message m;
    if (p->refusal ? !peer_read_request(c) : !peer_upgrade(c, "")) return;
    snprintf(h->targets[index], sizeof h->targets[index], "%.*s", (int)strcspn(c->request, "\r"), c->request);
    atomic_fetch_add(&h->connections, 1);
    if (p->refusal) {
        peer_send_z(c, p->refusal);
        return;
    }
    if (p->hello && peer_receive(c, &m)) bl_buf_str(&h->hello, m.data);
    for (int i = 0; i < p->count; i++) {
        char json[200];
        snprintf(json, sizeof json, "{\"did\":\"did:plc:x\",\"time_us\":%lld,\"kind\":\"commit\"}",
                 (long long)(p->first_us + i * p->step_us));
        peer_frame(c, WS_TEXT, bl_str(json));
    }
    for (int i = 0; i < p->binary_count; i++) peer_frame(c, WS_BINARY, p->binary[i]);
    if (p->ending == CLOSE) peer_close_frame(c, p->close_code, p->close_reason);
    if (p->ending == HOLD) peer_wait_gone(c);
    while (p->ending == PING && peer_wait(c, 5)) peer_frame(c, WS_PING, BL_LIT("still here"));
}

static inline void start(struct host *h) {
    h->peer = peer_start(serve, h);
    h->url = bl_xasprintf("ws://127.0.0.1:%d", peer_port(h->peer));
}
static inline void stop(struct host *h) {
    peer_stop(&h->peer);
    free(h->url);
    bl_buf_release(&h->hello);
    free(h);
}
static inline struct host *new_host(void) {
    return bl_xcalloc(1, sizeof(struct host));
}

/* A clock that stands still until it is told. */
struct fake_clock {
    int64_t now_us;
};
static inline int64_t fake_wall(void *context) {
    return T0 + ((struct fake_clock *)context)->now_us;
}
static inline int64_t fake_mono(void *context) {
    return ((struct fake_clock *)context)->now_us * 1000;
}

static inline struct source *open_source(struct source_options o) {
    struct bl_error err = {0};
    struct source *s = NULL;
    if (!o.backoff_min_us) o.backoff_min_us = 1000;
    if (!o.backoff_max_us) o.backoff_max_us = 5000;
    o.seed = 1;
    EXPECT_OK(source_open(&o, &s, &err), &err);
    return s;
}
#define OPTIONS(host, ...)                                                                                             \
    ((struct source_options){.urls = (const char *const[]){(host)->url}, .url_count = 1, __VA_ARGS__})

/* The next message or final error; ticks do not count, but there is an end to patience. */
static inline enum bl_rc next(struct source *s, struct source_message *m, struct bl_error *err) {
    int64_t end = bl_mono_ns() + 10000000000;
    for (;;) {
        enum bl_rc rc = source_next(s, TICK_MS, m, err);
        if (rc != BL_E_TIMEOUT || bl_mono_ns() > end) return rc;
    }
}

static inline int64_t time_of(const struct source_message *m) {
    const char *at = memmem(m->json.p, m->json.n, "time_us\":", 9);
    return at ? strtoll(at + 9, NULL, 10) : -1;
}

static inline void take(struct source *s, int count, struct source_message *m) {
    struct bl_error err = {0};
    for (int i = 0; i < count; i++) EXPECT_OK(next(s, m, &err), &err);
}

static inline struct source_stats stats_of(struct source *s) {
    struct source_stats stats;
    source_get_stats(s, &stats);
    return stats;
}

static inline bool asked_for(struct host *h, int connection, const char *what) {
    return strstr(h->targets[connection], what) != NULL;
}
