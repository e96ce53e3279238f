/* How full the buffer is. */
#include "buffer/nodes.h"

/* One script a type, so that length, offset and counter belong to one moment. Entries whose `off` is unusable are
 * passed over: the depth of a queue with one damaged entry is still wanted. Answer: length, first id, offset, counter.
 */
static const char depth_script[] =
    "local from, first, off = '-', false, false\n"
    "repeat\n"
    "  local e = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]\n"
    "  if not e then break end\n"
    "  first = first or e[1]\n"
    "  for f = 1, #e[2], 2 do\n"
    "    if e[2][f] == 'off' and string.match(e[2][f + 1], '^%d+$') then off = e[2][f + 1] end\n"
    "  end\n"
    "  from = '(' .. e[1]\n"
    "until off\n"
    "return {redis.call('XLEN', KEYS[1]), first, off, redis.call('HMGET', KEYS[2], ARGV[1])[1]}\n";

static enum bl_rc read_queue(struct buffer *b, unsigned t, struct buffer_depth *d, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL_RO");
    redis_arg_z(&a, depth_script);
    redis_arg_z(&a, "2");
    redis_arg_z(&a, b->routes[t].key);
    redis_arg_z(&a, b->routes[t].metadata);
    redis_arg_printf(&a, "received:%s", ev_schema((enum ev_type)t)->name);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, t, &a, &r, err));
    if (!redis_is_array(r, 4)) return bl_fail(err, BL_E_BACKEND, "depth: unexpected answer");
    uint64_t offset = 0;
    int64_t oldest_ms = 0;
    if (!bl_parse_u64(redis_text(r->element[3]), INT64_MAX, &d->received[t])) d->received[t] = 0;
    d->entries[t] = (uint64_t)r->element[0]->integer;
    struct bl_str id = redis_text(r->element[1]);
    if (bl_parse_i64(bl_str_cut(&id, '-'), 0, INT64_MAX / 1000, &oldest_ms)) d->oldest_us[t] = oldest_ms * 1000;
    if (bl_parse_u64(redis_text(r->element[2]), INT64_MAX, &offset) && offset <= d->received[t])
        d->events[t] = d->received[t] - offset;
    return BL_OK;
}

static enum bl_rc read_info(struct node *node, const char *section, redisReply **out, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "INFO");
    redis_arg_z(&a, section);
    return redis_call(&node->conn, &a, out, err);
}

static int64_t info_number(const redisReply *r, const char *name) {
    int64_t value = 0;
    return bl_parse_i64(redis_info(redis_text(r), name), 0, INT64_MAX, &value) ? value : 0;
}

/* Is a / a_most fuller than b / b_most? Without a limit only the use itself can be compared. */
static bool is_fuller(int64_t a, int64_t a_most, int64_t b, int64_t b_most) {
    if (!a_most || !b_most) return a > b;
    return (double)a / (double)a_most > (double)b / (double)b_most;
}

static enum bl_rc read_node(struct node *node, struct buffer_depth *d, struct bl_error *err) {
    BL_CLEANUP(redis_reply_release) redisReply *memory = NULL;
    BL_CLEANUP(redis_reply_release) redisReply *stats = NULL;
    BL_TRY(read_info(node, "memory", &memory, err));
    BL_TRY(read_info(node, "stats", &stats, err));
    d->evicted_keys += info_number(stats, "evicted_keys");
    int64_t used = info_number(memory, "used_memory"), most = info_number(memory, "maxmemory");
    if (*d->policy && !is_fuller(used, most, d->used_memory, d->maxmemory)) return BL_OK;
    d->used_memory = used;
    d->maxmemory = most;
    struct bl_str policy = redis_info(redis_text(memory), "maxmemory_policy");
    snprintf(d->policy, sizeof d->policy, "%.*s", BL_ARG(policy));
    return BL_OK;
}

static enum bl_rc read_rejected(struct buffer *b, struct buffer_depth *d, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "XLEN");
    redis_arg_z(&a, b->routes[ROUTE_REJECTED].key);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, ROUTE_REJECTED, &a, &r, err));
    d->rejected = (uint64_t)r->integer;
    return BL_OK;
}

enum bl_rc buffer_depth(struct buffer *b, struct buffer_depth *out, struct bl_error *err) {
    struct buffer_depth d = {0};
    struct node *nodes[ROUTE_COUNT];
    size_t count = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) BL_TRY(read_queue(b, t, &d, err));
    BL_TRY(read_rejected(b, &d, err));
    BL_TRY(nodes_in_use(b, nodes, &count, err));
    for (size_t i = 0; i < count; i++) BL_TRY(read_node(nodes[i], &d, err));
    *out = d;
    return BL_OK;
}
