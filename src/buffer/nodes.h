/* nodes: which server holds which key, and the road there. Private to the buffer room.
 *
 * One Redis holds everything. On a Redis Cluster each type's queue lies in a slot of its own, with a metadata hash that
 * the hash tag {} puts into the same slot, so that one transaction holds a block, its counters and its cursor there
 * too. With slots dealt out evenly to three masters, posts, likes, and reposts with follows are on different ones.
 *
 *     one Redis   firehose:posts:queue      firehose:metadata
 *     cluster     {firehose:posts}:queue    {firehose:posts}:metadata
 *
 * What is sent for one key goes through a lane. A refusal that says where the key is now (MOVED, ASK) is followed, and
 * the commands are sent again, all of them:
 *
 *     struct lane l = {.route = type};
 *     while (lane_open(b, &l, err)) l.rc = some_commands(b, &l, err);
 *     return l.rc;
 *
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */
#pragma once
#include "buffer/redis_conn.h"

enum { ID_MAX = 48, GROUP_CHUNK = 256, NODES_MAX = 256, CLUSTER_SLOTS = 16384 };
#define BUFFER_GROUP "writers"

struct node { /* one server */
    struct redis_conn conn;
    char known_run_id[64]; /* of the Redis process whose position was loaded last; "" = load it again */
    int64_t memory_polled_ns, used_memory, memory_limit; /* limit 0: none */
    char policy[32];                                     /* maxmemory-policy, as last warned of */
};

/* The keys that live together: a queue and its metadata. */
enum { ROUTE_REJECTED = EV_TYPE_COUNT, ROUTE_LEASE, ROUTE_COUNT };
struct route {
    char key[64], metadata[96];
    unsigned slot;
    struct node *node; /* NULL = to be looked up */
    struct node *ask;  /* where the next attempt goes, once */
};

struct reader {
    char consumer[128];
    char last[EV_TYPE_COUNT][ID_MAX]; /* the newest entry handed out, from where own pending ones are read on */
    bool drained[EV_TYPE_COUNT];      /* nothing of ours is pending after `last` */
    bool claimed;                     /* dead consumers' entries were taken over at the start */
    int64_t claim_due_ns;
};

struct buffer {
    struct node *nodes[NODES_MAX]; /* without a cluster one; with it those configured, then those learned */
    size_t node_count;
    bool cluster;
    struct route routes[ROUTE_COUNT];
    bool guard;
    bool in_doubt;                   /* a transaction was sent whose answer never came */
    bool unsure;                     /* cluster: a group of blocks was appended in part */
    uint64_t counted[EV_TYPE_COUNT]; /* events Redis had of each type when it was last heard of */
    int64_t high_water_bytes;
    struct bl_buf scratch;
    struct reader reader;
    redisReply *held[EV_TYPE_COUNT]; /* what the entries of the last buffer_read point into */
    size_t held_count;
    struct bl_arena raw; /* texts of corrupt entries */
    struct buffer_entry *entries;
    size_t entry_count, entry_room;
    redisReply *held_rejected;
};

enum bl_rc nodes_open(struct buffer *b, const struct buffer_options *o, struct bl_error *err);
void nodes_close(struct buffer *b);
/* The servers that hold our keys, each once. */
enum bl_rc nodes_in_use(struct buffer *b, struct node *out[static ROUTE_COUNT], size_t *count, struct bl_error *err);
/* Routes that share one metadata hash with an earlier one need not be visited. */
static inline bool route_is_first(const struct buffer *b, unsigned route) {
    return b->cluster || route == 0;
}

struct lane {
    unsigned route;
    enum bl_rc rc; /* of the attempt; at the end the result */
    struct node *node;
    struct redis_conn *conn;
    bool asking; /* the server is told with every command that it was named by ASK */
    int tries;
};
/* Another attempt is due, with a connection that is up. */
bool lane_open(struct buffer *b, struct lane *l, struct bl_error *err);
/* One command outside of MULTI, or MULTI itself, and its answer; what follows MULTI goes to redis_send directly. */
enum bl_rc lane_send(struct lane *l, const struct redis_args *a, struct bl_error *err);
enum bl_rc lane_receive(struct lane *l, redisReply **out, struct bl_error *err);
enum bl_rc lane_call(struct lane *l, const struct redis_args *a, redisReply **out, struct bl_error *err);

/* One command to the server that holds `route`, redirects followed. `*out` is also set where Redis refuses. */
enum bl_rc route_call(struct buffer *b, unsigned route, const struct redis_args *a, redisReply **out,
                      struct bl_error *err);

enum bl_rc node_poll_memory(struct buffer *b, struct node *n, struct bl_error *err);
/* BL_E_FULL above the high-water mark. */
enum bl_rc node_check_memory(struct buffer *b, struct node *n, struct bl_error *err);

/* Creates the groups (and empty streams) that are missing, even when memory is at its limit; says how many. A queue
 * that was there before and is gone is marked in its metadata. */
enum bl_rc buffer_create_groups(struct buffer *b, int64_t *created, struct bl_error *err);
