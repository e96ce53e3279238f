/* The place of a hit in the order of an answer, as one opaque word: "1" and base64url of "TIME DID RKEY". */
#include <inttypes.h>

#include "query/find.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void add_base64(struct bl_buf *out, struct bl_str s) {
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i < 3 ? s.n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < left ? (unsigned char)s.p[i + k] : 0);
        for (size_t k = 0; k <= left; k++) bl_buf_byte(out, digits[bits >> (18 - 6 * k) & 63]);
    }
}

static bool from_base64(struct bl_str s, struct bl_buf *out) {
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - digits);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        bl_buf_byte(out, (char)(bits >> held & 255));
    }
    return held < 6 && (bits & ((1u << held) - 1)) == 0;
}

void cursor_write(const struct query_hit *hit, char out[static QUERY_CURSOR_MAX]) {
    BL_CLEANUP(bl_buf_release) struct bl_buf plain = {0}, text = {0};
    bl_buf_printf(&plain, "%" PRId64 " %.*s %.*s", hit->time_us, BL_ARG(hit->did), BL_ARG(hit->rkey));
    bl_buf_byte(&text, '1');
    add_base64(&text, bl_buf_view(&plain));
    BL_ASSERT(text.n < QUERY_CURSOR_MAX);
    memcpy(out, bl_buf_cstr(&text), text.n + 1);
}

static bool parse(struct bl_str plain, struct place *out) {
    struct bl_str rest = plain, time = bl_str_cut(&rest, ' '), did = bl_str_cut(&rest, ' ');
    *out = (struct place){.did = did, .rkey = rest};
    return bl_parse_i64(time, INT64_MIN, INT64_MAX, &out->time_us) && bl_str_starts(did, BL_LIT("did:")) &&
           rest.n > 0 && !memchr(rest.p, ' ', rest.n);
}

enum bl_rc cursor_read(struct bl_str text, struct bl_arena *arena, struct place *out, struct bl_error *err) {
    BL_CLEANUP(bl_buf_release) struct bl_buf plain = {0};
    bool good = text.n > 1 && text.n < QUERY_CURSOR_MAX && text.p[0] == '1' &&
                from_base64(bl_str_skip(text, 1), &plain) && bl_utf8_valid(bl_buf_view(&plain)) &&
                parse(bl_arena_dup(arena, bl_buf_view(&plain)), out);
    return good ? BL_OK : bl_fail(err, BL_E_USAGE, "cursor: is not the next_cursor of an earlier answer");
}
