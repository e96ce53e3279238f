/* emit: pieces of JSON as Jetstream (Go's encoding/json) writes them. Internal to the room. */
#pragma once
#include "sim/network.h"

#define EMIT(buffer, literal) bl_buf_add((buffer), "" literal, sizeof(literal) - 1)

/* A string with its quotes; <, > and & are escaped too. */
void emit_json(struct bl_buf *b, struct bl_str s);
void emit_did(struct bl_buf *b, uint64_t seed, uint64_t account); /* with quotes */
