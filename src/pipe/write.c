#include "pipe/write.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/fault.h"
#include "base/io.h"
#include "net/url.h"
#include "obs/alert.h"
#include "obs/httpd.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "event/json.h"
#include "pipe/freshness.h"
#include "pipe/gap_note.h"
#include "pipe/gauges.h"
#include "pipe/ids.h"
#include "pipe/intake.h"
#include "pipe/judge.h"
#include "pipe/settings.h"

enum {
    READ_ENTRIES = 16,             /* blocks a type and read: at most 8 * 16 * 60 KB in memory */
    READ_WAIT_MS = 200,
    CLAIM_IDLE_MS = 60000,         /* pending entries of a consumer that is gone */
    REJECTED_AT_ONCE = 256,
    RETRY_US = 500000,
    DEPTH_EVERY_US = 1000000,
    DRAIN_LIMIT_US = 60000000,
    DECODE_THREADS = 2,
    DECODE_DEPTH = 6,
    OVERFLOW_AGE_S = 300,          /* REDIS_BUFFER_OVERFLOW_DETECTED of the specification */
    OVERFLOW_PERCENT = 90,
    WRITTEN_SLACK_US = 60000000,
};

struct block_tag { /* a chunk's way back to its stream entry */
    enum ev_type type;
    char id[48];
    uint64_t incarnation, seq, offset;
};

struct run_seq { /* newest block of a run that is in the lake or in the open batch */
    uint64_t incarnation, seq;
    enum ev_type type;
    bool holed; /* blocks before it may be missing: then a late one is not known by its number */
};

struct writer {
    const struct conf *conf;
    struct role *role;
    struct buffer *buffer;
    struct lake *lake;
    struct decode *decode;
    struct block_codec *codec;
    struct block_tag tags[DECODE_DEPTH];
    size_t tag_at;
    char consumer[64], owner[96];

    struct id_list acks[EV_TYPE_COUNT];    /* of the open batch */
    struct id_list durable[EV_TYPE_COUNT]; /* committed, to be acknowledged */
    struct id_list rejected;               /* noted in the open batch */
    struct id_list rejected_durable;
    struct run_seq *runs;
    size_t run_count;
    struct intake_counts batch;            /* of the open batch */
    int64_t batch_start_ns;                /* 0 = the batch is empty */
    int64_t worked_ns, working_ns;         /* spent on it, without waiting for entries; since when it is worked on */
    bool space_short;                      /* less than write.min_free is left: the open batch waits */
    bool torn; /* a turn is inside a block: what the batch holds now must not be committed */

    int64_t commits, failures, dead_total, last_depth_ns, last_lease_ns, last_error_log_ns;
    _Atomic int64_t last_read_us, last_commit_us, committing_ns; /* 0 = no commit is under way */
    struct judge judge;
    _Atomic int64_t shown_events, shown_memory, shown_oldest_us;
    _Atomic bool redis_up, lake_ok, held_up; /* held_up: the newest turn failed */
    pthread_mutex_t mutex;
    char error[512]; /* newest trouble, under mutex */
};

/* ---- trouble ---- */

static void note_trouble(struct writer *w, const char *what, const struct bl_error *err) {
    pthread_mutex_lock(&w->mutex);
    snprintf(w->error, sizeof w->error, "%s: %.400s", what, err ? err->message : "");
    pthread_mutex_unlock(&w->mutex);
    if (err && bl_log_due(&w->last_error_log_ns, 5000000)) bl_log_error(what, err);
}

static void clear_trouble(struct writer *w) {
    pthread_mutex_lock(&w->mutex);
    w->error[0] = 0;
    pthread_mutex_unlock(&w->mutex);
}

static void set_redis(struct writer *w, bool up) {
    atomic_store(&w->redis_up, up);
    metric_set(M_redis_connected, 0, up);
}

/* ---- blocks that are in the lake already ---- */

static enum bl_rc find_run(struct writer *w, uint64_t incarnation, enum ev_type type, struct run_seq **out,
                           struct bl_error *err) {
    for (size_t i = 0; i < w->run_count; i++)
        if (w->runs[i].incarnation == incarnation && w->runs[i].type == type) {
            *out = &w->runs[i];
            return BL_OK;
        }
    uint64_t seq;
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    BL_TRY(catalog_committed_seq(lake_catalog(w->lake), incarnation, type, &seq, err));
    BL_TRY(catalog_ledger(lake_catalog(w->lake), ledger, err));
    w->runs = bl_xrealloc(w->runs, (w->run_count + 1) * sizeof *w->runs);
    w->runs[w->run_count] =
        (struct run_seq){.incarnation = incarnation, .seq = seq, .type = type, .holed = ledger[type].missing > 0};
    *out = &w->runs[w->run_count++];
    return BL_OK;
}

/* ---- the batch ---- */

static void batch_touch(struct writer *w) {
    if (w->batch_start_ns) return;
    w->batch_start_ns = bl_mono_ns();
    w->worked_ns = 0;
}

static void count_work(struct writer *w) {
    int64_t now = bl_mono_ns();
    w->worked_ns += now - w->working_ns;
    w->working_ns = now;
}

static void forget_batch(struct writer *w) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) w->acks[t].count = 0;
    w->rejected.count = 0;
    w->run_count = 0;
    w->batch = (struct intake_counts){0};
    w->batch_start_ns = 0;
    buffer_rewind(w->buffer);
}

static int64_t sum_types(const int64_t *counts) {
    int64_t sum = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) sum += counts[t];
    return sum;
}

static void count_commit(struct writer *w, const struct lake_commit_stats *stats) {
    double seconds = (double)w->worked_ns / 1e9;
    int64_t events = sum_types(w->batch.received);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        metric_add(M_written, t, (double)w->batch.written[t]);
        metric_add(M_duplicates, t, (double)w->batch.duplicates[t]);
    }
    w->dead_total += w->batch.dead;
    double taken = metric_sum(M_written) + metric_sum(M_duplicates) + (double)w->dead_total;
    metric_set(M_dead_percent, 0, taken > 0 ? 100.0 * (double)w->dead_total / taken : 0);
    metric_add(M_cid_verified, 0, (double)w->batch.cids_verified);
    metric_add(M_cid_kept, 0, (double)w->batch.cids_kept);
    metric_add(M_written_bytes, 0, (double)stats->bytes);
    metric_add(M_files, 0, (double)stats->files);
    metric_set(M_writer_duration, 0, seconds);
    metric_set(M_writer_rate, 0, seconds > 0 ? (double)events / seconds : 0);
    atomic_store(&w->last_commit_us, bl_wall_us());
    metric_set(M_last_commit, 0, (double)atomic_load(&w->last_commit_us) / 1e6);
    char rows[BL_TIME_TEXT_MAX], bytes[BL_TIME_TEXT_MAX], took[BL_TIME_TEXT_MAX];
    bl_log(BL_INFO,
           "committed rows=%s files=%" PRId64 " bytes=%s duplicates=%" PRId64 " dead=%" PRId64 " snapshot=%" PRId64
           " took=%s",
           bl_format_count(stats->rows, rows), stats->files, bl_format_bytes(stats->bytes, bytes),
           sum_types(w->batch.duplicates), w->batch.dead, stats->snapshot,
           bl_format_duration((int64_t)(seconds * 1e6), took));
}

static void update_success(struct writer *w) {
    int64_t tried = w->commits + w->failures;
    metric_set(M_writer_success, 0, tried ? 100.0 * (double)w->commits / (double)tried : 100.0);
    metric_set(M_writer_healthy, 0, atomic_load(&w->lake_ok));
}

static enum bl_rc ack_type(struct writer *w, enum ev_type type, struct bl_error *err) {
    struct id_list *list = &w->durable[type];
    enum { ACK_AT_ONCE = 512 };
    while (list->count) {
        const char *ids[ACK_AT_ONCE];
        size_t n = list->count < ACK_AT_ONCE ? list->count : ACK_AT_ONCE;
        for (size_t i = 0; i < n; i++) ids[i] = list->ids[list->count - n + i];
        BL_CRASH_POINT("write.before_ack");
        BL_TRY(buffer_ack(w->buffer, type, ids, n, err));
        BL_CRASH_POINT("write.after_ack");
        list->count -= n;
    }
    return BL_OK;
}

static enum bl_rc drop_rejected(struct writer *w, struct bl_error *err) {
    struct id_list *list = &w->rejected_durable;
    while (list->count) {
        const char *id = list->ids[list->count - 1];
        BL_TRY(buffer_drop_rejected(w->buffer, &id, 1, err));
        BL_CRASH_POINT("write.after_drop_rejected");
        list->count--;
    }
    return BL_OK;
}

/* What is durable must leave Redis, but a Redis that is down does not make it less durable: the lists wait for the next
 * turn. */
static void acknowledge(struct writer *w) {
    struct bl_error err = {0};
    enum bl_rc rc = BL_OK;
    for (unsigned t = 0; t < EV_TYPE_COUNT && rc == BL_OK; t++) rc = ack_type(w, (enum ev_type)t, &err);
    if (rc == BL_OK) rc = drop_rejected(w, &err);
    if (rc != BL_OK) note_trouble(w, "cannot acknowledge, will do so later", &err);
}

static enum bl_rc commit(struct writer *w, struct bl_error *err) {
    if (!w->batch_start_ns) return BL_OK;
    struct lake_commit_stats stats;
    BL_CRASH_POINT("write.before_commit");
    int64_t began_ns = bl_mono_ns();
    atomic_store(&w->committing_ns, began_ns);
    enum bl_rc rc = lake_commit(w->lake, "write", &stats, err);
    metric_set(M_commit_seconds, 0, (double)(bl_mono_ns() - began_ns) / 1e9);
    atomic_store(&w->committing_ns, 0);
    BL_CRASH_POINT("write.after_commit");
    if (rc != BL_OK) {
        w->failures++;
        metric_add(M_writer_failures, 0, 1);
        atomic_store(&w->lake_ok, false);
        update_success(w);
        forget_batch(w);
        return bl_err_prefix(err, rc, "the batch could not be committed and will be read again from the buffer");
    }
    w->commits++;
    atomic_store(&w->lake_ok, true);
    count_work(w);
    count_commit(w, &stats);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) ids_move(&w->acks[t], &w->durable[t]);
    ids_move(&w->rejected, &w->rejected_durable);
    w->batch = (struct intake_counts){0};
    w->batch_start_ns = 0;
    acknowledge(w);
    BL_CRASH_POINT("write.after_acks");
    gauges_of_files(w->lake, w->conf);
    gauges_of_ledger(w->lake);
    update_success(w);
    clear_trouble(w);
    return BL_OK;
}

static bool batch_is_due(const struct writer *w) {
    if (!w->batch_start_ns) return false;
    int64_t age_us = (bl_mono_ns() - w->batch_start_ns) / 1000;
    return age_us >= w->conf->write_interval / 5 * 4 || lake_pending_rows(w->lake) >= w->conf->write_batch_rows ||
           intake_is_full(w->lake, w->conf->write_memory);
}

/* ---- from entries to the lake ---- */

static enum bl_rc take_chunk(struct writer *w, struct chunk *c, struct bl_error *err) {
    struct block_tag *tag = c->tag;
    char origin[128];
    snprintf(origin, sizeof origin, "block %016" PRIx64 "/%s/%" PRIu64, tag->incarnation, ev_schema(tag->type)->name,
             tag->seq);
    struct intake_source from = {.type = tag->type,
                                 .incarnation = tag->incarnation,
                                 .seq = tag->seq,
                                 .offset = tag->offset,
                                 .origin = origin,
                                 .received_us = bl_wall_us()};
    for (size_t i = 0; i < c->dead_count; i++) metric_add(M_dead, c->dead[i].reason, 1);
    for (size_t i = 0; i < c->count; i++) metric_add(M_raw_bytes, 0, c->line_bytes[i]);
    enum bl_rc rc = intake_chunk(w->lake, c, &from, &w->batch, err);
    BL_CRASH_POINT("write.after_block");
    if (rc == BL_OK) ids_add(&w->acks[tag->type], tag->id);
    decode_recycle(w->decode, c);
    return rc;
}

static enum bl_rc take_next_chunk(struct writer *w, bool *more, struct bl_error *err) {
    struct chunk *c = decode_next(w->decode);
    *more = c != NULL;
    return c ? take_chunk(w, c, err) : BL_OK;
}

static enum bl_rc take_all_chunks(struct writer *w, struct bl_error *err) {
    for (bool more = true; more;) BL_TRY(take_next_chunk(w, &more, err));
    return BL_OK;
}

/* After a failure: what the decoding threads still hold belongs to a batch that is forgotten. */
static void discard_chunks(struct writer *w) {
    struct chunk *c;
    while ((c = decode_next(w->decode))) decode_recycle(w->decode, c);
}

/* A block that cannot be read is kept whole as one dead letter; the ledger then shows its events as missing, which they
 * are. */
static void bury_block(struct writer *w, const struct buffer_entry *e, const char *why) {
    char origin[128];
    snprintf(origin, sizeof origin, "stream %s %s", ev_schema(e->type)->name, e->id);
    bl_log(BL_ERROR_LEVEL, "unreadable block kept as a dead letter: %s: %s", origin, why);
    lake_note_dead(w->lake,
                   &(struct catalog_dead){.type = e->type,
                                          .reason = "corrupt_block",
                                          .detail = why,
                                          .origin = origin,
                                          .received_us = strtoll(e->id, NULL, 10) * 1000, /* ids start with ms */
                                          .message = e->block.data});
    w->batch.dead++;
    ids_add(&w->acks[e->type], e->id);
    batch_touch(w);
}

static enum bl_rc submit_block(struct writer *w, const struct buffer_entry *e, struct bl_error *err) {
    struct chunk *c;
    while (!(c = decode_chunk(w->decode))) {
        bool more;
        BL_TRY(take_next_chunk(w, &more, err));
    }
    struct bl_error unpack_error = {0};
    if (block_unpack(w->codec, &e->block, &c->raw, &unpack_error) != BL_OK) {
        decode_recycle(w->decode, c);
        bury_block(w, e, unpack_error.message);
        return BL_OK;
    }
    struct block_tag *tag = &w->tags[w->tag_at++ % DECODE_DEPTH];
    *tag = (struct block_tag){
        .type = e->type, .incarnation = e->block.incarnation, .seq = e->block.seq, .offset = e->block.offset};
    memcpy(tag->id, e->id, sizeof tag->id);
    c->tag = tag;
    decode_submit(w->decode, c);
    return BL_OK;
}

static enum bl_rc skip_block(struct writer *w, const struct buffer_entry *e, struct bl_error *err) {
    BL_TRY(take_all_chunks(w, err)); /* the ledger takes offsets in their order */
    intake_repeated(w->lake, e->type, &e->block);
    metric_add(M_blocks_skipped, 0, 1);
    ids_add(&w->acks[e->type], e->id);
    return BL_OK;
}

/* Blocks of a type come in order, so that a number up to the newest means "written already". Only where numbers were
 * passed over (a block stayed with another consumer that died, and is claimed later) an older one may be new; then the
 * identities of its events decide. */
static enum bl_rc take_entry(struct writer *w, const struct buffer_entry *e, struct bl_error *err) {
    batch_touch(w);
    if (e->corrupt) {
        bury_block(w, e, e->why);
        return BL_OK;
    }
    struct run_seq *run;
    BL_TRY(find_run(w, e->block.incarnation, e->type, &run, err));
    if (e->block.seq <= run->seq && !run->holed) return skip_block(w, e, err);
    if (e->block.seq > run->seq + 1) run->holed = true;
    if (e->block.seq > run->seq) run->seq = e->block.seq;
    return submit_block(w, e, err);
}

static enum bl_rc take_rejected(struct writer *w, size_t *taken, struct bl_error *err) {
    struct buffer_rejected rejected[REJECTED_AT_ONCE];
    size_t count = 0;
    if (w->rejected_durable.count) return BL_OK; /* read again once those are gone from Redis */
    const char *after = w->rejected.count ? w->rejected.ids[w->rejected.count - 1] : NULL;
    BL_TRY(buffer_read_rejected(w->buffer, after, REJECTED_AT_ONCE, rejected, &count, err));
    *taken += count;
    for (size_t i = 0; i < count; i++) {
        const struct buffer_rejected *r = &rejected[i];
        batch_touch(w);
        bool gap = strcmp(r->reason, "gap") == 0 || strcmp(r->reason, "healed") == 0;
        if (gap) BL_TRY(gap_note_take(lake_catalog(w->lake), r, err));
        BL_CRASH_POINT("write.note_taken");
        ids_add(&w->rejected, r->id); /* not before: what could not be stored must stay in Redis */
        if (gap) continue;
        char origin[96];
        snprintf(origin, sizeof origin, "rejected %.47s", r->id);
        lake_note_dead(w->lake, &(struct catalog_dead){.type = EV_TYPE_COUNT,
                                                       .reason = r->reason,
                                                       .detail = r->detail,
                                                       .origin = origin,
                                                       .received_us = r->received_us,
                                                       .message = r->message});
        w->batch.dead++;
    }
    return BL_OK;
}

/* ---- the loop ---- */

static enum bl_rc read_once(struct writer *w, size_t *entries, struct bl_error *err) {
    struct buffer_batch batch;
    *entries = 0;
    enum bl_rc rc = buffer_read(w->buffer, w->consumer, READ_ENTRIES, CLAIM_IDLE_MS, READ_WAIT_MS, &batch, err);
    if (rc != BL_OK) {
        if (bl_rc_class(rc) == BL_CLASS_RETRY) set_redis(w, false);
        return rc;
    }
    set_redis(w, true);
    w->working_ns = bl_mono_ns();
    atomic_store(&w->last_read_us, bl_wall_us());
    *entries = batch.count;
    if (batch.count) BL_CRASH_POINT("write.after_read");
    w->torn = batch.count > 0;
    for (size_t i = 0; i < batch.count; i++) {
        BL_TRY(take_entry(w, &batch.entries[i], err));
        if (!intake_is_full(w->lake, w->conf->write_memory)) continue;
        BL_TRY(take_all_chunks(w, err));
        BL_TRY(commit(w, err));
    }
    BL_TRY(take_all_chunks(w, err));
    w->torn = false;
    return BL_OK;
}

static void update_depth(struct writer *w) {
    if (!bl_log_due(&w->last_depth_ns, DEPTH_EVERY_US)) return;
    struct buffer_depth depth;
    struct bl_error err = {0};
    if (buffer_depth(w->buffer, &depth, &err) != BL_OK) {
        set_redis(w, false);
        return;
    }
    uint64_t events = 0;
    int64_t oldest_us = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        events += depth.events[t];
        metric_set(M_redis_queue_events, t, (double)depth.events[t]);
        if (depth.oldest_us[t] && (!oldest_us || depth.oldest_us[t] < oldest_us)) oldest_us = depth.oldest_us[t];
    }
    double age = oldest_us ? (double)(bl_wall_us() - oldest_us) / 1e6 : 0;
    double percent = depth.maxmemory ? 100.0 * (double)depth.used_memory / (double)depth.maxmemory : 0;
    metric_set(M_redis_utilization_bytes, 0, (double)depth.used_memory);
    metric_set(M_redis_memory_bytes, 0, (double)depth.used_memory);
    metric_set(M_redis_events_count, 0, (double)events);
    metric_set(M_redis_size_events, 0, (double)events);
    metric_set(M_redis_oldest, 0, age > 0 ? age : 0);
    metric_set(M_redis_percent, 0, percent);
    metric_set(M_redis_overflow, 0, age > OVERFLOW_AGE_S || percent > OVERFLOW_PERCENT);
    metric_set(M_redis_evicted, 0, (double)depth.evicted_keys);
    atomic_store(&w->shown_events, (int64_t)events);
    atomic_store(&w->shown_memory, depth.used_memory);
    atomic_store(&w->shown_oldest_us, oldest_us);
}

static void report(struct writer *w) {
    if (!role_report_due(w->role)) return;
    role_report(w->role,
                "written=%.0f duplicates=%.0f dead=%.0f bytes=%.0f raw=%.0f files=%.0f pending=%" PRId64
                " depth=%" PRId64 " memory=%" PRId64 " redis=%d last_commit_us=%" PRId64,
                metric_sum(M_written), metric_sum(M_duplicates), metric_sum(M_dead), metric_sum(M_written_bytes),
                metric_sum(M_raw_bytes), metric_get(M_storage_files, 0), lake_pending_rows(w->lake),
                atomic_load(&w->shown_events), atomic_load(&w->shown_memory), atomic_load(&w->redis_up),
                atomic_load(&w->last_commit_us));
}

static enum bl_rc keep_lease(struct writer *w, struct bl_error *err) {
    int64_t now = bl_mono_ns();
    if (w->last_lease_ns && now - w->last_lease_ns < w->conf->write_lease * 1000 / 3) return BL_OK;
    BL_TRY(buffer_lease(w->buffer, w->owner, w->conf->write_lease / 1000, err));
    w->last_lease_ns = now;
    return BL_OK;
}

/* Better to stop before the disk is full than to find out half-way through a file: what is in Redis stays there. */
static enum bl_rc check_space(struct writer *w, struct bl_error *err) {
    struct statvfs fs;
    if (statvfs(w->conf->data, &fs) != 0) return bl_fail_errno(err, BL_E_IO, "%s", w->conf->data);
    int64_t available = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    bool was_short = w->space_short;
    w->space_short = available < w->conf->write_min_free;
    metric_set(M_space_short, 0, w->space_short);
    if (w->space_short) {
        char left[BL_TIME_TEXT_MAX], wanted[BL_TIME_TEXT_MAX];
        atomic_store(&w->lake_ok, false);
        return bl_fail(
            err, BL_E_FULL,
            "only %s are left for %s, write.min_free is %s: free space; nothing is lost, events wait in Redis",
            bl_format_bytes(available, left), w->conf->data, bl_format_bytes(w->conf->write_min_free, wanted));
    }
    if (!was_short) return BL_OK;
    bl_log(BL_INFO, "there is space again for %s: writing resumes", w->conf->data);
    atomic_store(&w->lake_ok, true);
    clear_trouble(w);
    return BL_OK;
}

static enum bl_rc one_turn(struct writer *w, size_t *entries, struct bl_error *err) {
    *entries = 0;
    BL_TRY(keep_lease(w, err));
    BL_TRY(check_space(w, err));
    BL_TRY(read_once(w, entries, err));
    BL_TRY(take_rejected(w, entries, err));
    if (batch_is_due(w)) BL_TRY(commit(w, err));
    size_t waiting = w->rejected_durable.count;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) waiting += w->durable[t].count;
    if (waiting) acknowledge(w);
    count_work(w);
    return BL_OK;
}

/* Redis away, disk full, lease held: wait and try again. A batch of whole blocks is committed at once, since a Redis in
 * trouble may come back without it; a batch that broke off inside a block is given up and read again. */
static void recover(struct writer *w, const struct bl_error *err) {
    note_trouble(w, "writing is held up", err);
    discard_chunks(w);
    w->working_ns = bl_mono_ns(); /* a turn may have ended before it read anything */
    struct bl_error again = {0};
    if (w->torn) {
        lake_forget(w->lake);
        forget_batch(w);
        w->torn = false;
    } else if (!w->space_short && commit(w, &again) != BL_OK) {
        note_trouble(w, "cannot commit", &again);
    }
    buffer_rewind(w->buffer);
    role_pause(w->role, RETRY_US);
}

static enum bl_rc loop(struct writer *w, struct bl_error *err) {
    while (!role_stopping(w->role)) {
        size_t entries;
        enum bl_rc rc = one_turn(w, &entries, err);
        atomic_store(&w->held_up, rc != BL_OK);
        if (rc != BL_OK) {
            if (bl_rc_class(rc) != BL_CLASS_RETRY) return rc;
            recover(w, err);
        }
        update_depth(w);
        report(w);
    }
    return BL_OK;
}

/* Stopped: everything that is in the buffer now goes to the lake, unless that takes too long or fails; then it stays in
 * Redis. */
static void drain(struct writer *w) {
    struct bl_error err = {0};
    int64_t until_ns = bl_mono_ns() + (int64_t)DRAIN_LIMIT_US * 1000;
    enum bl_rc rc = BL_OK;
    for (size_t entries = 1; entries && rc == BL_OK && bl_mono_ns() < until_ns;) {
        rc = one_turn(w, &entries, &err);
        update_depth(w);
        report(w);
    }
    if (rc == BL_OK) rc = commit(w, &err);
    if (rc != BL_OK) bl_log_error("not everything could be drained; the rest stays in the buffer", &err);
    BL_IGNORE(buffer_release_lease(w->buffer, w->owner, NULL)); /* it runs out by itself */
    w->last_depth_ns = w->role->last_report_ns = 0; /* the last word, whenever the one before was */
    update_depth(w);
    report(w);
}

/* ---- health ---- */

/* A commit may be on its way for the whole interval; on top of that come the batch before it and the time a commit
 * takes. */
static int64_t written_limit(const struct writer *w) {
    return w->conf->ready_written ? w->conf->ready_written : 2 * w->conf->write_interval + WRITTEN_SLACK_US;
}

enum { STAGES = 2 };

static bool look(struct writer *w, int64_t now, struct stage_clock clocks[static STAGES], char *why, size_t size) {
    int64_t oldest_us = atomic_load(&w->shown_oldest_us), committed_us = atomic_load(&w->last_commit_us);
    clocks[0] = (struct stage_clock){"read", atomic_load(&w->last_read_us), w->conf->ready_read};
    clocks[1] = oldest_us ? (struct stage_clock){"written", oldest_us, written_limit(w)}
                          : (struct stage_clock){"written", committed_us, 0};
    why[0] = 0;
    bool late = freshness_late(clocks, STAGES, now, why, size);
    pthread_mutex_lock(&w->mutex);
    if (*w->error) snprintf(why, size, "%s", bl_utf8_valid(bl_str(w->error)) ? w->error : "?");
    pthread_mutex_unlock(&w->mutex);
    if (!atomic_load(&w->redis_up) && !*why) snprintf(why, size, "Redis does not answer");
    bool ok = atomic_load(&w->redis_up) && atomic_load(&w->lake_ok) && !atomic_load(&w->held_up) && !late;
    metric_set(M_ready, 0, ok);
    if (ok) why[0] = 0; /* over */
    return ok;
}

static int health(void *context, bool ready, struct bl_buf *json) {
    struct writer *w = context;
    struct stage_clock clocks[STAGES];
    char why[sizeof w->error] = "";
    int64_t oldest_us = atomic_load(&w->shown_oldest_us), committed_us = atomic_load(&w->last_commit_us),
            now = bl_wall_us();
    bool ok = look(w, now, clocks, why, sizeof why);
    bl_buf_printf(
        json,
        "{\"role\":\"write\",\"status\":\"%s\",\"ready\":%s,\"redis_connected\":%s,\"lake_ok\":%s,\"size\":%" PRId64
        ",\"memory_used\":%" PRId64 ",\"oldest_event_age\":%.3f,\"written\":%.0f,\"duplicates\":%.0f,\"dead\":%.0f,"
                                    "\"last_commit_age_seconds\":%.3f,",
        ok ? "ok" : "degraded", ok ? "true" : "false", atomic_load(&w->redis_up) ? "true" : "false",
        atomic_load(&w->lake_ok) ? "true" : "false", atomic_load(&w->shown_events), atomic_load(&w->shown_memory),
        freshness_age_s(oldest_us, now), metric_sum(M_written), metric_sum(M_duplicates),
        metric_sum(M_dead), committed_us ? freshness_age_s(committed_us, now) : -1.0);
    freshness_print(clocks, STAGES, now, json);
    bl_buf_byte(json, ',');
    alerts_print(ROLE_WRITE, json);
    char lake[BL_FOLDER_ID_MAX];
    bl_buf_printf(json, ",\"lake\":\"%s\",\"error\":", bl_folder_id(w->conf->data, lake));
    bl_buf_json(json, bl_str(why));
    bl_buf_byte(json, '}');
    return ready && !ok ? 503 : 200;
}

static void refresh(void *context) {
    struct writer *w = context;
    struct stage_clock clocks[STAGES];
    char why[sizeof w->error];
    metric_set(M_process_memory, 0, (double)role_resident_bytes());
    look(w, bl_wall_us(), clocks, why, sizeof why);
}

static void judge(void *context) {
    struct writer *w = context;
    judge_write(&w->judge, w->conf,
                &(struct judge_write){.now_us = bl_wall_us(),
                                      .now_ns = bl_mono_ns(),
                                      .redis_up = atomic_load(&w->redis_up),
                                      .lake_ok = atomic_load(&w->lake_ok),
                                      .held_up = atomic_load(&w->held_up),
                                      .oldest_us = atomic_load(&w->shown_oldest_us),
                                      .committing_ns = atomic_load(&w->committing_ns)});
}

/* ---- start and stop ---- */

static enum bl_rc serve_and_run(struct writer *w, struct bl_error *err) {
    struct obs_httpd_options web = {
        .roles = ROLE_WRITE, .health = health, .refresh = refresh, .tick = judge, .context = w};
    char address[64];
    BL_TRY(url_parse_listen(bl_str(w->conf->write_http), address, &web.port, err));
    web.address = address;
    struct obs_httpd *httpd = NULL;
    BL_TRY(obs_httpd_start(&web, &httpd, err));
    bl_log(BL_INFO, "health and metrics on http://%s:%d", address, obs_httpd_port(httpd));
    enum bl_rc rc = loop(w, err);
    if (rc == BL_OK) drain(w);
    bl_log(BL_INFO, "stopped written=%.0f duplicates=%.0f dead=%.0f", metric_sum(M_written), metric_sum(M_duplicates),
           metric_sum(M_dead));
    obs_httpd_stop(&httpd);
    return rc;
}

static enum bl_rc start(struct writer *w, struct bl_error *err) {
    struct buffer_settings settings;
    BL_TRY(buffer_settings_init(&settings, w->conf, err));
    enum bl_rc rc = buffer_open(&settings.options, &w->buffer, err);
    buffer_settings_release(&settings);
    if (rc != BL_OK) return rc;
    BL_TRY(write_open_lake(w->conf, false, &w->lake, err));
    BL_TRY(write_lease_owner(w->lake, w->owner, sizeof w->owner, err));
    atomic_store(&w->lake_ok, true);
    atomic_store(&w->last_read_us, bl_wall_us());
    gauges_of_files(w->lake, w->conf);
    update_success(w);
    struct buffer_position position;
    BL_IGNORE(buffer_load_position(w->buffer, &position,
                                   NULL)); /* makes a new Redis' groups; one that is down is met in the loop */
    return serve_and_run(w, err);
}

enum bl_rc write_run(const struct conf *conf, struct role *role, struct bl_error *err) {
    struct writer w = {.conf = conf, .role = role};
    pthread_mutex_init(&w.mutex, NULL);
    /* One name for ever: after a crash the successor finds its own pending entries. */
    snprintf(w.consumer, sizeof w.consumer, "writer");
    w.decode = decode_new(DECODE_THREADS, DECODE_DEPTH);
    w.codec = block_codec_new(1);
    metric_set(M_process_start, 0, (double)bl_wall_us() / 1e6);
    enum bl_rc rc = start(&w, err);
    decode_free(&w.decode);
    block_codec_free(&w.codec);
    lake_close(&w.lake);
    buffer_close(&w.buffer);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        ids_release(&w.acks[t]);
        ids_release(&w.durable[t]);
    }
    ids_release(&w.rejected);
    ids_release(&w.rejected_durable);
    free(w.runs);
    pthread_mutex_destroy(&w.mutex);
    return rc;
}
