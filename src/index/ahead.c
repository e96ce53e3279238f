/* Many segments at once, for whoever is about to need them all. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "index/index_priv.h"

enum { THREADS_MAX = 16 };

struct ahead {
    const char *lake_dir;
    const struct catalog_file **files;
    size_t count;
    atomic_size_t next, built;
    bool (*go_on)(void *context);
    void *context;
};

static void *build_some(void *context) {
    struct ahead *a = context;
    struct duck *duck = NULL;
    const struct duck_options options = {.memory_bytes = 256 << 20, .threads = 1};
    if (duck_open(&options, &duck, NULL) != BL_OK) return NULL;
    for (size_t i; (i = atomic_fetch_add(&a->next, 1)) < a->count && a->go_on(a->context);) {
        int fd;
        bool built;
        if (index_make(a->lake_dir, a->files[i], duck, &fd, &built, NULL) != BL_OK) continue;
        close(fd); /* what could be built in memory only is built again by whoever keeps it */
        if (built) atomic_fetch_add(&a->built, 1);
    }
    duck_close(&duck);
    return NULL;
}

static void run(struct ahead *a, int threads) {
    pthread_t ids[THREADS_MAX];
    int started = 0;
    for (; started < threads; started++)
        if (pthread_create(&ids[started], NULL, build_some, a) != 0) break;
    for (int i = 0; i < started; i++) pthread_join(ids[i], NULL);
}

void index_prepare(struct index *x, const struct catalog_file *const *files, size_t count, int threads,
                   bool (*go_on)(void *context), void *context) {
    struct ahead a = {.lake_dir = index_lake(x), .go_on = go_on, .context = context};
    if (count < 2) return;
    a.files = bl_xcalloc(count, sizeof *a.files);
    for (size_t i = 0; i < count; i++)
        if (index_is_missing(x, files[i])) a.files[a.count++] = files[i];
    if (threads > THREADS_MAX) threads = THREADS_MAX;
    if ((size_t)threads > a.count) threads = (int)a.count;
    if (a.count > 1 && index_is_writable(x)) run(&a, threads);
    index_count_built(x, atomic_load(&a.built));
    free(a.files);
}
