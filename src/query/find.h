/* find: what search, export and counts share: from the asked for to rows of posts that may be shown.
 *
 * Private to the query room.
 *   filter.c    struct query_search -> one tree, with its handles resolved
 *   cursor.c    a place in the order of an answer <-> an opaque word
 *   find.c      rows of the index as hits; and which of them are history or hidden */
#pragma once
#include "query/rowkeys.h"
#include "query/search.h"
#include "query/session.h"

struct place { /* newest first, then by author and record key */
    int64_t time_us;
    struct bl_str did, rkey;
};
void cursor_write(const struct query_hit *hit, char out[static QUERY_CURSOR_MAX]);
/* BL_E_USAGE when it is none of ours. */
enum bl_rc cursor_read(struct bl_str text, struct bl_arena *arena, struct place *out, struct bl_error *err);

struct filter {
    struct search_node *tree; /* NULL: every post */
    bool exact;
    int64_t from_us, to_us; /* nothing outside can match */
    bool never;             /* nothing can match at all */
    struct place after;     /* p of its did == NULL: from the start */
};
/* Everything that can be wrong with `s` is found here. */
enum bl_rc filter_parse(const struct query_search *s, struct bl_arena *arena, struct filter *out, struct bl_error *err);
/* Fills in the DIDs of handles, and makes the tree ready for the index; `note` (256 bytes) says why nothing will be
 * found. */
enum bl_rc filter_resolve(struct filter *f, struct query *q, struct bl_arena *arena, char *note, struct bl_error *err);

struct found {
    struct query_hit hit;
    struct bl_str rev;
    uint64_t key;               /* segment_key */
    bool updates, deletes;      /* what the row does to the record */
    const struct segment *from; /* with the two below: the row it was read from */
    size_t block;
    unsigned row;
    bool checked, hidden; /* was it looked up whether it must be hidden, and must it be */
    bool nameless;        /* the lake has not heard of its author's handle or profile */
};
int found_compare(const struct found *a, const struct found *b);

struct find {
    struct query *q;
    struct bl_arena *arena; /* keeps the texts of what is found */
};
/* Builds what the index lacks of `files` with all threads of the session, as far as the deadline allows. For whoever is
 * going to need them all. */
void find_prepare(struct query *q, const struct catalog_file *const *files, size_t count);
/* A row of the index as a hit; its texts are copied. BL_E_FULL when the hits outgrow their memory. */
enum bl_rc find_take(const struct find *f, const struct key_row *row, struct segment_cache *cache, struct found *out,
                     struct bl_error *err);
/* Every row of the records (dids[i], rkeys[i]) in `files`, deletes included, in order; `*items` grows, free() it. */
enum bl_rc find_records(const struct find *f, const struct catalog_file *const *files, size_t files_count,
                        const struct bl_str *dids, const struct bl_str *rkeys, size_t count, struct found **items,
                        size_t *items_count, struct bl_error *err);
/* Names the authors of items, and marks those of hidden accounts. */
enum bl_rc find_authors(const struct find *f, struct found *items, size_t count, struct bl_error *err);
/* The same, and marks what was deleted or changed later. */
enum bl_rc find_hidden(const struct find *f, struct found *items, size_t count, struct bl_error *err);
size_t find_drop_hidden(struct found *items, size_t count); /* how many are left, in order */
/* Completes the URI and hands it out. */
enum bl_rc find_give(const struct found *item, query_hit_fn hit, void *context, struct bl_error *err);
