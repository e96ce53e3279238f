/* census: what the queues really hold, entry by entry, beside what the counters say. For `verify --buffer`.
 *
 * May include: base, event (types only), buffer. Reads only, a page of entries at a time without their data, so that
 * Redis serves others in between. Memory: 32 B an entry. Threading and errors: as buffer.h. */
#pragma once
#include "buffer/buffer.h"

struct census_entry {
    uint64_t incarnation, seq, offset;
    uint32_t count;
};
/* Counter and newest entry are of one moment; entries that came later are not in it. What was acknowledged while it was
 * taken may be missing: it is in the lake by then. */
struct census {
    uint64_t received;            /* the counter: events of the type ever buffered */
    struct census_entry *entries; /* in stream order */
    size_t count;
    uint64_t unreadable; /* entries that are no block */
};
enum bl_rc buffer_census(struct buffer *b, enum ev_type type, struct census *out, struct bl_error *err);
void census_release(struct census *c);

/* How many messages and gaps ingest ever noted, and how many of them behind the id `after` ("" = all) wait. Of one
 * moment. */
enum bl_rc buffer_census_rejected(struct buffer *b, const char *after, uint64_t *noted, uint64_t *waiting,
                                  struct bl_error *err);
