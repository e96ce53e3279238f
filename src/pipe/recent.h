/* recent: the blocks Redis acknowledged last, kept for a Redis that comes back without them.
 *
 * May include: base, event, buffer/block.h. One thread. Redis with `appendfsync everysec` may forget about two seconds
 * at a power cut, and a promoted replica what had not reached it. Bounded by age and bytes: what is older is on Redis's
 * disk, or asked for again upstream. */
#pragma once
#include "buffer/block.h"

struct sent {
    struct sent *next;
    enum ev_type type;
    struct block block; /* its data lies behind the struct */
    int64_t cursor_us, sent_ns;
    char host[256];
    bool again; /* chosen by recent_after */
};
struct recent {
    struct sent *head, *tail; /* oldest first */
    size_t bytes;
};
enum { RECENT_BYTES = 8 << 20, RECENT_US = 5000000 };

void recent_add(struct recent *r, enum ev_type type, const struct block *block, int64_t cursor_us, const char *host,
                int64_t now_ns);
void recent_clear(struct recent *r);
/* Redis says it has counted `received` events of each type, `sent` is what it was given. Marks the blocks that are
 * missing as `again`; false when those kept here do not explain the difference. */
bool recent_after(struct recent *r, const uint64_t received[static EV_TYPE_COUNT],
                  const uint64_t sent[static EV_TYPE_COUNT]);
