#include "sim/serving.h"

#include <stdio.h>
#include <strings.h>

static struct refusal refuse(int status, const char *text) {
    struct refusal r = {.status = status};
    snprintf(r.text, sizeof r.text, "%s", text);
    return r;
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool decode(struct bl_str s, struct bl_buf *out) {
    bl_buf_clear(out);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            bl_buf_byte(out, s.p[i] == '+' ? ' ' : s.p[i]);
            continue;
        }
        if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0) return false;
        bl_buf_byte(out, (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])));
        i += 2;
    }
    return true;
}

/* Of a parameter that does not repeat, the first counts. */
struct seen {
    bool cursor, compress, hello, size;
};

static bool once(bool *seen) {
    bool first = !*seen;
    *seen = true;
    return first;
}

static enum bl_rc take_cursor(struct request *q, struct bl_str value, struct bl_error *err) {
    if (!value.n) return BL_OK;
    struct bl_str digits = value.p[0] == '+' ? bl_str_skip(value, 1) : value;
    if (!bl_parse_i64(digits, INT64_MIN, INT64_MAX, &q->cursor))
        return bl_fail(err, BL_E_USAGE, "invalid cursor: %.*s", BL_ARG(value));
    q->has_cursor = true;
    return BL_OK;
}

static enum bl_rc take_parameter(struct request *q, struct seen *seen, struct bl_str name, struct bl_str value,
                                 struct bl_error *err) {
    if (bl_str_eq(name, BL_LIT("wantedCollections"))) return filter_want_collection(&q->filter, value, err);
    if (bl_str_eq(name, BL_LIT("wantedDids"))) return filter_want_did(&q->filter, value, err);
    if (bl_str_eq(name, BL_LIT("cursor")) && once(&seen->cursor)) return take_cursor(q, value, err);
    if (bl_str_eq(name, BL_LIT("compress")) && once(&seen->compress)) q->zstd |= bl_str_eq(value, BL_LIT("true"));
    if (bl_str_eq(name, BL_LIT("requireHello")) && once(&seen->hello)) q->hello = bl_str_eq(value, BL_LIT("true"));
    if (bl_str_eq(name, BL_LIT("maxMessageSizeBytes")) && once(&seen->size)) q->filter.size_max = filter_size_of(value);
    return BL_OK;
}

static enum bl_rc take_query(struct request *q, struct bl_str query, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf name = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf value = {0};
    struct seen seen = {0};
    while (query.n) {
        struct bl_str pair = bl_str_cut(&query, '&');
        struct bl_str left = bl_str_cut(&pair, '=');
        if (!left.n && !pair.n) continue;
        if (!decode(left, &name) || !decode(pair, &value)) return bl_fail(err, BL_E_USAGE, "invalid options: invalid URL escape");
        BL_TRY(take_parameter(q, &seen, bl_buf_view(&name), bl_buf_view(&value), err));
    }
    return filter_seal(&q->filter, err);
}

static bool same_word(struct bl_str a, const char *b) { return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0; }
static bool holds(struct bl_str s, const char *part) { return s.n && memmem(s.p, s.n, part, strlen(part)); }

static void take_header(struct request *q, struct bl_str name, struct bl_str value) {
    if (same_word(name, "Upgrade")) q->websocket = same_word(value, "websocket");
    else if (same_word(name, "Socket-Encoding")) q->zstd |= holds(value, "zstd");
    else if (same_word(name, "Sec-WebSocket-Extensions")) q->deflate |= holds(value, "permessage-deflate");
    else if (same_word(name, "Sec-WebSocket-Key") && value.n == sizeof q->key - 1) memcpy(q->key, value.p, value.n);
}

static void take_headers(struct request *q, struct bl_str lines) {
    while (lines.n) {
        struct bl_str line = bl_str_trim(bl_str_cut(&lines, '\n'));
        struct bl_str name = bl_str_cut(&line, ':');
        take_header(q, bl_str_trim(name), bl_str_trim(line));
    }
}

struct refusal request_parse(struct bl_str head, bool have_dictionary, struct request *out) {
    *out = (struct request){0};
    struct bl_str lines = head, first = bl_str_trim(bl_str_cut(&lines, '\n'));
    struct bl_str method = bl_str_cut(&first, ' '), target = bl_str_cut(&first, ' ');
    struct bl_str path = bl_str_cut(&target, '?');
    if (!bl_str_eq(path, BL_LIT("/subscribe"))) return refuse(404, "404 page not found");
    if (!bl_str_eq(method, BL_LIT("GET"))) return refuse(405, "Method Not Allowed");
    take_headers(out, lines);
    struct bl_error err = {0};
    if (take_query(out, target, &err) != BL_OK) return refuse(400, err.message);
    if (out->zstd && out->deflate)
        return refuse(400, "choose one compression scheme: custom zstd (compress=true / Socket-Encoding: zstd) or RFC 7692 "
                           "permessage-deflate, not both");
    if (out->zstd && !have_dictionary) return refuse(400, "zstd is not available: this server was started without a dictionary");
    if (!out->websocket || !out->key[0]) return refuse(426, "this endpoint speaks WebSocket only");
    return (struct refusal){.status = 101};
}

static const char *reason_of(int status) {
    switch (status) {
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 426: return "Upgrade Required";
    case 431: return "Request Header Fields Too Large";
    default: return "Service Unavailable";
    }
}

void request_refuse(struct bl_buf *out, const struct refusal *r) {
    bl_buf_printf(out,
                  "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
                  "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                  r->status, reason_of(r->status), strlen(r->text) + 1, r->text);
}
