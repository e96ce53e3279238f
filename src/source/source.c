#include "source/source.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/rng.h"
#include "obs/log.h"
#include "source/attempt.h"
#include "source/inflate.h"
#include "source/peek.h"
#include "source/request.h"

enum {
    GAPS_MAX = 16,
    CORRUPT_IN_ROW_MAX =
        3, /* connections that ended at a corrupt message, before it is skipped or the dictionary blamed */
    BACKOFF_SHIFT_MAX = 30,
};
#define SECOND_US INT64_C(1000000)
#define OVERLAP_MARGIN_US (60 * SECOND_US) /* instances stamp the same event up to so far apart */
#define GAP_TOLERANCE_US (60 * SECOND_US)
#define LOOKBACK_US (24 * 3600 * SECOND_US) /* what every known host keeps */
#define STABLE_US (30 * SECOND_US)          /* a connection that lasted so long is no failure */
#define MESSAGE_MAX_DEFAULT ((size_t)32 << 20)

struct host {
    struct url base;
    char name[sizeof((struct source_stats){0}.host)];
    int64_t not_before_ns; /* Retry-After */
};

struct source {
    /* settings */
    struct host *hosts;
    size_t host_count;
    struct request request;
    bool filtered, did_filtered;
    int64_t rewind_us, host_switch_rewind_us, idle_limit_us, backoff_min_us, backoff_max_us;
    char *ca_file;
    size_t message_max;
    struct bl_clock clock;
    struct bl_rng rng;
    struct inflate *inflate; /* NULL without dictionary */

    int wake_fd;
    atomic_bool woken;

    /* position */
    int64_t durable_us; /* 0 when none */
    int64_t newest_us;  /* largest time handed out, or the starting cursor */
    size_t newest_host; /* where from; host_count when unknown */

    /* connection: at most one of attempt and client exists; neither means waiting for retry_at_ns */
    size_t host_at;
    struct attempt *attempt;
    struct wsclient *client;
    int64_t retry_at_ns, connected_ns, last_data_ns;
    int64_t asked_us; /* position resumed from, before the rewind; 0 = live */
    int64_t known_us; /* newest_us when the connection was made */
    int64_t overlap_until_us;
    int64_t received_us; /* of the bytes at hand */
    uint64_t client_bytes, client_oversized;
    uint64_t delivered_here; /* messages of this connection */
    bool data_seen, first_time_seen, progressed;

    unsigned failures_in_row; /* since the last progress */
    unsigned corrupt_in_row;  /* without a newer message in between */
    int64_t corrupt_after_us; /* newest_us when that began */
    bool ever_inflated;
    enum bl_rc final; /* what source_next says from now on, BL_OK while it goes on */
    struct bl_error final_err;

    struct source_gap gaps[GAPS_MAX];
    size_t gap_count;
    struct source_gap last_gap;

    /* read by other threads */
    _Atomic uint64_t messages, bytes, connects, failures, oversized, decompress_failures, gaps_total;
    _Atomic int64_t connected_since_us, last_message_us;
    _Atomic int state;
    pthread_mutex_t text_lock;
    char stats_host[sizeof((struct source_stats){0}.host)], last_error[sizeof((struct source_stats){0}.last_error)];
};

enum step { STEP_MESSAGE, STEP_AGAIN, STEP_TICK, STEP_CANCELLED, STEP_FINAL };

static int64_t now_ns(const struct source *s) {
    return s->clock.mono_ns(s->clock.context);
}
static int64_t now_us(const struct source *s) {
    return s->clock.wall_us(s->clock.context);
}
static struct host *here(struct source *s) {
    return &s->hosts[s->host_at];
}

/* The caller's tick. It starts with the first look at it, so that a message at hand costs no look at the clock. */
struct tick {
    int ms;
    int64_t deadline_ns; /* 0 = not started */
};

static int tick_left_ms(struct tick *t) {
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
        BL_TRY(request_base(o->urls[i], &h->base, err));
        bool usual = h->base.port == (h->base.tls ? 443 : 80);
        int n = usual ? snprintf(h->name, sizeof h->name, "%s", h->base.host)
                      : snprintf(h->name, sizeof h->name, "%s:%d", h->base.host, h->base.port);
        if (n >= (int)sizeof h->name) h->name[sizeof h->name - 1] = 0;
    }
    return BL_OK;
}

static enum bl_rc init_position(struct source *s, int64_t cursor_us, struct bl_error *err) {
    if (cursor_us && !cursor_plausible(cursor_us))
        return bl_fail(err, BL_E_USAGE, "cursor %lld is not a time in unix microseconds (16 digits)",
                       (long long)cursor_us);
    s->durable_us = s->newest_us = cursor_us;
    s->newest_host = s->host_count; /* which host a stored cursor came from is not known */
    return BL_OK;
}

static void init_limits(struct source *s, const struct source_options *o) {
    s->did_filtered = o->did_count > 0;
    s->filtered = s->did_filtered || o->collection_count > 0;
    s->rewind_us = or_default(o->rewind_us, 5 * SECOND_US);
    s->host_switch_rewind_us = or_default(o->host_switch_rewind_us, 60 * SECOND_US);
    s->idle_limit_us = or_default(o->idle_limit_us, (s->filtered ? 600 : 30) * SECOND_US);
    s->backoff_min_us = or_default(o->backoff_min_us, SECOND_US / 4);
    s->backoff_max_us = or_default(o->backoff_max_us, 30 * SECOND_US);
    s->message_max = o->message_max ? o->message_max : MESSAGE_MAX_DEFAULT;
    s->clock = o->clock ? *o->clock : bl_clock_system;
    s->rng.state = o->seed ? o->seed : bl_random_u64();
    s->ca_file = o->ca_file ? bl_xstrdup(o->ca_file) : NULL;
}

enum bl_rc source_open(const struct source_options *o, struct source **out, struct bl_error *err) {
    BL_CLEANUP(source_close) struct source *s = bl_xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->text_lock, NULL);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) return bl_fail_errno(err, BL_E_IO, "eventfd");
    init_limits(s, o);
    BL_TRY(init_hosts(s, o, err));
    BL_TRY(init_position(s, o->start_cursor_us, err));
    BL_TRY(request_init(&s->request, o, err));
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
    request_release(&s->request);
    if (s->wake_fd >= 0) close(s->wake_fd);
    pthread_mutex_destroy(&s->text_lock);
    free(s->hosts);
    free(s->ca_file);
    free(s);
    *source = NULL;
}

void source_set_cursor(struct source *s, int64_t durable_us) {
    if (cursor_plausible(durable_us)) s->durable_us = durable_us; /* a poison event's time must not become a cursor */
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
static enum step on_wake(struct source *s) {
    if (take_wake(s)) return STEP_CANCELLED;
    drain_wake(s);
    return STEP_AGAIN;
}

static enum step wait_for(struct source *s, int fd, int timeout_ms) {
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->wake_fd, .events = POLLIN}};
    if (poll(fds, 2, timeout_ms) > 0 && fds[1].revents) return on_wake(s);
    return STEP_AGAIN;
}

/* ---- failures ---- */

static void set_texts(struct source *s, const char *host, const char *error) {
    pthread_mutex_lock(&s->text_lock);
    if (host) snprintf(s->stats_host, sizeof s->stats_host, "%s", host);
    if (error) snprintf(s->last_error, sizeof s->last_error, "%.*s", (int)sizeof s->last_error - 1, error);
    pthread_mutex_unlock(&s->text_lock);
}

static enum step finish(struct source *s, const struct bl_error *err) {
    s->final = err->code;
    s->final_err = *err;
    set_texts(s, NULL, err->message);
    wsclient_close(&s->client);
    atomic_store(&s->connected_since_us, 0);
    atomic_store(&s->state, SOURCE_BACKOFF);
    return STEP_FINAL;
}

/* Full jitter: uniform in (0, cap], where the cap doubles with every failure in a row. */
static int64_t backoff_us(struct source *s) {
    unsigned shift = s->failures_in_row < BACKOFF_SHIFT_MAX ? s->failures_in_row : BACKOFF_SHIFT_MAX;
    int64_t cap = s->backoff_min_us > s->backoff_max_us >> shift ? s->backoff_max_us : s->backoff_min_us << shift;
    return 1 + (int64_t)bl_rng_below(&s->rng, (uint64_t)cap);
}

/* A host that fails twice in a row, or that `rotate` speaks against, makes room for the next. */
static void schedule_retry(struct source *s, bool rotate, const struct bl_error *why) {
    const char *failed = here(s)->name;
    int64_t delay_us = backoff_us(s), now = now_ns(s);
    s->failures_in_row++;
    if (rotate || s->failures_in_row >= 2) s->host_at = (s->host_at + 1) % s->host_count;
    s->retry_at_ns = now + delay_us * 1000;
    if (s->retry_at_ns < here(s)->not_before_ns) s->retry_at_ns = here(s)->not_before_ns;
    atomic_fetch_add(&s->failures, 1);
    atomic_store(&s->state, SOURCE_BACKOFF);
    set_texts(s, NULL, why->message);
    bl_log(BL_INFO, "source backoff host=%s next=%s wait_ms=%lld failures=%u cause=\"%s\"", failed, here(s)->name,
           (long long)((s->retry_at_ns - now) / 1000000), s->failures_in_row, why->message);
}

static void count_client(struct source *s) {
    uint64_t bytes = wsclient_bytes(s->client), oversized = wsclient_oversized(s->client);
    atomic_fetch_add_explicit(&s->bytes, bytes - s->client_bytes, memory_order_relaxed);
    if (oversized != s->client_oversized) {
        atomic_fetch_add(&s->oversized, oversized - s->client_oversized);
        s->data_seen = true;
    }
    s->client_bytes = bytes;
    s->client_oversized = oversized;
}

static void disconnect(struct source *s, bool rotate, const struct bl_error *why) {
    bool stable = !rotate && now_ns(s) - s->connected_ns >= STABLE_US * 1000;
    count_client(s);
    bl_log(BL_INFO, "source disconnect host=%s code=%u messages=%llu cursor=%lld cause=\"%s\"", here(s)->name,
           wsclient_close_code(s->client), (unsigned long long)s->delivered_here, (long long)s->durable_us,
           why->message);
    wsclient_close(&s->client);
    atomic_store(&s->connected_since_us, 0);
    if (s->progressed || stable) s->failures_in_row = 0;
    schedule_retry(s, rotate, why);
}

void source_restart(struct source *s, int64_t cursor_us) {
    struct bl_error why = {0};
    BL_IGNORE(bl_fail(&why, BL_E_CANCELLED, "the receiver asks again for what it lost"));
    if (s->attempt) {
        struct attempt_result result = attempt_finish(&s->attempt);
        wsclient_close(&result.client);
    }
    if (s->client) disconnect(s, false, &why);
    if (cursor_plausible(cursor_us)) s->durable_us = s->newest_us = cursor_us;
    s->retry_at_ns = here(s)->not_before_ns;
}

/* ---- connecting ---- */

static bool host_switched(const struct source *s) {
    return s->host_count > 1 && s->newest_host != s->host_at;
}

/* Position to resume from. Without a durable one, what was handed out counts: the receiver is alive and has it. */
static int64_t resume_from(const struct source *s) {
    return s->durable_us ? s->durable_us : s->newest_us;
}

static enum step begin_attempt(struct source *s) {
    struct bl_error err = {0};
    int64_t cursor_us = 0;
    s->asked_us = resume_from(s);
    if (s->asked_us) cursor_us = s->asked_us - (host_switched(s) ? s->host_switch_rewind_us : s->rewind_us);
    if (cursor_us && !cursor_plausible(cursor_us)) cursor_us = s->asked_us;
    struct wsclient_options o = {
        .url = here(s)->base, .ca_file = s->ca_file, .message_max = s->message_max, .wake_fd = s->wake_fd};
    if (request_target(&s->request, cursor_us, &o.url, &err) != BL_OK) return finish(s, &err);
    atomic_store(&s->state, SOURCE_CONNECTING);
    set_texts(s, here(s)->name, NULL);
    if (attempt_start(&o, bl_buf_view(&s->request.hello), &s->attempt, &err) != BL_OK) schedule_retry(s, false, &err);
    return STEP_AGAIN;
}

static void connected(struct source *s, struct wsclient *client) {
    int64_t margin = s->host_switch_rewind_us > OVERLAP_MARGIN_US ? s->host_switch_rewind_us : OVERLAP_MARGIN_US;
    s->client = client;
    s->connected_ns = s->last_data_ns = now_ns(s);
    s->known_us = s->newest_us > s->durable_us ? s->newest_us : s->durable_us;
    s->overlap_until_us = s->asked_us ? s->known_us + margin : 0;
    s->client_bytes = s->client_oversized = s->delivered_here = 0;
    s->data_seen = s->first_time_seen = s->progressed = false;
    atomic_fetch_add(&s->connects, 1);
    atomic_store(&s->connected_since_us, now_us(s));
    atomic_store(&s->state, SOURCE_LIVE);
    bl_log(BL_INFO, "source connect host=%s peer=%s cursor=%lld", here(s)->name, wsclient_peer(client),
           (long long)s->asked_us);
}

static const char *cure_of(int status) {
    if (status < 400) return "use the address it names";
    if (status == 400) return "check source.collections, source.dids, the cursor and source.dictionary";
    if (status == 401 || status == 403) return "this host does not serve you: choose another in source.urls";
    if (status == 404 || status == 405 || status == 410 || status == 426)
        return "there is no Jetstream at this path: it usually ends in /subscribe";
    return "check source.urls and the filters";
}

/* Answers that asking again cannot change. */
static bool is_final(int status) {
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

static enum step refused(struct source *s, const struct attempt_result *r) {
    const struct wsclient_answer *a = &r->answer;
    if (r->rc == BL_E_USAGE) return finish(s, &r->err);
    if (is_final(a->status)) {
        struct bl_error err = {0};
        (void)!bl_fail(&err, BL_E_USAGE, "%s; %s", r->err.message, cure_of(a->status));
        (void)!bl_err_prefix(&err, BL_E_USAGE, "%s refuses the subscription", here(s)->name);
        return finish(s, &err);
    }
    if (a->retry_after_s >= 0 && a->status != 101)
        here(s)->not_before_ns = now_ns(s) + a->retry_after_s * INT64_C(1000000000);
    schedule_retry(s, a->status != 0 && a->status != 101, &r->err);
    return STEP_AGAIN;
}

static enum step await_attempt(struct source *s, struct tick *tick) {
    struct pollfd done = {.fd = attempt_fd(s->attempt), .events = POLLIN};
    if (poll(&done, 1, 0) <= 0) {
        int tick_ms = tick_left_ms(tick);
        return tick_ms == 0 ? STEP_TICK : wait_for(s, done.fd, tick_ms);
    }
    struct attempt_result result = attempt_finish(&s->attempt);
    if (result.rc == BL_OK) {
        connected(s, result.client);
        return STEP_AGAIN;
    }
    if (result.rc == BL_E_CANCELLED) return on_wake(s);
    return refused(s, &result);
}

static enum step await_retry(struct source *s, struct tick *tick) {
    int64_t left_ns = s->retry_at_ns - now_ns(s);
    if (left_ns <= 0) return begin_attempt(s);
    int tick_ms = tick_left_ms(tick);
    if (tick_ms == 0) return STEP_TICK;
    int64_t left_ms = (left_ns + 999999) / 1000000;
    return wait_for(s, -1, left_ms < tick_ms ? (int)left_ms : tick_ms);
}

/* ---- messages ---- */

static void add_gap(struct source *s, int64_t from_us, int64_t to_us, const char *reason) {
    struct source_gap g = {.from_us = from_us, .to_us = to_us, .reason = reason};
    memcpy(g.host, here(s)->name, sizeof g.host);
    s->last_gap = g;
    atomic_fetch_add(&s->gaps_total, 1);
    bl_log(BL_WARN, "source gap host=%s from=%lld to=%lld reason=%s", g.host, (long long)from_us, (long long)to_us,
           reason);
    if (s->gap_count < GAPS_MAX)
        s->gaps[s->gap_count++] = g;
    else
        s->gaps[GAPS_MAX - 1].to_us = to_us; /* nobody asks: widen the last rather than forget */
}

/* The first event after a resume tells what the host could still serve. With a filter on accounts, silence is normal,
 * and only a position beyond every host's look-back is a reason to suspect a loss. */
static void check_gap(struct source *s, int64_t time_us) {
    int64_t age_us = now_us(s) - s->asked_us;
    if (!s->asked_us || time_us <= s->asked_us + GAP_TOLERANCE_US) return;
    if (s->did_filtered && age_us <= LOOKBACK_US) return;
    bool reported = s->last_gap.from_us == s->asked_us && time_us <= s->last_gap.to_us + GAP_TOLERANCE_US;
    if (reported) return;
    add_gap(s, s->asked_us, time_us,
            host_switched(s) && s->newest_host < s->host_count && age_us <= LOOKBACK_US ? "host_switch"
                                                                                        : "cursor_too_old");
}

/* Times jump back and forth (two instances, replay meeting live), so each message is judged alone. */
static void deliver(struct source *s, struct bl_str json, struct source_message *out) {
    int64_t time_us = 0;
    bool timed = peek_time_us(json, &time_us) && cursor_plausible(time_us);
    if (timed && !s->first_time_seen) {
        s->first_time_seen = true;
        check_gap(s, time_us);
    }
    bool overlap = s->overlap_until_us && (!timed || time_us <= s->overlap_until_us);
    if (timed ? time_us > s->known_us : !s->overlap_until_us) s->progressed = true;
    if (time_us > s->newest_us && timed) s->newest_us = time_us;
    if (timed) s->newest_host = s->host_at;
    s->delivered_here++;
    atomic_store_explicit(&s->messages, atomic_load_explicit(&s->messages, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&s->last_message_us, s->received_us, memory_order_relaxed);
    *out = (struct source_message){.json = json, .received_us = s->received_us, .overlap = overlap};
}

/* A message that came damaged is asked for again; when it comes damaged every time, it is one message lost, not the
 * stream. If nothing could ever be unpacked, the dictionary is to blame. */
static enum step on_corrupt(struct source *s, struct bl_error *err) {
    atomic_fetch_add(&s->decompress_failures, 1);
    if (s->newest_us > s->corrupt_after_us) s->corrupt_in_row = 0;
    s->corrupt_after_us = s->newest_us;
    if (++s->corrupt_in_row < CORRUPT_IN_ROW_MAX) {
        disconnect(s, false, err);
        return STEP_AGAIN;
    }
    if (s->ever_inflated) {
        bl_log(BL_WARN, "source skips a message host=%s cause=\"%s\"", here(s)->name, err->message);
        return STEP_AGAIN;
    }
    char why[BL_ERROR_MESSAGE_MAX / 2];
    snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, err->message);
    (void)!bl_fail(err, BL_E_USAGE,
                   "%s: %s, and so was every other; name the host's zstd dictionary in source.dictionary, "
                   "or leave it empty to do without compression",
                   here(s)->name, why);
    return finish(s, err);
}

static enum step unpack(struct source *s, const struct ws_message *m, struct source_message *out) {
    struct bl_error err = {0};
    struct bl_str json = m->data;
    enum inflate_result result =
        m->op == WS_BINARY && s->inflate ? inflate_message(s->inflate, m->data, &json, &err) : INFLATE_OK;
    switch (result) {
    case INFLATE_OK:
        if (m->op == WS_BINARY && s->inflate) s->ever_inflated = true;
        deliver(s, json, out);
        return STEP_MESSAGE;
    case INFLATE_TOO_LARGE:
        atomic_fetch_add(&s->oversized, 1);
        bl_log(BL_WARN, "source skips a message host=%s cause=\"unpacks to more than %zu bytes\"", here(s)->name,
               s->message_max);
        return STEP_AGAIN;
    case INFLATE_WRONG_DICTIONARY:
        return finish(s, &err);
    case INFLATE_CORRUPT:
        return on_corrupt(s, &err);
    }
    return STEP_AGAIN;
}

/* A host that does not like the filters says so in its close frame, before any event. */
static bool hello_rejected(const struct source *s) {
    unsigned code = wsclient_close_code(s->client);
    bool complains = code == 1007 || code == 1008 || (code == 1000 && *wsclient_close_reason(s->client));
    return s->request.hello.n > 0 && s->delivered_here == 0 && complains;
}

static enum step on_broken(struct source *s, struct bl_error *err) {
    if (hello_rejected(s)) {
        struct bl_error final = {0};
        (void)!bl_fail(&final, BL_E_USAGE, "%s refuses the filters: %s; check source.collections and source.dids",
                       here(s)->name, wsclient_close_reason(s->client));
        return finish(s, &final);
    }
    disconnect(s, false, err);
    return STEP_AGAIN;
}

/* Nothing is at hand: wait, but no longer than the tick and the patience with a silent host. */
static enum step await_data(struct source *s, struct tick *tick, struct ws_message *m) {
    struct bl_error err = {0};
    int64_t now = now_ns(s), limit_ns = s->idle_limit_us * 1000;
    if (s->data_seen) s->last_data_ns = now;
    s->data_seen = false;
    int64_t idle_left_ms = (s->last_data_ns + limit_ns - now + 999999) / 1000000;
    if (idle_left_ms <= 0) {
        char limit[BL_TIME_TEXT_MAX];
        (void)!bl_fail(&err, BL_E_NET, "%s: no data for %s on an open connection", here(s)->name,
                       bl_format_duration(s->idle_limit_us, limit));
        disconnect(s, true, &err);
        return STEP_AGAIN;
    }
    int tick_ms = tick_left_ms(tick);
    if (tick_ms == 0) return STEP_TICK;
    enum bl_rc rc = wsclient_next(s->client, idle_left_ms < tick_ms ? (int)idle_left_ms : tick_ms, m, &err);
    if (rc == BL_OK) return STEP_MESSAGE;
    count_client(s);
    if (rc == BL_E_TIMEOUT) return STEP_AGAIN;
    return rc == BL_E_CANCELLED ? on_wake(s) : on_broken(s, &err);
}

/* The first try does not wait and needs no clock: on a busy stream it is the only one. */
static enum step read_one(struct source *s, struct tick *tick, struct source_message *out) {
    struct bl_error err = {0};
    struct ws_message m;
    enum bl_rc rc = wsclient_next(s->client, 0, &m, &err);
    if (rc == BL_E_TIMEOUT) {
        count_client(s);
        enum step step = await_data(s, tick, &m);
        if (step != STEP_MESSAGE) return step;
    } else if (rc == BL_E_CANCELLED) {
        return on_wake(s);
    } else if (rc != BL_OK) {
        return on_broken(s, &err);
    }
    if (wsclient_bytes(s->client) != s->client_bytes || s->received_us == 0) {
        s->received_us = now_us(s);
        count_client(s);
    }
    s->data_seen = true;
    return unpack(s, &m, out);
}

enum bl_rc source_next(struct source *s, int tick_ms, struct source_message *out, struct bl_error *err) {
    struct tick tick = {.ms = tick_ms};
    for (;;) {
        enum step step = s->final != BL_OK ? STEP_FINAL
                         : take_wake(s)    ? STEP_CANCELLED
                         : s->client       ? read_one(s, &tick, out)
                         : s->attempt      ? await_attempt(s, &tick)
                                           : await_retry(s, &tick);
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
                                 .connected_since_us = atomic_load(&s->connected_since_us),
                                 .last_message_us = atomic_load(&s->last_message_us)};
    pthread_mutex_lock(&s->text_lock);
    memcpy(out->host, s->stats_host, sizeof out->host);
    memcpy(out->last_error, s->last_error, sizeof out->last_error);
    pthread_mutex_unlock(&s->text_lock);
}
