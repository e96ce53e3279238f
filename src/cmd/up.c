#include "pipe/up.h"

#include "cmd/commands.h"
#include "cmd/common.h"

static struct cmd_conf settings;
static const char *source = "auto", *rate, *http;
static struct cmd_list collections;
static int64_t for_us, seed = 1, count;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"source", OPT_TEXT, &source, "auto|simulated|URL",
     "auto: the public Jetstream, or the simulated network where it cannot be reached", 0, 0},
    {"collections", OPT_LIST, &collections, "all|LIST", "types (posts,likes) or NSIDs to collect (default: all)", 0, 0},
    {"http", OPT_TEXT, &http, "ADDR:PORT|none", "the API and the page (default 127.0.0.1:8080); port 0 = any free one",
     0, 0},
    {"for", OPT_DURATION, &for_us, "DURATION", "stop after so long: 90s, 5m, 8h", 0, 0},
    {"rate", OPT_TEXT, &rate, "N|max", "simulated network: events a second (default 300), or as fast as they are taken",
     0, 0},
    {"seed", OPT_INT, &seed, "N", "simulated network: which one (default 1)", 0, INT64_MAX},
    {"count", OPT_INT, &count, "N", "simulated network: how many events (default: without end)", 0, INT64_MAX},
    CMD_END};
static const struct cmd_spec spec = {"up", "",
                                     "collect and serve: ingest, writer, a private Redis and the API, supervised",
                                     "Connects to the public Jetstream, keeps every event in DIR and shows how it "
                                     "goes. A role that dies is started again; Ctrl-C or\n"
                                     "SIGTERM stops everything in order, with nothing lost. Simulated events go to a "
                                     "lake of their own, DIR-simulated.\n\n"
                                     "Examples:\n"
                                     "  bluelake up                                   collect everything into ./data\n"
                                     "  bluelake up --collections posts,likes --for 8h\n"
                                     "  bluelake up --source wss://jetstream2.us-west.bsky.network\n"
                                     "  bluelake up --source simulated --rate 2000    no network needed\n",
                                     options};

int cmd_up(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    struct bl_error err = {0};
    struct role role;
    if (cmd_conf_load(&settings, "up", &err) != BL_OK) return cmd_fail(spec.name, &err);
    /* People want to see something soon; who runs for months sets write.interval. */
    bool interval_given = settings.conf.write_interval != 300000000;
    if (!interval_given)
        BL_IGNORE(conf_set(&settings.conf, BL_LIT("write.interval"), BL_LIT("10s"), NULL)); /* in range */
    BL_CLEANUP(bl_buf_release) struct bl_buf wanted = {0};
    for (size_t i = 0; i < collections.count; i++) bl_buf_printf(&wanted, "%s%s", i ? "," : "", collections.items[i]);
    if (wanted.n && conf_set(&settings.conf, BL_LIT("source.collections"), bl_buf_view(&wanted), &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    if (role_open(&role, -1, &err) != BL_OK) return cmd_fail(spec.name, &err);
    role_handle_signals(&role);
    struct up_options o = {.conf = &settings.conf,
                           .config_file = settings.config_file,
                           .sets = settings.sets.items,
                           .set_count = settings.sets.count,
                           .source = source,
                           .for_us = for_us,
                           .rate = rate,
                           .seed = seed,
                           .count = count,
                           .http = http,
                           .executable = "/proc/self/exe"};
    rc = up_run(&o, &role, &err) == BL_OK ? 0 : cmd_fail(spec.name, &err);
    role_close(&role);
    conf_release(&settings.conf);
    return rc;
}
