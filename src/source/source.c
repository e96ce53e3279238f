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
#include "source/v2.h"

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
    bool v2;
    bool refused;        /* it gave an answer that asking again cannot change */
    bool plain;          /* v2: compression did not work here */
    bool lost;           /* it no longer has the position; ask by time until it has delivered */
    uint64_t newest_seq; /* largest number it delivered, or the one stored; 0 when it does not number */
};

struct source {
    /* settings */
    struct host *hosts;
    size_t host_count;
    struct request requests[2]; /* v1, v2 */
    bool filtered, did_filtered;
    int64_t rewind_us, host_switch_rewind_us, idle_limit_us, backoff_min_us, backoff_max_us;
    char *ca_file;
    size_t message_max;
    struct bl_clock clock;
    struct bl_rng rng;
    struct inflate *inflate; /* v1; NULL without dictionary */
    char *dictionary_folder; /* v2; NULL: no compression */
    struct dictionary dictionary;
    struct inflate *inflate_v2;
    struct bl_buf converted; /* a v2 message as v1 */

    int wake_fd;
    atomic_bool woken;

    /* position */
    struct source_cursor durable; /* us 0 when none */
    int64_t newest_us;            /* largest time handed out, or the starting cursor */
    const char *newest_host;      /* where from; NULL when unknown */
    char start_host[sizeof((struct source_stats){0}.host)];

    /* connection: at most one of attempt and client exists; neither means waiting for retry_at_ns */
    size_t host_at;
    struct attempt *attempt;
    struct wsclient *client;
    int64_t retry_at_ns, connected_ns, last_data_ns;
    int64_t asked_us;    /* position resumed from, before the rewind; 0 = live */
    uint64_t asked_seq;  /* the same as a number, when that was asked for */
    uint64_t drop_below; /* numbers up to this one were handed out already */
    bool gap_certain;    /* the host said that it no longer has the position */
    bool compressed;     /* v2 */
    int64_t known_us;    /* newest_us when the connection was made */
    int64_t overlap_until_us;
    int64_t received_us; /* of the bytes at hand */
    uint64_t client_bytes, client_oversized;
    uint64_t delivered_here; /* messages of this connection */
    bool delivered_any;      /* since the start */
    bool data_seen, first_time_seen, first_seq_seen, progressed;

    unsigned failures_in_row; /* since the last progress */
    unsigned barren_in_row;   /* connections that ended before they brought anything new */
    unsigned corrupt_in_row;  /* without a newer message in between */
    int64_t corrupt_after_us; /* newest_us when that began */
    bool ever_inflated;
    enum bl_rc final; /* what source_next says from now on, BL_OK while it goes on */
    struct bl_error final_err;

    struct source_gap gaps[GAPS_MAX];
    size_t gap_count;
    struct source_gap last_gap;

    /* read by other threads */
    _Atomic uint64_t messages, bytes, connects, failures, oversized, decompress_failures, gaps_total, repeated;
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
        BL_TRY(request_base(o->urls[i], o->protocol, &h->base, err));
        h->v2 = request_is_v2(&h->base);
        request_host_name(&h->base, h->name);
        if (o->start_host && strcmp(o->start_host, h->name) == 0) h->newest_seq = o->start_seq;
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

static void go_to_next_host(struct source *s) {
    for (size_t n = 0; n < s->host_count; n++) {
        s->host_at = (s->host_at + 1) % s->host_count;
        if (!here(s)->refused) return;
    }
}

/* A host that fails twice in a row, or that `rotate` speaks against, makes room for the next. */
static void schedule_retry(struct source *s, bool rotate, const struct bl_error *why) {
    const char *failed = here(s)->name;
    int64_t delay_us = backoff_us(s), now = now_ns(s);
    s->failures_in_row++;
    if (rotate || s->failures_in_row >= 2 || here(s)->refused) go_to_next_host(s);
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
           wsclient_close_code(s->client), (unsigned long long)s->delivered_here, (long long)s->durable.us,
           why->message);
    wsclient_close(&s->client);
    atomic_store(&s->connected_since_us, 0);
    if (s->progressed || stable) s->failures_in_row = 0;
    s->barren_in_row = s->progressed ? 0 : s->barren_in_row + (s->delivered_here > 0);
    schedule_retry(s, rotate, why);
}

void source_restart(struct source *s, const struct source_cursor *cursor) {
    struct bl_error why = {0};
    BL_IGNORE(bl_fail(&why, BL_E_CANCELLED, "the receiver asks again for what it lost"));
    if (s->attempt) {
        struct attempt_result result = attempt_finish(&s->attempt);
        wsclient_close(&result.client);
    }
    if (s->client) disconnect(s, false, &why);
    if (cursor_plausible(cursor->us)) {
        s->durable = *cursor;
        s->newest_us = cursor->us;
    }
    for (size_t i = 0; i < s->host_count; i++) /* later numbers were not handed out, as far as the receiver knows */
        s->hosts[i].newest_seq = strcmp(s->hosts[i].name, cursor->host) == 0 ? cursor->seq : 0;
    s->retry_at_ns = here(s)->not_before_ns;
}

/* ---- connecting ---- */

static bool host_switched(const struct source *s) {
    if (!s->newest_host) return s->host_count > 1;
    return strcmp(s->newest_host, s->hosts[s->host_at].name) != 0;
}

/* Position to resume from. Without a durable one, what was handed out counts: the receiver is alive and has it. */
static int64_t resume_from(const struct source *s) {
    return s->durable.us ? s->durable.us : s->newest_us;
}

/* The same as a number of the host's own, 0 when time has to do. A number beyond what the host delivered belongs to a
 * numbering it no longer has. */
static uint64_t resume_from_seq(struct source *s) {
    const struct host *h = here(s);
    if (h->lost || !h->newest_seq) return 0;
    if (!s->durable.us) return s->newest_host && strcmp(s->newest_host, h->name) == 0 ? h->newest_seq : 0;
    bool ours = strcmp(s->durable.host, h->name) == 0 && s->durable.seq <= h->newest_seq;
    return ours ? s->durable.seq : 0;
}

/* A host that cuts the connection before the overlap is over would never get on: the overlap shrinks each time. */
static int64_t rewound(const struct source *s) {
    enum { SHIFT_MAX = 40 };
    if (!s->asked_us) return 0;
    int64_t overlap_us = host_switched(s) ? s->host_switch_rewind_us : s->rewind_us;
    int64_t cursor_us = s->asked_us - (overlap_us >> (s->barren_in_row < SHIFT_MAX ? s->barren_in_row : SHIFT_MAX));
    return cursor_plausible(cursor_us) ? cursor_us : s->asked_us;
}

static enum step begin_attempt(struct source *s) {
    struct bl_error err = {0};
    struct host *h = here(s);
    s->asked_us = resume_from(s);
    s->asked_seq = resume_from_seq(s);
    struct attempt_options o = {
        .ws = {.url = h->base, .ca_file = s->ca_file, .message_max = s->message_max, .wake_fd = s->wake_fd},
        .hello = bl_buf_view(&s->requests[h->v2].hello),
        .zstd = h->v2 && s->dictionary_folder && !h->plain,
        .folder = s->dictionary_folder,
        .dictionary = s->dictionary};
    if (h->v2) o.ws.subprotocol = "xrpc.v1.json";
    int64_t cursor = s->asked_seq ? (int64_t)s->asked_seq : rewound(s);
    if (request_target(&s->requests[h->v2], cursor, &o.ws.url, &err) != BL_OK) return finish(s, &err);
    atomic_store(&s->state, SOURCE_CONNECTING);
    set_texts(s, h->name, NULL);
    if (attempt_start(&o, &s->attempt, &err) != BL_OK) schedule_retry(s, false, &err);
    return STEP_AGAIN;
}

/* Get ready for messages compressed with `d`. A file that went bad costs compression, not the stream. */
static bool use_dictionary(struct source *s, const struct dictionary *d, struct bl_error *err) {
    s->compressed = d->id != 0;
    if (!d->id || (s->inflate_v2 && d->id == s->dictionary.id)) return true;
    inflate_close(&s->inflate_v2);
    s->dictionary = *d;
    s->ever_inflated = false;
    if (inflate_open(d->path, s->message_max, &s->inflate_v2, err) == BL_OK) return true;
    unlink(d->path);
    s->dictionary = (struct dictionary){0};
    return false;
}

static void connected(struct source *s, struct wsclient *client) {
    int64_t margin = s->host_switch_rewind_us > OVERLAP_MARGIN_US ? s->host_switch_rewind_us : OVERLAP_MARGIN_US;
    s->client = client;
    s->connected_ns = s->last_data_ns = now_ns(s);
    s->known_us = s->newest_us > s->durable.us ? s->newest_us : s->durable.us;
    s->overlap_until_us = s->asked_us && !s->asked_seq ? s->known_us + margin : 0;
    s->drop_below = s->asked_seq && s->delivered_any ? here(s)->newest_seq : 0;
    s->client_bytes = s->client_oversized = s->delivered_here = 0;
    s->data_seen = s->first_time_seen = s->first_seq_seen = s->progressed = false;
    atomic_fetch_add(&s->connects, 1);
    atomic_store(&s->connected_since_us, now_us(s));
    atomic_store(&s->state, SOURCE_LIVE);
    bl_log(BL_INFO, "source connect host=%s peer=%s protocol=%s cursor=%lld seq=%llu dictionary=%u", here(s)->name,
           wsclient_peer(client), here(s)->v2 ? "v2" : "v1", (long long)s->asked_us, (unsigned long long)s->asked_seq,
           s->compressed ? s->dictionary.id : 0);
}

static const char *cure_of(int status) {
    if (status < 400) return "use the address it names";
    if (status == 400) return "check source.collections, source.dids, the cursor and source.dictionary";
    if (status == 401 || status == 403) return "this host does not serve you: choose another in source.urls";
    if (status == 404 || status == 405 || status == 410 || status == 426)
        return "there is no Jetstream at this path: it usually ends in /subscribe (v2: "
               "/xrpc/network.bsky.jetstream.subscribeEvents)";
    return "check source.urls and the filters";
}

/* Answers that asking again cannot change. */
static bool is_final(int status) {
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

static bool all_refused(const struct source *s) {
    for (size_t i = 0; i < s->host_count; i++)
        if (!s->hosts[i].refused) return false;
    return true;
}

/* One host's answer that cannot change is the end only when no other is left. */
static enum step refused_for_good(struct source *s, const struct attempt_result *r) {
    struct bl_error err = {0};
    (void)!bl_fail(&err, BL_E_USAGE, "%s; %s", r->err.message, cure_of(r->answer.status));
    (void)!bl_err_prefix(&err, BL_E_USAGE, "%s refuses the subscription", here(s)->name);
    here(s)->refused = true;
    if (all_refused(s)) return finish(s, &err);
    bl_log_error("source goes on without this host", &err);
    schedule_retry(s, true, &err);
    return STEP_AGAIN;
}

/* The host has less than we ask for: it is asked again by time, which it takes as "the oldest there is". */
static bool is_too_old(struct source *s, const struct wsclient_answer *a) {
    bool too_old = here(s)->v2 && a->status == 400 && strstr(a->body, "\"CursorTooOld\"") && s->asked_seq;
    if (too_old) here(s)->lost = s->gap_certain = true;
    return too_old;
}

static enum step refused(struct source *s, const struct attempt_result *r) {
    const struct wsclient_answer *a = &r->answer;
    if (r->rc == BL_E_USAGE) return finish(s, &r->err);
    if (is_too_old(s, a)) {
        schedule_retry(s, false, &r->err);
        return STEP_AGAIN;
    }
    if (is_final(a->status)) return refused_for_good(s, r);
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
    if (result.no_dictionary) here(s)->plain = true;
    if (result.rc == BL_OK && !use_dictionary(s, &result.dictionary, &result.err)) {
        here(s)->plain = true;
        wsclient_close(&result.client);
        schedule_retry(s, false, &result.err);
        return STEP_AGAIN;
    }
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
    bool certain = s->gap_certain;
    s->gap_certain = false;
    if (!s->asked_us || time_us <= s->asked_us + (certain ? 0 : GAP_TOLERANCE_US)) return;
    if (s->did_filtered && age_us <= LOOKBACK_US && !certain) return;
    bool reported = s->last_gap.from_us == s->asked_us && time_us <= s->last_gap.to_us + GAP_TOLERANCE_US;
    if (reported) return;
    add_gap(s, s->asked_us, time_us,
            host_switched(s) && s->newest_host && age_us <= LOOKBACK_US && !certain ? "host_switch" : "cursor_too_old");
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
    disconnect(s, false, &err);
    return STEP_AGAIN;
}

/* Times jump back and forth (two instances, replay meeting live), so each message is judged alone. */
static void deliver(struct source *s, struct bl_str json, int64_t time_us, uint64_t seq, struct source_message *out) {
    bool timed = cursor_plausible(time_us);
    if (timed && !s->first_time_seen) {
        s->first_time_seen = true;
        check_gap(s, time_us);
    }
    bool overlap = s->overlap_until_us && (!timed || time_us <= s->overlap_until_us);
    if (s->asked_seq ? seq > s->asked_seq : timed ? time_us > s->known_us : !s->overlap_until_us) s->progressed = true;
    if (time_us > s->newest_us && timed) s->newest_us = time_us;
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
        disconnect(s, false, &err);
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
    disconnect(s, false, why);
    return STEP_AGAIN;
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
    if (here(s)->v2) return do_without(s, err);
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
        return here(s)->v2 ? do_without(s, &err) : finish(s, &err);
    case INFLATE_CORRUPT:
        return on_corrupt(s, &err);
    }
    return STEP_AGAIN;
}

/* A host that does not like the filters says so in its close frame, before any event. */
static bool hello_rejected(const struct source *s) {
    unsigned code = wsclient_close_code(s->client);
    bool complains = code == 1007 || code == 1008 || (code == 1000 && *wsclient_close_reason(s->client));
    return s->requests[s->hosts[s->host_at].v2].hello.n > 0 && s->delivered_here == 0 && complains;
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
                                 .repeated = atomic_load(&s->repeated),
                                 .connected_since_us = atomic_load(&s->connected_since_us),
                                 .last_message_us = atomic_load(&s->last_message_us)};
    pthread_mutex_lock(&s->text_lock);
    memcpy(out->host, s->stats_host, sizeof out->host);
    memcpy(out->last_error, s->last_error, sizeof out->last_error);
    pthread_mutex_unlock(&s->text_lock);
}
