#include "source/peek.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool read_number(const char *p, const char *end, int64_t *out) {
    const char *from = p;
    while (p < end && is_digit(*p)) p++;
    return p < end && bl_parse_i64(bl_strn(from, (size_t)(p - from)), 0, INT64_MAX, out);
}

/* Where the number begins in `{"did":"...","time_us":123`: the order in which every known server writes. NULL when the
 * text begins otherwise. */
static const char *usual_time(struct bl_str json) {
    const struct bl_str before = BL_LIT("{\"did\":\""), after = BL_LIT("\",\"time_us\":");
    if (!bl_str_starts(json, before)) return NULL;
    struct bl_str rest = bl_str_skip(json, before.n);
    const char *quote = memchr(rest.p, '"', rest.n < 256 ? rest.n : 256);
    if (!quote) return NULL;
    rest = bl_str_skip(rest, (size_t)(quote - rest.p));
    if (!bl_str_starts(rest, after) || memchr(json.p, '\\', (size_t)(quote - json.p))) return NULL;
    return rest.p + after.n;
}

uint64_t peek_cursor(struct bl_str json) {
    const char *p = usual_time(json), *end = json.p + json.n;
    const struct bl_str name = BL_LIT(",\"cursor\":");
    int64_t value;
    while (p && p < end && is_digit(*p)) p++;
    if (!p || !bl_str_starts(bl_strn(p, (size_t)(end - p)), name) || !read_number(p + name.n, end, &value)) return 0;
    return (uint64_t)value;
}

/* Past the string that begins at `p` (its opening quote); `end` when it does not close. */
static const char *skip_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\') p++;
    return p < end ? p + 1 : end;
}

static const char *skip_blanks(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

bool peek_time_us(struct bl_str json, int64_t *out) {
    const char *usual = usual_time(json);
    if (usual && read_number(usual, json.p + json.n, out)) return true;
    const char *p = json.p, *end = json.p + json.n;
    size_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            const char *from = p;
            p = skip_string(p, end);
            bool name = depth == 1 && bl_str_eq(bl_strn(from, (size_t)(p - from)), BL_LIT("\"time_us\""));
            const char *colon = skip_blanks(p, end);
            if (name && colon < end && *colon == ':') return read_number(skip_blanks(colon + 1, end), end, out);
            continue;
        }
        if (*p == '{' || *p == '[') depth++;
        if ((*p == '}' || *p == ']') && depth > 0) depth--;
        p++;
    }
    return false;
}
