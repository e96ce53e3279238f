/* bench_cid FILE.ndjson: records a second of cid_of_record on one thread, against the same CBOR with other ways to
 * SHA-256. The ways take turns within each round, so that a slow moment of the machine hits all; medians count. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "event/cbor.h"
#include "event/json.h"

enum { ROUNDS = 5, CALLS_A_ROUND = 400000, FILE_MAX = 1 << 30 };

struct records {
    struct bl_str *items;
    size_t count, bytes;
};

struct bench {
    struct bl_buf scratch;
    EVP_MD *fetched;
    EVP_MD_CTX *context;
};

static bool hash_with_evp_digest(struct bench *b, unsigned char digest[static CID_DIGEST_LEN]) {
    return EVP_Digest(b->scratch.p, b->scratch.n, digest, NULL, EVP_sha256(), NULL) == 1;
}

static bool hash_with_reused_context(struct bench *b, unsigned char digest[static CID_DIGEST_LEN]) {
    return EVP_DigestInit_ex2(b->context, b->fetched, NULL) == 1 &&
           EVP_DigestUpdate(b->context, b->scratch.p, b->scratch.n) == 1 &&
           EVP_DigestFinal_ex(b->context, digest, NULL) == 1;
}

static bool hash_not(struct bench *b, unsigned char digest[static CID_DIGEST_LEN]) {
    memset(digest, (int)b->scratch.n & 0x7f, CID_DIGEST_LEN);
    return true;
}

static const struct way {
    const char *name;
    bool (*hash)(struct bench *b, unsigned char digest[static CID_DIGEST_LEN]); /* NULL: cid_of_record as it is */
} ways[] = {
    {"cid_of_record", NULL},
    {"same CBOR, EVP_Digest", hash_with_evp_digest},
    {"same CBOR, EVP with one context", hash_with_reused_context},
    {"same CBOR, no hash", hash_not},
};
enum { WAYS = sizeof ways / sizeof *ways };

static bool cid_by(const struct way *way, struct bench *b, struct bl_str record, char cid[static CID_TEXT_LEN]) {
    unsigned char digest[CID_DIGEST_LEN];
    if (!way->hash) return cid_of_record(record, &b->scratch, cid, NULL) == BL_OK;
    bl_buf_clear(&b->scratch);
    if (cbor_of_json(record, &b->scratch, NULL) != BL_OK || !way->hash(b, digest)) return false;
    cid_text(digest, 0x71, cid);
    return true;
}

static struct bl_str member(struct bl_str object, const char *name) {
    struct js_cursor c = js_open(object, 200);
    struct js_string key;
    struct bl_str value;
    bool first = true;
    if (js_object(&c))
        while (js_member(&c, &key, &first) && js_skip(&c, &value, NULL))
            if (js_string_is(key, bl_str(name))) return value;
    return (struct bl_str){0};
}

static struct records records_of(struct bl_str text) {
    struct records r = {0};
    size_t lines = 1;
    for (size_t i = 0; i < text.n; i++) lines += text.p[i] == '\n';
    r.items = bl_xcalloc(lines, sizeof *r.items);
    while (text.n) {
        struct bl_str record = member(member(bl_str_cut(&text, '\n'), "commit"), "record");
        if (record.n == 0) continue;
        r.items[r.count++] = record;
        r.bytes += record.n;
    }
    return r;
}

static int64_t nanoseconds_of_round(const struct way *way, struct bench *b, struct records r, unsigned *sum) {
    char cid[CID_TEXT_LEN] = {0};
    int64_t start = bl_thread_cpu_ns();
    for (size_t done = 0, i = 0; done < CALLS_A_ROUND; done++) {
        if (cid_by(way, b, r.items[i], cid)) *sum += (unsigned char)cid[CID_TEXT_LEN - 1];
        i = i + 1 == r.count ? 0 : i + 1;
    }
    return bl_thread_cpu_ns() - start;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int run(struct records r) {
    struct bench b = {.fetched = EVP_MD_fetch(NULL, "SHA256", NULL), .context = EVP_MD_CTX_new()};
    int64_t taken[WAYS][ROUNDS];
    unsigned sum[WAYS] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (size_t w = 0; w < WAYS; w++) taken[w][round] = nanoseconds_of_round(&ways[w], &b, r, &sum[w]);
    printf("%zu records, %zu bytes of JSON on average, one thread, median of %d rounds of %d\n", r.count,
           r.bytes / r.count, ROUNDS, CALLS_A_ROUND);
    for (size_t w = 0; w < WAYS; w++) {
        qsort(taken[w], ROUNDS, sizeof **taken, ascending);
        double each = (double)taken[w][ROUNDS / 2] / CALLS_A_ROUND;
        printf("%-32s %8.0f records/s %8.1f ns each\n", ways[w].name, 1e9 / each, each);
    }
    bl_buf_release(&b.scratch);
    EVP_MD_CTX_free(b.context);
    EVP_MD_free(b.fetched);
    bool agree = sum[0] == sum[1] && sum[1] == sum[2];
    if (!agree) fprintf(stderr, "bench_cid: the ways disagree about the CIDs\n");
    return agree ? 0 : 1;
}

int main(int argc, char **argv) {
    struct bl_buf text = {0};
    struct bl_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: bench_cid FILE.ndjson\n");
        return 2;
    }
    if (bl_read_file(argv[1], FILE_MAX, &text, &err) != BL_OK) {
        fprintf(stderr, "bench_cid: %s\n", err.message);
        return 1;
    }
    struct records r = records_of(bl_buf_view(&text));
    int code = r.count ? run(r) : 1;
    if (r.count == 0) fprintf(stderr, "bench_cid: %s holds no record\n", argv[1]);
    free(r.items);
    bl_buf_release(&text);
    return code;
}
