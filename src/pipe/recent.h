/* recent: the blocks and notes Redis acknowledged last, kept for a Redis that comes back without them.
 *
 * May include: base, event, buffer/block.h. One thread. Redis with `appendfsync everysec` may forget about two seconds
 * at a power cut, and a promoted replica what had not reached it. Bounded by age and bytes, but for the newest: what is
 * older is on Redis's disk, or asked for again upstream. */
#pragma once
#include "buffer/block.h"

/* A message that was refused, or a gap. When a session is lost a "gap" is kept; all else, "healed" included, is done
 * again by the next one. */
struct note {
    char reason[64];
    char detail[256];
    int64_t received_us;
};

struct sent {
    struct sent *next;
    bool is_note;
    enum ev_type type;
    struct block block; /* its data, for a note the message, lies behind the struct */
    struct note note;
    uint64_t number; /* of a note: how many Redis had counted with it */
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
void recent_add_note(struct recent *r, const struct note *note, struct bl_str message, uint64_t number, int64_t now_ns);
void recent_clear(struct recent *r);
/* Redis says it has counted `received` events of each type and `rejected` notes, `sent` are the events it was given.
 * Marks the blocks and notes that are missing as `again`; false when the blocks kept here do not explain the
 * difference. */
bool recent_after(struct recent *r, const uint64_t received[static EV_TYPE_COUNT], uint64_t rejected,
                  const uint64_t sent[static EV_TYPE_COUNT]);
