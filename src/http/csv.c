#include "http/csv.h"

void csv_cell(struct bl_buf *out, struct bl_str s, bool raw) {
    if (!s.n) return;
    bl_buf_byte(out, '"');
    if (!raw && bl_str_is_formula(s)) bl_buf_byte(out, '\'');
    while (s.n) {
        const char *quote = memchr(s.p, '"', s.n);
        size_t n = quote ? (size_t)(quote - s.p) + 1 : s.n;
        bl_buf_add(out, s.p, n);
        if (quote) bl_buf_byte(out, '"');
        s = bl_str_skip(s, n);
    }
    bl_buf_byte(out, '"');
}
