"""Two ingests on one Redis: the second waits, takes over when the first is gone, and they never take turns."""
import json
import os
import signal

import pytest

from harness import BINARY, free_port, get, metric, run, wait_for

COUNT = 12000


def health(port):
    try:
        return json.loads(get(port, "/health")[1])
    except OSError:
        return {}


class Pair:
    def __init__(self, world, lease):
        self.world, self.lease = world, lease
        world.simulator(f"--count={COUNT}", "--rate=1500")
        world.redis()
        self.first = world.ingest("source.cursor=2026-01-05", f"ingest.lease={lease}")
        self.buffering(world.ingest_port, 500)
        self.port = free_port()
        self.second = self.start(world.folder / "other", self.port, "second.log")

    def start(self, folder, port, log):
        world = self.world
        sets = [f"redis.socket={world.socket}", f"source.urls=ws://127.0.0.1:{world.source_port}", f"ingest.http=127.0.0.1:{port}",
                "source.cursor=2026-01-05", "source.backoff_max=1s", f"ingest.lease={self.lease}"]
        return world.add(BINARY, "ingest", f"--data={folder}", *[f"--set={s}" for s in sets], log=log)

    def buffering(self, port, count):
        wait_for("events are buffered", lambda: (metric(port, "bluelake_events_buffered_total") or 0) > count)

    def waits(self, port):
        wait_for("one waits and says so", lambda: "INGEST_STANDBY" in health(port).get("alerts", []))

    def finish(self, port, ingest):
        world = self.world
        writer = world.writer("write.interval=200ms")
        wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
        assert ingest.alive() and "INGEST_STANDBY" not in health(port)["alerts"]
        for process in self.second, self.first:
            if process.alive():
                assert process.stop() == 0, process.text()[-2000:]
        assert writer.stop() == 0, writer.text()[-2000:]
        result = json.loads(run("verify", "--data", world.lake, f"--against-simulator=seed=1,count={COUNT}", "--buffer",
                                f"--set=redis.socket={world.socket}", "--json").stdout)
        assert result["missing"] == result["twice"] == result["different"] == result["problems"] == 0


def test_the_second_waits_and_takes_over_from_a_killed_one(world):
    pair = Pair(world, "2s")
    pair.waits(pair.port)
    status, body = get(pair.port, "/ready")
    assert status == 503 and "another ingest" in json.loads(body)["error"] and "REDIS_FAILURE" not in body
    assert "holds the lease" in pair.second.text() and str(world.lake) in pair.second.text()
    before = metric(world.ingest_port, "bluelake_events_buffered_total")
    pair.buffering(world.ingest_port, before + 1500)
    assert metric(pair.port, "bluelake_events_received_total") == metric(world.ingest_port, "bluelake_sessions_restarted_total") == 0
    pair.first.kill()
    pair.buffering(pair.port, 100)
    pair.first.start()
    pair.waits(world.ingest_port)
    pair.finish(pair.port, pair.second)


def test_a_holder_that_was_frozen_gives_way_and_they_do_not_take_turns(world):
    pair = Pair(world, "2s")
    pair.waits(pair.port)
    pair.first.child.send_signal(signal.SIGSTOP)
    pair.buffering(pair.port, 100)
    pair.first.child.send_signal(signal.SIGCONT)
    pair.waits(world.ingest_port)
    before = metric(pair.port, "bluelake_events_buffered_total")
    pair.buffering(pair.port, before + 1500)
    assert "INGEST_STANDBY" in health(world.ingest_port)["alerts"]
    assert metric(world.ingest_port, "bluelake_sessions_restarted_total") == 1
    assert metric(pair.port, "bluelake_sessions_restarted_total") <= 1  # what the first had under way when it woke
    pair.finish(pair.port, pair.second)


def test_an_emptied_redis_stays_with_its_holder(world):
    pair = Pair(world, "6s")
    pair.waits(pair.port)
    wait_for("the lease is new", lambda: int(world.redis_cli("pttl", "firehose:lease:ingest")) > 5000)
    assert world.redis_cli("flushall") == "OK"
    pair.buffering(world.ingest_port, metric(world.ingest_port, "bluelake_events_buffered_total") + 1500)
    wait_for("its lease is there again", lambda: world.redis_cli("get", "firehose:lease:ingest").endswith(str(world.lake)))
    assert "INGEST_STANDBY" in health(pair.port)["alerts"]
    pair.finish(world.ingest_port, pair.first)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_successor_in_the_same_folder_does_not_wait(world, how):
    pair = Pair(world, "10m")
    pair.waits(pair.port)
    getattr(pair.first, how)()
    if how == "stop":  # a lease given back is free for anybody who asks anew
        assert world.redis_cli("exists", "firehose:lease:ingest") == "0"
    pair.first.start()
    pair.buffering(world.ingest_port, 100)
    pair.finish(world.ingest_port, pair.first)


def test_two_in_one_folder_are_refused(world):
    pair = Pair(world, "10s")
    third = pair.start(world.lake, free_port(), "third.log")
    assert third.child.wait(30) == 1
    assert "another ingest uses" in third.text() and "--data" in third.text()
    pair.finish(world.ingest_port, pair.first)
