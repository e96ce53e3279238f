#include "net/ws.h"

enum {
    BIT_FIN = 0x80,
    BITS_RESERVED = 0x70,
    BITS_OPCODE = 0x0f,
    BIT_MASKED = 0x80,
    CONTROL_MAX = 125,
    JOINED_KEEP = 1 << 20, /* a join buffer beyond this is given back after its message */
    MESSAGE_MAX_DEFAULT = 32 << 20,
    CLOSE_PROTOCOL = 1002,
    CLOSE_BAD_DATA = 1007,
    CLOSE_INTERNAL = 1011,
    CLOSE_ABSENT = 1005,
};

struct header {
    enum ws_op op;
    bool final, masked;
    unsigned char mask[4];
    uint64_t length;
    size_t size; /* of the header itself */
};

enum step { STEP_MORE, STEP_MESSAGE, STEP_AGAIN, STEP_VIOLATION };

void ws_parser_init(struct ws_parser *w, bool expect_masked, size_t message_max) {
    *w = (struct ws_parser){.expect_masked = expect_masked,
                            .message_max = message_max ? message_max : (size_t)MESSAGE_MAX_DEFAULT};
    w->joined.max = w->message_max;
}

void ws_parser_release(struct ws_parser *w) { bl_buf_release(&w->joined); }

void ws_feed(struct ws_parser *w, char *bytes, size_t n) {
    w->p = bytes;
    w->n = n;
    w->at = 0;
}

size_t ws_consumed(const struct ws_parser *w) { return w->at; }

static enum step violate(struct ws_message *out, unsigned close_code, struct bl_error *err, const char *what) {
    *out = (struct ws_message){.op = WS_CLOSE, .close_code = close_code};
    (void)!bl_fail(err, BL_E_NET, "the peer broke the WebSocket protocol: %s", what);
    return STEP_VIOLATION;
}

static bool is_control(enum ws_op op) { return op >= WS_CLOSE; }

static uint64_t big_endian(const unsigned char *p, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value = value << 8 | p[i];
    return value;
}

/* What is wrong with the first two bytes, or NULL. They are judged as soon as they are there, so that a peer that talks
 * another protocol is found out before its "length" is waited for. */
static const char *first_bytes_fault(const struct ws_parser *w, unsigned first, unsigned second) {
    unsigned op = first & BITS_OPCODE, length = second & ~(unsigned)BIT_MASKED;
    bool final = first & BIT_FIN, masked = second & BIT_MASKED, inside = w->joining || w->skipping_message;
    if (first & BITS_RESERVED) return "a reserved bit is set though no extension was agreed";
    if ((op > WS_BINARY && op < WS_CLOSE) || op > WS_PONG) return "unknown opcode";
    if (masked != w->expect_masked) return masked ? "a server must not mask its frames" : "a client must mask its frames";
    if (op >= WS_CLOSE && !final) return "a control frame is fragmented";
    if (op >= WS_CLOSE && length > CONTROL_MAX) return "a control frame is longer than 125 bytes";
    if (op == WS_CONTINUATION && !inside) return "a continuation without a message to continue";
    if ((op == WS_TEXT || op == WS_BINARY) && inside) return "a new message inside a fragmented one";
    return NULL;
}

static enum step read_header(const struct ws_parser *w, struct header *h, struct ws_message *out, struct bl_error *err) {
    const unsigned char *p = (const unsigned char *)w->p + w->at;
    size_t left = w->n - w->at;
    if (left < 2) return STEP_MORE;
    const char *fault = first_bytes_fault(w, p[0], p[1]);
    if (fault) return violate(out, CLOSE_PROTOCOL, err, fault);
    h->op = (enum ws_op)(p[0] & BITS_OPCODE);
    h->final = p[0] & BIT_FIN;
    h->masked = p[1] & BIT_MASKED;
    unsigned short_length = p[1] & ~(unsigned)BIT_MASKED;
    size_t extra = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    h->size = 2 + extra + (h->masked ? 4 : 0);
    if (left < h->size) return STEP_MORE;
    h->length = extra ? big_endian(p + 2, extra) : short_length;
    if (h->length >> 63) return violate(out, CLOSE_PROTOCOL, err, "the top bit of a 64-bit length is set");
    if ((extra == 2 && h->length < 126) || (extra == 8 && h->length < 65536))
        return violate(out, CLOSE_PROTOCOL, err, "a length is not in its shortest form");
    if (h->masked) memcpy(h->mask, p + 2 + extra, 4);
    return STEP_AGAIN;
}

static void apply_mask(char *p, size_t n, const unsigned char mask[4]) {
    uint64_t wide, word;
    memcpy(&wide, mask, 4);
    memcpy((char *)&wide + 4, mask, 4);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        memcpy(&word, p + i, 8);
        word ^= wide;
        memcpy(p + i, &word, 8);
    }
    for (; i < n; i++) p[i] = (char)(p[i] ^ mask[i & 3]);
}

/* Codes that may appear on the wire: RFC 6455 section 7.4 with the later entries of IANA's registry. */
static bool close_code_valid(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static enum step read_close(struct bl_str payload, struct ws_message *out, struct bl_error *err) {
    *out = (struct ws_message){.op = WS_CLOSE, .close_code = CLOSE_ABSENT};
    if (payload.n == 0) return STEP_MESSAGE;
    if (payload.n == 1) return violate(out, CLOSE_PROTOCOL, err, "a close code of one byte");
    unsigned code = (unsigned)big_endian((const unsigned char *)payload.p, 2);
    if (!close_code_valid(code)) return violate(out, CLOSE_PROTOCOL, err, "a close code that must not be sent");
    struct bl_str reason = bl_str_skip(payload, 2);
    if (!bl_utf8_valid(reason)) return violate(out, CLOSE_BAD_DATA, err, "a close reason that is not UTF-8");
    *out = (struct ws_message){.op = WS_CLOSE, .data = reason, .close_code = code};
    return STEP_MESSAGE;
}

/* Throw away what is here of an oversized message. */
static enum step skip_payload(struct ws_parser *w) {
    size_t left = w->n - w->at;
    size_t step = w->skip < left ? (size_t)w->skip : left;
    w->at += step;
    w->skip -= step;
    return w->skip ? STEP_MORE : STEP_AGAIN;
}

static enum step begin_skipping(struct ws_parser *w, const struct header *h) {
    w->at += h->size;
    w->skip = h->length;
    w->joining = false;
    w->joined.n = 0;
    w->skipping_message = !h->final;
    if (h->final) w->oversized++;
    return skip_payload(w);
}

static enum step join(struct ws_parser *w, const struct header *h, struct bl_str payload, struct ws_message *out,
                      struct bl_error *err) {
    if (h->op != WS_CONTINUATION) w->joined_op = h->op;
    w->joining = !h->final;
    bl_buf_str(&w->joined, payload);
    if (w->joined.failed) return violate(out, CLOSE_INTERNAL, err, "no memory to join a fragmented message");
    if (w->joining) return STEP_AGAIN;
    *out = (struct ws_message){.op = w->joined_op, .data = bl_buf_view(&w->joined)};
    return STEP_MESSAGE;
}

static enum step read_frame(struct ws_parser *w, struct ws_message *out, struct bl_error *err) {
    struct header h;
    enum step step = read_header(w, &h, out, err);
    if (step != STEP_AGAIN) return step;
    bool oversized = !is_control(h.op) && (w->skipping_message || h.length > w->message_max - w->joined.n);
    if (oversized) return begin_skipping(w, &h);
    if (w->n - w->at - h.size < h.length) return STEP_MORE;
    struct bl_str payload = {w->p + w->at + h.size, (size_t)h.length};
    if (h.masked) apply_mask(w->p + w->at + h.size, payload.n, h.mask);
    w->at += h.size + payload.n;
    if (h.op == WS_CLOSE) return read_close(payload, out, err);
    if (is_control(h.op) || (h.final && h.op != WS_CONTINUATION)) {
        *out = (struct ws_message){.op = h.op, .data = payload};
        return STEP_MESSAGE;
    }
    return join(w, &h, payload, out, err);
}

/* The join buffer lives until the call after its message was handed out. */
static void drop_joined(struct ws_parser *w) {
    if (w->joining || w->joined.n == 0) return;
    if (w->joined.cap > JOINED_KEEP)
        bl_buf_release(&w->joined);
    else
        bl_buf_clear(&w->joined);
}

int ws_next(struct ws_parser *w, struct ws_message *out, struct bl_error *err) {
    drop_joined(w);
    for (;;) {
        enum step step = w->skip ? skip_payload(w) : STEP_AGAIN;
        if (step == STEP_AGAIN) step = read_frame(w, out, err);
        if (step == STEP_MORE) return 0;
        if (step == STEP_MESSAGE) return 1;
        if (step == STEP_VIOLATION) {
            w->n = w->at; /* nothing after a violation can be trusted */
            return -1;
        }
    }
}

bool ws_ready(const struct ws_parser *w) {
    struct ws_parser look = *w; /* shares the join buffer, which is not touched */
    size_t joined = w->joining ? w->joined.n : 0;
    struct header h;
    struct ws_message unused;
    if (look.skip && skip_payload(&look) == STEP_MORE) return false;
    for (;;) {
        enum step step = read_header(&look, &h, &unused, NULL);
        if (step != STEP_AGAIN) return step == STEP_VIOLATION;
        bool oversized = look.skipping_message || h.length > look.message_max - joined;
        if (look.n - look.at - h.size < h.length) return false;
        look.at += h.size + (size_t)h.length;
        if (h.op == WS_CLOSE) return true;
        if (is_control(h.op)) continue;
        if (h.final && !oversized) return true;
        joined = h.final || oversized ? 0 : joined + (size_t)h.length;
        look.skipping_message = oversized && !h.final;
        look.joining = !oversized && !h.final;
    }
}

void ws_frame(struct bl_buf *out, enum ws_op op, struct bl_str data, bool masked, uint32_t mask_key) {
    unsigned char head[14];
    size_t n = 0, extra = data.n < 126 ? 0 : data.n < 65536 ? 2 : 8;
    head[n++] = (unsigned char)(BIT_FIN | op);
    head[n++] = (unsigned char)((masked ? BIT_MASKED : 0) | (extra == 0 ? data.n : extra == 2 ? 126 : 127));
    for (size_t i = extra; i-- > 0;) head[n++] = (unsigned char)(data.n >> (8 * i));
    if (masked) memcpy(head + n, &mask_key, 4);
    if (!bl_buf_reserve(out, n + 4 + data.n)) return;
    bl_buf_add(out, head, n + (masked ? 4 : 0));
    bl_buf_str(out, data);
    if (masked) apply_mask(out->p + out->n - data.n, data.n, head + n);
}

void ws_close_frame(struct bl_buf *out, unsigned code, struct bl_str reason, bool masked, uint32_t mask_key) {
    char payload[CONTROL_MAX];
    if (reason.n > CONTROL_MAX - 2) { /* cut where a character begins */
        reason.n = CONTROL_MAX - 2;
        while (reason.n && ((unsigned char)reason.p[reason.n] & 0xc0) == 0x80) reason.n--;
    }
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (reason.n) memcpy(payload + 2, reason.p, reason.n);
    bool empty = code == CLOSE_ABSENT;
    ws_frame(out, WS_CLOSE, bl_strn(payload, empty ? 0 : 2 + reason.n), masked, mask_key);
}

static void base64(const unsigned char *p, size_t n, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < have ? p[i + k] : 0u);
        for (size_t k = 0; k < 4; k++) *out++ = k <= have ? digits[bits >> (18 - 6 * k) & 63] : '=';
    }
    *out = 0;
}

static uint32_t rotate(uint32_t x, unsigned by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t state[5], const unsigned char block[64]) {
    uint32_t w[80];
    for (size_t i = 0; i < 16; i++) w[i] = (uint32_t)big_endian(block + 4 * i, 4);
    for (size_t i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (size_t i = 0; i < 80; i++) {
        uint32_t mix = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                       : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                                : (b ^ c ^ d) + 0xca62c1d6u;
        uint32_t next = rotate(a, 5) + mix + e + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* SHA-1 (FIPS 180-4) of at most 119 bytes. The handshake uses it as a check against accidents, not as protection, and
 * with it here the protocol needs no cryptographic library. */
static void sha1_short(struct bl_str s, unsigned char digest[20]) {
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
    unsigned char padded[128] = {0};
    size_t size = s.n < 56 ? 64 : 128;
    BL_ASSERT(s.n <= 119);
    memcpy(padded, s.p, s.n);
    padded[s.n] = 0x80;
    for (size_t i = 0; i < 8; i++) padded[size - 1 - i] = (unsigned char)((uint64_t)s.n * 8 >> (8 * i));
    for (size_t at = 0; at < size; at += 64) sha1_block(state, padded + at);
    for (size_t i = 0; i < 20; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void ws_make_key(uint64_t random_a, uint64_t random_b, char key[static 25]) {
    unsigned char bytes[16];
    memcpy(bytes, &random_a, 8);
    memcpy(bytes + 8, &random_b, 8);
    base64(bytes, sizeof bytes, key);
}

void ws_accept_of_key(struct bl_str key, char accept[static 29]) {
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, section 1.3 */
    char text[80];
    unsigned char digest[20];
    size_t n = key.n < 40 ? key.n : 40;
    if (n) memcpy(text, key.p, n);
    memcpy(text + n, magic, sizeof magic - 1);
    sha1_short(bl_strn(text, n + sizeof magic - 1), digest);
    base64(digest, sizeof digest, accept);
}
