#include "lake/numbering.h"

#include "base/clock.h"
#include "lake/holes.h"

static enum bl_rc read_holes(struct catalog *c, enum ev_type type, struct holes *h, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    char key[32];
    snprintf(key, sizeof key, "holes:%s", ev_schema(type)->name);
    BL_TRY(catalog_get(c, key, &text, err));
    holes_parse(h, bl_buf_view(&text));
    return BL_OK;
}

static enum bl_rc write_holes(struct catalog *c, enum ev_type type, const struct holes *h, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    char key[32];
    snprintf(key, sizeof key, "holes:%s", ev_schema(type)->name);
    holes_print(h, &text);
    return catalog_set(c, key, bl_buf_cstr(&text), err);
}

/* Numbered anew: the buffer lost its contents, and what was not settled is asked for again. What is missing from before
 * is a gap from now on: nobody asks for it. */
static enum bl_rc begin_numbering(struct catalog *c, const struct catalog_intake *in, struct catalog_ledger *l,
                                  struct holes *h, struct bl_error *err) {
    l->missing -= holes_anew(h, in->first_us);
    for (size_t i = 0; i < h->count; i++) {
        struct catalog_gap gap = {.from_us = h->list[i].from_us, .to_us = h->list[i].to_us, .noted_us = bl_wall_us()};
        if (!gap.from_us) gap.from_us = gap.to_us;
        snprintf(gap.reason, sizeof gap.reason, "buffer_lost");
        BL_TRY(catalog_add_gap(c, &gap, err));
    }
    h->count = 0;
    return BL_OK;
}

enum bl_rc numbering_account(struct catalog *c, struct catalog_ledger *l, const struct catalog_intake *in, bool late,
                             struct bl_error *err) {
    if (in->offset == UINT64_MAX) return BL_OK;
    struct holes h;
    BL_TRY(read_holes(c, in->type, &h, err));
    if (late) {
        int64_t found = in->written < l->missing ? in->written : l->missing; /* what was not written was not missing */
        l->missing -= found;
        holes_fill(&h, in->first_us, found);
        return write_holes(c, in->type, &h, err);
    }
    if (in->offset == 0 && l->next_offset > 0) BL_TRY(begin_numbering(c, in, l, &h, err));
    if (in->offset > l->next_offset) {
        int64_t jump = (int64_t)(in->offset - l->next_offset);
        l->missing += jump;
        holes_add(&h, in->first_us, jump);
    }
    if (in->offset < l->next_offset) l->forgotten += (int64_t)(l->next_offset - in->offset);
    l->next_offset = in->offset + (uint64_t)in->received;
    h.newest_us = in->last_us;
    return write_holes(c, in->type, &h, err);
}
