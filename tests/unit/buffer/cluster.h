/* cluster: a Redis Cluster of three real masters of the test's own, with all slots dealt out evenly. */
#pragma once
#include "buffer/buffer.h"
#include "server.h"

enum { CLUSTER_MASTERS = 3 };
struct cluster {
    struct server masters[CLUSTER_MASTERS];
    int ports[CLUSTER_MASTERS], buses[CLUSTER_MASTERS];
    char options[CLUSTER_MASTERS][2][16], addresses[CLUSTER_MASTERS][32];
};
/* Fails the test when the cluster is not whole within 30 s. */
void cluster_start(struct cluster *c);
void cluster_stop(struct cluster *c);
/* The master whose slot range holds `key`'s slot. */
struct server *cluster_owner(struct cluster *c, const char *key);
/* Knows the first `addresses` servers. */
struct buffer *open_cluster(struct cluster *c, size_t addresses);
