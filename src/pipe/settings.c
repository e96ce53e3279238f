#include "pipe/settings.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"

static const char *text_or_null(const char *text) {
    return *text ? text : NULL;
}

/* "posts" -> app.bsky.feed.post; NSIDs and prefixes pass through, the server checks them. */
static enum bl_rc collection_of(const char *name, const char **out, struct bl_error *err) {
    enum ev_type type;
    if (!ev_type_by_name(bl_str(name), &type)) {
        if (!strchr(name, '.'))
            return bl_fail(err, BL_E_USAGE,
                           "source.collections: \"%s\" is neither a type (posts, likes, reposts, follows, blocks, "
                           "profiles) nor an NSID such as app.bsky.feed.post or app.bsky.*",
                           name);
        *out = name;
        return BL_OK;
    }
    *out = ev_schema(type)->collection;
    if (*out) return BL_OK;
    return bl_fail(
        err, BL_E_USAGE,
        "source.collections: %s cannot be asked for by name: identity and account events always arrive, other "
        "collections are named by NSID",
        name);
}

static enum bl_rc protocol_of(const char *name, enum source_protocol *out, struct bl_error *err) {
    static const char *const names[] = {[SOURCE_AUTO] = "auto", [SOURCE_V1] = "v1", [SOURCE_V2] = "v2"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum source_protocol)i;
            return BL_OK;
        }
    return bl_fail(err, BL_E_USAGE, "source.protocol: \"%s\" is none of auto, v1, v2", name);
}

enum bl_rc source_settings_init(struct source_settings *s, const struct conf *conf, struct bl_error *err) {
    const struct conf_list *wanted = &conf->source_collections;
    bool all = wanted->count == 0 || (wanted->count == 1 && strcmp(wanted->items[0], "all") == 0);
    *s = (struct source_settings){.collections = bl_xcalloc(wanted->count + 1, sizeof *s->collections)};
    for (size_t i = 0; !all && i < wanted->count; i++) {
        enum bl_rc rc = collection_of(wanted->items[i], &s->collections[i], err);
        if (rc != BL_OK) {
            source_settings_release(s);
            return rc;
        }
    }
    if (conf->source_fetch_dictionary) s->dictionary_folder = bl_xasprintf("%s/dictionaries", conf->data);
    s->options.redundancy = (unsigned)conf->source_redundancy;
    s->options.heal = conf->source_heal;
    s->options.source = (struct source_options){.urls = (const char *const *)conf->source_urls.items,
                                                .url_count = conf->source_urls.count,
                                                .collections = s->collections,
                                                .collection_count = all ? 0 : wanted->count,
                                                .dids = (const char *const *)conf->source_dids.items,
                                                .did_count = conf->source_dids.count,
                                                .rewind_us = conf->source_rewind,
                                                .host_switch_rewind_us = conf->source_host_switch_rewind,
                                                .idle_limit_us = conf->source_idle_limit,
                                                .ping_limit_us = conf->source_ping_limit,
                                                .backoff_min_us = conf->source_backoff_min,
                                                .backoff_max_us = conf->source_backoff_max,
                                                .dictionary_file = text_or_null(conf->source_dictionary),
                                                .dictionary_folder = s->dictionary_folder,
                                                .ca_file = text_or_null(conf->source_ca_file)};
    enum bl_rc rc = protocol_of(conf->source_protocol, &s->options.source.protocol, err);
    if (rc != BL_OK) source_settings_release(s);
    return rc;
}

void source_settings_release(struct source_settings *s) {
    free(s->collections);
    free(s->dictionary_folder);
    *s = (struct source_settings){0};
}

enum bl_rc start_cursor(const struct conf *conf, int64_t now_us, int64_t *cursor_us, struct bl_error *err) {
    struct bl_str text = bl_str(conf->source_cursor);
    int64_t back_us;
    *cursor_us = 0;
    if (!text.n || bl_parse_i64(text, 1000000000000000, INT64_MAX, cursor_us) || bl_parse_time(text, false, cursor_us))
        return BL_OK;
    if (!bl_parse_duration_us(text, &back_us))
        return bl_fail(err, BL_E_USAGE,
                       "source.cursor: \"%.*s\" is neither a time (2026-11-21T08:00:00Z), nor 16-digit unix "
                       "microseconds, nor a duration back (2h)",
                       BL_ARG(text));
    *cursor_us = now_us - back_us;
    return BL_OK;
}

static enum bl_rc read_password(struct buffer_settings *s, const char *path, struct bl_error *err) {
    enum { PASSWORD_MAX = 4096 };
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = PASSWORD_MAX};
    enum bl_rc rc = bl_read_file(path, PASSWORD_MAX - 1, &text, err);
    if (rc != BL_OK) return bl_err_prefix(err, rc, "redis.password_file");
    s->password = bl_xstrndup(bl_str_trim(bl_buf_view(&text)));
    s->options.password = s->password;
    return BL_OK;
}

enum bl_rc buffer_settings_init(struct buffer_settings *s, const struct conf *conf, struct bl_error *err) {
    *s = (struct buffer_settings){.options = {.unix_socket = text_or_null(conf->redis_socket),
                                              .host = conf->redis_host,
                                              .port = (int)conf->redis_port,
                                              .cluster = (const char *const *)conf->redis_cluster.items,
                                              .cluster_count = conf->redis_cluster.count,
                                              .user = text_or_null(conf->redis_user),
                                              .password = text_or_null(conf->redis_password),
                                              .timeout_ms = (int)(conf->redis_timeout / 1000),
                                              .high_water_bytes = conf->redis_high_water,
                                              .guard = true}};
    return *conf->redis_password_file ? read_password(s, conf->redis_password_file, err) : BL_OK;
}

void buffer_settings_release(struct buffer_settings *s) {
    free(s->password);
    *s = (struct buffer_settings){0};
}
