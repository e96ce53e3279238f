#include "resolve/cache.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { VERSION = 1, BUSY_MS = 1000 };

static const char schema_sql[] = "CREATE TABLE subjects(subject TEXT PRIMARY KEY, did TEXT, handle TEXT, name TEXT, "
                                 "asked_us INTEGER NOT NULL) WITHOUT ROWID; PRAGMA user_version = 1";
static const char get_sql[] = "SELECT did, handle, name, asked_us FROM subjects WHERE subject = ?";
static const char put_sql[] =
    "INSERT OR REPLACE INTO subjects(subject, did, handle, name, asked_us) VALUES(?, ?, ?, ?, ?)";

static const char prune_sql[] = "DELETE FROM subjects WHERE asked_us < ? OR (did IS NULL AND asked_us < ?)";

struct cache {
    char *path;
    bool is_file;
    sqlite3 *db;
    sqlite3_stmt *get, *put, *prune;
};

static enum bl_rc refused(struct cache *c, struct bl_error *err) {
    int code = sqlite3_errcode(c->db) & 0xff;
    enum bl_rc rc = code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? BL_E_CORRUPT : BL_E_BACKEND;
    return bl_fail(err, rc, "%s: %s; it is a cache and may be deleted", c->path, sqlite3_errmsg(c->db));
}

static enum bl_rc run(struct cache *c, const char *sql, struct bl_error *err) {
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? BL_OK : refused(c, err);
}

static int version_of(struct cache *c) {
    sqlite3_stmt *st = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return version;
}

static void disconnect(struct cache *c) {
    sqlite3_finalize(c->get);
    sqlite3_finalize(c->put);
    sqlite3_finalize(c->prune);
    sqlite3_close(c->db);
    c->get = c->put = c->prune = NULL;
    c->db = NULL;
}

static bool prepare(struct cache *c, const char *sql, sqlite3_stmt **out) {
    return sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK;
}

/* What a crash takes is asked again, so nothing waits for the disk. */
static bool connect(struct cache *c, const char *path) {
    bool ok = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) ==
              SQLITE_OK;
    if (ok) sqlite3_busy_timeout(c->db, BUSY_MS);
    ok = ok && run(c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", NULL) == BL_OK;
    if (ok && version_of(c) == 0) ok = run(c, schema_sql, NULL) == BL_OK;
    ok = ok && run(c, "COMMIT", NULL) == BL_OK && version_of(c) == VERSION;
    ok = ok && prepare(c, get_sql, &c->get) && prepare(c, put_sql, &c->put) && prepare(c, prune_sql, &c->prune);
    if (!ok) disconnect(c);
    return ok;
}

/* Of another bluelake, or damaged. One that is merely locked is left alone. */
static bool is_unusable(const char *path) {
    struct cache c = {0};
    int code = sqlite3_open_v2(path, &c.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) sqlite3_busy_timeout(c.db, BUSY_MS);
    if (code == SQLITE_OK) code = sqlite3_exec(c.db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    bool unusable = code == SQLITE_NOTADB || code == SQLITE_CORRUPT || (code == SQLITE_OK && version_of(&c) > VERSION);
    disconnect(&c);
    return unusable;
}

static void remove_files(const char *path) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        BL_CLEANUP(bl_freep) char *file = bl_xasprintf("%s%s", path, suffixes[i]);
        unlink(file);
    }
}

enum bl_rc resolve_cache_open(const char *lake_dir, struct cache **out, struct bl_error *err) {
    struct cache *c = bl_xcalloc(1, sizeof *c);
    c->path = bl_xasprintf("%s/resolved.sqlite", lake_dir);
    if (access(c->path, F_OK) == 0 && is_unusable(c->path)) remove_files(c->path);
    c->is_file = connect(c, c->path);
    if (c->is_file || connect(c, ":memory:")) {
        *out = c;
        return BL_OK;
    }
    resolve_cache_close(&c);
    return bl_fail(err, BL_E_BACKEND, "SQLite cannot open even a database in memory");
}

void resolve_cache_close(struct cache **cache) {
    if (!*cache) return;
    disconnect(*cache);
    free((*cache)->path);
    free(*cache);
    *cache = NULL;
}

void resolve_cache_discard(struct cache **cache) {
    disconnect(*cache);
    if ((*cache)->is_file) remove_files((*cache)->path);
    resolve_cache_close(cache);
}

bool resolve_cache_is_file(const struct cache *c) {
    return c->is_file;
}

static struct bl_str text_at(sqlite3_stmt *st, int column, struct bl_arena *arena) {
    const char *p = (const char *)sqlite3_column_text(st, column);
    return p ? bl_arena_dup(arena, bl_strn(p, (size_t)sqlite3_column_bytes(st, column))) : (struct bl_str){0};
}

enum bl_rc resolve_cache_get(struct cache *c, struct bl_str subject, struct bl_arena *arena,
                             struct resolver_account *out, bool *found, struct bl_error *err) {
    sqlite3_bind_text64(c->get, 1, subject.p, subject.n, SQLITE_STATIC, SQLITE_UTF8);
    int code = sqlite3_step(c->get);
    *found = code == SQLITE_ROW;
    if (*found)
        *out = (struct resolver_account){.did = text_at(c->get, 0, arena),
                                         .handle = text_at(c->get, 1, arena),
                                         .display_name = text_at(c->get, 2, arena),
                                         .asked_us = sqlite3_column_int64(c->get, 3)};
    enum bl_rc rc = *found || code == SQLITE_DONE ? BL_OK : refused(c, err);
    sqlite3_reset(c->get);
    return rc;
}

static void bind(sqlite3_stmt *st, int at, struct bl_str s) {
    if (s.p)
        sqlite3_bind_text64(st, at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, at);
}

enum bl_rc resolve_cache_put(struct cache *c, struct bl_str subject, const struct resolver_account *account,
                             struct bl_error *err) {
    bind(c->put, 1, subject);
    bind(c->put, 2, account->did);
    bind(c->put, 3, account->handle);
    bind(c->put, 4, account->display_name);
    sqlite3_bind_int64(c->put, 5, account->asked_us);
    int code = sqlite3_step(c->put);
    enum bl_rc rc = code == SQLITE_DONE ? BL_OK : refused(c, err);
    sqlite3_reset(c->put);
    return rc;
}

enum bl_rc resolve_cache_begin(struct cache *c, struct bl_error *err) {
    return run(c, "BEGIN IMMEDIATE", err);
}

enum bl_rc resolve_cache_commit(struct cache *c, struct bl_error *err) {
    return run(c, "COMMIT", err);
}

void resolve_cache_rollback(struct cache *c) {
    BL_IGNORE(run(c, "ROLLBACK", NULL)); /* where that fails, there is nothing to take back */
}

enum bl_rc resolve_cache_prune(struct cache *c, int64_t known_before_us, int64_t nobody_before_us,
                               struct bl_error *err) {
    sqlite3_bind_int64(c->prune, 1, known_before_us);
    sqlite3_bind_int64(c->prune, 2, nobody_before_us);
    enum bl_rc rc = sqlite3_step(c->prune) == SQLITE_DONE ? BL_OK : refused(c, err);
    sqlite3_reset(c->prune);
    return rc;
}
