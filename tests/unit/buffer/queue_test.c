#include "fixture.h"

static struct server server;
static struct buffer *buffer;
static struct run ingest;

static int set_up(void **state) {
    (void)state;
    static const char *const options[] = {"--maxmemory", "256mb", NULL};
    server_start(&server, NULL, options);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    server_stop(&server);
    return 0;
}

static int begin(void **state) {
    (void)state;
    command_ok(&server, "FLUSHALL");
    struct bl_error err = {0};
    struct buffer_position position;
    buffer = open_buffer(server.socket);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    run_start(&ingest, 0x1234);
    return 0;
}

static int finish(void **state) {
    (void)state;
    run_end(&ingest);
    buffer_close(&buffer);
    return 0;
}

static struct buffer_batch read_as(struct buffer *b, const char *consumer, unsigned max, int64_t idle_ms) {
    struct bl_error err = {0};
    struct buffer_batch batch = {0};
    EXPECT_OK(buffer_read(b, consumer, max, idle_ms, 0, &batch, &err), &err);
    return batch;
}

static void ack(struct buffer *b, const struct buffer_entry *e) {
    struct bl_error err = {0};
    EXPECT_OK(buffer_ack(b, e->type, (const char *const[]){e->id}, 1, &err), &err);
}

static void what_is_appended_is_read_once_and_gone_after_its_acknowledgement(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct bl_buf out = {0};
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        for (uint32_t i = 1; i <= 3; i++) append_block(buffer, &ingest, (enum ev_type)t, i);
    struct buffer_batch batch = read_as(buffer, "w", 10, 1000);
    assert_int_equal(batch.count, 3 * EV_TYPE_COUNT);
    uint64_t seq[EV_TYPE_COUNT] = {0};
    for (size_t i = 0; i < batch.count; i++) {
        const struct buffer_entry *e = &batch.entries[i];
        EXPECT(!e->redelivered && !e->corrupt);
        assert_int_equal(e->block.incarnation, 0x1234);
        assert_int_equal(e->block.seq, ++seq[e->type]);
        EXPECT_OK(block_unpack(ingest.codec, &e->block, &out, &err), &err);
        ack(buffer, e);
        ack(buffer, e);
    }
    assert_int_equal(read_as(buffer, "w", 10, 1000).count, 0);
    buffer_rewind(buffer);
    assert_int_equal(read_as(buffer, "w", 10, 1000).count, 0);
    assert_int_equal(command_i64(&server, "XLEN firehose:posts:queue"), 0);
    bl_buf_release(&out);
}

static void reading_hands_out_at_most_what_was_asked_for_per_type(void **state) {
    (void)state;
    for (int i = 0; i < 7; i++) append_block(buffer, &ingest, EV_posts, 1);
    append_block(buffer, &ingest, EV_likes, 1);
    assert_int_equal(read_as(buffer, "w", 3, 1000).count, 4);
    assert_int_equal(read_as(buffer, "w", 3, 1000).count, 3);
    assert_int_equal(read_as(buffer, "w", 3, 1000).count, 1);
}

static void a_waiting_reader_gets_what_another_connection_appends(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_batch batch = {0};
    EXPECT_OK(buffer_read(buffer, "w", 10, 1000, 30, &batch, &err), &err);
    assert_int_equal(batch.count, 0);
    struct buffer *other = open_buffer(server.socket);
    append_block(other, &ingest, EV_posts, 1);
    EXPECT_OK(buffer_read(buffer, "w", 10, 1000, 5000, &batch, &err), &err);
    assert_int_equal(batch.count, 1);
    buffer_close(&other);
}

static void pending_entries_come_again_after_a_restart_or_rewind_before_new_ones(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) append_block(buffer, &ingest, EV_posts, 1);
    struct buffer_batch batch = read_as(buffer, "w", 3, 100000);
    assert_int_equal(batch.count, 3);
    ack(buffer, &batch.entries[1]);

    struct buffer *again = open_buffer(server.socket);
    batch = read_as(again, "w", 10, 100000);
    assert_int_equal(batch.count, 2);
    EXPECT(batch.entries[0].redelivered && batch.entries[1].redelivered);
    assert_int_equal(batch.entries[0].block.seq, 1);
    assert_int_equal(batch.entries[1].block.seq, 3);
    batch = read_as(again, "w", 10, 100000);
    assert_int_equal(batch.count, 2);
    EXPECT(!batch.entries[0].redelivered);
    assert_int_equal(batch.entries[0].block.seq, 4);
    buffer_rewind(again);
    assert_int_equal(read_as(again, "w", 10, 100000).count, 4);
    buffer_close(&again);
}

static void a_long_pending_list_is_walked_page_by_page(void **state) {
    (void)state;
    for (int i = 0; i < 25; i++) append_block(buffer, &ingest, EV_likes, 1);
    assert_int_equal(read_as(buffer, "w", 100, 100000).count, 25);
    buffer_rewind(buffer);
    uint64_t seq = 0;
    for (struct buffer_batch batch = read_as(buffer, "w", 4, 100000); batch.count;
         batch = read_as(buffer, "w", 4, 100000))
        for (size_t i = 0; i < batch.count; i++) assert_int_equal(batch.entries[i].block.seq, ++seq);
    assert_int_equal(seq, 25);
}

static void a_dead_consumers_entries_are_taken_over_in_stream_order(void **state) {
    (void)state;
    struct buffer *dead = open_buffer(server.socket);
    for (int i = 0; i < 6; i++) {
        append_block(buffer, &ingest, EV_posts, 1);
        assert_int_equal(read_as(i % 2 ? dead : buffer, i % 2 ? "dead" : "w", 10, -1).count, 1);
    }
    buffer_close(&dead);
    buffer_rewind(buffer);
    struct buffer_batch batch = read_as(buffer, "w", 10, 0);
    assert_int_equal(batch.count, 6);
    for (size_t i = 0; i < batch.count; i++) assert_int_equal(batch.entries[i].block.seq, i + 1);
}

static void a_consumer_that_dies_later_is_noticed_while_reading_and_own_entries_are_not_repeated(void **state) {
    (void)state;
    struct bl_error err = {0};
    append_block(buffer, &ingest, EV_posts, 1);
    assert_int_equal(read_as(buffer, "w", 10, 50).count, 1);
    struct buffer *dead = open_buffer(server.socket);
    append_block(buffer, &ingest, EV_posts, 1);
    append_block(buffer, &ingest, EV_likes, 1);
    assert_int_equal(read_as(dead, "dead", 10, -1).count, 2);
    buffer_close(&dead);
    size_t taken = 0;
    for (int i = 0; i < 200 && taken < 2; i++) {
        struct buffer_batch batch = {0};
        EXPECT_OK(buffer_read(buffer, "w", 10, 50, 20, &batch, &err), &err);
        for (size_t k = 0; k < batch.count; k++, taken++) {
            EXPECT(batch.entries[k].redelivered);
            EXPECT(batch.entries[k].idle_ms >= 50);
            assert_int_equal(batch.entries[k].block.seq, batch.entries[k].type == EV_posts ? 2 : 1);
        }
    }
    assert_int_equal(taken, 2);
}

static void a_pending_entry_that_was_deleted_is_acknowledged_away(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) append_block(buffer, &ingest, EV_posts, 1);
    struct buffer_batch batch = read_as(buffer, "w", 10, 100000);
    assert_int_equal(batch.count, 3);
    for (int i = 0; i < 2; i++) command_ok(&server, "XDEL firehose:posts:queue %s", batch.entries[i].id);
    buffer_rewind(buffer);
    batch = read_as(buffer, "w", 10, 100000);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.entries[0].block.seq, 3);
    ack(buffer, &batch.entries[0]);
    redisReply *r = command(&server, "XPENDING firehose:posts:queue writers");
    assert_int_equal(r->element[0]->integer, 0);
    freeReplyObject(r);
}

static void an_entry_that_is_no_block_is_marked_and_kept_whole(void **state) {
    (void)state;
    command_ok(&server, "XADD firehose:posts:queue * v 1 data x");
    append_block(buffer, &ingest, EV_posts, 1);
    struct buffer_batch batch = read_as(buffer, "w", 10, 1000);
    assert_int_equal(batch.count, 2);
    EXPECT(batch.entries[0].corrupt);
    EXPECT(strstr(batch.entries[0].why, "inc"));
    EXPECT_STR(batch.entries[0].block.data, "v: 1\ndata: x\n");
    EXPECT(!batch.entries[1].corrupt);
}

static void position_and_depth_are_exact(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position;
    struct buffer_depth depth;
    for (uint32_t i = 1; i <= 4; i++) append_block(buffer, &ingest, EV_posts, i);
    struct buffer_append two[] = {next_block(&ingest, EV_likes, 5, 0), next_block(&ingest, EV_likes, 6, 1)};
    EXPECT_OK(buffer_append(buffer, two, 2, 1700000000000042, "jetstream.example", &err), &err);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.cursor_us, 1700000000000042);
    assert_string_equal(position.host, "jetstream.example");
    assert_int_equal(position.received[EV_posts], 10);
    assert_int_equal(position.received[EV_likes], 11);
    EXPECT_OK(buffer_append(buffer, NULL, 0, 0, NULL, &err), &err);

    struct buffer_batch batch = read_as(buffer, "w", 2, 1000);
    for (size_t i = 0; i < batch.count; i++)
        if (batch.entries[i].type == EV_posts) ack(buffer, &batch.entries[i]);
    EXPECT_OK(buffer_depth(buffer, &depth, &err), &err);
    assert_int_equal(depth.entries[EV_posts], 2);
    assert_int_equal(depth.events[EV_posts], 7);
    assert_int_equal(depth.received[EV_posts], 10);
    assert_int_equal(depth.entries[EV_likes], 2);
    assert_int_equal(depth.events[EV_likes], 11);
    assert_int_equal(depth.events[EV_follows], 0);
    assert_int_equal(depth.oldest_us[EV_follows], 0);
    EXPECT(depth.oldest_us[EV_posts] > 1600000000000000);
    assert_int_equal(depth.maxmemory, 256 << 20);
    EXPECT(depth.used_memory > 0);
    assert_int_equal(depth.evicted_keys, 0);
    assert_string_equal(depth.policy, "noeviction");
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.cursor_us, 1700000000000042);
}

static void damaged_metadata_is_reported_with_its_field(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position = {.cursor_us = 7};
    command_ok(&server, "HSET firehose:metadata received:posts many");
    EXPECT_RC(buffer_load_position(buffer, &position, &err), BL_E_CORRUPT);
    EXPECT(strstr(err.message, "received:posts"));
    assert_int_equal(position.cursor_us, 7);
}

static void only_the_newest_incarnations_are_remembered(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position;
    for (uint64_t i = 1; i <= 80; i++) {
        struct run r;
        run_start(&r, i);
        append_block(buffer, &r, EV_posts, 1);
        run_end(&r);
        command_ok(&server, "HSET firehose:metadata used:%016llx %llu", (unsigned long long)i, (unsigned long long)i);
    }
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(command_i64(&server, "HEXISTS firehose:metadata blocks:%016x:posts", 16), 0);
    assert_int_equal(command_i64(&server, "HEXISTS firehose:metadata used:%016x", 16), 0);
    assert_int_equal(command_i64(&server, "HEXISTS firehose:metadata blocks:%016x:posts", 17), 1);
    assert_int_equal(command_i64(&server, "HLEN firehose:metadata"), 64 * 2 + 4);
}

static void rejected_messages_wait_in_order_until_dropped(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_rejected got[8];
    size_t count = 0;
    struct buffer_depth depth;
    static const char nul[] = "{\"a\0b";
    EXPECT_OK(buffer_reject(buffer, &(struct buffer_note){"json_syntax", "byte 3", 11, 0, bl_strn(nul, sizeof nul - 1)},
                            NULL, &err),
              &err);
    EXPECT_OK(buffer_reject(buffer, &(struct buffer_note){"too_large", "", 12, 0, BL_LIT("")}, NULL, &err), &err);
    EXPECT_OK(buffer_read_rejected(buffer, NULL, 8, got, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(got[0].reason, "json_syntax");
    assert_string_equal(got[0].detail, "byte 3");
    assert_int_equal(got[0].received_us, 11);
    EXPECT(bl_str_eq(got[0].message, bl_strn(nul, sizeof nul - 1)));
    assert_int_equal(got[1].message.n, 0);
    char first[sizeof got[0].id];
    memcpy(first, got[0].id, sizeof first);
    EXPECT_OK(buffer_read_rejected(buffer, first, 8, got, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(got[0].reason, "too_large");
    EXPECT_OK(buffer_depth(buffer, &depth, &err), &err);
    assert_int_equal(depth.rejected, 2);
    EXPECT_OK(buffer_drop_rejected(buffer, (const char *const[]){first}, 1, &err), &err);
    EXPECT_OK(buffer_read_rejected(buffer, NULL, 8, got, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(got[0].reason, "too_large");
    struct buffer_position position;
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.rejected, 2);
}

static int64_t settled(void) {
    struct bl_error err = {0};
    int64_t settled_us = 0;
    EXPECT_OK(buffer_settled(buffer, &settled_us, &err), &err);
    return settled_us;
}

static void what_waits_holds_the_settled_position_back(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position;
    assert_int_equal(settled(), 0);
    append_block(buffer, &ingest, EV_posts, 3);
    struct buffer_batch batch = read_as(buffer, "w", 10, 1000);
    int64_t first_us = batch.entries[0].block.first_us;
    assert_int_equal(settled(), first_us);
    ack(buffer, &batch.entries[0]);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(settled(), position.cursor_us);

    struct buffer_note note = {"utf8", "", 11, position.cursor_us - 5, BL_LIT("x")};
    struct buffer_rejected got[2];
    uint64_t number = 0;
    size_t count = 0;
    EXPECT_OK(buffer_reject(buffer, &note, &number, &err), &err);
    EXPECT(number == 1 && settled() == position.cursor_us - 5);
    EXPECT_OK(buffer_read_rejected(buffer, NULL, 2, got, &count, &err), &err);
    EXPECT_OK(buffer_drop_rejected(buffer, (const char *const[]){got[0].id}, 1, &err), &err);
    assert_int_equal(settled(), position.cursor_us);
}

static void one_writer_holds_the_lease(void **state) {
    (void)state;
    struct bl_error err = {0};
    EXPECT_OK(buffer_lease(buffer, "one", 60000, &err), &err);
    EXPECT_OK(buffer_lease(buffer, "one", 60000, &err), &err);
    EXPECT_RC(buffer_lease(buffer, "two", 60000, &err), BL_E_BUSY);
    EXPECT(strstr(err.message, "\"one\""));
    EXPECT_OK(buffer_release_lease(buffer, "two", &err), &err);
    EXPECT_RC(buffer_lease(buffer, "two", 60000, &err), BL_E_BUSY);
    EXPECT_OK(buffer_release_lease(buffer, "one", &err), &err);
    EXPECT_OK(buffer_lease(buffer, "two", 1, &err), &err);
    int64_t until = 1000;
    while (buffer_lease(buffer, "one", 60000, &err) == BL_E_BUSY && until--) continue;
    EXPECT(until > 0);
}

static void one_ingest_holds_a_lease_of_its_own(void **state) {
    (void)state;
    struct bl_error err = {0};
    int64_t left_ms = 0;
    EXPECT_OK(buffer_ingest_lease(buffer, "one", 60000, &left_ms, &err), &err);
    EXPECT_OK(buffer_lease(buffer, "writer", 60000, &err), &err);
    EXPECT_RC(buffer_ingest_lease(buffer, "two", 60000, &left_ms, &err), BL_E_BUSY);
    EXPECT(left_ms > 0 && left_ms <= 60000 && strstr(err.message, "ingest \"one\""));
    EXPECT_OK(buffer_release_ingest_lease(buffer, "two", &err), &err);
    EXPECT_RC(buffer_ingest_lease(buffer, "two", 60000, &left_ms, &err), BL_E_BUSY);
    EXPECT_OK(buffer_release_ingest_lease(buffer, "one", &err), &err);
    EXPECT_OK(buffer_ingest_lease(buffer, "two", 60000, &left_ms, &err), &err);
    EXPECT_RC(buffer_lease(buffer, "two", 60000, &err), BL_E_BUSY);
}

static void vanished_queues_are_made_anew_and_reading_goes_on(void **state) {
    (void)state;
    append_block(buffer, &ingest, EV_posts, 1);
    assert_int_equal(read_as(buffer, "w", 10, 1000).count, 1);
    command_ok(&server, "DEL firehose:posts:queue");
    append_block(buffer, &ingest, EV_posts, 2); /* makes the stream, not the group */
    struct buffer_batch batch = read_as(buffer, "w", 10, 1000);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.entries[0].block.seq, 2);
    command_ok(&server, "FLUSHALL");
    assert_int_equal(read_as(buffer, "w", 10, 1000).count, 0);
    append_block(buffer, &ingest, EV_others, 1);
    assert_int_equal(read_as(buffer, "w", 10, 1000).count, 1);
}

static void a_queue_that_vanished_is_known_until_its_numbers_begin_anew(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position;
    int64_t settled = -1;
    append_block(buffer, &ingest, EV_posts, 2);
    append_block(buffer, &ingest, EV_likes, 3);
    EXPECT_OK(buffer_settled(buffer, &settled, &err), &err);
    EXPECT(settled > 0);
    command_ok(&server, "DEL firehose:posts:queue");
    EXPECT_RC(buffer_settled(buffer, &settled, &err), BL_E_FORGOTTEN); /* empty, but not because it was drained */
    read_as(buffer, "w", 10, 1000);                                    /* the writer makes it anew */
    EXPECT_RC(buffer_settled(buffer, &settled, &err), BL_E_FORGOTTEN);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.vanished, 1u << EV_posts);
    assert_int_equal(position.received[EV_posts], 2);
    EXPECT_OK(buffer_number_anew(buffer, position.vanished, &err), &err);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.vanished, 0);
    assert_int_equal(position.received[EV_posts], 0);
    assert_int_equal(position.received[EV_likes], 3);
    assert_int_equal(position.cursor_us, 0);
}

static void what_was_drained_has_not_vanished(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct buffer_position position;
    int64_t settled = -1;
    append_block(buffer, &ingest, EV_posts, 2);
    struct buffer_batch batch = read_as(buffer, "w", 10, 1000);
    assert_int_equal(batch.count, 1);
    ack(buffer, &batch.entries[0]);
    EXPECT_OK(buffer_load_position(buffer, &position, &err), &err);
    assert_int_equal(position.vanished, 0);
    EXPECT_OK(buffer_settled(buffer, &settled, &err), &err);
    assert_int_equal(settled, position.cursor_us);
}

static void a_key_of_another_kind_is_refused_loudly(void **state) {
    (void)state;
    struct bl_error err = {0};
    command_ok(&server, "DEL firehose:posts:queue");
    command_ok(&server, "SET firehose:posts:queue x");
    struct buffer_append p = next_block(&ingest, EV_posts, 1, 0);
    EXPECT_RC(buffer_append(buffer, &p, 1, 1, "h", &err), BL_E_CORRUPT);
    struct buffer_batch batch;
    EXPECT_RC(buffer_read(buffer, "w", 1, 1000, 0, &batch, &err), BL_E_BACKEND);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        CASE(what_is_appended_is_read_once_and_gone_after_its_acknowledgement),
        CASE(reading_hands_out_at_most_what_was_asked_for_per_type),
        CASE(a_waiting_reader_gets_what_another_connection_appends),
        CASE(pending_entries_come_again_after_a_restart_or_rewind_before_new_ones),
        CASE(a_long_pending_list_is_walked_page_by_page),
        CASE(a_dead_consumers_entries_are_taken_over_in_stream_order),
        CASE(a_consumer_that_dies_later_is_noticed_while_reading_and_own_entries_are_not_repeated),
        CASE(a_pending_entry_that_was_deleted_is_acknowledged_away),
        CASE(an_entry_that_is_no_block_is_marked_and_kept_whole),
        CASE(position_and_depth_are_exact),
        CASE(damaged_metadata_is_reported_with_its_field),
        CASE(only_the_newest_incarnations_are_remembered),
        CASE(rejected_messages_wait_in_order_until_dropped),
        CASE(what_waits_holds_the_settled_position_back),
        CASE(one_writer_holds_the_lease),
        CASE(one_ingest_holds_a_lease_of_its_own),
        CASE(vanished_queues_are_made_anew_and_reading_goes_on),
        CASE(a_queue_that_vanished_is_known_until_its_numbers_begin_anew),
        CASE(what_was_drained_has_not_vanished),
        CASE(a_key_of_another_kind_is_refused_loudly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
