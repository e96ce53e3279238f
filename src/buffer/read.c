/* The writer's side: read, acknowledge, rejected messages. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "buffer/nodes.h"
#include "obs/log.h"

enum {
    CLUSTER_POLL_NS = 20 * 1000 * 1000,
    FIELDS_MAX = 64,
    CLAIM_PAGE = 1000,
    CLAIM_EVERY_MIN_MS = 20,
    CLAIM_EVERY_MAX_MS = 30000
};

/* One buffer_read's parameters, and whether a queue or its group turned out to be gone. */
struct request {
    struct buffer *b;
    unsigned max_entries;
    int64_t claim_idle_ms;
    int wait_ms;
    bool no_group;
    bool claiming; /* an XCLAIM was sent */
};

void buffer_rewind(struct buffer *b) {
    struct reader *r = &b->reader;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        snprintf(r->last[t], sizeof r->last[t], "0");
        r->drained[t] = false;
    }
    r->claimed = false;
    r->claim_due_ns = 0;
}

static bool group_is_gone(const redisReply *r) {
    return redis_says(r, "NOGROUP") || redis_says(r, "ERR no such key");
}

static enum bl_rc call(struct request *q, unsigned route, const struct redis_args *a, redisReply **out,
                       struct bl_error *err) {
    enum bl_rc rc = route_call(q->b, route, a, out, err);
    if (rc != BL_OK && group_is_gone(*out)) q->no_group = true;
    return rc;
}

/* Types that are read with one command: all of them, but on a cluster every one by itself. */
struct span {
    unsigned from, to;
};
static bool next_span(const struct buffer *b, struct span *s) {
    s->from = s->to;
    s->to = b->cluster ? s->from + 1 : EV_TYPE_COUNT;
    return s->from < EV_TYPE_COUNT;
}

/* ---- entries ---- */

static void release_entries(struct buffer *b) {
    for (size_t i = 0; i < b->held_count; i++) redis_reply_release(&b->held[i]);
    b->held_count = 0;
    b->entry_count = 0;
    bl_arena_reset(&b->raw);
}

static void hold(struct buffer *b, redisReply **r) {
    BL_ASSERT(b->held_count < EV_TYPE_COUNT);
    b->held[b->held_count++] = *r;
    *r = NULL;
}

static struct buffer_entry *new_entry(struct buffer *b) {
    if (b->entry_count == b->entry_room) {
        b->entry_room = b->entry_room ? b->entry_room * 2 : 64;
        b->entries = bl_xrealloc(b->entries, b->entry_room * sizeof *b->entries);
    }
    struct buffer_entry *e = &b->entries[b->entry_count++];
    *e = (struct buffer_entry){0};
    return e;
}

/* What could not be read is kept whole for the dead letters: "name: value" lines. */
static void keep_raw(struct buffer *b, const redisReply *fields, struct buffer_entry *e) {
    bl_buf_clear(&b->scratch);
    for (size_t i = 0; i < fields->elements; i++) {
        bl_buf_str(&b->scratch, redis_text(fields->element[i]));
        bl_buf_z(&b->scratch, i % 2 ? "\n" : ": ");
    }
    e->block = (struct block){.data = bl_arena_dup(&b->raw, bl_buf_view(&b->scratch))};
}

static void parse_entry(struct buffer *b, const redisReply *fields, struct buffer_entry *e) {
    struct block_field parsed[FIELDS_MAX];
    size_t pairs = fields->elements / 2;
    struct bl_error why = {0};
    enum bl_rc rc;
    if (pairs > FIELDS_MAX) {
        rc = bl_fail(&why, BL_E_CORRUPT, "%zu fields", pairs);
    } else {
        for (size_t i = 0; i < pairs; i++)
            parsed[i] =
                (struct block_field){redis_text(fields->element[2 * i]), redis_text(fields->element[2 * i + 1])};
        rc = block_parse(parsed, pairs, &e->block, &why);
    }
    if (rc == BL_OK) return;
    e->corrupt = true;
    snprintf(e->why, sizeof e->why, "%.*s", (int)sizeof e->why - 1, why.message);
    keep_raw(b, fields, e);
}

static void copy_id(char out[static ID_MAX], const redisReply *id) {
    struct bl_str s = redis_text(id);
    snprintf(out, ID_MAX, "%.*s", BL_ARG(s));
}

/* Puts the entry into the batch; false when it was deleted while pending, so that only its id is left. */
static bool add_entry(struct buffer *b, enum ev_type type, const redisReply *entry, bool redelivered) {
    if (!redis_is_array(entry, 2) || !redis_is_array(entry->element[1], 0)) return false;
    struct buffer_entry *e = new_entry(b);
    e->type = type;
    e->redelivered = redelivered;
    copy_id(e->id, entry->element[0]);
    parse_entry(b, entry->element[1], e);
    return true;
}

static bool type_of_queue(const struct buffer *b, struct bl_str key, unsigned *type) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (bl_str_eq(key, bl_str(b->routes[t].key))) {
            *type = t;
            return true;
        }
    return false;
}

/* ---- own pending entries ---- */

static void begin_read(struct redis_args *a, const struct request *q) {
    redis_words(a, "XREADGROUP GROUP " BUFFER_GROUP);
    redis_arg_z(a, q->b->reader.consumer);
    redis_arg_z(a, "COUNT");
    redis_arg_i64(a, q->max_entries);
}

static enum bl_rc ack_deleted(struct request *q, unsigned type, const redisReply *entries, struct bl_error *err) {
    struct redis_args a;
    for (size_t i = 0; i < entries->elements;) {
        redis_words(&a, "XACK");
        redis_arg_z(&a, q->b->routes[type].key);
        redis_arg_z(&a, BUFFER_GROUP);
        int head = a.count;
        for (; i < entries->elements && a.count < GROUP_CHUNK; i++) {
            const redisReply *e = entries->element[i];
            if (redis_is_array(e, 2) && e->element[1]->type == REDIS_REPLY_NIL)
                redis_arg(&a, redis_text(e->element[0]));
        }
        if (a.count == head) continue;
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(call(q, type, &a, &r, err));
    }
    return BL_OK;
}

static enum bl_rc take_pending(struct request *q, const redisReply *stream, struct bl_error *err) {
    unsigned t = 0;
    if (!redis_is_array(stream, 2) || !type_of_queue(q->b, redis_text(stream->element[0]), &t)) return BL_OK;
    const redisReply *entries = stream->element[1];
    size_t deleted = 0;
    for (size_t i = 0; i < entries->elements; i++)
        if (!add_entry(q->b, (enum ev_type)t, entries->element[i], true)) deleted++;
    if (deleted) BL_TRY(ack_deleted(q, t, entries, err));
    if (entries->elements) copy_id(q->b->reader.last[t], entries->element[entries->elements - 1]->element[0]);
    q->b->reader.drained[t] = entries->elements < q->max_entries;
    return BL_OK;
}

static bool all_drained(const struct reader *r, struct span s) {
    for (unsigned t = s.from; t < s.to; t++)
        if (!r->drained[t]) return false;
    return true;
}

static enum bl_rc read_pending_of(struct request *q, struct span s, struct bl_error *err) {
    struct buffer *b = q->b;
    for (size_t before = b->entry_count; b->entry_count == before && !all_drained(&b->reader, s);) {
        struct redis_args a;
        begin_read(&a, q);
        redis_arg_z(&a, "STREAMS");
        for (unsigned t = s.from; t < s.to; t++)
            if (!b->reader.drained[t]) redis_arg_z(&a, b->routes[t].key);
        for (unsigned t = s.from; t < s.to; t++)
            if (!b->reader.drained[t]) redis_arg_z(&a, b->reader.last[t]);
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(call(q, s.from, &a, &r, err));
        if (!redis_is_array(r, 1)) return bl_fail(err, BL_E_BACKEND, "XREADGROUP: unexpected answer");
        for (size_t i = 0; i < r->elements; i++) BL_TRY(take_pending(q, r->element[i], err));
        if (b->entry_count > before) hold(b, &r);
    }
    return BL_OK;
}

static enum bl_rc read_pending(struct request *q, struct bl_error *err) {
    for (struct span s = {0}; next_span(q->b, &s);) BL_TRY(read_pending_of(q, s, err));
    return BL_OK;
}

/* ---- dead consumers' entries ---- */

/* Before the first own pending entry is read, dead consumers' entries are made our own, so that one walk over our
 * pending list hands out everything in stream order. */
static enum bl_rc adopt_all(struct request *q, struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        char from[ID_MAX] = "0-0";
        do {
            struct redis_args a;
            redis_words(&a, "XAUTOCLAIM");
            redis_arg_z(&a, q->b->routes[t].key);
            redis_arg_z(&a, BUFFER_GROUP);
            redis_arg_z(&a, q->b->reader.consumer);
            redis_arg_i64(&a, q->claim_idle_ms);
            redis_arg_z(&a, from);
            redis_arg_z(&a, "COUNT");
            redis_arg_i64(&a, CLAIM_PAGE);
            redis_arg_z(&a, "JUSTID");
            BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
            BL_TRY(call(q, t, &a, &r, err));
            if (!redis_is_array(r, 2)) return bl_fail(err, BL_E_BACKEND, "XAUTOCLAIM: unexpected answer");
            copy_id(from, r->element[0]);
        } while (strcmp(from, "0-0") != 0);
    }
    q->b->reader.claimed = true;
    return BL_OK;
}

/* The value of `name` in a flat list of names and values. */
static const redisReply *member(const redisReply *list, const char *name) {
    for (size_t i = 0; i + 1 < list->elements; i += 2)
        if (bl_str_eq(redis_text(list->element[i]), bl_str(name))) return list->element[i + 1];
    return NULL;
}

/* Another consumer with pending entries, or nothing. */
static struct bl_str other_consumer(const redisReply *consumers, const char *self) {
    for (size_t i = 0; i < consumers->elements; i++) {
        const redisReply *pending = member(consumers->element[i], "pending");
        struct bl_str name = redis_text(member(consumers->element[i], "name"));
        if (pending && pending->integer > 0 && !bl_str_eq(name, bl_str(self))) return name;
    }
    return (struct bl_str){0};
}

static enum bl_rc find_idle(struct request *q, unsigned t, struct bl_str consumer, redisReply **out,
                            struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "XPENDING");
    redis_arg_z(&a, q->b->routes[t].key);
    redis_arg_z(&a, BUFFER_GROUP);
    redis_arg_z(&a, "IDLE");
    redis_arg_i64(&a, q->claim_idle_ms);
    redis_arg_z(&a, "-");
    redis_arg_z(&a, "+");
    redis_arg_i64(&a, q->max_entries < GROUP_CHUNK ? q->max_entries : GROUP_CHUNK);
    redis_arg(&a, consumer);
    return call(q, t, &a, out, err);
}

/* Both lists are in stream order; an entry may have gone to somebody else between the two commands. */
static void note_idle(struct buffer_entry *e, const redisReply *idle, size_t *at) {
    for (; *at < idle->elements; ++*at) {
        const redisReply *row = idle->element[*at];
        if (!redis_is_array(row, 3) || !bl_str_eq(redis_text(row->element[0]), bl_str(e->id))) continue;
        e->idle_ms = row->element[2]->integer;
        return;
    }
}

static enum bl_rc claim(struct request *q, unsigned t, const redisReply *idle, struct bl_error *err) {
    struct buffer *b = q->b;
    struct redis_args a;
    redis_words(&a, "XCLAIM");
    redis_arg_z(&a, b->routes[t].key);
    redis_arg_z(&a, BUFFER_GROUP);
    redis_arg_z(&a, b->reader.consumer);
    redis_arg_i64(&a, q->claim_idle_ms);
    for (size_t i = 0; i < idle->elements; i++) redis_arg(&a, redis_text(idle->element[i]->element[0]));
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    q->claiming = true;
    BL_TRY(call(q, t, &a, &r, err));
    size_t at = 0, before = b->entry_count;
    for (size_t i = 0; i < r->elements; i++)
        if (add_entry(b, (enum ev_type)t, r->element[i], true)) note_idle(&b->entries[b->entry_count - 1], idle, &at);
    if (b->entry_count > before) hold(b, &r);
    return BL_OK;
}

static enum bl_rc claim_from(struct request *q, unsigned t, const redisReply *consumers, struct bl_error *err) {
    struct bl_str other = other_consumer(consumers, q->b->reader.consumer);
    if (other.n == 0) return BL_OK;
    BL_CLEANUP(redis_reply_release) redisReply *idle = NULL;
    BL_TRY(find_idle(q, t, other, &idle, err));
    return idle->elements ? claim(q, t, idle, err) : BL_OK;
}

/* While reading new entries: XAUTOCLAIM would also take, and hand out again, what this consumer holds and has not
 * acknowledged yet. So the others' entries are looked up and claimed by id. */
static enum bl_rc claim_dead(struct request *q, struct bl_error *err) {
    struct reader *r = &q->b->reader;
    int64_t now = bl_mono_ns();
    if (now < r->claim_due_ns) return BL_OK;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        struct redis_args a;
        redis_words(&a, "XINFO CONSUMERS");
        redis_arg_z(&a, q->b->routes[t].key);
        redis_arg_z(&a, BUFFER_GROUP);
        BL_CLEANUP(redis_reply_release) redisReply *consumers = NULL;
        BL_TRY(call(q, t, &a, &consumers, err));
        if (redis_is_array(consumers, 1)) BL_TRY(claim_from(q, t, consumers, err));
    }
    int64_t every_ms = q->claim_idle_ms / 2;
    every_ms = every_ms < CLAIM_EVERY_MIN_MS ? CLAIM_EVERY_MIN_MS : every_ms;
    every_ms = every_ms > CLAIM_EVERY_MAX_MS ? CLAIM_EVERY_MAX_MS : every_ms;
    /* Where some were found there may be more. */
    r->claim_due_ns = q->b->entry_count ? 0 : now + every_ms * 1000000;
    return BL_OK;
}

/* ---- new entries ---- */

static enum bl_rc call_patiently(struct request *q, unsigned route, int wait_ms, const struct redis_args *a,
                                 redisReply **out, struct bl_error *err) {
    if (wait_ms == 0) return call(q, route, a, out, err);
    struct redis_conn *c = &q->b->nodes[0]->conn;
    BL_TRY(redis_patience(c, wait_ms, err));
    BL_TRY(call(q, route, a, out, err));
    return redis_patience(c, 0, err);
}

static void add_stream(struct buffer *b, const redisReply *stream) {
    unsigned t = 0;
    if (!redis_is_array(stream, 2) || !type_of_queue(b, redis_text(stream->element[0]), &t)) return;
    for (size_t k = 0; k < stream->element[1]->elements; k++)
        if (add_entry(b, (enum ev_type)t, stream->element[1]->element[k], false))
            memcpy(b->reader.last[t], b->entries[b->entry_count - 1].id, ID_MAX);
}

static enum bl_rc read_new_of(struct request *q, struct span s, int wait_ms, struct bl_error *err) {
    struct buffer *b = q->b;
    struct redis_args a;
    begin_read(&a, q);
    if (wait_ms > 0) {
        redis_arg_z(&a, "BLOCK");
        redis_arg_i64(&a, wait_ms);
    }
    redis_arg_z(&a, "STREAMS");
    for (unsigned t = s.from; t < s.to; t++) redis_arg_z(&a, b->routes[t].key);
    for (unsigned t = s.from; t < s.to; t++) redis_arg_z(&a, ">");
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(call_patiently(q, s.from, wait_ms, &a, &r, err));
    if (!redis_is_array(r, 1)) return BL_OK;
    for (size_t i = 0; i < r->elements; i++) add_stream(b, r->element[i]);
    hold(b, &r);
    return BL_OK;
}

/* Nobody can wait for several servers at once, so on a cluster they are asked in turn. */
static enum bl_rc read_new(struct request *q, struct bl_error *err) {
    int wait_ms = q->wait_ms > 0 ? q->wait_ms : 0;
    if (!q->b->cluster) return read_new_of(q, (struct span){0, EV_TYPE_COUNT}, wait_ms, err);
    for (int64_t until_ns = bl_mono_ns() + (int64_t)wait_ms * 1000000;;) {
        for (struct span s = {0}; next_span(q->b, &s);) BL_TRY(read_new_of(q, s, 0, err));
        if (q->b->entry_count || bl_mono_ns() >= until_ns) return BL_OK;
        nanosleep(&(struct timespec){.tv_nsec = CLUSTER_POLL_NS}, NULL);
    }
}

/* ---- buffer_read ---- */

static enum bl_rc read_once(struct request *q, struct bl_error *err) {
    struct buffer *b = q->b;
    release_entries(b);
    if (!b->reader.claimed && q->claim_idle_ms >= 0) BL_TRY(adopt_all(q, err));
    BL_TRY(read_pending(q, err));
    if (b->entry_count) return BL_OK;
    if (q->claim_idle_ms >= 0) BL_TRY(claim_dead(q, err));
    return b->entry_count ? BL_OK : read_new(q, err);
}

/* What Redis handed out in a read that failed was never seen by the caller. It is pending for us now: after `last` as
 * it was before, or, if claimed, anywhere, so that only a walk from the start finds it. */
static enum bl_rc read_whole(struct request *q, struct bl_error *err) {
    struct reader *r = &q->b->reader;
    char last[EV_TYPE_COUNT][ID_MAX];
    memcpy(last, r->last, sizeof last);
    enum bl_rc rc = read_once(q, err);
    if (rc == BL_OK) return rc;
    release_entries(q->b);
    if (q->claiming) {
        buffer_rewind(q->b);
    } else {
        memcpy(r->last, last, sizeof last);
        memset(r->drained, 0, sizeof r->drained);
    }
    return rc;
}

/* Whether anything was lost with the queue shows in the offsets of the blocks that follow. */
static enum bl_rc restore_groups(struct buffer *b, struct bl_error *err) {
    int64_t created = 0;
    BL_TRY(buffer_create_groups(b, &created, err));
    buffer_rewind(b);
    bl_log(BL_WARN,
           "queues or their consumer groups had vanished (evicted or flushed) and were created anew; data may be "
           "missing created=%" PRId64,
           created);
    return BL_OK;
}

enum bl_rc buffer_read(struct buffer *b, const char *consumer, unsigned max_entries, int64_t claim_idle_ms, int wait_ms,
                       struct buffer_batch *out, struct bl_error *err) {
    if (!*consumer || strlen(consumer) >= sizeof b->reader.consumer)
        return bl_fail(err, BL_E_INVALID, "consumer name of %zu bytes: 1 to %zu are allowed", strlen(consumer),
                       sizeof b->reader.consumer - 1);
    if (strcmp(consumer, b->reader.consumer) != 0) {
        snprintf(b->reader.consumer, sizeof b->reader.consumer, "%s", consumer);
        buffer_rewind(b);
    }
    struct request q = {
        .b = b, .max_entries = max_entries ? max_entries : 1, .claim_idle_ms = claim_idle_ms, .wait_ms = wait_ms};
    enum bl_rc rc = read_whole(&q, err);
    if (q.no_group) {
        q.no_group = false;
        BL_TRY(restore_groups(b, err));
        rc = read_whole(&q, err);
    }
    if (rc != BL_OK) return rc;
    *out = (struct buffer_batch){b->entries, b->entry_count};
    return BL_OK;
}

/* ---- acknowledge ---- */

static void id_args(struct redis_args *a, const char *command, const char *key, const char *group,
                    const char *const *ids, size_t count) {
    redis_words(a, command);
    redis_arg_z(a, key);
    if (group) redis_arg_z(a, group);
    for (size_t i = 0; i < count; i++) redis_arg_z(a, ids[i]);
}

static enum bl_rc receive_ok(struct lane *l, struct bl_error *err) {
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(lane_receive(l, &r, err));
    return redis_check(l->conn, r, err);
}

/* Delete first, then acknowledge: cut off between the two, the entry stays pending without content, and reading cleans
 * that up; the other way round it would stay in the stream for ever, pending for nobody. No MULTI, because at maxmemory
 * Redis queues nothing, and draining is what helps then. */
static enum bl_rc ack_once(struct lane *l, const char *key, const char *const *ids, size_t count,
                           struct bl_error *err) {
    struct redis_args a;
    id_args(&a, "XDEL", key, NULL, ids, count);
    BL_TRY(lane_send(l, &a, err));
    id_args(&a, "XACK", key, BUFFER_GROUP, ids, count);
    BL_TRY(lane_send(l, &a, err));
    BL_CRASH_POINT("buffer.before_ack");
    enum bl_rc deleted = receive_ok(l, err);
    BL_CRASH_POINT("buffer.after_delete");
    if (!l->conn->context) return deleted;
    struct bl_error second = {0};
    enum bl_rc acked = receive_ok(l, &second);
    if (deleted != BL_OK || acked == BL_OK) return deleted;
    if (err) *err = second;
    return acked;
}

enum bl_rc buffer_ack(struct buffer *b, enum ev_type type, const char *const *ids, size_t count, struct bl_error *err) {
    for (size_t i = 0; i < count; i += GROUP_CHUNK) {
        size_t n = count - i < GROUP_CHUNK ? count - i : GROUP_CHUNK;
        struct lane l = {.route = type};
        while (lane_open(b, &l, err)) l.rc = ack_once(&l, b->routes[type].key, ids + i, n, err);
        BL_TRY(l.rc);
    }
    return BL_OK;
}

/* ---- rejected messages ---- */

static void read_rejected_entry(const redisReply *entry, struct buffer_rejected *out) {
    *out = (struct buffer_rejected){0};
    copy_id(out->id, entry->element[0]);
    const redisReply *fields = entry->element[1];
    struct bl_str reason = redis_text(member(fields, "reason")), detail = redis_text(member(fields, "detail"));
    snprintf(out->reason, sizeof out->reason, "%.*s", BL_ARG(reason));
    snprintf(out->detail, sizeof out->detail, "%.*s", BL_ARG(detail));
    if (!bl_parse_i64(redis_text(member(fields, "received_us")), INT64_MIN, INT64_MAX, &out->received_us))
        out->received_us = 0;
    out->message = redis_text(member(fields, "message"));
}

enum bl_rc buffer_read_rejected(struct buffer *b, const char *after, unsigned max, struct buffer_rejected *out,
                                size_t *count, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "XRANGE");
    redis_arg_z(&a, b->routes[ROUTE_REJECTED].key);
    after ? redis_arg_printf(&a, "(%s", after) : redis_arg_z(&a, "-");
    redis_arg_z(&a, "+");
    redis_arg_z(&a, "COUNT");
    redis_arg_i64(&a, max);
    redis_reply_release(&b->held_rejected);
    BL_TRY(route_call(b, ROUTE_REJECTED, &a, &b->held_rejected, err));
    const redisReply *r = b->held_rejected;
    size_t n = 0;
    for (size_t i = 0; i < r->elements && n < max; i++)
        if (redis_is_array(r->element[i], 2) && redis_is_array(r->element[i]->element[1], 0))
            read_rejected_entry(r->element[i], &out[n++]);
    *count = n;
    return BL_OK;
}

enum bl_rc buffer_drop_rejected(struct buffer *b, const char *const *ids, size_t count, struct bl_error *err) {
    for (size_t i = 0; i < count; i += GROUP_CHUNK) {
        size_t n = count - i < GROUP_CHUNK ? count - i : GROUP_CHUNK;
        struct redis_args a;
        id_args(&a, "XDEL", b->routes[ROUTE_REJECTED].key, NULL, ids + i, n);
        BL_CRASH_POINT("buffer.before_drop_rejected");
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(route_call(b, ROUTE_REJECTED, &a, &r, err));
    }
    return BL_OK;
}
