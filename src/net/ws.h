/* ws: the WebSocket protocol (RFC 6455) as a pure transformer of bytes: no sockets, no clock.
 *
 * May include: base. Bytes, not Bluesky.
 * The receiving side joins fragments and unmasks; it leaves the UTF-8 of text messages to the JSON decoder, which checks it
 * anyway. It answers nothing by itself: pings and closes come out as messages, and the owner sends the reply.
 * No extension is negotiated (permessage-deflate must not be offered together with Jetstream's own zstd).
 *
 * Feed the parser a buffer it may write to (unmasking is done in place); it hands out slices of that buffer, or of its
 * own join buffer for fragmented messages, valid until the next ws_next call.
 *
 *     ws_feed(&parser, bytes, n);
 *     while ((got = ws_next(&parser, &message, &err)) == 1) handle(message);
 *     // got == 0: needs more bytes; the unconsumed tail must be presented again, see ws_consumed()
 *     // got == -1: protocol violation; message.close_code tells which to send */
#pragma once
#include "base/mem.h"

enum ws_op { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_message {
    enum ws_op op;
    struct bl_str data;   /* for WS_CLOSE the reason text */
    unsigned close_code;  /* WS_CLOSE: as sent, 1005 when absent. On a violation: the code to answer with */
};

struct ws_parser {
    bool expect_masked;     /* true on the server side */
    size_t message_max;     /* bytes of one joined message; larger ones are thrown away and counted in `oversized` */
    char *p;                /* fed bytes */
    size_t n, at;
    struct bl_buf joined;   /* fragments so far */
    enum ws_op joined_op;
    bool joining;
    uint64_t skip;          /* payload bytes of an oversized message still to be thrown away */
    uint64_t oversized;     /* messages thrown away because of message_max, counted for the owner */
    bool skipping_message;
};
/* `message_max` 0 means 32 MiB. */
void ws_parser_init(struct ws_parser *w, bool expect_masked, size_t message_max);
void ws_parser_release(struct ws_parser *w);
void ws_feed(struct ws_parser *w, char *bytes, size_t n); /* present [unconsumed tail + new bytes] as one run */
int ws_next(struct ws_parser *w, struct ws_message *out, struct bl_error *err);
/* True when ws_next would return a data message, a close or a violation from what has been fed; changes nothing. */
bool ws_ready(const struct ws_parser *w);
size_t ws_consumed(const struct ws_parser *w); /* bytes of the last feed that need not be presented again */

/* Append one unfragmented frame. `mask_key` is used when `masked` (clients must mask, servers must not). */
void ws_frame(struct bl_buf *out, enum ws_op op, struct bl_str data, bool masked, uint32_t mask_key);
void ws_close_frame(struct bl_buf *out, unsigned code, struct bl_str reason, bool masked, uint32_t mask_key);

/* Handshake texts (RFC 6455 section 4). `key` is 24 characters of base64. */
void ws_make_key(uint64_t random_a, uint64_t random_b, char key[static 25]);
void ws_accept_of_key(struct bl_str key, char accept[static 29]);
