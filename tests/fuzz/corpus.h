/* corpus: the inputs of a harness that are kept in files: what a long run found worth keeping, and what once went
 * wrong.
 *
 * Each file of tests/fuzz/corpus/NAME is one input. */
#pragma once
#include <dirent.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/mem.h"

enum { CORPUS_FILE_MAX = 1 << 20 };

static inline int corpus_is_input(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* Every file of the folder by name, so that each run does the same. Returns how many; ends the program when the folder
 * cannot be read. */
static inline size_t corpus_each(const char *folder, void (*visit)(void *context, struct bl_str input), void *context) {
    struct dirent **entries;
    struct bl_error err = {0};
    int count = scandir(folder, &entries, corpus_is_input, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: cannot be read\n", folder);
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        BL_CLEANUP(bl_freep) char *path = bl_xasprintf("%s/%s", folder, entries[i]->d_name);
        BL_CLEANUP(bl_buf_release) struct bl_buf bytes = {0};
        free(entries[i]);
        if (bl_read_file(path, CORPUS_FILE_MAX, &bytes, &err) != BL_OK) {
            fprintf(stderr, "%s\n", err.message);
            exit(2);
        }
        char *exact = bl_xmalloc(bytes.n ? bytes.n : 1); /* AddressSanitizer sees a read past the end */
        if (bytes.n) memcpy(exact, bytes.p, bytes.n);
        visit(context, bl_strn(exact, bytes.n));
        free(exact);
    }
    free(entries);
    return (size_t)count;
}
