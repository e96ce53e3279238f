/* Every member of every sample, at every level: given each wrong value, removed, repeated, renamed, joined by strangers.
 * No variant may be lost or changed on its way through a row. */
#include "samples.h"

struct place {
    size_t member, value, end; /* offsets of the key's quote, of the value and of its end */
    char path[160];
};

struct places {
    struct place *at;
    size_t count, cap;
};

static void find_in(struct bl_str whole, struct bl_str value, const char *path, struct places *out) {
    struct js_cursor c = js_open(value, EV_DEPTH_MAX);
    struct js_string key;
    struct bl_str child;
    bool first = true;
    int kind = js_peek(&c);
    if (kind == JS_ARRAY) {
        EXPECT(js_array(&c));
        while (js_element(&c, &first) && js_skip(&c, &child, NULL)) find_in(whole, child, path, out);
    }
    if (kind != JS_OBJECT) return;
    EXPECT(js_object(&c));
    while (js_member(&c, &key, &first) && js_skip(&c, &child, NULL)) {
        if (out->count == out->cap) {
            out->cap = out->cap * 2 + 32;
            out->at = bl_xrealloc(out->at, out->cap * sizeof *out->at);
        }
        struct place *p = &out->at[out->count++];
        *p = (struct place){(size_t)(key.raw.p - 1 - whole.p), (size_t)(child.p - whole.p),
                            (size_t)(child.p + child.n - whole.p), ""};
        snprintf(p->path, sizeof p->path, "%s.%.*s", path, BL_ARG(key.raw));
        char deeper[sizeof p->path];
        memcpy(deeper, p->path, sizeof deeper);
        find_in(whole, child, deeper, out);
    }
}

static bool is_required(const char *path) {
    static const char *const paths[] = {"$.did", "$.\\u0064id", "$.time_us", "$.kind", "$.commit", "$.identity", "$.account", "$.commit.rev",
                                        "$.commit.operation", "$.commit.collection", "$.commit.rkey",
                                        "$.identity.seq", "$.account.seq"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (strcmp(path, paths[i]) == 0) return true;
    return false;
}

struct tally {
    size_t variants, refused;
    struct bl_arena arena;
    struct bl_buf text;
};

static enum bl_rc try_variant(struct tally *t, const char *path, bool must_pass, uint32_t *notes) {
    struct event ev;
    t->variants++;
    enum bl_rc rc = samples_round_trip(bl_buf_view(&t->text), &t->arena, &ev);
    if (rc != BL_OK && (must_pass || !is_required(path)))
        fail_msg("%s refused: %.*s", path, BL_ARG(bl_buf_view(&t->text)));
    if (rc != BL_OK) t->refused++;
    if (rc == BL_OK && notes) *notes = ev.notes;
    bl_arena_reset(&t->arena);
    return rc;
}

static void put(struct tally *t, struct bl_str message, size_t from, size_t to, const char *instead) {
    bl_buf_clear(&t->text);
    bl_buf_add(&t->text, message.p, from);
    bl_buf_z(&t->text, instead);
    bl_buf_str(&t->text, bl_str_skip(message, to));
}

static const char *const values[] = {
    "null", "true", "false", "0", "-0", "12", "1.5", "1e400", "123456789012345678901234567890", "\"\"", "\"x\"",
    "\"\\ud800\"", "\"a\\u0000b\"", "[]", "[ \"a\" , null ]", "[\"\\udc00\"]", "[\"a\"]", "{}", "{ \"a\" : [ 1 , 2 ] }",
    "{\"uri\":\"u\"}", "{\"uri\":\"u\",\"cid\":\"c\"}", "{\"uri\":\"u\",\"cid\":7}", "{\"uri\":\"u\",\"cid\":\"c\",\"x\":1}",
    "{\"uri\":\"u\",\"uri\":\"v\",\"cid\":\"c\"}", "{\"root\":{\"uri\":\"u\",\"cid\":\"c\"},\"parent\":{\"uri\":\"u\"}}",
    "\"2026-09-21T15:30:00.000Z\"", "\"2026-09-21T15:30:00.0000Z\"", "\"2026-02-30T15:30:00.000Z\"",
    "\"0000-01-01T00:00:00.000Z\"", "\"9999-12-31T23:59:59.999Z\"", "\"2016-12-31T23:59:60.000Z\"",
};

static void replace_values(struct tally *t, struct bl_str message, const struct place *p) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        put(t, message, p->value, p->end, values[i]);
        BL_IGNORE(try_variant(t, p->path, false, NULL)); /* try_variant judged it */
    }
}

static void rename_and_remove(struct tally *t, struct bl_str message, const struct place *p) {
    put(t, message, p->member + 1, p->member + 1, "x");
    BL_IGNORE(try_variant(t, p->path, false, NULL));
    put(t, message, p->member, p->member, "\"stranger\":[{\"a\" : \"\\ud800\"}],\"event\":1,\"absent\":[\"did\"],");
    BL_IGNORE(try_variant(t, p->path, true, NULL));
}

/* The member before itself with each wrong value: the last one counts, so that nothing else may change. */
static void repeat(struct tally *t, struct bl_str message, const struct place *p) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        BL_CLEANUP(bl_buf_release) struct bl_buf twice = {0};
        bl_buf_add(&twice, message.p + p->member, p->value - p->member);
        bl_buf_z(&twice, values[i]);
        bl_buf_byte(&twice, ',');
        put(t, message, p->member, p->member, bl_buf_cstr(&twice));
        uint32_t notes = 0;
        BL_IGNORE(try_variant(t, p->path, true, &notes));
        EXPECT(!is_required(p->path) || (notes & EV_NOTE_DUPLICATE_KEY));
        EXPECT(js_equal(bl_buf_view(&t->text), message, NULL));
    }
}

static void vary(struct bl_str message, void *context) {
    struct tally *t = context;
    struct places places = {0};
    find_in(message, message, "$", &places);
    for (size_t i = 0; i < places.count; i++) {
        replace_values(t, message, &places.at[i]);
        rename_and_remove(t, message, &places.at[i]);
        repeat(t, message, &places.at[i]);
    }
    free(places.at);
}

static void no_variant_of_a_synthetic_event_is_lost(void **state) {
    (void)state;
    struct tally t = {0};
    EXPECT(samples_each(SAMPLES_SYNTHETIC, vary, &t) >= 40);
    print_message("%zu variants, %zu refused\n", t.variants, t.refused);
    EXPECT(t.variants > 10000 && t.refused > 100);
    bl_arena_release(&t.arena);
    bl_buf_release(&t.text);
}

static void no_variant_of_a_real_event_is_lost(void **state) {
    (void)state;
    if (!samples_real_present()) skip();
    struct tally t = {0};
    EXPECT(samples_each(SAMPLES_REAL, vary, &t) == 152);
    print_message("%zu variants, %zu refused\n", t.variants, t.refused);
    bl_arena_release(&t.arena);
    bl_buf_release(&t.text);
}

/* Cut off anywhere, in memory that ends there. */
static void truncate_it(struct bl_str message, void *context) {
    (void)context;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    for (size_t n = 0; n < message.n; n++) {
        char *exact = bl_xmalloc(n);
        memcpy(exact, message.p, n);
        struct event ev;
        EXPECT_RC(samples_round_trip(bl_strn(exact, n), &arena, &ev), BL_E_SYNTAX);
        bl_arena_reset(&arena);
        free(exact);
    }
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    samples_each(SAMPLES_SYNTHETIC, truncate_it, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variant_of_a_synthetic_event_is_lost),
        cmocka_unit_test(no_variant_of_a_real_event_is_lost),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
