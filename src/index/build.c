/* From the rows of a Parquet file to its segment. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "index/index_priv.h"
#include "lake/reader.h"

/* --- A row --- */

struct staged {
    int64_t time_us;
    struct bl_str bytes; /* segment_pack */
};
struct slice {
    struct bl_arena arena;
    struct staged *rows;
    size_t count, room;
    struct bl_buf packed, lists[4];
    bool full;
};

static void put_list(struct bl_buf *out, const struct event *ev, unsigned column, struct bl_str *list) {
    *list = (struct bl_str){0};
    bl_buf_clear(out);
    if (!ev_has(ev, column)) return;
    bl_buf_reserve(out, 1);
    for (size_t i = 0; i < ev->v[column].list.count; i++) {
        struct bl_str item = ev->v[column].list.items[i];
        if (!item.p) continue;
        uint32_t n = (uint32_t)item.n;
        bl_buf_add(out, &n, sizeof n);
        bl_buf_str(out, item);
    }
    *list = bl_buf_view(out);
}

/* embed_type is a kind, or several joined by "+". */
static unsigned embed_flags(struct bl_str kinds) {
    unsigned flags = 0;
    while (kinds.n) {
        struct bl_str kind = bl_str_cut(&kinds, '+');
        if (bl_str_eq(kind, BL_LIT("images")) || bl_str_eq(kind, BL_LIT("gallery"))) flags |= SEGMENT_IMAGE;
        if (bl_str_eq(kind, BL_LIT("video"))) flags |= SEGMENT_VIDEO;
    }
    return flags;
}

static unsigned flags_of(const struct event *ev) {
    struct bl_str operation = ev_str(ev, EV_posts_operation);
    unsigned flags = embed_flags(ev_str(ev, EV_posts_embed_type));
    if (!bl_str_eq(operation, BL_LIT("create"))) flags |= SEGMENT_CHANGE;
    if (bl_str_eq(operation, BL_LIT("delete"))) flags |= SEGMENT_DELETE;
    if (ev_has(ev, EV_posts_links) && ev->v[EV_posts_links].list.count) flags |= SEGMENT_HAS_LINK;
    if (ev_has(ev, EV_posts_quote_uri)) flags |= SEGMENT_QUOTE;
    if (ev_has(ev, EV_posts_reply_parent_uri)) flags |= SEGMENT_REPLY;
    return flags;
}

/* The author's words where they were kept, else the time they stand for. */
static void put_created(const struct event *ev, struct segment_record *row) {
    row->created_at = ev_str(ev, EV_posts_created_at_text);
    if (row->created_at.p || !ev_has(ev, EV_posts_created_at)) return;
    row->created_us = ev->v[EV_posts_created_at].i;
    row->flags |= SEGMENT_CREATED;
}

static enum bl_rc stage_row(void *context, const struct event *ev, struct bl_error *err) {
    struct slice *s = context;
    struct segment_record row = {.time_us = ev->v[EV_posts_time_us].i,
                                 .flags = flags_of(ev),
                                 .did = ev_str(ev, EV_posts_did),
                                 .rkey = ev_str(ev, EV_posts_rkey),
                                 .rev = ev_str(ev, EV_posts_rev),
                                 .text = ev_str(ev, EV_posts_text),
                                 .facets = ev_str(ev, EV_posts_facets),
                                 .embed = ev_str(ev, EV_posts_embed),
                                 .parent = ev_str(ev, EV_posts_reply_parent_uri),
                                 .quote = ev_str(ev, EV_posts_quote_uri)};
    put_created(ev, &row);
    put_list(&s->lists[0], ev, EV_posts_langs, &row.langs);
    put_list(&s->lists[1], ev, EV_posts_hashtags, &row.tags);
    put_list(&s->lists[2], ev, EV_posts_links, &row.links);
    put_list(&s->lists[3], ev, EV_posts_mentions, &row.mentions);
    bl_buf_clear(&s->packed);
    segment_pack(&s->packed, &row);
    BL_TRY(bl_buf_check(&s->packed, "a post", err));
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 4096;
        s->rows = bl_xrealloc(s->rows, s->room * sizeof *s->rows);
    }
    struct bl_str kept = bl_arena_dup(&s->arena, bl_buf_view(&s->packed));
    if (!kept.p) {
        s->full = true;
        return bl_fail(err, BL_E_FULL, "the posts of one moment need more memory than building an index may use");
    }
    s->rows[s->count++] = (struct staged){row.time_us, kept};
    return BL_OK;
}

static int in_order(const void *a, const void *b) {
    const struct staged *x = a, *y = b;
    if (x->time_us != y->time_us) return x->time_us > y->time_us ? -1 : 1;
    struct segment_record left, right;
    if (!segment_unpack(x->bytes, &left) || !segment_unpack(y->bytes, &right)) return 0;
    int c = bl_str_cmp(left.did, right.did);
    if (c == 0) c = bl_str_cmp(left.rkey, right.rkey);
    return c ? c : bl_str_cmp(right.rev, left.rev);
}

/* --- A file, slice by slice: newest first, as the segment wants it --- */

struct job {
    const char *lake_dir;
    const struct catalog_file *file;
    struct duck *duck;
    struct segment_writer *writer;
    struct slice slice;
};

static void clear_slice(struct slice *s) {
    bl_arena_reset(&s->arena);
    s->count = 0;
    s->full = false;
}

static void release_slice(struct slice *s) {
    bl_arena_release(&s->arena);
    bl_buf_release(&s->packed);
    for (size_t i = 0; i < sizeof s->lists / sizeof *s->lists; i++) bl_buf_release(&s->lists[i]);
    free(s->rows);
}

static enum bl_rc read_slice(struct job *j, int64_t from_us, int64_t to_us, bool all, struct bl_error *err) {
    static const unsigned columns[] = {EV_posts_time_us,
                                       EV_posts_did,
                                       EV_posts_operation,
                                       EV_posts_rkey,
                                       EV_posts_rev,
                                       EV_posts_created_at,
                                       EV_posts_created_at_text,
                                       EV_posts_text,
                                       EV_posts_langs,
                                       EV_posts_reply_parent_uri,
                                       EV_posts_facets,
                                       EV_posts_embed,
                                       EV_posts_hashtags,
                                       EV_posts_mentions,
                                       EV_posts_links,
                                       EV_posts_embed_type,
                                       EV_posts_quote_uri};
    struct lake_scan scan = {.lake_dir = j->lake_dir,
                             .type = EV_posts,
                             .files = j->file,
                             .file_count = 1,
                             .from_us = all ? 0 : from_us,
                             .to_us = all ? 0 : to_us,
                             .duck = j->duck};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) scan.columns |= (uint64_t)1 << columns[i];
    clear_slice(&j->slice);
    return lake_scan_rows(&scan, stage_row, &j->slice, err);
}

static enum bl_rc write_slice(struct job *j, struct bl_error *err) {
    struct slice *s = &j->slice;
    if (s->count) qsort(s->rows, s->count, sizeof *s->rows, in_order);
    for (size_t i = 0; i < s->count; i++) BL_TRY(segment_add(j->writer, s->rows[i].bytes, err));
    return BL_OK;
}

/* Rows are taken to lie evenly in time; where they do not, the memory decides. */
static enum bl_rc write_range(struct job *j, int64_t from_us, int64_t to_us, double rows, struct bl_error *err) {
    bool whole = from_us == j->file->min_us && to_us == j->file->max_us;
    if (rows <= INDEX_SLICE_ROWS || from_us == to_us) {
        enum bl_rc rc = read_slice(j, from_us, to_us, whole, err);
        if (rc == BL_OK) return write_slice(j, err);
        if (!j->slice.full || from_us == to_us) return rc;
    }
    int64_t middle = from_us + (to_us - from_us) / 2;
    BL_TRY(write_range(j, middle + 1, to_us, rows / 2, err));
    return write_range(j, from_us, middle, rows / 2, err);
}

static enum bl_rc write_segment(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int fd,
                                const char *name, struct bl_error *err) {
    enum { ARENA_MAX = 256 << 20 };
    struct job j = {.lake_dir = lake_dir, .file = file, .duck = duck, .slice = {.arena = {.max = ARENA_MAX}}};
    j.writer = segment_writer_open(fd, name, index_identity(file));
    enum bl_rc rc = write_range(&j, file->min_us, file->max_us, (double)file->rows, err);
    if (rc == BL_OK) rc = segment_finish(j.writer, err);
    segment_writer_close(&j.writer);
    release_slice(&j.slice);
    return rc;
}

enum bl_rc index_write(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int fd,
                       const char *name, struct bl_error *err) {
    BL_ASSERT(index_wants(file->type));
    if (file->type == EV_posts) return write_segment(lake_dir, file, duck, fd, name, err);
    return roster_write(lake_dir, file, duck, index_identity(file), fd, name, err);
}

/* --- In its place --- */

static enum bl_rc write_in_memory(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int *out,
                                  struct bl_error *err) {
    int fd = memfd_create("index", MFD_CLOEXEC);
    if (fd < 0) return bl_fail_errno(err, BL_E_IO, "cannot keep an index segment in memory");
    enum bl_rc rc = index_write(lake_dir, file, duck, fd, "an index segment in memory", err);
    if (rc == BL_OK)
        *out = fd;
    else
        close(fd);
    return rc;
}

/* One file of locks for all: a byte of it stands for each segment. Whoever finds its byte taken for long goes on
 * without: two builds of one segment do no harm. */
static int take_lock(const char *lake_dir, uint64_t identity) {
    enum { PAUSE_NS = 2000000, ATTEMPTS = 2500 };
    char path[INDEX_PATH_MAX];
    struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(identity >> 2), .l_len = 1};
    snprintf(path, sizeof path, "%s/index/.lock", lake_dir);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    for (int i = 0; fd >= 0 && fcntl(fd, F_OFD_SETLK, &byte) != 0 && i < ATTEMPTS; i++) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) break;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return fd;
}

/* The file under another name, complete, renamed; `*out` reads it. A disk that takes nothing is BL_E_IO. */
static enum bl_rc write_file(const char *lake_dir, const struct catalog_file *file, struct duck *duck, const char *path,
                             int *out, struct bl_error *err) {
    char temporary[INDEX_PATH_MAX + 32];
    static atomic_uint counter;
    snprintf(temporary, sizeof temporary, "%s.%d-%u.tmp", path, (int)getpid(), atomic_fetch_add(&counter, 1));
    int fd = open(temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) return bl_fail_errno(err, BL_E_IO, "cannot create %s", temporary);
    enum bl_rc rc = index_write(lake_dir, file, duck, fd, temporary, err);
    if (rc == BL_OK && rename(temporary, path) != 0) rc = bl_fail_errno(err, BL_E_IO, "cannot rename %s", temporary);
    if (rc == BL_OK) {
        *out = fd;
        return BL_OK;
    }
    unlink(temporary);
    close(fd);
    return rc;
}

enum bl_rc index_make(const char *lake_dir, const struct catalog_file *file, struct duck *duck, int *fd, bool *built,
                      struct bl_error *err) {
    char path[INDEX_PATH_MAX], folder[INDEX_PATH_MAX];
    struct bl_error ignored;
    index_path(lake_dir, file->type, index_identity(file), path);
    *built = false;
    if ((*fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) return BL_OK;
    snprintf(folder, sizeof folder, "%s/index", lake_dir);
    int lock = mkdir(folder, 0755) == 0 || errno == EEXIST ? take_lock(lake_dir, index_identity(file)) : -1;
    enum bl_rc rc = BL_E_IO;
    if (lock >= 0) {
        *fd = open(path, O_RDONLY | O_CLOEXEC); /* built by another while this one waited? */
        rc = *fd >= 0 ? BL_OK : write_file(lake_dir, file, duck, path, fd, err ? err : &ignored);
        *built = rc == BL_OK && *fd >= 0;
        close(lock);
    }
    if (rc != BL_E_IO) return rc;
    *built = true;
    return write_in_memory(lake_dir, file, duck, fd, err);
}
