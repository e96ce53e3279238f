/* views_store: what views keep between refreshes, in DIR/views.sqlite. sqlite3.h appears only in views_store.c.
 *
 * Private to the query room. A cache: whoever deletes the file loses time, nothing else; of another version or damaged,
 * it is begun anew. Counts are sums over (cube, period, key), fed file by file; a file counts in the same transaction
 * that notes it as known, so that a crash neither loses nor doubles it. Answers are whole tables. People are the newest
 * word on each account.
 *
 * Threading: one thread a handle; readers are not held up by the one writer. */
#pragma once
#include "base/mem.h"

struct views_store;
enum store_mode { STORE_READ, STORE_WRITE };
/* Reading: `*out` is NULL when nothing is stored yet. */
enum bl_rc store_open(const char *lake_dir, enum store_mode mode, struct views_store **out, struct bl_error *err);
void store_close(struct views_store **s);
/* BL_E_BUSY at once while another process writes. */
enum bl_rc store_begin(struct views_store *s, struct bl_error *err);
enum bl_rc store_commit(struct views_store *s, struct bl_error *err);
void store_rollback(struct views_store *s);

struct store_file { /* known: its rows are in the counts */
    int64_t id, hour_us, rows;
    int type;
    bool subtracted; /* of likes: what its deletes took back is in the counts */
};
/* Of one type, or -1: of all; by id; free(). */
enum bl_rc store_files(struct views_store *s, int type, struct store_file **out, size_t *count, struct bl_error *err);
enum bl_rc store_add_file(struct views_store *s, const struct store_file *file, struct bl_error *err);
enum bl_rc store_drop_file(struct views_store *s, int64_t id, struct bl_error *err);
/* Files of `type` with hour_us in [from_us, to_us) are not subtracted. */
enum bl_rc store_unsubtract(struct views_store *s, int type, int64_t from_us, int64_t to_us, struct bl_error *err);

enum bl_rc store_count(struct views_store *s, int cube, int64_t period, struct bl_str key, int64_t n,
                       struct bl_error *err);
/* Forget the counts of periods [from, to) that are below `below` (INT64_MAX: all). */
enum bl_rc store_forget(struct views_store *s, int cube, int64_t from, int64_t to, int64_t below, struct bl_error *err);
enum bl_rc store_forget_key(struct views_store *s, int cube, int64_t from, int64_t to, struct bl_str key,
                            struct bl_error *err);

enum bl_rc store_set(struct views_store *s, const char *key, int64_t value, struct bl_error *err);
enum bl_rc store_get(struct views_store *s, const char *key, int64_t missing, int64_t *value, struct bl_error *err);

/* A question over `counts` (cube, period, key, n), written in views.c; its parameters are ?1 .. ?`count`. */
typedef enum bl_rc (*store_row_fn)(void *context, const struct bl_str *cells, size_t count, struct bl_error *err);
enum bl_rc store_ask(struct views_store *s, const char *sql, const int64_t *parameters, size_t count, store_row_fn row,
                     void *context, struct bl_error *err);

struct store_answer {
    int64_t refreshed_us, as_of_us, snapshot, lake_rows, rows; /* lake_rows: what it was computed from */
    struct bl_buf cells; /* of all rows, each a length (int32, -1 = null) and its bytes */
};
void store_put_cell(struct bl_buf *cells, struct bl_str value); /* p == NULL: null */
struct bl_str store_take_cell(struct bl_str *cells);
enum bl_rc store_set_answer(struct views_store *s, const char *view, const struct store_answer *answer,
                            struct bl_error *err);
/* Without `cells`, when that is not asked for. `*found` false: never computed. */
enum bl_rc store_answer(struct views_store *s, const char *view, bool with_cells, struct store_answer *out, bool *found,
                        struct bl_error *err);

/* The newest word wins, by (us, order); p == NULL of a text says nothing about it. */
struct store_account {
    struct bl_str did, handle, status;
    int active; /* -1: unknown */
    int64_t handle_us, handle_seq, active_us, active_seq;
};
struct store_profile {
    struct bl_str did, name, description, rev;
    bool deleted;
    int64_t us;
};
enum bl_rc store_note_account(struct views_store *s, const struct store_account *a, struct bl_error *err);
enum bl_rc store_note_profile(struct views_store *s, const struct store_profile *p, struct bl_error *err);
/* `*found` false: never heard of. Texts are kept in `arena`. */
enum bl_rc store_account(struct views_store *s, struct bl_str did, struct bl_arena *arena, struct store_account *a,
                         struct store_profile *p, bool *found, struct bl_error *err);
enum bl_rc store_accounts_of_handle(struct views_store *s, struct bl_str handle, struct bl_arena *arena,
                                    struct bl_str *dids, size_t max, size_t *count, struct bl_error *err);
