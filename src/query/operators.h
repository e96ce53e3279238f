/* operators: how each search operator is answered by the index. Private to the query room: rows of the table in
 * operators.c. */
#pragma once
#include "index/fold.h"
#include "query/match.h"

bool prepare_text(struct search_node *node, struct bl_arena *arena); /* the value in lower case */
bool prepare_tag(struct search_node *node, struct bl_arena *arena);
bool prepare_language(struct search_node *node, struct bl_arena *arena);
bool prepare_mentions(struct search_node *node, struct bl_arena *arena);
bool prepare_to(struct search_node *node, struct bl_arena *arena);

#define OPERATOR_MATCH(name)                                                                                           \
    enum bl_rc match_##name(struct match *m, const struct search_node *node, struct match_rows *rows,                  \
                            struct bl_error *err)
OPERATOR_MATCH(word);
OPERATOR_MATCH(tag);
OPERATOR_MATCH(rkey);
OPERATOR_MATCH(from);
OPERATOR_MATCH(mentions);
OPERATOR_MATCH(to);
OPERATOR_MATCH(language);
OPERATOR_MATCH(since);
OPERATOR_MATCH(until);
OPERATOR_MATCH(domain);
OPERATOR_MATCH(url);
OPERATOR_MATCH(thing);
