#include "pipe/replay.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/rng.h"
#include "event/json.h"
#include "pipe/write.h"

enum { ARENA_MAX = 24 << 20, COMMIT_AT = 10000 };

struct replay {
    struct lake *lake;
    struct decode *decode;
    struct bl_arena arena;
    struct bl_buf line; /* the message on one line; empty when it is no event */
    uint64_t run;
    struct replay_result *result;
    struct intake_counts counts;
};

static void take_message(void *context, const struct catalog_dead *letter) {
    struct replay *r = context;
    struct event ev;
    enum ev_reason reason = EV_REASON_NONE;
    bl_arena_reset(&r->arena);
    bl_buf_clear(&r->line);
    if (ev_check(letter->message, &r->arena, &ev, &reason, NULL) != BL_OK) return;
    js_minify(letter->message, &r->line);
    bl_buf_byte(&r->line, '\n');
}

static enum bl_rc take_chunk(struct replay *r, const struct chunk *c, int64_t id, struct bl_error *err) {
    if (c->count != 1) { /* what the columns need is stricter than what ev_check asks */
        r->result->still_dead++;
        return BL_OK;
    }
    char origin[96];
    snprintf(origin, sizeof origin, "replay %016" PRIx64 " letter %" PRId64, r->run, id);
    struct intake_source from = {
        .type = EV_TYPE_COUNT, .offset = UINT64_MAX, .origin = origin, .received_us = bl_wall_us()};
    enum ev_type type = c->events[0]->type;
    int64_t known = r->counts.duplicates[type];
    BL_TRY(intake_chunk(r->lake, c, &from, &r->counts, err));
    r->result->known += r->counts.duplicates[type] - known;
    r->result->revived++;
    lake_note_revived(r->lake, id);
    return BL_OK;
}

static enum bl_rc replay_one(struct replay *r, int64_t id, struct bl_error *err) {
    BL_TRY(catalog_dead_letter(lake_catalog(r->lake), id, take_message, r, err));
    r->result->tried++;
    if (!r->line.n) {
        r->result->still_dead++;
        return BL_OK;
    }
    struct chunk *c = decode_chunk(r->decode);
    bl_buf_str(&c->raw, bl_buf_view(&r->line));
    decode_submit(r->decode, c);
    c = decode_next(r->decode);
    enum bl_rc rc = take_chunk(r, c, id, err);
    decode_recycle(r->decode, c);
    return rc;
}

static enum bl_rc replay_all(struct replay *r, const int64_t *ids, size_t count, struct bl_error *err) {
    for (size_t i = 0; i < count; i++) {
        BL_TRY(replay_one(r, ids[i], err));
        if ((i + 1) % COMMIT_AT == 0) BL_TRY(lake_commit(r->lake, "replay", NULL, err));
    }
    BL_CRASH_POINT("replay.before_commit");
    BL_TRY(lake_commit(r->lake, "replay", NULL, err));
    BL_CRASH_POINT("replay.after_commit");
    return BL_OK;
}

enum bl_rc replay_letters(const struct conf *conf, const int64_t *ids, size_t count, struct replay_result *out,
                          struct bl_error *err) {
    *out = (struct replay_result){0};
    struct replay r = {.arena = {.max = ARENA_MAX}, .run = bl_random_u64(), .result = out};
    BL_TRY(write_open_lake(conf, false, &r.lake, err));
    r.decode = decode_new(1, 1);
    enum bl_rc rc = replay_all(&r, ids, count, err);
    decode_free(&r.decode);
    lake_close(&r.lake);
    bl_arena_release(&r.arena);
    bl_buf_release(&r.line);
    return rc;
}
