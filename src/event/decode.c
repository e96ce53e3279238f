#include "event/decode.h"
#include "event/syntax.h"

static const int64_t time_us_min = 1640995200000000, time_us_end = 4102444800000000; /* 2022-01-01 to 2100-01-01 */
static const int64_t day_us = 86400000000;

#define SHAPE(array) ((struct shape){array, sizeof array / sizeof *array})

enum event_member { EVENT_DID, EVENT_TIME_US, EVENT_KIND, EVENT_CURSOR, EVENT_PAYLOAD }; /* payloads in their order */
static const struct field event_members[] = {
    [EVENT_DID] = {FIELD_NAME("did")},
    [EVENT_TIME_US] = {FIELD_NAME("time_us")},
    [EVENT_KIND] = {FIELD_NAME("kind")},
    [EVENT_CURSOR] = {FIELD_NAME("cursor")},
    [EVENT_PAYLOAD] = {FIELD_NAME("commit")},
    {FIELD_NAME("identity")},
    {FIELD_NAME("account")},
};

enum commit_member { COMMIT_REV, COMMIT_OPERATION, COMMIT_COLLECTION, COMMIT_RKEY, COMMIT_RECORD, COMMIT_CID };
static const struct field commit_members[] = {
    [COMMIT_REV] = {FIELD_NAME("rev")},
    [COMMIT_OPERATION] = {FIELD_NAME("operation")},
    [COMMIT_COLLECTION] = {FIELD_NAME("collection")},
    [COMMIT_RKEY] = {FIELD_NAME("rkey")},
    [COMMIT_RECORD] = {FIELD_NAME("record")},
    [COMMIT_CID] = {FIELD_NAME("cid")},
};

/* A walk over the members of one object, which notes repetitions. */
struct walk {
    struct shape shape;
    bool first;
    unsigned after, seen; /* seen: bits of places */
};
static inline struct walk walk_of(struct shape shape) {
    return (struct walk){.shape = shape, .first = true};
}

static inline bool walk_next(struct decoder *d, struct js_cursor *c, struct walk *w, struct js_string *key,
                             int *place) {
    if (!shape_next(w->shape, c, key, &w->first, &w->after, place)) return false;
    if (*place < 0) return true;
    if (w->seen >> *place & 1) d->duplicate = true;
    w->seen |= 1u << *place;
    return true;
}

/* Walk the object at `c` by a shape; members it does not name go to extra. Returns the fields seen, as bits. */
static unsigned walk_shape(struct decoder *d, struct js_cursor *c, struct shape shape, enum extra_level level) {
    struct walk walk = walk_of(shape);
    struct js_string key;
    int i;
    if (!js_object(c)) return 0;
    while (walk_next(d, c, &walk, &key, &i)) {
        if (i >= 0) {
            take_field(d, c, &shape.fields[i], key, level);
        } else {
            take_extra(d, c, level, key);
        }
    }
    return walk.seen;
}

static inline bool is(const struct wanted *w, struct bl_str text) {
    return w->state == WANTED_GIVEN && bl_str_eq(w->text, text);
}
static bool is_delete(const struct decoder *d) {
    return is(&d->operation, BL_LIT("delete"));
}

/* The record of a create or update whose collection is known. */
static void decode_record(struct decoder *d, struct js_cursor *c, struct js_string key) {
    struct event *ev = d->ev;
    ev->type = d->type;
    bool object = js_peek(c) == JS_OBJECT;
    if (object && ev->type != EV_others && !is_delete(d)) {
        const char *from = c->p;
        unsigned seen = walk_shape(d, c, shape_of_record(ev->type), EXTRA_RECORD);
        ev->record_json = bl_strn(from, (size_t)(c->p - from));
        if (!(seen & 1)) d->extra.absent |= ABSENT_TYPE; /* $type is the first field of every record shape */
        return;
    }
    take_slice(c, key, &d->record);
    if (c->fault) return;
    if (ev->type != EV_others) {
        add_extra(d, EXTRA_INNER, d->record);
        return;
    }
    struct bl_str text;
    if (!extra_stored(d->record.text, d->record.spaced, d->arena, &text)) d->full = true;
    ev_set_str(ev, EV_others_record, text);
    if (object && !is_delete(d)) ev->record_json = d->record.text;
}

/* Jetstream writes the record after operation and collection: then it is read in place. Otherwise it waits. */
static void take_record(struct decoder *d, struct js_cursor *c, struct js_string key) {
    if (d->collection.state == WANTED_GIVEN && d->operation.state == WANTED_GIVEN) {
        decode_record(d, c, key);
        d->record.text.p = NULL;
    } else {
        take_slice(c, key, &d->record);
    }
}

static void take_cid(struct decoder *d, struct js_cursor *c, struct js_string key) {
    static const struct field cid = {FIELD_NAME("cid"), .form = FORM_STR, .column = EV_CID};
    take_field(d, c, &cid, key, EXTRA_INNER);
}

static void decode_commit(struct decoder *d, struct js_cursor *c) {
    struct walk walk = walk_of(SHAPE(commit_members));
    struct js_string key;
    int i;
    if (!js_object(c)) return;
    while (walk_next(d, c, &walk, &key, &i)) {
        if (i < 0) {
            take_extra(d, c, EXTRA_INNER, key);
            continue;
        }
        switch ((enum commit_member)i) {
        case COMMIT_REV:
            take_wanted(d, c, &d->rev);
            break;
        case COMMIT_OPERATION:
            take_wanted(d, c, &d->operation);
            break;
        case COMMIT_COLLECTION:
            take_wanted(d, c, &d->collection);
            d->type = d->collection.state == WANTED_GIVEN ? ev_type_of_collection(d->collection.text) : EV_others;
            break;
        case COMMIT_RKEY:
            take_wanted(d, c, &d->rkey);
            break;
        case COMMIT_RECORD:
            take_record(d, c, key);
            break;
        case COMMIT_CID:
            take_cid(d, c, key);
            break;
        }
    }
    if (c->fault) return;
    if (d->record.text.p && d->collection.state == WANTED_GIVEN) {
        struct slice record = d->record;
        struct js_cursor again = js_open(record.text, EV_DEPTH_MAX);
        decode_record(d, &again, (struct js_string){record.key, false});
    }
    if (!(walk.seen >> COMMIT_RECORD & 1) && d->type != EV_others && !is_delete(d)) d->extra.absent |= ABSENT_RECORD;
}

static int payload_of_kind(const struct decoder *d) {
    for (int i = 0; i < PAYLOADS; i++)
        if (is(&d->kind, event_members[EVENT_PAYLOAD + i].name)) return i;
    return -1;
}

static void decode_payload(struct decoder *d, struct js_cursor *c, enum payload which) {
    d->decoded = (int)which;
    d->payload_is_object = js_peek(c) == JS_OBJECT;
    if (!d->payload_is_object) {
        js_skip(c, NULL, NULL);
    } else if (which == PAYLOAD_COMMIT) {
        decode_commit(d, c);
    } else {
        d->ev->type = EV_accounts;
        walk_shape(d, c, shape_of_account(which == PAYLOAD_IDENTITY), EXTRA_INNER);
    }
}

static void decode_message(struct decoder *d, struct slice *cursor) {
    struct js_cursor *c = &d->c;
    struct walk walk = walk_of(SHAPE(event_members));
    struct js_string key;
    int i;
    if (!js_object(c)) return;
    while (walk_next(d, c, &walk, &key, &i)) {
        if (i < 0) {
            take_extra(d, c, EXTRA_EVENT, key);
        } else if (i >= EVENT_PAYLOAD) {
            int which = i - EVENT_PAYLOAD;
            if (which == payload_of_kind(d)) {
                decode_payload(d, c, (enum payload)which);
            } else {
                take_slice(c, key, &d->payload[which]);
            }
        } else if (i == EVENT_DID || i == EVENT_KIND) {
            take_wanted(d, c, i == EVENT_DID ? &d->did : &d->kind);
        } else { /* cursor's column depends on the type, which may not be known yet: see finish_cursor */
            take_slice(c, key, i == EVENT_TIME_US ? &d->time_us : cursor);
        }
    }
    js_done(c);
}

/* Payloads that came before kind, or that kind does not name. */
static void decode_waiting(struct decoder *d) {
    int wanted = payload_of_kind(d);
    for (int i = 0; i < PAYLOADS; i++) {
        if (!d->payload[i].text.p) continue;
        if (i == wanted) {
            struct js_cursor again = js_open(d->payload[i].text, EV_DEPTH_MAX);
            decode_payload(d, &again, (enum payload)i);
        } else {
            add_extra(d, EXTRA_EVENT, d->payload[i]);
        }
    }
}

static enum bl_rc refuse(enum ev_reason why, const char *name, struct bl_str value, enum ev_reason *reason,
                         struct bl_error *err) {
    if (reason) *reason = why;
    if (value.n > 100) value.n = 100;
    return bl_fail(err, BL_E_INVALID, "%s: %s \"%.*s\"", ev_reason_text(why), name, BL_ARG(value));
}

static enum bl_rc refuse_fault(const struct js_cursor *c, enum ev_reason *reason, struct bl_error *err) {
    enum ev_reason why = c->fault == JS_BAD_UTF8   ? EV_REASON_utf8
                         : c->fault == JS_TOO_DEEP ? EV_REASON_too_deep
                                                   : EV_REASON_json_syntax;
    if (reason) *reason = why;
    return bl_fail(err, why == EV_REASON_too_deep ? BL_E_TOO_LARGE : BL_E_SYNTAX, "%s at byte %zu of %zu",
                   ev_reason_text(why), (size_t)(c->p - c->start), (size_t)(c->end - c->start));
}

struct check {
    const char *name;
    const struct wanted *value;
    bool (*valid)(struct bl_str);
    enum ev_reason why;
};

static enum bl_rc check_members(const struct check *checks, size_t count, enum ev_reason *reason,
                                struct bl_error *err) {
    for (size_t i = 0; i < count; i++) {
        const struct check *k = &checks[i];
        if (k->value->state == WANTED_GIVEN && (!k->valid || k->valid(k->value->text))) continue;
        enum ev_reason why = k->value->state == WANTED_ABSENT       ? EV_REASON_missing_field
                             : k->value->state == WANTED_WRONG_TYPE ? EV_REASON_wrong_type
                                                                    : k->why;
        return refuse(why, k->name, k->value->text, reason, err);
    }
    return BL_OK;
}

static bool is_operation(struct bl_str s) {
    return bl_str_eq(s, BL_LIT("create")) || bl_str_eq(s, BL_LIT("update")) || bl_str_eq(s, BL_LIT("delete"));
}

static bool is_kind(struct bl_str s) {
    return bl_str_eq(s, BL_LIT("commit")) || bl_str_eq(s, BL_LIT("identity")) || bl_str_eq(s, BL_LIT("account"));
}

static enum bl_rc finish_envelope(struct decoder *d, enum ev_reason *reason, struct bl_error *err) {
    const struct check checks[] = {
        {"did", &d->did, at_is_did, EV_REASON_bad_did},
        {"kind", &d->kind, is_kind, EV_REASON_unknown_kind},
    };
    BL_TRY(check_members(checks, sizeof checks / sizeof *checks, reason, err));
    struct bl_str text = d->time_us.text;
    int64_t time_us;
    if (!text.p) return refuse(EV_REASON_missing_field, "time_us", text, reason, err);
    if (text.p[0] != '-' && (text.p[0] < '0' || text.p[0] > '9'))
        return refuse(EV_REASON_wrong_type, "time_us", text, reason, err);
    if (!js_i64(text, &time_us) || time_us < time_us_min || time_us >= time_us_end)
        return refuse(EV_REASON_bad_time, "time_us", text, reason, err);
    ev_set_i64(d->ev, EV_TIME_US, time_us);
    ev_set_str(d->ev, EV_DID, d->did.text);
    if (d->decoded < 0) return refuse(EV_REASON_missing_field, "the object named by kind", d->kind.text, reason, err);
    if (!d->payload_is_object)
        return refuse(EV_REASON_wrong_type, "the object named by kind", d->kind.text, reason, err);
    return BL_OK;
}

/* All of v[] is half a kilobyte: only the type's columns are worth copying. */
static void copy_row(struct event *to, const struct event *from) {
    memcpy(to, from, offsetof(struct event, v) + ev_schema(from->type)->count * sizeof from->v[0]);
}

static enum bl_rc finish_commit(struct decoder *d, enum ev_reason *reason, struct bl_error *err) {
    const struct check checks[] = {
        {"commit.operation", &d->operation, is_operation, EV_REASON_unknown_operation},
        {"commit.collection", &d->collection, d->type == EV_others ? at_is_nsid : NULL, EV_REASON_bad_nsid},
        {"commit.rkey", &d->rkey, at_is_rkey, EV_REASON_bad_rkey},
        {"commit.rev", &d->rev, at_is_tid, EV_REASON_bad_rev},
    };
    BL_TRY(check_members(checks, sizeof checks / sizeof *checks, reason, err));
    struct event *ev = d->ev;
    ev->type = d->type;
    ev_set_str(ev, EV_OPERATION, d->operation.text);
    ev_set_str(ev, EV_RKEY, d->rkey.text);
    ev_set_str(ev, EV_REV, d->rev.text);
    if (ev->type == EV_others) {
        ev_set_str(ev, EV_others_collection, d->collection.text);
    } else if (ev_has(ev, EV_CREATED_AT)) {
        int64_t created = ev->v[EV_CREATED_AT].i, seen = ev->v[EV_TIME_US].i;
        ev_set_i64(ev, EV_TIME_SKEW, created < seen - day_us || created > seen + day_us);
    }
    return BL_OK;
}

static enum bl_rc finish_account(struct decoder *d, enum ev_reason *reason, struct bl_error *err) {
    const struct check checks[] = {{"seq", &d->seq, NULL, EV_REASON_wrong_type}};
    BL_TRY(check_members(checks, 1, reason, err));
    d->ev->type = EV_accounts;
    ev_set_str(d->ev, EV_accounts_kind, d->kind.text);
    if (d->inner_did.state == WANTED_ABSENT) {
        d->extra.absent |= ABSENT_DID;
    } else if (d->inner_did.state != WANTED_GIVEN || !bl_str_eq(d->inner_did.text, d->did.text)) {
        add_extra(d, EXTRA_INNER, d->inner_did_raw);
    }
    return BL_OK;
}

static void finish_cursor(struct decoder *d, struct slice cursor) {
    unsigned column = d->ev->type == EV_accounts ? (unsigned)EV_accounts_cursor : (unsigned)EV_CURSOR;
    int64_t value;
    if (!cursor.text.p) return;
    if (js_i64(cursor.text, &value)) {
        ev_set_i64(d->ev, column, value);
    } else {
        add_extra(d, EXTRA_EVENT, cursor);
    }
}

static void finish_extra(struct decoder *d) {
    if (extra_is_empty(&d->extra)) return;
    unsigned column = d->ev->type == EV_accounts ? (unsigned)EV_accounts_extra : (unsigned)EV_EXTRA;
    struct bl_str text;
    if (extra_text(&d->extra, event_members[EVENT_PAYLOAD + d->decoded].name.p, d->arena, &text)) {
        ev_set_str(d->ev, column, text);
    } else {
        d->full = true;
    }
}

static enum bl_rc finish(struct decoder *d, struct slice cursor, enum ev_reason *reason, struct bl_error *err) {
    BL_TRY(finish_envelope(d, reason, err));
    BL_TRY(d->decoded == PAYLOAD_COMMIT ? finish_commit(d, reason, err) : finish_account(d, reason, err));
    finish_cursor(d, cursor);
    if (!d->routing) {
        finish_extra(d);
        if (d->ev->type == EV_posts && d->ev->record_json.n && !derive_post(d->ev, d->tags.text, d->arena))
            d->full = true;
    }
    return BL_OK;
}

static enum bl_rc decode_once(struct decoder *d, struct bl_str message, enum ev_reason *reason, struct bl_error *err) {
    struct slice cursor = {0};
    d->c = js_open(message, EV_DEPTH_MAX);
    d->decoded = -1;
    if (js_peek(&d->c) != JS_OBJECT) {
        if (!js_skip(&d->c, NULL, NULL) || !js_done(&d->c)) return refuse_fault(&d->c, reason, err);
        return refuse(EV_REASON_not_object, "the message is", message, reason, err);
    }
    decode_message(d, &cursor);
    if (d->c.fault) return refuse_fault(&d->c, reason, err);
    decode_waiting(d);
    if (d->duplicate) return BL_OK;
    enum bl_rc rc = finish(d, cursor, reason, err);
    if (d->full) {
        if (reason) *reason = EV_REASON_NONE;
        return bl_fail(err, BL_E_FULL, "an event of %zu bytes does not fit in the arena of %zu; take smaller batches",
                       message.n, d->arena->max);
    }
    return rc;
}

/* The message without overridden members: rare enough to pay for a second reading. */
static enum bl_rc without_duplicates(struct bl_str message, struct bl_arena *arena, struct bl_str *out,
                                     struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf b = {.max = EV_SIZE_MAX};
    js_normalise(message, &b);
    BL_TRY(bl_buf_check(&b, "a message with duplicate keys", err));
    *out = bl_arena_dup(arena, bl_buf_view(&b));
    if (!out->p) return bl_fail(err, BL_E_FULL, "the arena of %zu bytes is full; take smaller batches", arena->max);
    return BL_OK;
}

static enum bl_rc decode(struct bl_str message, struct bl_arena *arena, bool routing, struct event *out,
                         enum ev_reason *reason, struct bl_error *err) {
    if (reason) *reason = EV_REASON_NONE;
    if (message.n > EV_SIZE_MAX) {
        if (reason) *reason = EV_REASON_too_large;
        return bl_fail(err, BL_E_TOO_LARGE, "%s: %zu bytes, at most %d are taken", ev_reason_text(EV_REASON_too_large),
                       message.n, EV_SIZE_MAX);
    }
    struct event ev;
    ev.notes = 0;
    ev.has = 0;
    ev.type = EV_others;
    ev.record_json = (struct bl_str){0};
    struct decoder d = {.arena = arena, .ev = &ev, .routing = routing, .type = EV_others};
    BL_TRY(decode_once(&d, message, reason, err));
    if (d.duplicate) {
        BL_TRY(without_duplicates(message, arena, &message, err));
        ev.notes = EV_NOTE_DUPLICATE_KEY;
        ev.has = 0;
        ev.record_json = (struct bl_str){0};
        d = (struct decoder){.arena = arena, .ev = &ev, .routing = routing, .type = EV_others};
        BL_TRY(decode_once(&d, message, reason, err));
    }
    copy_row(out, &ev);
    return BL_OK;
}

enum bl_rc ev_decode(struct bl_str message, struct bl_arena *arena, struct event *out, enum ev_reason *reason,
                     struct bl_error *err) {
    return decode(message, arena, false, out, reason, err);
}

enum bl_rc ev_check(struct bl_str message, struct bl_arena *arena, struct event *out, enum ev_reason *reason,
                    struct bl_error *err) {
    BL_TRY(decode(message, arena, true, out, reason, err));
    static const uint64_t one = 1, both = one << EV_TIME_US | one << EV_DID;
    static const uint64_t of_commit = both | one << EV_OPERATION | one << EV_RKEY | one << EV_REV | one << EV_CURSOR;
    out->has &= out->type == EV_accounts
                    ? both | one << EV_accounts_kind | one << EV_accounts_seq | one << EV_accounts_cursor
                : out->type == EV_others ? of_commit | one << EV_others_collection
                                         : of_commit;
    out->record_json = (struct bl_str){0};
    return BL_OK;
}
