#include "sim/serving.h"

#include <stdlib.h>

#include "event/json.h"
#include "event/syntax.h"

enum { COLLECTIONS_MAX = 100, DIDS_MAX = 10000, RAW_FACTOR = 100 };

void filter_release(struct filter *f) {
    free(f->dids);
    free(f->collections);
    free(f->prefixes);
    bl_arena_release(&f->arena);
    *f = (struct filter){0};
}

static void push(struct filter *f, struct bl_str **list, size_t *count, size_t *room, struct bl_str value) {
    if (*count == *room) {
        *room = *room ? *room * 2 : 16;
        *list = bl_xrealloc(*list, *room * sizeof **list);
    }
    (*list)[(*count)++] = bl_arena_dup(&f->arena, value);
}

enum bl_rc filter_want_collection(struct filter *f, struct bl_str value, struct bl_error *err) {
    f->by_collection = true;
    if (f->collection_count + f->prefix_count >= COLLECTIONS_MAX * RAW_FACTOR)
        return bl_fail(err, BL_E_USAGE, "invalid options: too many wanted collections: > %d",
                       COLLECTIONS_MAX * RAW_FACTOR);
    if (bl_str_ends(value, BL_LIT(".*"))) {
        value.n--;
        push(f, &f->prefixes, &f->prefix_count, &f->prefix_room, value);
    } else if (at_is_nsid(value)) {
        push(f, &f->collections, &f->collection_count, &f->collection_room, value);
    } else {
        return bl_fail(err, BL_E_USAGE, "invalid options: invalid collection: %.*s", BL_ARG(value));
    }
    return BL_OK;
}

enum bl_rc filter_want_did(struct filter *f, struct bl_str value, struct bl_error *err) {
    f->by_did = true;
    if (f->did_count >= DIDS_MAX * RAW_FACTOR)
        return bl_fail(err, BL_E_USAGE, "invalid options: too many wanted DIDs: > %d", DIDS_MAX * RAW_FACTOR);
    if (!at_is_did(value)) return bl_fail(err, BL_E_USAGE, "invalid options: invalid DID: %.*s", BL_ARG(value));
    push(f, &f->dids, &f->did_count, &f->did_room, value);
    return BL_OK;
}

static int by_text(const void *a, const void *b) {
    return bl_str_cmp(*(const struct bl_str *)a, *(const struct bl_str *)b);
}

static size_t distinct(struct bl_str *list, size_t count) {
    if (!count) return 0;
    qsort(list, count, sizeof *list, by_text);
    size_t kept = 1;
    for (size_t n = 1; n < count; n++)
        if (!bl_str_eq(list[n], list[kept - 1])) list[kept++] = list[n];
    return kept;
}

enum bl_rc filter_seal(struct filter *f, struct bl_error *err) {
    f->did_count = distinct(f->dids, f->did_count);
    f->collection_count = distinct(f->collections, f->collection_count);
    f->prefix_count = distinct(f->prefixes, f->prefix_count);
    if (f->collection_count + f->prefix_count > COLLECTIONS_MAX)
        return bl_fail(err, BL_E_USAGE, "invalid options: too many wanted collections: > %d", COLLECTIONS_MAX);
    if (f->did_count > DIDS_MAX)
        return bl_fail(err, BL_E_USAGE, "invalid options: too many wanted DIDs: %zu > %d", f->did_count, DIDS_MAX);
    return BL_OK;
}

enum bl_rc filter_want_kind(struct filter *f, struct bl_str value, struct bl_error *err) {
    unsigned kind = bl_str_eq(value, BL_LIT("commit"))     ? KIND_COMMIT
                    : bl_str_eq(value, BL_LIT("identity")) ? KIND_IDENTITY
                    : bl_str_eq(value, BL_LIT("account"))  ? KIND_ACCOUNT
                    : bl_str_eq(value, BL_LIT("sync"))     ? KIND_SYNC
                                                           : 0;
    if (!kind) return bl_fail(err, BL_E_USAGE, "invalid kind: %.*s", BL_ARG(value));
    f->kinds |= kind;
    return BL_OK;
}

uint32_t filter_size_of(struct bl_str value) {
    int64_t n;
    return bl_parse_i64(value, 0, UINT32_MAX, &n) ? (uint32_t)n : 0;
}

static bool listed(const struct bl_str *list, size_t count, struct bl_str value) {
    return count && bsearch(&value, list, count, sizeof *list, by_text);
}

bool filter_wants(const struct filter *f, const struct feed_event *e) {
    if (f->kinds && !(f->kinds & e->kind)) return false;
    if (f->by_did && !listed(f->dids, f->did_count, e->did)) return false;
    if (!f->by_collection || !e->collection.n) return true;
    if (listed(f->collections, f->collection_count, e->collection)) return true;
    for (size_t n = 0; n < f->prefix_count; n++)
        if (bl_str_starts(e->collection, f->prefixes[n])) return true;
    return false;
}

/* ---- options_update ---- */

typedef enum bl_rc want(struct filter *f, struct bl_str value, struct bl_error *err);

static enum bl_rc bad_payload(struct bl_error *err) {
    return bl_fail(err, BL_E_SYNTAX, "bad options_update payload");
}

/* null counts as absent, as for Go. */
static enum bl_rc read_list(struct js_cursor *c, struct filter *f, want *add, struct bl_error *err) {
    if (js_peek(c) == JS_NULL) return js_skip(c, NULL, NULL) ? BL_OK : bad_payload(err);
    if (js_peek(c) != JS_ARRAY || !js_array(c)) return bad_payload(err);
    bool first = true;
    while (js_element(c, &first)) {
        struct js_string s;
        struct bl_str value;
        if (js_peek(c) != JS_STRING || !js_string(c, &s) || !js_unescape(s, &f->arena, &value)) return bad_payload(err);
        BL_TRY(add(f, value, err));
    }
    return c->fault ? bad_payload(err) : BL_OK;
}

static enum bl_rc read_payload(struct bl_str payload, struct filter *f, struct bl_error *err) {
    struct js_cursor c = js_open(payload, 16);
    struct js_string key;
    bool first = true;
    if (js_peek(&c) != JS_OBJECT || !js_object(&c)) return bad_payload(err);
    while (js_member(&c, &key, &first)) {
        struct bl_str raw;
        int64_t size = 0;
        if (bl_str_eq(key.raw, BL_LIT("wantedCollections"))) {
            BL_TRY(read_list(&c, f, filter_want_collection, err));
        } else if (bl_str_eq(key.raw, BL_LIT("wantedDids"))) {
            BL_TRY(read_list(&c, f, filter_want_did, err));
        } else if (!js_skip(&c, &raw, NULL)) {
            return bad_payload(err);
        } else if (bl_str_eq(key.raw, BL_LIT("maxMessageSizeBytes"))) {
            if (!js_i64(raw, &size)) return bad_payload(err);
            f->size_max = size > 0 ? (uint32_t)size : 0;
        }
    }
    return c.fault ? bad_payload(err) : filter_seal(f, err);
}

enum bl_rc filter_of_update(struct bl_str message, struct filter *out, struct bl_error *err) {
    struct js_cursor c = js_open(message, 16);
    struct js_string key, type = {0};
    struct bl_str payload = {0};
    bool first = true, valid = js_peek(&c) == JS_OBJECT && js_object(&c);
    while (valid && js_member(&c, &key, &first)) {
        if (bl_str_eq(key.raw, BL_LIT("type")))
            valid = js_peek(&c) == JS_STRING && js_string(&c, &type);
        else if (bl_str_eq(key.raw, BL_LIT("payload")))
            valid = js_skip(&c, &payload, NULL);
        else
            valid = js_skip(&c, NULL, NULL);
    }
    if (!valid || c.fault || !js_done(&c)) return bl_fail(err, BL_E_SYNTAX, "bad SubscriberSourcedMessage envelope");
    if (!bl_str_eq(type.raw, BL_LIT("options_update"))) return bl_fail(err, BL_E_NOT_FOUND, "another type of message");
    struct filter f = {0};
    enum bl_rc rc = read_payload(payload, &f, err);
    if (rc == BL_OK)
        *out = f;
    else
        filter_release(&f);
    return rc;
}
