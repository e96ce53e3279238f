#include <inttypes.h>

#include "base/rng.h"
#include "buffer/block.h"
#include "expect.h"

enum { ROUNDS = 400 };

static void random_lines(struct bl_rng *rng, struct bl_buf *raw, uint32_t *count) {
    bl_buf_clear(raw);
    *count = (uint32_t)(1 + bl_rng_below(rng, 60));
    bool noisy = bl_rng_below(rng, 4) == 0;
    for (uint32_t i = 0; i < *count; i++) {
        for (uint64_t n = bl_rng_below(rng, 200); n; n--) {
            char c = noisy ? (char)bl_rng_u64(rng) : (char)('a' + bl_rng_below(rng, 4));
            bl_buf_byte(raw, c == '\n' ? 0 : c);
        }
        bl_buf_byte(raw, '\n');
    }
}

static struct block random_block(struct bl_rng *rng, uint32_t count) {
    return (struct block){.incarnation = bl_rng_u64(rng),
                          .seq = 1 + bl_rng_below(rng, INT64_MAX - 1),
                          .offset = bl_rng_below(rng, INT64_MAX),
                          .count = count,
                          .first_us = 5,
                          .last_us = (int64_t)(5 + bl_rng_below(rng, INT64_MAX - 5))};
}

static void random_payloads_come_back_through_the_fields(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_rng rng = {1};
    struct block_codec *codec = block_codec_new(0);
    struct bl_buf raw = {0}, packed = {0}, scratch = {0}, out = {0};
    unsigned stored = 0;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t count = 0;
        random_lines(&rng, &raw, &count);
        struct block b = random_block(&rng, count), parsed;
        EXPECT_OK(block_pack(codec, bl_buf_view(&raw), &packed, &b, &err), &err);
        struct block_field fields[BLOCK_FIELDS];
        bl_buf_clear(&scratch);
        block_fields(&b, &scratch, fields);
        EXPECT_OK(block_parse(fields, BLOCK_FIELDS, &parsed, &err), &err);
        assert_int_equal(parsed.incarnation, b.incarnation);
        assert_int_equal(parsed.seq, b.seq);
        assert_int_equal(parsed.offset, b.offset);
        assert_int_equal(parsed.last_us, b.last_us);
        EXPECT_OK(block_unpack(codec, &parsed, &out, &err), &err);
        EXPECT(bl_str_eq(bl_buf_view(&out), bl_buf_view(&raw)));
        if (!b.compressed) stored++;
    }
    EXPECT(stored > 0);
    EXPECT(stored < ROUNDS);
    block_codec_free(&codec);
    bl_buf_release(&raw), bl_buf_release(&packed), bl_buf_release(&scratch), bl_buf_release(&out);
}

static void every_flipped_bit_and_every_cut_is_detected(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_rng rng = {2};
    struct block_codec *codec = block_codec_new(1);
    struct bl_buf raw = {0}, packed = {0}, out = {0};
    uint64_t undetected = 0;
    for (int i = 0; i < 8; i++) {
        uint32_t count = 0;
        random_lines(&rng, &raw, &count);
        struct block b = random_block(&rng, count);
        EXPECT_OK(block_pack(codec, bl_buf_view(&raw), &packed, &b, &err), &err);
        for (size_t bit = 0; bit < packed.n * 8; bit++) {
            packed.p[bit / 8] ^= (char)(1 << bit % 8);
            enum bl_rc rc = block_unpack(codec, &b, &out, &err);
            /* A flip in a part of the frame header that carries no information changes no event. */
            if (rc == BL_OK && !bl_str_eq(bl_buf_view(&out), bl_buf_view(&raw))) undetected++;
            packed.p[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t n = 0; n < packed.n; n++) {
            struct block cut = b;
            cut.data.n = n;
            EXPECT_RC(block_unpack(codec, &cut, &out, &err), BL_E_CORRUPT);
        }
    }
    assert_int_equal(undetected, 0);
    block_codec_free(&codec);
    bl_buf_release(&raw), bl_buf_release(&packed), bl_buf_release(&out);
}

static void wrong_count_sum_length_and_trailing_bytes_are_corrupt(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct block_codec *codec = block_codec_new(1);
    struct bl_buf packed = {0}, out = {0};
    struct block b = {.incarnation = 1, .seq = 1, .count = 3, .first_us = 1, .last_us = 2};
    static const char lines[] = "{\"a\":1,\"padding\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n{}\n{}\n";
    EXPECT_OK(block_pack(codec, bl_str(lines), &packed, &b, &err), &err);
    EXPECT(b.compressed);
    struct block bad = b;
    bad.count = 4;
    EXPECT_RC(block_unpack(codec, &bad, &out, &err), BL_E_CORRUPT);
    bad = b;
    bad.sum ^= 1;
    EXPECT_RC(block_unpack(codec, &bad, &out, &err), BL_E_CORRUPT);
    for (int step = -1; step <= 1; step += 2) {
        bad = b;
        bad.raw_len += (uint32_t)step;
        EXPECT_RC(block_unpack(codec, &bad, &out, &err), BL_E_CORRUPT);
    }
    bad = b;
    bad.raw_len = BLOCK_RAW_MAX + 1;
    EXPECT_RC(block_unpack(codec, &bad, &out, &err), BL_E_CORRUPT);
    bl_buf_byte(&packed, 0);
    bad = b;
    bad.data = bl_buf_view(&packed);
    EXPECT_RC(block_unpack(codec, &bad, &out, &err), BL_E_CORRUPT);
    EXPECT_RC(block_pack(codec, BL_LIT("no newline"), &packed, &b, &err), BL_E_INVALID);
    EXPECT_RC(block_pack(codec, BL_LIT(""), &packed, &b, &err), BL_E_INVALID);
    block_codec_free(&codec);
    bl_buf_release(&packed), bl_buf_release(&out);
}

static void a_bad_field_is_named(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
    } bad[] = {{"v", "2"},    {"v", "01x"},     {"inc", "12"},  {"inc", "00000000000000AB"}, {"seq", "0"}, {"seq", "-1"},
               {"off", ""},   {"off", "x"},     {"n", "0"},     {"n", "99999999999"},        {"first", "9"}, {"last", "1e3"},
               {"codec", "lz4"}, {"len", "67108865"}, {"len", "1"}, {"sum", "zz"},          {"data", ""}};
    struct bl_error err = {0};
    struct block good = {.incarnation = 0xab, .seq = 1, .count = 1, .first_us = 1, .last_us = 2, .raw_len = 3,
                         .data = BL_LIT("{}\n")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bl_buf scratch = {0};
        struct block_field fields[BLOCK_FIELDS + 1];
        struct block out;
        block_fields(&good, &scratch, fields);
        EXPECT_OK(block_parse(fields, BLOCK_FIELDS, &out, &err), &err);
        size_t at = 0;
        while (!bl_str_eq(fields[at].name, bl_str(bad[i].name))) at++;
        struct block_field kept = fields[at];
        fields[at].value = bl_str(bad[i].value);
        EXPECT_RC(block_parse(fields, BLOCK_FIELDS, &out, &err), BL_E_CORRUPT);
        char wanted[32];
        snprintf(wanted, sizeof wanted, "field %s:", bad[i].name);
        if (!strstr(err.message, wanted)) fail_msg("\"%s\" does not name %s", err.message, bad[i].name);
        fields[at] = (struct block_field){BL_LIT("unknown"), BL_LIT("ignored")};
        EXPECT_RC(block_parse(fields, BLOCK_FIELDS, &out, &err), BL_E_CORRUPT);
        fields[at] = kept;
        fields[BLOCK_FIELDS] = kept;
        EXPECT_RC(block_parse(fields, BLOCK_FIELDS + 1, &out, &err), BL_E_CORRUPT);
        bl_buf_release(&scratch);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_payloads_come_back_through_the_fields),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_detected),
        cmocka_unit_test(wrong_count_sum_length_and_trailing_bytes_are_corrupt),
        cmocka_unit_test(a_bad_field_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
