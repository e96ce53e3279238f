#include "pipe/intake.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "expect.h"
#include "sim/sim.h"

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bl-intake-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *s, int flag, struct FTW *f) {
    (void)s, (void)flag, (void)f;
    return remove(path);
}

static int remove_dir(void **state) {
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Events [from,to) of the simulated network that are of `type` (EV_TYPE_COUNT = all), and `bad` lines that are none. */
static struct chunk *chunk_of(struct decode *d, struct sim *sim, uint64_t from, uint64_t to, enum ev_type type,
                              int bad) {
    struct chunk *c = decode_chunk(d);
    struct bl_buf line = {0};
    struct bl_arena arena = {0};
    for (uint64_t i = from; i < to; i++) {
        struct event ev;
        enum ev_reason why;
        bl_buf_clear(&line);
        bl_arena_reset(&arena);
        sim_event(sim, i, &line);
        EXPECT(ev_check(bl_buf_view(&line), &arena, &ev, &why, NULL) == BL_OK);
        if (type != EV_TYPE_COUNT && ev.type != type) continue;
        bl_buf_str(&c->raw, bl_buf_view(&line));
        bl_buf_byte(&c->raw, '\n');
    }
    while (bad-- > 0) bl_buf_z(&c->raw, "not an event\n");
    bl_buf_release(&line);
    bl_arena_release(&arena);
    decode_submit(d, c);
    return decode_next(d);
}

static void ledger_of(struct lake *lake, struct catalog_ledger ledger[static EV_TYPE_COUNT]) {
    struct bl_error err = {0};
    struct lake_commit_stats stats;
    EXPECT_OK(lake_commit(lake, "write", &stats, &err), &err);
    EXPECT_OK(catalog_ledger(lake_catalog(lake), ledger, &err), &err);
}

static void take(struct lake *lake, struct decode *d, struct chunk *c, const struct intake_source *from,
                 struct intake_counts *counts) {
    struct bl_error err = {0};
    EXPECT_OK(intake_chunk(lake, c, from, counts, &err), &err);
    decode_recycle(d, c);
}

static void expect_sums(const struct catalog_ledger *l, int64_t written, int64_t duplicates, int64_t dead) {
    if (l->written != written || l->duplicates != duplicates || l->dead != dead ||
        l->received != written + duplicates + dead || l->rows != written)
        fail_msg("received %lld, written %lld, duplicates %lld, dead %lld", (long long)l->received,
                 (long long)l->written, (long long)l->duplicates, (long long)l->dead);
}

static void what_is_received_is_written_or_repeated_or_dead(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct lake *lake = NULL;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 4, .rate = 300});
    struct decode *d = decode_new(2, 2);
    struct intake_counts counts = {0};
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    EXPECT_OK(lake_open(&(struct lake_options){.dir = dir}, &lake, &err), &err);

    /* A block of likes with two bad lines, as the writer takes it. */
    struct chunk *c = chunk_of(d, sim, 0, 2000, EV_likes, 2);
    int64_t likes = (int64_t)c->count;
    struct intake_source block = {
        .type = EV_likes, .incarnation = 9, .seq = 1, .offset = 0, .origin = "block 9/likes/1"};
    take(lake, d, c, &block, &counts);
    ledger_of(lake, ledger);
    expect_sums(&ledger[EV_likes], likes, 0, 2);
    EXPECT(ledger[EV_likes].next_offset == (uint64_t)(likes + 2) && ledger[EV_likes].missing == 0);

    /* The same events under the next number: repetitions, and nothing missing. */
    block.seq = 2;
    block.offset = ledger[EV_likes].next_offset;
    block.origin = "block 9/likes/2";
    take(lake, d, chunk_of(d, sim, 0, 2000, EV_likes, 0), &block, &counts);
    ledger_of(lake, ledger);
    expect_sums(&ledger[EV_likes], likes, likes, 2);

    /* A file of mixed types that holds them once more: its bad lines stand with the catch-all. */
    struct intake_source file = {.type = EV_TYPE_COUNT, .offset = UINT64_MAX, .origin = "file.ndjson chunk 1"};
    take(lake, d, chunk_of(d, sim, 0, 3000, EV_TYPE_COUNT, 5), &file, &counts);
    ledger_of(lake, ledger);
    int64_t received = 0, rows = 0, dead = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct catalog_ledger *l = &ledger[t];
        expect_sums(l, l->written, l->duplicates, l->dead);
        EXPECT(counts.written[t] == l->written && counts.duplicates[t] == l->duplicates);
        EXPECT(counts.received[t] == l->received);
        received += l->received, rows += l->rows, dead += l->dead;
    }
    EXPECT(rows == 3000 && dead == 7 && counts.dead == 7 && received == 3000 + 2 * likes + 7);
    EXPECT(ledger[EV_others].dead == 5 && ledger[EV_likes].dead == 2 && ledger[EV_likes].duplicates == 2 * likes);
    EXPECT(counts.cids_kept == 0 && counts.cids_verified > 0);
    int64_t letters = 0;
    EXPECT_OK(catalog_dead_count(lake_catalog(lake), &letters, &err), &err);
    EXPECT(letters == 7);
    lake_close(&lake);
    decode_free(&d);
    sim_free(&sim);
}

static void a_hole_in_the_numbering_is_counted_as_missing(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct lake *lake = NULL;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 5, .rate = 300});
    struct decode *d = decode_new(1, 1);
    struct intake_counts counts = {0};
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    EXPECT_OK(lake_open(&(struct lake_options){.dir = dir}, &lake, &err), &err);
    struct chunk *c = chunk_of(d, sim, 0, 500, EV_follows, 0);
    int64_t follows = (int64_t)c->count;
    struct intake_source block = {
        .type = EV_follows, .incarnation = 9, .seq = 1, .offset = 0, .origin = "block 9/follows/1"};
    take(lake, d, c, &block, &counts);
    ledger_of(lake, ledger);
    EXPECT(ledger[EV_follows].missing == 0);
    block.seq = 3;
    block.offset = ledger[EV_follows].next_offset + 41;
    take(lake, d, chunk_of(d, sim, 500, 1000, EV_follows, 0), &block, &counts);
    ledger_of(lake, ledger);
    EXPECT(ledger[EV_follows].missing == 41 && ledger[EV_follows].written > follows);
    lake_close(&lake);
    decode_free(&d);
    sim_free(&sim);
}

/* As when a file of the lake cannot be opened half-way: what an import has appended by then is committed. */
static void a_part_of_a_files_chunk_is_in_the_ledger(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct lake *lake = NULL;
    struct sim *sim = sim_new(&(struct sim_options){.seed = 5, .rate = 300});
    struct decode *d = decode_new(1, 1);
    struct intake_counts counts = {0};
    struct catalog_ledger ledger[EV_TYPE_COUNT];
    EXPECT_OK(lake_open(&(struct lake_options){.dir = dir, .memory_bytes = 1 << 20}, &lake, &err), &err);
    struct chunk *c = chunk_of(d, sim, 0, 6000, EV_TYPE_COUNT, 0);
    struct intake_source file = {.type = EV_TYPE_COUNT, .offset = UINT64_MAX, .origin = "a file"};
    EXPECT_RC(intake_chunk(lake, c, &file, &counts, &err), BL_E_FULL);
    decode_recycle(d, c);
    ledger_of(lake, ledger);
    int64_t written = 0;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        expect_sums(&ledger[t], ledger[t].rows, 0, 0);
        written += ledger[t].written;
    }
    EXPECT(written > 0 && written < 6000);
    lake_close(&lake);
    decode_free(&d);
    sim_free(&sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_received_is_written_or_repeated_or_dead, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_hole_in_the_numbering_is_counted_as_missing, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_part_of_a_files_chunk_is_in_the_ledger, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
