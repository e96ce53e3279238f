#include "base/io.h"
#include "buffer/audit.h"
#include "fixture.h"

static struct server server;

static void audit(struct audit_finding out[static AUDIT_MAX], size_t *count) {
    struct bl_error err = {0};
    struct buffer *b = open_buffer(server.socket);
    EXPECT_OK(buffer_audit(b, out, count, &err), &err);
    buffer_close(&b);
}

static const struct audit_finding *finding(const struct audit_finding *all, size_t count, const char *setting) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].setting, setting) == 0) return &all[i];
    fail_msg("no finding for %s", setting);
    return NULL;
}

static int stop(void **state) {
    (void)state;
    server_stop(&server);
    return 0;
}

static void redis_accepts_the_shipped_configuration_and_the_audit_passes(void **state) {
    (void)state;
    static const char *const options[] = {NULL};
    server_start(&server, BL_REPO_DIR "/deploy/redis/redis.conf", options);
    struct audit_finding found[AUDIT_MAX];
    size_t count = 0;
    audit(found, &count);
    EXPECT(count > 15);
    for (size_t i = 0; i < count; i++)
        if (found[i].verdict != AUDIT_OK) fail_msg("%s is \"%s\"", found[i].setting, found[i].actual);
}

static void each_altered_setting_is_named(void **state) {
    (void)state;
    static const struct {
        const char *setting, *value;
        enum audit_verdict verdict;
    } altered[] = {
        {"maxmemory", "1gb", AUDIT_WARN},
        {"maxmemory-policy", "allkeys-lru", AUDIT_WARN},
        {"maxmemory-policy", "volatile-ttl", AUDIT_FAIL},
        {"appendonly", "no", AUDIT_FAIL},
        {"appendfsync", "no", AUDIT_FAIL},
        {"appendfsync", "always", AUDIT_OK},
        {"no-appendfsync-on-rewrite", "yes", AUDIT_WARN},
        {"aof-load-truncated", "no", AUDIT_WARN},
        {"auto-aof-rewrite-percentage", "50", AUDIT_WARN},
        {"auto-aof-rewrite-min-size", "1mb", AUDIT_WARN},
        {"save", "60 1", AUDIT_WARN},
        {"tcp-keepalive", "60", AUDIT_WARN},
        {"timeout", "30", AUDIT_WARN},
        {"protected-mode", "no", AUDIT_WARN},
    };
    for (size_t i = 0; i < sizeof altered / sizeof *altered; i++) {
        server_start(&server, BL_REPO_DIR "/deploy/redis/redis.conf", NULL);
        command_ok(&server, "CONFIG SET %s %s", altered[i].setting, altered[i].value);
        struct audit_finding found[AUDIT_MAX];
        size_t count = 0;
        audit(found, &count);
        for (size_t k = 0; k < count; k++) {
            bool this = strcmp(found[k].setting, altered[i].setting) == 0;
            if (found[k].verdict != (this ? altered[i].verdict : AUDIT_OK))
                fail_msg("%s %s: %s is %d", altered[i].setting, altered[i].value, found[k].setting, found[k].verdict);
            EXPECT(*found[k].cure && *found[k].consequence && *found[k].required + 1);
        }
        server_stop(&server);
    }
}

static void settings_fixed_at_the_start_are_named_too(void **state) {
    (void)state;
    static const char *const options[] = {"--databases", "16", "--tcp-backlog", "128", "--appendfilename", "other.aof",
                                          "--bind", "127.0.0.1 0.0.0.0", NULL};
    server_start(&server, BL_REPO_DIR "/deploy/redis/redis.conf", options);
    struct audit_finding found[AUDIT_MAX];
    size_t count = 0;
    audit(found, &count);
    static const char *const settings[] = {"databases", "tcp-backlog", "appendfilename", "bind"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_int_equal(finding(found, count, settings[i])->verdict, AUDIT_WARN);
    assert_string_equal(finding(found, count, "databases")->actual, "16");
}

static void the_documented_table_is_the_table(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_buf doc = {0}, table = {0};
    EXPECT_OK(bl_read_file(BL_REPO_DIR "/docs/BUFFER.md", 1 << 20, &doc, &err), &err);
    buffer_audit_table(&table);
    if (!strstr(bl_buf_cstr(&doc), bl_buf_cstr(&table))) fail_msg("docs/BUFFER.md should contain:\n%s", bl_buf_cstr(&table));
    bl_buf_release(&doc), bl_buf_release(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(redis_accepts_the_shipped_configuration_and_the_audit_passes, stop),
        cmocka_unit_test_teardown(each_altered_setting_is_named, stop),
        cmocka_unit_test_teardown(settings_fixed_at_the_start_are_named_too, stop),
        cmocka_unit_test(the_documented_table_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
