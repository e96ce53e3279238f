"""The lake's disk full, read-only, failing, slow: writing stops loudly, what is in Redis stays there, writing resumes by itself."""
import json
import os
import subprocess

import pytest

from harness import BINARY, Process, get, metric, run, wait_for

COUNT = 15000
SHIM = BINARY.parent / "fault_shim.so"
needs_shim = pytest.mark.skipif(not SHIM.exists() or "asan" in str(BINARY), reason="the preloaded shim is not for this build")


def answers(port):
    try:
        return get(port, "/health")[0] == 200
    except OSError:
        return False


def why_not_ready(port):
    status, body = get(port, "/ready")
    return json.loads(body)["error"] if status == 503 else None


def fill(world):
    """Everything is in Redis, nothing in the lake."""
    world.simulator(f"--count={COUNT}")
    world.redis()
    ingest = world.ingest()
    wait_for("everything is buffered", lambda: answers(world.ingest_port) and metric(world.ingest_port, "bluelake_events_buffered_total") >= COUNT)
    assert ingest.stop() == 0, ingest.text()


def finish(world, writer):
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not writer.alive(), 60)
    assert writer.stop() == 0, writer.text()[-3000:]
    result = json.loads(run("verify", "--data", world.lake, f"--against-simulator=seed=1,count={COUNT}", "--buffer",
                            f"--set=redis.socket={world.socket}", "--json").stdout)
    assert result["missing"] == result["twice"] == result["different"] == result["problems"] == 0


@pytest.fixture
def small_disk(world):
    """The lake lies on a file system of 32 MB."""
    world.lake.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(world.lake)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    yield world
    for process in world.processes:
        process.close()
    subprocess.run(["umount", "-l", str(world.lake)], check=True)


def test_too_little_space_stops_writing_before_harm_and_space_resumes_it(small_disk):
    world = small_disk
    fill(world)
    ballast = world.lake / "ballast"
    ballast.write_bytes(bytes(24 << 20))
    writer = world.writer("write.min_free=16m", "write.interval=200ms")
    wait_for("the writer is up", lambda: answers(world.write_port))
    why = wait_for("the writer says why it is not ready", lambda: why_not_ready(world.write_port))
    assert "write.min_free" in why and metric(world.write_port, "bluelake_disk_space_short") == 1
    assert world.catalog_rows() == 0 and int(world.redis_cli("xlen", "firehose:posts:queue")) > 0
    ballast.unlink()
    finish(world, writer)
    assert "writing resumes" in writer.text()


def test_a_disk_that_really_is_full_loses_nothing(small_disk):
    world = small_disk
    fill(world)
    writer = world.writer("write.min_free=0", "write.interval=200ms")  # no guard: every write and fsync may fail half-way
    wait_for("the writer is up", lambda: answers(world.write_port))
    ballast = open(world.lake / "ballast", "wb", buffering=0)
    try:
        while True:
            ballast.write(bytes(1 << 16))
    except OSError:
        pass
    ballast.close()
    os.unlink(world.lake / "ballast")
    finish(world, writer)


TROUBLES = {"write": "write:1+:28", "fsync": "fsync:1+:5", "rename": "rename:1+:5", "read-only": "open:1+:30", "write-eio": "write:1+:5",
            "slow": "fsync:1+:d200"}


@needs_shim
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failing_disk_heals(world, trouble):
    fill(world)
    broken = world.folder / "broken"
    env = {**os.environ, "LD_PRELOAD": str(SHIM), "BL_SHIM": TROUBLES[trouble], "BL_SHIM_WHILE": str(broken), "BL_SHIM_UNDER": str(world.lake)}
    settings = [f"redis.socket={world.socket}", f"write.http=127.0.0.1:{world.write_port}", "write.interval=200ms", "write.batch_rows=4000"]
    writer = Process([BINARY, "write", f"--data={world.lake}", *[f"--set={s}" for s in settings]], world.folder / "write.log", env)
    world.processes.append(writer)
    wait_for("something is written", lambda: world.catalog_rows() > 0)
    broken.touch()
    more = world.ingest()  # de-duplicated, but it makes the writer work
    wait_for("the writer answers", lambda: answers(world.write_port) or not writer.alive())
    if trouble != "slow" and world.catalog_rows() < COUNT:
        wait_for("the trouble is told", lambda: not writer.alive() or why_not_ready(world.write_port) or world.catalog_rows() >= COUNT, 30)
    assert writer.alive(), writer.text()[-2000:]
    broken.unlink()
    more.stop()
    finish(world, writer)
