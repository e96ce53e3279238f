"""Each alert begins when its condition does, and ends with it: in /health, in /metrics and in the log."""
import json
import os
import signal

import pytest

from harness import BINARY, FIXTURE, free_port, get, metric, wait_for
from shim import SHIM, needs_shim
from test_gaps import half_way_through_a_loss, start

COUNT = 6000
START = "source.cursor=2026-01-05T00:00:00Z"


def alerts(port):
    try:
        return set(json.loads(get(port, "/health")[1])["alerts"])
    except OSError:
        return set()


def begins(port, *names):
    wait_for(f"{names} begin", lambda: set(names) <= alerts(port))
    page = get(port, "/metrics")[1]
    assert all(f'bluelake_alert{{alert="{name}",severity="' in page for name in names)


def ends(port, *names):
    wait_for(f"{names} end", lambda: json.loads(get(port, "/health")[1]) and not set(names) & alerts(port))


def shimmed(world, **more):
    return {**os.environ, "LD_PRELOAD": str(SHIM), "BL_SHIM_WHILE": str(world.folder / "trouble"), "BL_SHIM_UNDER": str(world.lake), **more}


@pytest.mark.parametrize("every, alarming", [(50, True), (200, False)])
def test_two_of_a_hundred_bad_messages_are_alarming_and_one_of_two_hundred_is_not(world, every, alarming):
    world.simulator("--count", COUNT, "--misbehave", f"poison-every={every}")
    world.redis()
    writer, ingest = world.writer("write.dead_letters=20"), world.ingest()
    begins(world.write_port, "DEAD_LETTERS")
    if alarming:
        begins(world.ingest_port, "DATA_QUALITY")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT)
    ingest.stop()
    writer.stop()
    assert ("alert DATA_QUALITY begins" in ingest.text()) == alarming


def test_redis_that_is_gone_is_an_alert_of_both_roles(world):
    world.simulator("--count", COUNT, "--rate", 300)
    redis = world.redis()
    writer, ingest = world.writer(), world.ingest(START, "ingest.spill_after=300ms", "source.max_lag=0")
    wait_for("events flow", lambda: world.catalog_rows() > 0)
    assert not alerts(world.write_port) and not alerts(world.ingest_port)
    redis.kill()
    begins(world.write_port, "REDIS_FAILURE")
    begins(world.ingest_port, "REDIS_FAILURE", "BUFFER_SPILLING")
    world.redis()
    ends(world.write_port, "REDIS_FAILURE")
    ends(world.ingest_port, "REDIS_FAILURE", "BUFFER_SPILLING")
    for role in writer, ingest:
        assert "alert REDIS_FAILURE begins severity=critical" in role.text() and "alert REDIS_FAILURE ends" in role.text()


def test_a_silent_upstream_is_an_alert(world):
    simulator = world.simulator("--count", COUNT, "--misbehave", "stall-after=1000")
    world.redis()
    world.ingest("ready.received=1s", "source.idle_limit=1h")
    begins(world.ingest_port, "JETSTREAM_SILENT")
    simulator.kill()
    world.simulator("--live")
    ends(world.ingest_port, "JETSTREAM_SILENT")


def test_the_loss_of_one_of_two_hosts_is_an_alert(world):
    ports = [free_port(), free_port()]
    hosts = [world.add(BINARY, "simulate", f"--listen=127.0.0.1:{port}", "--live", log=f"host{port}.log") for port in ports]
    world.redis()
    ingest = world.ingest(f"source.urls={','.join(f'ws://127.0.0.1:{port}' for port in ports)}", "source.redundancy=2", "ready.received=2s")
    wait_for("both deliver", lambda: metric(world.ingest_port, "bluelake_source_hosts_connected") == 2)
    hosts[1].kill()
    begins(world.ingest_port, "JETSTREAM_HOST_LOST")
    hosts[1].start()
    ends(world.ingest_port, "JETSTREAM_HOST_LOST")
    assert "JETSTREAM_SILENT" not in ingest.text()


@needs_shim
@pytest.mark.parametrize("age, names", [(301, {"DATA_WRITER_FAILURE_WARNING"}), (3601, {"DATA_WRITER_FAILURE_WARNING", "DATA_WRITER_FAILURE_CRITICAL"})])
def test_events_that_wait_for_long_are_alerts_by_age(world, age, names):
    """The writer's clock says that the events have waited for so long; it may not write, and then it may."""
    world.simulator("--count", COUNT)
    world.redis()
    ingest = world.ingest()
    wait_for("everything is buffered", lambda: (world.buffered() or 0) >= COUNT)
    ingest.stop()
    (world.folder / "trouble").touch()
    writer = world.writer("write.min_free=1000000g", env=shimmed(world, BL_SHIM_CLOCK=str(age)))
    begins(world.write_port, "BUFFER_OVERFLOW", "LAKE_FAILURE", *names)
    assert ("DATA_WRITER_FAILURE_CRITICAL" in alerts(world.write_port)) == (age > 3600)
    writer.stop()
    writer = world.writer(env=shimmed(world, BL_SHIM_CLOCK=str(age)))
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT)
    ends(world.write_port, "BUFFER_OVERFLOW", "LAKE_FAILURE", *names)


@needs_shim
def test_a_commit_that_takes_long_is_an_alert(world):
    world.simulator("--count", 60000, "--rate", 1500)
    world.redis()
    world.writer("write.slow=100ms", env=shimmed(world, BL_SHIM="fsync:1+:d200"))
    world.ingest(START)
    wait_for("something is in the lake", lambda: world.catalog_rows() > 0)
    (world.folder / "trouble").touch()
    begins(world.write_port, "DATA_WRITER_DELAYED", "DATA_WRITER_SLOW")
    assert metric(world.write_port, "bluelake_commit_duration_seconds") > 0.8
    (world.folder / "trouble").unlink()
    ends(world.write_port, "DATA_WRITER_SLOW")


def clocks(port):
    try:
        return json.loads(get(port, "/ready")[1])["clocks"]
    except OSError:
        return {}


def late(port, stage):
    wait_for(f"{stage} is late", lambda: clocks(port).get(stage, {}).get("late"))
    assert get(port, "/ready")[0] == 503 and get(port, "/health")[0] == 200, "alive, and not ready"


def test_each_stage_has_a_clock_of_its_own(world):
    world.simulator("--live")
    redis = world.redis()
    world.ingest("ready.buffered=1s", "ready.received=5s", "ingest.spill_bytes=0", "redis.timeout=300ms")
    world.writer("ready.read=2s", "ready.written=5s", "redis.timeout=300ms")
    ports = {"witnessed": world.ingest_port, "received": world.ingest_port, "buffered": world.ingest_port, "read": world.write_port,
             "written": world.write_port}
    wait_for("every clock runs", lambda: all(clocks(port).get(stage, {}).get("age_seconds") is not None for stage, port in ports.items()))
    wait_for("both are ready", lambda: all(get(port, "/ready")[0] == 200 for port in ports.values()))
    os.kill(redis.child.pid, signal.SIGSTOP)
    late(world.ingest_port, "buffered")
    late(world.write_port, "read")
    os.kill(redis.child.pid, signal.SIGCONT)
    wait_for("both are ready again", lambda: all(get(port, "/ready")[0] == 200 for port in ports.values()))


def test_what_waits_too_long_for_the_lake_is_late(world):
    world.simulator("--count", COUNT)
    world.redis()
    world.ingest()
    wait_for("everything is buffered", lambda: (world.buffered() or 0) >= COUNT)
    world.writer("write.min_free=1000000g", "ready.written=1s")
    late(world.write_port, "written")


def test_a_redis_that_is_full_is_an_overflow_and_not_a_failure(world):
    world.simulator("--count", 40000, "--rate", 12000)
    world.redis("--maxmemory", "6mb")
    ingest = world.ingest(START, "ingest.breaker_retry=100ms", "ingest.spill_after=300ms")
    begins(world.ingest_port, "BUFFER_OVERFLOW", "BUFFER_SPILLING")
    state = json.loads(get(world.ingest_port, "/health")[1])
    assert "REDIS_FAILURE" not in state["alerts"] and state["redis_connected"] is True and "above the high-water mark" in state["error"]
    assert metric(world.ingest_port, "redis_connected") == 1 and get(world.ingest_port, "/ready")[0] == 503
    world.redis_cli("config", "set", "maxmemory", "1gb")
    world.writer()
    ends(world.ingest_port, "BUFFER_OVERFLOW", "BUFFER_SPILLING")
    assert "alert REDIS_FAILURE" not in ingest.text()


@pytest.mark.parametrize("filters", [[], ["source.collections=app.bsky.feed.post"]])
def test_a_stream_of_which_nothing_is_accepted_is_not_ready(world, filters):
    good = [json.loads(line) for line in FIXTURE.read_text().splitlines()]
    bad = [{**good[i % len(good)], "kind": 7, "time_us": 1767571200000000 + i * 5000} for i in range(60000)]
    events = world.folder / "events.ndjson"
    events.write_text("".join(json.dumps(event) + "\n" for event in bad))
    world.simulator("--from", events, "--rate", 200)
    world.redis()
    ingest = world.ingest(START, "ready.received=2s", *filters)
    wait_for("ingest refuses", lambda: (metric(world.ingest_port, "bluelake_events_rejected_total") or 0) > 100)
    begins(world.ingest_port, "JETSTREAM_SILENT")
    late(world.ingest_port, "received")
    state = json.loads(get(world.ingest_port, "/ready")[1])
    assert state["stream"] == "refused" and "every message is refused" in state["error"] and state["last_message_age_seconds"] < 2
    assert metric(world.ingest_port, "bluelake_events_received_total") == 0, ingest.text()


def test_half_a_day_of_lag_is_an_alert_until_it_is_caught_up(world):
    simulator = world.simulator("--count", COUNT)
    world.redis()
    ingest = world.ingest(START)
    begins(world.ingest_port, "JETSTREAM_LAG")
    assert metric(world.ingest_port, "bluelake_ingest_lag_seconds") > 12 * 3600
    simulator.kill()
    world.simulator("--live", "--lookback", "20s")
    ends(world.ingest_port, "JETSTREAM_LAG")
    assert not {"CLOCK_SKEW", "JETSTREAM_SILENT"} & alerts(world.ingest_port)
    assert "alert JETSTREAM_LAG begins severity=critical" in ingest.text()


def test_a_batch_that_waits_for_its_events_is_not_slow(world):
    """The specification's rule is data_writer_processing_duration_seconds > 240, and a batch is open for write.interval."""
    world.simulator("--live", "--rate", 200)
    world.redis()
    world.writer("write.interval=10s")
    world.ingest()
    wait_for("something is in the lake", lambda: world.catalog_rows() > 200)
    wait_for("it is counted", lambda: metric(world.write_port, "data_writer_processing_duration_seconds"))
    took = metric(world.write_port, "data_writer_processing_duration_seconds")
    assert metric(world.write_port, "bluelake_commit_duration_seconds") <= took < 7, "of the 8 s it was open"
    assert metric(world.write_port, "data_writer_events_processed_per_second") > 0


def test_a_gap_is_an_alert_of_both_roles_until_it_is_filled(world):
    world.redis()
    ingest, writer = half_way_through_a_loss(world)
    begins(world.ingest_port, "JETSTREAM_GAP")
    ingest.kill()
    start(world)
    writer.child.send_signal(signal.SIGCONT)
    begins(world.ingest_port, "JETSTREAM_GAP")
    begins(world.write_port, "JETSTREAM_GAP")
    world.simulator("--count", 40000)
    ends(world.ingest_port, "JETSTREAM_GAP")
    ends(world.write_port, "JETSTREAM_GAP")
    assert metric(world.write_port, "bluelake_gaps_open") == 0


def test_a_gap_that_nobody_fills_is_an_alert_of_the_next_writer(world):
    settings = START, "source.rewind=1s", "source.host_switch_rewind=1s"
    simulator = world.simulator("--count", 1000, "--network-rate", 30)
    world.redis()
    ingest, writer = world.ingest(*settings), world.writer()
    wait_for("the beginning is in the lake", lambda: world.catalog_rows() >= 1000)
    ingest.stop()
    simulator.kill()
    world.simulator("--count", COUNT, "--network-rate", 30, "--lookback", "20s")
    ingest = world.ingest(*settings)
    begins(world.ingest_port, "JETSTREAM_GAP")
    begins(world.write_port, "JETSTREAM_GAP")
    ingest.stop()
    writer.stop()
    world.writer()
    begins(world.write_port, "JETSTREAM_GAP")
