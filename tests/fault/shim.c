/* shim: fails one chosen system call or allocation of a process, third-party code included.
 *
 * Preloaded (LD_PRELOAD). Environment:
 *   BL_SHIM=CALL:N[:ERRNO]   the N-th call of this class fails, once; with "N+" it and all after it fail; "dMS" in
 *                            place of ERRNO: it is slow. On stderr: "shim: CALL:N failed" when it does
 *                            and "shim: SIGNAL in OBJECT+OFFSET" where SIGSEGV or SIGABRT then comes from: the
 *                            innermost code that belongs neither to the C and C++ runtimes nor to the shim
 *   BL_SHIM_WHILE=FILE       ... but only while this file exists, so that the trouble can begin and end
 *   BL_SHIM_CONTROL=DIR      while the file DIR/CALL exists, every call of the class fails with the number in it as
 *                            ERRNO, "dMS" makes it slow, "short" lets a write end half-way
 *   BL_SHIM_COUNT=FILE       at exit: "CALL number" lines, to know how many there are
 *   BL_SHIM_UNDER=DIR        only calls on files below this folder count (not sockets, not allocations)
 *   BL_SHIM_CLOCK=SECONDS    the wall clock is so much ahead (or behind: -SECONDS), only while BL_SHIM_WHILE exists
 * Classes: open read write fsync rename connect unlink truncate reply alloc own; a failed reply is an error message of
 * Redis in place of what it said (on Unix sockets). Calls before main are not counted.
 *
 * "own" are those of "alloc" that return into the code of the executable itself. Every library bluelake uses is a
 * shared one and nothing of a third party is linked in but the C runtime's start code, so these are bluelake's. Not
 * among them: what a library allocates on bluelake's behalf (DuckDB, SQLite, hiredis, zstd, libc's strdup, fopen and
 * pthread_create). A library's function whose last act is malloc returns to its caller: called by bluelake it counts as
 * own, and bluelake's own allocation as the last act of a callback does not. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum class { OPEN, READ, WRITE, FSYNC, RENAME, CONNECT, UNLINK, TRUNCATE, REPLY, ALLOC, OWN, CLASSES };
static const char *const names[CLASSES] = {"open",   "read",     "write", "fsync", "rename", "connect",
                                           "unlink", "truncate", "reply", "alloc", "own"};
static const int errors[CLASSES] = {EMFILE, EIO, ENOSPC, EIO, EIO, ECONNREFUSED, EIO, ENOSPC, 0, ENOMEM, ENOMEM};

static atomic_long counts[CLASSES];
static enum class wanted = CLASSES;
static long wanted_at;
static bool from_then_on;
static atomic_bool running;
static int wanted_errno, delay_ms;
static long clock_jump_s;
static char while_file[512], under[512];
static char count_file[512], control[512];
static uintptr_t code_start, code_end; /* of the executable */

static void parse(const char *text) {
    for (int c = 0; c < CLASSES; c++) {
        size_t n = strlen(names[c]);
        if (strncmp(text, names[c], n) != 0 || text[n] != ':') continue;
        char *end;
        wanted_at = strtol(text + n + 1, &end, 10);
        if (*end == '+') from_then_on = true, end++;
        wanted_errno = *end == ':' && end[1] != 'd' ? (int)strtol(end + 1, NULL, 10) : errors[c];
        if (*end == ':' && end[1] == 'd') delay_ms = (int)strtol(end + 2, NULL, 10);
        wanted = (enum class)c;
    }
}

/* The first object listed is the executable. */
static int find_code(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size, (void)context;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        code_start = object->dlpi_addr + p->p_vaddr;
        code_end = code_start + p->p_memsz;
    }
    return 1;
}

/* What only carries out the end that the code below it brought about. */
static bool is_runtime(const char *object) {
    static const char *const runtimes[] = {"libc.so", "libpthread", "ld-linux", "libstdc++", "libgcc_s", "fault_shim"};
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++)
        if (strncmp(object, runtimes[i], strlen(runtimes[i])) == 0) return true;
    return false;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void say(const char *line, int n) {
    (void)!syscall(SYS_write, STDERR_FILENO, line, n);
}

/* SA_RESETHAND: raised again it ends the process as it would have without the shim. */
static void say_where(int signal_number) {
    running = false;
    void *frames[64];
    char line[300];
    const char *name = signal_number == SIGSEGV ? "SIGSEGV" : "SIGABRT";
    int n = backtrace(frames, sizeof frames / sizeof *frames), size = 0;
    for (int i = 0; i < n && !size; i++) {
        Dl_info at;
        if (!dladdr(frames[i], &at) || is_runtime(base_name(at.dli_fname))) continue;
        size = snprintf(line, sizeof line, "shim: %s in %s+0x%zx\n", name, base_name(at.dli_fname),
                        (size_t)((char *)frames[i] - (char *)at.dli_fbase));
    }
    say(line, size ? size : snprintf(line, sizeof line, "shim: %s in no known code\n", name));
    raise(signal_number);
}

/* The alternate stack is the main thread's; another one's is used as it is. The first backtrace loads a library. */
static void watch_for_the_end(void) {
    static char stack[65536];
    void *warm_up[2];
    backtrace(warm_up, 2);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_handler = say_where, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}

__attribute__((constructor)) static void set_up(void) {
    dl_iterate_phdr(find_code, NULL);
    const char *text = getenv("BL_SHIM"), *file = getenv("BL_SHIM_COUNT");
    if (text) parse(text);
    if (wanted != CLASSES) watch_for_the_end();
    const char *jump = getenv("BL_SHIM_CLOCK");
    if (jump) clock_jump_s = strtol(jump, NULL, 10);
    const char *only = getenv("BL_SHIM_WHILE");
    if (only) snprintf(while_file, sizeof while_file, "%s", only);
    const char *folder = getenv("BL_SHIM_UNDER");
    if (folder) snprintf(under, sizeof under, "%s", folder);
    const char *folder_of_faults = getenv("BL_SHIM_CONTROL");
    if (folder_of_faults) snprintf(control, sizeof control, "%s", folder_of_faults);
    if (file) snprintf(count_file, sizeof count_file, "%s", file);
    running = true;
}

__attribute__((destructor)) static void report(void) {
    running = false;
    FILE *out = count_file[0] ? fopen(count_file, "w") : NULL;
    for (int c = 0; out && c < CLASSES; c++) fprintf(out, "%s %ld\n", names[c], atomic_load(&counts[c]));
    if (out) fclose(out);
}

static bool is_under(int fd, const char *path) {
    char link[64], target[1024];
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0) return false;
        target[n] = 0;
        path = target;
    }
    return strncmp(path, under, strlen(under)) == 0;
}

static void pause_ms(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* The calls that look at the control folder are the kernel's own, so that they are not counted. */
static bool ordered(enum class c, char order[static 32]) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", control, names[c]);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    long n = syscall(SYS_read, fd, order, 31);
    syscall(SYS_close, fd);
    order[n > 0 ? n : 0] = 0;
    return n > 0;
}

static bool fails_by_order(enum class c) {
    char order[32];
    int saved = errno;
    bool any = ordered(c, order);
    errno = saved;
    if (!any || order[0] == 's') return false;
    if (order[0] == 'd') {
        pause_ms((int)strtol(order + 1, NULL, 10));
        errno = saved;
        return false;
    }
    errno = (int)strtol(order, NULL, 10);
    return true;
}

/* How much of a write of `n` bytes is carried out. */
static size_t cut_short(int fd, size_t n) {
    char order[32];
    int saved = errno;
    bool cut =
        running && control[0] && n > 1 && (!under[0] || is_under(fd, NULL)) && ordered(WRITE, order) && order[0] == 's';
    errno = saved;
    return cut ? n / 2 : n;
}

/* The first time only, when there are more. */
static void say_failed(enum class c, long n) {
    static atomic_bool said;
    char line[64];
    if (!atomic_exchange(&said, true)) say(line, snprintf(line, sizeof line, "shim: %s:%ld failed\n", names[c], n));
}

/* `fd` or, when it is not NULL, `path` says what the call is about. */
static bool fails(enum class c, int fd, const char *path) {
    if (!running) return false;
    int before = errno;
    bool counts_here = !under[0] || is_under(fd, path);
    errno = before;
    if (!counts_here) return false;
    if (control[0] && c < ALLOC && fails_by_order(c)) return true;
    long n = atomic_fetch_add(&counts[c], 1) + 1;
    if (c != wanted || (from_then_on ? n < wanted_at : n != wanted_at)) return false;
    int saved = errno;
    if (while_file[0] && access(while_file, F_OK) != 0) {
        errno = saved;
        return false;
    }
    if (delay_ms) {
        pause_ms(delay_ms);
        return false;
    }
    say_failed(c, n);
    errno = wanted_errno;
    return true;
}

static void *next(const char *name) {
    void *p = dlsym(RTLD_NEXT, name);
    if (!p) _exit(126);
    return p;
}
#define WRAP(class_, result, name, parameters, arguments, fd_, path_)                                                  \
    result name parameters;                                                                                            \
    result name parameters {                                                                                           \
        static result(*real) parameters;                                                                               \
        if (!real) real = (result(*) parameters)next(#name);                                                           \
        if (fails(class_, fd_, path_)) return (result)-1;                                                              \
        return real arguments;                                                                                         \
    }

WRAP(READ, ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), fd, NULL)
WRAP(READ, ssize_t, pread64, (int fd, void *p, size_t n, off64_t at), (fd, p, n, at), fd, NULL)
WRAP(READ, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), fd, NULL)
WRAP(WRITE, ssize_t, write, (int fd, const void *p, size_t n), (fd, p, cut_short(fd, n)), fd, NULL)
WRAP(WRITE, ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, cut_short(fd, n), at), fd, NULL)
WRAP(WRITE, ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, cut_short(fd, n), at), fd, NULL)
WRAP(WRITE, ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, NULL)
WRAP(WRITE, ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), fd, NULL)
WRAP(WRITE, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), fd, NULL)
WRAP(FSYNC, int, fsync, (int fd), (fd), fd, NULL)
WRAP(FSYNC, int, fdatasync, (int fd), (fd), fd, NULL)
WRAP(RENAME, int, rename, (const char *a, const char *b), (a, b), -1, b)
WRAP(RENAME, int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f), -1, b)
WRAP(RENAME, int, link, (const char *a, const char *b), (a, b), -1, b)
WRAP(CONNECT, int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), fd, NULL)
WRAP(UNLINK, int, unlink, (const char *path), (path), -1, path)
WRAP(TRUNCATE, int, ftruncate, (int fd, off_t n), (fd, n), fd, NULL)
WRAP(TRUNCATE, int, ftruncate64, (int fd, off64_t n), (fd, n), fd, NULL)

/* CLOCK_MONOTONIC goes on undisturbed, as it does when somebody sets the clock. */
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
    int rc = real(id, t), saved = errno;
    if (rc == 0 && id == CLOCK_REALTIME && running && clock_jump_s && access(while_file, F_OK) == 0)
        t->tv_sec += clock_jump_s;
    errno = saved;
    return rc;
}

static bool is_unix_socket(int fd) {
    int domain = 0;
    socklen_t n = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX;
}

/* What a client of Redis hears instead of an answer. */
static ssize_t refusal(int fd, void *p, size_t n, ssize_t got) {
    static const char text[] = "-ERR the fault shim says no\r\n";
    int saved = errno;
    bool refused = got > 0 && n >= sizeof text && is_unix_socket(fd) && fails(REPLY, fd, NULL);
    errno = saved;
    if (refused) memcpy(p, text, sizeof text - 1);
    return refused ? (ssize_t)sizeof text - 1 : got;
}

#define WRAP_HEARING(name, parameters, arguments)                                                                      \
    ssize_t name parameters;                                                                                           \
    ssize_t name parameters {                                                                                          \
        static ssize_t(*real) parameters;                                                                              \
        if (!real) real = (ssize_t(*) parameters)next(#name);                                                          \
        if (fails(READ, fd, NULL)) return -1;                                                                          \
        return refusal(fd, p, n, real arguments);                                                                      \
    }
WRAP_HEARING(read, (int fd, void *p, size_t n), (fd, p, n))
WRAP_HEARING(recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))

#define WRAP_OPEN(name)                                                                                                \
    int name(const char *path, int flags, ...);                                                                        \
    int name(const char *path, int flags, ...) {                                                                       \
        static int (*real)(const char *, int, ...);                                                                    \
        if (!real) real = (int (*)(const char *, int, ...))next(#name);                                                \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        if (fails(OPEN, -1, path)) return -1;                                                                          \
        return real(path, flags, mode);                                                                                \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)

#ifndef SHIM_WITHOUT_ALLOC
/* The allocator under malloc is reached by its own names: dlsym itself allocates. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

/* Counts in both classes, whichever of them is wanted. */
static bool allocation_fails(const void *caller) {
    bool any = fails(ALLOC, -1, "");
    bool own = (uintptr_t)caller >= code_start && (uintptr_t)caller < code_end;
    return (own && fails(OWN, -1, "")) || any;
}
#define REFUSED allocation_fails(__builtin_return_address(0))

void *malloc(size_t n) {
    return REFUSED ? NULL : __libc_malloc(n);
}
void *calloc(size_t count, size_t n) {
    return REFUSED ? NULL : __libc_calloc(count, n);
}
void *realloc(void *p, size_t n) {
    return REFUSED ? NULL : __libc_realloc(p, n);
}
void *aligned_alloc(size_t alignment, size_t n) {
    return REFUSED ? NULL : __libc_memalign(alignment, n);
}
int posix_memalign(void **out, size_t alignment, size_t n) {
    int saved = errno;
    void *p = REFUSED ? NULL : __libc_memalign(alignment, n);
    errno = saved;
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}
#endif
