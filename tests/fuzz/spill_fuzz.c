/* fuzz_spill: bytes as spill records and spill files, in three ways told apart by the first byte.
 *
 *   R   records one after the other: each that is read is written again byte for byte
 *   B   one record's body: its length and checksum are put before it, so that its form is what is tried
 *   S   a segment file, with a good one before or behind it: what is read is what the codec finds, in order; what is
 *       appended afterwards comes last, and all of it comes again after a restart */
#include <xxhash.h>

#include "obs/log.h"
#include "pipe/spill.h"

#include <fcntl.h>
#include <unistd.h>

#define FUZZ_MAKES_SEEDS
#include "fuzz.h"

enum { HEADER_BYTES = 16 + 8 * EV_TYPE_COUNT, RECORDS_MAX = 256 };

static const char *const fuzz_words[] = {"BLSPILL1", "posts", "likes", "\x05",     "\x01",    "\x02",
                                         "utf8",     "\x80",  "R",     "B",        "S",       "\x10",
                                         "host",     "\xff",  "gap",   "\x7f\xff", "accounts"};
static const size_t fuzz_seed_count = 6;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static char folder[64]; /* in memory where that can be had: every segment is synced */

static struct spill_record example(size_t n) {
    static const char data[] = "{}\n{\"text\":\"x\"}\n";
    if (n % 3 == 2)
        return (struct spill_record){
            .reason = BL_LIT("utf8"), .detail = BL_LIT("at byte 3"), .received_us = 5, .message = BL_LIT("\xff")};
    return (struct spill_record){.is_block = true,
                                 .type = n % 2 ? EV_likes : EV_posts,
                                 .cursor_us = 1000 + (int64_t)n,
                                 .host = BL_LIT("h"),
                                 .block = {.incarnation = 9, .seq = n + 1, .count = 2, .data = bl_str(data)}};
}

static void add_header(struct bl_buf *out) {
    bl_buf_z(out, "BLSPILL1");
    for (int i = 8; i < HEADER_BYTES; i++) bl_buf_byte(out, (char)(i == 8));
}

static void fuzz_make_seed(size_t n, struct bl_buf *out) {
    struct bl_buf record = {0};
    bl_buf_byte(out, "RRBBSS"[n]);
    if (n >= 4) bl_buf_byte(out, (char)(n & 1));
    if (n >= 4) add_header(out);
    for (size_t i = 0; i < (n == 2 || n == 3 ? 1 : 3); i++) {
        struct spill_record r = example(n == 3 ? 2 : i);
        bl_buf_clear(&record);
        spill_encode(&r, &record);
        size_t skip = n == 2 || n == 3 ? 12 : 0;
        bl_buf_add(out, record.p + skip, record.n - skip);
    }
    bl_buf_release(&record);
}

/* ---- the codec ---- */

static bool read_records(struct bl_str bytes, struct bl_str input) {
    struct bl_buf again = {0};
    struct spill_record r;
    bool any = false;
    for (;;) {
        struct bl_str before = bytes;
        enum spill_found found = spill_decode(&bytes, &r);
        if (found != SPILL_RECORD) {
            if (bytes.p != before.p || bytes.n != before.n) fuzz_fail("moved over what is no record", input);
            if ((found == SPILL_END) != (bytes.n == 0)) fuzz_fail("the end is elsewhere", input);
            break;
        }
        bl_buf_clear(&again);
        spill_encode(&r, &again);
        if (!bl_str_eq(bl_buf_view(&again), bl_strn(before.p, before.n - bytes.n)))
            fuzz_fail("a record that was read is written differently", input);
        any = true;
    }
    bl_buf_release(&again);
    return any;
}

static bool read_body(struct bl_str body, struct bl_str input) {
    struct bl_buf framed = {0};
    uint32_t length = (uint32_t)body.n;
    uint64_t sum = XXH3_64bits(body.n ? body.p : "", body.n);
    bl_buf_add(&framed, &length, sizeof length);
    bl_buf_add(&framed, &sum, sizeof sum);
    bl_buf_str(&framed, body);
    bool any = read_records(bl_buf_view(&framed), input);
    bl_buf_release(&framed);
    return any;
}

/* ---- the files ---- */

static void remove_folder(void) {
    rmdir(folder);
}

static void make_folder(void) {
    bool in_memory = access("/dev/shm", W_OK) == 0;
    snprintf(folder, sizeof folder, "%s/bl-fuzz-spill-XXXXXX", in_memory ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder) || atexit(remove_folder)) abort();
}

static void write_segment(int number, struct bl_str bytes) {
    char path[128];
    snprintf(path, sizeof path, "%s/0000000000000001-%d.seg", folder, number);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes.p, bytes.n) != (ssize_t)bytes.n) fuzz_fail("cannot write the segment", bytes);
    close(fd);
}

static void forget(void *context, const char *path) {
    (void)context;
    unlink(path);
}

static void each_file(void (*visit)(void *, const char *), void *context) {
    struct dirent **entries;
    int count = scandir(folder, &entries, corpus_is_input, alphasort);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        visit(context, path);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

struct sums {
    uint64_t of[RECORDS_MAX];
    size_t count;
};

static void note(struct sums *s, const struct spill_record *r) {
    struct bl_buf bytes = {0};
    spill_encode(r, &bytes);
    if (s->count < RECORDS_MAX) s->of[s->count++] = XXH3_64bits(bytes.p, bytes.n);
    bl_buf_release(&bytes);
}

/* What a segment's bytes hold, by the codec alone. */
static void expect_of(struct bl_str bytes, struct sums *s) {
    struct spill_record r;
    if (bytes.n < HEADER_BYTES || memcmp(bytes.p, "BLSPILL1", 8) != 0) return;
    bytes = bl_str_skip(bytes, HEADER_BYTES);
    while (spill_decode(&bytes, &r) == SPILL_RECORD) note(s, &r);
}

static struct spill *reopen(struct spill **old, struct bl_str input) {
    struct bl_error err = {0};
    struct spill *s = NULL;
    if (*old) spill_close(old);
    if (spill_open(folder, INT64_MAX, &s, &err) != BL_OK) fuzz_fail(err.message, input);
    return s;
}

static void expect_read(struct spill *s, const struct sums *wanted, struct bl_str input) {
    struct sums got = {0};
    struct spill_record r;
    while (spill_waiting(s)) {
        enum bl_rc rc = spill_peek(s, &r, NULL);
        if (rc != BL_OK) fuzz_fail("something waits and cannot be had", input);
        note(&got, &r);
        spill_consume(s);
    }
    if (got.count != wanted->count || memcmp(got.of, wanted->of, got.count * sizeof *got.of) != 0)
        fuzz_fail("what is read is not what was written, in order", input);
}

static bool read_files(struct bl_str input) {
    if (!*folder) make_folder();
    struct bl_str bytes = bl_str_skip(input, 2);
    bool good_before = input.n > 1 && input.p[1] & 1;
    struct bl_buf good = {0};
    struct spill_record r = example(1);
    add_header(&good);
    spill_encode(&r, &good);
    write_segment(1, good_before ? bl_buf_view(&good) : bytes);
    write_segment(2, good_before ? bytes : bl_buf_view(&good));
    struct sums wanted = {0};
    expect_of(good_before ? bl_buf_view(&good) : bytes, &wanted);
    expect_of(good_before ? bytes : bl_buf_view(&good), &wanted);
    struct spill *s = NULL;
    s = reopen(&s, input);
    size_t kept = wanted.count;
    r = example(4);
    spill_begin(s, 2, NULL);
    if (spill_append(s, &r, NULL) != BL_OK || spill_sync(s, NULL) != BL_OK) fuzz_fail("cannot append", input);
    note(&wanted, &r);
    expect_read(s, &wanted, input);
    spill_rewind(s);
    expect_read(s, &wanted, input);
    s = reopen(&s, input);
    expect_read(s, &wanted, input);
    spill_close(&s);
    each_file(forget, NULL);
    bl_buf_release(&good);
    return kept > 1;
}

static bool fuzz_one(struct bl_str input) {
    bl_log_setup("fuzz", (enum bl_level)(BL_ERROR_LEVEL + 1), false); /* damage is what this is about */
    if (!input.n) return false;
    struct bl_str rest = bl_str_skip(input, 1);
    if (input.p[0] == 'S') return read_files(input);
    return input.p[0] == 'B' ? read_body(rest, input) : read_records(rest, input);
}
