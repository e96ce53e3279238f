/* expect: cmocka with bluelake's types. Include this instead of cmocka.h. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#define EXPECT_OK(expression, err)                                                                                     \
    do {                                                                                                               \
        enum bl_rc expect_rc_ = (expression);                                                                          \
        if (expect_rc_ != BL_OK)                                                                                       \
            fail_msg("%s: %s: %s", #expression, bl_rc_name(expect_rc_), (err)->message);                               \
    } while (0)

#define EXPECT_RC(expression, wanted)                                                                                  \
    do {                                                                                                               \
        enum bl_rc expect_rc_ = (expression);                                                                          \
        if (expect_rc_ != (wanted))                                                                                    \
            fail_msg("%s: got %s, want %s", #expression, bl_rc_name(expect_rc_), bl_rc_name(wanted));                  \
    } while (0)

#define EXPECT_STR(got, wanted_literal)                                                                                \
    do {                                                                                                               \
        struct bl_str expect_got_ = (got), expect_want_ = bl_str(wanted_literal);                                      \
        if (!bl_str_eq(expect_got_, expect_want_))                                                                     \
            fail_msg("%s: got \"%.*s\", want \"%.*s\"", #got, BL_ARG(expect_got_), BL_ARG(expect_want_));              \
    } while (0)

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) fail_msg("%s does not hold", #condition);                                                    \
    } while (0)
