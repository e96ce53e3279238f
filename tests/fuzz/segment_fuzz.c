/* fuzz_segment: segments of the search index whose bytes were changed and whose checksums were made to fit again: the
 * reader refuses them or reads something, and never leaves its file. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "index/scan.h"
#include "index/segment_priv.h"

#include "fuzz.h"

/* An input is a recipe: each four bytes change one of the segment, the first of them saying how. */
static const char *const fuzz_seeds[] = {"", "aaaa", "tttttttt", "\x01\x02\x03\x04", "zzzzyyyyxxxxwwww"};
static const char *const fuzz_words[] = {"\xff\xff\xff\xff", "\x7f\x01\x02\x03", "toc!", "hhhh", "\x01\x01\x01\x01"};
static const size_t fuzz_seed_count = sizeof fuzz_seeds / sizeof *fuzz_seeds;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static struct bl_buf whole; /* a good segment */

static void make_segment(void) {
    struct bl_error err = {0};
    BL_CLEANUP(bl_buf_release) struct bl_buf packed = {0};
    int fd = memfd_create("segment", 0);
    struct segment_writer *w = segment_writer_open(fd, "memory", 1);
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "r%d", i);
        struct segment_record row = {.time_us = 1000000 - i,
                                     .did = BL_LIT("did:plc:abc"),
                                     .rkey = bl_str(key),
                                     .rev = BL_LIT("rev"),
                                     .text = BL_LIT("Some text, \xc3\x89t\xc3\xa9 and so on"),
                                     .parent = BL_LIT("at://did:plc:abc/x/y")};
        bl_buf_clear(&packed);
        segment_pack(&packed, &row);
        BL_ASSERT(segment_add(w, bl_buf_view(&packed), &err) == BL_OK);
    }
    BL_ASSERT(segment_finish(w, &err) == BL_OK);
    segment_writer_close(&w);
    off_t size = lseek(fd, 0, SEEK_END);
    BL_ASSERT(bl_buf_reserve(&whole, (size_t)size) && pread(fd, whole.p, (size_t)size, 0) == size);
    whole.n = (size_t)size;
    close(fd);
}

/* Where a change falls: anywhere, into the table of contents, or into the header. */
static void change(struct bl_buf *b, const unsigned char *recipe) {
    const struct segment_header *good = (const struct segment_header *)(const void *)whole.p;
    size_t at = (size_t)recipe[1] << 8 | recipe[2], from = 0, n = b->n;
    if (recipe[0] % 3 == 1) {
        from = good->toc_at;
        n = good->toc_bytes;
    }
    if (recipe[0] % 3 == 2) n = sizeof *good;
    b->p[from + at % n] = (char)recipe[3];
}

static void fix_checksums(struct bl_buf *b) {
    const struct segment_header *good = (const struct segment_header *)(const void *)whole.p;
    struct segment_header *h = (struct segment_header *)(void *)b->p;
    struct block_entry *toc = (struct block_entry *)(void *)(b->p + good->toc_at);
    for (uint32_t i = 0; i < good->blocks; i++)
        for (unsigned p = 0; p < PART_COUNT; p++) {
            struct part_ref *ref = &toc[i].parts[p];
            if (ref->at <= b->n && ref->stored <= b->n - ref->at)
                ref->check = segment_checksum(b->p + ref->at, ref->stored);
        }
    h->toc_check = segment_checksum(b->p + good->toc_at, good->toc_bytes);
    h->check = segment_checksum(h, offsetof(struct segment_header, check));
}

static bool read_block(struct segment *s, size_t number, struct segment_cache *cache) {
    struct segment_block b;
    BL_CLEANUP(segment_part_release) struct segment_part text = {0};
    BL_CLEANUP(segment_part_release) struct segment_part labels = {0};
    const struct scan_needle needle = scan_needle(BL_LIT("and"));
    bool may, good = segment_block(s, number, &b, NULL) == BL_OK;
    uint64_t sum = 0;
    if (good)
        for (unsigned i = 0; i < b.rows; i++)
            sum += b.keys[i] + b.accounts[i] + b.flags[i] + (uint64_t)segment_time(&b, i);
    if (segment_text(s, number, &text, NULL) == BL_OK)
        sum += scan_find(&needle, text.all.p, text.all.p + text.all.n) != NULL;
    if (segment_labels(s, number, &labels, NULL) == BL_OK && labels.all.n)
        sum += (unsigned char)labels.all.p[labels.all.n - 1];
    good &= segment_may_hold(s, number, BL_LIT("some text"), &may, NULL) == BL_OK;
    for (unsigned i = 0; good && i < b.rows; i++) {
        struct segment_record r;
        struct bl_str item;
        if (segment_record(s, number, i, cache, &r, NULL) != BL_OK) continue;
        while (segment_item(&r.links, &item)) sum += item.n;
        sum += XXH3_64bits(r.text.n ? r.text.p : "", r.text.n);
    }
    return good && sum != 1;
}

static bool fuzz_one(struct bl_str input) {
    if (!whole.n) make_segment();
    BL_CLEANUP(bl_buf_release) struct bl_buf copy = {0};
    bl_buf_str(&copy, bl_buf_view(&whole));
    for (size_t i = 0; i + 4 <= input.n; i += 4) change(&copy, (const unsigned char *)input.p + i);
    fix_checksums(&copy);
    int fd = memfd_create("segment", 0);
    BL_ASSERT(write(fd, copy.p, copy.n) == (ssize_t)copy.n);
    struct segment *s = NULL;
    struct segment_cache cache = {0};
    bool accepted = segment_open(fd, "memory", 1, &s, NULL) == BL_OK;
    for (size_t i = 0; accepted && i < segment_blocks(s); i++) accepted &= read_block(s, i, &cache);
    segment_cache_release(&cache);
    segment_close(&s);
    return accepted;
}
