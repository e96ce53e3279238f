/* process: one supervised child with a status pipe.
 *
 * May include: base. The child dies with SIGTERM when the supervisor dies (PR_SET_PDEATHSIG), has its standard error in
 * a log file and, when `status` is set, an inherited pipe on descriptor PROCESS_STATUS_FD, where it writes lines
 * "key=value key=value". */
#pragma once
#include <sys/types.h>

#include "base/mem.h"

enum { PROCESS_STATUS_FD = 3, PROCESS_ARGS_MAX = 128 };

struct process {
    const char *name;
    char *argv[PROCESS_ARGS_MAX]; /* owned */
    size_t argc;
    char *log_path;               /* owned */
    bool status;
    pid_t pid;                    /* 0 = not running */
    int status_fd;                /* -1 = none */
    char line[2048];              /* newest complete status line */
    char partial[2048];
    size_t partial_n;
    int64_t started_ns, restart_at_ns, pause_ns;
    int exit_status;              /* of waitpid, of the last end */
    int64_t starts;
};
void process_init(struct process *p, const char *name, char *log_path, bool status);
void process_arg(struct process *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void process_release(struct process *p);
enum bl_rc process_start(struct process *p, struct bl_error *err);
/* Collects status lines and the end of the process; true when it ended since the last call. */
bool process_poll(struct process *p);
/* True when it ended in time; else it is killed. */
bool process_stop(struct process *p, int signal_number, int64_t wait_us);
/* A number of the newest status line; 0 when absent. */
double process_number(const struct process *p, const char *key);
bool process_text(const struct process *p, const char *key, char *out, size_t size);
/* The last line of its log, for error messages. */
void process_last_words(const struct process *p, char *out, size_t size);
