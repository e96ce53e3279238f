/* import: files of events straight into the lake, without Redis.
 *
 * May include: base, conf, event, lake, pipe. NDJSON: one event a line; plain, gzip or zstd, told apart by their first
 * bytes; "-" is standard input. Importing a file twice changes nothing: events are recognised by identity. Bad lines
 * become dead letters. */
#pragma once
#include "conf/conf.h"
#include "pipe/intake.h"
#include "pipe/role.h"

struct import_progress {
    const char *file;
    int64_t bytes, rows; /* read and taken so far, over all files */
};
struct import_options {
    const struct conf *conf;
    unsigned threads; /* decoding; 0 means 2 */
    struct role *role;
    void (*progress)(void *context, const struct import_progress *p);
    void *context;
};
struct import_result {
    struct intake_counts counts;
    int64_t bytes_read, bytes_written, files_written;
};
enum bl_rc import_files(const struct import_options *o, char *const *paths, size_t count, struct import_result *out,
                        struct bl_error *err);
