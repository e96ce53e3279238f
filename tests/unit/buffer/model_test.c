/* A naive model of the queue (entries, who holds them) against the real one, over thousands of seeded random steps. */
#include "base/rng.h"
#include "cluster.h"
#include "fixture.h"

enum { STEPS = 6000, ENTRIES_MAX = 6000, CONSUMERS = 3, NOBODY = -1 };

struct model_entry {
    char id[48]; /* learned when it is first handed out */
    int holder;
    bool gone;
    uint32_t events;
};
struct model {
    struct model_entry entries[ENTRIES_MAX]; /* [i] has seq i + 1 */
    size_t count;
    uint64_t received;
};
static struct model models[EV_TYPE_COUNT];
static struct server server;
static struct cluster cluster;
static bool on_cluster;
static struct buffer *readers[CONSUMERS];
static bool fresh[CONSUMERS]; /* reads its pending entries first */
static struct run ingest;
static struct bl_rng rng = {20261121};

static const char *name_of(int consumer) {
    static const char *const names[CONSUMERS] = {"a", "b", "c"};
    return names[consumer];
}

static void step_append(enum ev_type type) {
    struct model *m = &models[type];
    uint32_t events = (uint32_t)(1 + bl_rng_below(&rng, 5));
    if (m->count == ENTRIES_MAX) return;
    append_block(readers[0], &ingest, type, events);
    m->entries[m->count++] = (struct model_entry){.holder = NOBODY, .events = events};
    m->received += events;
}

static bool wanted(const struct model_entry *e, int consumer, bool pending) {
    return !e->gone && e->holder == (pending ? consumer : NOBODY);
}

static bool holds_any(int consumer) {
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        for (size_t i = 0; i < models[t].count; i++)
            if (wanted(&models[t].entries[i], consumer, true)) return true;
    return false;
}

/* The next `max` entries of each type, from `next[t]` on, that the model expects; takes note that they are held. */
static void expect_batch(const struct buffer_batch *batch, int consumer, bool pending, unsigned max, size_t next[]) {
    size_t at = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        struct model *m = &models[t];
        unsigned taken = 0;
        for (; next[t] < m->count && taken < max; next[t]++) {
            struct model_entry *e = &m->entries[next[t]];
            if (!wanted(e, consumer, pending)) continue;
            EXPECT(at < batch->count);
            const struct buffer_entry *got = &batch->entries[at++];
            assert_int_equal(got->type, t);
            assert_int_equal(got->block.seq, next[t] + 1);
            assert_int_equal(got->block.count, e->events);
            assert_int_equal(got->redelivered, pending);
            snprintf(e->id, sizeof e->id, "%s", got->id);
            e->holder = consumer;
            taken++;
        }
    }
    assert_int_equal(at, batch->count);
}

static void read_batch(int consumer, unsigned max, int64_t claim_idle_ms, struct buffer_batch *batch) {
    struct bl_error err = {0};
    EXPECT_OK(buffer_read(readers[consumer], name_of(consumer), max, claim_idle_ms, 0, batch, &err), &err);
}

static void step_read(int consumer) {
    unsigned max = (unsigned)(1 + bl_rng_below(&rng, 6));
    struct buffer_batch batch;
    if (fresh[consumer] && holds_any(consumer)) {
        size_t next[EV_TYPE_COUNT] = {0};
        size_t before;
        do {
            before = 0;
            for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
                for (size_t i = next[t]; i < models[t].count; i++)
                    before += wanted(&models[t].entries[i], consumer, true);
            if (before == 0) break;
            read_batch(consumer, max, -1, &batch);
            expect_batch(&batch, consumer, true, max, next);
        } while (before);
    }
    fresh[consumer] = false;
    size_t next[EV_TYPE_COUNT] = {0};
    read_batch(consumer, max, -1, &batch);
    expect_batch(&batch, consumer, false, max, next);
}

static void step_ack(enum ev_type type) {
    struct bl_error err = {0};
    struct model *m = &models[type];
    const char *ids[400];
    size_t count = 0;
    for (size_t i = 0; i < m->count && count < 400; i++) {
        struct model_entry *e = &m->entries[i];
        if (e->holder == NOBODY || e->gone || bl_rng_below(&rng, 2)) continue;
        ids[count++] = e->id;
        e->gone = true;
    }
    EXPECT_OK(buffer_ack(readers[0], type, ids, count, &err), &err);
}

static void step_restart(int consumer) {
    struct bl_error err = {0};
    struct buffer_position position;
    buffer_close(&readers[consumer]);
    readers[consumer] = on_cluster ? open_cluster(&cluster, CLUSTER_MASTERS) : open_buffer(server.socket);
    EXPECT_OK(buffer_load_position(readers[consumer], &position, &err), &err);
    fresh[consumer] = true;
}

/* Consumer `to` comes back and takes what everybody holds. */
static void step_take_over(int to) {
    step_restart(to);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++)
        for (size_t i = 0; i < models[t].count; i++)
            if (models[t].entries[i].holder != NOBODY) models[t].entries[i].holder = to;
    struct buffer_batch batch;
    size_t next[EV_TYPE_COUNT] = {0};
    bool any = holds_any(to);
    if (!any) return;
    read_batch(to, ENTRIES_MAX, 0, &batch);
    expect_batch(&batch, to, true, ENTRIES_MAX, next);
    fresh[to] = false;
}

static void check_depth(void) {
    struct bl_error err = {0};
    struct buffer_depth d;
    EXPECT_OK(buffer_depth(readers[0], &d, &err), &err);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        uint64_t live = 0, before = 0;
        for (size_t i = 0; i < models[t].count; i++) {
            if (!models[t].entries[i].gone) live++;
            if (live == 0) before += models[t].entries[i].events;
        }
        assert_int_equal(d.entries[t], live);
        assert_int_equal(d.received[t], models[t].received);
        assert_int_equal(d.events[t], live ? models[t].received - before : 0);
    }
}

static void the_queue_behaves_like_the_model(void **state) {
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        uint64_t dice = bl_rng_below(&rng, 1000);
        enum ev_type type = (enum ev_type)bl_rng_below(&rng, EV_TYPE_COUNT);
        int consumer = (int)bl_rng_below(&rng, CONSUMERS);
        if (dice < 500)
            step_append(type);
        else if (dice < 720)
            step_read(consumer);
        else if (dice < 930)
            step_ack(type);
        else if (dice < 950)
            step_restart(consumer);
        else if (dice < 960)
            step_take_over(consumer);
        else if (dice < 980) {
            buffer_rewind(readers[consumer]);
            fresh[consumer] = true;
        } else
            check_depth();
    }
    check_depth();
}

static void start_model(void) {
    memset(models, 0, sizeof models);
    for (int i = 0; i < CONSUMERS; i++) step_restart(i);
    run_start(&ingest, 7);
}

static int set_up(void **state) {
    (void)state;
    on_cluster = false;
    server_start(&server, NULL, NULL);
    start_model();
    return 0;
}

static int set_up_cluster(void **state) {
    (void)state;
    on_cluster = true;
    cluster_start(&cluster);
    start_model();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < CONSUMERS; i++) buffer_close(&readers[i]);
    run_end(&ingest);
    if (on_cluster)
        cluster_stop(&cluster);
    else
        server_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_queue_behaves_like_the_model)};
    int failed = cmocka_run_group_tests_name("one Redis", tests, set_up, tear_down);
    return failed + cmocka_run_group_tests_name("a cluster of three masters", tests, set_up_cluster, tear_down);
}
