/* reader: rows of the lake as events again, through DuckDB.
 *
 * May include: base, event, lake/duck.h, lake/catalog.h.
 * Reads an explicit list of files (from the catalogue), never a glob. One thread in DuckDB by default, memory limited.
 * The event handed to `row` is valid during the call. */
#pragma once
#include "lake/catalog.h"
#include "lake/duck.h"

typedef enum bl_rc (*lake_row_fn)(void *context, const struct event *ev, struct bl_error *err);
struct lake_scan {
    const char *lake_dir;
    enum ev_type type;
    const struct catalog_file *files;
    size_t file_count;
    int64_t from_us, to_us; /* inclusive; 0,0 = everything */
    bool ordered;           /* by time_us, did, rkey; else in file order */
    uint64_t columns;       /* bit set of columns wanted; 0 = all. Others come as null */
    int64_t memory_bytes;   /* DuckDB's limit; 0 means 512 MiB */
    int threads;            /* 0 means 1 */
    struct duck *duck; /* NULL: one is opened for this scan with the two limits above; many small scans share one */
};
enum bl_rc lake_scan_rows(const struct lake_scan *scan, lake_row_fn row, void *context, struct bl_error *err);
