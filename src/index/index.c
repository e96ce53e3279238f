#include "index/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/index_priv.h"
#include "index/shared.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct entry {
    uint64_t identity;
    enum ev_type type;
    const struct shared_file *file;
    uint64_t used; /* when, in questions */
    bool damaged;
};
struct index {
    char *lake_dir;
    struct entry *entries; /* by identity */
    size_t count, room, built;
    uint64_t question;
    bool had_damage;
};

uint64_t index_identity(const struct catalog_file *file) {
    const uint64_t facts[] = {SEGMENT_VERSION,       (uint64_t)file->id,   file->checksum,
                              (uint64_t)file->bytes, (uint64_t)file->rows, (uint64_t)file->min_us,
                              (uint64_t)file->max_us};
    return XXH3_64bits_withSeed(file->path, strlen(file->path), XXH3_64bits(facts, sizeof facts));
}

void index_path(const char *lake_dir, enum ev_type type, uint64_t identity, char out[static INDEX_PATH_MAX]) {
    snprintf(out, INDEX_PATH_MAX, "%s/index/%s-%016" PRIx64 ".seg", lake_dir, ev_schema(type)->name, identity);
}

struct index *index_open(const char *lake_dir) {
    struct index *x = bl_xcalloc(1, sizeof *x);
    x->lake_dir = bl_xstrdup(lake_dir);
    return x;
}

static void close_entry(struct entry *e) {
    shared_leave(&e->file);
}

void index_close(struct index **index) {
    struct index *x = *index;
    if (!x) return;
    for (size_t i = 0; i < x->count; i++) close_entry(&x->entries[i]);
    free(x->entries);
    free(x->lake_dir);
    free(x);
    *index = NULL;
}

size_t index_built(const struct index *x) {
    return x->built;
}

/* Where `identity` stands, or would. */
static size_t place_of(const struct index *x, uint64_t identity) {
    size_t low = 0, high = x->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->entries[middle].identity < identity)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct index *x, size_t at, struct entry e) {
    if (x->count == x->room) {
        x->room = x->room ? x->room * 2 : 64;
        x->entries = bl_xrealloc(x->entries, x->room * sizeof *x->entries);
    }
    memmove(x->entries + at + 1, x->entries + at, (x->count - at) * sizeof *x->entries);
    x->entries[at] = e;
    x->count++;
}

static enum bl_rc open_entry(struct index *x, struct duck *duck, const struct catalog_file *file, struct entry *e,
                             struct bl_error *err) {
    enum { ATTEMPTS = 3 }; /* a damaged one is built again */
    char path[INDEX_PATH_MAX];
    index_path(x->lake_dir, file->type, e->identity, path);
    e->file = shared_take(path, e->identity);
    for (int i = 0; !e->file; i++) {
        int fd;
        bool built;
        struct segment *segment = NULL;
        struct roster *roster = NULL;
        BL_TRY(index_make(x->lake_dir, file, duck, &fd, &built, err));
        x->built += built;
        enum bl_rc rc = file->type == EV_posts ? segment_open(fd, path, e->identity, &segment, err)
                                               : roster_open(fd, path, e->identity, &roster, err);
        if (rc == BL_OK) e->file = shared_offer(path, e->identity, segment, roster);
        if (rc != BL_OK && (rc != BL_E_CORRUPT || i == ATTEMPTS)) return rc;
        if (rc != BL_OK) unlink(path);
    }
    return BL_OK;
}

static enum bl_rc entry_of(struct index *x, struct duck *duck, const struct catalog_file *file, struct entry **out,
                           struct bl_error *err) {
    uint64_t identity = index_identity(file);
    size_t at = place_of(x, identity);
    if (at < x->count && x->entries[at].identity == identity && x->entries[at].damaged) {
        close_entry(&x->entries[at]);
        memmove(x->entries + at, x->entries + at + 1, (--x->count - at) * sizeof *x->entries);
    }
    if (at == x->count || x->entries[at].identity != identity) {
        struct entry e = {.identity = identity, .type = file->type};
        BL_TRY(open_entry(x, duck, file, &e, err));
        insert(x, at, e);
    }
    x->entries[at].used = x->question;
    *out = &x->entries[at];
    return BL_OK;
}

enum bl_rc index_segment(struct index *x, struct duck *duck, const struct catalog_file *file, struct segment **out,
                         struct bl_error *err) {
    struct entry *e;
    BL_ASSERT(file->type == EV_posts);
    BL_TRY(entry_of(x, duck, file, &e, err));
    *out = e->file->segment;
    return BL_OK;
}

enum bl_rc index_roster(struct index *x, struct duck *duck, const struct catalog_file *file, struct roster **out,
                        struct bl_error *err) {
    struct entry *e;
    BL_ASSERT(file->type == EV_accounts || file->type == EV_profiles);
    BL_TRY(entry_of(x, duck, file, &e, err));
    *out = e->file->roster;
    return BL_OK;
}

bool index_is_missing(const struct index *x, const struct catalog_file *file) {
    uint64_t identity = index_identity(file);
    size_t at = place_of(x, identity);
    char path[INDEX_PATH_MAX];
    if (at < x->count && x->entries[at].identity == identity) return false;
    index_path(x->lake_dir, file->type, identity, path);
    return access(path, F_OK) != 0;
}

bool index_is_writable(const struct index *x) {
    char path[INDEX_PATH_MAX];
    snprintf(path, sizeof path, "%s/index", x->lake_dir);
    return (mkdir(path, 0755) == 0 || errno == EEXIST) && access(path, R_OK | W_OK | X_OK) == 0;
}

void index_count_built(struct index *x, size_t built) {
    x->built += built;
}
const char *index_lake(const struct index *x) {
    return x->lake_dir;
}

/* Keeps the entries of which `keep` holds. */
static void filter(struct index *x, bool (*keep)(const struct entry *e, uint64_t limit), uint64_t limit) {
    size_t kept = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (keep(&x->entries[i], limit))
            x->entries[kept++] = x->entries[i];
        else
            close_entry(&x->entries[i]);
    }
    x->count = kept;
}

static bool is_recent(const struct entry *e, uint64_t limit) {
    return e->used >= limit;
}

void index_trim(struct index *x) {
    enum { OPEN_MAX = 2048, QUESTIONS = 64 };
    x->question++;
    for (uint64_t age = QUESTIONS; x->count > OPEN_MAX; age /= 2) {
        filter(x, is_recent, x->question > age ? x->question - age : 0);
        if (age == 0) break;
    }
}

void index_note_damaged(struct index *x, const struct segment *s) {
    for (size_t i = 0; i < x->count; i++) {
        char path[INDEX_PATH_MAX];
        if (x->entries[i].file->segment != s) continue;
        x->entries[i].damaged = x->had_damage = true;
        shared_forget(x->entries[i].file);
        index_path(x->lake_dir, x->entries[i].type, x->entries[i].identity, path);
        unlink(path); /* where that fails, the same damage is found again, and the attempts are counted */
    }
}

bool index_had_damage(struct index *x) {
    bool had = x->had_damage;
    x->had_damage = false;
    return had;
}

/* --- All of a lake --- */

struct all {
    const struct index_build_options *o;
    struct index_build_stats *stats;
    struct catalog *catalog;
    struct catalog_file *files;
    size_t count;
    uint64_t *identities; /* ascending */
    struct duck *duck;
};

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The identity in "TYPE-IDENTITY.seg"; what follows it is a file being written. */
static bool parse_name(const char *name, uint64_t *identity, bool *temporary) {
    int n = 0;
    struct bl_str rest = bl_str(name);
    enum ev_type type;
    if (!ev_type_by_name(bl_str_cut(&rest, '-'), &type) || !index_wants(type) || !rest.n) return false;
    if (sscanf(rest.p, "%16" SCNx64 ".seg%n", identity, &n) != 1 || n == 0) return false;
    *temporary = rest.p[n] != 0;
    return true;
}

static bool is_left_over(const struct all *a, const char *name, const char *path) {
    enum { WRITING_S = 3600 }; /* no segment takes longer */
    uint64_t identity;
    bool temporary;
    struct stat st;
    if (!parse_name(name, &identity, &temporary)) return false;
    if (temporary) return stat(path, &st) == 0 && time(NULL) - st.st_mtime > WRITING_S;
    return !a->count || !bsearch(&identity, a->identities, a->count, sizeof identity, by_number);
}

static void sweep(struct all *a) {
    char folder[INDEX_PATH_MAX];
    snprintf(folder, sizeof folder, "%s/index", a->o->lake_dir);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", folder, e->d_name);
        if (is_left_over(a, e->d_name, path) && unlink(path) == 0) a->stats->removed++;
    }
    if (d) closedir(d);
}

static enum bl_rc build_one(struct all *a, const struct catalog_file *file, struct bl_error *err) {
    char path[INDEX_PATH_MAX];
    struct stat st;
    int fd;
    bool built;
    index_path(a->o->lake_dir, file->type, index_identity(file), path);
    if (stat(path, &st) == 0) {
        a->stats->segments++;
        return BL_OK;
    }
    if (!a->duck)
        BL_TRY(duck_open(
            &(struct duck_options){.memory_bytes = a->o->memory_bytes ? a->o->memory_bytes : 256 << 20, .threads = 1},
            &a->duck, err));
    BL_TRY(index_make(a->o->lake_dir, file, a->duck, &fd, &built, err));
    close(fd);
    if (stat(path, &st) != 0) return bl_fail(err, BL_E_IO, "%s/index cannot be written", a->o->lake_dir);
    a->stats->segments++;
    a->stats->built += built;
    a->stats->rows += file->rows;
    a->stats->bytes += st.st_size;
    return BL_OK;
}

static enum bl_rc build_all(struct all *a, struct bl_error *err) {
    BL_TRY(catalog_open(a->o->lake_dir, CATALOG_READ, &a->catalog, err));
    BL_TRY(catalog_files(a->catalog, EV_TYPE_COUNT, 0, 0, &a->files, &a->count, err));
    a->identities = bl_xcalloc(a->count + 1, sizeof *a->identities);
    for (size_t i = 0; i < a->count; i++) a->identities[i] = index_identity(&a->files[i]);
    if (a->count) qsort(a->identities, a->count, sizeof *a->identities, by_number);
    for (size_t i = 0; i < a->count; i++) {
        if (a->o->stop && atomic_load(a->o->stop))
            return bl_fail(err, BL_E_CANCELLED, "building the index was stopped");
        if (a->files[i].rows && index_wants(a->files[i].type)) BL_TRY(build_one(a, &a->files[i], err));
    }
    sweep(a);
    return BL_OK;
}

enum bl_rc index_build_missing(const struct index_build_options *o, struct index_build_stats *stats,
                               struct bl_error *err) {
    struct index_build_stats ignored;
    struct all a = {.o = o, .stats = stats ? stats : &ignored};
    *a.stats = (struct index_build_stats){0};
    enum bl_rc rc = build_all(&a, err);
    duck_close(&a.duck);
    catalog_close(&a.catalog);
    free(a.files);
    free(a.identities);
    return rc;
}
