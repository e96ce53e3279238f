/* The catalogue's tables and every statement asked of them. Private to lake/catalog.c; docs/FORMATS.md describes the
 * tables for readers. STATEMENTS is a list of S(NAME, "SQL"). */
#pragma once

#define HOUR_US "3600000000"

/* Unsigned 64-bit values (checksum, incarnation, offset) are stored as the integer with the same bits. */
#define FILE_COLUMNS                                                                                                   \
    "id, type, hour_us, path, rows, bytes, min_us, max_us, checksum, schema_version, raw_bytes, compacted, "           \
    "snapshot_added"
#define FILE_TABLE                                                                                                     \
    "id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, hour_us INTEGER NOT NULL, path TEXT NOT NULL UNIQUE, "  \
    "rows INTEGER NOT NULL, bytes INTEGER NOT NULL, min_us INTEGER NOT NULL, max_us INTEGER NOT NULL, "                \
    "checksum INTEGER NOT NULL, schema_version INTEGER NOT NULL, raw_bytes INTEGER NOT NULL, "                         \
    "compacted INTEGER NOT NULL, snapshot_added INTEGER NOT NULL REFERENCES snapshots(id)"

static const char schema_sql[] =
    "CREATE TABLE snapshots(id INTEGER PRIMARY KEY AUTOINCREMENT, committed_us INTEGER NOT NULL, job TEXT NOT NULL, "
    "rows INTEGER NOT NULL, bytes INTEGER NOT NULL, files_added INTEGER NOT NULL, files_removed INTEGER NOT NULL);"
    "CREATE TABLE files(" FILE_TABLE ");"
    "CREATE INDEX files_by_time ON files(type, max_us, min_us);"
    "CREATE INDEX files_by_hour ON files(type, hour_us);"
    "CREATE TABLE removed_files(" FILE_TABLE ", snapshot_removed INTEGER NOT NULL REFERENCES snapshots(id));"
    "CREATE TABLE ledger(type TEXT PRIMARY KEY, received INTEGER NOT NULL, written INTEGER NOT NULL, "
    "duplicates INTEGER NOT NULL, dead INTEGER NOT NULL, next_offset INTEGER NOT NULL, missing INTEGER NOT NULL, "
    "forgotten INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE positions(incarnation INTEGER NOT NULL, type TEXT NOT NULL, seq INTEGER NOT NULL, "
    "PRIMARY KEY(incarnation, type)) WITHOUT ROWID;"
    "CREATE TABLE gaps(id INTEGER PRIMARY KEY, from_us INTEGER NOT NULL, to_us INTEGER NOT NULL, "
    "noted_us INTEGER NOT NULL, host TEXT NOT NULL, reason TEXT NOT NULL, healed INTEGER NOT NULL, "
    "UNIQUE(from_us, to_us, host, reason));"
    "CREATE TABLE dead_letters(id INTEGER PRIMARY KEY, type TEXT, reason TEXT NOT NULL, detail TEXT NOT NULL, "
    "origin TEXT NOT NULL, received_us INTEGER NOT NULL, message BLOB NOT NULL, UNIQUE(origin, received_us));"
    "CREATE TABLE facts(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "INSERT INTO facts VALUES('dead_letters', '0'), ('notes_taken', '0'), ('notes_taken_to', '');"
    "PRAGMA user_version = 1;";

#define STATEMENTS                                                                                                     \
    S(BEGIN_READ, "BEGIN DEFERRED")                                                                                    \
    S(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                                  \
    S(COMMIT, "COMMIT")                                                                                                \
    S(ROLLBACK, "ROLLBACK")                                                                                            \
    S(ADD_SNAPSHOT, "INSERT INTO snapshots(committed_us, job, rows, bytes, files_added, files_removed) "               \
                    "VALUES(?, ?, ?, ?, ?, ?)")                                                                        \
    S(ADD_FILE, "INSERT INTO files(type, hour_us, path, rows, bytes, min_us, max_us, checksum, schema_version, "       \
                "raw_bytes, compacted, snapshot_added) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                    \
    S(MOVE_FILE, "INSERT INTO removed_files SELECT " FILE_COLUMNS ", ?2 FROM files WHERE id = ?1")                     \
    S(DROP_FILE, "DELETE FROM files WHERE id = ?")                                                                     \
    S(LEDGER_ROW, "SELECT received, written, duplicates, dead, next_offset, missing, forgotten FROM ledger "           \
                  "WHERE type = ?")                                                                                    \
    S(SET_LEDGER, "INSERT OR REPLACE INTO ledger(type, received, written, duplicates, dead, next_offset, missing, "    \
                  "forgotten) VALUES(?, ?, ?, ?, ?, ?, ?, ?)")                                                         \
    S(POSITION, "SELECT seq FROM positions WHERE incarnation = ? AND type = ?")                                        \
    S(SET_POSITION, "INSERT OR REPLACE INTO positions(incarnation, type, seq) VALUES(?, ?, ?)")                        \
    S(ROWS_OF_TYPE, "SELECT ifnull(sum(rows), 0) FROM files WHERE type = ?")                                           \
    S(FILES, "SELECT " FILE_COLUMNS " FROM files WHERE (?1 IS NULL OR type = ?1) AND max_us >= ?2 AND min_us <= ?3 "   \
             "ORDER BY max_us DESC, id DESC")                                                                          \
    S(HOURS, "SELECT type, hour_us, count(*) FROM files WHERE hour_us + " HOUR_US " <= ? GROUP BY type, hour_us "      \
             "HAVING min(compacted) = 0 ORDER BY hour_us, type")                                                       \
    S(REMOVED, "SELECT path FROM removed_files ORDER BY snapshot_removed, id")                                         \
    S(FORGET_REMOVED, "DELETE FROM removed_files WHERE path = ?")                                                      \
    S(KNOWS_PATH, "SELECT 1 FROM files WHERE path = ?1 UNION ALL SELECT 1 FROM removed_files WHERE path = ?1")         \
    S(ADD_GAP, "INSERT INTO gaps(from_us, to_us, noted_us, host, reason, healed) VALUES(?, ?, ?, ?, ?, ?) "            \
               "ON CONFLICT(from_us, to_us, host, reason) DO UPDATE SET healed = max(healed, excluded.healed)")        \
    S(SET_GAP, "UPDATE gaps SET from_us = ?, to_us = ?, noted_us = ?, host = ?, reason = ?, healed = ? WHERE id = ?")  \
    S(GAPS, "SELECT id, from_us, to_us, noted_us, host, reason, healed FROM gaps WHERE to_us >= ?1 AND "               \
            "from_us <= ?2 ORDER BY from_us, id")                                                                      \
    S(ADD_DEAD, "INSERT OR IGNORE INTO dead_letters(type, reason, detail, origin, received_us, message) "              \
                "VALUES(?, ?, ?, ?, ?, ?)")                                                                            \
    S(DEAD, "SELECT id, type, reason, detail, origin, received_us, message FROM dead_letters ORDER BY id DESC "        \
            "LIMIT ?")                                                                                                 \
    S(DEAD_ONE, "SELECT id, type, reason, detail, origin, received_us, message FROM dead_letters WHERE id = ?")        \
    S(DROP_DEAD, "DELETE FROM dead_letters WHERE id = ?")                                                              \
    S(DEAD_COUNT, "SELECT count(*) FROM dead_letters")                                                                 \
    S(TOTALS, "SELECT count(*), ifnull(sum(rows), 0), ifnull(sum(bytes), 0), ifnull(sum(raw_bytes), 0), "              \
              "(SELECT count(*) FROM gaps), (SELECT count(*) FROM dead_letters), "                                     \
              "(SELECT ifnull(max(id), 0) FROM snapshots), ifnull(min(min_us), 0), ifnull(max(max_us), 0), "           \
              "(SELECT ifnull(max(committed_us), 0) FROM snapshots) FROM files")                                       \
    S(FACT, "SELECT value FROM facts WHERE key = ?")                                                                   \
    S(SET_FACT, "INSERT OR REPLACE INTO facts(key, value) VALUES(?, ?)")                                               \
    S(COUNT_FACT, "UPDATE facts SET value = CAST(value AS INTEGER) + ? WHERE key = ?")                                 \
    S(COUNTS, "SELECT (SELECT count(*) FROM dead_letters), "                                                           \
              "ifnull((SELECT CAST(value AS INTEGER) FROM facts WHERE key = 'dead_letters'), -1), "                    \
              "ifnull((SELECT CAST(value AS INTEGER) FROM facts WHERE key = 'notes_taken'), -1), "                     \
              "ifnull((SELECT value FROM facts WHERE key = 'notes_taken_to'), '')")
