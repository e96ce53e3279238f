/* /views and /views/{name}: answers kept ready by the query room. */
#include "query/views.h"

#include <inttypes.h>

#include "base/clock.h"
#include "http/csv.h"
#include "http/handlers.h"
#include "http/server.h"

enum { NAME_MAX_BYTES = 64 };

/* A worker opens the views when it is first asked for them; its pool closes them. */
static enum bl_rc views_of(struct http_context *context, struct bl_error *err) {
    return context->views ? BL_OK : views_open(context->server->conf->data, &context->views, err);
}

static void put_columns(struct bl_buf *out, const struct query_column *columns, size_t count) {
    bl_buf_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i) bl_buf_byte(out, ',');
        http_json(out, bl_str(columns[i].name));
    }
    bl_buf_byte(out, ']');
}

static void put_refreshed(struct bl_buf *out, const struct view_info *info) {
    bl_buf_z(out, "\"refreshed_at\":");
    if (info->refreshed_us)
        http_json_time(out, info->refreshed_us, 0);
    else
        bl_buf_z(out, "null");
}

static void put_view(struct bl_buf *out, const struct view_info *info) {
    const char *const members[][2] = {
        {"name", info->name}, {"title", info->title}, {"definition", info->definition}, {"cadence", info->cadence}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        bl_buf_printf(out, "%s\"%s\":", i ? "," : "{", members[i][0]);
        http_json_text(out, bl_str(members[i][1]));
    }
    bl_buf_byte(out, ',');
    put_refreshed(out, info);
    if (info->stale_us >= 0)
        bl_buf_printf(out, ",\"stale_seconds\":%.1f,\"snapshot\":%" PRId64, (double)info->stale_us / 1e6,
                      info->snapshot);
    else
        bl_buf_z(out, ",\"stale_seconds\":null,\"snapshot\":null");
    bl_buf_z(out, ",\"columns\":");
    put_columns(out, info->columns, info->column_count);
    bl_buf_byte(out, '}');
}

HTTP_HANDLER(answer_views) {
    (void)rq;
    BL_TRY(views_of(context, err));
    bl_buf_z(&res->body, "{\"views\":[");
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        BL_TRY(views_info(context->views, i, &info, &exists, err));
        if (!exists) break;
        if (i) bl_buf_byte(&res->body, ',');
        put_view(&res->body, &info);
    }
    bl_buf_z(&res->body, "]}\n");
    return BL_OK;
}

/* ---- one view ---- */

struct rows {
    struct bl_buf *out;
    const struct query_column *columns; /* of the view's table: static */
    size_t count;
};

static enum bl_rc begin_rows(void *context, const struct query_column *columns, size_t count, struct bl_error *err) {
    struct rows *r = context;
    r->columns = columns;
    bl_buf_z(r->out, "\"columns\":");
    put_columns(r->out, columns, count);
    bl_buf_z(r->out, ",\"rows\":[");
    return bl_buf_check(r->out, "the view", err);
}

static void put_value(struct bl_buf *out, enum query_kind kind, struct bl_str value) {
    bool literal = value.p && kind != QUERY_TEXT;
    if (literal)
        bl_buf_str(out, value);
    else
        http_json(out, value);
}

static enum bl_rc put_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    struct rows *r = context;
    bl_buf_z(r->out, r->count++ ? ",[" : "[");
    for (size_t i = 0; i < count; i++) {
        if (i) bl_buf_byte(r->out, ',');
        put_value(r->out, r->columns[i].kind, values[i]);
    }
    bl_buf_byte(r->out, ']');
    return bl_buf_check(r->out, "the view", err);
}

static enum bl_rc begin_csv(void *context, const struct query_column *columns, size_t count, struct bl_error *err) {
    struct rows *r = context;
    r->columns = columns;
    for (size_t i = 0; i < count; i++) bl_buf_printf(r->out, "%s%s", i ? "," : "", columns[i].name);
    bl_buf_z(r->out, "\r\n");
    return bl_buf_check(r->out, "the view", err);
}

static enum bl_rc put_csv_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    struct rows *r = context;
    for (size_t i = 0; i < count; i++) {
        if (i) bl_buf_byte(r->out, ',');
        csv_cell(r->out, values[i], r->columns[i].kind == QUERY_NUMBER); /* a negative number is no formula */
    }
    bl_buf_z(r->out, "\r\n");
    return bl_buf_check(r->out, "the view", err);
}

static enum bl_rc answer_csv(struct http_context *context, const char *name, struct http_response *res,
                             struct bl_error *err) {
    struct rows rows = {.out = &res->body};
    struct query_sink sink = {.columns = begin_csv, .row = put_csv_row, .context = &rows};
    BL_TRY(views_answer(context->views, name, &sink, NULL, err));
    res->content_type = "text/csv; charset=utf-8";
    http_header_printf(res, "Content-Disposition", "attachment; filename=\"%s.csv\"", name);
    return BL_OK;
}

static enum bl_rc answer_json(struct http_context *context, const char *name, struct http_response *res,
                              struct bl_error *err) {
    struct rows rows = {.out = &res->body};
    struct query_sink sink = {.columns = begin_rows, .row = put_row, .context = &rows};
    struct view_info info;
    bl_buf_z(&res->body, "{\"name\":");
    http_json(&res->body, bl_str(name));
    bl_buf_byte(&res->body, ',');
    BL_TRY(views_answer(context->views, name, &sink, &info, err));
    bl_buf_z(&res->body, "],");
    put_refreshed(&res->body, &info);
    bl_buf_printf(&res->body, ",\"snapshot\":%" PRId64 ",\"definition\":", info.snapshot);
    http_json_text(&res->body, bl_str(info.definition));
    bl_buf_z(&res->body, "}\n");
    return BL_OK;
}

/* A view that was never computed is there, but not yet. */
static enum bl_rc is_waiting(struct http_context *context, const char *name, bool *waiting, struct bl_error *err) {
    *waiting = false;
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        BL_TRY(views_info(context->views, i, &info, &exists, err));
        if (!exists) return BL_OK;
        if (strcmp(info.name, name) == 0) *waiting = info.refreshed_us == 0;
    }
}

HTTP_HANDLER(answer_view) {
    char name[NAME_MAX_BYTES];
    bool waiting;
    if (rq->path_value.n >= sizeof name)
        return bl_fail_cure(err, BL_E_NOT_FOUND, "/views lists them", "there is no such view");
    snprintf(name, sizeof name, "%.*s", BL_ARG(rq->path_value));
    BL_TRY(views_of(context, err));
    bool csv = bl_str_eq(http_text(rq, "format"), BL_LIT("csv"));
    enum bl_rc rc = csv ? answer_csv(context, name, res, err) : answer_json(context, name, res, err);
    if (rc != BL_E_NOT_FOUND) return rc;
    BL_TRY(is_waiting(context, name, &waiting, NULL));
    if (waiting) {
        http_refuse(res, 503, "not_ready", NULL, "try again in a few seconds",
                    "the view %s is being computed for the first time", name);
        http_header(res, "Retry-After", "5");
        return BL_OK;
    }
    return rc;
}
