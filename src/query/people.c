#include "query/people.h"

#include <stdlib.h>
#include <strings.h>

#include "query/find.h"
#include "query/views_store.h"

/* What the views' store knows is taken from there; rows of files it has not read yet are read from the files, and the
 * newest of both counts. So an answer is right without a store, with an old one, and soon with a new one. */

static struct bl_str keep(struct bl_arena *arena, struct bl_str s) {
    if (!s.p) return s;
    struct bl_str copy = bl_arena_dup(arena, s);
    return copy.p ? copy : BL_LIT("");
}

static int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum bl_rc reload_known(struct query *q, enum ev_type type, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct store_file *files = NULL;
    struct id_list *known = &q->stored[type];
    size_t count;
    BL_TRY(store_files(q->store, (int)type, &files, &count, err));
    known->ids = bl_xrealloc(known->ids, (count + 1) * sizeof *known->ids);
    known->count = count;
    for (size_t i = 0; i < count; i++) known->ids[i] = files[i].id;
    return BL_OK;
}

static enum bl_rc sync_store(struct query *q, struct bl_error *err) {
    int64_t generation;
    if (!q->store) BL_TRY(store_open(q->dir, STORE_READ, &q->store, err));
    if (!q->store) return BL_OK;
    BL_TRY(store_get(q->store, "generation", 0, &generation, err));
    if (generation == q->store_generation) return BL_OK;
    BL_TRY(reload_known(q, EV_accounts, err));
    BL_TRY(reload_known(q, EV_profiles, err));
    q->store_generation = generation;
    return BL_OK;
}

/* The files of a type that the store has not read; free(). */
static size_t unread_files(struct query *q, enum ev_type type, const struct catalog_file ***out) {
    const struct id_list *known = &q->stored[type];
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, out), kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!known->count || !bsearch(&(*out)[i]->id, known->ids, known->count, sizeof *known->ids, by_id))
            (*out)[kept++] = (*out)[i];
    find_prepare(q, *out, kept);
    return kept;
}

/* --- Who the asked for are --- */

struct state { /* the newest word on one account */
    struct store_account account;
    struct store_profile profile;
};
struct asked {
    struct bl_str *dids; /* distinct, sorted */
    uint64_t *accounts;  /* segment_account of each */
    struct state *states;
    size_t count;
};
struct lookup {
    struct query *q;
    struct bl_arena *arena;
    struct asked asked;
};

static int by_text(const void *a, const void *b) {
    return bl_str_cmp(*(const struct bl_str *)a, *(const struct bl_str *)b);
}

static struct asked distinct(const struct bl_str *dids, size_t count) {
    struct asked a = {.dids = bl_xcalloc(count, sizeof *a.dids),
                      .accounts = bl_xcalloc(count, sizeof *a.accounts),
                      .states = bl_xcalloc(count, sizeof *a.states)};
    memcpy(a.dids, dids, count * sizeof *dids);
    qsort(a.dids, count, sizeof *a.dids, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !bl_str_eq(a.dids[i], a.dids[i - 1])) a.dids[a.count++] = a.dids[i];
    for (size_t i = 0; i < a.count; i++) {
        a.accounts[i] = segment_account(a.dids[i]);
        a.states[i].account.active = -1;
    }
    return a;
}

static void release_lookup(struct lookup *l) {
    free(l->asked.dids);
    free(l->asked.accounts);
    free(l->asked.states);
}

static enum bl_rc ask_store(struct lookup *l, struct bl_error *err) {
    for (size_t i = 0; i < l->asked.count && l->q->store; i++) {
        struct state found;
        bool known;
        BL_TRY(store_account(l->q->store, l->asked.dids[i], l->arena, &found.account, &found.profile, &known, err));
        if (known) l->asked.states[i] = found;
    }
    return BL_OK;
}

static bool is_newer(int64_t us, int64_t seq, int64_t than_us, int64_t than_seq) {
    return us > than_us || (us == than_us && seq >= than_seq);
}

static void note_account(struct lookup *l, struct state *s, const struct roster_entry *e) {
    struct store_account *a = &s->account;
    if (e->handle.p && (!a->handle.p || is_newer(e->handle_us, e->handle_seq, a->handle_us, a->handle_seq))) {
        a->handle = keep(l->arena, e->handle);
        a->handle_us = e->handle_us;
        a->handle_seq = e->handle_seq;
    }
    if (e->active >= 0 && (a->active < 0 || is_newer(e->active_us, e->active_seq, a->active_us, a->active_seq))) {
        a->active = e->active;
        a->status = keep(l->arena, e->status);
        a->active_us = e->active_us;
        a->active_seq = e->active_seq;
    }
}

static void note_profile(struct lookup *l, struct state *s, const struct roster_entry *e) {
    struct store_profile *p = &s->profile;
    if (p->us && !is_newer(e->profile_us, bl_str_cmp(e->rev, p->rev), p->us, 0)) return;
    *p = (struct store_profile){.us = e->profile_us,
                                .rev = keep(l->arena, e->rev),
                                .deleted = e->deleted,
                                .name = keep(l->arena, e->name),
                                .description = keep(l->arena, e->description)};
}

static enum bl_rc ask_unread(struct lookup *l, enum ev_type type, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = unread_files(l->q, type, &files);
    for (size_t i = 0; i < count; i++) {
        struct roster *r;
        struct roster_entry e;
        BL_TRY(watchdog_check(l->q->watchdog, err));
        BL_TRY(index_roster(l->q->index, l->q->duck, files[i], &r, err));
        for (size_t k = 0; k < l->asked.count; k++)
            if (roster_find(r, l->asked.dids[k], l->asked.accounts[k], &e))
                (type == EV_accounts ? note_account : note_profile)(l, &l->asked.states[k], &e);
    }
    return BL_OK;
}

static enum bl_rc ask_files(struct lookup *l, struct bl_error *err) {
    BL_TRY(ask_unread(l, EV_accounts, err));
    return ask_unread(l, EV_profiles, err);
}

static struct person person_of(const struct state *s) {
    struct person p = {.handle = s->account.handle,
                       .status = s->account.status,
                       .hidden = s->account.active == 0,
                       .has_profile = s->profile.us != 0,
                       .handle_us = s->account.handle_us};
    if (s->profile.deleted) return p;
    p.display_name = s->profile.name;
    p.description = s->profile.description;
    return p;
}

/* --- Who was asked for before --- */

enum { KEPT = 1 << 16, KEPT_BYTES = 16 << 20 };
struct people { /* as of one snapshot of the lake and one state of the store */
    int64_t snapshot, generation;
    size_t count;
    struct bl_arena arena;
    struct {
        struct bl_str did; /* p == NULL: free */
        struct person person;
    } slots[KEPT];
};

void people_close(struct people **p) {
    if (*p) bl_arena_release(&(*p)->arena);
    free(*p);
    *p = NULL;
}

/* What is kept is of this moment, and has room for `count` more. */
static void make_current(struct query *q, size_t count) {
    if (!q->people) q->people = bl_xcalloc(1, sizeof *q->people);
    struct people *p = q->people;
    bool fits = p->count + count <= KEPT / 4 * 3 && p->arena.used < KEPT_BYTES;
    if (fits && p->snapshot == q->snapshot && p->generation == q->store_generation) return;
    bl_arena_reset(&p->arena);
    memset(p->slots, 0, sizeof p->slots);
    p->count = 0;
    p->snapshot = q->snapshot;
    p->generation = q->store_generation;
}

static size_t slot_of(const struct people *p, struct bl_str did) {
    size_t i = segment_account(did) % KEPT;
    while (p->slots[i].did.p && !bl_str_eq(p->slots[i].did, did)) i = (i + 1) % KEPT;
    return i;
}

static struct person copy_person(const struct person *p, struct bl_arena *arena) {
    return (struct person){.handle = keep(arena, p->handle),
                           .display_name = keep(arena, p->display_name),
                           .description = keep(arena, p->description),
                           .status = keep(arena, p->status),
                           .hidden = p->hidden,
                           .has_profile = p->has_profile,
                           .handle_us = p->handle_us};
}

static void remember(struct people *p, struct bl_str did, const struct person *person) {
    size_t i = slot_of(p, did);
    if (p->slots[i].did.p) return;
    p->slots[i].did = keep(&p->arena, did);
    p->slots[i].person = copy_person(person, &p->arena);
    p->count++;
}

/* Those of `dids` that are not kept yet are. */
static enum bl_rc look_up(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena,
                          struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct bl_str *missing = bl_xcalloc(count, sizeof *missing);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!q->people->slots[slot_of(q->people, dids[i])].did.p) missing[n++] = dids[i];
    if (n == 0) return BL_OK;
    BL_CLEANUP(release_lookup) struct lookup l = {.q = q, .arena = arena, .asked = distinct(missing, n)};
    BL_TRY(ask_store(&l, err));
    BL_TRY(ask_files(&l, err));
    for (size_t i = 0; i < l.asked.count; i++) {
        struct person person = person_of(&l.asked.states[i]);
        remember(q->people, l.asked.dids[i], &person);
    }
    return BL_OK;
}

enum bl_rc people_lookup(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena,
                         struct person *out, struct bl_error *err) {
    enum { AT_ONCE = KEPT / 2 };
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < AT_ONCE ? count - at : AT_ONCE;
        BL_TRY(sync_store(q, err));
        make_current(q, n);
        BL_TRY(look_up(q, dids + at, n, arena, err));
        for (size_t i = at; i < at + n; i++)
            out[i] = copy_person(&q->people->slots[slot_of(q->people, dids[i])].person, arena);
    }
    return BL_OK;
}

/* --- Who bears a handle --- */

enum { CANDIDATES_MAX = 256 };

static enum bl_rc unread_candidates(struct query *q, struct bl_str handle, struct bl_arena *arena, struct bl_str *dids,
                                    size_t *count, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t file_count = unread_files(q, EV_accounts, &files);
    for (size_t i = 0; i < file_count; i++) {
        struct roster *r;
        struct roster_entry e;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(index_roster(q->index, q->duck, files[i], &r, err));
        for (size_t k = 0; *count < CANDIDATES_MAX && roster_of_handle(r, handle, k, &e); k++)
            dids[(*count)++] = keep(arena, e.did);
    }
    return BL_OK;
}

/* Whoever bore it once is a candidate; who bears it now is known by the newest event of each. */
enum bl_rc people_by_handle(struct query *q, struct bl_str handle, struct bl_arena *arena, struct bl_str *dids,
                            size_t max, size_t *count, struct bl_error *err) {
    struct bl_str candidates[CANDIDATES_MAX];
    size_t n = 0;
    *count = 0;
    BL_TRY(sync_store(q, err));
    if (q->store) BL_TRY(store_accounts_of_handle(q->store, handle, arena, candidates, CANDIDATES_MAX / 2, &n, err));
    BL_TRY(unread_candidates(q, handle, arena, candidates, &n, err));
    if (n == 0) return BL_OK;
    BL_CLEANUP(bl_freep) struct person *people = bl_xcalloc(n, sizeof *people);
    BL_TRY(people_lookup(q, candidates, n, arena, people, err));
    for (size_t i = 0; i < n && *count < max; i++) {
        bool bears = people[i].handle.n == handle.n && strncasecmp(people[i].handle.p, handle.p, handle.n) == 0,
             repeated = false;
        for (size_t k = 0; k < *count; k++) repeated |= bl_str_eq(dids[k], candidates[i]);
        if (bears && !repeated) dids[(*count)++] = candidates[i];
    }
    return BL_OK;
}
