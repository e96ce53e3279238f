/* sim: the synthetic network: event i of seed s as a pure function.
 *
 * May include: base, event (types, cbor, syntax). No I/O, no clock. Any event can be computed alone, so that a lake
 * filled from the simulator can be compared with the truth. Properties, with their figures, are described in
 * docs/SIMULATOR.md and measured by tests/unit/sim: the mix of types, Zipf authors and subjects, likes on recent posts,
 * several languages and scripts, replies and threads, embeds and facets, deletes of existing records, updates, identity
 * and account changes, diurnal rhythm and bursts in the time stamps. Every record's CID is valid and every delete,
 * like, reply and repost names a record that an earlier event created.
 *
 * Threading: a struct sim is used by one thread (it holds caches); make one per thread. */
#pragma once
#include "base/mem.h"

struct sim;
struct sim_options {
    uint64_t seed;
    int64_t start_us; /* time_us of event 0; 0 means 2026-01-05T00:00:00Z */
    double rate;      /* mean events/s of the time stamps; 0 means 300; at most 50,000 */
    uint64_t batch;   /* so many neighbours share the time_us of the first of them, as on v2 hosts; 0 and 1: none */
};
struct sim *sim_new(const struct sim_options *o);
void sim_free(struct sim **s);
/* Append event i as one line of Jetstream v1 JSON, without newline. */
void sim_event(struct sim *s, uint64_t i, struct bl_buf *out);
int64_t sim_time_us(const struct sim *s, uint64_t i);        /* increasing in i; strictly, unless batch > 1 */
uint64_t sim_first_at(const struct sim *s, int64_t time_us); /* smallest i with sim_time_us(i) >= time_us */
