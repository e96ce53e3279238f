/* unicode: as much of it as hashtags need. Private to the event room. */
#pragma once
#include "event/event.h"

/* The code point at `*p` of valid UTF-8; moves `*p` past it. */
unsigned uc_next(const char **p, const char *end);
bool uc_is_space(unsigned code);       /* White_Space, and the invisible characters that end a tag */
bool uc_is_punctuation(unsigned code); /* ASCII other than letters and digits, and the common marks of other scripts */
