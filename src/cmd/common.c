#include "cmd/common.h"

#include "obs/log.h"

extern char **environ;

static enum bl_rc apply_set(struct conf *conf, const char *text, struct bl_error *err) {
    struct bl_str value = bl_str(text);
    if (!strchr(text, '=')) return bl_fail(err, BL_E_USAGE, "--set %s: want KEY=VALUE", text);
    struct bl_str key = bl_str_cut(&value, '=');
    enum bl_rc rc = conf_set(conf, key, value, err);
    return rc == BL_OK ? rc : bl_err_prefix(err, rc, "--set");
}

static enum bl_rc setup_log(const struct conf *conf, const char *component, struct bl_error *err) {
    enum bl_level level;
    if (!bl_level_by_name(bl_str(conf->log_level), &level))
        return bl_fail(err, BL_E_USAGE, "log.level: \"%s\" is none of debug, info, warn, error", conf->log_level);
    bool json = strcmp(conf->log_format, "json") == 0;
    if (!json && strcmp(conf->log_format, "text") != 0)
        return bl_fail(err, BL_E_USAGE, "log.format: \"%s\" is neither text nor json", conf->log_format);
    bl_log_setup(component, level, json);
    return BL_OK;
}

enum bl_rc cmd_conf_load(struct cmd_conf *c, const char *component, struct bl_error *err) {
    conf_init(&c->conf);
    if (c->config_file) BL_TRY(conf_load_file(&c->conf, c->config_file, err));
    BL_TRY(conf_load_env(&c->conf, environ, err));
    for (size_t i = 0; i < c->sets.count; i++) BL_TRY(apply_set(&c->conf, c->sets.items[i], err));
    if (c->data) BL_TRY(conf_set(&c->conf, BL_LIT("data"), bl_str(c->data), err));
    return setup_log(&c->conf, component, err);
}
