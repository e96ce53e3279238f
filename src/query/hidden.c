#include "query/hidden.h"

#include <stdlib.h>

#include "query/find.h"

enum { FILTER_BITS = 8 };
struct slot {
    uint64_t key; /* 0: free; a key of 0 is kept as 1 */
    int64_t time_us, seq;
    bool active;
};
struct table {
    struct slot *slots;
    uint64_t *filter;   /* FILTER_BITS bits a slot: what is not in the table is mostly known by one of them */
    size_t count, room; /* room: a power of two */
};
struct hidden {
    struct table changes, accounts;
    struct id_list posts_read, accounts_read;
    int64_t snapshot;
    size_t inactive;
};

static struct slot *slot_of(const struct table *t, uint64_t key) {
    size_t i = key & (t->room - 1);
    while (t->slots[i].key && t->slots[i].key != key) i = (i + 1) & (t->room - 1);
    return &t->slots[i];
}

static uint64_t *filter_word(const struct table *t, uint64_t key, uint64_t *bit) {
    uint64_t at = (key >> 24) & (t->room * FILTER_BITS - 1); /* other bits of the hash than choose the slot */
    *bit = (uint64_t)1 << at % 64;
    return &t->filter[at / 64];
}

static bool may_hold(const struct table *t, uint64_t key) {
    uint64_t bit;
    return t->room && *filter_word(t, key, &bit) & bit;
}

static void put(struct table *t, struct slot s) {
    uint64_t bit;
    *slot_of(t, s.key) = s;
    *filter_word(t, s.key, &bit) |= bit;
}

static void grow(struct table *t) {
    struct table bigger = {.room = t->room ? t->room * 2 : 1024, .count = t->count};
    bigger.slots = bl_xcalloc(bigger.room, sizeof *bigger.slots);
    bigger.filter = bl_xcalloc(bigger.room * FILTER_BITS / 64, sizeof *bigger.filter);
    for (size_t i = 0; i < t->room; i++)
        if (t->slots[i].key) put(&bigger, t->slots[i]);
    free(t->slots);
    free(t->filter);
    *t = bigger;
}

/* The newest of each key stays. */
static void note(struct table *t, struct slot s) {
    if (t->count * 2 >= t->room) grow(t);
    if (s.key == 0) s.key = 1;
    const struct slot *at = slot_of(t, s.key);
    if (at->key && (at->time_us > s.time_us || (at->time_us == s.time_us && at->seq > s.seq))) return;
    t->count += at->key == 0;
    put(t, s);
}

void hidden_close(struct hidden **h) {
    if (!*h) return;
    free((*h)->changes.slots);
    free((*h)->changes.filter);
    free((*h)->accounts.slots);
    free((*h)->accounts.filter);
    free((*h)->posts_read.ids);
    free((*h)->accounts_read.ids);
    free(*h);
    *h = NULL;
}

bool hidden_is(const struct hidden *h, uint64_t key, uint64_t account, int64_t time_us) {
    if (key == 0) key = 1;
    if (account == 0) account = 1;
    if (may_hold(&h->changes, key)) {
        const struct slot *s = slot_of(&h->changes, key);
        if (s->key && s->time_us > time_us) return true;
    }
    if (!h->inactive || !may_hold(&h->accounts, account)) return false;
    const struct slot *s = slot_of(&h->accounts, account);
    return s->key && !s->active;
}

static int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_known(const struct id_list *known, int64_t id) {
    return known->count && bsearch(&id, known->ids, known->count, sizeof id, by_id);
}

static void remember(struct id_list *known, int64_t id) {
    size_t at = known->count;
    known->ids = bl_xrealloc(known->ids, (known->count + 1) * sizeof *known->ids);
    while (at && known->ids[at - 1] > id) at--;
    memmove(known->ids + at + 1, known->ids + at, (known->count++ - at) * sizeof *known->ids);
    known->ids[at] = id;
}

/* The files of a type that are not in the tables yet, built where the index lacks them; free(). */
static size_t new_files(struct query *q, enum ev_type type, const struct id_list *known, int64_t from_us,
                        const struct catalog_file ***out) {
    size_t count = session_files(q, type, from_us, INT64_MAX, out), kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_known(known, (*out)[i]->id)) (*out)[kept++] = (*out)[i];
    find_prepare(q, *out, kept);
    return kept;
}

static enum bl_rc read_changes(struct hidden *h, struct segment *s, struct bl_error *err) {
    for (size_t i = 0; i < segment_blocks(s); i++) {
        struct segment_block b;
        BL_TRY(segment_block(s, i, &b, err));
        for (unsigned row = 0; row < b.rows; row++)
            if (b.flags[row] & SEGMENT_CHANGE)
                note(&h->changes, (struct slot){.key = b.keys[row], .time_us = segment_time(&b, row)});
    }
    return BL_OK;
}

/* A compacted file repeats what is known already, which changes nothing. */
static enum bl_rc add_changes(struct query *q, int64_t from_us, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = new_files(q, EV_posts, &q->hidden->posts_read, from_us, &files);
    for (size_t i = 0; i < count; i++) {
        struct segment *s;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(index_segment(q->index, q->duck, files[i], &s, err));
        enum bl_rc rc = read_changes(q->hidden, s, err);
        if (rc == BL_E_CORRUPT) index_note_damaged(q->index, s);
        BL_TRY(rc);
        remember(&q->hidden->posts_read, files[i]->id);
    }
    return BL_OK;
}

static void read_accounts(struct hidden *h, const struct roster *r) {
    for (size_t i = 0; i < roster_count(r); i++) {
        struct roster_entry e;
        roster_at(r, i, &e);
        if (e.active < 0) continue;
        note(&h->accounts,
             (struct slot){
                 .key = roster_account(r, i), .time_us = e.active_us, .seq = e.active_seq, .active = e.active != 0});
    }
}

static enum bl_rc add_accounts(struct query *q, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = new_files(q, EV_accounts, &q->hidden->accounts_read, INT64_MIN, &files);
    for (size_t i = 0; i < count; i++) {
        struct roster *r;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(index_roster(q->index, q->duck, files[i], &r, err));
        read_accounts(q->hidden, r);
        remember(&q->hidden->accounts_read, files[i]->id);
    }
    q->hidden->inactive = 0;
    for (size_t i = 0; i < q->hidden->accounts.room; i++)
        q->hidden->inactive += q->hidden->accounts.slots[i].key && !q->hidden->accounts.slots[i].active;
    return BL_OK;
}

enum bl_rc hidden_refresh(struct query *q, int64_t from_us, struct bl_error *err) {
    if (!q->hidden) {
        q->hidden = bl_xcalloc(1, sizeof *q->hidden);
        q->hidden->snapshot = -1;
    }
    BL_TRY(add_changes(q, from_us, err));
    if (q->hidden->snapshot == q->snapshot) return BL_OK;
    BL_TRY(add_accounts(q, err));
    q->hidden->snapshot = q->snapshot;
    return BL_OK;
}
