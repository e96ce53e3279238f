/* Segments: what was written is read, and nothing else ever is. */
#include "index/segment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "expect.h"
#include "index/fold.h"
#include "index/scan.h"

enum { IDENTITY = 77 };

static struct bl_str list_of(struct bl_buf *out, size_t count, const char *const *items) {
    bl_buf_clear(out);
    bl_buf_reserve(out, 1);
    for (size_t i = 0; i < count; i++) {
        uint32_t n = (uint32_t)strlen(items[i]);
        bl_buf_add(out, &n, sizeof n);
        bl_buf_z(out, items[i]);
    }
    return bl_buf_view(out);
}

struct made { /* a row that can be made again from its number */
    char did[40], rkey[16], text[600];
    struct bl_buf langs, links;
    struct segment_record row;
};

static void make_row(struct made *m, unsigned i) {
    static const char *const langs[] = {"en", "pt-BR"}, *const links[] = {"https://Example.com/x"};
    struct bl_rng r = {.state = i};
    snprintf(m->did, sizeof m->did, "did:plc:%u", (unsigned)bl_rng_below(&r, 50));
    snprintf(m->rkey, sizeof m->rkey, "r%u", i);
    size_t n = (size_t)bl_rng_below(&r, sizeof m->text);
    for (size_t k = 0; k < n; k++) m->text[k] = (char)('A' + bl_rng_below(&r, 30));
    m->row = (struct segment_record){.time_us = 1000000000 - (int64_t)i * 1000,
                                     .created_us = i,
                                     .flags = i % 7 ? SEGMENT_CREATED : SEGMENT_DELETE | SEGMENT_CHANGE,
                                     .did = bl_str(m->did),
                                     .rkey = bl_str(m->rkey),
                                     .rev = BL_LIT("rev"),
                                     .text = i % 7 ? bl_strn(m->text, n) : (struct bl_str){0},
                                     .facets = i % 3 ? BL_LIT("[]") : (struct bl_str){0},
                                     .links = i % 2 ? list_of(&m->links, 1, links) : (struct bl_str){0},
                                     .langs = list_of(&m->langs, i % 3, langs)};
}

static void release_row(struct made *m) {
    bl_buf_release(&m->langs);
    bl_buf_release(&m->links);
}

static int write_segment(unsigned rows) {
    struct bl_error err = {0};
    int fd = memfd_create("segment", 0);
    EXPECT(fd >= 0);
    struct segment_writer *w = segment_writer_open(fd, "memory", IDENTITY);
    BL_CLEANUP(bl_buf_release) struct bl_buf packed = {0};
    struct made m = {0};
    for (unsigned i = 0; i < rows; i++) {
        make_row(&m, i);
        bl_buf_clear(&packed);
        segment_pack(&packed, &m.row);
        EXPECT_OK(segment_add(w, bl_buf_view(&packed), &err), &err);
    }
    EXPECT_OK(segment_finish(w, &err), &err);
    segment_writer_close(&w);
    release_row(&m);
    return fd;
}

static bool same(struct bl_str a, struct bl_str b) {
    return (a.p == NULL) == (b.p == NULL) && bl_str_eq(a, b);
}

static bool same_record(const struct segment_record *a, const struct segment_record *b) {
    return a->time_us == b->time_us && a->created_us == b->created_us && a->flags == b->flags && same(a->did, b->did) &&
           same(a->rkey, b->rkey) && same(a->rev, b->rev) && same(a->text, b->text) &&
           same(a->created_at, b->created_at) && same(a->facets, b->facets) && same(a->embed, b->embed) &&
           same(a->parent, b->parent) && same(a->quote, b->quote) && same(a->langs, b->langs) &&
           same(a->tags, b->tags) && same(a->links, b->links) && same(a->mentions, b->mentions);
}

/* Reads everything; the first error ends it. What is read without one must be what was written. */
static enum bl_rc read_block(struct segment *s, size_t number, unsigned *at, struct segment_cache *cache,
                             struct made *m, struct bl_error *err) {
    struct segment_block b;
    BL_CLEANUP(segment_part_release) struct segment_part text = {0};
    BL_CLEANUP(segment_part_release) struct segment_part labels = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf folded = {0};
    BL_TRY(segment_block(s, number, &b, err));
    BL_TRY(segment_text(s, number, &text, err));
    BL_TRY(segment_labels(s, number, &labels, err));
    for (unsigned row = 0; row < b.rows; row++, ++*at) {
        struct segment_record record;
        bool may = false;
        make_row(m, *at);
        BL_TRY(segment_record(s, number, row, cache, &record, err));
        EXPECT(same_record(&record, &m->row));
        EXPECT(segment_time(&b, row) == m->row.time_us && b.flags[row] == m->row.flags);
        EXPECT(b.keys[row] == segment_key(m->row.did, m->row.rkey) && b.accounts[row] == segment_account(m->row.did));
        bl_buf_clear(&folded);
        fold_append(&folded, m->row.text);
        uint32_t from = row ? text.ends[row - 1] : 0;
        EXPECT(bl_str_eq(bl_strn(text.all.p + from, text.ends[row] - 1 - from), bl_buf_view(&folded)));
        for (size_t k = 0; k + 5 <= folded.n; k += 50) {
            BL_TRY(segment_may_hold(s, number, bl_strn(folded.p + k, 5), &may, err));
            EXPECT(may);
        }
        from = row ? labels.ends[row - 1] : 0;
        bool link = memmem(labels.all.p + from, labels.ends[row] - from, "\xfahttps://example.com/x", 22) != NULL;
        EXPECT(link == (m->row.links.p != NULL));
    }
    return BL_OK;
}

static enum bl_rc read_all(int fd, unsigned rows, struct bl_error *err) {
    struct segment *s;
    BL_TRY(segment_open(dup(fd), "memory", IDENTITY, &s, err));
    struct segment_cache cache = {0};
    struct made m = {0};
    unsigned at = 0;
    enum bl_rc rc = BL_OK;
    EXPECT(segment_rows(s) == rows);
    for (size_t i = 0; i < segment_blocks(s) && rc == BL_OK; i++) rc = read_block(s, i, &at, &cache, &m, err);
    if (rc == BL_OK) EXPECT(at == rows);
    release_row(&m);
    segment_cache_release(&cache);
    segment_close(&s);
    return rc;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    static const unsigned sizes[] = {0, 1, SEGMENT_CHUNK, SEGMENT_CHUNK + 1, SEGMENT_ROWS, SEGMENT_ROWS + 1, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bl_error err = {0};
        int fd = write_segment(sizes[i]);
        EXPECT_OK(read_all(fd, sizes[i], &err), &err);
        close(fd);
    }
}

static void a_segment_of_another_file_is_refused(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct segment *s = NULL;
    int fd = write_segment(10);
    EXPECT_RC(segment_open(dup(fd), "memory", IDENTITY + 1, &s, &err), BL_E_CORRUPT);
    EXPECT(s == NULL);
    close(fd);
}

/* Every byte of a segment is covered by a checksum, or is padding that is never read. */
static void a_byte_that_changed_is_seen_or_was_never_used(void **state) {
    (void)state;
    enum { ROWS = 150 };
    struct bl_error err = {0};
    int fd = write_segment(ROWS);
    off_t size = lseek(fd, 0, SEEK_END);
    int seen = 0;
    for (off_t at = 0; at < size; at += at < 4096 || at > size - 4096 ? 1 : 37) {
        char c, changed;
        EXPECT(pread(fd, &c, 1, at) == 1);
        changed = (char)(c ^ 0x10);
        EXPECT(pwrite(fd, &changed, 1, at) == 1);
        enum bl_rc rc = read_all(fd, ROWS, &err); /* content is compared within */
        EXPECT(rc == BL_OK || rc == BL_E_CORRUPT);
        seen += rc == BL_E_CORRUPT;
        EXPECT(pwrite(fd, &c, 1, at) == 1);
    }
    EXPECT(seen > 1000);
    EXPECT_OK(read_all(fd, ROWS, &err), &err);
    close(fd);
}

static void a_segment_cut_short_is_refused(void **state) {
    (void)state;
    struct bl_error err = {0};
    int fd = write_segment(30);
    for (off_t size = lseek(fd, 0, SEEK_END) - 1; size >= 0; size -= 13) {
        EXPECT(ftruncate(fd, size) == 0);
        EXPECT_RC(read_all(fd, 30, &err), BL_E_CORRUPT);
    }
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_segment_of_another_file_is_refused),
        cmocka_unit_test(a_byte_that_changed_is_seen_or_was_never_used),
        cmocka_unit_test(a_segment_cut_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
