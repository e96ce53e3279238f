/* The grammar of searches: what is understood, and where a fault is pointed at. */
#include "expect.h"
#include "query/query.h"
#include "query/search.h"

static const struct {
    const char *text, *outline; /* one line a node, a dot for each level */
} understood[] = {
    {"", "everything"},
    {"  \t ", "everything"},
    {"cats", "text contains \"cats\""},
    {"cats dogs", "all of|.text contains \"cats\"|.text contains \"dogs\""},
    {"cats AND dogs", "all of|.text contains \"cats\"|.text contains \"dogs\""},
    {"cats OR dogs", "any of|.text contains \"cats\"|.text contains \"dogs\""},
    {"a b OR c", "any of|.all of|..text contains \"a\"|..text contains \"b\"|.text contains \"c\""},
    {"a OR b c", "any of|.text contains \"a\"|.all of|..text contains \"b\"|..text contains \"c\""},
    {"a (b OR c)", "all of|.text contains \"a\"|.any of|..text contains \"b\"|..text contains \"c\""},
    {"(a)", "text contains \"a\""},
    {"((a b))", "all of|.text contains \"a\"|.text contains \"b\""},
    {"( a )", "text contains \"a\""},
    {"a or b", "all of|.text contains \"a\"|.text contains \"or\"|.text contains \"b\""},
    {"ORANGE", "text contains \"ORANGE\""},
    {"ANDES", "text contains \"ANDES\""},
    {"\"OR\"", "text contains \"OR\""},
    {"\"black cat\"", "text contains \"black cat\""},
    {"\"a\" \"b\"", "all of|.text contains \"a\"|.text contains \"b\""},
    {"\"say \\\"hi\\\"\"", "text contains \"say \\\"hi\\\"\""},
    {"\"back\\\\slash\"", "text contains \"back\\\\slash\""},
    {"\"one\\way\"", "text contains \"one\\\\way\""},
    {"5\"", "text contains \"5\\\"\""},
    {"-cats", "not|.text contains \"cats\""},
    {"-\"black cat\"", "not|.text contains \"black cat\""},
    {"-(a OR b)", "not|.any of|..text contains \"a\"|..text contains \"b\""},
    {"-#tag", "not|.tagged \"tag\""},
    {"-from:did:plc:abc", "not|.written by \"did:plc:abc\""},
    {"--x", "text contains \"--x\""},
    {"a - b", "all of|.text contains \"a\"|.text contains \"-\"|.text contains \"b\""},
    {"well-known", "text contains \"well-known\""},
    {"#caturday", "tagged \"caturday\""},
    {"#", "text contains \"#\""},
    {"C#", "text contains \"C#\""},
    {"#\xe7\x8c\xab", "tagged \"\xe7\x8c\xab\""},
    {"from:alice.bsky.social", "written by \"alice.bsky.social\""},
    {"from:@alice.bsky.social", "written by \"alice.bsky.social\""},
    {"from:did:plc:abc", "written by \"did:plc:abc\""},
    {"from:\"alice.bsky.social\"", "written by \"alice.bsky.social\""},
    {"mentions:did:web:example.com", "mentions \"did:web:example.com\""},
    {"to:@alice.bsky.social", "a reply to \"alice.bsky.social\""},
    {"-to:did:plc:abc", "not|.a reply to \"did:plc:abc\""},
    {"url:https://example.com/a?b=c", "with a link that holds \"https://example.com/a?b=c\""},
    {"url:\"a b\"", "with a link that holds \"a b\""},
    {"lang:en", "in language \"en\""},
    {"lang:pt-BR", "in language \"pt-BR\""},
    {"since:2026-11-01", "since \"2026-11-01\""},
    {"until:2026-11-21T08:05:00Z", "until \"2026-11-21T08:05:00Z\""},
    {"domain:example.com", "links to \"example.com\""},
    {"has:image", "has \"image\""},
    {"has:video OR has:link", "any of|.has \"video\"|.has \"link\""},
    {"https://example.com/a?b=c", "text contains \"https://example.com/a?b=c\""},
    {"10:30", "text contains \"10:30\""},
    {"@alice", "text contains \"@alice\""},
    {"100%", "text contains \"100%\""},
    {"'; DROP TABLE posts; --", "all of|.text contains \"';\"|.text contains \"DROP\"|.text contains \"TABLE\"|"
                                ".text contains \"posts;\"|.text contains \"--\""},
    {"\xf0\x9f\x8e\x89 \xc3\xa9t\xc3\xa9",
     "all of|.text contains \"\xf0\x9f\x8e\x89\"|.text contains \"\xc3\xa9t\xc3\xa9\""},
};

static void outline_of(struct bl_str explained, struct bl_buf *out) {
    while (explained.n) {
        struct bl_str line = bl_str_cut(&explained, '\n');
        if (out->n) bl_buf_byte(out, '|');
        for (; bl_str_starts(line, BL_LIT("  ")); line = bl_str_skip(line, 2)) bl_buf_byte(out, '.');
        bl_buf_str(out, line);
    }
}

static void each_text_is_understood_as_stated(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof understood / sizeof understood[0]; i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf explained = {0}, outline = {0};
        EXPECT_OK(query_search_explain(bl_str(understood[i].text), &explained, &err), &err);
        outline_of(bl_buf_view(&explained), &outline);
        if (!bl_str_eq(bl_buf_view(&outline), bl_str(understood[i].outline)))
            fail_msg("%s\n got  %s\n want %s", understood[i].text, bl_buf_cstr(&outline), understood[i].outline);
    }
}

static const struct {
    const char *text, *message;
} refused[] = {
    {"cats form:alice", "column 6: unknown operator \"form:\": did you mean \"from:\"?"},
    {"a (b form:x)", "column 6: unknown operator \"form:\": did you mean \"from:\"?"},
    {"\xc3\xa9\xc3\xa9 form:x", "column 4: unknown operator \"form:\": did you mean \"from:\"?"},
    {"note:this", "column 1: unknown operator \"note:\": to look for the text itself, put it in quotes"},
    {"FROM:x.y", "column 1: unknown operator \"FROM:\": to look for the text itself, put it in quotes"},
    {"untill:2026-01-01", "column 1: unknown operator \"untill:\": did you mean \"until:\"?"},
    {"\"abc", "column 1: this quote is never closed: write another where the phrase ends"},
    {"a \"b c", "column 3: this quote is never closed: write another where the phrase ends"},
    {"a \"\"", "column 3: nothing between the quotes: write a phrase there, or leave them out"},
    {"(a", "column 1: this parenthesis is never closed: close it, or put it in quotes"},
    {"a (b (c)", "column 3: this parenthesis is never closed: close it, or put it in quotes"},
    {"a)", "column 2: this parenthesis closes nothing: leave it out, or put it in quotes"},
    {"()", "column 1: nothing between the parentheses: write what to look for there, or leave them out"},
    {"a ( )", "column 3: nothing between the parentheses: write what to look for there, or leave them out"},
    {"OR a", "column 1: nothing to look for before OR: to look for the word, write it in quotes"},
    {"a OR", "column 5: nothing to look for after OR: write what to look for there, or leave it out"},
    {"a OR OR b", "column 6: nothing to look for before OR: to look for the word, write it in quotes"},
    {"(a OR )", "column 7: nothing to look for before \")\": write what to look for there, or leave it out"},
    {"a AND", "column 6: nothing to look for after AND: write what to look for there, or leave it out"},
    {"AND", "column 1: nothing to look for before AND: to look for the word, write it in quotes"},
    {"from:", "column 1: \"from:\" needs a value right after the colon: write from:HANDLE|DID"},
    {"a lang: en", "column 3: \"lang:\" needs a value right after the colon: write lang:LANGUAGE"},
    {"from:alice", "column 6: \"alice\" is neither a DID nor a handle: write did:plc:... or alice.bsky.social"},
    {"lang:e", "column 6: \"e\" is not a language: write two or three letters, such as en, or more, such as pt-BR"},
    {"since:yesterday", "column 7: \"yesterday\" is not a date: write 2026-11-21 or 2026-11-21T08:05:00Z"},
    {"until:2026-02-30", "column 7: \"2026-02-30\" is not a date: write 2026-11-21 or 2026-11-21T08:05:00Z"},
    {"domain:https://a.b/c",
     "column 8: \"https://a.b/c\" is not a domain: write it without https:// and path, such as example.com"},
    {"has:cheese", "column 5: \"cheese\" is nothing a post is known to have: write image, video, link, quote or reply"},
    {"\xff", "the search is not valid UTF-8 text: write it in UTF-8"},
};

static void each_fault_is_pointed_at(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct bl_error err = {0};
        BL_CLEANUP(bl_buf_release) struct bl_buf explained = {0};
        EXPECT_RC(query_search_explain(bl_str(refused[i].text), &explained, &err), BL_E_USAGE);
        if (strcmp(err.message, refused[i].message) != 0)
            fail_msg("%s\n got  %s\n want %s", refused[i].text, err.message, refused[i].message);
    }
}

static void a_nul_character_is_refused_with_its_column(void **state) {
    (void)state;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf explained = {0};
    EXPECT_RC(query_search_explain(BL_LIT("ab\0cd"), &explained, &err), BL_E_USAGE);
    assert_string_equal(err.message, "column 3: a NUL character cannot be searched for: leave it out");
}

static void limits_end_long_and_deep_searches(void **state) {
    (void)state;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0}, explained = {0};
    for (int i = 0; i < SEARCH_DEPTH_MAX + 1; i++) bl_buf_byte(&text, '(');
    EXPECT_RC(query_search_explain(bl_buf_view(&text), &explained, &err), BL_E_USAGE);
    assert_string_equal(err.message, "column 33: parentheses nested deeper than 32: leave some of them out");
    bl_buf_clear(&text);
    for (int i = 0; i < SEARCH_TERMS_MAX; i++) bl_buf_z(&text, "a ");
    EXPECT_OK(query_search_explain(bl_buf_view(&text), &explained, &err), &err);
    bl_buf_z(&text, "a");
    EXPECT_RC(query_search_explain(bl_buf_view(&text), &explained, &err), BL_E_USAGE);
    bl_buf_clear(&text);
    for (int i = 0; i <= SEARCH_TEXT_MAX; i++) bl_buf_byte(&text, 'a');
    EXPECT_RC(query_search_explain(bl_buf_view(&text), &explained, &err), BL_E_USAGE);
}

static void range_of(const char *text, int64_t *from_us, int64_t *to_us) {
    struct bl_arena arena = {0};
    struct bl_error err = {0};
    struct search_node *tree;
    EXPECT_OK(search_parse(bl_str(text), &arena, &tree, &err), &err);
    *from_us = 0;
    *to_us = INT64_MAX;
    search_range(tree, from_us, to_us);
    bl_arena_release(&arena);
}

static void the_range_is_the_hull_of_what_can_match(void **state) {
    (void)state;
    static const int64_t day = INT64_C(86400000000);
    int64_t from, to;
    range_of("since:1970-01-03 until:1970-01-04 cats", &from, &to);
    EXPECT(from == 2 * day && to == 4 * day - 1);
    range_of("since:1970-01-03 OR since:1970-01-02", &from, &to);
    EXPECT(from == day && to == INT64_MAX);
    range_of("cats OR since:1970-01-03", &from, &to);
    EXPECT(from == 0 && to == INT64_MAX);
    range_of("-since:1970-01-03", &from, &to);
    EXPECT(from == 0 && to == INT64_MAX);
}

/* Whatever is typed, its text never becomes part of the SQL. */
static void no_typed_text_stands_in_the_sql(void **state) {
    (void)state;
    static const char *const texts[] = {"zqx'zqx", "\"zqx' OR 1=1 --\"", "#zqx'", "from:zqx'.zqx", "mentions:did:zqx'",
                                        "lang:zqx", "domain:zqx'.zqx", "zqx) UNION SELECT", "to:did:zqx'", "url:zqx'"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bl_arena arena = {0};
        struct bl_error err = {0};
        struct search_node *tree;
        if (search_parse(bl_str(texts[i]), &arena, &tree, &err) == BL_OK) {
            struct search_sql *sql = bl_xcalloc(1, sizeof *sql);
            sql->arena = &arena;
            search_clause(sql, tree);
            EXPECT(strstr(bl_buf_cstr(&sql->text), "zqx") == NULL);
            size_t marks = 0;
            for (const char *p = sql->text.p; *p; p++) marks += *p == '?' && p[-1] != ']' && p[-1] != ')';
            EXPECT(sql->count == marks);
            search_sql_release(sql);
            bl_freep(&sql);
        }
        bl_arena_release(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_text_is_understood_as_stated),
        cmocka_unit_test(each_fault_is_pointed_at),
        cmocka_unit_test(a_nul_character_is_refused_with_its_column),
        cmocka_unit_test(limits_end_long_and_deep_searches),
        cmocka_unit_test(the_range_is_the_hull_of_what_can_match),
        cmocka_unit_test(no_typed_text_stands_in_the_sql),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
