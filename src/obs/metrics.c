#include "obs/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "event/event.h"
#include "obs/alert.h"

#define METRIC(id, kind_, name_, label_, unit_, roles_, help_)                                                         \
    [M_##id] = {.name = name_,                                                                                         \
                .unit = unit_,                                                                                         \
                .help = help_,                                                                                         \
                .kind = METRIC_##kind_,                                                                                \
                .label = METRIC_##label_,                                                                              \
                .roles = roles_},
static const struct metric_info table[METRIC_COUNT] = {
#include "obs/metrics.def"
};
#undef METRIC

enum { LABELS_MAX = 32, BUCKETS = 12 };
static_assert((int)EV_TYPE_COUNT <= (int)LABELS_MAX && (int)EV_REASON_COUNT <= (int)LABELS_MAX &&
                  (int)ALERT_COUNT <= (int)LABELS_MAX,
              "labels fit");

/* Seconds; the specification's limits (1 s to Redis, P95 below 50 ms) are bucket bounds. */
static const double bounds[BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};

static _Atomic double values[METRIC_COUNT][LABELS_MAX];
static struct {
    _Atomic uint64_t buckets[BUCKETS + 1];
    _Atomic double sum;
} histograms[METRIC_COUNT];

static void atomic_add(_Atomic double *to, double amount) {
    double old = atomic_load_explicit(to, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(to, &old, old + amount, memory_order_relaxed, memory_order_relaxed)) {
    }
}

const struct metric_info *metric_info(enum metric m) { return &table[m]; }

void metric_add(enum metric m, unsigned label, double amount) { atomic_add(&values[m][label % LABELS_MAX], amount); }

void metric_set(enum metric m, unsigned label, double value) {
    atomic_store_explicit(&values[m][label % LABELS_MAX], value, memory_order_relaxed);
}

double metric_get(enum metric m, unsigned label) {
    return atomic_load_explicit(&values[m][label % LABELS_MAX], memory_order_relaxed);
}

double metric_sum(enum metric m) {
    double sum = 0;
    for (unsigned label = 0; label < LABELS_MAX; label++) sum += metric_get(m, label);
    return sum;
}

void metric_observe(enum metric m, double value) {
    unsigned bucket = 0;
    while (bucket < BUCKETS && value > bounds[bucket]) bucket++;
    atomic_fetch_add_explicit(&histograms[m].buckets[bucket], 1, memory_order_relaxed);
    atomic_add(&histograms[m].sum, value);
}

static void expose_histogram(enum metric m, struct bl_buf *out) {
    uint64_t total = 0;
    for (unsigned b = 0; b <= BUCKETS; b++) {
        total += atomic_load_explicit(&histograms[m].buckets[b], memory_order_relaxed);
        if (b < BUCKETS)
            bl_buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", table[m].name, bounds[b], (unsigned long long)total);
        else
            bl_buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n", table[m].name, (unsigned long long)total);
    }
    bl_buf_printf(out, "%s_sum %.9g\n%s_count %llu\n", table[m].name,
                  atomic_load_explicit(&histograms[m].sum, memory_order_relaxed), table[m].name,
                  (unsigned long long)total);
}

/* The shortest of two forms that reads back to the same value. */
static void put_value(struct bl_buf *out, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value) snprintf(text, sizeof text, "%.17g", value);
    bl_buf_printf(out, " %s\n", text);
}

static void expose_values(enum metric m, unsigned roles, struct bl_buf *out) {
    switch (table[m].label) {
    case METRIC_NO_LABEL:
        bl_buf_z(out, table[m].name);
        put_value(out, metric_get(m, 0));
        break;
    case METRIC_BY_TYPE:
        for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
            bl_buf_printf(out, "%s{type=\"%s\"}", table[m].name, ev_schema((enum ev_type)t)->name);
            put_value(out, metric_get(m, t));
        }
        break;
    case METRIC_BY_REASON:
        for (unsigned r = 1; r < EV_REASON_COUNT; r++) {
            bl_buf_printf(out, "%s{reason=\"%s\"}", table[m].name, ev_reason_name((enum ev_reason)r));
            put_value(out, metric_get(m, r));
        }
        break;
    case METRIC_BY_ALERT:
        for (unsigned a = 0; a < ALERT_COUNT; a++) {
            const struct alert_info *info = alert_info((enum alert)a);
            if (!(info->roles & roles)) continue;
            bl_buf_printf(out, "%s{alert=\"%s\",severity=\"%s\"}", table[m].name, info->name, info->severity);
            put_value(out, metric_get(m, a));
        }
        break;
    }
}

void metrics_expose(unsigned roles, struct bl_buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (!(table[i].roles & roles)) continue;
        bl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", table[i].name, table[i].help, table[i].name,
                      kinds[table[i].kind]);
        if (table[i].kind == METRIC_HISTOGRAM)
            expose_histogram((enum metric)i, out);
        else
            expose_values((enum metric)i, roles, out);
    }
}
