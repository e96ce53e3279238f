#include "net/wsclient.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/version.h"
#include "net/head.h"

enum {
    CONNECT_TIMEOUT_DEFAULT_MS = 10000,
    READ_SIZE = 256 << 10,
    HEAD_MAX = 16 << 10,
    BODY_TIMEOUT_MS = 2000,
    WRITE_TIMEOUT_MS = 5000,
    CLOSE_TIMEOUT_MS = 200,
    FRAME_HEAD_MAX = 14,
    CLOSE_NORMAL = 1000,
    CLOSE_ABSENT = 1005,
    CLOSE_VANISHED = 1006,
};

struct wsclient {
    struct stream *stream;
    struct ws_parser parser;
    char *p; /* received bytes; the parser looks at p[0..n) */
    size_t n, cap;
    size_t cap_max;    /* what the largest acceptable frame needs */
    struct bl_buf out; /* the frame being sent */
    uint64_t bytes;
    bool over; /* closed or broken */
    unsigned close_code;
    char close_reason[128];
};

static int ms_until(int64_t deadline_ns) {
    int64_t left = deadline_ns - bl_mono_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

/* ---- handshake ---- */

static void add_request(struct bl_buf *out, const struct wsclient_options *o, const char *key) {
    const struct url *u = &o->url;
    bool ipv6 = strchr(u->host, ':') != NULL;
    bl_buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s%s%s", u->target, ipv6 ? "[" : "", u->host, ipv6 ? "]" : "");
    if (u->port != (u->tls ? 443 : 80)) bl_buf_printf(out, ":%d", u->port);
    bl_buf_printf(out,
                  "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: %s\r\n",
                  key);
    if (o->subprotocol) bl_buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", o->subprotocol);
    bl_buf_printf(out, "User-Agent: %s\r\n\r\n", o->user_agent ? o->user_agent : "bluelake/" BL_VERSION);
}

static enum bl_rc read_more(struct wsclient *c, int timeout_ms, size_t *got, struct bl_error *err) {
    BL_TRY(stream_read(c->stream, c->p + c->n, c->cap - c->n, timeout_ms, got, err));
    c->n += *got;
    c->bytes += *got;
    return BL_OK;
}

/* Bytes up to and with the empty line that ends the head. */
static enum bl_rc read_head(struct wsclient *c, int64_t deadline_ns, size_t *head, struct bl_error *err) {
    for (;;) {
        const char *end = c->n ? memmem(c->p, c->n, "\r\n\r\n", 4) : NULL;
        if (end) {
            *head = (size_t)(end - c->p) + 4;
            return BL_OK;
        }
        if (c->n >= HEAD_MAX)
            return bl_fail(err, BL_E_NET, "%s: the answer's head is longer than %d bytes", stream_peer(c->stream),
                           HEAD_MAX);
        size_t got;
        enum bl_rc rc = read_more(c, ms_until(deadline_ns), &got, err);
        if (rc == BL_E_TIMEOUT)
            return bl_fail(err, rc, "%s: no answer to the WebSocket handshake", stream_peer(c->stream));
        BL_TRY(rc);
        if (got == 0) return bl_fail(err, BL_E_NET, "%s closed without answering", stream_peer(c->stream));
    }
}

/* The first chunk of a chunked body says enough for a message. */
static struct bl_str first_chunk(struct bl_str body) {
    struct bl_str size_line = bl_str_cut(&body, '\n');
    unsigned long size = 0;
    for (size_t i = 0; i < size_line.n && i < 7 && isxdigit((unsigned char)size_line.p[i]); i++)
        size = size * 16 + (unsigned long)(isdigit((unsigned char)size_line.p[i]) ? size_line.p[i] - '0'
                                                                                  : (size_line.p[i] | 32) - 'a' + 10);
    return (struct bl_str){body.p, size < body.n ? size : body.n};
}

/* Reads what explains a refusal: at most the start of the body, and not for long. */
static void read_body(struct wsclient *c, size_t head, int64_t deadline_ns, struct wsclient_answer *answer) {
    struct bl_str value = {0};
    bool chunked = head_find(bl_strn(c->p, head), "Transfer-Encoding", &value) && head_list_has(value, "chunked");
    int64_t wanted = sizeof answer->body + (chunked ? 64 : 0), limit = bl_mono_ns() + BODY_TIMEOUT_MS * 1000000LL;
    int64_t length;
    if (!chunked && head_find(bl_strn(c->p, head), "Content-Length", &value) &&
        bl_parse_i64(value, 0, INT64_MAX, &length) && length < wanted)
        wanted = length;
    size_t got = 1;
    while ((int64_t)(c->n - head) < wanted && got > 0 && c->n < c->cap)
        if (read_more(c, ms_until(limit < deadline_ns ? limit : deadline_ns), &got, NULL) != BL_OK) break;
    struct bl_str body = bl_strn(c->p + head, c->n - head);
    head_copy_text(bl_str_trim(chunked ? first_chunk(body) : body), answer->body, sizeof answer->body);
}

static enum bl_rc refuse(struct wsclient *c, size_t head, int64_t deadline_ns, struct wsclient_answer *answer,
                         struct bl_error *err) {
    read_body(c, head, deadline_ns, answer);
    struct bl_str location = {0};
    char text[256] = "";
    if (head_find(bl_strn(c->p, head), "Location", &location)) head_copy_text(location, text, sizeof text);
    return bl_fail(err, BL_E_NET, "%s answered HTTP %d%s%s%s%s", stream_peer(c->stream), answer->status,
                   *answer->body ? ": " : "", answer->body, *text ? ", see " : "", text);
}

/* What in a 101 answer contradicts RFC 6455 section 4.1, or NULL. */
static const char *handshake_fault(struct bl_str head, const char *key, const char *subprotocol,
                                   struct wsclient_answer *answer) {
    char accept[29];
    struct bl_str value = {0};
    ws_accept_of_key(bl_str(key), accept);
    if (head_find(head, "Upgrade", &value) != 1 || !head_same(value, "websocket")) return "no \"Upgrade: websocket\"";
    if (head_find(head, "Connection", &value) == 0 || !head_list_has(value, "upgrade"))
        return "no \"Connection: Upgrade\"";
    if (head_find(head, "Sec-WebSocket-Accept", &value) != 1 || !bl_str_eq(value, bl_str(accept)))
        return "a wrong Sec-WebSocket-Accept";
    if (head_find(head, "Sec-WebSocket-Extensions", &value) && value.n) return "an extension that was not offered";
    int protocols = head_find(head, "Sec-WebSocket-Protocol", &value);
    if (protocols && (protocols > 1 || !subprotocol || !bl_str_eq(value, bl_str(subprotocol))))
        return "a subprotocol that was not offered";
    if (protocols) head_copy_text(value, answer->subprotocol, sizeof answer->subprotocol);
    return NULL;
}

static enum bl_rc shake_hands(struct wsclient *c, const struct wsclient_options *o, int64_t deadline_ns,
                              struct wsclient_answer *answer, struct bl_error *err) {
    char key[25];
    size_t head_size = 0;
    ws_make_key(bl_random_u64(), bl_random_u64(), key);
    add_request(&c->out, o, key);
    BL_TRY(stream_write_all(c->stream, bl_buf_view(&c->out), ms_until(deadline_ns), err));
    BL_TRY(read_head(c, deadline_ns, &head_size, err));
    struct bl_str head = {c->p, head_size}, server = {0};
    if (!head_status(head, &answer->status))
        return bl_fail(err, BL_E_NET, "%s does not speak HTTP/1.1", stream_peer(c->stream));
    if (head_find(head, "Server", &server)) head_copy_text(server, answer->server, sizeof answer->server);
    answer->retry_after_s = head_retry_after(head);
    if (answer->status != 101) return refuse(c, head_size, deadline_ns, answer, err);
    const char *fault = handshake_fault(head, key, o->subprotocol, answer);
    if (fault) return bl_fail(err, BL_E_NET, "%s sent a WebSocket handshake with %s", stream_peer(c->stream), fault);
    c->n -= head_size; /* frames may follow at once */
    memmove(c->p, c->p + head_size, c->n);
    ws_feed(&c->parser, c->p, c->n);
    return BL_OK;
}

static void release(struct wsclient **c) {
    if (!*c) return;
    stream_close(&(*c)->stream);
    ws_parser_release(&(*c)->parser);
    bl_buf_release(&(*c)->out);
    free((*c)->p);
    free(*c);
    *c = NULL;
}

enum bl_rc wsclient_open(const struct wsclient_options *o, struct wsclient **out, struct wsclient_answer *answer,
                         struct bl_error *err) {
    int timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_DEFAULT_MS;
    int64_t deadline_ns = bl_mono_ns() + timeout_ms * 1000000LL;
    *answer = (struct wsclient_answer){.retry_after_s = -1};
    BL_CLEANUP(release) struct wsclient *c = bl_xcalloc(1, sizeof *c);
    ws_parser_init(&c->parser, false, o->message_max);
    c->cap_max = c->parser.message_max + FRAME_HEAD_MAX + READ_SIZE;
    c->close_code = CLOSE_VANISHED;
    c->cap = READ_SIZE;
    c->p = bl_xmalloc(c->cap);
    struct stream_options stream = {.host = o->url.host,
                                    .port = o->url.port,
                                    .tls = o->url.tls,
                                    .ca_file = o->ca_file,
                                    .connect_timeout_ms = timeout_ms,
                                    .wake_fd = o->wake_fd};
    BL_TRY(stream_connect(&stream, &c->stream, err));
    BL_TRY(shake_hands(c, o, deadline_ns, answer, err));
    *out = c;
    c = NULL;
    return BL_OK;
}

/* ---- messages ---- */

static enum bl_rc send_out(struct wsclient *c, int timeout_ms, struct bl_error *err) {
    BL_TRY(bl_buf_check(&c->out, "a WebSocket frame", err));
    enum bl_rc rc = stream_write_all(c->stream, bl_buf_view(&c->out), timeout_ms, err);
    if (rc != BL_OK) c->over = true; /* half a frame may be on its way: nothing can follow it */
    if (c->out.cap > READ_SIZE) bl_buf_release(&c->out);
    return rc == BL_E_TIMEOUT ? bl_fail(err, BL_E_NET, "%s does not read what is sent", stream_peer(c->stream)) : rc;
}

static void begin_frame(struct wsclient *c, enum ws_op op, struct bl_str data) {
    bl_buf_clear(&c->out);
    ws_frame(&c->out, op, data, true, (uint32_t)bl_random_u64());
}

enum bl_rc wsclient_send(struct wsclient *c, enum ws_op op, struct bl_str data, struct bl_error *err) {
    if (c->over) return bl_fail(err, BL_E_NET, "%s: the connection is closed", stream_peer(c->stream));
    begin_frame(c, op, data);
    return send_out(c, WRITE_TIMEOUT_MS, err);
}

/* A farewell that does not arrive changes nothing. */
static void say_goodbye(struct wsclient *c, unsigned code) {
    bl_buf_clear(&c->out);
    ws_close_frame(&c->out, code, (struct bl_str){0}, true, (uint32_t)bl_random_u64());
    BL_IGNORE(send_out(c, CLOSE_TIMEOUT_MS, NULL));
    c->over = true;
}

static enum bl_rc peer_closed(struct wsclient *c, const struct ws_message *m, struct bl_error *err) {
    c->close_code = m->close_code;
    head_copy_text(m->data, c->close_reason, sizeof c->close_reason);
    say_goodbye(c, m->close_code == CLOSE_ABSENT ? CLOSE_NORMAL : m->close_code);
    return bl_fail(err, BL_E_NET, "%s closed the connection: %u %s", stream_peer(c->stream), c->close_code,
                   c->close_reason);
}

/* Drop what the parser is done with, then see to it that there is room: a buffer more than half full of one unfinished
 * frame doubles; one that grew for a big message shrinks back. */
static enum bl_rc make_room(struct wsclient *c, struct bl_error *err) {
    size_t done = ws_consumed(&c->parser), cap = c->cap;
    c->n -= done;
    if (c->n) memmove(c->p, c->p + done, c->n);
    ws_feed(&c->parser, c->p, c->n);
    if (c->n > cap / 2 && cap < c->cap_max)
        cap = cap > c->cap_max / 2 ? c->cap_max : 2 * cap;
    else if (c->n <= READ_SIZE / 2)
        cap = READ_SIZE;
    if (cap == c->cap) return BL_OK;
    char *moved = realloc(c->p, cap);
    if (!moved) return bl_fail(err, BL_E_NET, "no memory for a message of %zu bytes", cap);
    c->p = moved;
    c->cap = cap;
    return BL_OK;
}

static enum bl_rc receive(struct wsclient *c, int64_t deadline_ns, struct bl_error *err) {
    size_t got = 0;
    enum bl_rc rc = make_room(c, err);
    if (rc == BL_OK) rc = read_more(c, ms_until(deadline_ns), &got, err);
    if (rc == BL_OK && got == 0)
        rc = bl_fail(err, BL_E_NET, "%s ended the connection without a close frame (1006)", stream_peer(c->stream));
    if (rc == BL_E_NET) c->over = true;
    ws_feed(&c->parser, c->p, c->n);
    return rc;
}

enum bl_rc wsclient_next(struct wsclient *c, int timeout_ms, struct ws_message *out, struct bl_error *err) {
    int64_t deadline_ns = 0; /* read the clock only when it comes to waiting */
    if (c->over) return bl_fail(err, BL_E_NET, "%s: the connection is closed", stream_peer(c->stream));
    for (;;) {
        struct ws_message m;
        int got = ws_next(&c->parser, &m, err);
        if (got < 0) {
            say_goodbye(c, c->close_code = m.close_code);
            return BL_E_NET;
        }
        if (got == 0) {
            if (!deadline_ns)
                deadline_ns = bl_mono_ns() + (timeout_ms > 0 ? timeout_ms : 0) * 1000000LL;
            else if (ms_until(deadline_ns) == 0) /* pings without end must not hold the caller */
                return bl_fail(err, BL_E_TIMEOUT, "no message from %s in time", stream_peer(c->stream));
            BL_TRY(receive(c, deadline_ns, err));
        } else if (m.op == WS_TEXT || m.op == WS_BINARY) {
            *out = m;
            return BL_OK;
        } else if (m.op == WS_PING) {
            BL_TRY(wsclient_send(c, WS_PONG, m.data, err));
        } else if (m.op == WS_CLOSE) {
            return peer_closed(c, &m, err);
        }
    }
}

bool wsclient_pending(struct wsclient *c) {
    return !c->over && ws_ready(&c->parser);
}
unsigned wsclient_close_code(const struct wsclient *c) {
    return c->close_code;
}
const char *wsclient_close_reason(const struct wsclient *c) {
    return c->close_reason;
}
uint64_t wsclient_bytes(const struct wsclient *c) {
    return c->bytes;
}
uint64_t wsclient_oversized(const struct wsclient *c) {
    return c->parser.oversized;
}
const char *wsclient_peer(const struct wsclient *c) {
    return stream_peer(c->stream);
}

void wsclient_close(struct wsclient **c) {
    if (*c && (*c)->stream && !(*c)->over) say_goodbye(*c, CLOSE_NORMAL);
    release(c);
}
