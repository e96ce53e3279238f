/* Opening and closing. */
#include <signal.h>
#include <stdlib.h>

#include "buffer/nodes.h"

/* hiredis writes without MSG_NOSIGNAL: a Redis that goes away must be an error, not the end of the process. A handler
 * somebody installed stays. */
static void ignore_sigpipe(void) {
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

enum bl_rc buffer_open(const struct buffer_options *o, struct buffer **out, struct bl_error *err) {
    if (o->user && *o->user && !(o->password && *o->password))
        return bl_fail(err, BL_E_USAGE, "Redis user \"%s\" has no password; set both or neither", o->user);
    if (o->timeout_ms < 0 || o->high_water_bytes < 0 || o->port < 0 || o->port > 65535)
        return bl_fail(err, BL_E_USAGE,
                       "Redis port, timeout and high-water mark cannot be negative (port at most 65535)");
    ignore_sigpipe();
    struct buffer *b = bl_xcalloc(1, sizeof *b);
    b->high_water_bytes = o->high_water_bytes;
    b->guard = o->guard;
    enum bl_rc rc = nodes_open(b, o, err);
    if (rc != BL_OK) {
        buffer_close(&b);
        return rc;
    }
    buffer_rewind(b);
    *out = b;
    return BL_OK;
}

void buffer_close(struct buffer **b) {
    if (!*b) return;
    for (size_t i = 0; i < (*b)->held_count; i++) redis_reply_release(&(*b)->held[i]);
    redis_reply_release(&(*b)->held_rejected);
    nodes_close(*b);
    bl_buf_release(&(*b)->scratch);
    bl_arena_release(&(*b)->raw);
    free((*b)->entries);
    free(*b);
    *b = NULL;
}

enum bl_rc buffer_ping(struct buffer *b, struct bl_error *err) {
    struct node *nodes[ROUTE_COUNT];
    size_t count = 0;
    BL_TRY(nodes_in_use(b, nodes, &count, err));
    for (size_t i = 0; i < count; i++) {
        struct redis_args a;
        redis_words(&a, "PING");
        BL_CLEANUP(redis_reply_release) redisReply *r = NULL;
        BL_TRY(redis_call(&nodes[i]->conn, &a, &r, err));
    }
    return BL_OK;
}
