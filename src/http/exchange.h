/* exchange: one request and its response, as every part of this room sees them. No sockets here: a test makes a
 * request, calls http_begin or a handler, and looks at the response.
 *
 * May include: base, query/query.h, and routes.h of this room. Private to the http room.
 * Lifetime: everything a request or response points to lives in the request's arena, in static storage or, the body, in
 * a buffer of its own. Threading: one owner at a time: the network thread, then a worker, then the network thread. */
#pragma once
#include <stdatomic.h>

#include "base/mem.h"
#include "query/query.h"

enum {
    HTTP_VALUES_MAX = 24,
    HTTP_HEADERS_MAX = 24,
    HTTP_BODY_MAX = 96 << 20,
    HTTP_ID_MAX = 20,
    HTTP_KEY_NAME_MAX = 64
};
enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OPTIONS, HTTP_OTHER };

struct http_parameter;
struct http_route;
struct http_value {
    const struct http_parameter *parameter;
    struct bl_str text;
    int64_t number; /* of integers, flags and times */
};
struct http_request {
    enum http_method method;
    struct bl_str target; /* as it came: path?query, percent-encoded */
    char address[64];     /* of the client */
    struct bl_str authorization, api_key, origin, accept_encoding, if_none_match, forwarded_for;
    struct bl_arena arena;

    char id[HTTP_ID_MAX];
    const struct http_route *route;            /* NULL: there is no such page */
    struct bl_str path, path_value;            /* decoded; what stands for {...} in the route's pattern */
    struct http_value values[HTTP_VALUES_MAX]; /* in the order of the route's table */
    size_t value_count;
    char key_name[HTTP_KEY_NAME_MAX]; /* whose key it is; "" without */
    int64_t start_ns;
    bool crowded;     /* its connection is one too many */
    atomic_bool gone; /* the client hung up: whatever is done for it may stop */
};

struct http_header {
    const char *name, *value;
};
struct http_response;
/* Where a long answer goes while it is made. `start` sends status and headers as they are then; `write` waits while the
 * client is slower than we are and fails with BL_E_CANCELLED when it is gone. */
struct http_sink {
    enum bl_rc (*start)(void *context, struct bl_error *err);
    enum bl_rc (*write)(void *context, struct bl_str bytes, struct bl_error *err);
    void *context;
};
struct http_response {
    unsigned status;
    const char *content_type;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct http_header trailers[4];
    size_t trailer_count;
    struct bl_buf body;
    struct bl_str fixed;    /* used instead of `body` when not empty: static storage */
    struct bl_arena *arena; /* the request's */
    const struct http_sink *sink;
    bool streaming, started; /* the body goes through `sink`; the head is sent */
    int64_t snapshot;        /* of the lake, that the answer shows; -1: none */
    enum query_names names;  /* of accounts in it */
    const char *cache;       /* for the log: "hit", "miss" or "-" */
};

void http_request_release(struct http_request *rq);
void http_response_release(struct http_response *res);
/* `name` and `value` live as long as the response. */
void http_header(struct http_response *res, const char *name, const char *value);
void http_header_printf(struct http_response *res, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *http_header_of(const struct http_response *res, const char *name); /* NULL when absent */
struct bl_str http_body(const struct http_response *res);

/* Make the response an error: {"error":{"code","parameter","message","cure"}}. `parameter` and `cure` may be NULL. */
void http_refuse(struct http_response *res, unsigned status, const char *code, const char *parameter, const char *cure,
                 const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The same from an error of another room; what is no fault of the client's says no more than the request's id. */
void http_refuse_error(struct http_response *res, const struct http_request *rq, const struct bl_error *err);

/* Values by name; absent ones give {NULL,0}, `otherwise`, false. */
struct bl_str http_text(const struct http_request *rq, const char *name);
int64_t http_number(const struct http_request *rq, const char *name, int64_t otherwise);
bool http_has(const struct http_request *rq, const char *name);

/* Streams: append to the body; it is handed on in large pieces. http_stream_end sends what is left. */
enum bl_rc http_stream(struct http_response *res, bool flush, struct bl_error *err);

/* A JSON string, or null where `s.p` is NULL. */
void http_json(struct bl_buf *out, struct bl_str s);
/* The same for a text that may not be UTF-8: then "?" stands for it. */
void http_json_text(struct bl_buf *out, struct bl_str s);
void http_json_time(struct bl_buf *out, int64_t us, int digits); /* "2026-11-21T08:05:00Z" with quotes */
