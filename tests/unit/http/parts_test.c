/* The small parts: limits, cache, ring, compression, CSV cells, what peers say. */
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/rng.h"
#include "expect.h"
#include "http/cache.h"
#include "http/csv.h"
#include "http/exchange.h"
#include "http/gzip.h"
#include "http/limit.h"
#include "http/peer.h"
#include "http/rates.h"
#include "http/ring.h"

static int64_t fake_ns;
static int64_t fake_mono(void *context) {
    return *(int64_t *)context;
}
static int64_t fake_wall(void *context) {
    return *(int64_t *)context / 1000;
}
static const struct bl_clock clock_by_hand = {fake_wall, fake_mono, &fake_ns};
static const int64_t SECOND = INT64_C(1000000000);

static void a_bucket_empties_and_refills_evenly(void **state) {
    (void)state;
    struct limit *l = limit_new(3600, &clock_by_hand); /* one a second */
    struct limit_state s;
    fake_ns = SECOND;
    for (int i = 0; i < 3600; i++) EXPECT(limit_take(l, BL_LIT("a"), &s));
    assert_int_equal(s.remaining, 0);
    EXPECT(!limit_take(l, BL_LIT("a"), &s) && s.retry_after_s >= 1 && s.retry_after_s <= 2);
    EXPECT(limit_take(l, BL_LIT("b"), &s)); /* others are not concerned */
    fake_ns += 10 * SECOND;
    int allowed = 0;
    while (limit_take(l, BL_LIT("a"), &s)) allowed++;
    assert_int_equal(allowed, 10);
    fake_ns += 100000 * SECOND; /* never more than an hour's worth */
    for (allowed = 0; limit_take(l, BL_LIT("a"), &s);) allowed++;
    assert_int_equal(allowed, 3600);
    limit_set(l, 10);
    fake_ns += 100000 * SECOND;
    for (allowed = 0; limit_take(l, BL_LIT("a"), &s);) allowed++;
    assert_int_equal(allowed, 10);
    limit_set(l, 0);
    EXPECT(limit_take(l, BL_LIT("a"), &s));
    limit_free(&l);
}

static void a_full_table_never_punishes_a_newcomer(void **state) {
    (void)state;
    struct limit *l = limit_new(10, &clock_by_hand);
    struct limit_state s;
    for (int i = 0; i < 50000; i++) {
        char name[32];
        snprintf(name, sizeof name, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        EXPECT(limit_take(l, bl_str(name), &s));
    }
    limit_free(&l);
    l = limit_new(0, &clock_by_hand);
    for (int i = 0; i < 1000; i++) EXPECT(limit_take(l, BL_LIT("a"), &s));
    limit_free(&l);
}

static void put(struct cache *c, const char *key, size_t n, int64_t seconds) {
    struct cache_entry entry = {.content_type = "application/json", .snapshot = 7};
    for (size_t i = 0; i < n; i++) bl_buf_byte(&entry.body, 'x');
    cache_put(c, bl_str(key), &entry, seconds);
    bl_buf_release(&entry.body);
}

static bool has(struct cache *c, const char *key, size_t n) {
    struct cache_entry entry = {0};
    bool hit = cache_get(c, bl_str(key), &entry);
    if (hit) EXPECT(entry.body.n == n && entry.snapshot == 7);
    bl_buf_release(&entry.body);
    return hit;
}

static void the_cache_tells_how_old_an_answer_is(void **state) {
    (void)state;
    struct cache *c = cache_new(10000, &clock_by_hand);
    struct cache_entry entry = {0};
    put(c, "a", 10, 10);
    fake_ns += 3 * SECOND;
    EXPECT(cache_get(c, BL_LIT("a"), &entry) && entry.age_us == 3000000);
    put(c, "a", 10, 10);
    EXPECT(cache_get(c, BL_LIT("a"), &entry) && entry.age_us == 0);
    bl_buf_release(&entry.body);
    cache_free(&c);
}

static void the_cache_forgets_what_was_used_longest_ago_and_what_is_old(void **state) {
    (void)state;
    struct cache *c = cache_new(10000, &clock_by_hand);
    put(c, "a", 1000, 10);
    put(c, "b", 1000, 10);
    EXPECT(has(c, "a", 1000) && has(c, "b", 1000) && !has(c, "c", 0));
    for (int i = 0; i < 50; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        put(c, key, 900, 10);
        EXPECT(has(c, "a", 1000)); /* used, so kept */
        EXPECT(cache_bytes(c) <= 10000);
    }
    EXPECT(!has(c, "b", 1000) && !has(c, "k0", 900) && has(c, "k49", 900));
    put(c, "large", 5000, 10);
    EXPECT(!has(c, "large", 5000));
    fake_ns += 11 * SECOND;
    EXPECT(!has(c, "a", 1000) && !has(c, "k49", 900));
    put(c, "a", 10, 10);
    put(c, "a", 20, 10);
    EXPECT(has(c, "a", 20));
    cache_free(&c);
}

struct pump {
    pthread_mutex_t lock;
    pthread_cond_t awake;
    bool asleep;
    struct ring *ring;
    enum bl_rc rc;
};

static void pump_sleep(void *context) {
    ((struct pump *)context)->asleep = true;
}
static void pump_wake(void *context) {
    struct pump *p = context;
    pthread_mutex_lock(&p->lock);
    p->asleep = false;
    pthread_cond_signal(&p->awake);
    pthread_mutex_unlock(&p->lock);
}

static void pump_drop(void *context) {
    (void)context;
}

enum { SENT = 3000000 };
static void *write_numbers(void *context) {
    struct pump *p = context;
    static char bytes[SENT];
    struct bl_rng r = {1};
    for (size_t i = 0; i < SENT; i++) bytes[i] = (char)(i * 7 % 251);
    for (size_t at = 0; at < SENT && p->rc == BL_OK;) {
        size_t n = 1 + bl_rng_below(&r, 5000);
        if (n > SENT - at) n = SENT - at;
        p->rc = ring_write(p->ring, bl_strn(bytes + at, n), 10000000, NULL);
        at += n;
    }
    ring_finish(p->ring, p->rc == BL_OK);
    return NULL;
}

static void await(struct pump *p) {
    pthread_mutex_lock(&p->lock);
    while (p->asleep) pthread_cond_wait(&p->awake, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void a_ring_hands_on_every_byte_in_order(void **state) {
    (void)state;
    struct pump p = {.lock = PTHREAD_MUTEX_INITIALIZER, .awake = PTHREAD_COND_INITIALIZER};
    struct ring_reader reader = {pump_sleep, pump_wake, pump_drop, &p};
    p.ring = ring_new(4096, &reader);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_numbers, &p), 0);
    size_t got = 0;
    enum ring_state s;
    do {
        char piece[1000];
        size_t n = 0;
        s = ring_read(p.ring, piece, sizeof piece, &n);
        for (size_t i = 0; i < n; i++, got++)
            if (piece[i] != (char)(got * 7 % 251)) fail_msg("byte %zu is wrong", got);
        if (s == RING_LATER) await(&p);
    } while (s == RING_DATA || s == RING_LATER);
    EXPECT(s == RING_END && got == SENT);
    pthread_join(thread, NULL);
    ring_free(&p.ring);
}

static void a_ring_ends_the_writer_when_nobody_reads(void **state) {
    (void)state;
    struct pump p = {.lock = PTHREAD_MUTEX_INITIALIZER, .awake = PTHREAD_COND_INITIALIZER};
    struct ring_reader reader = {pump_sleep, pump_wake, pump_drop, &p};
    struct bl_error err = {0};
    p.ring = ring_new(10, &reader);
    EXPECT_OK(ring_write(p.ring, BL_LIT("0123456789"), 1000, &err), &err);
    EXPECT_RC(ring_write(p.ring, BL_LIT("x"), 20000, &err), BL_E_CANCELLED);
    ring_close(p.ring);
    EXPECT_RC(ring_write(p.ring, BL_LIT("x"), 1000000, &err), BL_E_CANCELLED);
    ring_finish(p.ring, false);
    char piece[16];
    size_t n;
    EXPECT(ring_read(p.ring, piece, sizeof piece, &n) == RING_DATA && n == 10);
    EXPECT(ring_read(p.ring, piece, sizeof piece, &n) == RING_BROKEN);
    ring_free(&p.ring);
}

static void what_a_client_accepts_is_understood(void **state) {
    (void)state;
    assert_string_equal(gzip_choose(BL_LIT("gzip, deflate, br")), "gzip");
    assert_string_equal(gzip_choose(BL_LIT("br;q=1.0, GZIP;q=0.5")), "gzip");
    assert_string_equal(gzip_choose(BL_LIT("gzip;q=0, deflate")), "deflate");
    EXPECT(!gzip_choose(BL_LIT("")) && !gzip_choose(BL_LIT("gzip;q=0.0")) && !gzip_choose(BL_LIT("br")) &&
           !gzip_choose(BL_LIT("gzipped")));
}

static void a_compressed_body_is_the_same_body(void **state) {
    (void)state;
    struct bl_buf body = {0};
    for (int i = 0; i < 5000; i++) bl_buf_printf(&body, "{\"n\":%d},", i);
    size_t n = body.n;
    EXPECT(gzip_body("gzip", &body) && body.n < n * 4 / 10);
    BL_CLEANUP(bl_freep) char *plain = bl_xmalloc(n + 1);
    z_stream z = {
        .next_in = (Bytef *)body.p, .avail_in = (uInt)body.n, .next_out = (Bytef *)plain, .avail_out = (uInt)n + 1};
    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    EXPECT(z.total_out == n && memcmp(plain, "{\"n\":0},", 8) == 0);
    inflateEnd(&z);
    bl_buf_release(&body);
    bl_buf_z(&body, "x");
    EXPECT(!gzip_body("gzip", &body) && body.n == 1);
    bl_buf_release(&body);
}

static void expect_cell(const char *text, bool raw, const char *wanted) {
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    csv_cell(&out, bl_str(text), raw);
    EXPECT_STR(bl_buf_view(&out), wanted);
}

static void cells_follow_the_rfc_and_are_no_formulas(void **state) {
    (void)state;
    expect_cell("", false, "");
    expect_cell("a,b\r\nc", false, "\"a,b\r\nc\"");
    expect_cell("she said \"hi\"", false, "\"she said \"\"hi\"\"\"");
    expect_cell("=cmd()", false, "\"'=cmd()\"");
    expect_cell("+1", false, "\"'+1\"");
    expect_cell("-1", false, "\"'-1\"");
    expect_cell("@SUM(A1)", false, "\"'@SUM(A1)\"");
    expect_cell("\tx", false, "\"'\tx\"");
    expect_cell("\xef\xbc\x9d"
                "cmd()",
                false,
                "\"'\xef\xbc\x9d"
                "cmd()\""); /* full width */
    expect_cell("\xef\xbc\xa0"
                "SUM",
                false,
                "\"'\xef\xbc\xa0"
                "SUM\"");
    expect_cell("\xef\xbc\x81", false, "\"\xef\xbc\x81\"");
    expect_cell("=cmd()", true, "\"=cmd()\"");
    expect_cell("a=b", false, "\"a=b\"");
}

static void metrics_of_peers_are_summed_over_labels(void **state) {
    (void)state;
    struct bl_str text = BL_LIT("# HELP a_total x\n# TYPE a_total counter\na_total{type=\"posts\"} "
                                "3\na_total{type=\"likes\"} 4.5\na_total_more 100\nb 1e3\n");
    EXPECT(peer_metric(text, "a_total", -1) == 7.5 && peer_metric(text, "b", -1) == 1000 &&
           peer_metric(text, "c", -1) == -1);
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    EXPECT(!peer_get("127.0.0.1:1", "/health", &out) && out.n == 0);
}

static void the_last_minute_is_told(void **state) {
    (void)state;
    fake_ns = 1000 * SECOND;
    struct rates *r = rates_new(&clock_by_hand);
    for (int i = 0; i < 120; i++) {
        rates_note(r, 2000000, i % 10 == 0);
        rates_note_lookup(r, i % 4 == 0);
        fake_ns += SECOND;
    }
    struct rates_minute m = rates_minute(r);
    EXPECT(m.per_second > 0.9 && m.per_second < 1.1 && m.mean_ms == 2 && m.hit_percent > 20 && m.hit_percent < 30 &&
           m.error_percent > 8 && m.error_percent < 12);
    fake_ns += 100 * SECOND;
    EXPECT(rates_minute(r).per_second == 0);
    rates_free(&r);
}

static unsigned status_of(enum bl_rc code, const char *expected) {
    struct http_request rq = {.id = "0123"};
    struct http_response res = {0};
    struct bl_error err = {.code = code, .message = "/srv/lake/x.parquet: Input/output error"};
    http_refuse_error(&res, &rq, &err);
    struct bl_str body = http_body(&res);
    EXPECT(memmem(body.p, body.n, expected, strlen(expected)) && !memmem(body.p, body.n, "/srv", 4));
    EXPECT((res.status == 503) == (http_header_of(&res, "Retry-After") != NULL));
    unsigned status = res.status;
    http_response_release(&res);
    return status;
}

static void what_may_be_over_soon_says_so_and_a_bug_does_not(void **state) {
    (void)state;
    EXPECT(status_of(BL_E_IO, "\"unreadable\"") == 503 && status_of(BL_E_BACKEND, "\"unreadable\"") == 503);
    EXPECT(status_of(BL_E_FULL, "\"busy\"") == 503 && status_of(BL_E_TIMEOUT, "\"deadline\"") == 504);
    EXPECT(status_of(BL_E_CORRUPT, "\"internal\"") == 500 && status_of(BL_E_INTERNAL, "\"internal\"") == 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_bucket_empties_and_refills_evenly),
                                       cmocka_unit_test(a_full_table_never_punishes_a_newcomer),
                                       cmocka_unit_test(the_cache_tells_how_old_an_answer_is),
                                       cmocka_unit_test(the_cache_forgets_what_was_used_longest_ago_and_what_is_old),
                                       cmocka_unit_test(a_ring_hands_on_every_byte_in_order),
                                       cmocka_unit_test(a_ring_ends_the_writer_when_nobody_reads),
                                       cmocka_unit_test(what_a_client_accepts_is_understood),
                                       cmocka_unit_test(a_compressed_body_is_the_same_body),
                                       cmocka_unit_test(cells_follow_the_rfc_and_are_no_formulas),
                                       cmocka_unit_test(what_may_be_over_soon_says_so_and_a_bug_does_not),
                                       cmocka_unit_test(metrics_of_peers_are_summed_over_labels),
                                       cmocka_unit_test(the_last_minute_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
