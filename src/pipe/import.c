#include "pipe/import.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/rng.h"
#include "pipe/lines.h"
#include "pipe/write.h"

enum { CHUNK_BYTES = 1 << 20, DEPTH_PER_THREAD = 3, LINE_MAX_BYTES = EV_SIZE_MAX + (1 << 20) };

struct import {
    const struct import_options *options;
    struct lake *lake;
    struct decode *decode;
    struct import_result *result;
    struct import_progress progress;
    uint64_t run; /* tells the dead letters of one import from another's */
    int64_t chunk;
};

static enum bl_rc commit(struct import *im, struct bl_error *err) {
    struct lake_commit_stats stats;
    BL_CRASH_POINT("import.before_commit");
    BL_TRY(lake_commit(im->lake, "import", &stats, err));
    BL_CRASH_POINT("import.after_commit");
    im->result->bytes_written += stats.bytes;
    im->result->files_written += stats.files;
    return BL_OK;
}

static enum bl_rc take(struct import *im, struct chunk *c, struct bl_error *err) {
    char origin[320];
    snprintf(origin, sizeof origin, "import %016" PRIx64 " %.200s chunk %" PRId64, im->run, (const char *)c->tag,
             ++im->chunk);
    struct intake_source from = {
        .type = EV_TYPE_COUNT, .offset = UINT64_MAX, .origin = origin, .received_us = bl_wall_us()};
    im->progress.rows += (int64_t)c->count;
    enum bl_rc rc = intake_chunk(im->lake, c, &from, &im->result->counts, err);
    decode_recycle(im->decode, c);
    if (rc != BL_OK) return rc;
    const struct conf *conf = im->options->conf;
    bool full =
        intake_is_full(im->lake, conf->write_memory) || lake_pending_rows(im->lake) >= conf->write_batch_rows;
    if (im->options->progress) im->options->progress(im->options->context, &im->progress);
    return full ? commit(im, err) : BL_OK;
}

static enum bl_rc free_chunk(struct import *im, struct chunk **out, struct bl_error *err) {
    while (!(*out = decode_chunk(im->decode))) BL_TRY(take(im, decode_next(im->decode), err));
    return BL_OK;
}

static enum bl_rc read_file(struct import *im, struct lines *lines, struct bl_error *err) {
    for (bool end = false; !end && !role_stopping(im->options->role);) {
        struct chunk *c;
        BL_TRY(free_chunk(im, &c, err));
        enum bl_rc rc = lines_read(lines, CHUNK_BYTES, LINE_MAX_BYTES, &c->raw, &end, err);
        if (rc != BL_OK) {
            decode_recycle(im->decode, c);
            return rc;
        }
        im->progress.bytes += (int64_t)c->raw.n;
        c->tag = (void *)im->progress.file;
        decode_submit(im->decode, c);
    }
    return BL_OK;
}

static enum bl_rc import_one(struct import *im, const char *path, struct bl_error *err) {
    struct lines *lines = NULL;
    BL_TRY(lines_open(path, &lines, err));
    im->progress.file = path;
    enum bl_rc rc = read_file(im, lines, err);
    lines_close(&lines);
    return rc;
}

static enum bl_rc import_all(struct import *im, char *const *paths, size_t count, struct bl_error *err) {
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < count && rc == BL_OK && !role_stopping(im->options->role); i++)
        rc = import_one(im, paths[i], err);
    struct chunk *c;
    while ((c = decode_next(im->decode))) {
        struct bl_error later;
        enum bl_rc taken = take(im, c, rc == BL_OK ? err : &later);
        if (rc == BL_OK) rc = taken;
    }
    /* What was read before a failure or a stop is good: keep it; the next import recognises it. */
    struct bl_error later;
    enum bl_rc committed = commit(im, rc == BL_OK ? err : &later);
    im->result->bytes_read = im->progress.bytes;
    if (rc == BL_OK && role_stopping(im->options->role))
        return bl_fail(err, BL_E_CANCELLED, "stopped; what was read so far is in the lake");
    return rc == BL_OK ? committed : rc;
}

enum bl_rc import_files(const struct import_options *o, char *const *paths, size_t count, struct import_result *out,
                        struct bl_error *err) {
    unsigned threads = o->threads ? o->threads : 2;
    *out = (struct import_result){0};
    struct import im = {.options = o, .result = out, .run = bl_random_u64()};
    BL_TRY(write_open_lake(o->conf, false, &im.lake, err));
    im.decode = decode_new(threads, threads * DEPTH_PER_THREAD);
    enum bl_rc rc = import_all(&im, paths, count, err);
    decode_free(&im.decode);
    lake_close(&im.lake);
    return rc;
}
