"""Schemathesis reads /openapi.json as any stranger's program would, makes requests of it, fine and faulty, and holds the answers against it."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lakes import TYPES  # noqa: F401  (lakes.py puts tests/e2e into the path)
from test_api import Server, make_lake

EXAMPLES, SEED, SECONDS = 100, 20261121, 300
TOOL = Path(sys.executable).parent / "schemathesis"
# A schema cannot say which texts are searches, dates or addresses of posts: what it allows may be refused, with 400 and a reason.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    server = Server(folder, make_lake(folder, 20000), "serve.rate_limit=0").ready()
    yield server
    server.stop()


def test_generated_requests_are_answered_as_the_document_says(server, tmp_path):
    document = server.get("/openapi.json").json()
    done = subprocess.run([TOOL, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-deterministic",
                           "--workers", "2", "--no-color", *CHECKS], cwd=tmp_path, env={**os.environ, "NO_PROXY": "127.0.0.1"}, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", done.stdout).groups())
    tested = int(re.search(r"Tested: (\d+)", done.stdout).group(1))
    print(f"{generated} requests to {tested} endpoints, all as documented")
    assert tested == len(document["paths"]) - 1, "all but the document's own address"
    assert generated == passed > 20 * tested
    assert "level=ERROR" not in server.process.text()
