/* query: questions over the lake. No SQL text above this room, no user text inside SQL.
 *
 * May include: base, event, lake (catalog.h, duck.h), index, resolve. Read-only.
 * A session pins the catalogue's snapshot when opened (query_refresh moves on); every question is answered from that
 * file list. Views: one per type (posts, likes, ...: all columns and year, month, day, hour, date), all events of all
 * types as `events`, and the specification's compatibility view `records` (date, record_type, author, text, ...;
 * LAKE-08), also reachable as parquet path patterns in docs. Every question has a deadline and a memory bound and can
 * be cancelled (query_cancel, any thread). BL_E_TIMEOUT, BL_E_FULL, BL_E_CANCELLED.
 *
 * Threading: one thread a session. */
#pragma once
#include "base/mem.h"

struct query;
struct resolver;
struct query_options {
    const char *lake_dir;
    int64_t memory_bytes;      /* 0 means 1 GiB */
    int threads;               /* 0 means 2 */
    int64_t deadline_us;       /* per question; 0 means 30 s */
    const char *temp_dir;      /* what does not fit into memory is put there for a while; NULL: such questions fail */
    struct resolver *resolver; /* for handles the lake has not heard of; outlives the session; NULL: none */
    bool patient;              /* names in an answer are waited for, at most 20 s: for those who can wait */
};
enum bl_rc query_open(const struct query_options *o, struct query **out, struct bl_error *err);
void query_close(struct query **q);
enum bl_rc query_refresh(struct query *q, struct bl_error *err);
int64_t query_snapshot(const struct query *q);
void query_cancel(struct query *q);
/* Of the last answer: are all its accounts known as well as they can be, is the host away that could tell of some, or
 * is it being asked, so that soon there is a better answer? */
enum query_names { QUERY_NAMES_KNOWN, QUERY_NAMES_MISSING, QUERY_NAMES_PENDING };
enum query_names query_names(const struct query *q);

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

/* What is asked for. Each member narrows the rest; a zeroed struct is the newest 50 posts. Grammar: docs/SEARCH.md. */
struct query_search {
    struct bl_str text;     /* in the words of people: "cats lang:en -dogs" */
    struct bl_str literal;  /* taken as it stands: a run of characters, or "#tag" */
    struct bl_str account;  /* who wrote it: handle, @handle or DID */
    struct bl_str lang;     /* "en", "pt-BR" */
    int64_t from_us, to_us; /* 0,0 = everything; inclusive; narrowed by since:/until: */
    unsigned limit;         /* 0 means 50; at most 10,000. query_export: 0 means all of them */
    unsigned skip;          /* so many of the newest are passed over; limit + skip at most 10,000 */
    bool exact;             /* words and phrases: case counts, and they stand alone (docs/SEARCH.md) */
    struct bl_str after;    /* next_cursor of an earlier answer: go on behind its last hit */
};
/* Texts are valid during the call they are handed to; p == NULL where the post has nothing of the kind. */
struct query_hit {
    int64_t time_us;
    struct bl_str uri, did, rkey, text, created_at;
    struct bl_str handle, display_name; /* as known now; NULL: the lake has seen neither event nor profile */
    struct bl_str langs_json, hashtags_json, links_json; /* arrays of strings */
    struct bl_str facets_json, embed_json;               /* as the author's client wrote them */
    struct bl_str reply_parent_uri, quote_uri;
};
enum { QUERY_CURSOR_MAX = 4096 };
struct query_search_stats {
    size_t files_listed, files_read; /* of posts, within the range; those opened to look for hits */
    size_t files_indexed;            /* whose part of the index had to be built for this answer (of any type) */
    int64_t elapsed_us, hits;
    int64_t from_us, to_us;             /* the range that was searched */
    char note[256];                     /* why nothing can be found, such as an unknown handle; "" = nothing to say */
    bool more;                          /* there are further hits behind the last */
    char next_cursor[QUERY_CURSOR_MAX]; /* opaque, for `after`; "" without `more` */
};
typedef enum bl_rc (*query_hit_fn)(void *context, const struct query_hit *hit, struct bl_error *err);
/* Newest first; of equal times by author and record key. Nothing is handed out before the whole page is known.
 * BL_E_USAGE: the search, or `account`, `lang`, `after` (named in the message: "username: ...", "lang: ...", "cursor:
 * ..."). */
enum bl_rc query_search(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err);
/* The same hits without a limit, handed out in pages of 8,192 (fewer, where they hold more than 32 MB): memory holds
 * one page. `text` is checked before the first hit. The deadline of the session applies to each page, not to the whole.
 */
enum bl_rc query_export(struct query *q, const struct query_search *s, query_hit_fn hit, void *context,
                        struct query_search_stats *stats, struct bl_error *err);
/* The same as a Parquet file, written front to back: `fd` may be a pipe. Columns as in docs/SEARCH.md. */
enum bl_rc query_export_parquet(struct query *q, const struct query_search *s, int fd, struct query_search_stats *stats,
                                struct bl_error *err);

/* How many posts of a search fall into each hour or day. `after`, `skip` and `limit` play no part. */
enum query_bucket { QUERY_BUCKET_AUTO, QUERY_BUCKET_HOUR, QUERY_BUCKET_DAY };
struct query_count {
    int64_t start_us, count;
};
struct query_counts {
    struct query_count *buckets; /* oldest first, without holes between the first and the last post; free() */
    size_t count;
    int64_t total;
    enum query_bucket bucket; /* what was chosen: hours up to a range of three days */
    bool partial;             /* the deadline came first: older buckets are missing */
    int64_t counted_from_us;  /* with `partial`: from here on the counts are complete */
    int64_t from_us, to_us;   /* the range that was asked about */
    char note[256];
};
enum bl_rc query_counts(struct query *q, const struct query_search *s, enum query_bucket bucket, int64_t deadline_us,
                        struct query_counts *out, struct bl_error *err);

/* Can questions be answered? Reads a row of the newest file of posts, and searches the newest post. A lake without
 * posts is fine. */
enum bl_rc query_probe(struct query *q, struct bl_error *err);

/* The words, phrases and "#tags" a hit may be highlighted with, as a JSON array of strings; nothing that is negated. */
enum bl_rc query_matches(const struct query_search *s, struct bl_buf *json, struct bl_error *err);

/* One post by AT-URI, or "did/rkey": its newest version, and what is known of its history as a JSON array, oldest
 * first:
 * [{"timestamp","operation","text"}]. BL_E_NOT_FOUND when the lake has no such post, or it was deleted, or its account
 * is hidden; the message says which, and never what the post said. */
enum bl_rc query_post(struct query *q, struct bl_str uri,
                      enum bl_rc (*give)(void *context, const struct query_hit *hit, struct bl_str history_json,
                                         struct bl_error *err),
                      void *context, struct bl_error *err);

/* What the lake knows of an account, by DID, handle or @handle; texts are valid during `give`. */
struct query_user {
    struct bl_str did, handle, display_name, description, status; /* p == NULL: unknown */
    bool active;
    int64_t posts;                       /* created, whether or not deleted later */
    int64_t first_seen_us, last_seen_us; /* of its posts and account events; 0: none */
};
enum bl_rc query_user(struct query *q, struct bl_str account,
                      enum bl_rc (*give)(void *context, const struct query_user *user, struct bl_error *err),
                      void *context, struct bl_error *err);

/* Stretches of the recording that are missing and touch the range; free(). Read from the catalogue as it is now. */
struct query_gap {
    int64_t from_us, to_us;
    char host[256], reason[64];
    bool healed;
};
enum bl_rc query_gaps(struct query *q, int64_t from_us, int64_t to_us, struct query_gap **out, size_t *count,
                      struct bl_error *err);

enum { QUERY_TYPES_MAX = 16, QUERY_REASONS_MAX = 32 };
struct query_lake_status {                           /* from the catalogue, as it is now */
    int64_t snapshot, files, rows, bytes, raw_bytes; /* raw_bytes: JSON they came from */
    int64_t oldest_us, newest_us, last_commit_us;
    int64_t gaps, dead_letters; /* gaps: not healed */
    size_t type_count, reason_count;
    struct {
        const char *type;
        int64_t files, rows, bytes;
    } types[QUERY_TYPES_MAX];
    struct {
        char reason[64];
        int64_t count;
    } dead_by_reason[QUERY_REASONS_MAX];
};
enum bl_rc query_lake_status(struct query *q, struct query_lake_status *out, struct bl_error *err);

/* What a search text was understood as, an indented outline appended to `out`; BL_E_USAGE with the column of the fault.
 */
enum bl_rc query_search_explain(struct bl_str text, struct bl_buf *out, struct bl_error *err);

/* QRY-02..04: posts as they were created, newest first; what was deleted later is still counted. */
struct query_filter {
    const char *field; /* "author", "lang", "text", "hashtag" */
    struct bl_str value;
};
enum bl_rc query_posts(struct query *q, int64_t start_us, int64_t end_us, const struct query_filter *filters,
                       size_t filter_count, const struct query_sink *sink, struct bl_error *err);
struct query_daily_stats {
    int64_t total_posts, unique_authors;
    double avg_post_length; /* characters */
    size_t files_read;
};
enum bl_rc query_daily_stats(struct query *q, int64_t day_us, struct query_daily_stats *out, struct bl_error *err);
