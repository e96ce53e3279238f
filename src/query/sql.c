/* One read-only SQL statement. Two walls stand behind the check here: DuckDB prepares a single statement only, and it
 * is confined to the lake's folder; but inside that folder COPY could write, so the kind of statement is checked first.
 */
#include <strings.h>

#include "query/session.h"

static const char *const read_words[] = {"SELECT", "WITH", "FROM", "VALUES", "TABLE", "DESCRIBE", "SHOW", "SUMMARIZE"};

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static struct bl_str skip_comment(struct bl_str s) {
    if (bl_str_starts(s, BL_LIT("--"))) {
        bl_str_cut(&s, '\n');
        return s;
    }
    size_t depth = 0; /* block comments nest */
    for (size_t i = 0; i + 1 < s.n; i++) {
        bool opens = s.p[i] == '/' && s.p[i + 1] == '*', closes = s.p[i] == '*' && s.p[i + 1] == '/';
        if (!opens && !closes) continue;
        depth = opens ? depth + 1 : depth - 1;
        i++;
        if (depth == 0) return bl_str_skip(s, i + 1);
    }
    return (struct bl_str){0};
}

static struct bl_str skip_space(struct bl_str s) {
    for (;;) {
        if (s.n && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r')))
            s = bl_str_skip(s, 1);
        else if (bl_str_starts(s, BL_LIT("--")) || bl_str_starts(s, BL_LIT("/*")))
            s = skip_comment(s);
        else
            return s;
    }
}

static struct bl_str take_word(struct bl_str *s) {
    *s = skip_space(*s);
    size_t n = 0;
    while (n < s->n && is_letter(s->p[n])) n++;
    struct bl_str word = {s->p, n};
    *s = bl_str_skip(*s, n);
    return word;
}

static bool is_word(struct bl_str word, const char *upper) {
    return word.n == strlen(upper) && strncasecmp(word.p, upper, word.n) == 0;
}

static bool starts_reading(struct bl_str s) {
    s = skip_space(s);
    while (s.n && s.p[0] == '(') s = skip_space(bl_str_skip(s, 1));
    struct bl_str word = take_word(&s);
    for (size_t i = 0; i < sizeof read_words / sizeof read_words[0]; i++)
        if (is_word(word, read_words[i])) return true;
    return false;
}

/* EXPLAIN ANALYZE runs what it explains, so what is explained must be a question as well. */
static bool explains_reading(struct bl_str s) {
    if (starts_reading(s)) return true;
    s = skip_space(s);
    if (s.n && s.p[0] == '(') { /* options: EXPLAIN (ANALYZE, FORMAT json) SELECT ... */
        bl_str_cut(&s, ')');
        return starts_reading(s);
    }
    struct bl_str word = take_word(&s);
    return is_word(word, "ANALYZE") && starts_reading(s);
}

static enum bl_rc check_statement(struct bl_str sql, struct bl_error *err) {
    if (!bl_utf8_valid(sql) || (sql.n && memchr(sql.p, 0, sql.n)))
        return bl_fail(err, BL_E_USAGE, "the statement is not valid UTF-8 text");
    struct bl_str rest = sql, word = take_word(&rest);
    if (is_word(word, "EXPLAIN") ? explains_reading(rest) : starts_reading(sql)) return BL_OK;
    if (skip_space(sql).n == 0)
        return bl_fail(err, BL_E_USAGE, "there is no statement: try SELECT count(*) FROM posts");
    return bl_fail(
        err, BL_E_USAGE,
        "only questions are answered, not \"%.*s\": a statement starts with SELECT, WITH, FROM, VALUES, TABLE, "
        "DESCRIBE, SHOW, SUMMARIZE or EXPLAIN",
        BL_ARG(word));
}

static enum query_kind kind_of(enum duck_kind kind) {
    switch (kind) {
    case DUCK_BOOL:
        return QUERY_BOOL;
    case DUCK_I64:
    case DUCK_F64:
        return QUERY_NUMBER;
    case DUCK_LIST:
        return QUERY_JSON;
    case DUCK_NULL:
    case DUCK_TEXT:
    case DUCK_TIMESTAMP_US:
    case DUCK_DATE:
    case DUCK_OTHER:
        break;
    }
    return QUERY_TEXT;
}

enum bl_rc session_give_columns(const struct duck_result *r, const struct query_sink *sink, struct bl_error *err) {
    unsigned n = duck_columns(r);
    BL_CLEANUP(bl_freep) struct query_column *columns = bl_xcalloc(n, sizeof *columns);
    for (unsigned c = 0; c < n; c++)
        columns[c] = (struct query_column){duck_column_name(r, c), kind_of(duck_column_kind(r, c))};
    return sink->columns(sink->context, columns, n, err);
}

struct row_text {
    struct bl_buf text;
    struct bl_str *values;
    size_t *ends; /* of each value in `text`; the buffer may move while it grows */
};

static enum bl_rc give_row(struct duck_result *r, size_t row, struct row_text *t, const struct query_sink *sink,
                           struct bl_error *err) {
    unsigned n = duck_columns(r);
    bl_buf_clear(&t->text);
    for (unsigned c = 0; c < n; c++) {
        if (!duck_is_null(r, c, row)) duck_show(r, c, row, &t->text);
        t->ends[c] = t->text.n;
    }
    BL_TRY(bl_buf_check(&t->text, "one row of the answer", err));
    for (unsigned c = 0; c < n; c++) {
        size_t start = c ? t->ends[c - 1] : 0;
        const char *p = t->text.p ? t->text.p + start : "";
        t->values[c] = duck_is_null(r, c, row) ? (struct bl_str){0} : bl_strn(p, t->ends[c] - start);
    }
    return sink->row(sink->context, t->values, n, err);
}

static enum bl_rc give_rows(struct query *q, struct duck_result *r, struct row_text *t, const struct query_sink *sink,
                            struct bl_error *err) {
    for (;;) {
        size_t rows;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) BL_TRY(give_row(r, i, t, sink, err));
    }
}

enum bl_rc session_stream(struct query *q, struct duck_result *r, const struct query_sink *sink, struct bl_error *err) {
    struct row_text t = {.values = bl_xcalloc(duck_columns(r), sizeof *t.values),
                         .ends = bl_xcalloc(duck_columns(r), sizeof *t.ends)};
    enum bl_rc rc = give_rows(q, r, &t, sink, err);
    bl_freep(&t.values);
    bl_freep(&t.ends);
    bl_buf_release(&t.text);
    return rc;
}

struct sql_question {
    const char *sql;
    const struct query_sink *sink;
};

static enum bl_rc ask_sql(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct sql_question *question = context;
    BL_TRY(session_views(q, err));
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(q->duck, question->sql, NULL, 0, &r, err));
    *given = true;
    BL_TRY(session_give_columns(r, question->sink, err));
    return session_stream(q, r, question->sink, err);
}

enum bl_rc query_sql(struct query *q, struct bl_str sql, const struct query_sink *sink, struct bl_error *err) {
    BL_TRY(check_statement(sql, err));
    BL_CLEANUP(bl_freep) char *text = bl_xstrndup(sql);
    struct sql_question question = {text, sink};
    return session_run(q, ask_sql, &question, err);
}
