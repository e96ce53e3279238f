#!/usr/bin/env bash
# Installs what bluelake is built from and tested with, by package name: idempotent, quick when all is there.
#   tools/setup.sh run      what `make run` needs
#   tools/setup.sh web      the same, and a browser that drives the page
#   tools/setup.sh test     all of it, and what the other tests need
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}

run_packages=(gcc g++ make python3 cmake ninja-build pkg-config ca-certificates redis-server redis-tools npm
    libhiredis-dev libsqlite3-dev libzstd-dev liblz4-dev libssl-dev libmicrohttpd-dev libxxhash-dev zlib1g-dev
    libsnappy-dev)
test_packages=(python3 python3-pytest python3-pytest-xdist python3-venv sqlite3 zstd openssl curl git clang clang-format
    libclang-rt-14-dev libcmocka-dev libjansson-dev
    strace procps e2fsprogs mount util-linux)

# Fonts: without them the screenshots show boxes for emoji and everything but Latin.
web_packages=(sqlite3 chromium fonts-inter fonts-noto-core fonts-noto-color-emoji fonts-noto-cjk)

packages=("${run_packages[@]}")
[ "$what" = test ] && packages+=("${test_packages[@]}" "${web_packages[@]}")
[ "$what" = web ] && packages+=("${web_packages[@]}")

missing=()
for package in "${packages[@]}"; do
    # npm may come with a Node.js that did not come from Debian.
    [ "$package" = npm ] && command -v npm >/dev/null && continue
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: not root. Run once as root: apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Installing redis-server must not start a system-wide Redis: bluelake runs its own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f '$policy EXIT
    fi
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# libduckdb is not in Debian. The npm package of DuckDB's own Node.js binding carries the library, the npm package "duckdb" of the
# same version its C header. Both are used as they are.
duckdb_version=1.4.4
bindings_version=1.4.4-r.4
deps=build/deps/duckdb
if [ "$(cat $deps/version 2>/dev/null || true)" != "$bindings_version" ]; then
    echo "setup: fetching DuckDB $duckdb_version from npm"
    rm -rf $deps && mkdir -p $deps/fetch
    if ! (cd $deps/fetch && npm pack "@duckdb/node-bindings-linux-x64@$bindings_version" "duckdb@$duckdb_version" >npm.log 2>&1); then
        tail -n 20 $deps/fetch/npm.log >&2
        echo "setup: npm could not fetch DuckDB: is the npm registry reachable from here? (npm ping)" >&2
        exit 1
    fi
    tar -xzf $deps/fetch/duckdb-node-bindings-linux-x64-*.tgz -C $deps --strip-components=1 package/libduckdb.so
    tar -xzf $deps/fetch/duckdb-$duckdb_version.tgz -C $deps --strip-components=5 package/src/duckdb/src/include/duckdb.h
    rm -rf $deps/fetch
    ls $deps/libduckdb.so >/dev/null
    find $deps -name duckdb.h | grep -q . || { echo "setup: duckdb.h not found in the npm package" >&2; exit 1; }
    [ -e $deps/duckdb.h ] || mv "$(find $deps -name duckdb.h | head -n 1)" $deps/duckdb.h
    echo $bindings_version >$deps/version
fi

# What is in node_modules belongs to the lock file it was installed from.
node_modules() {
    cmp -s "$1/package-lock.json" "$1/node_modules/.installed-from" && return
    echo "setup: npm ci in $1"
    (cd "$1" && npm ci --silent --no-audit --no-fund)
    cp "$1/package-lock.json" "$1/node_modules/.installed-from"
}
node_modules web
[ "$what" = run ] || node_modules tests/web
