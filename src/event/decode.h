/* decode: what the walk over a message (decode.c) hands to the reading of single members (member.c) and to the derived
 * columns (derive.c).
 *
 * Private to the event room. */
#pragma once
#include "event/extra.h"
#include "event/shape.h"

/* A required string member: judged only when the whole message has been read, since a later duplicate may replace it.
 */
struct wanted {
    enum { WANTED_ABSENT, WANTED_WRONG_TYPE, WANTED_GIVEN } state;
    struct bl_str text; /* with a lone surrogate: as it stands, backslash included, which no identifier may hold */
};

struct slice {
    struct bl_str key, text; /* text.p NULL: not seen */
    bool spaced;
};

enum payload { PAYLOAD_COMMIT, PAYLOAD_IDENTITY, PAYLOAD_ACCOUNT, PAYLOADS };

struct decoder {
    struct js_cursor c;
    struct bl_arena *arena;
    struct event *ev;
    bool routing;   /* ev_check: neither derived columns nor the text of extra are wanted */
    bool full;      /* the arena's cap was reached */
    bool duplicate; /* a member the schema knows came twice in one object */
    struct extra extra;
    struct wanted did, kind, rev, operation, collection, rkey, inner_did, seq;
    struct slice time_us, payload[PAYLOADS], record, inner_did_raw, tags;
    enum ev_type type; /* of the collection; EV_others before it is known */
    int decoded; /* the payload decoded in place, or -1 */
    bool payload_is_object;
};

/* Text of a string; false for a lone surrogate or a full arena. */
bool take_text(struct decoder *d, struct js_string s, struct bl_str *out);
/* Read the value at `c` into `w`. */
void take_wanted(struct decoder *d, struct js_cursor *c, struct wanted *w);
/* Skip the value at `c` and remember it. */
void take_slice(struct js_cursor *c, struct js_string key, struct slice *out);
/* Skip the value at `c` into extra. */
void take_extra(struct decoder *d, struct js_cursor *c, enum extra_level level, struct js_string key);
void add_extra(struct decoder *d, enum extra_level level, struct slice s);
/* Read the value of the member `key` at `c` as `f` says: into its columns, or into extra at `level`. */
void take_field(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                enum extra_level level);

/* Fill the columns of a post that are computed from others. `tags` is record.tags, empty where there is none. False
 * when the arena is full. */
bool derive_post(struct event *ev, struct bl_str tags, struct bl_arena *arena);
