/* server: a Jetstream server on loopback that serves the synthetic network, or a file of events.
 *
 * May include: base, net, event (types), sim. Protocol: https://github.com/bluesky-social/jetstream (v1 /subscribe).
 * Speaks: wantedCollections (NSIDs and prefix.*), wantedDids, cursor (inclusive, clamped silently to the look-back
 * window, future = live), maxMessageSizeBytes, compress=true with a zstd dictionary given by file, requireHello,
 * options_update (v1 closing rules), pings every 30 s, HTTP 400 texts for bad parameters. One thread a connection.
 * With `v2` it is a host of the newer family: /subscribe events carry `cursor` and cursors below 1e15 are sequence
 * numbers; /xrpc/network.bsky.jetstream.subscribeEvents and getZstdDictionary exist as well.
 *
 * Pace: `rate` events a second from server start (or `began_us`), or as fast as each client reads (rate 0). The stream
 * is one for all clients: event i exists from its due time on; a client without cursor starts at the newest.
 * Misbehaviour on demand (names, comma separated): see sim_misbehaviour_help(). */
#pragma once
#include "sim/sim.h"

struct sim_server;
struct sim_server_options {
    const char *address; /* "127.0.0.1" */
    int port;            /* 0 = a free one, see sim_server_port */
    struct sim_options network;
    uint64_t count;        /* 0 = for ever */
    double rate;           /* delivery, events/s; 0 = as fast as read */
    const char *from_file; /* NDJSON file served instead of the synthetic network; NULL otherwise */
    int64_t lookback_us;   /* 0 means 24 h; measured back from the newest event */
    const char *dictionary_file;
    const char *misbehave;                    /* NULL = well-behaved */
    const char *tls_cert_file, *tls_key_file; /* NULL = plain */
    int ping_ms;                              /* 0 means 30,000 */
    bool v2;
    uint64_t seq_start; /* sequence number of event 0; 0 means 1: hosts number differently */
    int64_t began_us;   /* with `rate`: when event 0 came into existence (wall clock); 0 means now */
    bool live;          /* an event exists once the wall clock reaches its time_us; `rate` is then 0 */
};
enum bl_rc sim_server_start(const struct sim_server_options *o, struct sim_server **out, struct bl_error *err);
int sim_server_port(const struct sim_server *s);
struct sim_server_stats {
    uint64_t connections, clients_now, events_sent, bytes_sent, next_event; /* next_event: events that exist so far */
};
void sim_server_get_stats(struct sim_server *s, struct sim_server_stats *out);
void sim_server_stop(struct sim_server **s); /* close 1001 to all, joins its threads */
const char *sim_misbehaviour_help(void);
