"""What `verify` must not pass over: losses in Redis before and after it is emptied, refused messages that vanish, damaged files, events
that stand in the lake twice. In each test the fault is a real one, made from outside."""
import json
import re
import sqlite3

import pytest

from harness import FIXTURE, get, metric, run, wait_for

BEGINNING = "source.cursor=2026-01-05"  # where the simulated network begins; without it a paced one is joined live


def verify(world, *more):
    """(exit code, result, what was found) of `verify --buffer`."""
    done = run("verify", "--data", world.lake, "--buffer", f"--set=redis.socket={world.socket}", "--json", *more, check=False)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def ids(world, queue):
    return [line for line in world.redis_cli("xrange", queue, "-", "+").split("\n") if re.fullmatch(r"\d+-\d+", line)]


def drop_a_block(world, queue="firehose:likes:queue"):
    blocks = ids(world, queue)
    assert len(blocks) > 2
    assert world.redis_cli("xdel", queue, blocks[len(blocks) // 2]) == "1"


def drained(world):
    return all(world.redis_cli("xlen", f"firehose:{name}:queue") == "0" for name in ("likes", "posts", "others", "accounts"))


def settled(world):
    path = world.lake / "spill/position"
    return int(path.read_text().split("=")[1]) if path.exists() else 0


def buffer_everything(world, count, *simulator):
    """The first `count` events of the network are in Redis, and nobody adds more."""
    network = world.simulator(f"--count={count}", *simulator)
    ingest = world.ingest(BEGINNING, "source.host_switch_rewind=1s", "source.rewind=1s")
    wait_for("everything is buffered", lambda: (metric(world.ingest_port, "bluelake_events_buffered_total") or 0) >= count)
    assert ingest.stop() == 0
    network.kill()
    return ingest


def test_a_loss_stays_on_record_when_redis_is_emptied_later(world):
    world.redis()
    ingest = buffer_everything(world, 20000)
    drop_a_block(world)
    reached = int(world.redis_cli("hget", "firehose:metadata", "cursor_us"))
    writer = world.writer("write.interval=300ms")
    wait_for("the queues are empty", lambda: drained(world))
    missing = lambda: metric(world.write_port, "bluelake_buffer_missing_events")  # noqa: E731
    lost = wait_for("the loss is seen", missing)

    network = world.simulator("--count=30000")
    ingest.start()
    wait_for("what lies behind the loss is settled", lambda: settled(world) > reached)
    network.kill()
    world.redis_cli("flushall")
    world.simulator("--count=40000")
    wait_for("the rest is in the lake", lambda: world.catalog_rows() == 40000 - lost)
    assert ingest.stop() == 0
    wait_for("what was settled has come again", lambda: drained(world))
    assert missing() == lost
    assert "BUFFER_LOSS" in json.dumps(json.loads(get(world.write_port, "/health")[1])["alerts"])
    assert writer.stop() == 0
    code, result, findings = verify(world, "--against-simulator=seed=1,count=40000")
    assert code == 3 and result["missing"] == lost and f"{int(lost)} buffered events never arrived" in findings
    with sqlite3.connect(world.lake / "catalog.sqlite") as catalog:
        assert ("buffer_lost", 0) in catalog.execute("SELECT reason, healed FROM gaps").fetchall()


def test_what_vanished_from_redis_is_seen_while_it_should_wait_there(world):
    world.redis()
    buffer_everything(world, 20000, "--misbehave=mark-every=500")
    writer = world.writer("write.interval=300ms")
    wait_for("the queues are empty", lambda: drained(world) and world.redis_cli("xlen", "firehose:rejected:queue") == "0")
    assert writer.stop() == 0
    assert verify(world)[1]["problems"] == 0

    network = world.simulator("--count=40000", "--misbehave=mark-every=500")
    ingest = world.ingest(BEGINNING)
    wait_for("more is buffered", lambda: (metric(world.ingest_port, "bluelake_events_buffered_total") or 0) >= 20000)
    assert ingest.stop() == 0
    network.kill()
    refused = int(world.redis_cli("xlen", "firehose:rejected:queue"))
    assert refused > 30 and verify(world) == (0, {**verify(world)[1], "problems": 0}, "")

    drop_a_block(world)
    code, result, findings = verify(world)
    assert code == 3 and result["problems"] == 1 and "likes: " in findings and "events wait in Redis" in findings
    world.redis_cli("xtrim", "firehose:rejected:queue", "maxlen", refused - 7)
    code, result, findings = verify(world)
    assert code == 3 and result["problems"] == 2 and "7 refused messages or gaps were lost in Redis" in findings


def test_dead_letters_that_nobody_dropped_are_missed(world):
    world.redis()
    buffer_everything(world, 20000, "--misbehave=mark-every=500")
    writer = world.writer("write.interval=300ms")
    wait_for("the queues are empty", lambda: drained(world) and world.redis_cli("xlen", "firehose:rejected:queue") == "0")
    assert writer.stop() == 0
    letters = json.loads(run("deadletter", "list", "--data", world.lake, "--json").stdout.splitlines()[0])
    run("deadletter", "drop", letters["id"], "--data", world.lake)
    assert verify(world)[1]["problems"] == 0
    with sqlite3.connect(world.lake / "catalog.sqlite") as catalog:
        catalog.execute("DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters LIMIT 5)")
    code, result, findings = verify(world)
    assert code == 3 and result["problems"] == 1 and "dead letters: " in findings


def test_the_equation_holds_while_ingest_and_writer_run_and_says_when_redis_forgot(world):
    world.redis()
    world.simulator("--count=60000", "--rate=8000", "--misbehave=mark-every=200")
    ingest, writer = world.ingest(BEGINNING), world.writer("write.interval=200ms")
    wait_for("something is in the lake", lambda: world.catalog_rows() > 0)
    looks = 0
    while world.catalog_rows() < 55000 and ingest.alive() and writer.alive():
        done = run("verify", "--data", world.lake, "--buffer", f"--set=redis.socket={world.socket}", check=False)
        assert "DOES NOT ADD UP" not in done.stdout and "forgot" not in done.stdout, done.stdout
        looks += 1
    assert looks > 1
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= 60000 and drained(world))
    assert ingest.stop() == 0 and writer.stop() == 0
    assert verify(world)[::2] == (0, "")
    world.redis_cli("flushall")
    code, result, findings = verify(world)
    assert code == 0 and findings.count("Redis forgot what it had counted") == 9


@pytest.mark.parametrize("how", ["cut", "rotten", "gone"])
def test_a_damaged_file_that_holds_up_the_writer_is_named_with_the_cure(world, how):
    world.redis()
    ingest = buffer_everything(world, 3000)
    writer = world.writer("write.interval=300ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() == 3000)
    assert writer.stop() == 0
    path = max(world.lake.glob("year=*/**/likes*.parquet"), key=lambda p: p.stat().st_size)
    intact = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(intact[:len(intact) // 2] if how == "cut" else intact[:200] + b"\xff" * 400 + intact[600:])
    world.simulator("--count=6000")
    ingest.start()
    writer.start()

    def trouble():
        try:
            error = json.loads(get(world.write_port, "/ready")[1])["error"]
            return error if "held up" in error else None
        except OSError:
            return None
    error = wait_for("the writer says what holds it up", trouble)
    says = {"cut": "bytes, the catalogue says", "rotten": "has checksum", "gone": "No such file"}[how]
    assert str(path.relative_to(world.lake)) in error and says in error and "from a backup" in error, error
    path.write_bytes(intact)
    wait_for("the writer goes on", lambda: world.catalog_rows() == 6000)
    assert ingest.stop() == 0 and writer.stop() == 0
    assert verify(world, "--against-simulator=seed=1,count=6000")[0] == 0


def test_an_event_that_stands_in_the_lake_twice_is_found_however_far_apart(world):
    lines = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").split("\n") if line.strip()]
    events = [event for event in lines if event.get("kind") == "commit"][:10]
    for hours in (0, 4, 72):  # as another host would stamp it, were its clock that wrong
        path = world.folder / f"{hours}.ndjson"
        path.write_text("".join(json.dumps({**event, "time_us": event["time_us"] + hours * 3600 * 10**6}) + "\n" for event in events), encoding="utf-8")
        run("import", path, "--data", world.lake)
    done = run("verify", "--data", world.lake, "--json", check=False)
    assert done.returncode == 3 and json.loads(done.stdout)["problems"] == 20
    assert done.stderr.count("is in the lake already, in year=") == 20
