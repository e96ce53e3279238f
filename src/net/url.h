/* url: ws://, wss://, http:// and https:// addresses. Pure. May include: base. */
#pragma once
#include "base/mem.h"

struct url {
    bool tls;
    bool websocket;    /* ws or wss */
    char host[256];    /* without brackets for IPv6 */
    int port;          /* 80 or 443 by default */
    char target[8192]; /* path and query, at least "/" */
};
/* A bare "host" or "host:port" is taken as wss:// with an empty path. BL_E_USAGE names the offending part. */
enum bl_rc url_parse(struct bl_str text, struct url *out, struct bl_error *err);
/* Append percent-encoded as a query value (RFC 3986 unreserved kept). */
void url_encode(struct bl_buf *out, struct bl_str value);
/* "ADDR:PORT" for listening; port 0 asks for a free one. */
enum bl_rc url_parse_listen(struct bl_str text, char addr[static 64], int *port, struct bl_error *err);
