/* A lake in a temporary folder and messages of every type to fill it with. */
#pragma once
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event/cbor.h"
#include "event/syntax.h"
#include "expect.h"
#include "lake/lake.h"

#define FIXTURE_HOUR INT64_C(3600000000)
#define FIXTURE_NOON INT64_C(1785585600000000) /* 2026-08-01T12:00:00Z */

struct fixture {
    char dir[64];
    struct lake *lake;
    struct bl_arena arena;
    struct bl_buf message, record, scratch;
};

static inline void fixture_reopen(struct fixture *f) {
    struct bl_error err = {0};
    lake_close(&f->lake);
    EXPECT_OK(lake_open(&(struct lake_options){.dir = f->dir}, &f->lake, &err), &err);
}

static inline struct fixture fixture_new(void) {
    struct fixture f = {.dir = "/tmp/bl-lake-XXXXXX"};
    assert_non_null(mkdtemp(f.dir));
    fixture_reopen(&f);
    return f;
}

static inline int fixture_remove(const char *path, const struct stat *st, int flag, struct FTW *walk) {
    (void)st, (void)flag, (void)walk;
    return remove(path);
}

static inline void fixture_drop(struct fixture *f) {
    lake_close(&f->lake);
    nftw(f->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    bl_arena_release(&f->arena);
    bl_buf_release(&f->message);
    bl_buf_release(&f->record);
    bl_buf_release(&f->scratch);
}

static inline void fixture_record(struct fixture *f, unsigned kind, uint64_t n) {
    struct bl_buf *r = &f->record;
    bl_buf_clear(r);
    bl_buf_printf(r, "{\"createdAt\":\"2026-08-01T11:59:%02u.%03uZ\",", (unsigned)(n / 1000 % 60),
                  (unsigned)(n % 1000));
    if (kind == 0)
        bl_buf_printf(r,
                      "\"$type\":\"app.bsky.feed.post\",\"langs\":[\"en\",\"pt-BR\"],\"text\":\"Post %" PRIu64
                      " \\u00fc\\n\\\"quoted\\\" \xf0\x9f\x90\xb3\",\"facets\":[{\"index\":{\"byteStart\":0,"
                      "\"byteEnd\":4},\"features\":[{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"Lake\"}]}]}",
                      n);
    if (kind == 1)
        bl_buf_printf(r,
                      "\"$type\":\"app.bsky.feed.like\",\"subject\":{\"uri\":\"at://did:plc:abcdefghijklmnopqrstuvwx/"
                      "app.bsky.feed.post/3k%011" PRIu64 "\",\"cid\":\"bafyreih%051" PRIu64 "\"}}",
                      n % 100, n % 100);
    if (kind == 2)
        bl_buf_printf(r, "\"$type\":\"app.bsky.graph.follow\",\"subject\":\"did:plc:%024" PRIu64 "\"}", n % 50);
    if (kind == 3)
        bl_buf_printf(r, "\"$type\":\"app.bsky.actor.profile\",\"displayName\":\"Name %" PRIu64 "\",\"odd\":[1,{}]}",
                      n);
    if (kind == 4)
        bl_buf_printf(r, "\"$type\":\"com.example.thing\",\"n\":%" PRIu64 ",\"deep\":{\"a\":[null,true]}}", n);
}

/* Message number `n`: every number is another event, types alternate, its time is `time_us`. */
static inline struct bl_str fixture_message(struct fixture *f, uint64_t n, int64_t time_us) {
    static const char *const collections[] = {"app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow",
                                              "app.bsky.actor.profile", "com.example.thing"};
    struct bl_error err = {0};
    struct bl_buf *m = &f->message;
    unsigned kind = (unsigned)(n % 7);
    bl_buf_clear(m);
    bl_buf_printf(m, "{\"did\":\"did:plc:%024" PRIu64 "\",\"time_us\":%" PRId64 ",", n % 997, time_us);
    if (kind == 5) {
        bl_buf_printf(m, "\"kind\":\"identity\",\"identity\":{\"did\":\"did:plc:%024" PRIu64 "\",\"handle\":\"h%" PRIu64
                         ".example.com\",\"seq\":%" PRIu64 ",\"time\":\"2026-08-01T12:00:00Z\"}}", n % 997, n, n + 1);
        return bl_buf_view(m);
    }
    unsigned of = kind == 6 ? 1 : kind;
    char tid[13];
    at_tid_of(FIXTURE_NOON + (int64_t)n, 0, tid);
    bl_buf_printf(m, "\"kind\":\"commit\",\"commit\":{\"rev\":\"%.13s\",\"collection\":\"%s\",\"rkey\":\"%.13s\","
                  "\"operation\":\"%s\"", tid, collections[of], tid, kind == 6 ? "delete" : "create");
    if (kind != 6) {
        char cid[CID_TEXT_LEN];
        fixture_record(f, kind, n);
        EXPECT_OK(cid_of_record(bl_buf_view(&f->record), &f->scratch, cid, &err), &err);
        bl_buf_printf(m, ",\"cid\":\"%.*s\",\"record\":", CID_TEXT_LEN, cid);
        bl_buf_str(m, bl_buf_view(&f->record));
    }
    bl_buf_z(m, "}}");
    return bl_buf_view(m);
}

static inline enum lake_outcome fixture_put(struct fixture *f, struct bl_str message) {
    struct bl_error err = {0};
    struct event ev;
    enum ev_reason why;
    enum lake_outcome outcome = LAKE_WRITTEN;
    bl_arena_reset(&f->arena);
    EXPECT_OK(ev_decode(message, &f->arena, &ev, &why, &err), &err);
    ev_verify_cid(&ev, &f->scratch);
    EXPECT_OK(lake_append(f->lake, &ev, ev_identity(&ev), message.n, &outcome, &err), &err);
    struct catalog_intake intake = {.type = ev.type, .offset = UINT64_MAX, .received = 1};
    intake.written = outcome == LAKE_WRITTEN;
    intake.duplicates = outcome == LAKE_DUPLICATE;
    lake_note_intake(f->lake, &intake);
    return outcome;
}

static inline void fixture_commit(struct fixture *f) {
    struct bl_error err = {0};
    struct lake_commit_stats stats;
    EXPECT_OK(lake_commit(f->lake, "write", &stats, &err), &err);
}

/* Messages from..to-1, `step_us` apart from noon on, committed. */
static inline void fixture_fill(struct fixture *f, uint64_t from, uint64_t to, int64_t step_us) {
    for (uint64_t n = from; n < to; n++)
        fixture_put(f, fixture_message(f, n, FIXTURE_NOON + (int64_t)n * step_us));
    fixture_commit(f);
}

static inline size_t fixture_files(struct fixture *f, enum ev_type type, struct catalog_file **files) {
    struct bl_error err = {0};
    size_t count = 0;
    EXPECT_OK(catalog_files(lake_catalog(f->lake), type, 0, 0, files, &count, &err), &err);
    return count;
}
