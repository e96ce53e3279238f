#include "conf/conf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "expect.h"

static const struct {
    const char *key, *kind, *default_text;
    int64_t min, max;
    bool secret;
} rows[] = {
#define CONF(key, field, kind, default_text, min, max, secret, sentence) {key, #kind, default_text, min, max, secret},
#include "conf/conf.def"
#undef CONF
};
enum { ROWS = sizeof rows / sizeof *rows };

static char path[64];

static int make_file(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/bl-conf-XXXXXX");
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const char *text) {
    struct bl_error err = {0};
    EXPECT_OK(bl_write_file_atomic(path, bl_str(text), &err), &err);
}

static enum bl_rc set(struct conf *c, const char *key, const char *value, struct bl_error *err) {
    return conf_set(c, bl_str(key), bl_str(value), err);
}

static bool is_number(size_t i) {
    return strcmp(rows[i].kind, "INT") == 0 || strcmp(rows[i].kind, "DURATION") == 0 ||
           strcmp(rows[i].kind, "BYTES") == 0;
}

/* As a value of the row's kind: durations in microseconds, the others bare. */
static void number(size_t i, int64_t v, char out[static 40]) {
    snprintf(out, 40, "%" PRId64 "%s", v, strcmp(rows[i].kind, "DURATION") == 0 ? "us" : "");
}

static void later_sources_win_over_earlier_ones(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct conf c;
    conf_init(&c);
    EXPECT(c.redis_port == 6379 && c.write_interval == 300000000 && c.source_urls.count == 4);
    write_file(
        "# comment\n\n  redis.port =  7001  \nwrite.interval=7m\nsource.urls = ws://a , ws://b,,\nredis.host = f\n");
    EXPECT_OK(conf_load_file(&c, path, &err), &err);
    EXPECT(c.redis_port == 7001 && c.write_interval == 420000000 && c.source_urls.count == 2);
    assert_string_equal(c.source_urls.items[1], "ws://b");
    static char port[] = "BLUELAKE_REDIS_PORT=7002", other[] = "PATH=/bin", urls[] = "BLUELAKE_SOURCE_URLS=ws://c=d";
    EXPECT_OK(conf_load_env(&c, (char *[]){other, port, urls, NULL}, &err), &err);
    EXPECT(c.redis_port == 7002 && c.source_urls.count == 1);
    assert_string_equal(c.source_urls.items[0], "ws://c=d");
    EXPECT_OK(set(&c, "redis.port", "7003", &err), &err);
    EXPECT(c.redis_port == 7003);
    assert_string_equal(c.redis_host, "f");
    conf_release(&c);
}

static void every_number_is_taken_up_to_its_bounds_and_refused_beyond(void **state) {
    (void)state;
    struct conf c;
    conf_init(&c);
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_number(i)) continue;
        struct bl_error err = {0};
        char text[40];
        number(i, rows[i].min, text);
        EXPECT_OK(set(&c, rows[i].key, text, &err), &err);
        if (rows[i].min > 0) {
            number(i, rows[i].min - 1, text);
            EXPECT_RC(set(&c, rows[i].key, text, &err), BL_E_USAGE);
            EXPECT(strstr(err.message, rows[i].key));
        }
        number(i, rows[i].max ? rows[i].max : INT64_MAX, text);
        EXPECT_OK(set(&c, rows[i].key, text, &err), &err);
        number(i, rows[i].max ? rows[i].max + 1 : -1, text);
        EXPECT_RC(set(&c, rows[i].key, text, &err), BL_E_USAGE);
        EXPECT(strstr(err.message, rows[i].key));
        EXPECT_RC(set(&c, rows[i].key, "soon", &err), BL_E_USAGE);
        EXPECT(strstr(err.message, "\"soon\" is not"));
        EXPECT_RC(set(&c, rows[i].key, "", &err), BL_E_USAGE);
        EXPECT_OK(set(&c, rows[i].key, rows[i].default_text, &err), &err);
    }
    conf_release(&c);
}

static void a_refused_value_leaves_the_old_one(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct conf c;
    conf_init(&c);
    EXPECT_RC(set(&c, "redis.port", "0", &err), BL_E_USAGE);
    EXPECT(c.redis_port == 6379);
    EXPECT_RC(conf_set(&c, BL_LIT("redis.host"), BL_LIT("a\0b"), &err), BL_E_USAGE);
    EXPECT_RC(set(&c, "redis.host", "a\nredis.port = 1", &err), BL_E_USAGE);
    EXPECT_RC(set(&c, "source.dids", "a,b\nredis.port = 1", &err), BL_E_USAGE);
    assert_string_equal(c.redis_host, "127.0.0.1");
    conf_release(&c);
}

static void unknown_keys_are_refused_with_the_nearest_known_one(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct conf c;
    conf_init(&c);
    EXPECT_RC(set(&c, "redis.prot", "1", &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "did you mean \"redis.port\"?"));
    EXPECT_RC(set(&c, "cheese", "1", &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "bluelake config") && !strstr(err.message, "did you mean"));
    static char typo[] = "BLUELAKE_REDIS_PROT=1", bad[] = "BLUELAKE_REDIS_PORT=x";
    EXPECT_RC(conf_load_env(&c, (char *[]){typo, NULL}, &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "BLUELAKE_REDIS_PROT"));
    EXPECT_RC(conf_load_env(&c, (char *[]){bad, NULL}, &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "BLUELAKE_REDIS_PORT") && strstr(err.message, "a whole number"));
    conf_release(&c);
}

static void errors_in_a_file_name_the_file_and_the_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *says;
    } table[] = {{"redis.port = 1\n\n# x\nredis.prot = 2\n", 4, "did you mean"},
                 {"redis.port\n", 1, "not of the form key = value"},
                 {"a = 1", 1, "unknown setting"},
                 {"redis.port = 6379 # no comments here\n", 1, "whole number"},
                 {"\n\nwrite.interval = 1ms\r\n", 3, "out of range"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct bl_error err = {0};
        struct conf c;
        char place[96];
        conf_init(&c);
        write_file(table[i].text);
        EXPECT_RC(conf_load_file(&c, path, &err), BL_E_USAGE);
        snprintf(place, sizeof place, "%s:%d: ", path, table[i].line);
        if (strncmp(err.message, place, strlen(place)) != 0 || !strstr(err.message, table[i].says))
            fail_msg("%s", err.message);
        conf_release(&c);
    }
    struct bl_error err = {0};
    struct conf c;
    conf_init(&c);
    EXPECT_RC(conf_load_file(&c, "/no/such/file", &err), BL_E_NOT_FOUND);
    EXPECT(strstr(err.message, "settings file: /no/such/file"));
    conf_release(&c);
}

static void what_is_printed_loads_to_the_same_settings(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct conf c, again;
    conf_init(&c);
    for (size_t i = 0; i < ROWS; i++) {
        char text[40];
        number(i, rows[i].max ? rows[i].max - 1 : rows[i].min + 12345, text);
        const char *value = is_number(i)                         ? text
                            : strcmp(rows[i].kind, "LIST") == 0 ? "one, two ,three=3"
                            : strcmp(rows[i].kind, "FLAG") == 0 ? "true"
                                                                 : "some = text # with, signs";
        EXPECT_OK(set(&c, rows[i].key, value, &err), &err);
    }
    struct bl_buf first = {0}, second = {0};
    conf_print(&c, &first);
    EXPECT(!strstr(bl_buf_cstr(&first), "redis.password = some"));
    write_file(bl_buf_cstr(&first));
    conf_init(&again);
    EXPECT_OK(conf_load_file(&again, path, &err), &err);
    EXPECT_OK(set(&again, "redis.password", "some = text # with, signs", &err), &err); /* secrets are not printed */
    conf_print(&again, &second);
    assert_string_equal(bl_buf_cstr(&first), bl_buf_cstr(&second));
    bl_buf_release(&first), bl_buf_release(&second);
    conf_release(&c), conf_release(&again);
}

static void secrets_are_named_and_never_shown(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct conf c;
    struct bl_buf out = {0};
    conf_init(&c);
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].secret) EXPECT_OK(set(&c, rows[i].key, "hush-hush", &err), &err);
    conf_print(&c, &out);
    EXPECT(!strstr(bl_buf_cstr(&out), "hush") && strstr(bl_buf_cstr(&out), "# redis.password = (set)"));
    bl_buf_release(&out);
    conf_release(&c);
}

static void the_reference_page_names_every_setting(void **state) {
    (void)state;
    struct bl_buf out = {0};
    conf_document(&out);
    for (size_t i = 0; i < ROWS; i++) {
        char cell[96];
        snprintf(cell, sizeof cell, "| `%s` | `BLUELAKE_", rows[i].key);
        EXPECT(strstr(bl_buf_cstr(&out), cell));
    }
    bl_buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_sources_win_over_earlier_ones),
        cmocka_unit_test(every_number_is_taken_up_to_its_bounds_and_refused_beyond),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(unknown_keys_are_refused_with_the_nearest_known_one),
        cmocka_unit_test(errors_in_a_file_name_the_file_and_the_line),
        cmocka_unit_test(what_is_printed_loads_to_the_same_settings),
        cmocka_unit_test(secrets_are_named_and_never_shown),
        cmocka_unit_test(the_reference_page_names_every_setting),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
