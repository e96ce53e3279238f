/* shape: which members each JSON object of an event may have, and the column each one goes to.
 *
 * Private to the event room: decode reads by it, encode writes by it. */
#pragma once
#include "event/event.h"
#include "event/json.h"

enum form {
    FORM_STR,        /* string -> STR */
    FORM_BOOL,       /* true, false -> BOOL */
    FORM_JSON,       /* anything -> JSON */
    FORM_LIST,       /* array of strings -> LIST */
    FORM_REF,        /* {"uri":S,"cid":S} -> this column and the next */
    FORM_REPLY,      /* {"root":REF,"parent":REF} -> this column and the next three */
    FORM_CREATED_AT, /* string -> created_at or created_at_text */
    FORM_TYPE,       /* $type, implied by the collection */
    FORM_TAGS,       /* stays in extra, and is read for the hashtags */
    FORM_DID,        /* implied by the envelope's did */
    FORM_SEQ,        /* the required integer -> I64 */
};

struct field {
    struct bl_str name;
    enum form form;
    unsigned column;
};

struct shape {
    const struct field *fields;
    unsigned count; /* at most 64 */
};

/* The members of the record of a commit type with a collection of its own. */
struct shape shape_of_record(enum ev_type type);
struct shape shape_of_account(bool identity);

/* The field's place, or -1. */
static inline int shape_find(struct shape s, struct js_string key) {
    for (unsigned i = 0; i < s.count; i++) {
        struct bl_str name = s.fields[i].name;
        if (!key.escaped) {
            if (name.n == key.raw.n && name.p[0] == key.raw.p[0] && memcmp(name.p, key.raw.p, name.n) == 0) return (int)i;
        } else if (js_string_is(key, name)) {
            return (int)i;
        }
    }
    return -1;
}
