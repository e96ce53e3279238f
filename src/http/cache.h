/* cache: finished answers by question, the least recently used go first when the byte cap is reached.
 *
 * May include: base. The key holds everything the answer depends on but the lake (route, values, encoding); which
 * snapshot it shows and how old it is comes with it, and whoever asks decides whether that will do. After `seconds` it
 * is gone. Threading: any thread. */
#pragma once
#include "base/clock.h"

struct cache;
struct cache_entry {
    struct bl_buf body;                  /* a copy: the caller's */
    const char *content_type, *encoding; /* static storage; encoding NULL: plain */
    int64_t snapshot;
    bool settled;   /* false: soon there is a better answer for the same snapshot */
    int64_t age_us; /* how long ago it was put; cache_put ignores it */
};
struct cache *cache_new(int64_t max_bytes, const struct bl_clock *clock);
void cache_free(struct cache **c);
bool cache_get(struct cache *c, struct bl_str key, struct cache_entry *out);
void cache_put(struct cache *c, struct bl_str key, const struct cache_entry *entry, int64_t seconds);
int64_t cache_bytes(struct cache *c);
