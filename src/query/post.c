/* One post with its history, one account. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "query/names.h"

/* --- Names --- */

struct record { /* of the posts collection */
    struct bl_str account, rkey;
};

static bool parse_record(struct bl_str uri, struct record *out) {
    struct bl_str rest = uri;
    if (bl_str_starts(rest, BL_LIT("at://"))) {
        rest = bl_str_skip(rest, 5);
        out->account = bl_str_cut(&rest, '/');
        if (!bl_str_eq(bl_str_cut(&rest, '/'), bl_str(ev_schema(EV_posts)->collection))) return false;
    } else
        out->account = bl_str_cut(&rest, '/');
    out->rkey = rest;
    return out->account.n && rest.n && !memchr(rest.p, '/', rest.n) && bl_utf8_valid(uri) && !memchr(uri.p, 0, uri.n);
}

/* The DID of a DID, handle or @handle. */
static enum bl_rc resolve_account(struct query *q, struct bl_str account, struct bl_arena *arena, struct bl_str *did,
                                  struct bl_error *err) {
    if (!bl_utf8_valid(account) || (account.n && memchr(account.p, 0, account.n)))
        return bl_fail_cure(err, BL_E_USAGE, "write it in UTF-8", "the account is not valid UTF-8 text");
    struct search_node node = {.value = bl_str_trim(account)};
    const char *wrong = search_operator_named(BL_LIT("from"))->accept(&node);
    if (wrong) return search_refuse(err, "", node.value, wrong);
    size_t count = node.did_count;
    struct bl_str dids[1];
    if (node.is_handle) BL_TRY(people_by_handle(q, node.value, arena, dids, 1, &count, err));
    if (count == 0) {
        struct names_handle h = {.handle = node.value};
        char note[NAMES_NOTE_MAX];
        BL_TRY(names_of_handles(q, &h, 1, arena, note, err));
        if (!h.did.p) return bl_fail(err, BL_E_NOT_FOUND, "%s", note);
        dids[0] = h.did;
    }
    *did = bl_arena_dup(arena, node.is_handle ? dids[0] : node.dids[0]);
    return BL_OK;
}

/* --- One post --- */

typedef enum bl_rc (*give_post)(void *context, const struct query_hit *hit, struct bl_str history_json,
                                struct bl_error *err);
struct post_question {
    struct bl_str uri;
    give_post give;
    void *context;
};

/* `versions`: newest first. */
static enum bl_rc write_history(const struct found *versions, size_t count, struct bl_buf *json, struct bl_error *err) {
    bl_buf_byte(json, '[');
    for (size_t i = count; i-- > 0;) {
        char time[BL_TIME_TEXT_MAX];
        bl_buf_printf(json, "%s{\"timestamp\":\"%s\",\"operation\":\"%s\",\"text\":", json->n > 1 ? "," : "",
                      bl_format_time(versions[i].hit.time_us, 6, time),
                      versions[i].deletes   ? "delete"
                      : versions[i].updates ? "update"
                                            : "create");
        if (versions[i].hit.text.p)
            bl_buf_json(json, versions[i].hit.text);
        else
            bl_buf_z(json, "null");
        bl_buf_byte(json, '}');
    }
    bl_buf_byte(json, ']');
    return bl_buf_check(json, "a post's history", err);
}

static enum bl_rc tell_post(const struct find *f, const struct post_question *question, const struct place *record,
                            bool *given, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    BL_CLEANUP(bl_freep) struct found *versions = NULL;
    size_t count = 0, file_count = session_files(f->q, EV_posts, INT64_MIN, INT64_MAX, &files);
    BL_TRY(find_records(f, files, file_count, &record->did, &record->rkey, 1, &versions, &count, err));
    if (count == 0) return bl_fail(err, BL_E_NOT_FOUND, "the lake holds no such post");
    struct found newest = versions[0];
    BL_TRY(find_authors(f, &newest, 1, err));
    if (newest.hidden || newest.deletes)
        return bl_fail(err, BL_E_NOT_FOUND, "the post was deleted, or its account is not active");
    BL_CLEANUP(bl_buf_release) struct bl_buf history = {0}, uri = {0};
    BL_TRY(write_history(versions, count, &history, err));
    bl_buf_printf(&uri, "at://%.*s/%s/%.*s", BL_ARG(record->did), ev_schema(EV_posts)->collection,
                  BL_ARG(record->rkey));
    BL_TRY(bl_buf_check(&uri, "a post's URI", err));
    newest.hit.uri = bl_buf_view(&uri);
    BL_TRY(names_of_hits(f->q, &newest, 1, f->arena, err));
    *given = true;
    return question->give(question->context, &newest.hit, bl_buf_view(&history), err);
}

static enum bl_rc ask_post(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct post_question *question = context;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct find f = {q, &arena};
    struct record record;
    if (!parse_record(question->uri, &record))
        return bl_fail_cure(err, BL_E_USAGE, "write at://DID/app.bsky.feed.post/KEY, or DID/KEY",
                            "\"%.*s\" is not the address of a post", BL_ARG(question->uri));
    struct place place = {.rkey = record.rkey};
    BL_TRY(resolve_account(q, record.account, &arena, &place.did, err));
    return tell_post(&f, question, &place, given, err);
}

enum bl_rc query_post(struct query *q, struct bl_str uri, give_post give, void *context, struct bl_error *err) {
    struct post_question question = {uri, give, context};
    return session_run(q, ask_post, &question, err);
}

/* --- One account --- */

typedef enum bl_rc (*give_user)(void *context, const struct query_user *user, struct bl_error *err);
struct user_question {
    struct bl_str account;
    give_user give;
    void *context;
};

/* Adds what the files of one type know: how many rows count, and when the first and last was seen. */
static enum bl_rc count_rows(struct query *q, enum ev_type type, const char *counted, struct bl_str did,
                             struct query_user *user, struct bl_error *err) {
    BL_CLEANUP(bl_freep) const struct catalog_file **files = NULL;
    size_t count = session_files(q, type, INT64_MIN, INT64_MAX, &files);
    if (count == 0) return BL_OK;
    BL_CLEANUP(bl_buf_release) struct bl_buf sql = {0};
    bl_buf_printf(&sql, "SELECT count(*) FILTER (%s), min(time_us), max(time_us) FROM ", counted);
    session_add_files(q, &sql, files, count, false);
    bl_buf_z(&sql, " WHERE did = ?");
    BL_TRY(bl_buf_check(&sql, "an account", err));
    const struct duck_bind bind = {.kind = DUCK_TEXT, .s = did};
    BL_CLEANUP(duck_result_close) struct duck_result *r = NULL;
    BL_TRY(duck_query(q->duck, bl_buf_cstr(&sql), &bind, 1, &r, err));
    size_t rows;
    BL_TRY(duck_next(r, &rows, err));
    if (rows != 1 || duck_is_null(r, 1, 0)) return BL_OK;
    int64_t first = duck_i64(r, 1, 0), last = duck_i64(r, 2, 0);
    user->posts += duck_i64(r, 0, 0);
    if (!user->first_seen_us || first < user->first_seen_us) user->first_seen_us = first;
    if (last > user->last_seen_us) user->last_seen_us = last;
    return BL_OK;
}

static enum bl_rc ask_user(struct query *q, void *context, bool *given, struct bl_error *err) {
    const struct user_question *question = context;
    BL_CLEANUP(bl_arena_release) struct bl_arena arena = {0};
    struct query_user user = {0};
    BL_TRY(resolve_account(q, question->account, &arena, &user.did, err));
    struct person person;
    BL_TRY(people_lookup(q, &user.did, 1, &arena, &person, err));
    BL_TRY(count_rows(q, EV_posts, "operation = 'create'", user.did, &user, err));
    BL_TRY(count_rows(q, EV_accounts, "false", user.did, &user, err));
    BL_TRY(count_rows(q, EV_profiles, "false", user.did, &user, err));
    if (!user.first_seen_us)
        return bl_fail(err, BL_E_NOT_FOUND, "the lake has seen nothing of the account %.*s", BL_ARG(user.did));
    BL_TRY(names_of_people(q, &user.did, &person, 1, &arena, err));
    user.active = !person.hidden;
    user.handle = person.handle;
    user.status = person.status;
    if (user.active) { /* of an account that is gone nothing is told but that */
        user.display_name = person.display_name;
        user.description = person.description;
    }
    *given = true;
    return question->give(question->context, &user, err);
}

enum bl_rc query_user(struct query *q, struct bl_str account, give_user give, void *context, struct bl_error *err) {
    struct user_question question = {account, give, context};
    return session_run(q, ask_user, &question, err);
}
