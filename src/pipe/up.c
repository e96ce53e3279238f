#include "pipe/up.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "obs/log.h"
#include "pipe/aof.h"
#include "pipe/process.h"
#include "pipe/public_api.h"
#include "source/source.h"

enum {
    REACH_TIMEOUT_MS = 5000,
    TICK_US = 200000,
    PLAIN_LINE_EVERY_US = 10000000, /* status lines when the output is no terminal */
    PAUSE_MAX_NS = 2000000000,
    SETTLED_US = 30000000, /* running so long, a child's next restart starts with the shortest pause again */
    REDIS_READY_US = 60000000,
    STOP_INGEST_US = 40000000,
    STOP_WRITER_US = 120000000,
    STOP_REDIS_US = 60000000,
    STOP_SERVE_US = 10000000,
    STOP_SIMULATOR_US = 5000000,
    STOP_COMPACTOR_US = 1000000, /* it may be stopped at any point */
    COMPACT_EVERY_S = 600,
    STATE_MAX = 4096,
};

struct up {
    const struct up_options *options;
    struct role *role;
    bool simulated, terminal;
    char *data;        /* the lake's folder, made absolute */
    char *socket_path; /* of the private Redis */
    int lock_fd;
    struct process redis, simulator, ingest, writer, compactor, serve;
    bool serve_shown; /* its address was printed */
    int64_t compact_at_ns;
    int simulator_port;
    int64_t simulated_start_us;
    int64_t last_line_ns, last_rate_ns;
    double last_received, rate;
    /* Totals of children that ended, so that the line goes on counting. */
    double base_received, base_written, base_gaps, base_bytes, base_duplicates, base_dead;
};

/* ---- choosing the source ---- */

static enum bl_rc choose_source(struct up *u, struct bl_error *err) {
    const struct up_options *o = u->options;
    struct conf *conf = o->conf;
    if (strcmp(o->source, "simulated") == 0) {
        u->simulated = true;
    } else if (strcmp(o->source, "auto") != 0) {
        return conf_set(conf, BL_LIT("source.urls"), bl_str(o->source), err);
    } else {
        struct bl_error why = {0};
        printf("bluelake: looking for %s ...\n", conf->source_urls.count ? conf->source_urls.items[0] : "a Jetstream");
        fflush(stdout);
        if (!source_reachable((const char *const *)conf->source_urls.items, conf->source_urls.count, REACH_TIMEOUT_MS,
                              &why)) {
            u->simulated = true;
            printf("bluelake: no Jetstream can be reached (%s).\n"
                   "bluelake: collecting from the built-in simulated network instead, into a lake of its own.\n",
                   why.message);
        }
    }
    return BL_OK;
}

/* Simulated events never mix with real ones. */
static enum bl_rc choose_folder(struct up *u, struct bl_error *err) {
    const char *data = u->options->conf->data;
    BL_CLEANUP(bl_freep) char *folder = u->simulated ? bl_xasprintf("%s-simulated", data) : bl_xstrdup(data);
    BL_TRY(bl_make_dirs(folder, err));
    u->data = realpath(folder, NULL);
    if (!u->data) return bl_fail_errno(err, BL_E_IO, "%s", folder);
    BL_CLEANUP(bl_freep) char *logs = bl_xasprintf("%s/logs", u->data);
    BL_CLEANUP(bl_freep) char *redis = bl_xasprintf("%s/redis", u->data);
    BL_TRY(bl_make_dirs(logs, err));
    BL_TRY(bl_make_dirs(redis, err));
    BL_CLEANUP(bl_freep) char *lock = bl_xasprintf("%s/.up.lock", u->data);
    u->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (u->lock_fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", lock);
    if (flock(u->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return bl_fail(err, BL_E_BUSY,
                       "another `bluelake up` is collecting into %s: stop it, or choose another folder with --data",
                       u->data);
    return BL_OK;
}

/* The simulated network's first event: fixed when the lake is made, so that a later start goes on where the earlier one
 * was. */
static enum bl_rc simulated_start(struct up *u, int64_t *start_us, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/simulated-start", u->data);
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = STATE_MAX};
    enum bl_rc rc = bl_read_file(path, STATE_MAX - 1, &text, err);
    if (rc == BL_OK && bl_parse_time(bl_str_trim(bl_buf_view(&text)), false, start_us)) return BL_OK;
    if (rc == BL_OK) return bl_fail(err, BL_E_CORRUPT, "%s: not a time", path);
    if (rc != BL_E_NOT_FOUND) return rc;
    char now[BL_TIME_TEXT_MAX];
    *start_us = bl_wall_us();
    bl_format_time(*start_us, 6, now);
    return bl_write_file_atomic(path, bl_str(now), err);
}

/* ---- the children ---- */

static char *log_path(const struct up *u, const char *name) {
    return bl_xasprintf("%s/logs/%s.log", u->data, name);
}

/* A unix socket's path has room for 107 bytes only; a deep folder gets its socket in the temporary folder. */
static void choose_socket(struct up *u) {
    u->socket_path = bl_xasprintf("%s/redis/redis.sock", u->data);
    if (strlen(u->socket_path) < sizeof((struct sockaddr_un *)0)->sun_path) return;
    const char *temporary = getenv("TMPDIR");
    free(u->socket_path);
    u->socket_path =
        bl_xasprintf("%s/bluelake-%d.sock", temporary && strlen(temporary) < 64 ? temporary : "/tmp", (int)getpid());
}

static void setup_redis(struct up *u) {
    struct process *p = &u->redis;
    process_init(p, "redis", log_path(u, "redis"), false);
    /* deploy/redis/redis.conf says why each of these. */
    static const char *const settings[][2] = {{"--port", "0"},
                                              {"--unixsocketperm", "700"},
                                              {"--appendonly", "yes"},
                                              {"--appendfsync", "everysec"},
                                              {"--auto-aof-rewrite-percentage", "100"},
                                              {"--auto-aof-rewrite-min-size", "64mb"},
                                              {"--save", ""},
                                              {"--maxmemory", "2gb"},
                                              {"--maxmemory-policy", "noeviction"},
                                              {"--databases", "1"},
                                              {"--tcp-keepalive", "300"},
                                              {"--timeout", "0"},
                                              {"--daemonize", "no"}};
    process_arg(p, "redis-server");
    process_arg(p, "--unixsocket");
    process_arg(p, "%s", u->socket_path);
    process_arg(p, "--dir");
    process_arg(p, "%s/redis", u->data);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        process_arg(p, "%s", settings[i][0]);
        process_arg(p, "%s", settings[i][1]);
    }
}

static bool at_full_speed(const struct up *u) {
    return u->options->rate && strcmp(u->options->rate, "max") == 0;
}

static void setup_simulator(struct up *u) {
    struct process *p = &u->simulator;
    const struct up_options *o = u->options;
    char start[BL_TIME_TEXT_MAX];
    process_init(p, "simulator", log_path(u, "simulator"), true);
    process_arg(p, "%s", o->executable);
    process_arg(p, "simulate");
    process_arg(p, "--listen=127.0.0.1:%d", u->simulator_port);
    process_arg(p, "--seed=%" PRId64, o->seed);
    process_arg(p, "--count=%" PRId64, o->count);
    process_arg(p, "--status-fd=%d", PROCESS_STATUS_FD);
    if (!at_full_speed(u)) {
        process_arg(p, "--start=%s", bl_format_time(u->simulated_start_us, 6, start));
        process_arg(p, "--live");
        if (o->rate) process_arg(p, "--rate=%s", o->rate);
    }
}

static void setup_role(struct up *u, struct process *p, const char *command) {
    const struct up_options *o = u->options;
    process_init(p, command, log_path(u, command), true);
    process_arg(p, "%s", o->executable);
    process_arg(p, "%s", command);
    if (o->config_file) process_arg(p, "--config=%s", o->config_file);
    for (size_t i = 0; i < o->set_count; i++) process_arg(p, "--set=%s", o->sets[i]);
    process_arg(p, "--data=%s", u->data);
    process_arg(p, "--set=redis.socket=%s", u->socket_path);
    process_arg(p, "--status-fd=%d", PROCESS_STATUS_FD);
}

static void setup_ingest(struct up *u) {
    struct process *p = &u->ingest;
    setup_role(u, p, "ingest");
    if (u->simulated) {
        process_arg(p, "--set=source.urls=ws://127.0.0.1:%d", u->simulator_port);
        if (!at_full_speed(u)) process_arg(p, "--set=source.cursor=%" PRId64, u->simulated_start_us);
    } else {
        BL_CLEANUP(bl_buf_release) struct bl_buf urls = {0};
        const struct conf_list *list = &u->options->conf->source_urls;
        for (size_t i = 0; i < list->count; i++) bl_buf_printf(&urls, "%s%s", i ? "," : "", list->items[i]);
        process_arg(p, "--set=source.urls=%s", bl_buf_cstr(&urls));
    }
    const struct conf_list *collections = &u->options->conf->source_collections;
    BL_CLEANUP(bl_buf_release) struct bl_buf wanted = {0};
    for (size_t i = 0; i < collections->count; i++) bl_buf_printf(&wanted, "%s%s", i ? "," : "", collections->items[i]);
    if (wanted.n) process_arg(p, "--set=source.collections=%s", bl_buf_cstr(&wanted));
}

static void setup_writer(struct up *u) {
    setup_role(u, &u->writer, "write");
    process_arg(&u->writer, "--set=write.interval=%" PRId64 "us", u->options->conf->write_interval);
}

static void setup_compactor(struct up *u) {
    struct process *p = &u->compactor;
    process_init(p, "compactor", log_path(u, "compactor"), false);
    process_arg(p, "%s", u->options->executable);
    process_arg(p, "compact");
    process_arg(p, "--data=%s", u->data);
    u->compact_at_ns = bl_mono_ns() + (int64_t)COMPACT_EVERY_S * 1000000000;
}

static bool serves(const struct up *u) {
    return !u->options->http || strcmp(u->options->http, "none") != 0;
}

static void setup_serve(struct up *u) {
    setup_role(u, &u->serve, "serve");
    if (asks_public_api(u->options->conf, u->simulated)) process_arg(&u->serve, "--set=resolve.url=%s", PUBLIC_API);
    if (u->options->http) process_arg(&u->serve, "--http=%s", u->options->http);
}

static enum bl_rc setup(struct up *u, struct bl_error *err) {
    choose_socket(u);
    setup_redis(u);
    if (u->simulated) {
        BL_TRY(simulated_start(u, &u->simulated_start_us, err));
        BL_TRY(bl_free_port(&u->simulator_port, err));
        setup_simulator(u);
    }
    setup_ingest(u);
    setup_writer(u);
    setup_compactor(u);
    if (serves(u)) setup_serve(u);
    return BL_OK;
}

/* Redis is up when its socket accepts; the roles wait for its data set themselves. */
static enum bl_rc start_redis(struct up *u, struct bl_error *err) {
    unlink(u->socket_path);
    BL_TRY(process_start(&u->redis, err));
    int64_t until = bl_mono_ns() + (int64_t)REDIS_READY_US * 1000;
    while (access(u->socket_path, F_OK) != 0) {
        bool ended = process_poll(&u->redis);
        if (ended || bl_mono_ns() > until) {
            char words[512];
            process_last_words(&u->redis, words, sizeof words);
            return bl_fail(err, BL_E_BACKEND, "the private Redis does not start: %s (see %s)", words,
                           u->redis.log_path);
        }
        if (role_stopping(u->role)) return bl_fail(err, BL_E_CANCELLED, "stopped");
        role_pause(u->role, TICK_US / 10);
    }
    return BL_OK;
}

static enum bl_rc start_all(struct up *u, struct bl_error *err) {
    BL_TRY(start_redis(u, err));
    if (u->simulated) BL_TRY(process_start(&u->simulator, err));
    BL_TRY(process_start(&u->writer, err));
    if (serves(u)) BL_TRY(process_start(&u->serve, err));
    return process_start(&u->ingest, err);
}

/* ---- supervision ---- */

static void keep_totals(struct up *u, const struct process *p) {
    if (p == &u->ingest) {
        u->base_received += process_number(p, "received");
        u->base_gaps += process_number(p, "gaps");
    }
    if (p == &u->writer) {
        u->base_written += process_number(p, "written");
        u->base_bytes += process_number(p, "bytes");
        u->base_duplicates += process_number(p, "duplicates");
        u->base_dead += process_number(p, "dead");
    }
}

static void describe_end(const struct process *p, char *out, size_t size) {
    if (WIFSIGNALED(p->exit_status))
        snprintf(out, size, "was killed by signal %d", WTERMSIG(p->exit_status));
    else
        snprintf(out, size, "ended with code %d", WEXITSTATUS(p->exit_status));
}

static enum bl_rc repair_redis(struct up *u, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *folder = bl_xasprintf("%s/redis", u->data);
    printf(
        "%sbluelake: Redis finds an unsynced tail in its append-only file, as a power cut leaves it: cutting it off\n",
        u->terminal ? "\r\033[K" : "");
    fflush(stdout);
    return aof_repair(folder, err);
}

/* Wrong settings do not get better by trying again. */
static enum bl_rc note_end(struct up *u, struct process *p, struct bl_error *err) {
    char how[64], words[512];
    describe_end(p, how, sizeof how);
    process_last_words(p, words, sizeof words);
    keep_totals(u, p);
    p->line[0] = 0;
    if (p == &u->redis && aof_is_refused(words)) BL_TRY(repair_redis(u, err));
    if (WIFEXITED(p->exit_status) && WEXITSTATUS(p->exit_status) == 2)
        return bl_fail(err, BL_E_USAGE, "%s %s: %s", p->name, how, words);
    if (bl_mono_ns() - p->started_ns > (int64_t)SETTLED_US * 1000) p->pause_ns = (int64_t)TICK_US * 1000;
    p->restart_at_ns = bl_mono_ns() + p->pause_ns;
    p->pause_ns = p->pause_ns * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS : p->pause_ns * 2;
    printf("%sbluelake: %s %s; starting it again\n", u->terminal ? "\r\033[K" : "", p->name, how);
    fflush(stdout);
    return BL_OK;
}

static enum bl_rc watch(struct up *u, struct process *p, struct bl_error *err) {
    if (process_poll(p)) BL_TRY(note_end(u, p, err));
    if (p->pid || bl_mono_ns() < p->restart_at_ns) return BL_OK;
    if (p == &u->redis) unlink(u->socket_path);
    return process_start(p, err);
}

/* A job, not a role: it runs beside the writer, ends by itself, and a failure is tried again at the next turn. */
static enum bl_rc compact_now_and_then(struct up *u, struct bl_error *err) {
    process_poll(&u->compactor);
    if (u->compactor.pid || bl_mono_ns() < u->compact_at_ns) return BL_OK;
    u->compact_at_ns = bl_mono_ns() + (int64_t)COMPACT_EVERY_S * 1000000000;
    return process_start(&u->compactor, err);
}

/* Collecting goes on whatever becomes of the API; a setting it cannot run with is said once. */
static enum bl_rc watch_serve(struct up *u, struct bl_error *err) {
    struct process *p = &u->serve;
    if (!serves(u)) return BL_OK;
    struct bl_error why = {0};
    if (process_poll(p) && note_end(u, p, &why) != BL_OK) {
        printf("%sbluelake: no search and no page: %s\n", u->terminal ? "\r\033[K" : "", why.message);
        p->restart_at_ns = INT64_MAX;
    }
    if (!p->pid && bl_mono_ns() >= p->restart_at_ns) return process_start(p, err);
    int port = (int)process_number(p, "port");
    if (!port || u->serve_shown) return BL_OK;
    struct bl_str rest = bl_str(u->options->http ? u->options->http : u->options->conf->serve_http);
    struct bl_str host = bl_str_cut(&rest, ':');
    printf("%sbluelake: search and watch on http://%.*s:%d\n", u->terminal ? "\r\033[K" : "", BL_ARG(host), port);
    fflush(stdout);
    u->serve_shown = true;
    return BL_OK;
}

static double received_now(const struct up *u) {
    return u->base_received + process_number(&u->ingest, "received");
}
static double written_now(const struct up *u) {
    return u->base_written + process_number(&u->writer, "written");
}

static void update_rate(struct up *u) {
    int64_t now = bl_mono_ns();
    if (now - u->last_rate_ns < 1000000000) return;
    double received = received_now(u), seconds = (double)(now - u->last_rate_ns) / 1e9;
    double rate = received > u->last_received ? (received - u->last_received) / seconds : 0;
    u->rate = u->last_rate_ns ? 0.5 * u->rate + 0.5 * rate : 0;
    u->last_received = received;
    u->last_rate_ns = now;
}

static void print_line(struct up *u) {
    int64_t now = bl_mono_ns();
    int64_t every_ns = u->terminal ? 1000000000 : (int64_t)PLAIN_LINE_EVERY_US * 1000;
    if (now - u->last_line_ns < every_ns) return;
    u->last_line_ns = now;
    char rate[BL_TIME_TEXT_MAX], depth[BL_TIME_TEXT_MAX], written[BL_TIME_TEXT_MAX], lag[BL_TIME_TEXT_MAX],
        state[64] = "starting";
    double bytes = u->base_bytes + process_number(&u->writer, "bytes"), rows = written_now(u);
    process_text(&u->ingest, "state", state, sizeof state);
    printf("%s%-12s %8s ev/s  buffered %-8s  written %-11s  %5.1f B/event  lag %-8s  gaps %.0f%s",
           u->terminal ? "\r\033[K" : "", state, bl_format_count((int64_t)u->rate, rate),
           bl_format_count((int64_t)process_number(&u->writer, "depth"), depth),
           bl_format_count((int64_t)rows, written), rows > 0 ? bytes / rows : 0.0,
           bl_format_duration((int64_t)process_number(&u->ingest, "lag_us"), lag),
           u->base_gaps + process_number(&u->ingest, "gaps"), u->terminal ? "" : "\n");
    fflush(stdout);
}

static enum bl_rc supervise(struct up *u, struct bl_error *err) {
    int64_t end_ns = u->options->for_us ? bl_mono_ns() + u->options->for_us * 1000 : INT64_MAX;
    while (!role_stopping(u->role) && bl_mono_ns() < end_ns) {
        BL_TRY(watch(u, &u->redis, err));
        if (u->simulated) BL_TRY(watch(u, &u->simulator, err));
        BL_TRY(watch(u, &u->writer, err));
        BL_TRY(watch(u, &u->ingest, err));
        BL_TRY(watch_serve(u, err));
        BL_TRY(compact_now_and_then(u, err));
        update_rate(u);
        print_line(u);
        role_pause(u->role, TICK_US);
    }
    return BL_OK;
}

/* ---- stopping ---- */

static void stop_all(struct up *u) {
    printf("%sbluelake: stopping: first ingest, then the writer ...\n", u->terminal ? "\r\033[K" : "");
    fflush(stdout);
    process_stop(&u->serve, SIGTERM, STOP_SERVE_US);
    bool clean = process_stop(&u->ingest, SIGTERM, STOP_INGEST_US);
    clean = process_stop(&u->writer, SIGTERM, STOP_WRITER_US) && clean;
    double depth = process_number(&u->writer, "depth");
    clean = process_stop(&u->redis, SIGTERM, STOP_REDIS_US) && clean;
    process_stop(&u->simulator, SIGTERM, STOP_SIMULATOR_US);
    process_stop(&u->compactor, SIGTERM, STOP_COMPACTOR_US);
    keep_totals(u, &u->ingest);
    keep_totals(u, &u->writer);
    u->ingest.line[0] = u->writer.line[0] = 0;
    char received[BL_TIME_TEXT_MAX], written[BL_TIME_TEXT_MAX], bytes[BL_TIME_TEXT_MAX];
    printf("bluelake: received %s events, wrote %s (%s, %.1f B/event), %.0f were repetitions, %.0f dead letters.%s\n",
           bl_format_count((int64_t)u->base_received, received), bl_format_count((int64_t)u->base_written, written),
           bl_format_bytes((int64_t)u->base_bytes, bytes), u->base_written > 0 ? u->base_bytes / u->base_written : 0.0,
           u->base_duplicates, u->base_dead,
           clean && depth <= 0 ? " Everything received is in the lake."
                               : " The rest is safe in the buffer and will be written at the next start.");
    printf("bluelake: the lake is %s\n"
           "  bluelake search --data %s 'cats lang:en'\n"
           "  bluelake query  --data %s 'SELECT count(*) FROM posts'\n",
           u->data, u->data, u->data);
    fflush(stdout);
}

static void show_start(const struct up *u) {
    printf("bluelake: collecting %s into %s (logs in %s/logs). Ctrl-C stops.\n",
           u->simulated ? "the simulated network" : u->options->conf->source_urls.items[0], u->data, u->data);
    if (serves(u) && asks_public_api(u->options->conf, u->simulated))
        printf("bluelake: handles the lake has not heard of are asked of %s; --set resolve.url=none: never.\n",
               PUBLIC_API);
    fflush(stdout);
}

static enum bl_rc run(struct up *u, struct bl_error *err) {
    if (u->options->conf->redis_cluster.count)
        return bl_fail(err, BL_E_USAGE,
                       "redis.cluster is set, but `up` runs a Redis of its own: take the setting out, or start "
                       "`bluelake ingest` and `bluelake write` (docs/GOING-LIVE.md)");
    BL_TRY(choose_source(u, err));
    BL_TRY(choose_folder(u, err));
    BL_TRY(setup(u, err));
    show_start(u);
    enum bl_rc rc = start_all(u, err);
    if (rc == BL_OK) rc = supervise(u, err);
    stop_all(u);
    return rc;
}

enum bl_rc up_run(const struct up_options *o, struct role *role, struct bl_error *err) {
    struct up u = {.options = o, .role = role, .lock_fd = -1, .terminal = isatty(STDOUT_FILENO) == 1};
    struct process *all[] = {&u.redis, &u.simulator, &u.ingest, &u.writer, &u.compactor, &u.serve};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) all[i]->status_fd = -1;
    enum bl_rc rc = run(&u, err);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) process_release(all[i]);
    if (u.lock_fd >= 0) close(u.lock_fd);
    free(u.data);
    free(u.socket_path);
    return rc;
}
