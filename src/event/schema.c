#include "event/event.h"

#include <assert.h>

#define TYPE(id, collection, sentence)
#define COL(type, id, kind, level, path, since, sentence) {#id, EV_##kind, (level) != 0, path, since, sentence},

/* One array for all types; each schema is a run of it, found by the column counter of event.h. */
static const struct ev_column all_columns[] = {
#undef TYPE
#define TYPE(id, collection, sentence) {0},
#include "event/schema.def"
};
#undef TYPE
#undef COL

#define TYPE(id, collection_, sentence_)                                                                               \
    [EV_##id] = {.name = #id,                                                                                          \
                 .collection = collection_,                                                                            \
                 .sentence = sentence_,                                                                                \
                 .columns = all_columns + EV_COLS_OF_##id##_START_ + 1},
#define COL(type, id, kind, level, path, since, sentence)
static const struct ev_schema bare[EV_TYPE_COUNT] = {
#include "event/schema.def"
};
#undef TYPE
#undef COL

static struct ev_schema schemas[EV_TYPE_COUNT];
static struct bl_str collections[EV_TYPE_COUNT];

/* Counts are the distance to the next type's start; filled once before main, so that lookups stay plain reads. */
__attribute__((constructor)) static void count_columns(void) {
    const struct ev_column *end = all_columns + EV_COLS_END_;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        schemas[t] = bare[t];
        collections[t] = bl_str(bare[t].collection);
        const struct ev_column *c = bare[t].columns;
        while (c + schemas[t].count < end && c[schemas[t].count].name) schemas[t].count++;
        BL_ASSERT(schemas[t].count <= EV_COLS_MAX);
    }
}

/* The common columns stand at the same place in every type that has them. */
#define SAME(column, common) static_assert((int)(column) == (int)(common), #column " is misplaced in schema.def")
SAME(EV_posts_time_us, EV_TIME_US);
SAME(EV_accounts_time_us, EV_TIME_US);
SAME(EV_posts_did, EV_DID);
SAME(EV_accounts_did, EV_DID);
SAME(EV_others_operation, EV_OPERATION);
SAME(EV_others_rkey, EV_RKEY);
SAME(EV_others_rev, EV_REV);
SAME(EV_others_cid, EV_CID);
SAME(EV_others_cid_verified, EV_CID_VERIFIED);
SAME(EV_others_cursor, EV_CURSOR);
SAME(EV_others_extra, EV_EXTRA);
SAME(EV_profiles_created_at, EV_CREATED_AT);
SAME(EV_profiles_created_at_text, EV_CREATED_AT_TEXT);
SAME(EV_profiles_time_skew, EV_TIME_SKEW);

const struct ev_schema *ev_schema(enum ev_type type) {
    BL_ASSERT((unsigned)type < EV_TYPE_COUNT);
    return &schemas[type];
}

bool ev_type_by_name(struct bl_str name, enum ev_type *type) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (bl_str_eq(name, bl_str(schemas[t].name))) {
            *type = (enum ev_type)t;
            return true;
        }
    return false;
}

enum ev_type ev_type_of_collection(struct bl_str collection) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (collections[t].n && bl_str_eq(collection, collections[t])) return (enum ev_type)t;
    return EV_others;
}

static const struct {
    const char *name, *text;
} reasons[EV_REASON_COUNT] = {
    [EV_REASON_NONE] = {"none", "accepted"},
#define EV_REASON(id, sentence) [EV_REASON_##id] = {#id, sentence},
#include "event/reasons.def"
#undef EV_REASON
};

const char *ev_reason_name(enum ev_reason reason) { return reasons[reason < EV_REASON_COUNT ? reason : 0].name; }
const char *ev_reason_text(enum ev_reason reason) { return reasons[reason < EV_REASON_COUNT ? reason : 0].text; }
