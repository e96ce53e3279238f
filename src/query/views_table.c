/* The table of views: what each says, and the statement over the store's counts that says it.
 *
 * ?1 is the hour and ?2 the day of the newest event, counted since 1970. The numbers of cubes are those of enum cube.
 */
#include "query/views_priv.h"

/* clang-format off: statements are laid out as statements */

#define TEXT(name) {name, QUERY_TEXT}
#define NUMBER(name) {name, QUERY_NUMBER}
#define PERSON TEXT("did"), TEXT("handle"), TEXT("display_name")
#define POST TEXT("uri"), PERSON, TEXT("text"), TEXT("posted_at")
#define COLUMNS(...)                                                                                                   \
    .columns = (const struct query_column[]){__VA_ARGS__},                                                             \
    .column_count = sizeof((const struct query_column[]){__VA_ARGS__}) / sizeof(struct query_column)

/* --- Pieces of statements --- */

#define HOUR_TEXT(p) "strftime('%Y-%m-%dT%H:00:00Z', " p " * 3600, 'unixepoch')"
#define DAY_TEXT(d) "date(" d " * 86400, 'unixepoch')"
#define HOURLY_POSTS "FROM counts WHERE cube = 1 AND key = 'posts' "
#define OF_HOUR(kind) "ifnull((SELECT n FROM counts WHERE cube = 1 AND period = p AND key = '" kind "'), 0)"
#define LAST_DAYS "days(d) AS (SELECT ?2 - 29 UNION ALL SELECT d + 1 FROM days WHERE d < ?2)"
#define OF_DAY(kind)                                                                                                   \
    "ifnull((SELECT sum(n) FROM counts WHERE cube = 1 AND period >= d * 24 AND period < d * 24 + 24 "                  \
    "AND key = '" kind "'), 0)"
#define POSTS_OF_7_DAYS "(SELECT sum(n) " HOURLY_POSTS "AND period > ?2 * 24 - 145 AND period < ?2 * 24 + 24)"
#define OF_28_DAYS "AND period >= (?2 - 27) * 24 AND period < (?2 + 1) * 24 "

/* More rows than are shown, since hidden ones fall out. */
#define AUTHORS(span)                                                                                                  \
    "SELECT '', sum(n) AS total, key FROM counts WHERE cube = 2 AND period > ?2 - " span " AND period <= ?2 "          \
    "GROUP BY key ORDER BY total DESC, key LIMIT 200"
#define LIKED(name, span)                                                                                              \
    "SELECT * FROM (SELECT '" name "', sum(CASE cube WHEN 7 THEN n ELSE -n END) AS likes, key FROM counts "            \
    "WHERE cube IN (7, 8) AND period > ?2 - " span " AND period <= ?2 "                                                \
    "GROUP BY key HAVING likes > 0 ORDER BY likes DESC, key LIMIT 200)"
#define TAGS(span)                                                                                                     \
    "WITH latest AS (SELECT key, sum(n) AS posts FROM counts "                                                         \
    "WHERE cube = 3 AND period > ?1 - " span " AND period <= ?1 GROUP BY key), "                                       \
    "before AS (SELECT key, sum(n) AS posts FROM counts "                                                              \
    "WHERE cube = 3 AND period > ?1 - 2 * " span " AND period <= ?1 - " span " GROUP BY key) "                         \
    "SELECT rank() OVER (ORDER BY latest.posts DESC), key, latest.posts, ifnull(before.posts, 0), "                    \
    "CASE WHEN before.posts > 0 THEN round(100.0 * (latest.posts - before.posts) / before.posts, 1) END "              \
    "FROM latest LEFT JOIN before USING (key) ORDER BY latest.posts DESC, key LIMIT 50"
#define SHARES(cube)                                                                                                   \
    "SELECT rank() OVER (ORDER BY sum(n) DESC), key, sum(n) AS posts, round(100.0 * sum(n) / " POSTS_OF_7_DAYS ", 2) " \
    "FROM counts WHERE cube = " cube " AND period > ?2 - 7 AND period <= ?2 "                                          \
    "GROUP BY key ORDER BY posts DESC, key LIMIT 50"

#define TAG_COLUMNS                                                                                                    \
    COLUMNS(NUMBER("rank"), TEXT("tag"), NUMBER("posts"), NUMBER("posts_before"), NUMBER("change_percent"))

const struct view views_table[] = {
    {.name = "posts_by_hour_24h",
     .title = "Posts by hour, last 24 hours",
     .definition = "Events witnessed in each of the 24 clock hours (UTC) that end with the hour of the newest event.",
     .hourly = true,
     .sql = "WITH RECURSIVE hours(p) AS (SELECT ?1 - 23 UNION ALL SELECT p + 1 FROM hours WHERE p < ?1) "
            "SELECT " HOUR_TEXT("p") ", " OF_HOUR("posts") ", " OF_HOUR("replies") ", " OF_HOUR("likes") ", " OF_HOUR(
                "reposts") " FROM hours ORDER BY p",
     COLUMNS(TEXT("hour"), NUMBER("posts"), NUMBER("replies"), NUMBER("likes"), NUMBER("reposts"))},
    {.name = "posts_weekly",
     .title = "Posts by week",
     .definition =
         "Posts created in each week from Monday to Sunday (UTC), the days of it that have any, and the change "
         "against the week listed before, in per cent.",
     .sql = "SELECT " DAY_TEXT(
         "(w * 7 - 3)") ", posts, days, CASE WHEN lag(posts) OVER (ORDER BY w) > 0 THEN "
                        "round(100.0 * (posts - lag(posts) OVER (ORDER BY w)) / lag(posts) OVER (ORDER BY w), 1) END "
                        "FROM (SELECT (period / 24 + 3) / 7 AS w, sum(n) AS posts, count(DISTINCT period / 24) AS "
                        "days " HOURLY_POSTS "GROUP BY 1) ORDER BY w",
     COLUMNS(TEXT("week"), NUMBER("posts"), NUMBER("days"), NUMBER("change_percent"))},
    {.name = "posts_monthly",
     .title = "Posts by month",
     .definition = "Posts created in each calendar month (UTC), the days of it that have any, and posts per such day.",
     .sql = "SELECT strftime('%Y-%m', period * 3600, 'unixepoch') AS m, sum(n), count(DISTINCT period / 24), "
            "round(1.0 * sum(n) / count(DISTINCT period / 24), 1) " HOURLY_POSTS "GROUP BY m ORDER BY m",
     COLUMNS(TEXT("month"), NUMBER("posts"), NUMBER("days"), NUMBER("posts_per_day"))},
    {.name = "peak_hours",
     .title = "Peak hours by weekday",
     .definition = "Posts created in each hour of each weekday (UTC, Monday is 1) over the 28 days that end with the "
                   "newest event's, and their mean over the days of that name that have posts.",
     .sql = "WITH RECURSIVE slots(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM slots WHERE i < 167), "
            "found AS (SELECT (period / 24 + 3) % 7 * 24 + period % 24 AS i, sum(n) AS posts " HOURLY_POSTS OF_28_DAYS
            "GROUP BY 1), "
            "named AS (SELECT (period / 24 + 3) % 7 AS weekday, count(DISTINCT period / 24) AS days " HOURLY_POSTS
                OF_28_DAYS "GROUP BY 1) "
            "SELECT i / 24 + 1, substr('MonTueWedThuFriSatSun', i / 24 * 3 + 1, 3), i % 24, ifnull(posts, 0), "
            "round(1.0 * ifnull(posts, 0) / max(ifnull(days, 1), 1), 1) "
            "FROM slots LEFT JOIN found USING (i) LEFT JOIN named ON weekday = i / 24 ORDER BY i",
     COLUMNS(NUMBER("weekday"), TEXT("day"), NUMBER("hour"), NUMBER("posts"), NUMBER("posts_per_day"))},
    {.name = "most_active_daily",
     .title = "Most active accounts, day",
     .definition =
         "Accounts by posts created on the newest event's day (UTC). Equal counts share a rank. Accounts that "
         "are not active are left out.",
     .hourly = true,
     .names = NAMES_AUTHORS,
     .sql = AUTHORS("1"),
     COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {.name = "most_active_weekly",
     .title = "Most active accounts, week",
     .definition = "The same over the 7 days (UTC) that end with the newest event's.",
     .names = NAMES_AUTHORS,
     .sql = AUTHORS("7"),
     COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {.name = "most_active_monthly",
     .title = "Most active accounts, month",
     .definition = "The same over the 30 days (UTC) that end with the newest event's.",
     .names = NAMES_AUTHORS,
     .sql = AUTHORS("30"),
     COLUMNS(NUMBER("rank"), NUMBER("posts"), PERSON)},
    {.name = "engagement_rates",
     .title = "Posts per account",
     .definition = "For each of the last 30 days (UTC) with posts: posts created, accounts that created any, posts per "
                   "such account, the most by one account, and the share of accounts with a single post, in per cent.",
     .sql = "SELECT " DAY_TEXT(
         "period") ", sum(n), count(*), round(1.0 * sum(n) / count(*), 3), max(n), "
                   "round(100.0 * sum(n = 1) / count(*), 1) "
                   "FROM counts WHERE cube = 2 AND period > ?2 - 30 AND period <= ?2 GROUP BY period ORDER BY period",
     COLUMNS(TEXT("day"), NUMBER("posts"), NUMBER("authors"), NUMBER("posts_per_author"), NUMBER("most_by_one"),
             NUMBER("single_post_percent"))},
    {.name = "trending_hashtags_hourly",
     .title = "Trending hashtags, hour",
     .definition =
         "Tags by the number of posts that carry them, in the newest event's clock hour and the one before; "
         "beside it the same of the two hours before these. Capitals do not count; a post counts once for a tag.",
     .hourly = true,
     .sql = TAGS("2"),
     TAG_COLUMNS},
    {.name = "trending_hashtags_daily",
     .title = "Trending hashtags, day",
     .definition = "The same over the last 24 clock hours, and the 24 before.",
     .hourly = true,
     .sql = TAGS("24"),
     TAG_COLUMNS},
    {.name = "trending_hashtags_weekly",
     .title = "Trending hashtags, week",
     .definition = "The same over the last 168 clock hours, and the 168 before.",
     .sql = TAGS("168"),
     TAG_COLUMNS},
    {.name = "most_liked",
     .title = "Most liked posts",
     .definition =
         "Posts by likes given less likes taken back, on the newest event's day and over the 7 and 30 days (UTC) "
         "that end with it. A like taken back is recognised up to 8 days after it was given; of days that "
         "ended, posts with fewer than 3 likes on them are not remembered. Deleted posts and those of hidden "
         "accounts are left out.",
     .hourly = true,
     .names = NAMES_POSTS,
     .grouped = true,
     .undone = true,
     .sql = LIKED("day", "1") " UNION ALL " LIKED("week", "7") " UNION ALL " LIKED("month", "30"),
     COLUMNS(TEXT("period"), NUMBER("rank"), NUMBER("likes"), POST)},
    {.name = "post_length",
     .title = "Lengths of posts",
     .definition =
         "Posts created on each of the last 30 days (UTC) by their length in characters (Unicode code points).",
     .sql = "SELECT " DAY_TEXT(
         "period") ", characters, CASE WHEN characters < 300 THEN characters + 49 END, n, "
                   "round(100.0 * n / sum(n) OVER (PARTITION BY period), 2) "
                   "FROM (SELECT period, CAST(key AS INTEGER) AS characters, n FROM counts "
                   "WHERE cube = 6 AND period > ?2 - 30 AND period <= ?2) ORDER BY period, characters",
     COLUMNS(TEXT("day"), NUMBER("from_characters"), NUMBER("to_characters"), NUMBER("posts"), NUMBER("percent"))},
    {.name = "like_to_post_ratio",
     .title = "Likes per post",
     .definition =
         "For each of the last 30 days (UTC): likes given less likes taken back on that day, posts created on "
         "it, and the one divided by the other.",
     .sql = "WITH RECURSIVE " LAST_DAYS
            ", sums AS (SELECT d, " OF_DAY("likes") " - " OF_DAY("unlikes") " AS likes, " OF_DAY(
                "posts") " AS posts FROM days) "
                         "SELECT " DAY_TEXT(
                             "d") ", likes, posts, CASE WHEN posts > 0 THEN round(1.0 * likes / posts, 3) END "
                                  "FROM sums WHERE likes <> 0 OR posts > 0 ORDER BY d",
     COLUMNS(TEXT("day"), NUMBER("likes"), NUMBER("posts"), NUMBER("likes_per_post"))},
    {.name = "engagement_velocity",
     .title = "Likes by the age of the post",
     .definition =
         "Likes of the last 7 days (UTC) by full hours between the making of the post, as its record key tells "
         "it, and the like; likes of posts older than 24 hours are not counted. Beside it the share in per cent "
         "and likes per 1,000 posts created in these days.",
     .sql = "WITH RECURSIVE ages(a) AS (SELECT 0 UNION ALL SELECT a + 1 FROM ages WHERE a < 23), "
            "found AS (SELECT CAST(key AS INTEGER) AS a, sum(n) AS likes FROM counts "
            "WHERE cube = 10 AND period > ?2 - 7 AND period <= ?2 GROUP BY 1) "
            "SELECT a, ifnull(likes, 0), round(100.0 * ifnull(likes, 0) / (SELECT sum(likes) FROM found), 2), "
            "round(1000.0 * ifnull(likes, 0) / " POSTS_OF_7_DAYS ", 2) FROM ages LEFT JOIN found USING (a) ORDER BY a",
     COLUMNS(NUMBER("hours_after"), NUMBER("likes"), NUMBER("percent"), NUMBER("likes_per_1000_posts"))},
    {.name = "viral",
     .title = "Going viral",
     .definition =
         "Posts that in one clock hour of the last 24 were liked at least 20 times, and at least three times as "
         "often as in the hour before (fewer than 5 likes in an hour that ended count as none); by the likes of "
         "their best such hour. Likes taken back are not subtracted.",
     .hourly = true,
     .names = NAMES_POSTS,
     .sql = "SELECT '', n, " HOUR_TEXT(
         "period") ", before, key FROM "
                   "(SELECT *, row_number() OVER (PARTITION BY key ORDER BY n DESC, period) AS nth FROM "
                   "(SELECT c.period, c.key, c.n, ifnull(b.n, 0) AS before FROM counts c "
                   "LEFT JOIN counts b ON b.cube = 9 AND b.period = c.period - 1 AND b.key = c.key "
                   "WHERE c.cube = 9 AND c.period > ?1 - 24 AND c.period <= ?1 AND c.n >= 20) WHERE n >= 3 * before) "
                   "WHERE nth = 1 ORDER BY n DESC, key LIMIT 200",
     COLUMNS(NUMBER("rank"), NUMBER("likes"), TEXT("hour"), NUMBER("likes_hour_before"), POST)},
    {.name = "network_growth",
     .title = "Growth of the network",
     .definition =
         "For each of the last 30 days (UTC): follows made, follows taken back, the difference, and blocks made.",
     .sql = "WITH RECURSIVE " LAST_DAYS
            ", sums AS (SELECT d, " OF_DAY("follows") " AS made, " OF_DAY("unfollows") " AS undone, " OF_DAY(
                "blocks") " AS blocks FROM days) "
                          "SELECT " DAY_TEXT("d") ", made, undone, made - undone, blocks FROM sums "
                                                  "WHERE made + undone + blocks > 0 ORDER BY d",
     COLUMNS(TEXT("day"), NUMBER("follows"), NUMBER("unfollows"), NUMBER("net_follows"), NUMBER("blocks"))},
    {.name = "languages",
     .title = "Languages",
     .definition =
         "Posts created in the last 7 days (UTC) by the languages their authors' clients claim, without region "
         "(en-GB is en; \"none\": no claim), and their share of all posts in per cent. A post with two languages "
         "counts for both.",
     .sql = SHARES("4"),
     COLUMNS(NUMBER("rank"), TEXT("language"), NUMBER("posts"), NUMBER("percent"))},
    {.name = "link_domains",
     .title = "Linked domains",
     .definition =
         "Posts created in the last 7 days (UTC) by the hosts they link to, without a leading www., and their "
         "share of all posts in per cent. A post counts once for a host.",
     .sql = SHARES("5"),
     COLUMNS(NUMBER("rank"), TEXT("domain"), NUMBER("posts"), NUMBER("percent"))},
};
const size_t views_table_count = sizeof views_table / sizeof views_table[0];
