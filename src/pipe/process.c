#include "pipe/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { PAUSE_MIN_NS = 200000000, STOP_STEP_MS = 20 };

void process_init(struct process *p, const char *name, char *log_path, bool status) {
    *p = (struct process){
        .name = name, .log_path = log_path, .status = status, .status_fd = -1, .pause_ns = PAUSE_MIN_NS};
}

void process_arg(struct process *p, const char *format, ...) {
    BL_ASSERT(p->argc + 1 < PROCESS_ARGS_MAX);
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    BL_ASSERT(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    p->argv[p->argc++] = text;
}

static void close_status(struct process *p) {
    if (p->status_fd >= 0) close(p->status_fd);
    p->status_fd = -1;
    p->partial_n = 0;
}

void process_release(struct process *p) {
    close_status(p);
    for (size_t i = 0; i < p->argc; i++) free(p->argv[i]);
    free(p->log_path);
    *p = (struct process){.status_fd = -1};
}

/* In the child, after fork: async-signal-safe calls only. */
_Noreturn static void become(struct process *p, int log_fd, int status_write, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0); /* Ctrl-C reaches the supervisor only, which stops its children in order */
    dup2(log_fd, STDERR_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    if (status_write >= 0) {
        if (status_write == PROCESS_STATUS_FD)
            fcntl(status_write, F_SETFD, 0);
        else
            dup2(status_write, PROCESS_STATUS_FD);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(p->argv[0], p->argv);
    _exit(127);
}

enum bl_rc process_start(struct process *p, struct bl_error *err) {
    int ends[2] = {-1, -1};
    int log_fd = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) return bl_fail_errno(err, BL_E_IO, "%s", p->log_path);
    if (p->status && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        close(log_fd);
        return bl_fail_errno(err, BL_E_IO, "pipe");
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become(p, log_fd, ends[1], parent);
    close(log_fd);
    if (ends[1] >= 0) close(ends[1]);
    if (pid < 0) {
        if (ends[0] >= 0) close(ends[0]);
        return bl_fail_errno(err, BL_E_IO, "cannot start %s", p->name);
    }
    close_status(p);
    p->status_fd = ends[0];
    p->pid = pid;
    p->started_ns = bl_mono_ns();
    p->starts++;
    return BL_OK;
}

static void take_status(struct process *p, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            if (p->partial_n + 1 < sizeof p->partial) p->partial[p->partial_n++] = bytes[i];
            continue;
        }
        memcpy(p->line, p->partial, p->partial_n);
        p->line[p->partial_n] = 0;
        p->partial_n = 0;
    }
}

static void read_status(struct process *p) {
    char bytes[4096];
    while (p->status_fd >= 0) {
        ssize_t n = read(p->status_fd, bytes, sizeof bytes);
        if (n <= 0) return;
        take_status(p, bytes, (size_t)n);
    }
}

bool process_poll(struct process *p) {
    read_status(p);
    if (!p->pid) return false;
    int status;
    pid_t ended = waitpid(p->pid, &status, WNOHANG);
    if (ended != p->pid) return false;
    read_status(p);
    p->exit_status = status;
    p->pid = 0;
    close_status(p);
    return true;
}

bool process_stop(struct process *p, int signal_number, int64_t wait_us) {
    if (!p->pid) return true;
    kill(p->pid, signal_number);
    int64_t until = bl_mono_ns() + wait_us * 1000;
    while (!process_poll(p) && bl_mono_ns() < until) {
        struct pollfd status = {.fd = p->status_fd, .events = POLLIN};
        int n = poll(&status, 1, STOP_STEP_MS);
        (void)n; /* the deadline bounds the loop */
    }
    if (!p->pid) return true;
    kill(p->pid, SIGKILL);
    int status;
    if (waitpid(p->pid, &status, 0) == p->pid) p->exit_status = status;
    p->pid = 0;
    close_status(p);
    return false;
}

bool process_text(const struct process *p, const char *key, char *out, size_t size) {
    struct bl_str rest = bl_str(p->line);
    while (rest.n) {
        struct bl_str value = bl_str_cut(&rest, ' ');
        struct bl_str name = bl_str_cut(&value, '=');
        if (!bl_str_eq(name, bl_str(key))) continue;
        snprintf(out, size, "%.*s", BL_ARG(value));
        return true;
    }
    return false;
}

double process_number(const struct process *p, const char *key) {
    char text[64];
    return process_text(p, key, text, sizeof text) ? strtod(text, NULL) : 0;
}

void process_last_words(const struct process *p, char *out, size_t size) {
    out[0] = 0;
    FILE *log = fopen(p->log_path, "re");
    if (!log) return;
    char line[1024];
    if (fseek(log, -8192, SEEK_END) != 0) rewind(log);
    while (fgets(line, sizeof line, log)) {
        line[strcspn(line, "\n")] = 0;
        if (*line) snprintf(out, size, "%s", line);
    }
    fclose(log);
}
