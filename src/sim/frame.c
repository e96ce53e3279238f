#include "base/clock.h"
#include "event/json.h"
#include "sim/serving.h"

#define KIND_PREFIX "network.bsky.jetstream.subscribeEvents#"

/* The members of a v1 event, as text. */
struct parts {
    struct bl_str did, time_us, kind, payload; /* did and kind without quotes */
    bool whole;
};

static struct parts take_apart(struct bl_str json) {
    struct parts p = {0};
    struct js_cursor c = js_open(json, 128);
    struct js_string key, text;
    bool first = true;
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return p;
    while (js_member(&c, &key, &first)) {
        bool did = bl_str_eq(key.raw, BL_LIT("did")), kind = bl_str_eq(key.raw, BL_LIT("kind"));
        struct bl_str raw;
        if ((did || kind) && js_peek(&c) == JS_STRING) {
            if (!js_string(&c, &text)) return p;
            *(did ? &p.did : &p.kind) = text.raw;
        } else if (!js_skip(&c, &raw, NULL)) {
            return p;
        } else if (bl_str_eq(key.raw, BL_LIT("time_us"))) {
            p.time_us = raw;
        } else if (bl_str_eq(key.raw, p.kind)) {
            p.payload = raw;
        }
    }
    p.whole = !c.fault && p.did.n && p.time_us.n && p.kind.n && p.payload.n > 1 && p.payload.p[0] == '{';
    return p;
}

void frame_with_cursor(struct bl_str json, uint64_t seq, struct bl_buf *out) {
    struct parts p = take_apart(json);
    size_t before = p.time_us.n ? (size_t)(p.time_us.p - json.p) + p.time_us.n : 0;
    if (!p.whole) {
        bl_buf_str(out, json);
        return;
    }
    bl_buf_add(out, json.p, before);
    bl_buf_printf(out, ",\"cursor\":%llu", (unsigned long long)seq);
    bl_buf_add(out, json.p + before, json.n - before);
}

static void open_message(struct bl_buf *out, struct bl_str kind) {
    bl_buf_z(out, "{\"$type\":\"message\",\"payload\":{\"$type\":\"" KIND_PREFIX);
    bl_buf_str(out, kind);
    bl_buf_byte(out, '"');
}

static void add_common(struct bl_buf *out, struct bl_str did, uint64_t seq, int64_t time_us) {
    char time[BL_TIME_TEXT_MAX];
    bl_buf_printf(out, ",\"did\":\"%.*s\",\"seq\":%llu,\"time\":\"%s\"", BL_ARG(did), (unsigned long long)seq,
                  bl_format_time(time_us, 6, time));
}

void frame_of_event(struct bl_str json, uint64_t seq, struct bl_buf *out) {
    struct parts p = take_apart(json);
    int64_t time_us;
    if (!p.whole || !js_i64(p.time_us, &time_us)) {
        bl_buf_str(out, json);
        return;
    }
    open_message(out, p.kind);
    if (bl_str_eq(p.kind, BL_LIT("commit"))) { /* its members stand beside seq and time */
        if (p.payload.n > 2) bl_buf_byte(out, ',');
        bl_buf_add(out, p.payload.p + 1, p.payload.n - 2);
    } else {
        bl_buf_printf(out, ",\"%.*s\":", BL_ARG(p.kind));
        bl_buf_str(out, p.payload);
    }
    add_common(out, p.did, seq, time_us);
    bl_buf_z(out, "}}");
}

void frame_sync(struct bl_str did, uint64_t seq, int64_t time_us, struct bl_buf *out) {
    open_message(out, BL_LIT("sync"));
    add_common(out, did, seq, time_us);
    bl_buf_printf(out,
                  ",\"sync\":{\"blocks\":{\"$bytes\":\"AAEC\"},\"did\":\"%.*s\",\"rev\":\"3kaaaaaaaaa2a\",\"seq\":0,"
                  "\"time\":\"\"}}}",
                  BL_ARG(did));
}

void frame_info(const char *name, const char *message, struct bl_buf *out) {
    open_message(out, BL_LIT("info"));
    bl_buf_printf(out, ",\"name\":\"%s\",\"message\":\"%s\"}}", name, message);
}

void frame_error(const char *name, const char *message, struct bl_buf *out) {
    bl_buf_printf(out, "{\"$type\":\"error\",\"error\":\"%s\",\"message\":\"%s\"}", name, message);
}
