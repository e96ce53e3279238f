#include "http/server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "base/rng.h"
#include "http/gzip.h"
#include "http/mhd.h"
#include "http/rates.h"
#include "http/refresher.h"
#include "net/url.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "resolve/resolver.h"

enum { COMPRESS_FROM = 1024, RATE_DEFAULT = 1000, QUEUE_PER_SESSION = 256 };

/* ---- life ---- */

static bool is_loopback(const char *address) {
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static enum bl_rc check_exposure(const struct http_server *s, struct bl_error *err) {
    if (s->local || keys_valid(&s->keys)) return BL_OK;
    if (is_loopback(s->address))
        return bl_fail(err, BL_E_USAGE,
                       "serve.behind_proxy: the proxy hands on requests of strangers, and there are no API keys: add "
                       "one with `bluelake key add NAME`, or leave serve.behind_proxy off");
    return bl_fail(err, BL_E_USAGE,
                   "serve.http: %s can be reached from other machines, and there are no API keys: add one with "
                   "`bluelake key add NAME`, or listen on 127.0.0.1 or [::1]",
                   s->address);
}

/* Whether only the proxy gets to the port cannot be told from here. */
static void warn_of_forgery(const struct http_server *s) {
    if (s->conf->serve_behind_proxy && !is_loopback(s->address))
        bl_log(BL_WARN,
               "serve.behind_proxy: whoever reaches %s without the proxy can claim any address in X-Forwarded-For: "
               "listen on 127.0.0.1 or [::1], or in a network that only the proxy is in",
               s->address);
}

/* Who cannot be a stranger is not limited unless it is asked for. */
static int64_t limit_of(const struct http_server *s) {
    if (s->conf->serve_rate_limit >= 0) return s->conf->serve_rate_limit;
    return s->local && keys_valid(&s->keys) == 0 ? 0 : RATE_DEFAULT;
}

/* Keys come and go while the server runs, and the limit with them. */
static void renew_limit(struct http_server *s) {
    int64_t per_hour = limit_of(s);
    if (per_hour == s->limit_per_hour) return;
    s->limit_per_hour = per_hour;
    limit_set(s->limit, per_hour);
}

static enum bl_rc open_resolver(struct http_server *s, struct bl_error *err) {
    const struct conf *c = s->conf;
    const char *url = c->resolve_url;
    if (!*url || strcmp(url, "auto") == 0 || strcmp(url, "none") == 0) return BL_OK;
    struct resolver_options o = {.lake_dir = c->data,
                                 .url = url,
                                 .ca_file = c->resolve_ca_file,
                                 .timeout_us = c->resolve_timeout,
                                 .keep_us = c->resolve_keep,
                                 .per_second = c->resolve_rate};
    enum bl_rc rc = resolver_open(&o, &s->resolver, err);
    return rc == BL_E_USAGE ? bl_err_prefix(err, rc, "resolve.url") : rc;
}

static enum bl_rc open_parts(struct http_server *s, struct bl_error *err) {
    BL_TRY(open_resolver(s, err));
    struct pool_options pool = {.lake_dir = s->conf->data,
                                .workers = (int)s->conf->serve_sessions,
                                .memory_bytes = s->conf->serve_memory,
                                .deadline_us = s->conf->serve_deadline,
                                .wait_us = s->conf->serve_wait,
                                .queue_max = QUEUE_PER_SESSION * (size_t)s->conf->serve_sessions,
                                .resolver = s->resolver,
                                .server = s};
    BL_TRY(keys_open(s->conf->data, &s->keys, err));
    BL_TRY(check_exposure(s, err));
    warn_of_forgery(s);
    s->limit_per_hour = limit_of(s);
    s->limit = limit_new(s->limit_per_hour, s->clock);
    s->cache = cache_new(s->conf->serve_cache, s->clock);
    s->rates = rates_new(s->clock);
    BL_TRY(pool_start(&pool, &s->pool, err));
    struct refresher_options fresh = {.lake_dir = s->conf->data,
                                      .pool = s->pool,
                                      .resolver = s->resolver,
                                      .memory_bytes = s->conf->serve_views_memory,
                                      .every_us = s->conf->serve_views_every};
    return refresher_start(&fresh, &s->refresher, err);
}

enum bl_rc server_open(const struct conf *conf, const struct bl_clock *clock, struct http_server **out,
                       struct bl_error *err) {
    struct http_server *s = bl_xcalloc(1, sizeof *s);
    int port;
    s->conf = conf;
    s->clock = clock;
    s->started_us = clock->wall_us(clock->context);
    enum bl_rc rc = url_parse_listen(bl_str(conf->serve_http), s->address, &port, err);
    s->local = is_loopback(s->address) && !conf->serve_behind_proxy;
    if (rc == BL_OK) rc = open_parts(s, err);
    if (rc == BL_OK)
        *out = s;
    else
        server_close(&s);
    return rc;
}

void server_close(struct http_server **server) {
    struct http_server *s = *server;
    if (!s) return;
    resolver_stop(s->resolver);
    refresher_stop(&s->refresher);
    pool_stop(s->pool);
    pool_free(&s->pool);
    resolver_close(&s->resolver);
    keys_close(&s->keys);
    limit_free(&s->limit);
    cache_free(&s->cache);
    rates_free(&s->rates);
    free(s);
    *server = NULL;
}

enum bl_rc http_start(const struct conf *conf, struct http_server **out, struct bl_error *err) {
    struct http_server *s;
    BL_TRY(server_open(conf, &bl_clock_system, &s, err));
    metric_set(M_process_start, 0, (double)s->started_us / 1e6);
    enum bl_rc rc = mhd_start(s, &s->mhd, err);
    if (rc == BL_OK)
        *out = s;
    else
        server_close(&s);
    return rc;
}

int http_port(const struct http_server *s) {
    return mhd_port(s->mhd);
}

/* New connections end first, then the workers, which wake the connections that wait for them, then the connections. */
void http_stop(struct http_server **s) {
    if (!*s) return;
    resolver_stop((*s)->resolver);
    refresher_stop(&(*s)->refresher);
    mhd_quiesce((*s)->mhd);
    pool_stop((*s)->pool);
    mhd_stop(&(*s)->mhd);
    server_close(s);
}

void http_get_numbers(struct http_server *s, struct http_numbers *out) {
    char why[512];
    *out = (struct http_numbers){.requests = (int64_t)metric_get(M_http_requests, 0),
                                 .errors = (int64_t)metric_get(M_http_errors, 0),
                                 .ready = pool_ready(s->pool, why, sizeof why)};
}

/* ---- headers every answer carries ---- */

static void add_common_headers(const struct http_request *rq, struct http_response *res) {
    http_header(res, "X-Request-Id", rq->id);
    http_header(res, "X-Content-Type-Options", "nosniff");
    http_header(res, "X-Frame-Options", "DENY");
    http_header(res, "Referrer-Policy", "no-referrer");
    http_header(res, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    http_header(res, "Cache-Control", "no-store");
}

static bool origin_allowed(const struct http_server *s, struct bl_str origin) {
    const struct conf_list *allowed = &s->conf->serve_cors_origins;
    for (size_t i = 0; i < allowed->count; i++)
        if (strcmp(allowed->items[i], "*") == 0 || bl_str_eq(origin, bl_str(allowed->items[i]))) return true;
    return false;
}

static void add_cors_headers(const struct http_server *s, const struct http_request *rq, struct http_response *res) {
    if (s->conf->serve_cors_origins.count) http_header(res, "Vary", "Origin, Accept-Encoding");
    if (!rq->origin.n || rq->origin.n > 300 || !origin_allowed(s, rq->origin)) return;
    http_header_printf(res, "Access-Control-Allow-Origin", "%.*s", BL_ARG(rq->origin));
    http_header(res, "Access-Control-Expose-Headers",
                "X-Request-Id, X-Snapshot, X-Truncated, ETag, Retry-After, Content-Disposition, X-RateLimit-Limit, "
                "X-RateLimit-Remaining");
}

static void answer_options(struct http_response *res) {
    res->status = 204;
    http_header(res, "Allow", "GET, HEAD, OPTIONS");
    if (!http_header_of(res, "Access-Control-Allow-Origin")) return;
    http_header(res, "Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
    http_header(res, "Access-Control-Allow-Headers", "Authorization, X-API-Key, If-None-Match");
    http_header(res, "Access-Control-Max-Age", "600");
}

/* ---- who may ask, and how often ---- */

static struct bl_str key_of(const struct http_request *rq) {
    static const struct bl_str bearer = BL_LIT("Bearer ");
    if (rq->api_key.n) return rq->api_key;
    bool has = rq->authorization.n > bearer.n && strncasecmp(rq->authorization.p, bearer.p, bearer.n) == 0;
    return has ? bl_str_trim(bl_str_skip(rq->authorization, bearer.n)) : (struct bl_str){0};
}

static bool refuse_key(struct http_response *res, unsigned status, const char *code, const char *cure,
                       const char *message) {
    http_refuse(res, status, code, NULL, cure, "%s", message);
    if (status == 401) http_header(res, "WWW-Authenticate", "Bearer realm=\"bluelake\"");
    return false;
}

/* A revoked key ends here at its next request; keys that cannot be read let nobody in. */
static bool may_ask(struct http_server *s, struct http_request *rq, struct http_response *res) {
    struct bl_error err = {0};
    static int64_t last_log_ns;
    if (rq->route->scope == HTTP_PUBLIC) return true;
    if (keys_refresh(&s->keys, &err) != BL_OK) {
        if (bl_log_due(&last_log_ns, 10000000)) bl_log_error("keys", &err);
        if (!s->keys.count) return refuse_key(res, 503, "busy", "tell the operator", "the list of keys cannot be read");
    }
    renew_limit(s);
    if (s->keys.count == 0 && s->local) return true;
    struct bl_str text = key_of(rq);
    const struct key *key = text.n ? keys_find(&s->keys, text) : NULL;
    if (!key)
        return refuse_key(res, 401, text.n ? "bad_key" : "no_key", "send the header Authorization: Bearer KEY",
                          text.n ? "this key is not valid" : "this server wants an API key");
    snprintf(rq->key_name, sizeof rq->key_name, "%s", key->name);
    if (!(key->scopes & ((unsigned)rq->route->scope | HTTP_ADMIN)))
        return refuse_key(res, 403, "scope", "ask the operator for a key with this scope", "this key may not do that");
    return true;
}

static bool take(struct http_server *s, struct http_response *res, const char *kind, const char *name) {
    char id[HTTP_KEY_NAME_MAX + 80];
    struct limit_state state;
    snprintf(id, sizeof id, "%s %s", kind, name);
    bool allowed = limit_take(s->limit, bl_str(id), &state);
    http_header_printf(res, "X-RateLimit-Limit", "%" PRId64, s->limit_per_hour);
    http_header_printf(res, "X-RateLimit-Remaining", "%" PRId64, state.remaining);
    if (allowed) return true;
    http_refuse(res, 429, "rate_limit", NULL, "wait as many seconds as Retry-After says",
                "more than %" PRId64 " requests an hour", s->limit_per_hour);
    http_header_printf(res, "Retry-After", "%" PRId64, state.retry_after_s);
    metric_add(M_http_limited, 0, 1);
    return false;
}

/* Whoever has an IPv6 address has 2^64 of them: the network counts. */
static void limited_address(const char *address, char out[static INET6_ADDRSTRLEN]) {
    struct in6_addr six;
    snprintf(out, INET6_ADDRSTRLEN, "%s", address);
    if (inet_pton(AF_INET6, address, &six) != 1) return;
    memset(six.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
}

static bool within_address_limit(struct http_server *s, const struct http_request *rq, struct http_response *res) {
    char address[INET6_ADDRSTRLEN];
    if (s->limit_per_hour == 0 || rq->route->scope == HTTP_PUBLIC) return true;
    limited_address(rq->address, address);
    return take(s, res, "address", address);
}

static bool within_key_limit(struct http_server *s, const struct http_request *rq, struct http_response *res) {
    return s->limit_per_hour == 0 || !*rq->key_name || take(s, res, "key", rq->key_name);
}

/* Behind a proxy of ours, the last address it noted is the client's; what stands before may be anything. */
static void use_forwarded_address(const struct http_server *s, struct http_request *rq) {
    if (!s->conf->serve_behind_proxy || !rq->forwarded_for.n) return;
    struct bl_str rest = rq->forwarded_for, last = {0};
    while (rest.n) last = bl_str_trim(bl_str_cut(&rest, ','));
    snprintf(rq->address, sizeof rq->address, "%.*s", BL_ARG(last));
}

/* ---- the cache ---- */

static const char *encoding_of(const struct http_request *rq) {
    return gzip_choose(rq->accept_encoding);
}

static void cache_key(const struct http_request *rq, struct bl_buf *key) {
    const char *encoding = encoding_of(rq);
    bl_buf_printf(key, "%s ", encoding ? encoding : "-");
    http_normalise(rq, key);
}

enum { ETAG_MAX = 64 };

/* Weak, because the same answer may come compressed in different ways, and says how long it took. */
static void etag_of(const struct http_request *rq, int64_t snapshot, char out[static ETAG_MAX]) {
    BL_CLEANUP(bl_buf_release) struct bl_buf question = {0};
    uint64_t h = 0;
    http_normalise(rq, &question);
    for (size_t i = 0; i < question.n; i++) h = bl_mix64(h ^ (unsigned char)question.p[i]) + BL_GOLDEN;
    snprintf(out, ETAG_MAX, "W/\"%" PRIx64 "-%016" PRIx64 "\"", (uint64_t)snapshot, h);
}

/* An answer that will soon be better for the same snapshot is not `settled`: no client is to keep it. */
static void add_snapshot(const struct http_request *rq, struct http_response *res, int64_t snapshot, bool settled) {
    char etag[ETAG_MAX];
    http_header_printf(res, "X-Snapshot", "%" PRId64, snapshot);
    if (!settled) return;
    etag_of(rq, snapshot, etag);
    http_header_printf(res, "ETag", "%s", etag);
    http_header(res, "Cache-Control", "private, no-cache");
}

/* Has the client got what `snapshot` answers? */
static bool answer_not_modified(const struct http_request *rq, struct http_response *res, int64_t snapshot) {
    char etag[ETAG_MAX];
    if (!rq->route->by_snapshot || snapshot < 0 || !rq->if_none_match.n) return false;
    etag_of(rq, snapshot, etag);
    for (struct bl_str rest = rq->if_none_match; rest.n;) {
        if (!bl_str_eq(bl_str_trim(bl_str_cut(&rest, ',')), bl_str(etag))) continue;
        add_snapshot(rq, res, snapshot, true);
        res->status = 304;
        return true;
    }
    return false;
}

static void add_encoding(struct http_response *res, const char *encoding) {
    http_header(res, "Content-Encoding", encoding);
    if (!http_header_of(res, "Vary")) http_header(res, "Vary", "Accept-Encoding");
}

/* While events come in, there is a new snapshot every few seconds: an answer of the one before serves a little longer.
 */
static bool still_good(struct http_server *s, const struct http_request *rq, const struct cache_entry *entry) {
    return !rq->route->by_snapshot || entry->snapshot == pool_snapshot(s->pool) ||
           entry->age_us < s->conf->serve_cache_ttl;
}

static bool look_up(struct http_server *s, const struct http_request *rq, struct http_response *res) {
    BL_CLEANUP(bl_buf_release) struct bl_buf key = {0};
    struct cache_entry entry = {.body = {.max = HTTP_BODY_MAX}};
    cache_key(rq, &key);
    if (!cache_get(s->cache, bl_buf_view(&key), &entry)) return false;
    if (!still_good(s, rq, &entry)) {
        bl_buf_release(&entry.body);
        return false;
    }
    res->cache = "hit";
    if (answer_not_modified(rq, res, entry.snapshot)) {
        bl_buf_release(&entry.body);
        return true;
    }
    bl_buf_release(&res->body);
    res->body = entry.body;
    res->status = 200;
    res->content_type = entry.content_type;
    if (entry.encoding) add_encoding(res, entry.encoding);
    if (rq->route->by_snapshot) add_snapshot(rq, res, entry.snapshot, entry.settled);
    return true;
}

static void note_lookup(struct http_server *s, bool hit) {
    rates_note_lookup(s->rates, hit);
    metric_add(hit ? M_http_cache_hits : M_http_cache_misses, 0, 1);
}

/* What the cache does not know may be there when a worker gets to it: many ask the same at once. */
static bool answer_from_cache(struct http_server *s, const struct http_request *rq, struct http_response *res) {
    if (rq->route->cache_seconds == 0) return false;
    bool hit = look_up(s, rq, res);
    if (hit || rq->route->where == HTTP_INLINE) note_lookup(s, hit);
    return hit;
}

static bool answer_from_cache_meanwhile(struct http_server *s, const struct http_request *rq,
                                        struct http_response *res) {
    if (rq->route->cache_seconds == 0) return false;
    bool hit = look_up(s, rq, res);
    note_lookup(s, hit);
    if (!hit) res->cache = "miss";
    return hit;
}

static void keep(struct http_server *s, const struct http_request *rq, const struct http_response *res) {
    enum { MISSING_NAMES_SECONDS = 30 };
    bool settled = res->names == QUERY_NAMES_KNOWN;
    int64_t seconds = rq->route->cache_seconds;
    if (seconds == 0 || res->status != 200 || res->fixed.n || res->names == QUERY_NAMES_PENDING) return;
    if (!settled && seconds > MISSING_NAMES_SECONDS) seconds = MISSING_NAMES_SECONDS;
    BL_CLEANUP(bl_buf_release) struct bl_buf key = {0};
    struct cache_entry entry = {.body = res->body,
                                .content_type = res->content_type,
                                .encoding = http_header_of(res, "Content-Encoding"),
                                .snapshot = res->snapshot,
                                .settled = settled};
    cache_key(rq, &key);
    cache_put(s->cache, bl_buf_view(&key), &entry, seconds);
}

/* ---- the way of a request ---- */

static void make_id(struct http_request *rq) {
    snprintf(rq->id, sizeof rq->id, "%016" PRIx64, bl_random_u64());
}

/* Errors are made in place of the answer, whoever finds them. */
static void complete(struct http_context *context, struct http_request *rq, struct http_response *res, enum bl_rc rc,
                     const struct bl_error *err) {
    if (rc == BL_OK) rc = bl_buf_check(&res->body, "the answer", NULL);
    if (rc != BL_OK) {
        http_refuse_error(res, rq, err);
        if (rc == BL_E_FULL) bl_log(BL_WARN, "request id=%s refused: %s", rq->id, err->message);
        bool busy = rc == BL_E_FULL || rc == BL_E_BUSY || rc == BL_E_CANCELLED;
        if (res->status == 500 || (res->status == 503 && !busy))
            bl_log(BL_ERROR_LEVEL, "request id=%s failed: %s", rq->id, err->message);
        return;
    }
    if (context->query && res->snapshot < 0) res->snapshot = query_snapshot(context->query);
    const char *encoding = encoding_of(rq);
    bool worthwhile =
        encoding && !res->fixed.n && res->body.n > COMPRESS_FROM && !http_header_of(res, "Content-Encoding");
    if (worthwhile && gzip_body(encoding, &res->body)) add_encoding(res, encoding);
    if (rq->route->by_snapshot && res->status == 200 && res->snapshot >= 0)
        add_snapshot(rq, res, res->snapshot, res->names == QUERY_NAMES_KNOWN);
    keep(context->server, rq, res);
}

static void answer_inline(struct http_server *s, struct http_request *rq, struct http_response *res) {
    struct http_context context = {.server = s};
    struct bl_error err = {0};
    enum bl_rc rc = rq->route->handle(&context, rq, res, &err);
    complete(&context, rq, res, rc, &err);
}

static bool method_allowed(const struct http_request *rq, struct http_response *res) {
    if (rq->method == HTTP_GET || rq->method == HTTP_HEAD) return true;
    http_refuse(res, 405, "method_not_allowed", NULL, "use GET",
                "nothing here can be changed: only GET and HEAD are answered");
    http_header(res, "Allow", "GET, HEAD, OPTIONS");
    return false;
}

/* What costs nothing is answered even then, so that whoever watches the server is not blind. */
static bool refuse_crowd(const struct http_request *rq, struct http_response *res) {
    http_header(res, "Connection", "close");
    if (rq->route->scope == HTTP_PUBLIC) return false;
    http_refuse(res, 503, "busy", NULL, "try again in a few seconds, with fewer connections",
                "more connections are open than the server allows");
    http_header(res, "Retry-After", "5");
    metric_add(M_http_refused, 0, 1);
    return true;
}

bool server_begin(struct http_server *s, struct http_request *rq, struct http_response *res) {
    rq->start_ns = s->clock->mono_ns(s->clock->context);
    res->arena = &rq->arena;
    res->body.max = HTTP_BODY_MAX;
    res->status = 200;
    res->snapshot = -1;
    res->cache = "-";
    res->content_type = "application/json";
    make_id(rq);
    add_common_headers(rq, res);
    add_cors_headers(s, rq, res);
    use_forwarded_address(s, rq);
    if (!http_route_request(rq, res)) return true;
    if (rq->method == HTTP_OPTIONS) {
        answer_options(res);
        return true;
    }
    if (rq->crowded && refuse_crowd(rq, res)) return true;
    if (!method_allowed(rq, res) || !within_address_limit(s, rq, res) || !may_ask(s, rq, res) ||
        !within_key_limit(s, rq, res) || !http_read_values(rq, res) ||
        answer_not_modified(rq, res, pool_snapshot(s->pool)) || answer_from_cache(s, rq, res))
        return true;
    if (rq->route->where != HTTP_INLINE) return false;
    answer_inline(s, rq, res);
    return true;
}

enum pool_weight server_weight(const struct http_request *rq) {
    if (rq->route->where == HTTP_LIGHT) return POOL_LIGHT;
    return rq->route->where == HTTP_LONG ? POOL_LONG : POOL_NORMAL;
}

uint64_t server_sameness(const struct http_server *s, const struct http_request *rq) {
    if (rq->route->cache_seconds == 0 || s->conf->serve_cache == 0) return 0;
    BL_CLEANUP(bl_buf_release) struct bl_buf key = {0};
    uint64_t h = 0;
    cache_key(rq, &key);
    for (size_t i = 0; i < key.n; i++) h = bl_mix64(h ^ (unsigned char)key.p[i]) + BL_GOLDEN;
    return h ? h : 1;
}

uint64_t server_client(const struct http_request *rq) {
    uint64_t h = 0;
    for (const char *c = rq->key_name; *c; c++) h = bl_mix64(h ^ (unsigned char)*c) + BL_GOLDEN;
    return *rq->key_name && !h ? 1 : h;
}

enum bl_rc server_work(struct http_context *context, struct http_request *rq, struct http_response *res) {
    struct bl_error err = {0};
    if (answer_from_cache_meanwhile(context->server, rq, res)) return BL_OK;
    enum bl_rc rc = rq->route->handle(context, rq, res, &err);
    if (!res->started) {
        complete(context, rq, res, rc, &err);
        return BL_OK;
    }
    if (rc == BL_OK) return BL_OK;
    bool clients_choice = rc == BL_E_CANCELLED;
    if (!clients_choice) metric_add(M_http_errors, 0, 1);
    bl_log(clients_choice ? BL_INFO : BL_WARN, "request id=%s broke off: %s", rq->id, err.message);
    return rc;
}

void server_refuse(struct http_server *s, struct http_response *res, enum pool_refusal why) {
    char reason[512];
    switch (why) {
    case POOL_FULL:
    case POOL_WAITED:
        http_refuse(res, 503, "busy", NULL, "try again in a few seconds", "all sessions were busy for too long");
        break;
    case POOL_OWN_SHARE:
        http_refuse(res, 429, "too_many_exports", NULL, "wait until one of your exports has ended, or end it",
                    "this key's exports take all the sessions that one key may");
        break;
    case POOL_NO_LAKE:
        pool_ready(s->pool, reason, sizeof reason);
        bl_log(BL_DEBUG, "not ready: %s", reason);
        http_refuse(res, 503, "not_ready", NULL, "wait until something was collected: bluelake up",
                    "there is no lake to look into yet");
        break;
    case POOL_STOPPING:
        http_refuse(res, 503, "stopping", NULL, "try again in a few seconds", "the server is stopping");
        break;
    }
    http_header(res, "Retry-After", "2");
    metric_add(M_http_refused, 0, 1);
}

/* ---- the end of a request ---- */

/* Names of what was given, not the values: those are the user's. */
static void name_parameters(const struct http_request *rq, char *out, size_t size) {
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < rq->value_count && n < size - 1; i++) {
        int wrote = snprintf(out + n, size - n, "%s%s", i ? "," : "", rq->values[i].parameter->name);
        if (wrote < 0) return;
        n += (size_t)wrote;
    }
}

void server_end(struct http_server *s, const struct http_request *rq, const struct http_response *res, int64_t bytes,
                bool whole) {
    int64_t took_ns = s->clock->mono_ns(s->clock->context) - rq->start_ns;
    char given[256];
    name_parameters(rq, given, sizeof given);
    bool asked_for_state = rq->route && rq->route->scope == HTTP_PUBLIC; /* /ready answers 503 by right */
    bool error = res->status >= 500 && !asked_for_state;
    metric_add(M_http_requests, 0, 1);
    if (error) metric_add(M_http_errors, 0, 1);
    metric_observe(M_http_seconds, (double)took_ns / 1e9);
    rates_note(s->rates, took_ns, error);
    bl_log(BL_INFO, "request id=%s path=%s given=%s status=%u bytes=%" PRId64 " ms=%.1f cache=%s key=%s%s", rq->id,
           rq->route ? rq->route->path : "?", *given ? given : "-", res->status, bytes, (double)took_ns / 1e6,
           res->cache, *rq->key_name ? rq->key_name : "-", whole ? "" : " broken");
}
