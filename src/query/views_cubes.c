/* The table of cubes, and how new files are read into them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "event/syntax.h"
#include "query/views_priv.h"

/* SELECT period, key, sum(n) FROM (SELECT source FROM files WHERE only) GROUP BY period, key. A key that is null is not
 * counted. */
struct rule {
    enum cube cube;
    enum ev_type type;
    int64_t period_us;
    const char *source, *only, *key, *n;
};

/* The key of a volume is a word in quotes: several types share the cube, and each forgets its own. */
#define VOLUME(type, only, word)                                                                                       \
    { CUBE_VOLUME, EV_##type, HOUR_US, "time_us", only, "'" word "'", "count(*)" }
#define MADE_AND_UNDONE(type, made, undone) VOLUME(type, CREATED, made), VOLUME(type, "operation = 'delete'", undone)

static const struct rule rules[] = {
    MADE_AND_UNDONE(posts, "posts", "post_deletes"),
    VOLUME(posts, CREATED " AND reply_parent_uri IS NOT NULL", "replies"),
    VOLUME(posts, CREATED " AND quote_uri IS NOT NULL", "quotes"),
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
    {CUBE_RISING, EV_likes, HOUR_US, "time_us, subject_uri", LIKED_POST, POST_KEY, "count(*)"},
    MADE_AND_UNDONE(reposts, "reposts", "unreposts"),
    MADE_AND_UNDONE(follows, "follows", "unfollows"),
    MADE_AND_UNDONE(blocks, "blocks", "unblocks"),
};
enum { RULES = sizeof rules / sizeof rules[0] };

/* The cube of days that counts the same as a cube of hours; 0: none. */
static enum cube days_of(enum cube cube) {
    return cube == CUBE_RISING ? CUBE_LIKED : (enum cube)0;
}

/* How long each cube is remembered, in its own periods (0: for ever), and which small counts are given up once their
 * period is `settled` periods old: without that the store would hold every post that was ever liked once. */
static const struct {
    enum cube cube;
    bool hourly;
    int64_t keep, settled, below;
} ages[] = {{CUBE_AUTHORS, false, 32, 0, 0}, {CUBE_TAGS, true, 24 * 15, 0, 0}, {CUBE_LANGS, false, 32, 0, 0},
            {CUBE_DOMAINS, false, 32, 0, 0}, {CUBE_LENGTHS, false, 32, 0, 0},  {CUBE_LIKED, false, 32, 2, 3},
            {CUBE_UNLIKED, false, 32, 0, 0}, {CUBE_RISING, true, 26, 2, 5},    {CUBE_AGES, false, 32, 0, 0}};

int64_t cubes_kept_from_us(const struct refresh *r, enum cube cube) {
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++)
        if (ages[i].cube == cube && ages[i].keep)
            return ages[i].hourly ? (r->now_hour - ages[i].keep) * HOUR_US : (r->now_day - ages[i].keep) * DAY_US;
    return INT64_MIN;
}

/* --- Reading files --- */

/* What one statement reads: its groups have to fit into the memory of the session, so a large file is read in pieces
 * of its time. */
struct slice {
    const struct catalog_file *const *files;
    size_t count;
    int64_t from_us, to_us;
};
enum { SLICE_ROWS = 250000, SLICE_FILES = 512 };

typedef enum bl_rc (*take_fn)(struct refresh *r, const void *context, const struct duck_result *found, size_t row,
                              struct bl_error *err);

static enum bl_rc take_rows(struct refresh *r, const char *sql, take_fn take, const void *context,
                            struct bl_error *err) {
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    BL_TRY(duck_query(r->q->duck, sql, NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return BL_OK;
        BL_TRY(refresh_check(r, err));
        for (size_t i = 0; i < rows; i++) BL_TRY(take(r, context, found, i, err));
    }
}

static enum bl_rc take_count(struct refresh *r, const void *context, const struct duck_result *found, size_t row,
                             struct bl_error *err) {
    const enum cube *cube = context;
    return store_count(r->store, (int)*cube, duck_i64(found, 0, row), duck_text(found, 1, row), duck_i64(found, 2, row),
                       err);
}

enum bl_rc cubes_take(struct refresh *r, enum cube cube, const char *sql, struct bl_error *err) {
    return take_rows(r, sql, take_count, &cube, err);
}

static enum bl_rc take_hour(struct refresh *r, const void *context, const struct duck_result *found, size_t row,
                            struct bl_error *err) {
    const struct rule *rule = context;
    int64_t hour = duck_i64(found, 0, row), n = duck_i64(found, 2, row);
    struct bl_str key = duck_text(found, 1, row);
    if (hour * HOUR_US >= cubes_kept_from_us(r, rule->cube))
        BL_TRY(store_count(r->store, (int)rule->cube, hour, key, n, err));
    return store_count(r->store, (int)days_of(rule->cube), hour / 24, key, n, err);
}

static void add_slice(const struct refresh *r, struct bl_buf *sql, const struct slice *s) {
    session_add_files(r->q, sql, s->files, s->count, false);
    bl_buf_printf(sql, " WHERE time_us BETWEEN %" PRId64 " AND %" PRId64, s->from_us, s->to_us);
}

static enum bl_rc apply_rule(struct refresh *r, const struct rule *rule, const struct slice *s, struct bl_error *err) {
    enum cube days = days_of(rule->cube);
    int64_t from_us = cubes_kept_from_us(r, days ? days : rule->cube);
    if (s->to_us < from_us) return BL_OK;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql,
                  "SELECT period, key, n FROM (SELECT time_us // %" PRId64
                  " AS period, %s AS key, %s AS n FROM (SELECT %s FROM ",
                  rule->period_us, rule->key, rule->n, rule->source);
    add_slice(r, &sql, s);
    bl_buf_printf(&sql, " AND %s AND time_us >= %" PRId64 ") GROUP BY 1, 2) WHERE key IS NOT NULL ORDER BY 1, 2",
                  rule->only, from_us);
    BL_TRY(bl_buf_check(&sql, "reading files for the views", err));
    if (days) return take_rows(r, bl_buf_cstr(&sql), take_hour, rule, err);
    return cubes_take(r, rule->cube, bl_buf_cstr(&sql), err);
}

/* How old posts are when they are liked: hours from the time in the post's key. */
struct ages {
    int64_t day, likes[24];
};

static enum bl_rc give_ages(struct refresh *r, const struct ages *a, struct bl_error *err) {
    for (int age = 0; age < 24; age++) {
        char key[8];
        snprintf(key, sizeof key, "%d", age);
        if (a->likes[age]) BL_TRY(store_count(r->store, CUBE_AGES, a->day, bl_str(key), a->likes[age], err));
    }
    return BL_OK;
}

/* One row: the time of a like and the end of the post's address, "/" and a record key of 13 characters. */
static void take_age(struct ages *a, const struct duck_result *found, size_t row) {
    struct bl_str end = duck_text(found, 1, row);
    struct bl_str rkey = bl_str_skip(end, end.n ? 1 : 0);
    if (!end.n || end.p[0] != '/' || !at_is_tid(rkey)) return;
    int64_t us = duck_i64(found, 0, row) - at_tid_us(rkey);
    if (us >= 0 && us < DAY_US) a->likes[us / HOUR_US]++;
}

static enum bl_rc count_ages(struct refresh *r, const struct slice *s, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    BL_CLEANUP(duck_result_close) struct duck_result *found = NULL;
    struct ages a = {0};
    bl_buf_z(&sql, "SELECT time_us, right(subject_uri, 14) FROM ");
    add_slice(r, &sql, s);
    bl_buf_printf(&sql, " AND " LIKED_POST " AND time_us >= %" PRId64, cubes_kept_from_us(r, CUBE_AGES));
    BL_TRY(bl_buf_check(&sql, "reading files for the views", err));
    BL_TRY(duck_query(r->q->duck, bl_buf_cstr(&sql), NULL, 0, &found, err));
    for (size_t rows;;) {
        BL_TRY(duck_next(found, &rows, err));
        if (rows == 0) return give_ages(r, &a, err);
        for (size_t i = 0; i < rows; i++) {
            int64_t day = duck_i64(found, 0, i) / DAY_US;
            if (day != a.day) {
                BL_TRY(give_ages(r, &a, err));
                a = (struct ages){.day = day};
            }
            take_age(&a, found, i);
        }
    }
}

static enum bl_rc note_accounts(struct refresh *r, const struct slice *s, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, handle, active, status, time_us, seq FROM ");
    add_slice(r, &sql, s);
    bl_buf_z(&sql, " AND (handle IS NOT NULL OR active IS NOT NULL) ORDER BY did, time_us, seq");
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

static enum bl_rc note_profiles(struct refresh *r, const struct slice *s, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, display_name, description, operation = 'delete', time_us, rev FROM ");
    add_slice(r, &sql, s);
    bl_buf_z(&sql, " AND rkey = 'self' ORDER BY did, time_us, rev");
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

static enum bl_rc read_slice(struct refresh *r, enum ev_type type, const struct slice *s, struct bl_error *err) {
    BL_TRY(refresh_check(r, err));
    watchdog_extend(r->q->watchdog, r->q->deadline_us);
    for (size_t i = 0; i < RULES; i++)
        if (rules[i].type == type) BL_TRY(apply_rule(r, &rules[i], s, err));
    if (type == EV_likes) BL_TRY(count_ages(r, s, err));
    if (type == EV_accounts) BL_TRY(note_accounts(r, s, err));
    return type == EV_profiles ? note_profiles(r, s, err) : BL_OK;
}

/* A like that comes long after its delete was looked for: that has to be done again. */
static enum bl_rc look_for_late_likes(struct refresh *r, const struct catalog_file *f, struct bl_error *err) {
    static const int64_t patience_us = 60000000; /* hosts' clocks differ, and a reconnect repeats some seconds */
    int64_t subtracted_us;
    BL_TRY(store_get(r->store, SUBTRACTED_UP_TO, INT64_MIN, &subtracted_us, err));
    if (subtracted_us == INT64_MIN || f->min_us >= subtracted_us - patience_us) return BL_OK;
    return undone_again(r, f->hour_us / DAY_US, err);
}

static enum bl_rc read_batch(struct refresh *r, enum ev_type type, const struct catalog_file *const *files,
                             size_t count, struct bl_error *err) {
    struct slice s = {files, count, INT64_MAX, INT64_MIN};
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        if (files[i]->min_us < s.from_us) s.from_us = files[i]->min_us;
        if (files[i]->max_us > s.to_us) s.to_us = files[i]->max_us;
        rows += files[i]->rows;
    }
    int64_t pieces = (rows + SLICE_ROWS - 1) / SLICE_ROWS, last_us = s.to_us,
            step_us = (s.to_us - s.from_us) / pieces + 1;
    for (; s.from_us <= last_us; s.from_us += step_us) {
        s.to_us = last_us - s.from_us < step_us ? last_us : s.from_us + step_us - 1;
        BL_TRY(read_slice(r, type, &s, err));
    }
    for (size_t i = 0; i < count; i++) {
        struct store_file known = {files[i]->id, files[i]->hour_us, files[i]->rows, (int)type, false};
        if (type == EV_likes) BL_TRY(look_for_late_likes(r, files[i], err));
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

static enum bl_rc forget_day(struct refresh *r, enum cube cube, int64_t periods, int64_t day, struct bl_error *err) {
    BL_TRY(store_forget(r->store, (int)cube, day * periods, (day + 1) * periods, INT64_MAX, err));
    return prune_again_from(r, cube, day * periods, err);
}

static enum bl_rc forget_volume(struct refresh *r, const struct rule *rule, int64_t day, struct bl_error *err) {
    struct bl_str word = bl_strn(rule->key + 1, strlen(rule->key) - 2);
    return store_forget_key(r->store, (int)rule->cube, day * 24, (day + 1) * 24, word, err);
}

/* Compaction replaces the files of an hour by others with the same rows: those count as known, unread. Anything else
 * that makes a known file disappear (a purge; compaction of files not read yet) means counting that day again. */
static enum bl_rc recount_day(struct refresh *r, enum ev_type type, int64_t day, struct known *k,
                              struct bl_error *err) {
    for (size_t i = 0; i < RULES; i++) {
        if (rules[i].type != type) continue;
        if (rules[i].cube == CUBE_VOLUME) {
            BL_TRY(forget_volume(r, &rules[i], day, err));
            continue;
        }
        BL_TRY(forget_day(r, rules[i].cube, DAY_US / rules[i].period_us, day, err));
        if (days_of(rules[i].cube)) BL_TRY(forget_day(r, days_of(rules[i].cube), 1, day, err));
    }
    if (type == EV_likes) BL_TRY(forget_day(r, CUBE_AGES, 1, day, err));
    if (type == EV_likes) BL_TRY(undone_again(r, day, err));
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
    bool subtracted = true, some = false;
    for (size_t i = 0; i < k->count; i++) {
        if (!gone[i] || k->files[i].hour_us != hour_us) continue;
        gone_rows += k->files[i].rows;
        subtracted &= k->files[i].subtracted;
        some |= k->files[i].subtracted;
    }
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].hour_us == hour_us && list->files[i].compacted && !find_known(k, list->files[i].id))
            new_rows += list->files[i].rows;
    if (gone_rows != new_rows) return recount_day(r, type, hour_us / DAY_US, k, err);
    if (type == EV_likes && some && !subtracted) BL_TRY(undone_again(r, hour_us / DAY_US, err));
    for (size_t i = 0; i < list->count; i++) {
        const struct catalog_file *f = &list->files[i];
        if (f->hour_us != hour_us || !f->compacted || find_known(k, f->id)) continue;
        struct store_file same = {f->id, f->hour_us, f->rows, (int)type, subtracted};
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

/* As many as one statement may read; a file that is larger than that goes alone. */
static size_t batch_end(const struct catalog_file *const *files, size_t at, size_t count) {
    size_t end = at;
    for (int64_t rows = 0; end < count && end - at < SLICE_FILES; end++) {
        rows += files[end]->rows;
        if (end > at && rows > SLICE_ROWS) break;
    }
    return end;
}

enum bl_rc cubes_feed(struct refresh *r, struct bl_error *err) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        enum ev_type type = (enum ev_type)t;
        if (type == EV_others) continue;
        BL_TRY(in_transaction(r, type, NULL, 0, err));
        BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
        size_t count;
        BL_TRY(new_files(r, type, &files, &count, err));
        for (size_t at = 0, end; at < count; at = end) {
            end = batch_end(files, at, count);
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
