/* client: one connection. Its thread alternates between listening, filling a buffer with frames and writing it. */
#include "sim/serving.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"

enum {
    HEAD_MAX = 1 << 20,
    MESSAGE_MAX = 10000000, /* of a client, as Jetstream has it; larger ones are ignored */
    BATCH_BYTES = 128 << 10,
    STALL_MS = 5000, /* without progress in writing, or without a pong */
    LINGER_MS = 1000,
    NAP_MS = 2,      /* events due within this are sent together */
};

enum mood { SERVING, AWAITING_HELLO, SILENT, ENDED };

struct client {
    struct sim_server *server;
    struct link link;
    pthread_t thread;
    atomic_bool finished;
    struct client *next_client;
    struct request request;
    struct sim *sim;
    ZSTD_CCtx *packer;
    struct ws_parser parser;
    struct bl_buf in, out, event, held, extra, packed;
    enum mood mood;
    uint64_t next;
    int64_t ping_ns, pong_ns; /* when to ping next; by when a pong must come, 0: none awaited */
};

/* ---- handshake ---- */

static bool read_head(struct client *c, size_t *head_n) {
    int64_t deadline = bl_mono_ns() + STALL_MS * (int64_t)1000000;
    for (;;) {
        const char *end = c->in.n ? memmem(c->in.p, c->in.n, "\r\n\r\n", 4) : NULL;
        if (end) {
            *head_n = (size_t)(end - c->in.p) + 4;
            return true;
        }
        size_t got;
        if (!bl_buf_reserve(&c->in, 16384)) return false;
        enum link_result result = link_read(&c->link, c->in.p + c->in.n, 16384, &got);
        if (result == LINK_GONE) return false;
        if (result == LINK_OK) {
            c->in.n += got;
            continue;
        }
        int64_t left_ms = (deadline - bl_mono_ns()) / 1000000;
        if (left_ms <= 0 || link_wait(&c->link, (int)left_ms) != LINK_READABLE) return false;
    }
}

static void send_refusal(struct client *c, const struct refusal *r) {
    bl_buf_clear(&c->out);
    request_refuse(&c->out, r);
    if (link_write(&c->link, bl_buf_view(&c->out), STALL_MS)) link_linger(&c->link, true, LINGER_MS);
}

static struct refusal answer_to(struct client *c, size_t head_n) {
    if (atomic_fetch_add(&c->server->requests, 1) < c->server->faults.every[FAULT_HTTP_503])
        return (struct refusal){503, "service not ready"};
    return request_parse(bl_strn(c->in.p, head_n), c->server->packing != NULL, &c->request);
}

static bool shake_hands(struct client *c) {
    size_t head_n;
    c->in.max = HEAD_MAX;
    if (!link_accept(&c->link, c->server->tls, STALL_MS)) return false;
    if (!read_head(c, &head_n)) {
        if (c->in.failed) send_refusal(c, &(struct refusal){431, "request header too large"});
        return false;
    }
    struct refusal r = answer_to(c, head_n);
    if (r.status != 101) {
        send_refusal(c, &r);
        return false;
    }
    char accept[29];
    ws_accept_of_key(bl_str(c->request.key), accept);
    bl_buf_clear(&c->out);
    bl_buf_printf(&c->out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %.28s\r\nServer: bluelake-simulator\r\n\r\n", accept);
    /* What came after the head are frames already. */
    memmove(c->in.p, c->in.p + head_n, c->in.n - head_n);
    c->in.n -= head_n;
    return true;
}

/* ---- sending ---- */

static void add_frame(struct client *c, enum ws_op op, struct bl_str data) { ws_frame(&c->out, op, data, false, 0); }

static void add_message(struct client *c, struct bl_str json) {
    if (!c->request.zstd) {
        add_frame(c, WS_TEXT, json);
        return;
    }
    size_t bound = ZSTD_compressBound(json.n);
    bl_buf_clear(&c->packed);
    BL_ASSERT(bl_buf_reserve(&c->packed, bound));
    size_t n = ZSTD_compress_usingCDict(c->packer, c->packed.p, bound, json.p, json.n, c->server->packing);
    BL_ASSERT(!ZSTD_isError(n));
    add_frame(c, WS_BINARY, bl_strn(c->packed.p, n));
}

static bool flush(struct client *c) {
    BL_ASSERT(!c->out.failed);
    size_t n = c->out.n;
    bool sent = link_write(&c->link, bl_buf_view(&c->out), STALL_MS);
    if (sent) atomic_fetch_add(&c->server->bytes, n);
    bl_buf_clear(&c->out);
    return sent;
}

static void end_with(struct client *c, unsigned code, const char *reason) {
    ws_close_frame(&c->out, code, bl_str(reason), false, 0);
    if (flush(c)) link_linger(&c->link, true, LINGER_MS);
    c->mood = ENDED;
}

static void cut(struct client *c, size_t keep) {
    c->out.n = keep;
    if (flush(c)) link_linger(&c->link, false, LINGER_MS);
    c->mood = ENDED;
}

/* An event counts as served when its frame is complete. */
static void serve(struct client *c, struct bl_str json) {
    const struct misbehaviour *m = &c->server->faults;
    uint64_t n = atomic_fetch_add(&c->server->events, 1) + 1;
    size_t before = c->out.n;
    add_message(c, json);
    if (misbehave_at(m, FAULT_HALF_FRAME, n)) {
        cut(c, before + (c->out.n - before) / 2);
        return;
    }
    if (misbehave_at(m, FAULT_DUPLICATE, n)) add_message(c, json);
    for (enum fault f = FAULT_POISON; f <= FAULT_BIG_NUMBER; f++) {
        if (!misbehave_at(m, f, n)) continue;
        misbehave_message(f, feed_time(&c->server->feed, c->sim, c->next - 1), &c->extra);
        add_message(c, bl_buf_view(&c->extra));
    }
    if (misbehave_at(m, FAULT_CUT, n)) cut(c, c->out.n);
    else if (misbehave_at(m, FAULT_CLOSE, n)) end_with(c, 1001, "server shutting down");
    else if (misbehave_at(m, FAULT_STALL, n)) c->mood = SILENT;
}

static void serve_held(struct client *c) {
    if (!c->held.n || c->mood != SERVING) return;
    serve(c, bl_buf_view(&c->held));
    bl_buf_clear(&c->held);
}

static void serve_or_hold(struct client *c, struct bl_str json) {
    uint64_t upcoming = atomic_load(&c->server->events) + 1;
    if (!c->held.n && misbehave_at(&c->server->faults, FAULT_SWAP, upcoming)) {
        bl_buf_str(&c->held, json);
        return;
    }
    serve(c, json);
    serve_held(c);
}

/* Fill the buffer with what exists; stops early from time to time, so that pings are answered under any filter. */
static void fill(struct client *c) {
    enum { LOOKED_AT_MAX = 4096 };
    uint64_t existing = feed_existing(&c->server->feed);
    for (int looked = 0; c->next < existing && c->out.n < BATCH_BYTES && looked < LOOKED_AT_MAX; looked++) {
        struct feed_event e = feed_get(&c->server->feed, c->sim, c->next, &c->event);
        c->next++;
        if (filter_wants(&c->request.filter, &e)) serve_or_hold(c, e.json);
        if (c->mood != SERVING) return;
    }
    if (c->next >= existing) serve_held(c);
}

/* ---- listening ---- */

static void update_options(struct client *c, struct bl_str message) {
    struct bl_error err = {0};
    struct filter filter;
    enum bl_rc rc = filter_of_update(message, &filter, &err);
    if (rc == BL_E_NOT_FOUND) return;
    if (rc != BL_OK) {
        err.message[123] = 0; /* what a close frame holds */
        end_with(c, 1000, err.message);
        return;
    }
    filter_release(&c->request.filter);
    c->request.filter = filter;
    if (c->mood == AWAITING_HELLO) {
        c->mood = SERVING;
        c->next = feed_start(&c->server->feed, c->sim, c->request.has_cursor, c->request.cursor);
    }
}

static void hear(struct client *c, const struct ws_message *message) {
    switch (message->op) {
    case WS_TEXT: update_options(c, message->data); break;
    case WS_PING: add_frame(c, WS_PONG, message->data); break;
    case WS_PONG: c->pong_ns = 0; break;
    case WS_CLOSE: end_with(c, message->close_code == 1005 ? 1000 : message->close_code, ""); break;
    case WS_BINARY:
    case WS_CONTINUATION: break;
    }
}

static void hear_all(struct client *c) {
    struct ws_message message;
    struct bl_error err = {0};
    int got = 0;
    ws_feed(&c->parser, c->in.p, c->in.n);
    while (c->mood != ENDED && (got = ws_next(&c->parser, &message, &err)) == 1) hear(c, &message);
    if (got < 0) end_with(c, message.close_code, "");
    size_t used = ws_consumed(&c->parser);
    memmove(c->in.p, c->in.p + used, c->in.n - used);
    c->in.n -= used;
}

static void listen_to(struct client *c) {
    enum { CHUNK = 64 << 10 };
    if (c->in.n) hear_all(c);
    while (c->mood != ENDED) {
        size_t got = 0;
        enum link_result result = LINK_GONE;
        if (bl_buf_reserve(&c->in, CHUNK)) result = link_read(&c->link, c->in.p + c->in.n, CHUNK, &got);
        if (result == LINK_AGAIN) return;
        if (result == LINK_GONE) c->mood = ENDED;
        c->in.n += got;
        if (got) hear_all(c);
    }
}

static void keep_alive(struct client *c) {
    int64_t now = bl_mono_ns();
    if (c->pong_ns && now >= c->pong_ns) {
        c->mood = ENDED;
    } else if (now >= c->ping_ns) {
        add_frame(c, WS_PING, BL_LIT("bluelake"));
        c->ping_ns = now + c->server->ping_ms * (int64_t)1000000;
        if (!c->pong_ns) c->pong_ns = now + STALL_MS * (int64_t)1000000;
    }
}

/* ---- life ---- */

static int nap_ms(const struct client *c) {
    int64_t wake = c->pong_ns && c->pong_ns < c->ping_ns ? c->pong_ns : c->ping_ns;
    bool more = c->mood == SERVING && c->next < c->server->feed.count;
    int64_t due = more ? feed_due_ns(&c->server->feed, c->next) : wake;
    int64_t ms = ((due < wake ? due : wake) - bl_mono_ns()) / 1000000;
    return ms < NAP_MS ? NAP_MS : ms > 60000 ? 60000 : (int)ms;
}

static void run(struct client *c) {
    while (c->mood != ENDED) {
        listen_to(c);
        if (c->mood != ENDED) keep_alive(c);
        if (c->mood == SERVING) fill(c);
        if (c->mood == ENDED) return;
        bool behind = c->mood == SERVING && c->next < feed_existing(&c->server->feed);
        if (c->out.n && !flush(c)) return;
        if (link_wait(&c->link, behind ? 0 : nap_ms(c)) & LINK_STOPPED) end_with(c, 1001, "server shutting down");
    }
}

static void open_session(struct client *c) {
    struct sim_server *server = c->server;
    c->in.max = MESSAGE_MAX * 2;
    ws_parser_init(&c->parser, true, MESSAGE_MAX);
    c->sim = sim_new(&server->feed.network);
    c->packer = c->request.zstd ? ZSTD_createCCtx() : NULL;
    c->mood = c->request.hello ? AWAITING_HELLO : SERVING;
    c->next = feed_start(&server->feed, c->sim, c->request.has_cursor, c->request.cursor);
    c->ping_ns = bl_mono_ns() + server->ping_ms * (int64_t)1000000;
}

static void *client_main(void *context) {
    struct client *c = context;
    atomic_fetch_add(&c->server->clients_now, 1);
    if (shake_hands(c)) {
        open_session(c);
        run(c);
    }
    link_close(&c->link);
    atomic_fetch_sub(&c->server->clients_now, 1);
    atomic_store(&c->finished, true);
    return NULL;
}

struct client *client_start(struct sim_server *server, int fd, struct client *next) {
    struct client *c = bl_xcalloc(1, sizeof *c);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->server = server;
    c->link = (struct link){.fd = fd, .stop_fd = server->stop_fd};
    c->next_client = next;
    atomic_fetch_add(&server->connections, 1);
    if (pthread_create(&c->thread, NULL, client_main, c) == 0) return c;
    link_close(&c->link); /* out of threads: the peer may try again */
    free(c);
    return next;
}

static void client_free(struct client *c) {
    pthread_join(c->thread, NULL);
    if (c->sim) ws_parser_release(&c->parser);
    sim_free(&c->sim);
    filter_release(&c->request.filter);
    ZSTD_freeCCtx(c->packer);
    struct bl_buf *buffers[] = {&c->in, &c->out, &c->event, &c->held, &c->extra, &c->packed};
    for (size_t b = 0; b < sizeof buffers / sizeof *buffers; b++) bl_buf_release(buffers[b]);
    free(c);
}

struct client *client_reap(struct client *list, bool all) {
    struct client **at = &list;
    while (*at) {
        struct client *c = *at;
        if (!all && !atomic_load(&c->finished)) {
            at = &c->next_client;
            continue;
        }
        *at = c->next_client;
        client_free(c);
    }
    return list;
}
