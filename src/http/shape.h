/* shape: what a JSON answer looks like, in a line that people can read, and the JSON Schema it stands for.
 *
 *     {count:int,note:text?,results:[Result]}
 *
 * text time date int number bool any, [of a list], {of an object}, a name with a capital of another shape; `?` behind
 * it: or null. Every member is always there. Pure. May include: base. */
#pragma once
#include "base/mem.h"

struct shape_name {
    const char *name, *shape;
};
extern const struct shape_name shape_names[];
extern const size_t shape_name_count;
/* False when the shape is malformed, which is a bug. */
bool shape_schema(const char *shape, struct bl_buf *out);
