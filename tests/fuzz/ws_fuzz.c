/* fuzz_ws: bytes as WebSocket frames. However they are cut into pieces, the same messages come out, ws_ready foretells
 * them, and what they hold is written back as frames that read the same. */
#include "fuzz.h"
#include "net/ws.h"

#include <xxhash.h>

enum { MESSAGE_MAX = 300, MESSAGES_MAX = 64 };

static const char *const fuzz_seeds[] = {
    "\x81\x05hello",
    "\x01\x02he\x80\x03llo",
    "\x01\x02he\x89\x01p\x00\x01l\x80\x01o",
    "\x82\x7e\x01\x90",
    "\x88\x04\x03\xe9ok\x81\x01x",
    "\x89\x00\x8a\x00\x81\x01x",
    "\x82\x7f",
    "\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e",
    "\xc1\x01x",
    "\x83\x00",
};
static const char *const fuzz_words[] = {"\x81",
                                         "\x01",
                                         "\x80",
                                         "\x82",
                                         "\x88",
                                         "\x89\x01p",
                                         "\x7e\x01\x20",
                                         "\x7f\x7f\x7f",
                                         "\x7e",
                                         "\x7d",
                                         "\x88\x02\x03\xe8",
                                         "\x03\xe8",
                                         "\x81\x03yes",
                                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
static const size_t fuzz_seed_count = sizeof fuzz_seeds / sizeof *fuzz_seeds;
static const size_t fuzz_word_count = sizeof fuzz_words / sizeof *fuzz_words;

struct seen {
    struct {
        int got; /* as ws_next: 1 or -1 */
        enum ws_op op;
        unsigned close_code;
        size_t n;
        uint64_t sum;
    } m[MESSAGES_MAX];
    size_t count;
    uint64_t oversized;
};

static void note(struct seen *s, int got, const struct ws_message *m) {
    if (s->count == MESSAGES_MAX) return;
    s->m[s->count].got = got;
    s->m[s->count].op = got > 0 ? m->op : WS_CONTINUATION;
    s->m[s->count].close_code = got < 0 || m->op == WS_CLOSE ? m->close_code : 0;
    s->m[s->count].n = got > 0 ? m->data.n : 0;
    s->m[s->count].sum = got > 0 ? XXH3_64bits(m->data.p ? m->data.p : "", m->data.n) : 0;
    s->count++;
}

/* Presents the input in pieces of random sizes (`rng` NULL: at once), as a socket would. */
static void read_all(struct bl_str input, bool masked, struct bl_rng *rng, struct seen *out) {
    struct ws_parser w;
    struct bl_buf in = {0};
    size_t given = 0;
    int got = 0;
    memset(out, 0, sizeof *out);
    ws_parser_init(&w, masked, MESSAGE_MAX);
    while (given < input.n && got >= 0) {
        size_t piece = rng ? 1 + fuzz_below(rng, 40) : input.n;
        if (piece > input.n - given) piece = input.n - given;
        bl_buf_add(&in, input.p + given, piece);
        given += piece;
        ws_feed(&w, in.p, in.n);
        for (;;) {
            struct ws_message m;
            bool ready = ws_ready(&w);
            got = ws_next(&w, &m, NULL);
            bool shows = got < 0 || (got == 1 && (m.op == WS_TEXT || m.op == WS_BINARY || m.op == WS_CLOSE));
            if (shows && !ready) fuzz_fail("ws_ready did not foretell a message", input);
            if (got == 1 && !shows && w.at == 0) fuzz_fail("a control frame without progress", input);
            if (got == 0 && ready) fuzz_fail("ws_ready foretold what did not come", input);
            if (got == 0) break;
            note(out, got, &m);
            if (got < 0) break;
        }
        size_t used = ws_consumed(&w);
        if (used > in.n) fuzz_fail("more consumed than given", input);
        memmove(in.p, in.p + used, in.n - used);
        in.n -= used;
    }
    out->oversized = w.oversized;
    ws_parser_release(&w);
    bl_buf_release(&in);
}

static bool fuzz_one(struct bl_str input) {
    struct bl_rng rng = {XXH3_64bits(input.p ? input.p : "", input.n)};
    bool accepted = true;
    for (int masked = 0; masked < 2; masked++) {
        struct seen whole, pieces;
        read_all(input, masked, NULL, &whole);
        read_all(input, masked, &rng, &pieces);
        if (memcmp(&whole, &pieces, sizeof whole) != 0) fuzz_fail("cut into pieces it reads differently", input);
        if (whole.count && whole.m[whole.count - 1].got < 0) accepted = false;
    }
    struct bl_buf frame = {0};
    struct seen back;
    ws_frame(&frame, WS_BINARY, input, false, 0);
    read_all(bl_buf_view(&frame), false, &rng, &back);
    bool large = input.n > MESSAGE_MAX;
    if (back.count != !large || back.oversized != large) fuzz_fail("a frame of ours is not read back", input);
    if (!large && back.m[0].sum != XXH3_64bits(input.p ? input.p : "", input.n))
        fuzz_fail("a frame of ours changed", input);
    bl_buf_release(&frame);
    return accepted;
}
