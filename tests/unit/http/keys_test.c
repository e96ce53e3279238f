/* The key store: nothing secret on disk, names unique, revocation seen at once. */
#include "http/keys.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "expect.h"
#include "http/routes.h"

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bluelake-keys-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void a_key_works_until_it_is_revoked_and_is_stored_nowhere(void **state) {
    (void)state;
    struct bl_error err = {0};
    char first[KEY_TEXT_MAX], second[KEY_TEXT_MAX];
    struct keys keys = {0};
    EXPECT_OK(keys_open(dir, &keys, &err), &err);
    assert_int_equal(keys.count, 0);
    EXPECT_OK(keys_add(dir, BL_LIT("desk"), HTTP_SEARCH | HTTP_EXPORT, bl_wall_us(), first, &err), &err);
    EXPECT_OK(keys_add(dir, BL_LIT("ops"), HTTP_METRICS, bl_wall_us(), second, &err), &err);
    EXPECT(strlen(first) == 67 && strcmp(first, second) != 0);
    EXPECT_OK(keys_refresh(&keys, &err), &err);
    const struct key *key = keys_find(&keys, bl_str(first));
    EXPECT(key && strcmp(key->name, "desk") == 0 && key->scopes == (HTTP_SEARCH | HTTP_EXPORT));
    EXPECT(!keys_find(&keys, BL_LIT("bl_")) && !keys_find(&keys, BL_LIT("")) && !keys_find(&keys, bl_strn(first, 66)));

    char path[128];
    struct stat st;
    BL_CLEANUP(bl_buf_release) struct bl_buf file = {0};
    snprintf(path, sizeof path, "%s/keys.json", dir);
    EXPECT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    EXPECT_OK(bl_read_file(path, 1 << 16, &file, &err), &err);
    EXPECT(!memmem(file.p, file.n, first + 3, 16));

    EXPECT_OK(keys_revoke(dir, BL_LIT("desk"), bl_wall_us(), &err), &err);
    EXPECT_OK(keys_refresh(&keys, &err), &err);
    EXPECT(!keys_find(&keys, bl_str(first)) && keys_find(&keys, bl_str(second)) && keys_valid(&keys) == 1 &&
           keys.count == 2);
    EXPECT_RC(keys_revoke(dir, BL_LIT("desk"), bl_wall_us(), &err), BL_E_NOT_FOUND);
    EXPECT_OK(keys_add(dir, BL_LIT("desk"), HTTP_SEARCH, bl_wall_us(), first, &err), &err);
    keys_close(&keys);
}

static void bad_names_and_doubles_are_refused(void **state) {
    (void)state;
    struct bl_error err = {0};
    char text[KEY_TEXT_MAX];
    EXPECT_RC(keys_add(dir, BL_LIT("ops"), HTTP_SEARCH, 1, text, &err), BL_E_USAGE);
    EXPECT_RC(keys_add(dir, BL_LIT("a\"b"), HTTP_SEARCH, 1, text, &err), BL_E_USAGE);
    EXPECT_RC(keys_add(dir, BL_LIT(""), HTTP_SEARCH, 1, text, &err), BL_E_USAGE);
    unsigned scopes = 0;
    struct bl_str bad;
    EXPECT(http_scopes_parse(BL_LIT("search, admin"), &scopes, &bad) && scopes == (HTTP_SEARCH | HTTP_ADMIN));
    EXPECT(!http_scopes_parse(BL_LIT("search,serach"), &scopes, &bad));
    EXPECT_STR(bad, "serach");
}

static void a_damaged_file_keeps_the_keys_that_were_read(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct keys keys = {0};
    char path[128];
    EXPECT_OK(keys_open(dir, &keys, &err), &err);
    size_t count = keys.count;
    EXPECT(count > 0);
    snprintf(path, sizeof path, "%s/keys.json", dir);
    static const char *const damaged[] = {"", "{", "{\"keys\":[{}]}", "[]",
                                          "{\"keys\":[{\"name\":\"x\",\"scopes\":\"root\",\"sha256\":\"00\"}]}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        EXPECT_OK(bl_write_file_atomic(path, bl_str(damaged[i]), &err), &err);
        EXPECT_RC(keys_refresh(&keys, &err), BL_E_CORRUPT);
        assert_int_equal(keys.count, count);
    }
    keys_close(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_key_works_until_it_is_revoked_and_is_stored_nowhere),
                                       cmocka_unit_test(bad_names_and_doubles_are_refused),
                                       cmocka_unit_test(a_damaged_file_keeps_the_keys_that_were_read)};
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
