/* bench_query DIR [ROUNDS]: searches of a lake against DuckDB over a glob, interleaved; counts, export, cold starts,
 * views.
 *
 * Both sides answer in this process, with the same number of threads and as much memory. The peer gets what people
 * write first: read_parquet of a pattern, ILIKE, ORDER BY, LIMIT 50; it applies no edits, deletions or hidden accounts.
 * Every figure is the median of ROUNDS rounds (7) after one that warms up; beside it stands the processor time, of all
 * threads, which a busy machine changes less. "cold" first asks the kernel to forget the lake's files
 * (posix_fadvise). The words looked for are taken from the lake: one that about 50 posts hold, one that 2 hold.
 *
 * Lines for people, and for bench.py: RESULT NAME MEDIAN LEAST MOST. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "lake/catalog.h"
#include "query/query.h"
#include "query/views.h"

enum { ROUNDS_MAX = 99, THREADS = 2, TEXT = 256 };
static int rounds = 7;

static void must(enum bl_rc rc, const struct bl_error *err) {
    if (rc == BL_OK) return;
    fprintf(stderr, "bench_query: %s\n", err->message);
    exit(1);
}

/* --- Times --- */

struct times {
    double wall[ROUNDS_MAX], cpu[ROUNDS_MAX]; /* milliseconds */
    int count;
};
struct moment {
    int64_t wall_ns, cpu_ns;
};

static struct moment now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (struct moment){bl_mono_ns(), t.tv_sec * INT64_C(1000000000) + t.tv_nsec};
}

static void note(struct times *t, struct moment start) {
    struct moment end = now();
    t->wall[t->count] = (double)(end.wall_ns - start.wall_ns) / 1e6;
    t->cpu[t->count++] = (double)(end.cpu_ns - start.cpu_ns) / 1e6;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    return values[n / 2];
}

static void print_result(const char *name, const char *side, struct times *t) {
    double m = median(t->wall, t->count);
    printf("RESULT %s.%s %.4f %.4f %.4f\n", name, side, m, t->wall[0], t->wall[t->count - 1]);
    printf("RESULT %s.%s.cpu %.4f %.4f %.4f\n", name, side, median(t->cpu, t->count), t->cpu[0], t->cpu[t->count - 1]);
}

/* --- Questions --- */

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

static enum bl_rc take_first(void *context, const struct bl_str *values, size_t count, struct bl_error *err) {
    (void)count, (void)err;
    snprintf(context, TEXT, "%.*s", BL_ARG(values[0]));
    return BL_OK;
}

/* The first value of an answer. */
static void ask_value(struct query *q, const char *sql, char out[static TEXT]) {
    struct bl_error err = {0};
    *out = 0;
    must(query_sql(q, bl_str(sql), &(struct query_sink){ignore_columns, take_first, out}, &err), &err);
}

static void word_of_about(struct query *q, int posts, char out[static TEXT]) {
    char sql[600];
    snprintf(sql, sizeof sql,
             "SELECT word FROM (SELECT word, count(*) c FROM (SELECT unnest(list_distinct(regexp_extract_all("
             "lower(text), '[a-z0-9]{6,}'))) word FROM posts) GROUP BY 1) ORDER BY abs(c - %d), word LIMIT 1",
             posts);
    ask_value(q, sql, out);
}

/* --- Comparisons --- */

static void compare(struct query *ours, struct query *peer, const char *dir, const char *name, const char *search,
                    const char *condition) {
    char sql[1024];
    snprintf(sql, sizeof sql,
             "SELECT time_us, did, rkey, text, langs, created_at FROM read_parquet('%s/**/posts*.parquet') WHERE %s "
             "ORDER BY time_us DESC LIMIT 50",
             dir, condition);
    struct times mine = {0}, theirs = {0};
    int hits = ask_search(ours, search), rows = ask_sql(peer, sql);
    for (int i = 0; i < rounds; i++) {
        struct moment start = now();
        ask_search(ours, search);
        note(&mine, start);
        start = now();
        ask_sql(peer, sql);
        note(&theirs, start);
    }
    double a = median(mine.wall, rounds), b = median(theirs.wall, rounds);
    printf("%-14s %-40.40s %9.2f ms %9.1f ms %8.0fx   cpu %8.2f %9.1f ms   (%d hits, peer %d)\n", name, search, a, b,
           b / a, median(mine.cpu, rounds), median(theirs.cpu, rounds), hits, rows);
    print_result(name, "ours", &mine);
    print_result(name, "peer", &theirs);
}

static void compare_word(struct query *ours, struct query *peer, const char *dir, const char *name, const char *word) {
    char condition[TEXT + 40];
    snprintf(condition, sizeof condition, "text ILIKE '%%%s%%'", word);
    compare(ours, peer, dir, name, word, condition);
}

static void compare_all(struct query *ours, struct query *peer, const char *dir) {
    char word[TEXT], value[TEXT], search[TEXT + 10], condition[TEXT + 60];
    compare_word(ours, peer, dir, "common", "coffee");
    word_of_about(peer, 50, word);
    compare_word(ours, peer, dir, "rare", word);
    word_of_about(peer, 2, word);
    compare_word(ours, peer, dir, "two-hits", word);
    compare_word(ours, peer, dir, "absent", "qqqzebra");
    ask_value(peer, "SELECT did FROM posts GROUP BY did ORDER BY abs(count(*) - 20), did LIMIT 1", value);
    snprintf(search, sizeof search, "from:%s", value);
    snprintf(condition, sizeof condition, "did = '%s'", value);
    compare(ours, peer, dir, "from", search, condition);
    ask_value(peer,
              "SELECT tag FROM (SELECT unnest(hashtags) tag FROM posts) GROUP BY tag ORDER BY abs(count(*) - 200), tag "
              "LIMIT 1",
              value);
    snprintf(search, sizeof search, "#%s", value);
    snprintf(condition, sizeof condition, "list_contains(hashtags, '%s')", value);
    compare(ours, peer, dir, "tag", search, condition);
    compare(ours, peer, dir, "newest", "", "true");
    compare(ours, peer, dir, "excluded", "coffee -the lang:en",
            "text ILIKE '%coffee%' AND NOT text ILIKE '%the%' AND list_contains(langs, 'en')");
}

static void time_counts(struct query *q, const char *name, const char *text) {
    struct times t = {0};
    int64_t total = 0;
    for (int i = -1; i < rounds; i++) {
        struct bl_error err = {0};
        struct query_counts counts;
        struct moment start = now();
        must(query_counts(q, &(struct query_search){.text = bl_str(text)}, QUERY_BUCKET_HOUR, 0, &counts, &err), &err);
        if (i >= 0) note(&t, start);
        total = counts.total;
        free(counts.buckets);
    }
    printf("%-14s %-40.40s %9.2f ms %34s cpu %8.2f ms   (%" PRId64 " posts)\n", name, *text ? text : "everything",
           median(t.wall, t.count), "", median(t.cpu, t.count), total);
    print_result(name, "ours", &t);
}

static void time_export(struct query *q) {
    struct bl_error err = {0};
    struct times t = {0};
    int hits = 0;
    struct moment start = now();
    must(query_export(q, &(struct query_search){0}, count_hit, &hits, NULL, &err), &err);
    note(&t, start);
    printf("%-14s %-40s %9.1f ms %34s cpu %8.1f ms   (%d posts, %.0f a second)\n", "export", "everything", t.wall[0],
           "", t.cpu[0], hits, hits / t.wall[0] * 1e3);
    print_result("export", "ours", &t);
}

/* --- Cold --- */

static void forget_file(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* Calls `visit` with every file of the index; how many bytes they have. */
static int64_t each_of_index(const char *dir, void (*visit)(const char *path)) {
    char path[1024];
    int64_t bytes = 0;
    snprintf(path, sizeof path, "%s/index", dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/index/%s", dir, e->d_name);
        if (stat(path, &st) == 0) bytes += st.st_size;
        if (visit) visit(path);
    }
    if (d) closedir(d);
    return bytes;
}

static void remove_file(const char *path) {
    unlink(path);
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
        forget_file(path);
    }
    free(files);
    catalog_close(&c);
    each_of_index(dir, forget_file);
}

enum cold { COLD_DAY, COLD_SEARCH, COLD_BUILD };

static void time_cold(const char *dir, const char *name, enum cold what, const char *text, int64_t day_us) {
    struct times t = {0};
    for (int i = 0; i < rounds; i++) {
        struct bl_error err = {0};
        struct query_daily_stats day;
        if (what == COLD_BUILD) each_of_index(dir, remove_file);
        forget_files(dir);
        struct moment start = now();
        struct query *q = open_lake(dir);
        if (what == COLD_DAY)
            must(query_daily_stats(q, day_us, &day, &err), &err);
        else
            ask_search(q, text);
        note(&t, start);
        query_close(&q);
    }
    printf("%-14s %-40.40s %9.1f ms %34s cpu %8.1f ms\n", name, text, median(t.wall, t.count), "",
           median(t.cpu, t.count));
    print_result(name, "ours", &t);
}

/* --- Views --- */

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
    struct times worst = {0};
    for (size_t i = 0;; i++) {
        struct view_info info;
        bool exists;
        struct times t = {0};
        must(views_info(v, i, &info, &exists, &err), &err);
        if (!exists) break;
        for (int round = 0; round < rounds; round++) {
            int rows = 0;
            struct moment start = now();
            must(views_answer(v, info.name, &(struct query_sink){ignore_columns, count_row, &rows}, NULL, &err), &err);
            note(&t, start);
        }
        if (!worst.count || median(t.wall, t.count) > median(worst.wall, worst.count)) worst = t;
    }
    printf("views: slowest stored answer %.2f ms (median of %d)\n", median(worst.wall, worst.count), rounds);
    print_result("view", "ours", &worst);
    views_close(&v);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_query DIR [ROUNDS]   (a lake, such as one of a simulated day)\n");
        return 2;
    }
    const char *dir = argv[1];
    int64_t wanted = rounds;
    if (argc > 2 && !bl_parse_i64(bl_str(argv[2]), 1, ROUNDS_MAX, &wanted)) {
        fprintf(stderr, "bench_query: ROUNDS is a number from 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    rounds = (int)wanted;
    struct bl_error err = {0};
    struct query *ours = open_lake(dir), *peer = open_lake(dir);
    struct query_lake_status status;
    must(query_lake_status(ours, &status, &err), &err);
    int64_t posts = status.types[EV_posts].rows;
    printf("lake: %" PRId64 " events in %" PRId64 " files, %" PRId64 " posts in %" PRId64
           "; %d threads, medians of %d interleaved rounds\n",
           status.rows, status.files, posts, status.types[EV_posts].files, THREADS, rounds);
    printf("RESULT posts.ours %" PRId64 " %" PRId64 " %" PRId64 "\n", posts, posts, posts);
    time_cold(dir, "cold-build", COLD_BUILD, "qqqzebra", 0);
    int64_t index_bytes = each_of_index(dir, NULL);
    printf("index: %.1f MB, %.1f bytes a post; the posts files: %.1f bytes a post\n", (double)index_bytes / 1e6,
           (double)index_bytes / (double)posts, (double)status.types[EV_posts].bytes / (double)posts);
    double each = (double)index_bytes / (double)posts;
    printf("RESULT index-bytes.ours %.1f %.1f %.1f\n", each, each, each);
    compare_all(ours, peer, dir);
    time_counts(ours, "count-all", "");
    time_counts(ours, "count-word", "coffee");
    time_counts(ours, "count-rare", "qqqzebra");
    time_export(ours);
    time_cold(dir, "cold-day", COLD_DAY, "figures of the day", status.newest_us);
    time_cold(dir, "cold-common", COLD_SEARCH, "coffee", 0);
    time_cold(dir, "cold-absent", COLD_SEARCH, "qqqzebra", 0);
    time_views(dir);
    query_close(&ours);
    query_close(&peer);
    return 0;
}
