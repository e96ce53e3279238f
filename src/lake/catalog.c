#include "lake/catalog.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "lake/catalog_sql.h"
#include "lake/note_id.h"
#include "lake/numbering.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { VERSION = 1, BUSY_MS = 10000 };

enum statement {
#define S(name, sql) ST_##name,
    STATEMENTS
#undef S
        ST_COUNT
};
static const char *const statement_sql[ST_COUNT] = {
#define S(name, sql) [ST_##name] = sql,
    STATEMENTS
#undef S
};

struct catalog {
    sqlite3 *db;
    sqlite3_stmt *statements[ST_COUNT]; /* prepared at first use */
    char *path;
    bool pinned;
};

/* --- Statements --- */

static enum bl_rc code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BL_E_BUSY;
    case SQLITE_FULL:
        return BL_E_FULL;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return BL_E_CORRUPT;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return BL_E_IO;
    case SQLITE_NOMEM:
        return BL_E_NOMEM;
    case SQLITE_INTERRUPT:
        return BL_E_CANCELLED;
    default:
        return BL_E_BACKEND;
    }
}

static const char *cure_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "; another process held it for 10 s: try again";
    case SQLITE_FULL:
        return "; free disk space";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return "; restore it from a backup";
    case SQLITE_READONLY:
        return "; grant write permission on the lake folder";
    default:
        return "";
    }
}

static enum bl_rc refused(struct catalog *c, int sqlite_code, const char *what, struct bl_error *err) {
    return bl_fail(err, code_of(sqlite_code), "catalogue %s: %s: %s%s", c->path, what, sqlite3_errmsg(c->db),
                   cure_of(sqlite_code));
}

static enum bl_rc statement(struct catalog *c, enum statement which, sqlite3_stmt **out, struct bl_error *err) {
    sqlite3_stmt **s = &c->statements[which];
    if (!*s) {
        int rc = sqlite3_prepare_v3(c->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
        if (rc != SQLITE_OK) return refused(c, rc, "cannot prepare a statement", err);
    }
    *out = *s;
    return BL_OK;
}

/* `format`, one letter a parameter: i int64_t, s const char * (NULL allowed), b struct bl_str as a blob. */
static enum bl_rc bind(struct catalog *c, sqlite3_stmt *s, const char *format, va_list values, struct bl_error *err) {
    int rc = SQLITE_OK;
    for (int at = 1; *format && rc == SQLITE_OK; format++, at++) {
        if (*format == 'i') {
            rc = sqlite3_bind_int64(s, at, va_arg(values, int64_t));
        } else if (*format == 's') {
            rc = sqlite3_bind_text(s, at, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
        } else {
            struct bl_str b = va_arg(values, struct bl_str);
            rc = sqlite3_bind_blob64(s, at, b.p ? b.p : "", b.n, SQLITE_TRANSIENT);
        }
    }
    return rc == SQLITE_OK ? BL_OK : refused(c, rc, "cannot bind a value", err);
}

/* Bind and take the first row: *s stays open for more (step) when there is one, NULL when there is none. */
static enum bl_rc ask(struct catalog *c, enum statement which, sqlite3_stmt **s, struct bl_error *err,
                      const char *format, ...) {
    sqlite3_stmt *prepared = NULL;
    BL_TRY(statement(c, which, &prepared, err));
    va_list values;
    va_start(values, format);
    enum bl_rc rc = bind(c, prepared, format, values, err);
    va_end(values);
    int step = rc == BL_OK ? sqlite3_step(prepared) : SQLITE_ROW;
    if (step != SQLITE_ROW && step != SQLITE_DONE) rc = refused(c, step, statement_sql[which], err);
    *s = prepared;
    if (rc != BL_OK || step == SQLITE_DONE) {
        sqlite3_reset(prepared);
        *s = NULL;
    }
    return rc;
}

static enum bl_rc next_row(struct catalog *c, sqlite3_stmt **s, struct bl_error *err) {
    int step = sqlite3_step(*s);
    if (step == SQLITE_ROW) return BL_OK;
    enum bl_rc rc = step == SQLITE_DONE ? BL_OK : refused(c, step, "cannot read on", err);
    sqlite3_reset(*s);
    *s = NULL;
    return rc;
}

static void finish(sqlite3_stmt **s) {
    if (*s) sqlite3_reset(*s);
    *s = NULL;
}

/* A statement without a result. */
#define DO(c, which, err, ...)                                                                                         \
    do {                                                                                                               \
        sqlite3_stmt *do_;                                                                                             \
        BL_TRY(ask(c, which, &do_, err, __VA_ARGS__));                                                                 \
        finish(&do_);                                                                                                  \
    } while (0)

static void copy_text(char *out, size_t size, sqlite3_stmt *s, int column) {
    const unsigned char *text = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", text ? (const char *)text : "");
}

static const char *text_at(sqlite3_stmt *s, int column) {
    const unsigned char *text = sqlite3_column_text(s, column);
    return text ? (const char *)text : "";
}

static const char *type_name(enum ev_type type) {
    return type < EV_TYPE_COUNT ? ev_schema(type)->name : NULL;
}

static enum bl_rc type_at(struct catalog *c, sqlite3_stmt *s, int column, enum ev_type *type, struct bl_error *err) {
    const char *name = text_at(s, column);
    if (ev_type_by_name(bl_str(name), type)) return BL_OK;
    return bl_fail(err, BL_E_CORRUPT, "catalogue %s names the unknown type \"%s\": use a newer bluelake", c->path,
                   name);
}

/* --- Opening --- */

static enum bl_rc run_script(struct catalog *c, const char *sql, struct bl_error *err) {
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? BL_OK : refused(c, rc, "cannot set up", err);
}

static enum bl_rc user_version(struct catalog *c, int *version, struct bl_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &s, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) *version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return rc == SQLITE_ROW ? BL_OK : refused(c, rc, "cannot read its version", err);
}

static enum bl_rc check_version(struct catalog *c, int *version, struct bl_error *err) {
    BL_TRY(user_version(c, version, err));
    if (*version <= VERSION) return BL_OK;
    return bl_fail(err, BL_E_USAGE, "catalogue %s has version %d, this bluelake knows up to %d: use a newer bluelake",
                   c->path, *version, VERSION);
}

static enum bl_rc create_tables(struct catalog *c, struct bl_error *err) {
    DO(c, ST_BEGIN_WRITE, err, "");
    int version = 0; /* asked again under the lock: somebody else may have been faster */
    enum bl_rc rc = check_version(c, &version, err);
    if (rc == BL_OK && version == 0) rc = run_script(c, schema_sql, err);
    if (rc != BL_OK) {
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        return rc;
    }
    DO(c, ST_COMMIT, err, "");
    return BL_OK;
}

/* While another process makes the same catalogue this answers BUSY at once: SQLite's own waiting does not cover it. */
static enum bl_rc choose_journal(struct catalog *c, struct bl_error *err) {
    enum { PAUSE_MS = 10 };
    enum bl_rc rc;
    for (int waited_ms = 0;; waited_ms += PAUSE_MS) {
        rc = run_script(c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
        if (rc != BL_E_BUSY || waited_ms >= BUSY_MS) return rc;
        sqlite3_sleep(PAUSE_MS);
    }
}

static enum bl_rc set_up(struct catalog *c, enum catalog_mode mode, struct bl_error *err) {
    sqlite3_busy_timeout(c->db, BUSY_MS);
    int version = 0;
    BL_TRY(check_version(c, &version, err));
    BL_TRY(run_script(c, "PRAGMA foreign_keys = ON", err));
    if (mode == CATALOG_WRITE) {
        BL_TRY(choose_journal(c, err));
        if (version == 0) BL_TRY(create_tables(c, err));
    } else if (version == 0) {
        return bl_fail(err, BL_E_NOT_FOUND, "%s is an empty catalogue: the lake is being created, try again", c->path);
    }
    return BL_OK;
}

static enum bl_rc open_file(struct catalog *c, const char *lake_dir, enum catalog_mode mode, struct bl_error *err) {
    int flags = SQLITE_OPEN_READONLY;
    if (mode == CATALOG_WRITE) {
        BL_TRY(bl_make_dirs(lake_dir, err));
        flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    } else if (access(c->path, F_OK) != 0) {
        return bl_fail(err, BL_E_NOT_FOUND,
                       "%s is no lake (%s is missing): name the folder given to bluelake up, write or import", lake_dir,
                       c->path);
    }
    int rc = sqlite3_open_v2(c->path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) return refused(c, rc, "cannot open", err);
    return set_up(c, mode, err);
}

enum bl_rc catalog_open(const char *lake_dir, enum catalog_mode mode, struct catalog **out, struct bl_error *err) {
    struct catalog *c = bl_xcalloc(1, sizeof *c);
    c->path = bl_xasprintf("%s/catalog.sqlite", lake_dir);
    enum bl_rc rc = open_file(c, lake_dir, mode, err);
    if (rc == BL_OK) {
        *out = c;
    } else {
        catalog_close(&c);
    }
    return rc;
}

void catalog_close(struct catalog **catalog) {
    struct catalog *c = *catalog;
    if (!c) return;
    for (int i = 0; i < ST_COUNT; i++) sqlite3_finalize(c->statements[i]);
    sqlite3_close(c->db);
    free(c->path);
    free(c);
    *catalog = NULL;
}

enum bl_rc catalog_pin(struct catalog *c, struct bl_error *err) {
    if (c->pinned) return BL_OK;
    DO(c, ST_BEGIN_READ, err, "");
    c->pinned = true;
    int64_t count;
    enum bl_rc rc = catalog_dead_count(c, &count, err); /* the first read is what fixes the moment */
    if (rc != BL_OK) catalog_unpin(c);
    return rc;
}

void catalog_unpin(struct catalog *c) {
    if (c->pinned && sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    c->pinned = false;
}

/* --- Commit --- */

static enum bl_rc add_snapshot(struct catalog *c, const struct catalog_commit *what, int64_t *snapshot,
                               struct bl_error *err) {
    int64_t rows = 0, bytes = 0;
    for (size_t i = 0; i < what->add_count; i++) {
        rows += what->add[i].rows;
        bytes += what->add[i].bytes;
    }
    DO(c, ST_ADD_SNAPSHOT, err, "isiiii", bl_wall_us(), what->job ? what->job : "", rows, bytes,
       (int64_t)what->add_count, (int64_t)what->remove_count);
    *snapshot = sqlite3_last_insert_rowid(c->db);
    return BL_OK;
}

static enum bl_rc remove_file(struct catalog *c, int64_t id, int64_t snapshot, struct bl_error *err) {
    DO(c, ST_MOVE_FILE, err, "ii", id, snapshot);
    if (sqlite3_changes(c->db) != 1)
        return bl_fail(err, BL_E_NOT_FOUND, "catalogue %s lists no file %" PRId64 " to remove", c->path, id);
    DO(c, ST_DROP_FILE, err, "i", id);
    return BL_OK;
}

static enum bl_rc add_file(struct catalog *c, const struct catalog_file *f, int64_t snapshot, struct bl_error *err) {
    /* A removed file of this name is gone, or it could not have been written anew: the sweep must spare the new one. */
    DO(c, ST_FORGET_REMOVED, err, "s", f->path);
    DO(c, ST_ADD_FILE, err, "sisiiiiiiiii", type_name(f->type), f->hour_us, f->path, f->rows, f->bytes, f->min_us,
       f->max_us, (int64_t)f->checksum, (int64_t)f->schema_version, f->raw_bytes, (int64_t)f->compacted, snapshot);
    return BL_OK;
}

static enum bl_rc read_ledger(struct catalog *c, enum ev_type type, struct catalog_ledger *l, struct bl_error *err) {
    *l = (struct catalog_ledger){0};
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_LEDGER_ROW, &s, err, "s", type_name(type)));
    if (!s) return BL_OK;
    l->received = sqlite3_column_int64(s, 0);
    l->written = sqlite3_column_int64(s, 1);
    l->duplicates = sqlite3_column_int64(s, 2);
    l->dead = sqlite3_column_int64(s, 3);
    l->next_offset = (uint64_t)sqlite3_column_int64(s, 4);
    l->missing = sqlite3_column_int64(s, 5);
    l->forgotten = sqlite3_column_int64(s, 6);
    finish(&s);
    return BL_OK;
}

static enum bl_rc add_intake(struct catalog *c, const struct catalog_intake *in, struct bl_error *err) {
    struct catalog_ledger l;
    BL_TRY(read_ledger(c, in->type, &l, err));
    uint64_t seq = 0;
    if (in->incarnation) BL_TRY(catalog_committed_seq(c, in->incarnation, in->type, &seq, err));
    bool anew = in->offset != UINT64_MAX && in->offset + (uint64_t)in->received > l.next_offset;
    if (in->repeated && !anew) return BL_OK;
    bool late = in->incarnation && in->seq <= seq;
    BL_TRY(numbering_account(c, &l, in, late && !anew, err));
    DO(c, ST_SET_LEDGER, err, "siiiiiii", type_name(in->type), l.received + in->received, l.written + in->written,
       l.duplicates + in->duplicates, l.dead + in->dead, (int64_t)l.next_offset, l.missing, l.forgotten);
    if (in->incarnation && !late)
        DO(c, ST_SET_POSITION, err, "isi", (int64_t)in->incarnation, type_name(in->type), (int64_t)in->seq);
    return BL_OK;
}

static enum bl_rc add_dead(struct catalog *c, const struct catalog_dead *d, struct bl_error *err) {
    DO(c, ST_ADD_DEAD, err, "ssssib", type_name(d->type), d->reason ? d->reason : "", d->detail ? d->detail : "",
       d->origin ? d->origin : "", d->received_us, d->message);
    if (sqlite3_changes(c->db)) DO(c, ST_COUNT_FACT, err, "is", INT64_C(1), "dead_letters");
    return BL_OK;
}

static enum bl_rc drop_dead(struct catalog *c, int64_t id, struct bl_error *err) {
    DO(c, ST_DROP_DEAD, err, "i", id);
    if (sqlite3_changes(c->db) != 1) return bl_fail(err, BL_E_NOT_FOUND, "there is no dead letter %" PRId64, id);
    DO(c, ST_COUNT_FACT, err, "is", INT64_C(-1), "dead_letters");
    return BL_OK;
}

/* A note that is read again after a crash is counted once. */
static enum bl_rc count_taken(struct catalog *c, const struct catalog_commit *what, struct bl_error *err) {
    struct catalog_counts counts;
    BL_TRY(catalog_counts(c, &counts, err));
    const char *last = counts.taken_to;
    int64_t fresh = note_ids_behind(what->taken, what->taken_count, &last);
    if (counts.taken < 0 || !fresh) return BL_OK;
    DO(c, ST_COUNT_FACT, err, "is", fresh, "notes_taken");
    return catalog_set(c, "notes_taken_to", last, err);
}

static enum bl_rc read_purged(struct catalog *c, enum ev_type type, int64_t *rows, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *key = bl_xasprintf("purged:%s", type_name(type));
    BL_CLEANUP(bl_buf_release) struct bl_buf value = {0};
    *rows = 0;
    BL_TRY(catalog_get(c, key, &value, err));
    if (value.n == 0 || bl_parse_i64(bl_buf_view(&value), 0, INT64_MAX, rows)) return BL_OK;
    return bl_fail(err, BL_E_CORRUPT, "catalogue %s: %s is no number", c->path, key);
}

static enum bl_rc add_purged(struct catalog *c, enum ev_type type, int64_t rows, struct bl_error *err) {
    int64_t before;
    char value[24];
    BL_CLEANUP(bl_freep) char *key = bl_xasprintf("purged:%s", type_name(type));
    BL_TRY(read_purged(c, type, &before, err));
    snprintf(value, sizeof value, "%" PRId64, before + rows);
    return catalog_set(c, key, value, err);
}

static enum bl_rc apply(struct catalog *c, const struct catalog_commit *what, int64_t *snapshot, struct bl_error *err) {
    BL_TRY(add_snapshot(c, what, snapshot, err));
    for (size_t i = 0; i < what->remove_count; i++) BL_TRY(remove_file(c, what->remove[i], *snapshot, err));
    for (size_t i = 0; i < what->add_count; i++) BL_TRY(add_file(c, &what->add[i], *snapshot, err));
    for (size_t i = 0; i < what->intake_count; i++) BL_TRY(add_intake(c, &what->intake[i], err));
    for (size_t i = 0; i < what->dead_count; i++) BL_TRY(add_dead(c, &what->dead[i], err));
    for (size_t i = 0; i < what->revived_count; i++) BL_TRY(drop_dead(c, what->revived[i], err));
    if (what->taken_count) BL_TRY(count_taken(c, what, err));
    for (unsigned t = 0; what->purged && t < EV_TYPE_COUNT; t++)
        if (what->purged[t]) BL_TRY(add_purged(c, (enum ev_type)t, what->purged[t], err));
    BL_CRASH_POINT("catalog.before_commit");
    DO(c, ST_COMMIT, err, "");
    BL_CRASH_POINT("catalog.after_commit");
    return BL_OK;
}

enum bl_rc catalog_commit(struct catalog *c, const struct catalog_commit *what, int64_t *snapshot,
                          struct bl_error *err) {
    DO(c, ST_BEGIN_WRITE, err, "");
    BL_CRASH_POINT("catalog.after_begin");
    int64_t id = 0;
    enum bl_rc rc = apply(c, what, &id, err);
    if (rc != BL_OK) {
        if (!sqlite3_get_autocommit(c->db)) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        return rc;
    }
    if (snapshot) *snapshot = id;
    return BL_OK;
}

/* --- Reading --- */

enum bl_rc catalog_committed_seq(struct catalog *c, uint64_t incarnation, enum ev_type type, uint64_t *seq,
                                 struct bl_error *err) {
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_POSITION, &s, err, "is", (int64_t)incarnation, type_name(type)));
    *seq = s ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    finish(&s);
    return BL_OK;
}

static enum bl_rc read_ledgers(struct catalog *c, struct catalog_ledger out[static EV_TYPE_COUNT],
                               struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        BL_TRY(read_ledger(c, (enum ev_type)t, &out[t], err));
        sqlite3_stmt *s;
        BL_TRY(ask(c, ST_ROWS_OF_TYPE, &s, err, "s", type_name((enum ev_type)t)));
        out[t].rows = s ? sqlite3_column_int64(s, 0) : 0;
        finish(&s);
        BL_TRY(read_purged(c, (enum ev_type)t, &out[t].purged, err));
    }
    return BL_OK;
}

enum bl_rc catalog_ledger(struct catalog *c, struct catalog_ledger out[static EV_TYPE_COUNT], struct bl_error *err) {
    bool pinned_here = !c->pinned && sqlite3_get_autocommit(c->db);
    if (pinned_here) BL_TRY(catalog_pin(c, err));
    enum bl_rc rc = read_ledgers(c, out, err);
    if (pinned_here) catalog_unpin(c);
    return rc;
}

/* Room for one more element of `size` bytes in a growing array. */
static void *grown(void *array, size_t count, size_t size) {
    if (count & (count - 1)) return array; /* grows at 0, 1, 2, 4, 8, ... */
    return bl_xrealloc(array, (count ? count * 2 : 1) * size);
}

static enum bl_rc file_at(struct catalog *c, sqlite3_stmt *s, struct catalog_file *f, struct bl_error *err) {
    *f = (struct catalog_file){.id = sqlite3_column_int64(s, 0)};
    BL_TRY(type_at(c, s, 1, &f->type, err));
    f->hour_us = sqlite3_column_int64(s, 2);
    copy_text(f->path, sizeof f->path, s, 3);
    f->rows = sqlite3_column_int64(s, 4);
    f->bytes = sqlite3_column_int64(s, 5);
    f->min_us = sqlite3_column_int64(s, 6);
    f->max_us = sqlite3_column_int64(s, 7);
    f->checksum = (uint64_t)sqlite3_column_int64(s, 8);
    f->schema_version = sqlite3_column_int(s, 9);
    f->raw_bytes = sqlite3_column_int64(s, 10);
    f->compacted = sqlite3_column_int(s, 11) != 0;
    f->snapshot_added = sqlite3_column_int64(s, 12);
    return BL_OK;
}

/* 0,0 stands for all time. */
static void widen_range(int64_t *from_us, int64_t *to_us) {
    if (*from_us || *to_us) return;
    *from_us = INT64_MIN;
    *to_us = INT64_MAX;
}

enum bl_rc catalog_files(struct catalog *c, enum ev_type type, int64_t from_us, int64_t to_us,
                         struct catalog_file **out, size_t *count, struct bl_error *err) {
    widen_range(&from_us, &to_us);
    BL_CLEANUP(bl_freep) struct catalog_file *files = NULL;
    size_t n = 0;
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    BL_TRY(ask(c, ST_FILES, &s, err, "sii", type_name(type), from_us, to_us));
    while (s) {
        files = grown(files, n, sizeof *files);
        BL_TRY(file_at(c, s, &files[n], err));
        n++;
        BL_TRY(next_row(c, &s, err));
    }
    *out = files;
    *count = n;
    files = NULL;
    return BL_OK;
}

enum bl_rc catalog_hours_to_compact(struct catalog *c, int64_t before_us, struct catalog_hour **out, size_t *count,
                                    struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct catalog_hour *hours = NULL;
    size_t n = 0;
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    BL_TRY(ask(c, ST_HOURS, &s, err, "i", before_us));
    while (s) {
        hours = grown(hours, n, sizeof *hours);
        BL_TRY(type_at(c, s, 0, &hours[n].type, err));
        hours[n].hour_us = sqlite3_column_int64(s, 1);
        hours[n++].files = sqlite3_column_int64(s, 2);
        BL_TRY(next_row(c, &s, err));
    }
    *out = hours;
    *count = n;
    hours = NULL;
    return BL_OK;
}

static enum bl_rc removed_paths(struct catalog *c, char ***paths, size_t *n, struct bl_error *err) {
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    BL_TRY(ask(c, ST_REMOVED, &s, err, ""));
    while (s) {
        *paths = grown(*paths, *n, sizeof **paths);
        (*paths)[(*n)++] = bl_xstrdup(text_at(s, 0));
        BL_TRY(next_row(c, &s, err));
    }
    return BL_OK;
}

enum bl_rc catalog_removed_paths(struct catalog *c, char ***out, size_t *count, struct bl_error *err) {
    char **paths = NULL;
    size_t n = 0;
    enum bl_rc rc = removed_paths(c, &paths, &n, err);
    if (rc == BL_OK) {
        *out = paths;
        *count = n;
        return BL_OK;
    }
    for (size_t i = 0; i < n; i++) free(paths[i]);
    free(paths);
    return rc;
}

enum bl_rc catalog_forget_removed(struct catalog *c, const char *path, struct bl_error *err) {
    DO(c, ST_FORGET_REMOVED, err, "s", path);
    return BL_OK;
}

bool catalog_knows_path(struct catalog *c, const char *path) {
    sqlite3_stmt *s = NULL;
    if (ask(c, ST_KNOWS_PATH, &s, NULL, "s", path) != BL_OK) return true; /* nothing is swept away on doubt */
    bool known = s != NULL;
    finish(&s);
    return known;
}

enum bl_rc catalog_add_gap(struct catalog *c, const struct catalog_gap *gap, struct bl_error *err) {
    if (gap->id == 0) {
        DO(c, ST_ADD_GAP, err, "iiissi", gap->from_us, gap->to_us, gap->noted_us, gap->host, gap->reason,
           (int64_t)gap->healed);
        return BL_OK;
    }
    DO(c, ST_SET_GAP, err, "iiissii", gap->from_us, gap->to_us, gap->noted_us, gap->host, gap->reason,
       (int64_t)gap->healed, gap->id);
    if (sqlite3_changes(c->db) == 1) return BL_OK;
    return bl_fail(err, BL_E_NOT_FOUND, "catalogue %s holds no gap %" PRId64, c->path, gap->id);
}

enum bl_rc catalog_gaps(struct catalog *c, int64_t from_us, int64_t to_us, struct catalog_gap **out, size_t *count,
                        struct bl_error *err) {
    widen_range(&from_us, &to_us);
    BL_CLEANUP(bl_freep) struct catalog_gap *gaps = NULL;
    size_t n = 0;
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    BL_TRY(ask(c, ST_GAPS, &s, err, "ii", from_us, to_us));
    while (s) {
        gaps = grown(gaps, n, sizeof *gaps);
        struct catalog_gap *g = &gaps[n++];
        *g = (struct catalog_gap){.id = sqlite3_column_int64(s, 0), .healed = sqlite3_column_int(s, 6) != 0};
        g->from_us = sqlite3_column_int64(s, 1);
        g->to_us = sqlite3_column_int64(s, 2);
        g->noted_us = sqlite3_column_int64(s, 3);
        copy_text(g->host, sizeof g->host, s, 4);
        copy_text(g->reason, sizeof g->reason, s, 5);
        BL_TRY(next_row(c, &s, err));
    }
    *out = gaps;
    *count = n;
    gaps = NULL;
    return BL_OK;
}

static enum bl_rc dead_at(struct catalog *c, sqlite3_stmt *s, struct catalog_dead *d, struct bl_error *err) {
    *d = (struct catalog_dead){.id = sqlite3_column_int64(s, 0), .type = EV_TYPE_COUNT};
    if (sqlite3_column_type(s, 1) != SQLITE_NULL) BL_TRY(type_at(c, s, 1, &d->type, err));
    d->reason = text_at(s, 2);
    d->detail = text_at(s, 3);
    d->origin = text_at(s, 4);
    d->received_us = sqlite3_column_int64(s, 5);
    d->message.p = sqlite3_column_blob(s, 6);
    d->message.n = (size_t)sqlite3_column_bytes(s, 6);
    return BL_OK;
}

enum bl_rc catalog_dead_letters(struct catalog *c, size_t limit,
                                void (*row)(void *context, const struct catalog_dead *dead), void *context,
                                struct bl_error *err) {
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    BL_TRY(ask(c, ST_DEAD, &s, err, "i", limit > INT64_MAX ? INT64_MAX : (int64_t)limit));
    while (s) {
        struct catalog_dead d;
        BL_TRY(dead_at(c, s, &d, err));
        row(context, &d);
        BL_TRY(next_row(c, &s, err));
    }
    return BL_OK;
}

enum bl_rc catalog_dead_letter(struct catalog *c, int64_t id,
                               void (*row)(void *context, const struct catalog_dead *dead), void *context,
                               struct bl_error *err) {
    BL_CLEANUP(finish) sqlite3_stmt *s = NULL;
    struct catalog_dead d;
    BL_TRY(ask(c, ST_DEAD_ONE, &s, err, "i", id));
    if (!s) return bl_fail(err, BL_E_NOT_FOUND, "there is no dead letter %" PRId64, id);
    BL_TRY(dead_at(c, s, &d, err));
    row(context, &d);
    return BL_OK;
}

enum bl_rc catalog_drop_dead(struct catalog *c, const int64_t *ids, size_t count, struct bl_error *err) {
    DO(c, ST_BEGIN_WRITE, err, "");
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < count && rc == BL_OK; i++) rc = drop_dead(c, ids[i], err);
    if (rc != BL_OK) {
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        return rc;
    }
    DO(c, ST_COMMIT, err, "");
    return BL_OK;
}

enum bl_rc catalog_counts(struct catalog *c, struct catalog_counts *out, struct bl_error *err) {
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_COUNTS, &s, err, ""));
    if (!s) return bl_fail(err, BL_E_INTERNAL, "catalogue %s: no counts", c->path);
    *out = (struct catalog_counts){.dead = sqlite3_column_int64(s, 0),
                                   .dead_expected = sqlite3_column_int64(s, 1),
                                   .taken = sqlite3_column_int64(s, 2)};
    copy_text(out->taken_to, sizeof out->taken_to, s, 3);
    finish(&s);
    return BL_OK;
}

enum bl_rc catalog_dead_count(struct catalog *c, int64_t *count, struct bl_error *err) {
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_DEAD_COUNT, &s, err, ""));
    *count = s ? sqlite3_column_int64(s, 0) : 0;
    finish(&s);
    return BL_OK;
}

enum bl_rc catalog_totals(struct catalog *c, struct catalog_totals *out, struct bl_error *err) {
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_TOTALS, &s, err, ""));
    if (!s) return bl_fail(err, BL_E_INTERNAL, "catalogue %s: no totals", c->path);
    int64_t *const fields[] = {&out->files, &out->rows,     &out->bytes,  &out->raw_bytes, &out->gaps,
                               &out->dead,  &out->snapshot, &out->min_us, &out->max_us,    &out->last_commit_us};
    for (int i = 0; i < (int)(sizeof fields / sizeof *fields); i++) *fields[i] = sqlite3_column_int64(s, i);
    finish(&s);
    return BL_OK;
}

enum bl_rc catalog_get(struct catalog *c, const char *key, struct bl_buf *value, struct bl_error *err) {
    sqlite3_stmt *s;
    BL_TRY(ask(c, ST_FACT, &s, err, "s", key));
    if (s) bl_buf_z(value, text_at(s, 0));
    finish(&s);
    return bl_buf_check(value, "a catalogue fact", err);
}

enum bl_rc catalog_set(struct catalog *c, const char *key, const char *value, struct bl_error *err) {
    DO(c, ST_SET_FACT, err, "ss", key, value);
    return BL_OK;
}
