/* dedup: which events does the lake already hold?
 *
 * May include: base, event, lake/catalog.h, lake/reader.h.
 * An event and its repetitions carry (nearly) the same time_us: the same host repeats it exactly, another host stamps
 * it within seconds. So membership is asked for a time: identities are kept in sets of DEDUP_BUCKET_US each; a lookup
 * consults the bucket of the event's time and, near an edge (DEDUP_SLACK_US), its neighbour. A bucket not in memory is
 * loaded from the lake's own files, which are thereby the durable memory of what was written; however old a repetition
 * is, it is recognised, but only while its stamp differs by at most DEDUP_SLACK_US (verify finds the others).
 *
 * Memory: 16 B an identity at a load of at most 3/4; least recently used buckets are given up beyond `max_bytes`, but
 * for those that hold identities of rows not committed yet. Threading: one thread. */
#pragma once
#include "event/event.h"
#include "lake/catalog.h"

#define DEDUP_BUCKET_US ((int64_t)15 * 60 * 1000000)
#define DEDUP_SLACK_US ((int64_t)5 * 60 * 1000000)

struct dedup;
struct dedup_options {
    int64_t max_bytes; /* 0 means 160 MiB */
};
struct dedup *dedup_new(const char *lake_dir, struct catalog *catalog, const struct dedup_options *o);
void dedup_free(struct dedup **d);
/* True in `*known` when the event was seen; otherwise remembers it as uncommitted. */
enum bl_rc dedup_check(struct dedup *d, enum ev_type type, struct ev_id id, int64_t time_us, bool *known,
                       struct bl_error *err);
/* The identity will be asked for soon: its cache misses may begin. */
void dedup_expect(const struct dedup *d, struct ev_id id, int64_t time_us);
void dedup_committed(struct dedup *d); /* what was remembered since the last call is durable now */
void dedup_forget(struct dedup *d);    /* the commit failed: drop every bucket that holds uncommitted identities */
int64_t dedup_memory(const struct dedup *d);
