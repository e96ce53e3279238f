/* public_api: whether `up` has the server ask the network's public API who is who.
 *
 * May include: base, conf, net. Pure: no I/O. Threading: any. */
#pragma once
#include "conf/conf.h"

/* Where people without an account may ask (https://docs.bsky.app/docs/advanced-guides/api-directory). */
#define PUBLIC_API "https://public.api.bsky.app"

/* With resolve.url=auto, and when everything comes from the public network: its accounts are known there; of any other
 * network's accounts that host is told nothing. */
bool asks_public_api(const struct conf *conf, bool simulated);
