#include "query/find.h"

#include "query/match.h"
#include "query/names.h"

static enum bl_rc out_of_memory(struct bl_error *err) {
    return bl_fail(err, BL_E_FULL, "the search needs more memory than a question may use: make it shorter");
}

/* Hangs one more condition under the tree. */
static enum bl_rc narrow(struct filter *f, const struct search_operator *op, struct bl_str value, const char *parameter,
                         struct bl_arena *arena, struct bl_error *err) {
    if (!bl_utf8_valid(value)) return bl_fail(err, BL_E_USAGE, "%s: is not valid UTF-8 text", parameter);
    if (memchr(value.p, 0, value.n)) return bl_fail(err, BL_E_USAGE, "%s: holds a NUL character", parameter);
    if (value.n > SEARCH_TEXT_MAX)
        return bl_fail(err, BL_E_USAGE, "%s: is %zu bytes long, at most %d are taken", parameter, value.n,
                       SEARCH_TEXT_MAX);
    struct search_node *term = bl_arena_alloc(arena, sizeof *term), *both = bl_arena_alloc(arena, sizeof *both);
    if (!term || !both) return out_of_memory(err);
    *term = (struct search_node){.kind = SEARCH_TERM, .op = op, .value = value};
    const char *wrong = op->accept(term);
    char before[32];
    snprintf(before, sizeof before, "%s: ", parameter);
    if (wrong) return search_refuse(err, before, value, wrong);
    if (f->tree) {
        *both = (struct search_node){.kind = SEARCH_AND, .first = term};
        term->next = f->tree;
        term = both;
    }
    f->tree = term;
    return BL_OK;
}

static enum bl_rc narrow_literal(struct filter *f, struct bl_str text, struct bl_arena *arena, struct bl_error *err) {
    bool tag = text.n > 1 && text.p[0] == '#' && !memchr(text.p, ' ', text.n);
    return narrow(f, tag ? &search_tag : &search_word, bl_str_skip(text, tag), "text", arena, err);
}

static enum bl_rc parse_parts(const struct query_search *s, struct bl_arena *arena, struct filter *f,
                              struct bl_error *err) {
    BL_TRY(search_parse(s->text, arena, &f->tree, err));
    struct bl_str literal = bl_str_trim(s->literal), account = bl_str_trim(s->account), lang = bl_str_trim(s->lang);
    if (literal.n) BL_TRY(narrow_literal(f, literal, arena, err));
    if (account.n) BL_TRY(narrow(f, search_operator_named(BL_LIT("from")), account, "username", arena, err));
    if (lang.n) BL_TRY(narrow(f, search_operator_named(BL_LIT("lang")), lang, "lang", arena, err));
    return s->after.n ? cursor_read(s->after, arena, &f->after, err) : BL_OK;
}

enum bl_rc filter_parse(const struct query_search *s, struct bl_arena *arena, struct filter *out,
                        struct bl_error *err) {
    bool everything = s->from_us == 0 && s->to_us == 0;
    struct filter f = {
        .exact = s->exact, .from_us = everything ? INT64_MIN : s->from_us, .to_us = everything ? INT64_MAX : s->to_us};
    BL_TRY(parse_parts(s, arena, &f, err));
    search_range(f.tree, &f.from_us, &f.to_us);
    if (f.after.did.p && f.after.time_us < f.to_us) f.to_us = f.after.time_us;
    f.never = f.from_us > f.to_us;
    *out = f;
    return BL_OK;
}

struct unknown {                                     /* handles of a tree that the lake knows nobody by */
    struct search_node *nodes[SEARCH_TERMS_MAX + 1]; /* one more: the parameter `username` */
    struct names_handle handles[SEARCH_TERMS_MAX + 1];
    size_t count;
};

static enum bl_rc resolve(struct search_node *node, struct query *q, struct bl_arena *arena, struct unknown *unknown,
                          struct bl_error *err) {
    if (!node) return BL_OK;
    for (struct search_node *child = node->first; child; child = child->next)
        BL_TRY(resolve(child, q, arena, unknown, err));
    if (!node->is_handle || node->did_count) return BL_OK;
    BL_TRY(people_by_handle(q, node->value, arena, node->dids, SEARCH_ACCOUNTS_MAX, &node->did_count, err));
    if (node->did_count) return BL_OK;
    BL_ASSERT(unknown->count <= SEARCH_TERMS_MAX);
    unknown->nodes[unknown->count] = node;
    unknown->handles[unknown->count++] = (struct names_handle){.handle = node->value};
    return BL_OK;
}

enum bl_rc filter_resolve(struct filter *f, struct query *q, struct bl_arena *arena, char *note, struct bl_error *err) {
    struct unknown unknown = {.count = 0};
    BL_TRY(resolve(f->tree, q, arena, &unknown, err));
    BL_TRY(names_of_handles(q, unknown.handles, unknown.count, arena, note, err));
    for (size_t i = 0; i < unknown.count; i++)
        if (unknown.handles[i].did.p) unknown.nodes[i]->dids[unknown.nodes[i]->did_count++] = unknown.handles[i].did;
    f->never |= search_never(f->tree);
    return match_prepare(f->tree, arena, err);
}

/* --- What to highlight --- */

static void add_matches(const struct search_node *node, struct bl_buf *json, bool *any) {
    if (!node || node->kind == SEARCH_NOT) return;
    for (const struct search_node *child = node->first; child; child = child->next) add_matches(child, json, any);
    if (node->kind != SEARCH_TERM || (node->op != &search_word && node->op != &search_tag)) return;
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    if (node->op == &search_tag) bl_buf_byte(&text, '#');
    bl_buf_str(&text, node->value);
    if (*any) bl_buf_byte(json, ',');
    bl_buf_json(json, bl_buf_view(&text));
    *any = true;
}

enum bl_rc query_matches(const struct query_search *s, struct bl_buf *json, struct bl_error *err) {
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct filter f;
    bool any = false;
    BL_TRY(filter_parse(s, &arena, &f, err));
    bl_buf_byte(json, '[');
    add_matches(f.tree, json, &any);
    bl_buf_byte(json, ']');
    return bl_buf_check(json, "the words to highlight", err);
}
