#include "base/rng.h"
#include "expect.h"
#include "source/peek.h"
#include "source/request.h"

#include <stdlib.h>

static int64_t peeked(const char *json) {
    int64_t time_us = -1;
    return peek_time_us(bl_str(json), &time_us) ? time_us : -1;
}

static void the_time_of_an_event_is_found_wherever_it_stands(void **state) {
    (void)state;
    EXPECT(peeked("{\"did\":\"did:plc:a\",\"time_us\":1725911162329308,\"kind\":\"commit\"}") == 1725911162329308);
    EXPECT(peeked("{\"time_us\":5}") == 5);
    EXPECT(peeked(" { \"x\" : [1,{\"time_us\":9}], \"time_us\" : 7 }") == 7);
    EXPECT(peeked("{\"commit\":{\"record\":{\"time_us\":9}},\"time_us\":7}") == 7);
    EXPECT(peeked("{\"text\":\"\\\"time_us\\\":9\",\"time_us\":7}") == 7);
    EXPECT(peeked("{\"a\":\"time_us\",\"time_us\":7}") == 7);
    EXPECT(peeked("{\"did\":\"a\\\",\\\"time_us\\\":3\",\"time_us\":7}") == 7);
}

static void the_number_of_an_event_stands_behind_its_time(void **state) {
    (void)state;
    EXPECT(peek_cursor(BL_LIT("{\"did\":\"d\",\"time_us\":7,\"cursor\":42,\"kind\":1}")) == 42);
    static const char *const none[] = {"",
                                       "{\"did\":\"d\",\"time_us\":7",
                                       "{\"did\":\"d\",\"time_us\":7,\"kind\":1}",
                                       "{\"did\":\"d\",\"time_us\":7,\"cursor\":\"42\"}",
                                       "{\"cursor\":42}",
                                       "{\"did\":\"d\",\"time_us\":7,\"cursor\":42"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) EXPECT(peek_cursor(bl_str(none[i])) == 0);
}

static void an_event_without_time_has_none(void **state) {
    (void)state;
    static const char *const none[] = {"",
                                       "{",
                                       "[",
                                       "\"",
                                       "{}",
                                       "{\"time_us\":\"5\"}",
                                       "{\"time_us\":-5}",
                                       "{\"time_us\":5",
                                       "{\"did\":\"x\",\"time_us\":",
                                       "{\"time_us\":99999999999999999999}",
                                       "{\"a\\",
                                       "}}]]",
                                       "{\"b\":{\"time_us\":5}}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (peeked(none[i]) != -1) fail_msg("%s", none[i]);
}

static void random_bytes_do_not_disturb_the_peek(void **state) {
    (void)state;
    struct bl_rng rng = {3};
    static const char usual[] = "{\"did\":\"did:plc:a\",\"time_us\":1725911162329308,\"kind\":[\"\\\\\"]}";
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)bl_rng_below(&rng, sizeof usual);
        char *copy = bl_xmalloc(n);
        memcpy(copy, usual, n);
        for (size_t hits = bl_rng_below(&rng, 4); hits && n; hits--)
            copy[bl_rng_below(&rng, n)] = "{}[]\":\\,a1"[bl_rng_below(&rng, 10)];
        int64_t time_us;
        (void)!peek_time_us(bl_strn(copy, n), &time_us);
        free(copy);
    }
}

static void expect_target(const char *url, const struct source_options *o, int64_t cursor_us, const char *wanted) {
    struct request r;
    struct url u;
    struct bl_error err = {0};
    EXPECT_OK(request_init(&r, o, false, &err), &err);
    EXPECT_OK(request_base(url, SOURCE_AUTO, &u, &err), &err);
    EXPECT_OK(request_target(&r, cursor_us, &u, &err), &err);
    assert_string_equal(u.target, wanted);
    request_release(&r);
}

static void addresses_carry_filters_compression_and_cursor(void **state) {
    (void)state;
    static const char *const collections[] = {"app.bsky.feed.post", "app.bsky.graph.*"};
    static const char *const dids[] = {"did:web:a.b%3A1"};
    struct source_options none = {0};
    struct source_options all = {
        .collections = collections, .collection_count = 2, .dids = dids, .did_count = 1, .dictionary_file = "d"};
    expect_target("wss://h", &none, 0, "/subscribe");
    expect_target("h:1/", &none, 1725911162329308, "/subscribe?cursor=1725911162329308");
    expect_target("wss://h/subscribe?x=1", &none, 1725911162329308, "/subscribe?x=1&cursor=1725911162329308");
    expect_target(
        "ws://h/deep/subscribe", &all, 0,
        "/deep/subscribe?compress=true&wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.%2A"
        "&wantedDids=did%3Aweb%3Aa.b%253A1");
}

static void long_filters_move_into_the_hello(void **state) {
    (void)state;
    static const char *dids[200];
    for (size_t i = 0; i < 200; i++) dids[i] = "did:plc:abcdefghijklmnopqrstuvwx";
    static const char *const collections[] = {"app.bsky.feed.post"};
    struct source_options o = {.dids = dids, .did_count = 200, .collections = collections, .collection_count = 1};
    struct request r;
    struct bl_error err = {0};
    EXPECT_OK(request_init(&r, &o, false, &err), &err);
    EXPECT_STR(bl_buf_view(&r.query), "requireHello=true");
    EXPECT(
        bl_str_starts(bl_buf_view(&r.hello),
                      BL_LIT("{\"type\":\"options_update\",\"payload\":{\"wantedCollections\":[\"app.bsky.feed.post\"],"
                             "\"wantedDids\":[\"did:plc:abcdefghijklmnopqrstuvwx\",\"did:plc:")));
    request_release(&r);
}

static void impossible_filters_are_refused(void **state) {
    (void)state;
    static const char *many[10001];
    for (size_t i = 0; i < 10001; i++) many[i] = "did:plc:a";
    static const char *const bad[] = {"did:plc:a b", "plc:a", "did:\"", "", "did:plc:a,did:plc:b"};
    struct request r;
    EXPECT_RC(request_init(&r, &(struct source_options){.dids = many, .did_count = 10001}, false, NULL), BL_E_USAGE);
    EXPECT_RC(request_init(&r, &(struct source_options){.collections = many, .collection_count = 101}, false, NULL),
              BL_E_USAGE);
    for (size_t i = 0; i < 5; i++)
        EXPECT_RC(request_init(&r, &(struct source_options){.dids = bad + i, .did_count = 1}, false, NULL), BL_E_USAGE);
    struct url u;
    EXPECT_RC(request_base("wss://h/subscribe?cursor=5", SOURCE_AUTO, &u, NULL), BL_E_USAGE);
    EXPECT_RC(request_base("wss://h/subscribe?a=b&requireHello", SOURCE_AUTO, &u, NULL), BL_E_USAGE);
    EXPECT_RC(request_base("gopher://h", SOURCE_AUTO, &u, NULL), BL_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_of_an_event_is_found_wherever_it_stands),
        cmocka_unit_test(the_number_of_an_event_stands_behind_its_time),
        cmocka_unit_test(an_event_without_time_has_none),
        cmocka_unit_test(random_bytes_do_not_disturb_the_peek),
        cmocka_unit_test(addresses_carry_filters_compression_and_cursor),
        cmocka_unit_test(long_filters_move_into_the_hello),
        cmocka_unit_test(impossible_filters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
