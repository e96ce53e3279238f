#include "http/cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/rng.h"

enum { CHAINS = 4096, LARGEST_SHARE = 8 }; /* one answer takes at most an eighth of the cache */

struct item {
    struct item *next;          /* of the chain */
    struct item *newer, *older; /* by use */
    uint64_t hash;
    int64_t made_ns, expires_ns, snapshot;
    bool settled;
    const char *content_type, *encoding;
    size_t key_n, body_n;
    char bytes[]; /* key, body */
};
struct cache {
    pthread_mutex_t lock;
    const struct bl_clock *clock;
    int64_t max_bytes, bytes;
    struct item *newest, *oldest;
    struct item *chains[CHAINS];
};

struct cache *cache_new(int64_t max_bytes, const struct bl_clock *clock) {
    struct cache *c = bl_xcalloc(1, sizeof *c);
    c->max_bytes = max_bytes;
    c->clock = clock;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static uint64_t hash_of(struct bl_str key) {
    uint64_t h = key.n;
    for (size_t i = 0; i < key.n; i++) h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3u;
    return bl_mix64(h);
}

static int64_t size_of(const struct item *item) {
    return (int64_t)(sizeof *item + item->key_n + item->body_n);
}

static void detach(struct cache *c, struct item *item) {
    *(item->newer ? &item->newer->older : &c->newest) = item->older;
    *(item->older ? &item->older->newer : &c->oldest) = item->newer;
}

static void make_newest(struct cache *c, struct item *item) {
    item->newer = NULL;
    item->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = item;
    c->newest = item;
}

static void remove_item(struct cache *c, struct item *item) {
    struct item **link = &c->chains[item->hash % CHAINS];
    while (*link != item) link = &(*link)->next;
    *link = item->next;
    detach(c, item);
    c->bytes -= size_of(item);
    free(item);
}

void cache_free(struct cache **cache) {
    struct cache *c = *cache;
    if (!c) return;
    while (c->newest) remove_item(c, c->newest);
    pthread_mutex_destroy(&c->lock);
    free(c);
    *cache = NULL;
}

static struct item *find(struct cache *c, uint64_t hash, struct bl_str key) {
    for (struct item *i = c->chains[hash % CHAINS]; i; i = i->next)
        if (i->hash == hash && bl_str_eq(bl_strn(i->bytes, i->key_n), key)) return i;
    return NULL;
}

bool cache_get(struct cache *c, struct bl_str key, struct cache_entry *out) {
    uint64_t hash = hash_of(key);
    pthread_mutex_lock(&c->lock);
    struct item *item = find(c, hash, key);
    int64_t now_ns = c->clock->mono_ns(c->clock->context);
    if (item && item->expires_ns < now_ns) {
        remove_item(c, item);
        item = NULL;
    }
    if (item) {
        detach(c, item);
        make_newest(c, item);
        out->content_type = item->content_type;
        out->encoding = item->encoding;
        out->snapshot = item->snapshot;
        out->settled = item->settled;
        out->age_us = (now_ns - item->made_ns) / 1000;
        bl_buf_clear(&out->body);
        bl_buf_add(&out->body, item->bytes + item->key_n, item->body_n);
    }
    pthread_mutex_unlock(&c->lock);
    return item != NULL;
}

void cache_put(struct cache *c, struct bl_str key, const struct cache_entry *entry, int64_t seconds) {
    size_t n = sizeof(struct item) + key.n + entry->body.n;
    if ((int64_t)n > c->max_bytes / LARGEST_SHARE) return;
    struct item *item = malloc(n);
    if (!item) return;
    int64_t now_ns = c->clock->mono_ns(c->clock->context);
    *item = (struct item){.hash = hash_of(key),
                          .made_ns = now_ns,
                          .expires_ns = now_ns + seconds * INT64_C(1000000000),
                          .snapshot = entry->snapshot,
                          .settled = entry->settled,
                          .content_type = entry->content_type,
                          .encoding = entry->encoding,
                          .key_n = key.n,
                          .body_n = entry->body.n};
    memcpy(item->bytes, key.p, key.n);
    if (item->body_n) memcpy(item->bytes + key.n, entry->body.p, item->body_n);
    pthread_mutex_lock(&c->lock);
    struct item *old = find(c, item->hash, key);
    if (old) remove_item(c, old);
    while (c->oldest && c->bytes + (int64_t)n > c->max_bytes) remove_item(c, c->oldest);
    item->next = c->chains[item->hash % CHAINS];
    c->chains[item->hash % CHAINS] = item;
    make_newest(c, item);
    c->bytes += (int64_t)n;
    pthread_mutex_unlock(&c->lock);
}

int64_t cache_bytes(struct cache *c) {
    pthread_mutex_lock(&c->lock);
    int64_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}
