/* query: questions over the lake. No SQL text above this room, no user text inside SQL.
 *
 * May include: base, event, lake (catalog.h, duck.h). Read-only.
 * A session pins the catalogue's snapshot when opened (query_refresh moves on); every question is answered from that file list. Views: one
 * per type (posts, likes, ...: all columns and year, month, day, hour, date), all events of all types as `events`, and the specification's
 * compatibility view `records` (date, record_type, author, text, ...; LAKE-08), also reachable as parquet path patterns in docs.
 * Every question has a deadline and a memory bound and can be cancelled (query_cancel, any thread). BL_E_TIMEOUT, BL_E_FULL, BL_E_CANCELLED.
 *
 * Threading: one thread a session. */
#pragma once
#include "base/mem.h"

struct query;
struct query_options {
    const char *lake_dir;
    int64_t memory_bytes; /* 0 means 1 GiB */
    int threads;          /* 0 means 2 */
    int64_t deadline_us;  /* per question; 0 means 30 s */
};
enum bl_rc query_open(const struct query_options *o, struct query **out, struct bl_error *err);
void query_close(struct query **q);
enum bl_rc query_refresh(struct query *q, struct bl_error *err);
int64_t query_snapshot(const struct query *q);
void query_cancel(struct query *q);

/* Receives a result: columns once, then rows of texts (NULL p = SQL null). Return non-OK to stop. */
enum query_kind { QUERY_TEXT, QUERY_NUMBER, QUERY_BOOL, QUERY_JSON }; /* what the texts of a column are */
struct query_column {
    const char *name;
    enum query_kind kind;
};
struct query_sink {
    enum bl_rc (*columns)(void *context, const struct query_column *columns, size_t count, struct bl_error *err);
    enum bl_rc (*row)(void *context, const struct bl_str *values, size_t count, struct bl_error *err);
    void *context;
};
/* One read-only SQL statement (SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, EXPLAIN, SUMMARIZE). */
enum bl_rc query_sql(struct query *q, struct bl_str sql, const struct query_sink *sink, struct bl_error *err);

/* Search, in the words of people; grammar in docs/SEARCH.md. Newest first. */
struct query_search {
    struct bl_str text;      /* "cats lang:en" */
    int64_t from_us, to_us;  /* 0,0 = everything; inclusive; narrowed by since:/until: */
    unsigned limit;          /* 0 means 50 */
    bool exact;              /* case-sensitive */
};
struct query_hit {
    int64_t time_us;
    struct bl_str uri, did, handle, text, langs_json, created_at;
};
struct query_search_stats {
    size_t files_listed, files_read; /* of posts, within the range; those opened to look for hits */
    int64_t elapsed_us, hits;
    int64_t from_us, to_us;          /* the range that was searched */
    char note[256];                  /* why nothing can be found, such as an unknown handle; "" = nothing to say */
};
typedef enum bl_rc (*query_hit_fn)(void *context, const struct query_hit *hit, struct bl_error *err);
enum bl_rc query_search(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err);

/* What a search text was understood as, an indented outline appended to `out`; BL_E_USAGE with the column of the fault. */
enum bl_rc query_search_explain(struct bl_str text, struct bl_buf *out, struct bl_error *err);

/* QRY-02..04: posts as they were created, newest first; what was deleted later is still counted. */
struct query_filter {
    const char *field; /* "author", "lang", "text", "hashtag" */
    struct bl_str value;
};
enum bl_rc query_posts(struct query *q, int64_t start_us, int64_t end_us, const struct query_filter *filters, size_t filter_count,
                       const struct query_sink *sink, struct bl_error *err);
struct query_daily_stats {
    int64_t total_posts, unique_authors;
    double avg_post_length; /* characters */
    size_t files_read;
};
enum bl_rc query_daily_stats(struct query *q, int64_t day_us, struct query_daily_stats *out, struct bl_error *err);
