#include "cluster.h"

#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "fixture.h"

enum { SLOTS = 16384, WHOLE_LIMIT_MS = 30000 };

static void start_master(struct cluster *c, int i) {
    struct bl_error err = {0};
    EXPECT_OK(bl_free_port(&c->ports[i], &err), &err);
    EXPECT_OK(bl_free_port(&c->buses[i], &err), &err);
    snprintf(c->options[i][0], sizeof c->options[i][0], "%d", c->ports[i]);
    snprintf(c->options[i][1], sizeof c->options[i][1], "%d", c->buses[i]);
    snprintf(c->addresses[i], sizeof c->addresses[i], "127.0.0.1:%d", c->ports[i]);
    const char *const options[] = {"--port",         c->options[i][0],    "--bind", "127.0.0.1", "--cluster-port",
                                   c->options[i][1], "--cluster-enabled", "yes",    NULL};
    server_start(&c->masters[i], NULL, options);
    command_ok(&c->masters[i], "CLUSTER ADDSLOTSRANGE %d %d", i * SLOTS / CLUSTER_MASTERS,
               (i + 1) * SLOTS / CLUSTER_MASTERS - 1);
    command_ok(&c->masters[i], "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
}

static bool is_whole(const struct server *s) {
    redisReply *r = command(s, "CLUSTER INFO");
    bool whole = strstr(r->str, "cluster_state:ok") && strstr(r->str, "cluster_known_nodes:3");
    freeReplyObject(r);
    return whole;
}

void cluster_start(struct cluster *c) {
    for (int i = 0; i < CLUSTER_MASTERS; i++) start_master(c, i);
    for (int i = 1; i < CLUSTER_MASTERS; i++)
        command_ok(&c->masters[0], "CLUSTER MEET 127.0.0.1 %d %d", c->ports[i], c->buses[i]);
    int64_t until = bl_mono_ns() + (int64_t)WHOLE_LIMIT_MS * 1000000;
    for (int i = 0; i < CLUSTER_MASTERS;) {
        if (is_whole(&c->masters[i])) {
            i++;
            continue;
        }
        if (bl_mono_ns() > until) fail_msg("the cluster does not become whole");
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

void cluster_stop(struct cluster *c) {
    for (int i = 0; i < CLUSTER_MASTERS; i++) server_stop(&c->masters[i]);
}

struct server *cluster_owner(struct cluster *c, const char *key) {
    int64_t slot = command_i64(&c->masters[0], "CLUSTER KEYSLOT %s", key);
    int i = CLUSTER_MASTERS - 1;
    while (i * SLOTS / CLUSTER_MASTERS > slot) i--;
    return &c->masters[i];
}

struct buffer *open_cluster(struct cluster *c, size_t addresses) {
    struct bl_error err = {0};
    struct buffer *b = NULL;
    const char *list[CLUSTER_MASTERS];
    for (int i = 0; i < CLUSTER_MASTERS; i++) list[i] = c->addresses[i];
    struct buffer_options o = {.cluster = list, .cluster_count = addresses, .guard = true};
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    return b;
}
