/* Where ingest stands: the position, what a run has stored, what is settled. */
#include <inttypes.h>
#include <stdlib.h>

#include "buffer/nodes.h"

enum { INCARNATIONS_KEPT = 64 };

/* ---- groups ---- */

/* XGROUP CREATE is refused at maxmemory, where a reader needs its group most; a script that declares allow-oom is not.
 * From id 0: what was added before the group existed is delivered too. */
static const char create_group_script[] =
    "#!lua flags=allow-oom\n"
    "local r = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')\n"
    "if r.err then\n"
    "  if string.find(r.err, 'BUSYGROUP', 1, true) then return 0 end\n"
    "  return r\n"
    "end\n"
    "if redis.call('HMGET', KEYS[2], ARGV[2])[1] then redis.call('HSET', KEYS[2], ARGV[3], 1) end\n"
    "return 1\n";

enum bl_rc buffer_create_groups(struct buffer *b, int64_t *created, struct bl_error *err) {
    *created = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        struct redis_args a;
        redis_words(&a, "EVAL");
        redis_arg_z(&a, create_group_script);
        redis_arg_z(&a, "2");
        redis_arg_z(&a, b->routes[t].key);
        redis_arg_z(&a, b->routes[t].metadata);
        redis_arg_z(&a, BUFFER_GROUP);
        redis_arg_printf(&a, "received:%s", ev_schema((enum ev_type)t)->name);
        redis_arg_printf(&a, "vanished:%s", ev_schema((enum ev_type)t)->name);
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(route_call(b, t, &a, &r, err));
        *created += r->integer;
    }
    return BL_OK;
}

/* ---- one metadata hash ---- */

/* On a cluster each type's hash holds a cursor of its own, and how many events of every type had been buffered then. */
struct vote {
    int64_t cursor_us;
    struct bl_str host; /* borrowed from the reply */
    uint64_t seen[EV_TYPE_COUNT];
};

static enum bl_rc bad_metadata(const struct route *route, struct bl_str field, struct bl_str value,
                               struct bl_error *err) {
    return bl_fail(err, BL_E_CORRUPT, "%s %.*s: unusable value \"%.*s\"", route->metadata, BL_ARG(field),
                   BL_ARG(value));
}

static bool read_count(struct bl_str field, struct bl_str prefix, struct bl_str value, uint64_t *counts, bool *good) {
    enum ev_type type;
    if (!bl_str_starts(field, prefix) || !ev_type_by_name(bl_str_skip(field, prefix.n), &type)) return false;
    *good = bl_parse_u64(value, INT64_MAX, &counts[type]);
    return true;
}

static enum bl_rc read_field(const struct route *route, struct bl_str field, struct bl_str value,
                             struct buffer_position *p, struct vote *vote, struct bl_error *err) {
    bool good = true;
    uint64_t vanished[EV_TYPE_COUNT] = {0};
    bool counted = read_count(field, BL_LIT("received:"), value, p->received, &good) ||
                   read_count(field, BL_LIT("seen:"), value, vote->seen, &good) ||
                   read_count(field, BL_LIT("vanished:"), value, vanished, &good);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (vanished[t]) p->vanished |= 1u << t;
    if (counted) {
        return good ? BL_OK : bad_metadata(route, field, value, err);
    } else if (bl_str_eq(field, BL_LIT("cursor_us"))) {
        good = bl_parse_i64(value, 0, INT64_MAX, &vote->cursor_us);
    } else if (bl_str_eq(field, BL_LIT("cursor_host"))) {
        good = value.n < sizeof p->host;
        if (good) vote->host = value;
    } else if (bl_str_eq(field, BL_LIT("rejected"))) {
        good = bl_parse_u64(value, INT64_MAX, &p->rejected);
    }
    return good ? BL_OK : bad_metadata(route, field, value, err);
}

static enum bl_rc fetch(struct buffer *b, unsigned route, redisReply **out, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HGETALL");
    redis_arg_z(&a, b->routes[route].metadata);
    BL_TRY(route_call(b, route, &a, out, err));
    if (!redis_is_array(*out, 0))
        return bl_fail(err, BL_E_BACKEND, "HGETALL %s: unexpected answer", b->routes[route].metadata);
    return BL_OK;
}

static enum bl_rc read_hash(const struct route *route, const redisReply *hash, struct buffer_position *p,
                            struct vote *vote, struct bl_error *err) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        BL_TRY(read_field(route, redis_text(hash->element[i]), redis_text(hash->element[i + 1]), p, vote, err));
    return BL_OK;
}

/* ---- old runs ---- */

struct incarnation {
    struct bl_str name;
    int64_t used_us;
};

static int newest_first(const void *a, const void *b) {
    const struct incarnation *x = a, *y = b;
    return (y->used_us > x->used_us) - (y->used_us < x->used_us);
}

static enum bl_rc forget_incarnation(struct buffer *b, unsigned route, struct bl_str name, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HDEL");
    redis_arg_z(&a, b->routes[route].metadata);
    redis_arg_printf(&a, "used:%.*s", BL_ARG(name));
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        redis_arg_printf(&a, "blocks:%.*s:%s", BL_ARG(name), ev_schema((enum ev_type)t)->name);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return route_call(b, route, &a, &r, err);
}

/* Every ingest run leaves its blocks:<inc>:<type> behind. They serve a run that is alive, so those of runs not used for
 * long go. */
static enum bl_rc prune_incarnations(struct buffer *b, unsigned route, const redisReply *metadata,
                                     struct bl_error *err) {
    static const struct bl_str used = BL_LIT("used:");
    BL_CLEANUP(bl_freep) struct incarnation *all = bl_xcalloc(metadata->elements / 2 + 1, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i + 1 < metadata->elements; i += 2) {
        struct bl_str field = redis_text(metadata->element[i]), value = redis_text(metadata->element[i + 1]);
        if (!bl_str_starts(field, used) || field.n > used.n + 32) continue;
        all[count].name = bl_str_skip(field, used.n);
        if (!bl_parse_i64(value, 0, INT64_MAX, &all[count].used_us)) all[count].used_us = 0;
        count++;
    }
    qsort(all, count, sizeof *all, newest_first);
    for (size_t i = INCARNATIONS_KEPT; i < count; i++) BL_TRY(forget_incarnation(b, route, all[i].name, err));
    return BL_OK;
}

/* ---- the cursor of a cluster ---- */

/* A server that lost its newest entries has lost their cursors with them, but others may hold younger ones. A cursor
 * serves only while every type still has at least the events that had been buffered before it. */
static bool is_covered(const struct vote *vote, const struct buffer_position *p) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (vote->seen[t] > p->received[t]) return false;
    return true;
}

static uint64_t age_of(const struct vote *vote) {
    uint64_t sum = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) sum += vote->seen[t];
    return sum;
}

/* Once numbers go up again, a cursor that promises too much would look right. Unless somebody has replaced it since. */
static enum bl_rc withdraw(struct buffer *b, unsigned route, const struct vote *vote, struct bl_error *err) {
    static const char script[] = "if redis.call('HMGET', KEYS[1], 'cursor_us')[1] ~= ARGV[1] then return 0 end\n"
                                 "return redis.call('HDEL', KEYS[1], 'cursor_us', 'cursor_host')\n";
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, script);
    redis_arg_z(&a, "1");
    redis_arg_z(&a, b->routes[route].metadata);
    redis_arg_i64(&a, vote->cursor_us);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return route_call(b, route, &a, &r, err);
}

static enum bl_rc choose_cursor(struct buffer *b, const struct vote votes[static ROUTE_COUNT],
                                struct buffer_position *p, struct bl_error *err) {
    const struct vote *best = NULL;
    for (unsigned r = 0; r < ROUTE_COUNT; r++) {
        const struct vote *vote = &votes[r];
        if (!vote->cursor_us) continue;
        if (!is_covered(vote, p)) {
            BL_TRY(withdraw(b, r, vote, err));
        } else if (!best || age_of(vote) > age_of(best) ||
                   (age_of(vote) == age_of(best) && vote->cursor_us > best->cursor_us)) {
            best = vote;
        }
    }
    if (!best) return BL_OK;
    p->cursor_us = best->cursor_us;
    snprintf(p->host, sizeof p->host, "%.*s", BL_ARG(best->host));
    return BL_OK;
}

/* ---- position ---- */

enum { HASHES = ROUTE_LEASE }; /* the lease has no metadata */

struct gathered {
    redisReply *hashes[HASHES];
    struct vote votes[ROUTE_COUNT]; /* their texts lie in `hashes` */
    struct buffer_position position;
};

static void release_gathered(struct gathered *g) {
    for (unsigned r = 0; r < HASHES; r++) redis_reply_release(&g->hashes[r]);
}

/* On a cluster the hashes are not of one moment. Cursors are read first and counters after them, so that what an append
 * meanwhile adds cannot make a cursor look as if it promised too much. */
static enum bl_rc read_counters(struct buffer *b, struct buffer_position *p, struct bl_error *err) {
    struct vote ignored = {0};
    for (unsigned r = 0; b->cluster && r < HASHES; r++) {
        BL_CLEANUP(redis_reply_release) redisReply *hash = NULL;
        BL_TRY(fetch(b, r, &hash, err));
        BL_TRY(read_hash(&b->routes[r], hash, p, &ignored, err));
    }
    return BL_OK;
}

static enum bl_rc gather(struct buffer *b, struct gathered *g, struct bl_error *err) {
    for (unsigned r = 0; r < HASHES; r++) {
        if (!route_is_first(b, r)) continue;
        BL_TRY(fetch(b, r, &g->hashes[r], err));
        BL_TRY(read_hash(&b->routes[r], g->hashes[r], &g->position, &g->votes[r], err));
    }
    BL_TRY(read_counters(b, &g->position, err));
    return choose_cursor(b, g->votes, &g->position, err);
}

/* A stream that was drained is still there, empty. */
static enum bl_rc look_for_notes(struct buffer *b, struct buffer_position *p, struct bl_error *err) {
    struct redis_args a;
    if (!p->rejected) return BL_OK;
    redis_words(&a, "EXISTS");
    redis_arg_z(&a, b->routes[ROUTE_REJECTED].key);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(route_call(b, ROUTE_REJECTED, &a, &r, err));
    if (r->integer == 0) p->vanished |= BUFFER_NOTES_BIT;
    return BL_OK;
}

enum bl_rc buffer_load_position(struct buffer *b, struct buffer_position *out, struct bl_error *err) {
    int64_t created = 0;
    BL_CLEANUP(release_gathered) struct gathered g = {0};
    char run_ids[ROUTE_COUNT][64];
    struct node *nodes[ROUTE_COUNT];
    size_t count = 0;
    BL_TRY(buffer_create_groups(b, &created, err));
    BL_TRY(nodes_in_use(b, nodes, &count, err));
    for (size_t i = 0; i < count; i++) {
        BL_TRY(node_poll_memory(b, nodes[i], err));
        memcpy(run_ids[i], nodes[i]->conn.run_id, sizeof run_ids[i]);
    }
    BL_TRY(gather(b, &g, err));
    for (unsigned r = 0; r < HASHES; r++)
        if (g.hashes[r]) BL_TRY(prune_incarnations(b, r, g.hashes[r], err));
    for (size_t i = 0; i < count; i++) memcpy(nodes[i]->known_run_id, run_ids[i], sizeof run_ids[i]);
    memcpy(b->counted, g.position.received, sizeof b->counted);
    BL_TRY(look_for_notes(b, &g.position, err));
    *out = g.position;
    return BL_OK;
}

void buffer_suspect(struct buffer *b) {
    for (size_t i = 0; i < b->node_count; i++) b->nodes[i]->known_run_id[0] = 0;
}

enum bl_rc buffer_stored_seqs(struct buffer *b, uint64_t incarnation, uint64_t seqs[static EV_TYPE_COUNT],
                              struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        struct redis_args a;
        redis_words(&a, "HMGET");
        redis_arg_z(&a, b->routes[t].metadata);
        redis_arg_printf(&a, "blocks:%016" PRIx64 ":%s", incarnation, ev_schema((enum ev_type)t)->name);
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(route_call(b, t, &a, &r, err));
        if (!redis_is_array(r, 1) || !bl_parse_u64(redis_text(r->element[0]), INT64_MAX, &seqs[t])) seqs[t] = 0;
    }
    return BL_OK;
}

static enum bl_rc number_notes_anew(struct buffer *b, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HDEL");
    redis_arg_z(&a, b->routes[ROUTE_REJECTED].metadata);
    redis_arg_z(&a, "rejected");
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return route_call(b, ROUTE_REJECTED, &a, &r, err);
}

enum bl_rc buffer_number_anew(struct buffer *b, unsigned types, struct bl_error *err) {
    if (types & BUFFER_NOTES_BIT) BL_TRY(number_notes_anew(b, err));
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        if (!(types >> t & 1)) continue;
        struct redis_args a;
        redis_words(&a, "HDEL");
        redis_arg_z(&a, b->routes[t].metadata);
        redis_arg_printf(&a, "vanished:%s", ev_schema((enum ev_type)t)->name);
        redis_arg_printf(&a, "received:%s", ev_schema((enum ev_type)t)->name);
        redis_arg_z(&a, "cursor_us");
        redis_arg_z(&a, "cursor_host");
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(route_call(b, t, &a, &r, err));
        b->counted[t] = 0;
    }
    return BL_OK;
}

/* ---- settled ---- */

/* `first` of a queue's oldest entry, without its data; ARGV[1] is its group, if it has one. A queue that is empty
 * because it was taken away must not be taken for one that was drained: then its group is gone, or it was made anew, or
 * its counter is. */
static const char oldest_script[] =
    "local p = ARGV[1] ~= '' and redis.pcall('XPENDING', KEYS[1], ARGV[1]) or {}\n"
    "if p.err then return p end\n"
    "local m = redis.call('HMGET', KEYS[2], ARGV[2], ARGV[3])\n"
    "if ARGV[1] == '' and m[2] and redis.call('EXISTS', KEYS[1]) == 0 then return {err = 'NOGROUP evicted'} end\n"
    "if m[1] or tonumber(m[2] or 0) < tonumber(ARGV[4]) then return {err = 'NOGROUP made anew'} end\n"
    "local e = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]\n"
    "for f = 1, e and #e[2] or 0, 2 do\n"
    "  if e[2][f] == 'first' then return e[2][f + 1] end\n"
    "end\n"
    "return ''\n";

/* `counter` is the field of the metadata that counts what was added, `count` what it was when last looked at. */
static enum bl_rc oldest_first(struct buffer *b, unsigned route, const char *counter, uint64_t count, int64_t *first_us,
                               struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL_RO");
    redis_arg_z(&a, oldest_script);
    redis_arg_z(&a, "2");
    redis_arg_z(&a, b->routes[route].key);
    redis_arg_z(&a, b->routes[route].metadata);
    redis_arg_z(&a, route == ROUTE_REJECTED ? "" : BUFFER_GROUP);
    redis_arg_printf(&a, "vanished:%s", route == ROUTE_REJECTED ? counter : ev_schema((enum ev_type)route)->name);
    redis_arg_z(&a, counter);
    redis_arg_i64(&a, (int64_t)count);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    enum bl_rc rc = route_call(b, route, &a, &r, err);
    if (redis_says(r, "NOGROUP")) return bl_fail(err, BL_E_FORGOTTEN, "%s has vanished", b->routes[route].key);
    if (rc == BL_OK && !bl_parse_i64(redis_text(r), 1, INT64_MAX, first_us)) *first_us = 0;
    return rc;
}

/* With `guard`: is this still the Redis whose position was loaded? */
static enum bl_rc check_known(struct buffer *b, struct bl_error *err) {
    struct node *nodes[ROUTE_COUNT];
    size_t count = 0;
    BL_TRY(nodes_in_use(b, nodes, &count, err));
    for (size_t i = 0; b->guard && i < count; i++)
        if (strcmp(nodes[i]->known_run_id, nodes[i]->conn.run_id) != 0)
            return bl_fail(err, BL_E_FORGOTTEN, "what Redis holds has to be compared first");
    return BL_OK;
}

/* The cursor first and the queues after it: what has gone from a queue meanwhile is in the lake, and what has come lies
 * behind the cursor. */
enum bl_rc buffer_settled(struct buffer *b, int64_t *settled_us, struct bl_error *err) {
    BL_CLEANUP(release_gathered) struct gathered g = {0};
    BL_TRY(gather(b, &g, err));
    int64_t oldest = g.position.cursor_us;
    for (unsigned route = 0; route <= ROUTE_REJECTED; route++) {
        bool rejected = route == ROUTE_REJECTED;
        int64_t first = 0;
        char counter[64] = "rejected";
        if (!rejected) snprintf(counter, sizeof counter, "received:%s", ev_schema((enum ev_type)route)->name);
        uint64_t count = rejected ? g.position.rejected : g.position.received[route];
        BL_TRY(oldest_first(b, route, counter, count, &first, err));
        if (first && first < oldest) oldest = first;
    }
    *settled_us = oldest;
    return check_known(b, err);
}
