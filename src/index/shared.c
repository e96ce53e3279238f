#include "index/shared.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUCKETS = 1024 };

struct item {
    struct shared_file file; /* first: what is handed out */
    struct item *next;
    char *path;
    uint64_t identity;
    size_t users;
    bool forgotten;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct item *buckets[BUCKETS];

static struct item **bucket_of(uint64_t identity) {
    return &buckets[identity % BUCKETS];
}

static struct item *find(const char *path, uint64_t identity) {
    for (struct item *i = *bucket_of(identity); i; i = i->next)
        if (i->identity == identity && !i->forgotten && strcmp(i->path, path) == 0) return i;
    return NULL;
}

static struct item *item_of(const struct shared_file *file) {
    return (struct item *)(uintptr_t)file;
}

const struct shared_file *shared_take(const char *path, uint64_t identity) {
    pthread_mutex_lock(&lock);
    struct item *i = find(path, identity);
    if (i) i->users++;
    pthread_mutex_unlock(&lock);
    return i ? &i->file : NULL;
}

const struct shared_file *shared_offer(const char *path, uint64_t identity, struct segment *segment,
                                       struct roster *roster) {
    pthread_mutex_lock(&lock);
    struct item *i = find(path, identity);
    if (!i) {
        i = bl_xcalloc(1, sizeof *i);
        *i = (struct item){.file = {segment, roster}, .path = bl_xstrdup(path), .identity = identity};
        i->next = *bucket_of(identity);
        *bucket_of(identity) = i;
        segment = NULL;
        roster = NULL;
    }
    i->users++;
    pthread_mutex_unlock(&lock);
    segment_close(&segment);
    roster_close(&roster);
    return &i->file;
}

static void unlink_item(struct item *item) {
    struct item **link = bucket_of(item->identity);
    while (*link != item) link = &(*link)->next;
    *link = item->next;
}

void shared_leave(const struct shared_file **file) {
    if (!*file) return;
    struct item *i = item_of(*file);
    *file = NULL;
    pthread_mutex_lock(&lock);
    bool last = --i->users == 0;
    if (last) unlink_item(i);
    pthread_mutex_unlock(&lock);
    if (!last) return;
    segment_close(&i->file.segment);
    roster_close(&i->file.roster);
    free(i->path);
    free(i);
}

void shared_forget(const struct shared_file *file) {
    pthread_mutex_lock(&lock);
    item_of(file)->forgotten = true;
    pthread_mutex_unlock(&lock);
}
