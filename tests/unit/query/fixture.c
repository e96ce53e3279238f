#include "fixture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "expect.h"
#include "lake/parquet.h"

static const int64_t HOUR_US = INT64_C(3600000000);

void fixture_open(struct fixture *f) {
    struct bl_error err = {0};
    *f = (struct fixture){0};
    snprintf(f->dir, sizeof f->dir, "/tmp/bluelake-query-XXXXXX");
    EXPECT(mkdtemp(f->dir));
    EXPECT_OK(catalog_open(f->dir, CATALOG_WRITE, &f->catalog, &err), &err);
}

void fixture_close(struct fixture *f) {
    catalog_close(&f->catalog);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    EXPECT(system(command) == 0);
}

static enum pq_kind pq_kind_of(enum ev_col_kind kind) {
    static const enum pq_kind kinds[] = {[EV_STR] = PQ_STRING, [EV_I64] = PQ_I64,   [EV_TIME] = PQ_TIMESTAMP_US,
                                         [EV_BOOL] = PQ_BOOL,  [EV_JSON] = PQ_JSON, [EV_LIST] = PQ_STRING_LIST};
    return kinds[kind];
}

struct open_file {
    struct pq_writer *writer;
    int fd;
    char path[256], full[400];
};

static void begin_file(struct fixture *f, enum ev_type type, int64_t time_us, struct open_file *file) {
    struct bl_error err = {0};
    const struct ev_schema *schema = ev_schema(type);
    struct bl_date d = bl_date_of_us(time_us);
    char folder[200], full[300];
    snprintf(folder, sizeof folder, "year=%04d/month=%02d/day=%02d/hour=%02d", d.year, d.month, d.day, d.hour);
    snprintf(full, sizeof full, "%s/%s", f->dir, folder);
    EXPECT_OK(bl_make_dirs(full, &err), &err);
    snprintf(file->path, sizeof file->path, "%s/%s-%d.parquet", folder, schema->name, f->files++);
    snprintf(file->full, sizeof file->full, "%s/%s", f->dir, file->path);
    file->fd = open(file->full, O_CREAT | O_EXCL | O_WRONLY, 0644);
    EXPECT(file->fd >= 0);
    struct pq_column columns[EV_COLS_MAX] = {0};
    for (unsigned c = 0; c < schema->count; c++)
        columns[c] = (struct pq_column){schema->columns[c].name, pq_kind_of(schema->columns[c].kind),
                                        schema->columns[c].optional, 0};
    file->writer = pq_open(file->fd, columns, schema->count, &(struct pq_options){.codec = PQ_ZSTD});
}

static void end_file(struct fixture *f, struct open_file *file, enum ev_type type, int64_t min_us, int64_t max_us) {
    struct bl_error err = {0};
    struct pq_summary summary;
    EXPECT_OK(pq_finish(file->writer, NULL, 0, &summary, &err), &err);
    pq_close(&file->writer);
    close(file->fd);
    struct catalog_file entry = {.type = type,
                                 .hour_us = min_us - min_us % HOUR_US,
                                 .rows = summary.rows,
                                 .bytes = summary.bytes,
                                 .min_us = min_us,
                                 .max_us = max_us,
                                 .schema_version = EV_SCHEMA_VERSION,
                                 .compacted = f->compacted};
    snprintf(entry.path, sizeof entry.path, "%s", file->path);
    int64_t snapshot;
    struct catalog_commit commit = {.add = &entry, .add_count = 1, .job = "write"};
    EXPECT_OK(catalog_commit(f->catalog, &commit, &snapshot, &err), &err);
}

static void put_text(struct pq_writer *w, unsigned column, const char *text) {
    if (text)
        pq_str(w, column, bl_str(text));
    else
        pq_null(w, column);
}

static void put_list(struct pq_writer *w, unsigned column, const char *const texts[4]) {
    struct bl_str items[4];
    size_t n = 0;
    for (; n < 4 && texts[n]; n++) items[n] = bl_str(texts[n]);
    if (n)
        pq_list(w, column, items, n);
    else
        pq_null(w, column);
}

static void put_post(struct pq_writer *w, const struct post *p) {
    struct bl_error err = {0};
    char rev[32];
    snprintf(rev, sizeof rev, "%" PRId64, p->time_us);
    bool has_record = strcmp(p->operation, "delete") != 0;
    for (unsigned c = 0; c < ev_schema(EV_posts)->count; c++) switch (c) {
        case EV_posts_time_us:
            pq_i64(w, c, p->time_us);
            break;
        case EV_posts_did:
            put_text(w, c, p->did);
            break;
        case EV_posts_operation:
            put_text(w, c, p->operation);
            break;
        case EV_posts_rkey:
            put_text(w, c, p->rkey);
            break;
        case EV_posts_rev:
            put_text(w, c, rev);
            break;
        case EV_posts_created_at:
            if (has_record)
                pq_i64(w, c, p->time_us - p->time_us % 1000);
            else
                pq_null(w, c);
            break;
        case EV_posts_text:
            put_text(w, c, p->text);
            break;
        case EV_posts_langs:
            put_list(w, c, p->langs);
            break;
        case EV_posts_hashtags:
            put_list(w, c, p->hashtags);
            break;
        case EV_posts_mentions:
            put_list(w, c, p->mentions);
            break;
        case EV_posts_links:
            put_list(w, c, p->links);
            break;
        case EV_posts_embed_type:
            put_text(w, c, p->embed_type);
            break;
        case EV_posts_quote_uri:
            put_text(w, c, p->quote_uri);
            break;
        case EV_posts_reply_parent_uri:
            put_text(w, c, p->reply_uri);
            break;
        default:
            pq_null(w, c);
            break;
        }
    EXPECT_OK(pq_row_end(w, &err), &err);
}

void fixture_posts(struct fixture *f, const struct post *posts, size_t count) {
    struct open_file file;
    int64_t min_us = INT64_MAX, max_us = INT64_MIN;
    begin_file(f, EV_posts, posts[0].time_us, &file);
    for (size_t i = 0; i < count; i++) {
        put_post(file.writer, &posts[i]);
        min_us = posts[i].time_us < min_us ? posts[i].time_us : min_us;
        max_us = posts[i].time_us > max_us ? posts[i].time_us : max_us;
    }
    EXPECT(min_us / HOUR_US == max_us / HOUR_US);
    end_file(f, &file, EV_posts, min_us, max_us);
}

void fixture_accounts(struct fixture *f, const struct account *accounts, size_t count) {
    struct bl_error err = {0};
    struct open_file file;
    begin_file(f, EV_accounts, accounts[0].time_us, &file);
    for (size_t i = 0; i < count; i++) {
        const struct account *a = &accounts[i];
        for (unsigned c = 0; c < ev_schema(EV_accounts)->count; c++) switch (c) {
            case EV_accounts_time_us:
                pq_i64(file.writer, c, a->time_us);
                break;
            case EV_accounts_did:
                put_text(file.writer, c, a->did);
                break;
            case EV_accounts_kind:
                put_text(file.writer, c, a->handle ? "identity" : "account");
                break;
            case EV_accounts_seq:
                pq_i64(file.writer, c, a->time_us);
                break;
            case EV_accounts_handle:
                put_text(file.writer, c, a->handle);
                break;
            case EV_accounts_active:
                if (a->handle)
                    pq_null(file.writer, c);
                else
                    pq_bool(file.writer, c, a->active);
                break;
            default:
                pq_null(file.writer, c);
                break;
            }
        EXPECT_OK(pq_row_end(file.writer, &err), &err);
    }
    end_file(f, &file, EV_accounts, accounts[0].time_us, accounts[count - 1].time_us);
}

void fixture_profiles(struct fixture *f, const struct profile *profiles, size_t count) {
    struct bl_error err = {0};
    struct open_file file;
    char rev[32];
    begin_file(f, EV_profiles, profiles[0].time_us, &file);
    for (size_t i = 0; i < count; i++) {
        const struct profile *p = &profiles[i];
        snprintf(rev, sizeof rev, "%" PRId64, p->time_us);
        for (unsigned c = 0; c < ev_schema(EV_profiles)->count; c++) switch (c) {
            case EV_profiles_time_us:
                pq_i64(file.writer, c, p->time_us);
                break;
            case EV_profiles_did:
                put_text(file.writer, c, p->did);
                break;
            case EV_profiles_operation:
                put_text(file.writer, c, p->operation);
                break;
            case EV_profiles_rkey:
                put_text(file.writer, c, "self");
                break;
            case EV_profiles_rev:
                put_text(file.writer, c, rev);
                break;
            case EV_profiles_display_name:
                put_text(file.writer, c, p->name);
                break;
            case EV_profiles_description:
                put_text(file.writer, c, p->about);
                break;
            default:
                pq_null(file.writer, c);
                break;
            }
        EXPECT_OK(pq_row_end(file.writer, &err), &err);
    }
    end_file(f, &file, EV_profiles, profiles[0].time_us, profiles[count - 1].time_us);
}

/* The column that holds the subject follows the record's common ones in each of these types. */
void fixture_records(struct fixture *f, enum ev_type type, const struct record *records, size_t count) {
    struct bl_error err = {0};
    struct open_file file;
    char rev[32];
    const unsigned subject = EV_TIME_SKEW + 1;
    int64_t min_us = INT64_MAX, max_us = INT64_MIN;
    begin_file(f, type, records[0].time_us, &file);
    for (size_t i = 0; i < count; i++) {
        const struct record *p = &records[i];
        snprintf(rev, sizeof rev, "%" PRId64, p->time_us);
        min_us = p->time_us < min_us ? p->time_us : min_us;
        max_us = p->time_us > max_us ? p->time_us : max_us;
        for (unsigned c = 0; c < ev_schema(type)->count; c++) {
            if (c == EV_TIME_US)
                pq_i64(file.writer, c, p->time_us);
            else if (c == EV_DID)
                put_text(file.writer, c, p->did);
            else if (c == EV_OPERATION)
                put_text(file.writer, c, p->operation);
            else if (c == EV_RKEY)
                put_text(file.writer, c, p->rkey);
            else if (c == EV_REV)
                put_text(file.writer, c, rev);
            else if (c == subject)
                put_text(file.writer, c, p->subject);
            else
                pq_null(file.writer, c);
        }
        EXPECT_OK(pq_row_end(file.writer, &err), &err);
    }
    EXPECT(min_us / HOUR_US == max_us / HOUR_US);
    end_file(f, &file, type, min_us, max_us);
}

struct query *fixture_query(const struct fixture *f, int64_t deadline_us) {
    struct bl_error err = {0};
    struct query *q = NULL;
    EXPECT_OK(query_open(&(struct query_options){.lake_dir = f->dir, .deadline_us = deadline_us}, &q, &err), &err);
    return q;
}

static enum bl_rc add_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    struct bl_buf *out = context;
    (void)err;
    const char *slash = memrchr(hit->uri.p, '/', hit->uri.n);
    bl_buf_add(out, slash + 1, (size_t)(hit->uri.p + hit->uri.n - slash - 1));
    bl_buf_byte(out, ' ');
    return BL_OK;
}

enum bl_rc fixture_search(struct query *q, const struct query_search *s, struct bl_buf *out,
                          struct query_search_stats *stats, struct bl_error *err) {
    return query_search(q, s, add_hit, out, stats, err);
}

static enum bl_rc skip_columns(void *context, const struct query_column *columns, size_t count, struct bl_error *err) {
    (void)context, (void)columns, (void)count, (void)err;
    return BL_OK;
}

static enum bl_rc add_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    (void)err;
    struct bl_buf *out = context;
    for (size_t i = 0; i < count; i++) {
        if (i) bl_buf_byte(out, '|');
        if (values[i].p)
            bl_buf_str(out, values[i]);
        else
            bl_buf_z(out, "NULL");
    }
    bl_buf_byte(out, '\n');
    return BL_OK;
}

struct query_sink fixture_sink(struct bl_buf *out) {
    return (struct query_sink){skip_columns, add_row, out};
}

enum bl_rc fixture_sql(struct query *q, const char *sql, struct bl_buf *out, struct bl_error *err) {
    struct query_sink sink = fixture_sink(out);
    return query_sql(q, bl_str(sql), &sink, err);
}
