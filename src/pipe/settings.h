/* settings: from struct conf to each room's own options. May include: base, conf, source, buffer, event. */
#pragma once
#include "buffer/buffer.h"
#include "conf/conf.h"
#include "source/merge.h"

struct source_settings {
    struct merge_options options;
    const char **collections; /* owned */
    char *dictionary_folder;  /* owned */
};
/* Type names become their collections; "accounts" and "others" cannot be asked for alone and are a BL_E_USAGE. */
enum bl_rc source_settings_init(struct source_settings *s, const struct conf *conf, struct bl_error *err);
void source_settings_release(struct source_settings *s);
/* source.cursor as microseconds since 1970, 0 when empty. */
enum bl_rc start_cursor(const struct conf *conf, int64_t now_us, int64_t *cursor_us, struct bl_error *err);

struct buffer_settings {
    struct buffer_options options;
    char *password; /* owned: read from redis.password_file */
};
enum bl_rc buffer_settings_init(struct buffer_settings *s, const struct conf *conf, struct bl_error *err);
void buffer_settings_release(struct buffer_settings *s);
