/* views_priv: what the files of the materialised views share. Private to the query room.
 *
 *   views.c          the table of views; answers
 *   views_cubes.c    the table of cubes: what is counted of every file, and reading new files into the store
 *   views_refresh.c  renewing answers from the counts; names and texts beside them */
#pragma once
#include "query/session.h"
#include "query/views.h"
#include "query/views_store.h"

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
    int64_t newest_us, now_hour, now_day;
};
enum { VIEW_ROWS_MAX = 50 };
/* Reads new files into the store. */
enum bl_rc cubes_feed(struct refresh *r, struct bl_error *err);
/* Forgets what no view looks at any more. */
enum bl_rc cubes_prune(struct refresh *r, struct bl_error *err);
enum bl_rc refresh_check(const struct refresh *r, struct bl_error *err); /* BL_E_CANCELLED */
