#include "query/views_store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { VERSION = 3 };

static const char schema_sql[] =
    "CREATE TABLE facts(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE known_files(id INTEGER PRIMARY KEY, type INTEGER NOT NULL, hour_us INTEGER NOT NULL, rows INTEGER "
    "NOT NULL, subtracted INTEGER NOT NULL);"
    "CREATE TABLE counts(cube INTEGER NOT NULL, period INTEGER NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, "
    "PRIMARY KEY(cube, period, key)) WITHOUT ROWID;"
    "CREATE TABLE answers(view TEXT PRIMARY KEY, refreshed_us INTEGER NOT NULL, as_of_us INTEGER NOT NULL, "
    "snapshot INTEGER NOT NULL, lake_rows INTEGER NOT NULL, rows INTEGER NOT NULL, cells BLOB NOT NULL);"
    "CREATE TABLE people(did TEXT PRIMARY KEY, handle TEXT, handle_us INTEGER NOT NULL DEFAULT 0, handle_seq INTEGER "
    "NOT NULL DEFAULT 0, "
    "active INTEGER NOT NULL DEFAULT -1, status TEXT, active_us INTEGER NOT NULL DEFAULT 0, active_seq INTEGER NOT "
    "NULL DEFAULT 0, "
    "name TEXT, description TEXT, deleted INTEGER NOT NULL DEFAULT 0, profile_us INTEGER NOT NULL DEFAULT 0, "
    "profile_rev TEXT NOT NULL DEFAULT '') WITHOUT ROWID;"
    "CREATE INDEX people_by_handle ON people(lower(handle)) WHERE handle IS NOT NULL;"
    "PRAGMA user_version = 3;";

#define STATEMENTS                                                                                                     \
    S(FILES, "SELECT id, type, hour_us, rows, subtracted FROM known_files WHERE ?1 < 0 OR type = ?1 ORDER BY id")      \
    S(ADD_FILE, "INSERT OR REPLACE INTO known_files(id, type, hour_us, rows, subtracted) VALUES(?, ?, ?, ?, ?)")       \
    S(UNSUBTRACT, "UPDATE known_files SET subtracted = 0 WHERE type = ? AND hour_us >= ? AND hour_us < ?")             \
    S(DROP_FILE, "DELETE FROM known_files WHERE id = ?")                                                               \
    S(COUNT, "INSERT INTO counts(cube, period, key, n) VALUES(?, ?, ?, ?) "                                            \
             "ON CONFLICT(cube, period, key) DO UPDATE SET n = n + excluded.n")                                        \
    S(FORGET, "DELETE FROM counts WHERE cube = ? AND period >= ? AND period < ? AND n < ?")                            \
    S(FORGET_KEY, "DELETE FROM counts WHERE cube = ? AND period >= ? AND period < ? AND key = ?")                      \
    S(SET, "INSERT OR REPLACE INTO facts(key, value) VALUES(?, ?)")                                                    \
    S(GET, "SELECT value FROM facts WHERE key = ?")                                                                    \
    S(SET_ANSWER, "INSERT OR REPLACE INTO answers(view, refreshed_us, as_of_us, snapshot, lake_rows, rows, cells) "    \
                  "VALUES(?, ?, ?, ?, ?, ?, ?)")                                                                       \
    S(ANSWER, "SELECT refreshed_us, as_of_us, snapshot, lake_rows, rows, CASE WHEN ?2 THEN cells END FROM answers "    \
              "WHERE view = ?1")                                                                                       \
    S(NOTE_HANDLE,                                                                                                     \
      "INSERT INTO people(did, handle, handle_us, handle_seq) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(did) DO UPDATE SET "  \
      "handle = excluded.handle, handle_us = excluded.handle_us, handle_seq = excluded.handle_seq "                    \
      "WHERE (excluded.handle_us, excluded.handle_seq) > (people.handle_us, people.handle_seq)")                       \
    S(NOTE_ACTIVE, "INSERT INTO people(did, active, status, active_us, active_seq) VALUES(?1, ?2, ?3, ?4, ?5) "        \
                   "ON CONFLICT(did) DO UPDATE SET active = excluded.active, status = excluded.status, "               \
                   "active_us = excluded.active_us, active_seq = excluded.active_seq "                                 \
                   "WHERE (excluded.active_us, excluded.active_seq) > (people.active_us, people.active_seq)")          \
    S(NOTE_PROFILE,                                                                                                    \
      "INSERT INTO people(did, name, description, deleted, profile_us, profile_rev) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "   \
      "ON CONFLICT(did) DO UPDATE SET name = excluded.name, description = excluded.description, "                      \
      "deleted = excluded.deleted, profile_us = excluded.profile_us, profile_rev = excluded.profile_rev "              \
      "WHERE (excluded.profile_us, excluded.profile_rev) > (people.profile_us, people.profile_rev)")                   \
    S(PERSON,                                                                                                          \
      "SELECT handle, status, active, handle_us, handle_seq, active_us, active_seq, name, description, deleted, "      \
      "profile_us, profile_rev FROM people WHERE did = ?")                                                             \
    S(BY_HANDLE, "SELECT did FROM people WHERE lower(handle) = lower(?) AND handle IS NOT NULL ORDER BY did LIMIT ?")

enum statement {
#define S(name, sql) ST_##name,
    STATEMENTS
#undef S
        ST_COUNT_OF
};
static const char *const statement_sql[ST_COUNT_OF] = {
#define S(name, sql) [ST_##name] = sql,
    STATEMENTS
#undef S
};

struct views_store {
    sqlite3 *db;
    sqlite3_stmt *statements[ST_COUNT_OF];
    char *path;
    enum store_mode mode;
};

/* --- Statements --- */

static enum bl_rc refused(struct views_store *s, int code, const char *what, struct bl_error *err) {
    enum bl_rc rc = (code & 0xff) == SQLITE_BUSY ? BL_E_BUSY : (code & 0xff) == SQLITE_FULL ? BL_E_FULL : BL_E_BACKEND;
    return bl_fail(err, rc, "views %s: %s: %s; the file is a cache and may be deleted", s->path, what,
                   sqlite3_errmsg(s->db));
}

static void bind_text(sqlite3_stmt *st, int at, struct bl_str s) {
    if (s.p)
        sqlite3_bind_text64(st, at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, at);
}

/* `format`, one letter a parameter: i int64_t, t struct bl_str, b struct bl_str as a blob. They must outlive the row.
 */
static void bind(sqlite3_stmt *st, const char *format, va_list values) {
    for (int at = 1; *format; format++, at++) {
        if (*format == 'i') {
            sqlite3_bind_int64(st, at, va_arg(values, int64_t));
            continue;
        }
        struct bl_str s = va_arg(values, struct bl_str);
        if (*format == 't')
            bind_text(st, at, s);
        else
            sqlite3_bind_blob64(st, at, s.p ? s.p : "", s.n, SQLITE_STATIC);
    }
}

/* Bind and take the first row; `*row` is NULL when there is none. Reset what is not NULL with sqlite3_reset. */
static enum bl_rc ask(struct views_store *s, enum statement which, sqlite3_stmt **row, struct bl_error *err,
                      const char *format, ...) {
    sqlite3_stmt **st = &s->statements[which];
    int code = SQLITE_OK;
    if (!*st) code = sqlite3_prepare_v3(s->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, st, NULL);
    if (code != SQLITE_OK) return refused(s, code, "cannot prepare a statement", err);
    va_list values;
    va_start(values, format);
    bind(*st, format, values);
    va_end(values);
    code = sqlite3_step(*st);
    *row = *st;
    if (code == SQLITE_ROW) return BL_OK;
    *row = NULL;
    enum bl_rc rc = code == SQLITE_DONE ? BL_OK : refused(s, code, "cannot read or write", err);
    sqlite3_reset(*st);
    return rc;
}

static enum bl_rc next_row(struct views_store *s, sqlite3_stmt **row, struct bl_error *err) {
    int code = sqlite3_step(*row);
    if (code == SQLITE_ROW) return BL_OK;
    enum bl_rc rc = code == SQLITE_DONE ? BL_OK : refused(s, code, "cannot read on", err);
    sqlite3_reset(*row);
    *row = NULL;
    return rc;
}

#define DO(s, which, err, ...)                                                                                         \
    do {                                                                                                               \
        sqlite3_stmt *do_;                                                                                             \
        BL_TRY(ask(s, which, &do_, err, __VA_ARGS__));                                                                 \
        if (do_) sqlite3_reset(do_);                                                                                   \
    } while (0)

static struct bl_str text_at(sqlite3_stmt *st, int column) {
    const char *p = (const char *)sqlite3_column_text(st, column);
    return p ? bl_strn(p, (size_t)sqlite3_column_bytes(st, column)) : (struct bl_str){0};
}

static enum bl_rc run(struct views_store *s, const char *sql, struct bl_error *err) {
    int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? BL_OK : refused(s, code, "cannot run a statement", err);
}

/* --- Opening --- */

static int version_of(struct views_store *s) {
    sqlite3_stmt *st = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return version;
}

static bool connect(struct views_store *s) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (s->mode == STORE_WRITE ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK) return false;
    sqlite3_busy_timeout(s->db, s->mode == STORE_WRITE ? 0 : 5000);
    return true;
}

static void disconnect(struct views_store *s) {
    for (size_t i = 0; i < ST_COUNT_OF; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
}

static void remove_files(const struct views_store *s) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s%s", s->path, suffixes[i]);
        unlink(path);
    }
}

/* What is lost in a crash is computed again, so nothing waits for the disk. */
static enum bl_rc set_up(struct views_store *s, struct bl_error *err) {
    BL_TRY(run(s,
               "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA "
               "journal_size_limit = 67108864; BEGIN IMMEDIATE",
               err));
    enum bl_rc rc = version_of(s) == 0 ? run(s, schema_sql, err) : BL_OK;
    if (rc == BL_OK) rc = run(s, "COMMIT", err);
    return rc;
}

static enum bl_rc open_for_writing(struct views_store *s, struct bl_error *err) {
    bool opened = connect(s);
    int version = opened ? version_of(s) : -1;
    if (version != 0 && version != VERSION) { /* of another bluelake, or damaged */
        disconnect(s);
        remove_files(s);
        if (!connect(s))
            return bl_fail(err, BL_E_IO, "cannot write %s: grant write permission on the lake folder", s->path);
    }
    return set_up(s, err);
}

enum bl_rc store_open(const char *lake_dir, enum store_mode mode, struct views_store **out, struct bl_error *err) {
    struct views_store *s = bl_xcalloc(1, sizeof *s);
    s->path = bl_xasprintf("%s/views.sqlite", lake_dir);
    s->mode = mode;
    enum bl_rc rc = BL_OK;
    if (mode == STORE_WRITE)
        rc = open_for_writing(s, err);
    else if (access(s->path, F_OK) != 0 || !connect(s) || version_of(s) != VERSION)
        store_close(&s);
    if (rc != BL_OK) store_close(&s);
    if (rc == BL_OK) *out = s;
    return rc;
}

void store_close(struct views_store **store) {
    struct views_store *s = *store;
    if (!s) return;
    disconnect(s);
    free(s->path);
    free(s);
    *store = NULL;
}

enum bl_rc store_begin(struct views_store *s, struct bl_error *err) {
    return run(s, "BEGIN IMMEDIATE", err);
}
enum bl_rc store_commit(struct views_store *s, struct bl_error *err) {
    return run(s, "COMMIT", err);
}
void store_rollback(struct views_store *s) {
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/* --- Files and counts --- */

enum bl_rc store_files(struct views_store *s, int type, struct store_file **out, size_t *count, struct bl_error *err) {
    sqlite3_stmt *row;
    struct store_file *files = NULL;
    size_t n = 0, room = 0;
    enum bl_rc rc = ask(s, ST_FILES, &row, err, "i", (int64_t)type);
    while (rc == BL_OK && row) {
        if (n == room) files = bl_xrealloc(files, (room = room ? room * 2 : 256) * sizeof *files);
        files[n++] = (struct store_file){.id = sqlite3_column_int64(row, 0),
                                         .type = sqlite3_column_int(row, 1),
                                         .hour_us = sqlite3_column_int64(row, 2),
                                         .rows = sqlite3_column_int64(row, 3),
                                         .subtracted = sqlite3_column_int(row, 4) != 0};
        rc = next_row(s, &row, err);
    }
    if (rc != BL_OK) bl_freep(&files);
    *out = files;
    *count = rc == BL_OK ? n : 0;
    return rc;
}

enum bl_rc store_add_file(struct views_store *s, const struct store_file *file, struct bl_error *err) {
    DO(s, ST_ADD_FILE, err, "iiiii", file->id, (int64_t)file->type, file->hour_us, file->rows,
       (int64_t)file->subtracted);
    return BL_OK;
}

enum bl_rc store_unsubtract(struct views_store *s, int type, int64_t from_us, int64_t to_us, struct bl_error *err) {
    DO(s, ST_UNSUBTRACT, err, "iii", (int64_t)type, from_us, to_us);
    return BL_OK;
}

enum bl_rc store_drop_file(struct views_store *s, int64_t id, struct bl_error *err) {
    DO(s, ST_DROP_FILE, err, "i", id);
    return BL_OK;
}

enum bl_rc store_count(struct views_store *s, int cube, int64_t period, struct bl_str key, int64_t n,
                       struct bl_error *err) {
    DO(s, ST_COUNT, err, "iiti", (int64_t)cube, period, key.p ? key : BL_LIT(""), n);
    return BL_OK;
}

enum bl_rc store_forget(struct views_store *s, int cube, int64_t from, int64_t to, int64_t below,
                        struct bl_error *err) {
    DO(s, ST_FORGET, err, "iiii", (int64_t)cube, from, to, below);
    return BL_OK;
}

enum bl_rc store_forget_key(struct views_store *s, int cube, int64_t from, int64_t to, struct bl_str key,
                            struct bl_error *err) {
    DO(s, ST_FORGET_KEY, err, "iiit", (int64_t)cube, from, to, key);
    return BL_OK;
}

enum bl_rc store_set(struct views_store *s, const char *key, int64_t value, struct bl_error *err) {
    DO(s, ST_SET, err, "ti", bl_str(key), value);
    return BL_OK;
}

enum bl_rc store_get(struct views_store *s, const char *key, int64_t missing, int64_t *value, struct bl_error *err) {
    sqlite3_stmt *row;
    BL_TRY(ask(s, ST_GET, &row, err, "t", bl_str(key)));
    *value = row ? sqlite3_column_int64(row, 0) : missing;
    if (row) sqlite3_reset(row);
    return BL_OK;
}

/* --- Questions --- */

static enum bl_rc give_rows(struct views_store *s, sqlite3_stmt *st, store_row_fn row, void *context,
                            struct bl_error *err) {
    enum { CELLS_MAX = 16 };
    int n = sqlite3_column_count(st), code;
    BL_ASSERT(n <= CELLS_MAX);
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        struct bl_str cells[CELLS_MAX];
        for (int i = 0; i < n; i++) cells[i] = text_at(st, i);
        BL_TRY(row(context, cells, (size_t)n, err));
    }
    return code == SQLITE_DONE ? BL_OK : refused(s, code, "cannot compute a view", err);
}

enum bl_rc store_ask(struct views_store *s, const char *sql, const int64_t *parameters, size_t count, store_row_fn row,
                     void *context, struct bl_error *err) {
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (code != SQLITE_OK) return refused(s, code, "cannot prepare a view", err);
    for (size_t i = 0; i < count && (int)i < sqlite3_bind_parameter_count(st); i++)
        sqlite3_bind_int64(st, (int)i + 1, parameters[i]);
    enum bl_rc rc = give_rows(s, st, row, context, err);
    sqlite3_finalize(st);
    return rc;
}

/* --- Answers --- */

void store_put_cell(struct bl_buf *cells, struct bl_str value) {
    int32_t n = value.p ? (int32_t)value.n : -1;
    bl_buf_add(cells, &n, sizeof n);
    if (value.p) bl_buf_str(cells, value);
}

struct bl_str store_take_cell(struct bl_str *cells) {
    int32_t n = -1;
    if (cells->n < sizeof n) return (struct bl_str){0};
    memcpy(&n, cells->p, sizeof n);
    *cells = bl_str_skip(*cells, sizeof n);
    if (n < 0 || (size_t)n > cells->n) return (struct bl_str){0};
    struct bl_str value = {cells->p, (size_t)n};
    *cells = bl_str_skip(*cells, (size_t)n);
    return value;
}

enum bl_rc store_set_answer(struct views_store *s, const char *view, const struct store_answer *a,
                            struct bl_error *err) {
    DO(s, ST_SET_ANSWER, err, "tiiiiib", bl_str(view), a->refreshed_us, a->as_of_us, a->snapshot, a->lake_rows, a->rows,
       bl_buf_view(&a->cells));
    return BL_OK;
}

enum bl_rc store_answer(struct views_store *s, const char *view, bool with_cells, struct store_answer *out, bool *found,
                        struct bl_error *err) {
    sqlite3_stmt *row;
    BL_TRY(ask(s, ST_ANSWER, &row, err, "ti", bl_str(view), (int64_t)with_cells));
    *found = row != NULL;
    if (!row) return BL_OK;
    *out = (struct store_answer){.refreshed_us = sqlite3_column_int64(row, 0),
                                 .as_of_us = sqlite3_column_int64(row, 1),
                                 .snapshot = sqlite3_column_int64(row, 2),
                                 .lake_rows = sqlite3_column_int64(row, 3),
                                 .rows = sqlite3_column_int64(row, 4)};
    bl_buf_add(&out->cells, sqlite3_column_blob(row, 5), (size_t)sqlite3_column_bytes(row, 5));
    sqlite3_reset(row);
    return bl_buf_check(&out->cells, "a view's answer", err);
}

/* --- People --- */

enum bl_rc store_note_account(struct views_store *s, const struct store_account *a, struct bl_error *err) {
    if (a->handle.p) DO(s, ST_NOTE_HANDLE, err, "ttii", a->did, a->handle, a->handle_us, a->handle_seq);
    if (a->active >= 0)
        DO(s, ST_NOTE_ACTIVE, err, "titii", a->did, (int64_t)a->active, a->status, a->active_us, a->active_seq);
    return BL_OK;
}

enum bl_rc store_note_profile(struct views_store *s, const struct store_profile *p, struct bl_error *err) {
    DO(s, ST_NOTE_PROFILE, err, "tttiit", p->did, p->name, p->description, (int64_t)p->deleted, p->us,
       p->rev.p ? p->rev : BL_LIT(""));
    return BL_OK;
}

static struct bl_str keep_text(sqlite3_stmt *st, int column, struct bl_arena *arena) {
    struct bl_str text = text_at(st, column);
    if (!text.p) return text;
    struct bl_str copy = bl_arena_dup(arena, text);
    return copy.p ? copy : BL_LIT("");
}

enum bl_rc store_account(struct views_store *s, struct bl_str did, struct bl_arena *arena, struct store_account *a,
                         struct store_profile *p, bool *found, struct bl_error *err) {
    sqlite3_stmt *row;
    BL_TRY(ask(s, ST_PERSON, &row, err, "t", did));
    *found = row != NULL;
    if (!row) return BL_OK;
    *a = (struct store_account){.did = did,
                                .handle = keep_text(row, 0, arena),
                                .status = keep_text(row, 1, arena),
                                .active = sqlite3_column_int(row, 2),
                                .handle_us = sqlite3_column_int64(row, 3),
                                .handle_seq = sqlite3_column_int64(row, 4),
                                .active_us = sqlite3_column_int64(row, 5),
                                .active_seq = sqlite3_column_int64(row, 6)};
    *p = (struct store_profile){.did = did,
                                .name = keep_text(row, 7, arena),
                                .description = keep_text(row, 8, arena),
                                .deleted = sqlite3_column_int(row, 9) != 0,
                                .us = sqlite3_column_int64(row, 10),
                                .rev = keep_text(row, 11, arena)};
    sqlite3_reset(row);
    return BL_OK;
}

enum bl_rc store_accounts_of_handle(struct views_store *s, struct bl_str handle, struct bl_arena *arena,
                                    struct bl_str *dids, size_t max, size_t *count, struct bl_error *err) {
    sqlite3_stmt *row;
    size_t n = 0;
    BL_TRY(ask(s, ST_BY_HANDLE, &row, err, "ti", handle, (int64_t)max));
    while (row) {
        dids[n++] = bl_arena_dup(arena, text_at(row, 0));
        BL_TRY(next_row(s, &row, err));
    }
    *count = n;
    return BL_OK;
}
