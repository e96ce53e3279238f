/* stream: one TCP or TLS connection, non-blocking inside, with deadlines outside.
 *
 * May include: base. OpenSSL appears only in stream.c.
 * TLS: version 1.2 or later, the peer's certificate chain and name are always checked, against the system's trust store or
 * `ca_file`. There is no way to switch the check off.
 * Writing to a closed connection is an error, never a SIGPIPE.
 * Threading: one thread uses a stream; any thread or signal handler may make `wake_fd` readable to end its waits.
 * Every wait is bounded by the given timeout; BL_E_TIMEOUT when it runs out, BL_E_CANCELLED when `wake_fd` is readable,
 * BL_E_NET with the cause (name resolution, connect, TLS, reset) otherwise. */
#pragma once
#include "base/mem.h"

struct stream;
struct stream_options {
    const char *host;
    int port;
    bool tls;
    const char *ca_file;      /* NULL: system trust store */
    int connect_timeout_ms;   /* over name resolution, TCP and TLS together; 0 means 10,000 */
    int receive_buffer_bytes; /* SO_RCVBUF; 0 leaves the kernel's choice */
    int wake_fd;              /* an eventfd or pipe end that cancels waits when readable; -1 for none */
};
enum bl_rc stream_connect(const struct stream_options *o, struct stream **out, struct bl_error *err);
/* Wrap an accepted socket (server side, no TLS). Takes ownership of `fd`. */
struct stream *stream_of_fd(int fd, int wake_fd);
/* The same with TLS: shakes hands as the server, with a PEM certificate chain and key. Takes ownership of `fd` even when it
 * fails; BL_E_USAGE when the files are unusable, BL_E_NET when the client is to blame. */
enum bl_rc stream_accept_tls(int fd, int wake_fd, const char *cert_file, const char *key_file, int timeout_ms,
                             struct stream **out, struct bl_error *err);
/* At least one byte; 0 bytes means the peer closed its side in an orderly way (for TLS: close_notify). */
enum bl_rc stream_read(struct stream *s, char *p, size_t capacity, int timeout_ms, size_t *got, struct bl_error *err);
enum bl_rc stream_write_all(struct stream *s, struct bl_str bytes, int timeout_ms, struct bl_error *err);
const char *stream_peer(const struct stream *s); /* "203.0.113.5:443", for messages */
void stream_close(struct stream **s);            /* NULL-safe; orderly where possible, never blocks longer than 1 s */
