/* The synthetic network: one pass over many events checks what every event promises; further tests look at single
 * properties. Figures printed here stand in docs/SIMULATOR.md. */
#include "expect.h"

#include <inttypes.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/rng.h"
#include "event/cbor.h"
#include "event/event.h"
#include "event/syntax.h"
#include "sim/sim.h"

#ifdef __SANITIZE_ADDRESS__
enum { EVENTS = 60000 };
#else
enum { EVENTS = 300000 };
#endif
enum { SLOTS = 1 << 20 };

struct known { /* a record that was created */
    uint64_t key, root, author;
    uint32_t liked;
    bool deleted, used;
    char cid[CID_TEXT_LEN];
};

struct census {
    struct known *known;
    struct ev_id *ids;
    uint64_t *hashes, *dids;
    uint64_t kind[EV_TYPE_COUNT], operation[3], bytes[EV_TYPE_COUNT];
    uint64_t records, odd_times, replies, embeds, tagged, multilingual, deletes_of_known;
    int64_t last_time_us;
};

static uint64_t key_of(struct bl_str did, struct bl_str collection, struct bl_str rkey) {
    char text[600];
    int n = snprintf(text, sizeof text, "%.*s/%.*s/%.*s", BL_ARG(did), BL_ARG(collection), BL_ARG(rkey));
    return XXH3_64bits(text, (size_t)n) | 1;
}

static struct known *slot_of(struct census *c, uint64_t key) {
    size_t n = key >> 40 & (SLOTS - 1);
    while (c->known[n].used && c->known[n].key != key) n = (n + 1) & (SLOTS - 1);
    return &c->known[n];
}

static struct known *find_uri(struct census *c, struct bl_str uri) {
    EXPECT(bl_str_starts(uri, BL_LIT("at://")));
    struct bl_str path = bl_str_skip(uri, 5);
    struct known *k = slot_of(c, XXH3_64bits(path.p, path.n) | 1);
    if (!k->used) fail_msg("no earlier event created %.*s", BL_ARG(uri));
    return k;
}

static struct known *expect_reference(struct census *c, struct bl_str uri, struct bl_str cid) {
    struct known *k = find_uri(c, uri);
    EXPECT(bl_str_eq(cid, bl_strn(k->cid, sizeof k->cid)));
    if (k->deleted) fail_msg("%.*s is referred to after its deletion", BL_ARG(uri));
    return k;
}

static unsigned points_of(struct bl_str s) {
    unsigned n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* Every facet covers what its feature says. */
static void expect_facets(struct bl_str facets, struct bl_str text) {
    char copy[4096];
    EXPECT(facets.n < sizeof copy);
    memcpy(copy, facets.p, facets.n);
    copy[facets.n] = 0;
    for (char *at = copy; (at = strstr(at, "facet#"));) {
        char feature = at[6];
        unsigned from, to;
        char *index = strstr(at, "\"index\":");
        EXPECT(index && sscanf(index, "\"index\":{\"byteEnd\":%u,\"byteStart\":%u}", &to, &from) == 2);
        EXPECT(from < to && to <= text.n);
        EXPECT(from == 0 || text.p[from - 1] == ' ');
        EXPECT(to == text.n || text.p[to] == ' ');
        EXPECT(feature == 'l' || text.p[from] == (feature == 't' ? '#' : '@'));
        at = index;
    }
}

static void check_post(struct census *c, const struct event *e, struct known *self) {
    self->root = self->key;
    struct bl_str text = ev_str(e, EV_posts_text);
    EXPECT(bl_utf8_valid(text) && points_of(text) <= 300);
    if (ev_has(e, EV_posts_facets)) {
        c->tagged++;
        expect_facets(ev_str(e, EV_posts_facets), text);
    }
    c->embeds += ev_has(e, EV_posts_embed);
    if (ev_has(e, EV_posts_quote_uri)) find_uri(c, ev_str(e, EV_posts_quote_uri));
    if (!ev_has(e, EV_posts_reply_parent_uri)) return;
    c->replies++;
    struct known *parent =
        expect_reference(c, ev_str(e, EV_posts_reply_parent_uri), ev_str(e, EV_posts_reply_parent_cid));
    struct known *root = find_uri(c, ev_str(e, EV_posts_reply_root_uri));
    EXPECT(bl_str_eq(ev_str(e, EV_posts_reply_root_cid), bl_strn(root->cid, sizeof root->cid)));
    EXPECT(root->key == parent->root);
    self->root = root->key;
}

static void check_subject(struct census *c, const struct event *e) {
    expect_reference(c, ev_str(e, EV_likes_subject_uri), ev_str(e, EV_likes_subject_cid))->liked++;
    if (ev_has(e, EV_likes_via_uri)) expect_reference(c, ev_str(e, EV_likes_via_uri), ev_str(e, EV_likes_via_cid));
}

static void check_commit(struct census *c, struct event *e, struct bl_buf *scratch) {
    const char *nsid = ev_schema(e->type)->collection;
    struct bl_str collection = nsid ? bl_str(nsid) : ev_str(e, EV_others_collection);
    uint64_t key = key_of(ev_str(e, EV_DID), collection, ev_str(e, EV_RKEY));
    struct known *self = slot_of(c, key);
    struct bl_str operation = ev_str(e, EV_OPERATION);
    if (bl_str_eq(operation, BL_LIT("delete"))) {
        c->operation[2]++;
        EXPECT(self->used && !self->deleted);
        self->deleted = true;
        return;
    }
    bool create = bl_str_eq(operation, BL_LIT("create"));
    c->operation[create ? 0 : 1]++;
    EXPECT(!create || !self->used);
    struct bl_str cid = ev_str(e, EV_CID);
    EXPECT(cid.n == CID_TEXT_LEN);
    self->used = true;
    self->key = key;
    memcpy(self->cid, cid.p, cid.n);
    if (e->type == EV_posts) check_post(c, e, self);
    if (e->type == EV_likes || e->type == EV_reposts) check_subject(c, e);
    if (e->type <= EV_profiles) c->odd_times += ev_has(e, EV_CREATED_AT_TEXT);
    c->records++;
    ev_verify_cid(e, scratch);
    EXPECT(ev_has(e, EV_CID_VERIFIED) && e->v[EV_CID_VERIFIED].i == 1);
}

static void check_event(struct census *c, uint64_t i, struct bl_str json, struct bl_arena *arena,
                        struct bl_buf *scratch) {
    struct event e;
    enum ev_reason why;
    struct bl_error err = {0};
    if (ev_decode(json, arena, &e, &why, &err) != BL_OK) fail_msg("%s: %.*s", err.message, BL_ARG(json));
    EXPECT(e.notes == 0);
    EXPECT(e.v[EV_TIME_US].i > c->last_time_us);
    c->last_time_us = e.v[EV_TIME_US].i;
    c->kind[e.type]++;
    c->bytes[e.type] += json.n;
    c->ids[i] = ev_identity(&e);
    c->hashes[i] = XXH3_64bits(json.p, json.n);
    c->dids[i] = XXH3_64bits(ev_str(&e, EV_DID).p, ev_str(&e, EV_DID).n);
    if (e.type != EV_accounts) check_commit(c, &e, scratch);
}

static int by_id(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct ev_id));
}
static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
static int falling(const void *a, const void *b) {
    return by_number(b, a);
}

static void print_people(uint64_t *dids) {
    qsort(dids, EVENTS, sizeof *dids, by_number);
    uint64_t *runs = bl_xcalloc(EVENTS, sizeof *runs);
    size_t count = 0;
    for (size_t n = 0; n < EVENTS; n++) {
        if (!n || dids[n] != dids[n - 1]) count++;
        runs[count - 1]++;
    }
    qsort(runs, count, sizeof *runs, falling);
    uint64_t top = 0;
    for (size_t n = 0; n < count / 100; n++) top += runs[n];
    print_message("accounts: %zu; the busiest makes %.3f %% of the events, the busiest hundredth %.1f %%\n", count,
                  100.0 * (double)runs[0] / EVENTS, 100.0 * (double)top / EVENTS);
    EXPECT(runs[0] < EVENTS / 500 && top > EVENTS / 20);
    free(runs);
}

static void print_likes(const struct census *c) {
    uint64_t *liked = bl_xcalloc(SLOTS, sizeof *liked), total = 0, top = 0;
    size_t count = 0;
    for (size_t n = 0; n < SLOTS; n++)
        if (c->known[n].liked) total += liked[count++] = c->known[n].liked;
    qsort(liked, count, sizeof *liked, falling);
    for (size_t n = 0; n < count / 10; n++) top += liked[n];
    print_message("posts liked or reposted: %zu; the most popular %" PRIu64
                  " times, the top tenth gets %.1f %% of %" PRIu64 "\n",
                  count, liked[0], 100.0 * (double)top / (double)total, total);
    EXPECT(top * 10 > total * 3);
    free(liked);
}

static void print_census(const struct census *c) {
    uint64_t bytes = 0;
    for (int t = 0; t < EV_TYPE_COUNT; t++) {
        bytes += c->bytes[t];
        print_message("%-9s %7" PRIu64 " %6.2f %% %5.0f bytes\n", ev_schema((enum ev_type)t)->name, c->kind[t],
                      100.0 * (double)c->kind[t] / EVENTS, (double)c->bytes[t] / (double)c->kind[t]);
    }
    print_message("mean %.1f bytes; creates %" PRIu64 ", updates %" PRIu64 ", deletes %" PRIu64 "\n",
                  (double)bytes / EVENTS, c->operation[0], c->operation[1], c->operation[2]);
    uint64_t posts = c->kind[EV_posts];
    print_message("of %" PRIu64
                  " post events: replies %.1f %%, embeds %.1f %%, facets %.1f %%; odd createdAt %.2f %% of records\n",
                  posts, 100.0 * (double)c->replies / (double)posts, 100.0 * (double)c->embeds / (double)posts,
                  100.0 * (double)c->tagged / (double)posts, 100.0 * (double)c->odd_times / (double)c->records);
    EXPECT(bytes > (uint64_t)500 * EVENTS && bytes < (uint64_t)600 * EVENTS);
    EXPECT(c->odd_times * 1000 > c->records * 2 && c->odd_times * 1000 < c->records * 7);
    EXPECT(c->operation[2] * 1000 > (uint64_t)EVENTS * 15); /* fewer in the first blocks */
}

static struct census census;

static int take_census(void **state) {
    (void)state;
    struct census *c = &census;
    c->known = bl_xcalloc(SLOTS, sizeof *c->known);
    c->ids = bl_xcalloc(EVENTS, sizeof *c->ids);
    c->hashes = bl_xcalloc(EVENTS, sizeof *c->hashes);
    c->dids = bl_xcalloc(EVENTS, sizeof *c->dids);
    return 0;
}

static int drop_census(void **state) {
    (void)state;
    free(census.known);
    free(census.ids);
    free(census.hashes);
    free(census.dids);
    return 0;
}

static void every_event_decodes_verifies_and_refers_to_what_exists(void **state) {
    (void)state;
    struct sim *s = sim_new(&(struct sim_options){.seed = 7});
    struct bl_buf line = {0}, scratch = {0};
    struct bl_arena arena = {0};
    for (uint64_t i = 0; i < EVENTS; i++) {
        bl_buf_clear(&line);
        sim_event(s, i, &line);
        check_event(&census, i, bl_buf_view(&line), &arena, &scratch);
        bl_arena_reset(&arena);
    }
    print_census(&census);
    print_likes(&census);
    print_people(census.dids);
    sim_free(&s);
    bl_buf_release(&line);
    bl_buf_release(&scratch);
    bl_arena_release(&arena);
}

static void no_two_events_share_an_identity(void **state) {
    (void)state;
    qsort(census.ids, EVENTS, sizeof *census.ids, by_id);
    for (size_t n = 1; n < EVENTS; n++) EXPECT(by_id(&census.ids[n], &census.ids[n - 1]) != 0);
}

static void an_event_computed_alone_or_in_any_order_is_the_same(void **state) {
    (void)state;
    struct bl_buf line = {0};
    struct bl_rng r = {5};
    struct sim *jumper = sim_new(&(struct sim_options){.seed = 7});
    for (int n = 0; n < 3000; n++) {
        uint64_t i = bl_rng_below(&r, EVENTS);
        struct sim *fresh = n < 20 ? sim_new(&(struct sim_options){.seed = 7}) : NULL;
        bl_buf_clear(&line);
        sim_event(fresh ? fresh : jumper, i, &line);
        EXPECT(XXH3_64bits(line.p, line.n) == census.hashes[i]);
        sim_free(&fresh);
    }
    sim_free(&jumper);
    bl_buf_release(&line);
}

static void seeds_give_different_networks(void **state) {
    (void)state;
    struct sim *a = sim_new(&(struct sim_options){.seed = 1}), *b = sim_new(&(struct sim_options){.seed = 2});
    struct bl_buf x = {0}, y = {0};
    sim_event(a, 1000, &x);
    sim_event(b, 1000, &y);
    EXPECT(!bl_str_eq(bl_buf_view(&x), bl_buf_view(&y)));
    bl_buf_release(&x);
    bl_buf_release(&y);
    sim_free(&a);
    sim_free(&b);
}

/* The same for every compiler, build type and machine. Who changes the network on purpose changes the number too. */
static void the_stream_of_a_seed_is_pinned(void **state) {
    (void)state;
    struct sim *s = sim_new(&(struct sim_options){.seed = 1});
    struct bl_buf all = {0};
    for (uint64_t i = 0; i < 4000; i++) sim_event(s, i * 7919, &all);
    uint64_t hash = XXH3_64bits(all.p, all.n);
    if (hash != 0xa7459ece6fc97c1eu) fail_msg("the stream changed: 0x%" PRIx64, hash);
    bl_buf_release(&all);
    sim_free(&s);
}

static void time_stamps_increase_and_are_found_again(void **state) {
    (void)state;
    static const double rates[] = {0, 94, 5000, 1e9};
    for (size_t n = 0; n < sizeof rates / sizeof *rates; n++) {
        struct sim *s = sim_new(&(struct sim_options){.seed = 3, .rate = rates[n]});
        struct bl_rng r = {n};
        for (int t = 0; t < 2000; t++) {
            uint64_t i = bl_rng_below(&r, t & 1 ? 100000 : 10000000000);
            int64_t at = sim_time_us(s, i);
            EXPECT(sim_time_us(s, i + 1) > at);
            EXPECT(sim_first_at(s, at) == i);
            EXPECT(sim_first_at(s, at + 1) == i + 1);
        }
        EXPECT(sim_first_at(s, 0) == 0 && sim_first_at(s, INT64_MIN) == 0);
        sim_free(&s);
    }
}

static void a_day_has_its_rhythm_and_the_volume_of_a_real_one(void **state) {
    (void)state;
    const int64_t start = 1767571200000000, hour = 3600000000;
    struct sim *s = sim_new(&(struct sim_options){.seed = 7});
    uint64_t day = sim_first_at(s, start + 24 * hour), least = UINT64_MAX, most = 0;
    for (int64_t h = 0; h < 24; h++) {
        uint64_t n = sim_first_at(s, start + (h + 1) * hour) - sim_first_at(s, start + h * hour);
        if (n < least) least = n;
        if (n > most) most = n;
    }
    uint64_t busiest = 0, minute = day / 1440;
    for (int64_t m = 0; m < 1440; m++) {
        uint64_t n = sim_first_at(s, start + (m + 1) * 60000000) - sim_first_at(s, start + m * 60000000);
        if (n > busiest) busiest = n;
    }
    print_message("a day: %" PRIu64 " events, %" PRIu64
                  " a minute; hours from %.2f to %.2f of the mean, the busiest minute %.2f\n",
                  day, minute, (double)least * 24 / (double)day, (double)most * 24 / (double)day,
                  (double)busiest / (double)minute);
    uint64_t likes = minute * 690 / 1000, posts = minute * 111 / 1000, reposts = minute * 98 / 1000,
             follows = minute * 39 / 1000;
    print_message("a minute: likes %" PRIu64 ", posts %" PRIu64 ", reposts %" PRIu64 ", follows %" PRIu64 "\n", likes,
                  posts, reposts, follows);
    EXPECT(likes >= 10000 && likes <= 50000 && posts >= 1000 && posts <= 5000);
    EXPECT(reposts >= 500 && reposts <= 2000 && follows >= 100 && follows <= 1000);
    EXPECT(most * 10 > least * 18 && busiest > minute * 2);
    sim_free(&s);
}

static void revisions_increase_within_an_account_and_follow_the_record_key(void **state) {
    (void)state;
    enum { RANGE = 60000 };
    struct sim *s = sim_new(&(struct sim_options){.seed = 9, .rate = 20000});
    struct bl_buf line = {0};
    struct bl_arena arena = {0};
    struct census c = {.known = bl_xcalloc(SLOTS, sizeof *c.known)};
    unsigned again = 0;
    for (uint64_t i = 0; i < RANGE; i++) {
        struct event e;
        enum ev_reason why;
        struct bl_error err = {0};
        bl_buf_clear(&line);
        sim_event(s, i, &line);
        EXPECT_OK(ev_decode(bl_buf_view(&line), &arena, &e, &why, &err), &err);
        if (e.type != EV_accounts) {
            struct bl_str rev = ev_str(&e, EV_REV), rkey = ev_str(&e, EV_RKEY);
            uint64_t key = key_of(ev_str(&e, EV_DID), (struct bl_str){0}, (struct bl_str){0});
            struct known *k = slot_of(&c, key);
            again += k->used;
            EXPECT(!k->used || bl_str_cmp(rev, bl_strn(k->cid, rev.n)) > 0);
            EXPECT(at_tid_us(rev) < e.v[EV_TIME_US].i);
            if (rkey.n == rev.n && e.type <= EV_blocks && bl_str_eq(ev_str(&e, EV_OPERATION), BL_LIT("create"))) {
                int64_t ahead_us = at_tid_us(rev) - at_tid_us(rkey);
                EXPECT(ahead_us > 0 && ahead_us < 64000 && ahead_us % 1000 == 0);
            }
            k->used = true;
            k->key = key;
            memcpy(k->cid, rev.p, rev.n);
        }
        bl_arena_reset(&arena);
    }
    EXPECT(again > RANGE / 10);
    free(c.known);
    sim_free(&s);
    bl_buf_release(&line);
    bl_arena_release(&arena);
}

/* active, status: what the last account event of a did said; nothing may follow a final one. */
static void accounts_that_are_gone_stay_silent(void **state) {
    (void)state;
    enum { RANGE = 60000 };
    struct sim *s = sim_new(&(struct sim_options){.seed = 9});
    struct bl_buf line = {0};
    struct bl_arena arena = {0};
    struct census c = {.known = bl_xcalloc(SLOTS, sizeof *c.known)};
    unsigned gone = 0, reactivated = 0;
    for (uint64_t i = 0; i < RANGE; i++) {
        struct event e;
        enum ev_reason why;
        struct bl_error err = {0};
        bl_buf_clear(&line);
        sim_event(s, i, &line);
        EXPECT_OK(ev_decode(bl_buf_view(&line), &arena, &e, &why, &err), &err);
        struct known *k = slot_of(&c, key_of(ev_str(&e, EV_DID), (struct bl_str){0}, (struct bl_str){0}));
        bool account = e.type == EV_accounts && ev_has(&e, EV_accounts_active);
        bool revived = account && e.v[EV_accounts_active].i && k->used && k->root == 1;
        if (k->used && k->deleted && !revived)
            fail_msg("an account acts after it went away: %.*s", (int)line.n, line.p);
        if (account && (!e.v[EV_accounts_active].i || revived)) {
            struct bl_str status = ev_str(&e, EV_accounts_status);
            k->used = true;
            k->key = key_of(ev_str(&e, EV_DID), (struct bl_str){0}, (struct bl_str){0});
            k->deleted = !revived;
            k->root = bl_str_eq(status, BL_LIT("deactivated"));
            gone += !revived;
            reactivated += revived;
        }
        bl_arena_reset(&arena);
    }
    EXPECT(gone > 100 && reactivated > 30);
    free(c.known);
    sim_free(&s);
    bl_buf_release(&line);
    bl_arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_decodes_verifies_and_refers_to_what_exists),
        cmocka_unit_test(no_two_events_share_an_identity),
        cmocka_unit_test(an_event_computed_alone_or_in_any_order_is_the_same),
        cmocka_unit_test(seeds_give_different_networks),
        cmocka_unit_test(the_stream_of_a_seed_is_pinned),
        cmocka_unit_test(time_stamps_increase_and_are_found_again),
        cmocka_unit_test(a_day_has_its_rhythm_and_the_volume_of_a_real_one),
        cmocka_unit_test(revisions_increase_within_an_account_and_follow_the_record_key),
        cmocka_unit_test(accounts_that_are_gone_stay_silent),
    };
    return cmocka_run_group_tests(tests, take_census, drop_census);
}
