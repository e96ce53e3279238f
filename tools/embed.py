#!/usr/bin/env python3
"""Writes the files of a folder as a C table (src/http/page.h): tools/embed.py web/dist build/page_files.c

The output is touched only when it changes. Without the folder the table holds one page that says how to build the real one."""
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
         ".woff2": "font/woff2", ".webmanifest": "application/manifest+json", ".map": "application/json"}
NOTE = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Bluesky Post Explorer</title><meta name="color-scheme" content="light dark"></head>
<body><main>
<h1>Bluesky Post Explorer</h1>
<p>This binary was built without the page. <code>make web</code> builds it into <code>web/dist</code>; then build again.</p>
<p>The API is here: <a href="docs">guide</a>, <a href="search?limit=10">newest posts</a>, <a href="status">status</a>.</p>
</main></body>
</html>
"""
HASHED = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.\w+$")


def files_of(folder):
    found = [(f"/{f.relative_to(folder).as_posix()}", f.read_bytes()) for f in sorted(folder.rglob("*")) if f.is_file()] if folder.is_dir() else []
    return found if any(path == "/index.html" for path, _ in found) else [("/index.html", NOTE)]


def array(name, data):
    lines = (",".join(map(str, data[i:i + 40])) for i in range(0, len(data), 40))
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(lines) + "};\n"


def table(files):
    out = ["/* Made by tools/embed.py. */\n", '#include "http/page.h"\n\n']
    rows = []
    for i, (path, data) in enumerate(files):
        packed = gzip.compress(data, 9, mtime=0)
        small = packed if len(packed) < 0.9 * len(data) else b""
        out.append(array(f"bytes_{i}", data))
        if small:
            out.append(array(f"gzip_{i}", small))
        etag = hashlib.sha256(data).hexdigest()[:16]
        suffix = pathlib.PurePosixPath(path).suffix
        hashed = "true" if path.startswith("/assets/") and HASHED.search(path) else "false"
        view = f"{{(const char *)gzip_{i}, sizeof gzip_{i}}}" if small else "{0}"
        rows.append(f'    {{"{path}", "{TYPES.get(suffix, "application/octet-stream")}", "W/\\"{etag}\\"", {hashed}, '
                    f"{{(const char *)bytes_{i}, sizeof bytes_{i}}}, {view}}},\n")
    out.append("\nconst struct page_file page_files[] = {\n" + "".join(rows) + "};\n")
    out.append("const size_t page_file_count = sizeof page_files / sizeof *page_files;\n")
    return "".join(out)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[2])
    text = table([(path, data) for path, data in files_of(pathlib.Path(sys.argv[1])) if data])
    if not target.exists() or target.read_text() != text:
        target.write_text(text)
