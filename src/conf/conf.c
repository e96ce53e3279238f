#include "conf/conf.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/near.h"

enum kind { TEXT, INT, DURATION, BYTES, LIST, FLAG };

struct row {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *default_text;
    int64_t min, max;
    bool secret;
    const char *sentence;
};

static const struct row rows[] = {
#define CONF(key, field, kind, default_text, min, max, secret, sentence)                                               \
    {key, kind, offsetof(struct conf, field), default_text, min, max, secret, sentence},
#include "conf/conf.def"
#undef CONF
};
enum { ROWS = sizeof rows / sizeof *rows, FILE_MAX = 1 << 20 };

static void *field_of(struct conf *c, const struct row *row) { return (char *)c + row->offset; }

static void release_list(struct conf_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    *list = (struct conf_list){0};
}

static struct conf_list parse_list(struct bl_str value) {
    struct conf_list list = {0};
    while (value.n) {
        struct bl_str item = bl_str_trim(bl_str_cut(&value, ','));
        if (!item.n) continue;
        list.items = bl_xrealloc(list.items, (list.count + 1) * sizeof *list.items);
        list.items[list.count++] = bl_xstrndup(item);
    }
    return list;
}

static const char *unit_hint(enum kind kind) {
    switch (kind) {
    case INT: return "a whole number";
    case DURATION: return "a duration such as 250ms, 5s, 10m, 2h";
    case BYTES: return "a size such as 64k, 512m, 2g";
    case FLAG: return "true or false";
    case TEXT:
    case LIST: break;
    }
    return "text";
}

static void format_bound(const struct row *row, int64_t v, char out[static BL_TIME_TEXT_MAX]) {
    if (row->kind == DURATION)
        bl_format_duration(v, out);
    else if (row->kind == BYTES)
        bl_format_bytes(v, out);
    else
        snprintf(out, BL_TIME_TEXT_MAX, "%lld", (long long)v);
}

static enum bl_rc set_number(const struct row *row, struct bl_str value, int64_t *target, struct bl_error *err) {
    int64_t v;
    bool parsed = row->kind == INT        ? bl_parse_i64(value, INT64_MIN, INT64_MAX, &v)
                  : row->kind == DURATION ? bl_parse_duration_us(value, &v)
                                          : bl_parse_bytes(value, &v);
    if (!parsed)
        return bl_fail(err, BL_E_USAGE, "%s: \"%.*s\" is not %s", row->key, BL_ARG(value), unit_hint(row->kind));
    if (v < row->min || (row->max && v > row->max)) {
        char low[BL_TIME_TEXT_MAX], high[BL_TIME_TEXT_MAX];
        format_bound(row, row->min, low);
        format_bound(row, row->max, high);
        if (!row->max)
            return bl_fail(err, BL_E_USAGE, "%s: %.*s is below the least value, %s", row->key, BL_ARG(value), low);
        return bl_fail(err, BL_E_USAGE, "%s: %.*s is out of range: from %s to %s", row->key, BL_ARG(value), low, high);
    }
    *target = v;
    return BL_OK;
}

static enum bl_rc set_flag(const struct row *row, struct bl_str value, bool *target, struct bl_error *err) {
    bool yes = bl_str_eq(value, BL_LIT("true")), no = bl_str_eq(value, BL_LIT("false"));
    if (!yes && !no)
        return bl_fail(err, BL_E_USAGE, "%s: \"%.*s\" is not %s", row->key, BL_ARG(value), unit_hint(FLAG));
    *target = yes;
    return BL_OK;
}

/* A settings file could not hold it again. */
static enum bl_rc check_one_line(const struct row *row, struct bl_str value, struct bl_error *err) {
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == 0 || value.p[i] == '\n' || value.p[i] == '\r')
            return bl_fail(err, BL_E_USAGE, "%s: the value holds a line break or a NUL byte", row->key);
    return BL_OK;
}

static enum bl_rc set_row(struct conf *c, const struct row *row, struct bl_str value, struct bl_error *err) {
    BL_TRY(check_one_line(row, value, err));
    switch (row->kind) {
    case TEXT: {
        char **text = field_of(c, row);
        free(*text);
        *text = bl_xstrndup(value);
        return BL_OK;
    }
    case LIST: {
        struct conf_list *list = field_of(c, row);
        release_list(list);
        *list = parse_list(value);
        return BL_OK;
    }
    case FLAG: return set_flag(row, value, field_of(c, row), err);
    case INT:
    case DURATION:
    case BYTES: return set_number(row, value, field_of(c, row), err);
    }
    return bl_fail(err, BL_E_INTERNAL, "setting %s has no kind", row->key);
}

static const char *key_at(size_t i, const void *context) {
    (void)context;
    return i < ROWS ? rows[i].key : NULL;
}

enum bl_rc conf_set(struct conf *c, struct bl_str key, struct bl_str value, struct bl_error *err) {
    for (size_t i = 0; i < ROWS; i++)
        if (bl_str_eq(key, bl_str(rows[i].key))) return set_row(c, &rows[i], value, err);
    const char *near = bl_nearest(key, key_at, NULL);
    return bl_fail(err, BL_E_USAGE, "unknown setting \"%.*s\"%s%s%s (`bluelake config` lists all)", BL_ARG(key),
                   near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

void conf_init(struct conf *c) {
    *c = (struct conf){0};
    struct bl_error err;
    for (size_t i = 0; i < ROWS; i++)
        if (set_row(c, &rows[i], bl_str(rows[i].default_text), &err) != BL_OK)
            bl_assert_failed(err.message, __FILE__, __LINE__);
}

void conf_release(struct conf *c) {
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].kind == LIST) release_list(field_of(c, &rows[i]));
        if (rows[i].kind == TEXT) free(*(char **)field_of(c, &rows[i]));
    }
    *c = (struct conf){0};
}

static enum bl_rc load_line(struct conf *c, struct bl_str line, struct bl_error *err) {
    line = bl_str_trim(line);
    if (!line.n || line.p[0] == '#') return BL_OK;
    if (!memchr(line.p, '=', line.n))
        return bl_fail(err, BL_E_USAGE, "\"%.*s\" is not of the form key = value", BL_ARG(line));
    struct bl_str key = bl_str_trim(bl_str_cut(&line, '='));
    return conf_set(c, key, bl_str_trim(line), err);
}

enum bl_rc conf_load_file(struct conf *c, const char *path, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = FILE_MAX};
    enum bl_rc rc = bl_read_file(path, FILE_MAX, &text, err);
    if (rc != BL_OK) return bl_err_prefix(err, rc, "settings file");
    struct bl_str rest = bl_buf_view(&text);
    for (int number = 1; rest.n; number++) {
        rc = load_line(c, bl_str_cut(&rest, '\n'), err);
        if (rc != BL_OK) return bl_err_prefix(err, rc, "%s:%d", path, number);
    }
    return BL_OK;
}

/* source.urls -> BLUELAKE_SOURCE_URLS */
static void env_name(const char *key, char out[static 64]) {
    size_t n = (size_t)snprintf(out, 64, "BLUELAKE_%s", key);
    for (size_t i = 9; i < n; i++)
        out[i] = (char)(out[i] == '.' ? '_' : out[i] >= 'a' && out[i] <= 'z' ? out[i] - 32 : out[i]);
}

enum bl_rc conf_load_env(struct conf *c, char *const *environment, struct bl_error *err) {
    for (; *environment; environment++) {
        struct bl_str value = bl_str(*environment);
        if (!bl_str_starts(value, BL_LIT("BLUELAKE_"))) continue;
        struct bl_str name = bl_str_cut(&value, '=');
        const struct row *found = NULL;
        for (size_t i = 0; i < ROWS && !found; i++) {
            char wanted[64];
            env_name(rows[i].key, wanted);
            if (bl_str_eq(name, bl_str(wanted))) found = &rows[i];
        }
        if (!found)
            return bl_fail(err, BL_E_USAGE, "environment: %.*s names no setting (`bluelake config` lists all)",
                           BL_ARG(name));
        enum bl_rc rc = set_row(c, found, value, err);
        if (rc != BL_OK) return bl_err_prefix(err, rc, "environment %.*s", BL_ARG(name));
    }
    return BL_OK;
}

static void print_value(struct conf *c, const struct row *row, struct bl_buf *out) {
    switch (row->kind) {
    case TEXT: bl_buf_z(out, *(const char **)field_of(c, row)); break;
    case FLAG: bl_buf_z(out, *(bool *)field_of(c, row) ? "true" : "false"); break;
    case INT:
    case BYTES: bl_buf_i64(out, *(int64_t *)field_of(c, row)); break;
    case DURATION: bl_buf_printf(out, "%lldus", *(long long *)field_of(c, row)); break;
    case LIST: {
        const struct conf_list *list = field_of(c, row);
        for (size_t i = 0; i < list->count; i++) bl_buf_printf(out, "%s%s", i ? "," : "", list->items[i]);
        break;
    }
    }
}

void conf_print(const struct conf *c, struct bl_buf *out) {
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        bl_buf_printf(out, "# %s\n", row->sentence);
        if (row->secret) {
            const char *text = *(const char **)field_of((struct conf *)c, row);
            bl_buf_printf(out, "# %s = (%s)\n\n", row->key, *text ? "set" : "not set");
            continue;
        }
        bl_buf_printf(out, "%s = ", row->key);
        print_value((struct conf *)c, row, out);
        bl_buf_z(out, "\n\n");
    }
}

void conf_document(struct bl_buf *out) {
    static const char *const kinds[] = {"text", "number", "duration", "size", "list", "true/false"};
    bl_buf_z(
        out,
        "# Settings\n\nGenerated from `src/conf/conf.def`; `make docs` renews it.\n\n"
        "Precedence: default < settings file (`--config FILE`, lines of `key = value`) < environment < command line "
        "(`--set key=value`). Unknown keys and values out of range stop the program with the place and the cure.\n\n"
        "| setting | environment | kind | default | range | meaning |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        char name[64], low[BL_TIME_TEXT_MAX] = "", high[BL_TIME_TEXT_MAX] = "";
        env_name(row->key, name);
        if (row->min) format_bound(row, row->min, low);
        if (row->max) format_bound(row, row->max, high);
        const char *shown = *row->default_text ? row->default_text : "";
        bl_buf_printf(out, "| `%s` | `%s` | %s | %s%s%s | %s%s%s | %s%s |\n", row->key, name, kinds[row->kind],
                      *shown ? "`" : "", shown, *shown ? "`" : "", low, *low || *high ? " .. " : "", high,
                      row->sentence, row->secret ? " (secret: never printed)" : "");
    }
}
