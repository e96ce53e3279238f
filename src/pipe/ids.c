#include "pipe/ids.h"

#include <stdlib.h>


void ids_add(struct id_list *list, const char *id) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->ids = bl_xrealloc(list->ids, list->capacity * sizeof *list->ids);
    }
    char *slot = list->ids[list->count++];
    size_t n = strnlen(id, sizeof list->ids[0] - 1);
    memcpy(slot, id, n);
    slot[n] = 0;
}

void ids_move(struct id_list *from, struct id_list *to) {
    for (size_t i = 0; i < from->count; i++) ids_add(to, from->ids[i]);
    from->count = 0;
}

void ids_release(struct id_list *list) {
    free(list->ids);
    *list = (struct id_list){0};
}
