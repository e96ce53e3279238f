/* server: a request's way through everything that is the same for all routes. Private to the http room. */
#pragma once
#include "conf/conf.h"
#include "http/cache.h"
#include "http/http.h"
#include "http/keys.h"
#include "http/limit.h"
#include "http/pool.h"
#include "http/routes.h"

struct mhd;
struct rates;
struct refresher;
struct resolver;
struct http_server {
    const struct conf *conf;
    char address[64];
    bool local; /* only this machine can ask: on loopback, and no proxy that may hand on anybody's requests */
    int64_t started_us;
    const struct bl_clock *clock;
    struct keys keys;    /* network thread */
    struct limit *limit; /* network thread */
    int64_t limit_per_hour;
    struct cache *cache;
    struct pool *pool;
    struct rates *rates;
    struct refresher *refresher;
    struct resolver *resolver; /* NULL: names are the lake's alone */
    struct mhd *mhd;
};
enum bl_rc server_open(const struct conf *conf, const struct bl_clock *clock, struct http_server **out,
                       struct bl_error *err);
void server_close(struct http_server **s);

/* In the network thread: checks and, where possible, answers. False: a worker has to, see rq->route->where. */
bool server_begin(struct http_server *s, struct http_request *rq, struct http_response *res);
enum pool_weight server_weight(const struct http_request *rq);
/* A number that requests for the same answer share; 0: each has to be answered by itself. */
uint64_t server_sameness(const struct http_server *s, const struct http_request *rq);
/* Another for whose it is; 0 where nobody can be told from anybody. */
uint64_t server_client(const struct http_request *rq);
/* In a worker. BL_OK: the response is complete; else a started stream has to break off. */
enum bl_rc server_work(struct http_context *context, struct http_request *rq, struct http_response *res);
void server_refuse(struct http_server *s, struct http_response *res, enum pool_refusal why);
/* Once, when the answer was sent or never will be: the log line and the numbers. */
void server_end(struct http_server *s, const struct http_request *rq, const struct http_response *res, int64_t bytes,
                bool whole);
