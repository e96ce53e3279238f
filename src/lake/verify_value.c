#include "lake/verify_priv.h"

#include "event/json.h"

#include <stdlib.h>
#include <xxhash.h>

enum { SEED_SCALAR = 1, SEED_STRING, SEED_UNPAIRED, SEED_ARRAY, SEED_OBJECT };

struct value_member {
    uint64_t key, value;
    size_t order; /* of duplicate keys the last one counts */
};

static uint64_t combine(uint64_t a, uint64_t b) {
    uint64_t both[2] = {a, b};
    return XXH3_64bits(both, sizeof both);
}

static uint64_t string_hash(struct value_hasher *h, struct js_string s) {
    if (!s.escaped) return XXH3_64bits_withSeed(s.raw.p, s.raw.n, SEED_STRING);
    size_t n = 0;
    bl_buf_clear(&h->text);
    if (bl_buf_reserve(&h->text, s.raw.n) && js_unescape_into(s, h->text.p, &n))
        return XXH3_64bits_withSeed(h->text.p, n, SEED_STRING);
    return XXH3_64bits_withSeed(s.raw.p, s.raw.n, SEED_UNPAIRED);
}

static uint64_t hash_at(struct value_hasher *h, struct js_cursor *c);

static uint64_t array_hash(struct value_hasher *h, struct js_cursor *c) {
    uint64_t hash = SEED_ARRAY;
    bool first = true;
    if (js_array(c))
        while (js_element(c, &first)) hash = combine(hash, hash_at(h, c));
    return hash;
}

static void push(struct value_hasher *h, struct value_member m) {
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 64;
        h->members = bl_xrealloc(h->members, h->capacity * sizeof *h->members);
    }
    h->members[h->count++] = m;
}

static int by_key(const void *a, const void *b) {
    const struct value_member *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Nearly all objects have a handful of members, for which a call of qsort costs more than the sorting. */
static void sort_members(struct value_member *m, size_t n) {
    if (n > 16) {
        qsort(m, n, sizeof *m, by_key);
        return;
    }
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && by_key(&m[j - 1], &m[j]) > 0; j--) {
            struct value_member swapped = m[j];
            m[j] = m[j - 1];
            m[j - 1] = swapped;
        }
}

static uint64_t object_hash(struct value_hasher *h, struct js_cursor *c) {
    size_t start = h->count;
    struct js_string key;
    bool first = true;
    if (js_object(c))
        while (js_member(c, &key, &first)) {
            uint64_t key_hash = string_hash(h, key);
            uint64_t value = hash_at(h, c);
            push(h, (struct value_member){key_hash, value, h->count});
        }
    size_t n = h->count - start;
    uint64_t hash = SEED_OBJECT;
    if (n) sort_members(h->members + start, n);
    for (size_t i = 0; i < n; i++) {
        const struct value_member *m = &h->members[start + i];
        if (i + 1 < n && m[1].key == m->key) continue;
        hash = combine(hash, combine(m->key, m->value));
    }
    h->count = start;
    return hash;
}

/* Recursion is bounded by the cursor's depth limit. */
static uint64_t hash_at(struct value_hasher *h, struct js_cursor *c) {
    struct js_string s;
    struct bl_str raw = {0};
    switch (js_peek(c)) {
    case JS_OBJECT: return object_hash(h, c);
    case JS_ARRAY: return array_hash(h, c);
    case JS_STRING: return js_string(c, &s) ? string_hash(h, s) : 0;
    default: js_skip(c, &raw, NULL); return XXH3_64bits_withSeed(raw.p, raw.n, SEED_SCALAR);
    }
}

uint64_t value_hash(struct value_hasher *h, struct bl_str json) {
    struct js_cursor c = js_open(json, EV_DEPTH_MAX + 8);
    h->count = 0;
    return hash_at(h, &c);
}

void value_hasher_release(struct value_hasher *h) {
    bl_buf_release(&h->text);
    free(h->members);
    *h = (struct value_hasher){0};
}
