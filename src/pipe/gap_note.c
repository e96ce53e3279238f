#include "pipe/gap_note.h"

#include "event/json.h"

/* "gap" notes carry the source's gap rows, "healed" ones the same row once more. */
enum bl_rc gap_note_take(struct catalog *catalog, const struct buffer_rejected *note, struct bl_error *err) {
    struct catalog_gap gap = {.noted_us = note->received_us};
    struct js_cursor c = js_open(note->message, 4);
    struct js_string key, text;
    struct bl_str raw;
    bool first = true;
    if (!js_object(&c)) return BL_OK;
    while (js_member(&c, &key, &first)) {
        if (js_peek(&c) == JS_STRING) {
            if (!js_string(&c, &text)) break;
            bool host = bl_str_eq(key.raw, BL_LIT("host"));
            snprintf(host ? gap.host : gap.reason, host ? sizeof gap.host : sizeof gap.reason, "%.*s",
                     BL_ARG(text.raw));
            continue;
        }
        if (!js_skip(&c, &raw, NULL)) break;
        int64_t healed = 0;
        int64_t *target = bl_str_eq(key.raw, BL_LIT("from_us")) ? &gap.from_us
                          : bl_str_eq(key.raw, BL_LIT("to_us")) ? &gap.to_us
                                                                : &healed;
        if (!js_i64(raw, target)) break;
        if (healed) gap.healed = true;
    }
    return catalog_add_gap(catalog, &gap, err);
}
