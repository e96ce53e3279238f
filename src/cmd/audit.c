#include "buffer/audit.h"

#include "cmd/commands.h"
#include "cmd/common.h"
#include "pipe/settings.h"

static struct cmd_conf settings;
static bool json;
static const struct cmd_option options[] = {
    CMD_CONF_OPTIONS(settings), {"json", OPT_FLAG, &json, NULL, "one JSON object a setting", 0, 0}, CMD_END};
static const struct cmd_spec spec = {"audit", "", "compare a running Redis with what the buffer needs",
                                     "Each setting that can lose or hold up events is compared with the value the "
                                     "buffer needs; a deviation is named with its consequence and\n"
                                     "the cure. Exit code 3 when something must be changed.\n\n"
                                     "Example:\n  bluelake audit --set redis.host=10.0.0.10\n  bluelake audit --set "
                                     "redis.socket=data/redis/redis.sock\n",
                                     options};
static const char *const verdicts[] = {"ok", "warn", "FAIL"};

static void print_text(const struct audit_finding *f) {
    printf("%-5s %-28s %s%s%s%s\n", verdicts[f->verdict], f->setting, f->actual,
           f->verdict == AUDIT_OK ? "" : "  (required: ", f->verdict == AUDIT_OK ? "" : f->required,
           f->verdict == AUDIT_OK ? "" : ")");
    if (f->verdict != AUDIT_OK) printf("      consequence: %s\n      cure: %s\n", f->consequence, f->cure);
}

static void print_json(const struct audit_finding *f) {
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    const char *const members[][2] = {{"setting", f->setting},         {"required", f->required},
                                      {"actual", f->actual},           {"verdict", verdicts[f->verdict]},
                                      {"consequence", f->consequence}, {"cure", f->cure}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        bl_buf_printf(&out, "%c\"%s\":", i ? ',' : '{', members[i][0]);
        bl_buf_json(&out, bl_str(members[i][1] ? members[i][1] : ""));
    }
    printf("%.*s}\n", BL_ARG(bl_buf_view(&out)));
}

static enum bl_rc audit(size_t *failures, struct bl_error *err) {
    struct buffer_settings buffer_settings;
    struct buffer *buffer = NULL;
    struct audit_finding findings[AUDIT_MAX];
    size_t count = 0;
    BL_TRY(buffer_settings_init(&buffer_settings, &settings.conf, err));
    enum bl_rc rc = buffer_open(&buffer_settings.options, &buffer, err);
    if (rc == BL_OK) rc = buffer_audit(buffer, findings, &count, err);
    *failures = 0;
    for (size_t i = 0; rc == BL_OK && i < count; i++) {
        *failures += findings[i].verdict == AUDIT_FAIL;
        (json ? print_json : print_text)(&findings[i]);
    }
    buffer_close(&buffer);
    buffer_settings_release(&buffer_settings);
    return rc;
}

int cmd_audit(int argc, char **argv) {
    int first, rc = cmd_parse(&spec, argc, argv, &first);
    if (rc >= 0) return rc;
    struct bl_error err = {0};
    size_t failures;
    if (cmd_conf_load(&settings, spec.name, &err) != BL_OK || audit(&failures, &err) != BL_OK)
        return cmd_fail(spec.name, &err);
    conf_release(&settings.conf);
    rc = cmd_finish_output(spec.name);
    return rc ? rc : failures ? 3 : 0;
}
