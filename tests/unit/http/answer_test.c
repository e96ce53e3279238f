/* Whole requests against a small lake, without sockets: what the network thread decides, what a worker answers. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "event/json.h"
#include "expect.h"
#include "fixture.h"
#include "http/server.h"
#include "obs/log.h"

static const int64_t START_US = INT64_C(1795219200000000) /* 2026-11-21 */;
enum { POSTS = 130 };

static struct fixture fixture;
static struct conf conf;
static struct http_server *server;
static struct post posts[POSTS];
static char rkeys[POSTS][16], texts[POSTS][64];

static int open_server(void **state) {
    (void)state;
    struct bl_error err = {0};
    bl_log_setup("test", BL_WARN, false);
    fixture_open(&fixture);
    for (int i = 0; i < POSTS; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "r%04d", i);
        snprintf(texts[i], sizeof texts[i], i % 10 ? "number %d" : "=number, \"%d\"", i);
        posts[i] = (struct post){.time_us = START_US + i * INT64_C(1000000),
                                 .did = i % 2 ? "did:plc:bob" : "did:plc:alice",
                                 .operation = "create",
                                 .rkey = rkeys[i],
                                 .text = texts[i]};
    }
    fixture_posts(&fixture, posts, POSTS);
    fixture_accounts(&fixture, (struct account[]){{START_US, "did:plc:alice", "alice.bsky.social", true}}, 1);
    conf_init(&conf);
    EXPECT_OK(conf_set(&conf, BL_LIT("data"), bl_str(fixture.dir), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("serve.sessions"), BL_LIT("2"), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("serve.row_limit"), BL_LIT("100"), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("serve.cors_origins"), BL_LIT("https://explorer.example.com"), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("ingest.http"), BL_LIT("127.0.0.1:0"), &err), &err);
    EXPECT_OK(conf_set(&conf, BL_LIT("write.http"), BL_LIT("127.0.0.1:0"), &err), &err);
    EXPECT_OK(server_open(&conf, &bl_clock_system, &server, &err), &err);
    int64_t until = bl_mono_ns() + INT64_C(10000000000);
    while (pool_snapshot(server->pool) < 0 && bl_mono_ns() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return pool_snapshot(server->pool) < 0;
}

static int close_server(void **state) {
    (void)state;
    server_close(&server);
    conf_release(&conf);
    fixture_close(&fixture);
    return 0;
}

struct call {
    struct pool_job job;
    struct http_request rq;
    struct http_response res;
    struct bl_buf streamed;
    struct http_sink sink;
    enum bl_rc rc;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static enum bl_rc start_sink(void *context, struct bl_error *err) {
    (void)context, (void)err;
    return BL_OK;
}

static enum bl_rc write_sink(void *context, struct bl_str bytes, struct bl_error *err) {
    struct call *c = context;
    bl_buf_str(&c->streamed, bytes);
    return bl_buf_check(&c->streamed, "streamed", err);
}

static void run(struct pool_job *job, struct http_context *context) {
    struct call *c = (struct call *)job;
    c->rc = server_work(context, &c->rq, &c->res);
}

static void refuse(struct pool_job *job, enum pool_refusal why) {
    struct call *c = (struct call *)job;
    server_refuse(server, &c->res, why);
}

static void finish(struct pool_job *job) {
    struct call *c = (struct call *)job;
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* True: a worker has it. */
static bool start(struct call *c, const char *target) {
    c->rq.target = bl_str(target);
    snprintf(c->rq.address, sizeof c->rq.address, "127.0.0.1");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->sink = (struct http_sink){start_sink, write_sink, c};
    c->res.sink = &c->sink;
    if (server_begin(server, &c->rq, &c->res)) return false;
    c->job = (struct pool_job){.weight = server_weight(&c->rq),
                               .fd = -1,
                               .gone = &c->rq.gone,
                               .client = server_client(&c->rq),
                               .same = server_sameness(server, &c->rq),
                               .run = run,
                               .refuse = refuse,
                               .release = finish};
    pool_submit(server->pool, &c->job);
    return true;
}

static void wait_for(struct call *c) {
    pthread_mutex_lock(&c->lock);
    while (!c->done) pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void call(struct call *c, const char *target) {
    if (start(c, target)) wait_for(c);
    server_end(server, &c->rq, &c->res, (int64_t)http_body(&c->res).n, true);
}

static void end(struct call *c) {
    bl_buf_release(&c->streamed);
    http_response_release(&c->res);
    http_request_release(&c->rq);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
}

static size_t occurrences(struct bl_str text, const char *part) {
    size_t n = 0;
    for (const char *p = text.p; (p = memmem(p, text.n - (size_t)(p - text.p), part, strlen(part))); p += strlen(part))
        n++;
    return n;
}

static void expect_json(const struct call *c) {
    struct js_cursor cursor = js_open(http_body(&c->res), 64);
    if (!js_skip(&cursor, NULL, NULL) || !js_done(&cursor)) fail_msg("no JSON: %.*s", BL_ARG(http_body(&c->res)));
}

/* Calls and returns the status; the caller looks at the rest and ends it. */
static unsigned status_of(struct call *c, const char *target) {
    call(c, target);
    if (strcmp(c->res.content_type, "application/json") == 0 && http_body(&c->res).n &&
        !http_header_of(&c->res, "Content-Encoding"))
        expect_json(c);
    return c->res.status;
}

static void pages_follow_each_other_and_end_at_the_row_limit(void **state) {
    (void)state;
    static const struct {
        const char *target;
        size_t count;
        bool truncated;
    } pages[] = {{"/search?text=number", 50, false},      {"/search?text=number&page=2", 50, true},
                 {"/search?text=number&page=3", 0, true}, {"/search?text=number&page=4&limit=30", 10, true},
                 {"/search?text=nothing", 0, false},      {"/search?username=alice.bsky.social&page=2", 15, false}};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct call c = {0};
        assert_int_equal(status_of(&c, pages[i].target), 200);
        size_t count = occurrences(http_body(&c.res), "\"timestamp\"");
        if (count != pages[i].count) fail_msg("%s: %zu results, want %zu", pages[i].target, count, pages[i].count);
        bool truncated = occurrences(http_body(&c.res), "\"truncated\":true") == 1;
        if (truncated != pages[i].truncated) fail_msg("%s: truncated is wrong", pages[i].target);
        end(&c);
    }
}

static void an_answer_is_kept_until_the_lake_changes(void **state) {
    (void)state;
    struct call first = {0}, second = {0}, third = {0};
    assert_int_equal(status_of(&first, "/search?text=number&limit=3"), 200);
    assert_string_equal(first.res.cache, "miss");
    assert_int_equal(status_of(&second, "/search?limit=3&text=number"), 200);
    assert_string_equal(second.res.cache, "hit");
    EXPECT(bl_str_eq(http_body(&first.res), http_body(&second.res)));
    const char *etag = http_header_of(&first.res, "ETag");
    assert_string_equal(etag, http_header_of(&second.res, "ETag"));
    third.rq.if_none_match = bl_str(etag);
    assert_int_equal(status_of(&third, "/search?limit=3&text=number"), 304);
    assert_int_equal(http_body(&third.res).n, 0);
    end(&first);
    end(&second);
    end(&third);
}

static void an_answer_serves_a_little_longer_while_the_lake_grows(void **state) {
    (void)state;
    struct call first = {0}, second = {0}, third = {0};
    int64_t snapshot = pool_snapshot(server->pool);
    EXPECT_RC(conf_set(&conf, BL_LIT("serve.cache_ttl"), BL_LIT("1h"), NULL), BL_OK);
    assert_int_equal(status_of(&first, "/search?text=number&limit=4"), 200);
    fixture_posts(&fixture,
                  &(struct post){.time_us = START_US + INT64_C(190000000),
                                 .did = "did:plc:bob",
                                 .operation = "create",
                                 .rkey = "meanwhile",
                                 .text = "number of others"},
                  1);
    int64_t until = bl_mono_ns() + INT64_C(10000000000);
    while (pool_snapshot(server->pool) == snapshot && bl_mono_ns() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    const char *etag = http_header_of(&first.res, "ETag");
    assert_int_equal(status_of(&second, "/search?text=number&limit=4"), 200);
    assert_string_equal(second.res.cache, "hit");
    assert_string_equal(http_header_of(&second.res, "ETag"), etag);
    EXPECT(occurrences(http_body(&second.res), "number of others") == 0);
    EXPECT_RC(conf_set(&conf, BL_LIT("serve.cache_ttl"), BL_LIT("0"), NULL), BL_OK);
    third.rq.if_none_match = bl_str(etag);
    assert_int_equal(status_of(&third, "/search?text=number&limit=4"), 200);
    assert_string_equal(third.res.cache, "miss");
    EXPECT(occurrences(http_body(&third.res), "number of others") == 1);
    EXPECT_RC(conf_set(&conf, BL_LIT("serve.cache_ttl"), BL_LIT("2s"), NULL), BL_OK);
    end(&first);
    end(&second);
    end(&third);
}

static void what_many_ask_at_once_is_looked_for_once(void **state) {
    (void)state;
    enum { ASKING = 40 };
    static struct call calls[ASKING];
    int misses = 0;
    memset(calls, 0, sizeof calls);
    for (int i = 0; i < ASKING; i++) EXPECT(start(&calls[i], "/search?q=number+OR+nothing&limit=7") || i > 0);
    for (int i = 0; i < ASKING; i++) {
        if (calls[i].job.run) wait_for(&calls[i]);
        assert_int_equal(calls[i].res.status, 200);
        assert_int_equal(occurrences(http_body(&calls[i].res), "\"timestamp\""), 7);
        misses += strcmp(calls[i].res.cache, "miss") == 0;
        end(&calls[i]);
    }
    assert_int_equal(misses, 1);
}

static void a_connection_too_many_is_told_so_and_may_still_ask_for_health(void **state) {
    (void)state;
    struct call search = {.rq = {.crowded = true}}, health = {.rq = {.crowded = true}};
    assert_int_equal(status_of(&search, "/search?text=number"), 503);
    EXPECT(http_header_of(&search.res, "Retry-After"));
    assert_string_equal(http_header_of(&search.res, "Connection"), "close");
    assert_int_equal(status_of(&health, "/health"), 200);
    assert_string_equal(http_header_of(&health.res, "Connection"), "close");
    end(&search);
    end(&health);
}

static void an_export_is_csv_with_its_count_and_hash_behind(void **state) {
    (void)state;
    struct call c = {0};
    assert_int_equal(status_of(&c, "/export?text=number"), 200);
    EXPECT_OK(c.rc, &(struct bl_error){0});
    struct bl_str file = bl_buf_view(&c.streamed);
    EXPECT(c.res.started && occurrences(file, "\r\n") == 101); /* the row limit and a head line */
    EXPECT(occurrences(file, "\"'=number, \"\"120\"\"\"") == 1);
    assert_string_equal(http_header_of(&c.res, "X-Truncated"), "true");
    EXPECT(c.res.trailer_count == 3);
    assert_string_equal(c.res.trailers[0].value, "100");
    assert_int_equal(strlen(c.res.trailers[1].value), 64);
    assert_string_equal(c.res.trailers[2].name, "X-Gap-Count");
    end(&c);
    c = (struct call){0};
    assert_int_equal(status_of(&c, "/export?q=%22never+closed"), 400);
    EXPECT(!c.res.started && !http_header_of(&c.res, "Content-Disposition"));
    end(&c);
}

static void bad_input_is_never_the_servers_fault(void **state) {
    (void)state;
    static const char *const targets[] = {"/search?q=(((((",
                                          "/search?q=from:",
                                          "/search?text=%27;DROP+TABLE+posts;--",
                                          "/search?cursor=abc",
                                          "/search?cursor=1~abc",
                                          "/search?cursor=0~",
                                          "/search?page=1000000",
                                          "/posts/at://x",
                                          "/posts/%27",
                                          "/users/nobody",
                                          "/users/%F0%9F%8E%89",
                                          "/counts?q=OR",
                                          "/export?q=-",
                                          "/views/nothing",
                                          "/views/..%2f..%2fetc",
                                          "/stats/daily?date=0000-01-01",
                                          "/stats/daily?date=9999-12-31",
                                          "/search?start=0000-01-01&end=9999-12-31",
                                          "/gaps?start=9999-12-31",
                                          "/..%2f..%2fetc%2fpasswd"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct call c = {0};
        unsigned status = status_of(&c, targets[i]);
        if (status >= 500 || status < 200) fail_msg("%s: %u %.*s", targets[i], status, BL_ARG(http_body(&c.res)));
        end(&c);
    }
}

static void only_listed_origins_and_reading_methods_get_through(void **state) {
    (void)state;
    struct call c = {.rq = {.method = HTTP_OPTIONS, .origin = BL_LIT("https://explorer.example.com")}};
    assert_int_equal(status_of(&c, "/search"), 204);
    assert_string_equal(http_header_of(&c.res, "Access-Control-Allow-Origin"), "https://explorer.example.com");
    end(&c);
    c = (struct call){.rq = {.origin = BL_LIT("https://evil.example.com")}};
    assert_int_equal(status_of(&c, "/health"), 200);
    EXPECT(!http_header_of(&c.res, "Access-Control-Allow-Origin"));
    end(&c);
    c = (struct call){.rq = {.method = HTTP_OTHER}};
    assert_int_equal(status_of(&c, "/search"), 405);
    EXPECT(http_header_of(&c.res, "Allow"));
    end(&c);
}

static void a_new_commit_is_found_within_seconds(void **state) {
    (void)state;
    fixture_posts(&fixture,
                  &(struct post){.time_us = START_US + 200 * INT64_C(1000000),
                                 .did = "did:plc:bob",
                                 .operation = "create",
                                 .rkey = "fresh",
                                 .text = "brand new"},
                  1);
    int64_t until = bl_mono_ns() + INT64_C(5000000000);
    size_t found = 0;
    while (!found && bl_mono_ns() < until) {
        struct call c = {0};
        assert_int_equal(status_of(&c, "/search?text=brand+new"), 200);
        found = occurrences(http_body(&c.res), "\"timestamp\"");
        end(&c);
    }
    assert_int_equal(found, 1);
}

struct held { /* a long job that ends when it is told to */
    struct pool_job job;
    atomic_bool gone, *end, started, released;
    atomic_int refusal; /* -1: none */
};

static void hold(struct pool_job *job, struct http_context *context) {
    struct held *h = (struct held *)job;
    (void)context;
    atomic_store(&h->started, true);
    while (!atomic_load(h->end)) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void note_refusal(struct pool_job *job, enum pool_refusal why) {
    atomic_store(&((struct held *)job)->refusal, (int)why);
}

static void note_release(struct pool_job *job) {
    atomic_store(&((struct held *)job)->released, true);
}

static bool comes_true(atomic_bool *flag) {
    int64_t until = bl_mono_ns() + INT64_C(20000000000);
    while (!atomic_load(flag) && bl_mono_ns() < until) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return atomic_load(flag);
}

static void the_exports_of_one_leave_a_session_to_others(void **state) {
    (void)state;
    enum { JOBS = 4, OWN = 3 };
    static struct held jobs[JOBS];
    atomic_bool end = false;
    struct bl_error err = {0};
    struct pool *pool;
    struct pool_options o = {.lake_dir = fixture.dir,
                             .workers = 4,
                             .memory_bytes = 256 << 20,
                             .deadline_us = 10000000,
                             .wait_us = 2000000,
                             .queue_max = 10};
    EXPECT_OK(pool_start(&o, &pool, &err), &err);
    int64_t until = bl_mono_ns() + INT64_C(20000000000);
    while (pool_snapshot(pool) < 0 && bl_mono_ns() < until) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (int i = 0; i < JOBS; i++) {
        struct held *h = &jobs[i];
        h->end = &end;
        h->refusal = -1;
        h->job = (struct pool_job){.weight = POOL_LONG,
                                   .fd = -1,
                                   .gone = &h->gone,
                                   .client = i < OWN ? 7 : 8,
                                   .run = hold,
                                   .refuse = note_refusal,
                                   .release = note_release};
        pool_submit(pool, &h->job);
    }
    EXPECT(comes_true(&jobs[0].started) && comes_true(&jobs[1].started) && comes_true(&jobs[OWN].started));
    EXPECT(comes_true(&jobs[2].released) && !atomic_load(&jobs[2].started));
    assert_int_equal(atomic_load(&jobs[2].refusal), POOL_OWN_SHARE);
    atomic_store(&end, true);
    for (int i = 0; i < JOBS; i++) EXPECT(comes_true(&jobs[i].released));
    pool_stop(pool);
    pool_free(&pool);
}

static void an_export_too_many_is_told_when_to_come_back(void **state) {
    (void)state;
    struct call c = {0};
    c.rq.target = BL_LIT("/nowhere");
    EXPECT(server_begin(server, &c.rq, &c.res));
    server_refuse(server, &c.res, POOL_OWN_SHARE);
    assert_int_equal(c.res.status, 429);
    EXPECT(http_header_of(&c.res, "Retry-After"));
    EXPECT(occurrences(http_body(&c.res), "too_many_exports") == 1);
    end(&c);
    snprintf(c.rq.key_name, sizeof c.rq.key_name, "desk");
    uint64_t desk = server_client(&c.rq);
    snprintf(c.rq.key_name, sizeof c.rq.key_name, "lab");
    EXPECT(desk && server_client(&c.rq) && server_client(&c.rq) != desk);
    EXPECT(server_client(&(struct http_request){0}) == 0);
}

/* Last: from here on keys are needed. */
static void keys_open_what_their_scopes_say(void **state) {
    (void)state;
    struct bl_error err = {0};
    char key[KEY_TEXT_MAX], header[KEY_TEXT_MAX + 8];
    EXPECT_OK(keys_add(fixture.dir, BL_LIT("desk"), HTTP_SEARCH, bl_wall_us(), key, &err), &err);
    snprintf(header, sizeof header, "Bearer %s", key);
    struct call c = {0};
    assert_int_equal(status_of(&c, "/search"), 401);
    EXPECT(http_header_of(&c.res, "WWW-Authenticate"));
    end(&c);
    c = (struct call){.rq = {.authorization = bl_str(header)}};
    assert_int_equal(status_of(&c, "/search?limit=1"), 200);
    const char *limit = http_header_of(&c.res, "X-RateLimit-Limit"); /* the server was opened without */
    EXPECT(limit && strcmp(limit, "1000") == 0);
    end(&c);
    c = (struct call){.rq = {.api_key = bl_str(key)}};
    assert_int_equal(status_of(&c, "/export"), 403);
    end(&c);
    c = (struct call){.rq = {.api_key = BL_LIT("bl_00")}};
    assert_int_equal(status_of(&c, "/search"), 401);
    end(&c);
    c = (struct call){0};
    assert_int_equal(status_of(&c, "/health"), 200);
    end(&c);
    EXPECT_OK(keys_revoke(fixture.dir, BL_LIT("desk"), bl_wall_us(), &err), &err);
    c = (struct call){.rq = {.api_key = bl_str(key)}};
    assert_int_equal(status_of(&c, "/search?limit=1"), 401);
    end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_follow_each_other_and_end_at_the_row_limit),
                                       cmocka_unit_test(an_answer_is_kept_until_the_lake_changes),
                                       cmocka_unit_test(an_answer_serves_a_little_longer_while_the_lake_grows),
                                       cmocka_unit_test(what_many_ask_at_once_is_looked_for_once),
                                       cmocka_unit_test(a_connection_too_many_is_told_so_and_may_still_ask_for_health),
                                       cmocka_unit_test(an_export_is_csv_with_its_count_and_hash_behind),
                                       cmocka_unit_test(bad_input_is_never_the_servers_fault),
                                       cmocka_unit_test(only_listed_origins_and_reading_methods_get_through),
                                       cmocka_unit_test(a_new_commit_is_found_within_seconds),
                                       cmocka_unit_test(the_exports_of_one_leave_a_session_to_others),
                                       cmocka_unit_test(an_export_too_many_is_told_when_to_come_back),
                                       cmocka_unit_test(keys_open_what_their_scopes_say)};
    return cmocka_run_group_tests(tests, open_server, close_server);
}
