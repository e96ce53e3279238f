#define XXH_INLINE_ALL
#include <xxhash.h>

#include "event/event.h"

/* Lengths in front of the fields keep ("ab","c") and ("a","bc") apart, the tag commits and account events. The byte
 * order is fixed: identities are stored in the lake. */
enum { TAG_COMMIT = 'c', TAG_ACCOUNT = 'a', FIELDS_MAX = 5, SHORT = 512 };

static size_t put_length(unsigned char out[8], uint64_t n) {
    for (unsigned i = 0; i < 8; i++) out[i] = (unsigned char)(n >> 8 * i);
    return 8;
}

static struct ev_id id_of(XXH128_hash_t h) { return (struct ev_id){h.low64, h.high64}; }

/* Fields longer than any valid identifier: only a row that never came from ev_decode has them. */
static struct ev_id hash_long(char tag, const struct bl_str *fields, size_t count) {
    XXH3_state_t state;
    unsigned char length[8];
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &tag, 1);
    for (size_t i = 0; i < count; i++) {
        XXH3_128bits_update(&state, length, put_length(length, fields[i].n));
        if (fields[i].n) XXH3_128bits_update(&state, fields[i].p, fields[i].n);
    }
    return id_of(XXH3_128bits_digest(&state));
}

static struct ev_id hash(char tag, const struct bl_str *fields, size_t count) {
    unsigned char text[1 + FIELDS_MAX * 8 + SHORT];
    size_t n = 0, total = 0;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].n > SHORT - total) return hash_long(tag, fields, count);
        total += fields[i].n;
    }
    text[n++] = (unsigned char)tag;
    for (size_t i = 0; i < count; i++) {
        n += put_length(text + n, fields[i].n);
        if (fields[i].n) memcpy(text + n, fields[i].p, fields[i].n);
        n += fields[i].n;
    }
    return id_of(XXH3_128bits(text, n));
}

struct ev_id ev_identity_of(enum ev_type type, struct bl_str did, struct bl_str collection, struct bl_str rkey,
                            struct bl_str rev, struct bl_str operation) {
    if (type != EV_others) collection = bl_str(ev_schema(type)->collection);
    return hash(TAG_COMMIT, (const struct bl_str[]){did, collection, rkey, rev, operation}, 5);
}

struct ev_id ev_identity_of_account(struct bl_str did, struct bl_str kind, int64_t seq) {
    unsigned char bytes[8];
    put_length(bytes, (uint64_t)seq);
    return hash(TAG_ACCOUNT, (const struct bl_str[]){did, kind, bl_strn(bytes, 8)}, 3);
}

struct ev_id ev_identity(const struct event *ev) {
    if (ev->type == EV_accounts)
        return ev_identity_of_account(ev_str(ev, EV_DID), ev_str(ev, EV_accounts_kind), ev->v[EV_accounts_seq].i);
    struct bl_str collection = ev->type == EV_others ? ev_str(ev, EV_others_collection) : (struct bl_str){0};
    return ev_identity_of(ev->type, ev_str(ev, EV_DID), collection, ev_str(ev, EV_RKEY), ev_str(ev, EV_REV),
                          ev_str(ev, EV_OPERATION));
}
