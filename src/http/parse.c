/* From the bytes of a request line to checked values. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/near.h"
#include "http/routes.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool http_decode(struct bl_str s, bool query, struct bl_arena *arena, struct bl_str *out) {
    char *copy = bl_arena_alloc(arena, s.n + 1);
    if (!copy) return false;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0) return false;
            c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
            if (c == 0) return false;
        } else if (c == '+' && query)
            c = ' ';
        copy[n++] = c;
    }
    *out = bl_strn(copy, n);
    return bl_utf8_valid(*out);
}

/* ---- values ---- */

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool consists_of(struct bl_str s, const char *also) {
    for (size_t i = 0; i < s.n; i++)
        if (!is_word(s.p[i]) && (s.p[i] == 0 || !strchr(also, s.p[i]))) return false;
    return true;
}

static bool is_account(struct bl_str s) {
    if (bl_str_starts(s, BL_LIT("did:"))) return s.n > 8 && s.n <= 2048 && consists_of(s, ".:-_%");
    if (bl_str_starts(s, BL_LIT("@"))) s = bl_str_skip(s, 1);
    return s.n >= 3 && s.n <= 253 && memchr(s.p, '.', s.n) && consists_of(s, ".-_");
}

static bool is_choice(const char *choices, struct bl_str value) {
    for (struct bl_str rest = bl_str(choices); rest.n;)
        if (bl_str_eq(bl_str_cut(&rest, '|'), value)) return true;
    return false;
}

static bool read_flag(struct bl_str s, int64_t *out) {
    *out = bl_str_eq(s, BL_LIT("true")) || bl_str_eq(s, BL_LIT("1"));
    return *out || bl_str_eq(s, BL_LIT("false")) || bl_str_eq(s, BL_LIT("0"));
}

/* NULL when `value` is acceptable; else what would be, as a predicate: "is not ...". */
static const char *check_value(const struct http_parameter *p, struct http_value *value) {
    struct bl_str s = value->text;
    switch (p->kind) {
    case HTTP_TEXT:
        return (int64_t)s.n >= p->min && (int64_t)s.n <= p->max ? NULL : "has a length outside of what is allowed";
    case HTTP_INT:
        return bl_parse_i64(s, p->min, p->max, &value->number) ? NULL
                                                               : "is not a whole number within the allowed range";
    case HTTP_FLAG:
        return read_flag(s, &value->number) ? NULL : "is neither true nor false";
    case HTTP_TIME:
    case HTTP_END_TIME:
        return bl_parse_time(s, p->kind == HTTP_END_TIME, &value->number) ? NULL : "is not a date or time";
    case HTTP_DATE:
        return s.n == 10 && bl_parse_time(s, false, &value->number) ? NULL : "is not a date";
    case HTTP_CHOICE:
        return is_choice(p->choices, s) ? NULL : "is none of the choices";
    case HTTP_ACCOUNT:
        return is_account(s) ? NULL : "is neither a handle nor a DID";
    case HTTP_LANGUAGE:
        return s.n >= 2 && s.n <= 35 && consists_of(s, "-") ? NULL : "is not a language";
    case HTTP_TOKEN:
        return s.n > 0 && (int64_t)s.n <= p->max && consists_of(s, "-_.:~") ? NULL : "is not what an answer gave";
    }
    return "cannot be checked";
}

void http_cure(const struct http_parameter *p, char *out, size_t size) {
    switch (p->kind) {
    case HTTP_TEXT:
        snprintf(out, size, "give %" PRId64 " to %" PRId64 " bytes of UTF-8 text", p->min, p->max);
        return;
    case HTTP_INT:
        snprintf(out, size, "give a number from %" PRId64 " to %" PRId64, p->min, p->max);
        return;
    case HTTP_FLAG:
        snprintf(out, size, "give true or false");
        return;
    case HTTP_TIME:
    case HTTP_END_TIME:
        snprintf(out, size, "give a date such as 2026-11-21 or a time such as 2026-11-21T08:30:00Z");
        return;
    case HTTP_DATE:
        snprintf(out, size, "give a date such as 2026-11-21");
        return;
    case HTTP_CHOICE:
        snprintf(out, size, "give one of %s", p->choices);
        return;
    case HTTP_ACCOUNT:
        snprintf(out, size, "give a handle such as alice.bsky.social or a DID such as did:plc:...");
        return;
    case HTTP_LANGUAGE:
        snprintf(out, size, "give two or three letters such as en, or more such as pt-BR");
        return;
    case HTTP_TOKEN:
        snprintf(out, size, "give what an earlier answer gave, unchanged");
        return;
    }
}

static void refuse_value(struct http_response *res, const struct http_parameter *p, struct bl_str value,
                         const char *wrong) {
    char cure[256];
    http_cure(p, cure, sizeof cure);
    struct bl_str shown = value.n > 100 ? BL_LIT("...") : value;
    http_refuse(res, 400, "bad_parameter", p->name, cure, "%s: \"%.*s\" %s", p->name, BL_ARG(shown), wrong);
}

static const char *parameter_at(size_t i, const void *context) {
    const struct http_route *route = context;
    return i < route->parameter_count ? route->parameters[i].name : NULL;
}

static void refuse_unknown(struct http_response *res, const struct http_route *route, struct bl_str name) {
    const char *near = bl_nearest(name, parameter_at, route);
    char cure[256], shown[64];
    snprintf(shown, sizeof shown, "%.*s", name.n > 40 ? 3 : (int)name.n, name.n > 40 ? "..." : name.p);
    if (near)
        snprintf(cure, sizeof cure, "did you mean %s?", near);
    else
        snprintf(cure, sizeof cure, "see /docs for the parameters of %s", route->path);
    http_refuse(res, 400, "unknown_parameter", bl_utf8_valid(bl_str(shown)) ? shown : "?", cure,
                "%s has no such parameter", route->path);
}

static bool refuse_encoding(struct http_response *res, const char *parameter) {
    http_refuse(res, 400, "bad_encoding", parameter, "percent-encode the UTF-8 bytes of what you look for",
                "the address holds a bad percent escape, a NUL, or text that is not UTF-8");
    return false;
}

static bool add_value(struct http_request *rq, struct http_response *res, struct bl_str *given, struct bl_str name,
                      struct bl_str raw) {
    const struct http_route *route = rq->route;
    for (size_t i = 0; i < route->parameter_count; i++) {
        const struct http_parameter *p = &route->parameters[i];
        if (!bl_str_eq(name, bl_str(p->name))) continue;
        if (given[i].p) {
            http_refuse(res, 400, "bad_parameter", p->name, "give it once", "%s is given twice", p->name);
            return false;
        }
        return http_decode(raw, true, &rq->arena, &given[i]) || refuse_encoding(res, p->name);
    }
    refuse_unknown(res, route, name);
    return false;
}

static bool read_query(struct http_request *rq, struct http_response *res, struct bl_str query, struct bl_str *given) {
    while (query.n) {
        struct bl_str raw = bl_str_cut(&query, '&'), name;
        if (!raw.n) continue;
        if (!http_decode(bl_str_cut(&raw, '='), true, &rq->arena, &name)) return refuse_encoding(res, NULL);
        if (!add_value(rq, res, given, name, raw)) return false;
    }
    return true;
}

/* An empty value means the same as none: what a form sends for a field left open. */
static bool check_values(struct http_request *rq, struct http_response *res, const struct bl_str *given) {
    for (size_t i = 0; i < rq->route->parameter_count; i++) {
        const struct http_parameter *p = &rq->route->parameters[i];
        struct http_value value = {.parameter = p, .text = given[i]};
        if (!given[i].n) {
            if (!p->required) continue;
            char cure[256];
            http_cure(p, cure, sizeof cure);
            http_refuse(res, 400, "missing_parameter", p->name, cure, "%s is needed: %s", p->name, p->sentence);
            return false;
        }
        const char *wrong = check_value(p, &value);
        if (wrong) {
            refuse_value(res, p, given[i], wrong);
            return false;
        }
        rq->values[rq->value_count++] = value;
    }
    return true;
}

static bool check_range(const struct http_request *rq, struct http_response *res) {
    int64_t start = http_number(rq, "start", INT64_MIN), end = http_number(rq, "end", INT64_MAX);
    if (start <= end) return true;
    http_refuse(res, 400, "bad_parameter", "end", "exchange them, or leave one out", "end is before start");
    return false;
}

struct bl_str http_placeholder(const struct http_route *route) {
    struct bl_str rest = bl_str(route->path);
    (void)bl_str_cut(&rest, '{');
    return bl_str_cut(&rest, '}');
}

const struct http_route *http_match(struct bl_str path, struct bl_str *value) {
    *value = (struct bl_str){0};
    for (size_t i = 0; i < http_route_count; i++) {
        struct bl_str pattern = bl_str(http_routes[i].path);
        const char *brace = memchr(pattern.p, '{', pattern.n);
        if (!brace) {
            if (bl_str_eq(path, pattern)) return &http_routes[i];
            continue;
        }
        struct bl_str prefix = bl_strn(pattern.p, (size_t)(brace - pattern.p));
        if (!bl_str_starts(path, prefix) || path.n == prefix.n) continue;
        *value = bl_str_skip(path, prefix.n);
        return &http_routes[i];
    }
    return NULL;
}

bool http_route_request(struct http_request *rq, struct http_response *res) {
    struct bl_str query = rq->target;
    struct bl_str path = bl_str_cut(&query, '?');
    if (!http_decode(path, false, &rq->arena, &rq->path)) return refuse_encoding(res, NULL);
    rq->route = http_match(rq->path, &rq->path_value);
    if (!rq->route) {
        http_refuse(res, 404, "not_found", NULL, "see /docs for what there is", "there is no such page");
        return false;
    }
    return true;
}

bool http_read_values(struct http_request *rq, struct http_response *res) {
    struct bl_str query = rq->target, given[HTTP_VALUES_MAX] = {0};
    (void)bl_str_cut(&query, '?');
    BL_ASSERT(rq->route->parameter_count <= HTTP_VALUES_MAX);
    return read_query(rq, res, query, given) && check_values(rq, res, given) && check_range(rq, res);
}

/* With its length, so that no text can look like two values. */
static void add_counted(struct bl_buf *out, struct bl_str s) {
    bl_buf_printf(out, " %zu:", s.n);
    bl_buf_str(out, s);
}

void http_normalise(const struct http_request *rq, struct bl_buf *out) {
    bl_buf_z(out, rq->route->path);
    add_counted(out, rq->path_value);
    for (size_t i = 0; i < rq->value_count; i++) {
        const struct http_value *v = &rq->values[i];
        bool by_number = v->parameter->kind == HTTP_INT || v->parameter->kind == HTTP_FLAG ||
                         v->parameter->kind == HTTP_TIME || v->parameter->kind == HTTP_END_TIME ||
                         v->parameter->kind == HTTP_DATE;
        bl_buf_printf(out, " %s", v->parameter->name);
        if (by_number)
            bl_buf_printf(out, " %" PRId64, v->number);
        else
            add_counted(out, v->text);
    }
}
