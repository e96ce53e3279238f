/* What the sources of one connection share. Private to source.
 *
 *   source.c   opening, waiting, reading
 *   connect.c  where to, from which position, and what to do when it fails
 *   deliver.c  from a message to an event: compression, protocol, gaps */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/rng.h"
#include "source/attempt.h"
#include "source/inflate.h"
#include "source/request.h"
#include "source/source.h"

#define SECOND_US INT64_C(1000000)

enum { GAPS_MAX = 16 };

struct host {
    struct url base;
    char name[sizeof((struct source_stats){0}.host)];
    int64_t not_before_ns; /* it said so (Retry-After), or has refused */
    unsigned refusals;     /* in a row: answers that asking again at once cannot change */
    bool v2;
    bool plain;          /* v2: compression did not work here */
    bool lost;           /* it no longer has the position; ask by time until it has delivered */
    bool doubted;        /* it began behind what it must have, and is asked once more */
    uint64_t newest_seq; /* largest number it delivered, or the one stored; 0 when it does not number */
    int64_t newest_us;   /* largest time it delivered under these filters, or the one stored; 0 = none */
};

struct source {
    /* settings */
    struct host *hosts;
    size_t host_count;
    struct request requests[2]; /* v1, v2 */
    bool filtered, did_filtered, outlast_refusals;
    int64_t rewind_us, host_switch_rewind_us, idle_limit_us, ping_limit_us, backoff_min_us, backoff_max_us;
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
    int64_t retry_at_ns, connected_ns, last_data_ns, last_heard_ns;
    int64_t asked_us;    /* position resumed from, before the rewind; 0 = live */
    int64_t cursor_us;   /* the same after the rewind */
    uint64_t asked_seq;  /* the same as a number, when that was asked for */
    uint64_t drop_below; /* numbers up to this one were handed out already */
    bool gap_certain;    /* the host said that it no longer has the position */
    bool compressed;     /* v2 */
    int64_t known_us;    /* newest_us when the connection was made */
    int64_t overlap_until_us;
    int64_t received_us; /* of the bytes at hand */
    uint64_t client_bytes, client_oversized, heard_bytes;
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
    atomic_bool refused; /* by all hosts, before the first event */
    pthread_mutex_t text_lock;
    char stats_host[sizeof((struct source_stats){0}.host)], last_error[sizeof((struct source_stats){0}.last_error)];
};

enum step { STEP_MESSAGE, STEP_AGAIN, STEP_TICK, STEP_CANCELLED, STEP_FINAL };

static inline int64_t now_ns(const struct source *s) {
    return s->clock.mono_ns(s->clock.context);
}
static inline int64_t now_us(const struct source *s) {
    return s->clock.wall_us(s->clock.context);
}
static inline struct host *here(struct source *s) {
    return &s->hosts[s->host_at];
}

/* The caller's tick. It starts with the first look at it, so that a message at hand costs no look at the clock. */
struct tick {
    int ms;
    int64_t deadline_ns; /* 0 = not started */
};
int tick_left_ms(struct tick *t);

/* Waits until `fd` (-1: nothing) is readable, source_wake is called, or the time is over. */
enum step source_wait(struct source *s, int fd, int timeout_ms);
enum step source_on_wake(struct source *s); /* wake_fd is readable */

/* ---- connect.c ---- */
enum step source_finish(struct source *s, const struct bl_error *err); /* what source_next says from now on */
/* Leave the connection; `rotate` speaks against this host. */
void source_disconnect(struct source *s, bool rotate, const struct bl_error *why);
void source_count_client(struct source *s); /* bytes and oversized messages of the connection */
bool source_host_switched(const struct source *s);
enum step source_await_attempt(struct source *s, struct tick *tick);
enum step source_await_retry(struct source *s, struct tick *tick);

/* ---- deliver.c ---- */
enum step source_unpack(struct source *s, const struct ws_message *m, struct source_message *out);
