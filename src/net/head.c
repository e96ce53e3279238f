#include "net/head.h"

#include <strings.h>
#include <time.h>

#include "base/clock.h"

enum { RETRY_AFTER_MAX_S = 86400 };

bool head_same(struct bl_str s, const char *name) {
    return s.n == strlen(name) && strncasecmp(s.p ? s.p : "", name, s.n) == 0;
}

int head_find(struct bl_str head, const char *name, struct bl_str *value) {
    int count = 0;
    bl_str_cut(&head, '\n'); /* the status line */
    while (head.n) {
        struct bl_str line = bl_str_cut(&head, '\n'), rest = line;
        struct bl_str field = bl_str_cut(&rest, ':');
        if (field.n == line.n || !head_same(field, name)) continue;
        if (count++ == 0) *value = bl_str_trim(rest);
    }
    return count;
}

bool head_list_has(struct bl_str list, const char *token) {
    while (list.n)
        if (head_same(bl_str_trim(bl_str_cut(&list, ',')), token)) return true;
    return false;
}

void head_copy_text(struct bl_str s, char *out, size_t size) {
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? ' ' : s.p[i];
    while (n && !bl_utf8_valid(bl_strn(out, n))) n--;
    while (n && out[n - 1] == ' ') n--;
    out[n] = 0;
}

bool head_status(struct bl_str head, int *status) {
    int64_t number;
    bool http = bl_str_starts(head, BL_LIT("HTTP/1.")) && head.n > 12 && head.p[8] == ' ';
    if (!http || !bl_parse_i64(bl_strn(head.p + 9, 3), 100, 999, &number)) return false;
    *status = (int)number;
    return head.p[12] == ' ' || head.p[12] == '\r';
}

int head_retry_after(struct bl_str head) {
    struct bl_str value = {0};
    int64_t seconds;
    if (head_find(head, "Retry-After", &value) == 0) return -1;
    if (!bl_parse_i64(value, 0, INT64_MAX, &seconds)) {
        char text[64];
        struct tm tm = {0};
        head_copy_text(value, text, sizeof text);
        const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (!end || *end) return -1;
        seconds = (int64_t)timegm(&tm) - bl_wall_us() / 1000000;
    }
    return (int)(seconds < 0 ? 0 : seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds);
}
