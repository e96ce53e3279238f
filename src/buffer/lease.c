/* The leases: one writer at a time, and one ingest. */
#include <inttypes.h>

#include "buffer/nodes.h"

/* One script, because looking and taking must not be torn apart. allow-oom: one that comes up while Redis is full
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

/* `left_ms` (may be NULL) with BL_E_BUSY: until somebody else's lease runs out. */
static enum bl_rc take(struct buffer *b, const char *key, const char *who, const char *owner, int64_t ttl_ms,
                       int64_t *left_ms, struct bl_error *err) {
    if (ttl_ms <= 0 || !*owner) return bl_fail(err, BL_E_INVALID, "a lease needs an owner and a positive duration");
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, take_script);
    redis_arg_z(&a, "1");
    redis_arg_z(&a, key);
    redis_arg_z(&a, owner);
    redis_arg_i64(&a, ttl_ms);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, ROUTE_LEASE, &a, &r, err));
    if (!redis_is_array(r, 2)) return BL_OK;
    int64_t left = (int64_t)r->element[1]->integer;
    if (left_ms) *left_ms = left;
    return bl_fail(err, BL_E_BUSY, "%s \"%.*s\" holds the lease for another %" PRId64 " ms; stop it, or wait", who,
                   BL_ARG(redis_text(r->element[0])), left);
}

static enum bl_rc release(struct buffer *b, const char *key, const char *owner, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, release_script);
    redis_arg_z(&a, "1");
    redis_arg_z(&a, key);
    redis_arg_z(&a, owner);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return route_call(b, ROUTE_LEASE, &a, &r, err);
}

enum bl_rc buffer_lease(struct buffer *b, const char *owner, int64_t ttl_ms, struct bl_error *err) {
    return take(b, b->routes[ROUTE_LEASE].key, "writer", owner, ttl_ms, NULL, err);
}
enum bl_rc buffer_release_lease(struct buffer *b, const char *owner, struct bl_error *err) {
    return release(b, b->routes[ROUTE_LEASE].key, owner, err);
}

/* On a cluster in the slot of the writer's lease. */
static const char *ingest_key(const struct buffer *b) {
    return b->cluster ? "{firehose:lease}:ingest" : "firehose:lease:ingest";
}
enum bl_rc buffer_ingest_lease(struct buffer *b, const char *owner, int64_t ttl_ms, int64_t *left_ms,
                               struct bl_error *err) {
    return take(b, ingest_key(b), "ingest", owner, ttl_ms, left_ms, err);
}
enum bl_rc buffer_release_ingest_lease(struct buffer *b, const char *owner, struct bl_error *err) {
    return release(b, ingest_key(b), owner, err);
}
