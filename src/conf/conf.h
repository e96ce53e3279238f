/* conf: settings, from one table (conf.def).
 *
 * May include: base. Precedence: default < file < environment (BLUELAKE_SOURCE_URLS for source.urls) < command line
 * (--set key=value and the subcommands' own options). A file holds `key = value` lines, # comments on their own line.
 * Unknown keys, values of the wrong form and values out of range are errors that name file, line, key and the cure;
 * nothing is guessed.
 *
 *     struct conf c; conf_init(&c);
 *     BL_TRY(conf_load_file(&c, path, err)); BL_TRY(conf_load_env(&c, environ, err));
 *     use(c.redis_port); conf_release(&c); */
#pragma once
#include "base/mem.h"

struct conf_list {
    char **items;
    size_t count;
};

#define CONF_TYPE_TEXT const char *
#define CONF_TYPE_INT int64_t
#define CONF_TYPE_DURATION int64_t
#define CONF_TYPE_BYTES int64_t
#define CONF_TYPE_LIST struct conf_list
#define CONF_TYPE_FLAG bool
struct conf {
#define CONF(key, field, kind, default_text, min, max, secret, sentence) CONF_TYPE_##kind field;
#include "conf/conf.def"
#undef CONF
};

void conf_init(struct conf *c); /* defaults */
void conf_release(struct conf *c);
enum bl_rc conf_set(struct conf *c, struct bl_str key, struct bl_str value, struct bl_error *err);
enum bl_rc conf_load_file(struct conf *c, const char *path, struct bl_error *err);
enum bl_rc conf_load_env(struct conf *c, char *const *environment, struct bl_error *err);
/* Effective settings as a file conf_load_file reads; secrets as "(set)" comments. */
void conf_print(const struct conf *c, struct bl_buf *out);
/* The table as a Markdown page: docs/CONFIG.md. */
void conf_document(struct bl_buf *out);
