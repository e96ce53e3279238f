import shutil

import pytest

from harness import BINARY, World


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    yield w
    w.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


def pytest_sessionstart(session):
    assert BINARY.exists(), f"{BINARY} is not built: make build"
