/* The views SQL is written against: one a type, `events` over all types, `records` for the specification's statements.
 * Each names its files one by one, so that no folder is walked. */
#include "query/session.h"

#define HIVE_COLUMNS "year, month, day, hour, make_date(year, month, day) AS date"

static const char *sql_type(enum ev_col_kind kind) {
    switch (kind) {
    case EV_STR:
    case EV_JSON:
        return "VARCHAR";
    case EV_I64:
        return "BIGINT";
    case EV_TIME:
        return "TIMESTAMP";
    case EV_BOOL:
        return "BOOLEAN";
    case EV_LIST:
        return "VARCHAR[]";
    }
    return "VARCHAR";
}

/* Casts keep a view's types the same, whether there are files or not; a cast to the type a file has costs nothing. */
static void add_columns(struct bl_buf *sql, const struct ev_schema *schema, bool empty) {
    for (unsigned c = 0; c < schema->count; c++)
        bl_buf_printf(sql, empty ? "NULL::%2$s AS \"%1$s\", " : "\"%1$s\"::%2$s AS \"%1$s\", ", schema->columns[c].name,
                      sql_type(schema->columns[c].kind));
}

static enum bl_rc make_type_view(struct query *q, enum ev_type type, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, &files);
    bl_buf_printf(&sql, "CREATE OR REPLACE VIEW %s AS SELECT ", ev_schema(type)->name);
    add_columns(&sql, ev_schema(type), count == 0);
    if (count) {
        bl_buf_z(&sql, HIVE_COLUMNS " FROM ");
        session_add_files(q, &sql, files, count, true);
    } else
        bl_buf_z(&sql, "NULL::INTEGER AS year, NULL::INTEGER AS month, NULL::INTEGER AS day, NULL::INTEGER AS hour, "
                       "NULL::DATE AS date WHERE false");
    BL_TRY(bl_buf_check(&sql, "a view over the lake's files", err));
    return duck_run(q->duck, bl_buf_cstr(&sql), err);
}

static enum bl_rc make_events_view(struct query *q, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "CREATE OR REPLACE VIEW events AS ");
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const char *name = ev_schema((enum ev_type)t)->name;
        const char *commit = t == EV_accounts ? "kind AS operation, NULL::VARCHAR AS rkey, NULL::VARCHAR AS rev"
                                              : "operation, rkey, rev";
        bl_buf_printf(&sql,
                      "%sSELECT '%s' AS type, time_us, did, %s, cursor, extra, year, month, day, hour, date FROM %s",
                      t ? " UNION ALL " : "", name, commit, name);
    }
    BL_TRY(bl_buf_check(&sql, "the view over all events", err));
    return duck_run(q->duck, bl_buf_cstr(&sql), err);
}

/* What the specification calls a record: something an account made. */
static const struct {
    enum ev_type type;
    const char *name, *text, *subject;
} record_types[] = {
    {EV_posts, "post", "text", "reply_parent_uri"}, {EV_likes, "like", "NULL", "subject_uri"},
    {EV_reposts, "repost", "NULL", "subject_uri"},  {EV_follows, "follow", "NULL", "subject_did"},
    {EV_blocks, "block", "NULL", "subject_did"},
};

static enum bl_rc make_records_view(struct query *q, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_z(&sql, "CREATE OR REPLACE VIEW records AS ");
    for (size_t i = 0; i < sizeof record_types / sizeof record_types[0]; i++) {
        const struct ev_schema *schema = ev_schema(record_types[i].type);
        bl_buf_printf(&sql,
                      "%sSELECT date, '%s' AS record_type, did AS author, %s::VARCHAR AS text, created_at, "
                      "'at://' || did || '/%s/' || rkey AS uri, %s AS subject, time_us, year, month, day, hour "
                      "FROM %s WHERE operation = 'create'",
                      i ? " UNION ALL " : "", record_types[i].name, record_types[i].text, schema->collection,
                      record_types[i].subject, schema->name);
    }
    BL_TRY(bl_buf_check(&sql, "the view over records", err));
    return duck_run(q->duck, bl_buf_cstr(&sql), err);
}

enum bl_rc session_views(struct query *q, struct bl_error *err) {
    if (q->views_snapshot == q->snapshot) return BL_OK;
    q->views_snapshot = -1;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) BL_TRY(make_type_view(q, (enum ev_type)t, err));
    BL_TRY(make_events_view(q, err));
    BL_TRY(make_records_view(q, err));
    q->views_snapshot = q->snapshot;
    return BL_OK;
}
