/* The table of routes. */
#include "http/routes.h"

#include "http/handlers.h"

#define PARAMETER(name, kind, min, max, required, choices, standard, example, sentence)                                \
    {name, HTTP_##kind, min, max, required, choices, standard, example, sentence},
static const struct http_parameter search_parameters[] = {
#include "http/filters.def"
    PARAMETER("page", INT, 1, 1000000, false, NULL, "1", "2", "which page, from 1; reaches 10,000 results deep")
    PARAMETER("cursor", TOKEN, 0, 6000, false, NULL, NULL, NULL, "next_cursor of an earlier answer: goes on behind it")
    PARAMETER("limit", INT, 1, 100, false, NULL, "50", "10", "results a page")
};
static const struct http_parameter export_parameters[] = {
#include "http/filters.def"
    PARAMETER("format", CHOICE, 0, 0, false, "csv|ndjson|parquet", "csv", "ndjson", "what the file is")
    PARAMETER("raw", FLAG, 0, 0, false, NULL, "false", "true", "CSV without the guard against spreadsheet formulas")
    PARAMETER("bom", FLAG, 0, 0, false, NULL, "false", "true", "CSV with a byte order mark, as some spreadsheets want")
};
static const struct http_parameter count_parameters[] = {
#include "http/filters.def"
    PARAMETER("bucket", CHOICE, 0, 0, false, "hour|day", NULL, "day", "width of a bucket; else chosen by the range")
};
static const struct http_parameter daily_parameters[] = {
    PARAMETER("date", DATE, 0, 0, true, NULL, NULL, "2026-11-21", "which day (UTC)")
};
static const struct http_parameter view_parameters[] = {
    PARAMETER("format", CHOICE, 0, 0, false, "json|csv", "json", "csv", "what the answer is")
};
static const struct http_parameter gap_parameters[] = {
    PARAMETER("start", TIME, 0, 0, false, NULL, NULL, "2026-11-20", "gaps that touch that day or moment, or later")
    PARAMETER("end", END_TIME, 0, 0, false, NULL, NULL, "2026-11-21", "gaps that touch that day or moment, or earlier")
};
static const struct http_parameter no_parameters[0];
#undef PARAMETER

#define ROUTE(path_, handler, where_, scope_, seconds, same_, parameters_, type_, shape_, summary_, details_)          \
    {.path = path_,                                                                                                    \
     .handle = handler,                                                                                                \
     .where = HTTP_##where_,                                                                                           \
     .scope = HTTP_##scope_,                                                                                           \
     .cache_seconds = seconds,                                                                                         \
     .by_snapshot = same_,                                                                                             \
     .parameters = parameters_,                                                                                        \
     .parameter_count = sizeof parameters_ / sizeof(struct http_parameter),                                            \
     .type = type_,                                                                                                    \
     .shape = shape_,                                                                                                  \
     .summary = summary_,                                                                                              \
     .details = details_},
const struct http_route http_routes[] = {
#include "http/routes.def"
};
#undef ROUTE
const size_t http_route_count = sizeof http_routes / sizeof *http_routes;

static const struct {
    enum http_scope scope;
    const char *name;
} scopes_by_name[] = {
    {HTTP_SEARCH, "search"}, {HTTP_EXPORT, "export"}, {HTTP_METRICS, "metrics"}, {HTTP_ADMIN, "admin"}};
enum { SCOPES = sizeof scopes_by_name / sizeof *scopes_by_name };

const char *http_scope_name(enum http_scope scope) {
    for (size_t i = 0; i < SCOPES; i++)
        if (scopes_by_name[i].scope == scope) return scopes_by_name[i].name;
    return "public";
}

bool http_scopes_parse(struct bl_str text, unsigned *scopes, struct bl_str *bad) {
    unsigned found = 0;
    while (text.n) {
        struct bl_str name = bl_str_trim(bl_str_cut(&text, ','));
        size_t i = 0;
        while (i < SCOPES && !bl_str_eq(name, bl_str(scopes_by_name[i].name))) i++;
        *bad = name;
        if (i == SCOPES) return false;
        found |= (unsigned)scopes_by_name[i].scope;
    }
    *scopes = found;
    return true;
}
