/* Packed blocks against one stream entry an event: events a second, and Redis memory an event.
 *
 *   bench_buffer FILE.ndjson [SOCKET]
 *
 * Starts a Redis of its own, or uses the one at SOCKET, which must be empty. Both ways write the same lines into the
 * queues of their types over a Unix socket: blocks of about 60 KB compressed through buffer_append, compression
 * included; and, as the peer, XADD of the raw line, 256 in a pipeline. Rounds alternate; medians are printed. Memory is
 * used_memory without what waits for the append-only file and without client buffers, which come and go. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "base/io.h"
#include "bench/bench.h"
#include "buffer/buffer.h"

enum { ROUNDS = 5, PIPELINE = 256, BLOCK_BYTES = 60000, FILE_MAX = 1 << 30, START_LIMIT_MS = 20000 };

struct bench {
    char dir[64], socket[108];
    pid_t pid;
    redisContext *redis;
    struct bl_buf lines[EV_TYPE_COUNT];
    uint64_t events, bytes;
};

static _Noreturn void die(struct bench *x, const char *what, const char *why);

/* ---- server ---- */

static void stop_server(struct bench *x) {
    if (x->redis) redisFree(x->redis);
    if (x->pid <= 0) return;
    kill(x->pid, SIGKILL);
    waitpid(x->pid, NULL, 0);
    pid_t remover = fork();
    if (remover == 0) {
        execlp("rm", "rm", "-rf", x->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(remover, NULL, 0);
}

static void die(struct bench *x, const char *what, const char *why) {
    fprintf(stderr, "bench_buffer: %s: %s\n", what, why);
    stop_server(x);
    exit(1);
}

static void start_server(struct bench *x) {
    snprintf(x->dir, sizeof x->dir, "/tmp/bl-bench-XXXXXX");
    if (!mkdtemp(x->dir)) die(x, x->dir, "cannot be made");
    snprintf(x->socket, sizeof x->socket, "%s/redis.sock", x->dir);
    x->pid = fork();
    if (x->pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", x->socket, "--dir", x->dir, "--save", "",
           "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0", "--logfile",
           "redis.log", (char *)NULL);
    _exit(127);
}

static void connect_server(struct bench *x) {
    int64_t until = bl_mono_ns() + (int64_t)START_LIMIT_MS * 1000000;
    for (;;) {
        x->redis = redisConnectUnix(x->socket);
        if (x->redis && !x->redis->err) return;
        if (bl_mono_ns() > until) die(x, x->socket, "no Redis answers");
        redisFree(x->redis);
        x->redis = NULL;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static int64_t ask(struct bench *x, const char *command) {
    redisReply *r = redisCommand(x->redis, command);
    if (!r || r->type == REDIS_REPLY_ERROR) die(x, command, r ? r->str : x->redis->errstr);
    int64_t value = r->integer;
    freeReplyObject(r);
    return value;
}

static int64_t info_value(const char *info, const char *name) {
    const char *at = strstr(info, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static int64_t memory(struct bench *x) {
    redisReply *r = redisCommand(x->redis, "INFO memory");
    if (!r || r->type != REDIS_REPLY_STRING) die(x, "INFO memory", x->redis->errstr);
    int64_t value = info_value(r->str, "used_memory:") - info_value(r->str, "mem_aof_buffer:") -
                    info_value(r->str, "mem_clients_normal:");
    freeReplyObject(r);
    return value;
}

/* ---- the two ways ---- */

struct packer {
    struct buffer *buffer;
    struct block_codec *codec;
    struct bl_buf packed;
    struct buffer_append append;
    size_t raw_target; /* bytes that make about BLOCK_BYTES, after the ratio of the block before */
};

static void send_block(struct bench *x, struct packer *p, struct bl_str raw, uint32_t count) {
    struct bl_error err = {0};
    struct block *b = &p->append.block;
    b->count = count;
    b->seq++;
    enum bl_rc rc = block_pack(p->codec, raw, &p->packed, b, &err);
    if (rc == BL_OK) rc = buffer_append(p->buffer, &p->append, 1, 1, "bench", &err);
    if (rc != BL_OK) die(x, "append", err.message);
    b->offset += count;
    p->raw_target = (size_t)((double)BLOCK_BYTES * (double)raw.n / (double)b->data.n);
}

static void write_blocks(struct bench *x, struct packer *p, enum ev_type type) {
    p->append = (struct buffer_append){.type = type, .block = {.incarnation = 1}};
    p->raw_target = (size_t)BLOCK_BYTES * 4;
    struct bl_str rest = bl_buf_view(&x->lines[type]), block = {rest.p, 0};
    uint32_t count = 0;
    while (rest.n) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        block.n = (size_t)(line.p + line.n + 1 - block.p);
        count++;
        if (block.n < p->raw_target && rest.n) continue;
        send_block(x, p, block, count);
        block = (struct bl_str){rest.p, 0};
        count = 0;
    }
}

static void take_replies(struct bench *x, int count) {
    for (; count > 0; count--) {
        redisReply *r = NULL;
        if (redisGetReply(x->redis, (void **)&r) != REDIS_OK || r->type == REDIS_REPLY_ERROR) die(x, "XADD", "refused");
        freeReplyObject(r);
    }
}

static void write_singly(struct bench *x, enum ev_type type) {
    struct bl_str rest = bl_buf_view(&x->lines[type]);
    int waiting = 0;
    char queue[64];
    snprintf(queue, sizeof queue, "firehose:%s:queue", ev_schema(type)->name);
    while (rest.n) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        const char *argv[] = {"XADD", queue, "*", "data", line.p};
        const size_t sizes[] = {4, strlen(queue), 1, 4, line.n};
        redisAppendCommandArgv(x->redis, 5, argv, sizes);
        if (++waiting < PIPELINE) continue;
        take_replies(x, waiting);
        waiting = 0;
    }
    take_replies(x, waiting);
}

/* ---- measuring ---- */

struct result {
    double rate[ROUNDS], memory[ROUNDS];
};

static void measure(struct bench *x, struct packer *p, struct result *out, int round) {
    ask(x, "FLUSHALL");
    int64_t before = memory(x);
    int64_t start = bl_mono_ns();
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) {
        if (p)
            write_blocks(x, p, (enum ev_type)t);
        else
            write_singly(x, (enum ev_type)t);
    }
    double seconds = (double)(bl_mono_ns() - start) / 1e9;
    out->rate[round] = (double)x->events / seconds;
    out->memory[round] = (double)(memory(x) - before) / (double)x->events;
}

static void report(const struct bench *x, struct result *blocks, struct result *single) {
    double rates[] = {bench_result("buffer.blocks", blocks->rate, ROUNDS),
                      bench_result("buffer.single", single->rate, ROUNDS)};
    double memory[] = {bench_result("buffer.blocks_memory", blocks->memory, ROUNDS),
                       bench_result("buffer.single_memory", single->memory, ROUNDS)};
    printf("%" PRIu64 " events, %" PRIu64 " bytes; medians of %d alternating rounds\n", x->events, x->bytes, ROUNDS);
    printf("packed blocks   %10.0f events/s   %7.1f bytes/event in Redis\n", rates[0], memory[0]);
    printf("XADD per event  %10.0f events/s   %7.1f bytes/event in Redis\n", rates[1], memory[1]);
    printf("rate ratio      %10.2f (target: at least 2)\n", rates[0] / rates[1]);
    printf("memory ratio    %10.3f (target: at most 0.25)\n", memory[0] / memory[1]);
}

static void load_lines(struct bench *x, const char *path, struct bl_buf *file) {
    struct bl_error err = {0};
    file->max = FILE_MAX;
    if (bl_read_file(path, FILE_MAX - 1, file, &err) != BL_OK) die(x, "cannot read", err.message);
    struct bl_arena arena = {0};
    for (struct bl_str rest = bl_buf_view(file); rest.n; bl_arena_reset(&arena)) {
        struct bl_str line = bl_str_cut(&rest, '\n');
        struct event ev;
        if (ev_check(line, &arena, &ev, NULL, NULL) != BL_OK) continue;
        bl_buf_str(&x->lines[ev.type], line);
        bl_buf_byte(&x->lines[ev.type], '\n');
        x->events++;
        x->bytes += line.n + 1;
    }
    bl_arena_release(&arena);
    if (x->events == 0) die(x, path, "no events");
}

int main(int argc, char **argv) {
    struct bench x = {0};
    struct bl_buf file = {0};
    struct bl_error err = {0};
    if (argc < 2 || argc > 3) die(&x, "usage", "bench_buffer FILE.ndjson [SOCKET]");
    load_lines(&x, argv[1], &file);
    if (argc == 3)
        snprintf(x.socket, sizeof x.socket, "%s", argv[2]);
    else
        start_server(&x);
    connect_server(&x);
    if (ask(&x, "DBSIZE") != 0) die(&x, x.socket, "this Redis holds data; an empty one is needed");

    struct packer p = {.codec = block_codec_new(1)};
    if (buffer_open(&(struct buffer_options){.unix_socket = x.socket}, &p.buffer, &err) != BL_OK)
        die(&x, "open", err.message);
    static struct result blocks, single;
    for (int round = 0; round < ROUNDS; round++) {
        measure(&x, &p, &blocks, round);
        measure(&x, NULL, &single, round);
    }
    ask(&x, "FLUSHALL");
    report(&x, &blocks, &single);
    buffer_close(&p.buffer);
    block_codec_free(&p.codec);
    bl_buf_release(&p.packed);
    bl_buf_release(&file);
    for (unsigned t = 0; t < EV_TYPE_COUNT; t++) bl_buf_release(&x.lines[t]);
    stop_server(&x);
    return 0;
}
