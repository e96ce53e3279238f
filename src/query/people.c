#include "query/people.h"

#include <stdlib.h>
#include <strings.h>

#include "query/views_store.h"

/* What the views' store knows is taken from there; rows of files it has not read yet are read from the files, and the
 * newest of both counts. So an answer is right without a store, with an old one, and soon with a new one. */

static struct bl_str keep(struct bl_arena *arena, const struct duck_result *r, unsigned column, size_t row) {
    if (duck_is_null(r, column, row)) return (struct bl_str){0};
    struct bl_str copy = bl_arena_dup(arena, duck_text(r, column, row));
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

/* "read_parquet([...])" over the files of a type that the store has not read; false when there are none. */
static bool add_unread(const struct query *q, enum ev_type type, struct bl_buf *sql) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    const struct id_list *known = &q->stored[type];
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, &files), kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!known->count || !bsearch(&files[i]->id, known->ids, known->count, sizeof *known->ids, by_id))
            files[kept++] = files[i];
    if (kept) session_add_files(q, sql, files, kept, false);
    return kept > 0;
}

/* --- Who the asked for are --- */

struct state { /* the newest word on one account */
    struct store_account account;
    struct store_profile profile;
};
struct asked {
    struct bl_str *dids; /* distinct, sorted */
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
    struct asked a = {.dids = bl_xcalloc(count, sizeof *a.dids), .states = bl_xcalloc(count, sizeof *a.states)};
    memcpy(a.dids, dids, count * sizeof *dids);
    qsort(a.dids, count, sizeof *a.dids, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !bl_str_eq(a.dids[i], a.dids[i - 1])) a.dids[a.count++] = a.dids[i];
    for (size_t i = 0; i < a.count; i++) a.states[i].account.active = -1;
    return a;
}

static void release_lookup(struct lookup *l) {
    free(l->asked.dids);
    free(l->asked.states);
}

static struct state *find(const struct asked *a, struct bl_str did) {
    const struct bl_str *at = bsearch(&did, a->dids, a->count, sizeof *a->dids, by_text);
    return at ? &a->states[at - a->dids] : NULL;
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

typedef void (*note_fn)(struct lookup *l, struct state *s, const struct duck_result *r, size_t row);

/* SELECT did, `select` FROM the unread files of `type` WHERE `where`, one row an account. */
static enum bl_rc ask_unread(struct lookup *l, enum ev_type type, const char *select, const char *where, note_fn note,
                             struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql, "SELECT did, %s FROM ", select);
    if (!add_unread(l->q, type, &sql)) return BL_OK;
    bl_buf_printf(&sql, " WHERE did IN (SELECT unnest(?::VARCHAR[])) AND %s GROUP BY did", where);
    BL_TRY(bl_buf_check(&sql, "looking up accounts", err));
    const struct duck_bind bind = {.kind = DUCK_LIST, .items = l->asked.dids, .count = l->asked.count};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(l->q->duck, bl_buf_cstr(&sql), &bind, 1, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            struct state *s = find(&l->asked, duck_text(r, 0, i));
            if (s) note(l, s, r, i);
        }
    }
}

static bool is_newer(int64_t us, int64_t seq, int64_t than_us, int64_t than_seq) {
    return us > than_us || (us == than_us && seq >= than_seq);
}

static void note_handle(struct lookup *l, struct state *s, const struct duck_result *r, size_t row) {
    struct store_account *a = &s->account;
    int64_t us = duck_i64(r, 2, row), seq = duck_i64(r, 3, row);
    if (a->handle.p && !is_newer(us, seq, a->handle_us, a->handle_seq)) return;
    a->handle = keep(l->arena, r, 1, row);
    a->handle_us = us;
    a->handle_seq = seq;
}

static void note_active(struct lookup *l, struct state *s, const struct duck_result *r, size_t row) {
    struct store_account *a = &s->account;
    int64_t us = duck_i64(r, 2, row), seq = duck_i64(r, 3, row);
    if (a->active >= 0 && !is_newer(us, seq, a->active_us, a->active_seq)) return;
    a->active = duck_i64(r, 1, row) != 0;
    a->status = keep(l->arena, r, 4, row);
    a->active_us = us;
    a->active_seq = seq;
}

static void note_profile(struct lookup *l, struct state *s, const struct duck_result *r, size_t row) {
    struct store_profile *p = &s->profile;
    int64_t us = duck_i64(r, 1, row);
    struct bl_str rev = duck_text(r, 2, row);
    if (p->us && (us < p->us || (us == p->us && bl_str_cmp(rev, p->rev) < 0))) return;
    *p = (struct store_profile){.us = us,
                                .rev = keep(l->arena, r, 2, row),
                                .deleted = duck_i64(r, 3, row) != 0,
                                .name = keep(l->arena, r, 4, row),
                                .description = keep(l->arena, r, 5, row)};
}

/* arg_max passes over nulls, which here are values as well: hence the structs around them. */
static enum bl_rc ask_files(struct lookup *l, struct bl_error *err) {
    BL_TRY(ask_unread(l, EV_accounts, "arg_max(handle, (time_us, seq)), max(time_us), arg_max(seq, (time_us, seq))",
                      "handle IS NOT NULL", note_handle, err));
    BL_TRY(ask_unread(l, EV_accounts,
                      "arg_max(active, (time_us, seq)), max(time_us), arg_max(seq, (time_us, seq)), "
                      "struct_extract(arg_max({'v': status}, (time_us, seq)), 'v')",
                      "active IS NOT NULL", note_active, err));
    return ask_unread(l, EV_profiles,
                      "max(time_us), arg_max(rev, (time_us, rev)), arg_max(operation = 'delete', (time_us, rev)), "
                      "struct_extract(arg_max({'v': display_name}, (time_us, rev)), 'v'), "
                      "struct_extract(arg_max({'v': description}, (time_us, rev)), 'v')",
                      "rkey = 'self'", note_profile, err);
}

static struct person person_of(const struct state *s) {
    struct person p = {.handle = s->account.handle, .status = s->account.status, .hidden = s->account.active == 0};
    if (s->profile.deleted) return p;
    p.display_name = s->profile.name;
    p.description = s->profile.description;
    return p;
}

enum bl_rc people_lookup(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena,
                         struct person *out, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_CLEANUP(release_lookup) struct lookup l = {.q = q, .arena = arena, .asked = distinct(dids, count)};
    BL_TRY(sync_store(q, err));
    BL_TRY(ask_store(&l, err));
    BL_TRY(ask_files(&l, err));
    for (size_t i = 0; i < count; i++) out[i] = person_of(find(&l.asked, dids[i]));
    return BL_OK;
}

/* --- Who bears a handle --- */

enum { CANDIDATES_MAX = 256 };

static enum bl_rc unread_candidates(struct query *q, struct bl_str handle, struct bl_arena *arena, struct bl_str *dids,
                                    size_t *count, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT DISTINCT did FROM ");
    if (!add_unread(q, EV_accounts, &sql)) return BL_OK;
    bl_buf_printf(&sql, " WHERE lower(handle) = lower(?) LIMIT %zu", CANDIDATES_MAX - *count);
    BL_TRY(bl_buf_check(&sql, "looking up a handle", err));
    const struct duck_bind bind = {.kind = DUCK_TEXT, .s = handle};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(q->duck, bl_buf_cstr(&sql), &bind, 1, &r, err));
    for (;;) {
        size_t rows;
        BL_TRY(duck_next(r, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) dids[(*count)++] = keep(arena, r, 0, i);
    }
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
