/* profiles: the question app.bsky.actor.getProfiles and its answer. Pure. Private to the resolve room.
 *
 * Source: https://docs.bsky.app/docs/api/app-bsky-actor-get-profiles (lexicon app.bsky.actor.getProfiles: `actors`, at
 * most 25 at-identifiers; the answer leaves out whom it does not know, and says nothing of the order). */
#pragma once
#include "resolve/resolver.h"

enum { PROFILES_MAX = 25, PROFILES_SUBJECT_MAX = 253 /* bytes; the longest handle */ };

/* The request target below `base`, the path of the host's address. */
void profiles_target(struct bl_str base, const struct bl_str *subjects, size_t count, struct bl_buf *out);
/* At most `max` accounts, texts in `arena`; what is not a DID or handle is left out. BL_E_SYNTAX when the body is not
 * such an answer. */
enum bl_rc profiles_read(struct bl_str body, struct bl_arena *arena, struct resolver_account *out, size_t max,
                         size_t *count, struct bl_error *err);
