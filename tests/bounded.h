/* bounded: hostile input must cost neither much memory nor much time.
 *
 * A piece of work runs in a child process, so that its peak is its own. The limits are far above what it takes on a
 * slow machine and far below what anything worse than linear would take. Sanitizers need several times as much of both.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

#if defined __SANITIZE_ADDRESS__
enum { BOUNDED_SLACK = 8 };
#else
enum { BOUNDED_SLACK = 1 };
#endif

/* Resident memory of this process, in MB: now ("VmRSS:") or at most ("VmHWM:"). */
static inline long bounded_memory_mb(const char *which) {
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, which, strlen(which)) == 0) kb = strtol(line + strlen(which), NULL, 10);
    if (f) fclose(f);
    return kb >> 10;
}

struct bounded_cost {
    long mb, cpu_ms;
};

static inline struct bounded_cost expect_bounded(const char *name, void (*work)(void *context), void *context,
                                                 long mb_max, long cpu_s_max) {
    struct bounded_cost cost = {0};
    int ends[2];
    EXPECT(pipe(ends) == 0);
    fflush(NULL);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        struct rusage used;
        setrlimit(RLIMIT_CPU,
                  &(struct rlimit){(rlim_t)(cpu_s_max * BOUNDED_SLACK + 1), (rlim_t)(cpu_s_max * BOUNDED_SLACK + 1)});
        long before = bounded_memory_mb("VmRSS:");
        work(context);
        getrusage(RUSAGE_SELF, &used);
        cost.mb = bounded_memory_mb("VmHWM:") - before;
        cost.cpu_ms = used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000;
        bool told = write(ends[1], &cost, sizeof cost) == (ssize_t)sizeof cost;
        _exit(told ? 0 : 1);
    }
    close(ends[1]);
    bool told = read(ends[0], &cost, sizeof cost) == (ssize_t)sizeof cost;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    if (!told || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: ended by %s %d", name, WIFSIGNALED(status) ? "signal" : "exit",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (cost.mb > mb_max * BOUNDED_SLACK) fail_msg("%s: %ld MB, at most %ld", name, cost.mb, mb_max * BOUNDED_SLACK);
    printf("%-34s %5ld MB %7ld ms\n", name, cost.mb, cost.cpu_ms);
    return cost;
}
