/* bench_ws [N]: what a WebSocket message costs the receiver. A server thread writes N text frames of 544 bytes (the
 * mean size of a Jetstream event) over loopback; measured are messages a second and the receiving thread's CPU time a
 * message, for the parser alone, for wsclient and for source. */
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/wsclient.h"
#include "source/source.h"

enum { MESSAGE_SIZE = 544, BATCH = 512, TIMEOUT_MS = 10000 };

struct server {
    int listen_fd, port;
    uint64_t count;
};

static void or_exit(enum bl_rc rc, const struct bl_error *err) {
    if (rc == BL_OK) return;
    fprintf(stderr, "bench_ws: %s\n", err->message);
    exit(1);
}

static void add_event(struct bl_buf *out, int64_t time_us) {
    char json[MESSAGE_SIZE + 1];
    memset(json, 'x', sizeof json);
    int n = snprintf(json, sizeof json,
                     "{\"did\":\"did:plc:abcdefghijklmnopqrstuvwx\",\"time_us\":%" PRId64 ",\"text\":\"", time_us);
    json[n] = 'x';
    memcpy(json + MESSAGE_SIZE - 2, "\"}", 2);
    ws_frame(out, WS_TEXT, bl_strn(json, MESSAGE_SIZE), false, 0);
}

static void serve(struct server *s, struct stream *stream) {
    struct bl_buf frames = {0};
    struct bl_error err = {0};
    char request[8192] = "", accept_key[29];
    size_t n = 0, got;
    while (!strstr(request, "\r\n\r\n") && n + 1 < sizeof request) {
        or_exit(stream_read(stream, request + n, sizeof request - 1 - n, TIMEOUT_MS, &got, &err), &err);
        request[n += got] = 0;
        if (!got) return;
    }
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    ws_accept_of_key(bl_strn(key ? key + 19 : "", key ? 24 : 0), accept_key);
    bl_buf_printf(&frames,
                  "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                  accept_key);
    or_exit(stream_write_all(stream, bl_buf_view(&frames), TIMEOUT_MS, &err), &err);
    bl_buf_clear(&frames);
    for (int i = 0; i < BATCH; i++) add_event(&frames, 1760000000000000 + i);
    for (uint64_t sent = 0; sent < s->count; sent += BATCH)
        or_exit(stream_write_all(stream, bl_buf_view(&frames), TIMEOUT_MS, &err), &err);
    bl_buf_release(&frames);
    char waste;
    BL_IGNORE(stream_read(stream, &waste, 1, TIMEOUT_MS, &got, NULL)); /* until the client leaves */
}

static void *server_main(void *argument) {
    struct server *s = argument;
    for (int connection = 0; connection < 2; connection++) {
        int fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0) return NULL;
        struct stream *stream = stream_of_fd(fd, -1);
        serve(s, stream);
        stream_close(&stream);
    }
    return NULL;
}

static void report(const char *what, uint64_t count, int64_t wall_ns, int64_t cpu_ns) {
    printf("%-9s %10.2f M messages/s   %7.1f ns CPU/message   %6.2f GB/s\n", what,
           (double)count * 1e3 / (double)wall_ns, (double)cpu_ns / (double)count,
           (double)count * MESSAGE_SIZE / (double)wall_ns);
}

static void measure_parser(uint64_t count) {
    struct bl_buf frames = {0};
    struct ws_parser w;
    struct ws_message m;
    uint64_t seen = 0;
    for (int i = 0; i < BATCH; i++) add_event(&frames, 1760000000000000 + i);
    ws_parser_init(&w, false, 0);
    int64_t wall = bl_mono_ns(), cpu = bl_thread_cpu_ns();
    while (seen < count) {
        ws_feed(&w, frames.p, frames.n);
        while (ws_next(&w, &m, NULL) == 1) seen++;
    }
    report("parser", seen, bl_mono_ns() - wall, bl_thread_cpu_ns() - cpu);
    ws_parser_release(&w);
    bl_buf_release(&frames);
}

static void measure_client(const char *url, uint64_t count) {
    struct wsclient_options o = {.wake_fd = -1};
    struct wsclient_answer answer;
    struct wsclient *c = NULL;
    struct ws_message m;
    struct bl_error err = {0};
    or_exit(url_parse(bl_str(url), &o.url, &err), &err);
    or_exit(wsclient_open(&o, &c, &answer, &err), &err);
    int64_t wall = bl_mono_ns(), cpu = bl_thread_cpu_ns();
    for (uint64_t i = 0; i < count; i++) or_exit(wsclient_next(c, TIMEOUT_MS, &m, &err), &err);
    report("wsclient", count, bl_mono_ns() - wall, bl_thread_cpu_ns() - cpu);
    wsclient_close(&c);
}

static void measure_source(const char *url, uint64_t count) {
    struct source_options o = {.urls = &url, .url_count = 1};
    struct source_message m;
    struct source *s = NULL;
    struct bl_error err = {0};
    or_exit(source_open(&o, &s, &err), &err);
    or_exit(source_next(s, TIMEOUT_MS, &m, &err), &err);
    int64_t wall = bl_mono_ns(), cpu = bl_thread_cpu_ns();
    for (uint64_t i = 1; i < count; i++) or_exit(source_next(s, TIMEOUT_MS, &m, &err), &err);
    report("source", count, bl_mono_ns() - wall, bl_thread_cpu_ns() - cpu);
    source_close(&s);
}

int main(int argc, char **argv) {
    int64_t wanted = 2000000;
    if (argc > 1 && !bl_parse_i64(bl_str(argv[1]), 1, INT64_C(1) << 40, &wanted)) return 2;
    struct server s = {.count = ((uint64_t)wanted + BATCH - 1) / BATCH * BATCH};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    s.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    if (s.listen_fd < 0 || bind(s.listen_fd, (struct sockaddr *)&address, length) != 0 || listen(s.listen_fd, 4) != 0 ||
        getsockname(s.listen_fd, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&thread, NULL, server_main, &s) != 0)
        return perror("bench_ws"), 1;
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%d", ntohs(address.sin_port));
    measure_parser(s.count);
    measure_client(url, s.count);
    measure_source(url, s.count);
    pthread_join(thread, NULL);
    close(s.listen_fd);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak RSS  %10.1f MB (server thread included)\n", (double)usage.ru_maxrss / 1000);
    return 0;
}
