/* sim: events, that is, envelopes around what records.c makes. */
#include "sim/sim.h"

#include <stdlib.h>

#include "base/clock.h"
#include "sim/emit.h"

struct sim *sim_new(const struct sim_options *o) {
    struct sim *s = bl_xcalloc(1, sizeof *s);
    s->seed = bl_mix64(o->seed + BL_GOLDEN);
    shape_init(&s->shape, s->seed, o->start_us, o->rate);
    s->batch = o->batch > 1 ? o->batch : 1;
    s->posts = bl_xcalloc(REFS_POSTS, sizeof *s->posts);
    s->reposts = bl_xcalloc(REFS_REPOSTS, sizeof *s->reposts);
    s->day = INT64_MIN;
    return s;
}

void sim_free(struct sim **s) {
    if (!*s) return;
    shape_release(&(*s)->shape);
    free((*s)->posts);
    free((*s)->reposts);
    bl_buf_release(&(*s)->record);
    bl_buf_release(&(*s)->scratch);
    free(*s);
    *s = NULL;
}

static void two(char *out, int64_t v) {
    out[0] = (char)('0' + v / 10);
    out[1] = (char)('0' + v % 10);
}

void records_write_time(struct sim *s, struct bl_buf *b, int64_t us, int digits) {
    const int64_t day_us = 86400000000;
    int64_t day = us / day_us, rest = us % day_us;
    if (day != s->day) {
        char whole[BL_TIME_TEXT_MAX];
        memcpy(s->day_text, bl_format_time(us, 0, whole), sizeof s->day_text);
        s->day = day;
    }
    char text[BL_TIME_TEXT_MAX] = "2026-01-05T00:00:00.";
    memcpy(text, s->day_text, sizeof s->day_text);
    two(text + 11, rest / 3600000000);
    two(text + 14, rest / 60000000 % 60);
    two(text + 17, rest / 1000000 % 60);
    int64_t fraction = rest % 1000000;
    for (int d = 5; d >= 0; d--, fraction /= 10) text[20 + d] = (char)('0' + fraction % 10);
    size_t n = digits ? 20 + (size_t)digits : 19;
    text[n] = 'Z';
    bl_buf_add(b, text, n + 1);
}

static void open_envelope(struct bl_buf *out, const char did[static PEOPLE_DID_LEN], int64_t time_us) {
    EMIT(out, "{\"did\":\"did:plc:");
    bl_buf_add(out, did, PEOPLE_DID_LEN);
    EMIT(out, "\",\"time_us\":");
    bl_buf_i64(out, time_us);
}

static void write_commit(struct sim *s, uint64_t i, struct shape_place place, struct bl_buf *out) {
    struct made m = records_make(s, i, place);
    int64_t time_us = shape_time(&s->shape, i);
    char rev[PEOPLE_KEY_LEN];
    people_rev(s->seed, m.self.account, time_us, rev);
    open_envelope(out, m.self.did, sim_time_us(s, i));
    EMIT(out, ",\"kind\":\"commit\",\"commit\":{\"rev\":\"");
    bl_buf_add(out, rev, sizeof rev);
    EMIT(out, "\",\"operation\":\"");
    bl_buf_z(out, m.operation);
    EMIT(out, "\",\"collection\":\"");
    bl_buf_z(out, m.collection);
    EMIT(out, "\",\"rkey\":\"");
    bl_buf_add(out, m.self.rkey, strnlen(m.self.rkey, sizeof m.self.rkey));
    if (m.has_record) {
        EMIT(out, "\",\"record\":");
        bl_buf_str(out, bl_buf_view(&s->record));
        EMIT(out, ",\"cid\":\"");
        bl_buf_add(out, m.self.cid, sizeof m.self.cid);
    }
    EMIT(out, "\"}}");
}

/* The relay's number and time end both kinds of account event. */
static void close_account(struct sim *s, uint64_t i, int64_t time_us, const char *status, struct bl_buf *out) {
    EMIT(out, ",\"seq\":");
    bl_buf_u64(out, 29000000000 + i);
    if (status) {
        EMIT(out, ",\"status\":\"");
        bl_buf_z(out, status);
        EMIT(out, "\"");
    }
    EMIT(out, ",\"time\":\"");
    records_write_time(s, out, time_us - 40000 - (int64_t)(sim_hash(s->seed, SALT_EVENT, i) % 200000), 3);
    EMIT(out, "\"}}");
}

static void write_identity(struct sim *s, uint64_t i, struct shape_place p, struct bl_buf *out) {
    struct bl_rng r = records_rng(s, i);
    bool newcomer = p.within < SHAPE_NEWCOMERS;
    uint64_t who = newcomer ? people_newcomer(p.block, p.within) : people_pick(&r, 10);
    int64_t time_us = shape_time(&s->shape, i);
    char did[PEOPLE_DID_LEN], handle[PEOPLE_HANDLE_MAX];
    people_did(s->seed, who, did);
    open_envelope(out, did, sim_time_us(s, i));
    EMIT(out, ",\"kind\":\"identity\",\"identity\":{\"did\":\"did:plc:");
    bl_buf_add(out, did, sizeof did);
    EMIT(out, "\"");
    if (newcomer || p.within < SHAPE_NEWCOMERS + 2) {
        EMIT(out, ",\"handle\":\"");
        if (!newcomer && bl_rng_below(&r, 12) == 0)
            EMIT(out, "handle.invalid");
        else
            bl_buf_add(out, handle, people_handle(s->seed, who, handle));
        EMIT(out, "\"");
    }
    close_account(s, i, time_us, NULL, out);
}

/* What happens to an account of an earlier block. Each of a block's newcomers has one fate; its records end before it.
 */
static const struct fate {
    unsigned after, newcomer; /* blocks */
    bool active;
    const char *status;
} fates[] = {{0, 0, true, NULL},        {0, 1, true, NULL},           {0, 2, true, NULL}, {10, 0, false, "takendown"},
             {30, 1, false, "deleted"}, {6, 2, false, "deactivated"}, {12, 2, true, NULL}};

static void write_account(struct sim *s, uint64_t i, struct shape_place p, struct bl_buf *out) {
    struct bl_rng r = records_rng(s, i);
    struct fate fate = fates[p.within];
    uint64_t who;
    if (p.block >= fate.after)
        who = people_newcomer(p.block - fate.after, fate.newcomer);
    else
        fate = (struct fate){.active = true}, who = people_pick(&r, 10);
    if (fate.newcomer == 0 && !fate.active && (p.block & 3) == 3) fate.status = "suspended";
    int64_t time_us = shape_time(&s->shape, i);
    char did[PEOPLE_DID_LEN];
    people_did(s->seed, who, did);
    open_envelope(out, did, sim_time_us(s, i));
    bl_buf_z(out, fate.active ? ",\"kind\":\"account\",\"account\":{\"active\":true,\"did\":\"did:plc:"
                              : ",\"kind\":\"account\",\"account\":{\"active\":false,\"did\":\"did:plc:");
    bl_buf_add(out, did, sizeof did);
    EMIT(out, "\"");
    close_account(s, i, time_us, fate.status, out);
}

void sim_event(struct sim *s, uint64_t i, struct bl_buf *out) {
    struct shape_place place = shape_of_event(&s->shape, i);
    if (place.kind == SIM_IDENTITY)
        write_identity(s, i, place, out);
    else if (place.kind == SIM_ACCOUNT)
        write_account(s, i, place, out);
    else
        write_commit(s, i, place, out);
}

int64_t sim_time_us(const struct sim *s, uint64_t i) {
    return shape_time(&s->shape, i - i % s->batch);
}

uint64_t sim_first_at(const struct sim *s, int64_t time_us) {
    if (time_us <= sim_time_us(s, 0)) return 0;
    uint64_t low = 0, high = 1; /* time(low) < time_us <= time(high) */
    while (high < (uint64_t)1 << 50 && sim_time_us(s, high) < time_us) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (sim_time_us(s, middle) < time_us)
            low = middle;
        else
            high = middle;
    }
    return high;
}
