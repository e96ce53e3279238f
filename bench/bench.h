/* bench: what the measuring programs share. A result line is read by bench/bench.py:
 *
 *     RESULT extract.ours 2294889 1711132 2630581        name, median, least, most */
#pragma once
#include <stdio.h>
#include <stdlib.h>

static inline int bench_ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts `values`; returns their median. */
static inline double bench_result(const char *name, double *values, size_t count) {
    qsort(values, count, sizeof *values, bench_ascending);
    printf("RESULT %s %.6g %.6g %.6g\n", name, values[count / 2], values[0], values[count - 1]);
    return values[count / 2];
}
