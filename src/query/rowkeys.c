#include "query/rowkeys.h"

#include <stdlib.h>

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct rowkeys rowkeys_of(const uint64_t *keys, size_t count) {
    enum { FILTER_MIN = 1 << 14, BITS_A_KEY = 64 };
    uint64_t bits = FILTER_MIN;
    while (bits < count * BITS_A_KEY) bits *= 2;
    struct rowkeys k = {.keys = bl_xcalloc(count + 1, sizeof *k.keys),
                        .filter = bl_xcalloc(bits / 64, sizeof *k.filter),
                        .mask = bits - 1};
    memcpy(k.keys, keys, count * sizeof *keys);
    if (count) qsort(k.keys, count, sizeof *k.keys, by_key);
    for (size_t i = 0; i < count; i++) {
        if (k.count && k.keys[k.count - 1] == k.keys[i]) continue;
        k.keys[k.count++] = k.keys[i];
        k.filter[(k.keys[k.count - 1] & k.mask) / 64] |= (uint64_t)1 << (k.keys[k.count - 1] % 64);
    }
    return k;
}

void rowkeys_release(struct rowkeys *k) {
    free(k->keys);
    free(k->filter);
}

static bool is_in(const struct rowkeys *k, uint64_t key) {
    if (!(k->filter[(key & k->mask) / 64] >> (key % 64) & 1)) return false;
    return bsearch(&key, k->keys, k->count, sizeof key, by_key);
}

static enum bl_rc find_in(const struct rowkeys *set, struct segment *s, int64_t from_us, key_row_fn give, void *context,
                          struct bl_error *err) {
    for (size_t i = 0; i < segment_blocks(s); i++) {
        int64_t newest_us, oldest_us;
        struct segment_block b;
        segment_span(s, i, &newest_us, &oldest_us);
        if (newest_us < from_us) return BL_OK;
        BL_TRY(segment_block(s, i, &b, err));
        for (unsigned row = 0; row < b.rows; row++) {
            if (!is_in(set, b.keys[row])) continue;
            struct key_row found = {s, i, row, b.keys[row], segment_time(&b, row)};
            if (found.time_us >= from_us) BL_TRY(give(context, &found, err));
        }
    }
    return BL_OK;
}

enum bl_rc rowkeys_find(struct query *q, const struct rowkeys *set, const struct catalog_file *const *files,
                        size_t count, int64_t from_us, key_row_fn give, void *context, struct bl_error *err) {
    for (size_t i = 0; i < count && set->count; i++) {
        struct segment *s;
        if (files[i]->max_us < from_us) continue;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(index_segment(q->index, q->duck, files[i], &s, err));
        enum bl_rc rc = find_in(set, s, from_us, give, context, err);
        if (rc == BL_E_CORRUPT) index_note_damaged(q->index, s);
        BL_TRY(rc);
    }
    return BL_OK;
}
