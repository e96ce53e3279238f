#include "pipe/import.h"

#include <inttypes.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/common.h"

static struct cmd_conf settings;
static int64_t threads = 2;
static bool json;

static const struct cmd_option options[] = {CMD_CONF_OPTIONS(settings),
                                            {"threads", OPT_INT, &threads, "N", "decoding threads (default 2)", 1, 16},
                                            {"json", OPT_FLAG, &json, NULL, "print the result as JSON", 0, 0},
                                            CMD_END};
static const struct cmd_spec spec = {
    "import", "FILE...", "NDJSON files straight into the lake",
    "Each line is one Jetstream event; plain, gzip and zstd files are told apart by themselves, - is standard input. "
    "What the lake already\n"
    "holds is recognised, so importing twice changes nothing. Lines that are no events become dead letters (bluelake "
    "deadletter list).\n\n"
    "Examples:\n  bluelake import --data lake events.ndjson.zst\n  zcat old/*.gz | bluelake import --data lake -\n",
    options};

static int64_t last_shown_ns;

static void show_progress(void *context, const struct import_progress *p) {
    (void)context;
    int64_t now = bl_mono_ns();
    if (now - last_shown_ns < 500000000 || !isatty(STDERR_FILENO)) return;
    last_shown_ns = now;
    char bytes[BL_TIME_TEXT_MAX], rows[BL_TIME_TEXT_MAX];
    fprintf(stderr, "\r\033[K%s: %s read, %s events", p->file, bl_format_bytes(p->bytes, bytes),
            bl_format_count(p->rows, rows));
}

static void print_result(const struct import_result *r, int64_t elapsed_us) {
    int64_t received = r->counts.dead, written = 0, duplicates = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        received += r->counts.received[t];
        written += r->counts.written[t];
        duplicates += r->counts.duplicates[t];
    }
    received -= r->counts.dead; /* dead lines are received ones of their type */
    if (json) {
        printf("{\"received\":%" PRId64 ",\"written\":%" PRId64 ",\"duplicates\":%" PRId64 ",\"dead\":%" PRId64
               ",\"cids_verified\":%" PRId64 ",\"cids_kept\":%" PRId64 ",\"bytes_read\":%" PRId64
               ",\"bytes_written\":%" PRId64 ",\"files\":%" PRId64 ",\"seconds\":%.3f}\n",
               received, written, duplicates, r->counts.dead, r->counts.cids_verified, r->counts.cids_kept,
               r->bytes_read, r->bytes_written, r->files_written, (double)elapsed_us / 1e6);
        return;
    }
    char a[BL_TIME_TEXT_MAX], b[BL_TIME_TEXT_MAX], c[BL_TIME_TEXT_MAX], d[BL_TIME_TEXT_MAX];
    printf("%s events read (%s): %s written, %" PRId64 " known already, %" PRId64 " dead letters\n",
           bl_format_count(received, a), bl_format_bytes(r->bytes_read, b), bl_format_count(written, c), duplicates,
           r->counts.dead);
    printf("%" PRId64 " files, %s, %.1f B/event; %s CIDs verified, %" PRId64 " kept; %s, %.0f events/s\n",
           r->files_written, bl_format_bytes(r->bytes_written, a),
           written ? (double)r->bytes_written / (double)written : 0.0, bl_format_count(r->counts.cids_verified, b),
           r->counts.cids_kept, bl_format_duration(elapsed_us, d),
           elapsed_us ? (double)received * 1e6 / (double)elapsed_us : 0.0);
}

int cmd_import(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first == argc) return cmd_usage_error(spec.name, "which FILE? (- for standard input)");
    struct bl_error err = {0};
    struct role role;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || role_open(&role, -1, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    role_handle_signals(&role);
    struct import_options o = {
        .conf = &settings.conf, .threads = (unsigned)threads, .role = &role, .progress = show_progress};
    struct import_result result;
    int64_t start_ns = bl_mono_ns();
    enum bl_rc done = import_files(&o, argv + first, (size_t)(argc - first), &result, &err);
    if (last_shown_ns) fputs("\r\033[K", stderr);
    print_result(&result, (bl_mono_ns() - start_ns) / 1000);
    rc = cmd_finish_output(spec.name);
    if (done != BL_OK) rc = cmd_fail(spec.name, &err);
    role_close(&role);
    conf_release(&settings.conf);
    return rc;
}
