#include "net/url.h"

#include <arpa/inet.h>

struct scheme {
    const char *prefix;
    bool tls, websocket;
};
static const struct scheme schemes[] = {
    {"wss://", true, true}, {"ws://", false, true}, {"https://", true, false}, {"http://", false, false}};

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool starts_ignoring_case(struct bl_str s, const char *prefix) {
    size_t n = strlen(prefix);
    if (s.n < n) return false;
    for (size_t i = 0; i < n; i++)
        if (lower(s.p[i]) != prefix[i]) return false;
    return true;
}

static bool is_ipv6(const char *text) {
    struct in6_addr address;
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_host_name(const char *text) {
    for (const char *p = text; *p; p++) {
        char c = lower(*p);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_') return false;
    }
    return *text != 0 && *text != '.';
}

/* "host", "host:port", "[v6]" or "[v6]:port". `port` keeps its value when none is given. */
static enum bl_rc split_authority(struct bl_str text, char *host, size_t host_size, int *port, int port_min,
                                  struct bl_error *err) {
    struct bl_str name = text, rest = {0};
    bool bracketed = text.n && text.p[0] == '[';
    if (bracketed) {
        rest = bl_str_skip(text, 1);
        name = bl_str_cut(&rest, ']');
        if (rest.p == name.p + name.n) return bl_fail(err, BL_E_USAGE, "\"%.*s\": missing ]", BL_ARG(text));
    } else {
        const char *colon = text.n ? memchr(text.p, ':', text.n) : NULL;
        if (colon) name.n = (size_t)(colon - text.p);
        rest = bl_str_skip(text, name.n);
    }
    if (name.n >= host_size) return bl_fail(err, BL_E_USAGE, "host name longer than %zu characters", host_size - 1);
    char copy[256] = {0};
    if (name.n) memcpy(copy, name.p, name.n);
    if (strlen(copy) != name.n || !(bracketed ? is_ipv6(copy) : is_host_name(copy)))
        return bl_fail(err, BL_E_USAGE, "\"%.*s\" is not a host name or address (IPv6 goes in brackets)", BL_ARG(name));
    int64_t number = *port;
    if (rest.n && (rest.p[0] != ':' || !bl_parse_i64(bl_str_skip(rest, 1), port_min, 65535, &number)))
        return bl_fail(err, BL_E_USAGE, "\"%.*s\" is not a port from %d to 65535", BL_ARG(rest), port_min);
    *port = (int)number;
    memcpy(host, copy, name.n + 1);
    return BL_OK;
}

/* Blanks and control characters would end the request line they are pasted into. */
static bool target_clean(struct bl_str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f) return false;
    return true;
}

static enum bl_rc set_target(struct bl_str text, struct url *u, struct bl_error *err) {
    bool lacks_slash = text.n == 0 || text.p[0] != '/';
    if (text.n && memchr(text.p, '#', text.n))
        return bl_fail(err, BL_E_USAGE, "\"%.*s\": an address here has no #fragment", BL_ARG(text));
    if (!target_clean(text))
        return bl_fail(err, BL_E_USAGE,
                       "path or query holds a blank, a control or a non-ASCII character: encode it with %%");
    if (text.n + lacks_slash >= sizeof u->target)
        return bl_fail(err, BL_E_USAGE, "path and query are longer than %zu characters", sizeof u->target - 1);
    u->target[0] = '/';
    if (text.n) memcpy(u->target + lacks_slash, text.p, text.n);
    u->target[text.n + lacks_slash] = 0;
    return BL_OK;
}

static enum bl_rc take_scheme(struct bl_str *text, struct url *u, struct bl_error *err) {
    u->tls = u->websocket = true;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (!starts_ignoring_case(*text, schemes[i].prefix)) continue;
        u->tls = schemes[i].tls;
        u->websocket = schemes[i].websocket;
        *text = bl_str_skip(*text, strlen(schemes[i].prefix));
        return BL_OK;
    }
    for (size_t i = 0; i + 2 < text->n && text->p[i] != '/' && text->p[i] != '?'; i++)
        if (memcmp(text->p + i, "://", 3) == 0)
            return bl_fail(err, BL_E_USAGE, "\"%.*s\" is not ws, wss, http or https", (int)i, text->p);
    return BL_OK;
}

enum bl_rc url_parse(struct bl_str text, struct url *out, struct bl_error *err) {
    struct url u = {0};
    BL_TRY(take_scheme(&text, &u, err));
    u.port = u.tls ? 443 : 80;
    size_t end = 0;
    while (end < text.n && text.p[end] != '/' && text.p[end] != '?' && text.p[end] != '#') end++;
    struct bl_str authority = {text.p, end};
    if (end && memchr(authority.p, '@', end))
        return bl_fail(err, BL_E_USAGE, "an address must not hold a user name or password");
    BL_TRY(split_authority(authority, u.host, sizeof u.host, &u.port, 1, err));
    BL_TRY(set_target(bl_str_skip(text, end), &u, err));
    *out = u;
    return BL_OK;
}

void url_encode(struct bl_buf *out, struct bl_str value) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        char l = lower((char)c);
        if ((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c)))
            bl_buf_byte(out, (char)c);
        else
            bl_buf_add(out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

enum bl_rc url_parse_listen(struct bl_str text, char addr[static 64], int *port, struct bl_error *err) {
    char host[64];
    int number = -1;
    BL_TRY(split_authority(text, host, sizeof host, &number, 0, err));
    if (number < 0)
        return bl_fail(err, BL_E_USAGE, "\"%.*s\" names no port: write ADDRESS:PORT, such as 127.0.0.1:8080",
                       BL_ARG(text));
    struct in_addr ipv4;
    if (strcmp(host, "localhost") == 0) snprintf(host, sizeof host, "127.0.0.1");
    if (!is_ipv6(host) && inet_pton(AF_INET, host, &ipv4) != 1)
        return bl_fail(err, BL_E_USAGE, "\"%s\" is not an address of this machine: write 127.0.0.1 or 0.0.0.0", host);
    memcpy(addr, host, sizeof host);
    *port = number;
    return BL_OK;
}
