/* QRY-02 and QRY-03: posts of a range with structured filters, and the figures of a day; and whether there are any. */
#include <inttypes.h>

#include "base/clock.h"
#include "query/search.h"
#include "query/session.h"

static const int64_t DAY_US = INT64_C(86400) * 1000000;

static void author_filter(struct search_sql *sql, struct bl_str value) {
    bl_buf_z(&sql->text, "did = ?");
    search_bind_text(sql, value);
}
static void lang_filter(struct search_sql *sql, struct bl_str value) {
    bl_buf_z(&sql->text, "len(list_filter(langs, lambda x: lower(x) = lower(?))) > 0");
    search_bind_text(sql, value);
}
static void text_filter(struct search_sql *sql, struct bl_str value) {
    search_contains(sql, "text", value);
}
static void hashtag_filter(struct search_sql *sql, struct bl_str value) {
    search_tag.clause(
        sql, &(struct search_node){.value = bl_str_starts(value, BL_LIT("#")) ? bl_str_skip(value, 1) : value});
}

static const struct {
    const char *field;
    void (*clause)(struct search_sql *sql, struct bl_str value);
} fields[] = {{"author", author_filter}, {"lang", lang_filter}, {"text", text_filter}, {"hashtag", hashtag_filter}};

static enum bl_rc add_filter(struct search_sql *sql, const struct query_filter *filter, struct bl_error *err) {
    if (!bl_utf8_valid(filter->value))
        return bl_fail(err, BL_E_USAGE, "the value of \"%s\" is not UTF-8 text", filter->field);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(filter->field, fields[i].field) != 0) continue;
        bl_buf_z(&sql->text, " AND (");
        fields[i].clause(sql, filter->value);
        bl_buf_byte(&sql->text, ')');
        return BL_OK;
    }
    return bl_fail(err, BL_E_USAGE, "posts cannot be filtered by \"%s\": use author, lang, text or hashtag",
                   filter->field);
}

struct posts_question {
    int64_t start_us, end_us;
    const struct query_filter *filters;
    size_t filter_count;
    const struct query_sink *sink;
};

static const char post_columns[] =
    "CAST(make_timestamp(time_us) AS DATE) AS date, did AS author, text, created_at::TIMESTAMP AS created_at, "
    "'at://' || did || '/app.bsky.feed.post/' || rkey AS uri, langs, hashtags, time_us";

/* Hours do not overlap, so sorting each by itself sorts the whole, and memory holds one hour. */
static enum bl_rc give_hour(struct query *q, const struct posts_question *question,
                            const struct catalog_file *const *files, size_t count, bool *given, struct bl_error *err) {
    struct bl_arena arena = {0};
    struct search_sql sql = {.arena = &arena};
    bl_buf_printf(&sql.text, "SELECT %s FROM ", post_columns);
    session_add_files(q, &sql.text, files, count, false);
    bl_buf_z(&sql.text, " WHERE operation = 'create' AND time_us >= ? AND time_us <= ?");
    search_bind_i64(&sql, question->start_us);
    search_bind_i64(&sql, question->end_us);
    enum bl_rc rc = BL_OK;
    for (size_t i = 0; i < question->filter_count && rc == BL_OK; i++)
        rc = add_filter(&sql, &question->filters[i], err);
    bl_buf_z(&sql.text, " ORDER BY time_us DESC, did, rkey");
    struct duck_result *r = NULL;
    if (rc == BL_OK) rc = bl_buf_check(&sql.text, "the question", err);
    if (rc == BL_OK) rc = duck_query(q->duck, bl_buf_cstr(&sql.text), sql.binds, sql.count, &r, err);
    if (rc == BL_OK && !*given) rc = session_give_columns(r, question->sink, err);
    if (rc == BL_OK) {
        *given = true;
        rc = session_stream(q, r, question->sink, err);
    }
    duck_result_close(&r);
    search_sql_release(&sql);
    bl_arena_release(&arena);
    return rc;
}

static enum bl_rc give_no_posts(const struct query_sink *sink, struct bl_error *err) {
    static const struct query_column columns[] = {
        {"date", QUERY_TEXT}, {"author", QUERY_TEXT}, {"text", QUERY_TEXT},     {"created_at", QUERY_TEXT},
        {"uri", QUERY_TEXT},  {"langs", QUERY_JSON},  {"hashtags", QUERY_JSON}, {"time_us", QUERY_NUMBER}};
    return sink->columns(sink->context, columns, sizeof columns / sizeof columns[0], err);
}

static enum bl_rc ask_posts(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct posts_question *question = context;
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(q, EV_posts, question->start_us, question->end_us, &files);
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at + 1; end < count && files[end]->hour_us == files[at]->hour_us;) end++;
        BL_TRY(watchdog_check(q->watchdog, err));
        BL_TRY(give_hour(q, question, files + at, end - at, given, err));
    }
    return count ? BL_OK : give_no_posts(question->sink, err);
}

enum bl_rc query_posts(struct query *q, int64_t start_us, int64_t end_us, const struct query_filter *filters,
                       size_t filter_count, const struct query_sink *sink, struct bl_error *err) {
    enum { FILTERS_MAX = 64 };
    if (filter_count > FILTERS_MAX) return bl_fail(err, BL_E_USAGE, "at most %d filters are taken", FILTERS_MAX);
    BL_CLEANUP(search_sql_release) struct search_sql checked = {0};
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    checked.arena = &arena;
    for (size_t i = 0; i < filter_count; i++) BL_TRY(add_filter(&checked, &filters[i], err));
    struct posts_question question = {start_us, end_us, filters, filter_count, sink};
    return session_run(q, ask_posts, &question, err);
}

struct day_question {
    int64_t start_us;
    struct query_daily_stats *out;
};

static enum bl_rc ask_day(struct query *q, void *context, bool *given, struct bl_error *err) {
    (void)given;
    const struct day_question *day = context;
    struct query_daily_stats stats = {0};
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    stats.files_read = session_files(q, EV_posts, day->start_us, day->start_us + DAY_US - 1, &files);
    if (stats.files_read == 0) {
        *day->out = stats;
        return BL_OK;
    }
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT count(*), count(DISTINCT did), avg(length(text)) FROM ");
    session_add_files(q, &sql, files, stats.files_read, false);
    bl_buf_z(&sql, " WHERE operation = 'create' AND time_us >= ? AND time_us < ?");
    BL_TRY(bl_buf_check(&sql, "the question", err));
    const struct duck_bind binds[] = {{.kind = DUCK_I64, .i = day->start_us},
                                      {.kind = DUCK_I64, .i = day->start_us + DAY_US}};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(q->duck, bl_buf_cstr(&sql), binds, 2, &r, err));
    size_t rows;
    BL_TRY(duck_next(r, &rows, err));
    if (rows != 1) return bl_fail(err, BL_E_INTERNAL, "a count gave %zu rows", rows);
    stats.total_posts = duck_i64(r, 0, 0);
    stats.unique_authors = duck_i64(r, 1, 0);
    stats.avg_post_length = duck_is_null(r, 2, 0) ? 0 : duck_f64(r, 2, 0);
    *day->out = stats;
    return BL_OK;
}

enum bl_rc query_daily_stats(struct query *q, int64_t day_us, struct query_daily_stats *out, struct bl_error *err) {
    int64_t into = ((day_us % DAY_US) + DAY_US) % DAY_US;
    struct day_question day = {day_us - into, out};
    return session_run(q, ask_day, &day, err);
}

/* --- Does it answer at all? --- */

static enum bl_rc ask_probe(struct query *q, void *context, bool *given, struct bl_error *err) {
    (void)context, (void)given;
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    if (session_files(q, EV_posts, INT64_MIN, INT64_MAX, &files) == 0) return BL_OK;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "SELECT did, text FROM ");
    session_add_files(q, &sql, files, 1, false);
    bl_buf_z(&sql, " LIMIT 1");
    BL_TRY(bl_buf_check(&sql, "the question", err));
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    size_t rows;
    BL_TRY(duck_query(q->duck, bl_buf_cstr(&sql), NULL, 0, &r, err));
    return duck_next(r, &rows, err);
}

static enum bl_rc ignore_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    (void)context, (void)hit, (void)err;
    return BL_OK;
}

enum bl_rc query_probe(struct query *q, struct bl_error *err) {
    struct resolver *resolver = q->resolver;
    BL_TRY(session_run(q, ask_probe, NULL, err));
    q->resolver = NULL; /* nobody looks at this answer, so nobody has to be named in it */
    enum bl_rc rc = query_search(q, &(struct query_search){.limit = 1}, ignore_hit, NULL, NULL, err);
    q->resolver = resolver;
    return rc;
}
