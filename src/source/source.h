/* source: the conversation with a Jetstream. Delivers messages in order, for ever, across reconnects.
 *
 * May include: base, net, event (for the cursor peek only), obs. Knows no Redis.
 * Protocols: Jetstream v1 /subscribe and v2 network.bsky.jetstream.subscribeEvents, whose messages are handed out in
 * the form of v1 (see v2.h), https://github.com/bluesky-social/jetstream. Failure behaviour: rewind and de-duplicate on
 * reconnect, data-idle timer, backoff with jitter, host rotation, poison messages are the receiver's business (one
 * message each, the stream goes on).
 *
 * source_next blocks until a message is there, the idle tick passes, or source_wake is called. It reconnects by itself
 * and returns an error only where going on is pointless: bad settings, the wrong zstd dictionary, and, before the first
 * event, HTTP 3xx and 4xx (other than 408, 425, 429) by every host of the list. Later, or by one host, these count for
 * minutes: it is asked again, after pauses that grow to 10 min. The message is valid until the next call.
 * De-duplication across the rewind overlap is by event identity and belongs to the receiver of the messages, which
 * decodes them anyway; source_in_overlap() tells when it is needed.
 *
 * Cursor: the receiver calls source_set_cursor with the position that is durably buffered; after a reconnect the stream
 * resumes from it minus the rewind. Without any, it starts live. At a host of the v2 family it is a number, which
 * is exact and needs no rewind; it means nothing anywhere else, so on another host the time counts, with the larger
 * overlap. A host that no longer has the position is a gap, and the stream goes on with the oldest it has. It says so
 * (CursorTooOld), or the first event is too new: at a host that has delivered an event at the position asked for, or
 * behind it, any; at another one more than 10 s; where filters or unknown positions make silence normal, 60 s. Before
 * the latter are believed the host is asked once more.
 *
 * Threading: one thread, except source_wake and source_stats (any thread). */
#pragma once
#include "base/clock.h"
#include "base/mem.h"

struct source;

enum source_protocol { SOURCE_AUTO, SOURCE_V1, SOURCE_V2 }; /* auto: by the address's path, v1 where it has none */
enum source_state { SOURCE_CONNECTING, SOURCE_LIVE, SOURCE_BACKOFF };

struct source_options {
    const char *const
        *urls; /* hosts in order of preference: "wss://jetstream1.us-east.bsky.network" or full /subscribe URLs */
    size_t url_count;
    const char *const *collections; /* wantedCollections; none = everything */
    size_t collection_count;
    const char *const *dids; /* wantedDids; long lists are sent by options_update after requireHello */
    size_t did_count;
    enum source_protocol protocol;
    int64_t start_cursor_us;       /* resume position from the buffer; 0 = none */
    uint64_t start_seq;            /* its sequence number at start_host; 0 = none */
    const char *start_host;        /* where it comes from; NULL or "" = unknown */
    int64_t rewind_us;             /* overlap on reconnect to the same host; 0 means 5 s */
    int64_t host_switch_rewind_us; /* overlap when the host changes; 0 means 60 s */
    int64_t
        idle_limit_us; /* no data for so long on an open connection = dead; 0 means 30 s unfiltered, 10 min filtered */
    int64_t ping_limit_us; /* not even a ping for so long = dead, however patient the filter; 0 means 90 s */
    int64_t backoff_min_us,
        backoff_max_us;            /* 0 means 250 ms and 30 s; doubled with full jitter, reset after progress */
    const char *dictionary_file;   /* zstd dictionary; NULL = no compression */
    const char *dictionary_folder; /* v2: where fetched dictionaries are kept; NULL = no compression */
    const char *ca_file;
    size_t message_max;           /* bytes after decompression; 0 means 32 MiB */
    const struct bl_clock *clock; /* NULL = system */
    uint64_t seed;                /* jitter; 0 = random */
    bool outlast_refusals;        /* by merge.h: a refusal by all hosts is no end, source_stats tells it */
};
enum bl_rc source_open(const struct source_options *o, struct source **out, struct bl_error *err);

struct source_message {
    struct bl_str json;
    int64_t received_us; /* wall clock */
    bool overlap;        /* inside the rewind overlap of a reconnect: may have been delivered before */
    int64_t time_us;     /* the event's; 0 when it has none */
    uint64_t seq;        /* of a v2 host; 0 = none */
    const char *host;    /* name of the host, as in the statistics; lives as long as the source. NULL: one of several */
    bool backfill;       /* by merge.h: fetched afterwards to close a gap */
};
/* BL_OK with a message; BL_E_TIMEOUT after `tick_ms` without one (not a failure); BL_E_CANCELLED after source_wake; any
 * other code is final. */
enum bl_rc source_next(struct source *s, int tick_ms, struct source_message *out, struct bl_error *err);
bool source_pending(struct source *s); /* a message is ready without waiting */
struct source_cursor {
    int64_t us;
    uint64_t seq;   /* 0: the time alone */
    char host[256]; /* that both come from; "" = unknown */
};
void source_set_cursor(struct source *s, const struct source_cursor *durable);
/* "host" or "host#seq": how the two are stored in one text. */
void source_cursor_text(const struct source_cursor *c, char text[static 256]);
void source_cursor_of_text(const char *text, struct source_cursor *out); /* sets seq and host */
/* Leave the connection and resume from an earlier position: what came since has been lost. Not a gap, not a failure. */
void source_restart(struct source *s, const struct source_cursor *cursor);
void source_wake(struct source *s);

struct source_gap { /* upstream could not serve what lies between */
    int64_t from_us, to_us;
    char host[256];
    char reason[32]; /* "cursor_too_old" | "host_switch" */
    bool healed;     /* by merge.h: what lies between came from another host */
};
/* Gaps noticed since the last call; each is reported once. */
bool source_take_gap(struct source *s, struct source_gap *out);

struct source_stats {
    enum source_state state;
    char host[256];
    uint64_t messages, bytes, connects, failures, oversized, decompress_failures, gaps, repeated;
    int64_t connected_since_us; /* 0 when not connected */
    int64_t last_message_us;    /* wall clock, 0 when none yet */
    bool refused;               /* by all hosts, before the first event (last_error): only with outlast_refusals */
    char last_error[512];
};
void source_get_stats(struct source *s, struct source_stats *out);
void source_close(struct source **s);

/* Can any of the hosts be reached right now (TCP and TLS)? Used by `up --source auto`; waits at most `timeout_ms`. */
bool source_reachable(const char *const *urls, size_t count, int timeout_ms, struct bl_error *why_not);
