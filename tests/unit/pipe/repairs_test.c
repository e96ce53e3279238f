/* The list of gaps that are being filled, as it survives on disk, and when an entry goes. */
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "expect.h"
#include "obs/log.h"
#include "pipe/repairs.h"

#define NOW INT64_C(1800000000000000)
#define HOUR (INT64_C(3600) * 1000000)

struct world {
    char dir[64], spill[80], file[96];
    struct repairs repairs;
};

static int set_up(void **state) {
    struct world *w = bl_xcalloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/bl-repairs-XXXXXX");
    EXPECT(mkdtemp(w->dir));
    snprintf(w->spill, sizeof w->spill, "%s/spill", w->dir);
    snprintf(w->file, sizeof w->file, "%s/gaps", w->spill);
    repairs_open(&w->repairs, w->dir, NOW);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    repairs_release(&w->repairs);
    unlink(w->file);
    unlink(w->spill);
    rmdir(w->spill);
    rmdir(w->dir);
    free(w);
    return 0;
}

static struct source_gap lost(int64_t from_us, int64_t to_us) {
    return (struct source_gap){.from_us = from_us, .to_us = to_us, .reason = REPAIR_BUFFER_LOST};
}

static struct source_gap unserved(int64_t from_us, int64_t to_us) {
    return (struct source_gap){.from_us = from_us, .to_us = to_us, .host = "host:1", .reason = "cursor_too_old"};
}

static void add(struct world *w, struct source_gap gap) {
    repairs_add(&w->repairs, &gap, NOW);
}

/* As another process finds them. */
static void reopen(struct world *w, int64_t now_us) {
    repairs_release(&w->repairs);
    repairs_open(&w->repairs, w->dir, now_us);
}

static void what_is_added_is_there_after_a_restart(void **state) {
    struct world *w = *state;
    EXPECT(w->repairs.count == 0);
    add(w, lost(10, 20));
    add(w, unserved(30, 40));
    add(w, unserved(30, 40));
    reopen(w, NOW);
    EXPECT(w->repairs.count == 2);
    const struct repair *first = &w->repairs.list[0], *second = &w->repairs.list[1];
    EXPECT(first->gap.from_us == 10 && first->gap.to_us == 20 && repair_is_of_buffer(first) && !*first->gap.host);
    EXPECT(second->gap.from_us == 30 && second->gap.to_us == 40 && !repair_is_of_buffer(second));
    EXPECT_STR(bl_str(second->gap.host), "host:1");
    EXPECT_STR(bl_str(second->gap.reason), "cursor_too_old");
    EXPECT(second->noted_us == NOW && !second->gap.healed && !second->reported_us);
}

static void what_upstream_could_not_serve_is_forgotten_after_two_days(void **state) {
    struct world *w = *state;
    add(w, lost(10, 20));
    add(w, unserved(30, 40));
    reopen(w, NOW + 47 * HOUR);
    EXPECT(w->repairs.count == 2);
    reopen(w, NOW + 49 * HOUR);
    EXPECT(w->repairs.count == 1 && repair_is_of_buffer(&w->repairs.list[0]));
}

static void an_entry_goes_once_its_note_is_settled_and_not_before(void **state) {
    struct world *w = *state;
    struct source_gap upstream = unserved(30, 40);
    add(w, lost(10, 20));
    add(w, upstream);
    EXPECT(!repairs_whole(&w->repairs, 19));
    struct repair *whole = repairs_whole(&w->repairs, 20);
    EXPECT(whole && whole->gap.to_us == 20);
    repairs_settle(&w->repairs, 1000); /* nothing is reported yet */
    repairs_reported(&w->repairs, &whole->gap, 25);
    EXPECT(!repairs_whole(&w->repairs, 1000)); /* the other one is not for the position to heal */
    repairs_settle(&w->repairs, 25);
    EXPECT(w->repairs.count == 2);
    repairs_settle(&w->repairs, 26);
    EXPECT(w->repairs.count == 1);
    upstream.healed = true; /* as the source says it */
    repairs_reported(&w->repairs, &upstream, 50);
    repairs_settle(&w->repairs, 51);
    EXPECT(w->repairs.count == 0 && access(w->file, F_OK) != 0);
}

static void a_new_session_reports_again(void **state) {
    struct world *w = *state;
    struct source_gap gap = lost(10, 20);
    add(w, gap);
    repairs_reported(&w->repairs, &gap, 25);
    repairs_begin(&w->repairs, 15, true);
    repairs_settle(&w->repairs, 1000);
    EXPECT(w->repairs.count == 1 && repairs_whole(&w->repairs, 20));
}

static void what_nobody_asks_for_again_is_given_up(void **state) {
    static const struct {
        int64_t resume_us;
        bool complete, stays;
    } cases[] = {{15, true, true},   {100, true, true},  {10, false, true},
                 {11, false, false}, {15, false, false}, {0, false, false}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        add(w, lost(10, 20));
        add(w, unserved(10, 20)); /* another host is asked for it, wherever the position is */
        repairs_begin(&w->repairs, cases[i].resume_us, cases[i].complete);
        reopen(w, NOW);
        EXPECT(w->repairs.count == (cases[i].stays ? 2 : 1));
        EXPECT(!!repairs_whole(&w->repairs, 20) == cases[i].stays);
    }
}

static void what_upstream_lacks_is_given_up_for_good(void **state) {
    struct world *w = *state;
    add(w, lost(10, 20));
    add(w, lost(20, 30));
    struct source_gap whole = lost(5, 18);
    add(w, whole);
    repairs_reported(&w->repairs, &whole, 19);
    repairs_give_up(&w->repairs, 15, 20);
    reopen(w, NOW);
    EXPECT(w->repairs.count == 2);
    EXPECT(w->repairs.list[0].gap.from_us == 20 && w->repairs.list[1].gap.from_us == 5);
}

static void too_many_push_out_the_oldest(void **state) {
    struct world *w = *state;
    for (int i = 0; i < REPAIRS_MAX + 3; i++) add(w, lost(i, i + 1));
    reopen(w, NOW);
    EXPECT(w->repairs.count == REPAIRS_MAX && w->repairs.list[0].gap.from_us == 3);
}

static void lines_that_are_no_gap_are_passed_over(void **state) {
    static const char text[] = "\n"
                               "rubbish\n"
                               "1 {}\n"
                               "1 {\"from_us\":1}\n"
                               "1 {\"from_us\":1,\"to_us\":2,\"reason\":\"buffer_lost\"\n"
                               "x {\"from_us\":1,\"to_us\":2,\"reason\":\"buffer_lost\",\"host\":\"\"}\n"
                               "1 {\"from_us\":3,\"to_us\":2,\"reason\":\"buffer_lost\",\"host\":\"\"}\n"
                               "1 {\"from_us\":7,\"to_us\":8,\"healed\":0,\"reason\":\"buffer_lost\",\"host\":\"\"}\n"
                               "1 {\"from_us\":9,\"to_us\":1";
    struct world *w = *state;
    struct bl_error err;
    EXPECT_OK(bl_make_dirs(w->spill, &err), &err);
    EXPECT_OK(bl_write_file_atomic(w->file, bl_str(text), &err), &err);
    reopen(w, NOW);
    EXPECT(w->repairs.count == 1 && w->repairs.list[0].gap.from_us == 7);
}

static void a_disk_that_refuses_leaves_the_list_in_memory(void **state) {
    struct world *w = *state;
    struct bl_error err;
    EXPECT_OK(bl_write_file_atomic(w->spill, BL_LIT("in the folder's place"), &err), &err);
    add(w, lost(10, 20));
    EXPECT(repairs_whole(&w->repairs, 20));
    reopen(w, NOW);
    EXPECT(w->repairs.count == 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    bl_log_setup("test", (enum bl_level)(BL_ERROR_LEVEL + 1), false);
    const struct CMUnitTest tests[] = {
        CASE(what_is_added_is_there_after_a_restart),
        CASE(what_upstream_could_not_serve_is_forgotten_after_two_days),
        CASE(an_entry_goes_once_its_note_is_settled_and_not_before),
        CASE(a_new_session_reports_again),
        CASE(what_nobody_asks_for_again_is_given_up),
        CASE(what_upstream_lacks_is_given_up_for_good),
        CASE(too_many_push_out_the_oldest),
        CASE(lines_that_are_no_gap_are_passed_over),
        CASE(a_disk_that_refuses_leaves_the_list_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
