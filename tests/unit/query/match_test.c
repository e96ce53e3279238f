/* What the index finds against the same condition as SQL (search_clause), over hostile values. */
#include "query/match.h"

#include <stdlib.h>

#include "base/rng.h"
#include "expect.h"
#include "fixture.h"

enum { POSTS = 2500, SEARCHES = 1500 };
static const int64_t START_US = INT64_C(1795219200000000);

/* Fewer where sanitizers make each many times slower. */
static int searches_tried(void) {
    return getenv("BL_TEST_QUICK") ? SEARCHES / 5 : SEARCHES;
}

/* Pieces of texts and of needles: letters whose lower case is longer or shorter, is shared by several or is none;
 * marks; scripts without blanks; bytes that stand next to what separates labels. */
static const char *const pieces[] = {"a",
                                     "A",
                                     "b",
                                     "k",
                                     "\xe2\x84\xaa", /* Kelvin sign */
                                     "i",
                                     "\xc4\xb0", /* I with a dot */
                                     "\xc4\xb1", /* i without */
                                     "s",
                                     "\xc5\xbf", /* long s */
                                     "\xc3\x9f",
                                     "\xe1\xba\x9e",
                                     "\xc8\xba", /* grows in lower case */
                                     "\xe2\xb1\xa5",
                                     "\xce\xa3",
                                     "\xcf\x83",
                                     "\xcf\x82",
                                     "e\xcc\x81",
                                     "\xc3\xa9",
                                     "\xc3\x89",
                                     "\xe7\x8c\xab",
                                     "\xe3\x82\xab",
                                     "\xe0\xb8\x81",
                                     "\xf0\x9f\x8e\x89",
                                     "\xf0\x90\x90\x80",
                                     "\xf4\x8f\xbf\xbf",
                                     "\xef\xbf\xbf",
                                     "\xc2\xad",
                                     " ",
                                     "_",
                                     "-",
                                     ".",
                                     "%",
                                     "7",
                                     "\xd9\xa7",
                                     "\n",
                                     "/",
                                     "\x7f"};
static const char *const hosts[] = {"a.b",        "x.a.b",      "xa.b",           "a.b.c",   "u@a.b",
                                    "a.b:80",     "a.b:8x",     "a.b:",           "a.b@c.d", "A.B",
                                    "\xc3\x89.b", "\xc3\xa9.b", "a.\xe2\x84\xaa", "a.k",     "a.b:80:90",
                                    "a.b/c",      "c.d/a.b",    "c.d?a.b",        "c.d#a.b", ".a.b",
                                    "a.b.",       "a.b\nx",     "[::1]a.b",       ""};
static const char *const schemes[] = {"https://", "HTTP://", "x+y.z-1://",      "1x://", "://",
                                      "https:/",  "at://",   "\xe2\x84\xaa://", ""};
static const char *const accounts[] = {"did:plc:a", "did:plc:ab", "did:web:a.b", "did:plc:A"};
static const char *const langs[] = {"en", "EN", "en-GB", "en-gb-x", "eng", "e", "pt-BR", "\xc4\xb0t"};

#define PICK(r, array) ((array)[bl_rng_below(r, sizeof(array) / sizeof(array)[0])])

static struct post posts[POSTS];
static char rkeys[POSTS][8];
static struct bl_arena arena;

static const char *random_text(struct bl_rng *r, size_t most) {
    BL_CLEANUP(bl_buf_release) struct bl_buf b = {0};
    for (size_t n = 1 + bl_rng_below(r, most); n; n--) bl_buf_z(&b, PICK(r, pieces));
    return bl_arena_dup(&arena, bl_strn(bl_buf_cstr(&b), b.n + 1)).p;
}

static const char *random_link(struct bl_rng *r) {
    BL_CLEANUP(bl_buf_release) struct bl_buf b = {0};
    bl_buf_printf(&b, "%s%s%s", PICK(r, schemes), PICK(r, hosts), bl_rng_below(r, 2) ? "/a.b" : "");
    return bl_arena_dup(&arena, bl_strn(bl_buf_cstr(&b), b.n + 1)).p;
}

static struct fixture lake;

static int make_lake(void **state) {
    (void)state;
    static const char *const embeds[] = {NULL,     "images", "gallery", "video", "external", "record+images",
                                         "videos", "xvideo", "+video"};
    struct bl_rng r = {.state = 3};
    for (int i = 0; i < POSTS; i++) {
        snprintf(rkeys[i], sizeof rkeys[i], "%d", i);
        struct post *p = &posts[i];
        *p = (struct post){.time_us = START_US + i,
                           .did = PICK(&r, accounts),
                           .operation = "create",
                           .rkey = rkeys[i],
                           .text = bl_rng_below(&r, 12)  ? random_text(&r, i % 50 ? 12 : 400)
                                   : bl_rng_below(&r, 2) ? ""
                                                         : NULL,
                           .embed_type = PICK(&r, embeds)};
        for (size_t k = bl_rng_below(&r, 4); k; k--) p->langs[k - 1] = PICK(&r, langs);
        for (size_t k = bl_rng_below(&r, 4); k; k--) p->hashtags[k - 1] = random_text(&r, 2);
        for (size_t k = bl_rng_below(&r, 3); k; k--) p->mentions[k - 1] = PICK(&r, accounts);
        for (size_t k = bl_rng_below(&r, 4); k; k--) p->links[k - 1] = random_link(&r);
        if (bl_rng_below(&r, 3) == 0) p->quote_uri = random_link(&r);
        if (bl_rng_below(&r, 3) == 0)
            p->reply_uri = PICK(&r, ((const char *const[]){"at://did:plc:a/x", "at://did:plc:ab/x", "at://did:plc:a",
                                                           "AT://did:plc:a/x", ""}));
    }
    fixture_open(&lake);
    fixture_posts(&lake, posts, POSTS);
    return 0;
}

static int remove_lake(void **state) {
    (void)state;
    fixture_close(&lake);
    bl_arena_release(&arena);
    return 0;
}

static void add_phrase(struct bl_buf *out, const char *text) {
    bl_buf_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') bl_buf_byte(out, '\\');
        bl_buf_byte(out, *text);
    }
    bl_buf_byte(out, '"');
}

static void add_term(struct bl_rng *r, struct bl_buf *out) {
    static const char *const things[] = {"image", "video", "link", "quote", "reply"};
    static const char *const domains[] = {"a.b", "A.b", "\xc3\xa9.b", "\xc3\x89.B", "a.\xe2\x84\xaa", "c.d", "b.c"};
    if (bl_rng_below(r, 4) == 0) bl_buf_byte(out, '-');
    switch (bl_rng_below(r, 10)) {
    case 0:
        bl_buf_z(out, "domain:");
        add_phrase(out, PICK(r, domains));
        break;
    case 1:
        bl_buf_z(out, "url:");
        add_phrase(out, bl_rng_below(r, 2) ? random_text(r, 2) : PICK(r, schemes)[0] ? "://" : "a");
        break;
    case 2:
        bl_buf_printf(out, "lang:%s", PICK(r, ((const char *const[]){"en", "EN-gb", "pt", "eng"})));
        break;
    case 3:
        bl_buf_printf(out, "has:%s", PICK(r, things));
        break;
    case 4:
        bl_buf_printf(out, "%s:%s", PICK(r, ((const char *const[]){"from", "to", "mentions"})), PICK(r, accounts));
        break;
    case 5:
        bl_buf_printf(out, "#%s",
                      PICK(r, ((const char *const[]){"a", "A", "k", "\xe2\x84\xaa", "\xc3\x89", "s", "\xc4\xb0"})));
        break;
    default:
        add_phrase(out, random_text(r, 3));
        break;
    }
}

/* Terms, some of them in groups. */
static void add_search(struct bl_rng *r, struct bl_buf *out) {
    size_t terms = 1 + bl_rng_below(r, 4);
    bool group = terms > 2 && bl_rng_below(r, 2);
    for (size_t i = 0; i < terms; i++) {
        if (i) bl_buf_z(out, bl_rng_below(r, 3) ? " " : " OR ");
        if (group && i == 1) bl_buf_z(out, bl_rng_below(r, 2) ? "(" : "-(");
        add_term(r, out);
    }
    if (group) bl_buf_byte(out, ')');
}

static void ask_sql(struct duck *duck, struct bl_str text, bool exact, struct bl_buf *out) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_arena_release) struct bl_arena memory = {0};
    struct search_sql sql = {.exact = exact, .arena = &memory};
    struct search_node *tree;
    struct duck_result *r = NULL;
    EXPECT_OK(search_parse(text, &memory, &tree, &err), &err);
    bl_buf_printf(&sql.text, "SELECT rkey FROM read_parquet('%s/**/posts*.parquet') WHERE ", lake.dir);
    search_clause(&sql, tree);
    bl_buf_z(&sql.text, " ORDER BY time_us DESC");
    EXPECT_OK(duck_query(duck, bl_buf_cstr(&sql.text), sql.binds, sql.count, &r, &err), &err);
    for (size_t rows;;) {
        EXPECT_OK(duck_next(r, &rows, &err), &err);
        if (rows == 0) break;
        for (size_t i = 0; i < rows; i++) {
            bl_buf_str(out, duck_text(r, 0, i));
            bl_buf_byte(out, ' ');
        }
    }
    duck_result_close(&r);
    search_sql_release(&sql);
}

static void the_index_and_sql_mean_the_same(void **state) {
    (void)state;
    struct bl_rng r = {.state = 8};
    struct duck *duck = NULL;
    struct bl_error err = {0};
    struct query *q = fixture_query(&lake, 0);
    size_t hits = 0;
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &duck, &err), &err);
    for (int i = 0; i < searches_tried(); i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf text = {0}, got = {0}, want = {0};
        bool exact = bl_rng_below(&r, 2);
        struct query_search_stats stats;
        add_search(&r, &text);
        ask_sql(duck, bl_buf_view(&text), exact, &want);
        struct query_search s = {.text = bl_buf_view(&text), .limit = 10000, .exact = exact};
        EXPECT_OK(fixture_search(q, &s, &got, &stats, &err), &err);
        if (!bl_str_eq(bl_buf_view(&got), bl_buf_view(&want)))
            fail_msg("%s%s\n got  %.300s\n want %.300s", bl_buf_cstr(&text), exact ? " (exact)" : "", bl_buf_cstr(&got),
                     bl_buf_cstr(&want));
        hits += (size_t)stats.hits;
    }
    EXPECT(hits > 10000);
    query_close(&q);
    duck_close(&duck);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_index_and_sql_mean_the_same)};
    return cmocka_run_group_tests(tests, make_lake, remove_lake);
}
