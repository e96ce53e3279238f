/* samples: the events that the tests of this room run over: the repository's synthetic ones and, where they are at hand,
 * real ones. */
#pragma once
#include "expect.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "event/event.h"
#include "event/json.h"

#define SAMPLES_SYNTHETIC BL_REPO_DIR "/tests/fixtures/events.ndjson"
#define SAMPLES_REAL BL_SHARED_DIR "/data/expected_v1.jsonl"

/* Call `see` for each line; returns how many there were. */
static inline size_t samples_each(const char *path, void (*see)(struct bl_str message, void *context), void *context) {
    BL_CLEANUP(bl_buf_release) struct bl_buf file = {0};
    struct bl_error err = {0};
    EXPECT_OK(bl_read_file(path, 64 << 20, &file, &err), &err);
    struct bl_str rest = bl_buf_view(&file);
    size_t count = 0;
    while (rest.n) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (line.n == 0) continue;
        see(line, context);
        count++;
    }
    return count;
}

static inline bool samples_real_present(void) {
    if (access(SAMPLES_REAL, R_OK) == 0) return true;
    print_message("%s is not here: real events are skipped\n", SAMPLES_REAL);
    return false;
}

/* Decode, verify, encode; fails the test where the result differs from `message`. The row is left in `ev`, whose slices
 * live in `message` and `arena`. */
static inline enum bl_rc samples_round_trip(struct bl_str message, struct bl_arena *arena, struct event *ev) {
    BL_CLEANUP(bl_buf_release) struct bl_buf scratch = {0}, out = {0}, where = {0};
    struct bl_error err = {0};
    enum ev_reason why = EV_REASON_COUNT, check_why = EV_REASON_COUNT;
    enum bl_rc rc = ev_decode(message, arena, ev, &why, &err);
    struct event routed;
    enum bl_rc check_rc = ev_check(message, arena, &routed, &check_why, &err);
    if (rc != check_rc || why != check_why) fail_msg("ev_check and ev_decode disagree on %.*s", BL_ARG(message));
    if (rc != BL_OK) {
        EXPECT(why != EV_REASON_NONE && why < EV_REASON_COUNT && err.code == rc && bl_rc_class(rc) == BL_CLASS_DROP);
        return rc;
    }
    EXPECT(why == EV_REASON_NONE && routed.type == ev->type);
    ev_verify_cid(ev, &scratch);
    struct event row = *ev;
    row.record_json = (struct bl_str){0}; /* as the lake gives it back */
    EXPECT_OK(ev_encode(&row, &out, &err), &err);
    if (!js_equal(message, bl_buf_view(&out), &where))
        fail_msg("differs at %.*s\n  in  %.*s\n  out %.*s", BL_ARG(bl_buf_view(&where)), BL_ARG(message),
                 BL_ARG(bl_buf_view(&out)));
    return BL_OK;
}
