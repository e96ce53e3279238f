/* Likes taken back. A delete names its record only, whose key tells when it was made: the like is looked for in the
 * files of that hour and its neighbours, up to 8 days back. Deletes are few and are held in memory; the files of likes
 * stream past them. */
#include <inttypes.h>
#include <stdlib.h>

#include "query/views_priv.h"

enum { DAYS_BACK = 8, BATCH_ROWS = 4000000, LOOK_ROWS = 2000000, FILES_AT_ONCE = 512 };

static enum bl_rc run_over(struct refresh *r, const char *before, const struct catalog_file *const *files, size_t count,
                           const char *after, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, before);
    session_add_files(r->q, &sql, files, count, false);
    bl_buf_z(&sql, after);
    BL_TRY(bl_buf_check(&sql, "looking for likes taken back", err));
    BL_TRY(refresh_check(r, err));
    watchdog_extend(r->q->watchdog, r->q->deadline_us);
    return duck_run(r->q->duck, bl_buf_cstr(&sql), err);
}

static enum bl_rc collect_deletes(struct refresh *r, const struct catalog_file *const *files, size_t count,
                                  struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf where = {0};
    bl_buf_printf(&where,
                  " WHERE operation = 'delete' AND time_us >= %" PRId64 " AND tid_us(rkey) > time_us - %" PRId64
                  " AND tid_us(rkey) < time_us + %" PRId64 " GROUP BY did, rkey",
                  cubes_kept_from_us(r, CUBE_UNLIKED), DAYS_BACK * DAY_US, HOUR_US);
    return run_over(r, "CREATE OR REPLACE TEMP TABLE undone AS SELECT did, rkey, max(time_us) AS time_us FROM ", files,
                    count, bl_buf_cstr(&where), err);
}

static enum bl_rc hours_of_likes(struct refresh *r, int64_t **hours, size_t *count, struct bl_error *err) {
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, "SELECT DISTINCT tid_us(rkey) // 3600000000 AS hour FROM undone ORDER BY hour", NULL,
                      0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        *hours = bl_xrealloc(*hours, (*count + rows) * sizeof **hours);
        for (size_t i = 0; i < rows; i++) (*hours)[(*count)++] = duck_i64(found, 0, i);
    }
}

static size_t files_within(const struct catalog_file *const *files, size_t at, size_t count, int64_t rows_max) {
    size_t end = at;
    for (int64_t rows = 0; end < count && end - at < FILES_AT_ONCE && rows < rows_max; end++) rows += files[end]->rows;
    return end;
}

/* Without a condition on the likes DuckDB knows how many there are, and holds the deletes in memory, not the likes. */
static enum bl_rc find_likes(struct refresh *r, struct bl_error *err) {
    BL_CLEANUP(bl_freep) int64_t *hours = NULL;
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t hour_count = 0;
    BL_TRY(hours_of_likes(r, &hours, &hour_count, err));
    BL_TRY(
        duck_run(r->q->duck,
                 "CREATE OR REPLACE TEMP TABLE records (did VARCHAR, rkey VARCHAR, time_us BIGINT, operation VARCHAR, "
                 "subject_uri VARCHAR)",
                 err));
    size_t count = session_files_near(r->q, EV_likes, hours, hour_count, &files);
    for (size_t at = 0, end; at < count; at = end) {
        end = files_within(files, at, count, LOOK_ROWS);
        BL_TRY(run_over(r, "INSERT INTO records SELECT did, rkey, time_us, operation, subject_uri FROM ", files + at,
                        end - at, " SEMI JOIN undone USING (did, rkey)", err));
    }
    return BL_OK;
}

/* The hour of the key decides, and not only which files are read: the answer must not depend on what else is looked
 * for at the same time. */
static enum bl_rc subtract(struct refresh *r, const struct catalog_file *const *files, size_t count,
                           struct bl_error *err) {
    BL_TRY(collect_deletes(r, files, count, err));
    BL_TRY(find_likes(r, err));
    return cubes_take(r, CUBE_UNLIKED,
                      "SELECT time_us // 86400000000, " POST_KEY
                      ", count(*) FROM undone JOIN (SELECT did, rkey, any_value(subject_uri) AS subject_uri FROM "
                      "records WHERE " LIKED_POST
                      " AND abs(time_us // 3600000000 - tid_us(rkey) // 3600000000) <= 1 GROUP BY did, rkey) "
                      "USING (did, rkey) GROUP BY 1, 2 ORDER BY 1, 2",
                      err);
}

static enum bl_rc note_subtracted(struct refresh *r, const struct catalog_file *const *files, size_t count,
                                  struct bl_error *err) {
    int64_t newest_us;
    BL_TRY(store_get(r->store, SUBTRACTED_UP_TO, INT64_MIN, &newest_us, err));
    for (size_t i = 0; i < count; i++) {
        struct store_file done = {files[i]->id, files[i]->hour_us, files[i]->rows, EV_likes, true};
        BL_TRY(store_add_file(r->store, &done, err));
        if (files[i]->max_us > newest_us) newest_us = files[i]->max_us;
    }
    return store_set(r->store, SUBTRACTED_UP_TO, newest_us, err);
}

static int by_id(const void *a, const void *b) {
    const struct store_file *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Known files whose deletes were not looked up. */
static enum bl_rc files_to_do(struct refresh *r, const struct catalog_file ***out, size_t *count,
                              struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct store_file *known = NULL;
    size_t known_count, all, kept = 0;
    BL_TRY(store_files(r->store, EV_likes, &known, &known_count, err));
    all = session_files(r->q, EV_likes, INT64_MIN, INT64_MAX, out);
    for (size_t i = 0; i < all && known_count; i++) {
        struct store_file wanted = {.id = (*out)[i]->id};
        const struct store_file *found = bsearch(&wanted, known, known_count, sizeof *known, by_id);
        if (found && !found->subtracted) (*out)[kept++] = (*out)[i];
    }
    *count = kept;
    return BL_OK;
}

enum bl_rc undone_subtract(struct refresh *r, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count;
    BL_TRY(files_to_do(r, &files, &count, err));
    for (size_t at = 0, end; at < count; at = end) {
        end = files_within(files, at, count, BATCH_ROWS);
        BL_TRY(store_begin(r->store, err));
        enum bl_rc rc = subtract(r, files + at, end - at, err);
        if (rc == BL_OK) rc = note_subtracted(r, files + at, end - at, err);
        if (rc == BL_OK) rc = store_commit(r->store, err);
        if (rc != BL_OK) store_rollback(r->store);
        BL_TRY(rc);
    }
    return count ? duck_run(r->q->duck, "DROP TABLE undone; DROP TABLE records", err) : BL_OK;
}

enum bl_rc undone_again(struct refresh *r, int64_t day, struct bl_error *err) {
    int64_t end = day + DAYS_BACK + 1;
    BL_TRY(store_forget(r->store, CUBE_UNLIKED, day, end, INT64_MAX, err));
    return store_unsubtract(r->store, EV_likes, day * DAY_US, end * DAY_US, err);
}
