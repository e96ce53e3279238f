/* attempt: one try to connect, on a thread of its own, so that the receiver's ticks go on meanwhile. Private to source. */
#pragma once
#include "net/wsclient.h"

struct attempt;
struct attempt_result {
    enum bl_rc rc;
    struct wsclient *client; /* on BL_OK; belongs to the receiver of the result */
    struct wsclient_answer answer;
    struct bl_error err;
};
/* `o` is copied; what it points to must outlive the attempt. A non-empty `hello` is sent once connected. */
enum bl_rc attempt_start(const struct wsclient_options *o, struct bl_str hello, struct attempt **out,
                         struct bl_error *err);
int attempt_fd(const struct attempt *a); /* readable when the result is there */
/* Waits for the result (bounded by the connect timeout, or at once when the wake_fd is readable) and ends the attempt. */
struct attempt_result attempt_finish(struct attempt **a);
