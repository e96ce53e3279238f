/* The question to app.bsky.actor.getProfiles, and whatever may come back. */
#include "base/rng.h"
#include "expect.h"
#include "resolve/profiles.h"

static const char answer[] =
    "{\"profiles\":[{\"did\":\"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa\",\"handle\":\"Alice.Example.Com\","
    "\"displayName\":\"Al\\u00efce \\ud83d\\ude00\",\"labels\":[{\"val\":\"x\"}],\"viewer\":{\"muted\":false}},"
    "{\"handle\":\"handle.invalid\",\"did\":\"did:web:bob.example.com\",\"displayName\":\"\"},"
    "{\"did\":\"nonsense\",\"handle\":\"carol.example.com\"},17,"
    "{\"did\":\"did:plc:dddddddddddddddddddddddd\",\"handle\":\"no "
    "handle\",\"displayName\":\"\\ud800\"}],\"more\":null}";

static void a_question_names_every_account(void **state) {
    (void)state;
    struct bl_str subjects[] = {BL_LIT("did:plc:abc"), BL_LIT("alice.example.com")};
    static const char *const bases[] = {"/", ""};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
        profiles_target(bl_str(bases[i]), subjects, 2, &out);
        EXPECT_STR(bl_buf_view(&out),
                   "/xrpc/app.bsky.actor.getProfiles?actors=did%3Aplc%3Aabc&actors=alice.example.com");
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    profiles_target(BL_LIT("/below/"), subjects, 1, &out);
    EXPECT_STR(bl_buf_view(&out), "/below/xrpc/app.bsky.actor.getProfiles?actors=did%3Aplc%3Aabc");
}

static void accounts_are_read_and_what_is_none_is_left_out(void **state) {
    (void)state;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct bl_error err = {0};
    struct resolver_account a[PROFILES_MAX];
    size_t count = 0;
    EXPECT_OK(profiles_read(bl_str(answer), &arena, a, PROFILES_MAX, &count, &err), &err);
    EXPECT(count == 3);
    EXPECT_STR(a[0].did, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
    EXPECT_STR(a[0].handle, "alice.example.com");
    EXPECT_STR(a[0].display_name, "Al\u00efce \U0001F600");
    EXPECT_STR(a[1].did, "did:web:bob.example.com");
    EXPECT(!a[1].handle.p && !a[1].display_name.p);
    EXPECT_STR(a[2].did, "did:plc:dddddddddddddddddddddddd");
    EXPECT(!a[2].handle.p && !a[2].display_name.p);
    EXPECT_OK(profiles_read(bl_str(answer), &arena, a, 1, &count, &err), &err);
    EXPECT(count == 1);
    EXPECT_OK(profiles_read(BL_LIT(" {\"profiles\":[]} "), &arena, a, PROFILES_MAX, &count, &err), &err);
    EXPECT(count == 0);
}

static void what_is_no_such_answer_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "null",
                                        "[]",
                                        "{}",
                                        "<html>",
                                        "{\"profiles\":{}}",
                                        "{\"profiles\":[]}x",
                                        "{\"error\":\"InvalidRequest\",\"message\":\"no\"}"};
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct resolver_account a[PROFILES_MAX];
    size_t count = 7;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        EXPECT_RC(profiles_read(bl_str(texts[i]), &arena, a, PROFILES_MAX, &count, NULL), BL_E_SYNTAX);
    for (size_t n = 0; n + 1 < sizeof answer; n++)
        EXPECT_RC(profiles_read(bl_strn(answer, n), &arena, a, PROFILES_MAX, &count, NULL), BL_E_SYNTAX);
    EXPECT(count == 7);
}

static void garbled_answers_do_no_harm(void **state) {
    (void)state;
    enum { ROUNDS = 20000 };
    struct bl_rng rng = {.state = 7};
    for (int i = 0; i < ROUNDS; i++) {
        BL_CLEANUP(bl_arena_release) struct bl_arena arena = {.max = 4096};
        struct resolver_account a[PROFILES_MAX];
        char text[sizeof answer];
        size_t count = 0;
        memcpy(text, answer, sizeof answer);
        for (int k = 0; k < 3; k++) text[bl_rng_below(&rng, sizeof answer - 1)] = (char)bl_rng_below(&rng, 256);
        if (profiles_read(bl_strn(text, sizeof answer - 1), &arena, a, PROFILES_MAX, &count, NULL) != BL_OK) continue;
        for (size_t k = 0; k < count; k++) EXPECT(bl_utf8_valid(a[k].did) && bl_utf8_valid(a[k].display_name));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_names_every_account),
        cmocka_unit_test(accounts_are_read_and_what_is_none_is_left_out),
        cmocka_unit_test(what_is_no_such_answer_is_refused),
        cmocka_unit_test(garbled_answers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
