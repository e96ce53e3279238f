#include "pipe/ingest.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/rng.h"
#include "event/json.h"
#include "net/url.h"
#include "obs/alert.h"
#include "obs/httpd.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "pipe/blocks.h"
#include "pipe/freshness.h"
#include "pipe/gap_note.h"
#include "pipe/judge.h"
#include "pipe/repairs.h"
#include "pipe/sender.h"
#include "pipe/settings.h"
#include "pipe/window.h"

enum {
    ARENA_MAX = 24 << 20,      /* one event, unescaped */
    TICK_MS = 200,             /* longest wait of the reader before it looks at ages, stop and status */
    RETRY_US = 250000,         /* between two tries to append */
    DRAIN_LIMIT_US = 20000000, /* at stop: how long to wait for Redis */
    NUMBERING_SLACK = 1 << 20, /* a number so far behind belongs to a numbering that began anew */
    FLOW_LOG_US = 60000000,    /* how often the log says how much flows */
    REFUSED_LOG_US = 10000000, /* and at most that something was refused */
    AHEAD_US = 60000000,       /* further ahead of our clock than networks and hosts explain */
    HORIZON_US = 300000000     /* a time stamp further ahead of our clock than this does not move the cursor */
};

struct ingest {
    const struct conf *conf;
    struct role *role;
    struct merge *source; /* from the first session to the end */
    struct buffer *buffer;
    struct blocks blocks;
    struct bl_arena arena;
    struct bl_buf minified;
    char host[256];       /* that the reader's position belongs to; "" when several deliver */
    struct window window; /* used when several deliver */
    struct {              /* of time stamps that agree with each other, whatever our own clock says */
        int64_t near_us, agreed_us;
        unsigned votes;
    } horizon;

    struct repairs repairs;
    int64_t pushed_us; /* newest position of the blocks the sender was given in this session */
    int64_t begin_us;  /* where this process began, 0 = nothing received yet */
    struct sender *sender;
    pthread_mutex_t mutex; /* of the pointer `source`, which appears while others look */
    _Atomic int64_t newest_us;
    _Atomic int64_t last_receipt_us, last_accepted_us;
    _Atomic int64_t refused_since_us; /* first message refused since one was accepted; 0 = the last one was accepted */
    _Atomic unsigned gaps_open; /* of `repairs`, for the ticker */
    struct judge judge;
    int64_t flow_log_ns, flow_from_ns, refused_log_ns; /* of the ticker; the last one of the reader */
    double flow_from;                                  /* received by then */
    _Atomic bool session_over;
    _Atomic bool standby; /* another ingest feeds this Redis: this one waits */
};

static void source_state(struct ingest *in, struct merge_stats *out) {
    pthread_mutex_lock(&in->mutex);
    struct merge *source = in->source;
    pthread_mutex_unlock(&in->mutex);
    *out = (struct merge_stats){.all.state = SOURCE_CONNECTING};
    if (source) merge_get_stats(source, out);
}

static bool several(const struct ingest *in) {
    return in->conf->source_redundancy > 1;
}

/* ---- reader ---- */

static void push_closed(struct ingest *in, bool flush) {
    struct closed_block closed;
    while (blocks_take(&in->blocks, bl_mono_ns(), flush, &closed)) {
        struct item *item = bl_xcalloc(1, sizeof *item);
        item->is_block = true;
        item->block = closed;
        BL_CRASH_POINT("ingest.block_closed");
        struct source_cursor cursor = {.seq = closed.cursor_seq};
        memcpy(cursor.host, in->host, sizeof cursor.host);
        source_cursor_text(&cursor, item->host);
        if (closed.cursor_us > in->pushed_us) in->pushed_us = closed.cursor_us;
        sender_push(in->sender, item);
    }
}

static void push_note(struct ingest *in, struct note note, struct bl_str message) {
    struct item *item = bl_xcalloc(1, sizeof *item);
    item->note = note;
    bl_buf_str(&item->block.raw, message);
    BL_CRASH_POINT("ingest.rejected");
    sender_push(in->sender, item);
}

/* A block's lines end at '\n', so an event written over several lines is joined into one. */
static struct bl_str one_line(struct ingest *in, struct bl_str json) {
    if (!memchr(json.p, '\n', json.n) && !memchr(json.p, '\r', json.n)) return json;
    bl_buf_clear(&in->minified);
    js_minify(json, &in->minified);
    return bl_buf_view(&in->minified);
}

/* A position belongs to one host and its numbering: before the next one's events come, what is open is closed with the
 * old one's. */
static void follow_host(struct ingest *in, const struct source_message *message) {
    if (!message->host) return;
    bool same = strcmp(message->host, in->host) == 0;
    if (same && (!message->seq || message->seq + NUMBERING_SLACK >= in->blocks.position_seq)) return;
    push_closed(in, true);
    snprintf(in->host, sizeof in->host, "%s", message->host);
    blocks_change_host(&in->blocks, 0);
}

/* How far ahead a time stamp may be and still move the cursor. One event with an absurd time must not; but where many
 * in a row agree, it is our own clock that is wrong. */
static int64_t horizon(struct ingest *in, int64_t time_us, int64_t received_us) {
    enum { VOTES = 64 };
    bool near = time_us > in->horizon.near_us - HORIZON_US && time_us < in->horizon.near_us + HORIZON_US;
    in->horizon.votes = near ? in->horizon.votes + 1 : 1;
    in->horizon.near_us = time_us;
    if (in->horizon.votes >= VOTES && time_us > in->horizon.agreed_us) in->horizon.agreed_us = time_us;
    return (in->horizon.agreed_us > received_us ? in->horizon.agreed_us : received_us) + HORIZON_US;
}

static void refuse_message(struct ingest *in, const struct source_message *message, enum ev_reason reason,
                           const char *detail) {
    if (!atomic_load(&in->refused_since_us)) atomic_store(&in->refused_since_us, message->received_us);
    metric_add(M_rejected, reason, 1);
    struct note note = {.received_us = message->received_us};
    snprintf(note.reason, sizeof note.reason, "%s", ev_reason_name(reason));
    snprintf(note.detail, sizeof note.detail, "%.255s", detail);
    push_note(in, note, message->json);
    if (bl_log_due(&in->refused_log_ns, REFUSED_LOG_US))
        bl_log(BL_WARN, "message refused reason=%s bytes=%zu refused_so_far=%.0f host=%s", note.reason, message->json.n,
               metric_sum(M_rejected), message->host ? message->host : "-");
}

/* For the cursor and for what is shown as newest: an absurd time moves neither. 0 = the message moves nothing. */
static int64_t moves_up_to(struct ingest *in, const struct source_message *message, int64_t time_us) {
    if (message->backfill) return 0;
    int64_t limit_us = horizon(in, time_us, message->received_us);
    if (time_us > message->received_us + AHEAD_US) metric_add(M_ahead, 0, 1);
    if (time_us > atomic_load(&in->newest_us) && time_us <= limit_us) atomic_store(&in->newest_us, time_us);
    return limit_us;
}

static void take_message(struct ingest *in, const struct source_message *message) {
    struct event ev;
    enum ev_reason reason = EV_REASON_NONE;
    struct bl_error err = {0};
    bl_arena_reset(&in->arena);
    atomic_store(&in->last_receipt_us, message->received_us);
    follow_host(in, message);
    if (ev_check(message->json, &in->arena, &ev, &reason, &err) != BL_OK) {
        refuse_message(in, message, reason == EV_REASON_NONE ? EV_REASON_too_large : reason, err.message);
        return;
    }
    int64_t time_us = ev.v[EV_TIME_US].i;
    atomic_store(&in->last_accepted_us, message->received_us);
    atomic_store(&in->refused_since_us, 0);
    metric_add(M_received, ev.type, 1);
    if (!in->begin_us) in->begin_us = time_us <= message->received_us ? time_us : message->received_us;
    int64_t horizon_us = moves_up_to(in, message, time_us);
    if (several(in) && window_saw(&in->window, ev_identity(&ev))) {
        metric_add(M_merged, 0, 1);
        return;
    }
    struct blocks_event e = {.json = one_line(in, message->json),
                             .time_us = time_us,
                             .received_us = message->received_us,
                             .horizon_us = horizon_us,
                             .seq = message->seq};
    blocks_add(&in->blocks, ev.type, &e, bl_mono_ns());
}

/* Gaps travel to the catalogue the same way as dead letters: ingest does not know the lake. */
static void push_gap(struct ingest *in, const struct source_gap *gap) {
    metric_add(gap->healed ? M_gaps_healed : M_gaps, 0, 1);
    struct note note = {.received_us = bl_wall_us()};
    snprintf(note.reason, sizeof note.reason, gap->healed ? "healed" : "gap");
    BL_CLEANUP(bl_buf_release) struct bl_buf json = {0};
    gap_note_print(gap, &json);
    BL_CRASH_POINT("ingest.gap_found");
    push_note(in, note, bl_buf_view(&json));
}

static bool can_heal(const struct ingest *in) {
    return in->conf->source_heal && in->conf->source_urls.count > 1;
}

/* What the buffer lost is a gap until upstream has served it again, or has said that it no longer can. */
static void note_loss(struct ingest *in, const struct resume *resume) {
    if (resume->lost_to_us <= resume->cursor_us) return;
    struct source_gap gap = {
        .from_us = resume->cursor_us, .to_us = resume->lost_to_us, .reason = REPAIR_BUFFER_LOST};
    char length[BL_TIME_TEXT_MAX];
    bl_log(BL_WARN, "gap of %s: the buffer lost what lies between %" PRId64 " and %" PRId64 "; upstream is asked again",
           bl_format_duration(gap.to_us - gap.from_us, length), gap.from_us, gap.to_us);
    repairs_add(&in->repairs, &gap, bl_wall_us());
    push_gap(in, &gap);
}

/* The note goes behind every block pushed so far, and what is durable lies before it as well. */
static void push_healed(struct ingest *in, const struct source_gap *gap) {
    struct source_gap healed = *gap;
    int64_t durable_us = sender_cursor(in->sender).cursor_us;
    healed.healed = true;
    repairs_reported(&in->repairs, gap, in->pushed_us > durable_us ? in->pushed_us : durable_us);
    push_gap(in, &healed);
}

static void heal_losses(struct ingest *in, int64_t durable_us) {
    for (struct repair *one; (one = repairs_whole(&in->repairs, durable_us)) != NULL;) push_healed(in, &one->gap);
}

/* Before the message that shows a gap is taken: no position behind the gap is stored while the list of repairs does not
 * know of it. */
static void take_gaps(struct ingest *in) {
    struct source_gap gap;
    while (merge_take_gap(in->source, &gap)) {
        if (gap.healed) {
            push_closed(in, true); /* the note must not be stored before the events */
            push_healed(in, &gap);
            continue;
        }
        repairs_give_up(&in->repairs, gap.from_us, gap.to_us);
        if (can_heal(in)) repairs_add(&in->repairs, &gap, bl_wall_us());
        push_gap(in, &gap);
        char length[BL_TIME_TEXT_MAX];
        bl_log(BL_WARN, "gap of %s: upstream %s no longer has what lies between %" PRId64 " and %" PRId64 " (%s)",
               bl_format_duration(gap.to_us - gap.from_us, length), gap.host, gap.from_us, gap.to_us, gap.reason);
    }
}

/* Those whose "healed" note is on its way are closed. */
static void count_open_gaps(struct ingest *in) {
    unsigned open = 0;
    for (size_t i = 0; i < in->repairs.count; i++) open += !in->repairs.list[i].reported_us;
    atomic_store(&in->gaps_open, open);
}

/* An earlier process left these. Their rows may have been lost with Redis before the writer took them. */
static void go_on_repairing(struct ingest *in) {
    for (size_t i = 0; i < in->repairs.count; i++) {
        const struct repair *one = &in->repairs.list[i];
        bool of_buffer = repair_is_of_buffer(one);
        if (!of_buffer && !can_heal(in)) continue;
        bl_log(BL_INFO, "going on to fill the gap between %" PRId64 " and %" PRId64 " (%s)", one->gap.from_us,
               one->gap.to_us, one->gap.reason);
        push_gap(in, &one->gap);
        if (!of_buffer) merge_fill(in->source, &one->gap);
    }
}

static void learn(struct ingest *in) {
    size_t learned[EV_TYPE_COUNT][2];
    sender_take_learned(in->sender, learned);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        if (learned[t][1]) blocks_learn(&in->blocks, (enum ev_type)t, learned[t][0], learned[t][1]);
}

static void update_gauges(struct ingest *in) {
    struct merge_stats stats;
    source_state(in, &stats);
    struct source_stats s = stats.all;
    metric_set(M_hosts_connected, 0, stats.connected);
    metric_set(M_jetstream_connected, 0, s.state == SOURCE_LIVE);
    metric_set(M_reconnects, 0, (double)s.connects);
    metric_set(M_failures, 0, (double)s.failures);
    metric_set(M_received_bytes, 0, (double)s.bytes);
    metric_set(M_oversized, 0, (double)s.oversized);
    metric_set(M_unpack_failures, 0, (double)s.decompress_failures);
    metric_set(M_ingest_lag, 0, freshness_age_s(atomic_load(&in->newest_us), bl_wall_us()));
    metric_set(M_process_memory, 0, (double)role_resident_bytes());
}

static void report(struct ingest *in) {
    if (!role_report_due(in->role)) return;
    struct merge_stats stats;
    struct sender_health sending;
    source_state(in, &stats);
    struct source_stats s = stats.all;
    sender_get_health(in->sender, &sending);
    static const char *const states[] = {"connecting", "live", "reconnecting"};
    role_report(in->role,
                "received=%.0f buffered=%.0f rejected=%.0f gaps=%" PRIu64 " lag_us=%.0f"
                " state=%s host=%s redis=%d queue=%.0f spill=%" PRId64,
                metric_sum(M_received), metric_sum(M_buffered), metric_sum(M_rejected), s.gaps,
                freshness_age_s(atomic_load(&in->newest_us), bl_wall_us()) * 1e6, states[s.state],
                *s.host ? s.host : "-", sending.redis_up, metric_get(M_queue_bytes, 0), sending.spill_bytes);
}

static int tick_ms(struct ingest *in) {
    int64_t due_ns = blocks_due_in_ns(&in->blocks, bl_mono_ns());
    int64_t ms = due_ns < 0 ? TICK_MS : due_ns / 1000000 + 1;
    return (int)(ms < TICK_MS ? ms : TICK_MS);
}

/* Where several deliver, the numbers of one are of no use. */
static struct source_cursor cursor_of(const struct ingest *in, struct resume resume) {
    struct source_cursor cursor = {.us = resume.cursor_us};
    source_cursor_of_text(resume.host, &cursor);
    if (several(in)) cursor.seq = 0;
    return cursor;
}

static enum bl_rc read_loop(struct ingest *in, struct bl_error *err) {
    enum { CHECK_EVERY = 256 }; /* messages between two looks at age, gaps and status while they pour in */
    for (unsigned since = 0; !role_stopping(in->role) && !sender_lost(in->sender);) {
        struct source_message message;
        enum bl_rc rc = merge_next(in->source, tick_ms(in), &message, err);
        if (rc == BL_E_CANCELLED) continue;
        take_gaps(in);
        if (rc == BL_OK) {
            take_message(in, &message);
        } else if (rc != BL_E_TIMEOUT) {
            return rc;
        }
        if (rc == BL_OK && ++since < CHECK_EVERY && merge_pending(in->source)) continue;
        since = 0;
        BL_CRASH_POINT("ingest.before_cursor");
        struct resume durable = sender_cursor(in->sender);
        struct source_cursor cursor = cursor_of(in, durable);
        merge_set_cursor(in->source, &cursor);
        heal_losses(in, durable.cursor_us);
        repairs_settle(&in->repairs, sender_settled(in->sender));
        count_open_gaps(in);
        push_closed(in, false);
        learn(in);
        report(in);
    }
    return BL_OK;
}

/* ---- health ---- */

static bool is_filtered(const struct conf *conf) {
    const struct conf_list *wanted = &conf->source_collections;
    bool all = wanted->count == 0 || (wanted->count == 1 && strcmp(wanted->items[0], "all") == 0);
    return !all || conf->source_dids.count;
}

struct condition {
    struct source_stats source;
    unsigned hosts_connected;
    struct sender_health sending;
    struct stage_clock clocks[3];
    const char *stream; /* flowing, idle (filtered, nothing to say), silent, refused, down */
    bool ok;
    char why[320];
};
enum { FLOWING_US = 5000000 };

/* A filtered stream is judged by its connection, which the source gives up when it is dead; a whole one is never silent
 * for long. What is refused does not count as received: while nothing else comes, both are late. */
static const char *stream_state(const struct ingest *in, bool live, bool refusing, int64_t age_us) {
    int64_t limit_us = in->conf->ready_received;
    if (!live) return "down";
    if (refusing && limit_us && age_us > limit_us) return "refused";
    if (is_filtered(in->conf)) return age_us <= FLOWING_US ? "flowing" : "idle";
    return limit_us && age_us > limit_us ? "silent" : "flowing";
}

/* Nothing but refused messages for the whole limit, not merely one in a stream that has little to say. */
static bool only_refuses(const struct ingest *in) {
    int64_t since = atomic_load(&in->refused_since_us);
    return since && atomic_load(&in->last_receipt_us) - since > in->conf->ready_received;
}

static void look(struct ingest *in, int64_t now, struct condition *c) {
    *c = (struct condition){0};
    struct merge_stats stats;
    source_state(in, &stats);
    c->source = stats.all;
    c->hosts_connected = stats.connected;
    sender_get_health(in->sender, &c->sending);
    bool live = c->source.state == SOURCE_LIVE;
    bool refusing = only_refuses(in);
    int64_t accepted = atomic_load(&in->last_accepted_us), connected = c->source.connected_since_us,
            since = accepted > connected ? accepted : connected;
    int64_t silence_limit = is_filtered(in->conf) && !refusing ? 0 : in->conf->ready_received;
    c->clocks[0] = (struct stage_clock){"witnessed", atomic_load(&in->newest_us), 0};
    c->clocks[1] = (struct stage_clock){"received", accepted ? accepted : since, silence_limit};
    c->clocks[2] = (struct stage_clock){"buffered", c->sending.last_durable_us, 0};
    if (c->sending.oldest_waiting_us)
        c->clocks[2] = (struct stage_clock){"buffered", c->sending.oldest_waiting_us, in->conf->ready_buffered};
    c->stream = stream_state(in, live, refusing, since ? now - since : 0);
    bool late = freshness_late(c->clocks, sizeof c->clocks / sizeof *c->clocks, now, c->why, sizeof c->why);
    bool takes = c->sending.redis_up && !c->sending.redis_full;
    if (!takes)
        snprintf(c->why, sizeof c->why, "%s", *c->sending.error ? c->sending.error : "Redis has not been reached yet");
    else if (!live && !atomic_load(&in->standby))
        snprintf(c->why, sizeof c->why, "%.300s",
                 *c->source.last_error ? c->source.last_error : "not connected to Jetstream yet");
    else if (atomic_load(&in->standby))
        snprintf(c->why, sizeof c->why, "another ingest feeds this Redis; this one takes over when it is gone");
    else if (late && refusing)
        snprintf(c->why, sizeof c->why, "every message is refused; see `bluelake deadletter`");
    c->ok = takes && live && !late && !atomic_load(&in->standby);
    metric_set(M_ready, 0, c->ok);
}

static int health(void *context, bool ready, struct bl_buf *json) {
    struct ingest *in = context;
    struct condition c;
    int64_t now = bl_wall_us();
    look(in, now, &c);
    int64_t newest = c.clocks[0].at_us, receipt = atomic_load(&in->last_receipt_us);
    bl_buf_printf(
        json,
        "{\"role\":\"ingest\",\"status\":\"%s\",\"ready\":%s,\"stream\":\"%s\",\"jetstream_connected\":%s,\"host\":",
        c.ok ? "ok" : "degraded", c.ok ? "true" : "false", c.stream, c.source.state == SOURCE_LIVE ? "true" : "false");
    bl_buf_json(json, bl_str(c.source.host));
    bl_buf_printf(json,
                  ",\"hosts_connected\":%u,\"redis_connected\":%s,\"breaker_open\":%s,\"spill_bytes\":%" PRId64
                  ",\"received\":%.0f,\"buffered\":%.0f,\"rejected\":%.0f,\"gaps\":%" PRIu64
                  ",\"lag_seconds\":%.3f,\"last_message_age_seconds\":%.3f,",
                  c.hosts_connected, c.sending.redis_up ? "true" : "false", c.sending.breaker_open ? "true" : "false",
                  c.sending.spill_bytes, metric_sum(M_received), metric_sum(M_buffered), metric_sum(M_rejected),
                  c.source.gaps, freshness_age_s(newest, now),
                  receipt ? freshness_age_s(receipt, now) : -1.0);
    freshness_print(c.clocks, sizeof c.clocks / sizeof *c.clocks, now, json);
    bl_buf_byte(json, ',');
    alerts_print(ROLE_INGEST, json);
    char lake[BL_FOLDER_ID_MAX];
    bl_buf_printf(json, ",\"lake\":\"%s\",\"error\":", bl_folder_id(in->conf->data, lake));
    bl_buf_json(json, bl_utf8_valid(bl_str(c.why)) ? bl_str(c.why) : BL_LIT("?"));
    bl_buf_byte(json, '}');
    return ready && !c.ok ? 503 : 200;
}

static void refresh(void *context) {
    struct condition c;
    update_gauges(context);
    look(context, bl_wall_us(), &c);
}

static void log_flow(struct ingest *in, const struct condition *c, int64_t now) {
    if (!bl_log_due(&in->flow_log_ns, FLOW_LOG_US)) return;
    int64_t now_ns = bl_mono_ns();
    double received = metric_sum(M_received), seconds = (double)(now_ns - in->flow_from_ns) / 1e9;
    bl_log(BL_INFO,
           "flow events_per_second=%.1f received=%.0f buffered=%.0f refused=%.0f lag_seconds=%.1f cursor=%.0f host=%s",
           in->flow_from_ns ? (received - in->flow_from) / seconds : 0.0, received, metric_sum(M_buffered),
           metric_sum(M_rejected), freshness_age_s(c->clocks[0].at_us, now), metric_get(M_cursor, 0) * 1e6,
           *c->source.host ? c->source.host : "-");
    in->flow_from = received;
    in->flow_from_ns = now_ns;
}

static void judge(void *context) {
    struct ingest *in = context;
    struct condition c;
    int64_t now = bl_wall_us();
    look(in, now, &c);
    judge_ingest(&in->judge, in->conf,
                 &(struct judge_ingest){.now_us = now,
                                        .now_ns = bl_mono_ns(),
                                        .newest_us = c.clocks[0].at_us,
                                        .hosts_connected = c.hosts_connected,
                                        .redis_up = c.sending.redis_up,
                                        .redis_full = c.sending.redis_full,
                                        .breaker_open = c.sending.breaker_open,
                                        .standby = atomic_load(&in->standby),
                                        .gaps_open = atomic_load(&in->gaps_open),
                                        .silent = freshness_late(&c.clocks[1], 1, now, c.why, sizeof c.why)});
    log_flow(in, &c, now);
}

/* ---- sessions ---- */

static enum bl_rc load_position(struct ingest *in, struct buffer_position *position, struct bl_error *err) {
    int64_t last_log_ns = 0;
    for (;;) {
        enum bl_rc rc = sender_hold(in->sender, err);
        bool busy = rc == BL_E_BUSY;
        atomic_store(&in->standby, busy);
        if (rc == BL_OK) rc = buffer_load_position(in->buffer, position, err);
        if (rc == BL_OK) {
            sender_note_redis(in->sender, NULL);
            return BL_OK;
        }
        if (bl_rc_class(rc) != BL_CLASS_RETRY) return rc;
        if (role_stopping(in->role)) return bl_fail(err, BL_E_CANCELLED, "stopped before Redis could be reached");
        sender_note_redis(in->sender, busy ? NULL : err);
        if (bl_log_due(&last_log_ns, 10000000)) bl_log_error(busy ? "waiting to take over" : "waiting for Redis", err);
        role_pause(in->role, RETRY_US);
    }
}

static enum bl_rc open_source(struct ingest *in, const struct source_cursor *cursor, struct bl_error *err) {
    struct source_settings settings;
    struct merge *source = NULL;
    BL_TRY(source_settings_init(&settings, in->conf, err));
    struct source_options *o = &settings.options.source;
    o->start_cursor_us = cursor->us;
    o->start_seq = cursor->seq;
    o->start_host = cursor->host;
    enum bl_rc rc = BL_OK;
    if (!o->start_cursor_us) rc = start_cursor(in->conf, bl_wall_us(), &o->start_cursor_us, err);
    if (rc == BL_OK) rc = merge_open(&settings.options, &source, err);
    source_settings_release(&settings);
    pthread_mutex_lock(&in->mutex);
    in->source = source;
    pthread_mutex_unlock(&in->mutex);
    return rc;
}

/* A later session keeps the connection's knowledge, and the gaps that are being filled. */
static enum bl_rc begin_source(struct ingest *in, const struct source_cursor *cursor, struct bl_error *err) {
    if (in->source) {
        merge_restart(in->source, cursor);
        return BL_OK;
    }
    BL_TRY(open_source(in, cursor, err));
    go_on_repairing(in);
    return BL_OK;
}

/* The end of a session, and stopping, must also end a merge_next that waits for the network. */
static void *watch_stop(void *context) {
    struct ingest *in = context;
    while (!role_stopping(in->role) && !atomic_load(&in->session_over) && !sender_lost(in->sender))
        role_pause(in->role, 200000);
    merge_wake(in->source);
    return NULL;
}

static enum bl_rc read_session(struct ingest *in, struct bl_error *err) {
    pthread_t watch_thread;
    atomic_store(&in->session_over, false);
    if (pthread_create(&watch_thread, NULL, watch_stop, in) != 0) return bl_fail(err, BL_E_IO, "cannot start a thread");
    enum bl_rc rc = read_loop(in, err);
    bool lost = sender_lost(in->sender);
    if (!lost) {
        push_closed(in, true);
        heal_losses(in, in->pushed_us); /* these notes follow the blocks */
    }
    sender_stop(in->sender, lost ? 0 : DRAIN_LIMIT_US);
    atomic_store(&in->session_over, true);
    pthread_join(watch_thread, NULL);
    return rc;
}

/* From loading the position to the stop, or to the moment Redis turns out to have lost more than can be sent again. */
static enum bl_rc run_session(struct ingest *in, struct bl_error *err) {
    static const uint64_t numbered_by_the_sender[EV_TYPE_COUNT];
    struct buffer_position position;
    struct resume resume;
    BL_TRY(load_position(in, &position, err));
    BL_CRASH_POINT("ingest.position_loaded");
    uint64_t incarnation = bl_random_u64();
    BL_TRY(sender_start(in->sender, &position, incarnation, &resume, err));
    bool complete = resume.cursor_us != 0;
    /* Redis lost what it had before anything was settled. */
    if (!complete) resume.cursor_us = in->begin_us ? in->begin_us : position.cursor_us;
    struct source_cursor cursor = cursor_of(in, resume);
    repairs_begin(&in->repairs, resume.cursor_us, complete);
    enum bl_rc rc = begin_source(in, &cursor, err);
    if (rc == BL_OK) note_loss(in, &resume);
    BL_CRASH_POINT("ingest.source_open");
    if (rc != BL_OK) {
        sender_stop(in->sender, 0);
        return rc;
    }
    window_clear(&in->window);
    in->pushed_us = 0;
    blocks_release(&in->blocks);
    blocks_init(&in->blocks, incarnation, numbered_by_the_sender, resume.cursor_us,
                (size_t)in->conf->ingest_block_bytes, in->conf->ingest_block_age);
    blocks_change_host(&in->blocks, cursor.seq);
    memcpy(in->host, cursor.host, sizeof in->host);
    bl_log(BL_INFO, "starting run=%016" PRIx64 " cursor_us=%" PRId64 " cursor_host=%s", incarnation, resume.cursor_us,
           *resume.host ? resume.host : "-");
    return read_session(in, err);
}

static enum bl_rc run_sessions(struct ingest *in, struct bl_error *err) {
    enum bl_rc rc;
    do {
        rc = run_session(in, err);
        bool again = rc == BL_OK && sender_lost(in->sender) && !role_stopping(in->role);
        if (!again) break;
        metric_add(M_sessions_lost, 0, 1);
        bl_log(BL_WARN, "starting over from what Redis still holds; upstream is asked again for the rest");
    } while (true);
    role_stop(in->role);
    in->role->last_report_ns = 0; /* the last word, whenever the one before was */
    report(in);
    bl_log(BL_INFO, "stopped received=%.0f buffered=%.0f rejected=%.0f cursor_us=%" PRId64, metric_sum(M_received),
           metric_sum(M_buffered), metric_sum(M_rejected), sender_cursor(in->sender).cursor_us);
    return rc;
}

/* ---- start and stop ---- */

static enum bl_rc serve_and_run(struct ingest *in, struct bl_error *err) {
    struct obs_httpd_options web = {
        .roles = ROLE_INGEST, .health = health, .refresh = refresh, .tick = judge, .context = in};
    char address[64];
    BL_TRY(url_parse_listen(bl_str(in->conf->ingest_http), address, &web.port, err));
    web.address = address;
    struct obs_httpd *httpd = NULL;
    BL_TRY(obs_httpd_start(&web, &httpd, err));
    bl_log(BL_INFO, "health and metrics on http://%s:%d", address, obs_httpd_port(httpd));
    enum bl_rc rc = run_sessions(in, err);
    obs_httpd_stop(&httpd);
    return rc;
}

/* Wrong settings are told at once, not after Redis has been found. */
static enum bl_rc check_settings(const struct conf *conf, struct bl_error *err) {
    struct source_settings settings;
    int64_t cursor_us;
    BL_TRY(source_settings_init(&settings, conf, err));
    enum bl_rc rc = merge_check(&settings.options, err);
    source_settings_release(&settings);
    return rc == BL_OK ? start_cursor(conf, bl_wall_us(), &cursor_us, err) : rc;
}

static enum bl_rc start(struct ingest *in, struct bl_error *err) {
    struct buffer_settings settings;
    BL_TRY(check_settings(in->conf, err));
    BL_TRY(buffer_settings_init(&settings, in->conf, err));
    enum bl_rc rc = buffer_open(&settings.options, &in->buffer, err);
    buffer_settings_release(&settings);
    if (rc == BL_OK) rc = sender_open(in->conf, in->role, in->buffer, &in->sender, err);
    return rc == BL_OK ? serve_and_run(in, err) : rc;
}

enum bl_rc ingest_run(const struct conf *conf, struct role *role, struct bl_error *err) {
    struct ingest in = {.conf = conf, .role = role, .arena = {.max = ARENA_MAX}, .minified = {.max = EV_SIZE_MAX}};
    pthread_mutex_init(&in.mutex, NULL);
    repairs_open(&in.repairs, conf->data, bl_wall_us());
    count_open_gaps(&in);
    metric_set(M_process_start, 0, (double)bl_wall_us() / 1e6);
    enum bl_rc rc = start(&in, err);
    if (rc == BL_E_CANCELLED) rc = BL_OK;
    merge_close(&in.source);
    window_release(&in.window);
    repairs_release(&in.repairs);
    sender_close(&in.sender);
    buffer_close(&in.buffer);
    blocks_release(&in.blocks);
    bl_arena_release(&in.arena);
    bl_buf_release(&in.minified);
    pthread_mutex_destroy(&in.mutex);
    return rc;
}
