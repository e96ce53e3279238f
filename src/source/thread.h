/* thread: starting a thread that takes no signals: those belong to the threads that expect them. Private to source. */
#pragma once
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

static inline bool source_thread(pthread_t *thread, void *(*entry)(void *), void *context) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool started = pthread_create(thread, NULL, entry, context) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}
