#include "base/clock.h"
#include "lake/duck.h"
#include "lake/idset.h"
#include "lake/reader.h"
#include "lake/verify_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define HOUR_US INT64_C(3600000000)

/* An unknown file this young is taken for a commit in progress: files are renamed into place, then catalogued. */
enum { STRAY_AGE_S = 600 };

/* --- Findings --- */

void findings_add(struct findings *f, const char *check, const char *format, ...) {
    size_t k = 0;
    while (k + 1 < FINDING_KINDS && f->kinds[k].check && strcmp(f->kinds[k].check, check) != 0) k++;
    f->kinds[k].check = check;
    if (f->kinds[k].count++ >= FINDINGS_TOLD || !f->report) return;
    BL_CLEANUP(bl_freep) char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0) text = NULL;
    va_end(values);
    f->report(f->context, check, text ? text : format);
}

void findings_end(struct findings *f) {
    for (size_t k = 0; k < FINDING_KINDS && f->kinds[k].check && f->report; k++) {
        if (f->kinds[k].count <= FINDINGS_TOLD) continue;
        char text[64];
        snprintf(text, sizeof text, "... %" PRId64 " in all", f->kinds[k].count);
        f->report(f->context, f->kinds[k].check, text);
    }
}

void describe_row(const struct event *ev, struct bl_buf *out) {
    char time[BL_TIME_TEXT_MAX];
    struct bl_str did = ev_str(ev, EV_DID);
    bl_buf_printf(out, "%s %.*s", ev_schema(ev->type)->name, BL_ARG(did));
    if (ev->type == EV_accounts) {
        struct bl_str kind = ev_str(ev, EV_accounts_kind);
        bl_buf_printf(out, " %.*s seq %" PRId64, BL_ARG(kind),
                      ev_has(ev, EV_accounts_seq) ? ev->v[EV_accounts_seq].i : 0);
    } else {
        struct bl_str rkey = ev_str(ev, EV_RKEY), rev = ev_str(ev, EV_REV), operation = ev_str(ev, EV_OPERATION);
        bl_buf_printf(out, "/%.*s rev %.*s %.*s", BL_ARG(rkey), BL_ARG(rev), BL_ARG(operation));
    }
    if (ev_has(ev, EV_TIME_US)) bl_buf_printf(out, " at %s", bl_format_time(ev->v[EV_TIME_US].i, 6, time));
}

/* --- The lake at one moment --- */

static int by_type_hour_path(const void *a, const void *b) {
    const struct catalog_file *x = a, *y = b;
    if (x->type != y->type) return x->type < y->type ? -1 : 1;
    if (x->hour_us != y->hour_us) return x->hour_us < y->hour_us ? -1 : 1;
    return strcmp(x->path, y->path);
}

enum bl_rc lake_view_open(struct lake_view *v, const char *lake_dir, struct bl_error *err) {
    v->dir = lake_dir;
    BL_TRY(catalog_open(lake_dir, CATALOG_READ, &v->catalog, err));
    BL_TRY(catalog_pin(v->catalog, err));
    enum bl_rc rc = catalog_files(v->catalog, EV_TYPE_COUNT, 0, 0, &v->files, &v->count, err);
    if (rc == BL_OK) rc = catalog_ledger(v->catalog, v->ledger, err);
    catalog_unpin(v->catalog);
    BL_TRY(rc);
    if (v->count) qsort(v->files, v->count, sizeof *v->files, by_type_hour_path);
    return duck_open(&(struct duck_options){.memory_bytes = 512 << 20, .threads = 2}, &v->duck, err);
}

void lake_view_close(struct lake_view *v) {
    duck_close(&v->duck);
    catalog_close(&v->catalog);
    free(v->files);
    *v = (struct lake_view){0};
}

void lake_view_totals(const struct lake_view *v, struct verify_result *out) {
    *out = (struct verify_result){.files = (int64_t)v->count};
    for (size_t i = 0; i < v->count; i++) {
        out->rows += v->files[i].rows;
        out->bytes += v->files[i].bytes;
    }
}

enum bl_rc lake_view_still_lists(struct lake_view *v, const struct catalog_file *f, struct bl_error *err) {
    if (catalog_knows_path(v->catalog, f->path)) return BL_OK;
    return bl_fail(err, BL_E_BUSY, "%s was compacted away while the lake was being verified: verify again", f->path);
}

/* --- Files --- */

struct verification {
    struct lake_view view;
    struct findings findings;
    struct verify_result *out;
    struct idset current, previous; /* identities of the hour at hand and of the one before */
    enum ev_type type;
    int64_t hour_us;
};

#define PROBLEM(v, check, ...)                                                                                         \
    do {                                                                                                               \
        (v)->out->problems++;                                                                                          \
        findings_add(&(v)->findings, check, __VA_ARGS__);                                                              \
    } while (0)

static enum bl_rc hash_file(int fd, const char *path, uint64_t *hash, struct bl_error *err) {
    enum { STEP = 1 << 20 };
    BL_CLEANUP(bl_freep) char *bytes = bl_xmalloc(STEP);
    XXH3_state_t *state = XXH3_createState();
    if (!state) return bl_fail(err, BL_E_NOMEM, "no memory to check %s", path);
    XXH3_64bits_reset(state);
    ssize_t n;
    while ((n = read(fd, bytes, STEP)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0) XXH3_64bits_update(state, bytes, (size_t)n);
    *hash = XXH3_64bits_digest(state);
    enum bl_rc rc = n < 0 ? bl_fail_errno(err, BL_E_IO, "cannot read %s", path) : BL_OK;
    XXH3_freeState(state);
    return rc;
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
}

/* Is the file there with the bytes the catalogue knows? */
static enum bl_rc check_bytes(struct verification *v, const struct catalog_file *f, bool *intact,
                              struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", v->view.dir, f->path);
    BL_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    *intact = false;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int why = errno;
        BL_TRY(lake_view_still_lists(&v->view, f, err));
        PROBLEM(v, "file", "%s: %s", f->path, strerror(why));
        return BL_OK;
    }
    if (st.st_size != f->bytes) {
        PROBLEM(v, "size", "%s has %" PRId64 " bytes, the catalogue says %" PRId64, f->path, (int64_t)st.st_size,
                f->bytes);
        return BL_OK;
    }
    uint64_t hash = 0;
    BL_TRY(hash_file(fd, path, &hash, err));
    *intact = hash == f->checksum;
    if (!*intact)
        PROBLEM(v, "checksum", "%s has checksum %016" PRIx64 ", the catalogue says %016" PRIx64, f->path, hash,
                f->checksum);
    return BL_OK;
}

/* The first value of a one-row answer about the file, as shown; empty when there is no row. */
static enum bl_rc ask_file(struct verification *v, const char *sql, const struct catalog_file *f, struct bl_buf *out,
                           struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", v->view.dir, f->path);
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    struct duck_bind bind = {.kind = DUCK_TEXT, .s = bl_str(path)};
    size_t rows = 0;
    BL_TRY(duck_query(v->view.duck, sql, &bind, 1, &r, err));
    BL_TRY(duck_next(r, &rows, err));
    bl_buf_clear(out);
    if (rows) duck_show(r, 0, 0, out);
    return BL_OK;
}

static enum bl_rc check_columns(struct verification *v, const struct catalog_file *f, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", v->view.dir, f->path);
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    struct duck_bind bind = {.kind = DUCK_TEXT, .s = bl_str(path)};
    BL_TRY(duck_query(v->view.duck, "SELECT * FROM read_parquet(?, hive_partitioning = false) LIMIT 0", &bind, 1, &r,
                      err));
    const struct ev_schema *schema = ev_schema(f->type);
    unsigned wanted = 0;
    while (wanted < schema->count && schema->columns[wanted].since <= f->schema_version) wanted++;
    if (duck_columns(r) != wanted)
        PROBLEM(v, "schema", "%s has %u columns, %s version %d has %u", f->path, duck_columns(r), schema->name,
                f->schema_version, wanted);
    for (unsigned c = 0; c < wanted && c < duck_columns(r); c++)
        if (strcmp(duck_column_name(r, c), schema->columns[c].name) != 0)
            PROBLEM(v, "schema", "%s: column %u is %s, want %s", f->path, c, duck_column_name(r, c),
                    schema->columns[c].name);
    return BL_OK;
}

static enum bl_rc check_footer(struct verification *v, const struct catalog_file *f, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    int64_t number = -1;
    BL_TRY(ask_file(v, "SELECT num_rows FROM parquet_file_metadata(?)", f, &text, err));
    if (!bl_parse_i64(bl_buf_view(&text), 0, INT64_MAX, &number) || number != f->rows)
        PROBLEM(v, "rows", "%s has %" PRId64 " rows, the catalogue says %" PRId64, f->path, number, f->rows);
    BL_TRY(ask_file(v, "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'bluelake.schema_version'",
                    f, &text, err));
    if (!bl_parse_i64(bl_buf_view(&text), 0, INT32_MAX, &number) || number != f->schema_version)
        PROBLEM(v, "schema", "%s: bluelake.schema_version in the footer is \"%.*s\", the catalogue says %d", f->path,
                BL_ARG(bl_buf_view(&text)), f->schema_version);
    return check_columns(v, f, err);
}

/* --- Rows --- */

struct file_rows {
    struct verification *v;
    const struct catalog_file *f;
    int64_t rows, min_us, max_us;
};

/* Repetitions of an event carry time_us within minutes of each other (see dedup.h), so the set of one hour and that of
 * the hour before find them all, in memory that does not grow with the lake. */
static void turn_to_hour(struct verification *v, const struct catalog_file *f) {
    if (v->type == f->type && v->hour_us == f->hour_us) return;
    bool next = v->type == f->type && f->hour_us == v->hour_us + HOUR_US;
    idset_release(&v->previous);
    if (next) {
        v->previous = v->current;
    } else {
        idset_release(&v->current);
    }
    v->current = (struct idset){0};
    v->type = f->type;
    v->hour_us = f->hour_us;
}

static enum bl_rc check_row(void *context, const struct event *ev, struct bl_error *err) {
    (void)err;
    struct file_rows *r = context;
    struct verification *v = r->v;
    struct ev_id id = ev_identity(ev);
    bool twice = !idset_add(&v->current, id) || idset_has(&v->previous, id);
    int64_t us = ev->v[EV_TIME_US].i;
    bool misplaced = us < r->f->hour_us || us >= r->f->hour_us + HOUR_US;
    if (r->rows++ == 0 || us < r->min_us) r->min_us = us;
    if (r->rows == 1 || us > r->max_us) r->max_us = us;
    if (!twice && !misplaced) return BL_OK;
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    describe_row(ev, &text);
    v->out->twice += twice;
    if (twice) PROBLEM(v, "twice", "%s: %s is in the lake already", r->f->path, bl_buf_cstr(&text));
    if (misplaced) PROBLEM(v, "misplaced", "%s: %s belongs to another hour", r->f->path, bl_buf_cstr(&text));
    return BL_OK;
}

#define BIT(column) ((uint64_t)1 << (column))
static uint64_t described_columns(enum ev_type type) {
    if (type == EV_accounts) return BIT(EV_TIME_US) | BIT(EV_DID) | BIT(EV_accounts_kind) | BIT(EV_accounts_seq);
    uint64_t columns = BIT(EV_TIME_US) | BIT(EV_DID) | BIT(EV_OPERATION) | BIT(EV_RKEY) | BIT(EV_REV);
    return type == EV_others ? columns | BIT(EV_others_collection) : columns;
}

static enum bl_rc check_rows(struct verification *v, const struct catalog_file *f, struct bl_error *err) {
    struct file_rows r = {.v = v, .f = f};
    struct lake_scan scan = {.lake_dir = v->view.dir, .type = f->type, .files = f, .file_count = 1};
    scan.columns = described_columns(f->type);
    scan.duck = v->view.duck;
    turn_to_hour(v, f);
    BL_TRY(lake_scan_rows(&scan, check_row, &r, err));
    if (r.rows != f->rows)
        PROBLEM(v, "rows", "%s yields %" PRId64 " rows, the catalogue says %" PRId64, f->path, r.rows, f->rows);
    if (r.rows && (r.min_us != f->min_us || r.max_us != f->max_us))
        PROBLEM(v, "time range", "%s spans %" PRId64 " to %" PRId64 ", the catalogue says %" PRId64 " to %" PRId64,
                f->path, r.min_us, r.max_us, f->min_us, f->max_us);
    return BL_OK;
}

static enum bl_rc check_file(struct verification *v, const struct catalog_file *f, struct bl_error *err) {
    bool intact = false;
    BL_TRY(check_bytes(v, f, &intact, err));
    if (!intact) return BL_OK;
    struct bl_error why = {0};
    enum bl_rc rc = check_footer(v, f, &why);
    if (rc == BL_OK) rc = check_rows(v, f, &why);
    if (rc == BL_OK) return BL_OK;
    BL_TRY(lake_view_still_lists(&v->view, f, err));
    PROBLEM(v, "parquet", "%s: %s", f->path, why.message);
    return BL_OK;
}

/* --- Folders and ledger --- */

static void check_entry(struct verification *v, const FTSENT *e, int64_t now_s) {
    const char *relative = e->fts_path + strlen(v->view.dir);
    while (*relative == '/') relative++;
    if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS) {
        PROBLEM(v, "folder", "%s: %s", relative, strerror(e->fts_errno));
    } else if (e->fts_info != FTS_D && e->fts_info != FTS_DP && !catalog_knows_path(v->view.catalog, relative) &&
               now_s - e->fts_statp->st_mtime > STRAY_AGE_S) {
        PROBLEM(v, "stray", "%s is not in the catalogue", relative);
    }
}

/* Only year=... belongs to the catalogue; beside it lie the catalogue itself and what other roles keep. */
static enum bl_rc check_folders(struct verification *v, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *root = bl_xstrdup(v->view.dir);
    FTS *walk = fts_open((char *const[]){root, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk) return bl_fail_errno(err, BL_E_IO, "cannot walk %s", v->view.dir);
    int64_t now_s = bl_wall_us() / 1000000;
    for (FTSENT *e; (e = fts_read(walk));) {
        bool ours = bl_str_starts(bl_str(e->fts_name), BL_LIT("year=")) && e->fts_info != FTS_F;
        if (e->fts_level == 1 && !ours) {
            fts_set(walk, e, FTS_SKIP);
        } else if (e->fts_level > 0) {
            check_entry(v, e, now_s);
        }
    }
    fts_close(walk);
    return BL_OK;
}

static void check_ledger(struct verification *v) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct catalog_ledger *l = &v->view.ledger[t];
        const char *name = ev_schema((enum ev_type)t)->name;
        if (l->received != l->written + l->duplicates + l->dead)
            PROBLEM(v, "ledger", "%s: received %" PRId64 " is not written %" PRId64 " + duplicates %" PRId64
                    " + dead %" PRId64, name, l->received, l->written, l->duplicates, l->dead);
        if (l->missing)
            PROBLEM(v, "ledger", "%s: %" PRId64 " buffered events never arrived", name, l->missing);
        if (l->rows != l->written - l->purged)
            PROBLEM(v, "ledger", "%s: the files hold %" PRId64 " rows, written were %" PRId64 ", purged %" PRId64, name,
                    l->rows, l->written, l->purged);
    }
}

static enum bl_rc verify_all(struct verification *v, struct bl_error *err) {
    for (size_t i = 0; i < v->view.count; i++) BL_TRY(check_file(v, &v->view.files[i], err));
    check_ledger(v);
    return check_folders(v, err);
}

enum bl_rc lake_verify(const char *lake_dir, verify_report_fn report, void *context, struct verify_result *out,
                       struct bl_error *err) {
    struct verification v = {.findings = {report, context, {{0}}}, .out = out, .type = EV_TYPE_COUNT};
    enum bl_rc rc = lake_view_open(&v.view, lake_dir, err);
    if (rc == BL_OK) {
        lake_view_totals(&v.view, out);
        rc = verify_all(&v, err);
        findings_end(&v.findings);
    }
    idset_release(&v.current);
    idset_release(&v.previous);
    lake_view_close(&v.view);
    return rc;
}
