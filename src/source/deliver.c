#include <unistd.h>

#include "obs/log.h"
#include "source/peek.h"
#include "source/source_priv.h"
#include "source/v2.h"

enum {
    CORRUPT_IN_ROW_MAX =
        3, /* connections that ended at a corrupt message, before it is skipped or the dictionary blamed */
};
#define NUMBERED_US SECOND_US          /* a host that numbers may have deleted the event it is asked for again */
#define SKEW_US (10 * SECOND_US)       /* instances stamp the same event seconds apart, not more */
#define QUIET_US (60 * SECOND_US)      /* so long nothing may happen in a part of the stream */
#define ABSURD_US (3600 * SECOND_US)   /* no event is so far ahead of the clock and of what is stored */
#define LOOKBACK_US (24 * 3600 * SECOND_US) /* what every known host keeps */

/* ---- messages ---- */

static void add_gap(struct source *s, int64_t from_us, int64_t to_us, const char *reason) {
    struct source_gap g = {.from_us = from_us, .to_us = to_us};
    memcpy(g.host, here(s)->name, sizeof g.host);
    snprintf(g.reason, sizeof g.reason, "%s", reason);
    s->last_gap = g;
    atomic_fetch_add(&s->gaps_total, 1);
    bl_log(BL_WARN, "source gap host=%s from=%lld to=%lld reason=%s", g.host, (long long)from_us, (long long)to_us,
           reason);
    if (s->gap_count < GAPS_MAX)
        s->gaps[s->gap_count++] = g;
    else
        s->gaps[GAPS_MAX - 1].to_us = to_us; /* nobody asks: widen the last rather than forget */
}

static bool believable(const struct source *s, int64_t time_us) {
    return time_us <= (s->received_us > s->asked_us ? s->received_us : s->asked_us) + ABSURD_US;
}

/* How much newer than what was handed out the first event after a resume may be, before something is missing. A host
 * that has delivered an event at the position asked for, or behind it, must begin with that or an earlier one. Another
 * host has the same events within seconds. Otherwise, and in a part of the stream, silence may be normal. */
static int64_t tolerance_us(const struct source *s) {
    const struct host *h = &s->hosts[s->host_at];
    if (s->gap_certain) return 0;
    if (h->newest_us >= s->cursor_us && !s->did_filtered) return h->newest_seq || h->v2 ? NUMBERED_US : 0;
    bool busy = (s->newest_host && source_host_switched(s)) || s->asked_us - s->cursor_us >= SKEW_US;
    return busy && !s->filtered ? SKEW_US : QUIET_US;
}

/* The first event after a resume tells what the host could still serve. With a filter on accounts, silence is normal,
 * and only a position beyond every host's look-back is a reason to suspect a loss. Where replay meets live, the first
 * message may be a live one, or events may be left out, once: unless the host says itself that the position is too old,
 * it is asked twice. False: ask again. */
static bool check_gap(struct source *s, int64_t time_us) {
    int64_t age_us = now_us(s) - s->asked_us, held_us = believable(s, s->known_us) ? s->known_us : s->asked_us;
    int64_t from_us = source_host_switched(s) ? s->asked_us : held_us; /* another host's times are not the same */
    bool certain = s->gap_certain, doubted = here(s)->doubted;
    bool served = !s->asked_us || time_us <= held_us + tolerance_us(s);
    s->gap_certain = here(s)->doubted = false;
    if (served || (s->did_filtered && age_us <= LOOKBACK_US && !certain)) return true;
    if (!certain && !doubted) {
        here(s)->doubted = true;
        return false;
    }
    if (s->last_gap.from_us == from_us && time_us <= s->last_gap.to_us) return true; /* reported */
    add_gap(s, from_us, time_us,
            source_host_switched(s) && s->newest_host && age_us <= LOOKBACK_US && !certain ? "host_switch"
                                                                                           : "cursor_too_old");
    return true;
}

static enum step ask_again(struct source *s, int64_t time_us) {
    struct bl_error err = {0};
    char begins[BL_TIME_TEXT_MAX], asked[BL_TIME_TEXT_MAX];
    bl_format_time(time_us, 3, begins);
    bl_format_time(s->cursor_us, 3, asked);
    (void)!bl_fail(&err, BL_E_NET, "%s begins with %s, asked for %s: asking once more", here(s)->name, begins, asked);
    source_disconnect(s, false, &err);
    s->retry_at_ns = here(s)->not_before_ns;
    return STEP_AGAIN;
}

/* A numbering that starts below what was asked for is another one: the host was set up anew, or is not the same; or it
 * is of the old family now and does not number at all. */
static bool numbering_changed(struct source *s, uint64_t seq) {
    if (s->first_seq_seen) return false;
    s->first_seq_seen = true;
    here(s)->lost = false;
    return s->asked_seq && seq < s->asked_seq;
}

static enum step leave_numbering(struct source *s, uint64_t seq) {
    struct bl_error err = {0};
    (void)!bl_fail(&err, BL_E_NET,
                   "%s counts anew: it was asked for number %llu and begins with %llu; resuming by time", here(s)->name,
                   (unsigned long long)s->asked_seq, (unsigned long long)seq);
    bl_log_error("source", &err);
    here(s)->newest_seq = 0;
    here(s)->newest_us = 0;
    source_disconnect(s, false, &err);
    return STEP_AGAIN;
}

static bool note_first(struct source *s, int64_t time_us) {
    if (s->first_time_seen || !cursor_plausible(time_us)) return true;
    s->first_time_seen = true;
    return check_gap(s, time_us);
}

/* Times jump back and forth (two instances, replay meeting live), so each message is judged alone. */
static void deliver(struct source *s, struct bl_str json, int64_t time_us, uint64_t seq, struct source_message *out) {
    bool timed = cursor_plausible(time_us);
    bool overlap = s->overlap_until_us && (!timed || time_us <= s->overlap_until_us);
    if (s->asked_seq ? seq > s->asked_seq : timed ? time_us > s->known_us : !s->overlap_until_us) s->progressed = true;
    if (time_us > s->newest_us && timed) s->newest_us = time_us;
    if (time_us > here(s)->newest_us && timed && believable(s, time_us)) here(s)->newest_us = time_us;
    if (timed) s->newest_host = here(s)->name;
    if (seq > here(s)->newest_seq) here(s)->newest_seq = seq;
    s->delivered_here++;
    s->delivered_any = true;
    atomic_store_explicit(&s->messages, atomic_load_explicit(&s->messages, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&s->last_message_us, s->received_us, memory_order_relaxed);
    *out = (struct source_message){.json = json,
                                   .received_us = s->received_us,
                                   .overlap = overlap,
                                   .time_us = timed ? time_us : 0,
                                   .seq = seq,
                                   .host = here(s)->name};
}

static enum step take_event(struct source *s, struct bl_str json, int64_t time_us, uint64_t seq,
                            struct source_message *out) {
    if ((seq || time_us) && numbering_changed(s, seq)) return leave_numbering(s, seq);
    /* Also one that was handed out before: the position may be far behind those. */
    if (!note_first(s, time_us)) return ask_again(s, time_us);
    if (seq && seq <= s->drop_below) {
        atomic_fetch_add_explicit(&s->repeated, 1, memory_order_relaxed);
        return STEP_AGAIN;
    }
    deliver(s, json, time_us, seq, out);
    return STEP_MESSAGE;
}

static enum step deliver_v1(struct source *s, struct bl_str json, struct source_message *out) {
    int64_t time_us = 0;
    if (!peek_time_us(json, &time_us)) time_us = 0;
    return take_event(s, json, time_us, peek_cursor(json), out);
}

static enum step deliver_v2(struct source *s, struct bl_str frame, struct source_message *out) {
    struct v2_message m;
    struct bl_error err = {0};
    v2_read(frame, &s->converted, &m);
    switch (m.kind) {
    case V2_EVENT:
        return take_event(s, m.json, m.time_us, m.seq, out);
    case V2_INFO:
        bl_log(BL_INFO, "source host=%s says %s: %s", here(s)->name, m.name, m.text);
        if (strcmp(m.name, "OutdatedCursor") == 0) s->gap_certain = true;
        return STEP_AGAIN;
    case V2_ERROR:
        (void)!bl_fail(&err, BL_E_NET, "%s ends the stream: %s %s", here(s)->name, m.name, m.text);
        source_disconnect(s, false, &err);
        return STEP_AGAIN;
    case V2_FOREIGN:
        break;
    }
    deliver(s, frame, 0, 0, out);
    return STEP_MESSAGE;
}

/* v2 goes on without compression where v1 has been told to use it. The file may have gone bad: the next host or run
 * fetches it again. */
static enum step do_without(struct source *s, const struct bl_error *why) {
    here(s)->plain = true;
    unlink(s->dictionary.path);
    s->dictionary = (struct dictionary){0};
    source_disconnect(s, false, why);
    return STEP_AGAIN;
}

/* A message that came damaged is asked for again; when it comes damaged every time, it is one message lost, not the
 * stream. If nothing could ever be unpacked, the dictionary is to blame. */
static enum step on_corrupt(struct source *s, struct bl_error *err) {
    atomic_fetch_add(&s->decompress_failures, 1);
    if (s->newest_us > s->corrupt_after_us) s->corrupt_in_row = 0;
    s->corrupt_after_us = s->newest_us;
    if (++s->corrupt_in_row < CORRUPT_IN_ROW_MAX) {
        source_disconnect(s, false, err);
        return STEP_AGAIN;
    }
    if (s->ever_inflated) {
        bl_log(BL_WARN, "source skips a message host=%s cause=\"%s\"", here(s)->name, err->message);
        return STEP_AGAIN;
    }
    if (here(s)->v2) return do_without(s, err);
    char why[BL_ERROR_MESSAGE_MAX / 2];
    snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, err->message);
    (void)!bl_fail(err, BL_E_USAGE,
                   "%s: %s, and so was every other; name the host's zstd dictionary in source.dictionary, "
                   "or leave it empty to do without compression",
                   here(s)->name, why);
    return source_finish(s, err);
}

enum step source_unpack(struct source *s, const struct ws_message *m, struct source_message *out) {
    struct bl_error err = {0};
    struct bl_str json = m->data;
    struct inflate *z = !here(s)->v2 ? s->inflate : s->compressed ? s->inflate_v2 : NULL;
    bool packed = m->op == WS_BINARY && z;
    switch (packed ? inflate_message(z, m->data, &json, &err) : INFLATE_OK) {
    case INFLATE_OK:
        if (packed) s->ever_inflated = true;
        return here(s)->v2 ? deliver_v2(s, json, out) : deliver_v1(s, json, out);
    case INFLATE_TOO_LARGE:
        atomic_fetch_add(&s->oversized, 1);
        bl_log(BL_WARN, "source skips a message host=%s cause=\"unpacks to more than %zu bytes\"", here(s)->name,
               s->message_max);
        return STEP_AGAIN;
    case INFLATE_WRONG_DICTIONARY:
        return here(s)->v2 ? do_without(s, &err) : source_finish(s, &err);
    case INFLATE_CORRUPT:
        return on_corrupt(s, &err);
    }
    return STEP_AGAIN;
}

/* A host that does not like the filters says so in its close frame, before any event. */
