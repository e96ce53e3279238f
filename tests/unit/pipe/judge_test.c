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

static void a_gap_is_an_alert_until_it_is_filled(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    conf_init(&conf);
    static const struct { unsigned being_filled; double found, healed; bool alarming;
    } steps[] = {{0, 0, 0, false}, {1, 0, 0, true}, {1, 1, 0, true}, {1, 0, 1, true},
                 {0, 0, 0, false}, {0, 1, 0, true}, {0, 0, 1, false}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) { /* the first is left over from an earlier process */
        metric_add(M_gaps, 0, steps[i].found);
        metric_add(M_gaps_healed, 0, steps[i].healed);
        judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW, .gaps_open = steps[i].being_filled});
        EXPECT(alert_is_active(ALERT_gap) == steps[i].alarming);
    }
    for (int open = 2; open >= 0; open--) {
        metric_set(M_gaps_open, 0, open);
        judge_write(&j, &conf, &(struct judge_write){.now_us = NOW});
        EXPECT(alert_is_active(ALERT_gap) == (open > 0));
    }
    conf_release(&conf);
}

static void what_was_lost_or_damaged_is_an_alert(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    conf_init(&conf);
    for (int damaged = 1; damaged >= 0; damaged--) {
        metric_set(M_spill_damaged, 0, damaged);
        judge_ingest(&j, &conf, &(struct judge_ingest){.now_us = NOW});
        EXPECT(alert_is_active(ALERT_spill_damaged) == damaged);
    }
    static const struct { double evicted, missing; } losses[] = {{0, 0}, {1, 0}, {0, 0}, {0, 1}, {7, 7}, {0, 0}};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        metric_set(M_redis_evicted, 0, losses[i].evicted);
        metric_set(M_offsets_missing, 0, losses[i].missing);
        judge_write(&j, &conf, &(struct judge_write){.now_us = NOW});
        EXPECT(alert_is_active(ALERT_buffer_loss) == (losses[i].evicted + losses[i].missing > 0));
    }
    conf_release(&conf);
}

static void more_than_90_percent_of_redis_is_an_overflow(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    conf_init(&conf);
    static const double percents[] = {0, 90, 90.5, 100, 89};
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        metric_set(M_redis_percent, 0, percents[i]);
        judge_write(&j, &conf, &(struct judge_write){.now_us = NOW, .redis_up = true});
        EXPECT(alert_is_active(ALERT_overflow) == (percents[i] > 90));
    }
    metric_set(M_redis_percent, 0, 0);
    conf_release(&conf);
}

static void the_writer_tells_when_more_than_one_of_a_hundred_becomes_a_dead_letter(void **state) {
    (void)state;
    struct conf conf;
    struct judge j = {0};
    int64_t now_ns = 1;
    conf_init(&conf);
    static const struct {
        int seconds;
        double dead;
        bool alarming;
    } parts[] = {{30, 0.5, false}, {300, 2, true}, {1200, 0.5, false}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (int s = 0; s < parts[i].seconds; s++) {
            metric_add(M_written, 0, 90);
            metric_add(M_duplicates, 0, 10);
            metric_add(M_dead, 1, parts[i].dead);
            judge_write(&j, &conf, &(struct judge_write){.now_us = NOW, .now_ns = now_ns += 1000000000});
        }
        EXPECT(alert_is_active(ALERT_data_quality) == parts[i].alarming);
    }
    conf_release(&conf);
}

static void alerts_show_in_the_metrics_of_their_role(void **state) {
    (void)state;
    struct bl_buf out = {0};
    alert_set(ALERT_lag, true);
    metrics_expose(ROLE_INGEST, &out);
    EXPECT(strstr(bl_buf_cstr(&out), "bluelake_alert{alert=\"JETSTREAM_LAG\",severity=\"critical\"} 1\n"));
    EXPECT(!strstr(bl_buf_cstr(&out), "DATA_WRITER_SLOW"));
    bl_buf_clear(&out);
    alerts_print(ROLE_INGEST, &out);
    EXPECT(strstr(bl_buf_cstr(&out), "\"JETSTREAM_LAG\""));
    bl_buf_clear(&out);
    alerts_print(ROLE_WRITE, &out);
    EXPECT(!strstr(bl_buf_cstr(&out), "JETSTREAM_LAG"));
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
        cmocka_unit_test(a_gap_is_an_alert_until_it_is_filled),
        cmocka_unit_test(what_was_lost_or_damaged_is_an_alert),
        cmocka_unit_test(more_than_90_percent_of_redis_is_an_overflow),
        cmocka_unit_test(the_writer_tells_when_more_than_one_of_a_hundred_becomes_a_dead_letter),
        cmocka_unit_test(alerts_show_in_the_metrics_of_their_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
