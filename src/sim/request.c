#include "sim/serving.h"

#include <stdio.h>
#include <strings.h>

#include "event/syntax.h"

struct refusal request_refusal(int status, const char *name, const char *text) {
    struct refusal r = {.status = status, .name = name};
    snprintf(r.text, sizeof r.text, "%s", text);
    return r;
}

static struct refusal refuse(int status, const char *text) {
    return request_refusal(status, NULL, text);
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
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

/* ---- subscribeEvents is strict ---- */

enum { V2_KINDS_MAX = 4, V2_COLLECTIONS_MAX = 100, V2_DIDS_MAX = 10000 };

struct counts {
    size_t kinds, dids, collections;
};

/* "app.bsky.*" where app.bsky.x is an NSID. */
static bool is_prefix(struct bl_str value) {
    char text[400];
    if (!bl_str_ends(value, BL_LIT(".*")) || value.n >= sizeof text) return false;
    memcpy(text, value.p, value.n);
    text[value.n - 1] = 'x';
    return at_is_nsid(bl_strn(text, value.n));
}

static enum bl_rc take_v2_cursor(struct request *q, struct bl_str value, struct bl_error *err) {
    q->has_cursor = bl_parse_i64(value, 0, INT64_MAX, &q->cursor);
    return q->has_cursor ? BL_OK : bl_fail(err, BL_E_USAGE, "invalid cursor: %.*s", BL_ARG(value));
}

static enum bl_rc take_v2_collection(struct request *q, struct bl_str value, struct bl_error *err) {
    if (bl_str_ends(value, BL_LIT(".*")) && !is_prefix(value))
        return bl_fail(err, BL_E_USAGE, "invalid collection: %.*s", BL_ARG(value));
    return filter_want_collection(&q->filter, value, err);
}

/* What v1 knows under another name must not pass unnoticed. */
static enum bl_rc refuse_v1_name(struct bl_str name, struct bl_str value, struct bl_error *err) {
    static const char *const old[] = {"wantedDids", "wantedCollections", "requireHello"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (bl_str_eq(name, bl_str(old[i])))
            return bl_fail(err, BL_E_USAGE, "%s is not a parameter of this endpoint", old[i]);
    if (bl_str_eq(name, BL_LIT("compress")) && bl_str_eq(value, BL_LIT("true")))
        return bl_fail(err, BL_E_USAGE, "compress is not a parameter of this endpoint: use zstdDictionary");
    return BL_OK;
}

static enum bl_rc take_v2_parameter(struct request *q, struct counts *n, struct bl_str name, struct bl_str value,
                                    struct bl_error *err) {
    int64_t number;
    if (bl_str_eq(name, BL_LIT("cursor"))) return take_v2_cursor(q, value, err);
    if (bl_str_eq(name, BL_LIT("kinds")))
        return ++n->kinds > V2_KINDS_MAX ? bl_fail(err, BL_E_USAGE, "too many kinds")
                                         : filter_want_kind(&q->filter, value, err);
    if (bl_str_eq(name, BL_LIT("dids")))
        return ++n->dids > V2_DIDS_MAX ? bl_fail(err, BL_E_USAGE, "too many dids")
                                       : filter_want_did(&q->filter, value, err);
    if (bl_str_eq(name, BL_LIT("collections")))
        return ++n->collections > V2_COLLECTIONS_MAX ? bl_fail(err, BL_E_USAGE, "too many collections")
                                                     : take_v2_collection(q, value, err);
    if (bl_str_eq(name, BL_LIT("maxMessageSizeBytes"))) {
        if (!bl_parse_i64(value, 0, UINT32_MAX, &number))
            return bl_fail(err, BL_E_USAGE, "invalid maxMessageSizeBytes: %.*s", BL_ARG(value));
        q->filter.size_max = (uint32_t)number;
    }
    if (bl_str_eq(name, BL_LIT("zstdDictionary"))) {
        if (!bl_parse_i64(value, 1, UINT32_MAX, &number))
            return bl_fail(err, BL_E_USAGE, "invalid zstdDictionary: %.*s", BL_ARG(value));
        q->dictionary_id = (uint64_t)number;
    }
    return refuse_v1_name(name, value, err);
}

static enum bl_rc seal_v2(struct request *q, const struct counts *n, struct bl_error *err) {
    if (q->zstd) return bl_fail(err, BL_E_USAGE, "Socket-Encoding is not supported: use zstdDictionary");
    if (n->collections && n->kinds && !(q->filter.kinds & KIND_COMMIT))
        return bl_fail(err, BL_E_USAGE, "collections constrain commits, but kinds leaves commits out");
    return filter_seal(&q->filter, err);
}

/* ---- the request ---- */

static enum bl_rc take_query(struct request *q, struct bl_str query, struct bl_error *err) {
    struct counts counts = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf name = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf value = {0};
    struct seen seen = {0};
    while (query.n) {
        struct bl_str pair = bl_str_cut(&query, '&');
        struct bl_str left = bl_str_cut(&pair, '=');
        if (!left.n && !pair.n) continue;
        if (!decode(left, &name) || !decode(pair, &value))
            return bl_fail(err, BL_E_USAGE, "invalid options: invalid URL escape");
        if (q->endpoint == ENDPOINT_SUBSCRIBE)
            BL_TRY(take_parameter(q, &seen, bl_buf_view(&name), bl_buf_view(&value), err));
        else if (q->endpoint == ENDPOINT_EVENTS)
            BL_TRY(take_v2_parameter(q, &counts, bl_buf_view(&name), bl_buf_view(&value), err));
        else if (bl_str_eq(bl_buf_view(&name), BL_LIT("id")) &&
                 !bl_parse_u64(bl_buf_view(&value), UINT32_MAX, &q->dictionary_id))
            return bl_fail(err, BL_E_USAGE, "invalid id: %.*s", BL_ARG(bl_buf_view(&value)));
    }
    return q->endpoint == ENDPOINT_EVENTS ? seal_v2(q, &counts, err) : filter_seal(&q->filter, err);
}

static bool same_word(struct bl_str a, const char *b) {
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}
static bool holds(struct bl_str s, const char *part) {
    return s.n && memmem(s.p, s.n, part, strlen(part));
}

static void take_header(struct request *q, struct bl_str name, struct bl_str value) {
    if (same_word(name, "Upgrade"))
        q->websocket = same_word(value, "websocket");
    else if (same_word(name, "Socket-Encoding"))
        q->zstd |= holds(value, "zstd");
    else if (same_word(name, "Sec-WebSocket-Extensions"))
        q->deflate |= holds(value, "permessage-deflate");
    else if (same_word(name, "Sec-WebSocket-Key") && value.n == sizeof q->key - 1)
        memcpy(q->key, value.p, value.n);
    else if (same_word(name, "If-None-Match"))
        snprintf(q->etag, sizeof q->etag, "%.*s", BL_ARG(value));
    else if (same_word(name, "Sec-WebSocket-Protocol"))
        while (value.n) q->subprotocol |= bl_str_eq(bl_str_trim(bl_str_cut(&value, ',')), BL_LIT("xrpc.v1.json"));
}

static void take_headers(struct request *q, struct bl_str lines) {
    while (lines.n) {
        struct bl_str line = bl_str_trim(bl_str_cut(&lines, '\n'));
        struct bl_str name = bl_str_cut(&line, ':');
        take_header(q, bl_str_trim(name), bl_str_trim(line));
    }
}

static bool find_endpoint(struct bl_str path, bool v2, enum endpoint *out) {
    if (bl_str_eq(path, BL_LIT("/subscribe")))
        *out = ENDPOINT_SUBSCRIBE;
    else if (v2 && bl_str_eq(path, BL_LIT("/xrpc/network.bsky.jetstream.subscribeEvents")))
        *out = ENDPOINT_EVENTS;
    else if (v2 && bl_str_eq(path, BL_LIT("/xrpc/network.bsky.jetstream.getZstdDictionary")))
        *out = ENDPOINT_DICTIONARY;
    else
        return false;
    return true;
}

static struct refusal check_compression(const struct request *q, const struct offer *offer) {
    if (q->endpoint == ENDPOINT_EVENTS) {
        char text[96];
        snprintf(text, sizeof text, "the current dictionary is %u", offer->dictionary_id);
        if (q->dictionary_id && q->dictionary_id != offer->dictionary_id)
            return request_refusal(400, "UnknownZstdDictionary", text);
        return (struct refusal){.status = 101};
    }
    if (q->zstd && q->deflate)
        return refuse(400,
                      "choose one compression scheme: custom zstd (compress=true / Socket-Encoding: zstd) or RFC 7692 "
                      "permessage-deflate, not both");
    if (q->zstd && !offer->dictionary_id)
        return refuse(400, "zstd is not available: this server was started without a dictionary");
    return (struct refusal){.status = 101};
}

struct refusal request_parse(struct bl_str head, const struct offer *offer, struct request *out) {
    *out = (struct request){0};
    struct bl_str lines = head, first = bl_str_trim(bl_str_cut(&lines, '\n'));
    struct bl_str method = bl_str_cut(&first, ' '), target = bl_str_cut(&first, ' ');
    struct bl_str path = bl_str_cut(&target, '?');
    if (!find_endpoint(path, offer->v2, &out->endpoint)) return refuse(404, "404 page not found");
    if (!bl_str_eq(method, BL_LIT("GET"))) return refuse(405, "Method Not Allowed");
    take_headers(out, lines);
    struct bl_error err = {0};
    if (take_query(out, target, &err) != BL_OK)
        return request_refusal(400, out->endpoint == ENDPOINT_SUBSCRIBE ? NULL : "InvalidRequest", err.message);
    if (out->endpoint == ENDPOINT_DICTIONARY) return (struct refusal){.status = 200};
    struct refusal r = check_compression(out, offer);
    if (r.status != 101) return r;
    if (!out->websocket || !out->key[0]) return refuse(426, "this endpoint speaks WebSocket only");
    if (out->endpoint == ENDPOINT_EVENTS) out->zstd = out->dictionary_id != 0;
    return r;
}

static const char *reason_of(int status) {
    switch (status) {
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

void request_refuse(struct bl_buf *out, const struct refusal *r) {
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {0};
    if (r->name) {
        bl_buf_printf(&body, "{\"error\":\"%s\",\"message\":", r->name);
        bl_buf_json(&body, bl_str(r->text));
        bl_buf_byte(&body, '}');
    } else {
        bl_buf_printf(&body, "%s\n", r->text);
    }
    bl_buf_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", r->status,
                  reason_of(r->status), r->name ? "application/json" : "text/plain; charset=utf-8");
    if (r->retry_after_s) bl_buf_printf(out, "Retry-After: %d\r\n", r->retry_after_s);
    bl_buf_printf(out, "Content-Length: %zu\r\nConnection: close\r\n\r\n", body.n);
    bl_buf_str(out, bl_buf_view(&body));
}
