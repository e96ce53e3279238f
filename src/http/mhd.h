/* mhd: sockets and HTTP itself, by libmicrohttpd. Private to the http room; microhttpd.h appears only in mhd.c. */
#pragma once
#include "base/mem.h"

struct mhd;
struct http_server;
enum bl_rc mhd_start(struct http_server *s, struct mhd **out, struct bl_error *err);
int mhd_port(const struct mhd *m);
void mhd_quiesce(struct mhd *m); /* no new connections; a few seconds for what is under way */
void mhd_stop(struct mhd **m);   /* after pool_stop: nothing may be suspended any more */
