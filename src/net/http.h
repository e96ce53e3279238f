/* http: one GET over a connection of its own.
 *
 * May include: base, net. For small things beside the stream, such as a dictionary: the whole body is held in memory.
 * No redirects, no cookies. Blocks, bounded by `timeout_ms`. */
#pragma once
#include "net/url.h"

struct http_get {
    struct url url; /* http or https; ws and wss mean the same here */
    const char *ca_file;
    int timeout_ms;  /* over everything; 0 means 10,000 */
    size_t body_max; /* bytes; 0 means 16 MiB */
    int wake_fd;     /* see stream.h; -1 for none */
};
/* Appends the body to `body`. BL_OK whatever the status; BL_E_NET, BL_E_TIMEOUT, BL_E_CANCELLED as for a stream;
 * BL_E_TOO_LARGE beyond body_max. */
enum bl_rc http_get(const struct http_get *request, int *status, struct bl_buf *body, struct bl_error *err);
