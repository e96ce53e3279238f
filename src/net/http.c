#include "net/http.h"

#include "base/clock.h"
#include "base/version.h"
#include "net/head.h"
#include "net/stream.h"

enum { TIMEOUT_DEFAULT_MS = 10000, HEAD_MAX = 64 << 10, READ_SIZE = 64 << 10, BODY_DEFAULT_MAX = 16 << 20 };

struct exchange {
    struct stream *stream;
    int64_t deadline_ns;
    struct bl_buf in; /* the answer so far */
    size_t head;      /* bytes of it that are head */
    bool ended;
};

static void release(struct exchange *x) {
    stream_close(&x->stream);
    bl_buf_release(&x->in);
}

static int left_ms(const struct exchange *x) {
    int64_t left = x->deadline_ns - bl_mono_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static enum bl_rc send_request(struct exchange *x, const struct url *u, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    bool ipv6 = strchr(u->host, ':') != NULL;
    bl_buf_printf(
        &out, "GET %s HTTP/1.1\r\nHost: %s%s%s:%d\r\nConnection: close\r\nUser-Agent: bluelake/" BL_VERSION "\r\n\r\n",
        u->target, ipv6 ? "[" : "", u->host, ipv6 ? "]" : "", u->port);
    BL_TRY(bl_buf_check(&out, "a request", err));
    return stream_write_all(x->stream, bl_buf_view(&out), left_ms(x), err);
}

static enum bl_rc read_more(struct exchange *x, struct bl_error *err) {
    size_t got = 0;
    if (!bl_buf_reserve(&x->in, READ_SIZE))
        return bl_fail(err, BL_E_TOO_LARGE, "%s: the answer is longer than %zu bytes", stream_peer(x->stream),
                       x->in.max);
    BL_TRY(stream_read(x->stream, x->in.p + x->in.n, READ_SIZE, left_ms(x), &got, err));
    x->in.n += got;
    x->ended = got == 0;
    return BL_OK;
}

static enum bl_rc read_head(struct exchange *x, int *status, struct bl_error *err) {
    const char *end = NULL;
    while (!end) {
        if (x->ended || x->in.n > HEAD_MAX)
            return bl_fail(err, BL_E_NET, "%s: no complete HTTP answer", stream_peer(x->stream));
        BL_TRY(read_more(x, err));
        end = x->in.n ? memmem(x->in.p, x->in.n, "\r\n\r\n", 4) : NULL;
    }
    x->head = (size_t)(end - x->in.p) + 4;
    if (!head_status(bl_strn(x->in.p, x->head), status))
        return bl_fail(err, BL_E_NET, "%s does not speak HTTP/1.1", stream_peer(x->stream));
    return BL_OK;
}

static struct bl_str rest(const struct exchange *x) {
    return bl_str_skip(bl_buf_view(&x->in), x->head);
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* 1: all chunks are there and `body` holds them; 0: more is needed; -1: not in the form. */
static int join_chunks(struct bl_str in, struct bl_buf *body) {
    for (;;) {
        size_t size = 0, digits = 0;
        while (digits < in.n && digits < 8 && hex(in.p[digits]) >= 0) size = size * 16 + (size_t)hex(in.p[digits++]);
        const char *line = in.n ? memchr(in.p, '\n', in.n) : NULL;
        if (digits == 0 && in.n) return -1;
        if (!line) return in.n > 4096 ? -1 : 0;
        in = bl_str_skip(in, (size_t)(line - in.p) + 1);
        if (size == 0) return 1;
        if (in.n < size + 2) return 0;
        bl_buf_add(body, in.p, size);
        in = bl_str_skip(in, size + 2);
    }
}

static enum bl_rc read_chunked(struct exchange *x, struct bl_buf *body, struct bl_error *err) {
    size_t before = body->n;
    for (;;) {
        body->n = before;
        int done = join_chunks(rest(x), body);
        if (done > 0) return BL_OK;
        if (done < 0 || x->ended)
            return bl_fail(err, BL_E_NET, "%s: the body is cut off or garbled", stream_peer(x->stream));
        BL_TRY(read_more(x, err));
    }
}

static enum bl_rc read_body(struct exchange *x, struct bl_buf *body, struct bl_error *err) {
    struct bl_str head = bl_strn(x->in.p, x->head), value = {0};
    int64_t length = -1;
    if (head_find(head, "Transfer-Encoding", &value) && head_list_has(value, "chunked"))
        return read_chunked(x, body, err);
    if (head_find(head, "Content-Length", &value) && !bl_parse_i64(value, 0, INT64_MAX, &length))
        return bl_fail(err, BL_E_NET, "%s: unusable Content-Length", stream_peer(x->stream));
    if (length > (int64_t)x->in.max)
        return bl_fail(err, BL_E_TOO_LARGE, "%s: a body of %lld bytes", stream_peer(x->stream), (long long)length);
    while (!x->ended && (length < 0 || (int64_t)rest(x).n < length)) BL_TRY(read_more(x, err));
    if (length >= 0 && (int64_t)rest(x).n < length)
        return bl_fail(err, BL_E_NET, "%s: the body is cut off", stream_peer(x->stream));
    bl_buf_add(body, rest(x).p, length >= 0 ? (size_t)length : rest(x).n);
    return BL_OK;
}

enum bl_rc http_get(const struct http_get *request, int *status, struct bl_buf *body, struct bl_error *err) {
    int timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_DEFAULT_MS;
    size_t body_max = request->body_max ? request->body_max : BODY_DEFAULT_MAX;
    BL_CLEANUP(release)
    struct exchange x = {.deadline_ns = bl_mono_ns() + timeout_ms * INT64_C(1000000),
                         .in.max = body_max + HEAD_MAX + 2 * READ_SIZE};
    struct stream_options o = {.host = request->url.host,
                               .port = request->url.port,
                               .tls = request->url.tls,
                               .ca_file = request->ca_file,
                               .connect_timeout_ms = timeout_ms,
                               .wake_fd = request->wake_fd};
    BL_TRY(stream_connect(&o, &x.stream, err));
    BL_TRY(send_request(&x, &request->url, err));
    BL_TRY(read_head(&x, status, err));
    BL_TRY(read_body(&x, body, err));
    if (body->n > body_max) return bl_fail(err, BL_E_TOO_LARGE, "a body of more than %zu bytes", body_max);
    return bl_buf_check(body, "the answer's body", err);
}
