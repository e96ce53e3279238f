#include "base/clock.h"

#include <inttypes.h>
#include <time.h>

static int64_t read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bl_wall_us(void) { return read_ns(CLOCK_REALTIME) / 1000; }
int64_t bl_mono_ns(void) { return read_ns(CLOCK_MONOTONIC); }
int64_t bl_thread_cpu_ns(void) { return read_ns(CLOCK_THREAD_CPUTIME_ID); }

static int64_t system_wall_us(void *context) {
    (void)context;
    return bl_wall_us();
}
static int64_t system_mono_ns(void *context) {
    (void)context;
    return bl_mono_ns();
}
const struct bl_clock bl_clock_system = {system_wall_us, system_mono_ns, NULL};

/* Days since 1970-01-01 and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
 * http://howardhinnant.github.io/date_algorithms.html */
static int64_t days_from_civil(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

int64_t bl_us_of_date(struct bl_date d) {
    int64_t seconds = days_from_civil(d.year, d.month, d.day) * 86400 + d.hour * 3600 + d.minute * 60 + d.second;
    return seconds * 1000000 + d.micros;
}

struct bl_date bl_date_of_us(int64_t wall_us) {
    int64_t days = wall_us / 86400000000, rest = wall_us % 86400000000;
    if (rest < 0) {
        rest += 86400000000;
        days--;
    }
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    struct bl_date d = {0};
    d.day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    d.month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    d.year = (int)(year_of_era + era * 400 + (d.month <= 2));
    d.hour = (int)(rest / 3600000000);
    d.minute = (int)(rest / 60000000 % 60);
    d.second = (int)(rest / 1000000 % 60);
    d.micros = (int)(rest % 1000000);
    return d;
}

int bl_days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

const char *bl_format_time(int64_t wall_us, int digits, char out[static BL_TIME_TEXT_MAX]) {
    struct bl_date d = bl_date_of_us(wall_us);
    int n = snprintf(out, BL_TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", d.year, d.month, d.day, d.hour, d.minute,
                     d.second);
    if (n < 0 || n >= BL_TIME_TEXT_MAX) return out;
    size_t room = BL_TIME_TEXT_MAX - (size_t)n;
    if (digits == 3)
        snprintf(out + n, room, ".%03dZ", d.micros / 1000);
    else if (digits == 6)
        snprintf(out + n, room, ".%06dZ", d.micros);
    else
        snprintf(out + n, room, "Z");
    return out;
}

/* `width` digits at `*s`, within [min,max]; advances. */
static bool take(struct bl_str *s, size_t width, int min, int max, int *out) {
    uint64_t value;
    if (s->n < width || !bl_parse_u64((struct bl_str){s->p, width}, (uint64_t)max, &value)) return false;
    if ((int)value < min) return false;
    *out = (int)value;
    *s = bl_str_skip(*s, width);
    return true;
}

static bool take_char(struct bl_str *s, char c) {
    if (!s->n || s->p[0] != c) return false;
    *s = bl_str_skip(*s, 1);
    return true;
}

static bool take_fraction(struct bl_str *s, int *micros) {
    int scale = 100000;
    size_t digits = 0;
    *micros = 0;
    while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
        *micros += (s->p[0] - '0') * scale;
        scale /= 10;
        digits++;
        *s = bl_str_skip(*s, 1);
    }
    return digits > 0;
}

static bool take_zone(struct bl_str *s, int64_t *offset_us) {
    *offset_us = 0;
    if (s->n == 0 || take_char(s, 'Z')) return true;
    bool negative = s->p[0] == '-';
    int hours, minutes;
    if (!take_char(s, negative ? '-' : '+') || !take(s, 2, 0, 23, &hours) || !take_char(s, ':') ||
        !take(s, 2, 0, 59, &minutes))
        return false;
    *offset_us = (hours * 60 + minutes) * 60000000LL * (negative ? -1 : 1);
    return true;
}

bool bl_parse_time(struct bl_str s, bool end_of_day, int64_t *wall_us) {
    struct bl_date d = {0};
    if (!take(&s, 4, 0, 9999, &d.year) || !take_char(&s, '-') || !take(&s, 2, 1, 12, &d.month) || !take_char(&s, '-') ||
        !take(&s, 2, 1, 31, &d.day) || d.day > bl_days_in_month(d.year, d.month))
        return false;
    if (s.n == 0) {
        *wall_us = bl_us_of_date(d) + (end_of_day ? 86400000000 - 1 : 0);
        return true;
    }
    if (!take_char(&s, 'T') && !take_char(&s, ' ')) return false;
    if (!take(&s, 2, 0, 23, &d.hour) || !take_char(&s, ':') || !take(&s, 2, 0, 59, &d.minute)) return false;
    if (take_char(&s, ':')) {
        if (!take(&s, 2, 0, 59, &d.second)) return false;
        if (take_char(&s, '.') && !take_fraction(&s, &d.micros)) return false;
    }
    int64_t offset_us;
    if (!take_zone(&s, &offset_us) || s.n) return false;
    *wall_us = bl_us_of_date(d) - offset_us;
    return true;
}

const char *bl_format_duration(int64_t us, char out[static BL_TIME_TEXT_MAX]) {
    double s = (double)us / 1e6;
    if (s < 0.001)
        snprintf(out, BL_TIME_TEXT_MAX, "%" PRId64 " us", us);
    else if (s < 1)
        snprintf(out, BL_TIME_TEXT_MAX, "%.0f ms", s * 1e3);
    else if (s < 120)
        snprintf(out, BL_TIME_TEXT_MAX, "%.1f s", s);
    else if (s < 7200)
        snprintf(out, BL_TIME_TEXT_MAX, "%.1f min", s / 60);
    else if (s < 172800)
        snprintf(out, BL_TIME_TEXT_MAX, "%.1f h", s / 3600);
    else
        snprintf(out, BL_TIME_TEXT_MAX, "%.1f d", s / 86400);
    return out;
}

const char *bl_format_bytes(int64_t bytes, char out[static BL_TIME_TEXT_MAX]) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t u = 0;
    while (value >= 1000 && u + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        u++;
    }
    snprintf(out, BL_TIME_TEXT_MAX, u && value < 100 ? "%.1f %s" : "%.0f %s", value, units[u]);
    return out;
}

const char *bl_format_count(int64_t count, char out[static BL_TIME_TEXT_MAX]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, count);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}
