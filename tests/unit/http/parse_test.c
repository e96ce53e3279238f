/* From request lines to values: the table decides everything, and nothing that comes in can break it. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "event/json.h"
#include "expect.h"
#include "http/routes.h"
#include "http/shape.h"

struct asked {
    struct http_request rq;
    struct http_response res;
};

static bool ask(struct asked *a, struct bl_str target) {
    *a = (struct asked){.rq = {.target = target}};
    a->res.arena = &a->rq.arena;
    a->res.status = 200;
    return http_route_request(&a->rq, &a->res) && http_read_values(&a->rq, &a->res);
}

static void done(struct asked *a) {
    http_response_release(&a->res);
    http_request_release(&a->rq);
}

static void expect_refused(const char *target, unsigned status, const char *part) {
    struct asked a;
    if (ask(&a, bl_str(target))) fail_msg("%s was accepted", target);
    if (a.res.status != status) fail_msg("%s: status %u, want %u", target, a.res.status, status);
    bl_buf_cstr(&a.res.body);
    if (!strstr(a.res.body.p, part)) fail_msg("%s: \"%s\" does not say %s", target, a.res.body.p, part);
    done(&a);
}

static void values_come_out_as_they_were_meant(void **state) {
    (void)state;
    struct asked a;
    EXPECT(ask(&a, BL_LIT("/search?text=caf%C3%A9+au%20lait&exact=true&page=3&start=2026-11-20&end=2026-11-20&username="
                          "%40alice.bsky.social&q=")));
    EXPECT_STR(http_text(&a.rq, "text"), "caf\xc3\xa9 au lait");
    EXPECT_STR(http_text(&a.rq, "username"), "@alice.bsky.social");
    assert_int_equal(http_number(&a.rq, "page", 1), 3);
    assert_int_equal(http_number(&a.rq, "exact", 0), 1);
    EXPECT(http_number(&a.rq, "end", 0) - http_number(&a.rq, "start", 0) == INT64_C(86400000000) - 1);
    EXPECT(!http_has(&a.rq, "q") && !http_has(&a.rq, "lang"));
    done(&a);
    EXPECT(ask(&a, BL_LIT("/posts/at%3A%2F%2Fdid:plc:a%2Fapp.bsky.feed.post%2F3k")));
    EXPECT_STR(a.rq.path_value, "at://did:plc:a/app.bsky.feed.post/3k");
    done(&a);
}

static void what_is_wrong_is_named_with_its_cure(void **state) {
    (void)state;
    expect_refused("*", 404, "not_found");
    expect_refused("/search?pgae=2", 400, "did you mean page?");
    expect_refused("/search?page=0", 400, "\"parameter\":\"page\"");
    expect_refused("/search?page=-1", 400, "from 1 to 1000000");
    expect_refused("/search?page=99999999999999999999", 400, "\"parameter\":\"page\"");
    expect_refused("/search?page=1&page=2", 400, "given twice");
    expect_refused("/search?limit=101", 400, "from 1 to 100");
    expect_refused("/search?start=yesterday", 400, "2026-11-21");
    expect_refused("/search?start=2026-02-30", 400, "\"parameter\":\"start\"");
    expect_refused("/search?start=2026-11-21&end=2026-11-20", 400, "end is before start");
    expect_refused("/search?exact=yes", 400, "true or false");
    expect_refused("/search?username=a%27%20OR%201=1", 400, "\"parameter\":\"username\"");
    expect_refused("/search?lang=e", 400, "\"parameter\":\"lang\"");
    expect_refused("/search?text=%", 400, "bad_encoding");
    expect_refused("/search?text=%zz", 400, "bad_encoding");
    expect_refused("/search?text=%00", 400, "bad_encoding");
    expect_refused("/search?text=%ed%a0%80", 400, "bad_encoding");
    expect_refused("/search?cursor=%22", 400, "\"parameter\":\"cursor\"");
    expect_refused("/export?format=xls", 400, "csv|ndjson|parquet");
    expect_refused("/stats/daily", 400, "missing_parameter");
    expect_refused("/stats/daily?date=2026-11-21T00:00:00Z", 400, "\"parameter\":\"date\"");
}

static void two_questions_are_the_same_only_if_they_ask_the_same(void **state) {
    (void)state;
    static const char *const targets[] = {
        "/search?text=a&exact=1",     "/search?text=a%20exact%201", "/search?text=a", "/search?q=a", "/export?text=a",
        "/search?text=a%20exact%3D1", "/search?text=1%3Aa&exact=1"};
    BL_CLEANUP(bl_buf_release) struct bl_buf first = {0}, second = {0};
    struct asked a;
    enum { TARGETS = sizeof targets / sizeof *targets };
    for (size_t i = 0; i < TARGETS; i++)
        for (size_t k = 0; k < TARGETS; k++) {
            bl_buf_clear(&first);
            bl_buf_clear(&second);
            EXPECT(ask(&a, bl_str(targets[i])));
            http_normalise(&a.rq, &first);
            done(&a);
            EXPECT(ask(&a, bl_str(targets[k])));
            http_normalise(&a.rq, &second);
            done(&a);
            if (bl_str_eq(bl_buf_view(&first), bl_buf_view(&second)) != (i == k))
                fail_msg("%s and %s", targets[i], targets[k]);
        }
    bl_buf_clear(&first);
    bl_buf_clear(&second);
    EXPECT(ask(&a, BL_LIT("/search?exact=1&text=a")));
    http_normalise(&a.rq, &first);
    done(&a);
    EXPECT(ask(&a, BL_LIT("/search?text=%61&exact=true&q=")));
    http_normalise(&a.rq, &second);
    done(&a);
    EXPECT(bl_str_eq(bl_buf_view(&first), bl_buf_view(&second)));
}

/* Any bytes: accepted with values inside the table's bounds, or refused with 4xx and a whole JSON error. */
static void no_request_line_gets_past_the_table(void **state) {
    (void)state;
    static const char *const pieces[] = {"/search", "?",       "&",     "=",  "text", "page", "start",    "2026-11-21",
                                         "%",       "%41",     "%ff",   "+",  "99",   "-",    "/export",  "format",
                                         "csv",     "/posts/", "{uri}", "'",  "\"",   "<",    "\xc3\xa9", "\xff",
                                         "cursor",  "limit",   "/",     "//", "..",   "0",    "true",     "lang"};
    struct bl_rng r = {42};
    int accepted = 0;
    for (int round = 0; round < 30000; round++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf target = {0};
        if (bl_rng_below(&r, 4)) bl_buf_z(&target, "/search?");
        for (uint64_t n = bl_rng_below(&r, 12); n > 0; n--)
            bl_buf_z(&target, pieces[bl_rng_below(&r, sizeof pieces / sizeof *pieces)]);
        struct asked a;
        bool good = ask(&a, bl_buf_view(&target));
        accepted += good;
        for (size_t i = 0; good && i < a.rq.value_count; i++) {
            const struct http_value *v = &a.rq.values[i];
            EXPECT(v->text.n && bl_utf8_valid(v->text));
            if (v->parameter->kind == HTTP_INT)
                EXPECT(v->number >= v->parameter->min && v->number <= v->parameter->max);
        }
        struct js_cursor c = js_open(bl_buf_view(&a.res.body), 8);
        if (!good) EXPECT(a.res.status >= 400 && a.res.status < 500 && js_skip(&c, NULL, NULL) && js_done(&c));
        done(&a);
    }
    EXPECT(accepted > 500);
}

static void every_route_says_what_it_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < http_route_count; i++) {
        const struct http_route *route = &http_routes[i];
        BL_CLEANUP(bl_buf_release) struct bl_buf schema = {0};
        EXPECT(*route->path == '/' && route->handle && route->type && route->summary && route->details);
        if (route->shape && !shape_schema(route->shape, &schema))
            fail_msg("%s: bad shape %s", route->path, route->shape);
        struct js_cursor c = js_open(bl_buf_view(&schema), 64);
        if (route->shape) EXPECT(js_skip(&c, NULL, NULL) && js_done(&c));
        for (size_t k = 0; k < route->parameter_count; k++)
            EXPECT(*route->parameters[k].name && *route->parameters[k].sentence);
        if (route->by_snapshot) EXPECT(route->cache_seconds > 0);
    }
    for (size_t i = 0; i < shape_name_count; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf schema = {0};
        EXPECT(shape_schema(shape_names[i].shape, &schema));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_out_as_they_were_meant), cmocka_unit_test(what_is_wrong_is_named_with_its_cure),
        cmocka_unit_test(two_questions_are_the_same_only_if_they_ask_the_same),
        cmocka_unit_test(no_request_line_gets_past_the_table), cmocka_unit_test(every_route_says_what_it_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
