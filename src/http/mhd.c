/* One thread with epoll holds all connections. A request that needs a worker suspends its connection; the worker
 * resumes it when the answer, or the first piece of a long one, is there. An exchange is shared by the connection, the
 * worker and the response being sent, and ends with the last of them. */
#include "http/mhd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "http/ring.h"
#include "http/server.h"
#include "net/url.h"
#include "obs/log.h"
#include "obs/metrics.h"

enum {
    CONNECTION_MEMORY = 48 << 10, /* bounds request line and headers */
    RING_BYTES = 1 << 20,
    PIECE_BYTES = 64 << 10,
    REQUEST_MEMORY = 1 << 20, /* of the arena */
    SPARE_FILES = 256,
    BACKLOG = 1024,
    SPARE_CONNECTIONS = 64, /* beyond the limit, to be told so */
    LINGER_MS = 3000,       /* for what is being answered when the server stops */
};

struct mhd {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    atomic_int exchanges;
    unsigned connections, connections_max; /* of the network thread */
    int port;
};

enum phase { ARRIVING, ARRIVED, WORKING, ANSWERED, STREAMING, SENT };
struct exchange {
    struct pool_job job;
    struct mhd *mhd;
    struct MHD_Connection *connection;
    atomic_int references;
    enum phase phase; /* of whoever owns the exchange at the time */
    struct http_request rq;
    struct http_response res;
    struct http_sink sink;
    struct ring *ring;
    int64_t bytes;
    char target[];
};

/* ---- the exchange ---- */

static void unref(struct exchange *ex) {
    if (atomic_fetch_sub(&ex->references, 1) > 1) return;
    atomic_fetch_sub(&ex->mhd->exchanges, 1);
    ring_free(&ex->ring);
    http_response_release(&ex->res);
    http_request_release(&ex->rq);
    free(ex);
}

static struct exchange *ref(struct exchange *ex) {
    atomic_fetch_add(&ex->references, 1);
    return ex;
}

static void *on_request_line(void *context, const char *uri, struct MHD_Connection *connection) {
    struct mhd *m = context;
    size_t n = strlen(uri);
    struct exchange *ex = bl_xcalloc(1, sizeof *ex + n + 1);
    memcpy(ex->target, uri, n);
    ex->mhd = m;
    ex->connection = connection;
    ex->rq.arena.max = REQUEST_MEMORY;
    ex->rq.target = bl_strn(ex->target, n);
    atomic_init(&ex->references, 1);
    atomic_fetch_add(&m->exchanges, 1);
    return ex;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how) {
    (void)connection;
    struct mhd *m = context;
    struct exchange *ex = *state;
    if (!ex) return;
    *state = NULL;
    atomic_store(&ex->rq.gone, true);
    if (ex->phase == SENT)
        server_end(m->server, &ex->rq, &ex->res, ex->bytes, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    unref(ex);
}

/* ---- what came ---- */

static struct bl_str header(struct MHD_Connection *connection, const char *name) {
    return bl_str(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name));
}

static enum http_method method_of(const char *method) {
    if (strcmp(method, "GET") == 0) return HTTP_GET;
    if (strcmp(method, "HEAD") == 0) return HTTP_HEAD;
    return strcmp(method, "OPTIONS") == 0 ? HTTP_OPTIONS : HTTP_OTHER;
}

static void read_address(struct exchange *ex) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(ex->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info ? info->client_addr : NULL;
    const void *bytes = NULL;
    if (peer && peer->sa_family == AF_INET) bytes = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    if (peer && peer->sa_family == AF_INET6) bytes = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    if (!bytes || !inet_ntop(peer->sa_family, bytes, ex->rq.address, sizeof ex->rq.address))
        snprintf(ex->rq.address, sizeof ex->rq.address, "?");
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what) {
    struct mhd *m = context;
    (void)connection, (void)state;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        m->connections++;
    else
        m->connections--;
}

static void read_head(struct exchange *ex, const char *method) {
    struct http_request *rq = &ex->rq;
    rq->method = method_of(method);
    rq->authorization = header(ex->connection, "Authorization");
    rq->api_key = header(ex->connection, "X-API-Key");
    rq->origin = header(ex->connection, "Origin");
    rq->accept_encoding = header(ex->connection, "Accept-Encoding");
    rq->if_none_match = header(ex->connection, "If-None-Match");
    rq->forwarded_for = header(ex->connection, "X-Forwarded-For");
    rq->crowded = ex->mhd->connections > ex->mhd->connections_max;
    read_address(ex);
}

static int socket_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* ---- what goes ---- */

static void sleep_connection(void *context) {
    MHD_suspend_connection(((struct exchange *)context)->connection);
}
static void wake_connection(void *context) {
    MHD_resume_connection(((struct exchange *)context)->connection);
}

/* A client that takes nothing would keep its connection until the idle time is over. The descriptor is still this
 * connection's: before it closes, libmicrohttpd calls end_stream, which waits for the ring. */
static void drop_connection(void *context) {
    shutdown(((struct exchange *)context)->job.fd, SHUT_RDWR);
}

static enum bl_rc start_stream(void *context, struct bl_error *err) {
    struct exchange *ex = context;
    if (atomic_load(&ex->rq.gone)) return bl_fail(err, BL_E_CANCELLED, "the client hung up");
    struct ring_reader reader = {sleep_connection, wake_connection, drop_connection, ex};
    ex->ring = ring_new(RING_BYTES, &reader);
    ex->phase = STREAMING;
    MHD_resume_connection(ex->connection);
    return BL_OK;
}

static enum bl_rc write_stream(void *context, struct bl_str bytes, struct bl_error *err) {
    struct exchange *ex = context;
    return ring_write(ex->ring, bytes, ex->mhd->server->conf->serve_stall, err);
}

static void add_trailers(struct exchange *ex, struct MHD_Response *response) {
    for (size_t i = 0; i < ex->res.trailer_count; i++)
        MHD_add_response_footer(response, ex->res.trailers[i].name, ex->res.trailers[i].value);
}

struct stream { /* what the response being sent holds */
    struct exchange *ex;
    struct MHD_Response *response;
};

static ssize_t read_stream(void *context, uint64_t position, char *to, size_t max) {
    (void)position;
    struct stream *stream = context;
    struct exchange *ex = stream->ex;
    size_t n = 0;
    switch (ring_read(ex->ring, to, max, &n)) {
    case RING_DATA:
        ex->bytes += (int64_t)n;
        return (ssize_t)n;
    case RING_LATER:
        return 0;
    case RING_END:
        add_trailers(ex, stream->response);
        return MHD_CONTENT_READER_END_OF_STREAM;
    case RING_BROKEN:
        break;
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void end_stream(void *context) {
    struct stream *stream = context;
    ring_close(stream->ex->ring);
    unref(stream->ex);
    free(stream);
}

static void end_body(void *context) {
    unref(context);
}

static struct MHD_Response *stream_response(struct exchange *ex) {
    struct stream *stream = bl_xcalloc(1, sizeof *stream);
    stream->ex = ref(ex);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, read_stream, stream, end_stream);
    if (response)
        stream->response = response;
    else
        end_stream(stream);
    return response;
}

static struct MHD_Response *body_response(struct exchange *ex) {
    struct bl_str body = http_body(&ex->res);
    ex->bytes = (int64_t)body.n;
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(body.n, (void *)body.p, end_body, ref(ex));
    if (!response) unref(ex);
    return response;
}

static enum MHD_Result send_response(struct exchange *ex) {
    struct http_response *res = &ex->res;
    bool has_body = res->status != 204 && res->status != 304;
    struct MHD_Response *response = ex->phase == STREAMING ? stream_response(ex) : body_response(ex);
    if (!response) return MHD_NO;
    ex->phase = SENT;
    for (size_t i = 0; i < res->header_count; i++)
        MHD_add_response_header(response, res->headers[i].name, res->headers[i].value);
    if (has_body) MHD_add_response_header(response, "Content-Type", res->content_type);
    enum MHD_Result result = MHD_queue_response(ex->connection, res->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- workers ---- */

static void answered(struct exchange *ex) {
    ex->phase = ANSWERED;
    MHD_resume_connection(ex->connection);
}

static void run_job(struct pool_job *job, struct http_context *context) {
    struct exchange *ex = (struct exchange *)job;
    enum bl_rc rc = server_work(context, &ex->rq, &ex->res);
    if (ex->ring)
        ring_finish(ex->ring, rc == BL_OK);
    else
        answered(ex);
}

static void refuse_job(struct pool_job *job, enum pool_refusal why) {
    struct exchange *ex = (struct exchange *)job;
    server_refuse(ex->mhd->server, &ex->res, why);
    answered(ex);
}

static void release_job(struct pool_job *job) {
    unref((struct exchange *)job);
}

/* Suspended first: the worker may be done before this returns. */
static void hand_to_worker(struct exchange *ex) {
    ex->job = (struct pool_job){.weight = server_weight(&ex->rq),
                                .fd = socket_of(ex->connection),
                                .gone = &ex->rq.gone,
                                .client = server_client(&ex->rq),
                                .same = server_sameness(ex->mhd->server, &ex->rq),
                                .run = run_job,
                                .refuse = refuse_job,
                                .release = release_job};
    ex->sink = (struct http_sink){.start = start_stream, .write = write_stream, .context = ex};
    ex->res.sink = &ex->sink;
    ex->phase = WORKING;
    MHD_suspend_connection(ex->connection);
    pool_submit(ex->mhd->server->pool, &ref(ex)->job);
}

static enum MHD_Result begin(struct exchange *ex, const char *method) {
    read_head(ex, method);
    if (server_begin(ex->mhd->server, &ex->rq, &ex->res)) return send_response(ex);
    hand_to_worker(ex);
    return MHD_YES;
}

/* Called for the head, for pieces of a body (which means nothing here), when all has come, and when resumed. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state) {
    (void)context, (void)connection, (void)url, (void)version, (void)upload;
    struct exchange *ex = *state;
    if (ex->phase == ARRIVING) {
        ex->phase = ARRIVED;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (ex->phase == ARRIVED) return begin(ex, method);
    return ex->phase == ANSWERED || ex->phase == STREAMING ? send_response(ex) : MHD_YES;
}

/* ---- life ---- */

/* Each connection is a file; the soft limit is often 1024. Where the hard limit is too low as well, fewer are allowed.
 */
static unsigned allow_connections(int64_t wanted) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return (unsigned)wanted;
    rlim_t need = (rlim_t)wanted + SPARE_CONNECTIONS + SPARE_FILES;
    if (files.rlim_cur < need) {
        files.rlim_cur = files.rlim_max < need ? files.rlim_max : need;
        if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= need) return (unsigned)wanted;
        rlim_t spare = SPARE_FILES + SPARE_CONNECTIONS;
        int64_t possible = files.rlim_cur > 2 * spare ? (int64_t)(files.rlim_cur - spare) : SPARE_FILES;
        bl_log(BL_WARN, "connections=%" PRId64 " instead of %" PRId64 ": raise the limit of open files (ulimit -Hn)",
               possible, wanted);
        wanted = possible;
    }
    return (unsigned)wanted;
}

struct listening {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } address;
    unsigned flags;
};

static enum bl_rc read_listen(const char *text, struct listening *out, struct bl_error *err) {
    char host[64];
    int port;
    *out = (struct listening){0};
    BL_TRY(url_parse_listen(bl_str(text), host, &port, err));
    if (inet_pton(AF_INET6, host, &out->address.six.sin6_addr) == 1) {
        out->address.six.sin6_family = AF_INET6;
        out->address.six.sin6_port = htons((uint16_t)port);
        out->flags = MHD_USE_IPv6;
        return BL_OK;
    }
    out->address.four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &out->address.four.sin_addr) == 1) return BL_OK;
    return bl_fail(err, BL_E_USAGE, "serve.http: \"%s\" is not an address to listen on", host);
}

enum bl_rc mhd_start(struct http_server *s, struct mhd **out, struct bl_error *err) {
    struct listening listening;
    BL_TRY(read_listen(s->conf->serve_http, &listening, err));
    struct mhd *m = bl_xcalloc(1, sizeof *m);
    m->server = s;
    m->connections_max = allow_connections(s->conf->serve_connections);
    m->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | listening.flags, 0, NULL, NULL, on_request, m,
        MHD_OPTION_SOCK_ADDR, &listening.address.any, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, m,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, m, MHD_OPTION_NOTIFY_CONNECTION, on_connection, m,
        MHD_OPTION_CONNECTION_LIMIT, m->connections_max + SPARE_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)s->conf->serve_connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(s->conf->serve_idle / 1000000), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)BACKLOG, MHD_OPTION_END);
    if (!m->daemon) {
        int saved = errno;
        free(m);
        errno = saved;
        return bl_fail_errno(err, BL_E_USAGE, "cannot listen on %s (choose another port, 0 for any)",
                             s->conf->serve_http);
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_BIND_PORT);
    m->port = info ? info->port : 0;
    *out = m;
    return BL_OK;
}

int mhd_port(const struct mhd *m) {
    return m->port;
}

static void linger(struct mhd *m) {
    for (int waited = 0; waited < LINGER_MS && atomic_load(&m->exchanges); waited += 10)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

void mhd_quiesce(struct mhd *m) {
    int listening = MHD_quiesce_daemon(m->daemon);
    if (listening >= 0) close(listening);
    linger(m);
}

void mhd_stop(struct mhd **mhd) {
    struct mhd *m = *mhd;
    if (!m) return;
    linger(m);
    MHD_stop_daemon(m->daemon);
    free(m);
    *mhd = NULL;
}
