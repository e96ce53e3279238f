/* client: one connection. Its thread alternates between listening, filling a buffer with frames and writing it. */
#include "sim/serving.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "obs/log.h"

enum {
    HEAD_MAX = 1 << 20,
    MESSAGE_MAX = 10000000, /* of a client, as Jetstream has it; larger ones are ignored */
    BATCH_BYTES = 128 << 10,
    STALL_MS = 5000, /* without progress in writing, or without a pong */
    LINGER_MS = 1000,
    NAP_MS = 2, /* events due within this are sent together */
};

enum mood { SERVING, AWAITING_HELLO, SILENT, GONE, ENDED }; /* GONE: silent, and no pings either */

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
    struct bl_buf in, out, event, shown, held, extra, packed;
    enum mood mood;
    bool open;                /* past the handshake */
    uint64_t next, meet;      /* meet: where the replay met the live stream, see FAULT_CUTOVER */
    bool outdated;            /* a time cursor was raised to the floor */
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

/* A cursor that v2 refuses; v1 raises it silently. */
static struct refusal find_start(struct client *c) {
    const struct feed *f = &c->server->feed;
    c->sim = sim_new(&f->network);
    struct feed_start start = feed_start(f, c->sim, c->request.has_cursor, c->request.cursor, c->server->v2);
    bool typed = c->request.endpoint == ENDPOINT_EVENTS;
    if (typed && start.too_old && start.by_seq) {
        char text[96];
        snprintf(text, sizeof text, "cursor %lld is too old: the floor is %llu", (long long)c->request.cursor,
                 (unsigned long long)feed_seq(f, start.floor));
        return request_refusal(400, "CursorTooOld", text);
    }
    c->next = start.next;
    c->outdated = typed && start.too_old;
    c->meet = c->request.has_cursor && start.next < feed_existing(f) ? feed_existing(f) : 0;
    return (struct refusal){.status = 101};
}

static struct refusal answer_to(struct client *c, size_t head_n) {
    struct sim_server *s = c->server;
    const uint64_t *every = s->faults.every;
    struct refusal r = request_parse(bl_strn(c->in.p, head_n), &(struct offer){s->v2, s->dictionary_id}, &c->request);
    if (r.status == 200) return r;
    bool typed = c->request.endpoint == ENDPOINT_EVENTS;
    uint64_t n = atomic_fetch_add(&s->requests, 1);
    if (n < every[FAULT_HTTP_503])
        return request_refusal(503, typed ? "ServiceUnavailable" : NULL, "service not ready");
    if (n < every[FAULT_HTTP_429]) {
        r = request_refusal(429, NULL, "slow down");
        r.retry_after_s = 1;
        return r;
    }
    if (n < every[FAULT_HTTP_400]) return request_refusal(400, typed ? "InvalidRequest" : NULL, "as you wish: refused");
    return r.status == 101 ? find_start(c) : r;
}

/* GET getZstdDictionary: the current one, or the one asked for by id. */
static void send_dictionary(struct client *c) {
    const struct sim_server *s = c->server;
    char etag[64];
    uint64_t id = c->request.dictionary_id;
    if (!s->dictionary_id || (id && id != s->dictionary_id)) {
        send_refusal(c, &(struct refusal){404, "DictionaryNotFound", 0, "no such dictionary"});
        return;
    }
    snprintf(etag, sizeof etag, "\"zstd-dict-%u\"", s->dictionary_id);
    bool known = strcmp(etag, c->request.etag) == 0;
    bl_buf_clear(&c->out);
    bl_buf_printf(
        &c->out,
        "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nX-Zstd-Dictionary-Id: %u\r\nETag: %s\r\n"
        "Cache-Control: public, max-age=31536000, immutable\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        known ? "304 Not Modified" : "200 OK", s->dictionary_id, etag, known ? 0 : s->dictionary.n);
    if (!known) bl_buf_str(&c->out, bl_buf_view(&s->dictionary));
    if (link_write(&c->link, bl_buf_view(&c->out), STALL_MS)) link_linger(&c->link, true, LINGER_MS);
}

static bool shake_hands(struct client *c) {
    size_t head_n;
    c->in.max = HEAD_MAX;
    if (!link_accept(&c->link, c->server->tls, STALL_MS)) return false;
    if (!read_head(c, &head_n)) {
        if (c->in.failed) send_refusal(c, &(struct refusal){431, NULL, 0, "request header too large"});
        return false;
    }
    struct refusal r = answer_to(c, head_n);
    if (r.status == 200) send_dictionary(c);
    if (r.status != 101 && r.status != 200) send_refusal(c, &r);
    if (r.status != 101) return false;
    char accept[29];
    ws_accept_of_key(bl_str(c->request.key), accept);
    bl_buf_clear(&c->out);
    bl_buf_printf(&c->out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %.28s\r\n%sServer: bluelake-simulator\r\n\r\n",
                  accept,
                  c->request.endpoint == ENDPOINT_EVENTS && c->request.subprotocol
                      ? "Sec-WebSocket-Protocol: xrpc.v1.json\r\n"
                      : "");
    /* What came after the head are frames already. */
    memmove(c->in.p, c->in.p + head_n, c->in.n - head_n);
    c->in.n -= head_n;
    return true;
}

/* ---- sending ---- */

static void add_frame(struct client *c, enum ws_op op, struct bl_str data) {
    ws_frame(&c->out, op, data, false, 0);
}

/* In three fragments, with a ping between them, as RFC 6455 allows. */
static void add_fragments(struct client *c, struct bl_str json) {
    size_t third = json.n / 3;
    for (int part = 0; part < 3; part++) {
        size_t from = (size_t)part * third, to = part == 2 ? json.n : from + third, at = c->out.n;
        ws_frame(&c->out, part ? WS_CONTINUATION : WS_TEXT, bl_strn(json.p + from, to - from), false, 0);
        if (part < 2) {
            c->out.p[at] = (char)(c->out.p[at] & 0x7f);
            add_frame(c, WS_PING, BL_LIT("between"));
        }
    }
}

static void add_message(struct client *c, struct bl_str json) {
    if (!c->request.zstd) {
        bool fragment = misbehave_at(&c->server->faults, FAULT_FRAGMENT, atomic_load(&c->server->events));
        fragment ? add_fragments(c, json) : add_frame(c, WS_TEXT, json);
        if (fragment) atomic_fetch_add(&c->server->fragmented, 1);
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

/* v2 says why before it closes; v1 has no words for it. */
static void fail_stream(struct client *c) {
    bl_buf_clear(&c->extra);
    frame_error("InternalError", "something went wrong", &c->extra);
    if (c->request.endpoint == ENDPOINT_EVENTS) add_message(c, bl_buf_view(&c->extra));
    end_with(c, 1011, "");
}

static void cut(struct client *c, size_t keep) {
    c->out.n = keep;
    if (flush(c)) link_linger(&c->link, false, LINGER_MS);
    c->mood = ENDED;
}

static void reset(struct client *c) {
    flush(c);
    link_reset(&c->link);
    c->mood = ENDED;
}

/* A small frame that becomes a gigabyte; only for who asked for compression. */
static void add_bomb(struct client *c) {
    enum { CHUNK = 1 << 20, CHUNKS = 1024 };
    ZSTD_inBuffer in = {bl_xcalloc(1, CHUNK), CHUNK, 0};
    ZSTD_CCtx *packer = ZSTD_createCCtx();
    bl_buf_clear(&c->packed);
    BL_ASSERT(bl_buf_reserve(&c->packed, CHUNK));
    ZSTD_outBuffer out = {c->packed.p, c->packed.cap, 0};
    for (int n = 0; n < CHUNKS; n++) {
        in.pos = 0;
        while (ZSTD_compressStream2(packer, &out, &in, n + 1 < CHUNKS ? ZSTD_e_continue : ZSTD_e_end) ||
               in.pos < in.size)
            BL_ASSERT(out.pos < out.size);
    }
    free((void *)(uintptr_t)in.src);
    ZSTD_freeCCtx(packer);
    add_frame(c, WS_BINARY, bl_strn(c->packed.p, out.pos));
}

/* What this host and endpoint make of the event that was computed last. */
static struct bl_str dress(struct client *c, struct bl_str json, uint64_t seq) {
    if (!c->server->v2) return json;
    bl_buf_clear(&c->shown);
    (c->request.endpoint == ENDPOINT_EVENTS ? frame_of_event : frame_with_cursor)(json, seq, &c->shown);
    return bl_buf_view(&c->shown);
}

static void add_sync(struct client *c, int64_t time_us) {
    bl_buf_clear(&c->extra);
    frame_sync(BL_LIT("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), feed_seq(&c->server->feed, c->next - 1) + 1, time_us,
               &c->extra);
    add_message(c, bl_buf_view(&c->extra));
}

static void add_extras(struct client *c, uint64_t n) {
    const struct misbehaviour *m = &c->server->faults;
    int64_t time_us = feed_time(&c->server->feed, c->sim, c->next - 1);
    for (enum fault f = FAULT_POISON; f <= FAULT_LAST_INSERT; f++) {
        if (!misbehave_at(m, f, n)) continue;
        misbehave_message(f, time_us, &c->extra);
        struct bl_buf plain = c->extra;
        add_message(c, dress(c, bl_buf_view(&plain), feed_seq(&c->server->feed, c->next - 1)));
    }
    bool events = c->request.endpoint == ENDPOINT_EVENTS;
    if (misbehave_at(m, FAULT_UNKNOWN, n)) {
        misbehave_message(events ? FAULT_UNKNOWN_FRAME : FAULT_UNKNOWN, time_us, &c->extra);
        add_message(c, bl_buf_view(&c->extra));
    }
    if (misbehave_at(m, FAULT_BOMB, n) && c->request.zstd) add_bomb(c);
    if (misbehave_at(m, FAULT_SYNC, n) && events && (!c->request.filter.kinds || c->request.filter.kinds & KIND_SYNC))
        add_sync(c, time_us);
}

/* It stands before the event, so that a position behind the event is behind the mark as well. */
static void add_mark(struct client *c, uint64_t i) {
    uint64_t every = c->server->faults.every[FAULT_MARK];
    if (!every || i % every != 0 || (c->request.filter.kinds && c->request.endpoint == ENDPOINT_EVENTS)) return;
    misbehave_mark(c->request.endpoint == ENDPOINT_EVENTS, i, feed_time(&c->server->feed, c->sim, i), &c->extra);
    add_message(c, bl_buf_view(&c->extra));
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
    add_extras(c, n);
    if (misbehave_at(m, FAULT_CUT, n))
        cut(c, c->out.n);
    else if (misbehave_at(m, FAULT_RESET, n))
        reset(c);
    else if (misbehave_at(m, FAULT_CLOSE, n))
        end_with(c, 1001, "server shutting down");
    else if (misbehave_at(m, FAULT_ERROR, n))
        fail_stream(c);
    else if (misbehave_at(m, FAULT_STALL, n))
        c->mood = SILENT;
    else if (misbehave_at(m, FAULT_VANISH, n))
        c->mood = GONE;
}

static void serve_held(struct client *c) {
    if (!c->held.n || c->mood != SERVING) return;
    serve(c, bl_buf_view(&c->held));
    bl_buf_clear(&c->held);
}

/* Where replay met live, a server loses events and swaps two, once. */
static bool lost_at_cutover(struct client *c, uint64_t i) {
    uint64_t width = c->server->faults.every[FAULT_CUTOVER];
    if (!width || !c->meet || i < c->meet || atomic_load(&c->server->cut_over)) return false;
    if (i + 1 < c->meet + width) return true;
    atomic_store(&c->server->cut_over, true);
    bl_log(BL_INFO, "%" PRIu64 " events from number %" PRIu64 " on are left out: a replay met the live stream", width,
           c->meet);
    return true;
}

static bool too_large(const struct client *c, struct bl_str message) {
    return c->request.filter.size_max && message.n > c->request.filter.size_max;
}

static void serve_or_hold(struct client *c, struct bl_str json) {
    uint64_t upcoming = atomic_load(&c->server->events) + 1;
    if (!c->held.n && misbehave_at(&c->server->faults, FAULT_SWAP, upcoming)) {
        bl_buf_str(&c->held, json);
        return;
    }
    serve(c, json);
    if (c->held.n && c->mood == SERVING) atomic_fetch_add(&c->server->swapped, 1);
    serve_held(c);
}

/* Fill the buffer with what exists; stops early from time to time, so that pings are answered under any filter. */
static void fill(struct client *c) {
    enum { LOOKED_AT_MAX = 4096 };
    uint64_t existing = feed_existing(&c->server->feed);
    for (int looked = 0; c->next < existing && c->out.n < BATCH_BYTES && looked < LOOKED_AT_MAX; looked++) {
        struct feed_event e = feed_get(&c->server->feed, c->sim, c->next, &c->event);
        c->next++;
        if (!filter_wants(&c->request.filter, &e) || lost_at_cutover(c, c->next - 1)) continue;
        add_mark(c, c->next - 1);
        struct bl_str message = dress(c, e.json, feed_seq(&c->server->feed, c->next - 1));
        if (!too_large(c, message)) serve_or_hold(c, message);
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
        c->next = feed_start(&c->server->feed, c->sim, c->request.has_cursor, c->request.cursor, c->server->v2).next;
    }
}

static void hear(struct client *c, const struct ws_message *message) {
    bool data = message->op == WS_TEXT || message->op == WS_BINARY;
    if (data && c->request.endpoint == ENDPOINT_EVENTS) {
        end_with(c, 1008, "this endpoint takes no messages");
        return;
    }
    switch (message->op) {
    case WS_TEXT:
        update_options(c, message->data);
        break;
    case WS_PING:
        add_frame(c, WS_PONG, message->data);
        break;
    case WS_PONG:
        c->pong_ns = 0;
        break;
    case WS_CLOSE:
        end_with(c, message->close_code == 1005 ? 1000 : message->close_code, "");
        break;
    case WS_BINARY:
    case WS_CONTINUATION:
        break;
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
    if (c->mood == GONE) {
        c->pong_ns = 0;
        c->ping_ns = INT64_MAX;
    } else if (c->pong_ns && now >= c->pong_ns) {
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
    c->open = true;
    c->packer = c->request.zstd ? ZSTD_createCCtx() : NULL;
    c->mood = c->request.hello ? AWAITING_HELLO : SERVING;
    if (atomic_fetch_add(&server->silenced, 1) < server->faults.every[FAULT_SILENT]) c->mood = SILENT;
    if (c->outdated) {
        bl_buf_clear(&c->extra);
        frame_info("OutdatedCursor", "the cursor was older than what is kept", &c->extra);
        add_message(c, bl_buf_view(&c->extra));
    }
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
    if (c->open) ws_parser_release(&c->parser);
    sim_free(&c->sim);
    filter_release(&c->request.filter);
    ZSTD_freeCCtx(c->packer);
    struct bl_buf *buffers[] = {&c->in, &c->out, &c->event, &c->shown, &c->held, &c->extra, &c->packed};
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
