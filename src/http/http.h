/* http: the public HTTP API and the page, over one lake.
 *
 * May include: base, conf, obs, event, net, lake, query. libmicrohttpd appears only in mhd.c.
 * How a request goes: the network thread (one, epoll) parses and checks it against the route table, asks keys, limits
 * and the cache, and answers at once what needs no lake. The rest waits in a bounded queue for one of a fixed number of
 * workers, each with a session of the query room. Long answers flow through a bounded ring, so memory is constant.
 * Nothing of a user's question reaches the log. docs/API.md is the guide for users.
 *
 * Threading: http_start starts all threads; http_stop ends them: what runs is cancelled, what waits is refused. */
#pragma once
#include "conf/conf.h"

struct http_server;
enum bl_rc http_start(const struct conf *conf, struct http_server **out, struct bl_error *err);
int http_port(const struct http_server *s);
/* For a supervisor's status line. */
struct http_numbers {
    int64_t requests, errors;
    bool ready;
};
void http_get_numbers(struct http_server *s, struct http_numbers *out);
void http_stop(struct http_server **s);
