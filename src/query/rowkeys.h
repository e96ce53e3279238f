/* rowkeys: every row of some records, found by their names in the index. Private to the query room. */
#pragma once
#include "query/session.h"

struct rowkeys {
    uint64_t *keys; /* ascending, distinct: segment_key */
    size_t count;
    uint64_t *filter; /* a bit for the low bits of each key: most rows are passed over by it */
    uint64_t mask;
};
/* Takes `keys` in any order, repetitions included; the set has its own copy. */
struct rowkeys rowkeys_of(const uint64_t *keys, size_t count);
void rowkeys_release(struct rowkeys *k);

struct key_row {
    struct segment *segment;
    size_t block;
    unsigned row;
    uint64_t key;
    int64_t time_us;
};
typedef enum bl_rc (*key_row_fn)(void *context, const struct key_row *row, struct bl_error *err);
/* Hands out the rows of `files` from `from_us` on whose key is in the set; that the record is the one meant is for
 * the caller to see, since a hash may deceive. */
enum bl_rc rowkeys_find(struct query *q, const struct rowkeys *set, const struct catalog_file *const *files,
                        size_t count, int64_t from_us, key_row_fn give, void *context, struct bl_error *err);
