#include <inttypes.h>

#include "cmd/commands.h"
#include "cmd/common.h"
#include "pipe/write.h"

static struct cmd_conf settings;
static int64_t before_us;
static bool json;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"before", OPT_TIME, &before_us, "TIME", "only hours that ended before this time (default: 15 minutes ago)", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "print the result as JSON", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {
    "compact", "", "merge each closed hour's files into one a type",
    "posts-<first>-<last>.parquet ... become posts.parquet, sorted by time; rows are counted and checksummed before "
    "and after, and the change is one\n"
    "catalogue transaction. Running it again changes nothing. The writer may go on\n"
    "meanwhile; `bluelake up` does this by itself.\n\n"
    "Example:\n  bluelake compact --data data\n",
    options};

static enum bl_rc compact(struct lake_compact_stats *stats, struct bl_error *err) {
    struct lake *lake = NULL;
    BL_TRY(write_open_lake(&settings.conf, true, &lake, err));
    enum bl_rc rc = lake_compact(lake, before_us, stats, err);
    lake_close(&lake);
    return rc;
}

int cmd_compact(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    struct lake_compact_stats s = {0};
    if (!before_us) before_us = bl_wall_us() - (int64_t)15 * 60 * 1000000;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || compact(&s, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    conf_release(&settings.conf);
    char before[BL_TIME_TEXT_MAX], after[BL_TIME_TEXT_MAX], rows[BL_TIME_TEXT_MAX];
    if (json)
        printf("{\"hours\":%" PRId64 ",\"files_before\":%" PRId64 ",\"files_after\":%" PRId64
               ",\"bytes_before\":%" PRId64 ",\"bytes_after\":%" PRId64 ",\"rows\":%" PRId64 "}\n",
               s.hours, s.files_before, s.files_after, s.bytes_before, s.bytes_after, s.rows);
    else
        printf("%" PRId64 " hours: %" PRId64 " files (%s) became %" PRId64 " (%s), %s rows\n", s.hours, s.files_before,
               bl_format_bytes(s.bytes_before, before), s.files_after, bl_format_bytes(s.bytes_after, after),
               bl_format_count(s.rows, rows));
    return cmd_finish_output(spec.name);
}
