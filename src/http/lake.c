/* /status, /gaps, /stats/daily: what the lake holds and how the collection goes. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/version.h"
#include "event/json.h"
#include "http/handlers.h"
#include "http/peer.h"
#include "http/server.h"

enum { PEER_TEXT_MAX = 1 << 20, PEER_DEPTH = 16 };
static const int64_t DAY_US = INT64_C(86400000000);

/* ---- gaps ---- */

static void put_gap(struct bl_buf *out, const struct query_gap *gap) {
    bl_buf_z(out, "{\"from\":");
    http_json_time(out, gap->from_us, 3);
    bl_buf_z(out, ",\"to\":");
    http_json_time(out, gap->to_us, 3);
    bl_buf_z(out, ",\"host\":");
    http_json_text(out, bl_str(gap->host));
    bl_buf_z(out, ",\"reason\":");
    http_json_text(out, bl_str(gap->reason));
    bl_buf_printf(out, ",\"healed\":%s}", gap->healed ? "true" : "false");
}

enum bl_rc put_gaps(struct query *q, int64_t from_us, int64_t to_us, bool healed_too, struct bl_buf *out,
                    struct bl_error *err) {
    BL_CLEANUP(bl_freep) struct query_gap *gaps = NULL;
    size_t count = 0;
    const char *comma = "";
    BL_TRY(query_gaps(q, from_us, to_us, &gaps, &count, err));
    bl_buf_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (gaps[i].healed && !healed_too) continue;
        bl_buf_z(out, comma);
        put_gap(out, &gaps[i]);
        comma = ",";
    }
    bl_buf_byte(out, ']');
    return BL_OK;
}

HTTP_HANDLER(answer_gaps) {
    int64_t from_us = http_number(rq, "start", INT64_MIN), to_us = http_number(rq, "end", INT64_MAX);
    bl_buf_printf(&res->body, "{\"snapshot\":%" PRId64 ",\"gaps\":", query_snapshot(context->query));
    BL_TRY(put_gaps(context->query, from_us, to_us, true, &res->body, err));
    bl_buf_z(&res->body, "}\n");
    return BL_OK;
}

/* ---- a day ---- */

HTTP_HANDLER(answer_daily) {
    struct query_daily_stats stats;
    char day[BL_TIME_TEXT_MAX];
    int64_t day_us = http_number(rq, "date", 0);
    BL_TRY(query_daily_stats(context->query, day_us, &stats, err));
    bl_format_time(day_us, 0, day);
    bl_buf_printf(&res->body,
                  "{\"date\":\"%.10s\",\"total_posts\":%" PRId64 ",\"unique_authors\":%" PRId64
                  ",\"avg_post_length\":%.2f,\"snapshot\":%" PRId64 ",\"gaps\":",
                  day, stats.total_posts, stats.unique_authors, stats.avg_post_length, query_snapshot(context->query));
    BL_TRY(put_gaps(context->query, day_us, day_us + DAY_US - 1, false, &res->body, err));
    bl_buf_z(&res->body, "}\n");
    return BL_OK;
}

/* ---- the collection ---- */

/* Default ports are everybody's: a role that says it works for another folder is not ours. Inside a string the quotes
 * would be escaped, so this is the member. */
static bool is_of_lake(struct bl_str health, const char *lake_dir) {
    static const char member[] = "\"lake\":\"";
    char ours[BL_FOLDER_ID_MAX];
    const char *at = memmem(health.p, health.n, member, sizeof member - 1);
    if (!at) return true;
    struct bl_str rest = bl_str_skip(health, (size_t)(at - health.p) + sizeof member - 1),
                  theirs = bl_str_cut(&rest, '"');
    return !theirs.n || bl_str_eq(theirs, bl_str(bl_folder_id(lake_dir, ours)));
}

/* What came over the network is shown only if it is JSON. */
static bool put_health(struct bl_buf *out, const struct conf *conf, const char *listen, struct bl_buf *note) {
    BL_CLEANUP(bl_buf_release) struct bl_buf body = {.max = PEER_TEXT_MAX};
    bool valid = peer_get(listen, "/health", &body);
    if (valid) {
        struct js_cursor c = js_open(bl_buf_view(&body), PEER_DEPTH);
        valid = js_peek(&c) == JS_OBJECT && js_skip(&c, NULL, NULL) && js_done(&c);
    }
    if (valid && !is_of_lake(bl_buf_view(&body), conf->data)) {
        bl_buf_printf(note, "%sanother collection answers on %s", note->n ? "; " : "", listen);
        valid = false;
    }
    bl_buf_str(out, valid ? bl_str_trim(bl_buf_view(&body)) : BL_LIT("null"));
    return valid;
}

/* Events a second, between two looks at a counter; at the first look, since `started_s`. Shared by all workers. */
static double rate_of(double received, double started_s) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static double last_received, rate;
    static int64_t last_ns;
    pthread_mutex_lock(&lock);
    int64_t now = bl_mono_ns();
    double seconds = (double)(now - last_ns) / 1e9;
    bool first = last_ns == 0 || received < last_received || seconds > 120;
    double age = (double)bl_wall_us() / 1e6 - started_s;
    if (first) rate = age >= 1 ? received / age : 0;
    if (!first && seconds >= 1) rate = (received - last_received) / seconds;
    if (first || seconds >= 1) {
        last_received = received;
        last_ns = now;
    }
    double result = rate;
    pthread_mutex_unlock(&lock);
    return result;
}

static void put_number(struct bl_buf *out, const char *name, double value, int digits) {
    bl_buf_printf(out, ",\"%s\":", name);
    if (value < 0)
        bl_buf_z(out, "null");
    else
        bl_buf_printf(out, "%.*f", digits, value);
}

/* How long the buffer would last if the writer stopped now. */
static double hours_left(struct bl_str ingest, double rate, double free_bytes) {
    double events = peer_metric(ingest, "bluelake_events_buffered_total", 0);
    double bytes = peer_metric(ingest, "bluelake_block_bytes_total", 0);
    if (events <= 0 || bytes <= 0 || rate <= 0 || free_bytes <= 0) return -1;
    return free_bytes / (rate * bytes / events) / 3600;
}

static void put_buffer(struct bl_buf *out, struct bl_str ingest, struct bl_str writer, double rate) {
    double events = peer_metric(writer, "redis_buffer_events_count", -1);
    double memory = peer_metric(writer, "redis_buffer_memory_bytes", -1);
    double percent = peer_metric(writer, "redis_buffer_utilization_percent", -1);
    if (events < 0) {
        bl_buf_z(out, ",\"buffer\":null");
        return;
    }
    double most = percent > 0 && memory > 0 ? memory / percent * 100 : -1;
    bl_buf_printf(out, ",\"buffer\":{\"events\":%.0f", events);
    put_number(out, "memory", memory, 0);
    put_number(out, "maxmemory", most, 0);
    put_number(out, "percent", percent, 2);
    put_number(out, "hours_left", hours_left(ingest, rate, most - memory), 1);
    bl_buf_byte(out, '}');
}

static void put_peers(const struct conf *conf, struct bl_buf *out) {
    BL_CLEANUP(bl_buf_release) struct bl_buf ingest = {.max = PEER_TEXT_MAX}, writer = {.max = PEER_TEXT_MAX};
    BL_CLEANUP(bl_buf_release) struct bl_buf note = {0};
    bl_buf_z(out, ",\"ingest\":");
    if (put_health(out, conf, conf->ingest_http, &note)) (void)peer_get(conf->ingest_http, "/metrics", &ingest);
    bl_buf_z(out, ",\"writer\":");
    if (put_health(out, conf, conf->write_http, &note)) (void)peer_get(conf->write_http, "/metrics", &writer);
    double received = peer_metric(bl_buf_view(&ingest), "bluelake_events_received_total", -1);
    double rate =
        received < 0 ? -1 : rate_of(received, peer_metric(bl_buf_view(&ingest), "process_start_time_seconds", 0));
    put_number(out, "rate_per_second", rate, 1);
    put_number(out, "lag_seconds", peer_metric(bl_buf_view(&ingest), "bluelake_ingest_lag_seconds", -1), 3);
    put_buffer(out, bl_buf_view(&ingest), bl_buf_view(&writer), rate);
    bl_buf_z(out, ",\"note\":");
    http_json_text(out, note.n ? bl_buf_view(&note) : (struct bl_str){0});
}

static void put_totals(struct bl_buf *out, const struct query_lake_status *s) {
    bl_buf_printf(out,
                  "{\"version\":\"%s\",\"snapshot\":%" PRId64 ",\"totals\":{\"files\":%" PRId64 ",\"rows\":%" PRId64
                  ",\"bytes\":%" PRId64 ",\"raw_bytes\":%" PRId64 ",\"bytes_per_event\":%.2f},\"types\":[",
                  BL_VERSION, s->snapshot, s->files, s->rows, s->bytes, s->raw_bytes,
                  s->rows ? (double)s->bytes / (double)s->rows : 0.0);
    for (size_t i = 0; i < s->type_count; i++)
        bl_buf_printf(out, "%s{\"type\":\"%s\",\"rows\":%" PRId64 ",\"files\":%" PRId64 ",\"bytes\":%" PRId64 "}",
                      i ? "," : "", s->types[i].type, s->types[i].rows, s->types[i].files, s->types[i].bytes);
    bl_buf_byte(out, ']');
}

static void put_moment(struct bl_buf *out, const char *name, int64_t us) {
    bl_buf_printf(out, ",\"%s\":", name);
    if (us > 0)
        http_json_time(out, us, 3);
    else
        bl_buf_z(out, "null");
}

HTTP_HANDLER(answer_status) {
    struct query_lake_status s;
    struct bl_buf *out = &res->body;
    (void)rq;
    BL_TRY(query_lake_status(context->query, &s, err));
    put_totals(out, &s);
    put_moment(out, "oldest", s.oldest_us);
    put_moment(out, "newest", s.newest_us);
    put_moment(out, "last_commit", s.last_commit_us);
    put_number(out, "last_commit_age_seconds",
               s.last_commit_us > 0 ? (double)(bl_wall_us() - s.last_commit_us) / 1e6 : -1, 1);
    put_peers(context->server->conf, out);
    bl_buf_printf(out, ",\"gaps\":%" PRId64 ",\"dead_letters\":%" PRId64 ",\"dead_letters_by_reason\":[", s.gaps,
                  s.dead_letters);
    for (size_t i = 0; i < s.reason_count; i++) {
        bl_buf_z(out, i ? ",{\"reason\":" : "{\"reason\":");
        http_json_text(out, bl_str(s.dead_by_reason[i].reason));
        bl_buf_printf(out, ",\"count\":%" PRId64 "}", s.dead_by_reason[i].count);
    }
    bl_buf_z(out, "]}\n");
    return BL_OK;
}
