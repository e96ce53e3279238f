#include "source/v2.h"

#include "base/clock.h"
#include "event/event.h"
#include "event/json.h"

#define PREFIX "network.bsky.jetstream.subscribeEvents#"

enum member { M_TYPE, M_SEQ, M_DID, M_TIME, M_REV, M_OPERATION, M_COLLECTION, M_RKEY, M_RECORD, M_CID, M_OWN, M_COUNT };
static const char *const member_names[M_OWN] = {"$type",     "seq",        "did",  "time",   "rev",
                                                "operation", "collection", "rkey", "record", "cid"};

struct payload {
    struct bl_str raw[M_COUNT]; /* value texts; of a repeated member the last, as in Go's encoding/json */
    const char *kind;           /* NULL: not one of ours */
    bool commit;
    bool others; /* has members beyond these */
};

/* ---- reading ---- */

static bool is_string(struct bl_str raw) {
    return raw.n >= 2 && raw.p[0] == '"';
}
static struct bl_str inside(struct bl_str raw) {
    return is_string(raw) ? bl_strn(raw.p + 1, raw.n - 2) : (struct bl_str){0};
}

/* Which member `key` is; -1 when its kind of payload has none of that name. */
static int member_of(const struct payload *p, struct js_string key) {
    int last = p->commit ? M_CID : M_TIME;
    for (int m = M_TYPE; m <= last; m++)
        if (js_string_is(key, bl_str(member_names[m]))) return m;
    return !p->commit && p->kind && js_string_is(key, bl_str(p->kind)) ? M_OWN : -1;
}

static const char *kind_of(struct bl_str type) {
    static const char *const kinds[] = {"commit", "identity", "account", "sync", "info"};
    struct bl_str prefix = BL_LIT(PREFIX);
    if (!bl_str_starts(type, prefix)) return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (bl_str_eq(bl_str_skip(type, prefix.n), bl_str(kinds[i]))) return kinds[i];
    return NULL;
}

/* The value of the string member `name` of an object; empty when there is none. */
static struct bl_str find_string(struct bl_str object, const char *name) {
    struct js_cursor c = js_open(object, EV_DEPTH_MAX + 2);
    struct js_string key;
    struct bl_str raw, found = {0};
    bool first = true;
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return found;
    while (js_member(&c, &key, &first) && js_skip(&c, &raw, NULL))
        if (js_string_is(key, bl_str(name))) found = inside(raw);
    return found;
}

/* $type says how to read the rest. It usually comes first; then nothing is read twice. */
static struct bl_str type_of(struct bl_str object) {
    struct bl_str usual = BL_LIT("{\"$type\":\"");
    if (bl_str_starts(object, usual)) {
        struct bl_str rest = bl_str_skip(object, usual.n), type = bl_str_cut(&rest, '"');
        if (bl_str_starts(type, BL_LIT(PREFIX))) return type;
    }
    return find_string(object, "$type");
}

static bool read_payload(struct bl_str object, struct payload *p) {
    struct js_cursor c = js_open(object, EV_DEPTH_MAX + 1);
    struct js_string key;
    bool first = true;
    struct bl_str type = type_of(object);
    *p = (struct payload){.kind = kind_of(type)};
    p->commit = p->kind && strcmp(p->kind, "commit") == 0;
    if (!p->kind || js_peek(&c) != JS_OBJECT || !js_object(&c)) return false;
    while (js_member(&c, &key, &first)) {
        struct bl_str raw;
        if (!js_skip(&c, &raw, NULL)) return false;
        int m = member_of(p, key);
        if (m >= 0)
            p->raw[m] = raw;
        else
            p->others = true;
    }
    /* A $type that is given twice is no reason to guess. */
    return !c.fault && bl_str_eq(inside(p->raw[M_TYPE]), type);
}

/* "2026-01-05T00:00:00.000755Z" and nothing else, so that the number gives the text back. */
static bool exact_time(struct bl_str text, int64_t *time_us) {
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    static const struct { int at, n; } parts[] = {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}, {20, 6}};
    int value[7] = {0};
    if (text.n != sizeof form - 1) return false;
    for (size_t i = 0; i < text.n; i++)
        if (form[i] == 'd' ? text.p[i] < '0' || text.p[i] > '9' : text.p[i] != form[i]) return false;
    for (size_t k = 0; k < 7; k++)
        for (int i = 0; i < parts[k].n; i++) value[k] = value[k] * 10 + (text.p[parts[k].at + i] - '0');
    struct bl_date d = {value[0], value[1], value[2], value[3], value[4], value[5], value[6]};
    bool real = d.month >= 1 && d.month <= 12 && d.day >= 1 && d.day <= bl_days_in_month(d.year, d.month) &&
                d.hour < 24 && d.minute < 60 && d.second < 60;
    if (real) *time_us = bl_us_of_date(d);
    return real;
}

/* ---- writing ---- */

static void add_member(struct bl_buf *out, bool *first, const char *name, struct bl_str raw) {
    if (!raw.p) return;
    if (!*first) bl_buf_byte(out, ',');
    *first = false;
    bl_buf_byte(out, '"');
    bl_buf_z(out, name);
    bl_buf_z(out, "\":");
    bl_buf_str(out, raw);
}

/* The members of `object` for which `known` is false, as they stand. */
static void add_others(struct bl_buf *out, bool *first, struct bl_str object, const struct payload *p) {
    struct js_cursor c = js_open(object, EV_DEPTH_MAX + 2);
    struct js_string key;
    struct bl_str raw;
    bool start = true;
    if (!js_object(&c)) return;
    while (js_member(&c, &key, &start) && js_skip(&c, &raw, NULL)) {
        bool known =
            p ? member_of(p, key) >= 0 : js_string_is(key, BL_LIT("$type")) || js_string_is(key, BL_LIT("payload"));
        if (known) continue;
        if (!*first) bl_buf_byte(out, ',');
        *first = false;
        bl_buf_byte(out, '"');
        bl_buf_str(out, key.raw);
        bl_buf_z(out, "\":");
        bl_buf_str(out, raw);
    }
}

struct envelope {
    struct bl_str frame, payload;
    bool others; /* the frame has members beyond $type and payload */
};

/* What has no place in a v1 event. */
static void add_rest(struct bl_buf *out, const struct envelope *e, const struct payload *p, bool keep_time) {
    bool first = true;
    bl_buf_z(out, ",\"v2\":{");
    if (e->others) {
        bl_buf_z(out, "\"frame\":{");
        add_others(out, &first, e->frame, NULL);
        bl_buf_z(out, p->others || keep_time ? "}," : "}");
    }
    if (p->others || keep_time) {
        first = true;
        bl_buf_z(out, "\"payload\":{");
        if (keep_time) add_member(out, &first, "time", p->raw[M_TIME]);
        add_others(out, &first, e->payload, p);
        bl_buf_byte(out, '}');
    }
    bl_buf_byte(out, '}');
}

static void write_event(struct bl_buf *out, const struct envelope *e, const struct payload *p, struct v2_message *m) {
    struct bl_str time = inside(p->raw[M_TIME]);
    bool exact = exact_time(time, &m->time_us), timed = exact || bl_parse_time(time, false, &m->time_us), first = true;
    bl_buf_byte(out, '{');
    add_member(out, &first, "did", p->raw[M_DID]);
    if (timed) {
        bl_buf_z(out, first ? "\"time_us\":" : ",\"time_us\":");
        bl_buf_i64(out, m->time_us);
        first = false;
    }
    add_member(out, &first, "cursor", p->raw[M_SEQ]);
    bl_buf_z(out, first ? "\"kind\":\"" : ",\"kind\":\"");
    bl_buf_z(out, p->kind);
    bl_buf_byte(out, '"');
    first = true;
    if (p->commit) {
        bl_buf_z(out, ",\"commit\":{");
        for (int n = M_REV; n <= M_CID; n++) add_member(out, &first, member_names[n], p->raw[n]);
        bl_buf_byte(out, '}');
    } else {
        first = false;
        add_member(out, &first, p->kind, p->raw[M_OWN]);
    }
    bool keep_time = p->raw[M_TIME].p && !exact;
    if (p->others || e->others || keep_time) add_rest(out, e, p, keep_time);
    bl_buf_byte(out, '}');
}

static void copy_words(char *out, size_t size, struct bl_str words) {
    snprintf(out, size, "%.*s", BL_ARG(words));
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ') *p = ' ';
}

static void take_words(struct v2_message *m, enum v2_kind kind, struct bl_str object, const char *name) {
    m->kind = kind;
    copy_words(m->name, sizeof m->name, find_string(object, name));
    copy_words(m->text, sizeof m->text, find_string(object, "message"));
}

static void read_message(const struct envelope *e, struct bl_buf *scratch, struct v2_message *m) {
    struct payload p;
    int64_t seq;
    if (!read_payload(e->payload, &p)) return;
    if (strcmp(p.kind, "info") == 0) {
        take_words(m, V2_INFO, e->payload, "name");
        return;
    }
    if (p.raw[M_SEQ].p && js_i64(p.raw[M_SEQ], &seq) && seq > 0) m->seq = (uint64_t)seq;
    bl_buf_clear(scratch);
    write_event(scratch, e, &p, m);
    if (scratch->failed) return;
    m->json = bl_buf_view(scratch);
    m->kind = V2_EVENT;
}

void v2_read(struct bl_str frame, struct bl_buf *scratch, struct v2_message *m) {
    struct envelope e = {.frame = frame};
    struct js_cursor c = js_open(frame, EV_DEPTH_MAX + 2);
    struct js_string key;
    struct bl_str raw, type = {0};
    bool first = true;
    *m = (struct v2_message){.kind = V2_FOREIGN};
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return;
    while (js_member(&c, &key, &first)) {
        bool is_type = js_string_is(key, BL_LIT("$type"));
        if (!js_skip(&c, &raw, NULL)) return;
        if (is_type)
            type = inside(raw);
        else if (js_string_is(key, BL_LIT("payload")))
            e.payload = raw;
        else
            e.others = true;
    }
    if (!js_done(&c)) return;
    if (bl_str_eq(type, BL_LIT("message"))) read_message(&e, scratch, m);
    if (bl_str_eq(type, BL_LIT("error"))) take_words(m, V2_ERROR, frame, "error");
}
