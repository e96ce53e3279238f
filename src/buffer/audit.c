#include "buffer/audit.h"

#include <assert.h>

#include "buffer/nodes.h"

/* Where a row's actual value comes from. */
enum source { CONFIG, INFO };
enum rule {
    EQUALS,        /* the text itself */
    EQUALS_OR_ALT, /* `alternative` is accepted too: it is stricter */
    OR_WARN,       /* `alternative` is a choice the specification leaves open: named, not refused */
    AT_LEAST,      /* a version number */
    LOOPBACK,      /* no address but this machine's, unless a password is set */
};

static const struct row {
    const char *name;
    enum source source;
    enum rule rule;
    const char *required, *alternative;
    enum audit_verdict otherwise;
    const char *consequence, *cure;
} rows[] = {
    {"redis_version", INFO, AT_LEAST, "7.0", NULL, AUDIT_FAIL,
     "older servers lack scripts with allow-oom and EVAL_RO, which the buffer uses",
     "install Redis 7.0 or newer (the container image has 7.2)"},
    {"maxmemory", CONFIG, EQUALS, "2147483648", NULL, AUDIT_WARN,
     "less holds fewer than 8 hours without a writer; 0 lets the kernel kill Redis instead of Redis refusing",
     "maxmemory 2gb"},
    {"maxmemory-policy", CONFIG, OR_WARN, "noeviction", "allkeys-lru", AUDIT_FAIL,
     "any other policy evicts whole queues at maxmemory, silently; allkeys-lru is safe only while ingest stops at the "
     "high-water mark",
     "maxmemory-policy noeviction"},
    {"appendonly", CONFIG, EQUALS, "yes", NULL, AUDIT_FAIL, "a restart of Redis loses everything buffered",
     "appendonly yes"},
    {"appendfsync", CONFIG, EQUALS_OR_ALT, "everysec", "always", AUDIT_FAIL,
     "a power cut loses what the kernel had not written: up to 30 s and more", "appendfsync everysec"},
    {"no-appendfsync-on-rewrite", CONFIG, EQUALS, "no", NULL, AUDIT_WARN,
     "during a rewrite of the append-only file nothing is synced", "no-appendfsync-on-rewrite no"},
    {"aof-load-truncated", CONFIG, EQUALS, "yes", NULL, AUDIT_WARN,
     "after a power cut with a torn last entry Redis does not start by itself", "aof-load-truncated yes"},
    {"auto-aof-rewrite-percentage", CONFIG, EQUALS, "100", NULL, AUDIT_WARN,
     "the append-only file grows without bound (0) or is rewritten too often", "auto-aof-rewrite-percentage 100"},
    {"auto-aof-rewrite-min-size", CONFIG, EQUALS, "67108864", NULL, AUDIT_WARN,
     "small files are rewritten too often, or a large one too late", "auto-aof-rewrite-min-size 64mb"},
    {"appendfilename", CONFIG, EQUALS, "appendonly.aof", NULL, AUDIT_WARN,
     "backup and checking tools look for appendonly.aof.*", "appendfilename \"appendonly.aof\""},
    {"save", CONFIG, EQUALS, "", NULL, AUDIT_WARN,
     "snapshots fork and write the whole memory beside the append-only file", "save \"\""},
    {"tcp-keepalive", CONFIG, EQUALS, "300", NULL, AUDIT_WARN, "dead connections are noticed late or too eagerly",
     "tcp-keepalive 300"},
    {"timeout", CONFIG, EQUALS, "0", NULL, AUDIT_WARN, "Redis closes connections of a role that has nothing to do",
     "timeout 0"},
    {"tcp-backlog", CONFIG, EQUALS, "511", NULL, AUDIT_WARN, "bursts of connections are refused", "tcp-backlog 511"},
    {"databases", CONFIG, EQUALS, "1", NULL, AUDIT_WARN, "other data may share this memory without being seen",
     "databases 1"},
    {"protected-mode", CONFIG, EQUALS, "yes", NULL, AUDIT_WARN, "a Redis without a password answers strangers",
     "protected-mode yes"},
    {"bind", CONFIG, LOOPBACK, "loopback, or a password", NULL, AUDIT_WARN,
     "everyone who can reach this machine can read and delete the queues", "bind 127.0.0.1 -::1, or requirepass"},
    {"aof_last_write_status", INFO, EQUALS, "ok", NULL, AUDIT_FAIL,
     "the append-only file cannot be written: disk full?", "look at the disk and at Redis's log"},
    {"evicted_keys", INFO, EQUALS, "0", NULL, AUDIT_FAIL,
     "keys were evicted since Redis started: buffered data was lost",
     "maxmemory-policy noeviction, then `bluelake verify`"},
};
#define ROWS (sizeof rows / sizeof *rows)
static_assert(ROWS <= (size_t)AUDIT_MAX, "more rows than findings");

/* ---- judging ---- */

static bool version_at_least(struct bl_str actual, struct bl_str least) {
    while (least.n) {
        uint64_t have = 0, want = 0;
        bool numbers = bl_parse_u64(bl_str_cut(&actual, '.'), UINT32_MAX, &have) &&
                       bl_parse_u64(bl_str_cut(&least, '.'), UINT32_MAX, &want);
        if (!numbers || have < want) return false;
        if (have > want) return true;
    }
    return true;
}

static bool is_loopback(struct bl_str addresses) {
    if (addresses.n == 0) return false; /* all interfaces */
    while (addresses.n) {
        struct bl_str a = bl_str_cut(&addresses, ' ');
        if (bl_str_starts(a, BL_LIT("-"))) a = bl_str_skip(a, 1);
        bool local =
            bl_str_starts(a, BL_LIT("127.")) || bl_str_eq(a, BL_LIT("::1")) || bl_str_eq(a, BL_LIT("localhost"));
        if (a.n && !local) return false;
    }
    return true;
}

static enum audit_verdict judge(const struct row *row, struct bl_str actual, bool has_password) {
    struct bl_str required = bl_str(row->required);
    switch (row->rule) {
    case EQUALS:
        return bl_str_eq(actual, required) ? AUDIT_OK : row->otherwise;
    case EQUALS_OR_ALT:
        return bl_str_eq(actual, required) || bl_str_eq(actual, bl_str(row->alternative)) ? AUDIT_OK : row->otherwise;
    case OR_WARN:
        if (bl_str_eq(actual, required)) return AUDIT_OK;
        return bl_str_eq(actual, bl_str(row->alternative)) ? AUDIT_WARN : row->otherwise;
    case AT_LEAST:
        return version_at_least(actual, required) ? AUDIT_OK : row->otherwise;
    case LOOPBACK:
        return has_password || is_loopback(actual) ? AUDIT_OK : row->otherwise;
    }
    return row->otherwise;
}

/* ---- asking ---- */

static bool find_config(const redisReply *config, const char *name, struct bl_str *out) {
    for (size_t i = 0; i + 1 < config->elements; i += 2) {
        if (!bl_str_eq(redis_text(config->element[i]), bl_str(name))) continue;
        *out = redis_text(config->element[i + 1]);
        return true;
    }
    return false;
}

static void find(const struct row *row, const redisReply *config, const redisReply *info, bool has_password,
                 struct audit_finding *out) {
    struct bl_str actual = {0};
    bool found = true;
    if (row->source == CONFIG)
        found = find_config(config, row->name, &actual);
    else
        actual = redis_info(redis_text(info), row->name);
    *out = (struct audit_finding){.setting = row->name,
                                  .required = row->required,
                                  .verdict = found ? judge(row, actual, has_password) : row->otherwise,
                                  .consequence = row->consequence,
                                  .cure = row->cure};
    snprintf(out->actual, sizeof out->actual, "%.*s", BL_ARG(found ? actual : BL_LIT("(unknown to this server)")));
}

static enum bl_rc audit_node(struct node *node, struct audit_finding out[static ROWS], struct bl_error *err) {
    struct redis_args a;
    BL_CLEANUP(redis_reply_release) redisReply *config = NULL;
    BL_CLEANUP(redis_reply_release) redisReply *info = NULL;
    redis_words(&a, "CONFIG GET *");
    BL_TRY(redis_call(&node->conn, &a, &config, err));
    redis_words(&a, "INFO");
    BL_TRY(redis_call(&node->conn, &a, &info, err));
    if (!redis_is_array(config, 0)) return bl_fail(err, BL_E_BACKEND, "CONFIG GET: unexpected answer");
    struct bl_str password = {0};
    bool has_password = node->conn.password || (find_config(config, "requirepass", &password) && password.n);
    for (size_t i = 0; i < ROWS; i++) find(&rows[i], config, info, has_password, &out[i]);
    return BL_OK;
}

/* Of several servers the worst is shown, with its address. */
static void keep_worse(const struct node *node, const struct audit_finding *found, struct audit_finding *kept) {
    if (found->verdict <= kept->verdict) return;
    *kept = *found;
    snprintf(kept->actual, sizeof kept->actual, "%.60s (%.40s:%d)", found->actual, node->conn.host, node->conn.port);
}

enum bl_rc buffer_audit(struct buffer *b, struct audit_finding out[static AUDIT_MAX], size_t *count,
                        struct bl_error *err) {
    struct node *nodes[ROUTE_COUNT];
    size_t node_count = 0;
    BL_TRY(nodes_in_use(b, nodes, &node_count, err));
    for (size_t n = 0; n < node_count; n++) {
        struct audit_finding found[ROWS];
        BL_TRY(audit_node(nodes[n], n ? found : out, err));
        for (size_t i = 0; n && i < ROWS; i++) keep_worse(nodes[n], &found[i], &out[i]);
    }
    *count = ROWS;
    return BL_OK;
}

void buffer_audit_table(struct bl_buf *out) {
    bl_buf_z(out, "| setting | required | otherwise | what happens if it stays so | cure |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        bl_buf_printf(out, "| `%s` | %s%s%s", row->name, row->rule == AT_LEAST ? "at least " : "",
                      *row->required ? row->required : "(empty)", row->rule == EQUALS_OR_ALT ? " or " : "");
        if (row->rule == EQUALS_OR_ALT) bl_buf_z(out, row->alternative);
        bl_buf_printf(out, " | %s", row->otherwise == AUDIT_FAIL ? "fail" : "warn");
        if (row->rule == OR_WARN) bl_buf_printf(out, " (`%s`: warn)", row->alternative);
        bl_buf_printf(out, " | %s | %s |\n", row->consequence, row->cure);
    }
}
