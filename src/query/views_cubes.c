/* The table of cubes, and how new files are read into them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "query/views_priv.h"

#define HOUR_US INT64_C(3600000000)
#define DAY_US (24 * HOUR_US)

/* SELECT period, key, sum(n) FROM (SELECT source FROM files WHERE only) GROUP BY period, key. A key that is null is not
 * counted. */
struct rule {
    enum cube cube;
    enum ev_type type;
    int64_t period_us;
    const char *source, *only, *key, *n;
};

#define CREATED "operation = 'create'"
#define MADE_AND_UNDONE(type, made, undone)                                                                            \
    {                                                                                                                  \
        CUBE_VOLUME, EV_##type, HOUR_US, "time_us, operation", "operation <> 'update'",                                \
            "CASE operation WHEN 'create' THEN '" made "' ELSE '" undone "' END", "count(*)"                           \
    }
/* "at://DID/app.bsky.feed.post/RKEY" without what all posts share; other things that are liked are not counted. */
#define LIKED_POST CREATED " AND contains(subject_uri, '/app.bsky.feed.post/')"
#define POST_KEY "replace(substr(subject_uri, 6), 'app.bsky.feed.post/', '')"

static const struct rule rules[] = {
    MADE_AND_UNDONE(posts, "posts", "post_deletes"),
    {CUBE_VOLUME, EV_posts, HOUR_US, "time_us", CREATED " AND reply_parent_uri IS NOT NULL", "'replies'", "count(*)"},
    {CUBE_VOLUME, EV_posts, HOUR_US, "time_us", CREATED " AND quote_uri IS NOT NULL", "'quotes'", "count(*)"},
    {CUBE_AUTHORS, EV_posts, DAY_US, "time_us, did", CREATED, "did", "count(*)"},
    {CUBE_TAGS, EV_posts, HOUR_US,
     "time_us, unnest(list_distinct(list_transform(hashtags, lambda x: lower(x)))) AS tag", CREATED, "tag", "count(*)"},
    {CUBE_LANGS, EV_posts, DAY_US,
     "time_us, unnest(CASE WHEN len(langs) > 0 THEN list_distinct(list_transform(langs, lambda x: lower(split_part(x, "
     "'-', 1)))) ELSE ['none'] END) AS lang",
     CREATED, "lang", "count(*)"},
    {CUBE_DOMAINS, EV_posts, DAY_US,
     "time_us, unnest(list_distinct(list_transform(links, lambda x: regexp_replace(regexp_extract(lower(x), "
     "'^[a-z][a-z0-9+.-]*://([^/?#]*@)?([^/?#:]+)', 2), '^www[.]', '')))) AS host",
     CREATED, "nullif(host, '')", "count(*)"},
    {CUBE_LENGTHS, EV_posts, DAY_US, "time_us, length(text) AS characters", CREATED,
     "(least(coalesce(characters, 0) // 50, 6) * 50)::VARCHAR", "count(*)"},
    MADE_AND_UNDONE(likes, "likes", "unlikes"),
    {CUBE_LIKED, EV_likes, DAY_US, "time_us, subject_uri", LIKED_POST, POST_KEY, "count(*)"},
    {CUBE_RISING, EV_likes, HOUR_US, "time_us, subject_uri", LIKED_POST, POST_KEY, "count(*)"},
    {CUBE_AGES, EV_likes, DAY_US, "time_us, (time_us - tid_us(split_part(subject_uri, '/', 5))) // 3600000000 AS age",
     LIKED_POST, "CASE WHEN age BETWEEN 0 AND 23 THEN age::VARCHAR END", "count(*)"},
    MADE_AND_UNDONE(reposts, "reposts", "unreposts"),
    MADE_AND_UNDONE(follows, "follows", "unfollows"),
    MADE_AND_UNDONE(blocks, "blocks", "unblocks"),
};
enum { RULES = sizeof rules / sizeof rules[0] };

/* How long each cube is remembered, in its own periods (0: for ever), and which small counts are given up once their
 * period is `settled` periods old: without that the store would hold every post that was ever liked once. */
static const struct {
    enum cube cube;
    bool hourly;
    int64_t keep, settled, below;
} ages[] = {{CUBE_AUTHORS, false, 32, 0, 0}, {CUBE_TAGS, true, 24 * 15, 0, 0}, {CUBE_LANGS, false, 32, 0, 0},
            {CUBE_DOMAINS, false, 32, 0, 0}, {CUBE_LENGTHS, false, 32, 0, 0},  {CUBE_LIKED, false, 32, 2, 3},
            {CUBE_UNLIKED, false, 32, 0, 0}, {CUBE_RISING, true, 26, 2, 5},    {CUBE_AGES, false, 32, 0, 0}};

static int64_t oldest_kept_us(const struct refresh *r, enum cube cube) {
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++)
        if (ages[i].cube == cube && ages[i].keep)
            return ages[i].hourly ? (r->now_hour - ages[i].keep) * HOUR_US : (r->now_day - ages[i].keep) * DAY_US;
    return INT64_MIN;
}

/* --- Reading files --- */

static enum bl_rc take_counts(struct refresh *r, enum cube cube, const char *sql, struct bl_error *err) {
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, sql, NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        BL_TRY(refresh_check(r, err));
        for (size_t i = 0; i < rows; i++)
            BL_TRY(store_count(r->store, (int)cube, duck_i64(found, 0, i), duck_text(found, 1, i),
                               duck_i64(found, 2, i), err));
    }
}

static enum bl_rc apply_rule(struct refresh *r, const struct rule *rule, const struct catalog_file *const *files,
                             size_t count, struct bl_error *err) {
    int64_t from_us = oldest_kept_us(r, rule->cube), newest_us = INT64_MIN;
    for (size_t i = 0; i < count; i++)
        if (files[i]->max_us > newest_us) newest_us = files[i]->max_us;
    if (newest_us < from_us) return BL_OK;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql,
                  "SELECT period, key, n FROM (SELECT time_us // %" PRId64
                  " AS period, %s AS key, %s AS n FROM (SELECT %s FROM ",
                  rule->period_us, rule->key, rule->n, rule->source);
    session_add_files(r->q, &sql, files, count, false);
    bl_buf_printf(&sql, " WHERE %s AND time_us >= %" PRId64 ") GROUP BY 1, 2) WHERE key IS NOT NULL ORDER BY 1, 2",
                  rule->only, from_us);
    BL_TRY(bl_buf_check(&sql, "reading files for the views", err));
    return take_counts(r, rule->cube, bl_buf_cstr(&sql), err);
}

/* A delete names its record only, whose key tells when it was made: there the like is looked for, up to 8 days back. */
static enum bl_rc hours_of_undone(struct refresh *r, const char *undone, int64_t **hours, size_t *count,
                                  struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql,
                  "SELECT DISTINCT tid_us(rkey) // %" PRId64
                  " AS hour FROM (%s) WHERE tid_us(rkey) > time_us - %" PRId64 " AND tid_us(rkey) < time_us + %" PRId64
                  " ORDER BY hour",
                  HOUR_US, undone, 8 * DAY_US, HOUR_US);
    BL_TRY(bl_buf_check(&sql, "reading files for the views", err));
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, bl_buf_cstr(&sql), NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        *hours = bl_xrealloc(*hours, (*count + rows) * sizeof **hours);
        for (size_t i = 0; i < rows; i++) (*hours)[(*count)++] = duck_i64(found, 0, i);
    }
}

static enum bl_rc apply_unlikes(struct refresh *r, const struct catalog_file *const *files, size_t count,
                                struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf undone = {0}, sql = {0};
    BL_CLEANUP(bl_freep) int64_t *hours = NULL;
    BL_CLEANUP(bl_freep) const struct catalog_file **likes = NULL;
    size_t hour_count = 0;
    bl_buf_z(&undone, "SELECT did, rkey, time_us FROM ");
    session_add_files(r->q, &undone, files, count, false);
    bl_buf_printf(&undone, " WHERE operation = 'delete' AND time_us >= %" PRId64, oldest_kept_us(r, CUBE_UNLIKED));
    BL_TRY(bl_buf_check(&undone, "reading files for the views", err));
    BL_TRY(hours_of_undone(r, bl_buf_cstr(&undone), &hours, &hour_count, err));
    size_t kept = session_files_near(r->q, EV_likes, hours, hour_count, &likes);
    if (kept == 0) return BL_OK;
    bl_buf_printf(&sql,
                  "SELECT u.time_us // %" PRId64 ", " POST_KEY
                  ", count(*) FROM (SELECT did, rkey, max(time_us) AS time_us FROM (%s) "
                  "GROUP BY did, rkey) u JOIN (SELECT did, rkey, any_value(subject_uri) AS subject_uri FROM ",
                  DAY_US, undone.p);
    session_add_files(r->q, &sql, likes, kept, false);
    bl_buf_z(&sql, " WHERE " LIKED_POST " GROUP BY did, rkey) l USING (did, rkey) GROUP BY 1, 2 ORDER BY 1, 2");
    BL_TRY(bl_buf_check(&sql, "reading files for the views", err));
    return take_counts(r, CUBE_UNLIKED, bl_buf_cstr(&sql), err);
}

static enum bl_rc note_accounts(struct refresh *r, const struct catalog_file *const *files, size_t count,
                                struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, handle, active, status, time_us, seq FROM ");
    session_add_files(r->q, &sql, files, count, false);
    bl_buf_z(&sql, " WHERE handle IS NOT NULL OR active IS NOT NULL ORDER BY did, time_us, seq");
    BL_TRY(bl_buf_check(&sql, "reading accounts", err));
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, bl_buf_cstr(&sql), NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            int64_t us = duck_i64(found, 4, i), seq = duck_i64(found, 5, i);
            struct store_account a = {.did = duck_text(found, 0, i),
                                      .active = duck_is_null(found, 2, i) ? -1 : (int)duck_i64(found, 2, i),
                                      .handle_us = us,
                                      .handle_seq = seq,
                                      .active_us = us,
                                      .active_seq = seq};
            if (!duck_is_null(found, 1, i)) a.handle = duck_text(found, 1, i);
            if (!duck_is_null(found, 3, i)) a.status = duck_text(found, 3, i);
            BL_TRY(store_note_account(r->store, &a, err));
        }
    }
}

static enum bl_rc note_profiles(struct refresh *r, const struct catalog_file *const *files, size_t count,
                                struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, display_name, description, operation = 'delete', time_us, rev FROM ");
    session_add_files(r->q, &sql, files, count, false);
    bl_buf_z(&sql, " WHERE rkey = 'self' ORDER BY did, time_us, rev");
    BL_TRY(bl_buf_check(&sql, "reading profiles", err));
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, bl_buf_cstr(&sql), NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        for (size_t i = 0; i < rows; i++) {
            struct store_profile p = {.did = duck_text(found, 0, i),
                                      .deleted = duck_i64(found, 3, i) != 0,
                                      .us = duck_i64(found, 4, i),
                                      .rev = duck_text(found, 5, i)};
            if (!duck_is_null(found, 1, i)) p.name = duck_text(found, 1, i);
            if (!duck_is_null(found, 2, i)) p.description = duck_text(found, 2, i);
            BL_TRY(store_note_profile(r->store, &p, err));
        }
    }
}

static enum bl_rc read_batch(struct refresh *r, enum ev_type type, const struct catalog_file *const *files,
                             size_t count, struct bl_error *err) {
    for (size_t i = 0; i < RULES; i++)
        if (rules[i].type == type) BL_TRY(apply_rule(r, &rules[i], files, count, err));
    if (type == EV_likes) BL_TRY(apply_unlikes(r, files, count, err));
    if (type == EV_accounts) BL_TRY(note_accounts(r, files, count, err));
    if (type == EV_profiles) BL_TRY(note_profiles(r, files, count, err));
    for (size_t i = 0; i < count; i++) {
        struct store_file known = {files[i]->id, files[i]->hour_us, files[i]->rows, (int)type};
        BL_TRY(store_add_file(r->store, &known, err));
    }
    r->stats->files_read += count;
    return BL_OK;
}

/* --- Which files are new --- */

struct known {
    struct store_file *files; /* by id */
    size_t count;
};

static int by_id(const void *a, const void *b) {
    const struct store_file *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static const struct store_file *find_known(const struct known *k, int64_t id) {
    struct store_file wanted = {.id = id};
    return k->count ? bsearch(&wanted, k->files, k->count, sizeof *k->files, by_id) : NULL;
}

static bool is_listed(const struct file_list *list, int64_t id) {
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].id == id) return true;
    return false;
}

/* Where the next pruning of small counts starts. */
static const char *pruned_fact(enum cube cube, char out[static 32]) {
    snprintf(out, 32, "pruned %d", (int)cube);
    return out;
}

static enum bl_rc prune_again_from(struct refresh *r, enum cube cube, int64_t period, struct bl_error *err) {
    char fact[32];
    int64_t from;
    BL_TRY(store_get(r->store, pruned_fact(cube, fact), INT64_MIN, &from, err));
    return period < from ? store_set(r->store, fact, period, err) : BL_OK;
}

/* Compaction replaces the files of an hour by others with the same rows: those count as known, unread. Anything else
 * that makes a known file disappear (a purge; compaction of files not read yet) means counting that day again. */
static enum bl_rc recount_day(struct refresh *r, enum ev_type type, int64_t day, struct known *k,
                              struct bl_error *err) {
    for (size_t i = 0; i < RULES; i++) {
        if (rules[i].type != type) continue;
        int64_t periods = DAY_US / rules[i].period_us;
        BL_TRY(store_forget(r->store, (int)rules[i].cube, day * periods, (day + 1) * periods, INT64_MAX, err));
        BL_TRY(prune_again_from(r, rules[i].cube, day * periods, err));
    }
    if (type == EV_likes) BL_TRY(store_forget(r->store, CUBE_UNLIKED, day, day + 1, INT64_MAX, err));
    for (size_t i = 0; i < k->count; i++) {
        if (k->files[i].hour_us / DAY_US != day) continue;
        BL_TRY(store_drop_file(r->store, k->files[i].id, err));
        k->files[i].hour_us = INT64_MIN; /* forgotten, but kept in its place for the search by id */
    }
    return BL_OK;
}

static enum bl_rc settle_hour(struct refresh *r, enum ev_type type, int64_t hour_us, struct known *k, const bool *gone,
                              struct bl_error *err) {
    const struct file_list *list = &r->q->files[type];
    int64_t gone_rows = 0, new_rows = 0;
    for (size_t i = 0; i < k->count; i++)
        if (gone[i] && k->files[i].hour_us == hour_us) gone_rows += k->files[i].rows;
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].hour_us == hour_us && list->files[i].compacted && !find_known(k, list->files[i].id))
            new_rows += list->files[i].rows;
    if (gone_rows != new_rows) return recount_day(r, type, hour_us / DAY_US, k, err);
    for (size_t i = 0; i < list->count; i++) {
        const struct catalog_file *f = &list->files[i];
        if (f->hour_us != hour_us || !f->compacted || find_known(k, f->id)) continue;
        struct store_file same = {f->id, f->hour_us, f->rows, (int)type};
        BL_TRY(store_add_file(r->store, &same, err));
    }
    for (size_t i = 0; i < k->count; i++) {
        if (!gone[i] || k->files[i].hour_us != hour_us) continue;
        BL_TRY(store_drop_file(r->store, k->files[i].id, err));
        k->files[i].hour_us = INT64_MIN;
    }
    return BL_OK;
}

static enum bl_rc settle_gone(struct refresh *r, enum ev_type type, struct bl_error *err) {
    struct known k = {0};
    BL_TRY(store_files(r->store, (int)type, &k.files, &k.count, err));
    bool *gone = bl_xcalloc(k.count + 1, sizeof *gone);
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < k.count; i++) gone[i] = !is_listed(&r->q->files[type], k.files[i].id);
    for (size_t i = 0; i < k.count && rc == BL_OK; i++)
        if (gone[i] && k.files[i].hour_us != INT64_MIN) rc = settle_hour(r, type, k.files[i].hour_us, &k, gone, err);
    free(gone);
    free(k.files);
    return rc;
}

/* Oldest first, so that a lake read for the first time grows in the order it was written. */
static enum bl_rc new_files(struct refresh *r, enum ev_type type, const struct catalog_file ***out, size_t *count,
                            struct bl_error *err) {
    struct known k = {0};
    BL_TRY(store_files(r->store, (int)type, &k.files, &k.count, err));
    size_t all = session_files(r->q, type, INT64_MIN, INT64_MAX, out), kept = 0;
    for (size_t i = 0; i < all; i++)
        if (!find_known(&k, (*out)[i]->id)) (*out)[kept++] = (*out)[i];
    for (size_t i = 0; i < kept / 2; i++) {
        const struct catalog_file *swap = (*out)[i];
        (*out)[i] = (*out)[kept - 1 - i];
        (*out)[kept - 1 - i] = swap;
    }
    r->stats->files_known += all - kept;
    *count = kept;
    free(k.files);
    return BL_OK;
}

static enum bl_rc in_transaction(struct refresh *r, enum ev_type type, const struct catalog_file *const *files,
                                 size_t count, struct bl_error *err) {
    BL_TRY(refresh_check(r, err));
    watchdog_extend(r->q->watchdog, r->q->deadline_us);
    BL_TRY(store_begin(r->store, err));
    enum bl_rc rc = count ? read_batch(r, type, files, count, err) : settle_gone(r, type, err);
    if (rc == BL_OK) rc = store_commit(r->store, err);
    if (rc != BL_OK) store_rollback(r->store);
    return rc;
}

enum bl_rc cubes_feed(struct refresh *r, struct bl_error *err) {
    enum { ROWS_AT_ONCE = 1500000, FILES_AT_ONCE = 512 };
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        enum ev_type type = (enum ev_type)t;
        if (type == EV_others) continue;
        BL_TRY(in_transaction(r, type, NULL, 0, err));
        BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
        size_t count;
        BL_TRY(new_files(r, type, &files, &count, err));
        for (size_t at = 0, end; at < count; at = end) {
            int64_t rows = 0;
            for (end = at; end < count && end - at < FILES_AT_ONCE && rows < ROWS_AT_ONCE;) rows += files[end++]->rows;
            BL_TRY(in_transaction(r, type, files + at, end - at, err));
        }
    }
    return BL_OK;
}

/* Only what became old since the last time is looked at. */
enum bl_rc cubes_prune(struct refresh *r, struct bl_error *err) {
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++) {
        int64_t now = ages[i].hourly ? r->now_hour : r->now_day, from, to = now - ages[i].settled + 1;
        char fact[32];
        BL_TRY(store_forget(r->store, (int)ages[i].cube, INT64_MIN, now - ages[i].keep, INT64_MAX, err));
        if (!ages[i].below) continue;
        BL_TRY(store_get(r->store, pruned_fact(ages[i].cube, fact), INT64_MIN, &from, err));
        if (from >= to) continue;
        BL_TRY(store_forget(r->store, (int)ages[i].cube, from, to, ages[i].below, err));
        BL_TRY(store_set(r->store, fact, to, err));
    }
    return BL_OK;
}
