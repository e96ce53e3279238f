/* deadletter: list, show, replay and drop messages that are no events. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/common.h"
#include "lake/catalog.h"
#include "pipe/replay.h"

static struct cmd_conf settings;
static int64_t since_us, until_us = INT64_MAX, limit = 50;
static const char *reason;
static bool json, all, yes;

static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings),
    {"reason", OPT_TEXT, &reason, "NAME", "only letters with this reason", 0, 0},
    {"since", OPT_TIME, &since_us, "TIME", "only letters received then or later", 0, 0},
    {"until", OPT_END_TIME, &until_us, "TIME", "only letters received then or earlier", 0, 0},
    {"limit", OPT_INT, &limit, "N", "list: at most N, newest first (default 50)", 1, 1000000},
    {"all", OPT_FLAG, &all, NULL, "replay, drop: every letter the filters leave, instead of IDs", 0, 0},
    {"yes", OPT_FLAG, &yes, NULL, "drop: do it; without it only the number is told", 0, 0},
    {"json", OPT_FLAG, &json, NULL, "one JSON object a line", 0, 0},
    CMD_END};
static const struct cmd_spec spec = {
    "deadletter", "list | show ID | replay ID...|--all | drop ID...|--all",
    "messages that are no events, with the reason",
    "Nothing that arrives is thrown away: what cannot be decoded is kept with its bytes, the time and the reason.\n"
    "replay decodes again and takes into the lake what is valid now (a newer version may understand more); the writer\n"
    "must not run meanwhile. drop removes letters for good.\n\n"
    "Examples:\n"
    "  bluelake deadletter list --reason too_deep\n"
    "  bluelake deadletter show 17                     the message's bytes\n"
    "  bluelake deadletter replay --all\n"
    "  bluelake deadletter drop 17 18\n"
    "  bluelake deadletter drop --all --reason utf8 --yes\n",
    options};

/* ---- which letters ---- */

struct selection {
    int64_t *ids;
    size_t count, printed;
};

static void add_id(struct selection *s, int64_t id) {
    if ((s->count & (s->count - 1)) == 0) s->ids = bl_xrealloc(s->ids, (s->count ? s->count * 2 : 1) * sizeof *s->ids);
    s->ids[s->count++] = id;
}

static bool is_wanted(const struct catalog_dead *d) {
    return d->received_us >= since_us && d->received_us <= until_us && (!reason || strcmp(reason, d->reason) == 0);
}

static void select_letter(void *context, const struct catalog_dead *d) {
    if (is_wanted(d)) add_id(context, d->id);
}

static enum bl_rc select_all(struct selection *s, struct bl_error *err) {
    struct catalog *c = NULL;
    BL_TRY(catalog_open(settings.conf.data, CATALOG_READ, &c, err));
    enum bl_rc rc = catalog_dead_letters(c, SIZE_MAX, select_letter, s, err);
    catalog_close(&c);
    return rc;
}

/* -1: `s` holds what was asked for; else the exit code. */
static int choose(const char *action, int count, char **texts, struct selection *s) {
    struct bl_error err = {0};
    if (!all == !count)
        return cmd_usage_error(spec.name, "%s which? IDs (see bluelake deadletter list), or --all", action);
    if (all) return select_all(s, &err) == BL_OK ? -1 : cmd_fail(spec.name, &err);
    for (int i = 0; i < count; i++) {
        int64_t id;
        if (!bl_parse_i64(bl_str(texts[i]), 1, INT64_MAX, &id))
            return cmd_usage_error(spec.name, "\"%s\" is no ID", texts[i]);
        add_id(s, id);
    }
    return -1;
}

/* ---- list and show ---- */

static void print_letter(void *context, const struct catalog_dead *d) {
    struct selection *s = context;
    if (!is_wanted(d) || s->printed >= (size_t)limit) return;
    s->printed++;
    char when[BL_TIME_TEXT_MAX];
    bl_format_time(d->received_us, 3, when);
    if (!json) {
        printf("%-6" PRId64 " %s  %-16s %8zu B  %s\n", d->id, when, d->reason, d->message.n, d->detail);
        return;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    bl_buf_printf(&out, "{\"id\":%" PRId64 ",\"received\":\"%s\",\"reason\":\"%s\",\"bytes\":%zu,\"origin\":", d->id,
                  when, d->reason, d->message.n);
    bl_buf_json(&out, bl_utf8_valid(bl_str(d->origin)) ? bl_str(d->origin) : BL_LIT("?"));
    bl_buf_z(&out, ",\"detail\":");
    bl_buf_json(&out, bl_utf8_valid(bl_str(d->detail)) ? bl_str(d->detail) : BL_LIT("?"));
    printf("%.*s}\n", BL_ARG(bl_buf_view(&out)));
}

static void print_message(void *context, const struct catalog_dead *d) {
    (void)context;
    fwrite(d->message.p, 1, d->message.n, stdout);
    putchar('\n');
}

static int list(void) {
    struct bl_error err = {0};
    struct catalog *c = NULL;
    struct selection s = {0};
    enum bl_rc rc = catalog_open(settings.conf.data, CATALOG_READ, &c, &err);
    if (rc == BL_OK) rc = catalog_dead_letters(c, SIZE_MAX, print_letter, &s, &err);
    catalog_close(&c);
    if (rc == BL_OK && !s.printed && !json) puts("no dead letters");
    return rc == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}

static int show(int count, char **texts) {
    struct bl_error err = {0};
    struct catalog *c = NULL;
    int64_t id;
    if (count != 1 || !bl_parse_i64(bl_str(texts[0]), 1, INT64_MAX, &id))
        return cmd_usage_error(spec.name, "show which ID? (bluelake deadletter list)");
    enum bl_rc rc = catalog_open(settings.conf.data, CATALOG_READ, &c, &err);
    if (rc == BL_OK) rc = catalog_dead_letter(c, id, print_message, NULL, &err);
    catalog_close(&c);
    return rc == BL_OK ? cmd_finish_output(spec.name) : cmd_fail(spec.name, &err);
}

/* ---- replay and drop ---- */

static int replay(const struct selection *s) {
    struct bl_error err = {0};
    struct replay_result r;
    if (replay_letters(&settings.conf, s->ids, s->count, &r, &err) != BL_OK) return cmd_fail(spec.name, &err);
    if (json)
        printf("{\"tried\":%" PRId64 ",\"revived\":%" PRId64 ",\"known\":%" PRId64 ",\"still_dead\":%" PRId64 "}\n",
               r.tried, r.revived, r.known, r.still_dead);
    else
        printf("%" PRId64 " letters tried: %" PRId64 " are events now (%" PRId64
               " of them the lake held already), %" PRId64 " stay dead letters\n",
               r.tried, r.revived, r.known, r.still_dead);
    return cmd_finish_output(spec.name);
}

static int drop(const struct selection *s) {
    struct bl_error err = {0};
    struct catalog *c = NULL;
    if (all && !yes) {
        printf("%zu letters would be dropped for good; say --yes to do it\n", s->count);
        return cmd_finish_output(spec.name);
    }
    enum bl_rc rc = catalog_open(settings.conf.data, CATALOG_WRITE, &c, &err);
    if (rc == BL_OK) rc = catalog_drop_dead(c, s->ids, s->count, &err);
    catalog_close(&c);
    if (rc != BL_OK) return cmd_fail(spec.name, &err);
    if (json)
        printf("{\"dropped\":%zu}\n", s->count);
    else
        printf("%zu letters dropped\n", s->count);
    return cmd_finish_output(spec.name);
}

int cmd_deadletter(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    const char *action = first < argc ? argv[first] : "list";
    int count = first < argc ? argc - first - 1 : 0;
    char **texts = argv + first + 1;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK) return cmd_fail(spec.name, &err);
    struct selection s = {0};
    bool replays = strcmp(action, "replay") == 0, drops = strcmp(action, "drop") == 0;
    if (strcmp(action, "list") == 0)
        rc = list();
    else if (strcmp(action, "show") == 0)
        rc = show(count, texts);
    else if (!replays && !drops)
        rc = cmd_usage_error(spec.name, "\"%s\" is none of list, show, replay, drop", action);
    else if ((rc = choose(action, count, texts, &s)) < 0)
        rc = replays ? replay(&s) : drop(&s);
    free(s.ids);
    conf_release(&settings.conf);
    return rc;
}
