/* What is asked of the views: the stored answers, and how fresh they are. */
#include "query/views.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/near.h"
#include "query/views_priv.h"

/* --- Answers --- */

struct views {
    char *dir;
    struct catalog *catalog;
    struct views_store *store; /* NULL until there is one */
};

enum bl_rc views_open(const char *lake_dir, struct views **out, struct bl_error *err) {
    struct views *v = bl_xcalloc(1, sizeof *v);
    v->dir = bl_xstrdup(lake_dir);
    enum bl_rc rc = catalog_open(lake_dir, CATALOG_READ, &v->catalog, err);
    if (rc == BL_OK)
        *out = v;
    else
        views_close(&v);
    return rc;
}

void views_close(struct views **views) {
    struct views *v = *views;
    if (!v) return;
    catalog_close(&v->catalog);
    store_close(&v->store);
    free(v->dir);
    free(v);
    *views = NULL;
}

static enum bl_rc stored_answer(struct views *v, const char *name, bool with_cells, struct store_answer *answer,
                                bool *found, struct bl_error *err) {
    *found = false;
    if (!v->store) BL_TRY(store_open(v->dir, STORE_READ, &v->store, err));
    return v->store ? store_answer(v->store, name, with_cells, answer, found, err) : BL_OK;
}

/* An answer that knows all there is in the lake is not stale, however old it is. */
static enum bl_rc describe(struct views *v, const struct view *view, const struct store_answer *answer, bool found,
                           struct view_info *out, struct bl_error *err) {
    *out = (struct view_info){.name = view->name,
                              .title = view->title,
                              .definition = view->definition,
                              .cadence = view->hourly ? "hourly" : "daily",
                              .columns = view->columns,
                              .column_count = view->column_count,
                              .stale_us = -1};
    if (!found) return BL_OK;
    struct catalog_totals totals;
    BL_TRY(catalog_totals(v->catalog, &totals, err));
    out->refreshed_us = answer->refreshed_us;
    out->as_of_us = answer->as_of_us;
    out->snapshot = answer->snapshot;
    out->rows = answer->rows;
    int64_t age_us = bl_wall_us() - answer->refreshed_us;
    out->stale_us = totals.snapshot == answer->snapshot || age_us < 0 ? 0 : age_us;
    return BL_OK;
}

enum bl_rc views_info(struct views *v, size_t i, struct view_info *out, bool *exists, struct bl_error *err) {
    *exists = i < views_table_count;
    if (!*exists) return BL_OK;
    struct store_answer answer = {0};
    bool found;
    BL_TRY(stored_answer(v, views_table[i].name, false, &answer, &found, err));
    return describe(v, &views_table[i], &answer, found, out, err);
}

static const char *name_at(size_t i, const void *context) {
    (void)context;
    return i < views_table_count ? views_table[i].name : NULL;
}

static enum bl_rc find_view(const char *name, const struct view **out, struct bl_error *err) {
    for (size_t i = 0; i < views_table_count; i++)
        if (strcmp(views_table[i].name, name) == 0) {
            *out = &views_table[i];
            return BL_OK;
        }
    const char *near = bl_nearest(bl_str(name), name_at, NULL);
    char cure[128];
    if (near) snprintf(cure, sizeof cure, "did you mean \"%s\"?", near);
    if (near) return bl_fail_cure(err, BL_E_NOT_FOUND, cure, "there is no view \"%s\"", name);
    return bl_fail(err, BL_E_NOT_FOUND, "there is no view \"%s\"", name);
}

static enum bl_rc give_rows(const struct view *view, const struct store_answer *answer, const struct query_sink *sink,
                            struct bl_error *err) {
    enum { COLUMNS_MAX = 16 };
    struct bl_str cells[COLUMNS_MAX], rest = bl_buf_view(&answer->cells);
    BL_ASSERT(view->column_count <= COLUMNS_MAX);
    BL_TRY(sink->columns(sink->context, view->columns, view->column_count, err));
    for (int64_t i = 0; i < answer->rows; i++) {
        for (size_t c = 0; c < view->column_count; c++) cells[c] = store_take_cell(&rest);
        BL_TRY(sink->row(sink->context, cells, view->column_count, err));
    }
    return BL_OK;
}

enum bl_rc views_answer(struct views *v, const char *name, const struct query_sink *sink, struct view_info *info,
                        struct bl_error *err) {
    const struct view *view = NULL;
    struct store_answer answer = {0};
    bool found;
    BL_TRY(find_view(name, &view, err));
    BL_TRY(stored_answer(v, name, true, &answer, &found, err));
    if (!found)
        return bl_fail(err, BL_E_NOT_FOUND, "the view \"%s\" was never computed: run `bluelake views --refresh`", name);
    struct view_info ignored;
    enum bl_rc rc = describe(v, view, &answer, true, info ? info : &ignored, err);
    if (rc == BL_OK) rc = give_rows(view, &answer, sink, err);
    bl_buf_release(&answer.cells);
    return rc;
}
