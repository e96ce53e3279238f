/* buffer: the durable queue between ingest and writer, on Redis Streams, on one server or a Redis Cluster. hiredis.h
 * appears only in redis_conn.h, which is private to this room.
 *
 * May include: base, event (types only), obs.
 * Keys (BUF-05): firehose:<type>:queue, a stream a type; firehose:metadata, a hash; service keys:
 * firehose:rejected:queue (messages ingest refused), firehose:lease (the one writer), firehose:lease:ingest. Group
 * "writers", consumer = the caller's name. firehose:metadata holds: cursor_us, cursor_host, received:<type> (events
 * ever buffered), rejected, blocks:<inc>:<type> (last seq buffered), used:<inc> (when, for pruning blocks: fields of
 * old runs), updated_us.
 *
 * On a cluster each type has a metadata hash of its own beside its queue, and names carry a hash tag (docs/BUFFER.md,
 * nodes.h); the position is then the youngest that no server's loss contradicts.
 *
 * Appending is exactly-once: block, counters and cursor go in one MULTI/EXEC; when the answer is lost with the
 * connection, buffer_append reconnects and looks at blocks:<inc>:<type> to see whether the block arrived. A connection
 * whose answer was lost is killed at the server first, so that what it sent cannot arrive later. After BL_E_NET the
 * caller comes back with the same block (same incarnation and seq); buffer_reject may store twice then. Nothing here
 * trims what is not acknowledged; acknowledged entries are deleted with their acknowledgement.
 *
 * Threading: one thread a connection; open several. Every round trip is bounded by `timeout_ms`. buffer_open makes the
 * process ignore SIGPIPE where nothing handles it.
 * Errors: BL_E_NET (down, retry; the next call reconnects), BL_E_FULL (at the high-water mark or Redis answers OOM),
 * BL_E_BACKEND (any other refusal, with Redis's words; LOADING and READONLY included), BL_E_CORRUPT. */
#pragma once
#include "base/mem.h"
#include "buffer/block.h"

struct buffer;
struct buffer_options {
    const char *unix_socket; /* preferred when set */
    const char *host;
    int port;
    const char *const *cluster;  /* host:port of servers of a Redis Cluster, which then serves instead of the above */
    size_t cluster_count;        /* 0: one Redis */
    const char *user, *password; /* NULL: none. Never logged */
    int timeout_ms;              /* per command; 0 means 5,000 */
    bool guard; /* buffer_append answers BL_E_FORGOTTEN on a Redis process other than the one the position was loaded
                   from, and when its counters are not what the blocks' offsets say: load the position again and compare
                 */
    int64_t high_water_bytes; /* used_memory above which buffer_append answers BL_E_FULL; 0 = 80 % of maxmemory */
};
/* Does not need Redis to be up: connects on first use. */
enum bl_rc buffer_open(const struct buffer_options *o, struct buffer **out, struct bl_error *err);
void buffer_close(struct buffer **b);
enum bl_rc buffer_ping(struct buffer *b, struct bl_error *err);

/* ---- ingest's side ---- */
struct buffer_position {
    int64_t cursor_us;                /* 0 = none stored */
    char host[256];                   /* the caller's text, see source_cursor_text */
    uint64_t received[EV_TYPE_COUNT]; /* the next block's `offset` */
    uint64_t rejected;
    unsigned vanished; /* a bit a type: its queue was there and is gone with what was in it (evicted, deleted) */
};
/* Creates streams' groups where missing. */
enum bl_rc buffer_load_position(struct buffer *b, struct buffer_position *out, struct bl_error *err);

/* The bit of firehose:rejected:queue, and all of them. */
#define BUFFER_NOTES_BIT (1u << EV_TYPE_COUNT)
#define BUFFER_ALL_BITS (BUFFER_NOTES_BIT | (BUFFER_NOTES_BIT - 1))
/* The counters of these types (a bit each) begin at 0 again and `vanished` is forgotten, and so is the cursor: the
 * caller has chosen another, before everything that vanished. */
enum bl_rc buffer_number_anew(struct buffer *b, unsigned types, struct bl_error *err);

/* With `guard`: the next append answers BL_E_FORGOTTEN, until the position is loaded again. */
void buffer_suspect(struct buffer *b);
/* The newest seq of (incarnation, type) that Redis holds or held; 0 none. */
enum bl_rc buffer_stored_seqs(struct buffer *b, uint64_t incarnation, uint64_t seqs[static EV_TYPE_COUNT],
                              struct bl_error *err);
/* Position before which everything ever buffered has been acknowledged: the oldest entry's first time (a rejected
 * message's `after_us`), or the cursor when the queues are empty; 0 when there is no cursor. BL_E_FORGOTTEN when a
 * queue has vanished and, with `guard`, when Redis may have forgotten something. */
enum bl_rc buffer_settled(struct buffer *b, int64_t *settled_us, struct bl_error *err);

enum { BUFFER_APPEND_MAX = 64 };
struct buffer_append {
    enum ev_type type;
    struct block block;
};
/* One MULTI/EXEC: all `blocks` (usually one), their counters, and the cursor; on a cluster one a block, in order, the
 * cursor with the last.
 * BL_E_FORGOTTEN (with `guard`), with nothing appended: Redis may have come back without blocks it had acknowledged.
 * What it holds is of one moment, cursor included: load the position, send again what it lacks, or begin a new run
 * there and ask upstream again. */
enum bl_rc buffer_append(struct buffer *b, const struct buffer_append *blocks, size_t count, int64_t cursor_us,
                         const char *cursor_host, struct bl_error *err);
/* A message ingest refused, or a gap: kept with its reason until the writer has put it into the catalogue. */
struct buffer_note {
    const char *reason, *detail;
    int64_t received_us;
    int64_t after_us; /* asked from there upstream, the message comes again; 0 = unknown */
    struct bl_str message;
};
/* `number` (may be NULL) becomes how many Redis has counted with this one: behind `rejected` of a position loaded
 * later, Redis forgot it. BL_E_FORGOTTEN as in buffer_append. */
enum bl_rc buffer_reject(struct buffer *b, const struct buffer_note *note, uint64_t *number, struct bl_error *err);

/* ---- the writer's side ---- */
struct buffer_entry {
    enum ev_type type;
    char id[48];        /* stream id */
    int64_t idle_ms;    /* for an entry claimed from a dead consumer: how long it had been pending; else 0 */
    bool redelivered;   /* was pending before */
    struct block block; /* points into the reply, valid until the next buffer_read on this connection */
    bool corrupt;       /* the fields do not make a block; `why` says how; raw fields in `block.data` */
    char why[160];
};
struct buffer_batch {
    struct buffer_entry *entries;
    size_t count;
};
/* Up to `max_entries` per type. First everything this consumer or a dead one (idle > `claim_idle_ms`) left pending, in
 * stream order, then new entries; waits up to `wait_ms` when there is nothing. */
enum bl_rc buffer_read(struct buffer *b, const char *consumer, unsigned max_entries, int64_t claim_idle_ms, int wait_ms,
                       struct buffer_batch *out, struct bl_error *err);
/* Forget that pending entries were drained: the next buffer_read starts with them again (after a failed commit). */
void buffer_rewind(struct buffer *b);
/* XACK and XDEL. Idempotent. Only for what is durable in the lake. */
enum bl_rc buffer_ack(struct buffer *b, enum ev_type type, const char *const *ids, size_t count, struct bl_error *err);

struct buffer_rejected {
    char id[48];
    char reason[64];
    char detail[256];
    int64_t received_us;
    struct bl_str message;
};
/* Oldest first, behind the id `after` (NULL = from the beginning); slices valid until the next call. */
enum bl_rc buffer_read_rejected(struct buffer *b, const char *after, unsigned max, struct buffer_rejected *out,
                                size_t *count, struct bl_error *err);
enum bl_rc buffer_drop_rejected(struct buffer *b, const char *const *ids, size_t count, struct bl_error *err);

/* One writer at a time: take or renew firehose:lease for `owner` (SET NX PX; renew only when ours). BL_E_BUSY names the
 * holder. */
enum bl_rc buffer_lease(struct buffer *b, const char *owner, int64_t ttl_ms, struct bl_error *err);
enum bl_rc buffer_release_lease(struct buffer *b, const char *owner, struct bl_error *err);
/* The same for ingest. `*left_ms` with BL_E_BUSY: until the holder's lease runs out. */
enum bl_rc buffer_ingest_lease(struct buffer *b, const char *owner, int64_t ttl_ms, int64_t *left_ms,
                               struct bl_error *err);
enum bl_rc buffer_release_ingest_lease(struct buffer *b, const char *owner, struct bl_error *err);

struct buffer_depth {
    uint64_t entries[EV_TYPE_COUNT];  /* blocks in the stream */
    uint64_t events[EV_TYPE_COUNT];   /* exact: received:<type> minus the offset of the oldest block; 0 when empty */
    int64_t oldest_us[EV_TYPE_COUNT]; /* when the oldest entry was added (wall clock, from its id); 0 when empty */
    uint64_t rejected;
    int64_t used_memory, maxmemory; /* on a cluster, of the fullest server that holds our keys */
    int64_t evicted_keys;           /* of all of them */
    uint64_t received[EV_TYPE_COUNT];
    char policy[32];
};
enum bl_rc buffer_depth(struct buffer *b, struct buffer_depth *out, struct bl_error *err);
