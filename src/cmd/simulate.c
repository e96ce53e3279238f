#include <inttypes.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "net/url.h"
#include "obs/log.h"
#include "pipe/role.h"
#include "sim/server.h"

static const char *listen_at, *rate_text, *from_file, *misbehave, *dictionary, *tls_cert, *tls_key;
static int64_t seed = 1, count, start_us, network_rate, lookback_us, status_fd = -1, from_event, batch, seq_start,
               ping_us, began_us;
static bool ndjson, live, v2;

static const struct cmd_option options[] = {
    {"ndjson", OPT_FLAG, &ndjson, NULL, "print the events, one a line, instead of serving them", 0, 0},
    {"listen", OPT_TEXT, &listen_at, "ADDR:PORT", "serve as a Jetstream; port 0 = any free one", 0, 0},
    {"seed", OPT_INT, &seed, "N", "which network (default 1): the same seed gives the same events", 0, INT64_MAX},
    {"count", OPT_INT, &count, "N", "how many events (default: without end; --ndjson: 1,000)", 0, INT64_MAX},
    {"first", OPT_INT, &from_event, "N", "with --ndjson: number of the first event (default 0)", 0, INT64_MAX},
    {"rate", OPT_TEXT, &rate_text, "N|max", "delivery, events a second, or as fast as they are read (default max)", 0,
     0},
    {"network-rate", OPT_INT, &network_rate, "N", "events a second of the time stamps (default 300)", 1, 1000000},
    {"batch", OPT_INT, &batch, "N", "so many neighbours share one time stamp, as on v2 hosts (default: none)", 0,
     1000000},
    {"v2", OPT_FLAG, &v2, NULL,
     "be a host of the v2 family: also network.bsky.jetstream.subscribeEvents, and `cursor` in v1 events", 0, 0},
    {"seq-start", OPT_INT, &seq_start, "N", "with --v2: sequence number of event 0 (default 1)", 1, 100000000000000},
    {"start", OPT_TIME, &start_us, "TIME", "time stamp of event 0 (default 2026-01-05)", 0, 0},
    {"began", OPT_TIME, &began_us, "TIME",
     "with --rate: when event 0 came into existence (default: now); a server that is started again then goes on", 0, 0},
    {"live", OPT_FLAG, &live, NULL,
     "an event can be read once its time stamp has come; --rate then sets the time stamps", 0, 0},
    {"from", OPT_TEXT, &from_file, "FILE.ndjson", "serve the events of this file instead, in its order", 0, 0},
    {"lookback", OPT_DURATION, &lookback_us, "DURATION", "how far back cursors reach (default 24h)", 0, 0},
    {"ping", OPT_DURATION, &ping_us, "DURATION", "time between two pings (default 30s)", 0, 0},
    {"dictionary", OPT_TEXT, &dictionary, "FILE", "zstd dictionary for compress=true and zstdDictionary=N", 0, 0},
    {"tls-cert", OPT_TEXT, &tls_cert, "FILE", "serve wss with this certificate (PEM)", 0, 0},
    {"tls-key", OPT_TEXT, &tls_key, "FILE", "and this key (PEM)", 0, 0},
    {"misbehave", OPT_TEXT, &misbehave, "LIST", "break the protocol on purpose; \"help\" lists how", 0, 0},
    {"status-fd", OPT_INT, &status_fd, "N", "write a status line a second to this descriptor (used by `up`)", 0,
     1 << 20},
    CMD_END};
static const struct cmd_spec spec = {
    "simulate", "", "a synthetic Bluesky network and its Jetstream server",
    "Event i of a seed is always the same, so that what was collected can be compared with the truth (bluelake verify\n"
    "--against-simulator).\n\n"
    "Examples:\n"
    "  bluelake simulate --ndjson --count 1000000 > events.ndjson\n"
    "  bluelake simulate --listen 127.0.0.1:6008 --live\n"
    "  bluelake simulate --listen 127.0.0.1:6008 --from events.ndjson --misbehave cut-every=1000\n",
    options};

static int print_events(const struct sim_options *network) {
    enum { WRITE_AT = 1 << 20 };
    struct sim *sim = sim_new(network);
    struct bl_buf out = {0};
    uint64_t end = (uint64_t)from_event + (uint64_t)(count ? count : 1000);
    for (uint64_t i = (uint64_t)from_event; i < end && !ferror(stdout); i++) {
        sim_event(sim, i, &out);
        bl_buf_byte(&out, '\n');
        if (out.n < WRITE_AT && i + 1 < end) continue;
        fwrite(out.p, 1, out.n, stdout);
        bl_buf_clear(&out);
    }
    bl_buf_release(&out);
    sim_free(&sim);
    return cmd_finish_output(spec.name);
}

static enum bl_rc serve(const struct sim_options *network, double rate, struct bl_error *err) {
    char address[64];
    struct sim_server_options o = {.address = address,
                                   .network = *network,
                                   .count = (uint64_t)count,
                                   .rate = live ? 0 : rate,
                                   .live = live,
                                   .began_us = began_us,
                                   .from_file = from_file,
                                   .lookback_us = lookback_us,
                                   .ping_ms = (int)(ping_us / 1000),
                                   .dictionary_file = dictionary,
                                   .misbehave = misbehave,
                                   .v2 = v2,
                                   .seq_start = (uint64_t)seq_start,
                                   .tls_cert_file = tls_cert,
                                   .tls_key_file = tls_key};
    BL_TRY(url_parse_listen(bl_str(listen_at), address, &o.port, err));
    struct role role;
    BL_TRY(role_open(&role, (int)status_fd, err));
    role_handle_signals(&role);
    struct sim_server *server = NULL;
    enum bl_rc rc = sim_server_start(&o, &server, err);
    if (rc == BL_OK) {
        printf("listening on ws%s://%s:%d/subscribe\n", tls_cert ? "s" : "", address, sim_server_port(server));
        fflush(stdout);
        while (!role_stopping(&role)) {
            struct sim_server_stats s;
            sim_server_get_stats(server, &s);
            if (role_report_due(&role))
                role_report(&role, "events=%" PRIu64 " clients=%" PRIu64, s.events_sent, s.clients_now);
            role_pause(&role, 1000000);
        }
        sim_server_stop(&server);
    }
    role_close(&role);
    return rc;
}

static int bad_rate(void) {
    return cmd_usage_error(spec.name, "--rate: \"%s\" is neither a number of events a second nor max", rate_text);
}

int cmd_simulate(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    if (misbehave && strcmp(misbehave, "help") == 0) {
        fputs(sim_misbehaviour_help(), stdout);
        return cmd_finish_output(spec.name);
    }
    if (ndjson == (listen_at != NULL)) return cmd_usage_error(spec.name, "say either --ndjson or --listen ADDR:PORT");
    int64_t rate = 0;
    if (rate_text && strcmp(rate_text, "max") != 0 && !bl_parse_i64(bl_str(rate_text), 1, 100000000, &rate))
        return bad_rate();
    struct sim_options network = {.seed = (uint64_t)seed,
                                  .start_us = start_us,
                                  .rate = (double)(live && rate ? rate : network_rate),
                                  .batch = (uint64_t)batch};
    if (ndjson) return print_events(&network);
    bl_log_setup(spec.name, BL_INFO, false);
    struct bl_error err = {0};
    return serve(&network, (double)rate, &err) == BL_OK ? 0 : cmd_fail(spec.name, &err);
}
