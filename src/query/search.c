#include "query/search.h"

#include "base/near.h"

/* Recursive descent:
 *   any   = all { "OR" all }
 *   all   = item { [ "AND" ] item }
 *   item  = [ "-" ] ( "(" any ")" | "\"" phrase "\"" | "#" tag | name ":" value | word ) */
struct parser {
    struct bl_str text;
    size_t at;
    unsigned terms, depth;
    struct bl_arena *arena;
    struct bl_error *err;
};

/* Errors point at a character, which is not a byte in most of the world. */
static unsigned column_of(struct bl_str text, size_t at) {
    unsigned column = 1;
    for (size_t i = 0; i < at; i++) column += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return column;
}

static enum bl_rc fail_at(struct parser *p, size_t at, const char *cure, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static enum bl_rc fail_at(struct parser *p, size_t at, const char *cure, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return bl_fail_cure(p->err, BL_E_USAGE, cure, "column %u: %s", column_of(p->text, at), message);
}

static const char *const something = "write what to look for there, or leave it out";

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
static bool ends_word(char c) {
    return is_blank(c) || c == '(' || c == ')';
}

static void skip_blanks(struct parser *p) {
    while (p->at < p->text.n && is_blank(p->text.p[p->at])) p->at++;
}

static bool looking_at(const struct parser *p, char c) {
    return p->at < p->text.n && p->text.p[p->at] == c;
}

/* AND and OR are words only in capitals, and only alone: "or" and "ORANGE" are looked for. */
static bool at_keyword(const struct parser *p, struct bl_str keyword) {
    struct bl_str rest = bl_str_skip(p->text, p->at);
    return bl_str_starts(rest, keyword) && (rest.n == keyword.n || ends_word(rest.p[keyword.n]));
}

static struct search_node *new_node(struct parser *p, enum search_kind kind) {
    struct search_node *node = bl_arena_alloc(p->arena, sizeof *node);
    if (node) *node = (struct search_node){.kind = kind};
    return node;
}

static enum bl_rc out_of_memory(struct parser *p) {
    return bl_fail(p->err, BL_E_FULL, "the search needs more memory than a question may use: make it shorter");
}

static const char *operator_at(size_t i, const void *context) {
    (void)context;
    return i < search_operator_count ? search_operators[i].name : NULL;
}

static enum bl_rc unknown_operator(struct parser *p, size_t at, struct bl_str name) {
    const char *near = bl_nearest(name, operator_at, NULL);
    char cure[64] = "to look for the text itself, put it in quotes";
    if (near) snprintf(cure, sizeof cure, "did you mean \"%s:\"?", near);
    return fail_at(p, at, cure, "unknown operator \"%.*s:\"", BL_ARG(name));
}

/* The text between quotes, from p->at (on the opening quote) on; \" and \\ stand for themselves. */
static enum bl_rc read_phrase(struct parser *p, struct bl_str *out) {
    size_t start = p->at++;
    char *copy = bl_arena_alloc(p->arena, p->text.n);
    if (!copy) return out_of_memory(p);
    size_t n = 0;
    while (p->at < p->text.n && p->text.p[p->at] != '"') {
        bool escaped = p->text.p[p->at] == '\\' && p->at + 1 < p->text.n &&
                       (p->text.p[p->at + 1] == '"' || p->text.p[p->at + 1] == '\\');
        if (escaped) p->at++;
        copy[n++] = p->text.p[p->at++];
    }
    if (p->at == p->text.n)
        return fail_at(p, start, "write another where the phrase ends", "this quote is never closed");
    p->at++;
    if (n == 0) return fail_at(p, start, "write a phrase there, or leave them out", "nothing between the quotes");
    *out = bl_strn(copy, n);
    return BL_OK;
}

static struct bl_str read_word(struct parser *p) {
    size_t start = p->at;
    while (p->at < p->text.n && !ends_word(p->text.p[p->at])) p->at++;
    return bl_strn(p->text.p + start, p->at - start);
}

/* The "from" of "from:alice"; empty where no operator stands here. "https://..." is a word. */
static struct bl_str operator_name(const struct parser *p) {
    struct bl_str rest = bl_str_skip(p->text, p->at);
    size_t n = 0;
    while (n < rest.n && ((rest.p[n] >= 'a' && rest.p[n] <= 'z') || (rest.p[n] >= 'A' && rest.p[n] <= 'Z'))) n++;
    if (n == 0 || n == rest.n || rest.p[n] != ':') return (struct bl_str){0};
    if (bl_str_starts(bl_str_skip(rest, n + 1), BL_LIT("//"))) return (struct bl_str){0};
    return bl_strn(rest.p, n);
}

const struct search_operator *search_operator_named(struct bl_str name) {
    for (size_t i = 0; i < search_operator_count; i++)
        if (bl_str_eq(name, bl_str(search_operators[i].name))) return &search_operators[i];
    return NULL;
}

static enum bl_rc read_value(struct parser *p, struct bl_str *value) {
    if (looking_at(p, '"')) return read_phrase(p, value);
    *value = read_word(p);
    return BL_OK;
}

enum bl_rc search_refuse(struct bl_error *err, const char *before, struct bl_str value, const char *wrong) {
    struct bl_str cure = bl_str(wrong), cause = bl_str_cut(&cure, ':');
    return bl_fail_cure(err, BL_E_USAGE, bl_str_trim(cure).p, "%s\"%.*s\" %.*s", before, BL_ARG(value), BL_ARG(cause));
}

static enum bl_rc read_operator(struct parser *p, struct bl_str name, struct search_node *node) {
    size_t start = p->at;
    node->op = search_operator_named(name);
    if (!node->op) return unknown_operator(p, start, name);
    p->at += name.n + 1;
    size_t value_at = p->at;
    BL_TRY(read_value(p, &node->value));
    if (node->value.n == 0) {
        char cure[80];
        snprintf(cure, sizeof cure, "write %s:%s", node->op->name, node->op->value);
        return fail_at(p, start, cure, "\"%s:\" needs a value right after the colon", node->op->name);
    }
    const char *wrong = node->op->accept(node);
    if (!wrong) return BL_OK;
    char before[32];
    snprintf(before, sizeof before, "column %u: ", column_of(p->text, value_at));
    return search_refuse(p->err, before, node->value, wrong);
    return BL_OK;
}

static enum bl_rc read_term(struct parser *p, struct search_node **out) {
    if (++p->terms > SEARCH_TERMS_MAX)
        return fail_at(p, p->at, "ask in several searches", "more than %d terms", SEARCH_TERMS_MAX);
    struct search_node *node = new_node(p, SEARCH_TERM);
    if (!node) return out_of_memory(p);
    *out = node;
    struct bl_str name = operator_name(p);
    if (name.n) return read_operator(p, name, node);
    if (looking_at(p, '"')) {
        node->op = &search_word;
        return read_phrase(p, &node->value);
    }
    struct bl_str word = read_word(p);
    bool tag = word.n > 1 && word.p[0] == '#';
    node->op = tag ? &search_tag : &search_word;
    node->value = tag ? bl_str_skip(word, 1) : word;
    return BL_OK;
}

static enum bl_rc read_any(struct parser *p, struct search_node **out);

static enum bl_rc read_group(struct parser *p, struct search_node **out) {
    size_t start = p->at++;
    if (++p->depth > SEARCH_DEPTH_MAX)
        return fail_at(p, start, "leave some of them out", "parentheses nested deeper than %d", SEARCH_DEPTH_MAX);
    skip_blanks(p);
    if (looking_at(p, ')'))
        return fail_at(p, start, "write what to look for there, or leave them out", "nothing between the parentheses");
    BL_TRY(read_any(p, out));
    if (!looking_at(p, ')'))
        return fail_at(p, start, "close it, or put it in quotes", "this parenthesis is never closed");
    p->at++;
    p->depth--;
    return BL_OK;
}

static enum bl_rc read_item(struct parser *p, struct search_node **out) {
    /* A dash alone, or several, are text. */
    bool negated = looking_at(p, '-') && p->at + 1 < p->text.n && !is_blank(p->text.p[p->at + 1]) &&
                   p->text.p[p->at + 1] != ')' && p->text.p[p->at + 1] != '-';
    p->at += negated;
    struct search_node *node;
    if (looking_at(p, '('))
        BL_TRY(read_group(p, &node));
    else
        BL_TRY(read_term(p, &node));
    *out = node;
    if (!negated) return BL_OK;
    struct search_node *not = new_node(p, SEARCH_NOT);
    if (!not ) return out_of_memory(p);
    not ->first = node;
    *out = not ;
    return BL_OK;
}

/* Something to look for has to stand here. */
static enum bl_rc expect_item(struct parser *p, const char *before) {
    if (p->at == p->text.n) return fail_at(p, p->at, something, "nothing to look for after %s", before);
    if (looking_at(p, ')')) return fail_at(p, p->at, something, "nothing to look for before \")\"");
    if (at_keyword(p, BL_LIT("OR")) || at_keyword(p, BL_LIT("AND")))
        return fail_at(p, p->at, "to look for the word, write it in quotes", "nothing to look for before %s",
                       at_keyword(p, BL_LIT("OR")) ? "OR" : "AND");
    return BL_OK;
}

/* One child stands for itself; more hang under a node of `kind`. */
static enum bl_rc gather(struct parser *p, enum search_kind kind, struct search_node *first, struct search_node **out) {
    *out = first;
    if (!first->next) return BL_OK;
    struct search_node *parent = new_node(p, kind);
    if (!parent) return out_of_memory(p);
    parent->first = first;
    *out = parent;
    return BL_OK;
}

static enum bl_rc read_all(struct parser *p, struct search_node **out) {
    struct search_node *first = NULL, **link = &first;
    const char *before = "\"(\"";
    for (;;) {
        BL_TRY(expect_item(p, before));
        BL_TRY(read_item(p, link));
        link = &(*link)->next;
        skip_blanks(p);
        if (at_keyword(p, BL_LIT("AND"))) {
            p->at += 3;
            skip_blanks(p);
            before = "AND";
        } else if (p->at == p->text.n || looking_at(p, ')') || at_keyword(p, BL_LIT("OR")))
            return gather(p, SEARCH_AND, first, out);
    }
}

static enum bl_rc read_any(struct parser *p, struct search_node **out) {
    struct search_node *first = NULL, **link = &first;
    for (;;) {
        BL_TRY(read_all(p, link));
        link = &(*link)->next;
        if (!at_keyword(p, BL_LIT("OR"))) return gather(p, SEARCH_OR, first, out);
        p->at += 2;
        skip_blanks(p);
        if (p->at == p->text.n) return fail_at(p, p->at, something, "nothing to look for after OR");
    }
}

enum bl_rc search_parse(struct bl_str text, struct bl_arena *arena, struct search_node **tree, struct bl_error *err) {
    if (text.n > SEARCH_TEXT_MAX)
        return bl_fail_cure(err, BL_E_USAGE, "ask in several searches",
                            "the search is %zu bytes long, at most %d are taken", text.n, SEARCH_TEXT_MAX);
    if (!bl_utf8_valid(text))
        return bl_fail_cure(err, BL_E_USAGE, "write it in UTF-8", "the search is not valid UTF-8 text");
    struct parser p = {.text = text, .arena = arena, .err = err};
    const char *nul = text.n ? memchr(text.p, 0, text.n) : NULL;
    if (nul) return fail_at(&p, (size_t)(nul - text.p), "leave it out", "a NUL character cannot be searched for");
    skip_blanks(&p);
    if (p.at == text.n) {
        *tree = NULL;
        return BL_OK;
    }
    struct search_node *root;
    BL_TRY(read_any(&p, &root));
    if (p.at < text.n) return fail_at(&p, p.at, "leave it out, or put it in quotes", "this parenthesis closes nothing");
    *tree = root;
    return BL_OK;
}

static void explain_node(const struct search_node *node, unsigned indent, struct bl_buf *out) {
    for (unsigned i = 0; i < indent; i++) bl_buf_z(out, "  ");
    static const char *const names[] = {[SEARCH_AND] = "all of", [SEARCH_OR] = "any of", [SEARCH_NOT] = "not"};
    if (node->kind == SEARCH_TERM) {
        bl_buf_printf(out, "%s ", node->op->label);
        bl_buf_json(out, node->value);
        bl_buf_byte(out, '\n');
        return;
    }
    bl_buf_printf(out, "%s\n", names[node->kind]);
    for (const struct search_node *child = node->first; child; child = child->next)
        explain_node(child, indent + 1, out);
}

void search_explain(const struct search_node *tree, struct bl_buf *out) {
    if (tree)
        explain_node(tree, 0, out);
    else
        bl_buf_z(out, "everything\n");
}

bool search_never(const struct search_node *node) {
    if (!node) return false;
    switch (node->kind) {
    case SEARCH_TERM:
        return node->is_handle && node->did_count == 0;
    case SEARCH_NOT:
        return false;
    case SEARCH_AND:
        for (const struct search_node *child = node->first; child; child = child->next)
            if (search_never(child)) return true;
        return false;
    case SEARCH_OR:
        for (const struct search_node *child = node->first; child; child = child->next)
            if (!search_never(child)) return false;
        return true;
    }
    return false;
}

void search_clause(struct search_sql *sql, const struct search_node *node) {
    if (!node) {
        bl_buf_z(&sql->text, "true");
        return;
    }
    bl_buf_byte(&sql->text, '(');
    if (node->kind == SEARCH_TERM) node->op->clause(sql, node);
    for (const struct search_node *child = node->first; child; child = child->next) {
        if (child != node->first) bl_buf_z(&sql->text, node->kind == SEARCH_OR ? " OR " : " AND ");
        search_clause(sql, child);
    }
    /* A post without links has no domain: null counts as "does not hold" before it is negated. */
    if (node->kind == SEARCH_NOT) bl_buf_z(&sql->text, " IS NOT TRUE");
    bl_buf_byte(&sql->text, ')');
}

void search_sql_release(struct search_sql *sql) {
    bl_buf_release(&sql->text);
}

void search_bind_text(struct search_sql *sql, struct bl_str s) {
    BL_ASSERT(sql->count < SEARCH_BINDS_MAX);
    sql->binds[sql->count++] = (struct duck_bind){.kind = DUCK_TEXT, .s = s};
}

void search_bind_i64(struct search_sql *sql, int64_t i) {
    BL_ASSERT(sql->count < SEARCH_BINDS_MAX);
    sql->binds[sql->count++] = (struct duck_bind){.kind = DUCK_I64, .i = i};
}
