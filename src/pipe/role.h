/* role: what every long-running role (ingest, write, up) shares: being asked to stop, and telling how it goes.
 *
 * May include: base. A stop is asked for once, from a signal handler or another thread, and never taken back; `wake_fd`
 * becomes readable then, so that every poll() can include it. Status: when `status_fd` is not -1, role_report writes
 * one line "key=value key=value ...\n" to it (the supervisor's pipe) at most once a second; a supervisor that has gone
 * away is no error. */
#pragma once
#include <stdatomic.h>

#include "base/clock.h"

struct role {
    atomic_bool stop;
    int wake_fd; /* eventfd */
    int status_fd;
    int64_t last_report_ns;
};
enum bl_rc role_open(struct role *r, int status_fd, struct bl_error *err);
void role_close(struct role *r);
void role_stop(struct role *r); /* async-signal-safe, idempotent */
static inline bool role_stopping(const struct role *r) { return atomic_load_explicit(&r->stop, memory_order_acquire); }
/* SIGTERM and SIGINT stop `r`; SIGPIPE is ignored. One role a process. */
void role_handle_signals(struct role *r);
/* Sleep up to `us`, less when stopped. */
void role_pause(struct role *r, int64_t us);
bool role_report_due(struct role *r);
void role_report(struct role *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Resident memory of this process, bytes. */
int64_t role_resident_bytes(void);
