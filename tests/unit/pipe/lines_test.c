#include "pipe/lines.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/rng.h"
#include "expect.h"

enum { LINE_MAX_BYTES = 1 << 20 };
static char path[64];

static int make_file(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/bl-lines-XXXXXX");
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(struct bl_str bytes) {
    FILE *file = fopen(path, "w"); /* without fsync: there are thousands */
    EXPECT(file && fwrite(bytes.p, 1, bytes.n, file) == bytes.n && fclose(file) == 0);
}

static void gzip(struct bl_str text, struct bl_buf *out) {
    z_stream z = {0};
    EXPECT(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    EXPECT(bl_buf_reserve(out, deflateBound(&z, text.n)));
    char *input = bl_xstrndup(text);
    z.next_in = (unsigned char *)input;
    z.avail_in = (unsigned)text.n;
    z.next_out = (unsigned char *)out->p + out->n;
    z.avail_out = (unsigned)(out->cap - out->n);
    EXPECT(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->n = out->cap - z.avail_out;
    deflateEnd(&z);
    free(input);
}

static void zstd(struct bl_str text, struct bl_buf *out) {
    EXPECT(bl_buf_reserve(out, ZSTD_compressBound(text.n)));
    size_t n = ZSTD_compress(out->p + out->n, out->cap - out->n, text.p, text.n, 1);
    EXPECT(!ZSTD_isError(n));
    out->n += n;
}

/* Reads all in pieces of about `want` bytes; each piece must end a line. */
static enum bl_rc read_all(size_t want, size_t line_max, struct bl_buf *out, struct bl_error *err) {
    struct lines *l = NULL;
    BL_TRY(lines_open(path, &l, err));
    enum bl_rc rc = BL_OK;
    for (bool end = false; rc == BL_OK && !end;) {
        size_t before = out->n;
        rc = lines_read(l, want, line_max, out, &end, err);
        EXPECT(rc != BL_OK || (out->n > before) == !end);
        EXPECT(rc != BL_OK || out->n == 0 || out->p[out->n - 1] == '\n');
    }
    lines_close(&l);
    EXPECT(!l);
    return rc;
}

static void expect_all(struct bl_str wanted, size_t want) {
    struct bl_error err = {0};
    struct bl_buf out = {0};
    EXPECT_OK(read_all(want, LINE_MAX_BYTES, &out, &err), &err);
    if (!bl_str_eq(bl_buf_view(&out), wanted))
        fail_msg("%zu bytes instead of %zu, pieces of %zu", out.n, wanted.n, want);
    bl_buf_release(&out);
}

static void random_lines(struct bl_buf *text, size_t bytes) {
    struct bl_rng r = {bytes};
    while (text->n < bytes) {
        for (uint64_t n = bl_rng_below(&r, 300); n > 0; n--) bl_buf_byte(text, (char)('a' + bl_rng_below(&r, 20)));
        bl_buf_byte(text, '\n');
    }
}

static void every_form_gives_the_same_lines(void **state) {
    (void)state;
    static const size_t wants[] = {1, 7, 1000, 65536, 300000, 10000000};
    struct bl_buf text = {0}, packed = {0};
    random_lines(&text, 1500000);
    for (int form = 0; form < 3; form++) {
        bl_buf_clear(&packed);
        if (form == 1) gzip(bl_buf_view(&text), &packed);
        if (form == 2) zstd(bl_buf_view(&text), &packed);
        write_file(bl_buf_view(form ? &packed : &text));
        for (size_t i = 1; i < sizeof wants / sizeof *wants; i++) expect_all(bl_buf_view(&text), wants[i]);
    }
    bl_buf_release(&text), bl_buf_release(&packed);
}

static void members_and_frames_may_follow_one_another(void **state) {
    (void)state;
    struct bl_buf packed = {0};
    for (int form = 0; form < 2; form++) {
        bl_buf_clear(&packed);
        (form ? zstd : gzip)(BL_LIT("one\ntw"), &packed);
        (form ? zstd : gzip)(BL_LIT(""), &packed);
        (form ? zstd : gzip)(BL_LIT("o\nthree"), &packed);
        write_file(bl_buf_view(&packed));
        expect_all(BL_LIT("one\ntwo\nthree\n"), 1);
        expect_all(BL_LIT("one\ntwo\nthree\n"), 100);
    }
    bl_buf_release(&packed);
}

static void the_last_line_gets_its_end_and_an_empty_file_has_no_lines(void **state) {
    (void)state;
    static const struct {
        const char *text, *lines;
    } table[] = {{"", ""}, {"x", "x\n"}, {"x\n", "x\n"}, {"\n\nx", "\n\nx\n"}, {"a\nb", "a\nb\n"}, {"\n", "\n"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (size_t want = 1; want < 5; want++) {
            write_file(bl_str(table[i].text));
            expect_all(bl_str(table[i].lines), want);
        }
}

/* Pieces of every size over a file whose lines have every length. */
static void lines_are_whole_whatever_the_size_of_the_pieces(void **state) {
    (void)state;
    struct bl_buf text = {0};
    for (size_t n = 0; n < 60; n++) {
        for (size_t k = 0; k < n; k++) bl_buf_byte(&text, 'x');
        bl_buf_byte(&text, '\n');
    }
    write_file(bl_buf_view(&text));
    for (size_t want = 1; want <= text.n + 1; want++) expect_all(bl_buf_view(&text), want);
    bl_buf_release(&text);
}

/* Cut after any byte, compressed data either fails or, where the cut is between frames, ends there. */
static void compressed_data_that_ends_too_early_is_an_error(void **state) {
    (void)state;
    struct bl_buf text = {0}, packed = {0};
    random_lines(&text, 2000);
    for (int form = 0; form < 2; form++) {
        bl_buf_clear(&packed);
        (form ? zstd : gzip)(bl_buf_view(&text), &packed);
        for (size_t n = 4; n < packed.n; n++) {
            struct bl_error err = {0};
            struct bl_buf out = {0};
            write_file(bl_strn(packed.p, n));
            if (read_all(1000000, LINE_MAX_BYTES, &out, &err) != BL_E_CORRUPT) fail_msg("form %d cut at %zu", form, n);
            EXPECT(strstr(err.message, path));
            bl_buf_release(&out);
        }
        packed.p[packed.n / 2] ^= 0x55; /* and damage is no end of file */
        struct bl_error err = {0};
        struct bl_buf out = {0};
        write_file(bl_buf_view(&packed));
        enum bl_rc rc = read_all(1000000, LINE_MAX_BYTES, &out, &err);
        EXPECT(rc == BL_E_CORRUPT || !bl_str_eq(bl_buf_view(&out), bl_buf_view(&text)));
        bl_buf_release(&out);
    }
    bl_buf_release(&text), bl_buf_release(&packed);
}

static void a_line_beyond_the_limit_is_refused(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_buf text = {0}, out = {0};
    for (int i = 0; i < 100000; i++) bl_buf_byte(&text, 'x');
    write_file(bl_buf_view(&text));
    EXPECT_RC(read_all(1000, 99999, &out, &err), BL_E_TOO_LARGE);
    EXPECT(strstr(err.message, "99999"));
    bl_buf_clear(&out);
    EXPECT_OK(read_all(1000, 100000, &out, &err), &err);
    bl_buf_release(&text), bl_buf_release(&out);
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct lines *l = NULL;
    EXPECT_RC(lines_open("/no/such/file.ndjson", &l, &err), BL_E_NOT_FOUND);
    EXPECT(!l && strstr(err.message, "/no/such/file.ndjson"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_same_lines),
        cmocka_unit_test(members_and_frames_may_follow_one_another),
        cmocka_unit_test(the_last_line_gets_its_end_and_an_empty_file_has_no_lines),
        cmocka_unit_test(lines_are_whole_whatever_the_size_of_the_pieces),
        cmocka_unit_test(compressed_data_that_ends_too_early_is_an_error),
        cmocka_unit_test(a_line_beyond_the_limit_is_refused),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
