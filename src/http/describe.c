/* /openapi.json and /docs, from the table of routes. */
#include <inttypes.h>
#include <openssl/evp.h>

#include "base/version.h"
#include "http/handlers.h"
#include "http/shape.h"

/* ---- OpenAPI ---- */

static void put_choices(struct bl_buf *out, const char *choices) {
    bl_buf_z(out, "{\"type\":\"string\",\"enum\":[");
    const char *comma = "";
    for (struct bl_str rest = bl_str(choices); rest.n; comma = ",") {
        bl_buf_z(out, comma);
        bl_buf_json(out, bl_str_cut(&rest, '|'));
    }
    bl_buf_z(out, "]}");
}

static void put_parameter_schema(struct bl_buf *out, const struct http_parameter *p) {
    switch (p->kind) {
    case HTTP_TEXT:
        bl_buf_printf(out, "{\"type\":\"string\",\"minLength\":%" PRId64 ",\"maxLength\":%" PRId64 "}", p->min, p->max);
        return;
    case HTTP_INT:
        bl_buf_printf(out, "{\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64 "}", p->min, p->max);
        return;
    case HTTP_FLAG:
        bl_buf_z(out, "{\"type\":\"boolean\"}");
        return;
    case HTTP_DATE:
        bl_buf_z(out, "{\"type\":\"string\",\"format\":\"date\"}");
        return;
    case HTTP_CHOICE:
        put_choices(out, p->choices);
        return;
    case HTTP_TIME:
    case HTTP_END_TIME:
    case HTTP_ACCOUNT:
    case HTTP_LANGUAGE:
    case HTTP_TOKEN:
        bl_buf_z(out, "{\"type\":\"string\"}");
        return;
    }
}

static void put_parameter(struct bl_buf *out, const struct http_parameter *p) {
    bl_buf_printf(out,
                  "{\"name\":\"%s\",\"in\":\"query\",\"required\":%s,\"allowEmptyValue\":%s,\"description\":", p->name,
                  p->required ? "true" : "false", p->required ? "false" : "true");
    bl_buf_json(out, bl_str(p->sentence));
    bl_buf_z(out, ",\"schema\":");
    put_parameter_schema(out, p);
    if (p->example) {
        bool literal = p->kind == HTTP_INT || p->kind == HTTP_FLAG;
        bl_buf_z(out, ",\"example\":");
        if (literal)
            bl_buf_z(out, p->example);
        else
            bl_buf_json(out, bl_str(p->example));
    }
    bl_buf_byte(out, '}');
}

static void put_parameters(struct bl_buf *out, const struct http_route *route) {
    struct bl_str name = http_placeholder(route);
    bl_buf_z(out, "\"parameters\":[");
    if (name.n)
        bl_buf_printf(out,
                      "{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,"
                      "\"schema\":{\"type\":\"string\",\"minLength\":1}}%s",
                      BL_ARG(name), route->parameter_count ? "," : "");
    for (size_t i = 0; i < route->parameter_count; i++) {
        if (i) bl_buf_byte(out, ',');
        put_parameter(out, &route->parameters[i]);
    }
    bl_buf_byte(out, ']');
}

static void put_error(struct bl_buf *out, unsigned status, const char *description) {
    bl_buf_printf(out,
                  ",\"%u\":{\"description\":\"%s\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/"
                  "components/schemas/Error\"}}}}",
                  status, description);
}

/* The shape is that of JSON; a route that answers otherwise as well names every type. */
static void put_content(struct bl_buf *out, const struct http_route *route) {
    const char *comma = "";
    for (struct bl_str rest = bl_str(route->type); rest.n; comma = ",") {
        struct bl_str type = bl_str_cut(&rest, '|');
        bool json = bl_str_eq(type, BL_LIT("application/json"));
        bl_buf_printf(out, "%s\"%.*s\":{\"schema\":", comma, BL_ARG(type));
        BL_ASSERT(shape_schema(json && route->shape ? route->shape : "text", out));
        bl_buf_byte(out, '}');
    }
}

static void put_responses(struct bl_buf *out, const struct http_route *route) {
    bl_buf_printf(out, "\"responses\":{\"200\":{\"description\":\"%s\",\"content\":{", route->summary);
    put_content(out, route);
    bl_buf_z(out, "}}");
    if (route->by_snapshot)
        bl_buf_z(out, ",\"304\":{\"description\":\"nothing changed since the answer with this ETag\"}");
    put_error(out, 400, "a parameter is not acceptable");
    put_error(out, 404, "there is no such thing");
    if (route->scope != HTTP_PUBLIC) {
        put_error(out, 401, "a key is needed");
        put_error(out, 403, "the key may not do that");
        put_error(out, 429, "too many requests");
    }
    put_error(out, 503, "not ready, busy, or the lake cannot be read at the moment");
    put_error(out, 500, "an error of the server's own");
    if (route->where != HTTP_INLINE) put_error(out, 504, "the question took too long");
    bl_buf_byte(out, '}');
}

static void put_operation(struct bl_buf *out, const struct http_route *route) {
    bl_buf_z(out, ":{\"get\":{\"summary\":");
    bl_buf_json(out, bl_str(route->summary));
    bl_buf_z(out, ",\"description\":");
    bl_buf_json(out, bl_str(route->details));
    bl_buf_byte(out, ',');
    put_parameters(out, route);
    bl_buf_byte(out, ',');
    put_responses(out, route);
    if (route->scope == HTTP_PUBLIC)
        bl_buf_z(out, ",\"security\":[]");
    else
        bl_buf_printf(out, ",\"x-scope\":\"%s\"", http_scope_name(route->scope));
    bl_buf_z(out, "}}");
}

static bool is_documented(const struct http_route *route) {
    return strcmp(route->path, "/{file}") != 0;
}

static void put_schemas(struct bl_buf *out) {
    bl_buf_z(out, "\"components\":{\"securitySchemes\":{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
                  "\"header\":{\"type\":\"apiKey\","
                  "\"in\":\"header\",\"name\":\"X-API-Key\"}},\"schemas\":{");
    for (size_t i = 0; i < shape_name_count; i++) {
        bl_buf_printf(out, "%s\"%s\":", i ? "," : "", shape_names[i].name);
        BL_ASSERT(shape_schema(shape_names[i].shape, out));
    }
    bl_buf_z(out, "}}");
}

HTTP_HANDLER(answer_openapi) {
    struct bl_buf *out = &res->body;
    (void)context, (void)rq, (void)err;
    bl_buf_z(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"bluelake\",\"version\":\"" BL_VERSION
                  "\",\"description\":\"Search what was collected "
                  "from the Bluesky network.\"},\"security\":[{},{\"bearer\":[]},{\"header\":[]}],\"paths\":{");
    for (size_t i = 0; i < http_route_count; i++) {
        if (!is_documented(&http_routes[i])) continue;
        if (i) bl_buf_byte(out, ',');
        bl_buf_json(out, bl_str(http_routes[i].path));
        put_operation(out, &http_routes[i]);
    }
    bl_buf_z(out, "},");
    put_schemas(out);
    bl_buf_z(out, "}\n");
    return BL_OK;
}

/* ---- the guide ---- */

static void put_escaped(struct bl_buf *out, const char *text) {
    for (; *text; text++) switch (*text) {
        case '<':
            bl_buf_z(out, "&lt;");
            break;
        case '>':
            bl_buf_z(out, "&gt;");
            break;
        case '&':
            bl_buf_z(out, "&amp;");
            break;
        case '"':
            bl_buf_z(out, "&quot;");
            break;
        default:
            bl_buf_byte(out, *text);
        }
}

static void put_row(struct bl_buf *out, const struct http_parameter *p) {
    bl_buf_printf(out, "<tr><th scope=\"row\"><code>%s</code>%s</th><td>", p->name, p->required ? " (needed)" : "");
    put_escaped(out, p->sentence);
    if (p->choices) bl_buf_printf(out, ": one of <code>%s</code>", p->choices);
    if (p->kind == HTTP_INT) bl_buf_printf(out, ", from %" PRId64 " to %" PRId64, p->min, p->max);
    if (p->standard) bl_buf_printf(out, ". Without it: <code>%s</code>", p->standard);
    bl_buf_z(out, "</td><td><code>");
    if (p->example) put_escaped(out, p->example);
    bl_buf_z(out, "</code></td></tr>\n");
}

static void put_section(struct bl_buf *out, const struct http_route *route) {
    bl_buf_z(out, "<section>\n<h2>GET <code>");
    put_escaped(out, route->path);
    bl_buf_printf(out, "</code></h2>\n<p>%s. ", route->summary);
    put_escaped(out, route->details);
    bl_buf_z(out, "</p>\n");
    if (route->parameter_count)
        bl_buf_z(out, "<table>\n<tr><th scope=\"col\">parameter</th><th scope=\"col\">meaning</th><th "
                      "scope=\"col\">example</th></tr>\n");
    for (size_t i = 0; i < route->parameter_count; i++) put_row(out, &route->parameters[i]);
    if (route->parameter_count) bl_buf_z(out, "</table>\n");
    if (route->shape)
        bl_buf_printf(out, "<details><summary>The answer</summary><p><code>%s</code></p></details>\n", route->shape);
    if (route->scope != HTTP_PUBLIC)
        bl_buf_printf(out, "<p>Where keys are used, the scope <code>%s</code> is needed.</p>\n",
                      http_scope_name(route->scope));
    bl_buf_z(out, "</section>\n");
}

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem 1.5rem 4rem}"
    "code{font-family:ui-monospace,monospace;font-size:.92em;overflow-wrap:anywhere}section{margin-top:2.5rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;"
    "border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent)}h2{font-size:1.2rem;margin-bottom:.25rem}";

/* The page's own style and nothing else: allowed by its hash. */
static void allow_style(struct http_response *res) {
    unsigned char hash[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
    unsigned n = 0;
    BL_ASSERT(EVP_Digest(style, sizeof style - 1, hash, &n, EVP_sha256(), NULL) == 1);
    EVP_EncodeBlock(text, hash, (int)n);
    http_header_printf(res, "Content-Security-Policy",
                       "default-src 'none'; style-src 'sha256-%s'; frame-ancestors 'none'", (const char *)text);
}

static const char docs_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>bluelake API</title>"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    "<meta name=\"color-scheme\" content=\"light dark\"><style>";
static const char docs_introduction[] =
    "</style></head>\n<body>\n<main>\n<h1>bluelake API</h1>\n<p>Answers are JSON in UTF-8, times ISO 8601 in UTC. "
    "Errors "
    "have the form <code>{\"error\":{\"code\",\"parameter\",\"message\",\"cure\"}}</code>. Where keys are used, send "
    "<code>Authorization: Bearer KEY</code>. As a document for programs: <a "
    "href=\"openapi.json\">openapi.json</a>.</p>\n";

HTTP_HANDLER(answer_docs) {
    struct bl_buf *out = &res->body;
    (void)context, (void)rq, (void)err;
    res->content_type = "text/html; charset=utf-8";
    allow_style(res);
    bl_buf_z(out, docs_head);
    bl_buf_z(out, style);
    bl_buf_z(out, docs_introduction);
    for (size_t i = 0; i < http_route_count; i++)
        if (is_documented(&http_routes[i])) put_section(out, &http_routes[i]);
    bl_buf_z(out, "</main>\n</body>\n</html>\n");
    return BL_OK;
}
