#include "query/match.h"

static bool is_empty(const struct match_rows *r) {
    uint64_t any = 0;
    for (unsigned i = 0; i < SEGMENT_WORDS; i++) any |= r->bits[i];
    return any == 0;
}

unsigned match_next(const struct match_rows *r, unsigned row) {
    if (row >= SEGMENT_ROWS) return SEGMENT_ROWS;
    uint64_t word = r->bits[row / 64] & ~(uint64_t)0 << (row % 64);
    for (unsigned i = row / 64;; word = r->bits[i]) {
        if (word) return i * 64 + (unsigned)__builtin_ctzll(word);
        if (++i == SEGMENT_WORDS) return SEGMENT_ROWS;
    }
}

unsigned match_count(const struct match_rows *r) {
    unsigned n = 0;
    for (unsigned i = 0; i < SEGMENT_WORDS; i++) n += (unsigned)__builtin_popcountll(r->bits[i]);
    return n;
}

/* --- Terms --- */

/* Occurrences come in order, and so do the rows they fall into. `wanted`: rows still in question. */
struct occurrences {
    const struct segment_part *part;
    const struct search_node *node;
    match_accept accept;
    const struct match_rows *wanted;
    struct match_rows *found;
};

static const char *row_start(const struct segment_part *p, unsigned row) {
    return p->all.p + (row ? p->ends[row - 1] : 0);
}

/* The first occurrence within one row that is accepted. */
static bool stands_in(const struct occurrences *o, const struct scan_needle *n, const char *from, const char *end) {
    for (const char *at = from; (at = scan_find(n, at, end)) != NULL; at++)
        if (!o->accept || o->accept(o->node, o->part->all, at, n->s.n)) return true;
    return false;
}

static void look_in_each(const struct occurrences *o, const struct scan_needle *n) {
    for (unsigned row = match_next(o->wanted, 0); row < SEGMENT_ROWS; row = match_next(o->wanted, row + 1))
        if (stands_in(o, n, row_start(o->part, row), o->part->all.p + o->part->ends[row])) match_set(o->found, row);
}

/* The row that holds byte `at`: a few steps ahead of the last one, else by halving. */
static unsigned row_of(const struct segment_part *p, unsigned from, unsigned rows, uint32_t at) {
    unsigned low = from, high = rows;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (p->ends[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void look_in_all(const struct occurrences *o, const struct scan_needle *n, unsigned rows) {
    const char *at = o->part->all.p, *end = at + o->part->all.n;
    for (unsigned row = 0; (at = scan_find(n, at, end)) != NULL;) {
        row = row_of(o->part, row, rows, (uint32_t)(at - o->part->all.p));
        bool holds = match_has(o->wanted, row) && (!o->accept || o->accept(o->node, o->part->all, at, n->s.n));
        if (holds) match_set(o->found, row);
        at = holds || !match_has(o->wanted, row) ? o->part->all.p + o->part->ends[row] : at + 1;
    }
}

static void look(const struct match *m, const struct segment_part *part, const struct search_node *node,
                 match_accept accept, struct match_rows *rows) {
    struct match_rows found = {0};
    struct occurrences o = {part, node, accept, rows, &found};
    bool few = match_count(rows) < m->block.rows / 16;
    for (size_t i = 0; i < node->needle_count; i++) {
        if (few)
            look_in_each(&o, &node->needles[i]);
        else
            look_in_all(&o, &node->needles[i], m->block.rows);
    }
    *rows = found;
}

enum bl_rc match_texts(struct match *m, const struct search_node *node, struct match_rows *rows, struct bl_error *err) {
    if (!m->has_text) BL_TRY(segment_text(m->segment, m->block.number, &m->text, err));
    m->has_text = true;
    look(m, &m->text, node, NULL, rows);
    return BL_OK;
}

enum bl_rc match_labels(struct match *m, const struct search_node *node, match_accept accept, struct match_rows *rows,
                        struct bl_error *err) {
    if (!m->has_labels) BL_TRY(segment_labels(m->segment, m->block.number, &m->labels, err));
    m->has_labels = true;
    look(m, &m->labels, node, accept, rows);
    return BL_OK;
}

void match_times(const struct match *m, int64_t from_us, int64_t to_us, struct match_rows *rows) {
    if (m->block.newest_us <= to_us && m->block.oldest_us >= from_us) return;
    for (unsigned row = 0; row < m->block.rows; row++) {
        int64_t time_us = segment_time(&m->block, row);
        if (time_us < from_us || time_us > to_us) rows->bits[row / 64] &= ~((uint64_t)1 << (row % 64));
    }
}

void match_flags(const struct match *m, unsigned flags, struct match_rows *rows) {
    for (unsigned row = 0; row < m->block.rows; row++)
        if (!(m->block.flags[row] & flags)) rows->bits[row / 64] &= ~((uint64_t)1 << (row % 64));
}

enum bl_rc match_records(struct match *m, const struct search_node *node, match_holds holds, struct match_rows *rows,
                         struct bl_error *err) {
    for (unsigned row = match_next(rows, 0); row < SEGMENT_ROWS; row = match_next(rows, row + 1)) {
        struct segment_record record;
        BL_TRY(segment_record(m->segment, m->block.number, row, m->cache, &record, err));
        if (!holds(node, &record)) rows->bits[row / 64] &= ~((uint64_t)1 << (row % 64));
    }
    return BL_OK;
}

/* --- Trees --- */

static enum bl_rc narrow(struct match *m, const struct search_node *node, struct match_rows *rows,
                         struct bl_error *err) {
    if (is_empty(rows)) return BL_OK;
    if (node->kind == SEARCH_TERM) return node->op->match(m, node, rows, err);
    struct match_rows rest = *rows, any = {0};
    for (const struct search_node *child = node->first; child; child = child->next) {
        if (node->kind == SEARCH_AND) {
            BL_TRY(narrow(m, child, rows, err));
            continue;
        }
        struct match_rows of_child = rest;
        BL_TRY(narrow(m, child, &of_child, err));
        for (unsigned i = 0; i < SEGMENT_WORDS; i++) {
            any.bits[i] |= of_child.bits[i];
            rest.bits[i] &= ~of_child.bits[i];
        }
    }
    if (node->kind == SEARCH_OR) *rows = any;
    if (node->kind == SEARCH_NOT) *rows = rest;
    return BL_OK;
}

/* False where the bloom knows that nothing in the block matches. */
static enum bl_rc may_match(struct match *m, const struct search_node *node, size_t number, bool *may,
                            struct bl_error *err) {
    *may = true;
    if (node->kind == SEARCH_TERM)
        return node->op == &search_word ? segment_may_hold(m->segment, number, node->needles[0].s, may, err) : BL_OK;
    if (node->kind == SEARCH_NOT) return BL_OK;
    for (const struct search_node *child = node->first; child; child = child->next) {
        BL_TRY(may_match(m, child, number, may, err));
        if (*may == (node->kind == SEARCH_OR)) return BL_OK;
    }
    return BL_OK;
}

static void start_rows(const struct match *m, struct match_rows *rows) {
    *rows = (struct match_rows){0};
    for (unsigned row = 0; row < m->block.rows; row++)
        rows->bits[row / 64] |= (uint64_t) !(m->block.flags[row] & SEGMENT_DELETE) << (row % 64);
    match_times(m, m->from_us, m->to_us, rows);
}

enum bl_rc match_block(struct match *m, struct segment *s, size_t number, struct match_rows *rows,
                       struct bl_error *err) {
    bool may = true;
    m->segment = s;
    m->has_text = m->has_labels = false;
    *rows = (struct match_rows){0};
    if (m->tree) BL_TRY(may_match(m, m->tree, number, &may, err));
    if (!may) return BL_OK;
    BL_TRY(segment_block(s, number, &m->block, err));
    start_rows(m, rows);
    return m->tree ? narrow(m, m->tree, rows, err) : BL_OK;
}

enum bl_rc match_prepare(struct search_node *node, struct bl_arena *arena, struct bl_error *err) {
    if (!node) return BL_OK;
    for (struct search_node *child = node->first; child; child = child->next) BL_TRY(match_prepare(child, arena, err));
    if (node->kind != SEARCH_TERM || !node->op->prepare || node->op->prepare(node, arena)) return BL_OK;
    return bl_fail(err, BL_E_FULL, "the search needs more memory than a question may use: make it shorter");
}

void match_release(struct match *m) {
    segment_part_release(&m->text);
    segment_part_release(&m->labels);
}
