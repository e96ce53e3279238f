#include "expect.h"
#include "net/ws.h"

#include "base/rng.h"

#include <stdlib.h>

/* Everything a parser says about a byte stream, as text, so that two runs can be compared. */
struct transcript {
    struct bl_buf text;
    bool violated;
    unsigned close_code;
};

static void note(struct transcript *t, const struct ws_message *m) {
    bl_buf_printf(&t->text, "%d:%u:%zu:", (int)m->op, m->close_code, m->data.n);
    bl_buf_str(&t->text, m->data);
    bl_buf_byte(&t->text, '\n');
}

/* Feed `wire` in pieces of random size (one piece when `rng` is NULL), carrying the unconsumed tail as an owner does. Each
 * piece lives in its own allocation of exact size, so that the sanitizer sees any overrun. */
static void run(struct ws_parser *w, struct bl_str wire, struct bl_rng *rng, struct transcript *t) {
    struct bl_buf tail = {0};
    while (wire.n && !t->violated) {
        size_t piece = rng ? 1 + (size_t)bl_rng_below(rng, bl_rng_below(rng, 4) ? 9 : 3000) : wire.n;
        if (piece > wire.n) piece = wire.n;
        char *fed = bl_xmalloc(tail.n + piece);
        if (tail.n) memcpy(fed, tail.p, tail.n);
        memcpy(fed + tail.n, wire.p, piece);
        size_t n = tail.n + piece;
        wire = bl_str_skip(wire, piece);
        ws_feed(w, fed, n);
        struct ws_message m;
        struct bl_error err = {0};
        int got;
        while ((got = ws_next(w, &m, &err)) == 1) note(t, &m);
        if (got < 0) {
            t->violated = true;
            t->close_code = m.close_code;
            EXPECT(err.code == BL_E_NET && err.message[0]);
        }
        EXPECT(ws_consumed(w) <= n);
        bl_buf_clear(&tail);
        bl_buf_add(&tail, fed + ws_consumed(w), n - ws_consumed(w));
        free(fed);
    }
    bl_buf_release(&tail);
}

static void run_once(bool expect_masked, size_t max, struct bl_str wire, struct bl_rng *rng, struct transcript *t,
                     uint64_t *oversized) {
    struct ws_parser w;
    ws_parser_init(&w, expect_masked, max);
    run(&w, wire, rng, t);
    if (oversized) *oversized = w.oversized;
    ws_parser_release(&w);
}

static void expect_violation(bool expect_masked, struct bl_str wire, unsigned close_code) {
    struct transcript t = {0};
    run_once(expect_masked, 0, wire, NULL, &t, NULL);
    EXPECT(t.violated);
    assert_int_equal(t.close_code, close_code);
    bl_buf_release(&t.text);
}

#define WIRE(...) bl_strn((const char[]){__VA_ARGS__}, sizeof((const char[]){__VA_ARGS__}))

static void the_examples_of_the_rfc_parse(void **state) {
    (void)state;
    struct transcript t = {0};
    run_once(false, 0, BL_LIT("\x81\x05Hello\x01\x03Hel\x80\x02lo\x89\x05Hello"), NULL, &t, NULL);
    EXPECT(!t.violated);
    EXPECT_STR(bl_buf_view(&t.text), "1:0:5:Hello\n1:0:5:Hello\n9:0:5:Hello\n");
    bl_buf_clear(&t.text);
    run_once(true, 0, BL_LIT("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), NULL, &t, NULL);
    EXPECT_STR(bl_buf_view(&t.text), "1:0:5:Hello\n");
    bl_buf_release(&t.text);
}

static void the_accept_key_of_the_rfc_matches(void **state) {
    (void)state;
    char accept[29], key[25];
    ws_accept_of_key(BL_LIT("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ws_make_key(0, 0, key);
    assert_string_equal(key, "AAAAAAAAAAAAAAAAAAAAAA==");
}

static void violations_are_refused(void **state) {
    (void)state;
    expect_violation(false, WIRE((char)0xc1, 0), 1002);                      /* RSV1 */
    expect_violation(false, WIRE((char)0x91, 0), 1002);                      /* RSV3 */
    expect_violation(false, WIRE((char)0x83, 0), 1002);                      /* opcode 3 */
    expect_violation(false, WIRE((char)0x8b, 0), 1002);                      /* opcode 11 */
    expect_violation(false, WIRE((char)0x81, (char)0x80, 0, 0, 0, 0), 1002); /* masked server frame */
    expect_violation(true, WIRE((char)0x81, 0), 1002);                       /* unmasked client frame */
    expect_violation(false, WIRE(0x09, 0), 1002);                            /* fragmented ping */
    expect_violation(false, WIRE((char)0x89, 126, 0, 126), 1002);            /* long ping */
    expect_violation(false, WIRE((char)0x80, 0), 1002);                      /* stray continuation */
    expect_violation(false, WIRE(0x01, 0, (char)0x81, 0), 1002);             /* message in message */
    expect_violation(false, WIRE((char)0x82, 127, (char)0x80, 0, 0, 0, 0, 0, 0, 0), 1002);
    expect_violation(false, WIRE((char)0x82, 127, 0, 0, 0, 0, 0, 0, 1, 0), 1002); /* long form of a short length */
    expect_violation(false, WIRE((char)0x82, 126, 0, 125), 1002);
    expect_violation(false, WIRE((char)0x88, 1, 3), 1002);
    expect_violation(false, WIRE((char)0x88, 2, 3, (char)0xec), 1002); /* 1004 */
    expect_violation(false, WIRE((char)0x88, 2, 3, (char)0xed), 1002); /* 1005 */
    expect_violation(false, WIRE((char)0x88, 2, 3, (char)0xee), 1002); /* 1006 */
    expect_violation(false, WIRE((char)0x88, 2, 0, 0), 1002);
    expect_violation(false, WIRE((char)0x88, 3, 3, (char)0xe8, (char)0xff), 1007);
    expect_violation(false, BL_LIT("HTTP/1.1 400"), 1002);
}

static void close_frames_carry_code_and_reason(void **state) {
    (void)state;
    struct transcript t = {0};
    struct bl_buf wire = {0};
    ws_close_frame(&wire, 1001, BL_LIT("server shutting down"), false, 0);
    run_once(false, 0, bl_buf_view(&wire), NULL, &t, NULL);
    EXPECT_STR(bl_buf_view(&t.text), "8:1001:20:server shutting down\n");
    bl_buf_clear(&t.text);
    bl_buf_clear(&wire);
    ws_close_frame(&wire, 1005, bl_strn(NULL, 0), true, 7);
    run_once(true, 0, bl_buf_view(&wire), NULL, &t, NULL);
    EXPECT_STR(bl_buf_view(&t.text), "8:1005:0:\n");
    bl_buf_release(&wire);
    bl_buf_release(&t.text);
}

static void a_long_close_reason_is_cut_between_characters(void **state) {
    (void)state;
    char reason[200];
    for (size_t i = 0; i < sizeof reason; i += 2) memcpy(reason + i, "\xc3\xa4", 2);
    struct bl_buf wire = {0};
    struct transcript t = {0};
    ws_close_frame(&wire, 1008, bl_strn(reason, sizeof reason), false, 0);
    EXPECT((unsigned char)wire.p[1] == 124);
    run_once(false, 0, bl_buf_view(&wire), NULL, &t, NULL);
    EXPECT(!t.violated);
    bl_buf_release(&wire);
    bl_buf_release(&t.text);
}

static void random_bytes(struct bl_rng *rng, struct bl_buf *out, size_t n) {
    bl_buf_clear(out);
    for (size_t i = 0; i < n; i++) bl_buf_byte(out, (char)bl_rng_u64(rng));
}

/* One frame with any FIN bit, which ws_frame does not offer: clear the bit afterwards. */
static void add_frame(struct bl_buf *wire, enum ws_op op, bool final, struct bl_str data, bool masked, uint32_t key) {
    size_t at = wire->n;
    ws_frame(wire, op, data, masked, key);
    if (!final) wire->p[at] = (char)(wire->p[at] & 0x7f);
}

/* A random valid conversation; what it says goes to `expected`. */
static void random_conversation(struct bl_rng *rng, bool masked, size_t max, struct bl_buf *wire,
                                struct transcript *expected, uint64_t *oversized) {
    static const size_t sizes[] = {0, 1, 125, 126, 127, 300, 65535, 65536, 70000};
    struct bl_buf data = {0};
    for (size_t messages = 1 + bl_rng_below(rng, 12); messages > 0; messages--) {
        size_t size = bl_rng_below(rng, 3) ? bl_rng_below(rng, 200) : sizes[bl_rng_below(rng, 9)];
        size_t parts = bl_rng_below(rng, 2) ? 1 : 1 + bl_rng_below(rng, 4);
        enum ws_op op = bl_rng_below(rng, 2) ? WS_TEXT : WS_BINARY;
        random_bytes(rng, &data, size);
        struct bl_str rest = bl_buf_view(&data);
        for (size_t part = 0; part < parts; part++) {
            size_t n = part + 1 == parts ? rest.n : (size_t)bl_rng_below(rng, rest.n + 1);
            add_frame(wire, part ? WS_CONTINUATION : op, part + 1 == parts, bl_strn(rest.p, n), masked,
                      (uint32_t)bl_rng_u64(rng));
            rest = bl_str_skip(rest, n);
            if (part + 1 < parts && bl_rng_below(rng, 2)) {
                add_frame(wire, WS_PING, true, BL_LIT("mid"), masked, (uint32_t)bl_rng_u64(rng));
                note(expected, &(struct ws_message){.op = WS_PING, .data = BL_LIT("mid")});
            }
        }
        if (size > max)
            ++*oversized;
        else
            note(expected, &(struct ws_message){.op = op, .data = bl_buf_view(&data)});
    }
    bl_buf_release(&data);
}

static void conversations_parse_the_same_however_they_are_split(void **state) {
    (void)state;
    struct bl_rng rng = {42};
    for (int round = 0; round < 300; round++) {
        bool masked = bl_rng_below(&rng, 2);
        size_t max = bl_rng_below(&rng, 2) ? 1 << 20 : 150;
        struct bl_buf wire = {0};
        struct transcript expected = {0}, whole = {0}, split = {0};
        uint64_t oversized = 0, counted = 0;
        random_conversation(&rng, masked, max, &wire, &expected, &oversized);
        run_once(masked, max, bl_buf_view(&wire), NULL, &whole, &counted);
        EXPECT(!whole.violated && counted == oversized);
        EXPECT(bl_str_eq(bl_buf_view(&whole.text), bl_buf_view(&expected.text)));
        run_once(masked, max, bl_buf_view(&wire), &rng, &split, &counted);
        EXPECT(!split.violated && counted == oversized);
        EXPECT(bl_str_eq(bl_buf_view(&split.text), bl_buf_view(&expected.text)));
        bl_buf_release(&wire);
        bl_buf_release(&expected.text);
        bl_buf_release(&whole.text);
        bl_buf_release(&split.text);
    }
}

static void damaged_and_random_bytes_never_crash_and_splits_agree(void **state) {
    (void)state;
    struct bl_rng rng = {7};
    for (int round = 0; round < 3000; round++) {
        bool masked = bl_rng_below(&rng, 2);
        struct bl_buf wire = {0};
        struct transcript expected = {0}, whole = {0}, split = {0};
        uint64_t oversized = 0;
        if (bl_rng_below(&rng, 3))
            random_conversation(&rng, masked, 100, &wire, &expected, &oversized);
        else
            random_bytes(&rng, &wire, 1 + bl_rng_below(&rng, 400));
        for (size_t hits = bl_rng_below(&rng, 4); hits > 0; hits--)
            wire.p[bl_rng_below(&rng, wire.n < 64 ? wire.n : 64)] = (char)bl_rng_u64(&rng);
        if (wire.n > 4000) wire.n = 4000;
        uint64_t a = 0, b = 0;
        run_once(masked, 100, bl_buf_view(&wire), NULL, &whole, &a);
        run_once(masked, 100, bl_buf_view(&wire), &rng, &split, &b);
        EXPECT(whole.violated == split.violated && whole.close_code == split.close_code && a == b);
        EXPECT(bl_str_eq(bl_buf_view(&whole.text), bl_buf_view(&split.text)));
        bl_buf_release(&wire);
        bl_buf_release(&expected.text);
        bl_buf_release(&whole.text);
        bl_buf_release(&split.text);
    }
}

static void an_endless_oversized_frame_needs_no_memory(void **state) {
    (void)state;
    struct ws_parser w;
    ws_parser_init(&w, false, 1000);
    char head[] = {(char)0x82, 127, 0x7f, (char)0xff, (char)0xff, (char)0xff, (char)0xff, (char)0xff, (char)0xff, (char)0xff};
    struct ws_message m;
    ws_feed(&w, head, sizeof head);
    EXPECT(ws_next(&w, &m, NULL) == 0 && ws_consumed(&w) == sizeof head);
    char block[4096] = {0};
    for (int i = 0; i < 1000; i++) {
        ws_feed(&w, block, sizeof block);
        EXPECT(ws_next(&w, &m, NULL) == 0 && ws_consumed(&w) == sizeof block);
    }
    EXPECT(w.joined.cap == 0 && w.oversized == 1);
    ws_parser_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_parse),
        cmocka_unit_test(the_accept_key_of_the_rfc_matches),
        cmocka_unit_test(violations_are_refused),
        cmocka_unit_test(close_frames_carry_code_and_reason),
        cmocka_unit_test(a_long_close_reason_is_cut_between_characters),
        cmocka_unit_test(conversations_parse_the_same_however_they_are_split),
        cmocka_unit_test(damaged_and_random_bytes_never_crash_and_splits_agree),
        cmocka_unit_test(an_endless_oversized_frame_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
