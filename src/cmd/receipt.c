#include "cmd/receipt.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };

struct receipt {
    FILE *file; /* the end to write to */
    int read_end;
    pthread_t thread;
    EVP_MD_CTX *sha256;
    int64_t bytes;
    enum bl_rc rc; /* of the thread */
    struct bl_error err;
    char piece[PIECE];
};

static enum bl_rc write_all(const char *p, size_t n, struct bl_error *err) {
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return bl_fail_errno(err, BL_E_IO, "cannot write the output");
        p += done;
        n -= (size_t)done;
    }
    return BL_OK;
}

static enum bl_rc carry_piece(struct receipt *r, bool *end) {
    ssize_t n = read(r->read_end, r->piece, PIECE);
    if (n < 0 && errno == EINTR) return BL_OK;
    if (n < 0) return bl_fail_errno(&r->err, BL_E_IO, "reading what is to be written");
    *end = n == 0;
    BL_ASSERT(EVP_DigestUpdate(r->sha256, r->piece, (size_t)n) == 1);
    BL_TRY(write_all(r->piece, (size_t)n, &r->err));
    r->bytes += n;
    return BL_OK;
}

/* After a failure it goes on reading: a writer that finds its pipe closed would be ended by a signal. */
static void *carry(void *context) {
    struct receipt *r = context;
    bool end = false;
    while (!end && r->rc == BL_OK) r->rc = carry_piece(r, &end);
    while (!end) {
        ssize_t n = read(r->read_end, r->piece, PIECE);
        end = n == 0 || (n < 0 && errno != EINTR);
    }
    return NULL;
}

static enum bl_rc start(struct receipt *r, struct bl_error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return bl_fail_errno(err, BL_E_IO, "pipe");
    r->read_end = ends[0];
    r->file = fdopen(ends[1], "w");
    BL_ASSERT(r->file && r->sha256 && EVP_DigestInit_ex(r->sha256, EVP_sha256(), NULL) == 1);
    if (pthread_create(&r->thread, NULL, carry, r) == 0) return BL_OK;
    fclose(r->file);
    close(r->read_end);
    return bl_fail(err, BL_E_IO, "the thread of the output cannot be started");
}

enum bl_rc receipt_open(struct receipt **out, struct bl_error *err) {
    struct receipt *r = bl_xcalloc(1, sizeof *r);
    r->sha256 = EVP_MD_CTX_new();
    enum bl_rc rc = start(r, err);
    if (rc != BL_OK) {
        EVP_MD_CTX_free(r->sha256);
        free(r);
        return rc;
    }
    *out = r;
    return BL_OK;
}

FILE *receipt_file(struct receipt *r) {
    return r->file;
}

int receipt_fd(struct receipt *r) {
    return fileno(r->file);
}

enum bl_rc receipt_close(struct receipt **receipt, int64_t *bytes, char sha256[RECEIPT_SHA256_TEXT],
                         struct bl_error *err) {
    struct receipt *r = *receipt;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool flushed = fclose(r->file) == 0;
    pthread_join(r->thread, NULL);
    close(r->read_end);
    BL_ASSERT(EVP_DigestFinal_ex(r->sha256, hash, &n) == 1 && n * 2 < RECEIPT_SHA256_TEXT);
    EVP_MD_CTX_free(r->sha256);
    for (unsigned i = 0; i < n; i++) snprintf(sha256 + 2 * i, 3, "%02x", hash[i]);
    *bytes = r->bytes;
    enum bl_rc rc = r->rc;
    if (rc != BL_OK) *err = r->err;
    if (rc == BL_OK && !flushed) rc = bl_fail_errno(err, BL_E_IO, "cannot write the output");
    free(r);
    *receipt = NULL;
    return rc;
}
