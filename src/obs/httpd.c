#include "obs/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "obs/metrics.h"

enum { BODY_MAX = 1 << 20, CONNECTIONS_MAX = 32, CONNECTION_TIMEOUT_S = 10 };

struct obs_httpd {
    struct obs_httpd_options options;
    struct MHD_Daemon *daemon;
    pthread_t ticker;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool ticking, stopping;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               struct bl_buf *body) {
    struct MHD_Response *response = MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state) {
    (void)version, (void)upload, (void)upload_size, (void)state;
    struct obs_httpd *h = context;
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {.max = BODY_MAX};
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        bl_buf_z(&body, "{\"error\":\"only GET is answered here\"}\n");
        return respond(connection, 405, "application/json", &body);
    }
    if (strcmp(url, "/metrics") == 0) {
        if (h->options.refresh) h->options.refresh(h->options.context);
        metrics_expose(h->options.roles, &body);
        return respond(connection, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    }
    bool ready = strcmp(url, "/ready") == 0;
    if (ready || strcmp(url, "/health") == 0) {
        int status = h->options.health(h->options.context, ready, &body);
        bl_buf_byte(&body, '\n');
        return respond(connection, (unsigned)status, "application/json", &body);
    }
    bl_buf_z(&body, "{\"error\":\"no such page\",\"pages\":[\"/health\",\"/ready\",\"/metrics\"]}\n");
    return respond(connection, 404, "application/json", &body);
}

/* ---- the ticker ---- */

static void *tick_on(void *context) {
    struct obs_httpd *h = context;
    pthread_mutex_lock(&h->mutex);
    while (!h->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        while (!h->stopping && pthread_cond_timedwait(&h->changed, &h->mutex, &until) == 0) {
        }
        if (h->stopping) break;
        pthread_mutex_unlock(&h->mutex);
        h->options.tick(h->options.context);
        pthread_mutex_lock(&h->mutex);
    }
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

static void start_ticking(struct obs_httpd *h) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    h->ticking = h->options.tick && pthread_create(&h->ticker, NULL, tick_on, h) == 0;
}

static void stop_ticking(struct obs_httpd *h) {
    pthread_mutex_lock(&h->mutex);
    h->stopping = true;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    if (h->ticking) pthread_join(h->ticker, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->mutex);
}

/* ---- start and stop ---- */

enum bl_rc obs_httpd_start(const struct obs_httpd_options *o, struct obs_httpd **out, struct bl_error *err) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (inet_pton(AF_INET, o->address, &address.sin_addr) != 1)
        return bl_fail(err, BL_E_USAGE, "\"%s\" is not an IPv4 address to listen on", o->address);
    struct obs_httpd *h = bl_xcalloc(1, sizeof *h);
    h->options = *o;
    h->daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, answer, h, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, MHD_OPTION_END);
    if (!h->daemon) {
        int saved = errno;
        free(h);
        errno = saved;
        return bl_fail_errno(err, BL_E_USAGE, "cannot listen on %s:%d (choose another port, 0 for any)", o->address,
                             o->port);
    }
    start_ticking(h);
    *out = h;
    return BL_OK;
}

int obs_httpd_port(const struct obs_httpd *h) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void obs_httpd_stop(struct obs_httpd **h) {
    if (!*h) return;
    stop_ticking(*h);
    MHD_stop_daemon((*h)->daemon);
    free(*h);
    *h = NULL;
}
