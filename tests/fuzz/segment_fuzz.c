/* fuzz_segment: bytes as an index segment, a file of the lake that is mapped and read in place. What damage left of it
 * is refused or read, never followed outside; what can be read is text as a segment holds it.
 *
 *   S   what follows is a segment whose checksums are put right first, so that they do not hide the rest
 *   else  a segment as it stands */
#include "index/segment_priv.h"

#define FUZZ_MAKES_SEEDS
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

enum { IDENTITY = 77, FILE_MAX = 1 << 18 };

static const char *const fuzz_words[] = {"BLUESEG1", "\xff",         "\xf8",     "\xff\xff\xff\xff", "\x80", "\x7f",
                                         "S",        "\x10\x20\x30", "did:plc:", "\xf9" "en",         "\x08", "\x40"};
static const size_t fuzz_seed_count = 4;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static struct segment_record example(unsigned i) {
    static const char langs[] = "\x02\0\0\0en";
    return (struct segment_record){.time_us = 1000000 - (int64_t)i,
                                   .flags = i % 3 ? SEGMENT_CREATED : SEGMENT_DELETE | SEGMENT_CHANGE,
                                   .did = BL_LIT("did:plc:a"),
                                   .rkey = BL_LIT("r"),
                                   .rev = BL_LIT("rev"),
                                   .text = i % 3 ? BL_LIT("Some words to find") : (struct bl_str){0},
                                   .langs = i % 2 ? bl_strn(langs, 6) : (struct bl_str){0}};
}

static void fuzz_make_seed(size_t n, struct bl_buf *out) {
    static const unsigned rows[] = {1, 200, 3, 0};
    int fd = memfd_create("seed", MFD_CLOEXEC);
    struct segment_writer *w = segment_writer_open(fd, "seed", IDENTITY);
    struct bl_buf packed = {0};
    for (unsigned i = 0; i < rows[n]; i++) {
        struct segment_record r = example(i);
        bl_buf_clear(&packed);
        segment_pack(&packed, &r);
        if (segment_add(w, bl_buf_view(&packed), NULL) != BL_OK) abort();
    }
    if (segment_finish(w, NULL) != BL_OK) abort();
    segment_writer_close(&w);
    bl_buf_release(&packed);
    off_t size = lseek(fd, 0, SEEK_END);
    BL_ASSERT(size > 0 && bl_buf_reserve(out, (size_t)size + 1));
    bl_buf_byte(out, n == 2 ? 'R' : 'S');
    BL_ASSERT(pread(fd, out->p + 1, (size_t)size, 0) == size);
    out->n += (size_t)size;
    close(fd);
}

/* What lies inside the file gets its checksum; numbers that lead outside stay as they are. */
static void seal(char *p, size_t n) {
    struct segment_header h;
    if (n < sizeof h) return;
    memcpy(&h, p, sizeof h);
    h.magic = segment_magic;
    h.version = SEGMENT_VERSION;
    h.header_bytes = sizeof h;
    h.identity = IDENTITY;
    h.file_bytes = n;
    if (h.toc_at <= n && h.toc_at % 8 == 0) {
        h.toc_bytes = n - h.toc_at;
        h.blocks = (uint32_t)(h.toc_bytes / sizeof(struct block_entry));
        h.rows = 0;
        for (uint32_t b = 0; b < h.blocks; b++) {
            struct block_entry e;
            char *at = p + h.toc_at + b * sizeof e;
            memcpy(&e, at, sizeof e);
            h.rows += (uint32_t)e.rows;
            for (unsigned i = 0; i < PART_COUNT; i++)
                if (e.parts[i].at <= n && e.parts[i].stored <= n - e.parts[i].at)
                    e.parts[i].check = segment_checksum(p + e.parts[i].at, e.parts[i].stored);
            memcpy(at, &e, sizeof e);
        }
        h.toc_check = segment_checksum(p + h.toc_at, h.toc_bytes);
    }
    h.check = segment_checksum(&h, offsetof(struct segment_header, check));
    memcpy(p, &h, sizeof h);
}

static uint64_t waste; /* what is read is looked at, so that AddressSanitizer sees it */

static void look(struct bl_str s) {
    for (size_t i = 0; i < s.n; i++) waste += (unsigned char)s.p[i];
}

static void look_at_record(struct segment_record *r, struct bl_str input) {
    struct bl_str *texts[] = {&r->did, &r->rkey, &r->rev, &r->text, &r->created_at, &r->facets, &r->embed, &r->parent,
                              &r->quote};
    struct bl_str *lists[] = {&r->langs, &r->tags, &r->links, &r->mentions}, item;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) look(*texts[i]);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t count = 0; segment_item(lists[i], &item); count++) {
            look(item);
            if (count > input.n * 1000) fuzz_fail("a list without end", input);
        }
}

static void look_at_part(enum bl_rc rc, struct segment_part *part, unsigned rows, struct bl_str input) {
    if (rc == BL_OK) {
        look(part->all);
        for (unsigned i = 0; i < rows; i++)
            if (part->ends[i] > part->all.n || (i && part->ends[i] < part->ends[i - 1]))
                fuzz_fail("a row ends outside of its part", input);
    }
    segment_part_release(part);
}

static bool look_at_block(struct segment *s, size_t number, struct segment_cache *cache, struct bl_str input) {
    struct segment_block b;
    struct segment_part text = {0}, labels = {0};
    bool may;
    if (segment_block(s, number, &b, NULL) != BL_OK) return false;
    for (unsigned row = 0; row < b.rows; row++) {
        struct segment_record r;
        waste += b.keys[row] + b.accounts[row] + b.flags[row] + (uint64_t)segment_time(&b, row);
        if (segment_record(s, number, row, cache, &r, NULL) == BL_OK) look_at_record(&r, input);
    }
    look_at_part(segment_text(s, number, &text, NULL), &text, b.rows, input);
    look_at_part(segment_labels(s, number, &labels, NULL), &labels, b.rows, input);
    return segment_may_hold(s, number, BL_LIT("words"), &may, NULL) == BL_OK;
}

static bool fuzz_one(struct bl_str input) {
    struct segment *s = NULL;
    struct segment_cache cache = {0};
    struct bl_error err = {0};
    bool readable = false;
    if (input.n < 2 || input.n > FILE_MAX) return false;
    struct bl_buf copy = {0};
    bl_buf_add(&copy, input.p + 1, input.n - 1);
    if (input.p[0] == 'S') seal(copy.p, copy.n);
    int fd = memfd_create("segment", MFD_CLOEXEC);
    BL_ASSERT(fd >= 0 && write(fd, copy.p, copy.n) == (ssize_t)copy.n);
    bl_buf_release(&copy);
    if (segment_open(fd, "fuzz", IDENTITY, &s, &err) == BL_OK) {
        readable = true;
        for (size_t b = 0; b < segment_blocks(s) && b < 16; b++) readable &= look_at_block(s, b, &cache, input);
    } else if (!*err.message) {
        fuzz_fail("refused without a word", input);
    }
    segment_cache_release(&cache);
    if (s) segment_close(&s);
    return readable;
}
