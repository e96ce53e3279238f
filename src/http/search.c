/* /search, /counts, /posts/{uri}, /users/{account}: questions about posts and who wrote them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/handlers.h"
#include "http/server.h"

enum { LIMIT_DEFAULT = 50, REACH = 10000 /* of pages; beyond it only a cursor gets */ };

struct query_search search_of(const struct http_request *rq) {
    struct query_search s = {.text = http_text(rq, "q"),
                             .literal = http_text(rq, "text"),
                             .account = http_text(rq, "username"),
                             .lang = http_text(rq, "lang"),
                             .exact = http_number(rq, "exact", 0) != 0};
    if (http_has(rq, "start") || http_has(rq, "end")) {
        s.from_us = http_number(rq, "start", INT64_MIN);
        s.to_us = http_number(rq, "end", INT64_MAX);
    }
    return s;
}

/* ---- one post ---- */

static void put_member(struct bl_buf *out, const char *name, struct bl_str value) {
    bl_buf_printf(out, ",\"%s\":", name);
    http_json(out, value);
}

static void put_raw(struct bl_buf *out, const char *name, struct bl_str json, const char *otherwise) {
    bl_buf_printf(out, ",\"%s\":", name);
    bl_buf_str(out, json.p ? json : bl_str(otherwise));
}

static void put_members(struct bl_buf *out, const struct query_hit *hit) {
    bl_buf_z(out, "\"timestamp\":");
    http_json_time(out, hit->time_us, 6);
    put_member(out, "username", hit->handle.n ? hit->handle : hit->did);
    put_member(out, "text", hit->text.p ? hit->text : BL_LIT(""));
    put_member(out, "uri", hit->uri);
    put_member(out, "did", hit->did);
    put_member(out, "handle", hit->handle);
    put_member(out, "display_name", hit->display_name);
    put_raw(out, "langs", hit->langs_json, "[]");
    put_member(out, "created_at", hit->created_at);
    put_raw(out, "facets", hit->facets_json, "[]");
    put_raw(out, "embed", hit->embed_json, "null");
    put_raw(out, "hashtags", hit->hashtags_json, "[]");
    put_raw(out, "links", hit->links_json, "[]");
    put_member(out, "reply_parent_uri", hit->reply_parent_uri);
    put_member(out, "quote_uri", hit->quote_uri);
}

void put_hit(struct bl_buf *out, const struct query_hit *hit) {
    bl_buf_byte(out, '{');
    put_members(out, hit);
    bl_buf_byte(out, '}');
}

/* ---- pages ---- */

struct page {
    int64_t number, limit, seen; /* seen: results before this page, as far as the row limit counts them */
    char cursor[QUERY_CURSOR_MAX];
    bool beyond; /* behind the row limit: nothing is looked for */
    bool cut;    /* its end is the row limit's */
};

/* Our cursor is the query room's with the number of results before it, so that the row limit holds on this way, too. */
static bool read_cursor(struct bl_str text, struct page *page) {
    struct bl_str seen = bl_str_cut(&text, '~');
    if (!text.n || text.n >= sizeof page->cursor || !bl_parse_i64(seen, 0, INT64_MAX / 2, &page->seen)) return false;
    memcpy(page->cursor, text.p, text.n);
    page->cursor[text.n] = 0;
    return true;
}

static enum bl_rc read_page(const struct http_request *rq, int64_t row_limit, struct page *page, struct bl_error *err) {
    struct bl_str cursor = http_text(rq, "cursor");
    page->number = http_number(rq, "page", 1);
    page->limit = http_number(rq, "limit", LIMIT_DEFAULT);
    page->seen = (page->number - 1) * page->limit;
    if (cursor.n && http_has(rq, "page"))
        return bl_fail_cure(err, BL_E_USAGE, "give a page or a cursor", "cursor: both it and a page are given");
    if (cursor.n && !read_cursor(cursor, page))
        return bl_fail(err, BL_E_USAGE, "cursor: this is not what an answer gave as next_cursor");
    page->beyond = row_limit && page->seen >= row_limit;
    page->cut = row_limit && !page->beyond && page->seen + page->limit >= row_limit;
    if (page->cut) page->limit = row_limit - page->seen;
    if (!cursor.n && !page->beyond && page->seen + page->limit > REACH)
        return bl_fail_cure(err, BL_E_USAGE, "go on with next_cursor", "page: pages reach %d results deep", REACH);
    return BL_OK;
}

struct results {
    struct bl_buf *out;
    int64_t count;
};

static enum bl_rc put_result(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct results *r = context;
    if (r->count++) bl_buf_byte(r->out, ',');
    put_hit(r->out, hit);
    return bl_buf_check(r->out, "the answer", err);
}

static void put_cursor(struct bl_buf *out, const struct page *page, const struct results *r,
                       const struct query_search_stats *stats, bool more) {
    if (more && *stats->next_cursor)
        bl_buf_printf(out, "\"%" PRId64 "~%s\"", page->seen + r->count, stats->next_cursor);
    else
        bl_buf_z(out, "null");
}

static enum bl_rc put_meta(struct http_context *context, const struct query_search *s, const struct page *page,
                           const struct results *r, const struct query_search_stats *stats, struct bl_error *err) {
    struct bl_buf *out = r->out;
    bool truncated = page->beyond || (page->cut && stats->more), more = stats->more && !truncated;
    bl_buf_printf(out,
                  "\"count\":%" PRId64 ",\"page\":%" PRId64 ",\"limit\":%" PRId64 ",\"has_more\":%s,\"next_cursor\":",
                  r->count, page->number, page->limit, more ? "true" : "false");
    put_cursor(out, page, r, stats, more);
    bl_buf_printf(out,
                  ",\"truncated\":%s,\"snapshot\":%" PRId64 ",\"elapsed_ms\":%" PRId64
                  ",\"files_read\":%zu,\"files_listed\":%zu,\"names_pending\":%s,\"note\":",
                  truncated ? "true" : "false", query_snapshot(context->query), (stats->elapsed_us + 999) / 1000,
                  stats->files_read, stats->files_listed,
                  !page->beyond && query_names(context->query) == QUERY_NAMES_PENDING ? "true" : "false");
    http_json_text(out, *stats->note ? bl_str(stats->note) : (struct bl_str){0});
    bl_buf_z(out, ",\"matches\":");
    BL_TRY(query_matches(s, out, err));
    bl_buf_z(out, ",\"gaps\":");
    return put_gaps(context->query, stats->from_us, stats->to_us, false, out, err);
}

HTTP_HANDLER(answer_search) {
    struct query_search s = search_of(rq);
    struct query_search_stats stats = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct page page = {0};
    struct results results = {.out = &res->body};
    BL_TRY(read_page(rq, context->server->conf->serve_row_limit, &page, err));
    s.limit = (unsigned)page.limit;
    s.after = bl_str(page.cursor);
    if (!s.after.n) s.skip = (unsigned)page.seen;
    bl_buf_z(&res->body, "{\"results\":[");
    if (!page.beyond) {
        BL_TRY(query_search(context->query, &s, put_result, &results, &stats, err));
        res->names = query_names(context->query);
    }
    bl_buf_z(&res->body, "],\"meta\":{");
    BL_TRY(put_meta(context, &s, &page, &results, &stats, err));
    bl_buf_z(&res->body, "}}\n");
    return BL_OK;
}

/* ---- counts ---- */

static enum query_bucket bucket_of(const struct http_request *rq) {
    struct bl_str name = http_text(rq, "bucket");
    if (!name.n) return QUERY_BUCKET_AUTO;
    return bl_str_eq(name, BL_LIT("day")) ? QUERY_BUCKET_DAY : QUERY_BUCKET_HOUR;
}

/* What was counted until shortly before the deadline is worth more than none of it. */
HTTP_HANDLER(answer_counts) {
    struct query_search s = search_of(rq);
    struct query_counts counts = {0};
    struct bl_buf *out = &res->body;
    BL_TRY(
        query_counts(context->query, &s, bucket_of(rq), context->server->conf->serve_deadline * 4 / 5, &counts, err));
    res->names = query_names(context->query);
    bl_buf_z(out, "{\"buckets\":[");
    for (size_t i = 0; i < counts.count; i++) {
        bl_buf_z(out, i ? ",{\"start\":" : "{\"start\":");
        http_json_time(out, counts.buckets[i].start_us, 0);
        bl_buf_printf(out, ",\"count\":%" PRId64 "}", counts.buckets[i].count);
    }
    bl_buf_printf(out, "],\"bucket\":\"%s\",\"total\":%" PRId64 ",\"partial\":%s,\"snapshot\":%" PRId64 ",\"note\":",
                  counts.bucket == QUERY_BUCKET_DAY ? "day" : "hour", counts.total, counts.partial ? "true" : "false",
                  query_snapshot(context->query));
    http_json_text(out, *counts.note ? bl_str(counts.note) : (struct bl_str){0});
    free(counts.buckets);
    bl_buf_z(out, ",\"gaps\":");
    BL_TRY(put_gaps(context->query, counts.from_us, counts.to_us, false, out, err));
    bl_buf_z(out, "}\n");
    return BL_OK;
}

/* ---- one post, one account ---- */

static enum bl_rc give_post(void *context, const struct query_hit *hit, struct bl_str history_json,
                            struct bl_error *err) {
    struct bl_buf *out = context;
    bl_buf_byte(out, '{');
    put_members(out, hit);
    put_raw(out, "history", history_json, "[]");
    bl_buf_z(out, "}\n");
    return bl_buf_check(out, "the answer", err);
}

HTTP_HANDLER(answer_post) {
    enum bl_rc rc = query_post(context->query, rq->path_value, give_post, &res->body, err);
    res->names = query_names(context->query);
    return rc;
}

static void put_time_member(struct bl_buf *out, const char *name, int64_t us) {
    bl_buf_printf(out, ",\"%s\":", name);
    if (us)
        http_json_time(out, us, 6);
    else
        bl_buf_z(out, "null");
}

static enum bl_rc give_user(void *context, const struct query_user *user, struct bl_error *err) {
    struct bl_buf *out = context;
    bl_buf_z(out, "{\"did\":");
    http_json(out, user->did);
    put_member(out, "handle", user->handle);
    put_member(out, "display_name", user->display_name);
    put_member(out, "description", user->description);
    put_member(out, "status", user->status);
    bl_buf_printf(out, ",\"active\":%s,\"posts\":%" PRId64, user->active ? "true" : "false", user->posts);
    put_time_member(out, "first_seen", user->first_seen_us);
    put_time_member(out, "last_seen", user->last_seen_us);
    bl_buf_z(out, "}\n");
    return bl_buf_check(out, "the answer", err);
}

HTTP_HANDLER(answer_user) {
    enum bl_rc rc = query_user(context->query, rq->path_value, give_user, &res->body, err);
    res->names = query_names(context->query);
    return rc;
}
