#include "source/request.h"

enum {
    QUERY_MAX = 4 << 10, /* filters beyond this go into the first message instead of the address */
    BASE_MAX = 2 << 10,
    COLLECTIONS_MAX = 100, /* Jetstream's limits */
    DIDS_MAX = 10000,
    HELLO_MAX = 10000000,
    NAME_MAX_BYTES = 2048,
};
static const char events_path[] = "/xrpc/network.bsky.jetstream.subscribeEvents";

bool cursor_plausible(int64_t cursor_us) {
    return cursor_us >= 1000000000000000 && cursor_us <= 9999999999999999;
}

/* Not a syntax check (the host makes that), but nothing that could be misread on the way. */
static bool clean_name(struct bl_str s) {
    if (s.n == 0 || s.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == ',' || s.p[i] == 0x7f) return false;
    return true;
}

static enum bl_rc check_filters(const struct source_options *o, struct bl_error *err) {
    if (o->collection_count > COLLECTIONS_MAX)
        return bl_fail(err, BL_E_USAGE, "%zu collections: Jetstream accepts %d; use prefixes such as app.bsky.*",
                       o->collection_count, COLLECTIONS_MAX);
    if (o->did_count > DIDS_MAX)
        return bl_fail(err, BL_E_USAGE, "%zu accounts: Jetstream accepts %d; take the whole stream instead",
                       o->did_count, DIDS_MAX);
    for (size_t i = 0; i < o->collection_count; i++)
        if (!clean_name(bl_str(o->collections[i])))
            return bl_fail(err, BL_E_USAGE, "\"%.100s\" is not a collection", o->collections[i]);
    for (size_t i = 0; i < o->did_count; i++)
        if (!clean_name(bl_str(o->dids[i])) || !bl_str_starts(bl_str(o->dids[i]), BL_LIT("did:")))
            return bl_fail(err, BL_E_USAGE, "\"%.100s\" is not a DID (did:plc:... or did:web:...)", o->dids[i]);
    return BL_OK;
}

static void add_parameter(struct bl_buf *query, const char *name, const char *value) {
    if (query->n) bl_buf_byte(query, '&');
    bl_buf_z(query, name);
    bl_buf_byte(query, '=');
    url_encode(query, bl_str(value));
}

static void add_list(struct bl_buf *query, const char *name, const char *const *values, size_t count) {
    for (size_t i = 0; i < count; i++) add_parameter(query, name, values[i]);
}

static void add_json_list(struct bl_buf *out, const char *name, const char *const *values, size_t count) {
    bl_buf_json(out, bl_str(name));
    bl_buf_z(out, ":[");
    for (size_t i = 0; i < count; i++) {
        if (i) bl_buf_byte(out, ',');
        bl_buf_json(out, bl_str(values[i]));
    }
    bl_buf_byte(out, ']');
}

/* options_update replaces all filters at once, so it carries all of them. */
static void add_hello(struct bl_buf *out, const struct source_options *o) {
    bl_buf_z(out, "{\"type\":\"options_update\",\"payload\":{");
    add_json_list(out, "wantedCollections", o->collections, o->collection_count);
    bl_buf_byte(out, ',');
    add_json_list(out, "wantedDids", o->dids, o->did_count);
    bl_buf_z(out, ",\"maxMessageSizeBytes\":0}}");
}

/* v2 takes no first message: what does not fit into the address cannot be asked for. */
static enum bl_rc init_v2(struct request *r, const struct source_options *o, struct bl_error *err) {
    add_list(&r->query, "collections", o->collections, o->collection_count);
    add_list(&r->query, "dids", o->dids, o->did_count);
    if (r->query.n > QUERY_MAX)
        return bl_fail(
            err, BL_E_USAGE,
            "the filters take %zu bytes and v2 accepts them in its address alone (%d): shorten source.dids, or "
            "use v1 (source.protocol = v1)",
            r->query.n, QUERY_MAX);
    return bl_buf_check(&r->query, "the query", err);
}

enum bl_rc request_init(struct request *r, const struct source_options *o, bool v2, struct bl_error *err) {
    BL_TRY(check_filters(o, err));
    *r = (struct request){.hello.max = HELLO_MAX};
    if (v2) {
        enum bl_rc done = init_v2(r, o, err);
        if (done != BL_OK) request_release(r);
        return done;
    }
    if (o->dictionary_file) add_parameter(&r->query, "compress", "true");
    size_t fixed = r->query.n;
    add_list(&r->query, "wantedCollections", o->collections, o->collection_count);
    add_list(&r->query, "wantedDids", o->dids, o->did_count);
    if (r->query.n > QUERY_MAX) {
        r->query.n = fixed;
        add_parameter(&r->query, "requireHello", "true");
        add_hello(&r->hello, o);
    }
    enum bl_rc rc = bl_buf_check(&r->query, "the query", err);
    if (rc == BL_OK && r->hello.failed)
        rc = bl_fail(err, BL_E_USAGE, "the list of accounts takes more than the %d bytes that Jetstream accepts",
                     HELLO_MAX);
    if (rc != BL_OK) request_release(r);
    return rc;
}

void request_release(struct request *r) {
    bl_buf_release(&r->query);
    bl_buf_release(&r->hello);
}

/* A parameter of ours in a given address would contradict the one we add. */
static enum bl_rc check_query(const char *text, const struct url *u, struct bl_error *err) {
    static const char *const ours[] = {"cursor", "compress", "requireHello", "zstdDictionary"};
    const char *mark = strchr(u->target, '?');
    struct bl_str rest = bl_str(mark ? mark + 1 : "");
    while (rest.n) {
        struct bl_str parameter = bl_str_cut(&rest, '&'), value = parameter;
        struct bl_str name = bl_str_cut(&value, '=');
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (bl_str_eq(name, bl_str(ours[i])))
                return bl_fail(err, BL_E_USAGE, "%.200s: leave \"%s\" out of the address, bluelake sets it", text,
                               ours[i]);
    }
    return BL_OK;
}

bool request_is_v2(const struct url *base) {
    size_t n = strlen(events_path);
    return strncmp(base->target, events_path, n) == 0 && (base->target[n] == 0 || base->target[n] == '?');
}

void request_host_name(const struct url *u, char name[static 256]) {
    bool usual = u->port == (u->tls ? 443 : 80);
    int n = usual ? snprintf(name, 256, "%s", u->host) : snprintf(name, 256, "%s:%d", u->host, u->port);
    if (n >= 256) name[255] = 0;
}

enum bl_rc request_base(const char *text, enum source_protocol protocol, struct url *out, struct bl_error *err) {
    struct url u;
    enum bl_rc rc = url_parse(bl_str(text), &u, err);
    if (rc != BL_OK) return bl_err_prefix(err, rc, "source address \"%.200s\"", text);
    if (strcmp(u.target, "/") == 0)
        snprintf(u.target, sizeof u.target, "%s", protocol == SOURCE_V2 ? events_path : "/subscribe");
    if (strlen(u.target) > BASE_MAX)
        return bl_fail(err, BL_E_USAGE, "%.100s...: longer than %d characters", text, BASE_MAX);
    if (protocol != SOURCE_AUTO && request_is_v2(&u) != (protocol == SOURCE_V2))
        return bl_fail(err, BL_E_USAGE, "%.200s does not fit source.protocol = %s: leave the path out, or use auto",
                       text, protocol == SOURCE_V2 ? "v2" : "v1");
    BL_TRY(check_query(text, &u, err));
    *out = u;
    return BL_OK;
}

static enum bl_rc append(struct url *u, struct bl_str parameter, struct bl_error *err) {
    size_t n = strlen(u->target);
    if (!parameter.n) return BL_OK;
    if (n + parameter.n + 2 > sizeof u->target)
        return bl_fail(err, BL_E_USAGE, "the address of the subscription is too long");
    u->target[n] = strchr(u->target, '?') ? '&' : '?';
    memcpy(u->target + n + 1, parameter.p, parameter.n);
    u->target[n + 1 + parameter.n] = 0;
    return BL_OK;
}

enum bl_rc request_parameter(struct url *u, const char *name, int64_t value, struct bl_error *err) {
    char text[64];
    snprintf(text, sizeof text, "%s=%lld", name, (long long)value);
    return append(u, bl_str(text), err);
}

enum bl_rc request_target(const struct request *r, int64_t cursor, struct url *u, struct bl_error *err) {
    BL_TRY(append(u, bl_buf_view(&r->query), err));
    return cursor ? request_parameter(u, "cursor", cursor, err) : BL_OK;
}
