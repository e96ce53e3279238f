/* common: options many subcommands share: --data, --config, --set. May include: base, conf, obs, cmd.h. */
#pragma once
#include "cmd/cmd.h"
#include "conf/conf.h"

struct cmd_conf {
    struct conf conf;
    const char *data, *config_file;
    struct cmd_list sets;
};
#define CMD_CONF_OPTIONS(c)                                                                                            \
    {"data", OPT_TEXT, &(c).data, "DIR", "folder of the lake (default: data)", 0, 0},                                  \
    {"config", OPT_TEXT, &(c).config_file, "FILE", "settings file; `bluelake config` shows all settings", 0, 0},       \
    {"set", OPT_REPEAT, &(c).sets, "KEY=VALUE", "one setting, over file and environment; may be repeated", 0, 0}
/* Defaults, file, environment, --set, --data, in this order; sets up logging for `component`. */
enum bl_rc cmd_conf_load(struct cmd_conf *c, const char *component, struct bl_error *err);
