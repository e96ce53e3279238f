#define XXH_INLINE_ALL
#include <xxhash.h>

#include "pipe/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "obs/log.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");

static const char magic[8] = {'B', 'L', 'S', 'P', 'I', 'L', 'L', '1'};
enum { HEADER_BYTES = 16 + 8 * EV_TYPE_COUNT, FRAME_BYTES = 12, KIND_BLOCK = 1, KIND_REJECTED = 2 };

/* ---- the codec ---- */

static void put_u32(struct bl_buf *b, uint32_t v) { bl_buf_add(b, &v, sizeof v); }
static void put_u64(struct bl_buf *b, uint64_t v) { bl_buf_add(b, &v, sizeof v); }
static void put_text(struct bl_buf *b, struct bl_str s) {
    put_u32(b, (uint32_t)s.n);
    bl_buf_str(b, s);
}

static bool take(struct bl_str *rest, void *out, size_t n) {
    if (rest->n < n) return false;
    memcpy(out, rest->p, n);
    *rest = bl_str_skip(*rest, n);
    return true;
}
static bool take_text(struct bl_str *rest, struct bl_str *out) {
    uint32_t n;
    if (!take(rest, &n, sizeof n) || rest->n < n) return false;
    *out = bl_strn(rest->p, n);
    *rest = bl_str_skip(*rest, n);
    return true;
}

static void put_block(struct bl_buf *b, const struct spill_record *r) {
    put_text(b, bl_str(ev_schema(r->type)->name));
    put_u64(b, r->block.incarnation);
    put_u64(b, r->block.seq);
    put_u32(b, r->block.count);
    put_u64(b, (uint64_t)r->block.first_us);
    put_u64(b, (uint64_t)r->block.last_us);
    put_u32(b, r->block.raw_len);
    put_u64(b, r->block.sum);
    bl_buf_byte(b, r->block.compressed ? 1 : 0);
    put_u64(b, (uint64_t)r->cursor_us);
    put_text(b, r->host);
    put_text(b, r->block.data);
}

static bool take_block(struct bl_str rest, struct spill_record *r) {
    struct bl_str type;
    char compressed;
    struct block *b = &r->block;
    bool good = take_text(&rest, &type) && ev_type_by_name(type, &r->type) && take(&rest, &b->incarnation, 8) &&
                take(&rest, &b->seq, 8) && take(&rest, &b->count, 4) && take(&rest, &b->first_us, 8) &&
                take(&rest, &b->last_us, 8) && take(&rest, &b->raw_len, 4) && take(&rest, &b->sum, 8) &&
                take(&rest, &compressed, 1) && take(&rest, &r->cursor_us, 8) && take_text(&rest, &r->host) &&
                take_text(&rest, &b->data);
    b->compressed = good && compressed == 1;
    return good && (compressed == 0 || compressed == 1) && rest.n == 0 && b->data.n > 0;
}

static bool take_rejected(struct bl_str rest, struct spill_record *r) {
    return take_text(&rest, &r->reason) && take_text(&rest, &r->detail) && take(&rest, &r->received_us, 8) &&
           take_text(&rest, &r->message) && rest.n == 0;
}

void spill_encode(const struct spill_record *r, struct bl_buf *out) {
    size_t start = out->n;
    put_u32(out, 0);
    put_u64(out, 0);
    bl_buf_byte(out, r->is_block ? KIND_BLOCK : KIND_REJECTED);
    if (r->is_block) {
        put_block(out, r);
    } else {
        put_text(out, r->reason);
        put_text(out, r->detail);
        put_u64(out, (uint64_t)r->received_us);
        put_text(out, r->message);
    }
    if (out->failed) return;
    size_t body = out->n - start - FRAME_BYTES;
    uint32_t length = (uint32_t)body;
    uint64_t sum = XXH3_64bits(out->p + start + FRAME_BYTES, body);
    memcpy(out->p + start, &length, sizeof length);
    memcpy(out->p + start + sizeof length, &sum, sizeof sum);
}

enum spill_found spill_decode(struct bl_str *rest, struct spill_record *out) {
    uint32_t length;
    uint64_t sum;
    struct bl_str at = *rest;
    if (at.n == 0) return SPILL_END;
    if (!take(&at, &length, sizeof length) || !take(&at, &sum, sizeof sum)) return SPILL_TORN;
    if (length == 0 || length > SPILL_RECORD_MAX) return SPILL_DAMAGED;
    if (at.n < length) return SPILL_TORN;
    struct bl_str body = bl_strn(at.p, length);
    if (XXH3_64bits(body.p, body.n) != sum) return SPILL_DAMAGED;
    struct spill_record r = {.is_block = body.p[0] == KIND_BLOCK};
    struct bl_str inner = bl_str_skip(body, 1);
    if (!r.is_block && body.p[0] != KIND_REJECTED) return SPILL_DAMAGED;
    if (!(r.is_block ? take_block(inner, &r) : take_rejected(inner, &r))) return SPILL_DAMAGED;
    *out = r;
    *rest = bl_str_skip(at, length);
    return SPILL_RECORD;
}

/* ---- segments ---- */

struct segment {
    uint64_t number;
    char name[64];
    int64_t bytes; /* good ones, header included */
    int64_t records, consumed;
    int64_t consumed_ns; /* when the last one was */
    uint64_t expects[EV_TYPE_COUNT], ends[EV_TYPE_COUNT]; /* events Redis has been given before and after it */
    int64_t cursor_us;                                    /* of its last good record that has one, 0 = none */
    char cursor_host[256];
};

struct spill {
    char *dir;
    int64_t max_bytes, bytes, damaged;
    struct segment *segments; /* oldest first */
    size_t count, capacity;
    uint64_t incarnation, next_number;
    uint64_t doubted_to; /* a segment that was set aside left a hole before what these carry: up to this number */
    bool lost_open;      /* the next cursor found tells where a hole ends */
    int64_t lost_to_us;  /* where the last hole ends, 0 = none or unknown */
    uint64_t received[EV_TYPE_COUNT];
    int fd; /* of the newest segment while it is written to; -1 = the next record opens one */
    struct bl_buf pending;
    int64_t pending_records, pending_cursor_us;
    uint64_t pending_counts[EV_TYPE_COUNT];
    char pending_host[256];
    int64_t cursor_us; /* of durable records */
    /* reading */
    size_t at;          /* segment */
    struct bl_buf text; /* of segment `at`, when loaded */
    bool loaded;
    struct bl_str rest, after; /* before and behind the record handed out */
    bool peeked;
};

static char *path_of(const struct spill *s, const char *name) { return bl_xasprintf("%s/%s", s->dir, name); }

static struct segment *add_segment(struct spill *s) {
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->segments = bl_xrealloc(s->segments, s->capacity * sizeof *s->segments);
    }
    struct segment *g = &s->segments[s->count++];
    *g = (struct segment){0};
    return g;
}

/* ---- opening: what an earlier run left ---- */

static bool parse_name(const char *name, uint64_t *number) {
    struct bl_str rest = bl_str(name);
    if (!bl_str_ends(rest, BL_LIT(".seg"))) return false;
    rest.n -= 4;
    struct bl_str incarnation = bl_str_cut(&rest, '-');
    return incarnation.n == 16 && bl_parse_u64(rest, INT64_MAX, number);
}

static int by_number(const void *a, const void *b) {
    const struct segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* What set_aside made of a name: NAME.seg.unreadable-LAST. */
static bool parse_aside(const char *name, uint64_t *last) {
    struct bl_str rest = bl_str(name), mark = BL_LIT(".seg.unreadable-");
    for (; rest.n; rest = bl_str_skip(rest, 1))
        if (bl_str_starts(rest, mark)) return bl_parse_u64(bl_str_skip(rest, mark.n), INT64_MAX - 1, last);
    return false;
}

static enum bl_rc list_segments(struct spill *s, struct bl_error *err) {
    DIR *d = opendir(s->dir);
    if (!d) return errno == ENOENT ? BL_OK : bl_fail_errno(err, BL_E_IO, "%s", s->dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint64_t number;
        if (parse_aside(e->d_name, &number)) {
            if (number > s->doubted_to) s->doubted_to = number;
            if (number >= s->next_number) s->next_number = number + 1;
        }
        if (!parse_name(e->d_name, &number)) continue;
        struct segment *g = add_segment(s);
        g->number = number;
        snprintf(g->name, sizeof g->name, "%.63s", e->d_name);
        if (number >= s->next_number) s->next_number = number + 1;
    }
    closedir(d);
    if (s->count) qsort(s->segments, s->count, sizeof *s->segments, by_number);
    return BL_OK;
}

/* Trying again does not help. Too many open files, no memory or no permission pass when somebody sees to them. */
static bool is_damage(enum bl_rc rc, int number) {
    static const int numbers[] = {EIO, EUCLEAN, EBADMSG, ENODATA, ENXIO, EREMOTEIO, EISDIR};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (number == numbers[i]) return true;
    return rc == BL_E_NOT_FOUND || rc == BL_E_TOO_LARGE;
}

/* BL_E_CORRUPT: the file cannot be read, now or later. */
static enum bl_rc load(struct spill *s, const struct segment *g, struct bl_str *records, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = path_of(s, g->name);
    struct bl_error why = {0};
    bl_buf_clear(&s->text);
    enum bl_rc rc = bl_read_file(path, SPILL_FILE_MAX, &s->text, &why);
    if (rc != BL_OK) return bl_fail(err, is_damage(rc, why.sys_errno) ? BL_E_CORRUPT : rc, "%s", why.message);
    *records = bl_str_skip(bl_buf_view(&s->text), HEADER_BYTES);
    return BL_OK;
}

/* The last, not the largest: after Redis was emptied a run may start over from an earlier position. */
static void keep_cursor(struct spill *s, struct segment *g, int64_t cursor_us, struct bl_str host) {
    if (!cursor_us) return;
    g->cursor_us = cursor_us;
    snprintf(g->cursor_host, sizeof g->cursor_host, "%.*s", BL_ARG(host));
    s->cursor_us = cursor_us;
}

static void note_damage(struct spill *s, const struct segment *g, const char *what) {
    s->damaged++;
    s->lost_open = true;
    bl_log(BL_ERROR_LEVEL, "spill segment %s/%s: %s; what followed is asked for again upstream", s->dir, g->name, what);
}

/* One found while an earlier run's segments are read: behind damage it only tells where the hole ends. */
static void found_cursor(struct spill *s, struct segment *g, const struct spill_record *r) {
    if (!s->damaged && g->number > s->doubted_to) keep_cursor(s, g, r->cursor_us, r->host);
    if (!s->lost_open || !r->cursor_us) return;
    s->lost_to_us = r->cursor_us;
    s->lost_open = false;
}

/* Was being written when the machine or the process stopped: no cursor stands on it. */
static void cut_tail(struct spill *s, const struct segment *g) {
    BL_CLEANUP(bl_freep) char *path = path_of(s, g->name);
    bl_log(BL_INFO, "spill segment %s is cut back to its last whole record, at %" PRId64 " bytes", path, g->bytes);
    if (truncate(path, g->bytes) != 0) bl_log(BL_WARN, "cannot cut %s back to its last whole record", path);
}

/* A power cut leaves the last writes in any state: short, zeros, something else. Rot inside a file has whole records
 * behind it. */
static bool anything_behind(struct bl_str bad) {
    struct spill_record r;
    for (size_t i = 1; i < bad.n; i++) {
        struct bl_str rest = bl_str_skip(bad, i);
        if (spill_decode(&rest, &r) == SPILL_RECORD) return true;
    }
    return false;
}

/* Counts a segment's good records. False when it is damaged: then no cursor behind it can be relied on. */
static bool scan(struct spill *s, struct segment *g, struct bl_str records, bool newest) {
    bool headed = s->text.n >= HEADER_BYTES && memcmp(s->text.p, magic, sizeof magic) == 0;
    if (!headed) {
        if (!newest) note_damage(s, g, "no header");
        return newest;
    }
    memcpy(g->expects, s->text.p + 16, sizeof g->expects);
    memcpy(s->received, g->expects, sizeof s->received);
    struct spill_record r;
    enum spill_found found;
    while ((found = spill_decode(&records, &r)) == SPILL_RECORD) {
        g->records++;
        if (!r.is_block) continue;
        s->received[r.type] += r.block.count;
        found_cursor(s, g, &r);
    }
    memcpy(g->ends, s->received, sizeof g->ends);
    g->bytes = (int64_t)(s->text.n - records.n);
    if (found != SPILL_END && newest) found = anything_behind(records) ? SPILL_DAMAGED : SPILL_TORN;
    if (found == SPILL_TORN && newest) cut_tail(s, g);
    if (found == SPILL_END || (found == SPILL_TORN && newest)) return true;
    note_damage(s, g, found == SPILL_TORN ? "ends inside a record" : "a record's checksum does not match");
    return false;
}

static void take_out(struct spill *s, size_t i) {
    s->bytes -= s->segments[i].bytes;
    memmove(s->segments + i, s->segments + i + 1, (s->count - i - 1) * sizeof *s->segments);
    s->count--;
}

static void forget_segment(struct spill *s, size_t i) {
    BL_CLEANUP(bl_freep) char *path = path_of(s, s->segments[i].name);
    BL_CRASH_POINT("spill.before_unlink");
    unlink(path); /* what stays is only offered again */
    take_out(s, i);
}

/* Kept for whoever can still make something of it. The name says up to which segment no cursor may be relied on, since
 * those behind this one were written as if it were there. */
static void set_aside(struct spill *s, size_t i, const char *why) {
    BL_CLEANUP(bl_freep) char *path = path_of(s, s->segments[i].name);
    s->doubted_to = s->next_number - 1;
    BL_CLEANUP(bl_freep) char *aside = bl_xasprintf("%s.unreadable-%" PRIu64, path, s->doubted_to);
    note_damage(s, &s->segments[i], why);
    if (rename(path, aside) == 0)
        bl_log(BL_WARN, "it is kept as %s", aside);
    else
        bl_log(BL_WARN, "it cannot be renamed to %s: %s", aside, strerror(errno));
    take_out(s, i);
}

static enum bl_rc scan_all(struct spill *s, struct bl_error *err) {
    for (size_t i = 0; i < s->count;) {
        struct bl_str records;
        struct bl_error why = {0};
        enum bl_rc rc = load(s, &s->segments[i], &records, &why);
        if (rc == BL_E_CORRUPT) {
            set_aside(s, i, why.message);
            continue;
        }
        if (rc != BL_OK) return bl_fail(err, rc, "%s", why.message);
        scan(s, &s->segments[i], records, i + 1 == s->count);
        s->bytes += s->segments[i++].bytes;
    }
    bl_buf_release(&s->text);
    for (size_t i = s->count; i-- > 0;)
        if (s->segments[i].records == 0 && (i + 1 == s->count || !s->damaged)) forget_segment(s, i);
    return BL_OK;
}

enum bl_rc spill_open(const char *dir, int64_t max_bytes, struct spill **out, struct bl_error *err) {
    struct spill *s = bl_xcalloc(1, sizeof *s);
    s->dir = bl_xstrdup(dir);
    s->max_bytes = max_bytes;
    s->fd = -1;
    s->next_number = 1;
    enum bl_rc rc = list_segments(s, err);
    if (rc == BL_OK) rc = scan_all(s, err);
    if (rc != BL_OK)
        spill_close(&s);
    else
        *out = s;
    return rc;
}

void spill_close(struct spill **spill) {
    struct spill *s = *spill;
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    bl_buf_release(&s->pending);
    bl_buf_release(&s->text);
    free(s->segments);
    free(s->dir);
    free(s);
    *spill = NULL;
}

/* ---- writing ---- */

static void close_segment(struct spill *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

void spill_begin(struct spill *s, uint64_t incarnation, const uint64_t *received) {
    close_segment(s);
    s->incarnation = incarnation;
    if (received) memcpy(s->received, received, sizeof s->received);
}

static enum bl_rc write_header(struct spill *s, struct segment *g, const char *path, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf header = {.max = 4096};
    bl_buf_add(&header, magic, sizeof magic);
    put_u64(&header, s->incarnation);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) put_u64(&header, s->received[t]);
    memcpy(g->expects, s->received, sizeof g->expects);
    g->bytes = (int64_t)header.n;
    s->bytes += g->bytes;
    return bl_write_all(s->fd, bl_buf_view(&header), path, err);
}

static enum bl_rc open_segment(struct spill *s, struct bl_error *err) {
    BL_TRY(bl_make_dirs(s->dir, err));
    char name[64];
    snprintf(name, sizeof name, "%016" PRIx64 "-%" PRIu64 ".seg", s->incarnation, s->next_number);
    BL_CLEANUP(bl_freep) char *path = path_of(s, name);
    s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (s->fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", path);
    BL_CRASH_POINT("spill.after_create");
    struct segment *g = add_segment(s);
    g->number = s->next_number++;
    memcpy(g->name, name, sizeof name);
    BL_TRY(write_header(s, g, path, err));
    BL_CRASH_POINT("spill.after_header");
    return bl_fsync_dir(s->dir, err);
}

static enum bl_rc check_space(const struct spill *s, struct bl_error *err) {
    struct statvfs fs;
    char left[BL_TIME_TEXT_MAX], wanted[BL_TIME_TEXT_MAX];
    BL_TRY(bl_make_dirs(s->dir, err));
    if (statvfs(s->dir, &fs) != 0) return bl_fail_errno(err, BL_E_IO, "%s", s->dir);
    int64_t available = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize,
            least = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize / 100 * SPILL_FREE_PERCENT;
    if (least < SPILL_FREE_MIN) least = SPILL_FREE_MIN;
    if (available >= least) return BL_OK;
    return bl_fail(err, BL_E_FULL, "only %s are left for %s, and %s stay free for Redis and the lake: free space",
                   bl_format_bytes(available, left), s->dir, bl_format_bytes(least, wanted));
}

enum bl_rc spill_append(struct spill *s, const struct spill_record *r, struct bl_error *err) {
    size_t before = s->pending.n;
    if (!s->pending_records) BL_TRY(check_space(s, err));
    spill_encode(r, &s->pending);
    BL_TRY(bl_buf_check(&s->pending, "spill", err));
    if (s->bytes + (int64_t)s->pending.n > s->max_bytes) {
        s->pending.n = before;
        return bl_fail(err, BL_E_FULL, "%s holds %" PRId64 " bytes, the most that ingest.spill_bytes allows", s->dir,
                       s->bytes);
    }
    s->pending_records++;
    if (!r->is_block) return BL_OK;
    s->pending_counts[r->type] += r->block.count;
    if (r->cursor_us) {
        s->pending_cursor_us = r->cursor_us;
        snprintf(s->pending_host, sizeof s->pending_host, "%.*s", BL_ARG(r->host));
    }
    return BL_OK;
}

bool spill_batch_full(const struct spill *s) { return s->pending.n >= SPILL_BATCH_BYTES; }

static void forget_pending(struct spill *s) {
    bl_buf_clear(&s->pending);
    s->pending_records = s->pending_cursor_us = 0;
    memset(s->pending_counts, 0, sizeof s->pending_counts);
}

static enum bl_rc write_pending(struct spill *s, struct bl_error *err) {
    if (s->fd < 0 || s->segments[s->count - 1].bytes >= SPILL_SEGMENT_BYTES) {
        close_segment(s);
        BL_TRY(open_segment(s, err));
    }
    BL_CRASH_POINT("spill.before_write");
    BL_TRY(bl_write_all(s->fd, bl_buf_view(&s->pending), s->dir, err));
    BL_CRASH_POINT("spill.before_fsync");
    if (fdatasync(s->fd) != 0) return bl_fail_errno(err, BL_E_IO, "%s", s->dir);
    BL_CRASH_POINT("spill.after_fsync");
    return BL_OK;
}

/* After a failed write the file may hold half a record, so nothing more is put behind it: cut it off, and go on in a
 * new file. */
static void give_up_segment(struct spill *s) {
    struct segment *g = s->fd >= 0 ? &s->segments[s->count - 1] : NULL;
    if (g && ftruncate(s->fd, g->bytes) != 0)
        bl_log(BL_WARN, "cannot cut %s/%s back to its last whole record", s->dir, g->name);
    close_segment(s);
    if (g && g->records == 0) forget_segment(s, s->count - 1);
}

enum bl_rc spill_sync(struct spill *s, struct bl_error *err) {
    if (!s->pending_records) return BL_OK;
    enum bl_rc rc = write_pending(s, err);
    if (rc != BL_OK) {
        give_up_segment(s);
        forget_pending(s);
        return rc;
    }
    struct segment *g = &s->segments[s->count - 1];
    g->bytes += (int64_t)s->pending.n;
    s->bytes += (int64_t)s->pending.n;
    g->records += s->pending_records;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) s->received[t] += s->pending_counts[t];
    memcpy(g->ends, s->received, sizeof g->ends);
    keep_cursor(s, g, s->pending_cursor_us, bl_str(s->pending_host));
    if (s->at + 1 == s->count) s->loaded = s->peeked = false; /* the text in memory is shorter than the file now */
    forget_pending(s);
    return BL_OK;
}

/* ---- reading ---- */

bool spill_waiting(const struct spill *s) {
    for (size_t i = s->at; i < s->count; i++)
        if (s->segments[i].consumed < s->segments[i].records) return true;
    return false;
}

static enum bl_rc load_current(struct spill *s, struct bl_error *err) {
    struct segment *g = &s->segments[s->at];
    BL_TRY(load(s, g, &s->rest, err));
    struct spill_record skipped;
    for (int64_t i = 0; i < g->consumed; i++)
        if (spill_decode(&s->rest, &skipped) != SPILL_RECORD) break;
    s->loaded = true;
    s->peeked = false;
    return BL_OK;
}

static void next_segment(struct spill *s) {
    s->at++;
    s->loaded = s->peeked = false;
}

/* Damage met while reading: what every later segment's cursor stands on is not whole. */
static void doubt_cursors(struct spill *s) {
    int64_t end_us = s->segments[s->at].cursor_us;
    for (size_t i = s->at; i < s->count; i++) s->segments[i].cursor_us = 0;
    s->cursor_us = 0;
    for (size_t i = s->at; i-- > 0 && !s->cursor_us;) s->cursor_us = s->segments[i].cursor_us;
    if (end_us) s->lost_to_us = end_us;
    close_segment(s);
    s->loaded = s->peeked = false;
}

static enum bl_rc lose_segment(struct spill *s, struct bl_error *err) {
    char why[BL_ERROR_MESSAGE_MAX];
    snprintf(why, sizeof why, "%s", err->message);
    doubt_cursors(s);
    set_aside(s, s->at, why);
    return BL_E_CORRUPT;
}

static enum bl_rc lose_rest(struct spill *s, struct bl_error *err) {
    struct segment *g = &s->segments[s->at];
    doubt_cursors(s);
    note_damage(s, g, "a record that was good cannot be read any more");
    g->records = g->consumed;
    g->consumed_ns = bl_mono_ns();
    return bl_fail(err, BL_E_CORRUPT, "%s/%s: a record's checksum does not match", s->dir, g->name);
}

enum bl_rc spill_peek(struct spill *s, struct spill_record *out, struct bl_error *err) {
    for (; s->at < s->count; next_segment(s)) {
        struct segment *g = &s->segments[s->at];
        if (g->consumed == g->records) {
            if (s->at + 1 == s->count) break; /* more may be added to the newest */
            continue;
        }
        enum bl_rc rc = s->loaded ? BL_OK : load_current(s, err);
        if (rc == BL_E_CORRUPT) return lose_segment(s, err);
        if (rc != BL_OK) return rc;
        s->after = s->rest;
        s->peeked = spill_decode(&s->after, out) == SPILL_RECORD;
        if (s->peeked) return BL_OK;
        return lose_rest(s, err);
    }
    return bl_fail(err, BL_E_NOT_FOUND, "%s: nothing is waiting", s->dir);
}

void spill_consume(struct spill *s) {
    BL_ASSERT(s->peeked);
    struct segment *g = &s->segments[s->at];
    s->rest = s->after;
    s->peeked = false;
    if (++g->consumed == g->records) g->consumed_ns = bl_mono_ns();
}

void spill_rewind(struct spill *s) {
    s->at = 0;
    s->loaded = s->peeked = false;
    for (size_t i = 0; i < s->count; i++) s->segments[i].consumed = 0;
}

void spill_collect(struct spill *s, int64_t now_ns, int64_t keep_us) {
    while (s->count && s->segments[0].consumed == s->segments[0].records &&
           now_ns - s->segments[0].consumed_ns >= keep_us * 1000) {
        if (s->count == 1) {
            close_segment(s);
            s->cursor_us = 0; /* nothing is left that it would speak for */
        }
        forget_segment(s, 0);
        if (s->at > 0)
            s->at--;
        else
            s->loaded = s->peeked = false;
    }
    if (!s->count) bl_buf_release(&s->text);
}

int64_t spill_bytes(const struct spill *s) { return s->bytes; }
int64_t spill_damaged(const struct spill *s) { return s->damaged; }
int64_t spill_cursor(const struct spill *s) { return s->cursor_us; }
int64_t spill_take_lost(struct spill *s) {
    int64_t lost_to_us = s->lost_to_us;
    s->lost_to_us = 0;
    return lost_to_us;
}
int64_t spill_resume(const struct spill *s, const uint64_t received[static EV_TYPE_COUNT], struct bl_str *host) {
    uint64_t reached[EV_TYPE_COUNT];
    int64_t cursor_us = 0;
    memcpy(reached, received, sizeof reached);
    for (const struct segment *g = s->segments; g < s->segments + s->count; g++) {
        for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
            if (reached[t] < g->expects[t]) return cursor_us;
            if (reached[t] < g->ends[t]) reached[t] = g->ends[t];
        }
        if (!g->cursor_us) continue;
        cursor_us = g->cursor_us;
        *host = bl_str(g->cursor_host);
    }
    return cursor_us;
}
