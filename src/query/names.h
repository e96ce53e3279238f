/* names: what the session's resolver (resolve/resolver.h) adds to the lake's own word: handles and names of the
 * accounts an answer shows, and the DIDs of handles in a question that the lake has never seen. Private to the query
 * room.
 *
 * It never overrules the lake on a DID. Only accounts that are handed out are asked for: neither those of hits that
 * fall out, nor of pages skipped, nor in exports, which are to be the same each time. Without a resolver nothing
 * happens. Names are not waited for, unless the session is patient; handles in a question are, all of them together at
 * most the resolver's timeout, and a cancelled question stops waiting. */
#pragma once
#include "query/find.h"
#include "query/people.h"

/* Begins an answer: what query_names says is of it. */
void names_begin(struct query *q);
/* Adds to hits that are about to be handed out. */
enum bl_rc names_of_hits(struct query *q, struct found *items, size_t count, struct bl_arena *arena,
                         struct bl_error *err);
enum bl_rc names_of_people(struct query *q, const struct bl_str *dids, struct person *people, size_t count,
                           struct bl_arena *arena, struct bl_error *err);

struct names_handle {
    struct bl_str handle;
    struct bl_str did; /* set where somebody bears it */
};
enum { NAMES_NOTE_MAX = 256 };
/* Handles that the lake knows nobody by; `note` says why one stays without a DID. */
enum bl_rc names_of_handles(struct query *q, struct names_handle *handles, size_t count, struct bl_arena *arena,
                            char note[static NAMES_NOTE_MAX], struct bl_error *err);
