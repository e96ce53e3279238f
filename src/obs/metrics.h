/* metrics: the process's numbers, from one table (metrics.def), as Prometheus text.
 *
 * May include: base, event (type names). Exposition format 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/. Values are relaxed atomics: any thread, no locks, no
 * allocation. A row belongs to roles; a process shows the rows of its role only. docs/METRICS.md is generated from the
 * table. */
#pragma once
#include "base/mem.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_label { METRIC_NO_LABEL, METRIC_BY_TYPE, METRIC_BY_REASON, METRIC_BY_ALERT };
enum metric_role { ROLE_INGEST = 1, ROLE_WRITE = 2, ROLE_SERVE = 4, ROLE_SIMULATE = 8 };

enum metric {
#define METRIC(id, kind, name, label, unit, roles, help) M_##id,
#include "obs/metrics.def"
#undef METRIC
    METRIC_COUNT
};
struct metric_info {
    const char *name, *unit, *help;
    enum metric_kind kind;
    enum metric_label label;
    unsigned roles;
};
const struct metric_info *metric_info(enum metric m);
void metric_add(enum metric m, unsigned label, double amount); /* counters; label 0 where there is none */
void metric_set(enum metric m, unsigned label, double value);  /* gauges */
void metric_observe(enum metric m, double value);              /* histograms, seconds */
double metric_get(enum metric m, unsigned label);
double metric_sum(enum metric m); /* over labels */
void metrics_expose(unsigned roles, struct bl_buf *out);
