#include "source/source_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MESSAGE_MAX_DEFAULT ((size_t)32 << 20)

int tick_left_ms(struct tick *t) {
    int64_t now = bl_mono_ns();
    if (t->deadline_ns == 0) t->deadline_ns = now + (t->ms > 0 ? t->ms : 0) * INT64_C(1000000);
    int64_t left = t->deadline_ns - now;
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static int64_t or_default(int64_t value, int64_t fallback) {
    return value > 0 ? value : fallback;
}

/* ---- open and close ---- */

static enum bl_rc init_hosts(struct source *s, const struct source_options *o, struct bl_error *err) {
    if (o->url_count == 0)
        return bl_fail(err, BL_E_USAGE,
                       "no source address: set source.urls, such as wss://jetstream2.us-east.bsky.network");
    s->hosts = bl_xcalloc(o->url_count, sizeof *s->hosts);
    s->host_count = o->url_count;
    for (size_t i = 0; i < o->url_count; i++) {
        struct host *h = &s->hosts[i];
        BL_TRY(request_base(o->urls[i], o->protocol, &h->base, err));
        h->v2 = request_is_v2(&h->base);
        request_host_name(&h->base, h->name);
        if (!o->start_host || strcmp(o->start_host, h->name) != 0) continue;
        h->newest_seq = o->start_seq;
        if (!s->filtered) h->newest_us = o->start_cursor_us; /* what is asked for now may be less than it was */
    }
    return BL_OK;
}

static enum bl_rc init_requests(struct source *s, const struct source_options *o, struct bl_error *err) {
    bool used[2] = {false, false};
    for (size_t i = 0; i < s->host_count; i++) used[s->hosts[i].v2] = true;
    for (int v2 = 0; v2 < 2; v2++)
        if (used[v2]) BL_TRY(request_init(&s->requests[v2], o, v2, err));
    return BL_OK;
}

static enum bl_rc init_position(struct source *s, const struct source_options *o, struct bl_error *err) {
    int64_t cursor_us = o->start_cursor_us;
    if (cursor_us && !cursor_plausible(cursor_us))
        return bl_fail(err, BL_E_USAGE, "cursor %lld is not a time in unix microseconds (16 digits)",
                       (long long)cursor_us);
    s->newest_us = cursor_us;
    s->durable = (struct source_cursor){.us = cursor_us, .seq = o->start_seq};
    if (o->start_host && *o->start_host) {
        snprintf(s->durable.host, sizeof s->durable.host, "%s", o->start_host);
        memcpy(s->start_host, s->durable.host, sizeof s->start_host);
        s->newest_host = s->start_host;
    }
    return BL_OK;
}

static void init_limits(struct source *s, const struct source_options *o) {
    s->did_filtered = o->did_count > 0;
    s->outlast_refusals = o->outlast_refusals;
    s->filtered = s->did_filtered || o->collection_count > 0;
    s->rewind_us = or_default(o->rewind_us, 5 * SECOND_US);
    s->host_switch_rewind_us = or_default(o->host_switch_rewind_us, 60 * SECOND_US);
    s->idle_limit_us = or_default(o->idle_limit_us, (s->filtered ? 600 : 30) * SECOND_US);
    s->ping_limit_us = or_default(o->ping_limit_us, 90 * SECOND_US);
    s->backoff_min_us = or_default(o->backoff_min_us, SECOND_US / 4);
    s->backoff_max_us = or_default(o->backoff_max_us, 30 * SECOND_US);
    s->message_max = o->message_max ? o->message_max : MESSAGE_MAX_DEFAULT;
    s->clock = o->clock ? *o->clock : bl_clock_system;
    s->rng.state = o->seed ? o->seed : bl_random_u64();
    s->ca_file = o->ca_file ? bl_xstrdup(o->ca_file) : NULL;
    s->dictionary_folder = o->dictionary_folder ? bl_xstrdup(o->dictionary_folder) : NULL;
    s->converted.max = 2 * s->message_max;
}

enum bl_rc source_open(const struct source_options *o, struct source **out, struct bl_error *err) {
    BL_CLEANUP(source_close) struct source *s = bl_xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->text_lock, NULL);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) return bl_fail_errno(err, BL_E_IO, "eventfd");
    init_limits(s, o);
    BL_TRY(init_hosts(s, o, err));
    BL_TRY(init_position(s, o, err));
    BL_TRY(init_requests(s, o, err));
    if (o->dictionary_file) BL_TRY(inflate_open(o->dictionary_file, s->message_max, &s->inflate, err));
    *out = s;
    s = NULL;
    return BL_OK;
}

void source_wake(struct source *s) {
    uint64_t one = 1;
    int saved = errno;
    atomic_store(&s->woken, true);
    if (write(s->wake_fd, &one, sizeof one) < 0) { /* the counter is full: it is readable anyway */
    }
    errno = saved;
}

void source_close(struct source **source) {
    struct source *s = *source;
    if (!s) return;
    if (s->wake_fd >= 0) source_wake(s);
    if (s->attempt) s->client = attempt_finish(&s->attempt).client;
    wsclient_close(&s->client);
    inflate_close(&s->inflate);
    inflate_close(&s->inflate_v2);
    for (int v2 = 0; v2 < 2; v2++) request_release(&s->requests[v2]);
    bl_buf_release(&s->converted);
    free(s->dictionary_folder);
    if (s->wake_fd >= 0) close(s->wake_fd);
    pthread_mutex_destroy(&s->text_lock);
    free(s->hosts);
    free(s->ca_file);
    free(s);
    *source = NULL;
}

void source_set_cursor(struct source *s, const struct source_cursor *durable) {
    if (cursor_plausible(durable->us)) s->durable = *durable; /* a poison event's time must not become a cursor */
}

void source_cursor_text(const struct source_cursor *c, char text[static 256]) {
    int n = c->seq ? snprintf(text, 256, "%s#%llu", c->host, (unsigned long long)c->seq) : 256;
    if (n >= 256) snprintf(text, 256, "%s", c->host);
}

void source_cursor_of_text(const char *text, struct source_cursor *out) {
    const char *mark = strrchr(text, '#');
    out->seq = 0;
    if (mark && !bl_parse_u64(bl_str(mark + 1), INT64_MAX, &out->seq)) mark = NULL;
    snprintf(out->host, sizeof out->host, "%.*s", mark ? (int)(mark - text) : (int)strlen(text), text);
}

/* ---- waking ---- */

static void drain_wake(struct source *s) {
    uint64_t count;
    if (read(s->wake_fd, &count, sizeof count) < 0) { /* not written yet, or not any more */
    }
}

static bool take_wake(struct source *s) {
    if (!atomic_load_explicit(&s->woken, memory_order_relaxed) || !atomic_exchange(&s->woken, false)) return false;
    drain_wake(s);
    return true;
}

/* A wait ended because wake_fd is readable: by source_wake, or by one that has been answered already. */
enum step source_on_wake(struct source *s) {
    if (take_wake(s)) return STEP_CANCELLED;
    drain_wake(s);
    return STEP_AGAIN;
}

enum step source_wait(struct source *s, int fd, int timeout_ms) {
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->wake_fd, .events = POLLIN}};
    if (poll(fds, 2, timeout_ms) > 0 && fds[1].revents) return source_on_wake(s);
    return STEP_AGAIN;
}

/* ---- reading ---- */

static bool hello_rejected(const struct source *s) {
    unsigned code = wsclient_close_code(s->client);
    bool complains = code == 1007 || code == 1008 || (code == 1000 && *wsclient_close_reason(s->client));
    return s->requests[s->hosts[s->host_at].v2].hello.n > 0 && s->delivered_here == 0 && complains;
}

static enum step on_broken(struct source *s, struct bl_error *err) {
    bool rejected = hello_rejected(s);
    if (rejected && !s->delivered_any) {
        struct bl_error final = {0};
        (void)!bl_fail(&final, BL_E_USAGE, "%s refuses the filters: %s; check source.collections and source.dids",
                       here(s)->name, wsclient_close_reason(s->client));
        return source_finish(s, &final);
    }
    source_disconnect(s, rejected, err);
    return STEP_AGAIN;
}

static void note_signs_of_life(struct source *s, int64_t now) {
    uint64_t bytes = wsclient_bytes(s->client);
    if (s->data_seen) s->last_data_ns = now;
    if (s->data_seen || bytes != s->heard_bytes) s->last_heard_ns = now;
    s->data_seen = false;
    s->heard_bytes = bytes;
}

/* How long the silence may still last, 0: it is over with this connection, and why. Data is missed soon where a whole
 * stream is read; a filter may have nothing to say for long, but a host that lives pings. */
static int patience_ms(struct source *s, int64_t now, struct bl_error *why) {
    bool ping_first = s->last_heard_ns + s->ping_limit_us * 1000 < s->last_data_ns + s->idle_limit_us * 1000;
    int64_t limit_us = ping_first ? s->ping_limit_us : s->idle_limit_us;
    int64_t left_ns = (ping_first ? s->last_heard_ns : s->last_data_ns) + limit_us * 1000 - now;
    if (left_ns > 0) return left_ns < INT64_C(3600000000000) ? (int)((left_ns + 999999) / 1000000) : 3600000;
    char limit[BL_TIME_TEXT_MAX];
    (void)!bl_fail(why, BL_E_NET, "%s: no %s for %s on an open connection", here(s)->name,
                   ping_first ? "data and no ping" : "data", bl_format_duration(limit_us, limit));
    return 0;
}

/* Nothing is at hand: wait, but no longer than the tick and the patience with a silent host. */
static enum step await_data(struct source *s, struct tick *tick, struct ws_message *m) {
    struct bl_error err = {0};
    int64_t now = now_ns(s);
    note_signs_of_life(s, now);
    int silence_ms = patience_ms(s, now, &err);
    if (silence_ms == 0) {
        source_disconnect(s, true, &err);
        return STEP_AGAIN;
    }
    int tick_ms = tick_left_ms(tick);
    if (tick_ms == 0) return STEP_TICK;
    enum bl_rc rc = wsclient_next(s->client, silence_ms < tick_ms ? silence_ms : tick_ms, m, &err);
    if (rc == BL_OK) return STEP_MESSAGE;
    source_count_client(s);
    if (rc == BL_E_TIMEOUT) return STEP_AGAIN;
    return rc == BL_E_CANCELLED ? source_on_wake(s) : on_broken(s, &err);
}

/* The first try does not wait and needs no clock: on a busy stream it is the only one. */
static enum step read_one(struct source *s, struct tick *tick, struct source_message *out) {
    struct bl_error err = {0};
    struct ws_message m;
    enum bl_rc rc = wsclient_next(s->client, 0, &m, &err);
    if (rc == BL_E_TIMEOUT) {
        source_count_client(s);
        enum step step = await_data(s, tick, &m);
        if (step != STEP_MESSAGE) return step;
    } else if (rc == BL_E_CANCELLED) {
        return source_on_wake(s);
    } else if (rc != BL_OK) {
        return on_broken(s, &err);
    }
    if (wsclient_bytes(s->client) != s->client_bytes || s->received_us == 0) {
        s->received_us = now_us(s);
        source_count_client(s);
    }
    s->data_seen = true;
    return source_unpack(s, &m, out);
}

enum bl_rc source_next(struct source *s, int tick_ms, struct source_message *out, struct bl_error *err) {
    struct tick tick = {.ms = tick_ms};
    for (;;) {
        enum step step = s->final != BL_OK ? STEP_FINAL
                         : take_wake(s)    ? STEP_CANCELLED
                         : s->client       ? read_one(s, &tick, out)
                         : s->attempt      ? source_await_attempt(s, &tick)
                                           : source_await_retry(s, &tick);
        switch (step) {
        case STEP_MESSAGE:
            return BL_OK;
        case STEP_AGAIN:
            break;
        case STEP_TICK:
            return bl_fail(err, BL_E_TIMEOUT, "no message within %d ms", tick_ms);
        case STEP_CANCELLED:
            return bl_fail(err, BL_E_CANCELLED, "source_wake was called");
        case STEP_FINAL:
            if (err) *err = s->final_err;
            return s->final;
        }
    }
}

bool source_pending(struct source *s) {
    return s->client && wsclient_pending(s->client);
}

bool source_take_gap(struct source *s, struct source_gap *out) {
    if (s->gap_count == 0) return false;
    *out = s->gaps[0];
    memmove(s->gaps, s->gaps + 1, --s->gap_count * sizeof *s->gaps);
    return true;
}

void source_get_stats(struct source *s, struct source_stats *out) {
    *out = (struct source_stats){.state = (enum source_state)atomic_load(&s->state),
                                 .messages = atomic_load(&s->messages),
                                 .bytes = atomic_load(&s->bytes),
                                 .connects = atomic_load(&s->connects),
                                 .failures = atomic_load(&s->failures),
                                 .oversized = atomic_load(&s->oversized),
                                 .decompress_failures = atomic_load(&s->decompress_failures),
                                 .gaps = atomic_load(&s->gaps_total),
                                 .repeated = atomic_load(&s->repeated),
                                 .connected_since_us = atomic_load(&s->connected_since_us),
                                 .last_message_us = atomic_load(&s->last_message_us),
                                 .refused = atomic_load(&s->refused)};
    pthread_mutex_lock(&s->text_lock);
    memcpy(out->host, s->stats_host, sizeof out->host);
    memcpy(out->last_error, s->last_error, sizeof out->last_error);
    pthread_mutex_unlock(&s->text_lock);
}
