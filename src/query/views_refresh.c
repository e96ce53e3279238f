/* Renewing what is due: the counts first, then each answer from them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "event/syntax.h"
#include "query/names.h"
#include "query/views_priv.h"

/* A record key that is a TID tells when it was made; null for others. The digits below about a millisecond are left
 * out. */
static const char tid_macro[] =
    "CREATE OR REPLACE TEMP MACRO tid_digit(k, i, weight) AS (strpos('234567abcdefghijklmnopqrstuvwxyz', substr(k, i, "
    "1)) - 1) * weight; "
    "CREATE OR REPLACE TEMP MACRO tid_us(k) AS CASE WHEN length(k) = 13 THEN tid_digit(k, 1, 1125899906842624) + "
    "tid_digit(k, 2, 35184372088832) + tid_digit(k, 3, 1099511627776) + tid_digit(k, 4, 34359738368) + tid_digit(k, 5, "
    "1073741824) + "
    "tid_digit(k, 6, 33554432) + tid_digit(k, 7, 1048576) + tid_digit(k, 8, 32768) + tid_digit(k, 9, 1024) END";

enum bl_rc refresh_check(const struct refresh *r, struct bl_error *err) {
    bool stop = r->options->stop && *r->options->stop;
    return stop ? bl_fail(err, BL_E_CANCELLED, "the refresh of views was stopped") : BL_OK;
}

/* --- Rows of an answer --- */

struct ranked { /* one row of a statement whose last column is a key */
    struct bl_str *cells;
    bool shown;
    const struct found *post;
    struct person person;
};
struct answer {
    const struct view *view;
    struct bl_buf cells;
    int64_t rows;
    struct bl_arena arena; /* texts of `ranked` */
    struct ranked *ranked;
    size_t count, width;
};

static enum bl_rc take_plain(void *context, const struct bl_str *cells, size_t count, struct bl_error *err) {
    struct answer *a = context;
    (void)err;
    BL_ASSERT(count == a->view->column_count);
    for (size_t i = 0; i < count; i++) store_put_cell(&a->cells, cells[i]);
    a->rows++;
    return BL_OK;
}

static enum bl_rc take_ranked(void *context, const struct bl_str *cells, size_t count, struct bl_error *err) {
    struct answer *a = context;
    (void)err;
    a->ranked = bl_xrealloc(a->ranked, (a->count + 1) * sizeof *a->ranked);
    struct ranked *row = &a->ranked[a->count++];
    *row = (struct ranked){.cells = bl_arena_alloc(&a->arena, count * sizeof *row->cells)};
    a->width = count;
    for (size_t i = 0; i < count; i++) row->cells[i] = bl_arena_dup(&a->arena, cells[i]);
    return BL_OK;
}

static struct bl_str key_of(const struct answer *a, size_t i) {
    return a->ranked[i].cells[a->width - 1];
}

static enum bl_rc name_authors(struct refresh *r, struct answer *a, struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(a->count + 1, sizeof *dids);
    BL_CLEANUP(bl_freep) struct person *people = bl_xcalloc(a->count + 1, sizeof *people);
    for (size_t i = 0; i < a->count; i++) dids[i] = key_of(a, i);
    BL_TRY(people_lookup(r->q, dids, a->count, &a->arena, people, err));
    BL_TRY(names_of_people(r->q, dids, people, a->count, &a->arena, err));
    for (size_t i = 0; i < a->count; i++) {
        a->ranked[i].person = people[i];
        a->ranked[i].shown = !people[i].hidden;
    }
    return BL_OK;
}

static int by_record(const void *a, const void *b) {
    const struct query_hit *x = &((const struct found *)a)->hit, *y = &((const struct found *)b)->hit;
    int c = bl_str_cmp(x->did, y->did);
    return c ? c : bl_str_cmp(x->rkey, y->rkey);
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The files that may hold the records, by the time in their keys; all of them when one key tells none. */
static size_t files_of_records(const struct query *q, const struct bl_str *rkeys, size_t count,
                               const struct catalog_file ***files) {
    BL_CLEANUP(bl_freep) int64_t *hours = bl_xcalloc(count + 1, sizeof *hours);
    for (size_t i = 0; i < count; i++) {
        if (!at_is_tid(rkeys[i])) return session_files(q, EV_posts, INT64_MIN, INT64_MAX, files);
        hours[i] = at_tid_us(rkeys[i]) / HOUR_US;
    }
    if (count) qsort(hours, count, sizeof *hours, by_number);
    return session_files_near(q, EV_posts, hours, count, files);
}

/* A post that is not in the lake (it was made before the recording began) cannot be shown; one that was deleted must
 * not. */
static enum bl_rc find_posts(struct refresh *r, struct answer *a, struct found **items, struct bl_error *err) {
    struct find f = {r->q, &a->arena};
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = 0;
    BL_CLEANUP(bl_freep) struct bl_str *dids = bl_xcalloc(a->count + 1, sizeof *dids);
    BL_CLEANUP(bl_freep) struct bl_str *rkeys = bl_xcalloc(a->count + 1, sizeof *rkeys);
    for (size_t i = 0; i < a->count; i++) {
        rkeys[i] = key_of(a, i);
        dids[i] = bl_str_cut(&rkeys[i], '/');
    }
    size_t file_count = files_of_records(r->q, rkeys, a->count, &files);
    BL_TRY(find_records(&f, files, file_count, dids, rkeys, a->count, items, &count, err));
    BL_TRY(find_hidden(&f, *items, count, err));
    count = find_drop_hidden(*items, count);
    BL_TRY(names_of_hits(r->q, *items, count, &a->arena, err));
    if (count) qsort(*items, count, sizeof **items, by_record);
    for (size_t i = 0; i < a->count; i++) {
        struct found wanted = {.hit = {.did = dids[i], .rkey = rkeys[i]}};
        a->ranked[i].post = count ? bsearch(&wanted, *items, count, sizeof **items, by_record) : NULL;
        a->ranked[i].shown = a->ranked[i].post != NULL;
    }
    return BL_OK;
}

static void put_number(struct bl_buf *cells, int64_t n) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    store_put_cell(cells, bl_str(text));
}

static void put_person(struct bl_buf *cells, struct bl_str did, struct bl_str handle, struct bl_str name) {
    store_put_cell(cells, did);
    store_put_cell(cells, handle);
    store_put_cell(cells, name);
}

static void put_post(struct bl_buf *cells, const struct query_hit *hit) {
    BL_CLEANUP(bl_buf_release) struct bl_buf uri = {0};
    char time[BL_TIME_TEXT_MAX];
    bl_buf_printf(&uri, "at://%.*s/%s/%.*s", BL_ARG(hit->did), ev_schema(EV_posts)->collection, BL_ARG(hit->rkey));
    store_put_cell(cells, bl_buf_view(&uri));
    put_person(cells, hit->did, hit->handle, hit->display_name);
    store_put_cell(cells, hit->text);
    store_put_cell(cells, bl_str(bl_format_time(hit->time_us, 3, time)));
}

/* Ranks count what is shown; equal numbers share one. Each group has its own. */
static void put_ranked(struct answer *a) {
    int64_t in_group = 0, rank = 0;
    const struct ranked *before = NULL;
    for (size_t i = 0; i < a->count; i++) {
        const struct ranked *row = &a->ranked[i];
        if (i && !bl_str_eq(row->cells[0], a->ranked[i - 1].cells[0])) {
            in_group = 0;
            before = NULL;
        }
        if (!row->shown || in_group == VIEW_ROWS_MAX) continue;
        in_group++;
        if (!before || !bl_str_eq(before->cells[1], row->cells[1])) rank = in_group;
        before = row;
        if (a->view->grouped) store_put_cell(&a->cells, row->cells[0]);
        put_number(&a->cells, rank);
        for (size_t c = 1; c + 1 < a->width; c++) store_put_cell(&a->cells, row->cells[c]);
        if (row->post)
            put_post(&a->cells, &row->post->hit);
        else
            put_person(&a->cells, key_of(a, i), row->person.handle, row->person.display_name);
        a->rows++;
    }
}

static enum bl_rc compute(struct refresh *r, struct answer *a, struct bl_error *err) {
    const int64_t parameters[] = {r->now_hour, r->now_day};
    bool plain = a->view->names == NAMES_NONE;
    BL_TRY(store_ask(r->store, a->view->sql, parameters, 2, plain ? take_plain : take_ranked, a, err));
    if (plain) return bl_buf_check(&a->cells, "a view's answer", err);
    BL_CLEANUP(bl_freep) struct found *items = NULL;
    BL_TRY(a->view->names == NAMES_AUTHORS ? name_authors(r, a, err) : find_posts(r, a, &items, err));
    put_ranked(a);
    return bl_buf_check(&a->cells, "a view's answer", err);
}

static enum bl_rc renew(struct refresh *r, const struct view *view, struct bl_error *err) {
    struct answer a = {.view = view};
    watchdog_extend(r->q->watchdog, r->q->deadline_us);
    enum bl_rc rc = refresh_check(r, err);
    if (rc == BL_OK) rc = compute(r, &a, err);
    struct store_answer answer = {bl_wall_us(), r->newest_us, r->q->snapshot, r->lake_rows, a.rows, a.cells};
    if (rc == BL_OK) rc = store_set_answer(r->store, view->name, &answer, err);
    if (rc != BL_OK) rc = bl_err_prefix(err, rc, "view %s", view->name);
    if (rc == BL_OK) r->stats->views_renewed++;
    free(a.ranked);
    bl_arena_release(&a.arena);
    bl_buf_release(&a.cells);
    return rc;
}

/* --- What is due --- */

/* Sessions that use the store look again which files it has read. */
static enum bl_rc next_generation(struct refresh *r, struct bl_error *err) {
    int64_t generation;
    BL_TRY(store_get(r->store, "generation", 0, &generation, err));
    return store_set(r->store, "generation", generation + 1, err);
}

/* A young lake changes faster than any cadence: views follow whenever it has grown by a fifth. */
static enum bl_rc is_due(struct refresh *r, const struct view *view, bool *due, struct bl_error *err) {
    struct store_answer last = {0};
    bool found;
    BL_TRY(store_answer(r->store, view->name, false, &last, &found, err));
    bl_buf_release(&last.cells);
    int64_t period_us = view->hourly ? HOUR_US : DAY_US, age_us = bl_wall_us() - last.refreshed_us;
    bool aged = age_us >= period_us || age_us < 0, newer = last.as_of_us / period_us != r->newest_us / period_us;
    bool grown = r->lake_rows - last.lake_rows > last.lake_rows / 5;
    *due = !found || r->options->force || newer || grown || (aged && last.snapshot != r->q->snapshot);
    return BL_OK;
}

enum { VIEWS_MAX = 64 };

static enum bl_rc find_due(struct refresh *r, bool due[static VIEWS_MAX], bool *undone, struct bl_error *err) {
    BL_ASSERT(views_table_count <= VIEWS_MAX);
    *undone = false;
    for (size_t i = 0; i < views_table_count; i++) {
        BL_TRY(is_due(r, &views_table[i], &due[i], err));
        *undone |= due[i] && views_table[i].undone;
    }
    return BL_OK;
}

static enum bl_rc renew_due(struct refresh *r, const bool due[static VIEWS_MAX], struct bl_error *err) {
    for (size_t i = 0; i < views_table_count; i++)
        if (due[i]) BL_TRY(renew(r, &views_table[i], err));
    return BL_OK;
}

static enum bl_rc refresh_store(struct refresh *r, struct bl_error *err) {
    struct catalog_totals totals;
    BL_TRY(catalog_totals(r->q->catalog, &totals, err));
    r->newest_us = totals.max_us;
    r->lake_rows = totals.rows;
    r->now_hour = totals.max_us / HOUR_US;
    r->now_day = totals.max_us / DAY_US;
    r->stats->snapshot = r->q->snapshot;
    BL_TRY(duck_run(r->q->duck, tid_macro, err));
    BL_TRY(cubes_feed(r, err));
    bool due[VIEWS_MAX], undone;
    BL_TRY(find_due(r, due, &undone, err));
    if (undone) BL_TRY(undone_subtract(r, err));
    BL_TRY(store_begin(r->store, err));
    enum bl_rc rc = renew_due(r, due, err);
    if (rc == BL_OK) rc = cubes_prune(r, err);
    if (rc == BL_OK) rc = next_generation(r, err);
    if (rc == BL_OK) rc = store_commit(r->store, err);
    if (rc != BL_OK) store_rollback(r->store);
    return rc;
}

static enum bl_rc ask_refresh(struct query *q, void *context, bool *given, struct bl_error *err) {
    (void)given;
    struct refresh *r = context;
    r->q = q;
    return refresh_store(r, err);
}

/* Small: whatever a refresh reads, it reads in slices, so more memory would not make it faster. */
enum { MEMORY_DEFAULT = 256 << 20 };

enum bl_rc views_refresh(const struct views_refresh_options *o, struct views_refresh_stats *stats,
                         struct bl_error *err) {
    struct views_refresh_stats ignored;
    struct refresh r = {.options = o, .stats = stats ? stats : &ignored};
    BL_CLEANUP(bl_freep) char *temp_dir = bl_xasprintf("%s/.staging", o->lake_dir);
    struct query_options session = {.lake_dir = o->lake_dir,
                                    .memory_bytes = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT,
                                    .threads = o->threads ? o->threads : 1,
                                    .temp_dir = temp_dir,
                                    .resolver = o->resolver,
                                    .patient = true,
                                    .deadline_us = 600 * INT64_C(1000000)};
    int64_t start_ns = bl_mono_ns();
    *r.stats = (struct views_refresh_stats){0};
    BL_TRY(query_open(&session, &r.q, err));
    enum bl_rc rc = store_open(o->lake_dir, STORE_WRITE, &r.store, err);
    if (rc == BL_OK) rc = session_run(r.q, ask_refresh, &r, err);
    store_close(&r.store);
    query_close(&r.q);
    r.stats->elapsed_us = (bl_mono_ns() - start_ns) / 1000;
    return rc;
}
