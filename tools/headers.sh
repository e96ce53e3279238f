#!/usr/bin/env bash
# Every header compiles alone, with the project's warnings: whoever includes one needs nothing before it.
set -euo pipefail
cd "$(dirname "$0")/.."
flags=$(sed -n '/^add_compile_options(-Wall/,/)/p' CMakeLists.txt | tr -d '\n' | sed 's/add_compile_options(//; s/)//')
export flags
export packages="$(pkg-config --cflags hiredis sqlite3 libzstd openssl libmicrohttpd libxxhash zlib)"
check_one() {
    # A file that includes the header, so that #pragma once does not stand in a main file.
    printf '#include "%s"\ntypedef int not_empty;\n' "${1#src/}" |
        gcc -fsyntax-only -std=gnu2x -D_GNU_SOURCE -Isrc -Ibuild/deps/duckdb $packages $flags -x c - 2>&1 ||
        { echo "headers: $1 does not compile alone"; exit 1; }
}
export -f check_one
count=$(find src -name '*.h' | wc -l)
find src -name '*.h' -print0 | sort -z | xargs -0 -P "$(nproc)" -n 1 bash -c 'check_one "$0"' ||
    { echo "headers: not every header compiles alone"; exit 1; }
echo "headers: all $count compile alone"
