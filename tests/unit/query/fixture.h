/* fixture: a lake of synthetic rows, written by the lake's own Parquet writer and listed in its catalogue. */
#pragma once
#include "event/event.h"
#include "lake/catalog.h"
#include "query/query.h"

struct post { /* one row of posts; NULL and 0 members are null columns */
    int64_t time_us;
    const char *did, *operation, *rkey, *text;
    const char *langs[4], *hashtags[4], *mentions[4], *links[4];
    const char *embed_type, *quote_uri, *reply_uri;
};
struct account {
    int64_t time_us;
    const char *did, *handle; /* handle: an identity event; NULL: an account event */
    bool active;
};
struct profile {
    int64_t time_us;
    const char *did, *operation, *name, *about;
};
struct record { /* of likes, reposts, follows, blocks; subject: a URI, or a DID; NULL with "delete" */
    int64_t time_us;
    const char *did, *operation, *rkey, *subject;
};

struct fixture {
    char dir[64];
    struct catalog *catalog;
    int files;
    bool compacted; /* what is added next is the final file of its hour */
};
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f); /* removes the folder */
/* One file and one commit. All rows must fall into one hour. */
void fixture_posts(struct fixture *f, const struct post *posts, size_t count);
void fixture_accounts(struct fixture *f, const struct account *accounts, size_t count);
void fixture_profiles(struct fixture *f, const struct profile *profiles, size_t count);
void fixture_records(struct fixture *f, enum ev_type type, const struct record *records, size_t count);
struct query *fixture_query(const struct fixture *f, int64_t deadline_us);

/* Hits or rows, one text a line: rkeys of hits; values of a row joined by "|", null as "NULL". */
enum bl_rc fixture_search(struct query *q, const struct query_search *s, struct bl_buf *out,
                          struct query_search_stats *stats, struct bl_error *err);
enum bl_rc fixture_sql(struct query *q, const char *sql, struct bl_buf *out, struct bl_error *err);
struct query_sink fixture_sink(struct bl_buf *out);
