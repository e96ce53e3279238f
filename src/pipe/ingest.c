#include "pipe/ingest.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/rng.h"
#include "event/json.h"
#include "net/url.h"
#include "obs/httpd.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "pipe/blocks.h"
#include "pipe/settings.h"
#include "pipe/window.h"

enum {
    ARENA_MAX = 24 << 20,  /* one event, unescaped */
    TICK_MS = 200,         /* longest wait of the reader before it looks at ages, stop and status */
    RETRY_US = 250000,     /* between two tries to append */
    DRAIN_LIMIT_S = 20,    /* at stop: how long to wait for Redis */
    NUMBERING_SLACK = 1 << 20, /* a number so far behind belongs to a numbering that began anew */
    HORIZON_US = 300000000 /* a time stamp further ahead of our clock than this does not move the cursor */
};

struct rejected_message {
    enum ev_reason reason;
    bool gap; /* a gap note instead */
    char detail[256];
    int64_t received_us;
};

/* What the reader hands to the sender, in order. */
struct item {
    struct item *next;
    bool is_block;
    struct closed_block block; /* its raw bytes are owned; for a rejected message they are the message */
    struct rejected_message rejected;
    char host[256]; /* that the cursor belongs to */
};

struct ingest {
    const struct conf *conf;
    struct role *role;
    struct merge *source;
    struct buffer *buffer;
    struct blocks blocks;
    struct bl_arena arena;
    struct bl_buf minified;
    char host[256];       /* that the reader's position belongs to; "" when several deliver */
    struct window window; /* used when several deliver */
    struct { /* of time stamps that agree with each other, whatever our own clock says */
        int64_t near_us;
        unsigned votes;
        int64_t agreed_us;
    } horizon;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct item *head, *tail;
    size_t queued_bytes;
    bool closing;      /* the reader is done: send the rest and end */
    bool abandoned;    /* the rest could not be sent in time; upstream will be asked for it again */
    bool sender_ended;
    size_t learned[EV_TYPE_COUNT][2]; /* raw and packed bytes of the newest block sent */
    bool new_run;                     /* Redis forgot blocks: the reader has to begin anew at `position` */
    struct buffer_position position;
    uint64_t forgotten_run;           /* the sender's: its blocks are of no use any more */
    int64_t begin_us;                 /* the reader's: where this process began, 0 = nothing received yet */

    struct source_cursor durable; /* under mutex */
    _Atomic int64_t durable_cursor_us;
    _Atomic int64_t newest_us, last_receipt_us, last_append_us, last_append_try_us;
    _Atomic bool redis_up;
    char redis_error[256]; /* under mutex */
};

/* ---- the queue between reader and sender ---- */

static size_t item_bytes(const struct item *item) { return item->block.raw.cap + sizeof *item; }

/* Waits while the queue is full: this is the back-pressure that makes the reader stop reading. */
static void push(struct ingest *in, struct item *item) {
    pthread_mutex_lock(&in->mutex);
    while (in->queued_bytes >= (size_t)in->conf->ingest_queue_bytes && !in->sender_ended && !role_stopping(in->role)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&in->changed, &in->mutex, &until);
    }
    *(in->tail ? &in->tail->next : &in->head) = item;
    in->tail = item;
    in->queued_bytes += item_bytes(item);
    metric_set(M_queue_bytes, 0, (double)in->queued_bytes);
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->mutex);
}

/* NULL when the reader is done and nothing is left. */
static struct item *pop(struct ingest *in) {
    pthread_mutex_lock(&in->mutex);
    while (!in->head && !in->closing) pthread_cond_wait(&in->changed, &in->mutex);
    struct item *item = in->head;
    if (item) {
        in->head = item->next;
        if (!in->head) in->tail = NULL;
    }
    pthread_mutex_unlock(&in->mutex);
    return item;
}

static void item_done(struct ingest *in, struct item *item, size_t packed_bytes) {
    pthread_mutex_lock(&in->mutex);
    in->queued_bytes -= item_bytes(item);
    metric_set(M_queue_bytes, 0, (double)in->queued_bytes);
    if (packed_bytes) {
        in->learned[item->block.type][0] = item->block.raw.n;
        in->learned[item->block.type][1] = packed_bytes;
    }
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->mutex);
    bl_buf_release(&item->block.raw);
    free(item);
}

/* ---- sender ---- */

static bool abandoned(struct ingest *in) {
    pthread_mutex_lock(&in->mutex);
    bool yes = in->abandoned;
    pthread_mutex_unlock(&in->mutex);
    return yes;
}

static void note_redis(struct ingest *in, const struct bl_error *err) {
    atomic_store(&in->redis_up, err == NULL);
    metric_set(M_redis_connected, 0, err == NULL);
    pthread_mutex_lock(&in->mutex);
    snprintf(in->redis_error, sizeof in->redis_error, "%.255s", err ? err->message : "");
    pthread_mutex_unlock(&in->mutex);
}

static struct source_cursor cursor_of(const struct item *item) {
    struct source_cursor cursor = {.us = item->block.cursor_us, .seq = item->block.cursor_seq};
    memcpy(cursor.host, item->host, sizeof cursor.host);
    return cursor;
}

static enum bl_rc send_once(struct ingest *in, struct item *item, struct bl_error *err) {
    if (!item->is_block) {
        const struct rejected_message *r = &item->rejected;
        return buffer_reject(in->buffer, r->gap ? "gap" : ev_reason_name(r->reason), r->detail, r->received_us,
                             bl_buf_view(&item->block.raw), err);
    }
    struct buffer_append append = {.type = item->block.type, .block = item->block.block};
    struct source_cursor cursor = cursor_of(item);
    char text[256];
    source_cursor_text(&cursor, text);
    return buffer_append(in->buffer, &append, 1, cursor.us, text, err);
}

static enum bl_rc load_position(struct ingest *in, struct buffer_position *position, struct bl_error *err);

static bool several(const struct ingest *in) { return in->conf->source_redundancy > 1; }

/* Where several deliver, the numbers of one are of no use. */
static struct source_cursor stored_cursor(const struct ingest *in, const struct buffer_position *position) {
    struct source_cursor cursor = {.us = position->cursor_us};
    source_cursor_of_text(position->host, &cursor);
    if (several(in)) cursor.seq = 0;
    return cursor;
}

static void set_durable(struct ingest *in, const struct source_cursor *cursor) {
    pthread_mutex_lock(&in->mutex);
    in->durable = *cursor;
    pthread_mutex_unlock(&in->mutex);
    atomic_store(&in->durable_cursor_us, cursor->us);
}

/* What Redis still holds is of one moment, cursor included. The run goes back to that moment; what the queue holds of it comes again. */
static void give_up_run(struct ingest *in, uint64_t run, const struct bl_error *why) {
    bl_log_error("beginning a new run", why);
    struct bl_error err = {0};
    struct buffer_position position;
    in->forgotten_run = run;
    while (load_position(in, &position, &err) != BL_OK) {
        if (role_stopping(in->role)) return; /* the next start reads that position */
        bl_log_error("cannot begin a new run, trying again", &err);
        role_pause(in->role, RETRY_US);
    }
    struct source_cursor cursor = stored_cursor(in, &position);
    set_durable(in, &cursor);
    pthread_mutex_lock(&in->mutex);
    in->position = position;
    in->new_run = true;
    pthread_mutex_unlock(&in->mutex);
}

static bool is_forgotten(const struct ingest *in, const struct item *item) {
    return item->is_block && in->forgotten_run && item->block.block.incarnation == in->forgotten_run;
}

/* Redis may be down for long: the item stays at the head, upstream's cursor does not move, and the reader stops when the queue is full. */
static bool send_until_done(struct ingest *in, struct item *item) {
    int64_t last_log_ns = 0;
    struct bl_error err = {0};
    for (enum bl_rc rc; (rc = send_once(in, item, &err)) != BL_OK;) {
        if (rc == BL_E_FORGOTTEN) {
            give_up_run(in, item->block.block.incarnation, &err);
            return false;
        }
        metric_add(M_buffer_refused, 0, 1);
        note_redis(in, &err);
        if (bl_log_due(&last_log_ns, 10000000)) bl_log_error("cannot append to the buffer, trying again", &err);
        if (abandoned(in)) return false;
        struct timespec pause = {.tv_nsec = RETRY_US * 1000};
        nanosleep(&pause, NULL);
    }
    if (last_log_ns) bl_log(BL_INFO, "the buffer accepts events again");
    note_redis(in, NULL);
    return true;
}

static void count_sent(struct ingest *in, const struct item *item, size_t packed_bytes) {
    const struct closed_block *b = &item->block;
    struct source_cursor cursor = cursor_of(item);
    int64_t now = bl_wall_us();
    if (cursor.us) set_durable(in, &cursor);
    atomic_store(&in->last_append_us, now);
    metric_add(M_buffered, b->type, b->block.count);
    metric_add(M_blocks, 0, 1);
    metric_add(M_block_bytes, 0, (double)packed_bytes);
    metric_observe(M_buffer_latency, (double)(now - b->first_received_us) / 1e6);
    metric_set(M_cursor, 0, (double)b->cursor_us / 1e6);
}

static void *sender(void *context) {
    struct ingest *in = context;
    struct block_codec *codec = block_codec_new((int)in->conf->ingest_block_level);
    struct bl_buf packed = {.max = BLOCK_RAW_MAX};
    struct item *item;
    while ((item = pop(in))) {
        struct bl_error err = {0};
        if (item->is_block && block_pack(codec, bl_buf_view(&item->block.raw), &packed, &item->block.block, &err) != BL_OK) {
            bl_log_error("cannot compress a block", &err);
            BL_ASSERT(!"compression into memory fails only by a bug");
        }
        size_t packed_bytes = item->is_block ? item->block.block.data.n : 0;
        BL_CRASH_POINT("ingest.before_send");
        bool sent = !abandoned(in) && !is_forgotten(in, item) && send_until_done(in, item);
        BL_CRASH_POINT("ingest.after_send");
        if (sent && item->is_block) count_sent(in, item, packed_bytes);
        item_done(in, item, packed_bytes);
    }
    bl_buf_release(&packed);
    block_codec_free(&codec);
    pthread_mutex_lock(&in->mutex);
    in->sender_ended = true;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->mutex);
    return NULL;
}

/* ---- reader ---- */

static void push_closed(struct ingest *in, bool flush) {
    struct closed_block closed;
    while (blocks_take(&in->blocks, bl_mono_ns(), flush, &closed)) {
        struct item *item = bl_xcalloc(1, sizeof *item);
        item->is_block = true;
        item->block = closed;
        BL_CRASH_POINT("ingest.block_closed");
        memcpy(item->host, in->host, sizeof item->host);
        push(in, item);
    }
}

static void push_rejected(struct ingest *in, struct rejected_message rejected, struct bl_str message) {
    struct item *item = bl_xcalloc(1, sizeof *item);
    item->rejected = rejected;
    bl_buf_str(&item->block.raw, message);
    BL_CRASH_POINT("ingest.rejected");
    push(in, item);
}

/* A block's lines end at '\n', so an event written over several lines is joined into one. */
static struct bl_str one_line(struct ingest *in, struct bl_str json) {
    if (!memchr(json.p, '\n', json.n) && !memchr(json.p, '\r', json.n)) return json;
    bl_buf_clear(&in->minified);
    js_minify(json, &in->minified);
    return bl_buf_view(&in->minified);
}

/* A position belongs to one host and its numbering: before the next one's events come, what is open is closed with the old one's. */
static void follow_host(struct ingest *in, const struct source_message *message) {
    if (!message->host) return;
    bool same = strcmp(message->host, in->host) == 0;
    if (same && (!message->seq || message->seq + NUMBERING_SLACK >= in->blocks.position_seq)) return;
    push_closed(in, true);
    snprintf(in->host, sizeof in->host, "%s", message->host);
    blocks_change_host(&in->blocks, 0);
}

/* How far ahead a time stamp may be and still move the cursor. One event with an absurd time must not; but where many in a row agree,
 * it is our own clock that is wrong. */
static int64_t horizon(struct ingest *in, int64_t time_us, int64_t received_us) {
    enum { VOTES = 64 };
    bool near = time_us > in->horizon.near_us - HORIZON_US && time_us < in->horizon.near_us + HORIZON_US;
    in->horizon.votes = near ? in->horizon.votes + 1 : 1;
    in->horizon.near_us = time_us;
    if (in->horizon.votes >= VOTES && time_us > in->horizon.agreed_us) in->horizon.agreed_us = time_us;
    return (in->horizon.agreed_us > received_us ? in->horizon.agreed_us : received_us) + HORIZON_US;
}

static void take_message(struct ingest *in, const struct source_message *message) {
    struct event ev;
    enum ev_reason reason = EV_REASON_NONE;
    struct bl_error err = {0};
    bl_arena_reset(&in->arena);
    atomic_store(&in->last_receipt_us, message->received_us);
    follow_host(in, message);
    if (ev_check(message->json, &in->arena, &ev, &reason, &err) != BL_OK) {
        if (reason == EV_REASON_NONE) reason = EV_REASON_too_large;
        metric_add(M_rejected, reason, 1);
        struct rejected_message rejected = {.reason = reason, .received_us = message->received_us};
        snprintf(rejected.detail, sizeof rejected.detail, "%.255s", err.message);
        push_rejected(in, rejected, message->json);
        return;
    }
    int64_t time_us = ev.v[EV_TIME_US].i;
    metric_add(M_received, ev.type, 1);
    if (!in->begin_us) in->begin_us = time_us <= message->received_us ? time_us : message->received_us;
    if (time_us > atomic_load(&in->newest_us)) atomic_store(&in->newest_us, time_us);
    if (several(in) && window_saw(&in->window, ev_identity(&ev))) {
        metric_add(M_merged, 0, 1);
        return;
    }
    struct blocks_event e = {.json = one_line(in, message->json),
                             .time_us = time_us,
                             .received_us = message->received_us,
                             .horizon_us = message->backfill ? 0 : horizon(in, time_us, message->received_us),
                             .seq = message->seq};
    blocks_add(&in->blocks, ev.type, &e, bl_mono_ns());
}

/* Gaps travel to the catalogue the same way as dead letters: ingest does not know the lake. */
static void take_gaps(struct ingest *in) {
    struct source_gap gap;
    while (merge_take_gap(in->source, &gap)) {
        metric_add(gap.healed ? M_gaps_healed : M_gaps, 0, 1);
        if (gap.healed) push_closed(in, true); /* the note must not be stored before the events */
        struct rejected_message note = {.gap = true, .received_us = bl_wall_us()};
        BL_CLEANUP(bl_buf_release) struct bl_buf json = {0};
        bl_buf_printf(&json, "{\"from_us\":%" PRId64 ",\"to_us\":%" PRId64 ",\"healed\":%d,\"reason\":\"%s\",\"host\":", gap.from_us,
                      gap.to_us, gap.healed, gap.reason);
        bl_buf_json(&json, bl_str(gap.host));
        bl_buf_byte(&json, '}');
        push_rejected(in, note, bl_buf_view(&json));
        if (gap.healed) continue;
        char length[BL_TIME_TEXT_MAX];
        bl_log(BL_WARN, "gap of %s: upstream %s no longer has what lies between %" PRId64 " and %" PRId64 " (%s)",
               bl_format_duration(gap.to_us - gap.from_us, length), gap.host, gap.from_us, gap.to_us, gap.reason);
    }
}

static void learn(struct ingest *in) {
    pthread_mutex_lock(&in->mutex);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        if (in->learned[t][1]) blocks_learn(&in->blocks, (enum ev_type)t, in->learned[t][0], in->learned[t][1]);
        in->learned[t][1] = 0;
    }
    pthread_mutex_unlock(&in->mutex);
}

static void update_gauges(struct ingest *in) {
    struct merge_stats stats;
    merge_get_stats(in->source, &stats);
    struct source_stats s = stats.all;
    metric_set(M_hosts_connected, 0, stats.connected);
    metric_set(M_jetstream_connected, 0, s.state == SOURCE_LIVE);
    metric_set(M_reconnects, 0, (double)s.connects);
    metric_set(M_failures, 0, (double)s.failures);
    metric_set(M_received_bytes, 0, (double)s.bytes);
    int64_t newest = atomic_load(&in->newest_us);
    metric_set(M_ingest_lag, 0, newest ? (double)(bl_wall_us() - newest) / 1e6 : 0);
    metric_set(M_process_memory, 0, (double)role_resident_bytes());
}

static void report(struct ingest *in) {
    if (!role_report_due(in->role)) return;
    struct merge_stats stats;
    merge_get_stats(in->source, &stats);
    struct source_stats s = stats.all;
    static const char *const states[] = {"connecting", "live", "reconnecting"};
    int64_t newest = atomic_load(&in->newest_us);
    role_report(in->role, "received=%.0f buffered=%.0f rejected=%.0f gaps=%" PRIu64 " lag_us=%" PRId64 " state=%s host=%s redis=%d queue=%.0f",
                metric_sum(M_received), metric_sum(M_buffered), metric_sum(M_rejected), s.gaps,
                newest ? bl_wall_us() - newest : 0, states[s.state], *s.host ? s.host : "-", atomic_load(&in->redis_up),
                metric_get(M_queue_bytes, 0));
}

static void start_blocks(struct ingest *in, const struct buffer_position *position) {
    uint64_t incarnation = bl_random_u64();
    blocks_init(&in->blocks, incarnation, position->received, position->cursor_us, (size_t)in->conf->ingest_block_bytes,
                in->conf->ingest_block_age);
    struct source_cursor cursor = stored_cursor(in, position);
    blocks_change_host(&in->blocks, cursor.seq);
    memcpy(in->host, cursor.host, sizeof in->host);
    bl_log(BL_INFO, "starting run=%016" PRIx64 " cursor_us=%" PRId64 " cursor_host=%s", incarnation, position->cursor_us,
           *position->host ? position->host : "-");
}

/* Redis went back in time: so does ingest, to the cursor Redis has, or to its own beginning where Redis has none. */
static void follow_redis(struct ingest *in) {
    pthread_mutex_lock(&in->mutex);
    bool wanted = in->new_run;
    struct buffer_position position = in->position;
    in->new_run = false;
    pthread_mutex_unlock(&in->mutex);
    if (!wanted) return;
    blocks_release(&in->blocks);
    start_blocks(in, &position);
    window_clear(&in->window);
    struct source_cursor cursor = stored_cursor(in, &position);
    if (!cursor.us) cursor.us = in->begin_us;
    merge_restart(in->source, &cursor);
}

static int tick_ms(struct ingest *in) {
    int64_t due_ns = blocks_due_in_ns(&in->blocks, bl_mono_ns());
    int64_t ms = due_ns < 0 ? TICK_MS : due_ns / 1000000 + 1;
    return (int)(ms < TICK_MS ? ms : TICK_MS);
}

static void pass_cursor(struct ingest *in) {
    pthread_mutex_lock(&in->mutex);
    struct source_cursor cursor = in->durable;
    pthread_mutex_unlock(&in->mutex);
    merge_set_cursor(in->source, &cursor);
}

static enum bl_rc read_loop(struct ingest *in, struct bl_error *err) {
    enum { CHECK_EVERY = 256 }; /* messages between two looks at age, gaps and status while they pour in */
    for (unsigned since = 0; !role_stopping(in->role);) {
        struct source_message message;
        enum bl_rc rc = merge_next(in->source, tick_ms(in), &message, err);
        if (rc == BL_E_CANCELLED) break;
        if (rc == BL_OK) {
            take_message(in, &message);
        } else if (rc != BL_E_TIMEOUT) {
            return rc;
        }
        if (rc == BL_OK && ++since < CHECK_EVERY && merge_pending(in->source)) continue;
        since = 0;
        BL_CRASH_POINT("ingest.before_cursor");
        pass_cursor(in);
        follow_redis(in);
        take_gaps(in);
        push_closed(in, false);
        learn(in);
        report(in);
    }
    return BL_OK;
}

/* ---- health ---- */

static int health(void *context, bool ready, struct bl_buf *json) {
    struct ingest *in = context;
    struct merge_stats stats;
    merge_get_stats(in->source, &stats);
    struct source_stats s = stats.all;
    int64_t now = bl_wall_us(), newest = atomic_load(&in->newest_us), receipt = atomic_load(&in->last_receipt_us);
    bool redis = atomic_load(&in->redis_up), live = s.state == SOURCE_LIVE;
    bool ok = redis && live;
    bl_buf_printf(json, "{\"role\":\"ingest\",\"status\":\"%s\",\"jetstream_connected\":%s,\"host\":", ok ? "ok" : "degraded",
                  live ? "true" : "false");
    bl_buf_json(json, bl_str(s.host));
    bl_buf_printf(json, ",\"hosts_connected\":%u,\"redis_connected\":%s,\"received\":%.0f,\"buffered\":%.0f,\"rejected\":%.0f,\"gaps\":%" PRIu64
                  ",\"lag_seconds\":%.3f,\"last_message_age_seconds\":%.3f,\"error\":",
                  stats.connected, redis ? "true" : "false", metric_sum(M_received), metric_sum(M_buffered), metric_sum(M_rejected), s.gaps,
                  newest ? (double)(now - newest) / 1e6 : 0, receipt ? (double)(now - receipt) / 1e6 : -1.0);
    pthread_mutex_lock(&in->mutex);
    bl_buf_json(json, bl_str(!redis && *in->redis_error ? in->redis_error : live ? "" : s.last_error));
    pthread_mutex_unlock(&in->mutex);
    bl_buf_byte(json, '}');
    return ready && !ok ? 503 : 200;
}

static void refresh(void *context) { update_gauges(context); }

/* ---- start and stop ---- */

static enum bl_rc load_position(struct ingest *in, struct buffer_position *position, struct bl_error *err) {
    int64_t last_log_ns = 0;
    for (;;) {
        enum bl_rc rc = buffer_load_position(in->buffer, position, err);
        if (rc == BL_OK) return BL_OK;
        if (bl_rc_class(rc) != BL_CLASS_RETRY) return rc;
        if (role_stopping(in->role)) return bl_fail(err, BL_E_CANCELLED, "stopped before Redis could be reached");
        if (bl_log_due(&last_log_ns, 10000000)) bl_log_error("waiting for Redis", err);
        role_pause(in->role, RETRY_US);
    }
}

static enum bl_rc open_source(struct ingest *in, const struct buffer_position *position, struct bl_error *err) {
    struct source_settings settings;
    BL_TRY(source_settings_init(&settings, in->conf, err));
    struct source_cursor cursor = stored_cursor(in, position);
    struct source_options *o = &settings.options.source;
    o->start_cursor_us = cursor.us;
    o->start_seq = cursor.seq;
    o->start_host = cursor.host;
    enum bl_rc rc = BL_OK;
    if (!o->start_cursor_us) rc = start_cursor(in->conf, bl_wall_us(), &o->start_cursor_us, err);
    if (rc == BL_OK) rc = merge_open(&settings.options, &in->source, err);
    source_settings_release(&settings);
    return rc;
}

static void finish(struct ingest *in, pthread_t thread) {
    push_closed(in, true);
    pthread_mutex_lock(&in->mutex);
    in->closing = true;
    pthread_cond_broadcast(&in->changed);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DRAIN_LIMIT_S;
    while (!in->sender_ended && pthread_cond_timedwait(&in->changed, &in->mutex, &until) == 0) {
    }
    in->abandoned = true;
    pthread_mutex_unlock(&in->mutex);
    pthread_join(thread, NULL);
}

/* Stopping must also end a source_next that waits for the network. */
static void *watch_stop(void *context) {
    struct ingest *in = context;
    while (!role_stopping(in->role) && !in->sender_ended) role_pause(in->role, 1000000);
    merge_wake(in->source);
    return NULL;
}

static enum bl_rc run_threads(struct ingest *in, struct bl_error *err) {
    pthread_t send_thread, watch_thread;
    if (pthread_create(&send_thread, NULL, sender, in) != 0) return bl_fail(err, BL_E_IO, "cannot start a thread");
    if (pthread_create(&watch_thread, NULL, watch_stop, in) != 0) {
        finish(in, send_thread);
        return bl_fail(err, BL_E_IO, "cannot start a thread");
    }
    enum bl_rc rc = read_loop(in, err);
    finish(in, send_thread);
    role_stop(in->role);
    pthread_join(watch_thread, NULL);
    in->role->last_report_ns = 0; /* the last word, whenever the one before was */
    report(in);
    bl_log(BL_INFO, "stopped received=%.0f buffered=%.0f rejected=%.0f cursor_us=%" PRId64, metric_sum(M_received),
           metric_sum(M_buffered), metric_sum(M_rejected), atomic_load(&in->durable_cursor_us));
    return rc;
}

static enum bl_rc serve_and_run(struct ingest *in, struct bl_error *err) {
    struct obs_httpd_options web = {.roles = ROLE_INGEST, .health = health, .refresh = refresh, .context = in};
    char address[64];
    BL_TRY(url_parse_listen(bl_str(in->conf->ingest_http), address, &web.port, err));
    web.address = address;
    struct obs_httpd *httpd = NULL;
    BL_TRY(obs_httpd_start(&web, &httpd, err));
    bl_log(BL_INFO, "health and metrics on http://%s:%d", address, obs_httpd_port(httpd));
    enum bl_rc rc = run_threads(in, err);
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
    if (rc != BL_OK) return rc;
    struct buffer_position position;
    BL_TRY(load_position(in, &position, err));
    BL_CRASH_POINT("ingest.position_loaded");
    note_redis(in, NULL);
    struct source_cursor cursor = stored_cursor(in, &position);
    set_durable(in, &cursor);
    BL_TRY(open_source(in, &position, err));
    BL_CRASH_POINT("ingest.source_open");
    in->begin_us = position.cursor_us;
    start_blocks(in, &position);
    return serve_and_run(in, err);
}

enum bl_rc ingest_run(const struct conf *conf, struct role *role, struct bl_error *err) {
    struct ingest in = {.conf = conf, .role = role, .arena = {.max = ARENA_MAX}, .minified = {.max = EV_SIZE_MAX}};
    pthread_mutex_init(&in.mutex, NULL);
    pthread_cond_init(&in.changed, NULL);
    metric_set(M_process_start, 0, (double)bl_wall_us() / 1e6);
    enum bl_rc rc = start(&in, err);
    if (rc == BL_E_CANCELLED) rc = BL_OK;
    if (in.source) merge_close(&in.source);
    window_release(&in.window);
    buffer_close(&in.buffer);
    blocks_release(&in.blocks);
    bl_arena_release(&in.arena);
    bl_buf_release(&in.minified);
    pthread_cond_destroy(&in.changed);
    pthread_mutex_destroy(&in.mutex);
    return rc;
}
