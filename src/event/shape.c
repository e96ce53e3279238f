#include "event/shape.h"

/* Jetstream writes records with their members in alphabetical order, $type first; so do these tables. */
#define SHAPE(array) ((struct shape){array, sizeof array / sizeof *array})

static const struct field post[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("embed"), .form = FORM_JSON, .column = EV_posts_embed},
    {FIELD_NAME("facets"), .form = FORM_JSON, .column = EV_posts_facets},
    {FIELD_NAME("langs"), .form = FORM_LIST, .column = EV_posts_langs},
    {FIELD_NAME("reply"), .form = FORM_REPLY, .column = EV_posts_reply_root_uri},
    {FIELD_NAME("tags"), .form = FORM_TAGS, .column = 0},
    {FIELD_NAME("text"), .form = FORM_STR, .column = EV_posts_text},
};

static const struct field like[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("subject"), .form = FORM_REF, .column = EV_likes_subject_uri},
    {FIELD_NAME("via"), .form = FORM_REF, .column = EV_likes_via_uri},
};

static const struct field repost[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("subject"), .form = FORM_REF, .column = EV_reposts_subject_uri},
    {FIELD_NAME("via"), .form = FORM_REF, .column = EV_reposts_via_uri},
};

static const struct field follow[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("subject"), .form = FORM_STR, .column = EV_follows_subject_did},
    {FIELD_NAME("via"), .form = FORM_REF, .column = EV_follows_via_uri},
};

static const struct field block[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("subject"), .form = FORM_STR, .column = EV_blocks_subject_did},
};

static const struct field profile[] = {
    {FIELD_NAME("$type"), .form = FORM_TYPE, .column = 0},
    {FIELD_NAME("avatar"), .form = FORM_JSON, .column = EV_profiles_avatar},
    {FIELD_NAME("banner"), .form = FORM_JSON, .column = EV_profiles_banner},
    {FIELD_NAME("createdAt"), .form = FORM_CREATED_AT, .column = EV_CREATED_AT},
    {FIELD_NAME("description"), .form = FORM_STR, .column = EV_profiles_description},
    {FIELD_NAME("displayName"), .form = FORM_STR, .column = EV_profiles_display_name},
    {FIELD_NAME("pinnedPost"), .form = FORM_REF, .column = EV_profiles_pinned_post_uri},
    {FIELD_NAME("pronouns"), .form = FORM_STR, .column = EV_profiles_pronouns},
    {FIELD_NAME("website"), .form = FORM_STR, .column = EV_profiles_website},
};

static const struct field identity_event[] = {
    {FIELD_NAME("did"), .form = FORM_DID, .column = 0},
    {FIELD_NAME("handle"), .form = FORM_STR, .column = EV_accounts_handle},
    {FIELD_NAME("seq"), .form = FORM_SEQ, .column = EV_accounts_seq},
    {FIELD_NAME("time"), .form = FORM_STR, .column = EV_accounts_time},
};

static const struct field account_event[] = {
    {FIELD_NAME("active"), .form = FORM_BOOL, .column = EV_accounts_active},
    {FIELD_NAME("did"), .form = FORM_DID, .column = 0},
    {FIELD_NAME("seq"), .form = FORM_SEQ, .column = EV_accounts_seq},
    {FIELD_NAME("status"), .form = FORM_STR, .column = EV_accounts_status},
    {FIELD_NAME("time"), .form = FORM_STR, .column = EV_accounts_time},
};

struct shape shape_of_record(enum ev_type type) {
    switch (type) {
    case EV_posts:
        return SHAPE(post);
    case EV_likes:
        return SHAPE(like);
    case EV_reposts:
        return SHAPE(repost);
    case EV_follows:
        return SHAPE(follow);
    case EV_blocks:
        return SHAPE(block);
    case EV_profiles:
        return SHAPE(profile);
    case EV_accounts:
    case EV_others:
    case EV_TYPE_COUNT:
        break;
    }
    return (struct shape){0};
}

struct shape shape_of_account(bool identity) {
    return identity ? SHAPE(identity_event) : SHAPE(account_event);
}
