#include "buffer/nodes.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

enum { DEFAULT_PORT = 6379, DEFAULT_TIMEOUT_MS = 5000, TRIES_MAX = 64, LATER_NS = 20 * 1000 * 1000 };

/* ---- names and slots ---- */

/* CRC16/XMODEM, as the cluster specification demands. */
static unsigned crc16(struct bl_str s) {
    unsigned crc = 0;
    for (size_t i = 0; i < s.n; i++) {
        crc ^= (unsigned)(unsigned char)s.p[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
    }
    return crc;
}

/* Where a name holds {a tag}, the tag alone decides. */
static unsigned slot_of(const char *key) {
    struct bl_str tag = bl_str(key);
    if (*key == '{') {
        tag = bl_str_skip(tag, 1);
        tag = bl_str_cut(&tag, '}');
    }
    return crc16(tag) % CLUSTER_SLOTS;
}

static void name_routes(struct buffer *b) {
    for (unsigned r = 0; r < ROUTE_COUNT; r++) {
        struct route *x = &b->routes[r];
        const char *name = r < EV_TYPE_COUNT ? ev_schema((enum ev_type)r)->name : "rejected";
        if (r == ROUTE_LEASE) {
            snprintf(x->key, sizeof x->key, "firehose:lease");
        } else if (b->cluster) {
            snprintf(x->key, sizeof x->key, "{firehose:%s}:queue", name);
            snprintf(x->metadata, sizeof x->metadata, "{firehose:%s}:metadata", name);
        } else {
            snprintf(x->key, sizeof x->key, "firehose:%s:queue", name);
            snprintf(x->metadata, sizeof x->metadata, "firehose:metadata");
        }
        x->slot = slot_of(x->key);
        x->node = b->cluster ? NULL : b->nodes[0];
    }
}

/* ---- servers ---- */

static char *dup_or_null(const char *z) {
    return z && *z ? bl_xstrdup(z) : NULL;
}

static struct node *add_node(struct buffer *b, const struct buffer_options *o, const char *host, int port) {
    struct node *n = bl_xcalloc(1, sizeof *n);
    n->conn.unix_socket = b->cluster ? NULL : dup_or_null(o->unix_socket);
    n->conn.host = bl_xstrdup(host);
    n->conn.port = port;
    n->conn.user = dup_or_null(o->user);
    n->conn.password = dup_or_null(o->password);
    n->conn.timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    b->nodes[b->node_count++] = n;
    return n;
}

/* The server at this address; NULL when there are too many. A host of "" or "?" is the one that named it. */
static struct node *find_node(struct buffer *b, const struct redis_conn *teller, struct bl_str host, int port) {
    if (host.n == 0 || bl_str_eq(host, BL_LIT("?"))) host = bl_str(teller->host);
    for (size_t i = 0; i < b->node_count; i++)
        if (b->nodes[i]->conn.port == port && bl_str_eq(bl_str(b->nodes[i]->conn.host), host)) return b->nodes[i];
    if (b->node_count == NODES_MAX) return NULL;
    const struct redis_conn *like = &b->nodes[0]->conn;
    struct buffer_options o = {.user = like->user, .password = like->password, .timeout_ms = like->timeout_ms};
    BL_CLEANUP(bl_freep) char *name = bl_xstrndup(host);
    return add_node(b, &o, name, port);
}

/* "host:port", "[::1]:port" or "host". */
static enum bl_rc add_address(struct buffer *b, const struct buffer_options *o, const char *address,
                              struct bl_error *err) {
    struct bl_str host = bl_str_trim(bl_str(address));
    const char *colon = memrchr(host.p, ':', host.n);
    int64_t port = DEFAULT_PORT;
    if (colon && !bl_str_ends(host, BL_LIT("]"))) {
        struct bl_str text = bl_str_skip(host, (size_t)(colon - host.p) + 1);
        if (!bl_parse_i64(text, 1, 65535, &port)) port = 0;
        host.n = (size_t)(colon - host.p);
    }
    if (bl_str_starts(host, BL_LIT("[")) && bl_str_ends(host, BL_LIT("]"))) host = bl_strn(host.p + 1, host.n - 2);
    if (!host.n || !port || b->node_count == NODES_MAX)
        return bl_fail(err, BL_E_USAGE, "redis.cluster: \"%s\" is no address: want host:port", address);
    BL_CLEANUP(bl_freep) char *name = bl_xstrndup(host);
    add_node(b, o, name, (int)port);
    return BL_OK;
}

enum bl_rc nodes_open(struct buffer *b, const struct buffer_options *o, struct bl_error *err) {
    b->cluster = o->cluster_count > 0;
    for (size_t i = 0; i < o->cluster_count; i++) BL_TRY(add_address(b, o, o->cluster[i], err));
    if (!b->cluster) add_node(b, o, o->host && *o->host ? o->host : "127.0.0.1", o->port ? o->port : DEFAULT_PORT);
    name_routes(b);
    return BL_OK;
}

void nodes_close(struct buffer *b) {
    for (size_t i = 0; i < b->node_count; i++) {
        redis_conn_release(&b->nodes[i]->conn);
        free(b->nodes[i]);
    }
    b->node_count = 0;
}

/* ---- the map of the cluster ---- */

/* One row of CLUSTER SLOTS: first slot, last slot, master {host, port, ...}, replicas. */
static void read_range(struct buffer *b, const struct redis_conn *teller, const redisReply *range) {
    if (!redis_is_array(range, 3) || !redis_is_array(range->element[2], 2)) return;
    const redisReply *master = range->element[2];
    struct node *node = find_node(b, teller, redis_text(master->element[0]), (int)master->element[1]->integer);
    for (unsigned r = 0; r < ROUTE_COUNT; r++)
        if (b->routes[r].slot >= (unsigned)range->element[0]->integer &&
            b->routes[r].slot <= (unsigned)range->element[1]->integer)
            b->routes[r].node = node;
}

static enum bl_rc ask_for_map(struct buffer *b, struct node *teller, struct bl_error *err) {
    struct redis_args a;
    BL_CLEANUP(redis_reply_release) redisReply *map = NULL;
    redis_words(&a, "CLUSTER SLOTS");
    BL_TRY(redis_call(&teller->conn, &a, &map, err));
    if (!redis_is_array(map, 0)) return bl_fail(err, BL_E_BACKEND, "CLUSTER SLOTS: unexpected answer");
    for (size_t i = 0; i < map->elements; i++) read_range(b, &teller->conn, map->element[i]);
    return BL_OK;
}

/* Whoever is connected is asked first: a server that is away costs the wait for it. */
static enum bl_rc find_map(struct buffer *b, struct bl_error *err) {
    size_t known = b->node_count;
    enum bl_rc rc = BL_E_NET;
    for (int connected = 1; connected >= 0; connected--)
        for (size_t i = 0; i < known && rc != BL_OK; i++)
            if ((b->nodes[i]->conn.context != NULL) == connected) rc = ask_for_map(b, b->nodes[i], err);
    return rc;
}

static void forget_map(struct buffer *b) {
    for (unsigned r = 0; r < ROUTE_COUNT; r++) b->routes[r].node = NULL;
}

static enum bl_rc owner_of(struct buffer *b, unsigned route, struct bl_error *err) {
    struct route *r = &b->routes[route];
    if (r->node) return BL_OK;
    BL_TRY(find_map(b, err));
    if (r->node) return BL_OK;
    return bl_fail(err, BL_E_BACKEND,
                   "no server of the Redis Cluster has slot %u, where %s belongs: look at CLUSTER INFO", r->slot,
                   r->key);
}

enum bl_rc nodes_in_use(struct buffer *b, struct node *out[static ROUTE_COUNT], size_t *count, struct bl_error *err) {
    size_t n = 0;
    for (unsigned r = 0; r < ROUTE_COUNT; r++) {
        BL_TRY(owner_of(b, r, err));
        bool seen = false;
        for (size_t i = 0; i < n; i++) seen |= out[i] == b->routes[r].node;
        if (!seen) out[n++] = b->routes[r].node;
    }
    *count = n;
    return BL_OK;
}

/* ---- lanes ---- */

/* After a failed attempt: did the server say where to go instead? */
static bool follow(struct buffer *b, struct lane *l) {
    struct redis_redirect *to = &l->conn->redirect;
    struct route *r = &b->routes[l->route];
    /* A server that is gone may have been replaced; who took over is found out by the next call. */
    if (l->rc == BL_E_NET) forget_map(b);
    if (to->kind == REDIRECT_NONE || l->tries >= TRIES_MAX) return false;
    if (to->kind == REDIRECT_LATER) {
        nanosleep(&(struct timespec){.tv_nsec = LATER_NS}, NULL);
        return true;
    }
    struct node *node = find_node(b, l->conn, bl_str(to->host), to->port);
    if (to->kind == REDIRECT_ASK)
        r->ask = node;
    else
        r->node = node;
    return node != NULL;
}

static enum bl_rc enter(struct buffer *b, struct lane *l, struct bl_error *err) {
    struct route *r = &b->routes[l->route];
    if (b->cluster && !r->ask) BL_TRY(owner_of(b, l->route, err));
    l->asking = r->ask != NULL;
    l->node = l->asking ? r->ask : r->node;
    r->ask = NULL;
    l->conn = &l->node->conn;
    l->conn->redirect.kind = REDIRECT_NONE;
    enum bl_rc rc = redis_up(l->conn, err);
    if (rc == BL_E_NET && b->cluster) forget_map(b);
    return rc;
}

bool lane_open(struct buffer *b, struct lane *l, struct bl_error *err) {
    if (l->tries++ && (l->rc == BL_OK || !b->cluster || !follow(b, l))) return false;
    l->rc = enter(b, l, err);
    return l->rc == BL_OK;
}

enum bl_rc lane_send(struct lane *l, const struct redis_args *a, struct bl_error *err) {
    if (l->asking) {
        struct redis_args asking;
        redis_words(&asking, "ASKING");
        BL_TRY(redis_send(l->conn, &asking, err));
    }
    return redis_send(l->conn, a, err);
}

enum bl_rc lane_receive(struct lane *l, redisReply **out, struct bl_error *err) {
    if (l->asking) {
        BL_CLEANUP(redis_reply_release) redisReply *yes = NULL;
        BL_TRY(redis_receive(l->conn, &yes, err));
    }
    return redis_receive(l->conn, out, err);
}

enum bl_rc lane_call(struct lane *l, const struct redis_args *a, redisReply **out, struct bl_error *err) {
    redis_reply_release(out);
    BL_TRY(lane_send(l, a, err));
    BL_TRY(lane_receive(l, out, err));
    return redis_check(l->conn, *out, err);
}

enum bl_rc route_call(struct buffer *b, unsigned route, const struct redis_args *a, redisReply **out,
                      struct bl_error *err) {
    struct lane l = {.route = route};
    while (lane_open(b, &l, err)) l.rc = lane_call(&l, a, out, err);
    return l.rc;
}
