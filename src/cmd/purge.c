#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "index/index.h"
#include "pipe/write.h"

static struct cmd_conf settings;
static int64_t before_us;
static bool dry_run, json;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"before", OPT_TIME, &before_us, "TIME", "only accounts that were deleted before this time (default: now)", 0, 0},
    {"dry-run", OPT_FLAG, &dry_run, NULL, "count what would go, and change nothing", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "print the result as JSON", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {
    "purge", "", "remove for good what deleted accounts wrote",
    "Searches hide the posts of accounts that are not active. This takes the rows of those that were deleted out of "
    "the "
    "Parquet files:\nposts, likes, follows, profiles and all else, up to the deletion. The account's own events stay. "
    "Those "
    "that are only deactivated,\nsuspended or taken down are left alone, since they may return. Each file is written "
    "anew "
    "and compared before it replaces the old one;\nthe writer may go on meanwhile, and running it again changes "
    "nothing. "
    "Backups, exports and caches of names (views.sqlite,\nresolved.sqlite) are not touched.\n\n"
    "Examples:\n  bluelake purge --dry-run\n  bluelake purge --before 2026-11-01\n",
    options};

/* The index of the old files holds their texts, too. */
static enum bl_rc renew_index(struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *folder = bl_xasprintf("%s/index", settings.conf.data);
    struct index_build_options o = {.lake_dir = settings.conf.data};
    return access(folder, F_OK) == 0 ? index_build_missing(&o, NULL, err) : BL_OK;
}

static enum bl_rc purge(struct lake_purge_stats *stats, struct bl_error *err) {
    struct lake *lake = NULL;
    BL_TRY(write_open_lake(&settings.conf, true, &lake, err));
    enum bl_rc rc = lake_purge(lake, before_us, dry_run, stats, err);
    lake_close(&lake);
    return rc == BL_OK && !dry_run ? renew_index(err) : rc;
}

static void print_json(const struct lake_purge_stats *s) {
    printf("{\"accounts\":%" PRId64 ",\"files\":%" PRId64 ",\"rows\":%" PRId64 ",\"removed\":%" PRId64 ",\"by_type\":{",
           s->accounts, s->files, s->rows, s->rewritten.dropped);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        printf("%s\"%s\":%" PRId64, t ? "," : "", ev_schema((enum ev_type)t)->name, s->rows_by_type[t]);
    puts("}}");
}

static void print_text(const struct lake_purge_stats *s) {
    char accounts[BL_TIME_TEXT_MAX], rows[BL_TIME_TEXT_MAX];
    const char *verb = dry_run ? "would be removed" : "removed";
    printf("%s deleted accounts; %s rows in %" PRId64 " files %s\n", bl_format_count(s->accounts, accounts),
           bl_format_count(dry_run ? s->rows : s->rewritten.dropped, rows), s->files, verb);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (s->rows_by_type[t])
            printf("  %-10s %s\n", ev_schema((enum ev_type)t)->name, bl_format_count(s->rows_by_type[t], rows));
}

int cmd_purge(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    if (first < argc) return cmd_usage_error(spec.name, "unexpected \"%s\"", argv[first]);
    struct bl_error err = {0};
    struct lake_purge_stats s = {0};
    if (!before_us) before_us = INT64_MAX;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || purge(&s, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    conf_release(&settings.conf);
    (json ? print_json : print_text)(&s);
    return cmd_finish_output(spec.name);
}
