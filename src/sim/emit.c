#include "sim/emit.h"

static bool plain(unsigned char c) { return c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'; }

static void escape(struct bl_buf *b, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"': EMIT(b, "\\\""); return;
    case '\\': EMIT(b, "\\\\"); return;
    case '\n': EMIT(b, "\\n"); return;
    default: EMIT(b, "\\u00"); break;
    }
    bl_buf_byte(b, hex[c >> 4]);
    bl_buf_byte(b, hex[c & 15]);
}

void emit_json(struct bl_buf *b, struct bl_str s) {
    bl_buf_byte(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (plain((unsigned char)s.p[i])) continue;
        bl_buf_add(b, s.p + from, i - from);
        escape(b, (unsigned char)s.p[i]);
        from = i + 1;
    }
    bl_buf_add(b, s.p + from, s.n - from);
    bl_buf_byte(b, '"');
}

void emit_did(struct bl_buf *b, uint64_t seed, uint64_t account) {
    char did[PEOPLE_DID_LEN];
    people_did(seed, account, did);
    EMIT(b, "\"did:plc:");
    bl_buf_add(b, did, sizeof did);
    bl_buf_byte(b, '"');
}
