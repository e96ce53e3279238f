#include "base/fault.h"

#ifdef BL_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char *const __start_bl_crash_points[], *const __stop_bl_crash_points[];

static const char *wanted; /* the point's name, ended by ':' */
static long wanted_hit;
static int log_fd = -1;
static atomic_long hits;

static void list_points(void) {
    for (const char *const *p = __start_bl_crash_points; p < __stop_bl_crash_points; p++) puts(*p);
    fflush(stdout);
    _exit(0);
}

__attribute__((constructor)) static void set_up(void) {
    const char *log = getenv("BL_CRASH_LOG");
    wanted = getenv("BL_CRASH");
    if (log) log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (wanted && strcmp(wanted, "list") == 0) list_points();
    const char *colon = wanted ? strrchr(wanted, ':') : NULL;
    wanted_hit = colon ? strtol(colon + 1, NULL, 10) : 1;
}

static void log_point(const char *name) {
    char line[128];
    int n = snprintf(line, sizeof line, "%s\n", name);
    ssize_t written = write(log_fd, line, (size_t)n);
    (void)written; /* a test's log that is incomplete makes the test try less */
}

void bl_crash_point(const char *name) {
    if (log_fd >= 0) log_point(name);
    size_t n = strlen(name);
    if (!wanted || strncmp(wanted, name, n) != 0 || (wanted[n] != ':' && wanted[n] != 0)) return;
    if (atomic_fetch_add(&hits, 1) + 1 == wanted_hit) kill(getpid(), SIGKILL);
}
#else
typedef int bl_fault_is_off; /* a translation unit holds something */
#endif
