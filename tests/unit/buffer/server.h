/* server: a real redis-server of the test's own, on a Unix socket in a folder of its own. It dies with the test. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct server {
    char dir[64], socket[96], conf[256];
    const char *options[16]; /* further arguments in pairs, "--maxmemory", "8mb" */
    pid_t pid;
};
/* Fails the test when Redis does not answer within 20 s. `conf` may be NULL; `options` ends with NULL. */
void server_start(struct server *s, const char *conf, const char *const *options);
void server_kill(struct server *s);    /* SIGKILL, waits */
void server_restart(struct server *s); /* on the same data */
void server_stop(struct server *s);    /* SIGKILL, and the folder is removed */
