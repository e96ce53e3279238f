/* attempt: one try to connect, on a thread of its own, so that the receiver's ticks go on meanwhile. Private to source.
 */
#pragma once
#include "net/wsclient.h"
#include "source/dictionary.h"

struct attempt;
struct attempt_options {
    struct wsclient_options ws; /* copied; what it points to must outlive the attempt */
    struct bl_str hello;        /* sent once connected, when not empty */
    bool zstd;                  /* v2: ask for compression with a dictionary kept in `folder` */
    const char *folder;
    struct dictionary dictionary; /* the one to try first; id 0: find one */
};
struct attempt_result {
    enum bl_rc rc;
    struct wsclient *client; /* on BL_OK; belongs to the receiver of the result */
    struct wsclient_answer answer;
    struct bl_error err;
    struct dictionary dictionary; /* that the messages are compressed with; id 0: they are not */
    bool no_dictionary;           /* the host has none */
};
enum bl_rc attempt_start(const struct attempt_options *o, struct attempt **out, struct bl_error *err);
int attempt_fd(const struct attempt *a); /* readable when the result is there */
/* Waits for the result (bounded by the connect timeout, or at once when the wake_fd is readable) and ends the attempt.
 */
struct attempt_result attempt_finish(struct attempt **a);
