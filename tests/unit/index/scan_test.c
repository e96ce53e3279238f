/* The search for a run of bytes against memmem. */
#include "index/scan.h"

#include <stdlib.h>

#include "base/rng.h"
#include "expect.h"

typedef const char *(*find_fn)(const struct scan_needle *n, const char *p, const char *end);
static const find_fn finders[] = {scan_find, scan_find_sse2};

/* The text has its own allocation with the slack that is promised and not a byte more. */
static void compare(struct bl_str text, struct bl_str needle) {
    char *copy = bl_xmalloc(text.n + SCAN_SLACK);
    memcpy(copy, text.p, text.n);
    memset(copy + text.n, needle.p[0], SCAN_SLACK); /* what stands behind the end must not be found */
    struct scan_needle n = scan_needle(needle);
    EXPECT(n.first <= n.second && n.second < needle.n);
    for (size_t f = 0; f < sizeof finders / sizeof *finders; f++) {
        const char *at = copy, *end = copy + text.n;
        for (;;) {
            const char *want = memmem(at, (size_t)(end - at), needle.p, needle.n), *got = finders[f](&n, at, end);
            if (got != want) fail_msg("\"%.*s\" in \"%.*s\" from %td", BL_ARG(needle), BL_ARG(text), at - copy);
            if (!want) break;
            at = want + 1;
        }
    }
    free(copy);
}

static void random_texts_are_searched_as_memmem_does(void **state) {
    (void)state;
    struct bl_rng r = {.state = 5};
    for (int i = 0; i < 20000; i++) {
        char text[300], needle[80];
        size_t n = (size_t)bl_rng_below(&r, sizeof text),
               m = 1 + (size_t)bl_rng_below(&r, i % 10 ? 6 : sizeof needle - 1);
        uint64_t letters = 1 + bl_rng_below(&r, 4);
        for (size_t k = 0; k < n; k++) text[k] = (char)("ab\xff\x00"[bl_rng_below(&r, letters)]);
        for (size_t k = 0; k < m; k++) needle[k] = (char)("ab\xff\x00"[bl_rng_below(&r, letters)]);
        if (n > m && bl_rng_below(&r, 2)) memcpy(needle, text + bl_rng_below(&r, n - m), m);
        compare(bl_strn(text, n), bl_strn(needle, m));
    }
}

static void hostile_texts_are_searched_as_memmem_does(void **state) {
    (void)state;
    enum { LONG = 3000 };
    static char same[LONG], almost[LONG];
    memset(same, 'a', sizeof same);
    memset(almost, 'a', sizeof almost);
    for (size_t m = 1; m < 200; m += 7) {
        almost[m - 1] = 'b';
        compare(bl_strn(same, sizeof same), bl_strn(almost, m));
        compare(bl_strn(same, sizeof same), bl_strn(same, m));
        almost[m - 1] = 'a';
        almost[0] = 'b';
        compare(bl_strn(same, sizeof same), bl_strn(almost, m));
        almost[0] = 'a';
    }
    for (size_t n = 0; n < 130; n++) compare(bl_strn(same, n), BL_LIT("a"));
    for (size_t n = 0; n < 130; n++) compare(bl_strn(same, n), BL_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    for (size_t n = 0; n < 130; n++) {
        same[n] = 'z';
        compare(bl_strn(same, 130), BL_LIT("az"));
        compare(bl_strn(same, n + 1), BL_LIT("az"));
        same[n] = 'a';
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_texts_are_searched_as_memmem_does),
        cmocka_unit_test(hostile_texts_are_searched_as_memmem_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
