/* Ingest's side: append, reject. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/fault.h"
#include "buffer/nodes.h"

/* ---- transactions ---- */

static enum bl_rc forgotten(struct node *node, struct bl_error *err) {
    node->known_run_id[0] = 0;
    return bl_fail(err, BL_E_FORGOTTEN,
                   "Redis was restarted or its counters changed: what it holds has to be compared first");
}

static enum bl_rc check_run(const struct buffer *b, struct node *node, struct bl_error *err) {
    return !b->guard || strcmp(node->known_run_id, node->conn.run_id) == 0 ? BL_OK : forgotten(node, err);
}

static enum bl_rc begin(struct lane *l, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "MULTI");
    return lane_send(l, &a, err);
}

static enum bl_rc check_results(struct redis_conn *c, const redisReply *exec, struct bl_error *err) {
    if (!redis_is_array(exec, 0)) return bl_fail(err, BL_E_BACKEND, "EXEC: unexpected answer");
    for (size_t i = 0; i < exec->elements; i++)
        if (redis_check(c, exec->element[i], err) != BL_OK) {
            if (err) err->code = BL_E_CORRUPT;
            return bl_err_prefix(err, BL_E_CORRUPT, "transaction carried out in part");
        }
    return BL_OK;
}

/* Sends EXEC and takes the answers to MULTI, `queued` commands and EXEC. With one command refused while queueing, or
 * the watched counters changed, nothing is carried out. */
static enum bl_rc commit(struct lane *l, unsigned queued, redisReply **results, struct bl_error *err) {
    struct redis_conn *c = l->conn;
    struct redis_args a;
    redis_words(&a, "EXEC");
    BL_TRY(redis_send(c, &a, err));
    enum bl_rc first = BL_OK;
    for (unsigned i = 0; i <= queued + 1; i++) {
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        enum bl_rc rc = i ? redis_receive(c, &r, err) : lane_receive(l, &r, err);
        if (rc != BL_OK) return rc;
        BL_CRASH_POINT("buffer.answer");
        if (first != BL_OK) continue;
        first = redis_check(c, r, err);
        if (first == BL_OK && i == queued + 1)
            first = r->type == REDIS_REPLY_NIL ? forgotten(l->node, err) : check_results(c, r, err);
        if (first == BL_OK && i == queued + 1 && results) {
            *results = r;
            r = NULL;
        }
        if (!c->context) return first;
    }
    return first;
}

/* Until the answer to EXEC is here, nobody knows whether it was carried out. */
static void set_doubt(struct buffer *b, struct redis_conn *c, bool doubt) {
    b->in_doubt = doubt;
    c->doubt = doubt;
    if (!doubt) return;
    c->doubt_client_id = c->client_id;
    memcpy(c->doubt_run_id, c->run_id, sizeof c->doubt_run_id);
}

/* ---- append ---- */

struct append { /* what goes in one transaction */
    const struct buffer_append *blocks;
    size_t count;
    int64_t cursor_us;
    const char *host;
    const struct route *route;
};

static void block_field_name(struct redis_args *a, const struct buffer_append *p) {
    redis_arg_printf(a, "blocks:%016" PRIx64 ":%s", p->block.incarnation, ev_schema(p->type)->name);
}

static enum bl_rc send_block(struct buffer *b, struct redis_conn *c, const struct buffer_append *p, int64_t now_us,
                             struct bl_error *err) {
    const struct route *route = &b->routes[p->type];
    struct redis_args a;
    struct block_field fields[BLOCK_FIELDS];
    bl_buf_clear(&b->scratch);
    block_fields(&p->block, &b->scratch, fields);
    redis_words(&a, "XADD");
    redis_arg_z(&a, route->key);
    redis_arg_z(&a, "*");
    for (size_t i = 0; i < BLOCK_FIELDS; i++) {
        redis_arg(&a, fields[i].name);
        redis_arg(&a, fields[i].value);
    }
    BL_TRY(redis_send(c, &a, err));

    redis_words(&a, "HINCRBY");
    redis_arg_z(&a, route->metadata);
    redis_arg_printf(&a, "received:%s", ev_schema(p->type)->name);
    redis_arg_i64(&a, p->block.count);
    BL_TRY(redis_send(c, &a, err));

    redis_words(&a, "HSET");
    redis_arg_z(&a, route->metadata);
    block_field_name(&a, p);
    redis_arg_i64(&a, (int64_t)p->block.seq);
    redis_arg_printf(&a, "used:%016" PRIx64, p->block.incarnation);
    redis_arg_i64(&a, now_us);
    return redis_send(c, &a, err);
}
enum { COMMANDS_A_BLOCK = 3 };

/* On a cluster other servers hold the other types' counters, so what they were goes with the cursor (position.c). */
static void add_seen(struct buffer *b, const struct append *q, struct redis_args *a) {
    uint64_t seen[EV_TYPE_COUNT];
    memcpy(seen, b->counted, sizeof seen);
    for (size_t i = 0; i < q->count; i++)
        seen[q->blocks[i].type] = q->blocks[i].block.offset + q->blocks[i].block.count;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        redis_arg_printf(a, "seen:%s", ev_schema((enum ev_type)t)->name);
        redis_arg_i64(a, (int64_t)seen[t]);
    }
}

static enum bl_rc send_cursor(struct buffer *b, struct redis_conn *c, const struct append *q, int64_t now_us,
                              struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HSET");
    redis_arg_z(&a, q->route->metadata);
    redis_arg_z(&a, "updated_us");
    redis_arg_i64(&a, now_us);
    if (q->cursor_us > 0) {
        redis_arg_z(&a, "cursor_us");
        redis_arg_i64(&a, q->cursor_us);
        redis_arg_z(&a, "cursor_host");
        redis_arg_z(&a, q->host ? q->host : "");
        if (b->cluster) add_seen(b, q, &a);
    }
    return redis_send(c, &a, err);
}

/* Are the counters those the offsets were taken from? Others say: the hash was evicted or flushed, or somebody else
 * appends, and nothing may be added before what is there has been compared. */
static bool counts_match(const struct append *q, const bool *present, const redisReply *counts) {
    uint64_t added[EV_TYPE_COUNT] = {0};
    for (size_t i = 0; i < q->count; i++) {
        const struct buffer_append *p = &q->blocks[i];
        uint64_t counted = 0;
        if (present[i]) continue;
        if (!bl_parse_u64(redis_text(counts->element[i]), INT64_MAX, &counted)) counted = 0;
        if (counted + added[p->type] != p->block.offset) return false;
        added[p->type] += p->block.count;
    }
    return true;
}

/* WATCH makes the answer hold until EXEC. */
static enum bl_rc watch_counts(struct lane *l, const struct append *q, const bool *present, struct bl_error *err) {
    struct redis_args a;
    BL_CLEANUP(redis_reply_release) redisReply *watched = NULL, *counts = NULL, *done = NULL;
    redis_words(&a, "WATCH");
    redis_arg_z(&a, q->route->metadata);
    BL_TRY(lane_call(l, &a, &watched, err));
    redis_words(&a, "HMGET");
    redis_arg_z(&a, q->route->metadata);
    for (size_t i = 0; i < q->count; i++) redis_arg_printf(&a, "received:%s", ev_schema(q->blocks[i].type)->name);
    redis_arg_z(&a, "updated_us"); /* HMGET wants a field even when there is no block */
    BL_TRY(lane_call(l, &a, &counts, err));
    if (!redis_is_array(counts, q->count)) return bl_fail(err, BL_E_BACKEND, "HMGET: unexpected answer");
    if (counts_match(q, present, counts)) return BL_OK;
    redis_words(&a, "UNWATCH");
    BL_TRY(redis_call(l->conn, &a, &done, err));
    return forgotten(l->node, err);
}

static void note_counts(struct buffer *b, const struct append *q) {
    for (size_t i = 0; i < q->count; i++)
        b->counted[q->blocks[i].type] = q->blocks[i].block.offset + q->blocks[i].block.count;
}

/* Which blocks the transaction in doubt brought. Asked for each, because the caller may come back with more blocks than
 * it had then. */
static enum bl_rc find_present(struct lane *l, const struct append *q, bool *present, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HMGET");
    redis_arg_z(&a, q->route->metadata);
    for (size_t i = 0; i < q->count; i++) block_field_name(&a, &q->blocks[i]);
    redis_arg_z(&a, "updated_us"); /* HMGET wants a field even when there is no block */
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(lane_call(l, &a, &r, err));
    if (!redis_is_array(r, q->count)) return bl_fail(err, BL_E_BACKEND, "HMGET: unexpected answer");
    for (size_t i = 0; i < q->count; i++) {
        uint64_t seq = 0;
        present[i] = bl_parse_u64(redis_text(r->element[i]), INT64_MAX, &seq) && seq >= q->blocks[i].block.seq;
    }
    return BL_OK;
}

static enum bl_rc append_once(struct buffer *b, struct lane *l, const struct append *q, struct bl_error *err) {
    bool present[BUFFER_APPEND_MAX] = {0};
    struct redis_conn *c = l->conn; /* making it has killed the connection in doubt */
    BL_TRY(node_check_memory(b, l->node, err));
    BL_TRY(check_run(b, l->node, err));
    if (b->in_doubt || b->unsure) {
        BL_TRY(find_present(l, q, present, err));
        set_doubt(b, c, false);
    }
    if (b->guard) BL_TRY(watch_counts(l, q, present, err));
    int64_t now_us = bl_wall_us();
    unsigned queued = 1;
    BL_TRY(begin(l, err));
    for (size_t i = 0; i < q->count; i++) {
        if (present[i]) continue;
        BL_TRY(send_block(b, c, &q->blocks[i], now_us, err));
        queued += COMMANDS_A_BLOCK;
    }
    BL_TRY(send_cursor(b, c, q, now_us, err));
    set_doubt(b, c, true);
    BL_CRASH_POINT("buffer.before_exec");
    enum bl_rc rc = commit(l, queued, NULL, err);
    BL_CRASH_POINT("buffer.after_exec");
    if (rc != BL_E_NET) set_doubt(b, c, false);
    if (rc == BL_OK) note_counts(b, q);
    return rc;
}

static enum bl_rc append_routed(struct buffer *b, const struct append *q, struct bl_error *err) {
    struct lane l = {.route = (unsigned)(q->route - b->routes)};
    while (lane_open(b, &l, err)) l.rc = append_once(b, &l, q, err);
    return l.rc;
}

static enum bl_rc append_surely(struct buffer *b, const struct append *q, struct bl_error *err) {
    enum bl_rc rc = append_routed(b, q, err);
    /* A connection that broke is tried anew once, at once: a Redis restarted since the last block is no news. */
    return rc == BL_E_NET ? append_routed(b, q, err) : rc;
}

/* On a cluster every block is a transaction of its own, and the cursor comes with the last. */
static enum bl_rc append_each(struct buffer *b, const struct append *all, struct bl_error *err) {
    for (size_t i = 0; i < all->count; i++) {
        bool last = i + 1 == all->count;
        struct append q = {.blocks = &all->blocks[i],
                           .count = 1,
                           .cursor_us = last ? all->cursor_us : 0,
                           .host = all->host,
                           .route = &b->routes[all->blocks[i].type]};
        BL_TRY(append_surely(b, &q, err));
        b->unsure = !last; /* what follows may fail: the caller then comes back with all of them */
    }
    return BL_OK;
}

enum bl_rc buffer_append(struct buffer *b, const struct buffer_append *blocks, size_t count, int64_t cursor_us,
                         const char *cursor_host, struct bl_error *err) {
    if (count > BUFFER_APPEND_MAX)
        return bl_fail(err, BL_E_INVALID, "%zu blocks in one append: at most %d", count, BUFFER_APPEND_MAX);
    struct append q = {.blocks = blocks,
                       .count = count,
                       .cursor_us = cursor_us,
                       .host = cursor_host,
                       .route = &b->routes[count ? blocks[0].type : 0]};
    return b->cluster && count ? append_each(b, &q, err) : append_surely(b, &q, err);
}

/* ---- reject ---- */

static enum bl_rc send_note(const struct buffer *b, struct redis_conn *c, const struct buffer_note *note,
                            struct bl_error *err) {
    const struct route *route = &b->routes[ROUTE_REJECTED];
    struct redis_args a;
    redis_words(&a, "XADD");
    redis_arg_z(&a, route->key);
    redis_arg_z(&a, "*");
    redis_arg_z(&a, "reason");
    redis_arg_z(&a, note->reason);
    redis_arg_z(&a, "detail");
    redis_arg_z(&a, note->detail);
    redis_arg_z(&a, "received_us");
    redis_arg_i64(&a, note->received_us);
    redis_arg_z(&a, "first");
    redis_arg_i64(&a, note->after_us);
    redis_arg_z(&a, "message");
    redis_arg(&a, note->message);
    BL_TRY(redis_send(c, &a, err));
    redis_words(&a, "HINCRBY");
    redis_arg_z(&a, route->metadata);
    redis_arg_z(&a, "rejected");
    redis_arg_z(&a, "1");
    return redis_send(c, &a, err);
}

static enum bl_rc reject_once(struct buffer *b, struct lane *l, const struct buffer_note *note, uint64_t *number,
                              struct bl_error *err) {
    BL_TRY(node_check_memory(b, l->node, err));
    BL_TRY(check_run(b, l->node, err));
    BL_TRY(begin(l, err));
    BL_TRY(send_note(b, l->conn, note, err));
    BL_CLEANUP(redis_reply_release) redisReply *results = NULL;
    BL_TRY(commit(l, 2, &results, err));
    if (number) *number = results->elements > 1 ? (uint64_t)results->element[1]->integer : 0;
    return BL_OK;
}

enum bl_rc buffer_reject(struct buffer *b, const struct buffer_note *note, uint64_t *number, struct bl_error *err) {
    struct lane l = {.route = ROUTE_REJECTED};
    while (lane_open(b, &l, err)) l.rc = reject_once(b, &l, note, number, err);
    return l.rc;
}
