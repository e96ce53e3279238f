#include "lake/twice.h"

#include "base/rng.h"
#include "expect.h"

static struct ev_id nth(uint64_t n) { return (struct ev_id){bl_mix64(n), bl_mix64(n + 1)}; }

struct found {
    size_t count;
    uint64_t sum;
};

static enum bl_rc note(void *context, struct ev_id id, uint32_t file, uint32_t before, struct bl_error *err) {
    (void)err;
    struct found *f = context;
    assert_int_equal(file, before + 1);
    f->count++;
    f->sum += id.lo;
    return BL_OK;
}

static struct found find(uint64_t rows, uint64_t repeated_each, const char *folder) {
    struct bl_error err = {0};
    struct found f = {0};
    struct twice *t = twice_new(folder);
    for (uint64_t n = 0; n < rows; n++) EXPECT_OK(twice_add(t, nth(n), 1, &err), &err);
    for (uint64_t n = 0; n < rows; n += repeated_each) EXPECT_OK(twice_add(t, nth(n), 2, &err), &err);
    EXPECT_OK(twice_find(t, note, &f, &err), &err);
    twice_free(&t);
    return f;
}

static void every_repetition_is_found_in_memory_and_in_files(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 1000, 1000000}; /* the last one does not fit into memory */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t sum = 0;
        for (uint64_t n = 0; n < sizes[i]; n += 997) sum += nth(n).lo;
        struct found f = find(sizes[i], 997, i == 1 ? "/nowhere" : "/tmp");
        assert_int_equal(f.count, (sizes[i] + 996) / 997);
        assert_int_equal(f.sum, sum);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_repetition_is_found_in_memory_and_in_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
