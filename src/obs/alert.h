/* alert: conditions somebody should look at, from one table (alerts.def).
 *
 * May include: base, obs. A role judges its own conditions (obs_httpd_options.tick) and says so with alert_set. Each
 * shows as `bluelake_alert{alert="NAME",severity="critical"}` in /metrics, by name in /health and /ready, and as one
 * log line when it begins and one when it ends. Values are atomics: any thread. docs/METRICS.md holds the table. */
#pragma once
#include "base/mem.h"

enum alert {
#define ALERT(id, name, severity, roles, when) ALERT_##id,
#include "obs/alerts.def"
#undef ALERT
    ALERT_COUNT
};
struct alert_info {
    const char *name, *severity, *when; /* severity: "warning", "critical" */
    unsigned roles;                     /* enum metric_role */
};
const struct alert_info *alert_info(enum alert a);
void alert_set(enum alert a, bool active);
bool alert_is_active(enum alert a);
/* "alerts":["REDIS_FAILURE",...] */
void alerts_print(unsigned roles, struct bl_buf *json);

/* How much of what came lately was bad: counts fade away within some five minutes. One thread. */
struct alert_share {
    double bad, all;             /* faded */
    double seen_bad, seen_all;   /* counters at the last look */
    int64_t seen_ns;
};
/* `bad` of `all` counted since start; true when the share is above `percent` of at least `least` events. */
bool alert_share_above(struct alert_share *s, double bad, double all, int64_t now_ns, double percent, double least);
