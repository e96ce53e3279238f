#include "event/decode.h"
#include "event/syntax.h"

bool take_text(struct decoder *d, struct js_string s, struct bl_str *out) {
    if (!s.escaped) {
        *out = s.raw;
        return true;
    }
    if (js_unescape(s, d->arena, out)) return true;
    if (!bl_arena_alloc(d->arena, s.raw.n)) d->full = true;
    return false;
}

void take_wanted(struct decoder *d, struct js_cursor *c, struct wanted *w) {
    struct js_string s;
    *w = (struct wanted){.state = WANTED_WRONG_TYPE};
    if (js_peek(c) != JS_STRING) {
        js_skip(c, NULL, NULL);
    } else if (js_string(c, &s)) {
        w->state = WANTED_GIVEN;
        if (!take_text(d, s, &w->text)) w->text = s.raw;
    }
}

void take_slice(struct js_cursor *c, struct js_string key, struct slice *out) {
    *out = (struct slice){.key = key.raw};
    js_skip(c, &out->text, &out->spaced);
}

void add_extra(struct decoder *d, enum extra_level level, struct slice s) {
    if (!extra_add(&d->extra, d->arena, level, s.key, s.text, s.spaced)) d->full = true;
}

void take_extra(struct decoder *d, struct js_cursor *c, enum extra_level level, struct js_string key) {
    struct slice s = {.key = key.raw};
    if (js_skip(c, &s.text, &s.spaced)) add_extra(d, level, s);
}

/* A known member that its columns cannot hold. */
static void unexpected(struct decoder *d, enum extra_level level, struct slice s) {
    if (level == EXTRA_RECORD) d->ev->notes |= EV_NOTE_EXTRA_RECORD;
    add_extra(d, level, s);
}

static void take_unexpected(struct decoder *d, struct js_cursor *c, enum extra_level level, struct js_string key) {
    struct slice s;
    take_slice(c, key, &s);
    if (c->fault == JS_OK) unexpected(d, level, s);
}

static struct slice quoted(struct js_string key, struct js_string value) {
    return (struct slice){.key = key.raw, .text = {value.raw.p - 1, value.raw.n + 2}};
}

static void take_created_at(struct decoder *d, struct js_string key, struct js_string s, enum extra_level level) {
    struct bl_str text;
    int64_t wall_us;
    if (!take_text(d, s, &text)) {
        unexpected(d, level, quoted(key, s));
    } else if (at_is_canonical_datetime(text, &wall_us)) {
        ev_set_i64(d->ev, EV_CREATED_AT, wall_us);
    } else {
        ev_set_str(d->ev, EV_CREATED_AT_TEXT, text);
        if (at_is_datetime(text, &wall_us)) ev_set_i64(d->ev, EV_CREATED_AT, wall_us);
    }
}

static void take_string(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                        enum extra_level level) {
    struct js_string s;
    struct bl_str text;
    if (js_peek(c) != JS_STRING) {
        take_unexpected(d, c, level, key);
    } else if (!js_string(c, &s)) {
        return;
    } else if (f->form == FORM_CREATED_AT) {
        take_created_at(d, key, s, level);
    } else if (!take_text(d, s, &text)) {
        unexpected(d, level, quoted(key, s));
    } else if (f->form == FORM_STR) {
        ev_set_str(d->ev, f->column, text);
    } else if (!bl_str_eq(text, d->collection.text)) {
        unexpected(d, level, quoted(key, s)); /* FORM_TYPE */
    }
}

static void take_bool(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                      enum extra_level level) {
    int kind = js_peek(c);
    if (kind != JS_TRUE && kind != JS_FALSE) {
        take_unexpected(d, c, level, key);
    } else if (js_skip(c, NULL, NULL)) {
        ev_set_i64(d->ev, f->column, kind == JS_TRUE);
    }
}

static void take_json(struct decoder *d, struct js_cursor *c, const struct field *f) {
    struct bl_str text;
    bool spaced = false;
    if (!js_skip(c, &text, &spaced)) return;
    if (!extra_stored(text, spaced, d->arena, &text)) d->full = true;
    ev_set_str(d->ev, f->column, text);
}

/* Elements of an array of strings: how many, or -1 when it is something else. */
static long count_strings(struct bl_str text) {
    struct js_cursor c = js_open(text, EV_DEPTH_MAX);
    bool first = true;
    long n = 0;
    if (js_peek(&c) != JS_ARRAY || !js_array(&c)) return -1;
    for (; js_element(&c, &first); n++)
        if (js_peek(&c) != JS_STRING || !js_skip(&c, NULL, NULL)) return -1;
    return n;
}

/* A list of few plain strings, read in one go; false (and nothing proven) for any other value. */
static bool short_list(struct decoder *d, struct js_cursor *c, struct ev_list *out) {
    enum { MANY = 8 };
    struct bl_str items[MANY];
    struct js_string s;
    size_t n = 0;
    bool first = true;
    if (js_peek(c) != JS_ARRAY || !js_array(c)) return false;
    for (; js_element(c, &first); items[n++] = s.raw)
        if (n == MANY || js_peek(c) != JS_STRING || !js_string(c, &s) || s.escaped) return false;
    if (c->fault) return false;
    struct bl_str *copy = bl_arena_alloc(d->arena, (n ? n : 1) * sizeof *copy);
    if (!copy) return false;
    memcpy(copy, items, n * sizeof *copy);
    *out = (struct ev_list){copy, n};
    return true;
}

static bool list_of_strings(struct decoder *d, struct bl_str text, struct ev_list *out) {
    long count = count_strings(text);
    if (count < 0) return false;
    struct bl_str *items = bl_arena_alloc(d->arena, (size_t)(count ? count : 1) * sizeof *items);
    if (!items) {
        d->full = true;
        return false;
    }
    struct js_cursor c = js_open(text, EV_DEPTH_MAX);
    struct js_string s;
    bool first = true;
    if (!js_array(&c)) return false;
    for (long i = 0; i < count; i++)
        if (!js_element(&c, &first) || !js_string(&c, &s) || !take_text(d, s, &items[i])) return false;
    *out = (struct ev_list){items, (size_t)count};
    return true;
}

static void take_list(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                      enum extra_level level) {
    struct slice s;
    struct ev_list list;
    struct js_cursor quick = *c;
    bool good = short_list(d, &quick, &list);
    if (good) {
        *c = quick;
    } else {
        take_slice(c, key, &s);
        if (c->fault) return;
        good = list_of_strings(d, s.text, &list);
    }
    if (good) {
        d->ev->v[f->column].list = list;
        d->ev->has |= (uint64_t)1 << f->column;
    } else {
        unexpected(d, level, s);
    }
}

/* Where the object at `c` holds exactly the strings uri and cid, they go to `pair`. The object is skipped in any case.
 */
static bool read_reference(struct decoder *d, struct js_cursor *c, struct bl_str pair[2]) {
    static const struct field fields[] = {{FIELD_NAME("cid"), .column = 1}, {FIELD_NAME("uri"), .column = 0}};
    if (js_peek(c) != JS_OBJECT) {
        js_skip(c, NULL, NULL);
        return false;
    }
    struct js_string key, s;
    bool first = true, good = true;
    unsigned seen = 0, after = 0;
    int i;
    if (!js_object(c)) return false;
    while (shape_next((struct shape){fields, 2}, c, &key, &first, &after, &i)) {
        if (i < 0 || js_peek(c) != JS_STRING) {
            js_skip(c, NULL, NULL);
            good = false;
        } else if (js_string(c, &s) && !take_text(d, s, &pair[fields[i].column])) {
            good = false;
        }
        if (i < 0) continue;
        if (seen >> i & 1) d->duplicate = true;
        seen |= 1u << i;
    }
    return good && seen == 3 && c->fault == JS_OK;
}

static bool read_reply(struct decoder *d, struct js_cursor *c, struct bl_str parts[4]) {
    static const struct field fields[] = {{FIELD_NAME("parent"), .column = 2}, {FIELD_NAME("root"), .column = 0}};
    if (js_peek(c) != JS_OBJECT) {
        js_skip(c, NULL, NULL);
        return false;
    }
    struct js_string key;
    bool first = true, good = true;
    unsigned seen = 0, after = 0;
    int i;
    if (!js_object(c)) return false;
    while (shape_next((struct shape){fields, 2}, c, &key, &first, &after, &i)) {
        if (i < 0) {
            js_skip(c, NULL, NULL);
            good = false;
            continue;
        }
        if (!read_reference(d, c, parts + fields[i].column)) good = false;
        if (seen >> i & 1) d->duplicate = true;
        seen |= 1u << i;
    }
    return good && seen == 3 && c->fault == JS_OK;
}

static void take_references(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                            enum extra_level level) {
    struct bl_str parts[4];
    unsigned count = f->form == FORM_REPLY ? 4 : 2;
    js_peek(c); /* to the value's first byte */
    const char *from = c->p;
    bool good = f->form == FORM_REPLY ? read_reply(d, c, parts) : read_reference(d, c, parts);
    if (c->fault) return;
    if (!good) {
        unexpected(d, level, (struct slice){key.raw, {from, (size_t)(c->p - from)}, true});
        return;
    }
    for (unsigned i = 0; i < count; i++) ev_set_str(d->ev, f->column + i, parts[i]);
}

static void take_seq(struct decoder *d, struct js_cursor *c, const struct field *f) {
    struct bl_str text;
    int64_t value;
    bool number = js_peek(c) == JS_NUMBER;
    d->seq.state = WANTED_WRONG_TYPE;
    if (!js_skip(c, &text, NULL) || !number || !js_i64(text, &value)) return;
    d->seq.state = WANTED_GIVEN;
    ev_set_i64(d->ev, f->column, value);
}

/* Kept whole: whether the envelope's did says the same is known at the end only. */
static void take_inner_did(struct decoder *d, struct js_cursor *c, struct js_string key) {
    take_slice(c, key, &d->inner_did_raw);
    if (c->fault) return;
    struct js_cursor again = js_open(d->inner_did_raw.text, EV_DEPTH_MAX);
    take_wanted(d, &again, &d->inner_did);
}

void take_field(struct decoder *d, struct js_cursor *c, const struct field *f, struct js_string key,
                enum extra_level level) {
    switch (f->form) {
    case FORM_STR:
    case FORM_CREATED_AT:
    case FORM_TYPE:
        take_string(d, c, f, key, level);
        break;
    case FORM_BOOL:
        take_bool(d, c, f, key, level);
        break;
    case FORM_JSON:
        take_json(d, c, f);
        break;
    case FORM_LIST:
        take_list(d, c, f, key, level);
        break;
    case FORM_REF:
    case FORM_REPLY:
        take_references(d, c, f, key, level);
        break;
    case FORM_TAGS:
        take_slice(c, key, &d->tags);
        if (c->fault == JS_OK) add_extra(d, level, d->tags);
        break;
    case FORM_DID:
        take_inner_did(d, c, key);
        break;
    case FORM_SEQ:
        take_seq(d, c, f);
        break;
    }
}
