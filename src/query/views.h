/* views: answers kept ready. Each view is a row of one table (views.c): what it says, how often it is renewed, its
 * columns.
 *
 * May be used by: cmd, http. Kept in DIR/views.sqlite, which is a cache: without it everything is computed anew.
 * A refresh reads only files it has not read before. "Now" is the newest event in the lake, not the wall clock, so that
 * a replayed or simulated lake has a last day as well.
 *
 *     struct views *v;
 *     BL_TRY(views_open("data", &v, err));
 *     BL_TRY(views_answer(v, "most_liked", &sink, &info, err));
 *
 * Threading: one thread a handle; any number of handles and processes may answer while one refreshes. */
#pragma once
#include "query/query.h"

struct view_info {
    const char *name, *title, *definition, *cadence; /* cadence: "hourly" or "daily" */
    const struct query_column *columns;
    size_t column_count;
    int64_t refreshed_us; /* wall clock; 0 = never yet */
    int64_t stale_us;     /* age of the answer now; -1 = there is none */
    int64_t as_of_us;     /* the newest event it takes into account */
    int64_t snapshot, rows;
};
struct views;
enum bl_rc views_open(const char *lake_dir, struct views **out, struct bl_error *err);
void views_close(struct views **v);
/* The i-th view; false behind the last. */
enum bl_rc views_info(struct views *v, size_t i, struct view_info *out, bool *exists, struct bl_error *err);
/* Columns and rows of one view into the sink. BL_E_NOT_FOUND: no such view (the message lists or suggests), or it was
 * never refreshed. `info` may be NULL. */
enum bl_rc views_answer(struct views *v, const char *name, const struct query_sink *sink, struct view_info *info,
                        struct bl_error *err);

struct views_refresh_options {
    const char *lake_dir;
    bool force;                /* also what is not due yet */
    int64_t memory_bytes;      /* of DuckDB; 0 means 256 MiB; what is beyond goes to DIR/.staging for a while */
    int threads;               /* 0 means 1 */
    const _Atomic bool *stop;  /* NULL, or: give up soon when it becomes true (BL_E_CANCELLED) */
    struct resolver *resolver; /* see query.h */
};
struct views_refresh_stats {
    size_t files_read, files_known; /* opened now; known before, and not opened */
    size_t views_renewed;
    int64_t elapsed_us, snapshot;
};
/* Read new files, renew what is due: hourly views after an hour, daily ones after a day, both when events of a newer
 * hour or day came in. BL_E_BUSY while another process refreshes. Safe to call often: without new files it does
 * nothing. */
enum bl_rc views_refresh(const struct views_refresh_options *o, struct views_refresh_stats *stats,
                         struct bl_error *err);
