/* refresher: a thread that keeps the views up to date. Private to the http room.
 *
 * May include: base, index, query, obs. Looks every few seconds whether anything is due, and completes the search index; what it costs is bounded by its own
 * session's memory and one DuckDB thread. Another process that refreshes the same views is no error. */
#pragma once
#include "base/mem.h"

struct refresher;
struct refresher_options {
    const char *lake_dir;
    int64_t memory_bytes;
    int64_t every_us;
};
enum bl_rc refresher_start(const struct refresher_options *o, struct refresher **out, struct bl_error *err);
void refresher_stop(struct refresher **r);
