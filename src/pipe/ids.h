/* ids: a growing list of Redis stream ids. May include: base. One owner. */
#pragma once
#include "base/mem.h"

struct id_list {
    char (*ids)[48]; /* NUL-terminated */
    size_t count, capacity;
};
void ids_add(struct id_list *list, const char *id);
void ids_move(struct id_list *from, struct id_list *to); /* appends all to `to`, empties `from` */
void ids_release(struct id_list *list);
