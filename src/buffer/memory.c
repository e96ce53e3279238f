/* The high-water mark, and what Redis would do beyond it. */
#include <inttypes.h>

#include "base/clock.h"
#include "buffer/nodes.h"
#include "obs/log.h"

enum { MEMORY_POLL_NS = 250 * 1000 * 1000 };

/* A queue is one key: where Redis evicts, it takes all of a queue at once, and says nothing. */
static void judge_policy(struct node *n, struct bl_str policy, int64_t most) {
    if (!policy.n || bl_str_eq(bl_str(n->policy), policy)) return;
    snprintf(n->policy, sizeof n->policy, "%.*s", BL_ARG(policy));
    if (most == 0 || bl_str_eq(policy, BL_LIT("noeviction"))) return;
    if (bl_str_starts(policy, BL_LIT("volatile-"))) {
        bl_log(BL_WARN,
               "maxmemory-policy is %s: at maxmemory Redis drops the writer's lease before it refuses; set "
               "maxmemory-policy noeviction",
               n->policy);
    } else if (n->memory_limit >= most) {
        bl_log(BL_ERROR_LEVEL,
               "maxmemory-policy is %s and the high-water mark (%" PRId64 ") is not below maxmemory (%" PRId64
               "): Redis will throw away whole queues; set maxmemory-policy noeviction, or redis.high_water = 0",
               n->policy, n->memory_limit, most);
    } else {
        bl_log(BL_WARN,
               "maxmemory-policy is %s: at maxmemory Redis throws away whole queues; ingest stops at %" PRId64
               " bytes, before that, unless something else fills this Redis; set maxmemory-policy noeviction",
               n->policy, n->memory_limit);
    }
}

enum bl_rc node_poll_memory(struct buffer *b, struct node *n, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "INFO memory");
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&n->conn, &a, &r, err));
    int64_t used = 0, most = 0;
    if (!bl_parse_i64(redis_info(redis_text(r), "used_memory"), 0, INT64_MAX, &used) ||
        !bl_parse_i64(redis_info(redis_text(r), "maxmemory"), 0, INT64_MAX, &most))
        return bl_fail(err, BL_E_BACKEND, "INFO memory: used_memory or maxmemory is missing");
    n->used_memory = used;
    n->memory_limit = b->high_water_bytes ? b->high_water_bytes : most / 10 * 8;
    n->memory_polled_ns = bl_mono_ns();
    if (b->guard) judge_policy(n, redis_info(redis_text(r), "maxmemory_policy"), most);
    return BL_OK;
}

/* A look every quarter of a second lets ingest overshoot the mark by what it can send meanwhile, about 20 MB at half a
 * million events a second; the fifth of maxmemory above the mark is there for that. */
enum bl_rc node_check_memory(struct buffer *b, struct node *n, struct bl_error *err) {
    if (n->memory_polled_ns == 0 || bl_mono_ns() - n->memory_polled_ns >= MEMORY_POLL_NS)
        BL_TRY(node_poll_memory(b, n, err));
    if (n->memory_limit == 0 || n->used_memory <= n->memory_limit) return BL_OK;
    return bl_fail(err, BL_E_FULL,
                   "Redis uses %" PRId64 " bytes, above the high-water mark of %" PRId64
                   "; nothing is lost: let the writer drain it, or raise maxmemory",
                   n->used_memory, n->memory_limit);
}
