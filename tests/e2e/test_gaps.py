"""A gap that is being filled when ingest is killed: the next one goes on with it, and no row closes whose events did not come."""
import json
import shutil
import signal
import sqlite3

import pytest

from harness import World, free_port, get, metric, run, wait_for

COUNT, HALF, RATE = 40000, 20000, 12000
OVERLAP = ("source.rewind=1s", "source.host_switch_rewind=1s")  # 300 events of the simulated network
LOST = "buffer_lost"


@pytest.fixture
def flow(world):
    world.redis_process = world.redis()
    return world


def answers(port):
    try:
        return get(port, "/health")[0] == 200
    except OSError:
        return False


def start(world, *sets):
    ingest = world.ingest("source.cursor=2026-01-05", "ingest.breaker_retry=100ms", "ingest.spill_after=300ms", *OVERLAP, *sets)
    wait_for("ingest answers", lambda: answers(world.ingest_port))
    return ingest


def ingested(world, name):
    return metric(world.ingest_port, f"bluelake_{name}") or 0


def rows(world):
    if not (world.lake / "catalog.sqlite").exists():
        return []
    with sqlite3.connect(f"file:{world.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10) as db:
        return db.execute("SELECT reason, healed FROM gaps ORDER BY from_us").fetchall()


def compare(world, count=COUNT):
    done = run("verify", "--data", world.lake, f"--against-simulator=seed=1,count={count}", "--buffer", f"--set=redis.socket={world.socket}",
               "--json", check=False)
    return json.loads(done.stdout)


def finish(world, ingest, writer):
    """To the end of the network, everything in the lake."""
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive() or not writer.alive())
    assert ingest.stop() == 0, ingest.text()[-3000:]
    assert writer.stop() == 0, writer.text()[-3000:]
    result = compare(world)
    assert not any(result[key] for key in ("missing", "twice", "different", "unexpected", "problems")), result


def half_in_redis(world):
    """The first half of the network is buffered, its beginning is in the lake and settled, and the writer stands still."""
    simulator = world.simulator(f"--count={HALF}", f"--rate={RATE}")
    ingest, writer = start(world), world.writer("write.interval=500ms")
    wait_for("something is in the lake", lambda: world.catalog_rows() > 0)
    writer.child.send_signal(signal.SIGSTOP)
    wait_for("the half is buffered", lambda: ingested(world, "events_buffered_total") >= HALF)
    wait_for("the settled position is kept", (world.lake / "spill/position").exists)
    assert world.catalog_rows() < HALF / 2
    simulator.kill()
    return ingest, writer


def cursor(world):
    return int(world.redis_cli("hget", "firehose:metadata", "cursor_us") or 0)


def half_way_through_a_loss(world):
    """Redis loses a queue; upstream serves part of what was lost, and falls silent."""
    ingest, writer = half_in_redis(world)
    reached = cursor(world)
    world.redis_cli("del", "firehose:likes:queue")
    wait_for("ingest notices", lambda: ingested(world, "gaps_total") == 1)
    simulator = world.simulator(f"--count={COUNT}", "--misbehave=stall-after=4000")
    wait_for("part of it came again", lambda: ingested(world, "events_buffered_total") >= HALF + 4000)
    assert 0 < cursor(world) < reached and ingested(world, "gaps_healed_total") == 0
    simulator.kill()
    return ingest, writer


@pytest.mark.parametrize("meanwhile", ["nothing-else", "Redis-is-emptied"])
def test_a_loss_that_was_being_fetched_again_is_healed_by_the_next_ingest(flow, meanwhile):
    ingest, writer = half_way_through_a_loss(flow)
    ingest.kill()
    if meanwhile == "Redis-is-emptied":
        flow.redis_cli("flushall")
    flow.simulator(f"--count={COUNT}")
    writer.child.send_signal(signal.SIGCONT)
    finish(flow, start(flow), writer)
    assert rows(flow) == [(LOST, 1)]


def test_a_loss_whose_rest_upstream_no_longer_serves_stays_open(flow):
    ingest, writer = half_way_through_a_loss(flow)
    ingest.kill()
    flow.simulator(f"--count={COUNT}", "--lookback=20s")  # begins with event 34,000
    writer.child.send_signal(signal.SIGCONT)
    for _ in range(2):  # the second one finds the position behind the loss
        ingest = start(flow)
        wait_for("the end is in the lake", lambda: flow.redis_cli("xlen", "firehose:posts:queue") == "0" and len(rows(flow)) == 2)
        ingest.kill()
    writer.stop()
    assert rows(flow) == [(LOST, 0), ("cursor_too_old", 0)]
    assert compare(flow)["missing"] > 0


def test_a_loss_that_was_healed_in_an_emptied_redis_alone_is_healed_again(flow):
    """The events came again and the note that says so lay in Redis; then both were gone, ingest too."""
    ingest, writer = half_in_redis(flow)
    flow.redis_cli("del", "firehose:likes:queue")
    wait_for("ingest notices", lambda: ingested(flow, "gaps_total") == 1)
    flow.simulator(f"--count={COUNT}")
    wait_for("the gap is healed", lambda: ingested(flow, "gaps_healed_total") == 1)
    ingest.kill()
    flow.redis_cli("flushall")
    writer.child.send_signal(signal.SIGCONT)
    finish(flow, start(flow), writer)
    assert rows(flow) == [(LOST, 1)]


def test_a_gap_that_another_host_was_filling_is_filled_by_the_next_ingest(flow):
    """The host that has it falls silent in the middle, ingest is killed: the next one asks for all of it again."""
    flow.simulator(f"--count={HALF // 2}")
    ingest, writer = start(flow), flow.writer("write.interval=500ms")
    wait_for("the beginning is in the lake", lambda: flow.catalog_rows() >= HALF // 2)
    ingest.kill()
    reached = cursor(flow) + 60_000_000
    flow.processes[1].kill()
    first = flow.source_port
    flow.simulator(f"--count={COUNT}", "--lookback=20s")
    flow.source_port = free_port()
    other = flow.simulator(f"--count={COUNT}", "--misbehave=stall-after=2000")
    hosts = f"source.urls=ws://127.0.0.1:{first},ws://127.0.0.1:{flow.source_port}"
    ingest = start(flow, hosts)
    wait_for("the gap is on record", lambda: rows(flow) == [("cursor_too_old", 0)])
    wait_for("it is being filled", lambda: ingested(flow, "events_buffered_total") >= COUNT - 34000 + 1000)
    wait_for("the position is behind it", lambda: cursor(flow) > reached)
    ingest.kill()
    other.kill()
    flow.simulator(f"--count={COUNT}")
    finish(flow, start(flow, hosts), writer)
    assert rows(flow) == [("cursor_too_old", 1)]


def test_blocks_from_the_disk_do_not_carry_the_position_over_what_redis_lost(flow):
    """Redis comes back empty while segments wait: they are drained at once, but what lies before them has yet to come again."""
    ingest, writer = half_in_redis(flow)
    ingest.kill()  # the next one remembers no blocks that it could send again
    simulator = flow.simulator(f"--count={COUNT}", "--misbehave=stall-after=4000")
    ingest = start(flow)
    wait_for("it buffers", lambda: ingested(flow, "events_buffered_total") >= 3900)
    flow.redis_process.kill()
    simulator.kill()
    simulator = flow.simulator(f"--count={COUNT}", "--misbehave=stall-after=8000")
    wait_for("blocks go to disk", lambda: ingested(flow, "events_spilled_total") >= 7900)
    simulator.kill()
    shutil.rmtree(flow.redis_dir / "appendonlydir")
    flow.redis()
    wait_for("the segments are drained", lambda: "everything that was spilled is in Redis" in ingest.text())
    assert "Redis lost its contents" in ingest.text()
    ingest.kill()
    flow.simulator(f"--count={COUNT}")
    writer.child.send_signal(signal.SIGCONT)
    finish(flow, start(flow), writer)
    assert rows(flow) == [(LOST, 1)]


def served(world, events):
    """Upstream, which falls silent after so many events to whoever comes."""
    return world.simulator(f"--count={COUNT}", f"--misbehave=stall-after={events}")


def test_a_segment_behind_what_redis_lost_does_not_carry_the_position_over_it(flow):
    """Blocks went to disk, then to Redis, then to disk; Redis loses those in the middle, and ingest dies before it notices."""
    part, new = 5000, 4000
    host = served(flow, part)
    ingest = start(flow)
    wait_for("the first part is buffered", lambda: ingested(flow, "events_buffered_total") >= part)
    flow.redis_process.kill()
    host.kill()
    host = served(flow, part)
    wait_for("the second part is on disk", lambda: ingested(flow, "events_spilled_total") >= new)
    flow.redis_process = flow.redis()
    wait_for("it is drained", lambda: ingested(flow, "events_buffered_total") == 2 * part)
    (aof,) = (flow.redis_dir / "appendonlydir").glob("*.incr.aof")
    kept, spilled = aof.stat().st_size, ingested(flow, "events_spilled_total")
    host.kill()
    host = served(flow, part)
    wait_for("the third part is in Redis", lambda: ingested(flow, "events_buffered_total") == 3 * part)
    flow.redis_process.kill()
    with open(aof, "r+b") as file:
        file.truncate(kept)
    host.kill()
    host = served(flow, part)
    wait_for("the fourth part is on disk", lambda: ingested(flow, "events_spilled_total") >= spilled + new)
    ingest.kill()
    host.kill()
    flow.redis("--aof-load-truncated", "yes")
    flow.simulator(f"--count={COUNT}")
    finish(flow, start(flow), flow.writer("write.interval=500ms"))


SLOW, LONG, LATER = 30, 6000, 1000  # events a second of the network's time, all there are, and those before the host was away
TRUTH_ARGS = ("--count", LONG, "--network-rate", SLOW)


def open_rows(world):
    with sqlite3.connect(f"file:{world.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10) as db:
        return db.execute("SELECT from_us, to_us, reason, healed FROM gaps ORDER BY from_us").fetchall()


@pytest.mark.parametrize("lost_s", [5, 40])
@pytest.mark.parametrize("family", [(), ("--v2",)], ids=["v1", "v1-on-v2-host"])
@pytest.mark.parametrize("where", ["the-same-host", "the-same-host-later", "another-host"])
def test_a_loss_of_seconds_is_on_record_to_the_event(flow, where, family, lost_s):
    """Upstream goes on some seconds behind the newest event that it has delivered: what is missing lies inside the row, all of it."""
    if where == "another-host":
        lost_s += 10  # clocks may differ by so much
    truth = [json.loads(line)["time_us"] for line in run("simulate", "--ndjson", *TRUTH_ARGS).stdout.splitlines()]
    lookback_us = truth[-1] - truth[LATER - 1] - lost_s * 1_000_000
    floor = min(t for t in truth if t >= truth[-1] - lookback_us)
    kept = truth[:LATER] + [t for t in truth if t >= floor]
    first, network = flow.source_port, (f"--network-rate={SLOW}", *family)
    other = free_port() if where == "another-host" else first
    hosts = ",".join(f"ws://127.0.0.1:{port}" for port in dict.fromkeys([first, other]))
    host = flow.simulator(f"--count={LATER}", *network)
    writer = flow.writer()
    ingest = flow.ingest("source.cursor=2026-01-05", "source.backoff_min=20ms", f"source.urls={hosts}")
    wait_for("the beginning is in the lake", lambda: flow.catalog_rows() >= LATER)
    if where == "the-same-host-later":
        assert ingest.stop() == 0
    host.kill()
    flow.source_port = other
    flow.simulator(f"--count={LONG}", f"--lookback={lookback_us // 1000}ms", *network)
    if where == "the-same-host-later":
        ingest.start()
    wait_for("the rest is in the lake", lambda: flow.catalog_rows() >= len(kept) and open_rows(flow))
    wait_for("the alert", lambda: "JETSTREAM_GAP" in json.loads(get(flow.ingest_port, "/health")[1])["alerts"])
    assert ingested(flow, "gaps_total") == 1
    assert ingest.stop() == 0 and writer.stop() == 0
    ((begin, end, reason, healed),) = open_rows(flow)
    in_lake = sorted(json.loads(line)["time_us"] for line in run("export", "--data", flow.lake).stdout.split("\n") if line)
    assert in_lake == kept and (end, reason, healed) == (floor, "cursor_too_old", 0)
    assert begin == truth[LATER - 1] and floor - begin > lost_s * 1_000_000
