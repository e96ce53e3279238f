/* The lease: one writer at a time. */
#include <inttypes.h>

#include "buffer/nodes.h"

/* One script, because looking and taking must not be torn apart. allow-oom: a writer that comes up while Redis is full
 * has to be able to start draining it. */
static const char take_script[] =
    "#!lua flags=allow-oom\n"
    "local holder = redis.call('GET', KEYS[1])\n"
    "if holder and holder ~= ARGV[1] then return {holder, redis.call('PTTL', KEYS[1])} end\n"
    "if holder then redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "else redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) end\n"
    "return 1\n";
static const char release_script[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end\n"
    "return 0\n";

enum bl_rc buffer_lease(struct buffer *b, const char *owner, int64_t ttl_ms, struct bl_error *err) {
    if (ttl_ms <= 0 || !*owner) return bl_fail(err, BL_E_INVALID, "a lease needs an owner and a positive duration");
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, take_script);
    redis_arg_z(&a, "1");
    redis_arg_z(&a, b->routes[ROUTE_LEASE].key);
    redis_arg_z(&a, owner);
    redis_arg_i64(&a, ttl_ms);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, ROUTE_LEASE, &a, &r, err));
    if (!redis_is_array(r, 2)) return BL_OK;
    return bl_fail(err, BL_E_BUSY, "writer \"%.*s\" holds the lease for another %" PRId64 " ms; stop it, or wait",
                   BL_ARG(redis_text(r->element[0])), (int64_t)r->element[1]->integer);
}

enum bl_rc buffer_release_lease(struct buffer *b, const char *owner, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, release_script);
    redis_arg_z(&a, "1");
    redis_arg_z(&a, b->routes[ROUTE_LEASE].key);
    redis_arg_z(&a, owner);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return route_call(b, ROUTE_LEASE, &a, &r, err);
}
