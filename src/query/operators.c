/* The table of search operators: how a value is checked, what it becomes in SQL. */
#include "query/operators.h"
#include "base/clock.h"

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool has_letter(struct bl_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (is_letter(s.p[i])) return true;
    return false;
}

static bool is_ascii(struct bl_str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

/* One letter as a class of everything that lower() makes it: U+212A KELVIN SIGN becomes k, U+0130 becomes i. */
static char *put_letter(char *p, char letter) {
    char lower = (char)(letter | 0x20);
    *p++ = '[';
    *p++ = lower;
    *p++ = (char)(lower & ~0x20);
    const char *also = lower == 'k' ? "\xe2\x84\xaa" : lower == 'i' ? "\xc4\xb0" : "";
    while (*also) *p++ = *also++;
    *p++ = ']';
    return p;
}

static char *put_escaped(char *p, char c) {
    bool plain = is_letter(c) || is_digit(c) || (unsigned char)c >= 0x80;
    if (!plain && (unsigned char)c > 0x20 && c != 0x7f) *p++ = '\\'; /* RE2 takes a backslash before any punctuation */
    *p++ = c;
    return p;
}

/* A regular expression that matches where contains(lower(text), lower(needle)) holds, for an ASCII needle. */
static struct bl_str folded_pattern(struct bl_arena *arena, struct bl_str needle) {
    char *pattern = bl_arena_alloc(arena, needle.n * 8), *p = pattern;
    if (!pattern) return (struct bl_str){0};
    for (size_t i = 0; i < needle.n; i++)
        p = is_letter(needle.p[i]) ? put_letter(p, needle.p[i]) : put_escaped(p, needle.p[i]);
    return bl_strn(pattern, (size_t)(p - pattern));
}

/* --- exact: as it is written, and not a part of a longer word --- */

struct range {
    unsigned from, to;
};

/* Is the character part of a word that blanks or marks end? Not: punctuation, symbols, emoji; nor scripts written
 * without blanks (Han, kana, Thai, Lao, Khmer, Burmese), in which words cannot be told apart so. */
bool search_is_edge(unsigned code) {
    static const struct range others[] = {
        {0x80, 0xa9},     {0xab, 0xb4},     {0xb6, 0xb9},     {0xbb, 0xbf},       {0xd7, 0xd7},      {0xf7, 0xf7},
        {0xe00, 0xeff},   {0x1000, 0x109f}, {0x1780, 0x17ff}, {0x2000, 0x206f},   {0x20a0, 0x20cf},  {0x2190, 0x2bff},
        {0x2e00, 0x30ff}, {0x31f0, 0x31ff}, {0x3400, 0x9fff}, {0xf900, 0xfaff},   {0xfe10, 0xfe6f},  {0xff00, 0xff0f},
        {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff9f}, {0x1f000, 0x1faff}, {0x20000, 0x3ffff}};
    if (code < 0x80) return is_letter((char)code) || is_digit((char)code) || code == '_';
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (code >= others[i].from && code <= others[i].to) return false;
    return true;
}

#define UNSPACED "[\\p{Han}\\p{Hiragana}\\p{Katakana}\\p{Thai}\\p{Lao}\\p{Khmer}\\p{Myanmar}]"
#define NO_WORD "[^\\pL\\pM\\pN_]|" UNSPACED

/* An edge that is a letter has to be the edge of a word. */
static struct bl_str alone_pattern(struct bl_arena *arena, struct bl_str needle) {
    static const struct bl_str before = BL_LIT("(?:^|" NO_WORD ")"), after = BL_LIT("(?:$|" NO_WORD ")");
    char *pattern = bl_arena_alloc(arena, before.n + needle.n * 2 + after.n), *p = pattern;
    if (!pattern) return (struct bl_str){0};
    const char *first = needle.p, *end = needle.p + needle.n;
    if (search_is_edge(fold_next(&first, end))) p = mempcpy(p, before.p, before.n);
    for (size_t i = 0; i < needle.n; i++) p = put_escaped(p, needle.p[i]);
    if (search_is_edge(fold_before(needle.p, end))) p = mempcpy(p, after.p, after.n);
    return bl_strn(pattern, (size_t)(p - pattern));
}

/* The plain comparison costs little and refuses nearly everything before the automaton looks. */
void search_contains_exactly(struct search_sql *sql, const char *column, struct bl_str needle) {
    struct bl_str pattern = alone_pattern(sql->arena, needle);
    if (!pattern.p) sql->text.failed = true;
    bl_buf_printf(&sql->text, "contains(%s, ?) AND regexp_matches(%s, ?)", column, column);
    search_bind_text(sql, needle);
    search_bind_text(sql, pattern);
}

/* Three conditions with one meaning, ILIKE's; the fastest that applies is taken. A needle without letters has no case;
 * an ASCII needle is quickest as an automaton (beyond 64 letters its tables outgrow the gain); else both sides are
 * folded. */
void search_contains(struct search_sql *sql, const char *column, struct bl_str needle) {
    enum { PATTERN_LETTERS_MAX = 64 };
    if (is_ascii(needle) && !has_letter(needle)) {
        bl_buf_printf(&sql->text, "contains(%s, ?)", column);
        search_bind_text(sql, needle);
        return;
    }
    struct bl_str pattern = {0};
    if (is_ascii(needle) && needle.n <= PATTERN_LETTERS_MAX) pattern = folded_pattern(sql->arena, needle);
    bl_buf_printf(&sql->text, pattern.n ? "regexp_matches(%s, ?)" : "contains(lower(%s), lower(?))", column);
    search_bind_text(sql, pattern.n ? pattern : needle);
}

static const char *accept_any(struct search_node *node) {
    (void)node;
    return NULL;
}

static void word_clause(struct search_sql *sql, const struct search_node *node) {
    (sql->exact ? search_contains_exactly : search_contains)(sql, "text", node->value);
}

/* Tags are kept in lower case, whatever was typed, so case never counts here. */
static void tag_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, "len(list_filter(hashtags, lambda x: lower(x) = lower(?))) > 0");
    search_bind_text(sql, node->value);
}

static void rkey_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, "rkey = ?");
    search_bind_text(sql, node->value);
}

static const char *accept_account(struct search_node *node) {
    if (bl_str_starts(node->value, BL_LIT("@"))) node->value = bl_str_skip(node->value, 1);
    if (bl_str_starts(node->value, BL_LIT("did:"))) {
        node->dids[0] = node->value;
        node->did_count = 1;
        return NULL;
    }
    node->is_handle = true;
    bool dotted = node->value.n > 2 && memchr(node->value.p, '.', node->value.n);
    return dotted ? NULL : "is neither a DID nor a handle: write did:plc:... or alice.bsky.social";
}

static void from_clause(struct search_sql *sql, const struct search_node *node) {
    if (node->did_count == 0) bl_buf_z(&sql->text, "false");
    for (size_t i = 0; i < node->did_count; i++) {
        bl_buf_z(&sql->text, i ? " OR did = ?" : "did = ?");
        search_bind_text(sql, node->dids[i]);
    }
}

static void mentions_clause(struct search_sql *sql, const struct search_node *node) {
    if (node->did_count == 0) bl_buf_z(&sql->text, "false");
    for (size_t i = 0; i < node->did_count; i++) {
        bl_buf_z(&sql->text, i ? " OR list_contains(mentions, ?)" : "list_contains(mentions, ?)");
        search_bind_text(sql, node->dids[i]);
    }
}

/* The author of the post replied to stands in its URI. */
static void to_clause(struct search_sql *sql, const struct search_node *node) {
    if (node->did_count == 0) bl_buf_z(&sql->text, "false");
    for (size_t i = 0; i < node->did_count; i++) {
        bl_buf_z(&sql->text, i ? " OR starts_with(reply_parent_uri, 'at://' || ? || '/')"
                               : "starts_with(reply_parent_uri, 'at://' || ? || '/')");
        search_bind_text(sql, node->dids[i]);
    }
}

static const char *accept_language(struct search_node *node) {
    const char *wrong = "is not a language: write two or three letters, such as en, or more, such as pt-BR";
    if (node->value.n < 2 || node->value.n > 35 || !is_letter(node->value.p[0])) return wrong;
    for (size_t i = 0; i < node->value.n; i++)
        if (!is_letter(node->value.p[i]) && !is_digit(node->value.p[i]) && node->value.p[i] != '-') return wrong;
    return NULL;
}

/* "en" finds en and en-GB, "en-GB" does not find en. */
static void language_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text,
             "len(list_filter(langs, lambda x: lower(x) = lower(?) OR starts_with(lower(x), lower(?) || '-'))) > 0");
    search_bind_text(sql, node->value);
    search_bind_text(sql, node->value);
}

static const char *const not_a_time = "is not a date: write 2026-11-21 or 2026-11-21T08:05:00Z";

static const char *accept_since(struct search_node *node) {
    return bl_parse_time(node->value, false, &node->number) ? NULL : not_a_time;
}

static const char *accept_until(struct search_node *node) {
    return bl_parse_time(node->value, true, &node->number) ? NULL : not_a_time;
}

static void since_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, "time_us >= ?");
    search_bind_i64(sql, node->number);
}

static void until_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, "time_us <= ?");
    search_bind_i64(sql, node->number);
}

static const char *accept_domain(struct search_node *node) {
    const char *wrong = "is not a domain: write it without https:// and path, such as example.com";
    if (node->value.n < 3 || !memchr(node->value.p, '.', node->value.n)) return wrong;
    for (size_t i = 0; i < node->value.n; i++)
        if (strchr("/:?#@ \\", node->value.p[i])) return wrong;
    return NULL;
}

/* The host of a link, or an end of it at a dot: domain:example.com finds www.example.com. What stands before an "@" and
 * behind a ":" is not the host. Both sides in lower case, as in a search for words. */
static void domain_clause(struct search_sql *sql, const struct search_node *node) {
    static const struct bl_str before = BL_LIT("^[a-z][a-z0-9+.-]*://([^/?#]*[.@])?"),
                               after = BL_LIT("(:[0-9]*)?([/?#]|$)");
    BL_CLEANUP(bl_buf_release) struct bl_buf folded = {0};
    fold_append(&folded, node->value);
    char *pattern = bl_arena_alloc(sql->arena, before.n + folded.n * 2 + after.n), *p = pattern;
    if (!pattern) {
        sql->text.failed = true;
        return;
    }
    memcpy(p, before.p, before.n);
    p += before.n;
    for (size_t i = 0; i < folded.n; i++) p = put_escaped(p, folded.p[i]);
    memcpy(p, after.p, after.n);
    p += after.n;
    bl_buf_z(&sql->text, "len(list_filter(links, lambda x: regexp_matches(lower(x), ?))) > 0");
    search_bind_text(sql, bl_strn(pattern, (size_t)(p - pattern)));
}

static void url_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, "len(list_filter(links, lambda x: contains(lower(x), lower(?)))) > 0");
    search_bind_text(sql, node->value);
}

static const struct {
    const char *name, *condition;
} things[] = {
    {"image", "regexp_matches(embed_type, '(^|[+])(images|gallery)($|[+])')"},
    {"video", "regexp_matches(embed_type, '(^|[+])video($|[+])')"},
    {"link", "len(links) > 0"},
    {"quote", "quote_uri IS NOT NULL"},
    {"reply", "reply_parent_uri IS NOT NULL"},
};

static const char *accept_thing(struct search_node *node) {
    for (size_t i = 0; i < sizeof things / sizeof things[0]; i++)
        if (bl_str_eq(node->value, bl_str(things[i].name))) {
            node->number = (int64_t)i;
            return NULL;
        }
    return "is nothing a post is known to have: write image, video, link, quote or reply";
}

static void thing_clause(struct search_sql *sql, const struct search_node *node) {
    bl_buf_z(&sql->text, things[node->number].condition);
}

const struct search_operator search_word = {
    NULL,       "text contains", "WORD",       "the text holds it, anywhere, also inside a word",
    accept_any, word_clause,     prepare_text, match_word};
const struct search_operator search_tag = {NULL,       "tagged",   "TAG",       "the post carries the tag",
                                           accept_any, tag_clause, prepare_tag, match_tag};
const struct search_operator search_rkey = {NULL,       "with the key", "KEY", "its record key",
                                            accept_any, rkey_clause,    NULL,  match_rkey};
const struct search_operator search_operators[] = {
    {"from", "written by", "HANDLE|DID", "who wrote it", accept_account, from_clause, NULL, match_from},
    {"mentions", "mentions", "HANDLE|DID", "who is mentioned in it", accept_account, mentions_clause, prepare_mentions,
     match_mentions},
    {"to", "a reply to", "HANDLE|DID", "whose post it replies to", accept_account, to_clause, prepare_to, match_to},
    {"lang", "in language", "LANGUAGE", "the language claimed for it", accept_language, language_clause,
     prepare_language, match_language},
    {"since", "since", "DATE", "that day and later", accept_since, since_clause, NULL, match_since},
    {"until", "until", "DATE", "that day (to its end) and earlier", accept_until, until_clause, NULL, match_until},
    {"domain", "links to", "DOMAIN", "a link in it leads there, or to a subdomain", accept_domain, domain_clause,
     prepare_text, match_domain},
    {"url", "with a link that holds", "TEXT", "a link in it holds this text", accept_any, url_clause, prepare_text,
     match_url},
    {"has", "has", "image|video|link|quote|reply", "what it carries or is", accept_thing, thing_clause, NULL,
     match_thing},
};
const size_t search_operator_count = sizeof search_operators / sizeof search_operators[0];

/* A time outside of what the tree admits needs no file opened. */
void search_range(const struct search_node *node, int64_t *from_us, int64_t *to_us) {
    if (!node || node->kind == SEARCH_NOT) return;
    if (node->kind == SEARCH_TERM) {
        if (node->op->clause == since_clause && node->number > *from_us) *from_us = node->number;
        if (node->op->clause == until_clause && node->number < *to_us) *to_us = node->number;
        return;
    }
    if (node->kind == SEARCH_AND) {
        for (const struct search_node *child = node->first; child; child = child->next)
            search_range(child, from_us, to_us);
        return;
    }
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (const struct search_node *child = node->first; child; child = child->next) {
        int64_t from = *from_us, to = *to_us;
        search_range(child, &from, &to);
        if (from < low) low = from;
        if (to > high) high = to;
    }
    *from_us = low;
    *to_us = high;
}
