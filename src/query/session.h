/* session: what struct query is, and what the files of this room share. Private to the query room. */
#pragma once
#include "event/event.h"
#include "index/index.h"
#include "lake/catalog.h"
#include "lake/duck.h"
#include "query/query.h"
#include "query/watchdog.h"
#include "resolve/resolver.h"

struct file_list { /* of one type, newest first by max_us */
    struct catalog_file *files;
    size_t count;
};
struct id_list { /* sorted */
    int64_t *ids;
    size_t count;
};
struct query {
    char *dir;
    int64_t deadline_us;
    int64_t snapshot;
    struct catalog *catalog;
    struct duck *duck;
    struct watchdog *watchdog;
    struct file_list files[EV_TYPE_COUNT];
    int64_t views_snapshot; /* the snapshot the views show; -1: there are none yet */
    int threads;
    struct index *index;
    struct hidden *hidden;     /* NULL until a question over many rows needs it */
    struct people *people;     /* NULL until somebody is looked up */
    struct views_store *store; /* NULL until one is there */
    int64_t store_generation;
    struct resolver *resolver; /* NULL: there is none */
    bool patient;
    enum query_names names;
    struct id_list stored[EV_TYPE_COUNT]; /* files of accounts and profiles whose rows are in the store */
};

/* "read_parquet(['...', ...], hive_partitioning = ...)" over `count` files. Paths are ours, and quoted. */
void session_add_files(const struct query *q, struct bl_buf *sql, const struct catalog_file *const *files, size_t count,
                       bool hive);
/* The files of `type` that hold rows of [from_us, to_us], newest first; free() the array. */
size_t session_files(const struct query *q, enum ev_type type, int64_t from_us, int64_t to_us,
                     const struct catalog_file ***out);
/* Those of them in or beside one of the hours (numbers since 1970, ascending). Clocks differ, hence "beside". */
size_t session_files_near(const struct query *q, enum ev_type type, const int64_t *hours, size_t hour_count,
                          const struct catalog_file ***out);
/* Bring the SQL views to the pinned snapshot. */
enum bl_rc session_views(struct query *q, struct bl_error *err);
/* A compaction may replace files that a pinned snapshot names. True when a question that failed with `rc`, without
 * having given anything away, should be asked again of the newer snapshot, which is then pinned. */
bool session_moved_on(struct query *q, enum bl_rc rc);

/* Runs `ask` under the deadline, and once more when the lake moved on under it. `*given` is set by `ask` once anything
 * was handed out. */
typedef enum bl_rc (*session_ask)(struct query *q, void *context, bool *given, struct bl_error *err);
enum bl_rc session_run(struct query *q, session_ask ask, void *context, struct bl_error *err);
/* An answer of DuckDB into a sink: the columns, then the rows as texts. */
enum bl_rc session_give_columns(const struct duck_result *r, const struct query_sink *sink, struct bl_error *err);
enum bl_rc session_stream(struct query *q, struct duck_result *r, const struct query_sink *sink, struct bl_error *err);
