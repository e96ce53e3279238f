/* The resolver against a server that knows some accounts, knows others not, and does not always answer. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "expect.h"
#include "peer.h"
#include "resolve/resolver.h"

enum { PATIENCE_S = 30, SILENT = -1 };

/* Accounts a<anything>.example.com and did:plc:a<anything> are one; of "bad" ones it wants to hear nothing. */
struct directory {
    struct peer *peer;
    _Atomic int status; /* 200, what else it answers, or SILENT */
    _Atomic int requests, subjects;
    char dir[64], url[64];
};

static bool put_account(struct bl_buf *body, const char *subject, size_t n, bool first) {
    static const char did[] = "did%3Aplc%3A", suffix[] = ".example.com";
    bool is_did = strncmp(subject, did, sizeof did - 1) == 0;
    if (is_did) {
        subject += sizeof did - 1;
        n -= sizeof did - 1;
    } else
        n -= sizeof suffix - 1;
    if (*subject != 'a') return false;
    bl_buf_printf(body, "%s{\"did\":\"did:plc:%.*s\",\"handle\":\"%.*s.example.com\",\"displayName\":\"Name of %.*s\"}",
                  first ? "" : ",", (int)n, subject, (int)n, subject, (int)n, subject);
    return true;
}

static void answer(struct peer_connection *c, void *context) {
    struct directory *d = context;
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {0}, out = {0};
    if (!peer_read_request(c)) return;
    atomic_fetch_add(&d->requests, 1);
    int status = atomic_load(&d->status);
    if (status == SILENT) {
        peer_wait_gone(c);
        return;
    }
    if (strstr(c->request, "bad")) status = 400;
    bl_buf_z(&body, "{\"profiles\":[");
    size_t known = 0;
    for (const char *at = c->request; (at = strstr(at, "actors=")); at++) {
        atomic_fetch_add(&d->subjects, 1);
        known += put_account(&body, at + 7, strcspn(at + 7, "& "), known == 0);
    }
    bl_buf_z(&body, "]}");
    bl_buf_printf(&out, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, body.n);
    bl_buf_str(&out, bl_buf_view(&body));
    peer_send(c, bl_buf_view(&out));
}

static int set_up(void **state) {
    struct directory *d = bl_xcalloc(1, sizeof *d);
    d->status = 200;
    d->peer = peer_start(answer, d);
    snprintf(d->dir, sizeof d->dir, "/tmp/resolver-test-XXXXXX");
    snprintf(d->url, sizeof d->url, "http://127.0.0.1:%d", peer_port(d->peer));
    *state = d;
    return mkdtemp(d->dir) ? 0 : -1;
}

static int tear_down(void **state) {
    struct directory *d = *state;
    static const char *const names[] = {"/resolved.sqlite", "/resolved.sqlite-wal", "/resolved.sqlite-shm", ""};
    peer_stop(&d->peer);
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", d->dir, names[i]);
        remove(path);
    }
    bool gone = access(d->dir, F_OK) != 0;
    free(d);
    return gone ? 0 : -1;
}

static struct resolver *open_with(struct directory *d, struct resolver_options o) {
    struct resolver *r = NULL;
    struct bl_error err = {0};
    o.lake_dir = d->dir;
    o.url = d->url;
    if (!o.timeout_us) o.timeout_us = PATIENCE_S * 1000000;
    if (!o.per_second) o.per_second = 1000;
    EXPECT_OK(resolver_open(&o, &r, &err), &err);
    return r;
}

static bool time_is_left(int64_t since_ns) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return bl_mono_ns() - since_ns < PATIENCE_S * INT64_C(1000000000);
}

/* As a question does that waits for the answer. */
static enum resolver_outcome find_account(struct resolver *r, const char *name, struct bl_arena *arena,
                                          struct resolver_account *out) {
    struct bl_str subject = bl_str(name);
    resolver_ask(r, &subject, 1, true);
    resolver_wait(r, &subject, 1, resolver_timeout_us(r));
    return resolver_known(r, subject, arena, out);
}

static enum resolver_outcome find(struct resolver *r, const char *name) {
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct resolver_account a;
    enum resolver_outcome outcome = find_account(r, name, &arena, &a);
    EXPECT((outcome == RESOLVER_FOUND) == (a.did.p != NULL));
    return outcome;
}

static void names_come_in_the_background_25_at_a_time(void **state) {
    struct directory *d = *state;
    enum { COUNT = 60 };
    struct resolver *r = open_with(d, (struct resolver_options){0});
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct bl_str dids[COUNT];
    struct resolver_account a[COUNT];
    char texts[COUNT][32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "did:plc:%c%d", i % 3 ? 'a' : 'x', i);
        dids[i] = bl_str(texts[i]);
    }
    EXPECT(resolver_known(r, dids[1], &arena, &a[1]) == RESOLVER_UNKNOWN);
    resolver_ask(r, dids, COUNT, false);
    EXPECT(resolver_wait(r, dids, COUNT, PATIENCE_S * 1000000));
    for (int i = 0; i < COUNT; i++)
        EXPECT(resolver_known(r, dids[i], &arena, &a[i]) == (i % 3 ? RESOLVER_FOUND : RESOLVER_NOBODY));
    for (int i = 0; i < COUNT; i++) {
        char handle[64];
        snprintf(handle, sizeof handle, "a%d.example.com", i);
        if (i % 3 == 0)
            EXPECT(!a[i].did.p && !a[i].handle.p && !a[i].display_name.p);
        else
            EXPECT_STR(a[i].handle, handle);
    }
    EXPECT_STR(a[1].display_name, "Name of a1");
    EXPECT(atomic_load(&d->subjects) == COUNT && atomic_load(&d->requests) == 3);
    resolver_close(&r);
}

static void a_handle_is_waited_for_and_then_known(void **state) {
    struct directory *d = *state;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct resolver_account a;
    for (int opened = 0; opened < 2; opened++) {
        struct resolver *r = open_with(d, (struct resolver_options){0});
        EXPECT(find_account(r, "Alice.Example.Com", &arena, &a) == RESOLVER_FOUND);
        EXPECT_STR(a.did, "did:plc:alice");
        EXPECT_STR(a.handle, "alice.example.com");
        EXPECT(resolver_known(r, BL_LIT("did:plc:alice"), &arena, &a) == RESOLVER_FOUND);
        EXPECT_STR(a.display_name, "Name of alice");
        EXPECT(find(r, "xavier.example.com") == RESOLVER_NOBODY && find(r, "xavier.example.com") == RESOLVER_NOBODY);
        resolver_close(&r);
    }
    EXPECT(atomic_load(&d->requests) == 2);
}

static void nobody_is_asked_again_sooner(void **state) {
    struct directory *d = *state;
    struct resolver *r = open_with(d, (struct resolver_options){.keep_us = 24 * 1000000});
    EXPECT(find(r, "xavier.example.com") == RESOLVER_NOBODY);
    EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND);
    int64_t start_ns = bl_mono_ns();
    while (atomic_load(&d->requests) < 3 && time_is_left(start_ns))
        EXPECT(find(r, "xavier.example.com") == RESOLVER_NOBODY);
    EXPECT(atomic_load(&d->requests) == 3 && atomic_load(&d->subjects) == 3);
    resolver_close(&r);
}

static void a_failing_host_is_left_alone_for_a_while(void **state) {
    struct directory *d = *state;
    struct resolver_state s;
    struct resolver *r = open_with(d, (struct resolver_options){.keep_us = 100000});
    EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND);
    atomic_store(&d->status, 503);
    int64_t start_ns = bl_mono_ns();
    while (atomic_load(&d->requests) < 2 && time_is_left(start_ns))
        EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND); /* as it was told before */
    EXPECT(find(r, "anna.example.com") == RESOLVER_UNKNOWN);
    resolver_get_state(r, &s);
    EXPECT(s.failing && s.failed >= 1 && s.failed == s.asked - 1);
    EXPECT(s.failed <= 1 + (bl_mono_ns() - start_ns) / 1000000000);
    atomic_store(&d->status, 200);
    start_ns = bl_mono_ns();
    while (find(r, "anna.example.com") != RESOLVER_FOUND && time_is_left(start_ns)) continue;
    EXPECT(find(r, "anna.example.com") == RESOLVER_FOUND);
    resolver_get_state(r, &s);
    EXPECT(!s.failing);
    resolver_close(&r);
}

static void a_silent_host_is_waited_for_only_so_long(void **state) {
    struct directory *d = *state;
    struct resolver *r = open_with(d, (struct resolver_options){.timeout_us = 100000});
    atomic_store(&d->status, SILENT);
    EXPECT(find(r, "alice.example.com") == RESOLVER_UNKNOWN);
    resolver_close(&r);
}

/* Until the pause after a failure is over. */
static void start_over(struct resolver *r) {
    int64_t start_ns = bl_mono_ns();
    while (find(r, "anton.example.com") != RESOLVER_FOUND && time_is_left(start_ns)) continue;
}

static void one_bad_name_spoils_nothing_for_the_others(void **state) {
    struct directory *d = *state;
    struct resolver *r = open_with(d, (struct resolver_options){0});
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct bl_str dids[] = {BL_LIT("did:plc:a1"), BL_LIT("did:plc:bad"), BL_LIT("did:plc:a2"), BL_LIT("did:plc:a3")};
    struct resolver_account a[4];
    EXPECT(find(r, "did:plc:bad") == RESOLVER_UNKNOWN); /* a host that likes nothing is no such host */
    start_over(r);
    resolver_ask(r, dids, 4, false);
    EXPECT(resolver_wait(r, dids, 4, PATIENCE_S * 1000000));
    for (size_t i = 0; i < 4; i++)
        EXPECT(resolver_known(r, dids[i], &arena, &a[i]) == (i == 1 ? RESOLVER_NOBODY : RESOLVER_FOUND));
    EXPECT_STR(a[0].handle, "a1.example.com");
    EXPECT_STR(a[2].handle, "a2.example.com");
    EXPECT_STR(a[3].handle, "a3.example.com");
    resolver_close(&r);
}

static void *find_in_thread(void *context) {
    return (void *)(uintptr_t)find(context, "alice.example.com");
}

static void stopping_ends_all_waits(void **state) {
    struct directory *d = *state;
    struct resolver *r = open_with(d, (struct resolver_options){.timeout_us = INT64_C(3600000000)});
    pthread_t thread;
    void *outcome;
    atomic_store(&d->status, SILENT);
    EXPECT(pthread_create(&thread, NULL, find_in_thread, r) == 0);
    int64_t start_ns = bl_mono_ns();
    while (atomic_load(&d->requests) == 0 && time_is_left(start_ns)) continue;
    resolver_stop(r);
    pthread_join(thread, &outcome);
    EXPECT((uintptr_t)outcome == RESOLVER_UNKNOWN);
    EXPECT(find(r, "anna.example.com") == RESOLVER_UNKNOWN);
    resolver_close(&r);
}

static void a_damaged_cache_is_begun_anew_and_none_is_needed(void **state) {
    struct directory *d = *state;
    char path[128];
    struct bl_error err = {0};
    snprintf(path, sizeof path, "%s/resolved.sqlite", d->dir);
    FILE *file = fopen(path, "we");
    EXPECT(file && fputs("this is not a database, and it is longer than the header of one would be: "
                         "a hundred bytes are enough",
                         file) > 0);
    fclose(file);
    struct resolver *r = open_with(d, (struct resolver_options){0});
    EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND);
    resolver_close(&r);
    BL_CLEANUP(bl_buf_release) struct bl_buf bytes = {0};
    EXPECT_OK(bl_read_file(path, 1 << 20, &bytes, &err), &err);
    EXPECT(bl_str_starts(bl_buf_view(&bytes), BL_LIT("SQLite format 3")));
    struct resolver_options o = {.lake_dir = "/nonexistent/folder", .url = d->url};
    EXPECT_OK(resolver_open(&o, &r, &err), &err);
    EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND && find(r, "alice.example.com") == RESOLVER_FOUND);
    EXPECT(atomic_load(&d->requests) == 2);
    resolver_close(&r);
}

static void a_cache_damaged_in_the_middle_is_begun_anew(void **state) {
    struct directory *d = *state;
    enum { COUNT = 2000, PAGE = 4096 };
    char path[128], name[48], garbage[PAGE];
    snprintf(path, sizeof path, "%s/resolved.sqlite", d->dir);
    struct resolver *r = open_with(d, (struct resolver_options){0});
    for (int i = 0; i < COUNT; i += 500) { /* more than a page of the file */
        struct bl_str names[500];
        char texts[500][32];
        for (int k = 0; k < 500; k++) {
            snprintf(texts[k], sizeof texts[k], "a%d.example.com", i + k);
            names[k] = bl_str(texts[k]);
        }
        resolver_ask(r, names, 500, false);
        EXPECT(resolver_wait(r, names, 500, PATIENCE_S * 1000000));
    }
    resolver_close(&r);
    FILE *file = fopen(path, "r+e");
    EXPECT(file && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    EXPECT(size > 4 * PAGE);
    memset(garbage, 0x5a, sizeof garbage);
    fseek(file, PAGE, SEEK_SET);
    for (long at = PAGE; at < size; at += PAGE) EXPECT(fwrite(garbage, 1, PAGE, file) == PAGE);
    fclose(file);
    r = open_with(d, (struct resolver_options){0});
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "a%d.example.com", i);
        EXPECT(find(r, name) == RESOLVER_FOUND);
    }
    int asked = atomic_load(&d->requests);
    resolver_close(&r);
    r = open_with(d, (struct resolver_options){0});
    EXPECT(find(r, name) == RESOLVER_FOUND && atomic_load(&d->requests) == asked);
    resolver_close(&r);
}

static void the_newest_question_comes_first_and_what_waits_is_bounded(void **state) {
    struct directory *d = *state;
    enum { COUNT = RESOLVER_WANTED_MAX + 500 };
    struct resolver_state s;
    struct resolver *r = open_with(d, (struct resolver_options){.per_second = 1});
    struct bl_str *names = bl_xcalloc(COUNT, sizeof *names);
    for (int i = 0; i < COUNT; i++) names[i] = bl_str(bl_xasprintf("did:plc:a%d", i));
    resolver_ask(r, names, RESOLVER_WANTED_MAX, false);
    resolver_ask(r, names + RESOLVER_WANTED_MAX, 500, false);
    resolver_get_state(r, &s);
    EXPECT(s.waiting <= RESOLVER_WANTED_MAX + 25);
    EXPECT(find(r, "alice.example.com") == RESOLVER_FOUND); /* urgent */
    EXPECT(resolver_wait(r, names + RESOLVER_WANTED_MAX, 20, PATIENCE_S * 1000000));
    EXPECT(!resolver_wait(r, names + 100, 1, 0) || resolver_wait(r, names + 999, 1, 0));
    EXPECT(atomic_load(&d->requests) < 6);
    resolver_close(&r);
    for (int i = 0; i < COUNT; i++) free((void *)(uintptr_t)names[i].p);
    free(names);
}

static void what_is_too_long_to_be_asked_is_nobody(void **state) {
    struct directory *d = *state;
    struct resolver *r = open_with(d, (struct resolver_options){0});
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct resolver_account a;
    char text[300] = "did:web:";
    memset(text + 8, 'x', sizeof text - 9);
    struct bl_str name = bl_str(text);
    resolver_ask(r, &name, 1, false);
    EXPECT(resolver_wait(r, &name, 1, 0) && resolver_known(r, name, &arena, &a) == RESOLVER_NOBODY);
    EXPECT(atomic_load(&d->requests) == 0);
    resolver_close(&r);
}

static void an_address_that_is_none_is_refused(void **state) {
    (void)state;
    static const char *const urls[] = {"",        "public.api.bsky.app", "wss://x.example.com",
                                       "http://", "https://a/?b=c",      "ftp://x"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct resolver *r = NULL;
        EXPECT_RC(resolver_open(&(struct resolver_options){.lake_dir = "/tmp", .url = urls[i]}, &r, NULL), BL_E_USAGE);
    }
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(names_come_in_the_background_25_at_a_time),
        WITH_DIRECTORY(a_handle_is_waited_for_and_then_known),
        WITH_DIRECTORY(nobody_is_asked_again_sooner),
        WITH_DIRECTORY(a_failing_host_is_left_alone_for_a_while),
        WITH_DIRECTORY(a_silent_host_is_waited_for_only_so_long),
        WITH_DIRECTORY(one_bad_name_spoils_nothing_for_the_others),
        WITH_DIRECTORY(stopping_ends_all_waits),
        WITH_DIRECTORY(a_damaged_cache_is_begun_anew_and_none_is_needed),
        WITH_DIRECTORY(a_cache_damaged_in_the_middle_is_begun_anew),
        WITH_DIRECTORY(the_newest_question_comes_first_and_what_waits_is_bounded),
        WITH_DIRECTORY(what_is_too_long_to_be_asked_is_nobody),
        cmocka_unit_test(an_address_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
