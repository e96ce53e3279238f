/* /health, /ready, /metrics: answered without the lake, so that they answer when it does not. */
#include <inttypes.h>
#include <unistd.h>

#include "base/version.h"
#include "http/handlers.h"
#include "http/rates.h"
#include "http/refresher.h"
#include "http/server.h"
#include "obs/metrics.h"
#include "resolve/resolver.h"

static void put_state(const struct http_context *context, bool good, const char *why, struct http_response *res) {
    struct pool_load load = pool_load(context->server->pool);
    bl_buf_printf(&res->body,
                  "{\"role\":\"serve\",\"version\":\"%s\",\"status\":\"%s\",\"snapshot\":%" PRId64
                  ",\"running\":%d,\"waiting\":%d,"
                  "\"reasons\":[",
                  BL_VERSION, good ? "ok" : "degraded", pool_snapshot(context->server->pool), load.running,
                  load.waiting);
    if (!good) http_json_text(&res->body, bl_str(*why ? why : "there is no lake yet"));
    bl_buf_z(&res->body, "]}\n");
}

/* Alive means: questions can be answered, or there is nothing to ask yet. */
HTTP_HANDLER(answer_health) {
    char why[512];
    (void)rq, (void)err;
    bool ready = pool_ready(context->server->pool, why, sizeof why);
    if (!pool_healthy(context->server->pool)) res->status = 503;
    put_state(context, ready, context->server->local ? why : "see the server's log", res);
    return BL_OK;
}

HTTP_HANDLER(answer_ready) {
    char why[512];
    (void)rq, (void)err;
    bool ready = pool_ready(context->server->pool, why, sizeof why);
    res->status = ready ? 200 : 503;
    if (!ready) http_header(res, "Retry-After", "2");
    put_state(context, ready, context->server->local ? why : "see the server's log", res);
    return BL_OK;
}

static double resident_bytes(void) {
    long total = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm) return 0;
    int fields = fscanf(statm, "%ld %ld", &total, &resident);
    fclose(statm);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void refresh_resolver(struct http_server *s) {
    struct resolver_state state = {0};
    if (s->resolver) resolver_get_state(s->resolver, &state);
    metric_set(M_resolver_asked, 0, (double)state.asked);
    metric_set(M_resolver_failed, 0, (double)state.failed);
    metric_set(M_resolver_waiting, 0, (double)state.waiting);
}

static void refresh_staleness(const struct http_server *s) {
    int64_t oldest_us = refresher_oldest_us(s->refresher), now_us = s->clock->wall_us(s->clock->context);
    metric_set(M_views_stale, 0, oldest_us && now_us > oldest_us ? (double)(now_us - oldest_us) / 1e6 : 0);
}

static void refresh_gauges(struct http_server *s) {
    struct rates_minute minute = rates_minute(s->rates);
    struct pool_load load = pool_load(s->pool);
    metric_set(M_query_response_ms, 0, minute.mean_ms);
    metric_set(M_query_per_second, 0, minute.per_second);
    metric_set(M_query_error_rate, 0, minute.error_percent);
    metric_set(M_query_cache_hits, 0, minute.hit_percent);
    metric_set(M_query_healthy, 0, pool_healthy(s->pool) && pool_snapshot(s->pool) >= 0);
    metric_set(M_http_cache_bytes, 0, (double)cache_bytes(s->cache));
    metric_set(M_http_running, 0, load.running);
    metric_set(M_http_waiting, 0, load.waiting);
    metric_set(M_http_snapshot, 0, (double)pool_snapshot(s->pool));
    metric_set(M_process_memory, 0, resident_bytes());
    refresh_staleness(s);
    refresh_resolver(s);
}

HTTP_HANDLER(answer_metrics) {
    (void)rq, (void)err;
    refresh_gauges(context->server);
    metrics_expose(ROLE_SERVE, &res->body);
    res->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return BL_OK;
}
