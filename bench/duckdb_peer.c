/* bench_duckdb_peer FILE.ndjson OUT.parquet THREADS [tuned]: what `bluelake import` is compared with.
 *
 * DuckDB reads the same file with read_json, every column typed by hand (nothing is guessed, no second pass), and writes
 * it with COPY as one zstd Parquet file. One file is the kinder choice: a file a type would cost it a scan a type or a
 * partitioned write. preserve_insertion_order stays as it is, since bluelake keeps the order, too. `tuned` adds
 * PARQUET_VERSION v2 and row groups of a million rows.
 *
 * Prints one line: seconds, rows and bytes. It neither checks CIDs nor syncs the file, and what its columns do not name
 * is lost: bench/run.sh shows how much. */
#include <duckdb.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"

#define REFERENCE "STRUCT(uri VARCHAR, cid VARCHAR)"
#define RECORD                                                                                                         \
    "STRUCT(\"$type\" VARCHAR, createdAt TIMESTAMP, \"text\" VARCHAR, langs VARCHAR[], subject JSON,"                 \
    " via " REFERENCE ", reply STRUCT(root " REFERENCE ", parent " REFERENCE "), facets JSON, embed JSON,"             \
    " tags VARCHAR[], displayName VARCHAR, description VARCHAR, avatar JSON, banner JSON, pinnedPost " REFERENCE ")"
#define COLUMNS                                                                                                        \
    "{did: 'VARCHAR', time_us: 'BIGINT', kind: 'VARCHAR',"                                                             \
    " \"commit\": 'STRUCT(rev VARCHAR, operation VARCHAR, collection VARCHAR, rkey VARCHAR, record " RECORD            \
    ", cid VARCHAR)',"                                                                                                 \
    " identity: 'STRUCT(did VARCHAR, handle VARCHAR, seq BIGINT, \"time\" VARCHAR)',"                                  \
    " account: 'STRUCT(active BOOLEAN, did VARCHAR, seq BIGINT, status VARCHAR, \"time\" VARCHAR)'}"

static _Noreturn void die(const char *what, const char *why) {
    fprintf(stderr, "bench_duckdb_peer: %s: %s\n", what, why ? why : "failed");
    exit(1);
}

static int64_t run(duckdb_connection connection, const char *sql) {
    duckdb_result result;
    if (duckdb_query(connection, sql, &result) == DuckDBError) die(sql, duckdb_result_error(&result));
    int64_t value = duckdb_column_count(&result) && duckdb_row_count(&result) ? duckdb_value_int64(&result, 0, 0) : 0;
    duckdb_destroy_result(&result);
    return value;
}

static bool is_plain(const char *path) {
    return !strchr(path, '\'');
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 5 || !is_plain(argv[1]) || !is_plain(argv[2]))
        die("usage", "bench_duckdb_peer FILE.ndjson OUT.parquet THREADS [tuned] (no quotes in the names)");
    duckdb_database database;
    duckdb_connection connection;
    int64_t started = bl_mono_ns();
    if (duckdb_open(NULL, &database) == DuckDBError || duckdb_connect(database, &connection) == DuckDBError)
        die("open", NULL);
    BL_CLEANUP(bl_freep) char *threads = bl_xasprintf("SET threads = %d", atoi(argv[3]));
    run(connection, threads);
    run(connection, "SET TimeZone = 'UTC'");
    BL_CLEANUP(bl_freep) char *copy =
        bl_xasprintf("COPY (SELECT * FROM read_json('%s', format = 'newline_delimited', columns = %s)) TO '%s' "
                     "(FORMAT parquet, COMPRESSION zstd%s)",
                     argv[1], COLUMNS, argv[2], argc == 5 ? ", PARQUET_VERSION v2, ROW_GROUP_SIZE 1000000" : "");
    int64_t rows = run(connection, copy);
    double seconds = (double)(bl_mono_ns() - started) / 1e9;
    struct stat st;
    if (stat(argv[2], &st) != 0) die(argv[2], "not written");
    printf("%.3f %" PRId64 " %lld\n", seconds, rows, (long long)st.st_size);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
    return 0;
}
