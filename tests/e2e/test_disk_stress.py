"""The lake's disk full, read-only, failing, slow: writing stops loudly, what is in Redis stays there, writing resumes by itself."""
import json
import os
import shutil
import subprocess

import pytest

from harness import get, metric, run, wait_for
from shim import SHIM, needs_shim

COUNT = 15000


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


def until_writing_fails(world, writer):
    wait_for("writing fails", lambda: any(words in (why_not_ready(world.write_port) or "") for words in ("No space left", "is full")))
    wait_for("it is an alert", lambda: "LAKE_FAILURE" in json.loads(get(world.write_port, "/health")[1])["alerts"])
    assert writer.alive(), writer.text()[-3000:]
    assert world.catalog_rows() == 0 and int(world.redis_cli("xlen", "firehose:posts:queue")) > 0


def test_a_disk_that_really_is_full_loses_nothing(small_disk):
    world = small_disk
    fill(world)
    writer = world.writer("write.min_free=0", "write.interval=5s")  # no guard: every write and fsync may fail half-way
    wait_for("the writer is up", lambda: answers(world.write_port))
    with open(world.lake / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 12))
        except OSError:
            pass
    until_writing_fails(world, writer)
    os.unlink(world.lake / "ballast")
    finish(world, writer)


def test_a_disk_without_inodes_loses_nothing(small_disk):
    world = small_disk
    subprocess.run(["mount", "-o", "remount,nr_inodes=400", str(world.lake)], check=True)
    fill(world)
    writer = world.writer("write.min_free=0", "write.interval=5s")
    wait_for("the writer is up", lambda: answers(world.write_port))
    crowd = world.lake / "crowd"
    crowd.mkdir()
    try:
        for n in range(400):
            (crowd / str(n)).touch()
        raise AssertionError("there are inodes left")
    except OSError:
        pass
    until_writing_fails(world, writer)
    shutil.rmtree(crowd)
    finish(world, writer)


def shimmed(folder, under, shim=SHIM):
    """Environment of a process whose calls below `under` fail as the files in `folder` say (tests/fault/shim.c)."""
    folder.mkdir(exist_ok=True)
    return {**os.environ, "LD_PRELOAD": str(shim), "BL_SHIM_CONTROL": str(folder), "BL_SHIM_UNDER": str(under)}


EIO, ENOSPC, EROFS, EDQUOT, EMFILE = 5, 28, 30, 122, 24
# calls that fail, and how; in the order of a commit
TROUBLES = {"read-only": {call: EROFS for call in ("open", "write", "truncate", "rename", "unlink")}, "full": {"write": ENOSPC, "truncate": ENOSPC}, "over-quota": {"write": EDQUOT},
            "write-eio": {"write": EIO}, "half-writes": {"write": "short"}, "fsync": {"fsync": EIO}, "rename": {"rename": EIO}, "no-files": {"open": EMFILE},
            "slow": {"fsync": "d200", "write": "d5"}}
HARMLESS = ["slow", "half-writes"]  # they take longer, that is all


@needs_shim
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failing_disk_heals(world, trouble):
    world.simulator(f"--count={COUNT}", "--rate=3000")
    world.redis()
    orders = world.folder / "orders"
    writer = world.writer("write.interval=200ms", env=shimmed(orders, world.lake))
    ingest = world.ingest("source.cursor=2026-01-05")
    wait_for("something is written", lambda: world.catalog_rows() > 0)
    for call, order in TROUBLES[trouble].items():
        (orders / call).write_text(str(order))
    if trouble in HARMLESS:
        rows = world.catalog_rows()
        wait_for("writing goes on", lambda: world.catalog_rows() > rows + 1000)
    else:
        wait_for("the trouble is told", lambda: why_not_ready(world.write_port))
        rows = world.catalog_rows()
        wait_for("more waits in Redis", lambda: metric(world.write_port, "redis_buffer_events_count") > 2000)
        assert world.catalog_rows() == rows and metric(world.write_port, "bluelake_ready") == 0
        wait_for("it is an alert", lambda: "LAKE_FAILURE" in json.loads(get(world.write_port, "/health")[1])["alerts"])
    assert writer.alive(), writer.text()[-2000:]
    for call in TROUBLES[trouble]:
        (orders / call).unlink()
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not writer.alive())
    wait_for("it is ready again", lambda: why_not_ready(world.write_port) is None)
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


def spilling(world, under):
    """Redis is down, and what comes is being written to the spill; (writer, ingest, orders)."""
    world.simulator(f"--count={COUNT}", "--rate=1500")
    redis = world.redis()
    orders = world.folder / "orders"
    ingest = world.ingest("source.cursor=2026-01-05", "ingest.spill_after=200ms", "ingest.breaker_retry=100ms", "ingest.queue_bytes=1m",
                          env=shimmed(orders, under))
    wait_for("some is buffered", lambda: answers(world.ingest_port) and metric(world.ingest_port, "bluelake_events_buffered_total") > 500)
    redis.kill()
    wait_for("some is spilled", lambda: metric(world.ingest_port, "bluelake_events_spilled_total") > 500)
    return ingest, orders


@needs_shim
@pytest.mark.parametrize("trouble", ["full", "write-eio", "half-writes", "fsync", "read-only"])
def test_a_failing_disk_under_the_spill_loses_nothing(world, trouble):
    ingest, orders = spilling(world, world.lake / "spill")
    for call, order in TROUBLES[trouble].items():
        (orders / call).write_text(str(order))
    if trouble not in HARMLESS:
        wait_for("the trouble is told", lambda: "cannot spill to disk" in ingest.text())
    wait_for("upstream waits or the spill goes on", lambda: metric(world.ingest_port, "bluelake_ingest_queue_bytes") > 500_000
             or metric(world.ingest_port, "bluelake_events_received_total") >= COUNT - 500)
    for call in TROUBLES[trouble]:
        (orders / call).unlink()
    world.redis()
    writer = world.writer("write.interval=200ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert metric(world.ingest_port, "bluelake_spill_damaged_segments") == 0
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


def test_nothing_is_spilled_onto_a_nearly_full_disk_and_space_resumes_it(small_disk):
    world = small_disk
    world.simulator(f"--count={COUNT}", "--rate=3000")
    redis = world.redis()
    ingest = world.ingest("source.cursor=2026-01-05", "ingest.spill_after=200ms", "ingest.breaker_retry=100ms", "ingest.queue_bytes=1m")
    wait_for("some is buffered", lambda: answers(world.ingest_port) and metric(world.ingest_port, "bluelake_events_buffered_total") > 500)
    redis.kill()
    wait_for("the trouble is told", lambda: "are left for" in ingest.text() and "ingest waits for Redis" in ingest.text())
    wait_for("upstream waits", lambda: metric(world.ingest_port, "bluelake_ingest_queue_bytes") > 900_000)
    assert not list((world.lake / "spill").glob("*.seg")) and metric(world.ingest_port, "bluelake_events_spilled_total") == 0
    received = metric(world.ingest_port, "bluelake_events_received_total")
    assert received < COUNT
    subprocess.run(["mount", "-o", "remount,size=8g", str(world.lake)], check=True)
    wait_for("spilling begins", lambda: metric(world.ingest_port, "bluelake_events_spilled_total") > 500)
    wait_for("upstream is read on", lambda: metric(world.ingest_port, "bluelake_events_received_total") >= COUNT - 500)
    world.redis()
    writer = world.writer("write.interval=200ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


def gap_rows(world):
    import sqlite3
    with sqlite3.connect(f"file:{world.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10) as db:
        return db.execute("SELECT reason, healed FROM gaps").fetchall()


@needs_shim
@pytest.mark.parametrize("when", ["running", "restarted"])
def test_an_unreadable_spill_segment_is_set_aside_and_asked_for_again_upstream(world, when):
    ingest, orders = spilling(world, world.lake / "spill")
    wait_for("more is spilled", lambda: metric(world.ingest_port, "bluelake_events_spilled_total") > 3000)
    if when == "restarted":
        ingest.kill()
    (orders / "read").write_text(str(EIO))
    world.redis()
    if when == "restarted":
        ingest.start()
    wait_for("it is told", lambda: (metric(world.ingest_port, "bluelake_spill_damaged_segments") or 0) > 0)
    (orders / "read").unlink()
    wait_for("it is an alert", lambda: "SPILL_DAMAGED" in json.loads(get(world.ingest_port, "/health")[1])["alerts"])
    writer = world.writer("write.interval=200ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert ingest.alive(), ingest.text()[-2000:]
    assert list((world.lake / "spill").glob("*.seg.unreadable-*"))
    assert "REDIS_FAILURE" not in json.loads(get(world.ingest_port, "/health")[1])["alerts"]
    if when == "running":  # after a restart nobody knows how far the newest one went
        wait_for("the gap is on record and healed", lambda: ("buffer_lost", 1) in gap_rows(world))
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


@needs_shim
@pytest.mark.parametrize("tear", ["cut", "zeros", "garbage", "gone", "rotten"])
def test_a_torn_spill_is_asked_for_again_upstream(world, tear):
    ingest, _ = spilling(world, world.lake / "spill")
    ingest.kill()
    newest = max((world.lake / "spill").glob("*.seg"), key=lambda path: int(path.stem.split("-")[1]))
    whole = newest.read_bytes()
    assert len(whole) > 2000
    torn = {"cut": whole[:-700], "zeros": whole[:-700] + bytes(700), "garbage": whole[:-700] + os.urandom(700), "gone": b"",
            "rotten": whole[:300] + os.urandom(20) + whole[320:]}[tear]
    newest.write_bytes(torn)
    world.redis()
    ingest.start()
    writer = world.writer("write.interval=200ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert (metric(world.ingest_port, "bluelake_spill_damaged_segments") > 0) == (tear == "rotten")
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


@needs_shim
@pytest.mark.parametrize("trouble", ["full", "fsync"])
def test_a_failing_disk_under_redis_is_bridged_by_the_spill(world, trouble):
    """Redis refuses writes while its append-only file cannot be written (MISCONF), and takes them again by itself."""
    world.simulator(f"--count={COUNT}", "--rate=1500")
    orders = world.folder / "orders"
    world.redis(env=shimmed(orders, world.redis_dir, SHIM.with_name("fault_shim_files.so")))
    writer = world.writer("write.interval=200ms")
    ingest = world.ingest("source.cursor=2026-01-05", "ingest.spill_after=200ms", "ingest.breaker_retry=100ms")
    wait_for("something is written", lambda: world.catalog_rows() > 0)
    for call, order in TROUBLES[trouble].items():
        (orders / call).write_text(str(order))
    wait_for("Redis refuses", lambda: "MISCONF" in world.redis_cli("set", "probe", "1"))
    wait_for("events are spilled", lambda: (metric(world.ingest_port, "bluelake_events_spilled_total") or 0) > 500)
    for call in TROUBLES[trouble]:
        (orders / call).unlink()
    wait_for("Redis takes again", lambda: world.redis_cli("set", "probe", "1") == "OK")
    world.redis_cli("del", "probe")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert ingest.stop() == 0, ingest.text()
    finish(world, writer)


def test_leftovers_of_a_crash_are_removed_and_a_damaged_file_is_told(world):
    fill(world)
    writer = world.writer("write.interval=200ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT)
    assert writer.stop() == 0
    file = max(world.lake.glob("*/**/*.parquet"), key=lambda path: path.stat().st_size)
    half = file.read_bytes()[: file.stat().st_size // 2]
    unlisted, staged = file.with_name("likes-1-2.parquet"), world.lake / ".staging/write-likes-9.parquet"
    for leftover in unlisted, staged:
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(half)
    writer.start()
    wait_for("the writer is up", lambda: answers(world.write_port))
    finish(world, writer)
    assert not staged.exists() and not unlisted.exists()
    file.write_bytes(half)
    done = run("verify", "--data", world.lake, "--json", check=False)
    assert done.returncode == 3 and file.name in done.stdout + done.stderr
