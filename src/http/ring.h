/* ring: bytes from a worker to the network thread, bounded, so that a slow client slows the worker down and memory
 * stays constant however long the answer.
 *
 * May include: base. One writer, one reader. The reader never waits: when there is nothing to read, `sleep` is called,
 * and `wake` once there is (all under the ring's lock, so that neither can overtake the other). */
#pragma once
#include "base/mem.h"

struct ring;
struct ring_reader {
    void (*sleep)(void *context);
    void (*wake)(void *context);
    void (*drop)(void *context); /* the answer broke off: nothing of it needs to arrive any more */
    void *context;
};
struct ring *ring_new(size_t capacity, const struct ring_reader *reader);
void ring_free(struct ring **r);
/* BL_E_CANCELLED when the reader closed, or took nothing for `stall_us`. */
enum bl_rc ring_write(struct ring *r, struct bl_str bytes, int64_t stall_us, struct bl_error *err);
void ring_finish(struct ring *r, bool whole); /* by the writer: that was all, or it broke off */
enum ring_state { RING_DATA, RING_LATER, RING_END, RING_BROKEN };
enum ring_state ring_read(struct ring *r, char *to, size_t max, size_t *n);
void ring_close(struct ring *r); /* by the reader: nobody listens any more */
