#include "obs/httpd.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "expect.h"
#include "obs/metrics.h"

static atomic_int refreshed;
static atomic_bool healthy;

static int health(void *context, bool ready, struct bl_buf *json) {
    bl_buf_printf(json, "{\"role\":\"%s\",\"ready\":%s}", (const char *)context, ready ? "true" : "false");
    return ready && !healthy ? 503 : 200;
}

static void refresh(void *context) {
    (void)context;
    refreshed++;
}

static struct obs_httpd *start(void) {
    struct bl_error err = {0};
    struct obs_httpd *h = NULL;
    static char role[] = "test";
    struct obs_httpd_options o = {
        .address = "127.0.0.1", .roles = ROLE_WRITE, .health = health, .refresh = refresh, .context = role};
    EXPECT_OK(obs_httpd_start(&o, &h, &err), &err);
    EXPECT(obs_httpd_port(h) > 0);
    return h;
}

/* One request on a connection of its own; the whole answer in a static buffer. */
static const char *ask(const struct obs_httpd *h, const char *request) {
    static char answer[1 << 18];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)obs_httpd_port(h)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    EXPECT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    char text[512];
    int n = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request);
    EXPECT(write(fd, text, (size_t)n) == n);
    size_t have = 0;
    for (ssize_t got; have + 1 < sizeof answer && (got = read(fd, answer + have, sizeof answer - 1 - have)) > 0;)
        have += (size_t)got;
    answer[have] = 0;
    close(fd);
    return answer;
}

static void expect_answer(const struct obs_httpd *h, const char *request, const char *status, const char *part) {
    const char *answer = ask(h, request);
    char line[64];
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    if (strncmp(answer, line, strlen(line)) != 0 || !strstr(answer, part)) fail_msg("%s: %.300s", request, answer);
}

static void the_pages_answer_as_documented(void **state) {
    (void)state;
    struct obs_httpd *h = start();
    healthy = true;
    expect_answer(h, "GET /health", "200", "\r\n\r\n{\"role\":\"test\",\"ready\":false}\n");
    expect_answer(h, "GET /ready", "200", "{\"role\":\"test\",\"ready\":true}\n");
    healthy = false;
    expect_answer(h, "GET /ready", "503", "application/json");
    expect_answer(h, "GET /health", "200", "no-store");
    int before = refreshed;
    expect_answer(h, "GET /metrics", "200", "text/plain; version=0.0.4");
    expect_answer(h, "GET /metrics", "200", "\nbluelake_events_written_total{type=\"posts\"} 0\n");
    EXPECT(refreshed == before + 2);
    expect_answer(h, "HEAD /health", "200", "Content-Length");
    expect_answer(h, "GET /nothing", "404", "\"/health\"");
    expect_answer(h, "GET /metrics/../../etc/passwd", "404", "no such page");
    expect_answer(h, "POST /metrics", "405", "only GET");
    expect_answer(h, "DELETE /health", "405", "only GET");
    obs_httpd_stop(&h);
    EXPECT(!h);
    obs_httpd_stop(&h);
}

static void a_port_in_use_and_a_bad_address_are_wrong_settings(void **state) {
    (void)state;
    struct bl_error err = {0};
    struct obs_httpd *h = start(), *second = NULL;
    struct obs_httpd_options o = {.address = "127.0.0.1", .port = obs_httpd_port(h), .health = health};
    EXPECT_RC(obs_httpd_start(&o, &second, &err), BL_E_USAGE);
    EXPECT(!second && strstr(err.message, "choose another port"));
    o.address = "everywhere";
    EXPECT_RC(obs_httpd_start(&o, &second, &err), BL_E_USAGE);
    EXPECT(strstr(err.message, "everywhere"));
    obs_httpd_stop(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pages_answer_as_documented),
        cmocka_unit_test(a_port_in_use_and_a_bad_address_are_wrong_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
