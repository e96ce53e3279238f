#include "base/clock.h"

#include <time.h>

#include "base/rng.h"
#include "expect.h"

#define DAY_US ((int64_t)86400 * 1000000)
#define YEAR_0_US (-62167219200000000) /* 0000-01-01 */

static void check_round_trip(int64_t us) {
    struct bl_date d = bl_date_of_us(us);
    if (bl_us_of_date(d) != us) fail_msg("%lld does not come back", (long long)us);
    EXPECT(d.month >= 1 && d.month <= 12 && d.day >= 1 && d.day <= bl_days_in_month(d.year, d.month));
}

static void every_day_from_year_0_to_9999_goes_there_and_back(void **state) {
    (void)state;
    for (int64_t day = 0; day < 3652425; day++) {
        check_round_trip(YEAR_0_US + day * DAY_US);
        check_round_trip(YEAR_0_US + day * DAY_US - 1 + DAY_US);
    }
}

static void dates_agree_with_the_c_library(void **state) {
    (void)state;
    struct bl_rng r = {3};
    for (int i = 0; i < 100000; i++) {
        int64_t us = YEAR_0_US + (int64_t)bl_rng_below(&r, (uint64_t)(3652425 * DAY_US));
        struct bl_date d = bl_date_of_us(us);
        int64_t micros = ((us % 1000000) + 1000000) % 1000000;
        time_t seconds = (time_t)((us - micros) / 1000000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        EXPECT(d.year == tm.tm_year + 1900 && d.month == tm.tm_mon + 1 && d.day == tm.tm_mday);
        EXPECT(d.hour == tm.tm_hour && d.minute == tm.tm_min && d.second == tm.tm_sec && d.micros == micros);
        check_round_trip(us);
    }
}

static void what_is_printed_is_read_back(void **state) {
    (void)state;
    struct bl_rng r = {4};
    for (int i = 0; i < 100000; i++) {
        int64_t us = YEAR_0_US + (int64_t)bl_rng_below(&r, (uint64_t)(3652425 * DAY_US)), back;
        char text[BL_TIME_TEXT_MAX];
        EXPECT(bl_parse_time(bl_str(bl_format_time(us, 6, text)), false, &back) && back == us);
        EXPECT(bl_parse_time(bl_str(bl_format_time(us, 3, text)), false, &back) && back <= us && us - back < 1000);
        EXPECT(bl_parse_time(bl_str(bl_format_time(us, 0, text)), false, &back) && us - back < 1000000);
    }
}

static void times_people_type_are_understood(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } table[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2026-11-21", 1795219200000000},
        {"2026-11-21T08:05", 1795248300000000},
        {"2026-11-21 08:05:00", 1795248300000000},
        {"2026-11-21T08:05:00.5", 1795248300500000},
        {"2026-11-21T08:05:00.1234567Z", 1795248300123456},
        {"2026-11-21T08:05:00+02:00", 1795241100000000},
        {"2026-11-21T08:05:00-00:30", 1795250100000000},
        {"2024-02-29", 1709164800000000},
        {"0000-01-01", YEAR_0_US},
    };
    static const char *const bad[] = {
        "", "2026", "2026-11", "2026-13-01", "2026-00-01", "2026-02-29", "1900-02-29", "2026-11-31", "2026-11-00",
        "2026-1-1", "26-11-21", "2026/11/21", "2026-11-21T", "2026-11-21T8:05", "2026-11-21T24:00", "2026-11-21T08:60",
        "2026-11-21T08:05:60", "2026-11-21T08:05:00.", "2026-11-21T08:05:00,5", "2026-11-21T08:05:00X",
        "2026-11-21T08:05:00+2:00", "2026-11-21T08:05:00+02", "2026-11-21T08:05:00+24:00", "2026-11-21T08:05:00ZZ",
        "2026-11-21Z", " 2026-11-21", "2026-11-21 ", "-001-01-01", "2026--1-01", "2026-11-21T-0:00", "2026-11-21T08:-0",
        "yesterday", "1795248300000000"};
    int64_t us;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!bl_parse_time(bl_str(table[i].text), false, &us) || us != table[i].us)
            fail_msg("%s: %lld", table[i].text, (long long)us);
    us = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (bl_parse_time(bl_str(bad[i]), false, &us) || us != 42) fail_msg("\"%s\" was taken", bad[i]);
}

static void a_bare_date_may_mean_its_last_microsecond(void **state) {
    (void)state;
    int64_t us;
    EXPECT(bl_parse_time(BL_LIT("2026-11-21"), true, &us) && us == 1795219200000000 + DAY_US - 1);
    EXPECT(bl_parse_time(BL_LIT("2026-11-21T08:05:00Z"), true, &us) && us == 1795248300000000);
}

static void numbers_are_shown_for_people(void **state) {
    (void)state;
    char text[BL_TIME_TEXT_MAX];
    assert_string_equal(bl_format_count(0, text), "0");
    assert_string_equal(bl_format_count(-1234567, text), "-1,234,567");
    assert_string_equal(bl_format_count(-123, text), "-123");
    assert_string_equal(bl_format_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
    assert_string_equal(bl_format_bytes(999, text), "999 B");
    assert_string_equal(bl_format_bytes(1000, text), "1.0 KB");
    assert_string_equal(bl_format_bytes(INT64_MAX, text), "9223372 TB");
    assert_string_equal(bl_format_duration(1, text), "1 us");
    assert_string_equal(bl_format_duration(250000, text), "250 ms");
    assert_string_equal(bl_format_duration(90000000, text), "90.0 s");
    assert_string_equal(bl_format_duration(3 * 3600000000, text), "3.0 h");
}

static void clocks_go_forward(void **state) {
    (void)state;
    int64_t wall = bl_wall_us(), mono = bl_mono_ns();
    EXPECT(wall > 1700000000000000 && bl_clock_system.wall_us(NULL) >= wall);
    EXPECT(bl_clock_system.mono_ns(NULL) >= mono && bl_thread_cpu_ns() > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_from_year_0_to_9999_goes_there_and_back),
        cmocka_unit_test(dates_agree_with_the_c_library),
        cmocka_unit_test(what_is_printed_is_read_back),
        cmocka_unit_test(times_people_type_are_understood),
        cmocka_unit_test(a_bare_date_may_mean_its_last_microsecond),
        cmocka_unit_test(numbers_are_shown_for_people),
        cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
