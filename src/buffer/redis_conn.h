/* redis_conn: one connection to Redis. Private to the buffer room, and the only header that includes hiredis.h.
 *
 * A command is built as a vector of binary-safe arguments, sent, and its reply received. Commands may be sent in a row
 * and their replies received in the same order (pipelining). Connecting is lazy: redis_send connects when there is no
 * connection. Any loss closes the connection and is BL_E_NET; the next send connects anew.
 *
 * redis_receive hands out error replies as they are; redis_call and redis_check turn them into a bl_error. */
#pragma once
#include <hiredis/hiredis.h>

#include "buffer/buffer.h"

enum { REDIS_ARGS_MAX = 600, REDIS_NUMBERS_MAX = 4096 };

/* The arguments of one command. Slices are borrowed until redis_send; numbers are written into `text`. */
struct redis_args {
    const char *v[REDIS_ARGS_MAX];
    size_t n[REDIS_ARGS_MAX];
    int count;
    size_t used;
    char text[REDIS_NUMBERS_MAX];
};
void redis_arg(struct redis_args *a, struct bl_str s);
void redis_arg_z(struct redis_args *a, const char *z);
void redis_arg_i64(struct redis_args *a, int64_t v);
void redis_arg_printf(struct redis_args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Blank-separated words of a literal: redis_words(&a, "XGROUP CREATE"). Empties the vector first. */
void redis_words(struct redis_args *a, const char *words);

/* What the newest refusal says about where its key is, on a Redis Cluster. */
struct redis_redirect {
    enum redirect { REDIRECT_NONE, REDIRECT_MOVED, REDIRECT_ASK, REDIRECT_LATER } kind;
    char host[256]; /* "" = the server that said so */
    int port;
};

struct redis_conn {
    char *unix_socket, *host, *user, *password;
    int port, timeout_ms;
    redisContext *context; /* NULL: not connected */
    int socket_timeout_ms; /* what the socket is set to now */
    uint64_t connects;     /* successful ones so far: a change means a new connection */
    int64_t client_id;     /* of the newest connection, on the server `run_id` */
    char run_id[64];       /* a Redis process's random name, new at each of its starts */
    struct redis_redirect redirect;
    bool doubt; /* a transaction was sent on this connection whose answer never came */
    int64_t doubt_client_id;
    char doubt_run_id[64];
};

void redis_conn_release(struct redis_conn *c);
enum bl_rc redis_up(struct redis_conn *c, struct bl_error *err);
/* Replies may take `extra_ms` longer than timeout_ms until the next call of this function (blocking reads). */
enum bl_rc redis_patience(struct redis_conn *c, int extra_ms, struct bl_error *err);
enum bl_rc redis_send(struct redis_conn *c, const struct redis_args *a, struct bl_error *err);
enum bl_rc redis_receive(struct redis_conn *c, redisReply **out, struct bl_error *err);
enum bl_rc redis_check(struct redis_conn *c, const redisReply *r, struct bl_error *err);
enum bl_rc redis_call(struct redis_conn *c, const struct redis_args *a, redisReply **out, struct bl_error *err);
bool redis_says(const redisReply *r, const char *code); /* an error reply that starts with `code` */
void redis_reply_release(redisReply **r);               /* for BL_CLEANUP */

static inline struct bl_str redis_text(const redisReply *r) {
    bool text = r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS || r->type == REDIS_REPLY_ERROR);
    return text ? bl_strn(r->str, r->len) : (struct bl_str){0};
}
static inline bool redis_is_array(const redisReply *r, size_t least) {
    return r && r->type == REDIS_REPLY_ARRAY && r->elements >= least;
}
/* The value of "name:value" in an INFO text; empty when it is not there. */
struct bl_str redis_info(struct bl_str text, const char *name);
