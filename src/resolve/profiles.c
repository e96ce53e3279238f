#include "resolve/profiles.h"

#include "event/json.h"
#include "event/syntax.h"
#include "net/url.h"

void profiles_target(struct bl_str base, const struct bl_str *subjects, size_t count, struct bl_buf *out) {
    if (bl_str_ends(base, BL_LIT("/"))) base.n--;
    bl_buf_str(out, base);
    bl_buf_z(out, "/xrpc/app.bsky.actor.getProfiles");
    for (size_t i = 0; i < count; i++) {
        bl_buf_z(out, i ? "&actors=" : "?actors=");
        url_encode(out, subjects[i]);
    }
}

static struct bl_str read_text(struct js_cursor *c, struct bl_arena *arena) {
    struct js_string raw;
    struct bl_str text = {0};
    if (js_peek(c) != JS_STRING) {
        js_skip(c, NULL, NULL);
        return text;
    }
    if (!js_string(c, &raw) || !js_unescape(raw, arena, &text)) return (struct bl_str){0};
    return bl_arena_dup(arena, text);
}

/* A handle in small letters, as handles compare; "handle.invalid" is the network's word for none. */
static struct bl_str clean_handle(struct bl_str handle, struct bl_arena *arena) {
    if (!at_is_handle(handle)) return (struct bl_str){0};
    char *p = bl_arena_alloc(arena, handle.n);
    if (!p) return (struct bl_str){0};
    for (size_t i = 0; i < handle.n; i++)
        p[i] = handle.p[i] >= 'A' && handle.p[i] <= 'Z' ? (char)(handle.p[i] + 32) : handle.p[i];
    struct bl_str clean = {p, handle.n};
    return bl_str_eq(clean, BL_LIT("handle.invalid")) ? (struct bl_str){0} : clean;
}

static struct resolver_account read_profile(struct js_cursor *c, struct bl_arena *arena) {
    struct resolver_account a = {0};
    struct js_string key;
    bool first = true;
    if (js_peek(c) != JS_OBJECT) {
        js_skip(c, NULL, NULL);
        return a;
    }
    if (!js_object(c)) return a;
    while (js_member(c, &key, &first)) {
        if (js_string_is(key, BL_LIT("did")))
            a.did = read_text(c, arena);
        else if (js_string_is(key, BL_LIT("handle")))
            a.handle = clean_handle(read_text(c, arena), arena);
        else if (js_string_is(key, BL_LIT("displayName")))
            a.display_name = read_text(c, arena);
        else
            js_skip(c, NULL, NULL);
    }
    if (a.display_name.n == 0) a.display_name = (struct bl_str){0};
    return a;
}

static void read_profiles(struct js_cursor *c, struct bl_arena *arena, struct resolver_account *out, size_t max,
                          size_t *count) {
    bool first = true;
    while (js_element(c, &first)) {
        struct resolver_account a = read_profile(c, arena);
        if (!c->fault && a.did.p && at_is_did(a.did) && *count < max) out[(*count)++] = a;
    }
}

enum bl_rc profiles_read(struct bl_str body, struct bl_arena *arena, struct resolver_account *out, size_t max,
                         size_t *count, struct bl_error *err) {
    enum { DEPTH_MAX = 64 };
    struct js_cursor c = js_open(body, DEPTH_MAX);
    struct js_string key;
    bool first = true, seen = false;
    size_t n = 0;
    if (js_peek(&c) == JS_OBJECT && js_object(&c))
        while (js_member(&c, &key, &first)) {
            if (js_string_is(key, BL_LIT("profiles")) && js_peek(&c) == JS_ARRAY && js_array(&c)) {
                seen = true;
                read_profiles(&c, arena, out, max, &n);
            } else
                js_skip(&c, NULL, NULL);
        }
    if (c.fault || !seen || !js_done(&c))
        return bl_fail(err, BL_E_SYNTAX, "the answer is not that of app.bsky.actor.getProfiles");
    *count = n;
    return BL_OK;
}
