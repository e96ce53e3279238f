#include "query/names.h"

#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"

enum { SLICE_US = 50000 /* between two looks whether the question was cancelled */, ASK_AT_ONCE = 500 };
static const int64_t PATIENCE_US = 20000000;

void names_begin(struct query *q) {
    q->names = QUERY_NAMES_KNOWN;
}

enum query_names query_names(const struct query *q) {
    return q->names;
}

static void note_state(struct query *q, enum query_names state) {
    if (state > q->names) q->names = state;
}

/* Until nothing of it is being asked any more, or `until_ns`. */
static enum bl_rc wait(struct query *q, const struct bl_str *names, size_t count, int64_t until_ns, bool *done,
                       struct bl_error *err) {
    for (*done = false; !*done;) {
        int64_t left_us = (until_ns - bl_mono_ns()) / 1000;
        BL_TRY(watchdog_check(q->watchdog, err));
        if (left_us <= 0) return BL_OK;
        *done = resolver_wait(q->resolver, names, count, left_us < SLICE_US ? left_us : SLICE_US);
    }
    return BL_OK;
}

/* --- Accounts of an answer --- */

static enum bl_rc ask(struct query *q, const struct bl_str *dids, size_t count, int64_t until_ns,
                      struct bl_error *err) {
    bool done;
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < ASK_AT_ONCE ? count - at : ASK_AT_ONCE;
        resolver_ask(q->resolver, dids + at, n, false);
        if (q->patient) BL_TRY(wait(q, dids + at, n, until_ns, &done, err));
    }
    if (!resolver_wait(q->resolver, dids, count, 0)) note_state(q, QUERY_NAMES_PENDING);
    return BL_OK;
}

/* `out[i]` is what is known of dids[i]. */
static enum bl_rc look_up(struct query *q, const struct bl_str *dids, size_t count, struct bl_arena *arena,
                          struct resolver_account *out, struct bl_error *err) {
    if (count == 0) return BL_OK;
    BL_TRY(ask(q, dids, count, bl_mono_ns() + PATIENCE_US * 1000, err));
    for (size_t i = 0; i < count; i++)
        if (resolver_known(q->resolver, dids[i], arena, &out[i]) == RESOLVER_UNKNOWN)
            note_state(q, QUERY_NAMES_MISSING);
    return BL_OK;
}

enum bl_rc names_of_hits(struct query *q, struct found *items, size_t count, struct bl_arena *arena,
                         struct bl_error *err) {
    if (!q->resolver || count == 0) return BL_OK;
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(count, sizeof *dids);
    BL_CLEANUP(bl_freep) struct resolver_account *known = bl_xcalloc(count, sizeof *known);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (items[i].nameless) dids[n++] = items[i].hit.did;
    BL_TRY(look_up(q, dids, n, arena, known, err));
    for (size_t i = 0, k = 0; i < count; i++) {
        struct query_hit *hit = &items[i].hit;
        if (!items[i].nameless) continue;
        if (!hit->handle.p) hit->handle = known[k].handle;
        if (!hit->display_name.p) hit->display_name = known[k].display_name;
        k++;
    }
    return BL_OK;
}

enum bl_rc names_of_people(struct query *q, const struct bl_str *dids, struct person *people, size_t count,
                           struct bl_arena *arena, struct bl_error *err) {
    if (!q->resolver || count == 0) return BL_OK;
    BL_CLEANUP(bl_freep) struct bl_str *nameless = bl_xcalloc(count, sizeof *nameless);
    BL_CLEANUP(bl_freep) struct resolver_account *known = bl_xcalloc(count, sizeof *known);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (person_is_nameless(&people[i])) nameless[n++] = dids[i];
    BL_TRY(look_up(q, nameless, n, arena, known, err));
    for (size_t i = 0, k = 0; i < count; i++) {
        if (!person_is_nameless(&people[i])) continue;
        if (!people[i].handle.p) people[i].handle = known[k].handle;
        if (!people[i].has_profile) people[i].display_name = known[k].display_name;
        k++;
    }
    return BL_OK;
}

/* --- Handles of a question --- */

/* What the host says counts, unless the lake has heard since that the account took another handle. */
static enum bl_rc accept(struct query *q, struct names_handle *h, const struct resolver_account *known,
                         struct bl_arena *arena, struct bl_error *err) {
    struct person p;
    BL_TRY(people_lookup(q, &known->did, 1, arena, &p, err));
    bool bears = p.handle.n == h->handle.n && strncasecmp(p.handle.p, h->handle.p, h->handle.n) == 0;
    if (bears || p.handle_us < known->asked_us) h->did = known->did;
    return BL_OK;
}

static enum bl_rc take_answer(struct query *q, struct names_handle *h, struct bl_arena *arena,
                              char note[static NAMES_NOTE_MAX], struct bl_error *err) {
    struct resolver_account known;
    enum resolver_outcome outcome = resolver_known(q->resolver, h->handle, arena, &known);
    if (outcome == RESOLVER_FOUND) BL_TRY(accept(q, h, &known, arena, err));
    if (h->did.p) return BL_OK;
    if (outcome == RESOLVER_UNKNOWN) note_state(q, QUERY_NAMES_MISSING);
    snprintf(
        note, NAMES_NOTE_MAX,
        outcome == RESOLVER_UNKNOWN
            ? "the lake has seen no event that names the handle %.*s, and %s does not answer: try again, or its DID"
            : "no account is known by the handle %.*s, neither to the lake nor to %s",
        BL_ARG(h->handle), resolver_host(q->resolver));
    return BL_OK;
}

static enum bl_rc ask_for_handles(struct query *q, const struct names_handle *handles, size_t count,
                                  struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct bl_str *names = bl_xcalloc(count, sizeof *names);
    int64_t until_ns = bl_mono_ns() + resolver_timeout_us(q->resolver) * 1000;
    bool done;
    for (size_t i = 0; i < count; i++) names[i] = handles[i].handle;
    resolver_ask(q->resolver, names, count, true);
    return wait(q, names, count, until_ns, &done, err);
}

enum bl_rc names_of_handles(struct query *q, struct names_handle *handles, size_t count, struct bl_arena *arena,
                            char note[static NAMES_NOTE_MAX], struct bl_error *err) {
    if (count == 0) return BL_OK;
    if (!q->resolver) {
        snprintf(note, NAMES_NOTE_MAX,
                 "no account is known by the handle %.*s: the lake has seen no event that names it; try its DID",
                 BL_ARG(handles[0].handle));
        return BL_OK;
    }
    BL_TRY(ask_for_handles(q, handles, count, err));
    for (size_t i = 0; i < count; i++) BL_TRY(take_answer(q, &handles[i], arena, note, err));
    return BL_OK;
}
