#include "cmd/verify_buffer.h"

#include <inttypes.h>
#include <stdio.h>

#include "buffer/census.h"
#include "pipe/settings.h"

struct check {
    struct buffer *buffer;
    struct catalog *catalog;
    bool print;
    verify_report_fn report;
    struct verify_result *result;
};

__attribute__((format(printf, 2, 3))) static void say(struct check *c, const char *format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    c->report(NULL, "buffer", text);
}

/* ---- a type ---- */

struct side { /* what the catalogue knows of a type */
    struct catalog_ledger ledger;
    int64_t waiting; /* events in Redis that are not in the lake */
    uint64_t first;  /* offset of the first of them; UINT64_MAX: there is none */
};

/* A block is in the lake when its number is, unless it came again under a new offset: then its events are counted (as
 * duplicates) once the writer meets it. */
static enum bl_rc count_waiting(struct check *c, enum ev_type type, const struct census *census, struct side *s,
                                struct bl_error *err) {
    uint64_t incarnation = 0, committed = 0;
    s->waiting = 0;
    s->first = UINT64_MAX;
    for (size_t i = 0; i < census->count; i++) {
        const struct census_entry *e = &census->entries[i];
        if (i == 0 || e->incarnation != incarnation) {
            incarnation = e->incarnation;
            BL_TRY(catalog_committed_seq(c->catalog, incarnation, type, &committed, err));
        }
        if (e->seq <= committed && e->offset < s->ledger.next_offset) continue;
        s->waiting += e->count;
        if (e->offset < s->first) s->first = e->offset;
    }
    return BL_OK;
}

static enum bl_rc look_at_lake(struct check *c, enum ev_type type, const struct census *census, struct side *s,
                               struct bl_error *err) {
    struct catalog_ledger all[EV_TYPE_COUNT];
    BL_TRY(catalog_pin(c->catalog, err));
    enum bl_rc rc = catalog_ledger(c->catalog, all, err);
    if (rc == BL_OK) {
        s->ledger = all[type];
        rc = count_waiting(c, type, census, s, err);
    }
    catalog_unpin(c->catalog);
    return rc;
}

static enum bl_rc counter_now(struct check *c, enum ev_type type, uint64_t *received, struct bl_error *err) {
    struct buffer_depth depth;
    BL_TRY(buffer_depth(c->buffer, &depth, err));
    *received = depth.received[type];
    return BL_OK;
}

/* Offsets number what was buffered: up to next_offset it is in the ledger, beyond it must be in the queue. A Redis that
 * forgot counts less than the ledger, or begins below it again. */
static void judge(struct check *c, enum ev_type type, const struct census *census, const struct side *s,
                  uint64_t received_now) {
    const struct catalog_ledger *l = &s->ledger;
    const char *name = ev_schema(type)->name;
    bool forgot = received_now < l->next_offset || s->first < l->next_offset;
    uint64_t from = !forgot ? l->next_offset : s->first != UINT64_MAX ? s->first : census->received;
    int64_t expected = census->received > from ? (int64_t)(census->received - from) : 0;
    bool holds = s->waiting == expected && l->received == l->written + l->duplicates + l->dead;
    if (c->print)
        printf("%-9s received %12" PRIu64 " = written %12" PRId64 " + duplicates %9" PRId64 " + dead %6" PRId64
               " + buffered %9" PRId64 "%s\n",
               name, census->received, l->written, l->duplicates, l->dead, s->waiting,
               holds ? "" : "   DOES NOT ADD UP");
    if (forgot)
        say(c,
            "%s: Redis forgot what it had counted (%" PRIu64 ", the lake took %" PRIu64
            "): what it held before cannot be proven, what it holds now %s",
            name, received_now, l->next_offset, holds ? "is whole" : "is not whole");
    if (census->unreadable) say(c, "%s: %" PRIu64 " entries of the queue are no block", name, census->unreadable);
    if (holds) return;
    c->result->problems++;
    say(c, "%s: %" PRId64 " events wait in Redis, its counter and the ledger say %" PRId64, name, s->waiting, expected);
}

static enum bl_rc check_type(struct check *c, enum ev_type type, struct bl_error *err) {
    enum { ATTEMPTS = 3 };
    bool settled = false;
    for (int i = 0; i < ATTEMPTS && !settled; i++) {
        BL_CLEANUP(census_release) struct census census = {0};
        struct side side;
        uint64_t now = 0;
        BL_TRY(buffer_census(c->buffer, type, &census, err));
        BL_TRY(look_at_lake(c, type, &census, &side, err));
        BL_TRY(counter_now(c, type, &now, err));
        settled = now >= census.received || i + 1 == ATTEMPTS; /* else Redis was emptied meanwhile */
        if (settled) judge(c, type, &census, &side, now);
    }
    return BL_OK;
}

/* ---- what ingest refused ---- */

static void judge_notes(struct check *c, uint64_t noted, int64_t taken, uint64_t waiting) {
    uint64_t known = (uint64_t)taken + waiting;
    if (c->print)
        printf("%-9s noted    %12" PRIu64 " = taken   %12" PRId64 " + waiting %12" PRIu64 "%s\n", "refused", noted,
               taken, waiting, noted > known ? "   DOES NOT ADD UP" : "");
    if (noted < known)
        say(c,
            "Redis forgot what it had counted: %" PRIu64 " refused messages and gaps, the lake took %" PRId64
            " and %" PRIu64 " wait: whether some were lost in Redis cannot be proven",
            noted, taken, waiting);
    if (noted <= known) return;
    c->result->problems++;
    say(c,
        "%" PRIu64 " refused messages or gaps were lost in Redis: %" PRIu64 " were noted, the lake took %" PRId64
        " and %" PRIu64 " wait",
        noted - known, noted, taken, waiting);
}

/* What is taken while this looks would be in neither: then it looks again. */
static enum bl_rc check_notes(struct check *c, struct bl_error *err) {
    enum { ATTEMPTS = 20 };
    for (int i = 0; i < ATTEMPTS; i++) {
        struct catalog_counts before, after;
        uint64_t noted, waiting;
        BL_TRY(catalog_counts(c->catalog, &before, err));
        if (before.taken < 0) {
            say(c, "this lake was made before refused messages were counted: whether some were lost cannot be proven");
            return BL_OK;
        }
        BL_TRY(buffer_census_rejected(c->buffer, before.taken_to, &noted, &waiting, err));
        BL_TRY(catalog_counts(c->catalog, &after, err));
        if (after.taken != before.taken) continue;
        judge_notes(c, noted, after.taken, waiting);
        return BL_OK;
    }
    say(c, "refused messages come too fast to be counted");
    return BL_OK;
}

static enum bl_rc check_all(struct check *c, struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) BL_TRY(check_type(c, (enum ev_type)t, err));
    return check_notes(c, err);
}

enum bl_rc verify_buffer(const struct conf *conf, bool print, verify_report_fn report, struct verify_result *result,
                         struct bl_error *err) {
    struct buffer_settings s;
    struct check c = {.print = print, .report = report, .result = result};
    BL_TRY(buffer_settings_init(&s, conf, err));
    enum bl_rc rc = buffer_open(&s.options, &c.buffer, err);
    if (rc == BL_OK) rc = catalog_open(conf->data, CATALOG_READ, &c.catalog, err);
    if (rc == BL_OK) rc = check_all(&c, err);
    catalog_close(&c.catalog);
    buffer_close(&c.buffer);
    buffer_settings_release(&s);
    return rc;
}
