/* Opening, and ingest's side: position, append, reject. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "buffer/redis_conn.h"
#include "obs/log.h"

enum { DEFAULT_PORT = 6379, DEFAULT_TIMEOUT_MS = 5000, INCARNATIONS_KEPT = 64, MEMORY_POLL_NS = 250 * 1000 * 1000 };

/* ---- open and close ---- */

/* hiredis writes without MSG_NOSIGNAL: a Redis that goes away must be an error, not the end of the process. A handler
 * somebody installed stays. */
static void ignore_sigpipe(void) {
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

static char *dup_or_null(const char *z) {
    return z && *z ? bl_xstrdup(z) : NULL;
}

enum bl_rc buffer_open(const struct buffer_options *o, struct buffer **out, struct bl_error *err) {
    if (o->user && *o->user && !(o->password && *o->password))
        return bl_fail(err, BL_E_USAGE, "Redis user \"%s\" has no password; set both or neither", o->user);
    if (o->timeout_ms < 0 || o->high_water_bytes < 0 || o->port < 0 || o->port > 65535)
        return bl_fail(err, BL_E_USAGE,
                       "Redis port, timeout and high-water mark cannot be negative (port at most 65535)");
    ignore_sigpipe();
    struct buffer *b = bl_xcalloc(1, sizeof *b);
    b->conn.unix_socket = dup_or_null(o->unix_socket);
    b->conn.host = bl_xstrdup(o->host && *o->host ? o->host : "127.0.0.1");
    b->conn.port = o->port ? o->port : DEFAULT_PORT;
    b->conn.user = dup_or_null(o->user);
    b->conn.password = dup_or_null(o->password);
    b->conn.timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    b->high_water_bytes = o->high_water_bytes;
    b->guard = o->guard;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        snprintf(b->queue[t], sizeof b->queue[t], "firehose:%s:queue", ev_schema((enum ev_type)t)->name);
    buffer_rewind(b);
    *out = b;
    return BL_OK;
}

void buffer_close(struct buffer **b) {
    if (!*b) return;
    for (size_t i = 0; i < (*b)->held_count; i++) redis_reply_release(&(*b)->held[i]);
    redis_reply_release(&(*b)->held_rejected);
    redis_conn_release(&(*b)->conn);
    bl_buf_release(&(*b)->scratch);
    bl_arena_release(&(*b)->raw);
    free((*b)->entries);
    free(*b);
    *b = NULL;
}

enum bl_rc buffer_ping(struct buffer *b, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "PING");
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return redis_call(&b->conn, &a, &r, err);
}

/* XGROUP CREATE is refused at maxmemory, where a reader needs its group most; a script that declares allow-oom is not.
 * From id 0: what was added before the group existed is delivered too. */
static const char create_groups_script[] =
    "#!lua flags=allow-oom\n"
    "local made = 0\n"
    "for _, key in ipairs(KEYS) do\n"
    "  local r = redis.pcall('XGROUP', 'CREATE', key, ARGV[1], '0', 'MKSTREAM')\n"
    "  if not r.err then made = made + 1\n"
    "  elseif not string.find(r.err, 'BUSYGROUP', 1, true) then return r end\n"
    "end\n"
    "return made\n";

enum bl_rc buffer_create_groups(struct buffer *b, int64_t *created, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL");
    redis_arg_z(&a, create_groups_script);
    redis_arg_i64(&a, EV_TYPE_COUNT);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) redis_arg_z(&a, b->queue[t]);
    redis_arg_z(&a, BUFFER_GROUP);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    *created = r->integer;
    return BL_OK;
}

/* ---- position ---- */

static enum bl_rc bad_metadata(struct bl_str field, struct bl_str value, struct bl_error *err) {
    return bl_fail(err, BL_E_CORRUPT, KEY_METADATA " %.*s: unusable value \"%.*s\"", BL_ARG(field), BL_ARG(value));
}

static enum bl_rc read_position_field(struct bl_str field, struct bl_str value, struct buffer_position *p,
                                      struct bl_error *err) {
    static const struct bl_str received = BL_LIT("received:");
    enum ev_type type;
    bool good = true;
    if (bl_str_eq(field, BL_LIT("cursor_us"))) {
        good = bl_parse_i64(value, 0, INT64_MAX, &p->cursor_us);
    } else if (bl_str_eq(field, BL_LIT("cursor_host"))) {
        good = value.n < sizeof p->host;
        if (good) snprintf(p->host, sizeof p->host, "%.*s", BL_ARG(value));
    } else if (bl_str_eq(field, BL_LIT("rejected"))) {
        good = bl_parse_u64(value, INT64_MAX, &p->rejected);
    } else if (bl_str_starts(field, received) && ev_type_by_name(bl_str_skip(field, received.n), &type)) {
        good = bl_parse_u64(value, INT64_MAX, &p->received[type]);
    }
    return good ? BL_OK : bad_metadata(field, value, err);
}

struct incarnation {
    struct bl_str name;
    int64_t used_us;
};

static int newest_first(const void *a, const void *b) {
    const struct incarnation *x = a, *y = b;
    return (y->used_us > x->used_us) - (y->used_us < x->used_us);
}

static enum bl_rc forget_incarnation(struct buffer *b, struct bl_str name, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HDEL " KEY_METADATA);
    redis_arg_printf(&a, "used:%.*s", BL_ARG(name));
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        redis_arg_printf(&a, "blocks:%.*s:%s", BL_ARG(name), ev_schema((enum ev_type)t)->name);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return redis_call(&b->conn, &a, &r, err);
}

/* Every ingest run leaves its blocks:<inc>:<type> behind. They serve a run that is alive, so those of runs not used for
 * long go. */
static enum bl_rc prune_incarnations(struct buffer *b, const redisReply *metadata, struct bl_error *err) {
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
    for (size_t i = INCARNATIONS_KEPT; i < count; i++) BL_TRY(forget_incarnation(b, all[i].name, err));
    return BL_OK;
}

enum bl_rc buffer_load_position(struct buffer *b, struct buffer_position *out, struct bl_error *err) {
    int64_t created = 0;
    BL_TRY(buffer_create_groups(b, &created, err));
    struct redis_args a;
    redis_words(&a, "HGETALL " KEY_METADATA);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    if (!redis_is_array(r, 0)) return bl_fail(err, BL_E_BACKEND, "HGETALL " KEY_METADATA ": unexpected answer");
    struct buffer_position p = {0};
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        BL_TRY(read_position_field(redis_text(r->element[i]), redis_text(r->element[i + 1]), &p, err));
    char run_id[sizeof b->conn.run_id];
    memcpy(run_id, b->conn.run_id, sizeof run_id);
    BL_TRY(prune_incarnations(b, r, err));
    memcpy(b->known_run_id, run_id, sizeof run_id);
    *out = p;
    return BL_OK;
}

void buffer_suspect(struct buffer *b) { b->known_run_id[0] = 0; }

enum bl_rc buffer_stored_seqs(struct buffer *b, uint64_t incarnation, uint64_t seqs[static EV_TYPE_COUNT],
                              struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HMGET " KEY_METADATA);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        redis_arg_printf(&a, "blocks:%016" PRIx64 ":%s", incarnation, ev_schema((enum ev_type)t)->name);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    if (!redis_is_array(r, EV_TYPE_COUNT))
        return bl_fail(err, BL_E_BACKEND, "HMGET " KEY_METADATA ": unexpected answer");
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (!bl_parse_u64(redis_text(r->element[t]), INT64_MAX, &seqs[t])) seqs[t] = 0;
    return BL_OK;
}

/* One script, so that queues and cursor are of one moment. */
static const char settled_script[] =
    "local out = {redis.call('HGET', KEYS[#KEYS], 'cursor_us')}\n"
    "for i = 1, #KEYS - 1 do\n"
    "  local e = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]\n"
    "  for f = 1, e and #e[2] or 0, 2 do\n"
    "    if e[2][f] == 'first' then out[#out + 1] = e[2][f + 1] end\n"
    "  end\n"
    "end\n"
    "return out\n";

enum bl_rc buffer_settled(struct buffer *b, int64_t *settled_us, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "EVAL_RO");
    redis_arg_z(&a, settled_script);
    redis_arg_i64(&a, EV_TYPE_COUNT + 2);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) redis_arg_z(&a, b->queue[t]);
    redis_arg_z(&a, KEY_REJECTED);
    redis_arg_z(&a, KEY_METADATA);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    int64_t oldest = 0, value;
    for (size_t i = 0; i < r->elements; i++)
        if (bl_parse_i64(redis_text(r->element[i]), 1, INT64_MAX, &value) && (!oldest || value < oldest))
            oldest = value;
    *settled_us = oldest;
    return BL_OK;
}

/* ---- the high-water mark ---- */

static enum bl_rc poll_memory(struct buffer *b, int64_t now_ns, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "INFO memory");
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    int64_t used = 0, most = 0;
    if (!bl_parse_i64(redis_info(redis_text(r), "used_memory"), 0, INT64_MAX, &used) ||
        !bl_parse_i64(redis_info(redis_text(r), "maxmemory"), 0, INT64_MAX, &most))
        return bl_fail(err, BL_E_BACKEND, "INFO memory: used_memory or maxmemory is missing");
    b->used_memory = used;
    b->memory_limit = b->high_water_bytes ? b->high_water_bytes : most / 10 * 8;
    b->memory_polled_ns = now_ns;
    return BL_OK;
}

/* A look every quarter of a second lets ingest overshoot the mark by what it can send meanwhile, about 20 MB at half a
 * million events a second; the fifth of maxmemory above the mark is there for that. */
static enum bl_rc check_memory(struct buffer *b, struct bl_error *err) {
    int64_t now = bl_mono_ns();
    if (b->memory_polled_ns == 0 || now - b->memory_polled_ns >= MEMORY_POLL_NS) BL_TRY(poll_memory(b, now, err));
    if (b->memory_limit == 0 || b->used_memory <= b->memory_limit) return BL_OK;
    return bl_fail(err, BL_E_FULL,
                   "Redis uses %" PRId64 " bytes, above the high-water mark of %" PRId64
                   "; nothing is lost: let the writer drain it, or raise maxmemory",
                   b->used_memory, b->memory_limit);
}

/* ---- transactions ---- */

static enum bl_rc forgotten(struct buffer *b, struct bl_error *err) {
    b->known_run_id[0] = 0;
    return bl_fail(err, BL_E_FORGOTTEN,
                   "Redis was restarted or its counters changed: what it holds has to be compared first");
}

static enum bl_rc begin(struct buffer *b, struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "MULTI");
    return redis_send(&b->conn, &a, err);
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

/* Sends EXEC and takes the answers to MULTI, `queued` commands and EXEC. With one command refused while queueing
 * nothing is carried out. */
static enum bl_rc commit(struct buffer *b, unsigned queued, redisReply **results, struct bl_error *err) {
    struct redis_conn *c = &b->conn;
    struct redis_args a;
    redis_words(&a, "EXEC");
    BL_TRY(redis_send(c, &a, err));
    enum bl_rc first = BL_OK;
    for (unsigned i = 0; i <= queued + 1; i++) {
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        enum bl_rc rc = redis_receive(c, &r, err);
        if (rc != BL_OK) return rc;
        BL_CRASH_POINT("buffer.answer");
        if (first != BL_OK) continue;
        first = redis_check(c, r, err);
        if (first == BL_OK && i == queued + 1)
            first = r->type == REDIS_REPLY_NIL ? forgotten(b, err) : check_results(c, r, err);
        if (first == BL_OK && i == queued + 1 && results) {
            *results = r;
            r = NULL;
        }
        if (!c->context) return first;
    }
    return first;
}

static void enter_doubt(struct redis_conn *c) {
    c->doubt = true;
    c->doubt_client_id = c->client_id;
    memcpy(c->doubt_run_id, c->run_id, sizeof c->doubt_run_id);
}

/* ---- append ---- */

static void block_field_name(struct redis_args *a, const struct buffer_append *p) {
    redis_arg_printf(a, "blocks:%016" PRIx64 ":%s", p->block.incarnation, ev_schema(p->type)->name);
}

static enum bl_rc send_block(struct buffer *b, const struct buffer_append *p, int64_t now_us, struct bl_error *err) {
    struct redis_args a;
    struct block_field fields[BLOCK_FIELDS];
    bl_buf_clear(&b->scratch);
    block_fields(&p->block, &b->scratch, fields);
    redis_words(&a, "XADD");
    redis_arg_z(&a, b->queue[p->type]);
    redis_arg_z(&a, "*");
    for (size_t i = 0; i < BLOCK_FIELDS; i++) {
        redis_arg(&a, fields[i].name);
        redis_arg(&a, fields[i].value);
    }
    BL_TRY(redis_send(&b->conn, &a, err));

    redis_words(&a, "HINCRBY " KEY_METADATA);
    redis_arg_printf(&a, "received:%s", ev_schema(p->type)->name);
    redis_arg_i64(&a, p->block.count);
    BL_TRY(redis_send(&b->conn, &a, err));

    redis_words(&a, "HSET " KEY_METADATA);
    block_field_name(&a, p);
    redis_arg_i64(&a, (int64_t)p->block.seq);
    redis_arg_printf(&a, "used:%016" PRIx64, p->block.incarnation);
    redis_arg_i64(&a, now_us);
    return redis_send(&b->conn, &a, err);
}
enum { COMMANDS_A_BLOCK = 3 };

static enum bl_rc send_cursor(struct buffer *b, int64_t cursor_us, const char *host, int64_t now_us,
                              struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HSET " KEY_METADATA " updated_us");
    redis_arg_i64(&a, now_us);
    if (cursor_us > 0) {
        redis_arg_z(&a, "cursor_us");
        redis_arg_i64(&a, cursor_us);
        redis_arg_z(&a, "cursor_host");
        redis_arg_z(&a, host ? host : "");
    }
    return redis_send(&b->conn, &a, err);
}

/* Are the counters those the offsets were taken from? Others say: the hash was evicted or flushed, or somebody else
 * appends, and nothing may be added before what is there has been compared. WATCH makes the answer hold until EXEC. */
static enum bl_rc watch_counts(struct buffer *b, const struct buffer_append *blocks, size_t count, const bool *present,
                               struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "WATCH " KEY_METADATA);
    BL_CLEANUP(redis_reply_release) redisReply *watched = NULL, *counts = NULL;
    BL_TRY(redis_call(&b->conn, &a, &watched, err));
    redis_words(&a, "HMGET " KEY_METADATA " updated_us");
    for (size_t i = 0; i < count; i++) redis_arg_printf(&a, "received:%s", ev_schema(blocks[i].type)->name);
    BL_TRY(redis_call(&b->conn, &a, &counts, err));
    if (!redis_is_array(counts, count + 1))
        return bl_fail(err, BL_E_BACKEND, "HMGET " KEY_METADATA ": unexpected answer");
    uint64_t added[EV_TYPE_COUNT] = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t counted = 0;
        if (present[i]) continue;
        if (!bl_parse_u64(redis_text(counts->element[i + 1]), INT64_MAX, &counted)) counted = 0;
        if (counted + added[blocks[i].type] != blocks[i].block.offset) {
            redis_words(&a, "UNWATCH");
            BL_CLEANUP(redis_reply_release) redisReply *done = NULL;
            BL_TRY(redis_call(&b->conn, &a, &done, err));
            return forgotten(b, err);
        }
        added[blocks[i].type] += blocks[i].block.count;
    }
    return BL_OK;
}

/* Which blocks the transaction in doubt brought. Asked for each, because the caller may come back with more blocks than
 * it had then. */
static enum bl_rc find_present(struct buffer *b, const struct buffer_append *blocks, size_t count, bool *present,
                               struct bl_error *err) {
    struct redis_args a;
    redis_words(&a, "HMGET " KEY_METADATA);
    for (size_t i = 0; i < count; i++) block_field_name(&a, &blocks[i]);
    redis_arg_z(&a, "updated_us"); /* HMGET wants a field even when there is no block */
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    BL_TRY(redis_call(&b->conn, &a, &r, err));
    if (!redis_is_array(r, count)) return bl_fail(err, BL_E_BACKEND, "HMGET " KEY_METADATA ": unexpected answer");
    for (size_t i = 0; i < count; i++) {
        uint64_t seq = 0;
        present[i] = bl_parse_u64(redis_text(r->element[i]), INT64_MAX, &seq) && seq >= blocks[i].block.seq;
    }
    return BL_OK;
}

/* First of all a connection: making one kills the connection in doubt. */
static enum bl_rc check_run(struct buffer *b, struct bl_error *err) {
    BL_TRY(redis_up(&b->conn, err));
    return !b->guard || strcmp(b->known_run_id, b->conn.run_id) == 0 ? BL_OK : forgotten(b, err);
}

static enum bl_rc append_once(struct buffer *b, const struct buffer_append *blocks, size_t count, int64_t cursor_us,
                              const char *host, struct bl_error *err) {
    bool present[BUFFER_APPEND_MAX] = {0};
    BL_TRY(check_run(b, err));
    if (b->conn.doubt) {
        BL_TRY(find_present(b, blocks, count, present, err));
        b->conn.doubt = false;
    }
    if (b->guard) BL_TRY(watch_counts(b, blocks, count, present, err));
    int64_t now_us = bl_wall_us();
    unsigned queued = 1;
    BL_TRY(begin(b, err));
    for (size_t i = 0; i < count; i++) {
        if (present[i]) continue;
        BL_TRY(send_block(b, &blocks[i], now_us, err));
        queued += COMMANDS_A_BLOCK;
    }
    BL_TRY(send_cursor(b, cursor_us, host, now_us, err));
    enter_doubt(&b->conn);
    BL_CRASH_POINT("buffer.before_exec");
    enum bl_rc rc = commit(b, queued, NULL, err);
    BL_CRASH_POINT("buffer.after_exec");
    if (rc != BL_E_NET) b->conn.doubt = false;
    return rc;
}

enum bl_rc buffer_append(struct buffer *b, const struct buffer_append *blocks, size_t count, int64_t cursor_us,
                         const char *cursor_host, struct bl_error *err) {
    if (count > BUFFER_APPEND_MAX)
        return bl_fail(err, BL_E_INVALID, "%zu blocks in one append: at most %d", count, BUFFER_APPEND_MAX);
    BL_TRY(check_memory(b, err));
    enum bl_rc rc = append_once(b, blocks, count, cursor_us, cursor_host, err);
    /* A connection that broke is tried anew once, at once: a Redis restarted since the last block is no news. */
    return rc == BL_E_NET ? append_once(b, blocks, count, cursor_us, cursor_host, err) : rc;
}

enum bl_rc buffer_reject(struct buffer *b, const struct buffer_note *note, uint64_t *number, struct bl_error *err) {
    BL_TRY(check_memory(b, err));
    BL_TRY(check_run(b, err));
    struct redis_args a;
    BL_TRY(begin(b, err));
    redis_words(&a, "XADD " KEY_REJECTED " * reason");
    redis_arg_z(&a, note->reason);
    redis_arg_z(&a, "detail");
    redis_arg_z(&a, note->detail);
    redis_arg_z(&a, "received_us");
    redis_arg_i64(&a, note->received_us);
    redis_arg_z(&a, "first");
    redis_arg_i64(&a, note->after_us);
    redis_arg_z(&a, "message");
    redis_arg(&a, note->message);
    BL_TRY(redis_send(&b->conn, &a, err));
    redis_words(&a, "HINCRBY " KEY_METADATA " rejected 1");
    BL_TRY(redis_send(&b->conn, &a, err));
    BL_CLEANUP(redis_reply_release) redisReply *results = NULL;
    BL_TRY(commit(b, 2, &results, err));
    if (number) *number = results->elements > 1 ? (uint64_t)results->element[1]->integer : 0;
    return BL_OK;
}
