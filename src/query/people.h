/* people: who is who. Handles and display names of accounts, and whether an account may be shown.
 *
 * Private to the query room. The source are the rows of accounts (identity and account events) and of profiles: the
 * newest event that names a handle, the newest that says active or not, the newest profile. What a refresh of the views
 * has read stands in its store (views_store.h), found by DID or handle at once and without keeping it in memory; only
 * files newer than that are opened. What the lake has not heard of: names.h. */
#pragma once
#include "query/session.h"

struct person {
    struct bl_str handle, display_name, description, status; /* p == NULL: unknown */
    bool hidden; /* deleted, taken down, suspended, deactivated: whatever the newest account event calls not active */
    bool has_profile;  /* the lake has its profile, or knows that it was deleted */
    int64_t handle_us; /* when the lake last heard of the handle; 0: never */
};
static inline bool person_is_nameless(const struct person *p) {
    return !p->hidden && (!p->handle.p || !p->has_profile);
}
/* What was looked up is kept by the session until the lake or the store moves on. */
struct people;
void people_close(struct people **p);
/* out[i] is who dids[i] is; texts live in `arena`. The same DID may be asked for several times. */
enum bl_rc people_lookup(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena,
                         struct person *out, struct bl_error *err);
/* The accounts that bear the handle now, case apart; at most `max`. */
enum bl_rc people_by_handle(struct query *q, struct bl_str handle, struct bl_arena *arena, struct bl_str *dids,
                            size_t max, size_t *count, struct bl_error *err);
