/* gaps and deadletter: what the catalogue remembers besides files. */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "lake/catalog.h"

static const char *data = "data";
static int64_t since_us, until_us = INT64_MAX, limit = 50;
static bool json;

static enum bl_rc list_gaps(struct catalog *c, struct bl_error *err) {
    struct catalog_gap *gaps = NULL;
    size_t count = 0;
    BL_TRY(catalog_gaps(c, since_us, until_us, &gaps, &count, err));
    for (size_t i = 0; i < count; i++) {
        char from[BL_TIME_TEXT_MAX], to[BL_TIME_TEXT_MAX], length[BL_TIME_TEXT_MAX];
        const struct catalog_gap *g = &gaps[i];
        bl_format_time(g->from_us, 3, from);
        bl_format_time(g->to_us, 3, to);
        if (json)
            printf("{\"id\":%" PRId64 ",\"from\":\"%s\",\"to\":\"%s\",\"from_us\":%" PRId64 ",\"to_us\":%" PRId64
                   ",\"host\":\"%s\",\"reason\":\"%s\",\"healed\":%s}\n",
                   g->id, from, to, g->from_us, g->to_us, g->host, g->reason, g->healed ? "true" : "false");
        else
            printf("%-24s  %-24s  %-10s  %-16s  %s%s\n", from, to, bl_format_duration(g->to_us - g->from_us, length),
                   g->reason, g->host, g->healed ? "  (healed)" : "");
    }
    if (!count && !json) puts("no gaps");
    free(gaps);
    return BL_OK;
}

int cmd_gaps(int argc, char **argv) {
    static const struct cmd_option options[] = {
        {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default: data)", 0, 0},
        {"since", OPT_TIME, &since_us, "TIME", "gaps that touch this time or later", 0, 0},
        {"until", OPT_END_TIME, &until_us, "TIME", "gaps that touch this time or earlier", 0, 0},
        {"json", OPT_FLAG, &json, NULL, "one JSON object a line", 0, 0},
        CMD_END};
    static const struct cmd_spec spec = {"gaps", "", "stretches upstream could not serve any more",
                                         "Each line: from, to, length, reason, host. Nothing listed means that "
                                         "everything Jetstream offered was taken.\n",
                                         options};
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    struct catalog *c = NULL;
    enum bl_rc done = catalog_open(data, CATALOG_READ, &c, &err);
    if (done == BL_OK) done = list_gaps(c, &err);
    catalog_close(&c);
    return done == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}

static void print_dead(void *context, const struct catalog_dead *d) {
    int64_t wanted = *(const int64_t *)context;
    if (wanted && d->id != wanted) return;
    char when[BL_TIME_TEXT_MAX];
    bl_format_time(d->received_us, 3, when);
    if (wanted) {
        fwrite(d->message.p, 1, d->message.n, stdout);
        putchar('\n');
        return;
    }
    if (!json) {
        printf("%-6" PRId64 " %s  %-16s %8zu B  %s\n", d->id, when, d->reason, d->message.n, d->detail);
        return;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    bl_buf_printf(&out, "{\"id\":%" PRId64 ",\"received\":\"%s\",\"reason\":\"%s\",\"bytes\":%zu,\"detail\":", d->id,
                  when, d->reason, d->message.n);
    bl_buf_json(&out, bl_utf8_valid(bl_str(d->detail)) ? bl_str(d->detail) : BL_LIT("?"));
    printf("%.*s}\n", BL_ARG(bl_buf_view(&out)));
}

int cmd_deadletter(int argc, char **argv) {
    static const struct cmd_option options[] = {
        {"data", OPT_TEXT, &data, "DIR", "folder of the lake (default: data)", 0, 0},
        {"limit", OPT_INT, &limit, "N", "at most N, newest first (default 50)", 1, 1000000},
        {"json", OPT_FLAG, &json, NULL, "one JSON object a line", 0, 0},
        CMD_END};
    static const struct cmd_spec spec = {
        "deadletter", "list | show ID", "messages that are no events, with the reason",
        "Nothing that arrives is thrown away: what cannot be decoded is kept with its bytes, the time and the "
        "reason.\n\n"
        "  bluelake deadletter list        newest first\n  bluelake deadletter show 17     the message's bytes\n",
        options};
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    const char *action = first < argc ? argv[first] : "list";
    int64_t id = 0;
    bool show = strcmp(action, "show") == 0;
    if (!show && strcmp(action, "list") != 0)
        return cmd_usage_error(spec.name, "\"%s\" is neither list nor show", action);
    if (show && (first + 1 >= argc || !bl_parse_i64(bl_str(argv[first + 1]), 1, INT64_MAX, &id)))
        return cmd_usage_error(spec.name, "show which ID? (bluelake deadletter list)");
    struct bl_error err = {0};
    struct catalog *c = NULL;
    enum bl_rc done = catalog_open(data, CATALOG_READ, &c, &err);
    if (done == BL_OK) done = catalog_dead_letters(c, show ? SIZE_MAX : (size_t)limit, print_dead, &id, &err);
    catalog_close(&c);
    return done == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}
