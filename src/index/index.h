/* index: what questions are answered from, kept in DIR/index: a segment for each Parquet file of posts (segment.h), a
 * roster for each of accounts and profiles (roster.h).
 *
 * May include: base, event, lake (catalog.h, duck.h, reader.h).
 * A segment is derived, as is a roster: it says nothing the Parquet file does not say, may be deleted at any time, and
 * is built again when it is missing or damaged. Its name is made from everything the catalogue knows of its file (id,
 * path, checksum, size, rows, times), so that it is never taken for another's; segments of files that are no longer
 * listed are removed. The catalogue knows nothing of all this. A segment is written under another name and renamed,
 * under a lock in DIR/index/.lock that keeps several processes from building the same one; one that waits too long
 * builds its own. Where the folder cannot be written (disk full, somebody else's lake), the segment lives in memory for
 * as long as the index is open.
 *
 * Cost: about twice the bytes of the posts files themselves; building takes one thread about a second for 200,000 posts
 * and 256 MiB at most, besides DuckDB's. Figures: docs/BENCHMARKS.md.
 *
 * Threading: one thread an index; any number of indexes, in any number of processes, over one lake. */
#pragma once
#include <stdatomic.h>

#include "index/roster.h"
#include "index/segment.h"
#include "lake/catalog.h"
#include "lake/duck.h"

struct index;
/* Touches nothing on disk. */
struct index *index_open(const char *lake_dir);
void index_close(struct index **x);

/* The segment of a posts file, built with `duck` when there is none; valid until index_trim, index_close or,
 * once it was noted as damaged, the next call. Errors are those of reading the Parquet file. */
enum bl_rc index_segment(struct index *x, struct duck *duck, const struct catalog_file *file, struct segment **out,
                         struct bl_error *err);
/* The same of a file of accounts or profiles. */
enum bl_rc index_roster(struct index *x, struct duck *duck, const struct catalog_file *file, struct roster **out,
                        struct bl_error *err);
/* Builds those of `files` that are missing, on up to `threads` threads, each with a DuckDB of its own. What fails is
 * left for index_segment to fail at. `go_on` is asked before each file, on any of the threads. Takes nothing but a look
 * at the folder when nothing is missing. */
void index_prepare(struct index *x, const struct catalog_file *const *files, size_t count, int threads,
                   bool (*go_on)(void *context), void *context);
/* How many files the two have built, for whoever says what an answer took. */
size_t index_built(const struct index *x);
/* Between two questions: no more than a bounded number of segments stays open. */
void index_trim(struct index *x);
/* A part of `s` is BL_E_CORRUPT: its file is removed, and index_segment builds it again. */
void index_note_damaged(struct index *x, const struct segment *s);
/* Was there one since this was asked last? Then the question that failed is worth asking again. */
bool index_had_damage(struct index *x);

/* Builds what is missing, newest first, and removes what belongs to no listed file. For a background thread: call it
 * whenever new files may have come; with nothing to do it costs a look at the catalogue and one folder. Another that
 * builds at the same time is no error. BL_E_CANCELLED when `stop` became true. */
struct index_build_options {
    const char *lake_dir;
    int64_t memory_bytes;    /* DuckDB's; 0 means 256 MiB */
    const atomic_bool *stop; /* may be NULL */
};
struct index_build_stats {
    size_t segments, built, removed; /* there now; built and removed by this call */
    int64_t rows, bytes;             /* of those built */
};
enum bl_rc index_build_missing(const struct index_build_options *o, struct index_build_stats *stats,
                               struct bl_error *err);
