#include "sim/serving.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "event/json.h"

static const int64_t day_us = 86400000000;

/* ---- a file of events ---- */

struct place_in {
    uint32_t at, n;
};

static bool take_string(struct js_cursor *c, const char *line, struct place_in *out) {
    struct js_string s;
    if (js_peek(c) != JS_STRING || !js_string(c, &s)) return false;
    *out = (struct place_in){(uint32_t)(s.raw.p - line), (uint32_t)s.raw.n};
    return true;
}

static void scan_commit(struct js_cursor *c, const char *start, struct feed_line *line) {
    struct js_string key;
    struct place_in place;
    bool first = true;
    if (!js_object(c)) return;
    while (js_member(c, &key, &first)) {
        if (!bl_str_eq(key.raw, BL_LIT("collection"))) {
            if (!js_skip(c, NULL, NULL)) return;
        } else {
            if (!take_string(c, start, &place)) return;
            line->collection_at = place.at;
            line->collection_n = place.n;
        }
    }
}

static unsigned kind_of(struct bl_str name) {
    return bl_str_eq(name, BL_LIT("commit"))     ? KIND_COMMIT
           : bl_str_eq(name, BL_LIT("identity")) ? KIND_IDENTITY
           : bl_str_eq(name, BL_LIT("account"))  ? KIND_ACCOUNT
                                                 : 0;
}

/* What filters and cursors need. A line that is no event is served all the same, with the time stamp before it. */
static void scan_line(struct bl_str text, struct feed_line *line) {
    struct js_cursor c = js_open(text, 128);
    struct js_string key;
    struct place_in place;
    bool first = true;
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return;
    while (js_member(&c, &key, &first)) {
        struct bl_str raw;
        if (bl_str_eq(key.raw, BL_LIT("commit")) && js_peek(&c) == JS_OBJECT) {
            scan_commit(&c, text.p, line);
        } else if (bl_str_eq(key.raw, BL_LIT("kind")) && js_peek(&c) == JS_STRING) {
            if (!take_string(&c, text.p, &place)) return;
            line->kind = kind_of(bl_strn(text.p + place.at, place.n));
        } else if (bl_str_eq(key.raw, BL_LIT("did")) && js_peek(&c) == JS_STRING) {
            if (!take_string(&c, text.p, &place)) return;
            line->did_at = place.at;
            line->did_n = place.n;
        } else if (!js_skip(&c, &raw, NULL)) {
            return;
        } else if (bl_str_eq(key.raw, BL_LIT("time_us"))) {
            int64_t time_us;
            if (js_i64(raw, &time_us)) line->time_us = time_us;
        }
    }
}

enum { FILE_MAX = (1 << 30) + ((1 << 30) - 1), LINE_MAX_BYTES = 32 << 20 };

static enum bl_rc open_file(struct feed *f, const char *path, uint64_t count, struct bl_error *err) {
    f->file.max = FILE_MAX;
    BL_TRY(bl_read_file(path, FILE_MAX, &f->file, err));
    size_t lines = 0, room = 0;
    struct bl_str rest = bl_buf_view(&f->file);
    int64_t time_us = 0;
    while (rest.n && (!count || lines < count)) {
        struct bl_str text = bl_str_cut(&rest, '\n');
        if (text.n && text.p[text.n - 1] == '\r') text.n--;
        if (!text.n) continue;
        if (text.n > LINE_MAX_BYTES)
            return bl_fail(err, BL_E_TOO_LARGE, "%s: line %zu is longer than 32 MiB", path, lines + 1);
        if (lines == room) {
            room = room ? room * 2 : 1024;
            f->lines = bl_xrealloc(f->lines, room * sizeof *f->lines);
        }
        struct feed_line line = {.at = (size_t)(text.p - f->file.p), .n = (uint32_t)text.n, .time_us = time_us};
        scan_line(text, &line);
        time_us = line.time_us;
        f->lines[lines++] = line;
    }
    if (!lines)
        return bl_fail(err, BL_E_INVALID, "%s holds no events: give a file with one Jetstream event a line", path);
    f->count = lines;
    return BL_OK;
}

/* ---- both ---- */

enum bl_rc feed_open(struct feed *f, const struct sim_server_options *o, struct bl_error *err) {
    *f = (struct feed){.network = o->network,
                       .count = o->count ? o->count : UINT64_MAX,
                       .rate = o->rate,
                       .started_ns = bl_mono_ns(),
                       .lookback_us = o->lookback_us ? o->lookback_us : day_us,
                       .seq_start = o->seq_start ? o->seq_start : 1,
                       .seq_step = 1};
    if (o->began_us) f->started_ns -= (bl_wall_us() - o->began_us) * 1000;
    if (!o->from_file) {
        if (o->live) f->clock = sim_new(&o->network);
        return BL_OK;
    }
    if (o->live)
        return bl_fail(err, BL_E_USAGE, "the events of a file have their own times: serve them at a rate, not live");
    enum bl_rc rc = open_file(f, o->from_file, o->count, err);
    if (rc != BL_OK) feed_release(f);
    return rc;
}

void feed_release(struct feed *f) {
    bl_buf_release(&f->file);
    free(f->lines);
    f->lines = NULL;
    sim_free(&f->clock);
}

uint64_t feed_existing(const struct feed *f) {
    if (f->clock) {
        uint64_t passed = sim_first_at(f->clock, bl_wall_us() + 1);
        return passed < 1 ? 1 : passed < f->count ? passed : f->count;
    }
    if (f->rate <= 0) return f->count;
    double due = (double)(bl_mono_ns() - f->started_ns) / 1e9 * f->rate;
    uint64_t existing = (uint64_t)due + 1;
    return existing < f->count ? existing : f->count;
}

int64_t feed_due_ns(const struct feed *f, uint64_t i) {
    if (f->clock) return bl_mono_ns() + (sim_time_us(f->clock, i) - bl_wall_us()) * 1000;
    return f->rate <= 0 ? f->started_ns : f->started_ns + (int64_t)((double)i / f->rate * 1e9) + 1;
}

int64_t feed_time(const struct feed *f, const struct sim *s, uint64_t i) {
    return f->lines ? f->lines[i].time_us : sim_time_us(s, i);
}

static uint64_t first_at(const struct feed *f, const struct sim *s, int64_t time_us, uint64_t existing) {
    if (!f->lines) {
        uint64_t i = sim_first_at(s, time_us);
        return i < existing ? i : existing;
    }
    /* In file order, which need not be the order of time. */
    for (uint64_t n = 0; n < existing; n++)
        if (f->lines[n].time_us >= time_us) return n;
    return existing;
}

uint64_t feed_seq(const struct feed *f, uint64_t i) {
    return f->seq_start + i * f->seq_step;
}

static uint64_t index_of_seq(const struct feed *f, uint64_t seq) {
    return seq <= f->seq_start ? 0 : (seq - f->seq_start + f->seq_step - 1) / f->seq_step;
}

/* The newest events lie in a segment that has no index yet: a time among them means its beginning. */
static uint64_t widen(const struct feed *f, uint64_t i, uint64_t existing) {
    if (!f->segment || existing == UINT64_MAX || !existing) return i;
    uint64_t active = (existing - 1) / f->segment * f->segment;
    return i > active && i < existing ? active : i;
}

struct feed_start feed_start(const struct feed *f, const struct sim *s, bool has_cursor, int64_t cursor, bool v2) {
    uint64_t existing = feed_existing(f);
    struct feed_start start = {.by_seq = v2 && has_cursor && cursor < SEQ_END};
    /* Without a newest event there is nothing to look back from. */
    if (existing != UINT64_MAX) start.floor = first_at(f, s, feed_time(f, s, existing - 1) - f->lookback_us, existing);
    if (!has_cursor) {
        start.next = f->rate <= 0 && !f->clock ? 0 : existing - 1;
        return start;
    }
    if (start.by_seq) {
        start.next = index_of_seq(f, cursor > 0 ? (uint64_t)cursor : 0);
        if (start.next > existing) start.next = existing;
        start.too_old = start.next < start.floor;
    } else {
        start.next = existing == UINT64_MAX ? sim_first_at(s, cursor) : first_at(f, s, cursor, existing);
        start.too_old = start.next < start.floor;
        if (v2) start.next = widen(f, start.next, existing);
    }
    if (start.next < start.floor) start.next = start.floor;
    return start;
}

/* The generator's own layout is known: {"did":"did:plc:<24>", ... "collection":"...". */
static struct feed_event describe(struct bl_str json) {
    enum { DID_AT = 8, DID_LEN = 32, HEAD = 256 };
    struct feed_event e = {.json = json, .did = bl_strn(json.p + DID_AT, DID_LEN)};
    struct bl_str mark = BL_LIT("\"collection\":\""), head = bl_strn(json.p, json.n < HEAD ? json.n : HEAD);
    const char *at = memmem(head.p, head.n, mark.p, mark.n);
    if (!at) {
        e.kind = memmem(head.p, head.n, "\"kind\":\"identity\"", 17) ? KIND_IDENTITY : KIND_ACCOUNT;
        return e;
    }
    e.kind = KIND_COMMIT;
    struct bl_str rest = bl_str_skip(json, (size_t)(at - json.p) + mark.n);
    e.collection = bl_str_cut(&rest, '"');
    return e;
}

struct feed_event feed_get(const struct feed *f, struct sim *s, uint64_t i, struct bl_buf *scratch) {
    if (!f->lines) {
        bl_buf_clear(scratch);
        sim_event(s, i, scratch);
        return describe(bl_buf_view(scratch));
    }
    const struct feed_line *line = &f->lines[i];
    const char *p = f->file.p + line->at;
    return (struct feed_event){bl_strn(p, line->n), bl_strn(p + line->did_at, line->did_n),
                               bl_strn(p + line->collection_at, line->collection_n), line->kind};
}
