#include "pipe/public_api.h"

#include "expect.h"

static bool asks(const char *resolve_url, const char *source_urls, bool simulated) {
    struct conf conf;
    struct bl_error err = {0};
    conf_init(&conf);
    EXPECT_OK(conf_set(&conf, BL_LIT("resolve.url"), bl_str(resolve_url), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("source.urls"), bl_str(source_urls), &err), &err);
    bool result = asks_public_api(&conf, simulated);
    conf_release(&conf);
    return result;
}

static void accounts_of_the_public_network_alone_are_asked_for(void **state) {
    (void)state;
    static const char *const ours =
        "wss://jetstream1.us-east.bsky.network/subscribe,wss://jetstream2.us-west.bsky.network/subscribe";
    EXPECT(asks("auto", ours, false));
    EXPECT(!asks("auto", ours, true));
    EXPECT(!asks("auto", "ws://127.0.0.1:6008/subscribe", false));
    EXPECT(
        !asks("auto", "wss://jetstream1.us-east.bsky.network/subscribe,wss://jetstream.example.com/subscribe", false));
    EXPECT(!asks("auto", "wss://evilbsky.network/subscribe", false));
    EXPECT(!asks("auto", "wss://jetstream1.us-east.bsky.network.example.com/subscribe", false));
}

static void whoever_says_none_or_names_a_host_decides(void **state) {
    (void)state;
    static const char *const ours = "wss://jetstream1.us-east.bsky.network/subscribe";
    EXPECT(!asks("none", ours, false));
    EXPECT(!asks("https://api.example.com", ours, false));
}

static void the_standard_settings_ask(void **state) {
    (void)state;
    struct conf conf;
    conf_init(&conf);
    EXPECT(asks_public_api(&conf, false) && !asks_public_api(&conf, true));
    conf_release(&conf);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(accounts_of_the_public_network_alone_are_asked_for),
                                       cmocka_unit_test(whoever_says_none_or_names_a_host_decides),
                                       cmocka_unit_test(the_standard_settings_ask)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
