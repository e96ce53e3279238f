/* proxy: stands between a client and Redis, both on Unix sockets, and misbehaves once when told to, at the next request
 * that ends with EXEC. */
#pragma once
#include <stdbool.h>

enum proxy_mode {
    PROXY_PASS,
    PROXY_CUT_REPLY,   /* Redis carries the request out; its answer is dropped and the connection cut */
    PROXY_CUT_REQUEST, /* the request never reaches Redis */
    PROXY_HOLD,        /* the request is kept back; proxy_release sends it on, however late */
};
struct proxy;
struct proxy *proxy_start(const char *listen_path, const char *upstream_path);
void proxy_next(struct proxy *p, enum proxy_mode mode);
int proxy_count(struct proxy *p); /* times it has misbehaved */
/* Sends what is held; true when Redis still took it, false when it had closed that connection. */
bool proxy_release(struct proxy *p);
void proxy_stop(struct proxy **p);
