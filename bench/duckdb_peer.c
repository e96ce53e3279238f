/* What bluelake is compared with, on the same libduckdb.
 *
 *   bench_duckdb_peer FILE.ndjson OUT.parquet THREADS [tuned]
 *   bench_duckdb_peer search GLOB WORD THREADS
 *   bench_duckdb_peer rows FILE.parquet COUNT THREADS
 *
 * Import: DuckDB reads the same file with read_json, every column typed by hand (nothing is guessed, no second pass),
 * and writes it with COPY as one zstd Parquet file. One file is the kinder choice: a file a type would cost it a scan a
 * type or a partitioned write. preserve_insertion_order stays as it is, since bluelake keeps the order, too. `tuned`
 * adds PARQUET_VERSION v2 and row groups of a million rows.
 *
 * Prints their number. It neither checks CIDs nor syncs the file, and what its columns do not name is lost:
 * bench/run.sh shows how much.
 *
 * Search: the newest 50 posts whose text holds WORD, by ILIKE over all files of GLOB. Prints their times.
 *
 * Rows: the first COUNT rows of a file, each as JSON: what the import kept. */
#include <duckdb.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define REFERENCE "STRUCT(uri VARCHAR, cid VARCHAR)"
#define RECORD                                                                                                         \
    "STRUCT(\"$type\" VARCHAR, createdAt TIMESTAMP, \"text\" VARCHAR, langs VARCHAR[], subject JSON,"                  \
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

static duckdb_result run(duckdb_connection connection, const char *sql) {
    duckdb_result result;
    if (duckdb_query(connection, sql, &result) == DuckDBError) die(sql, duckdb_result_error(&result));
    return result;
}

static void print_rows(duckdb_result *result) {
    for (idx_t i = 0; i < duckdb_row_count(result); i++) {
        char *text = duckdb_value_varchar(result, 0, i);
        puts(text);
        duckdb_free(text);
    }
}

static char *import_sql(const char *from, const char *to, bool tuned) {
    return bl_xasprintf("COPY (SELECT * FROM read_json('%s', format = 'newline_delimited', columns = %s)) TO '%s' "
                        "(FORMAT parquet, COMPRESSION zstd%s)",
                        from, COLUMNS, to, tuned ? ", PARQUET_VERSION v2, ROW_GROUP_SIZE 1000000" : "");
}

static char *search_sql(const char *glob, const char *word) {
    return bl_xasprintf("SELECT time_us, did, rkey, text FROM read_parquet('%s') WHERE text ILIKE '%%%s%%' "
                        "ORDER BY time_us DESC LIMIT 50",
                        glob, word);
}

static char *rows_sql(const char *from, const char *count) {
    return bl_xasprintf("SELECT to_json(t) FROM (SELECT * FROM read_parquet('%s') LIMIT %ld) t", from,
                        strtol(count, NULL, 10));
}

/* Quotes are not escaped: no argument may hold one. */
static void check_arguments(int argc, char **argv) {
    bool good = argc == 4 || argc == 5;
    for (int i = 1; i < argc; i++) good &= !strchr(argv[i], '\'');
    if (!good)
        die("usage",
            "FILE.ndjson OUT.parquet THREADS [tuned] | search GLOB WORD THREADS | rows FILE.parquet COUNT THREADS");
}

int main(int argc, char **argv) {
    check_arguments(argc, argv);
    bool search = strcmp(argv[1], "search") == 0, rows = strcmp(argv[1], "rows") == 0;
    duckdb_database database;
    duckdb_connection connection;
    if (duckdb_open(NULL, &database) == DuckDBError || duckdb_connect(database, &connection) == DuckDBError)
        die("open", NULL);
    BL_CLEANUP(bl_freep)
    char *threads = bl_xasprintf("SET threads = %ld", strtol(argv[search || rows ? 4 : 3], NULL, 10));
    BL_CLEANUP(bl_freep)
    char *sql = search ? search_sql(argv[2], argv[3])
                : rows ? rows_sql(argv[2], argv[3])
                       : import_sql(argv[1], argv[2], argc == 5);
    duckdb_result set = run(connection, threads), result = run(connection, sql);
    print_rows(&result);
    duckdb_destroy_result(&set);
    duckdb_destroy_result(&result);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
    return 0;
}
