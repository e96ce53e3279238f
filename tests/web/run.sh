#!/usr/bin/env bash
# Drives the page in Chromium, served by the real binary over a real lake. Words given select test files: tests/web/run.sh search
set -euo pipefail
cd "$(dirname "$0")"
exec timeout "${LIMIT:-900}" node main.mjs "$@"
