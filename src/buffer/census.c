#include "buffer/census.h"

#include <stdlib.h>

#include "buffer/nodes.h"

/* Answer: newest id, counter. */
static const char begin_script[] =
    "local e = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
    "return {e and e[1] or '', redis.call('HMGET', KEYS[2], ARGV[1])[1] or '0'}\n";

/* Answer: newest id of the page, then inc, seq, off and n of each entry. */
static const char page_script[] =
    "local want, out = {inc = 0, seq = 1, off = 2, n = 3}, {''}\n"
    "for _, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', 64)) do\n"
    "  local at = #out + 1\n"
    "  for i = 0, 3 do out[at + i] = '' end\n"
    "  for f = 1, #e[2], 2 do\n"
    "    if want[e[2][f]] then out[at + want[e[2][f]]] = e[2][f + 1] end\n"
    "  end\n"
    "  out[1] = e[1]\n"
    "end\n"
    "return out\n";

static const char rejected_script[] =
    "local n, from = 0, ARGV[1] == '' and '-' or '(' .. ARGV[1]\n"
    "repeat\n"
    "  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 64)\n"
    "  n = n + #page\n"
    "  if #page > 0 then from = '(' .. page[#page][1] end\n"
    "until #page == 0\n"
    "return {redis.call('HMGET', KEYS[2], 'rejected')[1] or '0', n}\n";

static void begin_args(struct redis_args *a, const char *script, const struct route *route) {
    redis_words(a, "EVAL_RO");
    redis_arg_z(a, script);
    redis_arg_z(a, "2");
    redis_arg_z(a, route->key);
    redis_arg_z(a, route->metadata);
}

void census_release(struct census *c) {
    free(c->entries);
    *c = (struct census){0};
}

static void add_entry(struct census *c, redisReply *const *fields) {
    struct census_entry e;
    uint64_t count = 0;
    bool good = block_parse_hex(redis_text(fields[0]), &e.incarnation) &&
                bl_parse_u64(redis_text(fields[1]), INT64_MAX, &e.seq) &&
                bl_parse_u64(redis_text(fields[2]), INT64_MAX, &e.offset) &&
                bl_parse_u64(redis_text(fields[3]), UINT32_MAX, &count);
    if (!good) {
        c->unreadable++;
        return;
    }
    e.count = (uint32_t)count;
    if ((c->count & (c->count - 1)) == 0)
        c->entries = bl_xrealloc(c->entries, (c->count ? c->count * 2 : 1) * sizeof *c->entries);
    c->entries[c->count++] = e;
}

static enum bl_rc read_page(struct buffer *b, enum ev_type type, const char *last, char from[static ID_MAX + 1],
                            struct census *c, struct bl_error *err) {
    struct redis_args a;
    begin_args(&a, page_script, &b->routes[type]);
    redis_arg_z(&a, from);
    redis_arg_z(&a, last);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, type, &a, &r, err));
    if (!redis_is_array(r, 1)) return bl_fail(err, BL_E_BACKEND, "census: unexpected answer");
    for (size_t i = 1; i + 3 < r->elements; i += 4) add_entry(c, &r->element[i]);
    struct bl_str newest = redis_text(r->element[0]);
    newest.n ? snprintf(from, ID_MAX + 1, "(%.*s", BL_ARG(newest)) : snprintf(from, ID_MAX + 1, "%s", "");
    return BL_OK;
}

static enum bl_rc read_census(struct buffer *b, enum ev_type type, struct census *c, struct bl_error *err) {
    struct redis_args a;
    begin_args(&a, begin_script, &b->routes[type]);
    redis_arg_printf(&a, "received:%s", ev_schema(type)->name);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, type, &a, &r, err));
    if (!redis_is_array(r, 2) || !bl_parse_u64(redis_text(r->element[1]), INT64_MAX, &c->received))
        return bl_fail(err, BL_E_BACKEND, "census: unexpected answer");
    char from[ID_MAX + 1] = "-", last[ID_MAX];
    snprintf(last, sizeof last, "%.*s", BL_ARG(redis_text(r->element[0])));
    while (*last && *from) BL_TRY(read_page(b, type, last, from, c, err));
    return BL_OK;
}

enum bl_rc buffer_census(struct buffer *b, enum ev_type type, struct census *out, struct bl_error *err) {
    *out = (struct census){0};
    enum bl_rc rc = read_census(b, type, out, err);
    if (rc != BL_OK) census_release(out);
    return rc;
}

enum bl_rc buffer_census_rejected(struct buffer *b, const char *after, uint64_t *noted, uint64_t *waiting,
                                  struct bl_error *err) {
    struct redis_args a;
    begin_args(&a, rejected_script, &b->routes[ROUTE_REJECTED]);
    redis_arg_z(&a, after);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, ROUTE_REJECTED, &a, &r, err));
    if (!redis_is_array(r, 2) || !bl_parse_u64(redis_text(r->element[0]), INT64_MAX, noted))
        return bl_fail(err, BL_E_BACKEND, "census: unexpected answer");
    *waiting = (uint64_t)r->element[1]->integer;
    return BL_OK;
}
