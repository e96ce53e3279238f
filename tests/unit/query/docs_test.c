/* docs/SEARCH.md promises only what is so: each search in its tables is parsed, each error is the one stated. */
#include "base/io.h"
#include "expect.h"
#include "query/query.h"
#include "query/views_priv.h"

/* "| `search` | text |": the two cells of a row that starts with code. */
static bool cells_of(struct bl_str line, struct bl_str *search, struct bl_str *said) {
    if (!bl_str_starts(line, BL_LIT("| `"))) return false;
    line = bl_str_skip(line, 3);
    const char *end = memmem(line.p, line.n, "` |", 3);
    EXPECT(end);
    *search = bl_strn(line.p, (size_t)(end - line.p));
    *said = bl_str_trim(bl_str_skip(line, search->n + 3));
    EXPECT(bl_str_ends(*said, BL_LIT("|")));
    said->n--;
    *said = bl_str_trim(*said);
    return true;
}

static void each_example_is_as_the_page_says(void **state) {
    (void)state;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf page = {0};
    EXPECT_OK(bl_read_file(BL_REPO_DIR "/docs/SEARCH.md", 1 << 20, &page, &err), &err);
    struct bl_str rest = bl_buf_view(&page), search, said;
    bool errors = false;
    int parsed = 0, refused = 0;
    while (rest.n) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (bl_str_starts(line, BL_LIT("## "))) errors = bl_str_eq(line, BL_LIT("## Errors"));
        if (!cells_of(line, &search, &said)) continue;
        BL_CLEANUP(bl_buf_release) struct bl_buf outline = {0};
        enum bl_rc rc = query_search_explain(search, &outline, &err);
        if ((rc != BL_OK) != errors) fail_msg("%.*s: %s", BL_ARG(search), rc == BL_OK ? "was understood" : err.message);
        if (errors) EXPECT_STR(said, err.message);
        *(errors ? &refused : &parsed) += 1;
    }
    EXPECT(parsed >= 28 && refused >= 7);
}

/* docs/VIEWS.md names and defines each view in the words of the program. */
static void each_view_is_defined_as_the_page_says(void **state) {
    (void)state;
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf page = {0};
    EXPECT_OK(bl_read_file(BL_REPO_DIR "/docs/VIEWS.md", 1 << 20, &page, &err), &err);
    const char *text = bl_buf_cstr(&page);
    for (size_t i = 0; i < views_table_count; i++) {
        const struct view *view = &views_table[i];
        BL_CLEANUP(bl_freep) char *row =
            bl_xasprintf("| `%s` | %s | %s |", view->name, view->hourly ? "hourly" : "daily", view->definition);
        if (!strstr(text, row)) fail_msg("docs/VIEWS.md lacks:\n%s", row);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_example_is_as_the_page_says),
                                       cmocka_unit_test(each_view_is_defined_as_the_page_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
