/* inflate: decompression of Jetstream messages with a dictionary. Private to source; the only user of zstd here. */
#pragma once
#include "base/mem.h"

struct inflate;
enum inflate_result { INFLATE_OK, INFLATE_CORRUPT, INFLATE_WRONG_DICTIONARY, INFLATE_TOO_LARGE };

/* Messages that unpack to more than `max` bytes are INFLATE_TOO_LARGE. BL_E_USAGE when the file is unusable. */
enum bl_rc inflate_open(const char *dictionary_file, size_t max, struct inflate **out, struct bl_error *err);
/* `out` is valid until the next call. `err` tells what is wrong with a corrupt message or the dictionary. */
enum inflate_result inflate_message(struct inflate *z, struct bl_str in, struct bl_str *out, struct bl_error *err);
void inflate_close(struct inflate **z);
