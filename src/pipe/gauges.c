#include "pipe/gauges.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#include "obs/log.h"
#include "obs/metrics.h"

#define OPEN_GAPS_US (INT64_C(48) * 3600 * 1000000)

static void count_open_gaps(struct lake *lake) {
    BL_CLEANUP(bl_freep) struct catalog_gap *gaps = NULL;
    size_t count = 0, open = 0;
    int64_t since_us = bl_wall_us() - OPEN_GAPS_US;
    if (catalog_gaps(lake_catalog(lake), 0, 0, &gaps, &count, NULL) != BL_OK) return;
    for (size_t i = 0; i < count; i++) open += !gaps[i].healed && gaps[i].noted_us > since_us;
    metric_set(M_gaps_open, 0, (double)open);
}

void gauges_of_files(struct lake *lake, const struct conf *conf) {
    struct catalog_totals totals;
    if (catalog_totals(lake_catalog(lake), &totals, NULL) != BL_OK) return; /* the next commit tries again */
    metric_set(M_storage_size, 0, (double)totals.bytes);
    metric_set(M_storage_files, 0, (double)totals.files);
    metric_set(M_dead_stored, 0, (double)totals.dead);
    count_open_gaps(lake);
    if (totals.raw_bytes) metric_set(M_storage_ratio, 0, 100.0 * (1 - (double)totals.bytes / (double)totals.raw_bytes));
    struct statvfs fs;
    if (statvfs(conf->data, &fs) == 0 && fs.f_blocks)
        metric_set(M_storage_percent, 0, 100.0 * (1 - (double)fs.f_bavail / (double)fs.f_blocks));
}

void gauges_of_ledger(struct lake *lake) {
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    if (catalog_ledger(lake_catalog(lake), ledger, NULL) != BL_OK) return; /* the next commit tries again */
    int64_t missing = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) missing += ledger[t].missing;
    if (missing && missing != (int64_t)metric_get(M_offsets_missing, 0))
        bl_log(BL_ERROR_LEVEL,
               "%" PRId64 " buffered events never reached the writer: Redis lost blocks (evicted or deleted)", missing);
    metric_set(M_offsets_missing, 0, (double)missing);
}
