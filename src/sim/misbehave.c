#include <inttypes.h>

#include "sim/serving.h"

static const struct {
    const char *name;
    enum fault fault;
} names[] = {
    {"cut-every", FAULT_CUT},
    {"1006-every", FAULT_CUT},
    {"reset-every", FAULT_RESET},
    {"close-every", FAULT_CLOSE},
    {"stall-after", FAULT_STALL},
    {"vanish-after", FAULT_VANISH},
    {"half-frame-every", FAULT_HALF_FRAME},
    {"duplicate-every", FAULT_DUPLICATE},
    {"swap-every", FAULT_SWAP},
    {"poison-every", FAULT_POISON},
    {"deep-every", FAULT_DEEP},
    {"badutf8-every", FAULT_BAD_UTF8},
    {"bignum-every", FAULT_BIG_NUMBER},
    {"badcid-every", FAULT_BAD_CID},
    {"large-every", FAULT_LARGE},
    {"oversized-every", FAULT_OVERSIZED},
    {"bomb-every", FAULT_BOMB},
    {"fragment-every", FAULT_FRAGMENT},
    {"unknown-every", FAULT_UNKNOWN},
    {"mark-every", FAULT_MARK},
    {"error-every", FAULT_ERROR},
    {"sync-every", FAULT_SYNC},
    {"cutover-drop", FAULT_CUTOVER},
    {"early-start", FAULT_EARLY},
    {"silent-first", FAULT_SILENT},
    {"http-503-first", FAULT_HTTP_503},
    {"http-429-first", FAULT_HTTP_429},
    {"http-400-first", FAULT_HTTP_400},
};

const char *sim_misbehaviour_help(void) {
    return "cut-every=N         cut the TCP connection after every N events, without a close frame (also: 1006-every)\n"
           "reset-every=N       reset the TCP connection after every N events: what is on its way is lost\n"
           "close-every=N       close with 1001 after every N events\n"
           "stall-after=N       fall silent after N events, once; the connection stays open\n"
           "vanish-after=N      fall silent after N events, once, without pings, as a machine that lost its power\n"
           "half-frame-every=N  send half of every N-th event, then cut; the event comes again after a reconnect\n"
           "duplicate-every=N   send every N-th event twice\n"
           "swap-every=N        send every N-th event after its successor\n"
           "poison-every=N      after every N events a message of 5,000 times '['\n"
           "deep-every=N        after every N events an event whose record is nested 5,000 deep\n"
           "badutf8-every=N     after every N events an event whose text is not UTF-8\n"
           "bignum-every=N      after every N events an event with integers beyond 64 bits\n"
           "badcid-every=N      after every N events an event whose CID is not that of its record\n"
           "large-every=N       after every N events an event of 3 MiB\n"
           "oversized-every=N   after every N events a message of 33 MiB\n"
           "bomb-every=N        after every N events a compressed message of 1 GiB (only to who asked for zstd)\n"
           "fragment-every=N    every N-th event in three fragments, with pings between them\n"
           "unknown-every=N     after every N events one of an unknown kind\n"
           "mark-every=N        before every event whose number is a multiple of N a message of an unknown kind that "
           "tells the\n"
           "                    number: the same ones on every connection, so that dead letters can be compared with "
           "the truth\n"
           "error-every=N       after every N events a terminal error frame (v2) and close 1011\n"
           "sync-every=N        after every N events a #sync event (v2)\n"
           "cutover-drop=K      where a replay first meets the live stream, K events are left out\n"
           "early-start=N       a time cursor among the newest N events starts where they begin (v2 hosts)\n"
           "silent-first=K      the first K connections are accepted and then get nothing but pings\n"
           "http-503-first=K    answer the first K requests with 503\n"
           "http-429-first=K    answer the first K requests with 429 and Retry-After: 1\n"
           "http-400-first=K    answer the first K requests with 400\n"
           "Events are counted over all connections of the server.\n";
}

static bool find(struct bl_str name, enum fault *out) {
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        if (!bl_str_eq(name, bl_str(names[n].name))) continue;
        *out = names[n].fault;
        return true;
    }
    return false;
}

enum bl_rc misbehave_parse(const char *list, struct misbehaviour *out, struct bl_error *err) {
    struct misbehaviour m = {0};
    struct bl_str rest = bl_str(list);
    while (rest.n) {
        struct bl_str value = bl_str_trim(bl_str_cut(&rest, ','));
        if (!value.n) continue;
        struct bl_str name = bl_str_cut(&value, '=');
        enum fault fault;
        if (!find(name, &fault))
            return bl_fail(err, BL_E_USAGE, "unknown misbehaviour \"%.*s\"; known are:\n%s", BL_ARG(name),
                           sim_misbehaviour_help());
        if (!bl_parse_u64(value, INT64_MAX, &m.every[fault]) || !m.every[fault])
            return bl_fail(err, BL_E_USAGE, "misbehaviour \"%.*s\" needs a number from 1, as in %.*s=1000",
                           BL_ARG(name), BL_ARG(name));
    }
    *out = m;
    return BL_OK;
}

bool misbehave_at(const struct misbehaviour *m, enum fault fault, uint64_t n) {
    uint64_t every = m->every[fault];
    return every && (fault == FAULT_STALL || fault == FAULT_VANISH ? n == every : n % every == 0);
}

static void open_event(int64_t time_us, const char *collection, const char *rkey, struct bl_buf *out) {
    bl_buf_printf(
        out,
        "{\"did\":\"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa\",\"time_us\":%lld,\"kind\":\"commit\",\"commit\":{"
        "\"rev\":\"3kaaaaaaaaa2a\",\"operation\":\"create\",\"collection\":\"%s\",\"rkey\":\"%s%lld\",\"record\":",
        (long long)time_us, collection, rkey, (long long)time_us);
}

void misbehave_message(enum fault fault, int64_t time_us, struct bl_buf *out) {
    bl_buf_clear(out);
    enum { LARGE = 3 << 20, OVERSIZED = 33 << 20, DEEP = 5000 };
    switch (fault) {
    case FAULT_LARGE:
    case FAULT_OVERSIZED:
        open_event(time_us, "org.example.large", "large-", out);
        bl_buf_z(out, "{\"$type\":\"org.example.large\",\"text\":\"");
        for (size_t n = 0, size = fault == FAULT_LARGE ? LARGE : OVERSIZED; n < size; n++) bl_buf_byte(out, 'x');
        bl_buf_z(out, "\"}}}");
        break;
    case FAULT_BAD_CID:
        open_event(time_us, "org.example.badcid", "badcid-", out);
        bl_buf_z(out, "{\"$type\":\"org.example.badcid\"},"
                      "\"cid\":\"bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}");
        break;
    case FAULT_UNKNOWN:
        bl_buf_printf(out,
                      "{\"did\":\"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa\",\"time_us\":%lld,\"kind\":\"wave\",\"wave\":{}}",
                      (long long)time_us);
        break;
    case FAULT_UNKNOWN_FRAME:
        bl_buf_z(out, "{\"$type\":\"message\",\"payload\":{\"$type\":\"network.bsky.jetstream.subscribeEvents#wave\","
                      "\"height\":3}}");
        break;
    case FAULT_POISON:
        for (int n = 0; n < DEEP; n++) bl_buf_byte(out, '[');
        break;
    case FAULT_DEEP:
        open_event(time_us, "org.example.deep", "deep-", out);
        bl_buf_z(out, "{\"$type\":\"org.example.deep\",\"x\":");
        for (int n = 0; n < DEEP; n++) bl_buf_byte(out, '[');
        for (int n = 0; n < DEEP; n++) bl_buf_byte(out, ']');
        bl_buf_z(out, "}}}");
        break;
    case FAULT_BAD_UTF8:
        open_event(time_us, "app.bsky.feed.post", "badutf8-", out);
        bl_buf_z(out, "{\"$type\":\"app.bsky.feed.post\",\"text\":\"caf\xe9 \xff\xfe\"}}}");
        break;
    case FAULT_BIG_NUMBER:
        open_event(time_us, "org.example.bignum", "bignum-", out);
        bl_buf_z(out, "{\"$type\":\"org.example.bignum\",\"large\":123456789012345678901234567890,"
                      "\"small\":-99999999999999999999,\"third\":0.1}}}");
        break;
    case FAULT_CUT:
    case FAULT_RESET:
    case FAULT_CLOSE:
    case FAULT_STALL:
    case FAULT_VANISH:
    case FAULT_HALF_FRAME:
    case FAULT_DUPLICATE:
    case FAULT_SWAP:
    case FAULT_BOMB:
    case FAULT_FRAGMENT:
    case FAULT_ERROR:
    case FAULT_SYNC:
    case FAULT_CUTOVER:
    case FAULT_EARLY:
    case FAULT_SILENT:
    case FAULT_HTTP_503:
    case FAULT_HTTP_429:
    case FAULT_HTTP_400:
    case FAULT_MARK:
    case FAULT_COUNT:
        break;
    }
}

void misbehave_mark(bool frame, uint64_t number, int64_t time_us, struct bl_buf *out) {
    bl_buf_clear(out);
    bl_buf_z(out, frame
                      ? "{\"$type\":\"message\",\"payload\":{\"$type\":\"network.bsky.jetstream.subscribeEvents#mark\","
                      : "{\"did\":\"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa\",\"kind\":\"mark\",\"time_us\":");
    if (!frame) bl_buf_printf(out, "%" PRId64 ",", time_us);
    bl_buf_printf(out, "\"mark\":%" PRIu64 "%s", number, frame ? "}}" : "}");
}
