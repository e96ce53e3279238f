#!/usr/bin/env python3
"""Checks who includes whom: rooms may only see the rooms below them, and each third-party header stands in its one place.

Prints every forbidden include with file and line; exit code 1 if there is one. docs/ARCHITECTURE.md explains the rooms."""
import pathlib
import re
import sys

# Each room: the rooms it may include. What is not listed is forbidden.
ALLOWED = {
    "base": [],
    "event": ["base"],
    "obs": ["base", "event"],
    "conf": ["base"],
    "net": ["base"],
    "source": ["base", "net", "event", "obs"],
    "buffer": ["base", "event", "obs"],
    "sim": ["base", "event", "net", "obs"],
    "lake": ["base", "event", "obs"],
    "index": ["base", "event", "lake"],
    "resolve": ["base", "event", "obs", "net"],
    "query": ["base", "event", "lake", "index", "resolve", "obs"],
    "http": ["base", "conf", "obs", "event", "net", "lake", "index", "resolve", "query"],
    "pipe": ["base", "conf", "obs", "event", "net", "source", "buffer", "lake"],
    "cmd": ["base", "conf", "obs", "event", "net", "sim", "buffer", "lake", "index", "resolve", "query", "http", "pipe"],
    "main": ["base", "cmd"],
}

# Third-party headers and the files that may include them.
PLACES = {
    r"hiredis/": r"^buffer/redis_conn\.[ch]$",
    r"duckdb\.h": r"^lake/duck[a-z_]*\.c$",
    r"sqlite3\.h": r"^(lake/catalog[a-z_]*\.[ch]|query/views_store\.c|resolve/cache\.c)$",
    r"microhttpd\.h": r"^(obs/httpd|http/mhd)\.c$",
    r"openssl/ssl\.h": r"^(net/stream[a-z_]*|sim/link)\.c$",
    r"lz4\.h": r"^index/(segment|writer)\.c$",
    r"snappy-c\.h": r"^lake/parquet_codec\.c$",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def room_of(path):
    return path.split("/")[0] if "/" in path else "main"


def check(root):
    problems = []
    for file in sorted(root.rglob("*")):
        if file.suffix not in (".c", ".h", ".def"):
            continue
        name = file.relative_to(root).as_posix()
        room = room_of(name)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            if quote == '"':
                wanted = room_of(target)
                if wanted != room and wanted not in ALLOWED.get(room, []):
                    problems.append(f"src/{name}:{number}: {room} may not include {target}")
                if not (root / target).exists():
                    problems.append(f"src/{name}:{number}: {target} is not named from src/")
            for pattern, place in PLACES.items():
                if re.search("^" + pattern, target) and not re.search(place, name):
                    problems.append(f"src/{name}:{number}: {target} belongs in {place}")
        if room not in ALLOWED:
            problems.append(f"src/{name}: room {room} is not in tools/layers.py")
    return problems


if __name__ == "__main__":
    found = check(pathlib.Path(__file__).resolve().parent.parent / "src")
    print("\n".join(found) if found else "layers: every include goes the right way")
    sys.exit(1 if found else 0)
