/* up: everything on one machine, supervised: a private Redis, ingest, writer, the API, if wanted a simulated network.
 *
 * May include: base, conf, source, pipe. Each role is a process of its own (this binary again), so that one that dies
 * takes nothing with it; it is started again after a pause that doubles up to 5 s. Roles log to DIR/logs/<role>.log; a
 * live line tells how it goes. Every ten minutes the hours that are over are compacted, so that a lake of months holds
 * few, large files. On stop, in this order: ingest (everything received is in Redis), writer (everything in
 * Redis is in the lake), Redis, simulator; the API ends
 * before all of them. What keeps the API from running (a taken port) does not keep anything else from it. */
#pragma once
#include "conf/conf.h"
#include "pipe/role.h"

struct up_options {
    struct conf *conf;       /* `data` and `source_urls` are adapted */
    const char *config_file; /* handed to the roles; NULL = none */
    const char *const *sets; /* "key=value" of the command line, handed to the roles */
    size_t set_count;
    const char *source;      /* "auto", "simulated" or a URL */
    int64_t for_us;          /* 0 = until stopped */
    const char *rate;        /* of the simulated network: events a second or "max" */
    int64_t seed, count;     /* of the simulated network */
    const char *http;        /* where the API listens: "ADDR:PORT", "none", or NULL = serve.http */
    const char *executable;  /* this binary */
};
enum bl_rc up_run(const struct up_options *o, struct role *role, struct bl_error *err);
