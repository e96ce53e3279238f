/* v2 messages as v1 events, and the source against a v2 host: the simulator, over real sockets. */
#include "expect.h"

#include <stdlib.h>
#include <unistd.h>
#include <zdict.h>

#include "base/io.h"
#include "event/event.h"
#include "event/json.h"
#include "sim/server.h"
#include "source/source.h"
#include "source/v2.h"

#define KIND "\"$type\":\"network.bsky.jetstream.subscribeEvents#"
enum { COUNT = 5000, TICK_MS = 50 };

/* ---- conversion ---- */

static struct bl_buf scratch;

static void expect_event(const char *frame, const char *event) {
    struct v2_message m;
    v2_read(bl_str(frame), &scratch, &m);
    EXPECT(m.kind == V2_EVENT);
    if (!bl_str_eq(m.json, bl_str(event))) fail_msg("%.*s\nnot\n%s", BL_ARG(m.json), event);
}

static void members_find_their_places(void **state) {
    (void)state;
    expect_event(
        "{\"$type\":\"message\",\"payload\":{" KIND
        "commit\",\"cid\":\"c\",\"collection\":\"a.b.c\",\"did\":\"did:plc:x\","
        "\"operation\":\"create\",\"record\":{\"seq\":1.0},\"rev\":\"r\",\"rkey\":\"k\",\"seq\":42,"
        "\"time\":\"2026-01-05T00:00:00.000755Z\"}}",
        "{\"did\":\"did:plc:x\",\"time_us\":1767571200000755,\"cursor\":42,\"kind\":\"commit\",\"commit\":{\"rev\":"
        "\"r\","
        "\"operation\":\"create\",\"collection\":\"a.b.c\",\"rkey\":\"k\",\"record\":{\"seq\":1.0},\"cid\":\"c\"}}");
    expect_event(
        "{\"payload\":{\"time\":\"2026-01-05T00:00:00.000000Z\",\"identity\":{\"seq\":7},\"seq\":43,\"did\":\"d\"," KIND
        "identity\"},\"$type\":\"message\"}",
        "{\"did\":\"d\",\"time_us\":1767571200000000,\"cursor\":43,\"kind\":\"identity\",\"identity\":{\"seq\":7}}");
}

static void what_has_no_place_is_kept(void **state) {
    (void)state;
    expect_event("{\"$type\":\"message\",\"extra\":[1],\"payload\":{" KIND
                 "account\",\"account\":{},\"kind\":\"x\",\"rev\":\"r\","
                 "\"seq\":\"43\",\"time\":\"2026-01-05T00:00:00.5Z\"}}",
                 "{\"time_us\":1767571200500000,\"cursor\":\"43\",\"kind\":\"account\",\"account\":{},\"v2\":{"
                 "\"frame\":{\"extra\":[1]},"
                 "\"payload\":{\"time\":\"2026-01-05T00:00:00.5Z\",\"kind\":\"x\",\"rev\":\"r\"}}}");
    expect_event("{\"$type\":\"message\",\"payload\":{" KIND "commit\",\"commit\":{\"a\":1},\"time\":7}}",
                 "{\"kind\":\"commit\",\"commit\":{},\"v2\":{\"payload\":{\"time\":7,\"commit\":{\"a\":1}}}}");
    expect_event("{\"$type\":\"message\",\"payload\":{" KIND
                 "sync\",\"did\":\"d\",\"sync\":{},\"time\":\"2026-13-05T00:00:00.000000Z\"}}",
                 "{\"did\":\"d\",\"kind\":\"sync\",\"sync\":{},\"v2\":{\"payload\":{\"time\":\"2026-13-05T00:00:00."
                 "000000Z\"}}}");
}

static void infos_errors_and_strangers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *frame;
        enum v2_kind kind;
    } cases[] = {
        {"{\"$type\":\"message\",\"payload\":{" KIND "info\",\"name\":\"OutdatedCursor\",\"message\":\"m\"}}", V2_INFO},
        {"{\"$type\":\"error\",\"error\":\"ConsumerTooSlow\",\"message\":\"m\"}", V2_ERROR},
        {"{\"$type\":\"error\"}", V2_ERROR},
        {"{\"$type\":\"message\",\"payload\":{" KIND "wave\"}}", V2_FOREIGN},
        {"{\"$type\":\"message\",\"payload\":{\"$type\":\"other#commit\"}}", V2_FOREIGN},
        {"{\"$type\":\"message\",\"payload\":[]}", V2_FOREIGN},
        {"{\"$type\":\"message\"}", V2_FOREIGN},
        {"{\"payload\":{" KIND "commit\"}}", V2_FOREIGN},
        {"{\"$type\":5,\"payload\":{" KIND "commit\"}}", V2_FOREIGN},
        {"{\"$type\":\"message\",\"payload\":{" KIND "commit\"}} x", V2_FOREIGN},
        {"[", V2_FOREIGN},
        {"", V2_FOREIGN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct v2_message m;
        v2_read(bl_str(cases[i].frame), &scratch, &m);
        if (m.kind != cases[i].kind) fail_msg("%s", cases[i].frame);
        if (m.kind == V2_INFO) assert_string_equal(m.name, "OutdatedCursor");
    }
    bl_buf_release(&scratch);
}

/* ---- the source and a v2 host ---- */

static char folder[] = "/tmp/bluelake-v2-XXXXXX";

struct place {
    struct sim_server *server;
    char url[200];
    char name[64];
};

static void serve_at(struct place *p, struct sim_server_options o, int port) {
    struct bl_error err = {0};
    o.v2 = true;
    o.port = port;
    EXPECT_OK(sim_server_start(&o, &p->server, &err), &err);
    snprintf(p->name, sizeof p->name, "127.0.0.1:%d", sim_server_port(p->server));
    snprintf(p->url, sizeof p->url, "ws://%s/xrpc/network.bsky.jetstream.subscribeEvents", p->name);
}

static struct source *open_source(struct source_options o, const struct place *p) {
    struct bl_error err = {0};
    struct source *s = NULL;
    const char *const urls[] = {p->url};
    o.urls = urls;
    o.url_count = 1;
    o.backoff_min_us = 1000;
    o.backoff_max_us = 5000;
    EXPECT_OK(source_open(&o, &s, &err), &err);
    return s;
}

static void take(struct source *s, struct source_message *m) {
    struct bl_error err = {0};
    enum bl_rc rc;
    int64_t end = bl_mono_ns() + 10000000000;
    while ((rc = source_next(s, TICK_MS, m, &err)) == BL_E_TIMEOUT && bl_mono_ns() < end) {
    }
    EXPECT_OK(rc, &err);
}

static struct source_stats stats_of(struct source *s) {
    struct source_stats stats;
    source_get_stats(s, &stats);
    return stats;
}

/* The v1 event with its cursor. */
static struct bl_str truth(struct sim *sim, uint64_t i, uint64_t seq, struct bl_buf *out) {
    bl_buf_clear(out);
    sim_event(sim, i, out);
    char *kind = memmem(out->p, out->n, ",\"kind\":", 8);
    struct bl_buf rest = {0};
    bl_buf_str(&rest, bl_strn(kind, out->n - (size_t)(kind - out->p)));
    out->n = (size_t)(kind - out->p);
    bl_buf_printf(out, ",\"cursor\":%llu", (unsigned long long)seq);
    bl_buf_str(out, bl_buf_view(&rest));
    bl_buf_release(&rest);
    return bl_buf_view(out);
}

static void every_event_comes_once_and_equal_across_cuts(void **state) {
    (void)state;
    static const char *const faults[] = {NULL,
                                         "cut-every=700",
                                         "half-frame-every=333",
                                         "close-every=450",
                                         "error-every=1000",
                                         "fragment-every=3",
                                         "http-503-first=2"};
    struct sim *sim = sim_new(&(struct sim_options){.batch = 5});
    struct bl_buf want = {0};
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
        struct place p;
        serve_at(
            &p,
            (struct sim_server_options){.network.batch = 5, .count = COUNT, .misbehave = faults[f], .seq_start = 100},
            0);
        struct source *s = open_source((struct source_options){0}, &p);
        struct source_message m;
        for (uint64_t i = 0; i < COUNT; i++) {
            take(s, &m);
            EXPECT(m.seq == 100 + i && m.time_us == sim_time_us(sim, i) && strcmp(m.host, p.name) == 0);
            EXPECT(js_equal(m.json, truth(sim, i, m.seq, &want), NULL));
            if (i % 100 == 0) {
                struct source_cursor c = {.us = m.time_us, .seq = m.seq};
                snprintf(c.host, sizeof c.host, "%s", m.host);
                source_set_cursor(s, &c);
            }
        }
        EXPECT_RC(source_next(s, TICK_MS, &m, NULL), BL_E_TIMEOUT);
        EXPECT(stats_of(s).gaps == 0);
        source_close(&s);
        sim_server_stop(&p.server);
    }
    bl_buf_release(&want);
    sim_free(&sim);
}

/* As while Redis takes nothing: the position stands still, and a reconnect begins there, long before what is new. */
static void a_position_far_behind_what_was_handed_out_is_no_gap(void **state) {
    (void)state;
    struct place p;
    struct source_message m;
    const struct sim_server_options host = {.network.rate = 1, .count = COUNT},
                                    half = {.network.rate = 1, .count = COUNT / 2};
    serve_at(&p, half, 0); /* the rest can only come over another connection */
    struct source *s = open_source((struct source_options){0}, &p);
    for (uint64_t i = 0; i < COUNT; i++) {
        take(s, &m);
        EXPECT(m.seq == 1 + i);
        if (i == COUNT / 2 - 1) {
            int port = sim_server_port(p.server);
            sim_server_stop(&p.server);
            serve_at(&p, host, port);
        }
        if (i > 0) continue;
        struct source_cursor first = {.us = m.time_us, .seq = m.seq};
        snprintf(first.host, sizeof first.host, "%s", m.host);
        source_set_cursor(s, &first);
    }
    EXPECT(stats_of(s).connects > 1 && stats_of(s).gaps == 0);
    source_close(&s);
    sim_server_stop(&p.server);
}

static void a_stored_number_is_used_at_its_host_alone(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){0});
    struct place p;
    struct source_message m;
    serve_at(&p, (struct sim_server_options){.count = COUNT}, 0);
    struct source_options o = {.start_cursor_us = sim_time_us(sim, 3000), .start_seq = 2900, .start_host = p.name};
    struct source *s = open_source(o, &p);
    take(s, &m);
    EXPECT(m.seq == 2900); /* the number, inclusive */
    source_close(&s);
    o.start_host = "elsewhere";
    s = open_source(o, &p);
    take(s, &m);
    EXPECT(m.overlap && m.seq == 1); /* a minute before event 3000 lies the beginning */
    source_close(&s);
    o.host_switch_rewind_us = 1000000;
    s = open_source(o, &p);
    take(s, &m);
    EXPECT(m.time_us >= sim_time_us(sim, 3000) - 1000000 && m.seq < 3000 && m.seq > 2000);
    source_close(&s);
    sim_server_stop(&p.server);
    sim_free(&sim);
}

static void a_number_too_old_is_a_gap_and_the_stream_goes_on_at_the_floor(void **state) {
    (void)state;
    struct sim *sim = sim_new(&(struct sim_options){0});
    struct place p;
    struct source_message m;
    struct source_gap gap;
    serve_at(&p, (struct sim_server_options){.count = COUNT, .lookback_us = 1000000}, 0);
    struct source *s = open_source(
        (struct source_options){.start_cursor_us = sim_time_us(sim, 9), .start_seq = 10, .start_host = p.name}, &p);
    take(s, &m);
    EXPECT(m.seq > 4000 && m.seq < COUNT);
    EXPECT(source_take_gap(s, &gap) && gap.from_us == sim_time_us(sim, 9) && gap.to_us == m.time_us);
    assert_string_equal(gap.reason, "cursor_too_old");
    uint64_t seq = m.seq;
    while (seq < COUNT) {
        take(s, &m);
        EXPECT(m.seq == ++seq);
    }
    EXPECT(!source_take_gap(s, &gap) && stats_of(s).gaps == 1);
    source_close(&s);
    sim_server_stop(&p.server);
    sim_free(&sim);
}

static void a_host_that_counts_anew_is_resumed_by_time(void **state) {
    (void)state;
    struct place p;
    struct source_message m;
    serve_at(&p, (struct sim_server_options){.count = 100, .seq_start = 700000}, 0);
    struct source *s = open_source((struct source_options){0}, &p);
    for (int i = 0; i < 100; i++) take(s, &m);
    EXPECT(m.seq == 700099);
    struct source_cursor c = {.us = m.time_us, .seq = m.seq};
    snprintf(c.host, sizeof c.host, "%s", m.host);
    source_set_cursor(s, &c);
    int port = sim_server_port(p.server);
    sim_server_stop(&p.server);
    serve_at(&p, (struct sim_server_options){.count = 3000, .rate = 500}, port);
    do take(s, &m);
    while (m.seq < 110); /* what came live before the change was seen is asked for by time */
    source_set_cursor(s, &c);
    EXPECT(stats_of(s).gaps == 0 && strstr(stats_of(s).last_error, "counts anew"));
    source_close(&s);
    sim_server_stop(&p.server);
}

static unsigned train(char path[64], unsigned salt) {
    struct sim *sim = sim_new(&(struct sim_options){.seed = salt});
    struct bl_buf samples = {0};
    static size_t sizes[1000];
    static char out[16384];
    for (uint64_t i = 0; i < 1000; i++) {
        size_t before = samples.n;
        sim_event(sim, i, &samples);
        sizes[i] = samples.n - before;
    }
    size_t n = ZDICT_trainFromBuffer(out, sizeof out, samples.p, sizes, 1000);
    EXPECT(!ZDICT_isError(n));
    snprintf(path, 64, "%s/dictionary-%u", folder, salt);
    EXPECT_RC(bl_write_file_atomic(path, bl_strn(out, n), NULL), BL_OK);
    bl_buf_release(&samples);
    sim_free(&sim);
    return ZDICT_getDictID(out, n);
}

static bool kept(unsigned id) {
    char path[200];
    snprintf(path, sizeof path, "%s/kept/%u.zdict", folder, id);
    return access(path, R_OK) == 0;
}

/* Bytes on the wire for all events. */
static uint64_t read_all(struct sim_server_options o, const char *keep) {
    struct place p;
    struct source_message m;
    o.count = COUNT;
    serve_at(&p, o, 0);
    struct source *s = open_source((struct source_options){.dictionary_folder = keep}, &p);
    for (uint64_t i = 1; i <= COUNT; i++) {
        take(s, &m);
        EXPECT(m.seq == i);
    }
    uint64_t bytes = stats_of(s).bytes;
    source_close(&s);
    sim_server_stop(&p.server);
    return bytes;
}

static void the_dictionary_is_fetched_kept_and_renewed(void **state) {
    (void)state;
    char first[64], second[64], keep[64];
    unsigned one = train(first, 1), two = train(second, 2);
    EXPECT(one != two);
    snprintf(keep, sizeof keep, "%s/kept", folder);
    uint64_t plain = read_all((struct sim_server_options){0}, NULL);
    EXPECT(read_all((struct sim_server_options){0}, keep) >= plain / 10 * 9); /* the host has none */
    EXPECT(read_all((struct sim_server_options){.dictionary_file = first}, keep) < plain / 2 && kept(one));
    EXPECT(read_all((struct sim_server_options){.dictionary_file = second}, keep) < plain / 2 && kept(two));
    char path[200];
    snprintf(path, sizeof path, "%s/%u.zdict", keep, one > two ? one : two);
    EXPECT_RC(bl_write_file_atomic(path, BL_LIT("not a dictionary at all, but long enough"), NULL), BL_OK);
    (void)read_all((struct sim_server_options){.dictionary_file = one > two ? first : second},
                   keep); /* a file gone bad */
}

static void positions_are_kept_in_one_text(void **state) {
    (void)state;
    struct source_cursor c = {.us = 5, .seq = 77, .host = "h.example:8443"}, d = {.us = 6};
    char text[256];
    source_cursor_text(&c, text);
    assert_string_equal(text, "h.example:8443#77");
    source_cursor_of_text(text, &d);
    EXPECT(d.seq == 77 && d.us == 6);
    assert_string_equal(d.host, "h.example:8443");
    source_cursor_of_text("h.example", &d);
    EXPECT(d.seq == 0);
    assert_string_equal(d.host, "h.example");
    source_cursor_of_text("", &d);
    EXPECT(d.seq == 0 && !*d.host);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}
static int remove_folder(void **state) {
    (void)state;
    char *command = bl_xasprintf("rm -rf '%s'", folder);
    int failure = system(command);
    free(command);
    return failure;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_find_their_places),
        cmocka_unit_test(what_has_no_place_is_kept),
        cmocka_unit_test(infos_errors_and_strangers_are_told_apart),
        cmocka_unit_test(every_event_comes_once_and_equal_across_cuts),
        cmocka_unit_test(a_position_far_behind_what_was_handed_out_is_no_gap),
        cmocka_unit_test(a_stored_number_is_used_at_its_host_alone),
        cmocka_unit_test(a_number_too_old_is_a_gap_and_the_stream_goes_on_at_the_floor),
        cmocka_unit_test(a_host_that_counts_anew_is_resumed_by_time),
        cmocka_unit_test(the_dictionary_is_fetched_kept_and_renewed),
        cmocka_unit_test(positions_are_kept_in_one_text),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
