#include "obs/metrics.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/event.h"
#include "expect.h"

enum { ALL_ROLES = ROLE_INGEST | ROLE_WRITE | ROLE_SERVE | ROLE_SIMULATE, SAMPLES_MAX = 4096 };

struct sample {
    char name[128], labels[128];
    double value;
};
struct exposition {
    struct sample samples[SAMPLES_MAX];
    size_t count, families;
};

static bool is_name(struct bl_str s, const char *extra) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!isalpha((unsigned char)c) && c != '_' && !strchr(extra, c) && !(i && isdigit((unsigned char)c)))
            return false;
    }
    return s.n > 0;
}

/* name="value",... : names well formed, values without anything that needs escaping. */
static void check_labels(struct bl_str labels) {
    while (labels.n) {
        struct bl_str value = bl_str_cut(&labels, ',');
        struct bl_str name = bl_str_cut(&value, '=');
        EXPECT(is_name(name, "") && value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"');
        EXPECT(!memchr(value.p + 1, '"', value.n - 2) && !memchr(value.p, '\\', value.n));
    }
}

static void add_sample(struct exposition *e, struct bl_str line, struct bl_str family) {
    struct bl_str value = line;
    struct bl_str head = bl_str_cut(&value, ' ');
    struct bl_str labels = head;
    struct bl_str name = bl_str_cut(&labels, '{');
    EXPECT(is_name(name, ":") && bl_str_starts(name, family) && e->count < SAMPLES_MAX);
    if (labels.n) {
        EXPECT(labels.p[labels.n - 1] == '}');
        labels.n--;
        check_labels(labels);
    }
    struct sample *s = &e->samples[e->count++];
    snprintf(s->name, sizeof s->name, "%.*s", BL_ARG(name));
    snprintf(s->labels, sizeof s->labels, "%.*s", BL_ARG(labels));
    char number[64], *end;
    snprintf(number, sizeof number, "%.*s", BL_ARG(value));
    s->value = strtod(number, &end);
    EXPECT(value.n && *end == 0);
    for (size_t i = 0; i + 1 < e->count; i++)
        if (strcmp(e->samples[i].name, s->name) == 0 && strcmp(e->samples[i].labels, s->labels) == 0)
            fail_msg("%s{%s} is there twice", s->name, s->labels);
}

/* The text format 0.0.4: HELP, TYPE, samples of that family, once each, every line ended by \n. */
static void parse(struct exposition *e, struct bl_str text) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct bl_str family = {0};
    *e = (struct exposition){0};
    EXPECT(text.n && text.p[text.n - 1] == '\n');
    while (text.n) {
        struct bl_str line = bl_str_cut(&text, '\n');
        if (bl_str_starts(line, BL_LIT("# HELP "))) {
            struct bl_str help = bl_str_skip(line, 7);
            family = bl_str_cut(&help, ' ');
            EXPECT(is_name(family, ":") && help.n && !memchr(help.p, '\\', help.n));
            line = bl_str_cut(&text, '\n');
            EXPECT(bl_str_starts(line, BL_LIT("# TYPE ")));
            struct bl_str type = bl_str_skip(line, 7);
            EXPECT(bl_str_eq(bl_str_cut(&type, ' '), family));
            EXPECT(bl_str_eq(type, bl_str(types[0])) || bl_str_eq(type, bl_str(types[1])) ||
                   bl_str_eq(type, bl_str(types[2])));
            e->families++;
            continue;
        }
        EXPECT(line.n && line.p[0] != '#' && family.n);
        add_sample(e, line, family);
    }
}

static double value_of(const struct exposition *e, const char *name, const char *labels) {
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->samples[i].name, name) == 0 && strcmp(e->samples[i].labels, labels) == 0)
            return e->samples[i].value;
    fail_msg("no %s{%s}", name, labels);
    return 0;
}

static struct exposition exposition;

static void every_metric_is_exposed_in_the_text_format(void **state) {
    (void)state;
    struct bl_buf out = {0};
    metrics_expose(ALL_ROLES, &out);
    parse(&exposition, bl_buf_view(&out));
    EXPECT(exposition.families == METRIC_COUNT);
    bl_buf_release(&out);
}

static void values_come_out_as_they_went_in(void **state) {
    (void)state;
    struct bl_buf out = {0};
    metric_add(M_received, EV_likes, 3);
    metric_add(M_received, EV_likes, 9007199254740000.0);
    metric_add(M_received, EV_posts, 1);
    metric_set(M_cursor, 0, 1795248300.123456);
    metric_set(M_ingest_lag, 0, -0.25);
    metrics_expose(ROLE_INGEST, &out);
    parse(&exposition, bl_buf_view(&out));
    EXPECT(value_of(&exposition, "bluelake_events_received_total", "type=\"likes\"") == 9007199254740003.0);
    EXPECT(value_of(&exposition, "bluelake_cursor_time_seconds", "") == 1795248300.123456);
    EXPECT(value_of(&exposition, "bluelake_ingest_lag_seconds", "") == -0.25);
    EXPECT(metric_sum(M_received) == 9007199254740004.0 && metric_get(M_received, EV_posts) == 1);
    bl_buf_release(&out);
}

static void histograms_are_cumulative_and_agree_with_their_count(void **state) {
    (void)state;
    static const double seen[] = {0.0001, 0.001, 0.0011, 0.05, 0.3, 9.9, 10, 11, 1e9};
    struct bl_buf out = {0};
    double sum = 0;
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        metric_observe(M_buffer_latency, seen[i]);
        sum += seen[i];
    }
    metrics_expose(ROLE_INGEST, &out);
    parse(&exposition, bl_buf_view(&out));
    const char *name = "bluelake_receipt_to_redis_seconds_bucket";
    double last = 0;
    for (size_t i = 0; i < exposition.count; i++) {
        if (strcmp(exposition.samples[i].name, name) != 0) continue;
        EXPECT(exposition.samples[i].value >= last);
        last = exposition.samples[i].value;
    }
    EXPECT(value_of(&exposition, name, "le=\"0.001\"") == 2 && value_of(&exposition, name, "le=\"10\"") == 7);
    EXPECT(last == 9 && value_of(&exposition, "bluelake_receipt_to_redis_seconds_count", "") == 9);
    double shown = value_of(&exposition, "bluelake_receipt_to_redis_seconds_sum", "");
    EXPECT(shown > sum * 0.999999 && shown < sum * 1.000001);
    bl_buf_release(&out);
}

static void names_follow_the_conventions_of_their_kind(void **state) {
    (void)state;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *m = metric_info((enum metric)i);
        bool own = bl_str_starts(bl_str(m->name), BL_LIT("bluelake_"));
        bool total = bl_str_ends(bl_str(m->name), BL_LIT("_total"));
        if (own && total != (m->kind == METRIC_COUNTER)) fail_msg("%s", m->name);
        EXPECT(m->roles && !(m->roles & ~(unsigned)ALL_ROLES) && *m->help && *m->unit);
        for (unsigned k = 0; k < i; k++) EXPECT(strcmp(metric_info((enum metric)k)->name, m->name) != 0);
    }
}

static void a_role_shows_its_own_metrics_only(void **state) {
    (void)state;
    struct bl_buf out = {0};
    metrics_expose(ROLE_WRITE, &out);
    EXPECT(!strstr(bl_buf_cstr(&out), "bluelake_events_received_total"));
    EXPECT(strstr(bl_buf_cstr(&out), "bluelake_events_written_total"));
    bl_buf_release(&out);
}

/* Prometheus' own linter, where it is installed. Its advice about names is of no concern: the specification sets them.
 */
static void promtool_reads_it(void **state) {
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        print_message("promtool is not installed\n");
        skip();
    }
    struct bl_buf out = {0};
    metrics_expose(ALL_ROLES, &out);
    FILE *tool = popen("promtool check metrics >/dev/null 2>&1", "w");
    EXPECT(tool && fwrite(out.p, 1, out.n, tool) == out.n);
    int status = pclose(tool);
    EXPECT(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3)); /* 3: lint advice */
    bl_buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_is_exposed_in_the_text_format),
        cmocka_unit_test(values_come_out_as_they_went_in),
        cmocka_unit_test(histograms_are_cumulative_and_agree_with_their_count),
        cmocka_unit_test(names_follow_the_conventions_of_their_kind),
        cmocka_unit_test(a_role_shows_its_own_metrics_only),
        cmocka_unit_test(promtool_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
