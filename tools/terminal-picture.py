#!/usr/bin/env python3
"""Runs commands on a terminal of their own and draws what they really printed.

    tools/terminal-picture.py OUT.svg 'bluelake up --for 20s' "bluelake search 'cats lang:en'" ...

Also writes OUT.txt, the same as text. Lines that were overwritten (\\r) show their last state. The commands run in a new
empty folder, removed afterwards, with build/release in PATH."""
import html
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

COLUMNS, LIMIT_S, LINES_MAX = 110, 600, 16
CELL, LINE, MARGIN = 8.05, 19, 16
REPO = pathlib.Path(__file__).resolve().parent.parent
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(command, folder):
    """What `command` printed on a terminal COLUMNS wide."""
    master, slave = pty.openpty()
    subprocess.run(["stty", "cols", str(COLUMNS), "rows", "50"], stdin=slave, check=True)
    env = {**os.environ, "PATH": f"{REPO / 'build/release'}:{os.environ['PATH']}", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    child = subprocess.Popen(["timeout", str(LIMIT_S), "bash", "-c", command], cwd=folder, env=env, stdin=slave, stdout=slave,
                             stderr=slave, start_new_session=True)
    os.close(slave)
    output = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the terminal is closed with its last process
            break
        if not piece:
            break
        output += piece
    os.close(master)
    if child.wait() != 0:
        sys.exit(f"{command}: exit {child.returncode}\n{output.decode(errors='replace')}")
    return output.decode(errors="replace")


def settle(output):
    """The lines as they stand in the end."""
    lines = []
    for line in output.replace("\r\n", "\n").split("\n"):
        states = [s for s in ESCAPE.sub("", line).split("\r") if s.strip()]
        # A status line is replaced by what comes next; both are worth showing.
        lines.extend(states[-2:] if len(states) > 1 else states or [""])
    lines = [line[i:i + COLUMNS] for line in lines for i in range(0, max(len(line), 1), COLUMNS)]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > LINES_MAX:
        lines[LINES_MAX - 1:] = ["..."]
    return lines


def svg(lines):
    width = COLUMNS * CELL + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN + 24
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}" role="img">',
           f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#1b1f27"/>']
    out += [f'<circle cx="{MARGIN + 6 + 18 * i}" cy="16" r="5.5" fill="{color}"/>' for i, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))]
    out.append("<g font-family=\"ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', monospace\" font-size=\"13.3\" fill=\"#d7dae0\">")
    for number, line in enumerate(lines):
        y = MARGIN + 24 + LINE * number + 14
        fill = ' fill="#8bd5ff" font-weight="600"' if line.startswith("$ ") else ""
        out.append(f'<text x="{MARGIN}" y="{y}" xml:space="preserve"{fill}>{html.escape(line)}</text>')
    return "\n".join(out + ["</g>", "</svg>", ""])


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    target, lines = pathlib.Path(sys.argv[1]), []
    with tempfile.TemporaryDirectory() as folder:
        for command in sys.argv[2:]:
            shown = "$ " + command
            lines += [*[shown[i:i + COLUMNS] for i in range(0, len(shown), COLUMNS)], *settle(run(command, folder).replace(folder + "/", "")), ""]
    lines.pop()
    target.write_text(svg(lines), encoding="utf-8")
    target.with_suffix(".txt").write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
    print(f"wrote {target} and {target.with_suffix('.txt')}")


if __name__ == "__main__":
    main()
