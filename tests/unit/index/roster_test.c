/* Rosters: the newest word of one file on each account. */
#include "index/index.h"

#include <stdlib.h>
#include <unistd.h>

#include "expect.h"
#include "fixture.h"

static const int64_t START_US = INT64_C(1795219200000000);

struct setting {
    struct fixture lake;
    struct duck *duck;
    struct index *index;
    struct catalog_file *files;
    size_t count;
};

static void open_setting(struct setting *s) {
    struct bl_error err = {0};
    EXPECT_OK(duck_open(&(struct duck_options){.threads = 1}, &s->duck, &err), &err);
    EXPECT_OK(catalog_files(s->lake.catalog, EV_TYPE_COUNT, 0, 0, &s->files, &s->count, &err), &err);
    s->index = index_open(s->lake.dir);
}

static void close_setting(struct setting *s) {
    index_close(&s->index);
    duck_close(&s->duck);
    free(s->files);
    fixture_close(&s->lake);
}

static const struct roster *roster_of(struct setting *s, enum ev_type type) {
    struct bl_error err = {0};
    struct roster *r = NULL;
    for (size_t i = 0; i < s->count; i++)
        if (s->files[i].type == type) EXPECT_OK(index_roster(s->index, s->duck, &s->files[i], &r, &err), &err);
    EXPECT(r);
    return r;
}

static bool find(const struct roster *r, const char *did, struct roster_entry *e) {
    return roster_find(r, bl_str(did), segment_account(bl_str(did)), e);
}

static void the_newest_word_of_a_file_counts(void **state) {
    (void)state;
    struct setting s = {0};
    struct roster_entry e;
    fixture_open(&s.lake);
    fixture_accounts(&s.lake,
                     (struct account[]){{START_US + 2, "did:plc:a", "New.example.com", true},
                                        {START_US + 3, "did:plc:a", NULL, false},
                                        {START_US + 4, "did:plc:b", NULL, true},
                                        {START_US + 1, "did:plc:a", "old.example.com", true},
                                        {START_US + 5, "did:plc:c", "new.example.com", true}},
                     5);
    fixture_profiles(&s.lake,
                     (struct profile[]){{START_US + 1, "did:plc:a", "create", "Ann", "about"},
                                        {START_US + 2, "did:plc:a", "update", NULL, "more"},
                                        {START_US + 3, "did:plc:b", "delete", NULL, NULL}},
                     3);
    open_setting(&s);
    const struct roster *accounts = roster_of(&s, EV_accounts), *profiles = roster_of(&s, EV_profiles);
    assert_int_equal(roster_count(accounts), 3);
    EXPECT(find(accounts, "did:plc:a", &e));
    EXPECT_STR(e.handle, "New.example.com");
    EXPECT(e.handle_us == START_US + 2 && e.active == 0 && e.active_us == START_US + 3 && !e.status.p);
    EXPECT(find(accounts, "did:plc:b", &e) && !e.handle.p && e.active == 1);
    EXPECT(!find(accounts, "did:plc:d", &e));
    size_t n = 0;
    while (roster_of_handle(accounts, BL_LIT("NEW.example.com"), n, &e)) n++;
    assert_int_equal(n, 2);
    EXPECT(!roster_of_handle(accounts, BL_LIT("old.example.com"), 0, &e));
    EXPECT(find(profiles, "did:plc:a", &e));
    EXPECT(!e.name.p && !e.deleted && e.profile_us == START_US + 2);
    EXPECT_STR(e.description, "more");
    EXPECT(find(profiles, "did:plc:b", &e) && e.deleted);
    close_setting(&s);
}

static void a_byte_that_changed_is_seen_and_the_roster_built_anew(void **state) {
    (void)state;
    struct setting s = {0};
    struct roster_entry e;
    fixture_open(&s.lake);
    fixture_accounts(&s.lake, (struct account[]){{START_US, "did:plc:a", "a.example.com", true}}, 1);
    open_setting(&s);
    roster_of(&s, EV_accounts);
    char command[200];
    snprintf(command, sizeof command,
             "printf x | dd of=$(ls %s/index/accounts-*.seg) bs=1 seek=130 conv=notrunc status=none", s.lake.dir);
    EXPECT(system(command) == 0);
    index_close(&s.index);
    s.index = index_open(s.lake.dir);
    EXPECT(find(roster_of(&s, EV_accounts), "did:plc:a", &e));
    EXPECT_STR(e.handle, "a.example.com");
    assert_int_equal(index_built(s.index), 1);
    close_setting(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_word_of_a_file_counts),
        cmocka_unit_test(a_byte_that_changed_is_seen_and_the_roster_built_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
