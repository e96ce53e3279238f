import json
import shutil
import subprocess

import pytest

from lakes import Lake, value_lines
from harness import FIXTURE, World, run

EVENTS = 100_000
EVENTS_A_SECOND = 8  # of the time stamps: three hours and a half
PIECES = 3           # imported one by one, so that an hour has several files


def export(folder):
    done = run("export", "--data", folder)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """NDJSON lines of the simulated network."""
    return run("simulate", "--ndjson", "--count", EVENTS, "--network-rate", EVENTS_A_SECOND).stdout.splitlines()


def build(folder, simulated):
    folder.mkdir()
    size = len(simulated) // PIECES + 1
    for at in range(0, len(simulated), size):
        piece = folder / "piece.ndjson"
        piece.write_text("\n".join(simulated[at:at + size]) + "\n")
        run("import", "--data", folder / "lake", piece)
    piece.unlink()
    return folder / "lake"


@pytest.fixture(scope="session", params=["as-written", "compacted", "fixture"])
def lake(request, tmp_path_factory, simulated):
    folder = tmp_path_factory.mktemp("lake") / request.param
    if request.param == "fixture":
        run("import", "--data", folder / "lake", FIXTURE)
        events, lake = value_lines(FIXTURE), folder / "lake"
    else:
        events, lake = [json.loads(line) for line in simulated], build(folder, simulated)
    if request.param == "compacted":
        run("compact", "--data", lake)
    yield Lake(lake, events, export(lake))
    shutil.rmtree(folder)


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    yield w
    w.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def dictionary(tmp_path_factory, simulated):
    """A zstd dictionary trained on simulated events."""
    folder = tmp_path_factory.mktemp("dictionary")
    for i, line in enumerate(simulated[:2000]):
        (folder / f"{i}.json").write_text(line)
    subprocess.run(["zstd", "--train", "-q", "-r", folder, "-o", folder / "trained.dict", "--maxdict=16384"], check=True)
    return folder / "trained.dict"
