/* timeline: the posts of a search, newest first, straight from the index. Private to the query room.
 *
 * Files overlap in time, so their rows are merged: a file is opened when the answer reaches the newest of its posts,
 * and a block of it is looked at when its turn comes. Memory: a few hundred bytes a file that is open. Deletes are
 * never given; whether a post may be shown is not decided here. */
#pragma once
#include "query/find.h"
#include "query/match.h"

struct cursor {
    const struct catalog_file *file;
    struct segment *segment;
    size_t block;
    struct match_rows rows; /* of `block` */
    unsigned row;
    int64_t time_us; /* of `row` */
    uint64_t key, account;
};
struct timeline {
    struct query *q;
    struct match match;
    struct segment_cache cache;
    struct place after;                      /* p of its did == NULL: from the start */
    const struct catalog_file *const *files; /* newest first by max_us */
    size_t file_count, opened;
    size_t prepared; /* up to there no file has to be built any more */
    struct cursor *cursors;
    size_t cursor_count, cursor_room;
    size_t best; /* the cursor given last, to be moved on; SIZE_MAX: none */
};
/* `files` stay the caller's, and so does `filter`, which is resolved. */
void timeline_open(struct timeline *s, struct query *q, const struct filter *filter,
                   const struct catalog_file *const *files, size_t count);
void timeline_close(struct timeline *s);
/* The next post, NULL at the end; valid until the next call. */
enum bl_rc timeline_next(struct timeline *s, const struct cursor **out, struct bl_error *err);
enum bl_rc timeline_record(struct timeline *s, const struct cursor *c, struct segment_record *out,
                           struct bl_error *err);
