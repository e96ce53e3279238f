#include "base/clock.h"
#include "fixture.h"
#include "proxy.h"

static struct server server;
static struct run ingest;

static void start(const char *const *options) {
    server_start(&server, NULL, options);
    run_start(&ingest, 0xabcd);
}

static int finish(void **state) {
    (void)state;
    run_end(&ingest);
    server_stop(&server);
    return 0;
}

static void load(struct buffer *b, struct buffer_position *position) {
    struct bl_error err = {0};
    EXPECT_OK(buffer_load_position(b, position, &err), &err);
}

/* Reads and acknowledges everything; every block must have the next seq of its type. Returns the number of blocks. */
static size_t drain(struct buffer *b, uint64_t seq[EV_TYPE_COUNT]) {
    struct bl_error err = {0};
    size_t total = 0;
    for (;;) {
        struct buffer_batch batch;
        EXPECT_OK(buffer_read(b, "w", 16, 60000, 0, &batch, &err), &err);
        if (batch.count == 0) return total;
        total += batch.count;
        for (size_t i = 0; i < batch.count; i++) {
            const struct buffer_entry *e = &batch.entries[i];
            assert_int_equal(e->block.seq, ++seq[e->type]);
            EXPECT_OK(buffer_ack(b, e->type, (const char *const[]){e->id}, 1, &err), &err);
        }
    }
}

struct through_proxy {
    char path[128];
    struct proxy *proxy;
    struct buffer *buffer;
};

static struct through_proxy connect_through_proxy(int timeout_ms) {
    struct bl_error err = {0};
    struct through_proxy x = {0};
    struct buffer_position position;
    snprintf(x.path, sizeof x.path, "%s/proxy.sock", server.dir);
    x.proxy = proxy_start(x.path, server.socket);
    EXPECT_OK(buffer_open(&(struct buffer_options){.unix_socket = x.path, .timeout_ms = timeout_ms}, &x.buffer, &err),
              &err);
    load(x.buffer, &position);
    return x;
}

static void disconnect(struct through_proxy *x) {
    buffer_close(&x->buffer);
    proxy_stop(&x->proxy);
}

static void an_append_whose_answer_is_lost_is_present_once(void **state) {
    (void)state;
    start(NULL);
    struct through_proxy x = connect_through_proxy(0);
    for (int i = 1; i <= 20; i++) {
        proxy_next(x.proxy, i % 2 ? PROXY_CUT_REPLY : PROXY_CUT_REQUEST);
        append_block(x.buffer, &ingest, EV_posts, 3);
        assert_int_equal(proxy_count(x.proxy), i);
    }
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(x.buffer, seq), 20);
    struct buffer_position position;
    load(x.buffer, &position);
    assert_int_equal(position.received[EV_posts], 60);
    disconnect(&x);
}

static void a_request_that_arrives_after_its_client_gave_up_does_nothing(void **state) {
    (void)state;
    start(NULL);
    struct through_proxy x = connect_through_proxy(300);
    proxy_next(x.proxy, PROXY_HOLD);
    append_block(x.buffer, &ingest, EV_posts, 3);
    assert_int_equal(proxy_count(x.proxy), 1);
    EXPECT(!proxy_release(x.proxy));
    append_block(x.buffer, &ingest, EV_posts, 3);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(x.buffer, seq), 2);
    struct buffer_position position;
    load(x.buffer, &position);
    assert_int_equal(position.received[EV_posts], 6);
    disconnect(&x);
}

static void a_block_in_doubt_is_decided_by_itself_when_more_come_with_it(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct through_proxy x = connect_through_proxy(0);
    struct buffer_append two[] = {next_block(&ingest, EV_posts, 2, 0), next_block(&ingest, EV_likes, 2, 1)};
    proxy_next(x.proxy, PROXY_CUT_REPLY);
    server_kill(&server); /* nobody to ask: the doubt outlives the call */
    EXPECT_RC(buffer_append(x.buffer, two, 1, 1, "h", &err), BL_E_NET);
    server_restart(&server);
    EXPECT_OK(buffer_append(x.buffer, two, 2, 1, "h", &err), &err);
    EXPECT_OK(buffer_append(x.buffer, NULL, 0, 2, "h", &err), &err);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(x.buffer, seq), 2);
    disconnect(&x);
}

static void a_paused_redis_is_a_timeout_and_the_block_is_there_once(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = NULL;
    EXPECT_OK(buffer_open(&(struct buffer_options){.unix_socket = server.socket, .timeout_ms = 200}, &b, &err), &err);
    load(b, &position);
    struct buffer_append p = next_block(&ingest, EV_posts, 2, 0);
    command_ok(&server, "CLIENT PAUSE 900 WRITE");
    enum bl_rc rc;
    int calls = 0;
    while ((rc = buffer_append(b, &p, 1, 1, "h", &err)) == BL_E_NET && calls < 50) calls++;
    EXPECT_OK(rc, &err);
    EXPECT(calls > 0);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(b, seq), 1);
    buffer_close(&b);
}

static void a_killed_redis_keeps_everything_from_its_append_only_file(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = open_buffer(server.socket);
    load(b, &position);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) append_block(b, &ingest, i % 2 ? EV_posts : EV_likes, 5);
        server_kill(&server);
        EXPECT_RC(buffer_ping(b, &err), BL_E_NET);
        server_restart(&server);
    }
    load(b, &position);
    assert_int_equal(position.received[EV_posts], 3 * 50 * 5);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(b, seq), 300);
    server_kill(&server);
    EXPECT_RC(buffer_ping(b, &err), BL_E_NET);
    server_restart(&server);
    assert_int_equal(drain(b, seq), 0);
    struct buffer_depth depth;
    EXPECT_OK(buffer_depth(b, &depth, &err), &err);
    assert_int_equal(depth.events[EV_posts], 0);
    buffer_close(&b);
}

static void a_redis_that_lost_acknowledged_blocks_is_noticed_and_nothing_more_is_appended(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = NULL;
    EXPECT_OK(buffer_open(&(struct buffer_options){.unix_socket = server.socket, .guard = true}, &b, &err), &err);
    load(b, &position);
    for (int i = 0; i < 3; i++) append_block(b, &ingest, EV_likes, 5);
    command_ok(&server, "FLUSHALL"); /* the same process: only the counters tell */
    struct buffer_append p = next_block(&ingest, EV_likes, 5, 0);
    EXPECT_RC(buffer_append(b, &p, 1, 1, "h", &err), BL_E_FORGOTTEN);
    EXPECT_RC(buffer_append(b, &p, 1, 1, "h", &err), BL_E_FORGOTTEN); /* until the position is loaded */
    load(b, &position);
    assert_int_equal(position.received[EV_likes], 0);
    assert_int_equal(position.cursor_us, 0);
    p.block.offset = 0;
    EXPECT_OK(buffer_append(b, &p, 1, 1, "h", &err), &err);
    buffer_close(&b);
}

static void redis_may_be_down_when_opening_and_come_later(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    server_kill(&server);
    struct buffer *b = open_buffer(server.socket);
    EXPECT_RC(buffer_ping(b, &err), BL_E_NET);
    EXPECT(strstr(err.message, server.socket));
    server_restart(&server);
    EXPECT_OK(buffer_ping(b, &err), &err);
    buffer_close(&b);
}

static void a_reply_lost_while_reading_is_read_again_without_repeating_what_was_seen(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer_batch batch;
    struct buffer *b = open_buffer(server.socket);
    load(b, &position);
    append_block(b, &ingest, EV_posts, 1);
    EXPECT_OK(buffer_read(b, "w", 16, 60000, 0, &batch, &err), &err);
    assert_int_equal(batch.count, 1);
    append_block(b, &ingest, EV_posts, 1);
    command_ok(&server, "XREADGROUP GROUP writers w STREAMS firehose:posts:queue >"); /* delivered, never seen by b */
    command_ok(&server, "CLIENT KILL TYPE normal SKIPME yes");
    EXPECT_RC(buffer_read(b, "w", 16, 60000, 0, &batch, &err), BL_E_NET);
    EXPECT_OK(buffer_read(b, "w", 16, 60000, 0, &batch, &err), &err);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.entries[0].block.seq, 2);
    EXPECT(batch.entries[0].redelivered);
    buffer_close(&b);
}

/* ---- memory ---- */

static void at_maxmemory_append_is_full_and_draining_works(void **state) {
    (void)state;
    static const char *const options[] = {"--maxmemory", "8mb", NULL};
    start(options);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = NULL;
    struct buffer_options o = {.unix_socket = server.socket, .high_water_bytes = INT64_C(1) << 40};
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    load(b, &position);
    struct buffer_append p;
    size_t accepted = 0;
    enum bl_rc rc;
    while (p = next_block(&ingest, EV_posts, 1000, 0), (rc = buffer_append(b, &p, 1, 1, "h", &err)) == BL_OK)
        accepted++;
    EXPECT_RC(rc, BL_E_FULL);
    EXPECT(strstr(err.message, "maxmemory"));
    EXPECT(accepted > 10);
    command_ok(&server, "CONFIG SET maxmemory 4mb"); /* not a byte is left, not even for a small message */
    EXPECT_RC(buffer_reject(b, &(struct buffer_note){"r", "d", 1, 0, BL_LIT("m")}, NULL, &err), BL_E_FULL);
    struct buffer *writer = open_buffer(server.socket);
    struct buffer_depth depth;
    EXPECT_OK(buffer_lease(writer, "w", 60000, &err), &err);
    EXPECT_OK(buffer_lease(writer, "w", 60000, &err), &err);
    EXPECT_OK(buffer_depth(writer, &depth, &err), &err);
    EXPECT(depth.used_memory >= depth.maxmemory);
    load(writer, &position);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(writer, seq), accepted);
    EXPECT_OK(buffer_release_lease(writer, "w", &err), &err);
    command_ok(&server, "CONFIG SET maxmemory 8mb");
    EXPECT_OK(buffer_append(b, &p, 1, 1, "h", &err), &err);
    assert_int_equal(drain(writer, seq), 1);
    EXPECT_OK(buffer_depth(writer, &depth, &err), &err);
    assert_int_equal(depth.evicted_keys, 0);
    buffer_close(&writer);
    buffer_close(&b);
}

/* With the policy that evicts, the mark keeps Redis below the point where it would. */
static void the_high_water_mark_keeps_allkeys_lru_from_evicting(void **state) {
    (void)state;
    static const char *const options[] = {"--maxmemory", "96mb", "--maxmemory-policy", "allkeys-lru", NULL};
    start(options);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = open_buffer(server.socket);
    load(b, &position);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    for (int round = 0; round < 2; round++) {
        struct buffer_append p = next_block(&ingest, EV_posts, 1000, 0);
        enum bl_rc rc;
        size_t accepted = 0;
        int64_t until = bl_mono_ns() + INT64_C(30000000000);
        while ((rc = buffer_append(b, &p, 1, 1, "h", &err)) == BL_OK && bl_mono_ns() < until) {
            accepted++;
            p = next_block(&ingest, EV_posts, 1000, 0);
        }
        EXPECT_RC(rc, BL_E_FULL);
        EXPECT(strstr(err.message, "high-water"));
        assert_int_equal(drain(b, seq), accepted);
        while ((rc = buffer_append(b, &p, 1, 1, "h", &err)) == BL_E_FULL && bl_mono_ns() < until) continue;
        EXPECT_OK(rc, &err);
        assert_int_equal(drain(b, seq), 1);
    }
    struct buffer_depth depth;
    EXPECT_OK(buffer_depth(b, &depth, &err), &err);
    assert_int_equal(depth.evicted_keys, 0);
    buffer_close(&b);
}

/* ---- who may ---- */

static void passwords_and_permissions_are_used_and_their_lack_is_named(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = NULL;
    command_ok(&server,
               "ACL SETUSER lake on >secret ~firehose:* +multi +exec +xadd +hset +hincrby +hgetall +hmget +hdel "
               "+xgroup|create +eval +eval_ro +xreadgroup +xautoclaim +xclaim +xpending +xinfo|consumers +xack +xdel "
               "+xrange +xlen +get +set +del +pexpire +pttl +ping +info +auth +client|id +client|kill");
    command_ok(&server, "ACL SETUSER weak on >secret ~firehose:* +ping +auth +info +client|id");
    command_ok(&server, "ACL SETUSER default off");
    struct buffer_options o = {.unix_socket = server.socket};
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    EXPECT_RC(buffer_ping(b, &err), BL_E_BACKEND);
    EXPECT(strstr(err.message, "wants a password"));
    buffer_close(&b);
    o.user = "lake";
    EXPECT_RC(buffer_open(&o, &b, &err), BL_E_USAGE);
    o.password = "wrong";
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    EXPECT_RC(buffer_ping(b, &err), BL_E_BACKEND);
    EXPECT(strstr(err.message, "does not accept"));
    EXPECT(!strstr(err.message, "wrong\""));
    buffer_close(&b);
    o = (struct buffer_options){.unix_socket = server.socket, .user = "weak", .password = "secret"};
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    EXPECT_RC(buffer_load_position(b, &position, &err), BL_E_BACKEND);
    EXPECT(strstr(err.message, "docs/BUFFER.md"));
    buffer_close(&b);

    o.user = "lake";
    EXPECT_OK(buffer_open(&o, &b, &err), &err);
    load(b, &position);
    append_block(b, &ingest, EV_posts, 1);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(b, seq), 1);
    struct buffer_depth depth;
    struct buffer_rejected rejected[1];
    size_t count = 0;
    EXPECT_OK(buffer_depth(b, &depth, &err), &err);
    EXPECT_OK(buffer_lease(b, "w", 1000, &err), &err);
    EXPECT_OK(buffer_release_lease(b, "w", &err), &err);
    EXPECT_OK(buffer_reject(b, &(struct buffer_note){"r", "d", 1, 0, BL_LIT("m")}, NULL, &err), &err);
    EXPECT_OK(buffer_read_rejected(b, NULL, 1, rejected, &count, &err), &err);
    EXPECT_OK(buffer_drop_rejected(b, (const char *const[]){rejected[0].id}, 1, &err), &err);
    buffer_close(&b);
}

static void a_replica_is_refused_with_its_cure(void **state) {
    (void)state;
    start(NULL);
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer *b = open_buffer(server.socket);
    load(b, &position);
    command_ok(&server, "REPLICAOF 127.0.0.1 1");
    struct buffer_append p = next_block(&ingest, EV_posts, 1, 0);
    EXPECT_RC(buffer_append(b, &p, 1, 1, "h", &err), BL_E_BACKEND);
    EXPECT(strstr(err.message, "replica"));
    command_ok(&server, "REPLICAOF NO ONE");
    EXPECT_OK(buffer_append(b, &p, 1, 1, "h", &err), &err);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    assert_int_equal(drain(b, seq), 1);
    buffer_close(&b);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, finish)
    const struct CMUnitTest tests[] = {
        CASE(an_append_whose_answer_is_lost_is_present_once),
        CASE(a_request_that_arrives_after_its_client_gave_up_does_nothing),
        CASE(a_block_in_doubt_is_decided_by_itself_when_more_come_with_it),
        CASE(a_paused_redis_is_a_timeout_and_the_block_is_there_once),
        CASE(a_killed_redis_keeps_everything_from_its_append_only_file),
        CASE(a_redis_that_lost_acknowledged_blocks_is_noticed_and_nothing_more_is_appended),
        CASE(redis_may_be_down_when_opening_and_come_later),
        CASE(a_reply_lost_while_reading_is_read_again_without_repeating_what_was_seen),
        CASE(at_maxmemory_append_is_full_and_draining_works),
        CASE(the_high_water_mark_keeps_allkeys_lru_from_evicting),
        CASE(passwords_and_permissions_are_used_and_their_lack_is_named),
        CASE(a_replica_is_refused_with_its_cure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
