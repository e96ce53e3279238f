"""The wall clock is set, forth and back, while everything runs: nothing hangs, nothing is shown as negative, and it is told."""
import json
import os

from harness import get, metric, wait_for
from shim import SHIM, needs_shim

COUNT = 40000


def jumping(world, seconds):
    """The environment of a role whose wall clock is so much ahead while the file exists."""
    return {**os.environ, "LD_PRELOAD": str(SHIM), "BL_SHIM_WHILE": str(world.folder / "jump"), "BL_SHIM_CLOCK": str(seconds)}


def health(port):
    try:
        return json.loads(get(port, "/health")[1])
    except OSError:
        return {"alerts": []}


@needs_shim
def test_a_wall_clock_that_is_set_back_while_the_queue_is_full_does_not_hold_ingest_up(world):
    world.simulator("--count", COUNT, "--rate", 4000)
    redis = world.redis()
    world.ingest("source.cursor=2026-01-05T00:00:00Z", "ingest.queue_bytes=1m", "ingest.spill_bytes=0", "ingest.breaker_retry=100ms",
                 env=jumping(world, 3600))
    wait_for("events flow", lambda: (metric(world.ingest_port, "bluelake_events_buffered_total") or 0) > 3000)
    redis.kill()
    (world.folder / "jump").touch()
    wait_for("the queue is full", lambda: (metric(world.ingest_port, "bluelake_ingest_queue_bytes") or 0) >= 1000000)
    looked = metric(world.ingest_port, "bluelake_buffer_refused_total")
    wait_for("Redis is tried again", lambda: metric(world.ingest_port, "bluelake_buffer_refused_total") != looked)
    (world.folder / "jump").unlink()
    world.redis()
    wait_for("everything is buffered", lambda: (world.buffered() or 0) >= COUNT)


@needs_shim
def test_events_from_the_future_are_told_as_a_skewed_clock_and_no_age_is_negative(world):
    (world.folder / "jump").touch()
    world.simulator("--live", "--rate", 300)
    world.redis()
    world.ingest(env=jumping(world, -7200))
    world.writer("write.interval=1h", env=jumping(world, -7200))
    wait_for("both roles tell it", lambda: all("CLOCK_SKEW" in health(port)["alerts"] for port in (world.ingest_port, world.write_port)))
    assert metric(world.ingest_port, "bluelake_ingest_lag_seconds") == 0 and metric(world.ingest_port, "bluelake_events_ahead_total") > 100
    assert health(world.ingest_port)["lag_seconds"] == 0 and health(world.write_port)["oldest_event_age"] == 0
