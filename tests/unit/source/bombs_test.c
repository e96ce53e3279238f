/* Messages made to be expensive, each as large as a message may be: what they cost on their way through the source is
 * bounded, whether they are taken or refused. */
#include "bounded.h"
#include "net/ws.h"
#include "source/peek.h"
#include "source/v2.h"

enum { MESSAGE_MAX = 32 << 20, READ_SIZE = 256 << 10, CPU_S = 10 };

/* ---- messages of v2 ---- */

#define KIND "{\"$type\":\"network.bsky.jetstream.subscribeEvents#commit\""
#define BEFORE "{\"$type\":\"message\",\"payload\":" KIND ",\"seq\":1,\"time\":\"2026-01-05T00:00:00.000000Z\""

static const struct bomb {
    const char *name, *before, *unit, *after;
} bombs[] = {
    {"brackets", "", "[", ""},
    {"brackets in a record", BEFORE ",\"record\":", "[", "}}"},
    {"blanks", "{", " ", "}"},
    {"a long text", BEFORE ",\"record\":{\"text\":\"", "x", "\"}}}"},
    {"escapes", BEFORE ",\"record\":{\"text\":\"", "\\u0041", "\"}}}"},
    {"an open string", "{\"time_us", "x\\\"", ""},
    {"many types", "{\"payload\":{\"seq\":1", ",\"$type\":\"x\"", "}}"},
    {"many payloads", "{\"$type\":\"message\"", ",\"payload\":" KIND "}", "}"},
    {"many unknown members", BEFORE, ",\"k\":0", "}}"},
    {"many known members", BEFORE, ",\"rev\":\"a\"", "}}"},
    {"escaped names", BEFORE, ",\"\\u0072ev\":1", "}}"},
    {"a long time", "{\"$type\":\"message\",\"payload\":" KIND ",\"time\":\"2026-01-05T00:00:00.", "0", "Z\"}}"},
    {"a long number", "{\"$type\":\"message\",\"payload\":" KIND ",\"seq\":1", "0", "}}"},
    {"a long info", "{\"$type\":\"error\",\"error\":\"", "e", "\"}"},
    {"many quotes", "", "\"", ""},
};

static void read_both_ways(void *context) {
    struct bl_str message = bl_buf_view(context);
    struct bl_buf scratch = {.max = 2 * (size_t)MESSAGE_MAX};
    struct v2_message m;
    int64_t time_us;
    v2_read(message, &scratch, &m);
    if (m.kind == V2_EVENT && !m.json.n) abort();
    peek_time_us(message, &time_us);
    peek_cursor(message);
}

static void whatever_a_message_holds_its_cost_is_bounded(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        const struct bomb *b = &bombs[i];
        struct bl_buf message = {0};
        bl_buf_z(&message, b->before);
        while (message.n + 256 < MESSAGE_MAX) bl_buf_z(&message, b->unit);
        bl_buf_z(&message, b->after);
        expect_bounded(b->name, read_both_ways, &message, 112, CPU_S);
        bl_buf_release(&message);
    }
}

/* ---- frames ---- */

struct stream {
    const char *frame; /* again and again */
    size_t frame_n;
    int opcode_first; /* of the first frame, which begins a message; -1: as the others */
    size_t frames;
};

/* As wsclient does: at most READ_SIZE bytes at once behind what is not consumed. */
static void receive(void *context) {
    const struct stream *s = context;
    struct ws_parser w;
    struct ws_message m;
    char *bytes = bl_xmalloc(2 * READ_SIZE);
    size_t n = 0;
    ws_parser_init(&w, false, MESSAGE_MAX);
    for (size_t sent = 0; sent < s->frames;) {
        for (; sent < s->frames && n + s->frame_n <= READ_SIZE; sent++, n += s->frame_n) {
            memcpy(bytes + n, s->frame, s->frame_n);
            if (sent == 0 && s->opcode_first >= 0) bytes[n] = (char)s->opcode_first;
        }
        ws_feed(&w, bytes, n);
        int got;
        while ((got = ws_next(&w, &m, NULL)) == 1) continue;
        if (got < 0) abort();
        size_t used = ws_consumed(&w);
        memmove(bytes, bytes + used, n - used);
        n -= used;
    }
    free(bytes);
    ws_parser_release(&w);
}

static void fragments_and_control_frames_without_end_cost_little(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct stream stream;
    } cases[] = {
        {"fragments of one byte", {"\x00\x01x", 3, 0x01, 30000000}},
        {"empty fragments", {"\x00\x00", 2, 0x01, 30000000}},
        {"pings", {"\x89\x01p", 3, -1, 30000000}},
        {"pings between fragments", {"\x00\x01x\x89\x01p", 6, 0x01, 10000000}},
        {"empty messages", {"\x81\x00", 2, -1, 30000000}},
        {"a message without end", {"\x00\x7d"
                                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                                   127, 0x01, 2000000}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stream s = cases[i].stream;
        expect_bounded(cases[i].name, receive, &s, 80, CPU_S);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_message_holds_its_cost_is_bounded),
        cmocka_unit_test(fragments_and_control_frames_without_end_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
