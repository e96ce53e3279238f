#include "http/peer.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/stream.h"
#include "net/url.h"

enum { TIMEOUT_MS = 700, ANSWER_MAX = 1 << 20 };

static enum bl_rc read_all(struct stream *stream, struct bl_buf *out, struct bl_error *err) {
    int64_t until_ns = bl_mono_ns() + (int64_t)TIMEOUT_MS * 1000000;
    for (size_t got = 1; got;) {
        char piece[4096];
        int left_ms = (int)((until_ns - bl_mono_ns()) / 1000000);
        BL_TRY(stream_read(stream, piece, sizeof piece, left_ms > 1 ? left_ms : 1, &got, err));
        bl_buf_add(out, piece, got);
        if (left_ms <= 0) return bl_fail(err, BL_E_TIMEOUT, "no whole answer in time");
    }
    return bl_buf_check(out, "the answer", err);
}

static enum bl_rc ask(const char *listen, const char *path, struct bl_buf *out, struct bl_error *err) {
    char address[64], request[256];
    struct stream_options o = {.host = address, .connect_timeout_ms = TIMEOUT_MS, .wake_fd = -1};
    BL_CLEANUP(stream_close) struct stream *stream = NULL;
    BL_TRY(url_parse_listen(bl_str(listen), address, &o.port, err));
    if (o.port == 0) return bl_fail(err, BL_E_NOT_FOUND, "the port is not known");
    if (strcmp(address, "0.0.0.0") == 0) o.host = "127.0.0.1";
    if (strcmp(address, "::") == 0) o.host = "::1";
    BL_TRY(stream_connect(&o, &stream, err));
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    BL_TRY(stream_write_all(stream, bl_str(request), TIMEOUT_MS, err));
    return read_all(stream, out, err);
}

bool peer_get(const char *listen, const char *path, struct bl_buf *out) {
    BL_CLEANUP(bl_buf_release) struct bl_buf answer = {.max = ANSWER_MAX};
    if (ask(listen, path, &answer, NULL) != BL_OK) return false;
    struct bl_str text = bl_buf_view(&answer);
    bool known = bl_str_starts(text, BL_LIT("HTTP/1.1 200")) || bl_str_starts(text, BL_LIT("HTTP/1.1 503"));
    const char *body = memmem(text.p, text.n, "\r\n\r\n", 4);
    if (!known || !body) return false;
    bl_buf_str(out, bl_str_skip(text, (size_t)(body - text.p) + 4));
    return true;
}

double peer_metric(struct bl_str text, const char *name, double otherwise) {
    double sum = 0;
    bool found = false;
    while (text.n) {
        struct bl_str line = bl_str_cut(&text, '\n');
        bool same = bl_str_starts(line, bl_str(name)) && line.n > strlen(name) && strchr(" {", line.p[strlen(name)]);
        const char *blank = same ? memrchr(line.p, ' ', line.n) : NULL;
        if (!blank) continue;
        sum += strtod(blank + 1, NULL); /* ends at the line's end: the text goes on with '\n' */
        found = true;
    }
    return found && isfinite(sum) ? sum : otherwise;
}
