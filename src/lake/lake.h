/* lake: the writing side. Events in, Parquet files and one catalogue transaction out.
 *
 * May include: base, event, obs, and within the room parquet.h, catalog.h, dedup.h, reader.h.
 * Layout: docs/FORMATS.md. DIR/year=YYYY/month=MM/day=DD/hour=HH/<type>-<first>-<last>.parquet, <type>.parquet once the
 * hour is compacted; partition by time_us, UTC. <first> and <last> are the smallest and largest time_us in the file; a
 * name that exists gets "-2", "-3", ... appended: files are never overwritten.
 *
 * Order of commit (lake_commit): finish files under DIR/.staging -> fsync each -> rename into place -> fsync folders ->
 * catalogue transaction. Only then may the caller acknowledge. A crash leaves at worst files the catalogue does not
 * know; lake_open in write mode sweeps them away. lake_open fails with BL_E_BUSY while another process writes to this
 * lake (flock on DIR/.lock), and for a compactor while another compacts (flock on DIR/.compact.lock). The two work side
 * by side: each sweeps its own staging files only, and the writer looks for strays only while nobody compacts, since a
 * file on its way into the catalogue looks like one.
 *
 * Memory: at most `memory_bytes` of builders over all open (type, hour) files; lake_append answers BL_E_FULL when the
 * caller has to commit first (also when 900 files are open). BL_E_INVALID: the event lacks a required column or its
 * time has no folder. Threading: one thread. */
#pragma once
#include "event/event.h"
#include "lake/catalog.h"
#include "lake/dedup.h"
#include "lake/parquet.h"

struct lake;
struct lake_options {
    const char *dir;
    enum pq_codec codec;   /* PQ_ZSTD unless set otherwise by `codec_set` */
    bool codec_set;
    int64_t memory_bytes;  /* builders; 0 means 192 MiB */
    int64_t dedup_bytes;   /* 0 means 160 MiB */
    int64_t file_rows_max; /* a file is closed beyond; 0 means 4,000,000 */
    int64_t file_bytes_max;/* target for compaction; 0 means 100 MiB (LAKE-07) */
    int encode_threads;    /* files finished side by side at commit; 0 means 2 */
    bool compactor;        /* for lake_compact only: may be open beside a writer */
};
enum bl_rc lake_open(const struct lake_options *o, struct lake **out, struct bl_error *err);
void lake_close(struct lake **l); /* discards what was not committed */
struct catalog *lake_catalog(struct lake *l);

enum lake_outcome { LAKE_WRITTEN, LAKE_DUPLICATE };
/* `raw_bytes`: size of the JSON it came from, for the compression figure. */
enum bl_rc lake_append(struct lake *l, const struct event *ev, struct ev_id id, size_t raw_bytes,
                       enum lake_outcome *outcome, struct bl_error *err);
/* A hint, some events ahead of lake_append: hides the cache miss of the look-up. */
void lake_expect(const struct lake *l, const struct event *ev, struct ev_id id);
/* What goes into the same transaction as the files. Called in any order before lake_commit; the texts are copied. */
void lake_note_intake(struct lake *l, const struct catalog_intake *intake);
void lake_note_dead(struct lake *l, const struct catalog_dead *dead);
void lake_note_revived(struct lake *l, int64_t dead_letter); /* it became an event of this batch */
struct lake_commit_stats {
    int64_t rows, bytes, files, snapshot;
};
/* Nothing to commit is BL_OK with files == 0. On failure everything since the last commit is forgotten (the caller
 * reads it again from the buffer). */
enum bl_rc lake_commit(struct lake *l, const char *job, struct lake_commit_stats *stats, struct bl_error *err);
/* Give up everything since the last commit: rows, ledger, dead letters, remembered identities. */
void lake_forget(struct lake *l);
int64_t lake_pending_rows(const struct lake *l);
int64_t lake_pending_bytes(const struct lake *l); /* builder memory */
int64_t lake_pending_files(const struct lake *l); /* open (type, hour) files */

/* Merge each closed hour's files of a type into <type>.parquet (split into <type>-2.parquet ... beyond file_bytes_max),
 * sorted by time_us. A late event adds a file to a closed hour; the next compaction merges it and then uses the first
 * of these names that is free. Crash-safe and row-preserving: row count and an order-independent checksum of the rows
 * are compared before the commit. */
struct lake_compact_stats {
    int64_t hours, files_before, files_after, bytes_before, bytes_after, rows, dropped;
};
enum bl_rc lake_compact(struct lake *l, int64_t before_us, struct lake_compact_stats *stats, struct bl_error *err);

/* Removes for good what accounts wrote that are deleted: those whose newest account event says so (status "deleted"),
 * before `before_us`. Files that hold such rows are written anew without them, as a compaction does it; the account's
 * own events stay and say what happened. What was removed is counted in the ledger (catalog.h, `purged`). An account
 * that is only deactivated, suspended or taken down keeps its rows: it may return. Opened as a compactor; a writer may
 * go on meanwhile. Reads the column of accounts of every file, in DuckDB's bounded memory. */
struct lake_purge_stats {
    int64_t accounts; /* deleted ones, whether or not anything of them was left */
    int64_t files, rows, rows_by_type[EV_TYPE_COUNT];
    struct lake_compact_stats rewritten;
};
/* `look_only`: counts what would go. */
enum bl_rc lake_purge(struct lake *l, int64_t before_us, bool look_only, struct lake_purge_stats *stats,
                      struct bl_error *err);
