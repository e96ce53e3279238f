#include "pipe/judge.h"

#include "obs/metrics.h"

enum {
    WARNING_AGE_S = 300, /* DATA_WRITER_FAILURE_* of the specification */
    CRITICAL_AGE_S = 3600,
    OVERFLOW_PERCENT = 90,
    DELAYED_TIMES = 2, /* write.slow */
    SLOW_TIMES = 8,
    REFUSED_PERCENT = 1, /* of so many messages of the last minutes at least */
    REFUSED_OF = 1000,
    AHEAD_PERCENT = 50, /* of the last minutes' events: one with an odd time says nothing */
    AHEAD_OF = 100,
    AHEAD_US = 60000000
};

/* For longer than a reconnect takes. */
static bool missing_for(int64_t *last_us, bool there, int64_t now_us, int64_t limit_us) {
    if (there || !*last_us) *last_us = now_us;
    return limit_us && now_us - *last_us > limit_us;
}

static void judge_quality(struct judge *j, double refused, double accepted, int64_t now_ns) {
    bool bad = alert_share_above(&j->quality, refused, refused + accepted, now_ns, REFUSED_PERCENT, REFUSED_OF);
    alert_set(ALERT_data_quality, bad);
}

static bool is_lagging(const struct conf *conf, const struct judge_ingest *now) {
    return conf->source_max_lag && now->newest_us && now->now_us - now->newest_us > conf->source_max_lag;
}

void judge_ingest(struct judge *j, const struct conf *conf, const struct judge_ingest *now) {
    int64_t limit_us = conf->ready_received;
    bool none = missing_for(&j->any_host_us, now->standby || now->hosts_connected > 0, now->now_us, limit_us),
         fewer = missing_for(&j->all_hosts_us, now->standby || now->hosts_connected >= conf->source_redundancy,
                            now->now_us, limit_us);
    alert_set(ALERT_redis_failure, !now->redis_up);
    alert_set(ALERT_overflow, now->redis_full);
    alert_set(ALERT_jetstream_silent, (now->silent && !now->standby) || none);
    alert_set(ALERT_standby, now->standby);
    alert_set(ALERT_lag, !now->standby && is_lagging(conf, now));
    alert_set(ALERT_skew, alert_share_above(&j->skew, metric_get(M_ahead, 0), metric_sum(M_received), now->now_ns,
                                            AHEAD_PERCENT, AHEAD_OF));
    alert_set(ALERT_host_lost, conf->source_redundancy > 1 && fewer);
    alert_set(ALERT_gap, now->gaps_open || metric_sum(M_gaps) > metric_sum(M_gaps_healed));
    alert_set(ALERT_spilling, now->breaker_open);
    alert_set(ALERT_spill_damaged, metric_get(M_spill_damaged, 0) > 0);
    judge_quality(j, metric_sum(M_rejected), metric_sum(M_received), now->now_ns);
}

static void judge_commits(const struct conf *conf, const struct judge_write *now) {
    double running = now->committing_ns ? (double)(now->now_ns - now->committing_ns) / 1e9 : 0;
    if (running > metric_get(M_commit_seconds, 0)) metric_set(M_commit_seconds, 0, running);
    double seconds = metric_get(M_commit_seconds, 0), slow = (double)conf->write_slow / 1e6;
    alert_set(ALERT_writer_delayed, seconds > DELAYED_TIMES * slow);
    alert_set(ALERT_writer_slow, seconds > SLOW_TIMES * slow);
}

void judge_write(struct judge *j, const struct conf *conf, const struct judge_write *now) {
    double age = now->oldest_us ? (double)(now->now_us - now->oldest_us) / 1e6 : 0;
    alert_set(ALERT_redis_failure, !now->redis_up);
    alert_set(ALERT_skew, now->oldest_us > now->now_us + AHEAD_US);
    alert_set(ALERT_writer_warning, age > WARNING_AGE_S);
    alert_set(ALERT_writer_critical, age > CRITICAL_AGE_S);
    alert_set(ALERT_overflow, age > WARNING_AGE_S || metric_get(M_redis_percent, 0) > OVERFLOW_PERCENT);
    alert_set(ALERT_gap, metric_get(M_gaps_open, 0) > 0);
    alert_set(ALERT_buffer_loss, metric_get(M_redis_evicted, 0) > 0 || metric_get(M_offsets_missing, 0) > 0);
    alert_set(ALERT_lake_failure, !now->lake_ok || (now->held_up && now->redis_up));
    alert_set(ALERT_dead_letters,
              conf->write_dead_letters && metric_get(M_dead_stored, 0) > (double)conf->write_dead_letters);
    judge_commits(conf, now);
    judge_quality(j, metric_sum(M_dead), metric_sum(M_written) + metric_sum(M_duplicates), now->now_ns);
}
