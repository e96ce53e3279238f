/* Compressed streams, and what may be wrong with them. */
#include "host.h"

#include <zdict.h>
#include <zstd.h>

enum { SAMPLES = 2000 };

static char folder[] = "/tmp/bluelake-source-XXXXXX";

static size_t sample(int i, unsigned seed, char *out, size_t size) {
    return (size_t)snprintf(
        out, size, "{\"did\":\"did:plc:%08x\",\"time_us\":%lld,\"kind\":\"commit\",\"commit\":{\"rev\":\"%u\"}}",
        (unsigned)i * 2654435761u ^ seed, (long long)(T0 + i), (unsigned)i * seed);
}

static struct bl_buf train(const char *name, unsigned seed) {
    struct bl_buf samples = {0}, dictionary = {0};
    size_t *sizes = bl_xcalloc(SAMPLES, sizeof *sizes);
    for (int i = 0; i < SAMPLES; i++) {
        char text[200];
        sizes[i] = sample(i, seed, text, sizeof text);
        bl_buf_add(&samples, text, sizes[i]);
    }
    EXPECT(bl_buf_reserve(&dictionary, 4096));
    dictionary.n = ZDICT_trainFromBuffer(dictionary.p, 4096, samples.p, sizes, SAMPLES);
    EXPECT(!ZDICT_isError(dictionary.n));
    char *path = bl_xasprintf("%s/%s", folder, name);
    EXPECT_RC(bl_write_file_atomic(path, bl_buf_view(&dictionary), NULL), BL_OK);
    free(path);
    free(sizes);
    bl_buf_release(&samples);
    return dictionary;
}

static struct bl_str compress(struct bl_str in, const struct bl_buf *dictionary, bool state_size) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(in.n);
    char *out = bl_xmalloc(bound);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, state_size);
    if (dictionary) ZSTD_CCtx_loadDictionary(context, dictionary->p, dictionary->n);
    size_t n = ZSTD_compress2(context, out, bound, in.p, in.n);
    ZSTD_freeCCtx(context);
    return bl_strn(out, n);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}
static int remove_folder(void **state) {
    (void)state;
    char *command = bl_xasprintf("rm -rf '%s'", folder);
    int failure = system(command);
    free(command);
    return failure;
}

static struct bl_str make_frame(int i, const struct bl_buf *dictionary, bool state_size) {
    char text[200];
    size_t n = sample(i, 5, text, sizeof text);
    return compress(bl_strn(text, n), dictionary, state_size);
}

static void compressed_messages_and_bombs(void **state) {
    (void)state;
    struct bl_buf dictionary = train("right", 5);
    struct bl_buf zeros = {0};
    EXPECT(bl_buf_reserve(&zeros, 50 << 20));
    memset(zeros.p, 0, 50 << 20);
    struct bl_str frames[5] = {make_frame(1, &dictionary, true), compress(bl_strn(zeros.p, 50 << 20), NULL, false),
                               compress(bl_strn(zeros.p, 50 << 20), &dictionary, true),
                               make_frame(2, &dictionary, false), compress(bl_strn(zeros.p, 3 << 20), NULL, false)};
    struct host *h = new_host();
    h->plans[0] = (struct plan){.binary = frames, .binary_count = 5, .ending = HOLD};
    start(h);
    char *path = bl_xasprintf("%s/right", folder);
    struct source *s = open_source(OPTIONS(h, .dictionary_file = path, .message_max = 4 << 20));
    struct source_message m;
    char text[200];
    for (int i = 1; i <= 2; i++) {
        take(s, 1, &m);
        EXPECT(bl_str_eq(m.json, bl_strn(text, sample(i, 5, text, sizeof text))));
    }
    take(s, 1, &m);
    EXPECT(m.json.n == 3 << 20);
    EXPECT(stats_of(s).oversized == 2 && stats_of(s).decompress_failures == 0 && stats_of(s).connects == 1);
    EXPECT(asked_for(h, 0, "/subscribe?compress=true"));
    source_close(&s);
    stop(h);
    for (int i = 0; i < 5; i++) free((char *)(uintptr_t)frames[i].p);
    free(path);
    bl_buf_release(&dictionary);
    bl_buf_release(&zeros);
}

static void the_wrong_dictionary_is_final(void **state) {
    (void)state;
    struct bl_buf dictionary = train("right", 5), other = train("wrong", 77);
    struct bl_str frame = make_frame(1, &dictionary, true);
    struct host *h = new_host();
    h->plans[0] = (struct plan){.binary = &frame, .binary_count = 1, .ending = HOLD};
    start(h);
    char *path = bl_xasprintf("%s/wrong", folder);
    struct source *s = open_source(OPTIONS(h, .dictionary_file = path));
    struct source_message m;
    struct bl_error err = {0};
    EXPECT_RC(next(s, &m, &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "source.dictionary"));
    source_close(&s);
    stop(h);
    free((char *)(uintptr_t)frame.p);
    free(path);
    bl_buf_release(&dictionary);
    bl_buf_release(&other);
}

static void a_corrupt_message_is_asked_for_again_and_skipped_at_last(void **state) {
    (void)state;
    struct bl_buf dictionary = train("right", 5);
    struct bl_str frames[3] = {make_frame(1, &dictionary, true), make_frame(2, &dictionary, true),
                               make_frame(3, &dictionary, true)};
    ((char *)(uintptr_t)frames[1].p)[frames[1].n - 1] ^= 0x55;
    frames[1].n -= 3;
    struct host *h = new_host();
    for (int i = 0; i < 3; i++) h->plans[i] = (struct plan){.binary = frames, .binary_count = 3, .ending = HOLD};
    start(h);
    char *path = bl_xasprintf("%s/right", folder);
    struct source *s = open_source(OPTIONS(h, .dictionary_file = path));
    struct source_message m;
    for (int i = 0; i < 4; i++) take(s, 1, &m); /* 1, 1, 1, 3 */
    EXPECT(time_of(&m) == T0 + 3);
    EXPECT(stats_of(s).decompress_failures == 3 && stats_of(s).connects == 3);
    source_close(&s);
    stop(h);
    h = new_host();
    for (int i = 0; i < 3; i++) h->plans[i] = (struct plan){.binary = frames + 1, .binary_count = 1, .ending = HOLD};
    start(h);
    s = open_source(OPTIONS(h, .dictionary_file = path));
    struct bl_error err = {0};
    EXPECT_RC(next(s, &m, &err), BL_E_USAGE); /* nothing could ever be unpacked */
    source_close(&s);
    stop(h);
    for (int i = 0; i < 3; i++) free((char *)(uintptr_t)frames[i].p);
    free(path);
    bl_buf_release(&dictionary);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_messages_and_bombs),
        cmocka_unit_test(the_wrong_dictionary_is_final),
        cmocka_unit_test(a_corrupt_message_is_asked_for_again_and_skipped_at_last),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
