/* What a Redis Cluster does that one Redis does not: keys on several servers, slots that move, cursors that disagree.
 */
#include "cluster.h"
#include "fixture.h"

static struct cluster cluster;
static struct buffer *buffer;
static struct run ingest;

static struct buffer_position load(void) {
    struct bl_error err = {0};
    struct buffer_position position;
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    return position;
}

static int set_up(void **state) {
    (void)state;
    cluster_start(&cluster);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cluster_stop(&cluster);
    return 0;
}

static int begin(void **state) {
    (void)state;
    for (int i = 0; i < CLUSTER_MASTERS; i++) command_ok(&cluster.masters[i], "FLUSHALL");
    buffer = open_cluster(&cluster, 1);
    run_start(&ingest, 7);
    load();
    return 0;
}

static int finish(void **state) {
    (void)state;
    buffer_close(&buffer);
    run_end(&ingest);
    return 0;
}

static void append_at(enum ev_type type, uint32_t events, int64_t cursor_us) {
    struct bl_error err = {0};
    struct buffer_append p = next_block(&ingest, type, events, 0);
    EXPECT_OK(buffer_append(buffer, &p, 1, cursor_us, "h", &err), &err);
}

static void blocks_of_all_types_go_to_their_servers_and_come_back(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_append all[EV_TYPE_COUNT];
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) all[t] = next_block(&ingest, (enum ev_type)t, t + 1, t);
    EXPECT_OK(buffer_append(buffer, all, EV_TYPE_COUNT, 1000, "h", &err), &err);
    for (int i = 0; i < CLUSTER_MASTERS; i++) EXPECT(command_i64(&cluster.masters[i], "DBSIZE") > 0);
    struct buffer_batch batch;
    EXPECT_OK(buffer_read(buffer, "w", 16, 60000, 100, &batch, &err), &err);
    assert_int_equal(batch.count, EV_TYPE_COUNT);
    for (size_t i = 0; i < batch.count; i++) {
        const struct buffer_entry *e = &batch.entries[i];
        assert_int_equal(e->block.count, e->type + 1);
        EXPECT_OK(buffer_ack(buffer, e->type, (const char *const[]){e->id}, 1, &err), &err);
    }
    struct buffer_depth depth;
    EXPECT_OK(buffer_depth(buffer, &depth, &err), &err);
    struct buffer_position position = load();
    assert_int_equal(position.cursor_us, 1000);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        assert_int_equal(depth.entries[t], 0);
        assert_int_equal(depth.received[t], t + 1);
        assert_int_equal(position.received[t], t + 1);
    }
}

static void the_youngest_cursor_wins_while_no_server_has_lost_anything(void **state) {
    (void)state;
    append_at(EV_posts, 1, 100);
    append_at(EV_likes, 1, 200);
    append_at(EV_reposts, 1, 300);
    append_at(EV_likes, 1, 250); /* time stamps may go back: the newest append counts */
    assert_int_equal(load().cursor_us, 250);
    append_at(EV_follows, 1, 0); /* without a cursor: the others' stand */
    assert_int_equal(load().cursor_us, 250);
}

/* As if the server of posts came back with its state after `events` posts, stored with `cursor_us`. */
static void set_posts_back(const struct server *s, int events, int64_t cursor_us) {
    command_ok(s, "HSET {firehose:posts}:metadata received:posts %d seen:posts %d seen:likes 0 cursor_us %lld", events,
               events, (long long)cursor_us);
}

static void a_cursor_that_promises_more_than_a_server_holds_is_withdrawn(void **state) {
    (void)state;
    struct server *posts = cluster_owner(&cluster, "{firehose:posts}:queue");
    struct server *likes = cluster_owner(&cluster, "{firehose:likes}:queue");
    EXPECT(posts != likes);
    append_at(EV_posts, 1, 100);
    append_at(EV_likes, 1, 200);
    append_at(EV_posts, 1, 300);
    append_at(EV_reposts, 1, 400);
    set_posts_back(posts, 1, 100);
    assert_int_equal(load().cursor_us, 200); /* it was stored when there was one post */
    set_posts_back(posts, 0, 50);
    assert_int_equal(load().cursor_us, 50);
    assert_int_equal(command_i64(likes, "HEXISTS {firehose:likes}:metadata cursor_us"), 0);
    /* Numbers that go up again do not bring it back. */
    set_posts_back(posts, 2, 60);
    assert_int_equal(load().cursor_us, 60);
}

static void a_server_that_lost_everything_leaves_no_cursor(void **state) {
    (void)state;
    append_at(EV_posts, 1, 100);
    append_at(EV_likes, 1, 200);
    append_at(EV_posts, 1, 300);
    command_ok(cluster_owner(&cluster, "{firehose:posts}:queue"), "FLUSHALL");
    struct buffer_position position = load();
    assert_int_equal(position.cursor_us, 0);
    assert_int_equal(position.received[EV_posts], 0);
    assert_int_equal(position.received[EV_likes], 1);
}

/* ---- slots that move ---- */

static redisReply *node_name(const struct server *s) {
    return command(s, "CLUSTER MYID");
}

static int port_of(const struct server *s) {
    for (int i = 0; i < CLUSTER_MASTERS; i++)
        if (&cluster.masters[i] == s) return cluster.ports[i];
    return 0;
}

static void set_slot(const struct server *s, int64_t slot, const char *how, const struct server *node) {
    redisReply *name = node_name(node);
    command_ok(s, "CLUSTER SETSLOT %lld %s %s", (long long)slot, how, name->str);
    freeReplyObject(name);
}

static void move_key(const struct server *from, const struct server *to, const char *key) {
    command_ok(from, "MIGRATE 127.0.0.1 %d %s 0 5000", port_of(to), key);
}

static void give_slot(int64_t slot, const struct server *to) {
    for (int i = 0; i < CLUSTER_MASTERS; i++) set_slot(&cluster.masters[i], slot, "NODE", to);
}

static void a_slot_is_followed_while_it_moves(void **state) {
    (void)state;
    struct bl_error err = {0};
    const char *queue = "{firehose:posts}:queue", *metadata = "{firehose:posts}:metadata";
    struct server *from = cluster_owner(&cluster, queue), *to = cluster_owner(&cluster, "{firehose:likes}:queue");
    int64_t slot = command_i64(from, "CLUSTER KEYSLOT %s", queue);
    append_at(EV_posts, 1, 100);
    set_slot(to, slot, "IMPORTING", from);
    set_slot(from, slot, "MIGRATING", to);
    append_at(EV_posts, 2, 200); /* both keys are still there */
    move_key(from, to, queue);
    struct buffer_append torn = next_block(&ingest, EV_posts, 3, 0);
    enum bl_rc rc = buffer_append(buffer, &torn, 1, 300, "h", &err); /* one key here, one there */
    EXPECT(rc == BL_E_BACKEND || rc == BL_E_FORGOTTEN);
    move_key(from, to, metadata);
    load(); /* the other server is met for the first time under this name */
    EXPECT_OK(buffer_append(buffer, &torn, 1, 300, "h", &err), &err); /* ASK */
    give_slot(slot, to);
    append_at(EV_posts, 4, 400); /* MOVED */
    struct buffer_batch batch;
    EXPECT_OK(buffer_read(buffer, "w", 16, 60000, 100, &batch, &err), &err);
    assert_int_equal(batch.count, 4);
    for (uint32_t i = 0; i < batch.count; i++) assert_int_equal(batch.entries[i].block.count, i + 1);
    assert_int_equal(load().cursor_us, 400);
    set_slot(from, slot, "IMPORTING", to);
    set_slot(to, slot, "MIGRATING", from);
    move_key(to, from, queue);
    move_key(to, from, metadata);
    give_slot(slot, from);
    EXPECT_OK(buffer_ack(buffer, EV_posts, (const char *const[]){batch.entries[0].id}, 1, &err), &err);
    append_at(EV_posts, 5, 500);
    assert_int_equal(load().received[EV_posts], 15);
}

static void an_address_that_is_none_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"host:", ":1", "host:none", "host:70000", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct bl_error err = {0};
        struct buffer *b = NULL;
        struct buffer_options o = {.cluster = &wrong[i], .cluster_count = 1};
        EXPECT_RC(buffer_open(&o, &b, &err), BL_E_USAGE);
        EXPECT(strstr(err.message, "redis.cluster"));
    }
}

static void one_server_of_a_cluster_names_the_setting(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer *b = NULL;
    struct buffer_position position;
    EXPECT_OK(buffer_open(&(struct buffer_options){.host = "127.0.0.1", .port = cluster.ports[0]}, &b, &err), &err);
    EXPECT(buffer_load_position(b, &position, &err) != BL_OK);
    EXPECT(strstr(err.message, "cluster") || strstr(err.message, "slot"));
    buffer_close(&b);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        CASE(blocks_of_all_types_go_to_their_servers_and_come_back),
        CASE(the_youngest_cursor_wins_while_no_server_has_lost_anything),
        CASE(a_cursor_that_promises_more_than_a_server_holds_is_withdrawn),
        CASE(a_server_that_lost_everything_leaves_no_cursor),
        CASE(a_slot_is_followed_while_it_moves),
        CASE(an_address_that_is_none_is_refused),
        CASE(one_server_of_a_cluster_names_the_setting),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
