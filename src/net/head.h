/* head: the head of an HTTP/1.1 answer, up to and with its empty line. Pure. Private to net. */
#pragma once
#include "base/mem.h"

bool head_same(struct bl_str s, const char *name); /* without regard to case */
/* How often header `name` stands in `head`, and its first value. */
int head_find(struct bl_str head, const char *name, struct bl_str *value);
bool head_list_has(struct bl_str list, const char *token); /* comma separated */
bool head_status(struct bl_str head, int *status);
/* Retry-After, given in seconds or as a date ("Wed, 21 Oct 2015 07:28:00 GMT"); -1 when there is none. */
int head_retry_after(struct bl_str head);
/* For messages: printable text only, cut to the room there is. */
void head_copy_text(struct bl_str s, char *out, size_t size);
