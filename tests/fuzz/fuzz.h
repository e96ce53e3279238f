/* fuzz: what the small harnesses share: seeds, mutation, and a main for all ways of running.
 *
 * A harness includes this once, defines its seeds, its words and fuzz_one, which aborts (fuzz_fail) when a property
 * does not hold. One whose seeds are not text defines FUZZ_MAKES_SEEDS before the include, and fuzz_make_seed instead.
 *
 *   fuzz_NAME COUNT [SEED [FOLDER]]   by ctest: the corpus in FOLDER as it stands, then COUNT mutations
 *   fuzz_NAME --seeds FOLDER          writes the seeds as files, for libFuzzer to begin with
 *   libfuzzer_NAME                    the same check under libFuzzer (BL_LIBFUZZER) */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "corpus.h"

#ifdef FUZZ_MAKES_SEEDS
static void fuzz_make_seed(size_t n, struct bl_buf *out);
#else
static const char *const fuzz_seeds[];
static inline void fuzz_make_seed(size_t n, struct bl_buf *out);
#endif
static const char *const fuzz_words[];
static const size_t fuzz_seed_count, fuzz_word_count;
/* True when the input was accepted; for the summary only. */
static bool fuzz_one(struct bl_str input);

static inline _Noreturn void fuzz_fail(const char *what, struct bl_str input) {
    fprintf(stderr, "PROPERTY BROKEN: %s\n", what);
    for (size_t i = 0; i < input.n; i++) {
        unsigned char c = (unsigned char)input.p[i];
        fprintf(stderr, c >= ' ' && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    fputc('\n', stderr);
    abort();
}

static inline size_t fuzz_below(struct bl_rng *r, size_t n) {
    return n ? (size_t)bl_rng_below(r, n) : 0;
}

/* Replace `cut` bytes at `at` by `with`. */
static inline void fuzz_splice(struct bl_buf *b, size_t at, size_t cut, struct bl_str with) {
    if (at > b->n) at = b->n;
    if (cut > b->n - at) cut = b->n - at;
    if (!bl_buf_reserve(b, with.n)) return;
    if (b->n > at + cut) memmove(b->p + at + with.n, b->p + at + cut, b->n - at - cut);
    if (with.n) memcpy(b->p + at, with.p, with.n);
    b->n += with.n - cut;
}

static inline void fuzz_mutate(struct bl_buf *b, struct bl_rng *r) {
    size_t at = fuzz_below(r, b->n + 1), n = fuzz_below(r, 12);
    char byte = (char)fuzz_below(r, 256);
    struct bl_str word = bl_str(fuzz_words[fuzz_below(r, fuzz_word_count)]);
    switch (fuzz_below(r, 8)) {
    case 0:
        if (at < b->n) b->p[at] = byte;
        break;
    case 1:
        if (at < b->n) b->p[at] = (char)(b->p[at] ^ (1 << fuzz_below(r, 8)));
        break;
    case 2:
        fuzz_splice(b, at, n, (struct bl_str){0});
        break;
    case 3:
        fuzz_splice(b, at, 0, bl_strn(&byte, 1));
        break;
    case 4:
        if (fuzz_below(r, 4) == 0) b->n = at < b->n ? at : b->n;
        break;
    default:
        fuzz_splice(b, at, fuzz_below(r, 3) ? 0 : n, word);
        break;
    }
}

#ifndef FUZZ_MAKES_SEEDS
static inline void fuzz_make_seed(size_t n, struct bl_buf *out) {
    bl_buf_z(out, fuzz_seeds[n]);
}
#endif

#ifdef BL_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)fuzz_seed_count, (void)fuzz_make_seed; /* the corpus on disk takes their place */
    fuzz_one(bl_strn(data, size));
    return 0;
}
#else
struct fuzz_pool {
    struct bl_buf inputs[1024];
    size_t count;
};

static inline struct bl_buf *fuzz_add(struct fuzz_pool *pool) {
    BL_ASSERT(pool->count < sizeof pool->inputs / sizeof *pool->inputs);
    return &pool->inputs[pool->count++];
}

static inline void fuzz_run_kept(void *context, struct bl_str input) {
    fuzz_one(input);
    bl_buf_str(fuzz_add(context), input);
}

static inline int fuzz_write_seeds(const char *folder) {
    for (size_t i = 0; i < fuzz_seed_count; i++) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/seed-%zu", folder, i);
        BL_CLEANUP(bl_buf_release) struct bl_buf seed = {0};
        struct bl_error err = {0};
        fuzz_make_seed(i, &seed);
        if (bl_write_file_atomic(path, bl_buf_view(&seed), &err) == BL_OK) continue;
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}

static inline bool fuzz_mutated(const struct fuzz_pool *pool, int64_t seed, int64_t i) {
    struct bl_rng r = {bl_mix64((uint64_t)seed * BL_GOLDEN) + (uint64_t)i * 977};
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {.max = 1 << 20};
    bl_buf_str(&text, bl_buf_view(&pool->inputs[fuzz_below(&r, pool->count)]));
    for (size_t edits = i < (int64_t)fuzz_seed_count ? 0 : fuzz_below(&r, 6); edits; edits--) fuzz_mutate(&text, &r);
    char *exact = bl_xmalloc(text.n ? text.n : 1); /* AddressSanitizer sees a read past the end */
    if (text.n) memcpy(exact, text.p, text.n);
    bool accepted = fuzz_one(bl_strn(exact, text.n));
    free(exact);
    return accepted;
}

int main(int argc, char **argv) {
    int64_t count = 20000, seed = 1, accepted = 0;
    static struct fuzz_pool pool;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) return fuzz_write_seeds(argv[2]);
    if ((argc > 1 && !bl_parse_i64(bl_str(argv[1]), 0, INT64_MAX, &count)) ||
        (argc > 2 && !bl_parse_i64(bl_str(argv[2]), 0, INT64_MAX, &seed)) || argc > 4) {
        fprintf(stderr, "usage: %s [COUNT [SEED [FOLDER]]] | --seeds FOLDER\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < fuzz_seed_count; i++) fuzz_make_seed(i, fuzz_add(&pool));
    size_t kept = argc > 3 ? corpus_each(argv[3], fuzz_run_kept, &pool) : 0;
    for (int64_t i = 0; i < count; i++) accepted += fuzz_mutated(&pool, seed, i);
    printf("%zu inputs of the corpus, %lld mutated ones, %lld of these accepted, every property held\n", kept,
           (long long)count, (long long)accepted);
    for (size_t i = 0; i < pool.count; i++) bl_buf_release(&pool.inputs[i]);
    return 0;
}
#endif
