#include "event/cbor.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/rng.h"
#include "event/json.h"
#include "expect.h"

static struct bl_buf out; /* one for all tests, as in the pipeline */

static int release_out(void **state) {
    (void)state;
    bl_buf_release(&out);
    return 0;
}

static void hex_of(struct bl_str bytes, struct bl_buf *hex) {
    for (size_t i = 0; i < bytes.n; i++) bl_buf_printf(hex, "%02x", (unsigned char)bytes.p[i]);
}

/* The input is copied to its exact size, so that reading past its end is seen. */
static enum bl_rc encode(struct bl_str json, struct bl_error *err) {
    char *exact = bl_xmalloc(json.n + 1);
    memcpy(exact, json.p, json.n);
    bl_buf_clear(&out);
    enum bl_rc rc = cbor_of_json(bl_strn(exact, json.n), &out, err);
    free(exact);
    return rc;
}

static void expect_hex(const char *json, const char *wanted) {
    BL_CLEANUP(bl_buf_release) struct bl_buf hex = {0};
    struct bl_error err = {0};
    enum bl_rc rc = encode(bl_str(json), &err);
    if (rc != BL_OK) fail_msg("%s: %s", json, err.message);
    hex_of(bl_buf_view(&out), &hex);
    if (!bl_str_eq(bl_buf_view(&hex), bl_str(wanted))) fail_msg("%s: got %s, want %s", json, bl_buf_cstr(&hex), wanted);
}

static void expect_refused(const char *json, enum bl_rc wanted) {
    struct bl_error err = {0};
    bl_buf_clear(&out);
    bl_buf_z(&out, "before");
    enum bl_rc rc = cbor_of_json(bl_str(json), &out, &err);
    if (rc != wanted) fail_msg("%s: got %s, want %s", json, bl_rc_name(rc), bl_rc_name(wanted));
    EXPECT(err.code == wanted && err.message[0]);
    EXPECT_STR(bl_buf_view(&out), "before");
}

static void integers_take_their_shortest_form(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"0", "00"}, {"1", "01"}, {"10", "0a"}, {"23", "17"}, {"24", "1818"}, {"25", "1819"}, {"100", "1864"},
        {"255", "18ff"}, {"256", "190100"}, {"1000", "1903e8"}, {"65535", "19ffff"}, {"65536", "1a00010000"},
        {"1000000", "1a000f4240"}, {"4294967295", "1affffffff"}, {"4294967296", "1b0000000100000000"},
        {"1000000000000", "1b000000e8d4a51000"}, {"9223372036854775807", "1b7fffffffffffffff"},
        {"9223372036854775808", "1b8000000000000000"}, {"18446744073709551615", "1bffffffffffffffff"},
        {"-1", "20"}, {"-10", "29"}, {"-24", "37"}, {"-25", "3818"}, {"-100", "3863"}, {"-256", "38ff"},
        {"-257", "390100"}, {"-1000", "3903e7"}, {"-65536", "39ffff"}, {"-65537", "3a00010000"},
        {"-4294967296", "3affffffff"}, {"-4294967297", "3b0000000100000000"},
        {"-9223372036854775808", "3b7fffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_hex(cases[i][0], cases[i][1]);
}

static void integral_numbers_are_integers_however_they_are_spelt(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"-0", "00"}, {"0.0", "00"}, {"-0.000", "00"}, {"0e999999999999", "00"}, {"0.0e-7", "00"}, {"123.0", "187b"},
        {"1.230e2", "187b"}, {"12300e-2", "187b"}, {"1230.00E-1", "187b"}, {"1e3", "1903e8"}, {"1E+3", "1903e8"},
        {"-1.0", "20"}, {"0.001e5", "1864"}, {"1e19", "1b8ac7230489e80000"},
        {"18446744073709551615.000", "1bffffffffffffffff"},
        {"1844674407370955161500000e-5", "1bffffffffffffffff"}, {"-9223372036854775808.0", "3b7fffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_hex(cases[i][0], cases[i][1]);
}

static void numbers_beyond_64_bit_integers_are_not_recomputable(void **state) {
    (void)state;
    static const char *const cases[] = {
        "1.5", "123.456", "-0.1", "1e-1", "15e-1", "0.00001", "18446744073709551616", "-9223372036854775809", "1e20",
        "-1e19",
        "1e999999999999999999999", "1e-999999999999999999999", "123456789012345678901234567890", "[1,[2,{\"a\":2.5}]]",
        "1.0000000000000000000000000000000000001",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refused(cases[i], BL_E_INVALID);
}

static void values_have_their_one_form(void **state) {
    (void)state;
    expect_hex("null", "f6");
    expect_hex("true", "f5");
    expect_hex(" false ", "f4");
    expect_hex("\"\"", "60");
    expect_hex("\"IETF\"", "6449455446");
    expect_hex("\"\xc3\xbc\"", "62c3bc");
    expect_hex("[]", "80");
    expect_hex("{}", "a0");
    expect_hex("[1,[2,3],[4,5]]", "8301820203820405");
    expect_hex("{\"a\":1,\"b\":[2,3]}", "a26161016162820203");
}

static void keys_are_ordered_by_length_then_bytes(void **state) {
    (void)state;
    expect_hex("{\"b\":1,\"a\":2}", "a2616102616201");
    expect_hex("{\"aa\":1,\"b\":2}", "a261620262616101");
    expect_hex("{\"\":0,\"z\":1,\"aa\":2}", "a36000617a0162616102");
    expect_hex("{\"aa\":2,\"z\":1,\"\":0}", "a36000617a0162616102");
    expect_hex("{\"longkey2\":{\"y\":1,\"x\":2},\"longkey1\":1}",
               "a2686c6f6e676b65793101686c6f6e676b657932a2617802617901");
    expect_hex("{\"\\u0062\":1,\"a\":2}", "a2616102616201");
    expect_hex("{\"\xc3\xa9\":1,\"zz\":2}", "a2627a7a0262c3a901"); /* by bytes, not by characters */
}

static void of_duplicate_keys_the_last_counts(void **state) {
    (void)state;
    expect_hex("{\"a\":1,\"a\":2}", "a1616102");
    expect_hex("{\"a\":1,\"b\":3,\"\\u0061\":2}", "a2616102616203");
    expect_hex("{\"a\":{\"x\":1},\"a\":[]}", "a1616180");
    expect_hex("{\"$bytes\":1,\"$bytes\":\"AA\"}", "4100");
    expect_hex("{\"a\":1.5,\"a\":1}", "a1616101");
    expect_hex("{\"a\":[{\"b\":\"\\ud800\"}],\"b\":1,\"a\":{\"$link\":1},\"\\u0061\":2}", "a2616102616201");
    expect_refused("{\"a\":1,\"a\":1.5}", BL_E_INVALID);
    expect_refused("{\"a\":1.5,\"b\":2,\"b\":3}", BL_E_INVALID);
    expect_refused("{\"b\":1.5,\"a\":{\"c\":1.5,\"c\":3}}", BL_E_INVALID);
}

static void strings_are_unescaped(void **state) {
    (void)state;
    expect_hex("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "68225c2f080c0a0d09");
    expect_hex("\"a\\u0000b\"", "63610062");
    expect_hex("\"\\u00fc\\u6c34\\ud800\\udd51\"", "69c3bce6b0b4f0908591");
    expect_hex("\"\\u0041\\u0041\\u0041\\u0041\\u0041\"", "654141414141"); /* head shorter than the raw text's */
    expect_refused("\"\\ud800\"", BL_E_INVALID);
    expect_refused("\"\\udc00\\ud800\"", BL_E_INVALID);
    expect_refused("{\"\\ud800x\":1}", BL_E_INVALID);
}

static void bytes_are_byte_strings(void **state) {
    (void)state;
    expect_hex("{\"$bytes\":\"\"}", "40");
    expect_hex("{\"$bytes\":\"AQ\"}", "4101");
    expect_hex("{\"$bytes\":\"AQ==\"}", "4101");
    expect_hex("{\"$bytes\":\"AQI=\"}", "420102");
    expect_hex("{\"$bytes\":\"+/+/AQID\"}", "46fbffbf010203");
    expect_hex("{\"a\":{\"$bytes\":\"AQID\"},\"b\":[{\"$bytes\":\"\\u0041Q\"}]}", "a26161430102036162814101");
    static const char *const cases[] = {
        "{\"$bytes\":\"A\"}", "{\"$bytes\":\"AQ=\"}", "{\"$bytes\":\"A===\"}", "{\"$bytes\":\"AR\"}",
        "{\"$bytes\":\"A-_A\"}",
        "{\"$bytes\":\"AQ==AQ\"}", "{\"$bytes\":\"AQ \"}", "{\"$bytes\":1}", "{\"$bytes\":null}",
        "{\"$bytes\":[1,2,3]}",
        "{\"$bytes\":\"AQID\",\"other\":1}", "{\"a\":1,\"$bytes\":\"AQID\"}", "{\"$link\":\"\",\"$bytes\":\"\"}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refused(cases[i], BL_E_INVALID);
}

#define EMPTY_MAP_CID "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
#define EMPTY_MAP_DIGEST "c19a797fa1fd590cd2e5b42d1cf5f246e29b91684e2f87404b81dc345c7a56a0"

static void links_are_tag_42(void **state) {
    (void)state;
    expect_hex("{\"$link\":\"" EMPTY_MAP_CID "\"}", "d82a58250001711220" EMPTY_MAP_DIGEST);
    expect_hex("[{\"$link\":\"" EMPTY_MAP_CID "\"},1]", "82d82a58250001711220" EMPTY_MAP_DIGEST "01");
    static const char *const cases[] = {
        "{\"$link\":\"\"}", "{\"$link\":\".\"}", "{\"$link\":\"b\"}", "{\"$link\":1234}", "{\"$link\":{}}",
        "{\"$link\":\"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR\"}", "{\"$link\":\"B" EMPTY_MAP_CID "\"}",
        "{\"$link\":\"" EMPTY_MAP_CID "\",\"other\":1}", "{\"$link\":\"" EMPTY_MAP_CID "a\"}",
        "{\"$link\":\"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swu\"}",
        "{\"$link\":\"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swub\"}", /* bits left over */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refused(cases[i], BL_E_INVALID);
}

static void text_that_is_not_one_json_value_is_a_syntax_error(void **state) {
    (void)state;
    static const char *const cases[] = {
        "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{\"a\"}", "{a:1}", "01", "1.", "nul", "1 2", "{} {}", "\"\x80\"",
        "1.5 x", "[1.5", "[1.5,", "{\"a\":1.5,}",
        "\"\\x\"", "[1 2]",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refused(cases[i], BL_E_SYNTAX);
}

static void nesting_is_bounded(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        const char *open = kind ? "{\"a\":" : "[", *close = kind ? "}" : "]";
        for (unsigned depth = 127; depth <= 100000; depth = depth < 130 ? depth + 1 : 100000) {
            BL_CLEANUP(bl_buf_release) struct bl_buf json = {0};
            for (unsigned i = 0; i < depth; i++) bl_buf_z(&json, open);
            bl_buf_z(&json, "1");
            for (unsigned i = 0; i < depth; i++) bl_buf_z(&json, close);
            EXPECT_RC(encode(bl_buf_view(&json), NULL), depth <= 128 ? BL_OK : BL_E_INVALID);
            if (depth == 100000) break;
        }
    }
}

static void sizes_at_the_edges_of_a_head_are_right(void **state) {
    (void)state;
    static const size_t sizes[] = {23, 24, 255, 256, 257, 1000, 65535, 65536};
    struct bl_error err = {0};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], head = n < 24 ? 1 : n < 256 ? 2 : n < 65536 ? 3 : 5;
        BL_CLEANUP(bl_buf_release) struct bl_buf text = {0}, array = {0}, map = {0}, sorted = {0}, keys = {0};
        for (size_t i = 0; i < n; i++) {
            bl_buf_byte(&text, 'x');
            bl_buf_z(&array, i ? ",7" : "7");
            bl_buf_printf(&map, "%s\"%06zu\":7", i ? "," : "", n - i);
            bl_buf_printf(&sorted, "%s\"%06zu\":7", i ? "," : "", i + 1);
        }
        bl_buf_printf(&keys, "\"%s\"", bl_buf_cstr(&text));
        EXPECT_OK(encode(bl_buf_view(&keys), &err), &err);
        EXPECT(out.n == head + n);
        bl_buf_clear(&keys);
        bl_buf_printf(&keys, "[%s]", bl_buf_cstr(&array));
        EXPECT_OK(encode(bl_buf_view(&keys), &err), &err);
        EXPECT(out.n == head + n && out.p[head] == 7 && out.p[out.n - 1] == 7);
        bl_buf_clear(&keys);
        bl_buf_printf(&keys, "{%s}", bl_buf_cstr(&sorted));
        EXPECT_OK(encode(bl_buf_view(&keys), &err), &err);
        EXPECT(out.n == head + 8 * n && memcmp(out.p + head, "\x66" "000001\x07", 8) == 0);
        bl_buf_clear(&text);
        bl_buf_str(&text, bl_buf_view(&out));
        bl_buf_clear(&keys);
        bl_buf_printf(&keys, "{%s}", bl_buf_cstr(&map));
        EXPECT_OK(encode(bl_buf_view(&keys), &err), &err);
        EXPECT(bl_str_eq(bl_buf_view(&out), bl_buf_view(&text))); /* descending keys come out ascending */
    }
}

static void a_full_buffer_is_said_so(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf small = {.max = 64};
    struct bl_str json = BL_LIT("[\"0123456789012345678901234567890123456789012345678901234567890123456789\"]");
    EXPECT_RC(cbor_of_json(json, &small, NULL), BL_E_FULL);
}

static void a_cid_is_told_and_read(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf hex = {0}, binary = {0};
    struct bl_error err = {0};
    unsigned char digest[CID_DIGEST_LEN];
    char text[CID_TEXT_LEN];
    EXPECT_OK(cid_of_record(BL_LIT("{}"), &out, text, &err), &err);
    EXPECT_STR(bl_strn(text, CID_TEXT_LEN), EMPTY_MAP_CID);
    EXPECT_OK(cid_of_record(BL_LIT("{}"), &out, text, &err), &err); /* the scratch buffer is cleared first */
    EXPECT_STR(bl_strn(text, CID_TEXT_LEN), EMPTY_MAP_CID);
    EXPECT(cid_binary(bl_strn(text, CID_TEXT_LEN), &binary));
    hex_of(bl_buf_view(&binary), &hex);
    EXPECT_STR(bl_buf_view(&hex), "01711220" EMPTY_MAP_DIGEST);
    cid_digest(BL_LIT("abc"), digest);
    bl_buf_clear(&hex);
    hex_of(bl_strn(digest, sizeof digest), &hex);
    EXPECT_STR(bl_buf_view(&hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cid_text(digest, 0x55, text);
    EXPECT(memcmp(text, "bafkrei", 7) == 0);
    EXPECT(!cid_binary(BL_LIT("zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7"), &binary));
    EXPECT(!cid_binary((struct bl_str){0}, &binary));
    EXPECT_RC(cid_of_record(BL_LIT("{\"a\":1.5}"), &out, text, NULL), BL_E_INVALID);
}

static void every_digest_survives_its_text(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf binary = {0};
    struct bl_rng rng = {11};
    for (int i = 0; i < 20000; i++) {
        unsigned char digest[CID_DIGEST_LEN];
        char text[CID_TEXT_LEN];
        for (size_t k = 0; k < sizeof digest; k++) digest[k] = (unsigned char)bl_rng_u64(&rng);
        cid_text(digest, 0x71, text);
        bl_buf_clear(&binary);
        EXPECT(cid_binary(bl_strn(text, CID_TEXT_LEN), &binary));
        EXPECT(binary.n == 36 && memcmp(binary.p, "\x01\x71\x12\x20", 4) == 0 && memcmp(binary.p + 4, digest, 32) == 0);
    }
}

/* A random value is a function of `seed`; `style` decides order, white space and spelling, which must not matter. */
struct printer {
    struct bl_buf json;
    struct bl_rng style;
};

static uint64_t choose(struct printer *p, uint64_t n) { return bl_rng_below(&p->style, n); }

static void print_space(struct printer *p) {
    while (choose(p, 4) == 0) bl_buf_byte(&p->json, " \n\t\r"[choose(p, 4)]);
}

static void print_string(struct printer *p, uint64_t seed) {
    bl_buf_byte(&p->json, '"');
    for (uint64_t i = 0, n = seed % 12; i < n; i++) {
        unsigned code = (unsigned)(bl_mix64(seed + i) % 94) + 33;
        if (code == '"' || code == '\\' || choose(p, 5) == 0)
            bl_buf_printf(&p->json, "\\u%04x", code);
        else
            bl_buf_byte(&p->json, (char)code);
    }
    if (seed % 3 == 0) bl_buf_z(&p->json, choose(p, 2) ? "\xf0\x9f\x98\x80" : "\\ud83d\\uDE00");
    if (seed % 5 == 0) bl_buf_z(&p->json, choose(p, 2) ? "\\n" : "\\u000A");
    bl_buf_byte(&p->json, '"');
}

static void print_value(struct printer *p, uint64_t seed, unsigned depth);

static void print_container(struct printer *p, uint64_t seed, unsigned depth, bool object) {
    uint64_t items[40], n = bl_mix64(seed + 1) % (depth == 0 ? 40 : 6);
    for (uint64_t i = 0; i < n; i++) items[i] = bl_mix64(seed + 100 + i);
    for (uint64_t i = n; object && i > 1; i--) {
        uint64_t k = choose(p, i), swap = items[i - 1];
        items[i - 1] = items[k];
        items[k] = swap;
    }
    bl_buf_byte(&p->json, object ? '{' : '[');
    for (uint64_t i = 0; i < n; i++) {
        print_space(p);
        if (i) bl_buf_byte(&p->json, ',');
        print_space(p);
        if (object) {
            bl_buf_printf(&p->json, "\"%.*s%" PRIx64 "\"", (int)(items[i] % 4), "key", items[i] >> (items[i] % 40));
            print_space(p);
            bl_buf_byte(&p->json, ':');
        }
        print_value(p, items[i], depth + 1);
    }
    print_space(p);
    bl_buf_byte(&p->json, object ? '}' : ']');
}

static void print_value(struct printer *p, uint64_t seed, unsigned depth) {
    static const char *const zeros[] = {"", ".0", "e0", ".00E+0"};
    uint64_t kind = bl_mix64(seed) % (depth < 5 ? 8 : 5);
    print_space(p);
    if (kind == 0) bl_buf_z(&p->json, seed % 3 == 0 ? "null" : seed % 3 == 1 ? "true" : "false");
    else if (kind == 1) bl_buf_printf(&p->json, "%" PRId64 "%s", (int64_t)seed >> seed % 64, zeros[choose(p, 4)]);
    else if (kind <= 4) print_string(p, seed);
    else print_container(p, seed, depth, kind > 5 || depth == 0);
    print_space(p);
}

static uint64_t argument_of(const unsigned char **p, const unsigned char *end) {
    unsigned low = *(*p)++ & 31, size = low < 24 ? 0 : 1u << (low - 24);
    uint64_t value = low < 24 ? low : 0;
    EXPECT(low < 28 && end - *p >= (ptrdiff_t)size);
    for (unsigned i = 0; i < size; i++) value = value << 8 | *(*p)++;
    EXPECT(size == 0 || (size == 1 && value >= 24) || (size > 1 && value >> (size * 4) != 0));
    return value;
}

/* Is this the one allowed form: shortest heads, strictly ascending keys? An independent reading of the
 * specification. */
static void walk(const unsigned char **p, const unsigned char *end) {
    EXPECT(*p < end);
    unsigned major = **p >> 5;
    if (major == 7) {
        EXPECT(**p >= 0xf4 && **p <= 0xf6);
        ++*p;
        return;
    }
    uint64_t n = argument_of(p, end);
    struct bl_str previous = {0};
    for (uint64_t i = 0; major >= 4 && i < n; i++) {
        if (major == 5) {
            EXPECT(**p >> 5 == 3);
            uint64_t length = argument_of(p, end);
            struct bl_str key = bl_strn(*p, length);
            EXPECT(i == 0 || key.n > previous.n || (key.n == previous.n && bl_str_cmp(key, previous) > 0));
            previous = key;
            *p += length;
        }
        walk(p, end);
    }
    if (major == 2 || major == 3) *p += n;
    EXPECT(*p <= end);
}

static void spelling_and_order_of_json_do_not_change_the_cbor(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf first = {0};
    struct bl_error err = {0};
    struct printer p = {.style = {1}};
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        for (unsigned turn = 0; turn < 3; turn++) {
            bl_buf_clear(&p.json);
            print_container(&p, bl_mix64(seed), 0, true);
            EXPECT_OK(encode(bl_buf_view(&p.json), &err), &err);
            const unsigned char *from = (const unsigned char *)out.p, *end = from + out.n;
            walk(&from, end);
            EXPECT(from == end);
            if (turn && !bl_str_eq(bl_buf_view(&first), bl_buf_view(&out)))
                fail_msg("seed %d: another spelling gives another CBOR: %s", (int)seed, bl_buf_cstr(&p.json));
            bl_buf_clear(&first);
            bl_buf_str(&first, bl_buf_view(&out));
        }
    }
    bl_buf_release(&p.json);
}

/* No prefix and no mutation of a record crashes or is accepted as something that is not canonical. */
static void broken_records_are_refused_or_canonical(void **state) {
    (void)state;
    struct bl_rng rng = {5};
    struct printer p = {.style = {9}};
    for (uint64_t i = 0; i < 30000; i++) {
        if (i % 50 == 0) {
            bl_buf_clear(&p.json);
            print_container(&p, bl_mix64(i), 1, true);
        }
        char *at = p.json.p + bl_rng_below(&rng, p.json.n);
        char saved = *at;
        *at = "{}[]\",:\\0e.-9$\x80u"[bl_rng_below(&rng, 17)];
        if (encode(bl_buf_view(&p.json), NULL) == BL_OK) {
            const unsigned char *from = (const unsigned char *)out.p, *end = from + out.n;
            walk(&from, end);
            EXPECT(from == end);
        }
        *at = saved;
        BL_IGNORE(encode(bl_strn(p.json.p, bl_rng_below(&rng, p.json.n)), NULL)); /* either outcome is right */
    }
    bl_buf_release(&p.json);
}

static bool read_shared(const char *name, struct bl_buf *text) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/data/%s", BL_SHARED_DIR, name);
    struct bl_error err = {0};
    enum bl_rc rc = bl_read_file(path, 1 << 24, text, &err);
    if (rc == BL_E_NOT_FOUND) print_message("not here: %s\n", name);
    return rc == BL_OK;
}

/* The text of the member `name` of `object`, empty when absent; without the quotes when it is a plain string. */
static struct bl_str member(struct bl_str object, const char *name) {
    struct js_cursor c = js_open(object, 200);
    struct js_string key;
    struct bl_str value, found = {0};
    bool first = true;
    if (js_object(&c))
        while (js_member(&c, &key, &first) && js_skip(&c, &value, NULL))
            if (js_string_is(key, bl_str(name))) found = value;
    if (found.n >= 2 && found.p[0] == '"') found = (struct bl_str){found.p + 1, found.n - 2};
    return found;
}

static void the_data_model_fixtures_reproduce(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0}, bytes = {0}, wanted = {0};
    if (!read_shared("interop/data-model/data-model-fixtures.json", &text)) skip();
    struct js_cursor c = js_open(bl_buf_view(&text), 200);
    struct bl_str entry;
    struct bl_error err = {0};
    char cid[CID_TEXT_LEN];
    bool first = true;
    int count = 0;
    EXPECT(js_array(&c));
    for (; js_element(&c, &first) && js_skip(&c, &entry, NULL); count++) {
        EXPECT_OK(cid_of_record(member(entry, "json"), &out, cid, &err), &err);
        EXPECT(bl_str_eq(bl_strn(cid, CID_TEXT_LEN), member(entry, "cid")));
        /* The expected bytes are base64: the way of {"$bytes"} gives them behind a head. */
        bl_buf_clear(&bytes);
        bl_buf_printf(&bytes, "{\"$bytes\":\"%.*s\"}", BL_ARG(member(entry, "cbor_base64")));
        bl_buf_clear(&wanted);
        EXPECT_OK(cbor_of_json(bl_buf_view(&bytes), &wanted, &err), &err);
        EXPECT(bl_str_ends(bl_buf_view(&wanted), bl_buf_view(&out)) && wanted.n <= out.n + 3);
    }
    assert_int_equal(count, 3);
}

/* Of what the data model forbids, only the fixtures without a canonical encoding are refused here: a $type of null or a
 * blob without a size still has one, and its CID. */
static void the_data_model_vectors_are_told_apart(void **state) {
    (void)state;
    static const char *const files[] = {"interop/data-model/data-model-valid.json",
                                        "interop/data-model/data-model-invalid.json"};
    static const char *const without_form[] = {"float", "bytes with wrong field type", "bytes with extra fields",
                                               "link with wrong field type", "link with bogus CID",
                                               "link with extra fields"};
    int count = 0, refused = 0;
    for (unsigned k = 0; k < 2; k++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
        if (!read_shared(files[k], &text)) skip();
        struct js_cursor c = js_open(bl_buf_view(&text), 200);
        struct bl_str entry;
        EXPECT(js_array(&c));
        for (bool first = true; js_element(&c, &first) && js_skip(&c, &entry, NULL); count++) {
            bool encodable = true;
            for (unsigned i = 0; i < sizeof without_form / sizeof *without_form; i++)
                encodable &= !(k == 1 && bl_str_eq(member(entry, "note"), bl_str(without_form[i])));
            bl_buf_clear(&out);
            struct bl_str value = member(entry, "json");
            if (value.n && value.p[0] != '{') continue; /* the bare string */
            EXPECT_RC(cbor_of_json(value, &out, NULL), encodable ? BL_OK : BL_E_INVALID);
            refused += !encodable;
        }
    }
    assert_int_equal(count, 17);
    assert_int_equal(refused, 6);
}

static void the_cids_of_real_records_reproduce(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    if (!read_shared("expected_v1.jsonl", &text)) skip();
    int same = 0;
    for (struct bl_str rest = bl_buf_view(&text); rest.n;) {
        struct bl_str commit = member(bl_str_cut(&rest, '\n'), "commit"), record = member(commit, "record");
        struct bl_error err = {0};
        char cid[CID_TEXT_LEN];
        if (record.n == 0) continue;
        EXPECT_OK(cid_of_record(record, &out, cid, &err), &err);
        EXPECT(bl_str_eq(bl_strn(cid, CID_TEXT_LEN), member(commit, "cid")));
        same++;
    }
    assert_int_equal(same, 146);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_their_shortest_form),
        cmocka_unit_test(integral_numbers_are_integers_however_they_are_spelt),
        cmocka_unit_test(numbers_beyond_64_bit_integers_are_not_recomputable),
        cmocka_unit_test(values_have_their_one_form),
        cmocka_unit_test(keys_are_ordered_by_length_then_bytes),
        cmocka_unit_test(of_duplicate_keys_the_last_counts),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(bytes_are_byte_strings),
        cmocka_unit_test(links_are_tag_42),
        cmocka_unit_test(text_that_is_not_one_json_value_is_a_syntax_error),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(sizes_at_the_edges_of_a_head_are_right),
        cmocka_unit_test(a_full_buffer_is_said_so),
        cmocka_unit_test(a_cid_is_told_and_read),
        cmocka_unit_test(every_digest_survives_its_text),
        cmocka_unit_test(spelling_and_order_of_json_do_not_change_the_cbor),
        cmocka_unit_test(broken_records_are_refused_or_canonical),
        cmocka_unit_test(the_data_model_fixtures_reproduce),
        cmocka_unit_test(the_data_model_vectors_are_told_apart),
        cmocka_unit_test(the_cids_of_real_records_reproduce),
    };
    return cmocka_run_group_tests(tests, NULL, release_out);
}
