/* fuzz_v2: messages of v2. What becomes of one is JSON, and gives the message back: nothing is lost. */
#include "base/clock.h"
#include "event/event.h"
#include "event/json.h"
#include "fuzz.h"
#include "source/v2.h"

#define KIND "\"$type\":\"network.bsky.jetstream.subscribeEvents#"
static const char *const fuzz_seeds[] = {
    "{\"$type\":\"message\",\"payload\":{" KIND
    "commit\",\"cid\":\"c\",\"collection\":\"a.b.c\",\"did\":\"did:plc:x\",\"operation\":\"create\","
    "\"record\":{\"text\":\"\\u0041\",\"n\":[1,2.50]},\"rev\":\"r\",\"rkey\":\"k\",\"seq\":42,\"time\":\"2026-01-05T00:"
    "00:00.000755Z\"}}",
    "{\"$type\":\"message\",\"payload\":{\"did\":\"did:plc:x\",\"identity\":{\"seq\":7},\"seq\":43,\"time\":\"2026-01-"
    "05T00:00:00.000000Z\"," KIND "identity\"}}",
    "{\"$type\":\"message\",\"payload\":{" KIND "account\",\"account\":{\"active\":true},\"did\":\"d\",\"seq\":1,"
    "\"time\":\"2026-02-29T00:00:00.000000Z\"},\"x\":1}",
    "{\"$type\":\"message\",\"payload\":{" KIND "sync\",\"sync\":{\"blocks\":{\"$bytes\":\"AA\"}},\"did\":\"d\","
    "\"seq\":1,\"time\":\"2024-02-29T23:59:59.999999Z\"}}",
    "{\"$type\":\"message\",\"payload\":{" KIND "info\",\"name\":\"OutdatedCursor\",\"message\":\"m\"}}",
    "{\"$type\":\"error\",\"error\":\"ConsumerTooSlow\",\"message\":\"m\"}",
};
static const char *const fuzz_words[] = {"\"seq\":5,",
                                         "\"time\":\"2026-01-05T00:00:00.5Z\",",
                                         "\"time\":null,",
                                         "\"did\":[],",
                                         "\"kind\":\"x\",",
                                         "\"v2\":{\"payload\":{}},",
                                         "\"commit\":{\"rev\":1},",
                                         "\"payload\":{},",
                                         "\"frame\":1,",
                                         "\"cursor\":9,",
                                         "\"time_us\":1,",
                                         KIND "commit\",",
                                         KIND "sync\",",
                                         KIND "info\",",
                                         "\"$type\":\"message\",",
                                         "\"$type\":5,",
                                         "\"\\u0073eq\":8,",
                                         "\"\\u0024type\":\"message\",",
                                         "\"rev\":{},",
                                         "\"record\":null,",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         "\\ud800",
                                         "\xff",
                                         "0",
                                         "-",
                                         "1e5",
                                         "null",
                                         " ",
                                         "\n",
                                         "\"identity\":{},",
                                         "\"identity\":{\"identity\":1},",
                                         "2026-12-31T23:59:60.000000Z",
                                         "0000-00-00T00:00:00.000000Z",
                                         "9"};
static const size_t fuzz_seed_count = sizeof fuzz_seeds / sizeof *fuzz_seeds;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static struct bl_buf scratch, back;

static void add(struct bl_buf *out, struct bl_str key, struct bl_str value) {
    bl_buf_printf(out, ",\"%.*s\":", BL_ARG(key));
    bl_buf_str(out, value);
}

/* All members of an object, appended. */
static void add_all(struct bl_buf *out, struct bl_str object) {
    struct js_cursor c = js_open(object, 200);
    struct js_string key;
    struct bl_str raw;
    bool first = true;
    if (!js_object(&c)) return;
    while (js_member(&c, &key, &first) && js_skip(&c, &raw, NULL)) add(out, key.raw, raw);
}

struct v1 {
    struct bl_str did, time_us, cursor, kind, payload, rest;
};

static bool read_v1(struct bl_str json, struct v1 *v) {
    struct js_cursor c = js_open(json, 200);
    struct js_string key;
    struct bl_str raw;
    bool first = true;
    *v = (struct v1){0};
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return false;
    while (js_member(&c, &key, &first)) {
        if (!js_skip(&c, &raw, NULL)) return false;
        struct bl_str *slot = bl_str_eq(key.raw, BL_LIT("did"))       ? &v->did
                              : bl_str_eq(key.raw, BL_LIT("time_us")) ? &v->time_us
                              : bl_str_eq(key.raw, BL_LIT("cursor"))  ? &v->cursor
                              : bl_str_eq(key.raw, BL_LIT("kind"))    ? &v->kind
                              : bl_str_eq(key.raw, BL_LIT("v2"))      ? &v->rest
                                                                      : &v->payload;
        if (slot->p) return false; /* every member once */
        *slot = raw;
    }
    return js_done(&c) && v->kind.n > 2;
}

/* The value of `name` in an object. */
static struct bl_str member(struct bl_str object, const char *name) {
    struct js_cursor c = js_open(object, 200);
    struct js_string key;
    struct bl_str raw, found = {0};
    bool first = true;
    if (!object.n || !js_object(&c)) return found;
    while (js_member(&c, &key, &first) && js_skip(&c, &raw, NULL))
        if (js_string_is(key, bl_str(name))) found = raw;
    return found;
}

/* The message as it must have been, built by the rules of v2.h read backwards. */
static void unread(const struct v1 *v, struct bl_buf *out) {
    struct bl_str kind = bl_strn(v->kind.p + 1, v->kind.n - 2), kept = member(v->rest, "payload");
    char time[BL_TIME_TEXT_MAX];
    int64_t time_us;
    bl_buf_clear(out);
    bl_buf_printf(out, "{\"$type\":\"message\",\"payload\":{" KIND "%.*s\"", BL_ARG(kind));
    if (v->did.p) add(out, BL_LIT("did"), v->did);
    if (v->cursor.p) add(out, BL_LIT("seq"), v->cursor);
    if (v->time_us.p && js_i64(v->time_us, &time_us) && !member(kept, "time").p)
        bl_buf_printf(out, ",\"time\":\"%s\"", bl_format_time(time_us, 6, time));
    if (bl_str_eq(kind, BL_LIT("commit")))
        add_all(out, v->payload);
    else if (v->payload.p)
        add(out, kind, v->payload);
    if (kept.n) add_all(out, kept);
    bl_buf_byte(out, '}');
    struct bl_str frame = member(v->rest, "frame");
    if (frame.n) add_all(out, frame);
    bl_buf_byte(out, '}');
}

static bool fuzz_one(struct bl_str input) {
    struct v2_message m;
    struct v1 v;
    v2_read(input, &scratch, &m);
    if (m.kind != V2_EVENT) return false;
    struct js_cursor c = js_open(input, EV_DEPTH_MAX + 2);
    if (!js_skip(&c, NULL, NULL) || !js_done(&c)) fuzz_fail("taken though it is no JSON", input);
    if (!read_v1(m.json, &v)) fuzz_fail("the event is no JSON", m.json);
    unread(&v, &back);
    if (!js_equal(input, bl_buf_view(&back), NULL)) fuzz_fail("something was lost", input);
    return true;
}
