/* httpd: /health and /metrics of the background roles. libmicrohttpd appears only in httpd.c.
 *
 * May include: base, obs. For the public API see src/http. Requests are answered on a thread of its own; the callbacks
 * must be thread-safe and must not block for longer than a second. */
#pragma once
#include "base/mem.h"

struct obs_httpd;
struct obs_httpd_options {
    const char *address; /* "127.0.0.1" */
    int port;            /* 0 = a free one */
    unsigned roles;      /* metrics shown */
    /* Append a JSON object; returns the HTTP status: 200 or 503. `ready` distinguishes /ready from /health. */
    int (*health)(void *context, bool ready, struct bl_buf *json);
    void (*refresh)(void *context); /* before /metrics: update gauges; may be NULL */
    void (*tick)(void *context);    /* about once a second, on a thread of its own: judge the alerts; may be NULL */
    void *context;
};
enum bl_rc obs_httpd_start(const struct obs_httpd_options *o, struct obs_httpd **out, struct bl_error *err);
int obs_httpd_port(const struct obs_httpd *h);
void obs_httpd_stop(struct obs_httpd **h);
