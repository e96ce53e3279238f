"""The main job: WebSocket -> ingest -> Redis -> writer -> Parquet -> answers, on the real binary."""
import collections
import json
import time

import pytest

from harness import FIXTURE, SHARED, canonical, get, metric, run, value_lines, wait_for

REAL = SHARED / "data/expected_v1.jsonl"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the shared real events are not here")

TYPE_OF = {"app.bsky.feed.post": "posts", "app.bsky.feed.like": "likes", "app.bsky.feed.repost": "reposts", "app.bsky.graph.follow": "follows",
           "app.bsky.graph.block": "blocks", "app.bsky.actor.profile": "profiles"}


def type_of(event):
    return TYPE_OF.get(event["commit"]["collection"], "others") if event["kind"] == "commit" else "accounts"


def collect(world, path, count):
    world.simulator("--from", path)
    world.redis()
    writer, ingest = world.writer(), world.ingest()
    wait_for(f"{count} events in the lake", lambda: world.catalog_rows() >= count)
    assert ingest.stop() == 0, ingest.text()
    assert writer.stop() == 0, writer.text()


def exported(world):
    done = run("export", "--data", world.lake)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def assert_same_events(got, wanted):
    have, want = collections.Counter(map(canonical, got)), collections.Counter(map(canonical, wanted))
    assert have == want, f"only in the lake: {list((have - want))[:2]}; missing: {list((want - have))[:2]}"


@pytest.mark.parametrize("path", [FIXTURE, pytest.param(REAL, marks=needs_real)], ids=["fixture", "real"])
def test_events_come_out_equal_value_for_value(world, path):
    events = value_lines(path)
    collect(world, path, len(events))
    assert_same_events(exported(world), events)
    for name, count in collections.Counter(map(type_of, events)).items():
        assert world.query(f"SELECT count(*) AS n FROM {name}") == [{"n": count}]
    done = run("verify", "--data", world.lake, "--against", path, "--json")
    result = json.loads(done.stdout)
    assert (result["missing"], result["twice"], result["different"], result["unexpected"], result["problems"]) == (0, 0, 0, 0, 0)


@needs_real
def test_every_cid_of_the_real_events_is_verified_and_left_out(world):
    events = value_lines(REAL)
    inversions = sum(a["time_us"] > b["time_us"] for a, b in zip(events, events[1:]))
    assert inversions == 42, "the file is known for its 42 steps back in time"
    collect(world, REAL, len(events))
    counts = collections.Counter()
    for name in [*TYPE_OF.values(), "others"]:
        row = world.query(f"SELECT count(*) FILTER (cid_verified) AS verified, count(cid) AS kept FROM {name}")[0]
        counts.update(row)
    assert counts == {"verified": 146, "kept": 0}
    manifest = json.loads((SHARED / "data/manifest.json").read_text())
    operations = collections.Counter(e["commit"]["operation"] for e in exported(world) if e["kind"] == "commit")
    assert operations == {"create": manifest["creates"], "update": manifest["updates"], "delete": manifest["deletes"]}


def test_serving_the_same_events_twice_changes_nothing(world):
    events = value_lines(FIXTURE)
    collect(world, FIXTURE, len(events))
    world.redis_cli("del", "firehose:metadata")  # the position is lost, and the note of what is settled: ingest starts over
    (world.lake / "spill/position").unlink(missing_ok=True)
    writer, ingest = world.writer(), world.ingest()
    wait_for("the repetitions are recognised", lambda: (metric(world.write_port, "bluelake_events_duplicate_total") or 0) >= len(events))
    ingest.stop()
    writer.stop()
    assert_same_events(exported(world), events)


def test_a_block_left_with_a_dead_consumer_is_written_though_younger_ones_are(world):
    count = 20000
    world.redis()
    world.simulator("--count", count)
    ingest = world.ingest()
    wait_for("everything is in Redis", lambda: (world.buffered() or 0) >= count)
    assert ingest.stop() == 0, ingest.text()
    queue = "firehose:likes:queue"
    first = world.redis_cli("xreadgroup", "group", "writers", "gone", "count", 1, "streams", queue, ">").split("\n")[1]
    writer = world.writer()
    wait_for("the others are in the lake", lambda: world.redis_cli("xlen", queue) == "1" and world.catalog_rows() > count / 2)
    assert writer.stop() == 0, writer.text()
    assert world.catalog_rows() < count
    world.redis_cli("xclaim", queue, "writers", "gone", 0, first, "idle", 3_600_000, "justid")
    writer = world.writer()
    wait_for("it is claimed and written", lambda: world.catalog_rows() == count)
    assert writer.stop() == 0, writer.text()
    buffer = ["--buffer", f"--set=redis.socket={world.socket}"]
    done = run("verify", "--data", world.lake, "--against-simulator", f"seed=1,count={count}", *buffer, "--json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bad_messages_become_dead_letters_and_the_stream_goes_on(world):
    world.simulator("--count", 5000, "--misbehave", "poison-every=500,badutf8-every=700")
    world.redis()
    writer, ingest = world.writer(), world.ingest()
    wait_for("all good events are in the lake", lambda: world.catalog_rows() >= 5000)
    ingest.stop()
    writer.stop()
    letters = [json.loads(line) for line in run("deadletter", "list", "--data", world.lake, "--json").stdout.splitlines()]
    reasons = collections.Counter(letter["reason"] for letter in letters)
    assert reasons["too_deep"] >= 9 and reasons["utf8"] >= 7, reasons
    shown = run("deadletter", "show", [x for x in letters if x["reason"] == "too_deep"][0]["id"], "--data", world.lake).stdout
    assert shown.count("[") > 1000
    result = json.loads(run("verify", "--data", world.lake, "--against-simulator", "seed=1,count=5000", "--json").stdout)
    assert result["missing"] == result["different"] == result["twice"] == result["unexpected"] == 0


def test_health_tells_redis_and_upstream_apart(world):
    redis = world.redis()
    server = world.simulator("--live")
    world.writer()
    world.ingest()
    wait_for("ingest is ready", lambda: reachable(world.ingest_port) and get(world.ingest_port, "/ready")[0] == 200)
    wait_for("the writer is ready", lambda: reachable(world.write_port) and get(world.write_port, "/ready")[0] == 200)
    body = json.loads(get(world.write_port, "/health")[1])
    assert body["redis_connected"] is True and {"size", "memory_used", "oldest_event_age"} <= body.keys()
    server.kill()
    wait_for("ingest notices that upstream is gone", lambda: json.loads(get(world.ingest_port, "/health")[1])["jetstream_connected"] is False)
    assert get(world.ingest_port, "/ready")[0] == 503 and get(world.write_port, "/ready")[0] == 200
    redis.kill()
    wait_for("the writer notices that Redis is gone", lambda: json.loads(get(world.write_port, "/health")[1])["redis_connected"] is False)
    status, body = get(world.write_port, "/health")
    assert status == 200 and json.loads(body)["error"]
    assert get(world.write_port, "/ready")[0] == 503


def reachable(port):
    try:
        get(port, "/health")
        return True
    except OSError:
        return False


def test_compaction_keeps_every_event(world, tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_text(run("simulate", "--ndjson", "--count", 30000, "--network-rate", 4).stdout)
    lines = path.read_text().splitlines(keepends=True)
    for part in range(3):  # several files an hour
        piece = tmp_path / f"piece{part}.ndjson"
        piece.write_text("".join(lines[part::3]))
        run("import", "--data", world.lake, piece)
    before = json.loads(run("verify", "--data", world.lake, "--against", path, "--json").stdout)
    result = json.loads(run("compact", "--data", world.lake, "--json").stdout)
    assert result["rows"] == before["rows"] == 30000 and result["files_after"] < result["files_before"]
    after = json.loads(run("verify", "--data", world.lake, "--against", path, "--json").stdout)
    assert after["rows"] == 30000 and after["problems"] == after["missing"] == after["different"] == 0
    names = {p.name for p in world.lake.glob("year=*/month=*/day=*/hour=*/*.parquet")}
    assert {"posts.parquet", "likes.parquet", "follows.parquet", "reposts.parquet", "blocks.parquet"} <= names
    again = json.loads(run("compact", "--data", world.lake, "--json").stdout)
    assert again["hours"] == 0


def test_compaction_beside_a_writer_disturbs_neither(world):
    """Hours are compacted again and again while events go on arriving, late ones included."""
    count = 60000
    world.simulator("--count", count, "--network-rate", 3, "--rate", 20000)  # five and a half hours of time stamps in three seconds
    world.redis()
    writer, ingest = world.writer("write.interval=200ms"), world.ingest("source.cursor=2026-01-05T00:00:00Z")
    compacted, end = 0, time.monotonic() + 90
    while world.catalog_rows() < count:
        assert time.monotonic() < end, writer.text()[-2000:]
        done = run("compact", "--data", world.lake, "--json", check=False, timeout=60)
        if done.returncode == 0:
            compacted += json.loads(done.stdout)["hours"]
        assert writer.alive() and ingest.alive(), writer.text()[-2000:]
    assert ingest.stop() == 0 and writer.stop() == 0, writer.text()[-2000:]
    assert compacted > 0
    result = json.loads(run("verify", "--data", world.lake, "--against-simulator", f"seed=1,count={count},rate=3", "--json").stdout)
    assert result["missing"] == result["different"] == result["twice"] == result["unexpected"] == result["problems"] == 0


def test_events_scattered_over_weeks_are_imported(world, tmp_path):
    path = tmp_path / "sparse.ndjson"
    path.write_text(run("simulate", "--ndjson", "--count", 600, "--seed", 3).stdout)
    events = value_lines(path)
    for i, event in enumerate(events):
        event["time_us"] += i * 3 * 3600 * 1000000  # every event in an hour of its own
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    run("import", "--data", world.lake, path)
    result = json.loads(run("verify", "--data", world.lake, "--against", path, "--json").stdout)
    assert (result["rows"], result["missing"], result["different"], result["problems"]) == (600, 0, 0, 0)
