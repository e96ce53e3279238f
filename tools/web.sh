#!/usr/bin/env bash
# Builds the page into web/dist when one of its sources is newer; the binary embeds what lies there.
set -euo pipefail
cd "$(dirname "$0")/../web"
built=dist/index.html
sources=(src public index.html package.json package-lock.json tsconfig.json vite.config.ts)
if [ -e $built ] && [ -z "$(find "${sources[@]}" -type f -newer $built -print -quit)" ]; then
    exit 0
fi
log=$(npm run --silent build 2>&1) || {
    echo "$log" >&2
    exit 1
}
