#include "event/json.h"
#include "lake/dedup.h"
#include "lake/duck.h"
#include "lake/reader.h"
#include "lake/verify_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

/* A chunk of expected events is kept as identity and value hash; the lake is read once a chunk. The messages themselves
 * are kept as long as there is room: they serve to say where an event differs, not to find out whether. */
enum { CHUNK_EVENTS = 1 << 21, CHUNK_TEXT = 128 << 20 };
enum { NO_TEXT = UINT32_MAX };

struct expected {
    struct ev_id id;
    uint64_t value;
    int64_t time_us;
    uint32_t text, text_length; /* in comparison.texts */
    uint8_t type;
    uint8_t seen; /* rows of the lake with this identity, up to 2 */
};

struct comparison {
    struct lake_view view;
    struct findings findings;
    struct verify_result *out;
    verify_next_fn next;
    void *next_context;
    struct expected *events;
    uint32_t *places; /* open addressing over events: 1 + position, 0 = free */
    size_t count, capacity, place_count;
    int64_t from_us, to_us; /* of the chunk */
    struct bl_buf texts;
    struct bl_arena arena;
    struct value_hasher hasher;
    uint64_t *dead; /* hashes of the dead letters' messages, ascending */
    size_t dead_count;
    bool cursors;                    /* some expected event carries a cursor */
    uint8_t **matched;               /* per file one bit a row: some expected event was found there */
    const struct catalog_file *file; /* being read */
    size_t file_index;
    int64_t row;
    struct bl_buf rebuilt, name;
};

/* --- The expected events --- */

/* The slot of `id` among the places: that of the event, or the free one where it goes. */
static uint32_t *place_of(const struct comparison *c, struct ev_id id) {
    size_t at = id.lo & (c->place_count - 1);
    while (c->places[at]) {
        const struct expected *e = &c->events[c->places[at] - 1];
        if (e->id.lo == id.lo && e->id.hi == id.hi) break;
        at = (at + 1) & (c->place_count - 1);
    }
    return &c->places[at];
}

static void grow(struct comparison *c) {
    c->capacity = c->capacity ? c->capacity * 2 : 1024;
    c->events = bl_xrealloc(c->events, c->capacity * sizeof *c->events);
    free(c->places);
    c->place_count = c->capacity * 2;
    c->places = bl_xcalloc(c->place_count, sizeof *c->places);
    for (size_t i = 0; i < c->count; i++) *place_of(c, c->events[i].id) = (uint32_t)i + 1;
}

static void keep_text(struct comparison *c, struct bl_str message, struct expected *e) {
    e->text = NO_TEXT;
    if (c->texts.n + message.n > CHUNK_TEXT) return;
    e->text = (uint32_t)c->texts.n;
    e->text_length = (uint32_t)message.n;
    bl_buf_str(&c->texts, message);
    if (c->texts.failed) e->text = NO_TEXT;
}

static unsigned cursor_column(enum ev_type type) {
    return type == EV_accounts ? (unsigned)EV_accounts_cursor : (unsigned)EV_CURSOR;
}

/* Of an event expected more than once the first delivery counts, as in the lake. */
static void expect(struct comparison *c, const struct event *ev, struct bl_str message) {
    if (c->count == c->capacity) grow(c);
    struct ev_id id = ev_identity(ev);
    uint32_t *place = place_of(c, id);
    if (ev_has(ev, cursor_column(ev->type))) c->cursors = true;
    if (*place) return;
    struct expected *e = &c->events[c->count++];
    *e = (struct expected){
        .id = id, .value = value_hash(&c->hasher, message), .time_us = ev->v[EV_TIME_US].i, .type = (uint8_t)ev->type};
    keep_text(c, message, e);
    *place = (uint32_t)c->count;
    if (e->time_us < c->from_us) c->from_us = e->time_us;
    if (e->time_us > c->to_us) c->to_us = e->time_us;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void keep_dead(void *context, const struct catalog_dead *dead) {
    struct comparison *c = context;
    if ((c->dead_count & (c->dead_count - 1)) == 0)
        c->dead = bl_xrealloc(c->dead, (c->dead_count ? c->dead_count * 2 : 1) * sizeof *c->dead);
    c->dead[c->dead_count++] = XXH3_64bits(dead->message.p, dead->message.n);
}

/* What no row can hold must have become a dead letter. */
static void expect_dead(struct comparison *c, struct bl_str message, enum ev_reason why) {
    uint64_t hash = XXH3_64bits(message.p, message.n);
    if (c->dead && bsearch(&hash, c->dead, c->dead_count, sizeof hash, by_value)) return;
    c->out->missing++;
    findings_add(&c->findings, "missing", "no event (%s) and no dead letter: %.*s", ev_reason_name(why),
                 message.n > 200 ? 200 : (int)message.n, message.p);
}

static enum bl_rc read_chunk(struct comparison *c, bool *end, struct bl_error *err) {
    c->count = 0;
    c->from_us = INT64_MAX;
    c->to_us = INT64_MIN;
    bl_buf_clear(&c->texts);
    if (c->places) memset(c->places, 0, c->place_count * sizeof *c->places);
    while (c->count < CHUNK_EVENTS) {
        struct bl_str message = {0};
        struct event ev;
        enum ev_reason why = EV_REASON_NONE;
        BL_TRY(c->next(c->next_context, &message, end, err));
        if (*end) return BL_OK;
        bl_arena_reset(&c->arena);
        enum bl_rc rc = ev_decode(message, &c->arena, &ev, &why, err);
        if (rc == BL_OK) {
            expect(c, &ev, message);
        } else if (bl_rc_class(rc) == BL_CLASS_DROP) {
            expect_dead(c, message, why);
        } else {
            return rc;
        }
    }
    return BL_OK;
}

/* --- The rows --- */

static void differs(struct comparison *c, const struct expected *e, const char *row, struct bl_str rebuilt) {
    if (e->text == NO_TEXT) {
        c->out->different++;
        findings_add(&c->findings, "different", "%s: the lake has %.*s", row, rebuilt.n > 300 ? 300 : (int)rebuilt.n,
                     rebuilt.p);
        return;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf where = {0};
    if (js_equal((struct bl_str){c->texts.p + e->text, e->text_length}, rebuilt, &where)) return;
    c->out->different++;
    findings_add(&c->findings, "different", "%s: differs at %s", row, bl_buf_cstr(&where));
}

/* The cursor is one host's number for its delivery. It counts where the expected events carry one as well. */
static enum bl_rc rebuild(struct comparison *c, const struct event *ev, struct bl_error *why) {
    bl_buf_clear(&c->rebuilt);
    if (c->cursors || !ev_has(ev, cursor_column(ev->type))) return ev_encode(ev, &c->rebuilt, why);
    struct event without = *ev;
    without.has &= ~((uint64_t)1 << cursor_column(ev->type));
    return ev_encode(&without, &c->rebuilt, why);
}

static enum bl_rc compare_value(struct comparison *c, const struct event *ev, const struct expected *e,
                                struct bl_error *err) {
    struct bl_error why = {0};
    enum bl_rc rc = rebuild(c, ev, &why);
    if (rc == BL_OK) BL_TRY(bl_buf_check(&c->rebuilt, "an event", err));
    struct bl_str rebuilt = bl_buf_view(&c->rebuilt);
    if (rc == BL_OK && value_hash(&c->hasher, rebuilt) == e->value) return BL_OK;
    bl_buf_clear(&c->name);
    describe_row(ev, &c->name);
    if (rc == BL_OK) {
        differs(c, e, bl_buf_cstr(&c->name), rebuilt);
    } else {
        c->out->different++;
        findings_add(&c->findings, "different", "%s: %s", bl_buf_cstr(&c->name), why.message);
    }
    return BL_OK;
}

static enum bl_rc compare_row(void *context, const struct event *ev, struct bl_error *err) {
    struct comparison *c = context;
    int64_t row = c->row++;
    uint32_t place = *place_of(c, ev_identity(ev));
    if (place == 0) return BL_OK;
    struct expected *e = &c->events[place - 1];
    if (row < c->file->rows) c->matched[c->file_index][row / 8] |= (uint8_t)(1u << (row % 8));
    if (e->seen) {
        c->out->twice++;
        e->seen = 2;
        bl_buf_clear(&c->name);
        describe_row(ev, &c->name);
        findings_add(&c->findings, "twice", "%s, again in %s", bl_buf_cstr(&c->name), c->file->path);
        return BL_OK;
    }
    e->seen = 1;
    return compare_value(c, ev, e, err);
}

/* All but the columns derived for queries alone, which play no part in rebuilding the message. */
static uint64_t rebuilding_columns(enum ev_type type) {
    const struct ev_schema *schema = ev_schema(type);
    uint64_t columns = 0;
    for (unsigned i = 0; i < schema->count; i++)
        if (strcmp(schema->columns[i].path, "=") != 0) columns |= (uint64_t)1 << i;
    return columns;
}

static enum bl_rc read_file(struct comparison *c, size_t index, uint64_t columns, lake_row_fn row,
                            struct bl_error *err) {
    const struct catalog_file *f = &c->view.files[index];
    struct lake_scan scan = {.lake_dir = c->view.dir, .type = f->type, .files = f, .file_count = 1};
    scan.columns = columns;
    scan.duck = c->view.duck;
    c->file = f;
    c->file_index = index;
    c->row = 0;
    enum bl_rc rc = lake_scan_rows(&scan, row, c, err);
    if (rc == BL_E_BACKEND) BL_TRY(lake_view_still_lists(&c->view, f, err));
    return rc;
}

static void report_missing(struct comparison *c) {
    for (size_t i = 0; i < c->count; i++) {
        const struct expected *e = &c->events[i];
        if (e->seen) continue;
        c->out->missing++;
        struct bl_str text = BL_LIT("");
        if (e->text != NO_TEXT)
            text = (struct bl_str){c->texts.p + e->text, e->text_length > 300 ? 300 : e->text_length};
        findings_add(&c->findings, "missing", "%s at time_us %" PRId64 ": %.*s", ev_schema((enum ev_type)e->type)->name,
                     e->time_us, BL_ARG(text));
    }
}

static enum bl_rc compare_chunk(struct comparison *c, struct bl_error *err) {
    if (c->count == 0) return BL_OK;
    for (size_t i = 0; i < c->view.count; i++) {
        const struct catalog_file *f = &c->view.files[i];
        if (f->max_us < c->from_us - DEDUP_SLACK_US || f->min_us > c->to_us + DEDUP_SLACK_US) continue;
        BL_TRY(read_file(c, i, rebuilding_columns(f->type), compare_row, err));
    }
    c->out->compared += (int64_t)c->count;
    report_missing(c);
    return BL_OK;
}

/* --- What was not expected --- */

static bool is_matched(const struct comparison *c, size_t file, int64_t row) {
    return c->matched[file][row / 8] >> (row % 8) & 1;
}

static enum bl_rc report_unexpected(void *context, const struct event *ev, struct bl_error *err) {
    (void)err;
    struct comparison *c = context;
    int64_t row = c->row++;
    if (row < c->file->rows && is_matched(c, c->file_index, row)) return BL_OK;
    bl_buf_clear(&c->name);
    describe_row(ev, &c->name);
    findings_add(&c->findings, "unexpected", "%s in %s", bl_buf_cstr(&c->name), c->file->path);
    return BL_OK;
}

static enum bl_rc find_unexpected(struct comparison *c, struct bl_error *err) {
    for (size_t i = 0; i < c->view.count; i++) {
        int64_t unmatched = 0;
        for (int64_t row = 0; row < c->view.files[i].rows; row++) unmatched += !is_matched(c, i, row);
        if (unmatched == 0) continue;
        c->out->unexpected += unmatched;
        BL_TRY(read_file(c, i, 0, report_unexpected, err));
    }
    return BL_OK;
}

/* --- All of it --- */

static enum bl_rc prepare(struct comparison *c, const char *lake_dir, struct bl_error *err) {
    BL_TRY(lake_view_open(&c->view, lake_dir, err));
    lake_view_totals(&c->view, c->out);
    c->matched = bl_xcalloc(c->view.count, sizeof *c->matched);
    for (size_t i = 0; i < c->view.count; i++) c->matched[i] = bl_xcalloc((size_t)c->view.files[i].rows / 8 + 1, 1);
    BL_TRY(catalog_dead_letters(c->view.catalog, SIZE_MAX, keep_dead, c, err));
    if (c->dead_count) qsort(c->dead, c->dead_count, sizeof *c->dead, by_value);
    grow(c);
    return BL_OK;
}

static enum bl_rc compare_all(struct comparison *c, const char *lake_dir, struct bl_error *err) {
    BL_TRY(prepare(c, lake_dir, err));
    for (bool end = false; !end;) {
        BL_TRY(read_chunk(c, &end, err));
        BL_TRY(compare_chunk(c, err));
    }
    return find_unexpected(c, err);
}

static void release(struct comparison *c) {
    for (size_t i = 0; c->matched && i < c->view.count; i++) free(c->matched[i]);
    free(c->matched);
    free(c->events);
    free(c->places);
    free(c->dead);
    value_hasher_release(&c->hasher);
    bl_arena_release(&c->arena);
    bl_buf_release(&c->texts);
    bl_buf_release(&c->rebuilt);
    bl_buf_release(&c->name);
    lake_view_close(&c->view);
}

enum bl_rc lake_verify_against(const char *lake_dir, verify_next_fn next, void *next_context, verify_report_fn report,
                               void *context, struct verify_result *out, struct bl_error *err) {
    struct comparison c = {
        .findings = {report, context, {{0}}}, .out = out, .next = next, .next_context = next_context};
    c.arena.max = 4 * (size_t)EV_SIZE_MAX;
    enum bl_rc rc = compare_all(&c, lake_dir, err);
    findings_end(&c.findings);
    release(&c);
    return rc;
}
