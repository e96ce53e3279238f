/* wsclient: a WebSocket client connection: handshake, messages, automatic pong and close.
 *
 * May include: base, net. Reads up to 256 KB at once; a message handed out is valid until the next call.
 * An HTTP answer other than 101 is reported with its status, Retry-After and the first 512 bytes of its body.
 *
 *     struct wsclient *c;
 *     BL_TRY(wsclient_open(&options, &c, &info, err));
 *     while (wsclient_next(c, timeout_ms, &message, err) == BL_OK) ...
 *     wsclient_close(&c); */
#pragma once
#include "net/stream.h"
#include "net/url.h"
#include "net/ws.h"

struct wsclient;
struct wsclient_options {
    struct url url;
    const char *ca_file;
    const char *user_agent;
    const char *subprotocol;  /* NULL for none */
    int connect_timeout_ms;   /* over TCP, TLS and handshake; 0 means 10,000 */
    size_t message_max;       /* bytes; larger messages are skipped and counted; 0 means 32 MiB */
    int wake_fd;              /* see stream.h; -1 for none */
};
struct wsclient_answer { /* filled on success and on refusal */
    int status;              /* HTTP status, 101 on success, 0 when none was received */
    int retry_after_s;       /* -1 when absent */
    char subprotocol[64];    /* chosen by the server, "" for none */
    char body[513];          /* start of a refusal's body */
    char server[64];         /* "Server" header, "" when absent */
};
enum bl_rc wsclient_open(const struct wsclient_options *o, struct wsclient **out, struct wsclient_answer *answer,
                         struct bl_error *err);
/* Next text or binary message. Pings are answered here. BL_E_TIMEOUT: nothing (not even a ping) completed a message
 * within `timeout_ms`; the connection is still usable. BL_E_NET: closed or broken; wsclient_close_code() tells how.
 * BL_E_CANCELLED: wake_fd is readable. */
enum bl_rc wsclient_next(struct wsclient *c, int timeout_ms, struct ws_message *out, struct bl_error *err);
/* True when a whole message is already buffered, so that wsclient_next would not wait. */
bool wsclient_pending(struct wsclient *c);
enum bl_rc wsclient_send(struct wsclient *c, enum ws_op op, struct bl_str data, struct bl_error *err);
unsigned wsclient_close_code(const struct wsclient *c); /* 1006 when the peer just vanished */
const char *wsclient_close_reason(const struct wsclient *c);
uint64_t wsclient_bytes(const struct wsclient *c);     /* payload and framing bytes read so far */
uint64_t wsclient_oversized(const struct wsclient *c); /* messages skipped for message_max */
const char *wsclient_peer(const struct wsclient *c);
void wsclient_close(struct wsclient **c); /* sends close 1000 when the connection still stands */
