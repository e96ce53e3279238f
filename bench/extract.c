/* bench_extract FILE.ndjson [EVENTS]: events a second that one thread turns into rows, by bluelake and by jansson.
 *
 * Both take the same bytes and read the same fields (all columns that are not derived; bluelake also computes the
 * derived ones and keeps what no column holds). Rounds alternate, so that a busy machine slows both; the medians are
 * compared. */
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "bench/bench.h"
#include "event/event.h"

enum { ROUNDS = 7 };

struct input {
    struct bl_str *events;
    size_t count, bytes;
};

static uint64_t sum; /* keeps the compiler from leaving the work out */

static void see_text(const json_t *value) {
    sum += json_string_length(value);
}

static void see_reference(const json_t *object) {
    see_text(json_object_get(object, "uri"));
    see_text(json_object_get(object, "cid"));
}

static void see_record(const json_t *record) {
    static const char *const texts[] = {"$type",       "createdAt", "text",   "displayName",
                                        "description", "pronouns",  "website"};
    static const char *const references[] = {"subject", "via", "pinnedPost"};
    static const char *const values[] = {"facets", "embed", "avatar", "banner"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) see_text(json_object_get(record, texts[i]));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) sum += json_object_get(record, values[i]) != NULL;
    for (size_t i = 0; i < sizeof references / sizeof *references; i++)
        see_reference(json_object_get(record, references[i]));
    const json_t *reply = json_object_get(record, "reply"), *langs = json_object_get(record, "langs");
    see_reference(json_object_get(reply, "root"));
    see_reference(json_object_get(reply, "parent"));
    for (size_t i = 0; i < json_array_size(langs); i++) see_text(json_array_get(langs, i));
}

static void read_with_jansson(struct bl_str message) {
    json_error_t error;
    json_t *root = json_loadb(message.p, message.n, JSON_ALLOW_NUL, &error);
    const json_t *commit = json_object_get(root, "commit");
    static const char *const texts[] = {"rev", "operation", "collection", "rkey", "cid"};
    see_text(json_object_get(root, "did"));
    see_text(json_object_get(root, "kind"));
    sum += (uint64_t)json_integer_value(json_object_get(root, "time_us"));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) see_text(json_object_get(commit, texts[i]));
    see_record(json_object_get(commit, "record"));
    json_decref(root);
}

static int64_t run_jansson(const struct input *in) {
    int64_t from = bl_thread_cpu_ns();
    for (size_t i = 0; i < in->count; i++) read_with_jansson(in->events[i]);
    return bl_thread_cpu_ns() - from;
}

static int64_t run_bluelake(const struct input *in, bool check) {
    struct bl_arena arena = {0};
    struct event ev;
    enum ev_reason why;
    int64_t from = bl_thread_cpu_ns();
    for (size_t i = 0; i < in->count; i++) {
        enum bl_rc rc = check ? ev_check(in->events[i], &arena, &ev, &why, NULL)
                              : ev_decode(in->events[i], &arena, &ev, &why, NULL);
        if (rc == BL_OK) sum += ev.has + (uint64_t)ev.v[EV_TIME_US].i;
        if (i % 1024 == 1023) bl_arena_reset(&arena);
    }
    int64_t took = bl_thread_cpu_ns() - from;
    bl_arena_release(&arena);
    return took;
}

static double rate(size_t count, int64_t took) {
    return (double)count * 1e9 / (double)took;
}

/* The file's lines, copied one after another until there are `wanted` events, so that the run does not live in cache.
 */
static void fill(struct input *in, struct bl_str file, size_t wanted, struct bl_buf *bytes) {
    size_t lines = 0, size = 0;
    for (struct bl_str rest = file; rest.n; lines++) size += bl_str_cut(&rest, '\n').n;
    if (lines == 0) return;
    bytes->max = size * (wanted / lines + 1) + 1;
    in->events = bl_xcalloc(wanted, sizeof *in->events);
    if (!bl_buf_reserve(bytes, bytes->max)) return;
    while (in->count < wanted) {
        struct bl_str rest = file;
        while (rest.n && in->count < wanted) {
            struct bl_str line = bl_str_cut(&rest, '\n');
            if (line.n == 0) continue;
            in->events[in->count++] = bl_strn(bytes->p + bytes->n, line.n);
            bl_buf_str(bytes, line);
        }
    }
    in->bytes = bytes->n;
}

int main(int argc, char **argv) {
    int64_t wanted = 200000;
    if (argc < 2 || argc > 3 || (argc == 3 && !bl_parse_i64(bl_str(argv[2]), 1, 1 << 26, &wanted))) {
        fprintf(stderr, "usage: bench_extract FILE.ndjson [EVENTS]\n");
        return 2;
    }
    struct bl_error err = {0};
    struct bl_buf file = {0}, bytes = {0};
    struct input in = {0};
    if (bl_read_file(argv[1], 1 << 30, &file, &err) != BL_OK) {
        fprintf(stderr, "bench_extract: %s\n", err.message);
        return 1;
    }
    fill(&in, bl_buf_view(&file), (size_t)wanted, &bytes);
    if (in.count == 0) {
        fprintf(stderr, "bench_extract: %s holds no events\n", argv[1]);
        return 1;
    }
    double jansson[ROUNDS], decode[ROUNDS], check[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        jansson[i] = rate(in.count, run_jansson(&in));
        decode[i] = rate(in.count, run_bluelake(&in, false));
        check[i] = rate(in.count, run_bluelake(&in, true));
    }
    double base = bench_result("extract.jansson", jansson, ROUNDS),
           full = bench_result("extract.decode", decode, ROUNDS), quick = bench_result("extract.check", check, ROUNDS);
    printf("%zu events, %zu bytes, median of %d rounds, one thread, CPU time\n", in.count, in.bytes, ROUNDS);
    printf("jansson    %10.0f events/s\n", base);
    printf("ev_decode  %10.0f events/s  %5.1f x jansson  %.0f MB/s\n", full, full / base,
           full * (double)in.bytes / (double)in.count / 1e6);
    printf("ev_check   %10.0f events/s  %5.1f x jansson\n", quick, quick / base);
    free(in.events);
    bl_buf_release(&file);
    bl_buf_release(&bytes);
    return sum == 1; /* sum is used */
}
