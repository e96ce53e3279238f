/* pool: a fixed number of workers, each with a session on the lake, and the queue in front of them.
 *
 * May include: base, query, obs; the catalogue (lake) in pool.c. A job that waits longer than `wait_us` is refused, so
 * nobody waits for ever and the queue cannot grow. Light jobs have a worker of their own beside the others; long ones
 * (exports) never take the last of the others, nor those of one client all that long ones may take. A job whose client
 * hung up is cancelled. The workers follow the lake: a thread looks at the catalogue's snapshot twice a second, and a
 * session moves on before its next job. Where there is no lake yet, jobs are refused until there is one.
 *
 * Threading: pool_submit and the getters from any thread; callbacks run on the pool's threads. */
#pragma once
#include <stdatomic.h>

#include "query/query.h"
#include "query/views.h"

struct http_context { /* what a handler works with */
    struct http_server *server;
    struct query *query; /* NULL in the network thread */
    struct views *views; /* opened by the handler that needs them first */
};
enum pool_refusal { POOL_FULL, POOL_WAITED, POOL_OWN_SHARE, POOL_NO_LAKE, POOL_STOPPING };
enum pool_weight { POOL_LIGHT, POOL_NORMAL, POOL_LONG };
struct pool_job {
    struct pool_job *next;
    enum pool_weight weight;
    int fd;            /* watched for the client's hanging up; -1: none */
    atomic_bool *gone; /* set then; the running question is cancelled */
    uint64_t client;   /* long jobs of one number never take the last session for long ones; 0: not counted */
    uint64_t same;     /* jobs of one number ask the same: one runs at a time, the others find its answer; 0: alone */
    int64_t queued_ns;
    void (*run)(struct pool_job *job, struct http_context *context);
    void (*refuse)(struct pool_job *job, enum pool_refusal why); /* instead of run */
    void (*release)(struct pool_job *job);                       /* after either: the pool forgets it */
};
struct pool_options {
    const char *lake_dir;
    int workers;          /* one more takes light jobs only */
    int64_t memory_bytes; /* of all together */
    int64_t deadline_us;  /* of a question */
    int64_t wait_us;      /* in the queue */
    size_t queue_max;
    struct resolver *resolver;  /* for the sessions; may be NULL */
    struct http_server *server; /* for http_context */
};
struct pool;
enum bl_rc pool_start(const struct pool_options *o, struct pool **out, struct bl_error *err);
void pool_stop(struct pool *p); /* refuses what waits and whatever comes, cancels what runs, waits for it */
void pool_free(struct pool **p);
void pool_submit(struct pool *p, struct pool_job *job);
int64_t pool_snapshot(struct pool *p); /* newest seen; -1: there is no lake */
/* Can questions be answered? "" or why not. */
bool pool_ready(struct pool *p, char *why, size_t size);
/* False while the lake is there but reading it fails. */
bool pool_healthy(struct pool *p);
struct pool_load {
    int running, waiting;
};
struct pool_load pool_load(struct pool *p);
