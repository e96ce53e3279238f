#include "lake/twice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

enum { PARTS = 256, AT_ONCE = 1024 };

struct row {
    struct ev_id id;
    uint32_t file, unused;
};

struct part {
    struct row *rows; /* AT_ONCE of them */
    size_t count;     /* in `rows` */
    size_t stored;    /* in the file */
    int fd;           /* -1: all of them are in `rows` */
};

struct twice {
    char *folder;
    struct part parts[PARTS];
};

struct twice *twice_new(const char *folder) {
    struct twice *t = bl_xcalloc(1, sizeof *t);
    t->folder = bl_xstrdup(folder);
    for (size_t i = 0; i < PARTS; i++) t->parts[i].fd = -1;
    return t;
}

void twice_free(struct twice **pt) {
    struct twice *t = *pt;
    *pt = NULL;
    if (!t) return;
    for (size_t i = 0; i < PARTS; i++) {
        if (t->parts[i].fd >= 0) close(t->parts[i].fd);
        free(t->parts[i].rows);
    }
    free(t->folder);
    free(t);
}

static enum bl_rc open_file(const struct twice *t, int *fd, struct bl_error *err) {
    const char *elsewhere = getenv("TMPDIR");
    if (!elsewhere) elsewhere = "/tmp";
    *fd = open(t->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0) *fd = open(elsewhere, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return *fd < 0 ? bl_fail_errno(err, BL_E_IO, "no temporary file in %s or %s", t->folder, elsewhere) : BL_OK;
}

static enum bl_rc store(struct twice *t, struct part *p, struct bl_error *err) {
    if (p->fd < 0) BL_TRY(open_file(t, &p->fd, err));
    const char *from = (const char *)p->rows;
    for (size_t left = p->count * sizeof *p->rows; left;) {
        ssize_t n = write(p->fd, from, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bl_fail_errno(err, BL_E_IO, "a temporary file cannot be written: free space, or set TMPDIR");
        from += n;
        left -= (size_t)n;
    }
    p->stored += p->count;
    p->count = 0;
    return BL_OK;
}

enum bl_rc twice_add(struct twice *t, struct ev_id id, uint32_t file, struct bl_error *err) {
    struct part *p = &t->parts[id.hi % PARTS];
    if (!p->rows) p->rows = bl_xcalloc(AT_ONCE, sizeof *p->rows);
    if (p->count == AT_ONCE) BL_TRY(store(t, p, err));
    p->rows[p->count++] = (struct row){id, file, 0};
    return BL_OK;
}

static int by_identity(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->id.hi != y->id.hi) return x->id.hi < y->id.hi ? -1 : 1;
    if (x->id.lo != y->id.lo) return x->id.lo < y->id.lo ? -1 : 1;
    return (x->file > y->file) - (x->file < y->file);
}

static enum bl_rc load(const struct part *p, struct row *rows, struct bl_error *err) {
    char *to = (char *)rows;
    size_t size = p->stored * sizeof *rows;
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(p->fd, to + at, size - at, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return bl_fail_errno(err, BL_E_IO, "a temporary file cannot be read");
        at += (size_t)n;
    }
    if (p->count) memcpy(rows + p->stored, p->rows, p->count * sizeof *rows);
    return BL_OK;
}

static enum bl_rc find_in(const struct part *p, twice_found_fn found, void *context, struct bl_error *err) {
    size_t count = p->stored + p->count;
    if (count < 2) return BL_OK;
    BL_CLEANUP(bl_freep) struct row *rows = bl_xcalloc(count, sizeof *rows);
    BL_TRY(load(p, rows, err));
    qsort(rows, count, sizeof *rows, by_identity);
    for (size_t i = 1; i < count; i++)
        if (rows[i].id.hi == rows[i - 1].id.hi && rows[i].id.lo == rows[i - 1].id.lo)
            BL_TRY(found(context, rows[i].id, rows[i].file, rows[i - 1].file, err));
    return BL_OK;
}

enum bl_rc twice_find(struct twice *t, twice_found_fn found, void *context, struct bl_error *err) {
    for (size_t i = 0; i < PARTS; i++) BL_TRY(find_in(&t->parts[i], found, context, err));
    return BL_OK;
}
