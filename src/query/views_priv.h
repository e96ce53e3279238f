/* views_priv: what the files of the materialised views share. Private to the query room.
 *
 *   views_table.c    the table of views
 *   views.c          stored answers, and how fresh they are
 *   views_cubes.c    the table of cubes: what is counted of every file, and reading new files into the store
 *   views_undone.c   likes taken back
 *   views_refresh.c  renewing answers from the counts; names and texts beside them */
#pragma once
#include "query/session.h"
#include "query/views.h"
#include "query/views_store.h"

#define HOUR_US INT64_C(3600000000)
#define DAY_US (24 * HOUR_US)
#define CREATED "operation = 'create'"
/* "at://DID/app.bsky.feed.post/RKEY" without what all posts share; other things that are liked are not counted. */
#define LIKED_POST CREATED " AND contains(subject_uri, '/app.bsky.feed.post/')"
#define POST_KEY "replace(substr(subject_uri, 6), 'app.bsky.feed.post/', '')"

/* What is counted. `period` of a count is a number of hours or days since 1970, UTC. */
enum cube {
    CUBE_VOLUME = 1, /* hours: posts, replies, characters, likes, ... */
    CUBE_AUTHORS,    /* days: posts of an author (DID) */
    CUBE_TAGS,       /* hours: posts with a tag */
    CUBE_LANGS,      /* days: posts in a language */
    CUBE_DOMAINS,    /* days: posts with a link to a host */
    CUBE_LENGTHS,    /* days: posts of a length, in steps of 50 characters */
    CUBE_LIKED,      /* days: likes of a post, "DID/RKEY" */
    CUBE_UNLIKED,    /* days: likes taken back of a post */
    CUBE_RISING,     /* hours: likes of a post */
    CUBE_AGES,       /* days: likes by the hours since the post was made */
};

/* What stands beside the last column of a view's statement. Such a statement yields (group, number, ..., key). */
enum view_names {
    NAMES_NONE,
    NAMES_AUTHORS, /* key is a DID: rank, number, ..., did, handle, display_name */
    NAMES_POSTS,   /* key is DID/RKEY: group, rank, number, ..., uri, did, handle, display_name, text, posted_at */
};
struct view {
    const char *name, *title, *definition;
    bool hourly;
    enum view_names names;
    bool grouped;    /* the group is a column of the answer */
    bool undone;     /* subtracts likes taken back */
    const char *sql; /* over the store's counts; ?1 hour and ?2 day of the newest event */
    const struct query_column *columns;
    size_t column_count;
};
extern const struct view views_table[];
extern const size_t views_table_count;

struct refresh {
    struct query *q;
    struct views_store *store;
    const struct views_refresh_options *options;
    struct views_refresh_stats *stats;
    int64_t newest_us, now_hour, now_day, lake_rows;
};
enum { VIEW_ROWS_MAX = 50 };
/* Reads new files into the store. */
enum bl_rc cubes_feed(struct refresh *r, struct bl_error *err);
/* The oldest moment that still counts for a cube. */
int64_t cubes_kept_from_us(const struct refresh *r, enum cube cube);
/* Adds the rows (period, key, n) of a statement to a cube. */
enum bl_rc cubes_take(struct refresh *r, enum cube cube, const char *sql, struct bl_error *err);
/* Forgets what no view looks at any more. */
enum bl_rc cubes_prune(struct refresh *r, struct bl_error *err);
enum bl_rc refresh_check(const struct refresh *r, struct bl_error *err); /* BL_E_CANCELLED */

/* Likes taken back. A delete names its record only, so the like has to be looked for, which is done for all files of
 * likes at once when a view asks for it, not file by file. */
#define SUBTRACTED_UP_TO "subtracted_us" /* a fact of the store: the newest file whose deletes were looked up */
enum bl_rc undone_subtract(struct refresh *r, struct bl_error *err);
/* Likes of `day` became known or unknown: the deletes that may mean them are looked up again. In a transaction. */
enum bl_rc undone_again(struct refresh *r, int64_t day, struct bl_error *err);
