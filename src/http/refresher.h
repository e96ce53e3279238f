/* refresher: two threads of low priority that keep ready what questions are answered from: the search index follows
 * every commit, the views their cadence. Private to the http room.
 *
 * May include: base, index, query, obs, pool.h. What each costs is bounded by its own session's memory and one thread.
 * Questions do not depend on them: what is missing is built by whoever needs it. Another process that does the same is
 * no error. */
#pragma once
#include "http/pool.h"

struct refresher;
struct refresher_options {
    const char *lake_dir;
    struct pool *pool;         /* tells of new snapshots; outlives the refresher */
    struct resolver *resolver; /* for views; may be NULL */
    int64_t memory_bytes;      /* for views */
    int64_t every_us; /* between two looks whether a view is due; 0: views are left alone, only their age is seen */
};
enum bl_rc refresher_start(const struct refresher_options *o, struct refresher **out, struct bl_error *err);
void refresher_stop(struct refresher **r);
/* When the view that waits longest was computed, wall clock; one that never was counts from the start of this process.
 * Seen every few seconds, so that asking costs nothing; 0: not seen yet, or there is no lake. Any thread. */
int64_t refresher_oldest_us(const struct refresher *r);
