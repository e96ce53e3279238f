"""What Jetstream hosts are known to do, one test a failure mode: the simulator does it, the lake must not show it.

The numbers are those of the table in docs/UPSTREAM.md. Each mode runs against a host of the old family, and where it applies against
both endpoints of a new one. "Clean" is `verify --against-simulator`: nothing missing, nothing twice, nothing different."""
import collections
import json
import os
import random
import signal
import time

import pytest

from harness import BINARY, SHARED, canonical, free_port, get, metric, run, value_lines, wait_for

COUNT = 6000
START = "2026-01-05T00:00:00Z"
EVENTS = "/xrpc/network.bsky.jetstream.subscribeEvents"
V1, V1_ON_V2, V2 = "v1", "v1-on-v2-host", "v2"
EVERYWHERE = [V1, V1_ON_V2, V2]
DICTIONARY = SHARED / "data/subscribe_events_20260811.zdict"
needs_dictionary = pytest.mark.skipif(not DICTIONARY.exists(), reason="the shared dictionary is not here")


class Host:
    """One simulator, by the family and endpoint it is used as."""

    def __init__(self, world, protocol, name="simulator"):
        self.world, self.protocol, self.name, self.port = world, protocol, name, free_port()
        self.process = None

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}{EVENTS if self.protocol == V2 else ''}"

    def start(self, *args, count=COUNT):
        family = [] if self.protocol == V1 else ["--v2"]
        self.process = self.world.add(BINARY, "simulate", f"--listen=127.0.0.1:{self.port}", *([f"--count={count}"] if count else []), *family,
                                      *args, log=f"{self.name}.log")
        wait_for("the simulator listens", lambda: "listening" in self.process.text()[self.process.log_before:] or not self.process.alive())
        assert self.process.alive(), self.process.text()
        return self


class Collection:
    """Redis, writer and ingest reading from `hosts`."""

    def __init__(self, world, hosts, *sets):
        self.world = world
        self.sets = [f"source.urls={','.join(host.url for host in hosts)}", f"data={world.lake}", "source.backoff_min=20ms",
                     "source.backoff_max=500ms", *sets]
        world.redis()
        self.writer, self.ingest = world.writer(), world.ingest(*self.sets)

    def wait(self, rows, seconds=60):
        wait_for(f"{rows} rows", lambda: self.world.catalog_rows() >= rows or self.fail_if_dead(), seconds)
        return self

    def fail_if_dead(self):
        assert self.ingest.alive(), self.ingest.text()[-3000:]
        assert self.writer.alive(), self.writer.text()[-3000:]

    def metric(self, name):
        return metric(self.world.ingest_port, name)

    def stop(self):
        assert self.ingest.stop() == 0, self.ingest.text()[-3000:]
        assert self.writer.stop() == 0, self.writer.text()[-3000:]
        return self

    def verify(self, count=COUNT, more="", extras=0):
        done = run("verify", "--data", self.world.lake, "--against-simulator", f"seed=1,count={count}{more}", "--json", check=False)
        result = json.loads(done.stdout)
        wrong = {k: result[k] for k in ("missing", "twice", "different", "problems")}
        assert not any(wrong.values()), (wrong, done.stdout[-2000:], done.stderr[-2000:], self.ingest.text()[-3000:])
        assert result["unexpected"] == extras, (result, done.stdout[-1000:])
        return result

    def letters(self):
        done = run("deadletter", "list", "--data", self.world.lake, "--json", "--limit", 100000)
        return collections.Counter(json.loads(line)["reason"] for line in done.stdout.splitlines())

    def gaps(self):
        return [json.loads(line) for line in run("gaps", "--data", self.world.lake, "--json").stdout.splitlines()]


# row of the table, name, where, faults, arguments of the simulator, settings, what verify has to know
DISTURBED = [
    (2, "cut", EVERYWHERE, "cut-every=700", [], [], ""),
    (2, "half-frame", EVERYWHERE, "half-frame-every=650", [], [], ""),
    (3, "silent", EVERYWHERE, "silent-first=2", [], ["source.idle_limit=1s"], ""),
    (3, "stall", EVERYWHERE, "stall-after=1000", [], ["source.idle_limit=1s"], ""),
    (5, "poison", EVERYWHERE, "poison-every=300", [], [], ""),
    (6, "early-start", [V1_ON_V2, V2], "cut-every=1500,early-start=3000", [], [], ""),
    (7, "time-cursor-is-no-floor", EVERYWHERE, "cut-every=900", ["--seq-start=90000000"], [f"source.cursor={START}"], ""),
    (8, "shared-times", EVERYWHERE, "cut-every=777", ["--batch=60"], [], ",batch=60"),
    (10, "duplicates", EVERYWHERE, "duplicate-every=3,cut-every=2000", [], [], ""),
    (1, "swapped", [V1], "swap-every=50,cut-every=750", [], [], ""),
    (12, "restart", EVERYWHERE, "close-every=1000,http-503-first=3", [], [], ""),
    (12, "error-frames", [V2], "error-every=1000", [], [], ""),
    (14, "too-many-requests", EVERYWHERE, "http-429-first=1", [], [], ""),
    (15, "fragments", EVERYWHERE, "fragment-every=2", [], [], ""),
    (15, "oversized", EVERYWHERE, "oversized-every=2500", [], [], ""),
]
CASES = [pytest.param(protocol, *case[3:], id=f"row{case[0]}-{case[1]}-{protocol}") for case in DISTURBED for protocol in case[2]]


@pytest.mark.parametrize("protocol, faults, args, sets, more", CASES)
def test_a_disturbed_stream_is_whole_in_the_lake(world, protocol, faults, args, sets, more):
    host = Host(world, protocol).start("--misbehave", faults, *args)
    Collection(world, [host], *sets).wait(COUNT).stop().verify(more=more)


@pytest.mark.parametrize("protocol", [V1])
def test_row1_events_lost_where_replay_meets_live_come_with_the_next_overlap(world, protocol):
    host = Host(world, protocol).start("--rate", "2000", "--misbehave", "cutover-drop=20,cut-every=500")
    Collection(world, [host], f"source.cursor={START}").wait(COUNT).stop().verify()


# what stands behind "after every N events", the fault, and what becomes of it: rows or dead letters
INSERTED = [
    (15, "large-every=1500", COUNT // 1500, {}),
    (17, "badutf8-every=1000", 0, {"utf8": COUNT // 1000}),
    (18, "bignum-every=1000", COUNT // 1000, {}),
    (19, "badcid-every=1000", COUNT // 1000, {}),
]


@pytest.mark.parametrize("protocol", EVERYWHERE)
@pytest.mark.parametrize("row, fault, rows, letters", INSERTED, ids=[f"row{i[0]}-{i[1].split('-')[0]}" for i in INSERTED])
def test_odd_events_cost_nothing_but_themselves(world, protocol, row, fault, rows, letters):
    host = Host(world, protocol).start("--misbehave", fault)
    collection = Collection(world, [host]).wait(COUNT + rows)
    if letters:
        wait_for("the dead letters", lambda: sum(collection.letters().values()) >= sum(letters.values()))
    collection.stop().verify(extras=rows)
    found = collection.letters()
    assert all(found[reason] == n for reason, n in letters.items()) and sum(found.values()) == sum(letters.values()), found


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row24_unknown_kinds_are_kept_as_dead_letters(world, protocol):
    host = Host(world, protocol).start("--misbehave", "unknown-every=1000,sync-every=2000")
    collection = Collection(world, [host])
    expected = COUNT // 1000 + (COUNT // 2000 if protocol == V2 else 0)
    wait_for("the dead letters", lambda: world.catalog_rows() >= COUNT and sum(collection.letters().values()) >= expected)
    collection.stop().verify()
    assert sum(collection.letters().values()) == expected


def test_rows_17_to_25_odd_content_comes_out_as_it_went_in(world, tmp_path):
    did, other = "did:plc:abcdefghijklmnopqrstuvwx", "did:plc:zyxwvutsrqponmlkjihgfedc"

    def commit(n, collection, rkey, record=None, operation="create", rev="3kaaaaaaaaa%02d", **more):
        inner = {"rev": rev.replace("%02d", "abcdefghijklmnopqrstuvwxyz234567"[n % 32] + "2"), "operation": operation, "collection": collection, "rkey": rkey}
        if record is not None:
            inner["record"] = record
        return {"did": did, "time_us": 1767571200000000 + n * 1000, "kind": "commit", "commit": {**inner, **more}}

    post = {"$type": "app.bsky.feed.post", "text": "", "createdAt": START, "langs": []}
    lines = [
        commit(1, "app.bsky.feed.post", "3kaaaaaaaaa2a", post),
        commit(2, "app.bsky.feed.post", "3kaaaaaaaaa2a", {**post, "text": "again"}),  # 20: created twice, another revision
        commit(3, "app.bsky.feed.like", "3kaaaaaaaaa2b", operation="delete"),  # 21: of nothing known
        commit(4, "app.bsky.actor.profile", "self", {"$type": "app.bsky.actor.profile"}, operation="update"),
        {"did": did, "time_us": 1767571200005000, "kind": "identity", "identity": {"did": did, "seq": 5, "time": START}},  # 22
        {"did": did, "time_us": 1767571200006000, "kind": "account", "account": {"active": False, "did": did, "seq": 6, "status": "deleted", "time": START}},
        {"did": did, "time_us": 1767571200007000, "kind": "account", "account": {"active": False, "did": did, "seq": 7, "status": "other", "time": START}},
        {**commit(8, "app.bsky.feed.post", "3kaaaaaaaaa2c", {**post, "embed": {"$type": "org.example.embed", "x": [None]}}), "wave": {"a": 1}},  # 24
        commit(9, "app.bsky.feed.post", "3kaaaaaaaaa2d", {**post, "createdAt": {}, "langs": "en", "text": 7, "facets": {"a": []}}),  # 25
        commit(10, "app.bsky.feed.post", "3kaaaaaaaaa2e", {**post, "createdAt": "0000-01-01T00:00:00Z"}),
        commit(11, "app.bsky.feed.post", "3kaaaaaaaaa2f", {**post, "createdAt": "3001-12-31T23:59:59.999999Z"}),
        commit(12, "app.bsky.feed.post", "3kaaaaaaaaa2g", post, cid="bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),  # 19
        commit(13, "app.bsky.feed.like", "3kaaaaaaaaa2h", "no object"),
        {**commit(14, "app.bsky.graph.follow", "3kaaaaaaaaa2i", {"$type": "app.bsky.graph.follow", "subject": other}), "time_us": 1767571190000000},  # 8: backward
    ]
    text = [json.dumps(line) for line in lines]
    number = '{"big":123456789012345678901234567890,"f":1.50,"e":-1E+5,"max":9223372036854775807,"min":-9223372036854775808,"z":-0}'  # 18
    text.append(json.dumps(commit(15, "org.example.numbers", "a", {"here": 1})).replace('{"here": 1}', number))
    path = tmp_path / "odd.ndjson"
    path.write_text("\n".join(text) + "\n")
    for protocol in EVERYWHERE:
        host = Host(world, protocol, name=f"simulator-{protocol}").start("--from", path, count=0)
        collection = Collection(world, [host]) if protocol == V1 else None
        if collection:
            collection.wait(len(text)).stop()
            first = run("export", "--data", world.lake).stdout
            assert sorted(canonical(json.loads(line)) for line in first.split("\n") if line) == sorted(canonical(json.loads(line)) for line in text)
            assert '"big":123456789012345678901234567890,"f":1.50,"e":-1E+5' in first and '"z":-0' in first
        else:  # the same events through another endpoint are recognised
            world.redis_cli("del", "firehose:metadata")
            writer = world.writer()
            ingest = world.ingest(f"source.urls={host.url}", f"data={world.lake}")
            wait_for("the repetitions", lambda: (metric(world.write_port, "bluelake_events_duplicate_total") or 0) >= len(text))
            assert ingest.stop() == 0 and writer.stop() == 0
    result = json.loads(run("verify", "--data", world.lake, "--against", path, "--json").stdout)
    assert (result["missing"], result["twice"], result["different"], result["unexpected"], result["problems"]) == (0, 0, 0, 0, 0)


def test_row8_times_that_go_backward_lose_nothing(world, tmp_path):
    events = [json.loads(line) for line in run("simulate", "--ndjson", "--count", 4000).stdout.splitlines()]
    dice = random.Random(5)
    for event in events:
        event["time_us"] -= dice.choice([0, 0, 0, 1_000_000, 3_000_000])
    path = tmp_path / "backward.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    host = Host(world, V1).start("--from", path, "--misbehave", "cut-every=600", count=0)
    Collection(world, [host], "source.rewind=10s").wait(len(events)).stop()
    result = json.loads(run("verify", "--data", world.lake, "--against", path, "--json").stdout)
    assert (result["missing"], result["twice"], result["different"], result["unexpected"], result["problems"]) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("before, after", [(V1, V1), (V2, V2), (V1, V2), (V2, V1)])
def test_row9_another_host_takes_over_with_enough_overlap(world, before, after):
    first = Host(world, before, "first").start("--seq-start=500000" if before == V2 else "--seed=1", "--rate", "1500")
    second = Host(world, after, "second").start("--seq-start=3" if after == V2 else "--seed=1", "--rate", "1500")
    collection = Collection(world, [first, second]).wait(1500)
    first.process.kill()
    collection.wait(COUNT).stop().verify()
    assert not collection.gaps()


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row11_a_position_too_old_is_on_record_as_a_gap(world, protocol):
    host = Host(world, protocol).start("--network-rate", "30", count=1000)
    collection = Collection(world, [host], "source.host_switch_rewind=1s", "source.rewind=1s").wait(1000)
    assert collection.ingest.stop() == 0
    host.process.kill()
    host.start("--network-rate", "30", "--lookback", "20s", count=COUNT)
    collection.ingest.start()
    collection.wait(1000 + 500)
    wait_for("the gap", collection.gaps)
    collection.stop()
    (gap,) = collection.gaps()
    assert gap["reason"] == "cursor_too_old" and not gap["healed"] and gap["host"] == f"127.0.0.1:{host.port}"
    truth = [json.loads(line)["time_us"] for line in run("simulate", "--ndjson", "--count", COUNT, "--network-rate", 30).stdout.splitlines()]
    assert gap["from_us"] in truth[990:1000] and truth[COUNT - 1] - gap["to_us"] <= 20_000_000
    missing = json.loads(run("verify", "--data", world.lake, "--against-simulator", f"seed=1,count={COUNT},rate=30", "--json", check=False).stdout)
    assert missing["missing"] == sum(gap["from_us"] < t < gap["to_us"] for t in truth) and missing["twice"] == missing["different"] == 0


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_a_gap_is_healed_by_a_host_that_looks_back_further(world, protocol):
    short, long = Host(world, protocol, "short"), Host(world, protocol, "long")
    short.start("--network-rate", "30", count=1000)
    collection = Collection(world, [short, long], "source.host_switch_rewind=1s", "source.rewind=1s").wait(1000)
    assert collection.ingest.stop() == 0
    short.process.kill()
    short.start("--network-rate", "30", "--lookback", "20s", "--seq-start=1", count=COUNT) if protocol != V1 else \
        short.start("--network-rate", "30", "--lookback", "20s", count=COUNT)
    long.start("--network-rate", "30", *(["--seq-start=777777"] if protocol != V1 else []), count=COUNT)
    collection.ingest.start()
    collection.wait(COUNT)
    wait_for("the gap is healed", lambda: collection.gaps() and all(gap["healed"] for gap in collection.gaps()))
    assert collection.metric("bluelake_gaps_healed_total") == 1 and collection.metric("bluelake_gaps_total") == 1
    collection.stop().verify(more=",rate=30")


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row14_a_refusal_that_cannot_change_ends_ingest_with_the_hosts_words(world, protocol):
    host = Host(world, protocol).start("--misbehave", "http-400-first=1000")
    collection = Collection(world, [host])
    assert collection.ingest.child.wait(30) == 2
    assert "as you wish: refused" in collection.ingest.text() and "check source.collections" in collection.ingest.text()


def test_row14_a_host_that_refuses_makes_room_for_one_that_does_not(world):
    bad, good = Host(world, V2, "bad").start("--misbehave", "http-400-first=1000"), Host(world, V1, "good").start()
    Collection(world, [bad, good]).wait(COUNT).stop().verify()


@needs_dictionary
@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row16_bombs_are_passed_over(world, protocol):
    host = Host(world, protocol).start("--dictionary", DICTIONARY, "--misbehave", "bomb-every=2000")
    collection = Collection(world, [host], f"source.dictionary={DICTIONARY}").wait(COUNT)
    assert collection.metric("process_resident_memory_bytes") < 600e6  # of the bomb's gigabyte; sanitizers take their share
    collection.stop().verify()
    assert f"dictionary={20260811 if protocol == V2 else 0}" in collection.ingest.text()
    assert collection.ingest.text().count("unpacks to more than") == COUNT // 2000
    assert (world.lake / "dictionaries/20260811.zdict").exists() == (protocol == V2)


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row26_a_reader_that_cannot_go_on_is_cut_off_and_loses_nothing(world, protocol):
    count = 60000
    host = Host(world, protocol).start(count=count)
    collection = Collection(world, [host], "ingest.queue_bytes=1m", "redis.timeout=2s").wait(500)
    redis = [p for p in world.processes if "redis-server" in p.args[0]][0]
    os.kill(redis.child.pid, signal.SIGSTOP)
    time.sleep(8)  # longer than a host waits for a reader
    os.kill(redis.child.pid, signal.SIGCONT)
    collection.wait(count, 120).stop().verify(count)


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row27_killed_at_any_moment_it_goes_on_where_it_was(world, protocol):
    host = Host(world, protocol).start("--rate", "1500")
    collection = Collection(world, [host], f"source.cursor={START}")
    dice = random.Random(11)
    for n in range(6):
        wait_for("some more events", lambda: world.catalog_rows() >= n * 500)
        time.sleep(dice.random() * 0.3)
        victim = collection.ingest if n % 2 == 0 else collection.writer
        victim.kill()
        victim.start()
    collection.wait(COUNT).stop().verify()


@pytest.mark.parametrize("protocols", [(V1, V1), (V2, V2), (V1, V2)])
def test_two_hosts_at_once_hide_the_loss_and_the_silence_of_one(world, protocols):
    count = 12000
    hosts = [Host(world, protocol, f"host{n}") for n, protocol in enumerate(protocols)]
    for n, host in enumerate(hosts):
        host.start("--rate", "1500", *(["--seq-start", 1 + n * 1000000] if host.protocol == V2 else []), *(["--misbehave", "stall-after=8000"] if n else []),
                   count=count)
    collection = Collection(world, hosts, "source.redundancy=2", "source.idle_limit=2s")
    wait_for("both deliver", lambda: collection.metric("bluelake_source_hosts_connected") == 2)
    collection.wait(2000)
    hosts[0].process.kill()
    wait_for("one is missed", lambda: collection.metric("bluelake_source_hosts_connected") == 1)
    assert json.loads(get(world.ingest_port, "/health")[1])["jetstream_connected"] is True
    hosts[0].start("--rate", "100000", *(["--seq-start", 1] if hosts[0].protocol == V2 else []), count=count)  # the second falls silent meanwhile
    collection.wait(count)
    assert collection.metric("bluelake_source_merged_total") > 0
    collection.stop().verify(count)
    assert not collection.gaps()


@pytest.mark.parametrize("sets, message", [
    (["source.protocol=v3"], "none of auto, v1, v2"),
    (["source.protocol=v1", f"source.urls=ws://127.0.0.1:1{EVENTS}"], "does not fit source.protocol"),
    (["source.redundancy=3"], "out of range"),
    (["source.redundancy=2", "source.urls=ws://127.0.0.1:1"], "needs as many hosts"),
])
def test_settings_that_cannot_work_are_told_at_once(sets, message):
    done = run("ingest", *[x for s in sets for x in ("--set", s)], "--set", "redis.port=1", check=False, timeout=60)
    assert done.returncode == 2 and message in done.stderr, done.stderr
