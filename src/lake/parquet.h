/* parquet: writes one Parquet file from columns in memory. Knows no Bluesky, no folders, no catalogue.
 *
 * May include: base. Format: https://github.com/apache/parquet-format (2.10): Thrift compact footer, data page v1,
 * encodings PLAIN, RLE_DICTIONARY, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY, RLE; codecs zstd,
 * snappy, gzip, uncompressed. Every column chunk carries min/max, null count; the footer carries caller's key-value
 * pairs.
 *
 * Values are appended column by column, row by row: every row appends exactly one value (or null, or list) to every
 * column, then calls pq_row_end. Strings are hashed into a dictionary at once and copied; a dictionary that stops
 * paying off is dropped for plain values at row-group end (never a wrong file, only a larger one). A row group is
 * flushed to `fd` when it holds row_group_rows rows or row_group_bytes of builder memory.
 *
 * Memory: builder memory is bounded by row_group_bytes plus one row, plus the same again while encoding.
 * Threading: one thread a writer; several writers run side by side.
 *
 *     struct pq_writer *w = pq_open(fd, columns, n, &options);
 *     pq_i64(w, 0, 42); pq_str(w, 1, s); pq_null(w, 2); pq_list(w, 3, items, count);
 *     BL_TRY(pq_row_end(w, err)); ...
 *     BL_TRY(pq_finish(w, meta, meta_count, &summary, err)); */
#pragma once
#include "base/mem.h"

enum pq_kind { PQ_I64, PQ_TIMESTAMP_US, PQ_BOOL, PQ_STRING, PQ_JSON, PQ_STRING_LIST };
enum pq_codec { PQ_UNCOMPRESSED, PQ_SNAPPY, PQ_GZIP, PQ_ZSTD };

struct pq_column {
    const char *name;
    enum pq_kind kind;
    bool optional;
    int zstd_level; /* 0 = the writer's */
};
struct pq_options {
    enum pq_codec codec;
    int zstd_level;          /* 0 means 1 */
    int64_t row_group_rows;  /* 0 means 1,000,000 */
    int64_t row_group_bytes; /* builder memory; 0 means 96 MiB */
};
struct pq_summary {
    int64_t rows, bytes, row_groups;
    uint64_t checksum; /* XXH3-64 of the whole file, computed while writing */
};
struct pq_writer;
struct pq_writer *pq_open(int fd, const struct pq_column *columns, size_t count, const struct pq_options *o);
void pq_i64(struct pq_writer *w, unsigned column, int64_t v); /* also timestamps */
void pq_bool(struct pq_writer *w, unsigned column, bool v);
void pq_str(struct pq_writer *w, unsigned column, struct bl_str v);
void pq_list(struct pq_writer *w, unsigned column, const struct bl_str *items, size_t count);
void pq_null(struct pq_writer *w, unsigned column);
enum bl_rc pq_row_end(struct pq_writer *w, struct bl_error *err);
int64_t pq_rows(const struct pq_writer *w);         /* appended so far */
int64_t pq_memory(const struct pq_writer *w);       /* builder bytes now */
/* Bytes of the row groups flushed so far, and how many there are: known before the end, for splitting. */
int64_t pq_written(const struct pq_writer *w, int64_t *row_groups);
/* Writes the footer. The file is complete but not fsynced. */
enum bl_rc pq_finish(struct pq_writer *w, const char *const (*metadata)[2], size_t metadata_count,
                     struct pq_summary *out, struct bl_error *err);
void pq_close(struct pq_writer **w); /* frees; an unfinished file stays without footer and is no Parquet file */
