#include "buffer/redis_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/time.h>

/* ---- arguments ---- */

void redis_arg(struct redis_args *a, struct bl_str s) {
    BL_ASSERT(a->count < REDIS_ARGS_MAX);
    a->v[a->count] = s.p ? s.p : "";
    a->n[a->count++] = s.n;
}

void redis_arg_z(struct redis_args *a, const char *z) {
    redis_arg(a, bl_str(z));
}

void redis_arg_printf(struct redis_args *a, const char *format, ...) {
    va_list values;
    va_start(values, format);
    size_t room = sizeof a->text - a->used;
    int n = vsnprintf(a->text + a->used, room, format, values);
    va_end(values);
    BL_ASSERT(n >= 0 && (size_t)n < room);
    redis_arg(a, bl_strn(a->text + a->used, (size_t)n));
    a->used += (size_t)n;
}

void redis_arg_i64(struct redis_args *a, int64_t v) {
    redis_arg_printf(a, "%" PRId64, v);
}

void redis_words(struct redis_args *a, const char *words) {
    a->count = 0;
    a->used = 0;
    struct bl_str rest = bl_str(words);
    while (rest.n) redis_arg(a, bl_str_cut(&rest, ' '));
}

/* ---- what Redis's refusals mean ---- */

static const struct refusal {
    const char *code;
    enum bl_rc rc;
    bool reconnect; /* this connection will not do any better */
    const char *meaning;
    enum redirect redirect;
} refusals[] = {
    {"OOM", BL_E_FULL, false, "Redis is at maxmemory; let the writer drain it, or raise maxmemory", REDIRECT_NONE},
    {"LOADING", BL_E_BACKEND, false, "Redis is still loading its append-only file; try again", REDIRECT_NONE},
    {"BUSY ", BL_E_BACKEND, false, "Redis is busy with somebody's script; try again, or SCRIPT KILL it", REDIRECT_NONE},
    {"READONLY", BL_E_BACKEND, true, "this Redis is a read-only replica; point the settings at the master",
     REDIRECT_NONE},
    {"MISCONF", BL_E_BACKEND, false, "Redis cannot write its append-only file; look at its disk and its log",
     REDIRECT_NONE},
    {"NOAUTH", BL_E_BACKEND, true, "Redis wants a password; set user and password in the settings", REDIRECT_NONE},
    {"WRONGPASS", BL_E_BACKEND, true, "Redis does not accept user and password of the settings", REDIRECT_NONE},
    {"NOPERM", BL_E_BACKEND, false, "this Redis user lacks a permission; docs/BUFFER.md lists what is needed",
     REDIRECT_NONE},
    {"NOGROUP", BL_E_BACKEND, false, "a queue or its group has vanished (evicted or flushed)", REDIRECT_NONE},
    {"MASTERDOWN", BL_E_BACKEND, true, "this Redis is a replica without its master; point the settings at the master",
     REDIRECT_NONE},
    {"CLUSTERDOWN", BL_E_BACKEND, false, "the Redis Cluster is down, or nobody serves this key", REDIRECT_NONE},
    {"MOVED", BL_E_BACKEND, false, "this is a Redis Cluster: give its addresses in redis.cluster", REDIRECT_MOVED},
    {"ASK ", BL_E_BACKEND, false, "this is a Redis Cluster: give its addresses in redis.cluster", REDIRECT_ASK},
    {"TRYAGAIN", BL_E_BACKEND, false, "this part of the Redis Cluster is being moved; try again", REDIRECT_LATER},
    {"NOREPLICAS", BL_E_BACKEND, false, "Redis has fewer replicas than it demands for a write", REDIRECT_NONE},
    {"WRONGTYPE", BL_E_BACKEND, false, "a firehose: key holds something else; is this Redis shared?", REDIRECT_NONE},
};

/* "MOVED 3999 127.0.0.1:6381"; the host may be empty, and hold colons. */
static void note_redirect(struct redis_conn *c, enum redirect kind, const char *text) {
    c->redirect = (struct redis_redirect){.kind = kind};
    if (kind == REDIRECT_LATER) return;
    struct bl_str rest = bl_str(text);
    bl_str_cut(&rest, ' ');
    bl_str_cut(&rest, ' ');
    const char *colon = memrchr(rest.p, ':', rest.n);
    int64_t port = 0;
    size_t host = colon ? (size_t)(colon - rest.p) : 0;
    if (!colon || host >= sizeof c->redirect.host || !bl_parse_i64(bl_str_skip(rest, host + 1), 1, 65535, &port)) {
        c->redirect.kind = REDIRECT_LATER;
        return;
    }
    memcpy(c->redirect.host, rest.p, host);
    c->redirect.port = (int)port;
}

/* A refusal inside MULTI is repeated by EXEC as "EXECABORT Transaction discarded because of: OOM ...". */
static const char *refusal_text(const redisReply *r) {
    static const char wrapper[] = "because of: ";
    const char *inner = strstr(r->str, wrapper);
    return inner ? inner + sizeof wrapper - 1 : r->str;
}

bool redis_says(const redisReply *r, const char *code) {
    if (!r || r->type != REDIS_REPLY_ERROR) return false;
    return strncmp(refusal_text(r), code, strlen(code)) == 0;
}

static void disconnect(struct redis_conn *c) {
    if (c->context) redisFree(c->context);
    c->context = NULL;
}

enum bl_rc redis_check(struct redis_conn *c, const redisReply *r, struct bl_error *err) {
    if (r->type != REDIS_REPLY_ERROR) return BL_OK;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *f = &refusals[i];
        if (!redis_says(r, f->code)) continue;
        enum bl_rc rc = bl_fail(err, f->rc, "%s (Redis: %s)", f->meaning, r->str);
        if (f->redirect) note_redirect(c, f->redirect, refusal_text(r));
        if (f->reconnect) disconnect(c);
        return rc;
    }
    return bl_fail(err, BL_E_BACKEND, "Redis: %s", r->str);
}

/* ---- connection ---- */

void redis_conn_release(struct redis_conn *c) {
    disconnect(c);
    if (c->password) explicit_bzero(c->password, strlen(c->password));
    free(c->unix_socket);
    free(c->host);
    free(c->user);
    free(c->password);
    *c = (struct redis_conn){0};
}

void redis_reply_release(redisReply **r) {
    if (*r) freeReplyObject(*r);
    *r = NULL;
}

static const char *where(const struct redis_conn *c, char out[static 300]) {
    if (c->unix_socket)
        snprintf(out, 300, "%s", c->unix_socket);
    else
        snprintf(out, 300, "%s:%d", c->host, c->port);
    return out;
}

/* Says what broke, closes, and leaves the next send to connect anew: after a timeout a late reply would otherwise be
 * taken for the answer to the next command. */
static enum bl_rc lost(struct redis_conn *c, struct bl_error *err) {
    char place[300];
    where(c, place);
    enum bl_rc rc;
    if (c->context && c->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK))
        rc = bl_fail(err, BL_E_NET, "Redis at %s gave no answer within %d ms", place, c->socket_timeout_ms);
    else
        rc = bl_fail(err, BL_E_NET, "Redis at %s: %s", place,
                     c->context ? (c->context->errstr[0] ? c->context->errstr : "connection lost") : "out of memory");
    disconnect(c);
    return rc;
}

static struct timeval timeval_of(int ms) {
    return (struct timeval){ms / 1000, (ms % 1000) * 1000};
}

static enum bl_rc set_socket_timeout(struct redis_conn *c, int ms, struct bl_error *err) {
    if (c->socket_timeout_ms == ms) return BL_OK;
    if (redisSetTimeout(c->context, timeval_of(ms)) != REDIS_OK) return lost(c, err);
    c->socket_timeout_ms = ms;
    return BL_OK;
}

static enum bl_rc dial(struct redis_conn *c, struct bl_error *err) {
    struct timeval wait = timeval_of(c->timeout_ms);
    c->context = c->unix_socket ? redisConnectUnixWithTimeout(c->unix_socket, wait)
                                : redisConnectWithTimeout(c->host, c->port, wait);
    c->socket_timeout_ms = 0;
    if (!c->context || c->context->err) return lost(c, err);
    fcntl(c->context->fd, F_SETFD, FD_CLOEXEC);
    if (!c->unix_socket && redisEnableKeepAlive(c->context) != REDIS_OK) return lost(c, err);
    return set_socket_timeout(c, c->timeout_ms, err);
}

static enum bl_rc authenticate(struct redis_conn *c, struct bl_error *err) {
    if (!c->password) return BL_OK;
    struct redis_args a;
    redis_words(&a, "AUTH");
    if (c->user) redis_arg_z(&a, c->user);
    redis_arg_z(&a, c->password);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return redis_call(c, &a, &r, err);
}

/* Learns the names by which a later connection can tell Redis to drop this one. */
static enum bl_rc introduce(struct redis_conn *c, struct bl_error *err) {
    struct redis_args a;
    BL_CLEANUP(redis_reply_release) redisReply *id = NULL;
    redis_words(&a, "CLIENT ID");
    BL_TRY(redis_call(c, &a, &id, err));
    BL_CLEANUP(redis_reply_release) redisReply *info = NULL;
    redis_words(&a, "INFO server");
    BL_TRY(redis_call(c, &a, &info, err));
    c->client_id = id->integer;
    struct bl_str run = redis_info(redis_text(info), "run_id");
    snprintf(c->run_id, sizeof c->run_id, "%.*s", BL_ARG(run));
    return BL_OK;
}

/* A transaction whose answer was lost may still stand in Redis's receive queue, or in a proxy's, and be carried out
 * later. Once its connection is killed it either was or never will be, and looking is conclusive. A Redis that was
 * restarted since has no such connection. */
static enum bl_rc kill_doubtful(struct redis_conn *c, struct bl_error *err) {
    if (!c->doubt || strcmp(c->doubt_run_id, c->run_id) != 0) return BL_OK;
    struct redis_args a;
    redis_words(&a, "CLIENT KILL ID");
    redis_arg_i64(&a, c->doubt_client_id);
    BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
    return redis_call(c, &a, &r, err);
}

enum bl_rc redis_up(struct redis_conn *c, struct bl_error *err) {
    if (c->context) return BL_OK;
    BL_TRY(dial(c, err));
    enum bl_rc rc = authenticate(c, err);
    if (rc == BL_OK) rc = introduce(c, err);
    if (rc == BL_OK) rc = kill_doubtful(c, err);
    if (rc == BL_OK)
        c->connects++;
    else
        disconnect(c);
    return rc;
}

enum bl_rc redis_patience(struct redis_conn *c, int extra_ms, struct bl_error *err) {
    BL_TRY(redis_up(c, err));
    return set_socket_timeout(c, c->timeout_ms + extra_ms, err);
}

/* ---- commands ---- */

/* hiredis 0.14 keeps no buffer, and does not look, when memory ran out while it was writing. */
static enum bl_rc check_buffers(struct redis_conn *c, struct bl_error *err) {
    if (c->context->obuf && c->context->reader->buf) return BL_OK;
    disconnect(c);
    return bl_fail(err, BL_E_NET, "no memory for talking to Redis; connecting anew");
}

static enum bl_rc append_command(struct redis_conn *c, const struct redis_args *a, struct bl_error *err) {
    BL_TRY(check_buffers(c, err));
    if (redisAppendCommandArgv(c->context, a->count, (const char **)a->v, a->n) != REDIS_OK) return lost(c, err);
    return BL_OK;
}

enum bl_rc redis_send(struct redis_conn *c, const struct redis_args *a, struct bl_error *err) {
    BL_TRY(redis_up(c, err));
    return append_command(c, a, err);
}

enum bl_rc redis_receive(struct redis_conn *c, redisReply **out, struct bl_error *err) {
    void *reply = NULL;
    if (!c->context) return bl_fail(err, BL_E_NET, "the connection to Redis is closed");
    BL_TRY(check_buffers(c, err));
    errno = 0;
    if (redisGetReply(c->context, &reply) != REDIS_OK) return lost(c, err);
    *out = reply;
    return BL_OK;
}

enum bl_rc redis_call(struct redis_conn *c, const struct redis_args *a, redisReply **out, struct bl_error *err) {
    BL_TRY(redis_up(c, err));
    BL_TRY(append_command(c, a, err));
    BL_TRY(redis_receive(c, out, err));
    return redis_check(c, *out, err);
}

struct bl_str redis_info(struct bl_str text, const char *name) {
    struct bl_str wanted = bl_str(name);
    while (text.n) {
        struct bl_str line = bl_str_cut(&text, '\n');
        struct bl_str key = bl_str_cut(&line, ':');
        if (bl_str_eq(key, wanted)) return bl_str_trim(line);
    }
    return (struct bl_str){0};
}
