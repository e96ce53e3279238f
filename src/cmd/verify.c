#include "lake/verify.h"

#include <inttypes.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/verify_buffer.h"
#include "pipe/lines.h"
#include "sim/sim.h"

static struct cmd_conf settings;
static const char *against_file, *against_simulator;
static bool json, with_buffer;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"against-simulator", OPT_TEXT, &against_simulator, "seed=N,count=M",
     "compare every event with the simulated network's (also start=TIME, rate=N, batch=N)", 0, 0},
    {"against", OPT_TEXT, &against_file, "FILE.ndjson", "compare every event with this file's", 0, 0},
    {"buffer", OPT_FLAG, &with_buffer, NULL,
     "include the running Redis in the conservation equation: every entry of its queues is looked at", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "print the result as JSON", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {
    "verify", "", "prove that the lake is whole",
    "Checks every file's size, checksum, row count, schema and time range, every row's place, that no event is there "
    "twice, that no stray file lies\n"
    "about, and that the ledger adds up: received = written + duplicates + dead letters, per type, with no hole in the "
    "buffer's numbering.\n"
    "Exit code 3 when something is wrong.\n\n"
    "Examples:\n  bluelake verify --data data\n  bluelake verify --data data --against-simulator seed=1,count=2000000\n"
    "  bluelake verify --data data --buffer --set redis.socket=data/redis/redis.sock\n",
    options};

static void report(void *context, const char *check, const char *finding) {
    (void)context;
    fprintf(json ? stderr : stdout, "%s: %s\n", check, finding);
}

/* ---- expected events ---- */

struct simulated {
    struct sim *sim;
    uint64_t next, count;
    struct bl_buf line;
};

static enum bl_rc next_simulated(void *context, struct bl_str *message, bool *end, struct bl_error *err) {
    (void)err;
    struct simulated *s = context;
    *end = s->next == s->count;
    if (*end) return BL_OK;
    bl_buf_clear(&s->line);
    sim_event(s->sim, s->next++, &s->line);
    *message = bl_buf_view(&s->line);
    return BL_OK;
}

struct from_file {
    struct lines *lines;
    struct bl_buf text;
    struct bl_str rest;
};

static enum bl_rc next_line(void *context, struct bl_str *message, bool *end, struct bl_error *err) {
    enum { CHUNK = 1 << 20, LINE_MAX_BYTES = 16 << 20 };
    struct from_file *f = context;
    *end = false;
    do {
        if (f->rest.n) *message = bl_str_cut(&f->rest, '\n');
        if (!f->rest.n && !message->n) {
            bl_buf_clear(&f->text);
            BL_TRY(lines_read(f->lines, CHUNK, LINE_MAX_BYTES, &f->text, end, err));
            f->rest = bl_buf_view(&f->text);
            if (!*end) *message = bl_str_cut(&f->rest, '\n');
        }
    } while (!*end && !message->n);
    return BL_OK;
}

static enum bl_rc parse_simulator(struct sim_options *o, uint64_t *count, struct bl_error *err) {
    struct bl_str rest = bl_str(against_simulator);
    int64_t rate = 0;
    *count = 0;
    while (rest.n) {
        struct bl_str value = bl_str_cut(&rest, ',');
        struct bl_str key = bl_str_cut(&value, '=');
        bool good = bl_str_eq(key, BL_LIT("seed"))    ? bl_parse_u64(value, UINT64_MAX, &o->seed)
                    : bl_str_eq(key, BL_LIT("count")) ? bl_parse_u64(value, UINT64_MAX, count)
                    : bl_str_eq(key, BL_LIT("start")) ? bl_parse_time(value, false, &o->start_us)
                    : bl_str_eq(key, BL_LIT("batch")) ? bl_parse_u64(value, UINT64_MAX, &o->batch)
                    : bl_str_eq(key, BL_LIT("rate"))  ? bl_parse_i64(value, 1, 1000000, &rate)
                                                      : false;
        if (!good)
            return bl_fail(err, BL_E_USAGE,
                           "--against-simulator: cannot use \"%.*s=%.*s\": want seed=N,count=M[,start=TIME][,rate=N]"
                           "[,batch=N]",
                           BL_ARG(key), BL_ARG(value));
    }
    o->rate = (double)rate;
    return *count ? BL_OK : bl_fail(err, BL_E_USAGE, "--against-simulator: count=M is missing");
}

static enum bl_rc compare_simulator(const char *dir, struct verify_result *result, struct bl_error *err) {
    struct sim_options o = {.seed = 1};
    struct simulated s = {0};
    BL_TRY(parse_simulator(&o, &s.count, err));
    s.sim = sim_new(&o);
    enum bl_rc rc = lake_verify_against(dir, next_simulated, &s, report, NULL, result, err);
    sim_free(&s.sim);
    bl_buf_release(&s.line);
    return rc;
}

static enum bl_rc compare_file(const char *dir, struct verify_result *result, struct bl_error *err) {
    struct from_file f = {0};
    BL_TRY(lines_open(against_file, &f.lines, err));
    enum bl_rc rc = lake_verify_against(dir, next_line, &f, report, NULL, result, err);
    lines_close(&f.lines);
    bl_buf_release(&f.text);
    return rc;
}

/* ---- result ---- */

static void print_result(const struct verify_result *r, bool compared) {
    if (json) {
        printf("{\"files\":%" PRId64 ",\"rows\":%" PRId64 ",\"bytes\":%" PRId64 ",\"problems\":%" PRId64, r->files,
               r->rows, r->bytes, r->problems);
        if (compared)
            printf(",\"compared\":%" PRId64 ",\"missing\":%" PRId64 ",\"twice\":%" PRId64 ",\"different\":%" PRId64
                   ",\"unexpected\":%" PRId64,
                   r->compared, r->missing, r->twice, r->different, r->unexpected);
        puts("}");
        return;
    }
    char rows[BL_TIME_TEXT_MAX], bytes[BL_TIME_TEXT_MAX], events[BL_TIME_TEXT_MAX];
    printf("%" PRId64 " files, %s rows, %s: %" PRId64 " problems\n", r->files, bl_format_count(r->rows, rows),
           bl_format_bytes(r->bytes, bytes), r->problems);
    if (compared)
        printf("compared %s events: %" PRId64 " missing, %" PRId64 " twice, %" PRId64 " different, %" PRId64
               " unexpected\n",
               bl_format_count(r->compared, events), r->missing, r->twice, r->different, r->unexpected);
}

static enum bl_rc verify(struct verify_result *result, struct bl_error *err) {
    const char *dir = settings.conf.data;
    BL_TRY(lake_verify(dir, report, NULL, result, err));
    int64_t problems = result->problems; /* a comparison fills the result anew */
    if (against_simulator) BL_TRY(compare_simulator(dir, result, err));
    if (against_file) BL_TRY(compare_file(dir, result, err));
    if (against_simulator || against_file) result->problems += problems;
    return with_buffer ? verify_buffer(&settings.conf, !json, report, result, err) : BL_OK;
}

int cmd_verify(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    struct bl_error err = {0};
    struct verify_result result = {0};
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || verify(&result, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    print_result(&result, against_file || against_simulator);
    conf_release(&settings.conf);
    rc = cmd_finish_output(spec.name);
    bool wrong = result.problems || result.missing || result.twice || result.different || result.unexpected;
    return rc ? rc : wrong ? 3 : 0;
}
