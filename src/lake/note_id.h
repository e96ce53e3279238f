/* note_id: the order of Redis stream ids, MS-N. May include: base. Pure. */
#pragma once
#include "base/str.h"

static inline bool note_id_is_behind(const char *id, const char *other) {
    struct bl_str x = bl_str(id), y = bl_str(other);
    for (int part = 0; part < 2; part++) {
        uint64_t m = 0, n = 0;
        if (!bl_parse_u64(bl_str_cut(&x, '-'), UINT64_MAX, &m)) m = 0;
        if (!bl_parse_u64(bl_str_cut(&y, '-'), UINT64_MAX, &n)) n = 0;
        if (m != n) return m > n;
    }
    return false;
}

/* How many of the ids lie behind *last, which becomes the newest of them. */
static inline int64_t note_ids_behind(const char *const *ids, size_t count, const char **last) {
    int64_t behind = 0;
    for (size_t i = 0; i < count; i++) {
        if (!note_id_is_behind(ids[i], *last)) continue;
        *last = ids[i];
        behind++;
    }
    return behind;
}
