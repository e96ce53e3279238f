#include "base/clock.h"
#include "event/cbor.h"
#include "event/extra.h"
#include "event/shape.h"

/* Writes the members of one object. */
struct object {
    struct bl_buf *out;
    bool comma;
};

static struct object open_object(struct bl_buf *out) {
    bl_buf_byte(out, '{');
    return (struct object){out, false};
}

static void put_key(struct object *o, struct bl_str name) {
    bl_buf_z(o->out, o->comma ? ",\"" : "\"");
    bl_buf_str(o->out, name);
    bl_buf_z(o->out, "\":");
    o->comma = true;
}

static void put_str(struct object *o, const char *name, struct bl_str value) {
    put_key(o, bl_str(name));
    bl_buf_json(o->out, value);
}

static void put_i64(struct object *o, const char *name, int64_t value) {
    put_key(o, bl_str(name));
    bl_buf_i64(o->out, value);
}

/* Members as text, from extra. */
static void put_members(struct object *o, struct bl_str members) {
    if (members.n == 0) return;
    if (o->comma) bl_buf_byte(o->out, ',');
    bl_buf_str(o->out, members);
    o->comma = true;
}

static void put_list(struct bl_buf *out, struct ev_list list) {
    bl_buf_byte(out, '[');
    for (size_t i = 0; i < list.count; i++) {
        if (i) bl_buf_byte(out, ',');
        bl_buf_json(out, list.items[i]);
    }
    bl_buf_byte(out, ']');
}

static void put_reference(const struct event *ev, unsigned column, struct bl_buf *out) {
    struct object o = open_object(out);
    put_str(&o, "uri", ev_str(ev, column));
    put_str(&o, "cid", ev_str(ev, column + 1));
    bl_buf_byte(out, '}');
}

static void put_reply(const struct event *ev, unsigned column, struct bl_buf *out) {
    struct object o = open_object(out);
    put_key(&o, BL_LIT("root"));
    put_reference(ev, column, out);
    put_key(&o, BL_LIT("parent"));
    put_reference(ev, column + 2, out);
    bl_buf_byte(out, '}');
}

static void put_created_at(const struct event *ev, struct object *o, struct bl_str name) {
    char text[BL_TIME_TEXT_MAX];
    if (ev_has(ev, EV_CREATED_AT_TEXT)) {
        put_key(o, name);
        bl_buf_json(o->out, ev_str(ev, EV_CREATED_AT_TEXT));
    } else if (ev_has(ev, EV_CREATED_AT)) {
        put_key(o, name);
        bl_buf_json(o->out, bl_str(bl_format_time(ev->v[EV_CREATED_AT].i, 3, text)));
    }
}

static void put_field(const struct event *ev, const struct field *f, struct object *o, const struct extra_view *x) {
    if (f->form == FORM_TYPE) {
        if (!x->has_type && !(x->absent & ABSENT_TYPE)) {
            put_key(o, f->name);
            bl_buf_json(o->out, bl_str(ev_schema(ev->type)->collection));
        }
        return;
    }
    if (f->form == FORM_DID) {
        if (!x->has_did && !(x->absent & ABSENT_DID)) put_str(o, "did", ev_str(ev, EV_DID));
        return;
    }
    if (f->form == FORM_CREATED_AT) {
        put_created_at(ev, o, f->name);
        return;
    }
    if (f->form == FORM_TAGS || !ev_has(ev, f->column)) return;
    const struct ev_value *v = &ev->v[f->column];
    put_key(o, f->name);
    switch (f->form) {
    case FORM_STR: bl_buf_json(o->out, v->s); break;
    case FORM_BOOL: bl_buf_z(o->out, v->i ? "true" : "false"); break;
    case FORM_JSON: bl_buf_str(o->out, v->s); break;
    case FORM_LIST: put_list(o->out, v->list); break;
    case FORM_REF: put_reference(ev, f->column, o->out); break;
    case FORM_REPLY: put_reply(ev, f->column, o->out); break;
    case FORM_SEQ: bl_buf_i64(o->out, v->i); break;
    case FORM_TYPE: case FORM_DID: case FORM_CREATED_AT: case FORM_TAGS: break;
    }
}

static void put_fields(const struct event *ev, struct shape shape, struct object *o, const struct extra_view *x) {
    for (unsigned i = 0; i < shape.count; i++) put_field(ev, &shape.fields[i], o, x);
}

static enum bl_rc corrupt(struct bl_error *err, const char *what) {
    return bl_fail(err, BL_E_CORRUPT, "the row cannot be turned back into its event: %s; restore the file it is in", what);
}

/* The record between commit's other members; `*record` is where it stands in `o->out`, empty when there is none. */
static void put_record(const struct event *ev, const struct extra_view *x, struct object *o, size_t record[2]) {
    record[0] = record[1] = 0;
    bool deleted = bl_str_eq(ev_str(ev, EV_OPERATION), BL_LIT("delete"));
    if (ev->type == EV_others ? !ev_has(ev, EV_others_record)
                              : deleted || x->has_record || (x->absent & ABSENT_RECORD)) return;
    put_key(o, BL_LIT("record"));
    record[0] = o->out->n;
    if (ev->type == EV_others) {
        bl_buf_str(o->out, ev_str(ev, EV_others_record));
    } else {
        struct object r = open_object(o->out);
        put_fields(ev, shape_of_record(ev->type), &r, x);
        put_members(&r, x->members[EXTRA_RECORD]);
        bl_buf_byte(o->out, '}');
    }
    record[1] = o->out->n;
}

static enum bl_rc put_cid(const struct event *ev, struct object *o, const size_t record[2], struct bl_error *err) {
    if (ev_has(ev, EV_CID)) {
        put_str(o, "cid", ev_str(ev, EV_CID));
        return BL_OK;
    }
    if (!ev_has(ev, EV_CID_VERIFIED) || !ev->v[EV_CID_VERIFIED].i) return BL_OK;
    BL_TRY(bl_buf_check(o->out, "the event", err));
    if (record[1] == record[0]) return corrupt(err, "its CID follows from a record that is not there");
    BL_CLEANUP(bl_buf_release) struct bl_buf scratch = {0};
    char cid[CID_TEXT_LEN];
    if (cid_of_record(bl_strn(o->out->p + record[0], record[1] - record[0]), &scratch, cid, err) != BL_OK)
        return corrupt(err, "its record has no CID");
    put_str(o, "cid", bl_strn(cid, CID_TEXT_LEN));
    return BL_OK;
}

static enum bl_rc put_commit(const struct event *ev, const struct extra_view *x, struct bl_buf *out,
                             struct bl_error *err) {
    struct object o = open_object(out);
    size_t record[2];
    put_str(&o, "rev", ev_str(ev, EV_REV));
    put_str(&o, "operation", ev_str(ev, EV_OPERATION));
    put_str(&o, "collection",
            ev->type == EV_others ? ev_str(ev, EV_others_collection) : bl_str(ev_schema(ev->type)->collection));
    put_str(&o, "rkey", ev_str(ev, EV_RKEY));
    put_record(ev, x, &o, record);
    BL_TRY(put_cid(ev, &o, record, err));
    put_members(&o, x->members[EXTRA_INNER]);
    bl_buf_byte(out, '}');
    return BL_OK;
}

static bool has_required(const struct event *ev) {
    const struct ev_schema *schema = ev_schema(ev->type);
    for (unsigned i = 0; i < schema->count; i++)
        if (!schema->columns[i].optional && !ev_has(ev, i)) return false;
    return true;
}

enum bl_rc ev_encode(const struct event *ev, struct bl_buf *out, struct bl_error *err) {
    bool account = ev->type == EV_accounts;
    unsigned cursor = account ? (unsigned)EV_accounts_cursor : (unsigned)EV_CURSOR;
    unsigned extra = account ? (unsigned)EV_accounts_extra : (unsigned)EV_EXTRA;
    if (!has_required(ev)) return corrupt(err, "a required column is null");
    bool identity = account && bl_str_eq(ev_str(ev, EV_accounts_kind), BL_LIT("identity"));
    if (account && !identity && !bl_str_eq(ev_str(ev, EV_accounts_kind), BL_LIT("account")))
        return corrupt(err, "kind is neither identity nor account");
    const char *kind = !account ? "commit" : identity ? "identity" : "account";
    struct extra_view x = {0};
    if (ev_has(ev, extra) && !extra_read(ev_str(ev, extra), kind, &x)) return corrupt(err, "extra is malformed");
    struct object o = open_object(out);
    put_str(&o, "did", ev_str(ev, EV_DID));
    put_i64(&o, "time_us", ev->v[EV_TIME_US].i);
    if (ev_has(ev, cursor)) put_i64(&o, "cursor", ev->v[cursor].i);
    put_str(&o, "kind", bl_str(kind));
    put_key(&o, bl_str(kind));
    if (account) {
        struct object inner = open_object(out);
        put_fields(ev, shape_of_account(identity), &inner, &x);
        put_members(&inner, x.members[EXTRA_INNER]);
        bl_buf_byte(out, '}');
    } else {
        BL_TRY(put_commit(ev, &x, out, err));
    }
    put_members(&o, x.members[EXTRA_EVENT]);
    bl_buf_byte(out, '}');
    return bl_buf_check(out, "the event", err);
}

void ev_verify_cid(struct event *ev, struct bl_buf *scratch) {
    if (ev->type == EV_accounts || !ev_has(ev, EV_CID)) return;
    char cid[CID_TEXT_LEN];
    bool same = ev->record_json.n && cid_of_record(ev->record_json, scratch, cid, NULL) == BL_OK &&
                bl_str_eq(ev_str(ev, EV_CID), bl_strn(cid, CID_TEXT_LEN));
    ev_set_i64(ev, EV_CID_VERIFIED, same);
    if (same) ev->has &= ~((uint64_t)1 << EV_CID);
}
