/* How full the buffer is. */
#include "buffer/redis_conn.h"

/* One script, so that lengths, offsets and counters belong to one moment. Entries whose `off` is unusable are passed
 * over: the depth of a queue with one damaged entry is still wanted. Answer per queue: length, first id, offset. */
static const char depth_script[] =
    "local out = {}\n"
    "for i = 1, #KEYS - 2 do\n"
    "  local from, first, off = '-', false, false\n"
    "  repeat\n"
    "    local e = redis.call('XRANGE', KEYS[i], from, '+', 'COUNT', 1)[1]\n"
    "    if not e then break end\n"
    "    first = first or e[1]\n"
    "    for f = 1, #e[2], 2 do\n"
    "      if e[2][f] == 'off' and string.match(e[2][f + 1], '^%d+$') then off = e[2][f + 1] end\n"
    "    end\n"
    "    from = '(' .. e[1]\n"
    "  until off\n"
    "  out[i] = {redis.call('XLEN', KEYS[i]), first, off}\n"
    "end\n"
    "out[#KEYS - 1] = redis.call('XLEN', KEYS[#KEYS - 1])\n"
    "out[#KEYS] = redis.call('HMGET', KEYS[#KEYS], unpack(ARGV))\n"
    "return out\n";

static enum bl_rc call_script(struct buffer *b, redisReply **out, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL_RO");
    redis_arg_z(&a, depth_script);
    redis_arg_i64(&a, EV_TYPE_COUNT + 2);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) redis_arg_z(&a, b->queue[t]);
    redis_arg_z(&a, KEY_REJECTED);
    redis_arg_z(&a, KEY_METADATA);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) redis_arg_printf(&a, "received:%s", ev_schema((enum ev_type)t)->name);
    BL_TRY(redis_call(&b->conn, &a, out, err));
    bool shaped = redis_is_array(*out, EV_TYPE_COUNT + 2) && redis_is_array((*out)->element[EV_TYPE_COUNT + 1], EV_TYPE_COUNT);
    return shaped ? BL_OK : bl_fail(err, BL_E_BACKEND, "depth: unexpected answer");
}

static void read_queue(const redisReply *queue, const redisReply *received, unsigned t, struct buffer_depth *d) {
    uint64_t offset = 0;
    int64_t oldest_ms = 0;
    if (!bl_parse_u64(redis_text(received), INT64_MAX, &d->received[t])) d->received[t] = 0;
    if (!redis_is_array(queue, 3)) return;
    d->entries[t] = (uint64_t)queue->element[0]->integer;
    struct bl_str id = redis_text(queue->element[1]);
    if (bl_parse_i64(bl_str_cut(&id, '-'), 0, INT64_MAX / 1000, &oldest_ms)) d->oldest_us[t] = oldest_ms * 1000;
    if (bl_parse_u64(redis_text(queue->element[2]), INT64_MAX, &offset) && offset <= d->received[t])
        d->events[t] = d->received[t] - offset;
}

static enum bl_rc read_info(struct buffer *b, const char *section, redisReply **out, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "INFO");
    redis_arg_z(&a, section);
    return redis_call(&b->conn, &a, out, err);
}

static int64_t info_number(const redisReply *r, const char *name) {
    int64_t value = 0;
    return bl_parse_i64(redis_info(redis_text(r), name), 0, INT64_MAX, &value) ? value : 0;
}

enum bl_rc buffer_depth(struct buffer *b, struct buffer_depth *out, struct bl_error *err) {
    BL_CLEANUP(redis_reply_release) redisReply *queues = NULL;
    BL_CLEANUP(redis_reply_release) redisReply *memory = NULL;
    BL_CLEANUP(redis_reply_release) redisReply *stats = NULL;
    BL_TRY(call_script(b, &queues, err));
    BL_TRY(read_info(b, "memory", &memory, err));
    BL_TRY(read_info(b, "stats", &stats, err));
    struct buffer_depth d = {0};
    const redisReply *received = queues->element[EV_TYPE_COUNT + 1];
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) read_queue(queues->element[t], received->element[t], t, &d);
    d.rejected = (uint64_t)queues->element[EV_TYPE_COUNT]->integer;
    d.used_memory = info_number(memory, "used_memory");
    d.maxmemory = info_number(memory, "maxmemory");
    d.evicted_keys = info_number(stats, "evicted_keys");
    struct bl_str policy = redis_info(redis_text(memory), "maxmemory_policy");
    snprintf(d.policy, sizeof d.policy, "%.*s", BL_ARG(policy));
    *out = d;
    return BL_OK;
}
