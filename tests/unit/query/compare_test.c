/* Searches against a naive scan in C over the same rows: every operator, random combinations. */
#include <locale.h>
#include <stdlib.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

#include "base/clock.h"
#include "base/rng.h"
#include "expect.h"
#include "fixture.h"

enum { POSTS = 3000, HOURS = 12, QUERIES = 600 };

/* Sanitizers make each search many times slower; `make test` asks for fewer there. */
static int queries_tried(void) {
    return getenv("BL_TEST_QUICK") ? QUERIES / 5 : QUERIES;
}
static const int64_t START_US = INT64_C(1795219200000000) /* 2026-11-21 */, HOUR_US = INT64_C(3600000000);

static struct post posts[POSTS];
static char rkeys[POSTS][16], texts[POSTS][256];
static bool shown[POSTS]; /* neither deleted, nor edited later, nor of a hidden account */

static const char *const words[] = {"cat",
                                    "Cat",
                                    "CATS",
                                    "dog",
                                    "Dogma",
                                    "caf\xc3\xa9",
                                    "CAF\xc3\x89",
                                    "na\xc3\xafve",
                                    "100%",
                                    "1000",
                                    "a_b",
                                    "axb",
                                    "back\\slash",
                                    "\xf0\x9f\x8e\x89",
                                    "\xce\xa3\xce\x91\xce\xa3",
                                    "\xcf\x83\xce\xb1\xcf\x82",
                                    "\xe2\x84\xaa"
                                    "elvin",
                                    "kelvin",
                                    "\xc4\xb0zmir",
                                    "izmir",
                                    "stra\xc3\x9f"
                                    "e",
                                    "STRASSE",
                                    "ma\xc5\xbfs",
                                    "mass",
                                    "\xe7\x8c\xab",
                                    "e\xcc\x81t\xc3\xa9",
                                    "it's",
                                    "say",
                                    "[x]",
                                    "(y)",
                                    ".*",
                                    "x+y",
                                    "^top",
                                    "end$",
                                    "a|b"};
static const char *const dids[] = {"did:plc:alice", "did:plc:bob", "did:plc:carol", "did:web:dave.example.com",
                                   "did:plc:gone"};
static const char *const handles[] = {"alice.bsky.social", "bob.bsky.social", "carol.example.com", "dave.example.com",
                                      "gone.example.com"};
static const char *const langs[] = {"en", "en-GB", "de", "pt-BR", "EN"};
static const char *const tags[] = {"caturday", "art", "\xe7\x8c\xab", "\xc3\xa9t\xc3\xa9"};
static const char *const links[] = {"https://example.com",
                                    "https://www.example.com/a?b#c",
                                    "http://notexample.com/example.com",
                                    "https://EXAMPLE.com:8080/x",
                                    "https://example.com@evil.test/",
                                    "https://evil.test/?u=https://example.com",
                                    "https://user@example.com/",
                                    "https://example.com:1@evil.test/",
                                    "https://exampleXcom/",
                                    "https://a.test"};
static const bool links_to_example[] = {true, true, false, true, false, false, true, false, false, false};
static const char *const embeds[] = {NULL,       "images", "gallery",       "video",
                                     "external", "record", "record+images", "record+video"};

static const char *const replied[] = {"at://did:plc:alice/app.bsky.feed.post/2",
                                      "at://did:plc:alic/app.bsky.feed.post/2",
                                      "at://did:web:dave.example.com/app.bsky.feed.post/2"};
static const char *const urls[] = {"example.com/a", "https://a.test", "EXAMPLE", "?u=", "%", "://"};

#define PICK(r, array) ((array)[bl_rng_below(r, sizeof(array) / sizeof(array)[0])])

/* Row i continues the life of an earlier record: an edit, a delete, or a new beginning after a delete. */
static void change_earlier(struct bl_rng *r, int i) {
    int earlier = (int)bl_rng_below(r, (uint64_t)i);
    if (strcmp(posts[earlier].operation, "create") != 0) return;
    for (int k = earlier + 1; k < i; k++)
        if (posts[k].rkey == posts[earlier].rkey) earlier = k;
    bool deleted = strcmp(posts[earlier].operation, "delete") == 0;
    posts[i].did = posts[earlier].did;
    posts[i].rkey = posts[earlier].rkey;
    shown[earlier] = false;
    if (deleted) return;
    posts[i].operation = bl_rng_below(r, 2) ? "update" : "delete";
    if (strcmp(posts[i].operation, "update") == 0) return;
    struct post gone = {.time_us = posts[i].time_us, .did = posts[i].did, .operation = "delete", .rkey = posts[i].rkey};
    posts[i] = gone;
    shown[i] = false;
}

static void make_posts(struct bl_rng *r) {
    for (int i = 0; i < POSTS; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "r%05d", i);
        size_t n = 0;
        texts[i][0] = 0;
        for (size_t w = 1 + bl_rng_below(r, 6); w > 0; w--)
            n += (size_t)snprintf(texts[i] + n, sizeof texts[i] - n, "%s%s", PICK(r, words), w > 1 ? " " : "");
        posts[i] = (struct post){.time_us = START_US + i * (HOURS * HOUR_US / POSTS),
                                 .did = PICK(r, dids),
                                 .operation = "create",
                                 .rkey = rkeys[i],
                                 .text = bl_rng_below(r, 20) ? texts[i] : NULL};
        for (size_t k = bl_rng_below(r, 3); k > 0; k--) posts[i].langs[k - 1] = PICK(r, langs);
        for (size_t k = bl_rng_below(r, 2); k > 0; k--) posts[i].hashtags[k - 1] = PICK(r, tags);
        for (size_t k = bl_rng_below(r, 2); k > 0; k--) posts[i].mentions[k - 1] = PICK(r, dids);
        for (size_t k = bl_rng_below(r, 3); k > 0; k--) posts[i].links[k - 1] = PICK(r, links);
        posts[i].embed_type = PICK(r, embeds);
        if (bl_rng_below(r, 4) == 0) posts[i].quote_uri = "at://did:plc:x/app.bsky.feed.post/1";
        if (bl_rng_below(r, 4) == 0) posts[i].reply_uri = PICK(r, replied);
        shown[i] = true;
        if (i > 0 && bl_rng_below(r, 6) == 0) change_earlier(r, i);
    }
    for (int i = 0; i < POSTS; i++) shown[i] &= strcmp(posts[i].did, "did:plc:gone") != 0;
}

/* --- A random question, as text and as a condition --- */

enum what { WORD, PHRASE, TAG, FROM, MENTIONS, TO, URL, LANG, SINCE, UNTIL, DOMAIN, HAS, AND, OR, NOT };
struct question {
    enum what what;
    char value[64];
    int64_t number;
    struct question *left, *right;
};

static void add_text(struct bl_buf *out, const struct question *q) {
    static const char *const has[] = {"image", "video", "link", "quote", "reply"};
    char time[BL_TIME_TEXT_MAX];
    switch (q->what) {
    case WORD:
        bl_buf_z(out, q->value);
        break;
    case PHRASE:
        bl_buf_byte(out, '"');
        for (const char *p = q->value; *p; p++) {
            if (*p == '\\' || *p == '"') bl_buf_byte(out, '\\');
            bl_buf_byte(out, *p);
        }
        bl_buf_byte(out, '"');
        break;
    case TAG:
        bl_buf_printf(out, "#%s", q->value);
        break;
    case FROM:
        bl_buf_printf(out, "from:%s", q->value);
        break;
    case MENTIONS:
        bl_buf_printf(out, "mentions:%s", q->value);
        break;
    case TO:
        bl_buf_printf(out, "to:%s", q->value);
        break;
    case URL:
        bl_buf_printf(out, "url:%s", q->value);
        break;
    case LANG:
        bl_buf_printf(out, "lang:%s", q->value);
        break;
    case SINCE:
        bl_buf_printf(out, "since:%s", bl_format_time(q->number, 6, time));
        break;
    case UNTIL:
        bl_buf_printf(out, "until:%s", bl_format_time(q->number, 6, time));
        break;
    case DOMAIN:
        bl_buf_printf(out, "domain:%s", q->value);
        break;
    case HAS:
        bl_buf_printf(out, "has:%s", has[q->number]);
        break;
    case AND:
    case OR:
        bl_buf_byte(out, '(');
        add_text(out, q->left);
        bl_buf_z(out, q->what == OR ? " OR " : " ");
        add_text(out, q->right);
        bl_buf_byte(out, ')');
        break;
    case NOT:
        bl_buf_z(out, "-(");
        add_text(out, q->left);
        bl_buf_byte(out, ')');
        break;
    }
}

static bool plain_word(const char *w) {
    return !strpbrk(w, "()#\"") && *w != '-';
}

static struct question *random_question(struct bl_rng *r, int depth) {
    struct question *q = bl_xcalloc(1, sizeof *q);
    q->what = (enum what)bl_rng_below(r, depth > 0 ? NOT + 1 : HAS + 1);
    const char *value = "";
    switch (q->what) {
    case WORD:
    case PHRASE:
        value = PICK(r, words);
        break;
    case TAG:
        value = PICK(r, tags);
        break;
    case URL:
        value = PICK(r, urls);
        break;
    case FROM:
    case TO:
    case MENTIONS:
        value = bl_rng_below(r, 2) ? PICK(r, dids) : PICK(r, handles);
        break;
    case LANG:
        value = PICK(r, langs);
        break;
    case SINCE:
    case UNTIL:
        q->number = START_US + (int64_t)bl_rng_below(r, (uint64_t)(HOURS * HOUR_US));
        break;
    case DOMAIN:
        value = "example.com";
        break;
    case HAS:
        q->number = (int64_t)bl_rng_below(r, 5);
        break;
    case AND:
    case OR:
        q->right = random_question(r, depth - 1); /* fall through */
    case NOT:
        q->left = random_question(r, depth - 1);
        break;
    }
    if (q->what == WORD && !plain_word(value)) q->what = PHRASE;
    size_t from = 0, n = strlen(value);
    bool cut = q->what == PHRASE && n > 2 && (unsigned char)value[1] < 0x80 && (unsigned char)value[0] < 0x80 &&
               bl_rng_below(r, 2);
    if (cut) from = 1;
    snprintf(q->value, sizeof q->value, "%s", value + from);
    return q;
}

static void free_question(struct question *q) {
    if (!q) return;
    free_question(q->left);
    free_question(q->right);
    free(q);
}

/* One character at a time through the C library's towlower: what SQL's lower() should do as well. */
static void fold(const char *text, bool exact, wchar_t out[256]) {
    size_t n = mbstowcs(out, text, 256);
    EXPECT(n < 256);
    for (size_t i = 0; i < n && !exact; i++) out[i] = (wchar_t)towlower((wint_t)out[i]);
}

static bool is_of_word(wchar_t c) {
    bool unspaced = c >= 0x3400 && c <= 0x9fff, mark = c >= 0x300 && c <= 0x36f;
    return (iswalnum((wint_t)c) || mark || c == '_') && !unspaced;
}

static bool contains(const char *text, const char *needle, bool exact) {
    wchar_t a[256], b[256];
    if (!text) return false;
    fold(text, exact, a);
    fold(needle, exact, b);
    size_t n = wcslen(b);
    for (const wchar_t *at = wcsstr(a, b); at; at = wcsstr(at + 1, b)) {
        bool starts = !is_of_word(b[0]) || at == a || !is_of_word(at[-1]),
             ends = !is_of_word(b[n - 1]) || !is_of_word(at[n]);
        if (!exact || (starts && ends)) return true;
    }
    return false;
}

static bool any_link_holds(const struct post *p, const char *text) {
    for (int i = 0; i < 4 && p->links[i]; i++)
        if (strcasestr(p->links[i], text)) return true;
    return false;
}

static bool replies_to(const struct post *p, const char *did) {
    size_t n = strlen(did);
    return p->reply_uri && strncmp(p->reply_uri + 5, did, n) == 0 && p->reply_uri[5 + n] == '/';
}

static bool any_equal(const char *const list[4], const char *value) {
    for (int i = 0; i < 4 && list[i]; i++)
        if (strcmp(list[i], value) == 0) return true;
    return false;
}

static const char *did_of(const char *account) {
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (strcmp(account, handles[i]) == 0) return dids[i];
    return account;
}

static bool speaks(const struct post *p, const char *language) {
    size_t n = strlen(language);
    for (int i = 0; i < 4 && p->langs[i]; i++)
        if (strncasecmp(p->langs[i], language, n) == 0 && (p->langs[i][n] == 0 || p->langs[i][n] == '-')) return true;
    return false;
}

static bool links_there(const struct post *p) {
    for (int i = 0; i < 4 && p->links[i]; i++)
        for (size_t k = 0; k < sizeof links / sizeof links[0]; k++)
            if (p->links[i] == links[k] && links_to_example[k]) return true;
    return false;
}

static bool has_thing(const struct post *p, int64_t thing) {
    const char *e = p->embed_type ? p->embed_type : "";
    switch (thing) {
    case 0:
        return strstr(e, "images") || strstr(e, "gallery");
    case 1:
        return strstr(e, "video");
    case 2:
        return p->links[0];
    case 3:
        return p->quote_uri;
    default:
        return p->reply_uri;
    }
}

static bool holds(const struct question *q, const struct post *p, bool exact) {
    switch (q->what) {
    case WORD:
    case PHRASE:
        return contains(p->text, q->value, exact);
    case TAG:
        return any_equal(p->hashtags, q->value);
    case FROM:
        return strcmp(p->did, did_of(q->value)) == 0;
    case MENTIONS:
        return any_equal(p->mentions, did_of(q->value));
    case TO:
        return replies_to(p, did_of(q->value));
    case URL:
        return any_link_holds(p, q->value);
    case LANG:
        return speaks(p, q->value);
    case SINCE:
        return p->time_us >= q->number;
    case UNTIL:
        return p->time_us <= q->number;
    case DOMAIN:
        return links_there(p);
    case HAS:
        return has_thing(p, q->number);
    case AND:
        return holds(q->left, p, exact) && holds(q->right, p, exact);
    case OR:
        return holds(q->left, p, exact) || holds(q->right, p, exact);
    case NOT:
        return !holds(q->left, p, exact);
    }
    return false;
}

/* --- The comparison --- */

static struct fixture lake;

static int make_lake(void **state) {
    (void)state;
    EXPECT(setlocale(LC_CTYPE, "C.UTF-8"));
    struct bl_rng r = {.state = 11};
    make_posts(&r);
    fixture_open(&lake);
    /* Two files an hour that overlap: rows with even and odd numbers. */
    for (int h = 0; h < HOURS; h++)
        for (int part = 0; part < 2; part++) {
            static struct post file[POSTS];
            size_t n = 0;
            for (int i = h * POSTS / HOURS; i < (h + 1) * POSTS / HOURS; i++)
                if (i % 2 == part) file[n++] = posts[i];
            fixture_posts(&lake, file, n);
        }
    struct account known[6];
    for (size_t i = 0; i < 5; i++) known[i] = (struct account){START_US + (int64_t)i, dids[i], handles[i], true};
    known[5] = (struct account){START_US + 5, "did:plc:gone", NULL, false};
    fixture_accounts(&lake, known, 6);
    return 0;
}

static int remove_lake(void **state) {
    (void)state;
    fixture_close(&lake);
    return 0;
}

static void scan(const struct question *question, bool exact, unsigned limit, struct bl_buf *out) {
    unsigned found = 0;
    for (int i = POSTS - 1; i >= 0 && found < limit; i--)
        if (shown[i] && holds(question, &posts[i], exact)) {
            bl_buf_printf(out, "%s ", posts[i].rkey);
            found++;
        }
}

static enum bl_rc take_rkey(void *context, const struct query_hit *hit, struct bl_error *err) {
    (void)err;
    bl_buf_printf(context, "%.*s ", BL_ARG(hit->rkey));
    return BL_OK;
}

/* An export gives all of it, counts add up to it. */
static void compare_without_limit(struct query *q, struct query_search s, const struct question *question) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0}, want = {0};
    struct query_counts counts;
    struct query_search_stats stats;
    s.limit = 0;
    scan(question, s.exact, POSTS, &want);
    EXPECT_OK(query_export(q, &s, take_rkey, &got, &stats, &err), &err);
    if (!bl_str_eq(bl_buf_view(&got), bl_buf_view(&want)))
        fail_msg("export of %.*s\n got  %.300s\n want %.300s", BL_ARG(s.text), bl_buf_cstr(&got), bl_buf_cstr(&want));
    EXPECT_OK(query_counts(q, &s, QUERY_BUCKET_HOUR, 0, &counts, &err), &err);
    int64_t sum = 0;
    for (size_t i = 0; i < counts.count; i++) sum += counts.buckets[i].count;
    if (sum != stats.hits || counts.total != sum)
        fail_msg("counts of %.*s: %d of %d", BL_ARG(s.text), (int)sum, (int)stats.hits);
    free(counts.buckets);
}

/* How many hits `count` random searches had, each compared with a naive scan. */
static size_t compare_searches(struct query *q, uint64_t seed, int count) {
    struct bl_rng r = {.state = seed};
    size_t hits = 0;
    for (int i = 0; i < count; i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf text = {0}, got = {0}, want = {0};
        struct question *question = random_question(&r, (int)bl_rng_below(&r, 4));
        bool exact = bl_rng_below(&r, 3) == 0;
        static const unsigned limits[] = {1, 7, 50, POSTS};
        unsigned limit = PICK(&r, limits);
        add_text(&text, question);
        scan(question, exact, limit, &want);
        struct query_search s = {.text = bl_buf_view(&text), .limit = limit, .exact = exact};
        struct query_search_stats stats;
        EXPECT_OK(fixture_search(q, &s, &got, &stats, &err), &err);
        if (!bl_str_eq(bl_buf_view(&got), bl_buf_view(&want)))
            fail_msg("%s (limit %u%s)\n got  %.300s\n want %.300s", bl_buf_cstr(&text), limit, exact ? ", exact" : "",
                     bl_buf_cstr(&got), bl_buf_cstr(&want));
        if (i % 4 == 0) compare_without_limit(q, s, question);
        hits += (size_t)stats.hits;
        free_question(question);
    }
    return hits;
}

static void every_search_finds_what_a_naive_scan_finds(void **state) {
    (void)state;
    struct query *q = fixture_query(&lake, 0);
    EXPECT(compare_searches(q, 42, queries_tried()) > 10000); /* the questions were worth asking */
    query_close(&q);
}

static void in_index(const char *command) {
    BL_CLEANUP(bl_freep) char *whole = bl_xasprintf("cd %s/index && %s", lake.dir, command);
    EXPECT(system(whole) == 0);
}

/* The index says nothing that the files do not say, and nobody has to look after it. */
static void an_index_that_is_missing_damaged_or_of_another_file_changes_nothing(void **state) {
    (void)state;
    struct bl_rng r = {.state = 9};
    const int few = queries_tried() / 20;
    in_index("rm -f -- *.seg");
    struct query *q = fixture_query(&lake, 0);
    compare_searches(q, 1, few);
    in_index("rm -f -- *.seg"); /* under an open session */
    compare_searches(q, 2, few);
    query_close(&q);
    q = fixture_query(&lake, 0);
    compare_searches(q, 4, few);
    query_close(&q);
    for (uint64_t round = 0; round < 10; round++) {
        char command[300];
        snprintf(command, sizeof command,
                 "for f in *.seg; do printf '\\252' | dd of=$f bs=1 seek=$(( $(stat -c %%s $f) * %u / 100 )) "
                 "conv=notrunc status=none; done",
                 (unsigned)bl_rng_below(&r, 100));
        in_index(command);
        q = fixture_query(&lake, 0);
        compare_searches(q, 10 + round, few / 3 + 1);
        query_close(&q);
    }
    in_index("last=; for f in posts-*.seg; do [ -z \"$last\" ] || cp $last $f; last=$f; done; : > $last");
    q = fixture_query(&lake, 0);
    compare_searches(q, 3, few);
    query_close(&q);
}

static void a_common_word_reads_only_the_newest_files(void **state) {
    (void)state;
    struct query *q = fixture_query(&lake, 0);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf got = {0};
    struct query_search_stats stats;
    EXPECT_OK(fixture_search(q, &(struct query_search){.text = BL_LIT("until:2026-11-21T02:30:00Z"), .limit = 5}, &got,
                             &stats, &err),
              &err);
    assert_int_equal(stats.files_listed, 6); /* three hours of twelve */
    query_close(&q);
}

/* For every character of Unicode and the letters it may be confused with, search folds as ILIKE does. */
static void folding_equals_ilike_for_every_character(void **state) {
    (void)state;
    struct query *q = fixture_query(&lake, 0);
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    EXPECT_OK(
        fixture_sql(
            q,
            "WITH c AS (SELECT i, chr(i::INTEGER) AS ch FROM range(1, 1114112) t(i) WHERE i < 55296 OR i > 57343) "
            "SELECT string_agg(printf('%x', i), ' ' ORDER BY i) FROM c WHERE i >= 128 AND unicode(lower(ch)) < 128",
            &out, &err),
        &err);
    assert_string_equal(bl_buf_cstr(&out), "130 212a\n"); /* the two that operators.c names */
    bl_buf_clear(&out);
    EXPECT_OK(fixture_sql(q,
                          "WITH c AS (SELECT chr(CASE WHEN i IN (37, 92, 95) OR i BETWEEN 55296 AND 57343 THEN 65 ELSE "
                          "i END::INTEGER) AS ch "
                          "FROM range(1, 1114112) t(i)) SELECT count(*) FROM c WHERE ('x' || ch || 'y' ILIKE '%' || "
                          "upper(ch) || '%') "
                          "<> contains(lower('x' || ch || 'y'), lower(upper(ch)))",
                          &out, &err),
              &err);
    assert_string_equal(bl_buf_cstr(&out), "0\n");
    query_close(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_search_finds_what_a_naive_scan_finds),
        cmocka_unit_test(an_index_that_is_missing_damaged_or_of_another_file_changes_nothing),
        cmocka_unit_test(a_common_word_reads_only_the_newest_files),
        cmocka_unit_test(folding_equals_ilike_for_every_character),
    };
    return cmocka_run_group_tests(tests, make_lake, remove_lake);
}
