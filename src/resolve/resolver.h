/* resolver: handles and names of accounts the lake has not heard of, asked of the network's public API and kept.
 *
 * May include: base, net, event, obs. sqlite3.h appears only in cache.c.
 * A post carries the DID of its author and nothing else. Who that is the lake learns from identity events and profiles,
 * which an account may not send for years; the API knows it now. The lake's own word always comes first; this room
 * neither knows the lake's nor writes to it. What was answered is kept in DIR/resolved.sqlite, a cache that may be
 * deleted: `keep_us` long, and nobody-of-that-name a 24th of it. What is older is asked again, and told meanwhile for
 * up to RESOLVER_STALE times as long.
 *
 * One question is GET URL/xrpc/app.bsky.actor.getProfiles?actors=...&actors=..., for up to 25 DIDs and handles at once
 * (https://docs.bsky.app/docs/api/app-bsky-actor-get-profiles). At most `per_second` of them are sent. After a failure
 * nothing is asked for 1 s, then 2 s, ... at most 5 min, and whoever asks is told so at once. What waits is bounded:
 * RESOLVER_WANTED_MAX names, the newest first; more are forgotten and come again with the next question about them.
 * The host learns which accounts are looked at. So this room is only there when a host is named in the settings.
 *
 * Threading: one thread asks; every function but resolver_close may be called from any thread. */
#pragma once
#include "base/mem.h"

enum { RESOLVER_WANTED_MAX = 1000, RESOLVER_STALE = 7 };

struct resolver;
struct resolver_options {
    const char *lake_dir;
    const char *url;     /* http or https, such as https://public.api.bsky.app */
    const char *ca_file; /* NULL or "": the system's */
    int64_t timeout_us;  /* of one question, and of waiting for an answer; 0 means 2 s */
    int64_t keep_us;     /* 0 means 24 h */
    int64_t per_second;  /* 0 means 5 */
};
/* BL_E_USAGE for an address that is none. Nothing is sent yet. */
enum bl_rc resolver_open(const struct resolver_options *o, struct resolver **out, struct bl_error *err);
/* Ends all waits at once, and those that begin later. */
void resolver_stop(struct resolver *r);
void resolver_close(struct resolver **r); /* NULL-safe; nobody may be waiting any more */

struct resolver_account { /* texts in the caller's arena; p == NULL: unknown */
    struct bl_str did, handle, display_name;
    int64_t asked_us; /* when the host said so */
};
/* RESOLVER_UNKNOWN: not asked, not answered, or answered too long ago. */
enum resolver_outcome { RESOLVER_FOUND, RESOLVER_NOBODY, RESOLVER_UNKNOWN };
/* Who a DID or handle is, as far as it is known now. */
enum resolver_outcome resolver_known(struct resolver *r, struct bl_str subject, struct bl_arena *arena,
                                     struct resolver_account *out);
/* Has those asked for that are not known, or no longer for sure; `urgent`: before all others. */
void resolver_ask(struct resolver *r, const struct bl_str *subjects, size_t count, bool urgent);
/* True once none of them is being asked for any more; false after `wait_us`. While the host fails: true at once. */
bool resolver_wait(struct resolver *r, const struct bl_str *subjects, size_t count, int64_t wait_us);

int64_t resolver_timeout_us(const struct resolver *r);
const char *resolver_host(const struct resolver *r); /* for messages */
struct resolver_state {
    int64_t asked, failed; /* questions since the start */
    size_t waiting;        /* names */
    bool failing;          /* the last question failed */
};
void resolver_get_state(struct resolver *r, struct resolver_state *out);
