#include "base/rng.h"
#include "expect.h"
#include "pipe/window.h"

static struct ev_id id_of(uint64_t i) {
    return (struct ev_id){bl_mix64(i + 1), bl_mix64(i ^ BL_GOLDEN)};
}

static void the_last_many_are_known_and_the_old_forgotten(void **state) {
    (void)state;
    enum { LAST = 3 * WINDOW_EVENTS };
    struct window w = {0};
    for (uint64_t i = 0; i < LAST; i++) {
        EXPECT(!window_saw(&w, id_of(i)));
        if (i % 1000 == 0) EXPECT(window_saw(&w, id_of(i)));
    }
    for (uint64_t i = LAST - WINDOW_EVENTS; i < LAST; i++) EXPECT(window_saw(&w, id_of(i)));
    EXPECT(!window_saw(&w, id_of(0)));
    window_clear(&w);
    EXPECT(!window_saw(&w, id_of(LAST - 1)));
    window_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_many_are_known_and_the_old_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
