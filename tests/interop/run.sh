#!/usr/bin/env bash
# Other people's programs read the lake and talk to bluelake: pyarrow, Polars, pandas, DuckDB's Python package and its command line,
# Python's websockets, a CID computed in Python. They come from PyPI into build/venv, made anew when requirements.txt changes.
#   tests/interop/run.sh [pytest options]
#   tests/interop/run.sh load [--users N] [--seconds N]     readers over a lake while events come in, measured (load.py)
set -euo pipefail
cd "$(dirname "$0")/../.."
requirements=tests/interop/requirements.txt
venv=build/venv
wanted="$(python3 --version) $(sha256sum <$requirements)"
if [ "$(cat $venv/made-from 2>/dev/null || true)" != "$wanted" ]; then
    echo "interop: making $venv"
    rm -rf $venv
    python3 -m venv $venv
    $venv/bin/pip install --quiet --disable-pip-version-check -r $requirements
    chmod +x $venv/bin/duckdb # the wheel of duckdb-cli forgets to
    echo "$wanted" >$venv/made-from
fi
if [ "${1:-}" = load ]; then
    exec $venv/bin/python tests/interop/load.py "${@:2}"
fi
exec $venv/bin/python -m pytest -q -p no:cacheprovider tests/interop "$@"
