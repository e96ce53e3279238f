/* fault: named places where a test may end the process, as a crash would.
 *
 * May include: base. Compiled in by the CMake option BL_FAULTS only; in every other build a crash point is nothing at
 * all. Environment of a BL_FAULTS build: BL_CRASH=lake.after_rename:3   SIGKILL to itself when the point is passed the
 * third time BL_CRASH=list                  print every point of the program, one a line, and exit BL_CRASH_LOG=FILE
 * append the name of every point passed, one a line tests/fault/matrix.py tries them all. Names are ROOM.WHEN, in the
 * order of the work. Thread-safe. */
#pragma once

#ifdef BL_FAULTS
void bl_crash_point(const char *name);
/* The names stand in a section of their own, so that the list is complete without a table to keep. */
#define BL_CRASH_POINT(name)                                                                                           \
    do {                                                                                                               \
        static const char *const point_ __attribute__((section("bl_crash_points"), used)) = name;                      \
        bl_crash_point(point_);                                                                                        \
    } while (0)
#else
#define BL_CRASH_POINT(name) ((void)0)
#endif
