#include "source/merge.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "obs/log.h"
#include "source/heal.h"
#include "source/thread.h"

enum { QUEUE_BYTES = 4 << 20, FEED_TICK_MS = 200, HEAL_TICK_MS = 5, GAPS_MAX = 64 };

struct feeder {
    struct merge *merge;
    struct source *source;
    pthread_t thread;
    bool started;
    atomic_bool ended;
    struct bl_error err; /* why, once ended */
    uint64_t cursor_seen;
    unsigned epoch; /* of the queue; behind the merge's: restart first */
};

struct merge {
    struct source_options options; /* the texts are owned below */
    char **texts;
    size_t text_count;
    struct feeder feeders[MERGE_MAX];
    unsigned count; /* 1: the source is read directly, without a thread */
    struct queue queue;
    struct heal *heal;
    atomic_bool woken;
    pthread_mutex_t mutex; /* cursor, epoch */
    struct source_cursor cursor;
    unsigned epoch;
    _Atomic uint64_t cursor_version;
    struct source_gap gaps[GAPS_MAX];
    size_t gap_count;
};

/* ---- options that outlive the caller's ---- */

static const char *keep(struct merge *m, const char *text) {
    if (!text) return NULL;
    m->texts = bl_xrealloc(m->texts, (m->text_count + 1) * sizeof *m->texts);
    m->texts[m->text_count] = bl_xstrdup(text);
    return m->texts[m->text_count++];
}

static const char *const *keep_list(struct merge *m, const char *const *list, size_t count) {
    const char **copy = bl_xcalloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++) copy[i] = keep(m, list[i]);
    return copy;
}

static void copy_options(struct merge *m, const struct source_options *o) {
    m->options = *o;
    m->options.urls = keep_list(m, o->urls, o->url_count);
    m->options.collections = keep_list(m, o->collections, o->collection_count);
    m->options.dids = keep_list(m, o->dids, o->did_count);
    m->options.start_host = keep(m, o->start_host);
    m->options.dictionary_file = keep(m, o->dictionary_file);
    m->options.dictionary_folder = keep(m, o->dictionary_folder);
    m->options.ca_file = keep(m, o->ca_file);
}

static void release_options(struct merge *m) {
    free((void *)(uintptr_t)m->options.urls);
    free((void *)(uintptr_t)m->options.collections);
    free((void *)(uintptr_t)m->options.dids);
    for (size_t i = 0; i < m->text_count; i++) free(m->texts[i]);
    free(m->texts);
}

/* ---- feeding, one thread a host ---- */

static void pass_cursor(struct feeder *f) {
    struct merge *m = f->merge;
    uint64_t version = atomic_load(&m->cursor_version);
    if (version == f->cursor_seen) return;
    pthread_mutex_lock(&m->mutex);
    struct source_cursor cursor = m->cursor;
    unsigned epoch = m->epoch;
    pthread_mutex_unlock(&m->mutex);
    f->cursor_seen = version;
    epoch == f->epoch ? source_set_cursor(f->source, &cursor) : source_restart(f->source, &cursor);
    f->epoch = epoch;
}

static void *feed(void *context) {
    struct feeder *f = context;
    struct queue *q = &f->merge->queue;
    struct source_gap gap;
    bool open = true;
    while (open) {
        struct source_message message;
        pass_cursor(f);
        enum bl_rc rc = source_next(f->source, FEED_TICK_MS, &message, &f->err);
        if (rc == BL_E_CANCELLED) break;
        if (rc != BL_OK && rc != BL_E_TIMEOUT) {
            bl_log_error("source goes on without this host", &f->err);
            break;
        }
        while (open && source_take_gap(f->source, &gap)) open = queue_put_gap(q, f->epoch, &gap);
        if (rc != BL_OK) continue;
        message.host = NULL; /* positions are shared with another host: its numbers mean nothing */
        message.seq = 0;
        open = open && queue_put(q, f->epoch, &message);
    }
    atomic_store(&f->ended, true);
    queue_wake(q);
    return NULL;
}

/* Host i of the list goes to feeder i modulo their number. */
static enum bl_rc open_feeder(struct merge *m, unsigned index, struct bl_error *err) {
    struct source_options o = m->options;
    const char **urls = bl_xcalloc(o.url_count, sizeof *urls);
    size_t count = 0;
    for (size_t i = index; i < o.url_count; i += m->count) urls[count++] = o.urls[i];
    o.urls = urls;
    o.url_count = count;
    if (m->count > 1) {
        o.rewind_us = o.host_switch_rewind_us;
        o.start_seq = 0;
        o.start_host = NULL;
        o.outlast_refusals = true;
    }
    struct feeder *f = &m->feeders[index];
    f->merge = m;
    enum bl_rc rc = source_open(&o, &f->source, err);
    free(urls);
    return rc;
}

static unsigned wanted_of(const struct merge_options *o) {
    return o->redundancy > 1 ? o->redundancy : 1;
}

static enum bl_rc check_redundancy(const struct merge_options *o, struct bl_error *err) {
    unsigned wanted = wanted_of(o);
    if (wanted > MERGE_MAX)
        return bl_fail(err, BL_E_USAGE, "source.redundancy = %u: at most %d hosts at once", wanted, MERGE_MAX);
    if (wanted > 1 && o->source.url_count < wanted)
        return bl_fail(err, BL_E_USAGE, "source.redundancy = %u needs as many hosts in source.urls, not %zu", wanted,
                       o->source.url_count);
    return BL_OK;
}

enum bl_rc merge_check(const struct merge_options *o, struct bl_error *err) {
    struct source *s = NULL;
    BL_TRY(check_redundancy(o, err));
    BL_TRY(source_open(&o->source, &s, err));
    source_close(&s);
    return BL_OK;
}

enum bl_rc merge_open(const struct merge_options *o, struct merge **out, struct bl_error *err) {
    BL_TRY(check_redundancy(o, err));
    BL_CLEANUP(merge_close) struct merge *m = bl_xcalloc(1, sizeof *m);
    m->count = wanted_of(o);
    pthread_mutex_init(&m->mutex, NULL);
    queue_init(&m->queue, QUEUE_BYTES);
    copy_options(m, &o->source);
    for (unsigned i = 0; i < m->count; i++) BL_TRY(open_feeder(m, i, err));
    if (o->heal && m->options.url_count > 1) m->heal = heal_start(&m->options, &m->queue);
    for (unsigned i = 0; m->count > 1 && i < m->count; i++) {
        m->feeders[i].started = source_thread(&m->feeders[i].thread, feed, &m->feeders[i]);
        if (!m->feeders[i].started) return bl_fail(err, BL_E_IO, "cannot start a thread");
    }
    *out = m;
    m = NULL;
    return BL_OK;
}

void merge_close(struct merge **merge) {
    struct merge *m = *merge;
    if (!m) return;
    queue_close(&m->queue);
    for (unsigned i = 0; i < m->count; i++)
        if (m->feeders[i].source) source_wake(m->feeders[i].source);
    heal_stop(&m->heal);
    for (unsigned i = 0; i < m->count; i++) {
        if (m->feeders[i].started) pthread_join(m->feeders[i].thread, NULL);
        source_close(&m->feeders[i].source);
    }
    queue_release(&m->queue);
    release_options(m);
    pthread_mutex_destroy(&m->mutex);
    free(m);
    *merge = NULL;
}

/* ---- receiving ---- */

static void add_gap(struct merge *m, const struct source_gap *gap) {
    if (m->gap_count == GAPS_MAX) memmove(m->gaps, m->gaps + 1, --m->gap_count * sizeof *m->gaps);
    m->gaps[m->gap_count++] = *gap;
    if (!gap->healed && m->heal) heal_add(m->heal, gap);
}

static void collect_gaps(struct merge *m) {
    struct source_gap gap;
    while (source_take_gap(m->feeders[0].source, &gap)) add_gap(m, &gap);
}

/* What waits in the queue. BL_E_TIMEOUT: nothing. */
static enum bl_rc take_queued(struct merge *m, int tick_ms, struct source_message *out, struct bl_error *err) {
    struct source_gap gap;
    switch (queue_take(&m->queue, tick_ms, out, &gap)) {
    case QUEUE_MESSAGE:
        return BL_OK;
    case QUEUE_GAP:
        add_gap(m, &gap);
        break;
    case QUEUE_NOTHING:
        break;
    }
    return bl_fail(err, BL_E_TIMEOUT, "no message within %d ms", tick_ms);
}

/* What one host refuses the other may serve; what all refuse before the first event is asked for in vain. */
static enum bl_rc check_refusals(struct merge *m, struct bl_error *err) {
    struct source_stats s = {0};
    for (unsigned i = 0; i < m->count; i++) {
        source_get_stats(m->feeders[i].source, &s);
        if (!s.refused) return BL_OK;
    }
    return bl_fail(err, BL_E_USAGE, "%s", s.last_error);
}

static enum bl_rc next_of_all(struct merge *m, int tick_ms, struct source_message *out, struct bl_error *err) {
    if (atomic_exchange(&m->woken, false)) return bl_fail(err, BL_E_CANCELLED, "merge_wake was called");
    enum bl_rc rc = take_queued(m, tick_ms, out, err);
    if (rc != BL_E_TIMEOUT) return rc;
    BL_TRY(check_refusals(m, err));
    for (unsigned i = 0; i < m->count; i++)
        if (!atomic_load(&m->feeders[i].ended)) return rc;
    if (queue_waiting(&m->queue)) return rc;
    if (err) *err = m->feeders[0].err;
    return m->feeders[0].err.code;
}

enum bl_rc merge_next(struct merge *m, int tick_ms, struct source_message *out, struct bl_error *err) {
    if (m->count > 1) return next_of_all(m, tick_ms, out, err);
    bool healing = m->heal && (heal_busy(m->heal) || queue_waiting(&m->queue));
    if (healing && queue_waiting(&m->queue)) {
        enum bl_rc rc = take_queued(m, 0, out, err);
        if (rc != BL_E_TIMEOUT) return rc;
    }
    enum bl_rc rc =
        source_next(m->feeders[0].source, healing && tick_ms > HEAL_TICK_MS ? HEAL_TICK_MS : tick_ms, out, err);
    if (rc == BL_OK || rc == BL_E_TIMEOUT) collect_gaps(m);
    return rc;
}

bool merge_pending(struct merge *m) {
    if (m->count > 1) return queue_waiting(&m->queue);
    return source_pending(m->feeders[0].source) || (m->heal && queue_waiting(&m->queue));
}

void merge_set_cursor(struct merge *m, const struct source_cursor *durable) {
    if (m->count == 1) {
        source_set_cursor(m->feeders[0].source, durable);
        return;
    }
    pthread_mutex_lock(&m->mutex);
    bool moved = m->cursor.us != durable->us;
    m->cursor = (struct source_cursor){.us = durable->us};
    pthread_mutex_unlock(&m->mutex);
    if (moved) atomic_fetch_add(&m->cursor_version, 1);
}

void merge_restart(struct merge *m, const struct source_cursor *cursor) {
    unsigned epoch = queue_restart(&m->queue);
    if (m->heal) heal_restart(m->heal, epoch);
    if (m->count == 1) {
        source_restart(m->feeders[0].source, cursor);
        return;
    }
    pthread_mutex_lock(&m->mutex);
    m->cursor = (struct source_cursor){.us = cursor->us};
    m->epoch = epoch;
    pthread_mutex_unlock(&m->mutex);
    atomic_fetch_add(&m->cursor_version, 1);
}

void merge_wake(struct merge *m) {
    if (m->count == 1) {
        source_wake(m->feeders[0].source);
        return;
    }
    atomic_store(&m->woken, true);
    queue_wake(&m->queue);
}

bool merge_take_gap(struct merge *m, struct source_gap *out) {
    if (!m->gap_count) return false;
    *out = m->gaps[0];
    memmove(m->gaps, m->gaps + 1, --m->gap_count * sizeof *m->gaps);
    return true;
}

void merge_fill(struct merge *m, const struct source_gap *gap) {
    if (m->heal) heal_add(m->heal, gap);
}

static void add_stats(struct source_stats *to, const struct source_stats *s) {
    to->messages += s->messages;
    to->bytes += s->bytes;
    to->connects += s->connects;
    to->failures += s->failures;
    to->oversized += s->oversized;
    to->decompress_failures += s->decompress_failures;
    to->gaps += s->gaps;
    to->repeated += s->repeated;
    if (s->last_message_us > to->last_message_us) to->last_message_us = s->last_message_us;
    if (to->state == SOURCE_LIVE || (s->state != SOURCE_LIVE && *to->host)) return;
    to->state = s->state;
    to->connected_since_us = s->connected_since_us;
    memcpy(to->host, s->host, sizeof to->host);
    memcpy(to->last_error, s->last_error, sizeof to->last_error);
}

void merge_get_stats(struct merge *m, struct merge_stats *out) {
    *out = (struct merge_stats){.all.state = SOURCE_CONNECTING};
    for (unsigned i = 0; i < m->count; i++) {
        struct source_stats s;
        source_get_stats(m->feeders[i].source, &s);
        out->connected += s.state == SOURCE_LIVE;
        add_stats(&out->all, &s);
    }
}
