/* syntax: is this string a DID, a handle, ...? One predicate each.
 *
 * Pure. May include: base. Lengths in bytes.
 * Sources: https://atproto.com/specs (did, handle, nsid, tid, record-key, at-uri-scheme, lexicon#datetime), RFC 3986,
 * BCP 47. Conformance: bluesky-social/atproto-interop-tests, syntax/. */
#pragma once
#include "base/str.h"

bool at_is_did(struct bl_str s);
bool at_is_handle(struct bl_str s);
bool at_is_identifier(struct bl_str s); /* DID or handle */
bool at_is_nsid(struct bl_str s);
bool at_is_tid(struct bl_str s);
bool at_is_rkey(struct bl_str s);
bool at_is_uri(struct bl_str s);      /* AT-URI */
bool at_is_cid(struct bl_str s);      /* the lexicon's string check, not a decode */
bool at_is_language(struct bl_str s); /* BCP 47 well-formed as the interop vectors have it */
bool at_is_weburi(struct bl_str s);   /* the lexicon format "uri" */
/* Syntax and meaning (a real date, not before year 0); `*wall_us` (if not NULL) is the instant, fraction cut to
 * microseconds. */
bool at_is_datetime(struct bl_str s, int64_t *wall_us);
/* Exactly YYYY-MM-DDTHH:MM:SS.mmmZ and a real date: the form nearly all clients write, rebuilt without loss from the
 * instant. */
bool at_is_canonical_datetime(struct bl_str s, int64_t *wall_us);

/* A TID's parts: microseconds since 1970 and clock id. `s` must be a TID. */
int64_t at_tid_us(struct bl_str s);
void at_tid_of(int64_t wall_us, unsigned clock_id, char out[static 13]);
