/* gaps: what upstream could not serve. */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/commands.h"
#include "lake/catalog.h"

static const char *data = "data";
static int64_t since_us, until_us = INT64_MAX;
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
                                         "no loss was noticed; docs/UPSTREAM.md tells how\nshort a stretch can be "
                                         "noticed where hosts change or filters apply.\n",
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
