/* Search operators on rows of the index: the needles of a term, and what an occurrence has to be. */
#include "query/operators.h"

/* --- Needles --- */

static bool add_needle(struct search_node *node, struct bl_arena *arena, struct bl_str bytes) {
    struct bl_str copy = bl_arena_dup(arena, bytes);
    if (!node->needles) node->needles = bl_arena_alloc(arena, SEARCH_ACCOUNTS_MAX * sizeof *node->needles);
    if (!copy.p || !node->needles) return false;
    node->needles[node->needle_count++] = scan_needle(copy);
    return true;
}

static bool add_label(struct search_node *node, struct bl_arena *arena, enum segment_label kind, const char *before,
                      struct bl_str value, bool folded, const char *after) {
    BL_CLEANUP(bl_buf_release) struct bl_buf bytes = {0};
    if (kind) bl_buf_byte(&bytes, (char)kind);
    bl_buf_z(&bytes, before);
    if (folded)
        fold_append(&bytes, value);
    else
        bl_buf_str(&bytes, value);
    bl_buf_z(&bytes, after);
    return !bytes.failed && add_needle(node, arena, bl_buf_view(&bytes));
}

bool prepare_text(struct search_node *node, struct bl_arena *arena) {
    return add_label(node, arena, 0, "", node->value, true, "");
}
bool prepare_tag(struct search_node *node, struct bl_arena *arena) {
    return add_label(node, arena, SEGMENT_TAG, "", node->value, true, "");
}
bool prepare_language(struct search_node *node, struct bl_arena *arena) {
    return add_label(node, arena, SEGMENT_LANG, "", node->value, true, "");
}
bool prepare_mentions(struct search_node *node, struct bl_arena *arena) {
    for (size_t i = 0; i < node->did_count; i++)
        if (!add_label(node, arena, SEGMENT_MENTION, "", node->dids[i], false, "")) return false;
    return true;
}
bool prepare_to(struct search_node *node, struct bl_arena *arena) {
    for (size_t i = 0; i < node->did_count; i++)
        if (!add_label(node, arena, SEGMENT_PARENT, "at://", node->dids[i], false, "/")) return false;
    return true;
}

/* --- Words --- */

static bool is_part_of_word(unsigned code) {
    return fold_is_word(code);
}

/* As it is written; an edge of the needle that is a letter is the edge of a word in the text. */
static bool stands_alone(struct bl_str text, const char *at, struct bl_str needle, bool at_start, bool at_end) {
    const char *end = at + needle.n;
    if (at_start && at > text.p && is_part_of_word(fold_before(text.p, at))) return false;
    if (!at_end || end == text.p + text.n) return true;
    return !is_part_of_word(fold_next(&end, text.p + text.n));
}

static bool holds_exactly(const struct search_node *node, const struct segment_record *record) {
    struct bl_str needle = node->value, rest = record->text;
    const char *first = needle.p, *end = needle.p + needle.n;
    bool at_start = search_is_edge(fold_next(&first, end)), at_end = search_is_edge(fold_before(needle.p, end));
    for (const char *at; rest.n && (at = memmem(rest.p, rest.n, needle.p, needle.n)) != NULL;) {
        if (stands_alone(record->text, at, needle, at_start, at_end)) return true;
        rest = bl_str_skip(record->text, (size_t)(at + 1 - record->text.p));
    }
    return false;
}

OPERATOR_MATCH(word) {
    BL_TRY(match_texts(m, node, rows, err));
    return m->exact ? match_records(m, node, holds_exactly, rows, err) : BL_OK;
}

/* --- Labels --- */

static bool ends_label(const char *p) {
    return (unsigned char)*p >= SEGMENT_TAG;
}

static bool is_whole(const struct search_node *node, struct bl_str all, const char *at, size_t n) {
    (void)node, (void)all;
    return ends_label(at + n);
}

static bool is_language(const struct search_node *node, struct bl_str all, const char *at, size_t n) {
    (void)node, (void)all;
    return ends_label(at + n) || at[n] == '-';
}

/* The link around an occurrence; empty where it stands in something else. */
static struct bl_str link_around(struct bl_str all, const char *at) {
    const char *start = at, *end = at;
    while (start > all.p && !ends_label(start)) start--;
    if ((unsigned char)*start != SEGMENT_LINK) return (struct bl_str){0};
    while (!ends_label(end)) end++;
    return bl_strn(start + 1, (size_t)(end - start - 1));
}

static bool is_in_link(const struct search_node *node, struct bl_str all, const char *at, size_t n) {
    (void)node, (void)n;
    return link_around(all, at).n > 0;
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* What stands between "scheme://" and the path, without a port; empty where there is no scheme. */
static struct bl_str host_of(struct bl_str link) {
    size_t n = 0, end = 0;
    while (n < link.n && (is_lower(link.p[n]) || (n && (is_digit(link.p[n]) || memchr("+.-", link.p[n], 3))))) n++;
    struct bl_str host = bl_str_skip(link, n);
    if (n == 0 || !bl_str_starts(host, BL_LIT("://"))) return (struct bl_str){0};
    host = bl_str_skip(host, 3);
    while (end < host.n && !memchr("/?#", host.p[end], 3)) end++;
    host.n = end;
    while (end && is_digit(host.p[end - 1])) end--;
    if (end && host.p[end - 1] == ':') host.n = end - 1;
    return host;
}

static bool is_host(const struct search_node *node, struct bl_str all, const char *at, size_t n) {
    (void)n;
    struct bl_str host = host_of(link_around(all, at)), wanted = node->needles[0].s;
    if (!bl_str_ends(host, wanted)) return false;
    char before = host.n == wanted.n ? '.' : host.p[host.n - wanted.n - 1];
    return before == '.' || before == '@';
}

OPERATOR_MATCH(tag) {
    return match_labels(m, node, is_whole, rows, err);
}
OPERATOR_MATCH(mentions) {
    return match_labels(m, node, is_whole, rows, err);
}
OPERATOR_MATCH(to) {
    return match_labels(m, node, NULL, rows, err);
}
OPERATOR_MATCH(language) {
    return match_labels(m, node, is_language, rows, err);
}
OPERATOR_MATCH(url) {
    return match_labels(m, node, is_in_link, rows, err);
}
OPERATOR_MATCH(domain) {
    return match_labels(m, node, is_host, rows, err);
}

/* --- The rest --- */

static bool is_by(const struct search_node *node, const struct segment_record *record) {
    for (size_t i = 0; i < node->did_count; i++)
        if (bl_str_eq(record->did, node->dids[i])) return true;
    return false;
}

OPERATOR_MATCH(from) {
    uint64_t accounts[SEARCH_ACCOUNTS_MAX];
    for (size_t i = 0; i < node->did_count; i++) accounts[i] = segment_account(node->dids[i]);
    for (unsigned row = 0; row < m->block.rows; row++) {
        bool by = false;
        for (size_t i = 0; i < node->did_count; i++) by |= m->block.accounts[row] == accounts[i];
        if (!by) rows->bits[row / 64] &= ~((uint64_t)1 << (row % 64));
    }
    return match_records(m, node, is_by, rows, err);
}

static bool has_key(const struct search_node *node, const struct segment_record *record) {
    return bl_str_eq(record->rkey, node->value);
}

OPERATOR_MATCH(rkey) {
    return match_records(m, node, has_key, rows, err);
}

OPERATOR_MATCH(since) {
    (void)err;
    match_times(m, node->number, INT64_MAX, rows);
    return BL_OK;
}

OPERATOR_MATCH(until) {
    (void)err;
    match_times(m, INT64_MIN, node->number, rows);
    return BL_OK;
}

OPERATOR_MATCH(thing) {
    (void)err;
    static const unsigned flags[] = {SEGMENT_IMAGE, SEGMENT_VIDEO, SEGMENT_HAS_LINK, SEGMENT_QUOTE, SEGMENT_REPLY};
    match_flags(m, flags[node->number], rows); /* in the order of `things` in operators.c */
    return BL_OK;
}
