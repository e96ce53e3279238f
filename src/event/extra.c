#include "event/extra.h"

static const struct {
    enum extra_absent bit;
    const char *object, *name; /* object NULL: the inner object */
} absents[] = {{ABSENT_RECORD, "commit", "record"}, {ABSENT_TYPE, "record", "$type"}, {ABSENT_DID, NULL, "did"}};
enum { ABSENTS = sizeof absents / sizeof *absents, ABSENT_NAME_MAX = 32 };

bool extra_add(struct extra *x, struct bl_arena *arena, enum extra_level level, struct bl_str key, struct bl_str value,
               bool spaced) {
    struct extra_member *m = bl_arena_alloc(arena, sizeof *m);
    if (!m) return false;
    *m = (struct extra_member){NULL, key, value, spaced};
    if (x->first[level]) {
        *x->tail[level] = m;
    } else {
        x->first[level] = m;
    }
    x->tail[level] = &m->next;
    return true;
}

/* A buffer over arena memory: never grows, never freed. */
static bool arena_buf(struct bl_arena *arena, size_t size, struct bl_buf *out) {
    char *p = bl_arena_alloc(arena, size ? size : 1);
    if (!p) return false;
    *out = (struct bl_buf){.p = p, .cap = size, .max = size ? size : 1};
    return true;
}

bool extra_stored(struct bl_str value, bool spaced, struct bl_arena *arena, struct bl_str *out) {
    *out = value;
    if (!spaced) return true;
    struct bl_buf b;
    if (!arena_buf(arena, value.n, &b)) return false;
    js_minify(value, &b);
    *out = bl_buf_view(&b);
    return true;
}

static void put_level(struct bl_buf *b, const char *name, const struct extra_member *m) {
    if (!m) return;
    if (b->n > 1) bl_buf_byte(b, ',');
    bl_buf_byte(b, '"');
    bl_buf_z(b, name);
    bl_buf_z(b, "\":{");
    for (bool first = true; m; m = m->next, first = false) {
        bl_buf_z(b, first ? "\"" : ",\"");
        bl_buf_str(b, m->key);
        bl_buf_z(b, "\":");
        if (m->spaced) {
            js_minify(m->value, b);
        } else {
            bl_buf_str(b, m->value);
        }
    }
    bl_buf_byte(b, '}');
}

static void put_absent(struct bl_buf *b, unsigned absent, const char *inner) {
    if (!absent) return;
    bl_buf_z(b, b->n > 1 ? ",\"absent\":[" : "\"absent\":[");
    bool comma = false;
    for (unsigned i = 0; i < ABSENTS; i++) {
        if (!(absent & absents[i].bit)) continue;
        bl_buf_z(b, comma ? ",\"" : "\"");
        bl_buf_z(b, absents[i].object ? absents[i].object : inner);
        bl_buf_byte(b, '.');
        bl_buf_z(b, absents[i].name);
        bl_buf_byte(b, '"');
        comma = true;
    }
    bl_buf_byte(b, ']');
}

bool extra_text(const struct extra *x, const char *inner, struct bl_arena *arena, struct bl_str *out) {
    const char *const names[EXTRA_LEVELS] = {"event", inner, "record"};
    size_t size = 16 + ABSENTS * ABSENT_NAME_MAX;
    for (unsigned level = 0; level < EXTRA_LEVELS; level++) {
        size += strlen(names[level]) + 8;
        for (const struct extra_member *m = x->first[level]; m; m = m->next) size += m->key.n + m->value.n + 4;
    }
    struct bl_buf b;
    if (!arena_buf(arena, size, &b)) return false;
    bl_buf_byte(&b, '{');
    for (unsigned level = 0; level < EXTRA_LEVELS; level++) put_level(&b, names[level], x->first[level]);
    put_absent(&b, x->absent, inner);
    bl_buf_byte(&b, '}');
    BL_ASSERT(!b.failed);
    *out = bl_buf_view(&b);
    return true;
}

static bool read_absent(struct js_cursor *c, const char *inner, unsigned *absent) {
    struct js_string s;
    bool first = true;
    if (js_peek(c) != JS_ARRAY || !js_array(c)) return false;
    while (js_element(c, &first)) {
        if (!js_string(c, &s)) return false;
        unsigned bit = 0;
        for (unsigned i = 0; i < ABSENTS; i++) {
            struct bl_str object = bl_str_cut(&(struct bl_str){s.raw.p, s.raw.n}, '.');
            struct bl_str name = bl_str_skip(s.raw, object.n + 1);
            if (bl_str_eq(object, bl_str(absents[i].object ? absents[i].object : inner)) &&
                bl_str_eq(name, bl_str(absents[i].name)))
                bit = absents[i].bit;
        }
        if (!bit) return false;
        *absent |= bit;
    }
    return c->fault == JS_OK;
}

/* One level: its text, and which of the members that are otherwise implied it holds. */
static bool read_level(struct js_cursor *c, enum extra_level level, struct extra_view *out) {
    if (js_peek(c) != JS_OBJECT || !js_object(c)) return false;
    const char *from = c->p;
    struct js_string key;
    bool first = true;
    while (js_member(c, &key, &first) && js_skip(c, NULL, NULL)) {
        if (level == EXTRA_INNER && js_string_is(key, BL_LIT("record"))) out->has_record = true;
        if (level == EXTRA_INNER && js_string_is(key, BL_LIT("did"))) out->has_did = true;
        if (level == EXTRA_RECORD && js_string_is(key, BL_LIT("$type"))) out->has_type = true;
    }
    if (c->fault) return false;
    out->members[level] = bl_str_trim(bl_strn(from, (size_t)(c->p - from) - 1));
    return true;
}

bool extra_read(struct bl_str text, const char *inner, struct extra_view *out) {
    *out = (struct extra_view){0};
    struct js_cursor c = js_open(text, JS_DEPTH_LIMIT);
    struct js_string key;
    bool first = true, good = true;
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return false;
    while (good && js_member(&c, &key, &first)) {
        if (js_string_is(key, BL_LIT("event"))) {
            good = read_level(&c, EXTRA_EVENT, out);
        } else if (js_string_is(key, bl_str(inner))) {
            good = read_level(&c, EXTRA_INNER, out);
        } else if (js_string_is(key, BL_LIT("record"))) {
            good = read_level(&c, EXTRA_RECORD, out);
        } else {
            good = js_string_is(key, BL_LIT("absent")) && read_absent(&c, inner, &out->absent);
        }
    }
    return good && js_done(&c);
}
