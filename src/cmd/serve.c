/* bluelake serve: the API and the page. */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "cmd/common.h"
#include "http/http.h"
#include "obs/log.h"
#include "pipe/role.h"

static struct cmd_conf settings;
static const char *http;
static int64_t status_fd = -1, for_us;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"http", OPT_TEXT, &http, "ADDR:PORT", "where to listen (default 127.0.0.1:8080); port 0 = any free one", 0, 0},
    {"for", OPT_DURATION, &for_us, "DURATION", "stop after so long", 0, 0},
    {"status-fd", OPT_INT, &status_fd, "N", "write a status line a second to this descriptor (used by `up`)", 0,
     1 << 20},
    CMD_END};
static const struct cmd_spec spec = {
    "serve", "", "search, export and figures over HTTP, and the Post Explorer",
    "Answers from the lake in DIR, which another bluelake may be writing to: what was written can be found within "
    "seconds.\n"
    "/docs is the guide to the API, /openapi.json the same for programs; docs/API.md has examples.\n"
    "On an address other than 127.x or [::1] API keys are needed: bluelake key add NAME.\n\n"
    "Examples:\n"
    "  bluelake serve --data data\n"
    "  bluelake serve --http 0.0.0.0:8080 --set serve.row_limit=0 --set "
    "serve.cors_origins=https://explorer.example.com\n",
    options};

static void report(struct http_server *server, struct role *role) {
    struct http_numbers n;
    if (!role_report_due(role)) return;
    http_get_numbers(server, &n);
    role_report(role, "state=%s port=%d requests=%" PRId64 " errors=%" PRId64, n.ready ? "ready" : "waiting",
                http_port(server), n.requests, n.errors);
}

static enum bl_rc run(struct role *role, struct bl_error *err) {
    struct http_server *server = NULL;
    int64_t end_ns = for_us ? bl_mono_ns() + for_us * 1000 : INT64_MAX;
    if (http) BL_TRY(conf_set(&settings.conf, BL_LIT("serve.http"), bl_str(http), err));
    BL_TRY(http_start(&settings.conf, &server, err));
    const char *listen = settings.conf.serve_http, *colon = strrchr(listen, ':'); /* "[::1]:8080" has several */
    printf("bluelake: http://%.*s:%d\n", (int)(colon - listen), listen, http_port(server));
    fflush(stdout);
    while (!role_stopping(role) && bl_mono_ns() < end_ns) {
        report(server, role);
        role_pause(role, 250000);
    }
    bl_log(BL_INFO, "stopping");
    http_stop(&server);
    return BL_OK;
}

int cmd_serve(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    struct bl_error err = {0};
    struct role role;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || role_open(&role, (int)status_fd, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    role_handle_signals(&role);
    rc = run(&role, &err) == BL_OK ? 0 : cmd_fail(spec.name, &err);
    role_close(&role);
    conf_release(&settings.conf);
    return rc;
}
