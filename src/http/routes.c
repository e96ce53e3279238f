/* The table of routes. */
#include "http/routes.h"

#include "http/handlers.h"

enum { TEXT_MAX = 1000, SEARCH_MAX = 4096, LIMIT_MAX = 100, PAGE_MAX = 1000000, TOKEN_MAX = 6000 };

#define SEARCHED                                                                                                       \
    {"text", HTTP_TEXT, 1, TEXT_MAX, false, NULL, NULL, "cats", "the text holds this run of characters; or one #tag"}, \
        {"username", HTTP_ACCOUNT, 0, 0, false, NULL, NULL, "alice.bsky.social", "who wrote it: handle, @handle or DID"}, \
        {"start", HTTP_TIME, 0, 0, false, NULL, NULL, "2026-11-20", "that day or moment and later (UTC)"},              \
        {"end", HTTP_END_TIME, 0, 0, false, NULL, NULL, "2026-11-21", "that day, to its end, or moment and earlier (UTC)"}, \
        {"exact", HTTP_FLAG, 0, 0, false, NULL, "false", "true", "capitals count, and words stand alone"},              \
        {"q", HTTP_TEXT, 1, SEARCH_MAX, false, NULL, NULL, "cats -dogs has:image", "a search in the grammar of docs/SEARCH.md"}, \
        {"lang", HTTP_LANGUAGE, 0, 0, false, NULL, NULL, "en", "the language claimed for the post"}

static const struct http_parameter search_parameters[] = {
    SEARCHED,
    {"page", HTTP_INT, 1, PAGE_MAX, false, NULL, "1", "2", "which page, from 1; reaches 10,000 results deep"},
    {"cursor", HTTP_TOKEN, 0, TOKEN_MAX, false, NULL, NULL, NULL, "next_cursor of an earlier answer: goes on behind it, at any depth"},
    {"limit", HTTP_INT, 1, LIMIT_MAX, false, NULL, "50", "10", "results a page"},
};
static const struct http_parameter export_parameters[] = {
    SEARCHED,
    {"format", HTTP_CHOICE, 0, 0, false, "csv|ndjson|parquet", "csv", "ndjson", "what the file is"},
    {"raw", HTTP_FLAG, 0, 0, false, NULL, "false", "true", "CSV without the guard against spreadsheet formulas"},
    {"bom", HTTP_FLAG, 0, 0, false, NULL, "false", "true", "CSV with a byte order mark, which some spreadsheets want"},
};
static const struct http_parameter count_parameters[] = {
    SEARCHED,
    {"bucket", HTTP_CHOICE, 0, 0, false, "hour|day", NULL, "day", "width of a bucket; without it, chosen by the range"},
};
static const struct http_parameter daily_parameters[] = {
    {"date", HTTP_DATE, 0, 0, true, NULL, NULL, "2026-11-21", "which day (UTC)"},
};
static const struct http_parameter view_parameters[] = {
    {"format", HTTP_CHOICE, 0, 0, false, "json|csv", "json", "csv", "what the answer is"},
};
static const struct http_parameter gap_parameters[] = {
    {"start", HTTP_TIME, 0, 0, false, NULL, NULL, "2026-11-20", "gaps that touch that day or moment, or later"},
    {"end", HTTP_END_TIME, 0, 0, false, NULL, NULL, "2026-11-21", "gaps that touch that day or moment, or earlier"},
};
#define PARAMETERS(table) .parameters = (table), .parameter_count = sizeof(table) / sizeof *(table)

enum { KEEP_SECONDS = 300 };
static const char json[] = "application/json";

const struct http_route http_routes[] = {
    {.path = "/search", .handle = answer_search, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = KEEP_SECONDS, .by_snapshot = true,
     PARAMETERS(search_parameters), .type = json, .shape = "{results:[Post],meta:Meta}", .summary = "Find posts, newest first",
     .details = "All conditions have to hold. Deleted posts and posts of hidden accounts are left out; of edited posts the newest version "
                "counts. `meta.gaps` lists stretches of the range that the recording lacks."},
    {.path = "/export", .handle = answer_export, .where = HTTP_LONG, .scope = HTTP_EXPORT, PARAMETERS(export_parameters), .type = "text/csv",
     .summary = "The same posts as a file", .details = "Streamed. The trailers X-Row-Count and X-Content-SHA256 follow the last row; an answer "
                "that ends without the final chunk is not whole. X-Truncated: true says that the row limit cut it."},
    {.path = "/counts", .handle = answer_counts, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = KEEP_SECONDS, .by_snapshot = true,
     PARAMETERS(count_parameters), .type = json,
     .shape = "{buckets:[{start:time,count:int}],bucket:text,total:int,partial:bool,snapshot:int,note:text?}",
     .summary = "How many posts, by hour or day", .details = "`partial` says that time ran out and the oldest buckets are missing."},
    {.path = "/posts/{uri}", .handle = answer_post, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = KEEP_SECONDS, .by_snapshot = true,
     .type = json,
     .shape = "{timestamp:time,username:text,text:text,uri:text,did:text,handle:text?,display_name:text?,langs:[text],created_at:text?,facets:any,"
              "embed:any,hashtags:[text],links:[text],reply_parent_uri:text?,quote_uri:text?,history:[Version]}",
     .summary = "One post and its versions", .details = "By its at:// URI, percent-encoded, or by did/rkey."},
    {.path = "/users/{account}", .handle = answer_user, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = KEEP_SECONDS,
     .by_snapshot = true, .type = json,
     .shape = "{did:text,handle:text?,display_name:text?,description:text?,status:text?,active:bool,posts:int,first_seen:time?,last_seen:time?}",
     .summary = "What is known of an account", .details = "By handle, @handle or DID."},
    {.path = "/stats/daily", .handle = answer_daily, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = KEEP_SECONDS, .by_snapshot = true,
     PARAMETERS(daily_parameters), .type = json, .shape = "{date:date,total_posts:int,unique_authors:int,avg_post_length:number}",
     .summary = "One day in numbers", .details = "Posts as they were created; what was deleted later is still counted."},
    {.path = "/views", .handle = answer_views, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .type = json, .shape = "{views:[View]}",
     .summary = "The prepared views", .details = "What is computed regularly from the lake, and how old it is."},
    {.path = "/views/{name}", .handle = answer_view, .where = HTTP_WORKER, .scope = HTTP_SEARCH, PARAMETERS(view_parameters), .type = json,
     .shape = "{name:text,columns:[text],rows:[[any]],refreshed_at:time?,snapshot:int,definition:text}", .summary = "One prepared view",
     .details = "Rows as lists in the order of `columns`."},
    {.path = "/status", .handle = answer_status, .where = HTTP_WORKER, .scope = HTTP_SEARCH, .cache_seconds = 1, .type = json,
     .shape = "{version:text,snapshot:int,totals:{files:int,rows:int,bytes:int,raw_bytes:int,bytes_per_event:number},"
              "types:[{type:text,rows:int,files:int,bytes:int}],oldest:time?,newest:time?,last_commit:time?,last_commit_age_seconds:number?,"
              "ingest:any,writer:any,rate_per_second:number?,lag_seconds:number?,"
              "buffer:{events:number,memory:number?,maxmemory:number?,percent:number?,hours_left:number?}?,gaps:int,dead_letters:int,"
              "dead_letters_by_reason:[{reason:text,count:int}]}",
     .summary = "How the collection goes", .details = "`ingest` and `writer` are null where they do not run or do not answer."},
    {.path = "/gaps", .handle = answer_gaps, .where = HTTP_WORKER, .scope = HTTP_SEARCH, PARAMETERS(gap_parameters), .type = json,
     .shape = "{gaps:[Gap]}", .summary = "Stretches the recording lacks", .details = "Nothing listed means that everything Jetstream offered was taken."},
    {.path = "/health", .handle = answer_health, .type = json, .shape = "Health", .summary = "Is the server alive?",
     .details = "503 when the lake is there and cannot be read."},
    {.path = "/ready", .handle = answer_ready, .type = json, .shape = "Health", .summary = "Can it answer questions?", .details = "503 with the reasons when not."},
    {.path = "/metrics", .handle = answer_metrics, .scope = HTTP_METRICS, .type = "text/plain", .summary = "Numbers for Prometheus",
     .details = "Text format 0.0.4."},
    {.path = "/openapi.json", .handle = answer_openapi, .cache_seconds = KEEP_SECONDS, .type = json, .shape = "any", .summary = "This API as an OpenAPI document",
     .details = "Made from the same table that the server runs by."},
    {.path = "/docs", .handle = answer_docs, .cache_seconds = KEEP_SECONDS, .type = "text/html", .summary = "This API for people", .details = ""},
    {.path = "/", .handle = answer_page, .type = "text/html", .summary = "The Post Explorer", .details = ""},
    {.path = "/{file}", .handle = answer_page, .type = "text/html", .summary = "Files of the Post Explorer", .details = ""},
};
const size_t http_route_count = sizeof http_routes / sizeof *http_routes;

static const struct {
    enum http_scope scope;
    const char *name;
} scopes_by_name[] = {{HTTP_SEARCH, "search"}, {HTTP_EXPORT, "export"}, {HTTP_METRICS, "metrics"}, {HTTP_ADMIN, "admin"}};
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
