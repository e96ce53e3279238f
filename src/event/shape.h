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
    char quoted[16]; /* the name as a message has it, "name": with its quotes */
    enum form form;
    unsigned column;
};

struct shape {
    const struct field *fields;
    unsigned count; /* at most 64 */
};

#define FIELD_NAME(literal) .name = {"" literal, sizeof(literal) - 1}, .quoted = {"\"" literal "\":"}

/* The members of the record of a commit type with a collection of its own. */
struct shape shape_of_record(enum ev_type type);
struct shape shape_of_account(bool identity);

/* The field's place, or -1. */
static inline int shape_find(struct shape s, struct js_string key) {
    for (unsigned i = 0; i < s.count; i++) {
        struct bl_str name = s.fields[i].name;
        if (!key.escaped) {
            if (name.n == key.raw.n && name.p[0] == key.raw.p[0] && memcmp(name.p, key.raw.p, name.n) == 0)
                return (int)i;
        } else if (js_string_is(key, name)) {
            return (int)i;
        }
    }
    return -1;
}

/* The next member of the object at `c`: false at its end. `*place` is the field's, or -1. Members mostly come in the
 * shape's order, some left out, so those behind `*after` are tried first, by their bytes. */
static inline bool shape_next(struct shape s, struct js_cursor *c, struct js_string *key, bool *first, unsigned *after,
                              int *place) {
    if (js_object_ends(c)) return false;
    for (unsigned i = *after; i < s.count; i++) {
        if (!js_member_is(c, s.fields[i].quoted, s.fields[i].name.n + 3, first)) continue;
        *key = (struct js_string){s.fields[i].name, false};
        *place = (int)i;
        *after = i + 1;
        return true;
    }
    if (!js_member(c, key, first)) return false;
    *place = shape_find(s, *key);
    if (*place >= 0) *after = (unsigned)*place + 1;
    return true;
}
