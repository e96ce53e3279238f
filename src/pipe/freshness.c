#include "pipe/freshness.h"

static int64_t age_of(const struct stage_clock *c, int64_t now_us) { return now_us > c->at_us ? now_us - c->at_us : 0; }
static bool is_late(const struct stage_clock *c, int64_t now_us) {
    return c->at_us && c->limit_us && age_of(c, now_us) > c->limit_us;
}

double freshness_age_s(int64_t at_us, int64_t now_us) {
    return at_us ? (double)age_of(&(struct stage_clock){.at_us = at_us}, now_us) / 1e6 : 0;
}

void freshness_print(const struct stage_clock *clocks, size_t count, int64_t now_us, struct bl_buf *json) {
    bl_buf_z(json, "\"clocks\":{");
    for (size_t i = 0; i < count; i++) {
        const struct stage_clock *c = &clocks[i];
        bl_buf_printf(json, "%s\"%s\":{\"age_seconds\":", i ? "," : "", c->name);
        if (c->at_us)
            bl_buf_printf(json, "%.3f", (double)age_of(c, now_us) / 1e6);
        else
            bl_buf_z(json, "null");
        bl_buf_z(json, ",\"limit_seconds\":");
        if (c->limit_us)
            bl_buf_printf(json, "%.3f", (double)c->limit_us / 1e6);
        else
            bl_buf_z(json, "null");
        bl_buf_printf(json, ",\"late\":%s}", is_late(c, now_us) ? "true" : "false");
    }
    bl_buf_byte(json, '}');
}

bool freshness_late(const struct stage_clock *clocks, size_t count, int64_t now_us, char *why, size_t size) {
    for (size_t i = 0; i < count; i++) {
        char age[BL_TIME_TEXT_MAX], limit[BL_TIME_TEXT_MAX];
        if (!is_late(&clocks[i], now_us)) continue;
        snprintf(why, size, "%s is late: %s, the limit is %s", clocks[i].name,
                 bl_format_duration(age_of(&clocks[i], now_us), age), bl_format_duration(clocks[i].limit_us, limit));
        return true;
    }
    return false;
}
