#include "fixture.h"

#include <inttypes.h>

#include "base/rng.h"

struct buffer *open_buffer(const char *socket) {
    struct bl_error err = {0};
    struct buffer *b = NULL;
    EXPECT_OK(buffer_open(&(struct buffer_options){.unix_socket = socket}, &b, &err), &err);
    return b;
}

static redisReply *vcommand(const struct server *s, const char *format, va_list values) {
    redisContext *c = redisConnectUnix(s->socket);
    EXPECT(c && !c->err);
    redisReply *r = redisvCommand(c, format, values);
    EXPECT(r);
    redisFree(c);
    return r;
}

redisReply *command(const struct server *s, const char *format, ...) {
    va_list values;
    va_start(values, format);
    redisReply *r = vcommand(s, format, values);
    va_end(values);
    return r;
}

int64_t command_i64(const struct server *s, const char *format, ...) {
    va_list values;
    va_start(values, format);
    redisReply *r = vcommand(s, format, values);
    va_end(values);
    if (r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, r->str);
    int64_t value = r->integer;
    if (r->type == REDIS_REPLY_STRING) EXPECT(bl_parse_i64(bl_strn(r->str, r->len), INT64_MIN, INT64_MAX, &value));
    freeReplyObject(r);
    return value;
}

void command_ok(const struct server *s, const char *format, ...) {
    va_list values;
    va_start(values, format);
    redisReply *r = vcommand(s, format, values);
    va_end(values);
    if (r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, r->str);
    freeReplyObject(r);
}

void run_start(struct run *r, uint64_t incarnation) {
    *r = (struct run){.incarnation = incarnation, .codec = block_codec_new(1)};
}

void run_end(struct run *r) {
    block_codec_free(&r->codec);
    bl_buf_release(&r->raw);
    for (size_t i = 0; i < 8; i++) bl_buf_release(&r->packed[i]);
}

struct buffer_append next_block(struct run *r, enum ev_type type, uint32_t events, unsigned slot) {
    struct bl_error err = {0};
    struct buffer_append p = {.type = type,
                              .block = {.incarnation = r->incarnation,
                                        .seq = ++r->seq[type],
                                        .offset = r->offset[type],
                                        .count = events,
                                        .first_us = 1700000000000000 + (int64_t)r->offset[type],
                                        .last_us = 1700000000000000 + (int64_t)r->offset[type] + events}};
    bl_buf_clear(&r->raw);
    for (uint32_t i = 0; i < events; i++)
        bl_buf_printf(&r->raw, "{\"type\":\"%s\",\"number\":%" PRIu64 ",\"noise\":\"%016" PRIx64 "\"}\n", ev_schema(type)->name,
                      r->offset[type] + i, bl_mix64(r->offset[type] + i + 1));
    EXPECT_OK(block_pack(r->codec, bl_buf_view(&r->raw), &r->packed[slot], &p.block, &err), &err);
    r->offset[type] += events;
    return p;
}

void append_block(struct buffer *b, struct run *r, enum ev_type type, uint32_t events) {
    struct bl_error err = {0};
    struct buffer_append p = next_block(r, type, events, 0);
    EXPECT_OK(buffer_append(b, &p, 1, p.block.last_us, "host.example", &err), &err);
}
