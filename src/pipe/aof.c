#include "pipe/aof.h"

#include <sys/wait.h>
#include <unistd.h>

#include "obs/log.h"

bool aof_is_refused(const char *last_words) {
    return strstr(last_words, "Bad file format reading the append only file") != NULL;
}

_Noreturn static void become_checker(const char *manifest, int answers) {
    dup2(answers, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execlp("redis-check-aof", "redis-check-aof", "--fix", manifest, (char *)NULL);
    _exit(127);
}

enum bl_rc aof_repair(const char *folder, struct bl_error *err) {
    BL_CLEANUP(bl_freep) char *manifest = bl_xasprintf("%s/appendonlydir/appendonly.aof.manifest", folder);
    int ends[2];
    if (pipe(ends) != 0) return bl_fail_errno(err, BL_E_IO, "pipe");
    bool asked = write(ends[1], "y\n", 2) == 2; /* "This will shrink the AOF ... Continue?" */
    close(ends[1]);
    pid_t child = asked ? fork() : -1;
    if (child == 0) become_checker(manifest, ends[0]);
    close(ends[0]);
    if (child < 0) return bl_fail_errno(err, BL_E_IO, "cannot start redis-check-aof");
    int status = -1;
    while (waitpid(child, &status, 0) < 0) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        bl_log(BL_WARN, "the tail of Redis's append-only file, never synced before a power cut, was cut off: %s",
               manifest);
        return BL_OK;
    }
    return bl_fail(err, BL_E_BACKEND, "redis-check-aof --fix %s failed; look at the file, and restore it or remove it",
                   manifest);
}
