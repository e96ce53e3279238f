"""A Redis Cluster as the buffer, configured by its addresses alone: masters die, come back, forget, are replaced; slots move."""
import json

import pytest

from cluster import MASTERS, Cluster
from harness import TYPES, get, metric, run, wait_for

COUNT, RATE = 40000, 12000
BEGINNING = "source.cursor=2026-01-05"


@pytest.fixture
def flow(world):
    world.simulator(f"--count={COUNT}", f"--rate={RATE}")
    return world


def answers(port):
    try:
        return get(port, "/health")[0] == 200
    except OSError:
        return False


def start(world, cluster, addresses=None):
    setting = cluster.setting(addresses)
    ingest = world.ingest(BEGINNING, "ingest.breaker_retry=100ms", "ingest.spill_after=300ms", setting)
    writer = world.writer("write.interval=500ms", setting)
    wait_for("both roles answer", lambda: answers(world.ingest_port) and answers(world.write_port))
    return ingest, writer


def ingested(world, name):
    return metric(world.ingest_port, f"bluelake_{name}") or 0


def until_buffered(world, count):
    wait_for(f"{count} events are buffered", lambda: ingested(world, "events_buffered_total") >= count)


def finish(world, cluster, ingest, writer):
    wait_for("everything is in the lake", lambda: world.catalog_rows() >= COUNT or not writer.alive() or not ingest.alive(), 60)
    for role in (ingest, writer):
        assert role.alive(), role.text()[-3000:]
        assert role.stop() == 0, role.text()[-3000:]
    done = run("verify", "--data", world.lake, f"--against-simulator=seed=1,count={COUNT}", "--buffer", f"--set={cluster.setting()}", "--json",
               check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0, (result, done.stderr[-2000:])
    assert result["compared"] == COUNT
    assert result["missing"] == result["twice"] == result["different"] == result["unexpected"] == result["problems"] == 0


def test_three_masters_share_the_queues_and_one_address_is_enough(flow):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster, 1)
    until_buffered(flow, COUNT // 4)
    keys = [set(s.cli("keys", "*").split()) for s in cluster.servers]
    assert all(keys), keys
    found = set.union(*keys)
    assert found >= {f"{{firehose:{t}}}:queue" for t in TYPES} | {f"{{firehose:{t}}}:metadata" for t in ("posts", "likes")} | {
        "firehose:lease", "{firehose:lease}:ingest"}
    heavy = {cluster.owner(f"{{firehose:{t}}}:queue").port for t in ("posts", "likes", "reposts")}
    assert len(heavy) == MASTERS
    finish(flow, cluster, ingest, writer)


@pytest.mark.parametrize("victim", range(MASTERS))
def test_a_master_dies_and_comes_back(flow, victim):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster)
    until_buffered(flow, COUNT // 4)
    cluster.servers[victim].process.kill()
    wait_for("the breaker opens", lambda: ingested(flow, "buffer_breaker_open") == 1)
    cluster.servers[victim].start()
    finish(flow, cluster, ingest, writer)


def newest_aof(server):
    return max((server.folder / "appendonlydir").glob("*.incr.aof"), key=lambda p: int(p.name.split(".")[-3]))


@pytest.mark.parametrize("key", ["{firehose:posts}:queue", "{firehose:likes}:queue"])
def test_a_master_comes_back_without_its_last_second(flow, key):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster)
    until_buffered(flow, COUNT // 4)
    server = cluster.owner(key)
    size, rows = newest_aof(server).stat().st_size, flow.catalog_rows()
    wait_for("the lake goes on", lambda: flow.catalog_rows() > rows + 5000)
    server.process.kill()
    with open(newest_aof(server), "r+b") as file:
        file.truncate(size)
    server.start()
    wait_for("what was forgotten is sent again", lambda: ingested(flow, "blocks_resent_total") > 0)
    finish(flow, cluster, ingest, writer)


def test_a_new_ingest_takes_no_cursor_that_promises_what_a_master_forgot(flow):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster)
    until_buffered(flow, COUNT // 4)
    server = cluster.owner("{firehose:likes}:queue")
    size = newest_aof(server).stat().st_size
    until_buffered(flow, COUNT // 2)
    ingest.kill()  # remembers no blocks
    writer.kill()
    server.process.kill()
    with open(newest_aof(server), "r+b") as file:
        file.truncate(size)
    server.start()
    wait_for("the cluster is whole", cluster.whole)
    ingest, writer = start(flow, cluster)
    finish(flow, cluster, ingest, writer)


def test_a_master_that_comes_back_empty_is_filled_from_what_is_settled(flow):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster)
    until_buffered(flow, COUNT // 4)
    wait_for("the settled position is kept", lambda: (flow.lake / "spill/position").exists())
    ingest.kill()  # remembers no blocks
    writer.kill()
    server = cluster.owner("{firehose:likes}:queue")
    server.process.kill()
    for path in (server.folder / "appendonlydir").iterdir():
        path.unlink()
    (server.folder / "appendonlydir").rmdir()
    server.start()
    wait_for("the cluster is whole", cluster.whole)
    ingest, writer = start(flow, cluster)
    wait_for("ingest notices", lambda: "Redis lost its contents" in ingest.text())
    finish(flow, cluster, ingest, writer)


def test_slots_move_while_events_flow(flow):
    cluster = Cluster(flow)
    ingest, writer = start(flow, cluster)
    until_buffered(flow, COUNT // 8)
    for key in ("{firehose:likes}:queue", "{firehose:posts}:queue", "firehose:lease", "{firehose:rejected}:queue"):
        source = cluster.owner(key)
        target = next(s for s in cluster.servers if s is not source)

        def a_while():
            read = metric(flow.write_port, "bluelake_events_written_total") or 0
            wait_for("something happens meanwhile", lambda: ingested(flow, "buffer_refused_total") > 0 or
                     (metric(flow.write_port, "bluelake_events_written_total") or 0) > read or flow.catalog_rows() >= COUNT)
        cluster.move(key, target, a_while)
        assert cluster.owner(key) is target
    assert any("cmdstat_asking" in s.cli("info", "commandstats") for s in cluster.servers), "nothing was sent to a slot on the move"
    finish(flow, cluster, ingest, writer)


def test_a_replica_takes_over(flow):
    cluster = Cluster(flow, replicas=1)
    ingest, writer = start(flow, cluster, MASTERS)
    until_buffered(flow, COUNT // 4)
    victim = cluster.owner("{firehose:likes}:queue")
    victim.process.kill()
    alive = [s for s in cluster.servers if s is not victim]
    wait_for("a replica is promoted", lambda: all("cluster_state:ok" in s.cli("cluster", "info") for s in alive) and
             cluster.owner("{firehose:likes}:queue") is not victim)
    finish(flow, cluster, ingest, writer)


def test_a_cluster_that_was_not_configured_as_one_is_named(world):
    cluster = Cluster(world)
    done = run("verify", "--data", world.lake, "--buffer", "--set=redis.host=127.0.0.1", f"--set=redis.port={cluster.servers[0].port}", check=False)
    assert done.returncode != 0 and ("redis.cluster" in done.stderr or not (world.lake / "catalog.sqlite").exists())
    wrong = run("audit", "--set=redis.cluster=127.0.0.1:none", check=False)
    assert wrong.returncode == 2 and "redis.cluster" in wrong.stderr, wrong.stderr
