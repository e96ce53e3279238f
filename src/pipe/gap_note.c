#include "pipe/gap_note.h"

#include <inttypes.h>

#include "event/json.h"

void gap_note_print(const struct source_gap *gap, struct bl_buf *out) {
    bl_buf_printf(out, "{\"from_us\":%" PRId64 ",\"to_us\":%" PRId64 ",\"healed\":%d,\"reason\":", gap->from_us,
                  gap->to_us, gap->healed);
    bl_buf_json(out, bl_str(gap->reason));
    bl_buf_printf(out, ",\"host\":");
    bl_buf_json(out, bl_str(gap->host));
    bl_buf_byte(out, '}');
}

static bool take_text(struct js_cursor *c, struct bl_str key, struct source_gap *gap) {
    struct js_string text;
    bool host = bl_str_eq(key, BL_LIT("host"));
    if (!js_string(c, &text)) return false;
    snprintf(host ? gap->host : gap->reason, host ? sizeof gap->host : sizeof gap->reason, "%.*s", BL_ARG(text.raw));
    return true;
}

static bool take_number(struct js_cursor *c, struct bl_str key, struct source_gap *gap) {
    struct bl_str raw;
    int64_t healed = gap->healed;
    int64_t *target = bl_str_eq(key, BL_LIT("from_us")) ? &gap->from_us
                      : bl_str_eq(key, BL_LIT("to_us")) ? &gap->to_us
                                                        : &healed;
    if (!js_skip(c, &raw, NULL) || !js_i64(raw, target)) return false;
    gap->healed = healed != 0;
    return true;
}

bool gap_note_parse(struct bl_str text, struct source_gap *out) {
    struct js_cursor c = js_open(text, 4);
    struct js_string key;
    bool first = true;
    *out = (struct source_gap){0};
    if (!js_object(&c)) return false;
    while (js_member(&c, &key, &first))
        if (!(js_peek(&c) == JS_STRING ? take_text : take_number)(&c, key.raw, out)) return false;
    return !c.fault && *out->reason && out->from_us <= out->to_us;
}

/* "gap" notes carry the source's gap rows, "healed" ones the same row once more. */
enum bl_rc gap_note_take(struct catalog *catalog, const struct buffer_rejected *note, struct bl_error *err) {
    struct source_gap gap;
    if (!gap_note_parse(note->message, &gap)) return BL_OK;
    struct catalog_gap row = {
        .from_us = gap.from_us, .to_us = gap.to_us, .noted_us = note->received_us, .healed = gap.healed};
    snprintf(row.host, sizeof row.host, "%s", gap.host);
    snprintf(row.reason, sizeof row.reason, "%s", gap.reason);
    return catalog_add_gap(catalog, &row, err);
}
