/* event: bytes of one Jetstream message <-> one typed row.
 *
 * Pure: no I/O, no clock, no globals that change. May include: base.
 *
 * Lossless: ev_decode puts what the schema (schema.def) names into typed slots and everything else, verbatim, into the
 * `extra` slot; ev_encode rebuilds the message from the row. The rebuilt message equals the original value for value:
 * same members, same strings, numbers with the same digits, arrays in the same order. Not kept: white space, the order
 * of members, which of several spellings of one string was used ("\u0041" or "A").
 * Where a member that a column would hold has an unexpected type or form, it goes to `extra` instead; no event is
 * refused for what stands inside a record.
 * Duplicate keys in one object: the last one wins, as in Go's encoding/json, which writes the stream; the earlier ones
 * are not kept (`ev_decode` sets EV_NOTE_DUPLICATE_KEY).
 * A string that is no Unicode text (a lone surrogate escape such as "\ud800") has no UTF-8 form; the member that holds
 * it is kept verbatim in `extra`.
 *
 *
 * The `extra` slot is one JSON object: {"event":{..},"commit":{..},"record":{..},"absent":[..]}, for accounts
 * {"event":{..},"identity":{..} or "account":{..},"absent":[..]}; what is empty is left out. Its four names belong to
 * bluelake, the members of the stream stand one level below, so that none can be mistaken for another. "absent" names
 * what the row implies though the message did not have it: "commit.record" (no record on a create or update),
 * "record.$type", "identity.did", "account.did". A member that stands in extra replaces the implied one: extra.commit
 * .record is a record that is no object or stands on a delete.
 *
 * Limits: EV_SIZE_MAX bytes a message, EV_DEPTH_MAX levels of nesting.
 *
 *     struct bl_arena arena = {.max = 8 << 20};
 *     struct event ev;
 *     enum ev_reason why;
 *     if (ev_decode(message, &arena, &ev, &why, &err) != BL_OK) dead_letter(message, ev_reason_name(why));
 *     else use(ev.v[EV_TIME_US].i, ev_str(&ev, EV_posts_text));
 *     bl_arena_reset(&arena); */
#pragma once
#include "base/mem.h"

enum { EV_SCHEMA_VERSION = 1 };
enum { EV_SIZE_MAX = 8 << 20, EV_DEPTH_MAX = 128 };

enum ev_type {
#define TYPE(id, collection, sentence) EV_##id,
#define COL(type, id, kind, level, path, since, sentence)
#include "event/schema.def"
#undef TYPE
#undef COL
    EV_TYPE_COUNT
};

/* EV_posts_text and so on: index into struct event's v[] and into the type's column list. Built by counting columns
 * between TYPE rows. */
#define TYPE(id, collection, sentence) EV_COLS_OF_##id##_START_,
#define COL(type, id, kind, level, path, since, sentence) EV_COLS_OF_##type##_##id##_,
enum ev_all_columns_ {
#include "event/schema.def"
    EV_COLS_END_
};
#undef TYPE
#undef COL
#define TYPE(id, collection, sentence)
#define COL(type, id, kind, level, path, since, sentence)                                                              \
    EV_##type##_##id = EV_COLS_OF_##type##_##id##_ - EV_COLS_OF_##type##_START_ - 1,
enum ev_column_of_type {
#include "event/schema.def"
};
#undef TYPE
#undef COL

/* Every type starts with these two; every commit type (all but accounts) with all nine. */
enum ev_common_column {
    EV_TIME_US = 0,
    EV_DID = 1,
    EV_OPERATION = 2,
    EV_RKEY = 3,
    EV_REV = 4,
    EV_CID = 5,
    EV_CID_VERIFIED = 6,
    EV_CURSOR = 7,
    EV_EXTRA = 8,
    EV_CREATED_AT = 9, /* posts, likes, reposts, follows, blocks, profiles */
    EV_CREATED_AT_TEXT = 10,
    EV_TIME_SKEW = 11,
};
enum { EV_COLS_MAX = 32 };

enum ev_col_kind { EV_STR, EV_I64, EV_TIME, EV_BOOL, EV_JSON, EV_LIST };

struct ev_column {
    const char *name;
    enum ev_col_kind kind;
    bool optional;
    const char *path;
    int since;
    const char *sentence;
};
struct ev_schema {
    const char *name;       /* "posts": table, file and queue name */
    const char *collection; /* NSID or NULL */
    const char *sentence;
    const struct ev_column *columns;
    unsigned count; /* at most EV_COLS_MAX */
};
const struct ev_schema *ev_schema(enum ev_type type);
bool ev_type_by_name(struct bl_str name, enum ev_type *type);
/* The type a commit to `collection` belongs to: EV_others for what no row of the table names. */
enum ev_type ev_type_of_collection(struct bl_str collection);

struct ev_list {
    const struct bl_str *items;
    size_t count;
};
struct ev_value {
    union {
        struct bl_str s; /* STR, JSON */
        int64_t i;       /* I64, TIME; BOOL as 0 or 1 */
        struct ev_list list;
    };
};

enum ev_note { /* bits of event.notes: seen while decoding, counted by the caller */
               EV_NOTE_DUPLICATE_KEY =
                   1, /* of a member that the schema knows; others may repeat unnoticed inside extra */
               EV_NOTE_EXTRA_RECORD = 2, /* a known record member had an unexpected form and went to extra */
};

/* One row. v[c] is meaningful only where bit c of `has` is set (unset = null). Slices point into the message given to
 * ev_decode or into its arena: both must outlive the event. */
struct event {
    enum ev_type type;
    uint32_t notes;
    uint64_t has;
    struct bl_str record_json; /* the record as received; empty on delete and for accounts; set by ev_decode only */
    struct ev_value v[EV_COLS_MAX];
};

static inline bool ev_has(const struct event *e, unsigned column) {
    return e->has >> column & 1;
}
static inline struct bl_str ev_str(const struct event *e, unsigned column) {
    return ev_has(e, column) ? e->v[column].s : (struct bl_str){0};
}
static inline void ev_set_str(struct event *e, unsigned column, struct bl_str s) {
    e->v[column].s = s;
    e->has |= (uint64_t)1 << column;
}
static inline void ev_set_i64(struct event *e, unsigned column, int64_t i) {
    e->v[column].i = i;
    e->has |= (uint64_t)1 << column;
}

enum ev_reason {
    EV_REASON_NONE,
#define EV_REASON(id, sentence) EV_REASON_##id,
#include "event/reasons.def"
#undef EV_REASON
    EV_REASON_COUNT
};
const char *ev_reason_name(enum ev_reason reason); /* "json_syntax" */
const char *ev_reason_text(enum ev_reason reason);

/* Decode one message. On failure returns BL_E_SYNTAX, BL_E_INVALID or BL_E_TOO_LARGE (all of class DROP) with `*reason`
 * set and the byte offset in the message, or BL_E_FULL when `arena` is at its cap.
 * Decoding does not verify the CID: cid holds what was received and cid_verified is unset until ev_verify_cid. */
enum bl_rc ev_decode(struct bl_str message, struct bl_arena *arena, struct event *out, enum ev_reason *reason,
                     struct bl_error *err);

/* Just enough for routing and for the cursor: full syntax and UTF-8 are checked as in ev_decode, and the result is the
 * same accept or refuse, but only type, time_us, did, the members of its identity and cursor (where present) are set.
 */
enum bl_rc ev_check(struct bl_str message, struct bl_arena *arena, struct event *out, enum ev_reason *reason,
                    struct bl_error *err);

/* Recompute the record's CID. Where it equals the given one: cid is unset and cid_verified = true. Where it differs or
 * cannot be computed (see cid.h): cid stays, cid_verified = false. No cid given: nothing happens.
 * `scratch` is working memory, reused between calls. */
void ev_verify_cid(struct event *ev, struct bl_buf *scratch);

/* Append the message rebuilt from the row (no newline), with the CID recomputed where it was left out. The row may come
 * from ev_decode (+ ev_verify_cid) or from the lake. BL_E_CORRUPT when the row contradicts itself. */
enum bl_rc ev_encode(const struct event *ev, struct bl_buf *out, struct bl_error *err);

/* The case folding of hashtags, for whoever looks for one: simple lower case of Latin, Greek, Cyrillic, Armenian and
 * full-width letters. `out` gets text.n bytes; `text` must be valid UTF-8. Derived lists hold at most EV_LIST_MAX. */
void ev_fold_case(struct bl_str text, char *out);
enum { EV_LIST_MAX = 256 };

/* Identity: two deliveries with the same identity are one event, whatever host, protocol or replay they came through.
 * Commit: (did, collection, rkey, rev, operation); identity and account: (did, kind, seq).
 * 128 bits of XXH3 over those fields, each with its length: two different events share an id with probability 2^-128.
 */
struct ev_id {
    uint64_t lo, hi;
};
struct ev_id ev_identity(const struct event *ev);
/* The same from fields alone (collection is the type's own except for EV_others). */
struct ev_id ev_identity_of(enum ev_type type, struct bl_str did, struct bl_str collection, struct bl_str rkey,
                            struct bl_str rev, struct bl_str operation);
struct ev_id ev_identity_of_account(struct bl_str did, struct bl_str kind, int64_t seq);
