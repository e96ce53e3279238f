#include "http/exchange.h"

#include <stdlib.h>

#include "base/clock.h"
#include "http/routes.h"

enum { STREAM_PIECE = 64 << 10 };

void http_request_release(struct http_request *rq) {
    bl_arena_release(&rq->arena);
}

void http_response_release(struct http_response *res) {
    bl_buf_release(&res->body);
}

void http_header(struct http_response *res, const char *name, const char *value) {
    for (size_t i = 0; i < res->header_count; i++)
        if (strcmp(res->headers[i].name, name) == 0) {
            res->headers[i].value = value;
            return;
        }
    BL_ASSERT(res->header_count < HTTP_HEADERS_MAX);
    res->headers[res->header_count++] = (struct http_header){name, value};
}

void http_header_printf(struct http_response *res, const char *name, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    BL_ASSERT(n >= 0);
    struct bl_str copy = bl_arena_dup(res->arena, bl_strn(text, strlen(text) + 1));
    if (copy.p) http_header(res, name, copy.p);
}

const char *http_header_of(const struct http_response *res, const char *name) {
    for (size_t i = 0; i < res->header_count; i++)
        if (strcmp(res->headers[i].name, name) == 0) return res->headers[i].value;
    return NULL;
}

struct bl_str http_body(const struct http_response *res) {
    return res->fixed.n ? res->fixed : bl_buf_view(&res->body);
}

void http_json(struct bl_buf *out, struct bl_str s) {
    if (s.p)
        bl_buf_json(out, s);
    else
        bl_buf_z(out, "null");
}

void http_json_text(struct bl_buf *out, struct bl_str s) {
    http_json(out, bl_utf8_valid(s) ? s : BL_LIT("?"));
}

void http_json_time(struct bl_buf *out, int64_t us, int digits) {
    char text[BL_TIME_TEXT_MAX];
    bl_buf_byte(out, '"');
    bl_buf_z(out, bl_format_time(us, digits, text));
    bl_buf_byte(out, '"');
}

static void remove_header(struct http_response *res, const char *name) {
    for (size_t i = 0; i < res->header_count; i++)
        if (strcmp(res->headers[i].name, name) == 0) res->headers[i] = res->headers[--res->header_count];
}

/* What an error must not say about itself. */
static const char *const of_files[] = {"Content-Disposition", "Trailer", "X-Truncated", "X-Snapshot",
                                       "Content-Encoding"};

void http_refuse(struct http_response *res, unsigned status, const char *code, const char *parameter, const char *cure,
                 const char *format, ...) {
    char message[BL_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    res->status = status;
    res->content_type = "application/json";
    res->streaming = false;
    for (size_t i = 0; i < sizeof of_files / sizeof *of_files; i++) remove_header(res, of_files[i]);
    res->fixed = (struct bl_str){0};
    bl_buf_clear(&res->body);
    bl_buf_printf(&res->body, "{\"error\":{\"code\":\"%s\",\"parameter\":", code);
    http_json(&res->body, bl_str(parameter));
    bl_buf_z(&res->body, ",\"message\":");
    http_json_text(&res->body, bl_str(message));
    bl_buf_z(&res->body, ",\"cure\":");
    http_json(&res->body, bl_str(cure));
    bl_buf_z(&res->body, "}}\n");
}

/* The query room names the parameter in front of its message, or the column of a search text; else it is the path's. */
static const struct http_parameter *parameter_at_fault(const struct http_request *rq, const char *message) {
    bool searching = strncmp(message, "column ", 7) == 0;
    for (size_t i = 0; rq->route && i < rq->route->parameter_count; i++) {
        const struct http_parameter *p = &rq->route->parameters[i];
        size_t n = strlen(p->name);
        if (strncmp(message, p->name, n) == 0 && message[n] == ':') return p;
        if (searching && strcmp(p->name, "q") == 0) return p;
    }
    return NULL;
}

/* Where the thing may be found that the path named in vain. */
static const char *where_to_look(struct bl_str placeholder) {
    static const struct {
        const char *placeholder, *cure;
    } places[] = {
        {"uri", "/search finds the posts there are"},
        {"account", "/search tells who wrote a post; an account that did nothing since the start is not known"},
        {"name", "/views lists them"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (bl_str_eq(placeholder, bl_str(places[i].placeholder))) return places[i].cure;
    return "see /docs for what there is";
}

/* Cause and cure apart, whoever knows the cure: the error, the parameter's kind, or the place. */
static void refuse_question(struct http_response *res, const struct http_request *rq, const struct bl_error *err) {
    bool absent = err->code == BL_E_NOT_FOUND;
    struct bl_str placeholder = rq->route ? http_placeholder(rq->route) : (struct bl_str){0};
    const struct http_parameter *p = parameter_at_fault(rq, err->message);
    const char *known = bl_err_cure(err);
    size_t n = known ? (size_t)(known - err->message) - 2 /* ": " */ : strlen(err->message);
    char name[64], cure[256] = "see /docs for what may be asked";
    snprintf(name, sizeof name, "%.*s", BL_ARG(placeholder));
    if (absent) snprintf(cure, sizeof cure, "%s", where_to_look(placeholder));
    if (p) http_cure(p, cure, sizeof cure);
    if (known) snprintf(cure, sizeof cure, "%s", known);
    http_refuse(res, absent ? 404 : 400, absent ? "not_found" : "bad_parameter",
                p       ? p->name
                : *name ? name
                        : NULL,
                cure, "%.*s", (int)n, err->message);
}

static bool is_callers_fault(enum bl_rc code) {
    return code == BL_E_USAGE || code == BL_E_INVALID || code == BL_E_SYNTAX || code == BL_E_TOO_LARGE;
}

void http_refuse_error(struct http_response *res, const struct http_request *rq, const struct bl_error *err) {
    if (is_callers_fault(err->code) || err->code == BL_E_NOT_FOUND) {
        refuse_question(res, rq, err);
    } else if (err->code == BL_E_TIMEOUT) {
        http_refuse(res, 504, "deadline", NULL,
                    "narrow the time range with start and end, or look for something more common",
                    "the question took longer than the server allows");
    } else if (err->code == BL_E_FULL || err->code == BL_E_BUSY || err->code == BL_E_CANCELLED) {
        http_refuse(res, 503, "busy", NULL, "try again in a few seconds, or ask for less",
                    "the server cannot answer this now");
        http_header(res, "Retry-After", "5");
    } else if (bl_rc_class(err->code) == BL_CLASS_RETRY) {
        http_refuse(res, 503, "unreadable", NULL,
                    "try again in a few seconds; the server's log has the reason under this id",
                    "the lake cannot be read at the moment: request %s failed", rq->id);
        http_header(res, "Retry-After", "5");
    } else {
        http_refuse(res, 500, "internal", NULL, "the server's log has the reason under this id", "request %s failed",
                    rq->id);
    }
}

static const struct http_value *find_value(const struct http_request *rq, const char *name) {
    for (size_t i = 0; i < rq->value_count; i++)
        if (strcmp(rq->values[i].parameter->name, name) == 0) return &rq->values[i];
    return NULL;
}

struct bl_str http_text(const struct http_request *rq, const char *name) {
    const struct http_value *value = find_value(rq, name);
    return value ? value->text : (struct bl_str){0};
}

int64_t http_number(const struct http_request *rq, const char *name, int64_t otherwise) {
    const struct http_value *value = find_value(rq, name);
    return value ? value->number : otherwise;
}

bool http_has(const struct http_request *rq, const char *name) {
    return find_value(rq, name) != NULL;
}

enum bl_rc http_stream(struct http_response *res, bool flush, struct bl_error *err) {
    BL_TRY(bl_buf_check(&res->body, "the answer", err));
    if (res->body.n < STREAM_PIECE && !flush) return BL_OK;
    if (!res->started) BL_TRY(res->sink->start(res->sink->context, err));
    res->started = true;
    enum bl_rc rc = res->body.n ? res->sink->write(res->sink->context, bl_buf_view(&res->body), err) : BL_OK;
    bl_buf_clear(&res->body);
    return rc;
}
