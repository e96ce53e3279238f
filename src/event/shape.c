#include "event/shape.h"

#define NAME(literal) {"" literal, sizeof(literal) - 1}
#define SHAPE(array) ((struct shape){array, sizeof array / sizeof *array})

static const struct field post[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("text"), FORM_STR, EV_posts_text},
    {NAME("langs"), FORM_LIST, EV_posts_langs},
    {NAME("reply"), FORM_REPLY, EV_posts_reply_root_uri},
    {NAME("facets"), FORM_JSON, EV_posts_facets},
    {NAME("embed"), FORM_JSON, EV_posts_embed},
    {NAME("tags"), FORM_TAGS, 0},
};

static const struct field like[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("subject"), FORM_REF, EV_likes_subject_uri},
    {NAME("via"), FORM_REF, EV_likes_via_uri},
};

static const struct field repost[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("subject"), FORM_REF, EV_reposts_subject_uri},
    {NAME("via"), FORM_REF, EV_reposts_via_uri},
};

static const struct field follow[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("subject"), FORM_STR, EV_follows_subject_did},
    {NAME("via"), FORM_REF, EV_follows_via_uri},
};

static const struct field block[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("subject"), FORM_STR, EV_blocks_subject_did},
};

static const struct field profile[] = {
    {NAME("$type"), FORM_TYPE, 0},
    {NAME("createdAt"), FORM_CREATED_AT, EV_CREATED_AT},
    {NAME("displayName"), FORM_STR, EV_profiles_display_name},
    {NAME("description"), FORM_STR, EV_profiles_description},
    {NAME("pronouns"), FORM_STR, EV_profiles_pronouns},
    {NAME("website"), FORM_STR, EV_profiles_website},
    {NAME("avatar"), FORM_JSON, EV_profiles_avatar},
    {NAME("banner"), FORM_JSON, EV_profiles_banner},
    {NAME("pinnedPost"), FORM_REF, EV_profiles_pinned_post_uri},
};

static const struct field identity_event[] = {
    {NAME("did"), FORM_DID, 0},
    {NAME("seq"), FORM_SEQ, EV_accounts_seq},
    {NAME("time"), FORM_STR, EV_accounts_time},
    {NAME("handle"), FORM_STR, EV_accounts_handle},
};

static const struct field account_event[] = {
    {NAME("active"), FORM_BOOL, EV_accounts_active},
    {NAME("did"), FORM_DID, 0},
    {NAME("seq"), FORM_SEQ, EV_accounts_seq},
    {NAME("time"), FORM_STR, EV_accounts_time},
    {NAME("status"), FORM_STR, EV_accounts_status},
};

struct shape shape_of_record(enum ev_type type) {
    switch (type) {
    case EV_posts: return SHAPE(post);
    case EV_likes: return SHAPE(like);
    case EV_reposts: return SHAPE(repost);
    case EV_follows: return SHAPE(follow);
    case EV_blocks: return SHAPE(block);
    case EV_profiles: return SHAPE(profile);
    case EV_accounts: case EV_others: case EV_TYPE_COUNT: break;
    }
    return (struct shape){0};
}

struct shape shape_of_account(bool identity) { return identity ? SHAPE(identity_event) : SHAPE(account_event); }
