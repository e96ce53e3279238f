/* Events made to be expensive, each as large as an event may be: what they cost is bounded, whether they are taken or
 * refused. */
#include "bounded.h"
#include "event/event.h"

enum { ARENA_MAX = 24 << 20, MEMORY_MB = 96, CPU_S = 10 };

#define BEFORE                                                                                                         \
    "{\"did\":\"did:plc:abcdefghijklmnopqrstuvwx\",\"time_us\":1767571200000000,\"kind\":\"commit\",\"commit\":{"      \
    "\"rev\":\"3kaaaaaaaaa2a\",\"operation\":\"create\",\"collection\":\"app.bsky.feed.post\","                        \
    "\"rkey\":\"3kaaaaaaaaa2a\",\"record\":{\"$type\":\"app.bsky.feed.post\",\"createdAt\":\"2026-01-05T00:00:00Z\""
#define CID "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define AFTER "},\"cid\":\"" CID "\"}}"

/* before, then `unit` again and again (%zu is its number), then after */
static const struct bomb {
    const char *name, *before, *unit, *after;
} bombs[] = {
    {"brackets", "", "[", ""},
    {"braces", "", "{\"a\":", ""},
    {"brackets in a record", BEFORE ",\"x\":", "[", AFTER},
    {"blanks", BEFORE, "   \t\n", AFTER},
    {"a long text", BEFORE ",\"text\":\"", "x", "\"" AFTER},
    {"a text of escapes", BEFORE ",\"text\":\"", "\\u0000", "\"" AFTER},
    {"a text of surrogates", BEFORE ",\"text\":\"", "\\ud83d\\ude00", "\"" AFTER},
    {"a text of lone surrogates", BEFORE ",\"text\":\"", "\\udc00", "\"" AFTER},
    {"a text of hashtags", BEFORE ",\"text\":\"", " #t%zu", "\"" AFTER},
    {"a text of one hashtag", BEFORE ",\"text\":\"#", "a\xcc\x81", "\"" AFTER},
    {"a long number", BEFORE ",\"x\":1", "0", AFTER},
    {"a long fraction", BEFORE ",\"x\":0.", "3", AFTER},
    {"a long exponent", BEFORE ",\"x\":1e", "9", AFTER},
    {"a long time", BEFORE ",\"createdAt\":\"2026-01-05T00:00:00.", "1", "Z\"" AFTER},
    {"a long key", BEFORE ",\"", "k", "\":1" AFTER},
    {"a long rkey", "{\"did\":\"did:plc:a\",\"commit\":{\"rkey\":\"", "r", "\"}}"},
    {"a long DID", "{\"did\":\"did:web:", "a.", "b\"}"},
    {"many members", BEFORE, ",\"k%zu\":%zu", AFTER},
    {"members in reverse", BEFORE, ",\"%zuk\":0", AFTER},
    {"one member many times", BEFORE, ",\"text\":\"a\"", AFTER},
    {"one unknown member many times", BEFORE, ",\"k\":[]", AFTER},
    {"many records", BEFORE, "},\"record\":{\"text\":\"x\"", AFTER},
    {"many commits", "{\"did\":\"did:plc:a\"", ",\"commit\":{\"rev\":\"3kaaaaaaaaa2a\",\"collection\":\"a.b.c\"}", "}"},
    {"many languages", BEFORE ",\"langs\":[\"en\"", ",\"l%zu\"", "]" AFTER},
    {"many tags", BEFORE ",\"tags\":[\"a\"", ",\"t%zu\"", "]" AFTER},
    {"many facets", BEFORE ",\"facets\":[{}",
     ",{\"features\":[{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"t%zu\"}]}", "]" AFTER},
    {"many features", BEFORE ",\"facets\":[{\"features\":[{}",
     ",{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"did:plc:%zu\"}", "]}]" AFTER},
    {"many links", BEFORE ",\"x\":[0", ",{\"$link\":\"" CID "\"}", "]" AFTER},
    {"much binary", BEFORE ",\"x\":{\"$bytes\":\"", "AAEC", "\"}" AFTER},
    {"many images", BEFORE ",\"embed\":{\"$type\":\"app.bsky.embed.images\",\"images\":[{}",
     ",{\"alt\":\"a%zu\",\"image\":{}}", "]}" AFTER},
    {"many envelopes", "{\"did\":\"did:plc:a\"", ",\"kind\":\"commit\",\"time_us\":1767571200000000", "}"},
    {"nearly too deep, again and again", BEFORE ",\"x\":[0",
     ",[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "]" AFTER},
};

static void build(const struct bomb *b, size_t size, struct bl_buf *out) {
    bool numbered = strstr(b->unit, "%zu");
    bl_buf_z(out, b->before);
    for (size_t i = 0; *b->unit && out->n + 256 < size; i++)
        if (numbered)
            bl_buf_printf(out, b->unit, i, i);
        else
            bl_buf_z(out, b->unit);
    bl_buf_z(out, b->after);
}

/* All that becomes of an event on its way. */
static void go_through(void *context) {
    struct bl_str message = bl_buf_view(context);
    struct bl_arena arena = {.max = ARENA_MAX};
    struct bl_buf scratch = {0}, out = {.max = 64 << 20};
    struct event ev;
    enum ev_reason why;
    struct bl_error err = {0};
    bool checked = ev_check(message, &arena, &ev, &why, &err) == BL_OK;
    bl_arena_reset(&arena);
    enum bl_rc rc = ev_decode(message, &arena, &ev, &why, &err);
    if (rc != BL_OK) {
        bool memory = rc == BL_E_FULL; /* the arena's cap: an ordinary outcome */
        if (bl_rc_class(rc) != BL_CLASS_DROP && !memory) abort();
        if (checked && !memory) abort();
        return;
    }
    ev_verify_cid(&ev, &scratch);
    if (ev_encode(&ev, &out, &err) != BL_OK) abort();
}

static void whatever_an_event_holds_its_cost_is_bounded(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct bl_buf message = {0};
        build(&bombs[i], EV_SIZE_MAX, &message);
        EXPECT(!message.failed && message.n <= EV_SIZE_MAX);
        expect_bounded(bombs[i].name, go_through, &message, MEMORY_MB, CPU_S);
        bl_buf_release(&message);
    }
}

static void what_is_larger_is_refused_at_a_glance(void **state) {
    (void)state;
    struct bl_buf message = {0};
    build(&bombs[0], 32 << 20, &message);
    expect_bounded("32 MB of brackets", go_through, &message, 16, 1);
    bl_buf_release(&message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_an_event_holds_its_cost_is_bounded),
        cmocka_unit_test(what_is_larger_is_refused_at_a_glance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
