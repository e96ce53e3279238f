/* sole: one ingest a DATA folder, and one a Redis.
 *
 * May include: base, obs, buffer. One thread at a time. The folder is kept by a lock (flock on DATA/.ingest.lock),
 * which ends with the process. The Redis is kept by a lease that runs out by itself (buffer_ingest_lease); its owner is
 * the folder on this host, so that the successor of a killed ingest, who has the lock, need not wait for it to run out.
 * Whoever is told BL_E_BUSY waits until the lease would have run out before it asks again: a holder whose lease is gone
 * before its time (FLUSHALL) takes it again first.
 *
 * Where the folder cannot be locked at all (a read-only disk) the lease alone keeps others away, under a name that
 * nobody else has. */
#pragma once
#include "buffer/buffer.h"

struct sole {
    int lock_fd;        /* -1 = not locked */
    char *owner;        /* owned; NULL = not open */
    int64_t lease_us;
    int64_t renewed_ns; /* 0 = not held */
    int64_t ask_ns;     /* when somebody else's lease would have run out */
    char holder[256];   /* what was said of it */
};
/* BL_E_BUSY: another ingest uses the folder. */
enum bl_rc sole_open(struct sole *s, const char *data, int64_t lease_us, struct bl_error *err);
void sole_close(struct sole *s);
/* Take or renew the lease when a third of it is over. BL_E_BUSY: another ingest has it; everything else is Redis's. */
enum bl_rc sole_hold(struct sole *s, struct buffer *b, struct bl_error *err);
/* Give the lease back, if it is held. */
void sole_release(struct sole *s, struct buffer *b);
