/* catalog: what the lake holds, in one SQLite file DIR/catalog.sqlite (WAL, synchronous=FULL). sqlite3.h appears only
 * in catalog.c (and its parts).
 *
 * May include: base, event (types only). Schema: docs/FORMATS.md; PRAGMA user_version is its version.
 * The interface stays narrow so that another catalogue (DuckLake on PostgreSQL) could stand behind it.
 * A file is in the lake if and only if it is listed here. A commit is one transaction: files added and removed, stream
 * positions, the intake ledger, dead letters, gaps.
 *
 * Threading: one thread a handle; any number of processes may read while one writes. Busy waits are bounded by 10 s
 * (BL_E_BUSY). */
#pragma once
#include "base/mem.h"
#include "event/event.h"

struct catalog;
enum catalog_mode { CATALOG_READ, CATALOG_WRITE };
enum bl_rc catalog_open(const char *lake_dir, enum catalog_mode mode, struct catalog **out, struct bl_error *err);
void catalog_close(struct catalog **c);
/* Reads between the two are of one moment, whatever is committed meanwhile. Not for handles that commit in between. */
enum bl_rc catalog_pin(struct catalog *c, struct bl_error *err);
void catalog_unpin(struct catalog *c);

struct catalog_file {
    int64_t id;
    enum ev_type type;
    int64_t hour_us;           /* start of the UTC hour of its folder */
    char path[256];            /* relative to the lake folder */
    int64_t rows, bytes;
    int64_t min_us, max_us;    /* time_us */
    uint64_t checksum;         /* XXH3-64 of the whole file */
    int schema_version;
    int64_t raw_bytes;         /* JSON bytes the rows came from; 0 unknown */
    bool compacted;            /* the hour's final file */
    int64_t snapshot_added;
};

/* What one block (or one import chunk) brought; sums are the conservation ledger:
 * received = written + duplicates + dead. */
struct catalog_intake {
    enum ev_type type;
    uint64_t incarnation, seq; /* block identity; incarnation 0 = import */
    uint64_t offset;           /* of the block; UINT64_MAX = none */
    int64_t received, written, duplicates, dead;
    bool repeated; /* the block is in the lake already, and came with an offset once more: counted (as duplicates) only
                      when the offset is a new one, as after Redis forgot the block and it was sent again */
};
struct catalog_dead {
    int64_t id;
    enum ev_type type;  /* EV_TYPE_COUNT when unknown */
    const char *reason, *detail;
    const char *origin; /* with received_us it names the letter: noting it again (a crash in between) changes nothing */
    int64_t received_us;
    struct bl_str message;
};
struct catalog_commit {
    const struct catalog_file *add;
    size_t add_count;
    const int64_t *remove; /* file ids, replaced by `add` in the same snapshot (compaction) */
    size_t remove_count;
    const struct catalog_intake *intake;
    size_t intake_count;
    const struct catalog_dead *dead;
    size_t dead_count;
    const int64_t *revived; /* ids of dead letters that became events */
    size_t revived_count;
    const int64_t *purged; /* EV_TYPE_COUNT of them: rows that `remove` held and `add` does not, for good; NULL: none */
    const char *job;       /* "write", "import", "compact", "purge": for the job journal */
};
/* One transaction; `*snapshot` gets the new snapshot id. All or nothing. */
enum bl_rc catalog_commit(struct catalog *c, const struct catalog_commit *what, int64_t *snapshot,
                          struct bl_error *err);

/* Blocks up to and including this seq of (incarnation, type) are in the lake: they must not be written again. 0 = none.
 */
enum bl_rc catalog_committed_seq(struct catalog *c, uint64_t incarnation, enum ev_type type, uint64_t *seq,
                                 struct bl_error *err);

struct catalog_ledger {
    int64_t received, written, duplicates, dead;
    uint64_t next_offset;   /* of the buffer's offsets */
    int64_t missing;        /* offsets that never arrived: blocks lost in the buffer. Must be 0 */
    int64_t forgotten;      /* offsets seen twice because Redis lost its last second and numbered anew */
    int64_t rows;           /* sum over listed files */
    int64_t purged;         /* rows removed for good since: rows = written - purged */
};
enum bl_rc catalog_ledger(struct catalog *c, struct catalog_ledger out[static EV_TYPE_COUNT], struct bl_error *err);

/* Files whose time range overlaps [from_us, to_us] (0,0 = everything), newest first. `type` EV_TYPE_COUNT = all. Free
 * with free(). */
enum bl_rc catalog_files(struct catalog *c, enum ev_type type, int64_t from_us, int64_t to_us,
                         struct catalog_file **out, size_t *count, struct bl_error *err);
/* Distinct (type, hour) with an uncompacted file, whose hour ended before `before_us`. (Several compacted files in one
 * hour are an hour split for its size: nothing to do.) */
struct catalog_hour {
    enum ev_type type;
    int64_t hour_us;
    int64_t files;
};
enum bl_rc catalog_hours_to_compact(struct catalog *c, int64_t before_us, struct catalog_hour **out, size_t *count,
                                    struct bl_error *err);
/* Files removed from the lake by an earlier commit whose bytes may still lie there: for the sweep. */
enum bl_rc catalog_removed_paths(struct catalog *c, char ***out, size_t *count, struct bl_error *err);
enum bl_rc catalog_forget_removed(struct catalog *c, const char *path, struct bl_error *err);
/* Listed, or removed and not swept yet. */
bool catalog_knows_path(struct catalog *c, const char *path);

struct catalog_gap {
    int64_t id, from_us, to_us, noted_us;
    char host[256], reason[64];
    bool healed;
};
/* `id` 0 adds a gap, or marks the same one healed when `healed`; any other updates that one. */
enum bl_rc catalog_add_gap(struct catalog *c, const struct catalog_gap *gap, struct bl_error *err);
enum bl_rc catalog_gaps(struct catalog *c, int64_t from_us, int64_t to_us, struct catalog_gap **out, size_t *count,
                        struct bl_error *err);
/* Newest first, at most `limit`; each row is handed to `row`. */
enum bl_rc catalog_dead_letters(struct catalog *c, size_t limit,
                                void (*row)(void *context, const struct catalog_dead *dead), void *context,
                                struct bl_error *err);
/* One of them; BL_E_NOT_FOUND when there is none with this id. The slices are valid during the call of `row` only. */
enum bl_rc catalog_dead_letter(struct catalog *c, int64_t id,
                               void (*row)(void *context, const struct catalog_dead *dead), void *context,
                               struct bl_error *err);
/* For good, all or none: an id that does not exist is BL_E_NOT_FOUND. */
enum bl_rc catalog_drop_dead(struct catalog *c, const int64_t *ids, size_t count, struct bl_error *err);
enum bl_rc catalog_dead_count(struct catalog *c, int64_t *count, struct bl_error *err);

struct catalog_totals {
    int64_t files, rows, bytes, raw_bytes, gaps, dead, snapshot;
    int64_t min_us, max_us, last_commit_us;
};
enum bl_rc catalog_totals(struct catalog *c, struct catalog_totals *out, struct bl_error *err);
/* Small facts about the lake ("source" = "live" or "simulated seed=1"): text by key; "" when absent. */
enum bl_rc catalog_get(struct catalog *c, const char *key, struct bl_buf *value, struct bl_error *err);
enum bl_rc catalog_set(struct catalog *c, const char *key, const char *value, struct bl_error *err);
