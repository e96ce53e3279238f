/* extra: the members no column holds, collected while decoding and found again while encoding. Format: see event.h.
 *
 * Private to the event room. */
#pragma once
#include "event/event.h"
#include "event/json.h"

enum extra_level { EXTRA_EVENT, EXTRA_INNER, EXTRA_RECORD, EXTRA_LEVELS }; /* inner: commit, identity or account */
enum extra_absent { ABSENT_RECORD = 1, ABSENT_TYPE = 2, ABSENT_DID = 4 };

struct extra_member {
    struct extra_member *next;
    struct bl_str key, value; /* key without its quotes, escapes as they stand */
    bool spaced;              /* value holds white space outside strings */
};

struct extra {
    struct extra_member *first[EXTRA_LEVELS], **tail[EXTRA_LEVELS];
    unsigned absent;
};

/* False when the arena is full. */
bool extra_add(struct extra *x, struct bl_arena *arena, enum extra_level level, struct bl_str key, struct bl_str value,
               bool spaced);
static inline bool extra_is_empty(const struct extra *x) {
    return !x->first[EXTRA_EVENT] && !x->first[EXTRA_INNER] && !x->first[EXTRA_RECORD] && !x->absent;
}
/* The slot's text; `inner` is "commit", "identity" or "account". False when the arena is full. */
bool extra_text(const struct extra *x, const char *inner, struct bl_arena *arena, struct bl_str *out);
/* A value of the message as it is stored: itself, or minified into the arena. False when the arena is full. */
bool extra_stored(struct bl_str value, bool spaced, struct bl_arena *arena, struct bl_str *out);

/* What encode needs of a slot's text. */
struct extra_view {
    struct bl_str members[EXTRA_LEVELS]; /* the text between the braces, empty when there are none */
    unsigned absent;
    bool has_record, has_type, has_did; /* inner.record, record.$type, inner.did stand in extra */
};
/* False when `text` is not in the format. */
bool extra_read(struct bl_str text, const char *inner, struct extra_view *out);
