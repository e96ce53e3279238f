/* judge: which alerts hold, from what a role knows about itself.
 *
 * May include: base, conf, obs. Called about once a second, by one thread a role; a struct judge starts zeroed and is
 * kept between the calls. What is counted already is read from the metrics. The table is obs/alerts.def. */
#pragma once
#include "conf/conf.h"
#include "obs/alert.h"

struct judge {
    int64_t any_host_us, all_hosts_us; /* when so many hosts were connected last */
    struct alert_share quality, skew;
};
struct judge_ingest {
    int64_t now_us, now_ns;
    int64_t newest_us; /* of the events received; 0 = none */
    unsigned hosts_connected;
    bool redis_up, redis_full, breaker_open;
    bool standby;       /* another ingest reads the stream */
    unsigned gaps_open; /* that are being filled, also since before the start */
    bool silent; /* connected, and too long without an event of the whole stream */
};
struct judge_write {
    int64_t now_us, now_ns;
    bool redis_up, lake_ok, held_up; /* held_up: the newest turn failed */
    int64_t oldest_us;     /* of the events in Redis; 0 = none */
    int64_t committing_ns; /* when the commit under way began; 0 = none is */
};
void judge_ingest(struct judge *j, const struct conf *conf, const struct judge_ingest *now);
void judge_write(struct judge *j, const struct conf *conf, const struct judge_write *now);
