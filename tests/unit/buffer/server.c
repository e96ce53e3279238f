#include "server.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "base/io.h"
#include "expect.h"

enum { START_LIMIT_MS = 20000 };

static void run_server(const struct server *s) {
    char log[128];
    snprintf(log, sizeof log, "%s/redis.log", s->dir);
    char *argv[48];
    int n = 0;
    argv[n++] = (char *)(uintptr_t) "redis-server";
    if (*s->conf) argv[n++] = (char *)(uintptr_t)s->conf;
    const char *const fixed[] = {"--port",      "0",  "--unixsocket", s->socket, "--dir",     s->dir,
                                 "--save",      "",   "--appendonly", "yes",     "--logfile", log,
                                 "--daemonize", "no", "--databases",  "1"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) argv[n++] = (char *)(uintptr_t)fixed[i];
    for (int i = 0; s->options[i]; i++) argv[n++] = (char *)(uintptr_t)s->options[i];
    argv[n] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[0], argv);
    _exit(127);
}

static bool answers(const struct server *s) {
    redisContext *c = redisConnectUnix(s->socket);
    bool good = false;
    if (c && !c->err) {
        redisReply *r = redisCommand(c, "PING");
        good = r && r->type == REDIS_REPLY_STATUS;
        if (r) freeReplyObject(r);
    }
    if (c) redisFree(c);
    return good;
}

static void wait_for_server(const struct server *s) {
    int64_t until = bl_mono_ns() + (int64_t)START_LIMIT_MS * 1000000;
    while (!answers(s)) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) fail_msg("redis-server does not start; see %s/redis.log", s->dir);
        if (bl_mono_ns() > until) fail_msg("redis-server gives no answer; see %s/redis.log", s->dir);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

void server_restart(struct server *s) {
    s->pid = fork();
    EXPECT(s->pid >= 0);
    if (s->pid == 0) run_server(s);
    wait_for_server(s);
}

/* Redis enters the folder that the file names while it reads the file, so the copy leaves that line out. */
static void copy_conf(struct server *s, const char *from) {
    struct bl_error err = {0};
    struct bl_buf in = {0}, out = {0};
    EXPECT_OK(bl_read_file(from, 1 << 20, &in, &err), &err);
    for (struct bl_str rest = bl_buf_view(&in); rest.n;) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        if (bl_str_starts(line, BL_LIT("dir "))) continue;
        bl_buf_str(&out, line);
        bl_buf_byte(&out, '\n');
    }
    snprintf(s->conf, sizeof s->conf, "%s/redis.conf", s->dir);
    EXPECT_OK(bl_write_file_atomic(s->conf, bl_buf_view(&out), &err), &err);
    bl_buf_release(&in), bl_buf_release(&out);
}

void server_start(struct server *s, const char *conf, const char *const *options) {
    *s = (struct server){0};
    snprintf(s->dir, sizeof s->dir, "/tmp/bl-redis-XXXXXX");
    EXPECT(mkdtemp(s->dir));
    snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->dir);
    if (conf) copy_conf(s, conf);
    for (int i = 0; options && options[i]; i++) s->options[i] = options[i];
    server_restart(s);
}

void server_kill(struct server *s) {
    if (s->pid <= 0) return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

void server_stop(struct server *s) {
    server_kill(s);
    if (!*s->dir) return;
    pid_t remover = fork();
    if (remover == 0) {
        execlp("rm", "rm", "-rf", s->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(remover, NULL, 0);
}
