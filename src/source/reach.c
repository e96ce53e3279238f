#include "net/stream.h"
#include "source/request.h"

/* Each host gets its share of the time that is left. */
bool source_reachable(const char *const *urls, size_t count, int timeout_ms, struct bl_error *why_not) {
    int64_t deadline_ns = bl_mono_ns() + timeout_ms * 1000000LL;
    (void)!bl_fail(why_not, BL_E_USAGE, "no source address is given");
    for (size_t i = 0; i < count; i++) {
        int64_t share_ms = (deadline_ns - bl_mono_ns()) / 1000000 / (int64_t)(count - i);
        struct url u;
        struct stream *s = NULL;
        if (request_base(urls[i], SOURCE_AUTO, &u, why_not) != BL_OK) continue;
        struct stream_options o = {.host = u.host,
                                   .port = u.port,
                                   .tls = u.tls,
                                   .connect_timeout_ms = share_ms > 0 ? (int)share_ms : 1,
                                   .wake_fd = -1};
        if (stream_connect(&o, &s, why_not) == BL_OK) {
            stream_close(&s);
            return true;
        }
    }
    return false;
}
