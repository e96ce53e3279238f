/* queue: messages of several threads on their way to one. Private to source.
 *
 * Two byte buffers: the threads append to one while the receiver reads the other, so nothing is allocated a message.
 * A thread that finds more than `limit` bytes waiting waits until they are taken: it stops reading from its host. */
#pragma once
#include <pthread.h>

#include "source/source.h"

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct bl_buf filling, draining;
    size_t at, limit; /* at: read position in draining */
    bool closed;
    unsigned epoch; /* what was put in an earlier one is not handed out */
};
void queue_init(struct queue *q, size_t limit);
void queue_release(struct queue *q);
/* Copies the message. False when the queue is closed. */
bool queue_put(struct queue *q, unsigned epoch, const struct source_message *m);
/* Gaps travel in order with the messages. */
bool queue_put_gap(struct queue *q, unsigned epoch, const struct source_gap *gap);
/* Begin a new epoch: what waits, and what is put in an earlier one, is thrown away. */
unsigned queue_restart(struct queue *q);
enum queue_item { QUEUE_NOTHING, QUEUE_MESSAGE, QUEUE_GAP };
/* Waits at most `timeout_ms`. A message is valid until the next call. */
enum queue_item queue_take(struct queue *q, int timeout_ms, struct source_message *m, struct source_gap *gap);
bool queue_waiting(struct queue *q); /* something can be taken without waiting */
void queue_wake(struct queue *q);    /* ends a wait of queue_take */
void queue_close(struct queue *q);   /* ends the waits of queue_put */
