"""Redis down, slow, read-only, full, emptied, set back, replaced: nothing is lost, nothing is there twice, and it shows."""
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from harness import BINARY, REPO, SANITIZED, free_port, get, metric, run, wait_for

sys.path.insert(0, str(REPO / "tests/fault"))
from proxy import Proxy  # noqa: E402

COUNT, RATE = 40000, 12000
BEGINNING = "source.cursor=2026-01-05"  # where the simulated network begins; without it a paced one is joined live


@pytest.fixture
def flow(world):
    """A simulated network that takes a few seconds to be read, and a Redis; the test starts the roles."""
    world.simulator(f"--count={COUNT}", f"--rate={RATE}")
    world.redis_process = world.redis("--aof-load-truncated", "yes")
    return world


def ready(port):
    def answers():
        try:
            return get(port, "/health")[0] == 200
        except OSError:
            return False
    wait_for("the role answers", answers)


def start(world, ingest_sets=(), write_sets=(), env=None):
    ingest = world.ingest(BEGINNING, "ingest.breaker_retry=100ms", "ingest.spill_after=300ms", *ingest_sets, env=env)
    writer = world.writer("write.interval=500ms", *write_sets) if write_sets is not None else None
    ready(world.ingest_port)
    return ingest, writer


def buffered(world):
    return metric(world.ingest_port, "bluelake_events_buffered_total") or 0


def until_buffered(world, count):
    wait_for(f"{count} events are buffered", lambda: buffered(world) >= count)


def ingest_metric(world, name):
    return metric(world.ingest_port, f"bluelake_{name}") or 0


def finish(world, ingest, writer=None, count=COUNT):
    writer = writer or world.writer("write.interval=500ms")
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= count or not writer.alive() or not ingest.alive(), 40)
    assert ingest.alive(), ingest.text()[-3000:]
    assert ingest.stop() == 0, ingest.text()[-3000:]
    ready(world.write_port)
    assert writer.stop() == 0, writer.text()[-3000:]
    return proof(world)


def proof(world, count=COUNT):
    done = run("verify", "--data", world.lake, f"--against-simulator=seed=1,count={count}", "--buffer", f"--set=redis.socket={world.socket}",
               "--json", check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0, (result, done.stderr[-2000:])
    assert result["missing"] == result["twice"] == result["different"] == result["unexpected"] == result["problems"] == 0
    return result


def resident(process):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{process.child.pid}/status").read()).group(1)) >> 10


def test_a_redis_that_is_down_is_bridged_by_the_disk_with_flat_memory(flow):
    # A sanitizer holds back freed memory, by default 256 MB of it, and takes half as much again for itself.
    hold_back_little = os.environ | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}
    ingest, writer = start(flow, ["ingest.queue_bytes=1m"], env=hold_back_little)
    until_buffered(flow, COUNT // 8)
    flow.redis_process.kill()
    wait_for("the breaker opens", lambda: ingest_metric(flow, "buffer_breaker_open") == 1)
    wait_for("upstream is read to its end", lambda: ingest_metric(flow, "events_received_total") >= COUNT * 0.99)
    assert ingest_metric(flow, "events_spilled_total") > COUNT / 3
    assert resident(ingest) < (128 if SANITIZED else 64), "MB resident while Redis is away"
    ingest.kill()  # what was spilled survives
    flow.redis()
    ingest, _ = start(flow, write_sets=None)
    finish(flow, ingest, writer)


def test_without_a_spill_ingest_waits_and_asks_again(flow):
    ingest, writer = start(flow, ["ingest.spill_bytes=0", "ingest.queue_bytes=1m"])
    until_buffered(flow, COUNT // 8)
    flow.redis_process.kill()
    wait_for("the breaker opens", lambda: ingest_metric(flow, "buffer_breaker_open") == 1)
    flow.redis()
    finish(flow, ingest, writer)
    assert not list(flow.lake.glob("spill/*.seg"))


@pytest.mark.parametrize("trouble", ["slow", "read-only"])
def test_a_redis_that_answers_late_or_refuses_to_write(flow, trouble):
    ingest, writer = start(flow, ["redis.timeout=300ms"])
    until_buffered(flow, COUNT // 8)
    if trouble == "slow":
        flow.redis_cli("client", "pause", 1500, "all")
        wait_for("an answer is late", lambda: ingest_metric(flow, "buffer_refused_total") > 0)
        assert "gave no answer within" in ingest.text(), ingest.text()[-1000:]
    else:
        flow.redis_cli("config", "set", "replica-serve-stale-data", "yes")
        flow.redis_cli("replicaof", "127.0.0.1", 1)
        wait_for("the breaker opens", lambda: ingest_metric(flow, "buffer_breaker_open") == 1)
        flow.redis_cli("replicaof", "no", "one")
    finish(flow, ingest, writer)


def test_a_block_that_arrived_unanswered_and_was_spilled_is_counted_once(world):
    """Redis carries the append out and its answer is lost: the block goes to disk, and is recognised when it is drained."""
    world.simulator(f"--count={COUNT}", f"--rate={RATE}")
    port = free_port()
    world.redis("--port", port)
    link = Proxy(port)
    try:
        ingest, writer = start(world, ["redis.socket=", f"redis.port={link.port}", "redis.timeout=200ms", "ingest.spill_after=1ms"])
        for part in range(1, 5):
            until_buffered(world, COUNT * part // 8)
            link.deaf_after = b"EXEC\r\n"  # the answer to another command would not leave the append in doubt
            wait_for("the breaker opens", lambda: ingest_metric(world, "buffer_breaker_open") == 1)
            link.set("pass")
            wait_for("the breaker closes", lambda: ingest_metric(world, "buffer_breaker_open") == 0)
        assert ingest_metric(world, "sessions_restarted_total") == 0
        finish(world, ingest, writer)
    finally:
        link.close()


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_a_full_redis_evicts_nothing_below_the_high_water_mark(flow, policy):
    flow.redis_cli("config", "set", "maxmemory", "6mb", "maxmemory-policy", policy)
    ingest, _ = start(flow, write_sets=None)
    wait_for("upstream is read to its end", lambda: ingest_metric(flow, "events_received_total") >= COUNT * 0.99)
    wait_for("the disk took what Redis could not", lambda: ingest_metric(flow, "events_spilled_total") > 0)
    assert "evicted_keys:0" in flow.redis_cli("info", "stats")
    finish(flow, ingest)
    assert "evicted_keys:0" in flow.redis_cli("info", "stats")


def evicted(world):
    return int(re.search(r"evicted_keys:(\d+)", world.redis_cli("info", "stats")).group(1))


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
@pytest.mark.parametrize("writing", [True, False])
def test_what_redis_throws_away_past_maxmemory_is_on_record_and_comes_again(flow, policy, writing):
    """The policy of the specification, driven past maxmemory with the high-water mark put out of the way."""
    flow.redis_cli("config", "set", "maxmemory", "4mb", "maxmemory-policy", policy)
    sets = ["write.interval=30s"]  # a slow writer, or one that is away
    ingest, writer = start(flow, ["redis.high_water=1g"], sets if writing else None)
    wait_for("Redis evicts", lambda: evicted(flow) > 0)
    wait_for("ingest notices", lambda: ingest_metric(flow, "gaps_total") > 0)
    assert f"maxmemory-policy is {policy}" in ingest.text() and "noeviction" in ingest.text()
    flow.redis_cli("config", "set", "maxmemory", "1gb")
    if writing:
        writer.kill()
    writer = flow.writer("write.interval=500ms")
    ready(flow.write_port)
    wait_for("the eviction shows", lambda: (metric(flow.write_port, "bluelake_buffer_evicted_keys") or 0) > 0)
    wait_for("the gap is healed", lambda: ingest_metric(flow, "gaps_healed_total") >= ingest_metric(flow, "gaps_total"))
    finish(flow, ingest, writer)
    gaps = gap_rows(flow)
    assert gaps and all(reason == "buffer_lost" and healed for reason, healed in gaps), gaps


def gap_rows(world):
    import sqlite3
    with sqlite3.connect(f"file:{world.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10) as db:
        return db.execute("SELECT reason, healed FROM gaps").fetchall()


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl"])
def test_a_volatile_policy_costs_the_lease_at_most(flow, policy):
    flow.redis_cli("config", "set", "maxmemory", "4mb", "maxmemory-policy", policy)
    ingest, writer = start(flow, ["redis.high_water=1g"], ["write.interval=30s"])
    wait_for("Redis refuses", lambda: ingest_metric(flow, "buffer_refused_total") > 0)
    assert f"maxmemory-policy is {policy}" in ingest.text()
    flow.redis_cli("config", "set", "maxmemory", "1gb")
    writer.kill()
    finish(flow, ingest)
    assert not gap_rows(flow)


def test_a_queue_that_is_deleted_without_a_reconnect_comes_again(flow):
    ingest, writer = start(flow)
    until_buffered(flow, COUNT // 8)
    wait_for("something is in the lake", lambda: flow.catalog_rows() > 0)
    for name in ("posts", "likes"):
        writer.child.send_signal(signal.SIGSTOP)  # so that there is something to lose
        mark = buffered(flow)
        until_buffered(flow, mark + 3000)
        flow.redis_cli("del", f"firehose:{name}:queue")
        writer.child.send_signal(signal.SIGCONT)
        wait_for("ingest notices", lambda: ingest_metric(flow, "gaps_total") > ["posts", "likes"].index(name))
    finish(flow, ingest, writer)
    gaps = gap_rows(flow)
    assert gaps and all(reason == "buffer_lost" and healed for reason, healed in gaps), gaps


def newest_aof(world):
    return max((world.redis_dir / "appendonlydir").glob("*.incr.aof"), key=lambda p: int(p.name.split(".")[-3]))


def power_cut(world, size):
    """Redis comes back as if what was written after `size` had never reached the disk."""
    world.redis_process.kill()
    aof = newest_aof(world)
    with open(aof, "r+b") as file:
        file.truncate(size)
    world.redis_process = world.redis("--aof-load-truncated", "yes")


def test_a_power_cut_takes_the_last_second_though_the_lake_has_it(flow):
    ingest, writer = start(flow, write_sets=["write.interval=100ms"])
    until_buffered(flow, COUNT // 4)
    size, rows = newest_aof(flow).stat().st_size, flow.catalog_rows()
    wait_for("the lake goes on", lambda: flow.catalog_rows() > rows + 5000)
    power_cut(flow, size)
    wait_for("ingest notices", lambda: ingest_metric(flow, "buffer_went_back_total") > 0)
    wait_for("what was forgotten is sent again", lambda: ingest_metric(flow, "blocks_resent_total") > 0)
    assert ingest_metric(flow, "sessions_restarted_total") == 0
    finish(flow, ingest, writer)


def test_a_power_cut_does_not_take_dead_letters(world):
    """What Redis forgot of them is sent again like the blocks it forgot, and not a second time by upstream: that has moved on."""
    every = 200
    world.simulator(f"--count={COUNT}", f"--rate={RATE}", f"--misbehave=mark-every={every}")
    world.redis_process = world.redis("--aof-load-truncated", "yes")
    ingest, _ = start(world, write_sets=None)
    until_buffered(world, COUNT // 4)
    size, letters = newest_aof(world).stat().st_size, int(world.redis_cli("xlen", "firehose:rejected:queue"))
    wait_for("more dead letters", lambda: int(world.redis_cli("xlen", "firehose:rejected:queue")) > letters + 20)
    power_cut(world, size)
    wait_for("ingest notices", lambda: ingest_metric(world, "buffer_went_back_total") > 0)
    assert ingest_metric(world, "sessions_restarted_total") == 0
    finish(world, ingest)
    found = run("deadletter", "list", "--data", world.lake, "--limit", "1000", "--json").stdout.splitlines()
    assert len(found) == COUNT // every


SEND_AGAIN = """
local entries = redis.call('XRANGE', KEYS[2], '-', '+')
for _, e in ipairs(entries) do
  local count = 0
  for f = 1, #e[2], 2 do if e[2][f] == 'n' then count = tonumber(e[2][f + 1]) end end
  local offset = redis.call('HINCRBY', KEYS[3], ARGV[1], count) - count
  for f = 1, #e[2], 2 do if e[2][f] == 'off' then e[2][f + 1] = tostring(offset) end end
  redis.call('XADD', KEYS[1], '*', unpack(e[2]))
end
return #entries"""


def test_blocks_that_come_again_under_new_offsets_are_no_loss(flow):
    """After a power cut spilled blocks may be sent again, and numbered anew, although the lake has them: nothing is missing then."""
    ingest, writer = start(flow, write_sets=None)
    until_buffered(flow, COUNT // 4)
    flow.redis_cli("copy", "firehose:likes:queue", "kept")
    writer = flow.writer("write.interval=500ms")
    wait_for("everything is in the lake", lambda: flow.catalog_rows() >= COUNT)
    ingest.stop()
    sent = flow.redis_cli("eval", SEND_AGAIN, 3, "firehose:likes:queue", "kept", "firehose:metadata", "received:likes")
    assert int(sent) > 0
    flow.ingest(BEGINNING)  # more events, numbered behind the repeated ones
    wait_for("the queue is empty", lambda: flow.redis_cli("xlen", "firehose:likes:queue") == "0")
    writer.stop()
    proof(flow)
    with sqlite3.connect(flow.lake / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE ledger SET missing = 1 WHERE type = 'likes'")
    with pytest.raises(AssertionError):  # and one that is missing is seen by a comparison, too
        proof(flow)


def test_a_power_cut_that_takes_more_is_healed_from_upstream(flow):
    ingest, writer = start(flow, write_sets=["write.interval=100ms"])
    until_buffered(flow, COUNT // 8)
    size = newest_aof(flow).stat().st_size
    until_buffered(flow, COUNT // 2)
    ingest.kill()  # a new ingest remembers no blocks at all
    ingest, _ = start(flow, write_sets=None)
    wait_for("the new ingest has begun", lambda: "starting run" in ingest.text() and buffered(flow) > 0)
    power_cut(flow, size)
    wait_for("ingest starts over", lambda: ingest_metric(flow, "sessions_restarted_total") > 0)
    finish(flow, ingest, writer)


def test_a_redis_that_is_flushed_is_filled_again_from_what_is_settled(flow):
    ingest, writer = start(flow)
    until_buffered(flow, COUNT // 4)
    wait_for("something is in the lake", lambda: flow.catalog_rows() > 0)
    writer.child.send_signal(signal.SIGSTOP)  # so that something is lost with the queues
    mark = buffered(flow)
    until_buffered(flow, mark + 5000)
    ingest.kill()  # a new ingest remembers no blocks that it could send again
    ingest, _ = start(flow, write_sets=None)
    wait_for("the new ingest has begun", lambda: "starting run" in ingest.text() and buffered(flow) > 0)
    flow.redis_cli("flushall")
    writer.child.send_signal(signal.SIGCONT)
    wait_for("ingest starts over", lambda: ingest_metric(flow, "sessions_restarted_total") > 0)
    finish(flow, ingest, writer)


def test_an_empty_redis_and_a_new_ingest_start_from_the_position_kept_on_disk(flow):
    ingest, writer = start(flow)
    until_buffered(flow, COUNT // 4)
    wait_for("the settled position is kept", lambda: (flow.lake / "spill/position").exists())
    ingest.kill()
    writer.kill()
    flow.redis_process.kill()
    newest = flow.redis_dir / "appendonlydir"
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    flow.redis()
    ingest, writer = start(flow)
    wait_for("ingest notices", lambda: "Redis lost its contents" in ingest.text())
    finish(flow, ingest, writer)


@pytest.mark.parametrize("tail", ["kept", "lost"])
def test_a_promoted_replica_takes_over(world, tail):
    world.simulator(f"--count={COUNT}", f"--rate={RATE}")
    port = free_port()
    master = world.redis("--port", port)
    folder = world.folder / "replica"
    folder.mkdir()
    spare = folder / "redis.sock"
    world.add("redis-server", "--port", 0, "--unixsocket", spare, "--dir", folder, "--appendonly", "yes", "--save", "",
              "--replicaof", f"127.0.0.1 {port}", log="replica.log")

    def replica(*args):
        return subprocess.run(["redis-cli", "-s", str(spare), *args], capture_output=True, text=True, timeout=30).stdout
    wait_for("the replica follows", lambda: "master_link_status:up" in replica("info", "replication"))
    ingest, writer = start(world, write_sets=["write.interval=100ms"])
    until_buffered(world, COUNT // 4)
    if tail == "lost":  # the master goes on alone for a while: that is what the replica never sees
        replica("replicaof", "no", "one")
        rows = world.catalog_rows()
        until_buffered(world, buffered(world) + 5000)
        wait_for("some of it is in the lake already", lambda: world.catalog_rows() > rows)
    master.kill()
    replica("replicaof", "no", "one")
    world.socket.unlink(missing_ok=True)
    spare.rename(world.socket)
    wait_for("ingest has compared", lambda: ingest_metric(world, "buffer_went_back_total") > 0)
    if tail == "lost":
        wait_for("the tail comes again", lambda: ingest_metric(world, "blocks_resent_total") + ingest_metric(world, "sessions_restarted_total") > 0)
    finish(world, ingest, writer)
