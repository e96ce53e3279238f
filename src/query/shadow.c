#include "query/shadow.h"

#include <stdlib.h>

const char shadow_key[] = "hash(did, rkey)";
const char shadow_condition[] =
    "NOT EXISTS (SELECT 1 FROM internal.changes x WHERE x.key = c.key AND x.time_us > c.time_us) "
    "AND NOT EXISTS (SELECT 1 FROM internal.hidden h WHERE h.did = c.did)";

static const char tables_sql[] =
    "CREATE SCHEMA IF NOT EXISTS internal; "
    "CREATE TABLE IF NOT EXISTS internal.changes (key UBIGINT, time_us BIGINT); "
    "CREATE TABLE IF NOT EXISTS internal.accounts (did VARCHAR, time_us BIGINT, seq BIGINT, active BOOLEAN); "
    "CREATE OR REPLACE VIEW internal.hidden AS SELECT did FROM internal.accounts GROUP BY did "
    "HAVING NOT arg_max(active, (time_us, seq))";

static int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Files of `type` that are not in the tables yet. */
static size_t new_files(const struct query *q, enum ev_type type, const struct catalog_file ***out) {
    const struct id_list *known = &q->shadowed[type];
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, out), kept = 0;
    if (!known->count) return count;
    for (size_t i = 0; i < count; i++)
        if (!known->count || !bsearch(&(*out)[i]->id, known->ids, known->count, sizeof *known->ids, by_id))
            (*out)[kept++] = (*out)[i];
    return kept;
}

static void remember(struct query *q, enum ev_type type, const struct catalog_file *const *files, size_t count) {
    struct id_list *known = &q->shadowed[type];
    if (!count) return;
    known->ids = bl_xrealloc(known->ids, (known->count + count) * sizeof *known->ids);
    for (size_t i = 0; i < count; i++) known->ids[known->count++] = files[i]->id;
    qsort(known->ids, known->count, sizeof *known->ids, by_id);
}

/* A compacted file repeats rows that are in the tables already, which changes nothing but their number. */
static enum bl_rc load(struct query *q, enum ev_type type, const char *insert, const char *where,
                       struct bl_error *err) {
    enum { FILES_AT_ONCE = 1024 };
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = new_files(q, type, &files);
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < FILES_AT_ONCE ? count - at : FILES_AT_ONCE;
        BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
        bl_buf_printf(&sql, "INSERT INTO %s FROM ", insert);
        session_add_files(q, &sql, files + at, n, false);
        bl_buf_printf(&sql, " WHERE %s", where);
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(bl_buf_check(&sql, "looking for deleted posts", err));
        BL_TRY(duck_run(q->duck, bl_buf_cstr(&sql), err));
        remember(q, type, files + at, n);
    }
    return BL_OK;
}

enum bl_rc shadow_refresh(struct query *q, struct bl_error *err) {
    if (q->shadow_snapshot == q->snapshot) return BL_OK;
    BL_TRY(duck_run(q->duck, tables_sql, err));
    BL_TRY(load(q, EV_posts, "internal.changes SELECT hash(did, rkey), time_us", "operation <> 'create'", err));
    BL_TRY(load(q, EV_accounts, "internal.accounts SELECT did, time_us, seq, active", "active IS NOT NULL", err));
    q->shadow_snapshot = q->snapshot;
    return BL_OK;
}
