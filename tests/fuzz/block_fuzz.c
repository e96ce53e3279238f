/* fuzz_block: bytes as a block of the buffer, in two ways told apart by the first byte.
 *
 *   F   the fields of a stream entry: "name=value" lines, an empty line, the bytes of `data`. What is accepted is
 *       written and read again the same, and what it unpacks to is what its fields say
 *   P   events, whatever they hold: packed, put into fields, read and unpacked they come back; cut anywhere they are
 *       refused, and a flipped bit never changes them unnoticed */
#include <xxhash.h>

#include "buffer/block.h"

#define FUZZ_MAKES_SEEDS
#include "fuzz.h"

enum { FIELDS_MAX = 40 };

static const char *const fuzz_words[] = {"\n",     "=",       "\n\n",   "v=1\n",    "inc=0000000000000001\n",
                                         "seq=1",  "off=0",   "n=1",    "first=0",  "last=9223372036854775807",
                                         "codec=", "zstd",    "raw",    "len=3",    "len=67108864\n",
                                         "sum=",   "unknown", "{}\n",   "-1",       "18446744073709551616",
                                         "0",      "00",      "\x28\xb5\x2f\xfd", "\xff", "data=x\n"};
static const size_t fuzz_seed_count = 5;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

static struct block_codec *codec;
static struct bl_buf packed, unpacked, scratch;

static uint32_t lines_of(struct bl_str s) {
    uint32_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += s.p[i] == '\n';
    return n;
}

static void fuzz_make_seed(size_t n, struct bl_buf *out) {
    static const char *const events[] = {"P{\"a\":1}\n{\"b\":2}\n", "P\n",
                                         "Pxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"};
    if (n < 3) {
        bl_buf_z(out, events[n]);
        return;
    }
    if (!codec) codec = block_codec_new(1);
    struct bl_str raw =
        n == 3 ? BL_LIT("{}\n") : BL_LIT("{\"padding\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n{}\n");
    struct block b = {.incarnation = 1, .seq = 2, .offset = 3, .count = lines_of(raw), .first_us = 4, .last_us = 5};
    struct block_field fields[BLOCK_FIELDS];
    if (block_pack(codec, raw, &packed, &b, NULL) != BL_OK) abort();
    bl_buf_clear(&scratch);
    block_fields(&b, &scratch, fields);
    bl_buf_byte(out, 'F');
    for (int i = 0; i < BLOCK_FIELDS - 1; i++)
        bl_buf_printf(out, "%.*s=%.*s\n", BL_ARG(fields[i].name), BL_ARG(fields[i].value));
    bl_buf_byte(out, '\n');
    bl_buf_str(out, b.data);
}

static bool same(const struct block *a, const struct block *b) {
    return a->incarnation == b->incarnation && a->seq == b->seq && a->offset == b->offset && a->count == b->count &&
           a->first_us == b->first_us && a->last_us == b->last_us && a->raw_len == b->raw_len && a->sum == b->sum &&
           a->compressed == b->compressed && bl_str_eq(a->data, b->data);
}

static void check_fields(const struct block *b, struct block *again, struct bl_str input) {
    struct block_field fields[BLOCK_FIELDS];
    bl_buf_clear(&scratch);
    block_fields(b, &scratch, fields);
    if (block_parse(fields, BLOCK_FIELDS, again, NULL) != BL_OK || !same(b, again))
        fuzz_fail("its own fields are read differently", input);
}

static bool read_entry(struct bl_str text, struct bl_str input) {
    struct block_field fields[FIELDS_MAX];
    struct block b, again;
    size_t count = 0;
    while (text.n && text.p[0] != '\n' && count + 1 < FIELDS_MAX) {
        struct bl_str value = bl_str_cut(&text, '\n'), name = bl_str_cut(&value, '=');
        fields[count++] = (struct block_field){name, value};
    }
    fields[count++] = (struct block_field){BL_LIT("data"), bl_str_skip(text, 1)};
    struct bl_error err = {0};
    if (block_parse(fields, count, &b, &err) != BL_OK) {
        if (!*err.message) fuzz_fail("refused without a word", input);
        return false;
    }
    check_fields(&b, &again, input);
    if (block_unpack(codec, &b, &unpacked, &err) != BL_OK) {
        if (err.code != BL_E_CORRUPT) fuzz_fail("a bad block is not told as corrupt", input);
        return false;
    }
    if (unpacked.n != b.raw_len || XXH3_64bits(unpacked.p, unpacked.n) != b.sum ||
        lines_of(bl_buf_view(&unpacked)) != b.count)
        fuzz_fail("unpacked it is not what its fields say", input);
    return true;
}

static bool unpacks_to(const struct block *b, struct bl_str raw) {
    return block_unpack(codec, b, &unpacked, NULL) == BL_OK && bl_str_eq(bl_buf_view(&unpacked), raw);
}

static bool pack_events(struct bl_str raw, struct bl_str input) {
    struct block b = {.incarnation = 7, .seq = 1, .count = lines_of(raw), .first_us = 1, .last_us = 2}, again;
    bool whole = raw.n && raw.p[raw.n - 1] == '\n';
    if ((block_pack(codec, raw, &packed, &b, NULL) == BL_OK) != whole) fuzz_fail("packed without its end", input);
    if (!whole) return false;
    check_fields(&b, &again, input);
    if (!unpacks_to(&again, raw)) fuzz_fail("packed events do not come back", input);
    struct bl_rng r = {again.sum};
    struct block cut = again;
    cut.data.n = fuzz_below(&r, packed.n);
    if (block_unpack(codec, &cut, &unpacked, NULL) != BL_E_CORRUPT) fuzz_fail("a cut block is accepted", input);
    size_t bit = fuzz_below(&r, packed.n * 8);
    packed.p[bit / 8] ^= (char)(1 << bit % 8);
    if (block_unpack(codec, &again, &unpacked, NULL) == BL_OK && !bl_str_eq(bl_buf_view(&unpacked), raw))
        fuzz_fail("a flipped bit changes events unnoticed", input);
    return true;
}

static bool fuzz_one(struct bl_str input) {
    if (!codec) codec = block_codec_new(1);
    if (!input.n) return false;
    struct bl_str rest = bl_str_skip(input, 1);
    return input.p[0] == 'P' ? pack_events(rest, input) : read_entry(rest, input);
}
