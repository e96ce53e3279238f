#include "source/attempt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct attempt {
    pthread_t thread;
    int done_fd;
    struct wsclient_options options;
    struct bl_str hello;
    struct attempt_result result;
};

static void *attempt_main(void *argument) {
    struct attempt *a = argument;
    struct attempt_result *r = &a->result;
    r->rc = wsclient_open(&a->options, &r->client, &r->answer, &r->err);
    if (r->rc == BL_OK && a->hello.n) r->rc = wsclient_send(r->client, WS_TEXT, a->hello, &r->err);
    if (r->rc != BL_OK) wsclient_close(&r->client);
    if (eventfd_write(a->done_fd, 1) != 0) { /* cannot fail: the counter is zero */
    }
    return NULL;
}

/* Signals belong to the threads that expect them. */
static int start_thread(struct attempt *a) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failure = pthread_create(&a->thread, NULL, attempt_main, a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failure;
}

enum bl_rc attempt_start(const struct wsclient_options *o, struct bl_str hello, struct attempt **out,
                         struct bl_error *err) {
    int done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (done_fd < 0) return bl_fail_errno(err, BL_E_NET, "eventfd");
    struct attempt *a = bl_xcalloc(1, sizeof *a);
    a->done_fd = done_fd;
    a->options = *o;
    a->hello = hello;
    int failure = start_thread(a);
    if (failure) {
        close(done_fd);
        free(a);
        errno = failure;
        return bl_fail_errno(err, BL_E_NET, "cannot start a thread to connect");
    }
    *out = a;
    return BL_OK;
}

int attempt_fd(const struct attempt *a) { return a->done_fd; }

struct attempt_result attempt_finish(struct attempt **a) {
    pthread_join((*a)->thread, NULL);
    struct attempt_result result = (*a)->result;
    close((*a)->done_fd);
    free(*a);
    *a = NULL;
    return result;
}
