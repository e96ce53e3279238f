#include "expect.h"
#include "obs/alert.h"
#include "obs/metrics.h"
#include "pipe/judge.h"

#define SECOND INT64_C(1000000)
#define NOW (1800000000 * SECOND)

static void a_share_is_judged_by_the_last_minutes_alone(void **state) {
    (void)state;
    struct alert_share s = {0};
    int64_t now_ns = 1;
    double bad = 0, all = 0;
    for (int i = 0; i < 600; i++) { /* ten good minutes, 100 a second */
        all += 100;
        EXPECT(!alert_share_above(&s, bad, all, now_ns += 1000000000, 1, 1000));
    }
    int seconds = 0;
    for (bool alarm = false; !alarm && seconds < 300; seconds++) { /* then one in ten is bad */
        all += 100, bad += 10;
        alarm = alert_share_above(&s, bad, all, now_ns += 1000000000, 1, 1000);
    }
    EXPECT(seconds > 5 && seconds < 60);
    for (seconds = 0; seconds < 3600; seconds++) { /* and it is over */
        all += 100;
        if (!alert_share_above(&s, bad, all, now_ns += 1000000000, 1, 1000)) break;
    }
    EXPECT(seconds < 900);
}

static void few_messages_say_nothing(void **state) {
    (void)state;
    struct alert_share s = {0};
    EXPECT(!alert_share_above(&s, 900, 999, 1, 1, 1000));
    EXPECT(alert_share_above(&s, 901, 1001, 2, 1, 1000));
}

static void ages_are_judged_to_the_second(void **state) {
    (void)state;
    static const struct { int64_t age_s; bool warning, critical; } cases[] = {
        {0, false, false}, {300, false, false}, {301, true, false}, {3600, true, false}, {3601, true, true}};
    struct conf conf;
    conf_init(&conf);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct judge j = {0};
        judge_write(&j, &conf,
                    &(struct judge_write){.now_us = NOW,
                                          .redis_up = true,
                                          .lake_ok = true,
                                          .oldest_us = cases[i].age_s ? NOW - cases[i].age_s * SECOND : 0});
        EXPECT(alert_is_active(ALERT_writer_warning) == cases[i].warning);
        EXPECT(alert_is_active(ALERT_writer_critical) == cases[i].critical);
        EXPECT(alert_is_active(ALERT_overflow) == cases[i].warning);
        EXPECT(!alert_is_active(ALERT_redis_failure) && !alert_is_active(ALERT_lake_failure));
    }
    conf_release(&conf);
}

static void a_commit_under_way_counts_before_it_ends(void **state) {
    (void)state;
    struct conf conf;
    conf_init(&conf); /* write.slow is 30 s */
    for (int64_t s = 0; s < 300; s += 10) {
        struct judge j = {0};
        judge_write(&j, &conf,
                    &(struct judge_write){.now_us = NOW, .now_ns = 1 + s * 1000000000, .committing_ns = 1});
        EXPECT(alert_is_active(ALERT_writer_delayed) == (s > 60) && alert_is_active(ALERT_writer_slow) == (s > 240));
    }
    conf_release(&conf);
}

static void hosts_are_missed_after_a_while_only(void **state) {
    (void)state;
    struct conf conf;
    conf_init(&conf); /* ready.received is 60 s */
    conf.source_redundancy = 2;
    struct judge j = {0};
    for (int64_t s = 0; s < 200; s++) {
        unsigned hosts = s < 10 ? 2 : s < 100 ? 1 : 0;
        judge_ingest(&j, &conf,
                     &(struct judge_ingest){.now_us = NOW + s * SECOND, .hosts_connected = hosts, .redis_up = true});
        EXPECT(alert_is_active(ALERT_host_lost) == (s > 69) && alert_is_active(ALERT_jetstream_silent) == (s > 159));
    }
    judge_ingest(&j, &conf,
                 &(struct judge_ingest){.now_us = NOW + 200 * SECOND, .hosts_connected = 2, .redis_up = true});
    EXPECT(!alert_is_active(ALERT_host_lost) && !alert_is_active(ALERT_jetstream_silent));
    conf_release(&conf);
}

static void a_lag_is_alarming_from_half_a_day_on(void **state) {
    (void)state;
    static const struct { int64_t lag_s; bool alarming; } cases[] = {
        {-3600, false}, {0, false}, {12 * 3600, false}, {12 * 3600 + 1, true}, {400 * 86400, true}};
    struct conf conf;
    conf_init(&conf); /* source.max_lag is 12 h */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct judge j = {0};
        judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW, .newest_us = NOW - cases[i].lag_s * SECOND});
        EXPECT(alert_is_active(ALERT_lag) == cases[i].alarming);
    }
    struct judge j = {0};
    judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW});
    EXPECT(!alert_is_active(ALERT_lag)); /* nothing received is silence */
    conf.source_max_lag = 0;
    judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW, .newest_us = 1});
    EXPECT(!alert_is_active(ALERT_lag));
    conf_release(&conf);
}

/* `seconds` of 100 events each, `ahead` of them from the future; true when the alert holds then. */
static bool skewed_after(struct judge *j, const struct conf *conf, int64_t *now_ns, int seconds, double ahead) {
    for (int i = 0; i < seconds; i++) {
        metric_add(M_received, 0, 100);
        metric_add(M_ahead, 0, ahead);
        judge_ingest(j, conf, &(struct judge_ingest){.now_us = NOW, .now_ns = *now_ns += 1000000000});
    }
    return alert_is_active(ALERT_skew);
}

static void a_skewed_clock_is_told_when_most_events_come_from_the_future(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    int64_t now_ns = 1;
    conf_init(&conf);
    EXPECT(!skewed_after(&j, &conf, &now_ns, 300, 0));
    EXPECT(!skewed_after(&j, &conf, &now_ns, 1, 1)); /* an odd one */
    EXPECT(!skewed_after(&j, &conf, &now_ns, 10, 100));
    EXPECT(skewed_after(&j, &conf, &now_ns, 600, 100));
    EXPECT(!skewed_after(&j, &conf, &now_ns, 900, 0));
    for (int64_t ahead_s = 59; ahead_s < 63; ahead_s++) {
        judge_write(&j, &conf, &(struct judge_write){.now_us = NOW, .oldest_us = NOW + ahead_s * SECOND});
        EXPECT(alert_is_active(ALERT_skew) == (ahead_s > 60));
        EXPECT(!alert_is_active(ALERT_writer_warning) && !alert_is_active(ALERT_overflow));
    }
    conf_release(&conf);
}

static void a_full_redis_is_no_failure(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    conf_init(&conf);
    for (int full = 1; full >= 0; full--) {
        judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW, .redis_up = true, .redis_full = full});
        EXPECT(alert_is_active(ALERT_overflow) == full && !alert_is_active(ALERT_redis_failure));
    }
    conf_release(&conf);
}

static void alerts_show_in_the_metrics_of_their_role(void **state) {
    (void)state;
    struct bl_buf out = {0};
    alert_set(ALERT_gap, true);
    metrics_expose(ROLE_INGEST, &out);
    EXPECT(strstr(bl_buf_cstr(&out), "bluelake_alert{alert=\"JETSTREAM_GAP\",severity=\"critical\"} 1\n"));
    EXPECT(!strstr(bl_buf_cstr(&out), "DATA_WRITER_SLOW"));
    bl_buf_clear(&out);
    alerts_print(ROLE_INGEST, &out);
    EXPECT(strstr(bl_buf_cstr(&out), "\"JETSTREAM_GAP\""));
    bl_buf_clear(&out);
    alerts_print(ROLE_WRITE, &out);
    EXPECT(!strstr(bl_buf_cstr(&out), "JETSTREAM_GAP"));
    bl_buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_judged_by_the_last_minutes_alone),
        cmocka_unit_test(few_messages_say_nothing),
        cmocka_unit_test(ages_are_judged_to_the_second),
        cmocka_unit_test(a_commit_under_way_counts_before_it_ends),
        cmocka_unit_test(hosts_are_missed_after_a_while_only),
        cmocka_unit_test(a_lag_is_alarming_from_half_a_day_on),
        cmocka_unit_test(a_skewed_clock_is_told_when_most_events_come_from_the_future),
        cmocka_unit_test(a_full_redis_is_no_failure),
        cmocka_unit_test(alerts_show_in_the_metrics_of_their_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
