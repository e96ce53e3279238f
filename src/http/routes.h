/* routes: what the API offers, as one table. Dispatch, the check of parameters, 404 and 405, /openapi.json and /docs
 * come from it, so that none of them can say something the others do not.
 *
 * May include: base, exchange.h. Private to the http room. */
#pragma once
#include "http/exchange.h"

enum http_kind {
    HTTP_TEXT,     /* min..max bytes of UTF-8 */
    HTTP_INT,      /* within [min,max] */
    HTTP_FLAG,     /* true, false, 1, 0 */
    HTTP_TIME,     /* a date or RFC 3339 */
    HTTP_END_TIME, /* the same; a bare date means its last microsecond */
    HTTP_DATE,     /* YYYY-MM-DD */
    HTTP_CHOICE,   /* one of `choices` */
    HTTP_ACCOUNT,  /* handle, @handle or DID */
    HTTP_LANGUAGE, /* en, pt-BR */
    HTTP_TOKEN,    /* opaque: letters, digits, - _ . : and at most max of them */
};
struct http_parameter {
    const char *name;
    enum http_kind kind;
    int64_t min, max;
    bool required;
    const char *choices;  /* "csv|ndjson|parquet" */
    const char *standard; /* what holds when it is absent, for the guide; NULL: nothing */
    const char *example, *sentence;
};

enum http_scope { HTTP_PUBLIC = 0, HTTP_SEARCH = 1, HTTP_EXPORT = 2, HTTP_METRICS = 4, HTTP_ADMIN = 8 };
enum http_where {
    HTTP_INLINE, /* answered at once by the network thread: must not wait for anything */
    HTTP_LIGHT,  /* by a worker with a session on the lake, in a moment: before whatever else waits */
    HTTP_WORKER, /* by a worker */
    HTTP_LONG,   /* the same, and may take minutes: a share of the workers is kept free of these */
};
struct http_context;
typedef enum bl_rc (*http_handler)(struct http_context *context, const struct http_request *rq,
                                   struct http_response *res, struct bl_error *err);
struct http_route {
    const char *path; /* one {name} at most, as the last part: it takes the rest, slashes included */
    http_handler handle;
    enum http_where where;
    enum http_scope scope;
    int cache_seconds; /* 0: never kept */
    bool by_snapshot;  /* the answer follows from the snapshot and the request alone: it gets an ETag */
    const struct http_parameter *parameters;
    size_t parameter_count;
    const char *type;  /* of the answer: "a|b" where a parameter decides; the first is the standard */
    const char *shape; /* of a JSON answer, see shape.h; NULL for others */
    const char *summary, *details;
};
extern const struct http_route http_routes[];
extern const size_t http_route_count;
const char *http_scope_name(enum http_scope scope);
/* "search,export": false at an unknown name, which `*bad` then is. */
bool http_scopes_parse(struct bl_str text, unsigned *scopes, struct bl_str *bad);

/* The route of a decoded path; `*value` is what stands for {name}. */
const struct http_route *http_match(struct bl_str path, struct bl_str *value);
struct bl_str http_placeholder(const struct http_route *route); /* "name" of /views/{name}; empty without */
void http_cure(const struct http_parameter *p, char *out, size_t size); /* what is acceptable: "give a date such as" */
/* Reads rq->target into path and route, then into values. False when it is not acceptable: then `res` says why. */
bool http_route_request(struct http_request *rq, struct http_response *res);
bool http_read_values(struct http_request *rq, struct http_response *res);
/* Appends what makes two requests the same question: the route and its values in the table's order. */
void http_normalise(const struct http_request *rq, struct bl_buf *out);
/* Strict percent-decoding; '+' is a blank in queries. False for a bad escape, NUL or text that is not UTF-8. */
bool http_decode(struct bl_str s, bool query, struct bl_arena *arena, struct bl_str *out);
