#include "source/attempt.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "obs/log.h"
#include "source/request.h"
#include "source/thread.h"

struct attempt {
    pthread_t thread;
    int done_fd;
    struct attempt_options options;
    struct attempt_result result;
};

static void open_once(struct attempt *a, const struct dictionary *d) {
    struct attempt_result *r = &a->result;
    struct wsclient_options o = a->options.ws;
    r->dictionary = *d;
    r->rc = d->id ? request_parameter(&o.url, "zstdDictionary", d->id, &r->err) : BL_OK;
    if (r->rc == BL_OK) r->rc = wsclient_open(&o, &r->client, &r->answer, &r->err);
}

/* Without a dictionary the stream is as good, only larger: that it cannot be had is no reason not to connect. */
static void fetch(struct attempt *a, struct dictionary *d) {
    struct attempt_result *r = &a->result;
    struct bl_error err = {0};
    *d = (struct dictionary){0};
    enum bl_rc rc =
        dictionary_fetch(a->options.folder, &a->options.ws.url, a->options.ws.ca_file, a->options.ws.wake_fd, d, &err);
    r->no_dictionary = rc == BL_E_NOT_FOUND;
    if (rc != BL_OK && rc != BL_E_CANCELLED)
        bl_log(BL_INFO, "source goes on without compression cause=\"%s\"", err.message);
}

static bool unknown_dictionary(const struct attempt_result *r) {
    return r->rc != BL_OK && r->answer.status == 400 && strstr(r->answer.body, "\"UnknownZstdDictionary\"");
}

static void open_compressed(struct attempt *a) {
    static const struct dictionary none;
    struct dictionary d = a->options.dictionary;
    if (!d.id) dictionary_newest(a->options.folder, &d);
    if (!d.id) fetch(a, &d);
    open_once(a, &d);
    if (!d.id || !unknown_dictionary(&a->result)) return;
    unsigned refused = d.id;
    fetch(a, &d);
    open_once(a, d.id == refused ? &none : &d);
    if (d.id && unknown_dictionary(&a->result)) open_once(a, &none);
}

static void *attempt_main(void *argument) {
    struct attempt *a = argument;
    struct attempt_result *r = &a->result;
    if (a->options.zstd)
        open_compressed(a);
    else
        open_once(a, &(struct dictionary){0});
    if (r->rc == BL_OK && a->options.hello.n) r->rc = wsclient_send(r->client, WS_TEXT, a->options.hello, &r->err);
    if (r->rc != BL_OK) wsclient_close(&r->client);
    if (eventfd_write(a->done_fd, 1) != 0) { /* cannot fail: the counter is zero */
    }
    return NULL;
}

enum bl_rc attempt_start(const struct attempt_options *o, struct attempt **out, struct bl_error *err) {
    int done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (done_fd < 0) return bl_fail_errno(err, BL_E_NET, "eventfd");
    struct attempt *a = bl_xcalloc(1, sizeof *a);
    a->done_fd = done_fd;
    a->options = *o;
    if (!source_thread(&a->thread, attempt_main, a)) {
        close(done_fd);
        free(a);
        return bl_fail(err, BL_E_NET, "cannot start a thread to connect");
    }
    *out = a;
    return BL_OK;
}

int attempt_fd(const struct attempt *a) {
    return a->done_fd;
}

struct attempt_result attempt_finish(struct attempt **a) {
    pthread_join((*a)->thread, NULL);
    struct attempt_result result = (*a)->result;
    close((*a)->done_fd);
    free(*a);
    *a = NULL;
    return result;
}
