#include "pipe/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/io.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "pipe/appender.h"
#include "pipe/settled.h"
#include "pipe/spill.h"

enum {
    RETRY_US = 250000,        /* between two tries to append, while the breaker is closed */
    IDLE_US = 1000000,        /* longest sleep: the settled position is looked at then */
    SYNC_ITEMS = 64,          /* at most so many blocks share one fsync */
    DRAIN_AT_ONCE = 64,       /* spilled blocks appended between two looks at the queue */
    SPILL_KEEP_US = 10000000, /* a drained segment stays so long, for a Redis that forgets its last seconds */
    SETTLED_EVERY_US = 1000000,
    POSITION_EVERY_US = 5000000,
};

struct sender {
    const struct conf *conf;
    struct role *role;
    struct buffer *buffer;
    struct sole sole;
    struct spill *spill; /* NULL = off */
    struct appender appender;
    struct block_codec *codec;
    char *position_path;

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct item *head, *tail;
    size_t queued_bytes;
    bool closing;   /* nothing more is pushed: finish what is queued */
    bool abandoned; /* do not even finish */
    bool running;
    size_t learned[EV_TYPE_COUNT][2];
    char error[256];
    struct resume durable; /* position */

    /* the thread's own */
    uint64_t incarnation;
    int64_t resumed_us; /* from where upstream is asked in this session; 0 = unknown */
    uint64_t known_incarnation, known_seq[EV_TYPE_COUNT]; /* what Redis holds of the run being drained */
    int64_t failing_since_ns, next_probe_ns;              /* 0 = Redis took the last block */
    int64_t settled_us, settled_written_us;               /* settled_us 0 = unknown */
    int64_t settled_due_ns, position_due_ns;
    int64_t last_log_ns, last_spill_log_ns;

    _Atomic bool breaker_open, redis_up, redis_full;
    _Atomic int64_t last_durable_us, spill_size;
    _Atomic int64_t settled_seen_us; /* in this session */
};

/* ---- the queue ---- */

static size_t item_bytes(const struct item *item) {
    return item->block.raw.cap + sizeof *item;
}

static void free_item(struct item *item) {
    bl_buf_release(&item->block.raw);
    bl_buf_release(&item->packed);
    free(item);
}

static void wait_changed(struct sender *s, int64_t us) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + us % 1000000 * 1000;
    until.tv_sec += us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&s->changed, &s->mutex, &until);
}

void sender_push(struct sender *s, struct item *item) {
    pthread_mutex_lock(&s->mutex);
    while (s->queued_bytes >= (size_t)s->conf->ingest_queue_bytes && s->running && !role_stopping(s->role))
        wait_changed(s, IDLE_US);
    *(s->tail ? &s->tail->next : &s->head) = item;
    s->tail = item;
    s->queued_bytes += item_bytes(item);
    metric_set(M_queue_bytes, 0, (double)s->queued_bytes);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

/* NULL after `wait_us` without one. Its bytes stay counted until item_done. */
static struct item *pop(struct sender *s, int64_t wait_us) {
    pthread_mutex_lock(&s->mutex);
    if (!s->head && !s->closing && wait_us) wait_changed(s, wait_us);
    struct item *item = s->head;
    if (item) {
        s->head = item->next;
        if (!s->head) s->tail = NULL;
        item->next = NULL;
    }
    pthread_mutex_unlock(&s->mutex);
    return item;
}

/* To the front: in a session that is lost, discard_queue decides what becomes of it. */
static void put_back(struct sender *s, struct item *item) {
    pthread_mutex_lock(&s->mutex);
    item->next = s->head;
    s->head = item;
    if (!s->tail) s->tail = item;
    pthread_mutex_unlock(&s->mutex);
}

static void item_done(struct sender *s, struct item *item) {
    pthread_mutex_lock(&s->mutex);
    s->queued_bytes -= item_bytes(item);
    metric_set(M_queue_bytes, 0, (double)s->queued_bytes);
    if (item->is_block) {
        s->learned[item->block.type][0] = item->block.raw.n;
        s->learned[item->block.type][1] = item->block.block.data.n;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    free_item(item);
}

static bool is_abandoned(struct sender *s) {
    pthread_mutex_lock(&s->mutex);
    bool yes = s->abandoned;
    pthread_mutex_unlock(&s->mutex);
    return yes;
}

static void pause_for(struct sender *s, int64_t us) {
    pthread_mutex_lock(&s->mutex);
    if (!s->abandoned) wait_changed(s, us);
    pthread_mutex_unlock(&s->mutex);
}

static bool queue_is_full(struct sender *s) {
    pthread_mutex_lock(&s->mutex);
    bool full = s->queued_bytes >= (size_t)s->conf->ingest_queue_bytes || s->closing;
    pthread_mutex_unlock(&s->mutex);
    return full;
}

/* ---- the breaker ---- */

/* A Redis that has no room for more answers. */
void sender_note_redis(struct sender *s, const struct bl_error *err) {
    bool full = err && err->code == BL_E_FULL, up = !err || full;
    atomic_store(&s->redis_up, up);
    atomic_store(&s->redis_full, full);
    metric_set(M_redis_connected, 0, up);
    pthread_mutex_lock(&s->mutex);
    snprintf(s->error, sizeof s->error, "%.255s", err ? err->message : "");
    pthread_mutex_unlock(&s->mutex);
}

static void set_breaker(struct sender *s, bool open) {
    if (atomic_exchange(&s->breaker_open, open) == open) return;
    metric_set(M_breaker, 0, open);
    bl_log(open ? BL_WARN : BL_INFO,
           open ? "breaker open: Redis does not take events; %s" : "breaker closed: Redis takes events again%s",
           !open      ? ""
           : s->spill ? "they go to disk until it does"
                      : "ingest waits for it");
}

static void redis_failed(struct sender *s, const struct bl_error *err) {
    int64_t now = bl_mono_ns();
    if (!s->failing_since_ns) s->failing_since_ns = now;
    metric_add(M_buffer_refused, 0, 1);
    sender_note_redis(s, err);
    if (bl_log_due(&s->last_log_ns, 10000000)) bl_log_error("cannot append to the buffer, trying again", err);
    bool long_enough = now - s->failing_since_ns >= s->conf->ingest_spill_after * 1000;
    if (long_enough || queue_is_full(s)) set_breaker(s, true);
    s->next_probe_ns = now + (atomic_load(&s->breaker_open) ? s->conf->ingest_breaker_retry : RETRY_US) * 1000;
}

static void redis_took_it(struct sender *s) {
    if (s->failing_since_ns) bl_log(BL_INFO, "the buffer accepts events again");
    s->failing_since_ns = s->next_probe_ns = 0;
    if (!atomic_load(&s->redis_up) || atomic_load(&s->redis_full) || atomic_load(&s->breaker_open))
        sender_note_redis(s, NULL);
    set_breaker(s, false);
}

static bool may_try(const struct sender *s) {
    return bl_mono_ns() >= s->next_probe_ns;
}

/* ---- appending ---- */

static void set_durable(struct sender *s, int64_t cursor_us, const char *host) {
    pthread_mutex_lock(&s->mutex);
    s->durable.cursor_us = cursor_us;
    snprintf(s->durable.host, sizeof s->durable.host, "%s", host);
    pthread_mutex_unlock(&s->mutex);
}

static void note_durable(struct sender *s, int64_t cursor_us, const char *host) {
    if (cursor_us) set_durable(s, cursor_us, host);
    if (cursor_us) metric_set(M_cursor, 0, (double)cursor_us / 1e6);
    atomic_store(&s->last_durable_us, bl_wall_us());
}

static void count_sent(const struct closed_block *b) {
    metric_add(M_buffered, b->type, b->block.count);
    metric_add(M_blocks, 0, 1);
    metric_add(M_block_bytes, 0, (double)b->block.data.n);
    double seconds = (double)(bl_wall_us() - b->first_received_us) / 1e6;
    metric_observe(M_buffer_latency, seconds);
    if (seconds > metric_get(M_buffer_latency_max, 0)) metric_set(M_buffer_latency_max, 0, seconds);
}

/* A Redis that came back empty has forgotten the lease as well. */
enum bl_rc sender_hold(struct sender *s, struct bl_error *err) {
    s->sole.renewed_ns = 0;
    return sole_hold(&s->sole, s->buffer, err);
}

/* What two give at once neither of them can count. After a failure this finds out as well whether Redis answers. */
static enum bl_rc stay_alone(struct sender *s, struct bl_error *err) {
    if (s->failing_since_ns) s->sole.renewed_ns = 0;
    enum bl_rc rc = sole_hold(&s->sole, s->buffer, err);
    if (rc != BL_E_BUSY) return rc;
    bl_log(BL_ERROR_LEVEL, "%s", err->message);
    return appender_lose(&s->appender, false, "another ingest feeds this Redis", err);
}

static enum bl_rc send_item(struct sender *s, struct item *item, struct bl_error *err) {
    BL_TRY(stay_alone(s, err));
    if (!item->is_block) return appender_note(&s->appender, &item->note, bl_buf_view(&item->block.raw), err);
    struct closed_block *b = &item->block;
    BL_TRY(appender_block(&s->appender, b->type, &b->block, b->cursor_us, item->host, err));
    note_durable(s, b->cursor_us, item->host);
    count_sent(b);
    return BL_OK;
}

/* ---- spilling ---- */

static bool has_spilled(const struct sender *s) {
    return s->spill && spill_waiting(s->spill);
}

static struct spill_record record_of(const struct item *item) {
    return (struct spill_record){.is_block = item->is_block,
                                 .type = item->block.type,
                                 .block = item->block.block,
                                 .cursor_us = item->block.cursor_us,
                                 .host = bl_str(item->host),
                                 .reason = bl_str(item->note.reason),
                                 .detail = bl_str(item->note.detail),
                                 .received_us = item->note.received_us,
                                 .message = item->is_block ? (struct bl_str){0} : bl_buf_view(&item->block.raw)};
}

static void pack(struct sender *s, struct item *item) {
    struct bl_error err = {0};
    if (!item->is_block || item->packed.n) return;
    item->packed.max = BLOCK_RAW_MAX;
    enum bl_rc rc = block_pack(s->codec, bl_buf_view(&item->block.raw), &item->packed, &item->block.block, &err);
    if (rc != BL_OK) bl_log_error("cannot compress a block", &err);
    BL_ASSERT(rc == BL_OK); /* compression into memory fails only by a bug */
}

/* `first` and what is queued behind it, with one fsync. False: nothing was written, `first` is still the caller's. */
static bool spill_items(struct sender *s, struct item *first) {
    struct item *items[SYNC_ITEMS] = {first};
    struct bl_error err = {0};
    size_t count = 1;
    if (!spill_waiting(s->spill)) spill_begin(s->spill, s->incarnation, s->appender.received);
    struct spill_record r = record_of(first);
    enum bl_rc rc = spill_append(s->spill, &r, &err);
    while (rc == BL_OK && count < SYNC_ITEMS && !spill_batch_full(s->spill) && (items[count] = pop(s, 0))) {
        pack(s, items[count]);
        r = record_of(items[count++]);
        rc = spill_append(s->spill, &r, &err);
    }
    bool one_too_many = rc != BL_OK && count > 1;
    if (one_too_many || rc == BL_OK) rc = spill_sync(s->spill, &err);
    size_t durable = rc != BL_OK ? 0 : one_too_many ? count - 1 : count;
    for (size_t i = 0; i < durable; i++) {
        const struct closed_block *b = &items[i]->block;
        if (items[i]->is_block) metric_add(M_spilled, b->type, b->block.count);
        note_durable(s, items[i]->is_block ? b->cursor_us : 0, items[i]->host);
        item_done(s, items[i]);
    }
    if (durable < count && bl_log_due(&s->last_spill_log_ns, 10000000))
        bl_log_error("cannot spill to disk; ingest waits for Redis", &err);
    /* Those that were taken from the queue and not written go back to its front, in order. */
    for (size_t i = count; i-- > (durable ? durable : 1);) put_back(s, items[i]);
    return durable > 0;
}

/* An earlier session's block may lie behind what Redis lost, which has yet to come again: Redis must not take over a
 * position behind the one that upstream is asked from now. */
static int64_t believed_cursor(const struct sender *s, const struct spill_record *r) {
    return r->block.incarnation == s->incarnation || r->cursor_us <= s->resumed_us ? r->cursor_us : 0;
}

static enum bl_rc send_record(struct sender *s, struct spill_record *r, struct bl_error *err) {
    char host[256];
    if (!r->is_block) {
        struct note note = {.received_us = r->received_us};
        snprintf(note.reason, sizeof note.reason, "%.*s", BL_ARG(r->reason));
        snprintf(note.detail, sizeof note.detail, "%.*s", BL_ARG(r->detail));
        return appender_note(&s->appender, &note, r->message, err);
    }
    if (r->block.incarnation != s->known_incarnation) {
        BL_TRY(buffer_stored_seqs(s->buffer, r->block.incarnation, s->known_seq, err));
        s->known_incarnation = r->block.incarnation;
    }
    /* Drained before, by this run or an earlier one. One that arrived unanswered is not counted here yet: buffer_append
     * finds it. */
    if (r->block.seq <= s->known_seq[r->type] && !appender_in_doubt(&s->appender, r->type, &r->block)) return BL_OK;
    snprintf(host, sizeof host, "%.*s", BL_ARG(r->host));
    BL_TRY(appender_block(&s->appender, r->type, &r->block, believed_cursor(s, r), host, err));
    s->known_seq[r->type] = r->block.seq;
    metric_add(M_buffered, r->type, r->block.count);
    metric_add(M_blocks, 0, 1);
    metric_add(M_block_bytes, 0, (double)r->block.data.n);
    return BL_OK;
}

/* The next record. Where one is damaged the session is lost: only upstream still has what it held. Starting over needs
 * Redis, so this is asked only while it answers. */
static bool next_spilled(struct sender *s, struct spill_record *r) {
    struct bl_error err = {0};
    enum bl_rc rc = spill_peek(s->spill, r, &err);
    if (rc == BL_E_CORRUPT) {
        struct bl_error loss = {0};
        BL_IGNORE(appender_lose(&s->appender, false, "a part of what was spilled cannot be read any more", &loss));
        bl_log_error(err.message, &loss);
    } else if (rc != BL_OK && rc != BL_E_NOT_FOUND) {
        if (bl_log_due(&s->last_spill_log_ns, 10000000))
            bl_log_error("cannot read what was spilled, trying again", &err);
        pause_for(s, RETRY_US);
    }
    return rc == BL_OK;
}

static void drain_some(struct sender *s) {
    for (int i = 0; i < DRAIN_AT_ONCE && has_spilled(s) && may_try(s) && !atomic_load(&s->appender.lost); i++) {
        struct spill_record r;
        struct bl_error err = {0};
        enum bl_rc rc = stay_alone(s, &err);
        if (rc == BL_OK && !next_spilled(s, &r)) return;
        if (rc == BL_OK) rc = send_record(s, &r, &err);
        if (rc != BL_OK) {
            redis_failed(s, &err);
            return;
        }
        BL_CRASH_POINT("spill.drained");
        spill_consume(s->spill);
        redis_took_it(s);
        if (!has_spilled(s)) bl_log(BL_INFO, "everything that was spilled is in Redis");
    }
}

/* ---- one item ---- */

/* Until the item is in Redis or in a segment. False: given up. */
static bool place(struct sender *s, struct item *item) {
    for (;;) {
        struct bl_error err = {0};
        if (is_abandoned(s) || atomic_load(&s->appender.lost)) return false;
        if (!has_spilled(s) && may_try(s)) {
            BL_CRASH_POINT("ingest.before_send");
            if (send_item(s, item, &err) == BL_OK) {
                BL_CRASH_POINT("ingest.after_send");
                redis_took_it(s);
                item_done(s, item);
                return true;
            }
            redis_failed(s, &err);
        }
        if (atomic_load(&s->appender.lost)) return false;
        if (s->spill && (has_spilled(s) || atomic_load(&s->breaker_open)) && spill_items(s, item)) return true;
        if (has_spilled(s) && may_try(s)) {
            drain_some(s);
            continue;
        }
        pause_for(s, RETRY_US / 5);
    }
}

/* ---- the settled position ---- */

static void write_position(struct sender *s) {
    struct bl_error err = {0};
    if (!s->settled_us || s->settled_us == s->settled_written_us) return;
    if (settled_write(s->position_path, s->settled_us, &err) == BL_OK)
        s->settled_written_us = s->settled_us;
    else if (bl_log_due(&s->last_spill_log_ns, 60000000))
        bl_log_error("cannot keep the settled position; it only matters if Redis comes back empty", &err);
}

/* While segments wait, the queues may be empty though not everything is in the lake. */
static void look_at_settled(struct sender *s) {
    int64_t settled;
    struct bl_error err = {0};
    struct buffer_position position;
    enum bl_rc rc = buffer_settled(s->buffer, &settled, &err);
    if (rc == BL_E_FORGOTTEN && !s->appender.vanished && buffer_load_position(s->buffer, &position, NULL) == BL_OK) {
        buffer_suspect(s->buffer); /* the next append compares */
        if (!position.vanished) return;
        struct bl_error loss = {0};
        BL_IGNORE(appender_lose(&s->appender, true, "Redis threw away a queue", &loss));
        bl_log_error(err.message, &loss);
    }
    if (rc != BL_OK || !settled || has_spilled(s) || atomic_load(&s->appender.lost)) return;
    s->settled_us = settled;
    atomic_store(&s->settled_seen_us, settled);
}

static void housekeeping(struct sender *s) {
    int64_t now = bl_mono_ns();
    if (s->spill) {
        spill_collect(s->spill, now, SPILL_KEEP_US);
        atomic_store(&s->spill_size, spill_bytes(s->spill));
        metric_set(M_spill_bytes, 0, (double)spill_bytes(s->spill));
        metric_set(M_spill_damaged, 0, (double)spill_damaged(s->spill));
    }
    if (now < s->settled_due_ns || s->failing_since_ns) return;
    s->settled_due_ns = now + (int64_t)SETTLED_EVERY_US * 1000;
    struct bl_error err = {0};
    if (stay_alone(s, &err) == BL_OK) look_at_settled(s);
    if (now < s->position_due_ns) return;
    s->position_due_ns = now + (int64_t)POSITION_EVERY_US * 1000;
    write_position(s);
}

/* ---- the thread ---- */

static bool finished(struct sender *s) {
    pthread_mutex_lock(&s->mutex);
    bool yes = s->abandoned || (s->closing && !s->head);
    pthread_mutex_unlock(&s->mutex);
    return yes || atomic_load(&s->appender.lost);
}

static int64_t pause_us(const struct sender *s) {
    if (!has_spilled(s)) return IDLE_US;
    int64_t left_ns = s->next_probe_ns - bl_mono_ns();
    return left_ns <= 0 ? 0 : left_ns / 1000 + 1 < IDLE_US ? left_ns / 1000 + 1 : IDLE_US;
}

static void *run(void *context) {
    struct sender *s = context;
    while (!finished(s)) {
        struct item *item = pop(s, pause_us(s));
        if (item) {
            pack(s, item);
            if (!place(s, item)) put_back(s, item);
        }
        drain_some(s);
        housekeeping(s);
    }
    if (!atomic_load(&s->appender.lost)) write_position(s);
    pthread_mutex_lock(&s->mutex);
    s->running = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- sessions ---- */

/* A gap note cannot be had again upstream; everything else can. */
static void discard_queue(struct sender *s) {
    struct item *kept_head = NULL, *kept_tail = NULL;
    size_t bytes = 0;
    for (struct item *item = s->head, *next; item; item = next) {
        next = item->next;
        item->next = NULL;
        if (item->is_block || strcmp(item->note.reason, "gap") != 0) {
            free_item(item);
            continue;
        }
        *(kept_tail ? &kept_tail->next : &kept_head) = item;
        kept_tail = item;
        bytes += item_bytes(item);
    }
    s->head = kept_head;
    s->tail = kept_tail;
    s->queued_bytes = bytes;
    metric_set(M_queue_bytes, 0, (double)bytes);
}

/* Redis no longer has what its counters, if there are any, speak of. */
static bool is_emptied(const struct sender *s, const struct buffer_position *position) {
    return position->cursor_us == 0 || s->appender.counters_changed || position->vanished;
}

static void choose_resume(struct sender *s, const struct buffer_position *position, bool emptied, struct resume *out) {
    *out = (struct resume){.cursor_us = position->cursor_us};
    memcpy(out->host, position->host, sizeof out->host);
    struct bl_str host = {0};
    int64_t spilled_us = s->spill ? spill_resume(s->spill, position->received, &host) : 0;
    if (spilled_us > out->cursor_us) {
        out->cursor_us = spilled_us;
        snprintf(out->host, sizeof out->host, "%.*s", BL_ARG(host));
    }
    out->lost_to_us = s->spill ? spill_take_lost(s->spill) : 0;
    if (!emptied || (out->cursor_us && s->settled_us >= out->cursor_us)) return;
    int64_t lost_to_us = s->durable.cursor_us > out->cursor_us ? s->durable.cursor_us : out->cursor_us;
    if (out->lost_to_us > lost_to_us) lost_to_us = out->lost_to_us;
    *out = (struct resume){.lost_to_us = lost_to_us};
    if (!s->settled_us) return;
    out->cursor_us = s->settled_us - s->conf->source_host_switch_rewind;
    char when[BL_TIME_TEXT_MAX];
    bl_log(BL_WARN, "Redis lost its contents: asking upstream again from %s, before which everything is in the lake",
           bl_format_time(out->cursor_us, 3, when));
}

/* The settled position goes to disk first: once the counters begin anew Redis no longer knows that it lost anything.
 * All of them do: those of a metadata hash that was made anew are not worth more than none. */
static void number_anew(struct sender *s) {
    write_position(s);
    appender_number_anew(&s->appender);
}

enum bl_rc sender_start(struct sender *s, const struct buffer_position *position, uint64_t incarnation,
                        struct resume *resume, struct bl_error *err) {
    s->incarnation = incarnation;
    s->known_incarnation = 0;
    bool emptied = is_emptied(s, position);
    appender_start(&s->appender, position);
    if (emptied) number_anew(s);
    discard_queue(s);
    if (s->spill) {
        spill_rewind(s->spill);
        spill_begin(s->spill, incarnation, spill_waiting(s->spill) ? NULL : s->appender.received);
    }
    choose_resume(s, position, emptied, resume);
    s->resumed_us = resume->cursor_us;
    s->failing_since_ns = s->next_probe_ns = 0;
    s->closing = s->abandoned = false;
    s->running = true;
    s->durable = *resume;
    atomic_store(&s->settled_seen_us, 0);
    if (pthread_create(&s->thread, NULL, run, s) == 0) return BL_OK;
    s->running = false;
    return bl_fail(err, BL_E_IO, "cannot start a thread");
}

void sender_stop(struct sender *s, int64_t wait_us) {
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_broadcast(&s->changed);
    int64_t until_ns = bl_mono_ns() + wait_us * 1000;
    while (s->running && bl_mono_ns() < until_ns) wait_changed(s, 100000);
    s->abandoned = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
}

enum bl_rc sender_open(const struct conf *conf, struct role *role, struct buffer *buffer, struct sender **out,
                       struct bl_error *err) {
    struct sender *s = bl_xcalloc(1, sizeof *s);
    s->conf = conf;
    s->role = role;
    s->buffer = s->appender.buffer = buffer;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_t monotonic; /* somebody may set the wall clock */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->codec = block_codec_new((int)conf->ingest_block_level);
    s->position_path = bl_xasprintf("%s/spill/position", conf->data);
    s->settled_us = settled_read(s->position_path);
    BL_CLEANUP(bl_freep) char *folder = bl_xasprintf("%s/spill", conf->data);
    enum bl_rc rc = sole_open(&s->sole, conf->data, conf->ingest_lease, err);
    if (rc == BL_OK && conf->ingest_spill_bytes) rc = spill_open(folder, conf->ingest_spill_bytes, &s->spill, err);
    if (rc != BL_OK)
        sender_close(&s);
    else
        *out = s;
    return rc;
}

void sender_close(struct sender **sender) {
    struct sender *s = *sender;
    if (!s) return;
    for (struct item *item = s->head, *next; item; item = next) {
        next = item->next;
        free_item(item);
    }
    spill_close(&s->spill);
    if (atomic_load(&s->redis_up)) sole_release(&s->sole, s->buffer);
    sole_close(&s->sole);
    recent_clear(&s->appender.recent);
    block_codec_free(&s->codec);
    free(s->position_path);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
    *sender = NULL;
}

/* ---- for the reader and for health ---- */

bool sender_lost(struct sender *s) {
    return atomic_load(&s->appender.lost);
}

struct resume sender_cursor(struct sender *s) {
    pthread_mutex_lock(&s->mutex);
    struct resume durable = s->durable;
    pthread_mutex_unlock(&s->mutex);
    return durable;
}

int64_t sender_settled(struct sender *s) {
    return atomic_load(&s->settled_seen_us);
}

bool sender_running(struct sender *s) {
    pthread_mutex_lock(&s->mutex);
    bool yes = s->running;
    pthread_mutex_unlock(&s->mutex);
    return yes;
}

void sender_take_learned(struct sender *s, size_t learned[static EV_TYPE_COUNT][2]) {
    pthread_mutex_lock(&s->mutex);
    memcpy(learned, s->learned, sizeof s->learned);
    memset(s->learned, 0, sizeof s->learned);
    pthread_mutex_unlock(&s->mutex);
}

void sender_get_health(struct sender *s, struct sender_health *out) {
    *out = (struct sender_health){.redis_up = atomic_load(&s->redis_up),
                                  .redis_full = atomic_load(&s->redis_full),
                                  .breaker_open = atomic_load(&s->breaker_open),
                                  .last_durable_us = atomic_load(&s->last_durable_us),
                                  .spill_bytes = atomic_load(&s->spill_size)};
    pthread_mutex_lock(&s->mutex);
    if (s->head)
        out->oldest_waiting_us = s->head->is_block ? s->head->block.first_received_us : s->head->note.received_us;
    memcpy(out->error, s->error, sizeof out->error);
    pthread_mutex_unlock(&s->mutex);
}
