#include "base/io.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"

static char dir[64];

static int enter(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bl-io-XXXXXX");
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int leave(void **state) {
    (void)state;
    static const char *const files[] = {"f", "f.tmp", "a/b/c/g", "a/b/c", "a/b", "a"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) remove(files[i]);
    return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static void a_file_is_read_up_to_its_limit_and_refused_beyond(void **state) {
    (void)state;
    struct bl_error err = {0};
    static char bytes[200001];
    memset(bytes, 'x', sizeof bytes);
    EXPECT_OK(bl_write_file_atomic("f", bl_strn(bytes, sizeof bytes), &err), &err);
    struct bl_buf b = {0};
    bl_buf_z(&b, "before ");
    EXPECT_OK(bl_read_file("f", sizeof bytes, &b, &err), &err);
    EXPECT(b.n == 7 + sizeof bytes && memcmp(b.p, "before xxx", 10) == 0);
    bl_buf_clear(&b);
    EXPECT_RC(bl_read_file("f", sizeof bytes - 1, &b, &err), BL_E_TOO_LARGE);
    EXPECT(strstr(err.message, "f: larger than 200000 bytes"));
    bl_buf_release(&b);
    b = (struct bl_buf){.max = 1000};
    EXPECT_RC(bl_read_file("f", sizeof bytes, &b, &err), BL_E_FULL);
    bl_buf_release(&b);
}

static void a_missing_file_and_an_unreadable_one_are_told_apart(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_buf b = {0};
    EXPECT_RC(bl_read_file("no/such/file", 10, &b, &err), BL_E_NOT_FOUND);
    EXPECT(strstr(err.message, "no/such/file: No such file"));
    EXPECT_RC(bl_read_file(dir, 10, &b, &err), BL_E_IO);
    bl_buf_release(&b);
}

static void an_atomic_write_replaces_the_whole_file_and_leaves_no_other(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_buf b = {0};
    EXPECT_OK(bl_write_file_atomic("f", BL_LIT("the old text, longer"), &err), &err);
    EXPECT_OK(bl_write_file_atomic("f", BL_LIT("new"), &err), &err);
    EXPECT_OK(bl_read_file("f", 100, &b, &err), &err);
    EXPECT_STR(bl_buf_view(&b), "new");
    EXPECT(access("f.tmp", F_OK) != 0);
    EXPECT_RC(bl_write_file_atomic("no/such/folder/f", BL_LIT("x"), &err), BL_E_IO);
    bl_buf_release(&b);
}

static void folders_are_made_with_their_parents_once_or_twice(void **state) {
    (void)state;
    struct bl_error err = {0};
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(bl_make_dirs("a/b/c", &err), &err);
        EXPECT_OK(bl_make_dirs("a/b//c/", &err), &err);
    }
    EXPECT_OK(bl_write_file_atomic("a/b/c/g", BL_LIT(""), &err), &err);
    struct stat s;
    EXPECT(stat("a/b/c", &s) == 0 && S_ISDIR(s.st_mode));
    EXPECT_RC(bl_make_dirs("a/b/c/g/h", &err), BL_E_IO);
    EXPECT_OK(bl_fsync_dir("a/b", &err), &err);
    EXPECT_RC(bl_fsync_dir("a/x", &err), BL_E_IO);
}

static void writing_to_a_full_device_is_an_error(void **state) {
    (void)state;
    struct bl_error err = {0};
    FILE *full = fopen("/dev/full", "w");
    if (!full) skip();
    EXPECT_RC(bl_write_all(fileno(full), BL_LIT("x"), "/dev/full", &err), BL_E_IO);
    EXPECT(strstr(err.message, "No space left"));
    fclose(full);
}

static void a_free_port_is_a_port(void **state) {
    (void)state;
    struct bl_error err = {0};
    int port = 0;
    EXPECT_OK(bl_free_port(&port, &err), &err);
    EXPECT(port > 0 && port < 65536);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_up_to_its_limit_and_refused_beyond),
        cmocka_unit_test(a_missing_file_and_an_unreadable_one_are_told_apart),
        cmocka_unit_test(an_atomic_write_replaces_the_whole_file_and_leaves_no_other),
        cmocka_unit_test(folders_are_made_with_their_parents_once_or_twice),
        cmocka_unit_test(writing_to_a_full_device_is_an_error),
        cmocka_unit_test(a_free_port_is_a_port),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
