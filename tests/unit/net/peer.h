/* peer: a scripted server on 127.0.0.1 for tests: a thread accepts one connection after the other and runs `script` on each.
 *
 * Scripts run on the peer's thread, where cmocka must not fail: they note what they see, the test judges. Every wait in here
 * is bounded by PEER_PATIENCE_MS and ends when the peer is stopped. */
#pragma once
#include <stdatomic.h>

#include "base/mem.h"
#include "net/stream.h"
#include "net/ws.h"

enum { PEER_PATIENCE_MS = 5000 };

struct peer_connection {
    struct stream *stream;
    int index;           /* 0 for the first connection */
    char request[20000]; /* as read by peer_read_request */
    struct bl_buf in;
    struct ws_parser parser;
    struct bl_buf out;
};
typedef void peer_script(struct peer_connection *c, void *context);

struct peer;
struct peer *peer_start(peer_script *script, void *context);
struct peer *peer_start_tls(peer_script *script, void *context, const char *cert_file, const char *key_file);
int peer_port(const struct peer *p);
void peer_stop(struct peer **p);

bool peer_read_request(struct peer_connection *c);
void peer_send(struct peer_connection *c, struct bl_str bytes);
void peer_send_z(struct peer_connection *c, const char *text);
/* Reads the request and answers 101 with the right key; `extra` header lines end with \r\n. */
bool peer_upgrade(struct peer_connection *c, const char *extra);
void peer_frame(struct peer_connection *c, enum ws_op op, struct bl_str data);
void peer_close_frame(struct peer_connection *c, unsigned code, const char *reason);
/* The client's next frame; false when the connection ended. */
bool peer_receive(struct peer_connection *c, struct ws_message *out);
/* Answers nothing until the client is gone. */
void peer_wait_gone(struct peer_connection *c);
bool peer_wait(struct peer_connection *c, int ms); /* throws away what comes; false when the client left or the peer stops meanwhile */
