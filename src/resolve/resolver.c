#include "resolve/resolver.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/http.h"
#include "obs/log.h"
#include "resolve/cache.h"
#include "resolve/profiles.h"

enum { BODY_MAX = 1 << 20, ARENA_MAX = 8 << 20, NOBODY_SHARE = 24 };
enum { TIMEOUT_DEFAULT_US = 2000000, PER_SECOND_DEFAULT = 5 };
static const int64_t KEEP_DEFAULT_US = INT64_C(86400000000), SECOND_NS = INT64_C(1000000000),
                     PAUSE_MAX_NS = INT64_C(300000000000), PRUNE_EVERY_NS = INT64_C(3600000000000),
                     LOG_EVERY_US = 60000000;

struct resolver {
    struct url url;
    char *dir, *ca_file;
    int64_t timeout_us, keep_us, interval_ns;
    int wake_fd; /* readable once it stops */
    pthread_t thread;

    /* the asking thread's own */
    int64_t next_ns;
    bool answered; /* the host has answered one question as it should */

    _Atomic int64_t asked;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t changed;
    struct cache *cache;               /* NULL until the first question */
    char *wanted[RESOLVER_WANTED_MAX]; /* next first: the urgent ones, then the others */
    char *asking[PROFILES_MAX];
    size_t wanted_count, urgent_count, asking_count;
    int64_t pause_until_ns, pause_ns, failed, pruned_ns;
    bool stop, failing;
    int64_t cache_log_ns, host_log_ns;
};

/* --- What is kept; under the lock --- */

/* Without the cache everything is asked again, which the log says. */
static bool note_cache(struct resolver *r, enum bl_rc rc, const struct bl_error *err) {
    if (rc != BL_OK && bl_log_due(&r->cache_log_ns, LOG_EVERY_US)) bl_log_error("resolver", err);
    if (rc == BL_E_CORRUPT && r->cache) resolve_cache_discard(&r->cache);
    return rc == BL_OK;
}

static bool open_cache(struct resolver *r) {
    struct bl_error err = {0};
    if (r->cache) return true;
    if (!note_cache(r, resolve_cache_open(r->dir, &r->cache, &err), &err)) return false;
    if (!resolve_cache_is_file(r->cache))
        bl_log(BL_WARN, "resolver: %s/resolved.sqlite cannot be written, names are kept in memory", r->dir);
    return true;
}

struct knowledge {
    struct resolver_account account;
    bool any, fresh; /* was there an answer at all, and does it still count */
};

static struct knowledge look(struct resolver *r, struct bl_str subject, struct bl_arena *arena) {
    struct knowledge k = {0};
    struct bl_error err = {0};
    if (!open_cache(r)) return k;
    if (!note_cache(r, resolve_cache_get(r->cache, subject, arena, &k.account, &k.any, &err), &err) || !k.any)
        return (struct knowledge){0};
    int64_t age_us = bl_wall_us() - k.account.asked_us;
    k.fresh = age_us < (k.account.did.p ? r->keep_us : r->keep_us / NOBODY_SHARE);
    return k;
}

static enum bl_rc keep_account(struct resolver *r, struct bl_str subject, const struct resolver_account *a,
                               struct bl_error *err) {
    BL_TRY(resolve_cache_put(r->cache, subject, a, err));
    if (a->did.p && !bl_str_eq(subject, a->did)) BL_TRY(resolve_cache_put(r->cache, a->did, a, err));
    if (a->handle.p && !bl_str_eq(subject, a->handle)) BL_TRY(resolve_cache_put(r->cache, a->handle, a, err));
    return BL_OK;
}

static enum bl_rc keep_all(struct resolver *r, const struct bl_str *subjects, size_t count,
                           const struct resolver_account *answers, struct bl_error *err) {
    BL_TRY(resolve_cache_begin(r->cache, err));
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < count && rc == BL_OK; i++) rc = keep_account(r, subjects[i], &answers[i], err);
    if (rc == BL_OK) rc = resolve_cache_commit(r->cache, err);
    if (rc != BL_OK) resolve_cache_rollback(r->cache);
    return rc;
}

static void prune_now_and_then(struct resolver *r) {
    struct bl_error err = {0};
    int64_t now_us = bl_wall_us();
    if ((r->pruned_ns && bl_mono_ns() - r->pruned_ns < PRUNE_EVERY_NS) || !open_cache(r)) return;
    r->pruned_ns = bl_mono_ns();
    note_cache(
        r,
        resolve_cache_prune(r->cache, now_us - RESOLVER_STALE * r->keep_us, now_us - r->keep_us / NOBODY_SHARE, &err),
        &err);
}

/* --- What is wanted; under the lock --- */

static bool is_among(char *const *names, size_t count, struct bl_str subject) {
    for (size_t i = 0; i < count; i++)
        if (bl_str_eq(bl_str(names[i]), subject)) return true;
    return false;
}

static bool is_asking(const struct resolver *r, struct bl_str subject) {
    return is_among(r->asking, r->asking_count, subject);
}

static bool may_ask(const struct resolver *r) {
    return !r->stop && bl_mono_ns() >= r->pause_until_ns;
}

static bool is_pending(const struct resolver *r, struct bl_str subject) {
    return is_asking(r, subject) || (may_ask(r) && is_among(r->wanted, r->wanted_count, subject));
}

/* What is longer is no handle, and no DID that the host would know. */
static bool can_be_asked(struct bl_str subject) {
    return subject.n > 0 && subject.n <= PROFILES_SUBJECT_MAX;
}

static void drop_last(struct resolver *r) {
    free(r->wanted[--r->wanted_count]);
    if (r->urgent_count > r->wanted_count) r->urgent_count = r->wanted_count;
}

static void insert_at(struct resolver *r, size_t at, struct bl_str subject, bool urgent) {
    if (r->wanted_count == RESOLVER_WANTED_MAX) drop_last(r);
    if (at > r->wanted_count) at = r->wanted_count;
    memmove(r->wanted + at + 1, r->wanted + at, (r->wanted_count - at) * sizeof *r->wanted);
    r->wanted[at] = bl_xstrndup(subject);
    r->wanted_count++;
    r->urgent_count += urgent;
}

static void forget(struct resolver *r, struct bl_str subject) {
    for (size_t i = 0; i < r->wanted_count; i++) {
        if (!bl_str_eq(bl_str(r->wanted[i]), subject)) continue;
        free(r->wanted[i]);
        memmove(r->wanted + i, r->wanted + i + 1, (--r->wanted_count - i) * sizeof *r->wanted);
        r->urgent_count -= i < r->urgent_count;
        return;
    }
}

static void take_batch(struct resolver *r) {
    size_t n = r->wanted_count < PROFILES_MAX ? r->wanted_count : PROFILES_MAX;
    memcpy(r->asking, r->wanted, n * sizeof *r->wanted);
    memmove(r->wanted, r->wanted + n, (r->wanted_count - n) * sizeof *r->wanted);
    r->wanted_count -= n;
    r->urgent_count -= r->urgent_count < n ? r->urgent_count : n;
    r->asking_count = n;
}

static struct timespec at_ns(int64_t mono_ns) {
    return (struct timespec){.tv_sec = mono_ns / SECOND_NS, .tv_nsec = mono_ns % SECOND_NS};
}

/* False when the time is over. */
static bool wait_until(struct resolver *r, int64_t mono_ns) {
    struct timespec until = at_ns(mono_ns);
    return pthread_cond_timedwait(&r->changed, &r->lock, &until) != ETIMEDOUT;
}

/* --- Asking; without the lock --- */

/* Not faster than agreed. */
static void wait_turn(struct resolver *r) {
    int64_t left_ns = r->next_ns - bl_mono_ns();
    struct pollfd woken = {.fd = r->wake_fd, .events = POLLIN};
    if (left_ns > 0) poll(&woken, 1, (int)(left_ns / 1000000) + 1);
    r->next_ns = bl_mono_ns() + r->interval_ns;
}

static enum bl_rc get(struct resolver *r, const struct bl_str *subjects, size_t count, int *status, struct bl_buf *body,
                      struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf target = {0};
    struct http_get request = {.url = r->url,
                               .ca_file = r->ca_file,
                               .timeout_ms = (int)(r->timeout_us / 1000),
                               .body_max = BODY_MAX,
                               .wake_fd = r->wake_fd};
    profiles_target(bl_str(r->url.target), subjects, count, &target);
    if (target.n >= sizeof request.url.target) return bl_fail(err, BL_E_TOO_LARGE, "a question of %zu bytes", target.n);
    snprintf(request.url.target, sizeof request.url.target, "%s", bl_buf_cstr(&target));
    wait_turn(r);
    atomic_fetch_add(&r->asked, 1);
    return http_get(&request, status, body, err);
}

static void match_answers(const struct bl_str *subjects, size_t count, const struct resolver_account *accounts,
                          size_t account_count, struct resolver_account *answers) {
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < account_count; k++)
            if (bl_str_eq(subjects[i], accounts[k].did) || bl_str_eq(subjects[i], accounts[k].handle))
                answers[i] = accounts[k];
}

static enum bl_rc ask(struct resolver *r, const struct bl_str *subjects, size_t count, struct bl_arena *arena,
                      struct resolver_account *answers, struct bl_error *err);

/* One name that the host does not like spoils the question for all of them. */
static enum bl_rc ask_halves(struct resolver *r, const struct bl_str *subjects, size_t count, struct bl_arena *arena,
                             struct resolver_account *answers, struct bl_error *err) {
    size_t half = count / 2;
    BL_TRY(ask(r, subjects, half, arena, answers, err));
    return ask(r, subjects + half, count - half, arena, answers + half, err);
}

static enum bl_rc ask(struct resolver *r, const struct bl_str *subjects, size_t count, struct bl_arena *arena,
                      struct resolver_account *answers, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {.max = BODY_MAX};
    struct resolver_account accounts[PROFILES_MAX];
    size_t account_count = 0;
    int status = 0;
    enum bl_rc rc = get(r, subjects, count, &status, &body, err);
    if (rc == BL_E_TOO_LARGE && count > 1) return ask_halves(r, subjects, count, arena, answers, err);
    BL_TRY(rc);
    if (status == 400) return count > 1 ? ask_halves(r, subjects, count, arena, answers, err) : BL_OK;
    if (status != 200) return bl_fail(err, BL_E_NET, "%s answers with status %d", r->url.host, status);
    BL_TRY(profiles_read(bl_buf_view(&body), arena, accounts, PROFILES_MAX, &account_count, err));
    r->answered = true;
    match_answers(subjects, count, accounts, account_count, answers);
    return BL_OK;
}

/* A host that likes no question at all is not such an API, rather than one that knows nobody. */
static enum bl_rc ask_all(struct resolver *r, const struct bl_str *subjects, size_t count, struct bl_arena *arena,
                          struct resolver_account *answers, struct bl_error *err) {
    BL_TRY(ask(r, subjects, count, arena, answers, err));
    return r->answered ? BL_OK : bl_fail(err, BL_E_NET, "%s refuses every question with status 400", r->url.host);
}

/* --- The asking thread --- */

static void note_outcome(struct resolver *r, enum bl_rc rc, const struct bl_error *err) {
    bool failed = rc != BL_OK && !r->stop;
    r->failed += failed;
    r->failing = failed;
    r->pause_ns = !failed ? 0 : r->pause_ns ? r->pause_ns * 2 : SECOND_NS;
    if (r->pause_ns > PAUSE_MAX_NS) r->pause_ns = PAUSE_MAX_NS;
    r->pause_until_ns = failed ? bl_mono_ns() + r->pause_ns : 0;
    if (failed && bl_log_due(&r->host_log_ns, LOG_EVERY_US))
        bl_log(BL_WARN, "resolver cannot ask %s, accounts stay nameless meanwhile: %s", r->url.host, err->message);
}

/* Called with the lock, which is free meanwhile. */
static void ask_batch(struct resolver *r) {
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {.max = ARENA_MAX};
    struct resolver_account answers[PROFILES_MAX] = {0};
    struct bl_str subjects[PROFILES_MAX];
    struct bl_error err = {0};
    take_batch(r);
    for (size_t i = 0; i < r->asking_count; i++) subjects[i] = bl_str(r->asking[i]);
    pthread_mutex_unlock(&r->lock);
    enum bl_rc rc = ask_all(r, subjects, r->asking_count, &arena, answers, &err);
    pthread_mutex_lock(&r->lock);
    note_outcome(r, rc, &err);
    for (size_t i = 0; i < r->asking_count; i++) answers[i].asked_us = bl_wall_us();
    if (rc == BL_OK && open_cache(r)) note_cache(r, keep_all(r, subjects, r->asking_count, answers, &err), &err);
    prune_now_and_then(r);
    while (r->asking_count) free(r->asking[--r->asking_count]);
    pthread_cond_broadcast(&r->changed);
}

static void *keep_asking(void *context) {
    struct resolver *r = context;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (r->wanted_count == 0)
            pthread_cond_wait(&r->changed, &r->lock);
        else if (r->pause_until_ns > bl_mono_ns())
            wait_until(r, r->pause_until_ns);
        else
            ask_batch(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- Outside --- */

static enum bl_rc parse_url(const char *text, struct url *out, struct bl_error *err) {
    struct url u;
    BL_TRY(url_parse(bl_str(text), &u, err));
    if (u.websocket || strchr(u.target, '?'))
        return bl_fail(err, BL_E_USAGE, "\"%s\" is not the address of an API: write https://HOST", text);
    *out = u;
    return BL_OK;
}

static void init_lock(struct resolver *r) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void release(struct resolver *r) {
    while (r->wanted_count) drop_last(r);
    resolve_cache_close(&r->cache);
    if (r->wake_fd >= 0) close(r->wake_fd);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->dir);
    free(r->ca_file);
    free(r);
}

enum bl_rc resolver_open(const struct resolver_options *o, struct resolver **out, struct bl_error *err) {
    struct url url;
    BL_TRY(parse_url(o->url, &url, err));
    struct resolver *r = bl_xcalloc(1, sizeof *r);
    r->url = url;
    r->dir = bl_xstrdup(o->lake_dir);
    r->ca_file = o->ca_file && *o->ca_file ? bl_xstrdup(o->ca_file) : NULL;
    r->timeout_us = o->timeout_us ? o->timeout_us : TIMEOUT_DEFAULT_US;
    r->keep_us = o->keep_us ? o->keep_us : KEEP_DEFAULT_US;
    r->interval_ns = SECOND_NS / (o->per_second ? o->per_second : PER_SECOND_DEFAULT);
    r->wake_fd = eventfd(0, EFD_CLOEXEC);
    init_lock(r);
    if (r->wake_fd >= 0 && pthread_create(&r->thread, NULL, keep_asking, r) == 0) {
        *out = r;
        return BL_OK;
    }
    release(r);
    return bl_fail(err, BL_E_IO, "the thread that asks for handles cannot be started");
}

void resolver_stop(struct resolver *r) {
    if (!r) return;
    uint64_t one = 1;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (write(r->wake_fd, &one, sizeof one) != (ssize_t)sizeof one) return; /* full: it is readable already */
}

void resolver_close(struct resolver **r) {
    if (!*r) return;
    resolver_stop(*r);
    pthread_join((*r)->thread, NULL);
    release(*r);
    *r = NULL;
}

/* A handle in small letters, as handles compare; DIDs are as they are. */
static struct bl_str subject_of(struct bl_str name, char room[static PROFILES_SUBJECT_MAX]) {
    if (!can_be_asked(name) || bl_str_starts(name, BL_LIT("did:"))) return name;
    for (size_t i = 0; i < name.n; i++)
        room[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
    return (struct bl_str){room, name.n};
}

enum resolver_outcome resolver_known(struct resolver *r, struct bl_str name, struct bl_arena *arena,
                                     struct resolver_account *out) {
    char room[PROFILES_SUBJECT_MAX];
    *out = (struct resolver_account){0};
    if (!can_be_asked(name)) return RESOLVER_NOBODY;
    pthread_mutex_lock(&r->lock);
    struct knowledge k = look(r, subject_of(name, room), arena);
    pthread_mutex_unlock(&r->lock);
    *out = k.account;
    if (k.account.did.p) return RESOLVER_FOUND;
    return k.fresh ? RESOLVER_NOBODY : RESOLVER_UNKNOWN;
}

static void ask_for(struct resolver *r, struct bl_str subject, bool urgent, size_t *at) {
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    if (is_asking(r, subject) || look(r, subject, &arena).fresh) return;
    forget(r, subject);
    insert_at(r, urgent ? *at : r->urgent_count + *at, subject, urgent);
    ++*at;
}

void resolver_ask(struct resolver *r, const struct bl_str *names, size_t count, bool urgent) {
    size_t at = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < count && at < RESOLVER_WANTED_MAX && may_ask(r); i++) {
        char room[PROFILES_SUBJECT_MAX];
        if (can_be_asked(names[i])) ask_for(r, subject_of(names[i], room), urgent, &at);
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static bool any_pending(const struct resolver *r, const struct bl_str *names, size_t count) {
    for (size_t i = 0; i < count && !r->stop; i++) {
        char room[PROFILES_SUBJECT_MAX];
        if (is_pending(r, subject_of(names[i], room))) return true;
    }
    return false;
}

bool resolver_wait(struct resolver *r, const struct bl_str *names, size_t count, int64_t wait_us) {
    int64_t deadline_ns = bl_mono_ns() + wait_us * 1000;
    pthread_mutex_lock(&r->lock);
    bool pending = any_pending(r, names, count);
    while (pending && wait_us > 0 && wait_until(r, deadline_ns)) pending = any_pending(r, names, count);
    pthread_mutex_unlock(&r->lock);
    return !pending;
}

int64_t resolver_timeout_us(const struct resolver *r) {
    return r->timeout_us;
}

const char *resolver_host(const struct resolver *r) {
    return r->url.host;
}

void resolver_get_state(struct resolver *r, struct resolver_state *out) {
    pthread_mutex_lock(&r->lock);
    *out = (struct resolver_state){.asked = atomic_load(&r->asked),
                                   .failed = r->failed,
                                   .waiting = r->wanted_count + r->asking_count,
                                   .failing = r->failing};
    pthread_mutex_unlock(&r->lock);
}
