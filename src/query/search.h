/* search: the words of a person -> a tree -> a condition on posts, in SQL and on the index.
 *
 * Private to the query room. Pure: no I/O, no clock; memory from the arena it is given.
 * The grammar is docs/SEARCH.md. What can stand in front of a colon is one table (search_operators): a row says how its
 * value is checked and what it becomes in SQL, so a new operator is a new row.
 *
 *     struct search_node *tree;
 *     BL_TRY(search_parse(text, &arena, &tree, err)); // tree == NULL: everything
 *     struct search_sql sql = {.exact = false, .arena = &arena};
 *     search_clause(&sql, tree); // sql.text with sql.binds, in order */
#pragma once
#include "base/mem.h"
#include "index/scan.h"
#include "lake/duck.h"

enum { SEARCH_TEXT_MAX = 4096, SEARCH_TERMS_MAX = 128, SEARCH_DEPTH_MAX = 32, SEARCH_ACCOUNTS_MAX = 8 };
enum { SEARCH_BINDS_MAX = SEARCH_TERMS_MAX * SEARCH_ACCOUNTS_MAX + 16 /* of the statement around it */ };

enum search_kind { SEARCH_TERM, SEARCH_AND, SEARCH_OR, SEARCH_NOT };

struct match;
struct match_rows;
struct search_operator;
struct search_node {
    enum search_kind kind;
    struct search_node *first, *next;        /* first child; next of the same parent */
    const struct search_operator *op;        /* of a term */
    struct bl_str value;                     /* as the operator normalised it */
    int64_t number;                          /* since:, until: microseconds; has: row of its table */
    struct bl_str dids[SEARCH_ACCOUNTS_MAX]; /* from:, mentions:, to: filled by whoever can resolve a handle */
    size_t did_count;
    bool is_handle;
    struct scan_needle *needles; /* what the index is scanned for (match.h); one of them suffices */
    size_t needle_count;
};

struct search_sql {
    struct bl_buf text;
    struct duck_bind binds[SEARCH_BINDS_MAX];
    size_t count;
    bool exact;
    struct bl_arena *arena;
};

struct search_operator {
    const char *name;     /* written before the colon; NULL for the forms with a syntax of their own */
    const char *label;    /* in explanations */
    const char *value;    /* what to write, for help and errors: "LANGUAGE" */
    const char *sentence; /* help */
    /* Check node->value and normalise it; NULL when acceptable, else "what is wrong: what would be right". */
    const char *(*accept)(struct search_node *node);
    /* Append a condition on a posts row. It may be null where it does not hold. */
    void (*clause)(struct search_sql *sql, const struct search_node *node);
    /* Make the needles; false when the arena is full. NULL: there are none. */
    bool (*prepare)(struct search_node *node, struct bl_arena *arena);
    /* The same condition on rows of the index: those of which it does not hold leave the set. */
    enum bl_rc (*match)(struct match *m, const struct search_node *node, struct match_rows *rows, struct bl_error *err);
};
extern const struct search_operator search_operators[];
extern const size_t search_operator_count;
extern const struct search_operator search_word, search_tag, search_rkey; /* rkey: the record key, for our own use */
const struct search_operator *search_operator_named(struct bl_str name);  /* NULL: there is none */

/* BL_E_USAGE with "column N: ..." (characters, from 1). `*tree` is NULL for an empty text: it matches every post. */
enum bl_rc search_parse(struct bl_str text, struct bl_arena *arena, struct search_node **tree, struct bl_error *err);
/* BL_E_USAGE from what an operator's accept() said of a value: "is not a date: write 2026-11-21". `before` ends in ": "
 * or is empty. */
enum bl_rc search_refuse(struct bl_error *err, const char *before, struct bl_str value, const char *wrong);
/* An indented outline of the tree, for people. */
void search_explain(const struct search_node *tree, struct bl_buf *out);
/* The smallest range of time_us outside of which the tree cannot match; narrows what the caller put there. */
void search_range(const struct search_node *tree, int64_t *from_us, int64_t *to_us);
/* Can nothing match, because a handle in it is unknown? */
bool search_never(const struct search_node *tree);
void search_clause(struct search_sql *sql, const struct search_node *tree);
void search_sql_release(struct search_sql *sql);
/* Has a needle that begins or ends with this character to begin or end a word in the text, where it counts (--exact)?
 */
bool search_is_edge(unsigned code);
/* Appends a condition: `column`'s text contains `needle` literally, case apart. */
void search_contains(struct search_sql *sql, const char *column, struct bl_str needle);
/* Case counts, and a letter at an edge of `needle` is the edge of a word in the text. */
void search_contains_exactly(struct search_sql *sql, const char *column, struct bl_str needle);

void search_bind_text(struct search_sql *sql, struct bl_str s);
void search_bind_i64(struct search_sql *sql, int64_t i);
