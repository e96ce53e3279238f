/* duck: DuckDB with the settings everybody here wants. duckdb.h appears only in duck.c; lake/ and query/ share it.
 *
 * May include: base.
 * An instance is in memory, TimeZone UTC, with bounded memory and threads, no extension loading, no automatic installs,
 * and, when `confine_to` is given, no file access outside that folder; afterwards the configuration is locked, so SQL
 * cannot undo it. Strings in results point into DuckDB's chunk and are valid until the next duck_next on that result.
 * Values are bound, never spliced into SQL.
 *
 * Threading: one thread a connection; duck_interrupt from any thread. */
#pragma once
#include "base/mem.h"

struct duck;
struct duck_options {
    const char *confine_to;  /* NULL: all file access allowed (internal readers) */
    int64_t memory_bytes;    /* 0 means 1 GiB */
    int threads;             /* 0 means 2 */
    const char *temp_dir;    /* for spilling; NULL: none */
};
enum bl_rc duck_open(const struct duck_options *o, struct duck **out, struct bl_error *err);
void duck_close(struct duck **d);
enum bl_rc duck_run(struct duck *d, const char *sql, struct bl_error *err); /* no result wanted */
/* Cancel the running statement (it fails with BL_E_CANCELLED). */
void duck_interrupt(struct duck *d);

enum duck_kind {
    DUCK_NULL,
    DUCK_BOOL,
    DUCK_I64,
    DUCK_F64,
    DUCK_TEXT,
    DUCK_TIMESTAMP_US,
    DUCK_DATE,
    DUCK_LIST,
    DUCK_OTHER
};
struct duck_bind {
    enum duck_kind kind; /* NULL, BOOL, I64, F64, TEXT, TIMESTAMP_US, LIST (of text) */
    int64_t i;
    double f;
    struct bl_str s;
    const struct bl_str *items;
    size_t count;
};
struct duck_result;
/* Streams: memory stays bounded however large the answer. One open result at a time: close it before the next question.
 */
enum bl_rc duck_query(struct duck *d, const char *sql, const struct duck_bind *binds, size_t bind_count,
                      struct duck_result **out, struct bl_error *err);
void duck_result_close(struct duck_result **r);
unsigned duck_columns(const struct duck_result *r);
const char *duck_column_name(const struct duck_result *r, unsigned column);
enum duck_kind duck_column_kind(const struct duck_result *r, unsigned column);
/* Advance to the next chunk: BL_OK with *rows == 0 at the end. */
enum bl_rc duck_next(struct duck_result *r, size_t *rows, struct bl_error *err);
bool duck_is_null(const struct duck_result *r, unsigned column, size_t row);
/* Integers of any width, bool, timestamp in microseconds, date in days. */
int64_t duck_i64(const struct duck_result *r, unsigned column, size_t row);
double duck_f64(const struct duck_result *r, unsigned column, size_t row);
struct bl_str duck_text(const struct duck_result *r, unsigned column, size_t row);
/* Returns the true length. */
size_t duck_list(const struct duck_result *r, unsigned column, size_t row, struct bl_str *items, size_t max);
/* Any value as people read it, appended; lists as JSON arrays, times as ISO 8601 UTC. */
void duck_show(struct duck_result *r, unsigned column, size_t row, struct bl_buf *out);
