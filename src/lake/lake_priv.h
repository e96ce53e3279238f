/* lake_priv: what lake.c, lake_file.c, recover.c, compact.c and purge.c share. */
#pragma once
#include "lake/lake.h"

#define LAKE_HOUR_US ((int64_t)3600 * 1000000)
enum { LAKE_PATH_MAX = 4096, LAKE_OPEN_MAX = 900, LAKE_SYNCED = 64 };

/* ---- lake_file.c: one Parquet file on its way from .staging to its folder */
struct lake_file {
    enum ev_type type;
    int64_t hour_us;
    char staging[64], path[256]; /* relative to the lake; path is empty until placed */
    int fd;                      /* -1 once finished */
    struct pq_writer *w;
    int64_t rows, min_us, max_us, raw_bytes;
    struct pq_summary sum;
    enum bl_rc rc; /* of finishing, which happens on another thread */
    struct bl_error err;
};
struct lake_file_options {
    enum pq_codec codec;
    int64_t row_group_bytes; /* 0: the writer's */
    const char *stage;       /* LAKE_STAGE_... : whose file it is while in .staging */
};
#define LAKE_STAGE_WRITE "write-"
#define LAKE_STAGE_COMPACT "compact-"
enum bl_rc lake_file_open(const char *dir, enum ev_type type, int64_t hour_us, uint64_t number,
                          const struct lake_file_options *o, struct lake_file **out, struct bl_error *err);
enum bl_rc lake_file_append(struct lake_file *f, const struct event *ev, size_t raw_bytes, struct bl_error *err);
/* Footer, fsync, close. */
enum bl_rc lake_file_finish(struct lake_file *f, struct bl_error *err);
/* Move to its folder under the first free of STEM.parquet, STEM-2.parquet, ... */
enum bl_rc lake_file_place(const char *dir, struct lake_file *f, const char *stem, struct bl_error *err);
struct catalog_file lake_file_entry(const struct lake_file *f);
void lake_file_free(struct lake_file **f);                     /* keeps what lies on disk */
void lake_file_discard(const char *dir, struct lake_file **f); /* removes it from disk as well */
void lake_hour_folder(int64_t hour_us, char *out, size_t size);
int64_t lake_hour_of(int64_t time_us);

struct lake {
    char *dir;
    struct lake_options o;
    int lock_fd;
    struct catalog *catalog;
    struct dedup *dedup;
    struct lake_file *files[LAKE_OPEN_MAX];
    size_t file_count;
    struct lake_file *current[EV_TYPE_COUNT]; /* where the last event of the type went */
    uint64_t required[EV_TYPE_COUNT];         /* columns every row must have */
    uint64_t next_number;
    int64_t rows, memory;
    struct catalog_intake *intake;
    size_t intake_count, intake_cap;
    struct catalog_dead *dead;
    size_t dead_count, dead_cap;
    int64_t *revived;
    size_t revived_count, revived_cap;
    struct bl_arena texts;       /* of dead letters, until the commit */
    int64_t synced[LAKE_SYNCED]; /* hours whose chain of folders is known to be on disk, a ring */
    size_t synced_count;
    bool broken; /* an append failed half-way: the rows since the last commit cannot be trusted */
    struct bl_error broken_by;
};
/* Make renames into the hour's folder durable, and the folder itself the first time. */
enum bl_rc lake_sync_folder(struct lake *l, int64_t hour_us, struct bl_error *err);

/* An exclusive lock on DIR/NAME held by `*fd`; BL_E_BUSY, with `who` in the message, when somebody else has it. */
enum bl_rc lake_lock(const char *dir, const char *name, const char *who, int *fd, struct bl_error *err);

/* ---- compact.c */
struct lake_sieve { /* what an hour is written anew without */
    bool (*drops)(const void *context, const struct event *ev);
    const void *context;
};
/* One hour of a type into as few files as there may be, in one catalogue transaction; without a sieve only where a file
 * of it is not compacted yet. `stats` grows. */
enum bl_rc lake_rewrite_hour(struct lake *l, enum ev_type type, int64_t hour_us, const struct lake_sieve *sieve,
                             struct lake_compact_stats *stats, struct bl_error *err);

/* ---- recover.c: what a crash left behind. The catalogue is the truth. */
enum bl_rc lake_sweep(struct lake *l, struct bl_error *err);
