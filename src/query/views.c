/* The table of views, and their answers. */
#include "query/views.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/near.h"
#include "query/views_priv.h"

#define TEXT(name)                                                                                                     \
    { name, QUERY_TEXT }
#define NUMBER(name)                                                                                                   \
    { name, QUERY_NUMBER }
#define COLUMNS(...)                                                                                                   \
    (const struct query_column[]){__VA_ARGS__},                                                                        \
        sizeof((const struct query_column[]){__VA_ARGS__}) / sizeof(struct query_column)
#define PERSON TEXT("did"), TEXT("handle"), TEXT("display_name")
#define POST TEXT("uri"), PERSON, TEXT("text"), TEXT("posted_at")

#define HOUR_TEXT(p) "strftime('%Y-%m-%dT%H:00:00Z', " p " * 3600, 'unixepoch')"
#define DAY_TEXT(p) "date(" p " * 86400, 'unixepoch')"
#define VOLUME(key) "ifnull((SELECT n FROM counts WHERE cube = 1 AND period = p AND key = '" key "'), 0)"
/* Days (d, and the sum of one kind of volume) of the last 30. */
#define LAST_DAYS "days(d) AS (SELECT ?2 - 29 UNION ALL SELECT d + 1 FROM days WHERE d < ?2)"
#define OF_DAY(key)                                                                                                    \
    "ifnull((SELECT sum(n) FROM counts WHERE cube = 1 AND period >= d * 24 AND period < d * 24 + 24 AND key = '" key   \
    "'), 0)"
/* The best of a day cube over `span` days; more than are shown, since hidden ones fall out. */
#define AUTHORS(span)                                                                                                  \
    "SELECT '', sum(n) AS total, key FROM counts WHERE cube = 2 AND period > ?2 - " span " AND period <= ?2 "          \
    "GROUP BY key ORDER BY total DESC, key LIMIT 200"
#define TAGS(span)                                                                                                     \
    "WITH latest AS (SELECT key, sum(n) AS posts FROM counts WHERE cube = 3 AND period > ?1 - " span                   \
    " AND period <= ?1 GROUP BY key), before AS (SELECT key, sum(n) AS posts FROM counts WHERE cube = 3 AND "          \
    "period > ?1 - 2 * " span " AND period <= ?1 - " span " GROUP BY key) "                                            \
    "SELECT rank() OVER (ORDER BY latest.posts DESC), key, latest.posts, ifnull(before.posts, 0), "                    \
    "CASE WHEN before.posts > 0 THEN round(100.0 * (latest.posts - before.posts) / before.posts, 1) END "              \
    "FROM latest LEFT JOIN before USING (key) ORDER BY latest.posts DESC, key LIMIT 50"
#define LIKED(name, span)                                                                                              \
    "SELECT * FROM (SELECT '" name "', sum(CASE cube WHEN 7 THEN n ELSE -n END) AS likes, key FROM counts "            \
    "WHERE cube IN (7, 8) AND period > ?2 - " span " AND period <= ?2 GROUP BY key HAVING likes > 0 "                  \
    "ORDER BY likes DESC, key LIMIT 200)"
#define SHARES(cube)                                                                                                   \
    "SELECT rank() OVER (ORDER BY sum(n) DESC), key, sum(n) AS posts, round(100.0 * sum(n) / (SELECT sum(n) FROM "     \
    "counts "                                                                                                          \
    "WHERE cube = 1 AND key = 'posts' AND period > ?2 * 24 - 145 AND period < ?2 * 24 + 24), 2) FROM counts "          \
    "WHERE cube = " cube " AND period > ?2 - 7 AND period <= ?2 GROUP BY key ORDER BY posts DESC, key LIMIT 50"

const struct view views_table[] = {
    {"posts_by_hour_24h", "Posts by hour, last 24 hours",
     "Events witnessed in each of the 24 clock hours (UTC) that end with the hour of the newest event.", true,
     NAMES_NONE, false,
     "WITH RECURSIVE hours(p) AS (SELECT ?1 - 23 UNION ALL SELECT p + 1 FROM hours WHERE p < ?1) "
     "SELECT " HOUR_TEXT("p") ", " VOLUME("posts") ", " VOLUME("replies") ", " VOLUME("likes") ", " VOLUME(
         "reposts") " FROM hours ORDER BY p",
     COLUMNS(TEXT("hour"), NUMBER("posts"), NUMBER("replies"), NUMBER("likes"), NUMBER("reposts"))},
    {"posts_weekly", "Posts by week",
     "Posts created in each week from Monday to Sunday (UTC), the days of it that have any, and the change against the "
     "week listed before, in per cent.",
     false, NAMES_NONE, false,
     "SELECT " DAY_TEXT("(w * 7 - 3)") ", posts, days, CASE WHEN lag(posts) OVER (ORDER BY w) > 0 THEN "
                                       "round(100.0 * (posts - lag(posts) OVER (ORDER BY w)) / lag(posts) OVER (ORDER "
                                       "BY w), 1) END FROM "
                                       "(SELECT (period / 24 + 3) / 7 AS w, sum(n) AS posts, count(DISTINCT period / "
                                       "24) AS days FROM counts WHERE cube = 1 AND key = 'posts' "
                                       "GROUP BY 1) ORDER BY w",
     COLUMNS(TEXT("week"), NUMBER("posts"), NUMBER("days"), NUMBER("change_percent"))},
    {"posts_monthly", "Posts by month",
     "Posts created in each calendar month (UTC), the days of it that have any, and posts per such day.", false,
     NAMES_NONE, false,
     "SELECT strftime('%Y-%m', period * 3600, 'unixepoch') AS m, sum(n), count(DISTINCT period / 24), "
     "round(1.0 * sum(n) / count(DISTINCT period / 24), 1) FROM counts WHERE cube = 1 AND key = 'posts' GROUP BY m "
     "ORDER BY m",
     COLUMNS(TEXT("month"), NUMBER("posts"), NUMBER("days"), NUMBER("posts_per_day"))},
    {"peak_hours", "Peak hours by weekday",
     "Posts created in each hour of each weekday (UTC, Monday is 1) over the 28 days that end with the newest event's, "
     "and their mean over the days of "
     "that name that have posts.",
     false, NAMES_NONE, false,
     "WITH RECURSIVE slots(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM slots WHERE i < 167), "
     "found AS (SELECT (period / 24 + 3) % 7 * 24 + period % 24 AS i, sum(n) AS posts FROM counts WHERE cube = 1 AND "
     "key = 'posts' "
     "AND period >= (?2 - 27) * 24 AND period < (?2 + 1) * 24 GROUP BY 1), "
     "named AS (SELECT (period / 24 + 3) % 7 AS weekday, count(DISTINCT period / 24) AS days FROM counts WHERE cube = "
     "1 AND key = 'posts' "
     "AND period >= (?2 - 27) * 24 AND period < (?2 + 1) * 24 GROUP BY 1) "
     "SELECT i / 24 + 1, substr('MonTueWedThuFriSatSun', i / 24 * 3 + 1, 3), i % 24, ifnull(posts, 0), "
     "round(1.0 * ifnull(posts, 0) / max(ifnull(days, 1), 1), 1) FROM slots LEFT JOIN found USING (i) LEFT JOIN named "
     "ON weekday = i / 24 ORDER BY i",
     COLUMNS(NUMBER("weekday"), TEXT("day"), NUMBER("hour"), NUMBER("posts"), NUMBER("posts_per_day"))},
    {"most_active_daily", "Most active accounts, day",
     "Accounts by posts created on the newest event's day (UTC). Equal counts share a rank. Accounts that are not "
     "active are left out.",
     true, NAMES_AUTHORS, false, AUTHORS("1"), COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {"most_active_weekly", "Most active accounts, week",
     "The same over the 7 days (UTC) that end with the newest event's.", false, NAMES_AUTHORS, false, AUTHORS("7"),
     COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {"most_active_monthly", "Most active accounts, month",
     "The same over the 30 days (UTC) that end with the newest event's.", false, NAMES_AUTHORS, false, AUTHORS("30"),
     COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {"engagement_rates", "Posts per account",
     "For each of the last 30 days (UTC) with posts: posts created, accounts that created any, posts per such account, "
     "the most by one account, and the "
     "share of accounts with a single post, in per cent.",
     false, NAMES_NONE, false,
     "SELECT " DAY_TEXT(
         "period") ", sum(n), count(*), round(1.0 * sum(n) / count(*), 3), max(n), round(100.0 * sum(n = 1) / "
                   "count(*), 1) "
                   "FROM counts WHERE cube = 2 AND period > ?2 - 30 AND period <= ?2 GROUP BY period ORDER BY period",
     COLUMNS(TEXT("day"), NUMBER("posts"), NUMBER("authors"), NUMBER("posts_per_author"), NUMBER("most_by_one"),
             NUMBER("single_post_percent"))},
    {"trending_hashtags_hourly", "Trending hashtags, hour",
     "Tags by the number of posts that carry them, in the newest event's clock hour and the one before; beside it the "
     "same of the two hours before these. "
     "Capitals do not count; a post counts once for a tag.",
     true, NAMES_NONE, false, TAGS("2"),
     COLUMNS(NUMBER("rank"), TEXT("tag"), NUMBER("posts"), NUMBER("posts_before"), NUMBER("change_percent"))},
    {"trending_hashtags_daily", "Trending hashtags, day", "The same over the last 24 clock hours, and the 24 before.",
     true, NAMES_NONE, false, TAGS("24"),
     COLUMNS(NUMBER("rank"), TEXT("tag"), NUMBER("posts"), NUMBER("posts_before"), NUMBER("change_percent"))},
    {"trending_hashtags_weekly", "Trending hashtags, week",
     "The same over the last 168 clock hours, and the 168 before.", false, NAMES_NONE, false, TAGS("168"),
     COLUMNS(NUMBER("rank"), TEXT("tag"), NUMBER("posts"), NUMBER("posts_before"), NUMBER("change_percent"))},
    {"most_liked", "Most liked posts",
     "Posts by likes given less likes taken back, on the newest event's day and over the 7 and 30 days (UTC) that end "
     "with it. A like taken back is "
     "recognised up to 8 days after it was given; of days that ended, posts with fewer than 3 likes on them are not "
     "remembered. Deleted posts and those of "
     "hidden accounts are left out.",
     true, NAMES_POSTS, true, LIKED("day", "1") " UNION ALL " LIKED("week", "7") " UNION ALL " LIKED("month", "30"),
     COLUMNS(TEXT("period"), NUMBER("rank"), NUMBER("likes"), POST)},
    {"post_length", "Lengths of posts",
     "Posts created on each of the last 30 days (UTC) by their length in characters (Unicode code points).", false,
     NAMES_NONE, false,
     "SELECT " DAY_TEXT("period") ", CAST(key AS INTEGER), CASE WHEN key < 300 THEN key + 49 END, n, "
                                  "round(100.0 * n / sum(n) OVER (PARTITION BY period), 2) FROM (SELECT period, "
                                  "CAST(key AS INTEGER) AS key, n FROM counts "
                                  "WHERE cube = 6 AND period > ?2 - 30 AND period <= ?2) ORDER BY period, key",
     COLUMNS(TEXT("day"), NUMBER("from_characters"), NUMBER("to_characters"), NUMBER("posts"), NUMBER("percent"))},
    {"like_to_post_ratio", "Likes per post",
     "For each of the last 30 days (UTC): likes given less likes taken back on that day, posts created on it, and the "
     "one divided by the other.",
     false, NAMES_NONE, false,
     "WITH RECURSIVE " LAST_DAYS ", sums AS (SELECT d, " OF_DAY("likes") " - " OF_DAY("unlikes") " AS likes, " OF_DAY(
         "posts") " AS posts FROM days) "
                  "SELECT " DAY_TEXT("d") ", likes, posts, CASE WHEN posts > 0 THEN round(1.0 * likes / posts, 3) END "
                                          "FROM sums WHERE likes <> 0 OR posts > 0 ORDER BY d",
     COLUMNS(TEXT("day"), NUMBER("likes"), NUMBER("posts"), NUMBER("likes_per_post"))},
    {"engagement_velocity", "Likes by the age of the post",
     "Likes of the last 7 days (UTC) by full hours between the making of the post, as its record key tells it, and the "
     "like; likes of posts older than "
     "24 hours are not counted. Beside it the share in per cent and likes per 1,000 posts created in these days.",
     false, NAMES_NONE, false,
     "WITH RECURSIVE ages(a) AS (SELECT 0 UNION ALL SELECT a + 1 FROM ages WHERE a < 23), "
     "found AS (SELECT CAST(key AS INTEGER) AS a, sum(n) AS likes FROM counts WHERE cube = 10 AND period > ?2 - 7 AND "
     "period <= ?2 GROUP BY 1), "
     "posts AS (SELECT sum(n) AS n FROM counts WHERE cube = 1 AND key = 'posts' AND period > ?2 * 24 - 145 AND period "
     "< ?2 * 24 + 24) "
     "SELECT a, ifnull(likes, 0), round(100.0 * ifnull(likes, 0) / (SELECT sum(likes) FROM found), 2), "
     "round(1000.0 * ifnull(likes, 0) / (SELECT n FROM posts), 2) FROM ages LEFT JOIN found USING (a) ORDER BY a",
     COLUMNS(NUMBER("hours_after"), NUMBER("likes"), NUMBER("percent"), NUMBER("likes_per_1000_posts"))},
    {"viral", "Going viral",
     "Posts that in one clock hour of the last 24 were liked at least 20 times, and at least three times as often as "
     "in the hour before (fewer than 5 "
     "likes in an hour that ended count as none); by the likes of their best such hour. Likes taken back are not "
     "subtracted.",
     true, NAMES_POSTS, false,
     "SELECT '', n, " HOUR_TEXT("period") ", before, key FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY "
                                          "n DESC, period) AS nth FROM "
                                          "(SELECT c.period, c.key, c.n, ifnull(b.n, 0) AS before FROM counts c LEFT "
                                          "JOIN counts b ON b.cube = 9 AND b.period = c.period - 1 AND b.key = c.key "
                                          "WHERE c.cube = 9 AND c.period > ?1 - 24 AND c.period <= ?1 AND c.n >= 20) "
                                          "WHERE n >= 3 * before) WHERE nth = 1 ORDER BY n DESC, key LIMIT 200",
     COLUMNS(NUMBER("rank"), NUMBER("likes"), TEXT("hour"), NUMBER("likes_hour_before"), POST)},
    {"network_growth", "Growth of the network",
     "For each of the last 30 days (UTC): follows made, follows taken back, the difference, and blocks made.", false,
     NAMES_NONE, false,
     "WITH RECURSIVE " LAST_DAYS
     ", sums AS (SELECT d, " OF_DAY("follows") " AS made, " OF_DAY("unfollows") " AS undone, " OF_DAY(
         "blocks") " AS blocks FROM days) "
                   "SELECT " DAY_TEXT("d") ", made, undone, made - undone, blocks FROM sums WHERE made + undone + "
                                           "blocks > 0 ORDER BY d",
     COLUMNS(TEXT("day"), NUMBER("follows"), NUMBER("unfollows"), NUMBER("net_follows"), NUMBER("blocks"))},
    {"languages", "Languages",
     "Posts created in the last 7 days (UTC) by the languages their authors' clients claim, without region (en-GB is "
     "en; \"none\": no claim), and their "
     "share of all posts in per cent. A post with two languages counts for both.",
     false, NAMES_NONE, false, SHARES("4"),
     COLUMNS(NUMBER("rank"), TEXT("language"), NUMBER("posts"), NUMBER("percent"))},
    {"link_domains", "Linked domains",
     "Posts created in the last 7 days (UTC) by the hosts they link to, without a leading www., and their share of all "
     "posts in per cent. A post counts once "
     "for a host.",
     false, NAMES_NONE, false, SHARES("5"),
     COLUMNS(NUMBER("rank"), TEXT("domain"), NUMBER("posts"), NUMBER("percent"))},
};
const size_t views_table_count = sizeof views_table / sizeof views_table[0];

/* --- Answers --- */

struct views {
    char *dir;
    struct catalog *catalog;
    struct views_store *store; /* NULL until there is one */
};

enum bl_rc views_open(const char *lake_dir, struct views **out, struct bl_error *err) {
    struct views *v = bl_xcalloc(1, sizeof *v);
    v->dir = bl_xstrdup(lake_dir);
    enum bl_rc rc = catalog_open(lake_dir, CATALOG_READ, &v->catalog, err);
    if (rc == BL_OK)
        *out = v;
    else
        views_close(&v);
    return rc;
}

void views_close(struct views **views) {
    struct views *v = *views;
    if (!v) return;
    catalog_close(&v->catalog);
    store_close(&v->store);
    free(v->dir);
    free(v);
    *views = NULL;
}

static enum bl_rc stored_answer(struct views *v, const char *name, bool with_cells, struct store_answer *answer,
                                bool *found, struct bl_error *err) {
    *found = false;
    if (!v->store) BL_TRY(store_open(v->dir, STORE_READ, &v->store, err));
    return v->store ? store_answer(v->store, name, with_cells, answer, found, err) : BL_OK;
}

/* An answer that knows all there is in the lake is not stale, however old it is. */
static enum bl_rc describe(struct views *v, const struct view *view, const struct store_answer *answer, bool found,
                           struct view_info *out, struct bl_error *err) {
    *out = (struct view_info){.name = view->name,
                              .title = view->title,
                              .definition = view->definition,
                              .cadence = view->hourly ? "hourly" : "daily",
                              .columns = view->columns,
                              .column_count = view->column_count,
                              .stale_us = -1};
    if (!found) return BL_OK;
    struct catalog_totals totals;
    BL_TRY(catalog_totals(v->catalog, &totals, err));
    out->refreshed_us = answer->refreshed_us;
    out->as_of_us = answer->as_of_us;
    out->snapshot = answer->snapshot;
    out->rows = answer->rows;
    int64_t age_us = bl_wall_us() - answer->refreshed_us;
    out->stale_us = totals.snapshot == answer->snapshot || age_us < 0 ? 0 : age_us;
    return BL_OK;
}

enum bl_rc views_info(struct views *v, size_t i, struct view_info *out, bool *exists, struct bl_error *err) {
    *exists = i < views_table_count;
    if (!*exists) return BL_OK;
    struct store_answer answer = {0};
    bool found;
    BL_TRY(stored_answer(v, views_table[i].name, false, &answer, &found, err));
    return describe(v, &views_table[i], &answer, found, out, err);
}

static const char *name_at(size_t i, const void *context) {
    (void)context;
    return i < views_table_count ? views_table[i].name : NULL;
}

static enum bl_rc find_view(const char *name, const struct view **out, struct bl_error *err) {
    for (size_t i = 0; i < views_table_count; i++)
        if (strcmp(views_table[i].name, name) == 0) {
            *out = &views_table[i];
            return BL_OK;
        }
    const char *near = bl_nearest(bl_str(name), name_at, NULL);
    if (near) return bl_fail(err, BL_E_NOT_FOUND, "there is no view \"%s\": did you mean \"%s\"?", name, near);
    return bl_fail(err, BL_E_NOT_FOUND, "there is no view \"%s\"", name);
}

static enum bl_rc give_rows(const struct view *view, const struct store_answer *answer, const struct query_sink *sink,
                            struct bl_error *err) {
    enum { COLUMNS_MAX = 16 };
    struct bl_str cells[COLUMNS_MAX], rest = bl_buf_view(&answer->cells);
    BL_ASSERT(view->column_count <= COLUMNS_MAX);
    BL_TRY(sink->columns(sink->context, view->columns, view->column_count, err));
    for (int64_t i = 0; i < answer->rows; i++) {
        for (size_t c = 0; c < view->column_count; c++) cells[c] = store_take_cell(&rest);
        BL_TRY(sink->row(sink->context, cells, view->column_count, err));
    }
    return BL_OK;
}

enum bl_rc views_answer(struct views *v, const char *name, const struct query_sink *sink, struct view_info *info,
                        struct bl_error *err) {
    const struct view *view = NULL;
    struct store_answer answer = {0};
    bool found;
    BL_TRY(find_view(name, &view, err));
    BL_TRY(stored_answer(v, name, true, &answer, &found, err));
    if (!found)
        return bl_fail(err, BL_E_NOT_FOUND, "the view \"%s\" was never computed: run `bluelake views --refresh`", name);
    struct view_info ignored;
    enum bl_rc rc = describe(v, view, &answer, true, info ? info : &ignored, err);
    if (rc == BL_OK) rc = give_rows(view, &answer, sink, err);
    bl_buf_release(&answer.cells);
    return rc;
}
