/* bench_query DIR: searches of a lake against DuckDB over a glob, interleaved; cached views; figures of a day.
 *
 * Both sides answer in this process, with the same number of threads and as much memory. The peer gets what people
 * write first: read_parquet of a pattern, ILIKE, ORDER BY, LIMIT 50. Every figure is the median of ROUNDS rounds after
 * one that warms up; "cold" first asks the kernel to forget the lake's files (posix_fadvise). */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "lake/catalog.h"
#include "query/query.h"
#include "query/views.h"

enum { ROUNDS = 7, THREADS = 2 };

static void must(enum bl_rc rc, const struct bl_error *err) {
    if (rc == BL_OK) return;
    fprintf(stderr, "bench_query: %s\n", err->message);
    exit(1);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

static enum bl_rc ignore_columns(void *context, const struct query_column *columns, size_t count,
                                 struct bl_error *err) {
    (void)context, (void)columns, (void)count, (void)err;
    return BL_OK;
}
static enum bl_rc count_row(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    (void)values, (void)count, (void)err;
    ++*(int *)context;
    return BL_OK;
}
static enum bl_rc count_hit(void *context, const struct query_hit *hit, struct bl_error *err) {
    (void)hit, (void)err;
    ++*(int *)context;
    return BL_OK;
}

static struct query *open_lake(const char *dir) {
    struct bl_error err = {0};
    struct query *q = NULL;
    must(query_open(&(struct query_options){.lake_dir = dir, .threads = THREADS, .deadline_us = INT64_C(600000000)}, &q,
                    &err),
         &err);
    return q;
}

static int ask_search(struct query *q, const char *text) {
    struct bl_error err = {0};
    int hits = 0;
    must(query_search(q, &(struct query_search){.text = bl_str(text), .limit = 50}, count_hit, &hits, NULL, &err),
         &err);
    return hits;
}

static int ask_sql(struct query *q, const char *sql) {
    struct bl_error err = {0};
    int rows = 0;
    must(query_sql(q, bl_str(sql), &(struct query_sink){ignore_columns, count_row, &rows}, &err), &err);
    return rows;
}

static void forget_files(const char *dir) {
    struct bl_error err = {0};
    struct catalog *c = NULL;
    struct catalog_file *files;
    size_t count;
    must(catalog_open(dir, CATALOG_READ, &c, &err), &err);
    must(catalog_files(c, EV_TYPE_COUNT, 0, 0, &files, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", dir, files[i].path);
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    free(files);
    catalog_close(&c);
}

static double since_ms(int64_t start_ns) {
    return (double)(bl_mono_ns() - start_ns) / 1e6;
}

static void compare(struct query *ours, struct query *peer, const char *dir, const char *what, const char *term) {
    char sql[1024];
    snprintf(sql, sizeof sql,
             "SELECT time_us, did, rkey, text, langs, created_at FROM read_parquet('%s/**/posts*.parquet') WHERE text "
             "ILIKE '%%%s%%' "
             "ORDER BY time_us DESC LIMIT 50",
             dir, term);
    double mine[ROUNDS], theirs[ROUNDS];
    int hits = ask_search(ours, term), rows = ask_sql(peer, sql);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = bl_mono_ns();
        ask_search(ours, term);
        mine[i] = since_ms(start);
        start = bl_mono_ns();
        ask_sql(peer, sql);
        theirs[i] = since_ms(start);
    }
    double a = median(mine, ROUNDS), b = median(theirs, ROUNDS);
    printf("%-28s %-22s %8.1f ms %8.1f ms %7.1fx   (%d hits, peer %d)\n", what, term, a, b, b / a, hits, rows);
}

static void time_views(const char *dir) {
    struct bl_error err = {0};
    struct views_refresh_stats stats;
    must(views_refresh(&(struct views_refresh_options){.lake_dir = dir, .force = true, .threads = THREADS}, &stats,
                       &err),
         &err);
    printf("views: %zu renewed from %zu new files in %.1f s", stats.views_renewed, stats.files_read,
           (double)stats.elapsed_us / 1e6);
    must(views_refresh(&(struct views_refresh_options){.lake_dir = dir, .force = true, .threads = THREADS}, &stats,
                       &err),
         &err);
    printf(", again without new files in %.1f s\n", (double)stats.elapsed_us / 1e6);
    struct views *v = NULL;
    must(views_open(dir, &v, &err), &err);
    double worst = 0;
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        must(views_info(v, i, &info, &exists, &err), &err);
        if (!exists) break;
        double times[ROUNDS];
        for (int round = 0; round < ROUNDS; round++) {
            int rows = 0;
            int64_t start = bl_mono_ns();
            must(views_answer(v, info.name, &(struct query_sink){ignore_columns, count_row, &rows}, NULL, &err), &err);
            times[round] = since_ms(start);
        }
        double m = median(times, ROUNDS);
        if (m > worst) worst = m;
    }
    printf("views: slowest stored answer %.2f ms (median of %d)\n", worst, ROUNDS);
    views_close(&v);
}

static void time_cold(const char *dir, const char *what, const char *term, int64_t day_us) {
    double times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        struct bl_error err = {0};
        struct query_daily_stats day;
        forget_files(dir);
        int64_t start = bl_mono_ns();
        struct query *q = open_lake(dir);
        if (term)
            ask_search(q, term);
        else
            must(query_daily_stats(q, day_us, &day, &err), &err);
        times[i] = since_ms(start);
        query_close(&q);
    }
    printf("%-28s %-22s %8.1f ms\n", what, term ? term : "-", median(times, ROUNDS));
}

static void time_counts(struct query *q, const char *text) {
    double times[ROUNDS];
    int64_t total = 0;
    for (int i = -1; i < ROUNDS; i++) {
        struct bl_error err = {0};
        struct query_counts counts;
        int64_t start = bl_mono_ns();
        must(query_counts(q, &(struct query_search){.text = bl_str(text)}, QUERY_BUCKET_HOUR, 0, &counts, &err), &err);
        if (i >= 0) times[i] = since_ms(start);
        total = counts.total;
        free(counts.buckets);
    }
    printf("%-28s %-22s %8.1f ms   (%" PRId64 " posts)\n", "histogram", *text ? text : "everything",
           median(times, ROUNDS), total);
}

static void time_export(struct query *q) {
    struct bl_error err = {0};
    int hits = 0;
    int64_t start = bl_mono_ns();
    must(query_export(q, &(struct query_search){0}, count_hit, &hits, NULL, &err), &err);
    double ms = since_ms(start);
    printf("%-28s %-22s %8.1f ms   (%d posts, %.0f a second)\n", "export", "everything", ms, hits, hits / ms * 1e3);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_query DIR   (a lake, such as one of a simulated day)\n");
        return 2;
    }
    const char *dir = argv[1];
    struct bl_error err = {0};
    struct query *ours = open_lake(dir), *peer = open_lake(dir);
    struct query_lake_status status;
    must(query_lake_status(ours, &status, &err), &err);
    printf("lake: %" PRId64 " events in %" PRId64 " files, %" PRId64
           " posts; %d threads, medians of %d interleaved rounds\n",
           status.rows, status.files, status.types[EV_posts].rows, THREADS, ROUNDS);
    printf("%-28s %-22s %11s %11s %8s\n", "top 50", "term", "bluelake", "peer", "");
    compare(ours, peer, dir, "common word", argc > 2 ? argv[2] : "coffee");
    compare(ours, peer, dir, "absent word", argc > 3 ? argv[3] : "qqqzebra");
    compare(ours, peer, dir, "rare word", argc > 4 ? argv[4] : "amber1026844");
    time_counts(ours, "");
    time_counts(ours, "coffee");
    time_export(ours);
    time_cold(dir, "cold: figures of the day", NULL, status.newest_us);
    time_cold(dir, "cold: common word", "coffee", 0);
    time_cold(dir, "cold: absent word", "qqqzebra", 0);
    time_views(dir);
    query_close(&ours);
    query_close(&peer);
    return 0;
}
