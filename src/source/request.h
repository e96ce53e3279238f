/* request: what to ask a Jetstream host for, as text. Pure. Private to source. */
#pragma once
#include "base/mem.h"
#include "net/url.h"
#include "source/source.h"

/* Settings that do not change from one connection to the next. */
struct request {
    struct bl_buf query; /* "compress=true&wantedCollections=..." without cursor */
    struct bl_buf hello; /* v1: options_update text when the filters are too long for an address, else empty */
};
/* BL_E_USAGE when a filter cannot be right or exceeds what Jetstream accepts. */
enum bl_rc request_init(struct request *r, const struct source_options *o, bool v2, struct bl_error *err);
void request_release(struct request *r);

/* Host or full address to the address of its subscription, without our query. */
enum bl_rc request_base(const char *text, enum source_protocol protocol, struct url *out, struct bl_error *err);
bool request_is_v2(const struct url *base);
/* "host", or "host:port" where the port is not the usual one. */
void request_host_name(const struct url *u, char name[static 256]);
/* Append query and cursor (0 for none) to the base address in `u`. */
enum bl_rc request_target(const struct request *r, int64_t cursor, struct url *u, struct bl_error *err);
enum bl_rc request_parameter(struct url *u, const char *name, int64_t value, struct bl_error *err);
bool cursor_plausible(
    int64_t cursor_us); /* unix microseconds have 16 digits; anything else means something else upstream */
