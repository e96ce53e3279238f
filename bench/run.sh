#!/usr/bin/env bash
# `make bench`: measures, prints the table, writes build/bench/report.txt and report.json. A missed target is printed, no failure.
#   bench/run.sh [--rounds N] [--only NAME,...]     NAME: import extract buffer sim drain ws search day
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/bench.py "$@"
