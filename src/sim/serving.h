/* serving: what the sources of the server share. Internal to the room.
 *
 *   link.c       one socket, plain or TLS
 *   request.c    the HTTP request: target, headers, refusals
 *   filter.c     wantedCollections, wantedDids, maxMessageSizeBytes; from a query or an options_update
 *   feed.c       which events exist, and where a cursor points
 *   frame.c      what a host of the v2 family makes of an event
 *   misbehave.c  faults on demand
 *   client.c     one connection from handshake to close
 *   server.c     listening, threads, statistics */
#pragma once
#include <openssl/types.h>
#include <stdatomic.h>
#include <zstd.h>

#include "net/ws.h"
#include "sim/server.h"

/* ---- link ---- */

struct link {
    int fd;
    int stop_fd; /* becomes readable when the server stops; waits end early then */
    SSL *ssl;    /* NULL: plain */
};
enum link_result { LINK_OK, LINK_AGAIN, LINK_GONE };
enum bl_rc link_tls(const char *cert_file, const char *key_file, SSL_CTX **out, struct bl_error *err);
void link_tls_free(SSL_CTX **tls);
bool link_accept(struct link *l, SSL_CTX *tls, int timeout_ms); /* the TLS handshake, where there is one */
enum link_result link_read(struct link *l, char *p, size_t capacity, size_t *got);
/* False when no byte could be sent for `stall_ms`, or the peer is gone. */
bool link_write(struct link *l, struct bl_str bytes, int stall_ms);
enum link_wait { LINK_READABLE = 1, LINK_STOPPED = 2 };
int link_wait(const struct link *l, int timeout_ms); /* bits of enum link_wait */
void link_reset(struct link *l); /* closing it will end the connection with a TCP reset */
/* No more writes (`politely`: with TLS's own goodbye); read until the peer closes too. */
void link_linger(struct link *l, bool politely, int timeout_ms);
void link_close(struct link *l);

/* ---- filter ---- */

struct filter {
    struct bl_arena arena;
    struct bl_str *dids, *collections, *prefixes; /* sorted, distinct */
    size_t did_count, collection_count, prefix_count;
    size_t did_room, collection_room, prefix_room;
    bool by_did, by_collection;
    uint32_t size_max; /* 0: none */
    unsigned kinds;    /* bits of enum filter_kind; 0: all */
};
void filter_release(struct filter *f);
enum bl_rc filter_want_collection(struct filter *f, struct bl_str value, struct bl_error *err);
enum bl_rc filter_want_did(struct filter *f, struct bl_str value, struct bl_error *err);
enum bl_rc filter_seal(struct filter *f, struct bl_error *err); /* sort, drop repetitions, check the limits */
uint32_t filter_size_of(struct bl_str value);                   /* leniently, as v1: anything odd is 0 */
/* A message of the client. BL_E_NOT_FOUND: of another type, to be ignored. */
enum bl_rc filter_of_update(struct bl_str message, struct filter *out, struct bl_error *err);

enum filter_kind { KIND_COMMIT = 1, KIND_IDENTITY = 2, KIND_ACCOUNT = 4, KIND_SYNC = 8 };
enum bl_rc filter_want_kind(struct filter *f, struct bl_str value, struct bl_error *err);

struct feed_event {
    struct bl_str json, did, collection; /* collection is empty for identity and account events */
    unsigned kind;                       /* enum filter_kind; 0 for a line that is no event */
};
/* The size limit is not looked at: what counts is the message as sent. */
bool filter_wants(const struct filter *f, const struct feed_event *e);

/* ---- request ---- */

enum endpoint { ENDPOINT_SUBSCRIBE, ENDPOINT_EVENTS, ENDPOINT_DICTIONARY };
struct request {
    enum endpoint endpoint;
    char key[25];
    bool websocket, zstd, deflate, hello, has_cursor;
    int64_t cursor;
    struct filter filter;
    bool subprotocol;       /* xrpc.v1.json is offered */
    uint64_t dictionary_id; /* zstdDictionary, id; 0: none */
    char etag[64];          /* If-None-Match */
};
/* What to answer: 101, or a refusal with its text. */
struct refusal {
    int status;
    const char *name; /* of a typed error of v2, NULL for plain text */
    int retry_after_s;
    char text[BL_ERROR_MESSAGE_MAX];
};
/* What this server has to offer. */
struct offer {
    bool v2;
    unsigned dictionary_id; /* 0: none */
};
/* `head` is the request up to its empty line. */
struct refusal request_parse(struct bl_str head, const struct offer *offer, struct request *out);
struct refusal request_refusal(int status, const char *name, const char *text);
void request_refuse(struct bl_buf *out, const struct refusal *r);

/* ---- feed ---- */

struct feed_line {
    size_t at;
    uint32_t n, did_at, did_n, collection_at, collection_n;
    unsigned kind;
    int64_t time_us;
};
struct feed {
    struct sim_options network;
    uint64_t count; /* UINT64_MAX: no end */
    double rate;
    struct sim *clock; /* live: tells which events exist by now; NULL otherwise */
    int64_t started_ns, lookback_us;
    uint64_t seq_start, seq_step, segment; /* segment: see FAULT_EARLY */
    struct bl_buf file;
    struct feed_line *lines; /* NULL: the synthetic network */
};
enum bl_rc feed_open(struct feed *f, const struct sim_server_options *o, struct bl_error *err);
void feed_release(struct feed *f);
uint64_t feed_existing(const struct feed *f);          /* events that exist now */
int64_t feed_due_ns(const struct feed *f, uint64_t i); /* monotonic time from which event i exists */
/* A cursor below it is a sequence number for hosts of the v2 family. */
#define SEQ_END INT64_C(1000000000000000)
uint64_t feed_seq(const struct feed *f, uint64_t i);
struct feed_start {
    uint64_t next, floor; /* floor: the oldest event that can be read */
    bool too_old;         /* the cursor lies before the floor */
    bool by_seq;
};
/* Where to begin; `v2`: on a host that reads small cursors as sequence numbers. */
struct feed_start feed_start(const struct feed *f, const struct sim *s, bool has_cursor, int64_t cursor, bool v2);
int64_t feed_time(const struct feed *f, const struct sim *s, uint64_t i);
/* `scratch` holds a synthetic event; the result points there or into the file. */
struct feed_event feed_get(const struct feed *f, struct sim *s, uint64_t i, struct bl_buf *scratch);

/* ---- frame ---- */

/* A v1 event as a v2 host's /subscribe sends it: with its sequence number. Appends to `out`. */
void frame_with_cursor(struct bl_str json, uint64_t seq, struct bl_buf *out);
/* The event as a message of subscribeEvents. A line that is no event stays as it is. */
void frame_of_event(struct bl_str json, uint64_t seq, struct bl_buf *out);
void frame_sync(struct bl_str did, uint64_t seq, int64_t time_us, struct bl_buf *out);
void frame_info(const char *name, const char *message, struct bl_buf *out);
void frame_error(const char *name, const char *message, struct bl_buf *out);

/* ---- misbehave ---- */

enum fault {
    FAULT_CUT,
    FAULT_RESET,
    FAULT_CLOSE,
    FAULT_STALL,
    FAULT_VANISH,
    FAULT_HALF_FRAME,
    FAULT_DUPLICATE,
    FAULT_SWAP,
    FAULT_POISON,
    FAULT_DEEP,
    FAULT_BAD_UTF8,
    FAULT_BIG_NUMBER,
    FAULT_BAD_CID,
    FAULT_LARGE,
    FAULT_OVERSIZED,
    FAULT_LAST_INSERT = FAULT_OVERSIZED,
    FAULT_BOMB,
    FAULT_FRAGMENT,
    FAULT_UNKNOWN,
    FAULT_ERROR,
    FAULT_SYNC,
    FAULT_CUTOVER,
    FAULT_EARLY,
    FAULT_SILENT,
    FAULT_HTTP_503,
    FAULT_HTTP_429,
    FAULT_HTTP_400,
    FAULT_MARK,
    FAULT_UNKNOWN_FRAME,
    FAULT_COUNT
};
struct misbehaviour {
    uint64_t every[FAULT_COUNT]; /* 0: never */
};
enum bl_rc misbehave_parse(const char *list, struct misbehaviour *out, struct bl_error *err);
/* Does the n-th event served (from 1) bring the fault? Stalling and vanishing happen once. */
bool misbehave_at(const struct misbehaviour *m, enum fault fault, uint64_t n);
/* Faults that insert a message of their own: from FAULT_POISON to FAULT_LAST_INSERT. */
void misbehave_message(enum fault fault, int64_t time_us, struct bl_buf *out);
/* FAULT_MARK: an unknown kind that names event `number`; `frame`: as a message of the v2 family. */
void misbehave_mark(bool frame, uint64_t number, int64_t time_us, struct bl_buf *out);

/* ---- client, server ---- */

struct sim_server {
    struct feed feed;
    struct misbehaviour faults;
    struct bl_buf dictionary;
    ZSTD_CDict *packing;
    unsigned dictionary_id;
    bool v2;
    SSL_CTX *tls;
    int listen_fd, stop_fd, port, ping_ms;
    unsigned long thread;
    struct client *clients; /* touched by the listening thread only */
    _Atomic uint64_t connections, clients_now, events, bytes, requests, silenced, swapped, fragmented;
    _Atomic bool cut_over;
};
struct client *client_start(struct sim_server *server, int fd, struct client *next);
/* Join the finished ones (all of them when `all`), return the rest. */
struct client *client_reap(struct client *list, bool all);
