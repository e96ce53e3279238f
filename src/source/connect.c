#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "obs/log.h"
#include "source/source_priv.h"

enum { BACKOFF_SHIFT_MAX = 30 };
#define OVERLAP_MARGIN_US (60 * SECOND_US) /* instances stamp the same event up to so far apart */
#define REFUSAL_MAX_US (600 * SECOND_US)   /* longest pause for a host that refuses */
#define STABLE_US (30 * SECOND_US)         /* a connection that lasted so long is no failure */

/* ---- failures ---- */

static void set_texts(struct source *s, const char *host, const char *error) {
    pthread_mutex_lock(&s->text_lock);
    if (host) snprintf(s->stats_host, sizeof s->stats_host, "%s", host);
    if (error) snprintf(s->last_error, sizeof s->last_error, "%.*s", (int)sizeof s->last_error - 1, error);
    pthread_mutex_unlock(&s->text_lock);
}

enum step source_finish(struct source *s, const struct bl_error *err) {
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

static int64_t ready_ns(const struct host *h, int64_t now) {
    return h->not_before_ns > now ? h->not_before_ns : now;
}

/* The next one of the list that may be asked now, or the one that may be asked first. */
static void go_to_next_host(struct source *s) {
    int64_t now = now_ns(s);
    size_t best = (s->host_at + 1) % s->host_count;
    for (size_t n = 2; n <= s->host_count; n++) {
        size_t i = (s->host_at + n) % s->host_count;
        if (ready_ns(&s->hosts[i], now) < ready_ns(&s->hosts[best], now)) best = i;
    }
    s->host_at = best;
}

/* A host that fails twice in a row, or that `rotate` speaks against, makes room for the next. */
static void schedule_retry(struct source *s, bool rotate, const struct bl_error *why) {
    const char *failed = here(s)->name;
    int64_t delay_us = backoff_us(s), now = now_ns(s);
    s->failures_in_row++;
    if (rotate || s->failures_in_row >= 2) go_to_next_host(s);
    s->retry_at_ns = now + delay_us * 1000;
    if (s->retry_at_ns < here(s)->not_before_ns) s->retry_at_ns = here(s)->not_before_ns;
    atomic_fetch_add(&s->failures, 1);
    atomic_store(&s->state, SOURCE_BACKOFF);
    set_texts(s, NULL, why->message);
    bl_log(BL_INFO, "source backoff host=%s next=%s wait_ms=%lld failures=%u cause=\"%s\"", failed, here(s)->name,
           (long long)((s->retry_at_ns - now) / 1000000), s->failures_in_row, why->message);
}

void source_count_client(struct source *s) {
    uint64_t bytes = wsclient_bytes(s->client), oversized = wsclient_oversized(s->client);
    atomic_fetch_add_explicit(&s->bytes, bytes - s->client_bytes, memory_order_relaxed);
    if (oversized != s->client_oversized) {
        atomic_fetch_add(&s->oversized, oversized - s->client_oversized);
        bl_log(BL_WARN, "source skips %llu messages host=%s cause=\"larger than %zu bytes\"",
               (unsigned long long)(oversized - s->client_oversized), here(s)->name, s->message_max);
        s->data_seen = true;
    }
    s->client_bytes = bytes;
    s->client_oversized = oversized;
}

void source_disconnect(struct source *s, bool rotate, const struct bl_error *why) {
    bool stable = !rotate && now_ns(s) - s->connected_ns >= STABLE_US * 1000;
    source_count_client(s);
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
    if (s->client) source_disconnect(s, false, &why);
    if (cursor_plausible(cursor->us)) {
        s->durable = *cursor;
        s->newest_us = cursor->us;
    }
    for (size_t i = 0; i < s->host_count; i++) { /* later ones were not handed out, as far as the receiver knows */
        bool its = strcmp(s->hosts[i].name, cursor->host) == 0;
        s->hosts[i].newest_seq = its ? cursor->seq : 0;
        s->hosts[i].newest_us = its && !s->filtered ? cursor->us : 0;
    }
    s->retry_at_ns = here(s)->not_before_ns;
}

/* ---- connecting ---- */

bool source_host_switched(const struct source *s) {
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
    int64_t overlap_us = source_host_switched(s) ? s->host_switch_rewind_us : s->rewind_us;
    int64_t cursor_us = s->asked_us - (overlap_us >> (s->barren_in_row < SHIFT_MAX ? s->barren_in_row : SHIFT_MAX));
    return cursor_plausible(cursor_us) ? cursor_us : s->asked_us;
}

static enum step begin_attempt(struct source *s) {
    struct bl_error err = {0};
    struct host *h = here(s);
    s->asked_us = resume_from(s);
    s->asked_seq = resume_from_seq(s);
    s->cursor_us = rewound(s);
    struct attempt_options o = {
        .ws = {.url = h->base, .ca_file = s->ca_file, .message_max = s->message_max, .wake_fd = s->wake_fd},
        .hello = bl_buf_view(&s->requests[h->v2].hello),
        .zstd = h->v2 && s->dictionary_folder && !h->plain,
        .folder = s->dictionary_folder,
        .dictionary = s->dictionary};
    if (h->v2) o.ws.subprotocol = "xrpc.v1.json";
    int64_t cursor = s->asked_seq ? (int64_t)s->asked_seq : s->cursor_us;
    if (request_target(&s->requests[h->v2], cursor, &o.ws.url, &err) != BL_OK) return source_finish(s, &err);
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
    s->connected_ns = s->last_data_ns = s->last_heard_ns = now_ns(s);
    s->known_us = s->newest_us > s->durable.us ? s->newest_us : s->durable.us;
    s->overlap_until_us = s->asked_us && !s->asked_seq ? s->known_us + margin : 0;
    s->drop_below = s->asked_seq && s->delivered_any ? here(s)->newest_seq : 0;
    s->client_bytes = s->client_oversized = s->heard_bytes = s->delivered_here = 0;
    s->data_seen = s->first_time_seen = s->first_seq_seen = s->progressed = false;
    here(s)->refusals = 0;
    atomic_store(&s->refused, false);
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

/* Answers that asking again at once cannot change. */
static bool is_final(int status) {
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

static bool all_refused(const struct source *s) {
    for (size_t i = 0; i < s->host_count; i++)
        if (!s->hosts[i].refusals) return false;
    return true;
}

/* Refusals pass: a proxy's mistake, an address that is blocked for an hour. */
static void bar(struct source *s, struct host *h) {
    int64_t pause_us = 2 * s->backoff_max_us;
    for (unsigned n = 0; n < h->refusals && pause_us < REFUSAL_MAX_US; n++) pause_us *= 2;
    h->refusals++;
    h->not_before_ns = now_ns(s) + (pause_us < REFUSAL_MAX_US ? pause_us : REFUSAL_MAX_US) * 1000;
}

/* It is our request that is wrong when no host ever took it. */
static enum step refused_for_good(struct source *s, const struct attempt_result *r) {
    struct bl_error err = {0};
    (void)!bl_fail(&err, BL_E_USAGE, "%s; %s", r->err.message, cure_of(r->answer.status));
    (void)!bl_err_prefix(&err, BL_E_USAGE, "%s refuses the subscription", here(s)->name);
    bar(s, here(s));
    bool pointless = all_refused(s) && !s->delivered_any;
    if (pointless && !s->outlast_refusals) return source_finish(s, &err);
    bl_log_error("source goes on without this host for now", &err);
    schedule_retry(s, true, &err);
    atomic_store(&s->refused, pointless);
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
    if (r->rc == BL_E_USAGE) return source_finish(s, &r->err);
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

enum step source_await_attempt(struct source *s, struct tick *tick) {
    struct pollfd done = {.fd = attempt_fd(s->attempt), .events = POLLIN};
    if (poll(&done, 1, 0) <= 0) {
        int tick_ms = tick_left_ms(tick);
        return tick_ms == 0 ? STEP_TICK : source_wait(s, done.fd, tick_ms);
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
    if (result.rc == BL_E_CANCELLED) return source_on_wake(s);
    return refused(s, &result);
}

enum step source_await_retry(struct source *s, struct tick *tick) {
    int64_t left_ns = s->retry_at_ns - now_ns(s);
    if (left_ns <= 0) return begin_attempt(s);
    int tick_ms = tick_left_ms(tick);
    if (tick_ms == 0) return STEP_TICK;
    int64_t left_ms = (left_ns + 999999) / 1000000;
    return source_wait(s, -1, left_ms < tick_ms ? (int)left_ms : tick_ms);
}
