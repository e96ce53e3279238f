#include "pipe/repairs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "obs/log.h"
#include "pipe/gap_note.h"

enum { FILE_MAX = 1 << 20, LOG_EVERY_US = 60000000 };
#define FORGET_US (INT64_C(48) * 3600 * 1000000)

bool repair_is_of_buffer(const struct repair *one) {
    return strcmp(one->gap.reason, REPAIR_BUFFER_LOST) == 0;
}

/* ---- the file ---- */

static enum bl_rc write_file(const struct repairs *r, struct bl_error *err) {
    if (!r->count) {
        unlink(r->path);
        return BL_OK;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = FILE_MAX};
    for (size_t i = 0; i < r->count; i++) {
        bl_buf_printf(&text, "%" PRId64 " ", r->list[i].noted_us);
        gap_note_print(&r->list[i].gap, &text);
        bl_buf_byte(&text, '\n');
    }
    BL_TRY(bl_buf_check(&text, r->path, err));
    BL_CLEANUP(bl_freep) char *folder = bl_xstrdup(r->path);
    *strrchr(folder, '/') = 0;
    BL_TRY(bl_make_dirs(folder, err));
    return bl_write_file_atomic(r->path, bl_buf_view(&text), err);
}

static void save(struct repairs *r) {
    struct bl_error err = {0};
    BL_CRASH_POINT("ingest.before_repairs");
    if (write_file(r, &err) != BL_OK && bl_log_due(&r->last_log_ns, LOG_EVERY_US))
        bl_log_error("cannot keep the list of gaps to be filled; it only matters if ingest dies", &err);
    BL_CRASH_POINT("ingest.after_repairs");
}

static void load_line(struct repairs *r, struct bl_str line, int64_t now_us) {
    struct repair one = {0};
    struct bl_str noted = bl_str_cut(&line, ' ');
    if (!bl_parse_i64(noted, 0, INT64_MAX, &one.noted_us) || !gap_note_parse(line, &one.gap)) {
        bl_log(BL_WARN, "%s: a line that is no gap is passed over", r->path);
        return;
    }
    bool too_old = !repair_is_of_buffer(&one) && now_us - one.noted_us > FORGET_US;
    if (!too_old && r->count < REPAIRS_MAX) r->list[r->count++] = one;
}

void repairs_open(struct repairs *r, const char *data_folder, int64_t now_us) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = FILE_MAX};
    *r = (struct repairs){.path = bl_xasprintf("%s/spill/gaps", data_folder)};
    enum bl_rc rc = bl_read_file(r->path, FILE_MAX - 1, &text, &err);
    if (rc != BL_OK && rc != BL_E_NOT_FOUND) bl_log_error("gaps that were being filled stay open", &err);
    if (rc != BL_OK) return;
    for (struct bl_str rest = bl_buf_view(&text); rest.n;) load_line(r, bl_str_cut(&rest, '\n'), now_us);
}

void repairs_release(struct repairs *r) {
    free(r->path);
    *r = (struct repairs){0};
}

/* ---- the list ---- */

static bool same(const struct source_gap *a, const struct source_gap *b) {
    return a->from_us == b->from_us && a->to_us == b->to_us && strcmp(a->host, b->host) == 0 &&
           strcmp(a->reason, b->reason) == 0;
}

static struct repair *find(struct repairs *r, const struct source_gap *gap) {
    for (size_t i = 0; i < r->count; i++)
        if (same(&r->list[i].gap, gap)) return &r->list[i];
    return NULL;
}

static void drop(struct repairs *r, size_t i) {
    memmove(r->list + i, r->list + i + 1, (--r->count - i) * sizeof *r->list);
}

void repairs_add(struct repairs *r, const struct source_gap *gap, int64_t now_us) {
    if (find(r, gap)) return;
    if (r->count == REPAIRS_MAX) drop(r, 0);
    r->list[r->count++] = (struct repair){.gap = *gap, .noted_us = now_us};
    save(r);
}

void repairs_begin(struct repairs *r, int64_t resume_us, bool complete) {
    size_t before = r->count;
    for (size_t i = r->count; i-- > 0;) {
        struct repair *one = &r->list[i];
        one->reported_us = 0;
        bool comes_again = complete || (resume_us && resume_us <= one->gap.from_us);
        if (repair_is_of_buffer(one) && !comes_again) drop(r, i);
    }
    if (r->count != before) save(r);
}

void repairs_give_up(struct repairs *r, int64_t from_us, int64_t to_us) {
    size_t before = r->count;
    for (size_t i = r->count; i-- > 0;) {
        const struct repair *one = &r->list[i];
        bool touches = from_us < one->gap.to_us && to_us > one->gap.from_us;
        if (touches && !one->reported_us && repair_is_of_buffer(one)) drop(r, i);
    }
    if (r->count != before) save(r);
}

struct repair *repairs_whole(struct repairs *r, int64_t durable_us) {
    for (size_t i = 0; i < r->count; i++) {
        struct repair *one = &r->list[i];
        if (!one->reported_us && one->gap.to_us <= durable_us && repair_is_of_buffer(one)) return one;
    }
    return NULL;
}

void repairs_reported(struct repairs *r, const struct source_gap *gap, int64_t position_us) {
    struct repair *one = find(r, gap);
    if (one) one->reported_us = position_us;
}

void repairs_settle(struct repairs *r, int64_t settled_us) {
    size_t before = r->count;
    for (size_t i = r->count; i-- > 0;)
        if (r->list[i].reported_us && settled_us > r->list[i].reported_us) drop(r, i);
    if (r->count != before) save(r);
}
