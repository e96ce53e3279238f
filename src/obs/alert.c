#include "obs/alert.h"

#include <stdatomic.h>

#include "obs/log.h"
#include "obs/metrics.h"

#define WARNING "warning"
#define CRITICAL "critical"
#define ALERT(id, name_, severity_, roles_, when_)                                                                     \
    [ALERT_##id] = {.name = name_, .severity = severity_, .when = when_, .roles = roles_},
static const struct alert_info table[ALERT_COUNT] = {
#include "obs/alerts.def"
};
#undef ALERT

static atomic_bool active[ALERT_COUNT];

const struct alert_info *alert_info(enum alert a) { return &table[a]; }

bool alert_is_active(enum alert a) { return atomic_load(&active[a]); }

void alert_set(enum alert a, bool now) {
    metric_set(M_alert, a, now);
    if (atomic_exchange(&active[a], now) == now) return;
    enum bl_level level = !now ? BL_INFO : strcmp(table[a].severity, CRITICAL) == 0 ? BL_ERROR_LEVEL : BL_WARN;
    bl_log(level, "alert %s %s severity=%s: %s", table[a].name, now ? "begins" : "ends",
           table[a].severity, table[a].when);
}

void alerts_print(unsigned roles, struct bl_buf *json) {
    const char *before = "";
    bl_buf_z(json, "\"alerts\":[");
    for (unsigned a = 0; a < ALERT_COUNT; a++) {
        if (!(table[a].roles & roles) || !alert_is_active((enum alert)a)) continue;
        bl_buf_printf(json, "%s\"%s\"", before, table[a].name);
        before = ",";
    }
    bl_buf_byte(json, ']');
}

bool alert_share_above(struct alert_share *s, double bad, double all, int64_t now_ns, double percent, double least) {
    const double window_s = 300;
    double passed_s = s->seen_ns ? (double)(now_ns - s->seen_ns) / 1e9 : 0,
           keep = passed_s < window_s ? 1 - passed_s / window_s : 0;
    s->bad = s->bad * keep + bad - s->seen_bad;
    s->all = s->all * keep + all - s->seen_all;
    s->seen_bad = bad;
    s->seen_all = all;
    s->seen_ns = now_ns;
    return s->all >= least && 100 * s->bad > percent * s->all;
}
