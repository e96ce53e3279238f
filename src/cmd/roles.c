/* ingest and write: the two roles as commands of their own. */
#include <pthread.h>

#include "cmd/commands.h"
#include "cmd/common.h"
#include "obs/log.h"
#include "pipe/ingest.h"
#include "pipe/write.h"

static struct cmd_conf settings;
static int64_t status_fd = -1, for_us;

static const struct cmd_option options[] = {CMD_CONF_OPTIONS(settings),
                                            {"for", OPT_DURATION, &for_us, "DURATION", "stop after so long", 0, 0},
                                            {"status-fd", OPT_INT, &status_fd, "N",
                                             "write a status line a second to this descriptor (used by `up`)", 0,
                                             1 << 20},
                                            CMD_END};

static const struct cmd_spec ingest_spec = {
    "ingest", "", "Jetstream -> Redis",
    "Reads the stream for ever, checks every event and appends it to Redis Streams (firehose:<type>:queue) within a "
    "second, together with\n"
    "the position to resume from. /health, /ready and /metrics on ingest.http (127.0.0.1:8001).\n\n"
    "Example:\n  bluelake ingest --set redis.host=10.0.0.10 --set source.collections=posts\n",
    options};
static const struct cmd_spec write_spec = {
    "write", "", "Redis -> Parquet lake",
    "Drains the queues continuously, writes Parquet files and one catalogue transaction a batch, and only then removes "
    "the events from Redis.\n"
    "A batch closes after write.interval (5m), write.batch_rows or write.memory. /health, /ready and /metrics on "
    "write.http (127.0.0.1:8000).\n\n"
    "Example:\n  bluelake write --data /data/parquet --set write.interval=1m\n",
    options};

struct deadline {
    struct role *role;
    int64_t for_us;
};

static void *stop_later(void *context) {
    struct deadline *d = context;
    int64_t until = bl_mono_ns() + d->for_us * 1000;
    while (!role_stopping(d->role) && bl_mono_ns() < until) role_pause(d->role, 200000);
    role_stop(d->role);
    return NULL;
}

typedef enum bl_rc (*role_fn)(const struct conf *conf, struct role *role, struct bl_error *err);

static int run_role(const struct cmd_spec *spec, role_fn run, int argc, char **argv) {
    int first, rc = cmd_parse(spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec->name, "unexpected \"%s\"", argv[first]);
    struct bl_error err = {0};
    struct role role;
    if (cmd_conf_load(&settings, spec->name, &err) != BL_OK || role_open(&role, (int)status_fd, &err) != BL_OK)
        return cmd_fail(spec->name, &err);
    role_handle_signals(&role);
    struct deadline deadline = {&role, for_us};
    pthread_t thread;
    bool timed = for_us > 0 && pthread_create(&thread, NULL, stop_later, &deadline) == 0;
    rc = run(&settings.conf, &role, &err) == BL_OK ? 0 : cmd_fail(spec->name, &err);
    if (timed) {
        role_stop(&role);
        pthread_join(thread, NULL);
    }
    role_close(&role);
    conf_release(&settings.conf);
    return rc;
}

int cmd_ingest(int argc, char **argv) { return run_role(&ingest_spec, ingest_run, argc, argv); }
int cmd_write(int argc, char **argv) { return run_role(&write_spec, write_run, argc, argv); }
