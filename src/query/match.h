/* match: which rows of a block of the index a search wants. Private to the query room.
 *
 * The same meaning as search_clause gives a row in SQL, decided from the index alone. Rows are a set, one bit a row: a
 * node is given the rows still in question and leaves those of which it holds, so that what stands behind an AND looks
 * at little. Text and labels of a block are unpacked when a term first needs them, and not at all where the block's
 * bloom says that a word is not there.
 * tests/unit/query/match_test.c compares the two meanings over hostile values. */
#pragma once
#include "index/scan.h"
#include "index/segment.h"
#include "query/search.h"

struct match_rows {
    uint64_t bits[SEGMENT_WORDS];
};
static inline bool match_has(const struct match_rows *r, unsigned row) {
    return r->bits[row / 64] >> (row % 64) & 1;
}
static inline void match_set(struct match_rows *r, unsigned row) {
    r->bits[row / 64] |= (uint64_t)1 << (row % 64);
}
/* The first row of the set from `row` on; SEGMENT_ROWS when there is none. */
unsigned match_next(const struct match_rows *r, unsigned row);
unsigned match_count(const struct match_rows *r);

struct match {
    const struct search_node *tree; /* prepared; NULL: everything */
    bool exact;
    int64_t from_us, to_us;
    struct segment_cache *cache;
    /* The block at hand. */
    struct segment *segment;
    struct segment_block block;
    struct segment_part text, labels;
    bool has_text, has_labels;
};
/* Makes the needles of a tree's terms, once its handles are resolved. BL_E_FULL when `arena` is. */
enum bl_rc match_prepare(struct search_node *tree, struct bl_arena *arena, struct bl_error *err);
/* The posts of block `number` that match and are of [from_us, to_us]; m->block is the block then. */
enum bl_rc match_block(struct match *m, struct segment *s, size_t number, struct match_rows *rows,
                       struct bl_error *err);
void match_release(struct match *m);

/* --- For the operators --- */

/* Rows of which a text or label holds a needle. `accept`: NULL, or decides about an occurrence at `at` (labels and
 * texts lie between bytes from 0xf8 on). */
typedef bool (*match_accept)(const struct search_node *node, struct bl_str all, const char *at, size_t n);
enum bl_rc match_texts(struct match *m, const struct search_node *node, struct match_rows *rows, struct bl_error *err);
enum bl_rc match_labels(struct match *m, const struct search_node *node, match_accept accept, struct match_rows *rows,
                        struct bl_error *err);
void match_times(const struct match *m, int64_t from_us, int64_t to_us, struct match_rows *rows);
void match_flags(const struct match *m, unsigned flags, struct match_rows *rows);
/* Rows of which `holds` is true, one record after the other. */
typedef bool (*match_holds)(const struct search_node *node, const struct segment_record *record);
enum bl_rc match_records(struct match *m, const struct search_node *node, match_holds holds, struct match_rows *rows,
                         struct bl_error *err);
