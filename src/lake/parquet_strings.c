#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "lake/parquet_priv.h"

enum { FIRST_SLOTS = 256, FIRST_REVIEW = 32768 };

void *pq_grow(void *p, size_t *cap, size_t need, size_t size, int64_t *memory) {
    if (need <= *cap) return p;
    size_t wanted = *cap + *cap / 2;
    if (wanted < need) wanted = need;
    if (wanted < 64) wanted = 64;
    *memory += (int64_t)((wanted - *cap) * size);
    *cap = wanted;
    return bl_xrealloc(p, wanted * size);
}

/* Estimated bytes after compression. Identifiers and text alike come out near 0.6 of their size; indices hardly
 * shrink. */
bool pq_strings_dictionary_pays(const struct pq_strings *s) {
    if (s->plain || s->entry_n == 0) return false;
    double index = (double)s->n * pq_bits_for(s->entry_n - 1) / 8;
    return 0.6 * (double)s->heap_n + index < 0.95 * 0.6 * (double)s->bytes + 16;
}

static void append_heap(struct pq_strings *s, struct bl_str v, int64_t *memory) {
    if (s->heap_cap - s->heap_n < v.n) s->heap = pq_grow(s->heap, &s->heap_cap, s->heap_n + v.n, 1, memory);
    if (v.n) memcpy(s->heap + s->heap_n, v.p, v.n);
    s->heap_n += v.n;
}

static void drop_index(struct pq_strings *s, int64_t *memory) {
    *memory -= (int64_t)(s->slot_count * sizeof *s->slot + s->entry_cap * sizeof *s->entry);
    free(s->slot);
    free(s->entry);
    s->slot = NULL;
    s->entry = NULL;
    s->slot_count = s->entry_n = s->entry_cap = 0;
}

static void become_plain(struct pq_strings *s, int64_t *memory) {
    struct pq_strings old = *s;
    s->heap = NULL;
    s->heap_n = s->heap_cap = 0;
    s->heap = pq_grow(NULL, &s->heap_cap, (size_t)old.bytes, 1, memory);
    for (size_t i = 0; i < s->n; i++) {
        struct pq_entry e = old.entry[s->v[i]];
        append_heap(s, bl_strn(old.heap + e.offset, e.length), memory);
        s->v[i] = e.length;
    }
    *memory -= (int64_t)old.heap_cap;
    free(old.heap);
    drop_index(s, memory);
    s->plain = true;
}

static void grow_slots(struct pq_strings *s, int64_t *memory) {
    size_t count = s->slot_count ? s->slot_count * 2 : FIRST_SLOTS;
    struct pq_slot *slot = bl_xcalloc(count, sizeof *slot);
    for (size_t i = 0; i < s->slot_count; i++) {
        if (s->slot[i].entry == 0) continue;
        size_t at = s->slot[i].hash & (count - 1);
        while (slot[at].entry) at = (at + 1) & (count - 1);
        slot[at] = s->slot[i];
    }
    free(s->slot);
    *memory += (int64_t)((count - s->slot_count) * sizeof *slot);
    s->slot = slot;
    s->slot_count = count;
}

static uint32_t hash_of(struct bl_str v) { return (uint32_t)XXH3_64bits(v.n ? v.p : "", v.n); }

/* There is room for one more entry. */
static uint32_t intern(struct pq_strings *s, struct bl_str v, uint32_t hash, int64_t *memory) {
    size_t mask = s->slot_count - 1, at = hash & mask;
    for (; s->slot[at].entry; at = (at + 1) & mask) {
        if (s->slot[at].hash != hash) continue;
        struct pq_entry e = s->entry[s->slot[at].entry - 1];
        if (e.length == v.n && (v.n == 0 || memcmp(s->heap + e.offset, v.p, v.n) == 0)) return s->slot[at].entry - 1;
    }
    if (s->entry_n == s->entry_cap)
        s->entry = pq_grow(s->entry, &s->entry_cap, s->entry_n + 1, sizeof *s->entry, memory);
    uint32_t entry = (uint32_t)s->entry_n++;
    s->entry[entry] = (struct pq_entry){.offset = (uint32_t)s->heap_n, .length = (uint32_t)v.n};
    append_heap(s, v, memory);
    s->slot[at] = (struct pq_slot){.hash = hash, .entry = entry + 1};
    return entry;
}

static void add_interned(struct pq_strings *s, struct bl_str v, uint32_t hash, int64_t *memory) {
    if (s->n == s->cap) s->v = pq_grow(s->v, &s->cap, s->n + 1, sizeof *s->v, memory);
    s->v[s->n] = intern(s, v, hash, memory);
    s->n++;
}

static void make_room(struct pq_strings *s, size_t entries, int64_t *memory) {
    while ((s->entry_n + entries) * 3 >= s->slot_count * 2) grow_slots(s, memory);
}

static const struct pq_entry *likely_entry(const struct pq_strings *s, uint32_t hash) {
    const struct pq_slot *slot = &s->slot[hash & (s->slot_count - 1)];
    return slot->entry && slot->hash == hash ? &s->entry[slot->entry - 1] : NULL;
}

void pq_strings_settle(struct pq_strings *s, int64_t *memory) {
    struct pq_pending *p = s->pending;
    if (!p || p->n == 0) return;
    make_room(s, p->n, memory);
    for (size_t i = 0; i < p->n; i++) __builtin_prefetch(&s->slot[p->item[i].hash & (s->slot_count - 1)]);
    for (size_t i = 0; i < p->n; i++) __builtin_prefetch(likely_entry(s, p->item[i].hash));
    for (size_t i = 0; i < p->n; i++) {
        const struct pq_entry *e = likely_entry(s, p->item[i].hash);
        if (!e) continue;
        __builtin_prefetch(s->heap + e->offset);
        __builtin_prefetch(s->heap + e->offset + e->length);
    }
    for (size_t i = 0; i < p->n; i++)
        add_interned(s, bl_strn(p->bytes + p->item[i].offset, p->item[i].length), p->item[i].hash, memory);
    p->n = p->used = 0;
}

/* Columns of unique values (record keys, text) show themselves early; keeping their dictionary would cost a hash and a
 * cache miss a value. A column with some repetition keeps it: repetition grows with the number of rows. */
static void review(struct pq_strings *s, int64_t *memory) {
    while (s->review <= s->n) s->review *= 2;
    if (s->entry_n > s->n - s->n / 16) become_plain(s, memory);
}

static void add_plain(struct pq_strings *s, struct bl_str v, int64_t *memory) {
    if (s->n == s->cap) s->v = pq_grow(s->v, &s->cap, s->n + 1, sizeof *s->v, memory);
    append_heap(s, v, memory);
    s->v[s->n++] = (uint32_t)v.n;
}

static void add_pending(struct pq_strings *s, struct bl_str v) {
    struct pq_pending *p = s->pending;
    p->item[p->n].hash = hash_of(v);
    p->item[p->n].offset = (uint32_t)p->used;
    p->item[p->n].length = (uint32_t)v.n;
    if (v.n) memcpy(p->bytes + p->used, v.p, v.n);
    p->used += v.n;
    p->n++;
}

static void add_to_dictionary(struct pq_strings *s, struct bl_str v, int64_t *memory) {
    if (!s->pending) {
        s->pending = bl_xcalloc(1, sizeof *s->pending);
        *memory += (int64_t)sizeof *s->pending;
        s->review = FIRST_REVIEW;
    }
    if (s->pending->n < PQ_PENDING && PQ_PENDING_BYTES - s->pending->used >= v.n) {
        add_pending(s, v);
        return;
    }
    pq_strings_settle(s, memory);
    make_room(s, 1, memory);
    add_interned(s, v, hash_of(v), memory);
    if (s->n >= s->review) review(s, memory);
}

void pq_strings_add(struct pq_strings *s, struct bl_str v, int64_t *memory) {
    if (v.n > INT32_MAX - 64 || s->heap_n + PQ_PENDING_BYTES + v.n > UINT32_MAX) {
        s->overflow = true;
        v = (struct bl_str){0};
    }
    s->bytes += v.n;
    if (s->plain) add_plain(s, v, memory);
    else add_to_dictionary(s, v, memory);
}

void pq_strings_release(struct pq_strings *s, int64_t *memory) {
    drop_index(s, memory);
    *memory -= (int64_t)(s->heap_cap + s->cap * sizeof *s->v + (s->pending ? sizeof *s->pending : 0));
    free(s->heap);
    free(s->v);
    free(s->pending);
    *s = (struct pq_strings){0};
}
