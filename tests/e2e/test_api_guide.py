"""docs/API.md promises only what is so: each command is executed, and each JSON shown has its members in the answer."""
import json
import os
import re
import subprocess

import pytest

from harness import REPO, wait_for
from test_api import Server, make_lake


def examples():
    """(command, JSON shown behind it or None) of each block of commands."""
    page = (REPO / "docs/API.md").read_text()
    for match in re.finditer(r"```sh\n(.*?)```\n(?:\n```json\n(.*?)```)?", page, re.S):
        yield match.group(1), json.loads(match.group(2)) if match.group(2) else None


def lacking(answer, shown, where="$"):
    """Members that the page shows and the answer does not have."""
    if isinstance(shown, dict) and isinstance(answer, dict):
        return [f"{where}.{k}" for k in shown if k not in answer] + [m for k in shown if k in answer for m in lacking(answer[k], shown[k], f"{where}.{k}")]
    if isinstance(shown, list) and isinstance(answer, list) and shown and answer:
        return lacking(answer[0], shown[0], where + "[0]")
    return []


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    server = Server(folder, make_lake(folder, 30000)).ready()
    wait_for("the views are there", lambda: server.get("/views/languages").status == 200)
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.mark.parametrize("command,shown", list(examples()))
def test_the_example_does_what_the_guide_says(address, command, shown, tmp_path):
    done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", command], env={**os.environ, "API": address}, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    files = [f for f in tmp_path.iterdir() if f.stat().st_size]
    assert done.returncode in (0, 141 if "head" in command else 0, 23 if "head" in command else 0) and (done.stdout or files), (command, done.stdout[:500], done.stderr)
    if shown is not None:
        assert lacking(json.loads(done.stdout), shown) == []


def test_every_endpoint_is_in_the_guide(address):
    page = (REPO / "docs/API.md").read_text()
    document = json.loads(subprocess.run(["curl", "-sf", address + "/openapi.json"], capture_output=True, check=True).stdout)
    assert [p for p in document["paths"] if p.split("{")[0].rstrip("/") not in page] == []
