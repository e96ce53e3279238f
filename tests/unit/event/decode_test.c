#include "samples.h"

#include "event/shape.h"

#define HEAD "{\"did\":\"did:plc:z7kok3zv2mwufxbv54byvseh\",\"time_us\":1790000000303228,"
#define COMMIT(operation, collection, rest)                                                                            \
    HEAD "\"kind\":\"commit\",\"commit\":{\"rev\":\"3mvzvh4iwtw5b\",\"operation\":\"" operation "\",\"collection\":\""   \
         collection "\",\"rkey\":\"3mvzvh4fv6wgx\"" rest "}}"
#define POST(members) COMMIT("create", "app.bsky.feed.post", ",\"record\":{\"$type\":\"app.bsky.feed.post\"" members "}")
#define CREATED ",\"createdAt\":\"2026-09-21T14:13:20.233Z\""
#define REFERENCE(n) "{\"cid\":\"c" n "\",\"uri\":\"at://u" n "\"}"

static struct bl_arena arena;

static struct event decoded(const char *message) {
    struct event ev;
    EXPECT_RC(samples_round_trip(bl_str(message), &arena, &ev), BL_OK);
    return ev;
}

static int clear_arena(void **state) {
    (void)state;
    bl_arena_release(&arena);
    return 0;
}

static uint64_t bits(const unsigned *columns, size_t count) {
    uint64_t has = 0;
    for (size_t i = 0; i < count; i++) has |= (uint64_t)1 << columns[i];
    return has;
}
#define BITS(...) bits((const unsigned[]){__VA_ARGS__}, sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))
#define ENVELOPE EV_TIME_US, EV_DID, EV_OPERATION, EV_RKEY, EV_REV
#define CREATED_COLUMNS EV_CREATED_AT, EV_TIME_SKEW

static void expect_list(const struct event *ev, unsigned column, const char *joined) {
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    struct ev_list list = ev_has(ev, column) ? ev->v[column].list : (struct ev_list){0};
    for (size_t i = 0; i < list.count; i++) {
        if (i) bl_buf_byte(&text, '|');
        bl_buf_str(&text, list.items[i]);
    }
    EXPECT_STR(bl_buf_view(&text), joined);
}

static void a_like_fills_its_columns(void **state) {
    (void)state;
    struct event ev = decoded(COMMIT("create", "app.bsky.feed.like",
                                     ",\"record\":{\"$type\":\"app.bsky.feed.like\"" CREATED ",\"subject\":" REFERENCE(
                                         "1") ",\"via\":" REFERENCE("2") "},\"cid\":\"bafynot\""));
    EXPECT(ev.type == EV_likes && ev.notes == 0);
    EXPECT(ev.has == BITS(ENVELOPE, CREATED_COLUMNS, EV_CID, EV_CID_VERIFIED, EV_likes_subject_uri, EV_likes_subject_cid,
                          EV_likes_via_uri, EV_likes_via_cid));
    EXPECT(ev.v[EV_TIME_US].i == 1790000000303228 && ev.v[EV_CREATED_AT].i == 1790000000233000);
    EXPECT(!ev.v[EV_CID_VERIFIED].i && !ev.v[EV_TIME_SKEW].i);
    EXPECT_STR(ev_str(&ev, EV_DID), "did:plc:z7kok3zv2mwufxbv54byvseh");
    EXPECT_STR(ev_str(&ev, EV_OPERATION), "create");
    EXPECT_STR(ev_str(&ev, EV_RKEY), "3mvzvh4fv6wgx");
    EXPECT_STR(ev_str(&ev, EV_REV), "3mvzvh4iwtw5b");
    EXPECT_STR(ev_str(&ev, EV_CID), "bafynot");
    EXPECT_STR(ev_str(&ev, EV_likes_subject_uri), "at://u1");
    EXPECT_STR(ev_str(&ev, EV_likes_via_cid), "c2");
}

static void a_post_fills_its_columns(void **state) {
    (void)state;
    struct event ev = decoded(POST(CREATED ",\"text\":\"caf\\u00e9 \\u0000\",\"langs\":[\"fr\",\"e\\u006e\"],\"reply\":{\"root\":" REFERENCE(
        "1") ",\"parent\":" REFERENCE("2") "},\"facets\":[ ],\"embed\":{\"a\": 1}"));
    EXPECT(ev.type == EV_posts);
    EXPECT(ev.has == BITS(ENVELOPE, CREATED_COLUMNS, EV_posts_text, EV_posts_langs, EV_posts_reply_root_uri,
                          EV_posts_reply_root_cid, EV_posts_reply_parent_uri, EV_posts_reply_parent_cid, EV_posts_facets,
                          EV_posts_embed));
    EXPECT(bl_str_eq(ev_str(&ev, EV_posts_text), BL_LIT("caf\xc3\xa9 \0")));
    expect_list(&ev, EV_posts_langs, "fr|en");
    EXPECT_STR(ev_str(&ev, EV_posts_reply_root_uri), "at://u1");
    EXPECT_STR(ev_str(&ev, EV_posts_reply_parent_cid), "c2");
    EXPECT_STR(ev_str(&ev, EV_posts_facets), "[]");
    EXPECT_STR(ev_str(&ev, EV_posts_embed), "{\"a\":1}");
}

static void the_other_types_fill_their_columns(void **state) {
    (void)state;
    struct event ev = decoded(COMMIT("create", "app.bsky.feed.repost",
                                     ",\"record\":{\"$type\":\"app.bsky.feed.repost\"" CREATED ",\"subject\":" REFERENCE("1") "}"));
    EXPECT(ev.type == EV_reposts);
    EXPECT_STR(ev_str(&ev, EV_reposts_subject_cid), "c1");
    ev = decoded(COMMIT("create", "app.bsky.graph.follow",
                        ",\"record\":{\"$type\":\"app.bsky.graph.follow\"" CREATED ",\"subject\":\"did:web:a.example\"}"));
    EXPECT(ev.type == EV_follows);
    EXPECT_STR(ev_str(&ev, EV_follows_subject_did), "did:web:a.example");
    ev = decoded(COMMIT("create", "app.bsky.graph.block",
                        ",\"record\":{\"$type\":\"app.bsky.graph.block\"" CREATED ",\"subject\":\"did:web:b.example\"}"));
    EXPECT(ev.type == EV_blocks);
    EXPECT_STR(ev_str(&ev, EV_blocks_subject_did), "did:web:b.example");
    ev = decoded(COMMIT("update", "app.bsky.actor.profile",
                        ",\"record\":{\"$type\":\"app.bsky.actor.profile\",\"displayName\":\"Ann\",\"description\":\"d\","
                        "\"pronouns\":\"p\",\"website\":\"w\",\"avatar\":{},\"banner\":null,\"pinnedPost\":" REFERENCE("1") "}"));
    EXPECT(ev.type == EV_profiles && !ev_has(&ev, EV_CREATED_AT) && !ev_has(&ev, EV_TIME_SKEW));
    EXPECT_STR(ev_str(&ev, EV_profiles_display_name), "Ann");
    EXPECT_STR(ev_str(&ev, EV_profiles_banner), "null");
    EXPECT_STR(ev_str(&ev, EV_profiles_pinned_post_uri), "at://u1");
    ev = decoded(COMMIT("create", "com.example.thing", ",\"record\":{ \"a\" : [ 1.50, -0 ] }"));
    EXPECT(ev.type == EV_others && ev.has == BITS(ENVELOPE, EV_others_collection, EV_others_record));
    EXPECT_STR(ev_str(&ev, EV_others_record), "{\"a\":[1.50,-0]}");
    EXPECT_STR(ev.record_json, "{ \"a\" : [ 1.50, -0 ] }");
}

static void a_delete_has_no_record(void **state) {
    (void)state;
    struct event ev = decoded(COMMIT("delete", "app.bsky.feed.post", ""));
    EXPECT(ev.type == EV_posts && ev.has == BITS(ENVELOPE) && ev.record_json.n == 0);
    ev = decoded(COMMIT("delete", "app.bsky.feed.post", ",\"record\":{\"text\":\"x\"}"));
    EXPECT_STR(ev_str(&ev, EV_EXTRA), "{\"commit\":{\"record\":{\"text\":\"x\"}}}");
    EXPECT(!ev_has(&ev, EV_posts_text) && ev.record_json.n == 0);
    ev = decoded(COMMIT("delete", "com.example.thing", ""));
    EXPECT(ev.has == BITS(ENVELOPE, EV_others_collection));
}

static void identity_and_account_events_fill_their_columns(void **state) {
    (void)state;
    struct event ev = decoded(HEAD "\"cursor\":77,\"kind\":\"identity\",\"identity\":{\"did\":\"did:plc:z7kok3zv2mwufxbv54byvseh\","
                                   "\"handle\":\"a.example\",\"seq\":5,\"time\":\"t\"}}");
    EXPECT(ev.type == EV_accounts);
    EXPECT(ev.has == BITS(EV_TIME_US, EV_DID, EV_accounts_kind, EV_accounts_seq, EV_accounts_time, EV_accounts_handle,
                          EV_accounts_cursor));
    EXPECT(ev.v[EV_accounts_seq].i == 5 && ev.v[EV_accounts_cursor].i == 77);
    EXPECT_STR(ev_str(&ev, EV_accounts_handle), "a.example");
    ev = decoded(HEAD "\"kind\":\"account\",\"account\":{\"active\":false,\"seq\":5,\"status\":\"deleted\",\"handle\":1}}");
    EXPECT(!ev.v[EV_accounts_active].i);
    EXPECT_STR(ev_str(&ev, EV_accounts_status), "deleted");
    EXPECT_STR(ev_str(&ev, EV_accounts_extra), "{\"account\":{\"handle\":1},\"absent\":[\"account.did\"]}");
    ev = decoded(HEAD "\"kind\":\"account\",\"commit\":{},\"account\":{\"did\":\"did:web:other.example\",\"seq\":5}}");
    EXPECT_STR(ev_str(&ev, EV_accounts_extra),
               "{\"event\":{\"commit\":{}},\"account\":{\"did\":\"did:web:other.example\"}}");
}

static void what_no_column_holds_stands_in_extra(void **state) {
    (void)state;
    struct event ev = decoded(HEAD "\"kind\":\"commit\",\"x\":[ 1 ],\"cursor\":99999999999999999999,\"commit\":{\"rev\":\"3mvzvh4iwtw5b\","
                                   "\"operation\":\"create\",\"collection\":\"app.bsky.feed.like\",\"rkey\":\"a\",\"y\":null,\"cid\":7,"
                                   "\"record\":{\"createdAt\":3,\"subject\":{\"uri\":\"u\",\"cid\":\"c\",\"z\":1}}}}");
    EXPECT_STR(ev_str(&ev, EV_EXTRA),
               "{\"event\":{\"x\":[1],\"cursor\":99999999999999999999},\"commit\":{\"y\":null,\"cid\":7},"
               "\"record\":{\"createdAt\":3,\"subject\":{\"uri\":\"u\",\"cid\":\"c\",\"z\":1}},\"absent\":[\"record.$type\"]}");
    EXPECT(ev.notes == EV_NOTE_EXTRA_RECORD);
    ev = decoded(COMMIT("create", "app.bsky.feed.post", ""));
    EXPECT_STR(ev_str(&ev, EV_EXTRA), "{\"absent\":[\"commit.record\"]}");
    ev = decoded(COMMIT("create", "app.bsky.feed.post", ",\"record\":null"));
    EXPECT_STR(ev_str(&ev, EV_EXTRA), "{\"commit\":{\"record\":null}}");
}

static void claims_of_time_are_kept_and_judged(void **state) {
    (void)state;
    struct event ev = decoded(POST(",\"createdAt\":\"2026-09-21T16:13:20.2335+02:00\""));
    EXPECT_STR(ev_str(&ev, EV_CREATED_AT_TEXT), "2026-09-21T16:13:20.2335+02:00");
    EXPECT(ev.v[EV_CREATED_AT].i == 1790000000233500 && !ev.v[EV_TIME_SKEW].i);
    ev = decoded(POST(",\"createdAt\":\"1987-01-01T00:00:00.000Z\""));
    EXPECT(!ev_has(&ev, EV_CREATED_AT_TEXT) && ev.v[EV_TIME_SKEW].i == 1);
    ev = decoded(POST(",\"createdAt\":\"yesterday\""));
    EXPECT(!ev_has(&ev, EV_CREATED_AT) && !ev_has(&ev, EV_TIME_SKEW));
    EXPECT_STR(ev_str(&ev, EV_CREATED_AT_TEXT), "yesterday");
}

static void the_last_of_duplicates_counts(void **state) {
    (void)state;
    struct event ev = decoded(POST(",\"text\":1,\"te\\u0078t\":\"last\",\"langs\":[\"a\"],\"langs\":[\"b\"]"));
    EXPECT(ev.notes & EV_NOTE_DUPLICATE_KEY);
    EXPECT_STR(ev_str(&ev, EV_posts_text), "last");
    expect_list(&ev, EV_posts_langs, "b");
    ev = decoded("{\"did\":5,\"kind\":\"identity\"," "\"did\":\"did:web:a.example\",\"time_us\":1790000000303228,\"kind\":\"commit\","
                 "\"commit\":7,\"commit\":{\"rev\":\"3mvzvh4iwtw5b\",\"operation\":\"delete\",\"collection\":\"a.b.c\",\"rkey\":\"a\"}}");
    EXPECT_STR(ev_str(&ev, EV_DID), "did:web:a.example");
}

static void hashtags_come_from_facets_tags_and_text(void **state) {
    (void)state;
    struct event ev = decoded(POST(
        ",\"facets\":[{\"features\":[{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"Fac\xc3\x89t\"},"
        "{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"did:web:m.example\"},"
        "{\"$type\":\"app.bsky.richtext.facet#link\",\"uri\":\"https://l.example\"},7]},null,{\"features\":{}}],"
        "\"tags\":[\"Out\",3,\"#HASH\"],"
        "\"text\":\"#fac\xc3\xa9t (#Paren). a#no #1 #2026goals \xef\xbc\x83\xd0\xa5\xd0\xbb\xd0\xb5\xd0\xb1! #\xce\x91\xce\x98 #x#y # #_ #\xef\xb8\x8f\xe2\x83\xa3 #don't, #\xe3\x82\xbf\xe3\x82\xb0\xe3\x80\x82\""));
    expect_list(&ev, EV_posts_hashtags,
                "fac\xc3\xa9t|out|hash|paren|2026goals|\xd1\x85\xd0\xbb\xd0\xb5\xd0\xb1|\xce\xb1\xce\xb8|x|y|don't|\xe3\x82\xbf\xe3\x82\xb0");
    expect_list(&ev, EV_posts_mentions, "did:web:m.example");
    expect_list(&ev, EV_posts_links, "https://l.example");
}

static void embeds_are_named(void **state) {
    (void)state;
    struct event ev = decoded(POST(",\"embed\":{\"$type\":\"app.bsky.embed.external\",\"external\":{\"uri\":\"https://card.example\"}}"));
    EXPECT_STR(ev_str(&ev, EV_posts_embed_type), "external");
    expect_list(&ev, EV_posts_links, "https://card.example");
    ev = decoded(POST(",\"embed\":{\"record\":{\"uri\":\"at://q\",\"cid\":\"c\"},\"$type\":\"app.bsky.embed.record#main\"}"));
    EXPECT_STR(ev_str(&ev, EV_posts_embed_type), "record");
    EXPECT_STR(ev_str(&ev, EV_posts_quote_uri), "at://q");
    ev = decoded(POST(",\"embed\":{\"$type\":\"app.bsky.embed.recordWithMedia\",\"record\":{\"record\":{\"uri\":\"at://q\"}},"
                      "\"media\":{\"$type\":\"app.bsky.embed.images\",\"images\":[]}}"));
    EXPECT_STR(ev_str(&ev, EV_posts_embed_type), "record+images");
    EXPECT_STR(ev_str(&ev, EV_posts_quote_uri), "at://q");
    ev = decoded(POST(",\"embed\":\"none\""));
    EXPECT(!ev_has(&ev, EV_posts_embed_type) && !ev_has(&ev, EV_posts_quote_uri));
}

static void refusals_have_their_reason(void **state) {
    (void)state;
    static const struct {
        const char *message;
        enum ev_reason why;
    } cases[] = {
        {"", EV_REASON_json_syntax}, {"{", EV_REASON_json_syntax}, {"{} x", EV_REASON_json_syntax}, {"[]", EV_REASON_not_object},
        {"null", EV_REASON_not_object}, {"[", EV_REASON_json_syntax}, {"{\"a\":\"\xff\"}", EV_REASON_utf8}, {"{}", EV_REASON_missing_field},
        {"{\"did\":1}", EV_REASON_wrong_type}, {"{\"did\":\"me\"}", EV_REASON_bad_did},
        {"{\"did\":\"did:web:a.example\",\"kind\":\"label\",\"time_us\":1}", EV_REASON_unknown_kind},
        {"{\"did\":\"did:web:a.example\",\"kind\":\"commit\",\"time_us\":1640995199999999}", EV_REASON_bad_time},
        {"{\"did\":\"did:web:a.example\",\"kind\":\"commit\",\"time_us\":4102444800000000}", EV_REASON_bad_time},
        {"{\"did\":\"did:web:a.example\",\"kind\":\"commit\",\"time_us\":\"1\"}", EV_REASON_wrong_type},
        {HEAD "\"kind\":\"commit\"}", EV_REASON_missing_field}, {HEAD "\"kind\":\"commit\",\"commit\":[]}", EV_REASON_wrong_type},
        {COMMIT("patch", "a.b.c", ""), EV_REASON_unknown_operation}, {COMMIT("create", "a.b", ""), EV_REASON_bad_nsid},
        {HEAD "\"kind\":\"commit\",\"commit\":{\"operation\":\"delete\",\"collection\":\"a.b.c\",\"rkey\":\"..\",\"rev\":\"3mvzvh4iwtw5b\"}}", EV_REASON_bad_rkey},
        {HEAD "\"kind\":\"commit\",\"commit\":{\"operation\":\"delete\",\"collection\":\"a.b.c\",\"rkey\":\"a\",\"rev\":\"1\"}}", EV_REASON_bad_rev},
        {HEAD "\"kind\":\"identity\",\"identity\":{}}", EV_REASON_missing_field}, {HEAD "\"kind\":\"account\",\"account\":{\"seq\":1.5}}", EV_REASON_wrong_type},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event ev;
        struct bl_error err = {0};
        enum ev_reason why = EV_REASON_NONE;
        EXPECT(ev_decode(bl_str(cases[i].message), &arena, &ev, &why, &err) != BL_OK);
        if (why != cases[i].why)
            fail_msg("%s: got %s, want %s", cases[i].message, ev_reason_name(why), ev_reason_name(cases[i].why));
        EXPECT_RC(samples_round_trip(bl_str(cases[i].message), &arena, &ev), err.code);
    }
}

static void limits_hold(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf text = {0};
    struct event ev;
    struct bl_error err = {0};
    enum ev_reason why;
    for (unsigned depth = 120; depth < 140; depth++) {
        bl_buf_clear(&text);
        bl_buf_z(&text, HEAD "\"x\":");
        for (unsigned i = 0; i < depth; i++) bl_buf_byte(&text, '[');
        for (unsigned i = 0; i < depth; i++) bl_buf_byte(&text, ']');
        bl_buf_z(&text, ",\"kind\":\"account\",\"account\":{\"seq\":1}}");
        enum bl_rc rc = samples_round_trip(bl_buf_view(&text), &arena, &ev);
        EXPECT(rc == (depth < EV_DEPTH_MAX ? BL_OK : BL_E_TOO_LARGE));
    }
    bl_buf_clear(&text);
    for (size_t i = 0; i < 4 << 20; i++) bl_buf_z(&text, i & 1 ? "[" : "{\"a\":");
    EXPECT_RC(ev_decode(bl_buf_view(&text), &arena, &ev, &why, &err), BL_E_TOO_LARGE);
    EXPECT(why == EV_REASON_too_large);
    text.n = EV_SIZE_MAX;
    EXPECT_RC(ev_decode(bl_buf_view(&text), &arena, &ev, &why, &err), BL_E_TOO_LARGE);
    EXPECT(why == EV_REASON_too_deep);
    struct bl_arena tiny = {.max = 16};
    EXPECT_RC(ev_decode(bl_str(POST(",\"text\":\"more than sixteen \\n\"")), &tiny, &ev, &why, &err), BL_E_FULL);
    EXPECT(why == EV_REASON_NONE);
    bl_arena_release(&tiny);
}

static void a_row_that_contradicts_itself_is_corrupt(void **state) {
    (void)state;
    BL_CLEANUP(bl_buf_release) struct bl_buf out = {0};
    struct bl_error err = {0};
    struct event ev = decoded(COMMIT("delete", "app.bsky.feed.post", "")), bad = ev;
    bad.has &= ~((uint64_t)1 << EV_REV);
    EXPECT_RC(ev_encode(&bad, &out, &err), BL_E_CORRUPT);
    bad = ev;
    ev_set_i64(&bad, EV_CID_VERIFIED, 1);
    EXPECT_RC(ev_encode(&bad, &out, &err), BL_E_CORRUPT);
    bad = ev;
    ev_set_str(&bad, EV_EXTRA, BL_LIT("{\"commit\":[]}"));
    EXPECT_RC(ev_encode(&bad, &out, &err), BL_E_CORRUPT);
}

static void identities_depend_on_their_fields_alone(void **state) {
    (void)state;
    struct event a = decoded(COMMIT("create", "app.bsky.feed.like", ",\"record\":{}")),
                 b = decoded(COMMIT("create", "app.bsky.feed.like", ",\"record\":{\"x\":1},\"cid\":\"c\"")),
                 c = decoded(COMMIT("create", "app.bsky.feed.repost", ",\"record\":{}")),
                 d = decoded(COMMIT("update", "app.bsky.feed.like", ",\"record\":{}"));
    struct ev_id ids[] = {ev_identity(&a), ev_identity(&b), ev_identity(&c), ev_identity(&d)};
    EXPECT(ids[0].lo == ids[1].lo && ids[0].hi == ids[1].hi);
    EXPECT(ids[0].lo != ids[2].lo && ids[0].lo != ids[3].lo);
    struct ev_id again = ev_identity_of(EV_others, ev_str(&a, EV_DID), BL_LIT("app.bsky.feed.like"), ev_str(&a, EV_RKEY),
                                        ev_str(&a, EV_REV), ev_str(&a, EV_OPERATION));
    EXPECT(again.lo == ids[0].lo && again.hi == ids[0].hi);
    struct ev_id split = ev_identity_of(EV_others, BL_LIT("ab"), BL_LIT("c"), BL_LIT(""), BL_LIT(""), BL_LIT("")),
                 moved = ev_identity_of(EV_others, BL_LIT("a"), BL_LIT("bc"), BL_LIT(""), BL_LIT(""), BL_LIT(""));
    EXPECT(split.lo != moved.lo);
    /* Stored in the lake: these numbers must never change. */
    struct ev_id fixed = ev_identity_of_account(BL_LIT("did:web:a.example"), BL_LIT("account"), 258);
    EXPECT(fixed.hi == 0xcdd93a5af021253a && fixed.lo == 0xae4e0e08ae794a5a);
    char long_did[1000];
    memset(long_did, 'a', sizeof long_did);
    struct ev_id big = ev_identity_of_account(bl_strn(long_did, 512), BL_LIT(""), 1), /* one byte short of streaming */
                 bigger = ev_identity_of_account(bl_strn(long_did, 1000), BL_LIT(""), 1);
    EXPECT(big.lo != bigger.lo);
}

/* Every column that no other column gives must be named by a shape, and every shape's column exist. */
static void the_shapes_cover_the_schema(void **state) {
    (void)state;
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        const struct ev_schema *schema = ev_schema((enum ev_type)t);
        struct shape shape = shape_of_record((enum ev_type)t);
        for (unsigned i = 0; shape.count && i < schema->count; i++) {
            struct bl_str path = bl_str(schema->columns[i].path), prefix = BL_LIT("commit.record.");
            if (!bl_str_starts(path, prefix)) continue;
            struct bl_str rest = bl_str_skip(path, prefix.n), name = bl_str_cut(&rest, '.');
            int field = shape_find(shape, (struct js_string){name, false});
            if (field < 0) fail_msg("%s.%s has no field", schema->name, schema->columns[i].name);
            unsigned from = shape.fields[field].column, span = shape.fields[field].form == FORM_REPLY ? 4 : 2;
            EXPECT(i >= from && i < from + span);
        }
    }
}

struct count {
    size_t types[EV_TYPE_COUNT], creates, updates, deletes, identities, accounts, verified, given;
};

static void count_it(struct bl_str message, void *context) {
    struct count *n = context;
    struct event ev;
    EXPECT_RC(samples_round_trip(message, &arena, &ev), BL_OK);
    n->types[ev.type]++;
    if (ev.type == EV_accounts) {
        *(bl_str_eq(ev_str(&ev, EV_accounts_kind), BL_LIT("identity")) ? &n->identities : &n->accounts) += 1;
        return;
    }
    struct bl_str operation = ev_str(&ev, EV_OPERATION);
    n->creates += bl_str_eq(operation, BL_LIT("create"));
    n->updates += bl_str_eq(operation, BL_LIT("update"));
    n->deletes += bl_str_eq(operation, BL_LIT("delete"));
    n->given += ev_has(&ev, EV_CID_VERIFIED);
    n->verified += ev_has(&ev, EV_CID_VERIFIED) && ev.v[EV_CID_VERIFIED].i;
}

static void synthetic_events_come_back(void **state) {
    (void)state;
    struct count n = {0};
    EXPECT(samples_each(SAMPLES_SYNTHETIC, count_it, &n) == 59);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) EXPECT(n.types[t] > 0);
    EXPECT(n.given > 40 && n.given - n.verified <= 5); /* floats and lone surrogates have no CID */
}

static void real_events_come_back_and_all_their_cids_are_right(void **state) {
    (void)state;
    if (!samples_real_present()) skip();
    struct count n = {0};
    EXPECT(samples_each(SAMPLES_REAL, count_it, &n) == 152);
    EXPECT(n.creates == 144 && n.updates == 2 && n.deletes == 4 && n.identities == 1 && n.accounts == 1);
    EXPECT(n.types[EV_likes] == 105 && n.types[EV_posts] == 18 && n.types[EV_reposts] == 15);
    EXPECT(n.given == 146 && n.verified == 146);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_like_fills_its_columns),
        cmocka_unit_test(a_post_fills_its_columns),
        cmocka_unit_test(the_other_types_fill_their_columns),
        cmocka_unit_test(a_delete_has_no_record),
        cmocka_unit_test(identity_and_account_events_fill_their_columns),
        cmocka_unit_test(what_no_column_holds_stands_in_extra),
        cmocka_unit_test(claims_of_time_are_kept_and_judged),
        cmocka_unit_test(the_last_of_duplicates_counts),
        cmocka_unit_test(hashtags_come_from_facets_tags_and_text),
        cmocka_unit_test(embeds_are_named),
        cmocka_unit_test(refusals_have_their_reason),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_row_that_contradicts_itself_is_corrupt),
        cmocka_unit_test(identities_depend_on_their_fields_alone),
        cmocka_unit_test(the_shapes_cover_the_schema),
        cmocka_unit_test(synthetic_events_come_back),
        cmocka_unit_test(real_events_come_back_and_all_their_cids_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, clear_arena);
}
