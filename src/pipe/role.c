#include "pipe/role.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct role *signalled;

enum bl_rc role_open(struct role *r, int status_fd, struct bl_error *err) {
    *r = (struct role){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .status_fd = status_fd};
    return r->wake_fd < 0 ? bl_fail_errno(err, BL_E_IO, "eventfd") : BL_OK;
}

void role_close(struct role *r) {
    if (signalled == r) signalled = NULL;
    if (r->wake_fd >= 0) close(r->wake_fd);
    r->wake_fd = -1;
}

void role_stop(struct role *r) {
    atomic_store_explicit(&r->stop, true, memory_order_release);
    uint64_t one = 1;
    int saved = errno;
    ssize_t n = write(r->wake_fd, &one, sizeof one);
    (void)n; /* a full eventfd is readable already */
    errno = saved;
}

static void on_signal(int number) {
    (void)number;
    if (signalled) role_stop(signalled);
}

void role_handle_signals(struct role *r) {
    signalled = r;
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

void role_pause(struct role *r, int64_t us) {
    struct pollfd wait = {.fd = r->wake_fd, .events = POLLIN};
    int ms = (int)(us / 1000 > 0 ? us / 1000 : 1);
    int n = poll(&wait, 1, ms);
    (void)n; /* interrupted, stopped or over: the caller looks again in each case */
}

bool role_report_due(struct role *r) {
    int64_t now = bl_mono_ns();
    if (r->status_fd < 0 || now - r->last_report_ns < 1000000000) return false;
    r->last_report_ns = now;
    return true;
}

void role_report(struct role *r, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (n < 0) return;
    size_t length = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[length++] = '\n';
    ssize_t written = write(r->status_fd, line, length);
    if (written < 0 && errno == EPIPE) r->status_fd = -1;
}

int64_t role_resident_bytes(void) {
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm) return 0;
    long total = 0, resident = 0;
    int fields = fscanf(statm, "%ld %ld", &total, &resident);
    fclose(statm);
    return fields == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}
