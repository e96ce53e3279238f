"""What Jetstream hosts are known to do, one test a failure mode: the simulator does it, the lake must not show it.

The numbers are those of the table in docs/UPSTREAM.md. Each mode runs against a host of the old family, and where it applies against
both endpoints of a new one. "Clean" is `verify --against-simulator`: nothing missing, nothing twice, nothing different."""
import collections
import json
import os
import random
import re
import signal
import time

import pytest

from harness import BINARY, SHARED, canonical, free_port, get, metric, run, value_lines, wait_for
from shim import SHIM, needs_shim

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

    def __init__(self, world, hosts, *sets, env=None):
        self.world = world
        self.sets = [f"source.urls={','.join(host.url for host in hosts)}", f"data={world.lake}", "source.backoff_min=20ms",
                     "source.backoff_max=500ms", *sets]
        world.redis()
        self.writer, self.ingest = world.writer(env=env), world.ingest(*self.sets, env=env)

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


HOST = "the host's log: "
CUT, SILENT = r"without a close frame \(1006\)", "no data for 1"
# row of the table, name, where, faults, arguments of the simulator, settings, what verify has to know, and the proof that the host did
# misbehave: what ingest's log, or the host's, says at least so many times
DISTURBED = [
    (1, "swapped", [V1], "swap-every=50,cut-every=750", [], [], "",
     HOST + r"\d\d+ events were sent after their successor", 1),
    (2, "cut", EVERYWHERE, "cut-every=700", [], [], "", CUT, 5),
    (2, "reset", EVERYWHERE, "reset-every=700", [], [], "", "source disconnect .*(reset|1006)", 5),
    (2, "half-frame", EVERYWHERE, "half-frame-every=650", [], [], "", CUT, 5),
    (3, "silent", EVERYWHERE, "silent-first=2", [], ["source.idle_limit=1s"], "", SILENT, 2),
    (3, "stall", EVERYWHERE, "stall-after=1000", [], ["source.idle_limit=1s"], "", SILENT, 1),
    (3, "vanished", EVERYWHERE, "vanish-after=1000", [], ["source.ping_limit=1s"], "", "no data and no ping for 1", 1),
    (7, "time-cursor-is-no-floor", EVERYWHERE, "cut-every=900", ["--seq-start=90000000"], [f"source.cursor={START}"], "",
     r"source connect .*cursor=17\d{14} ", 5),
    (8, "shared-times", EVERYWHERE, "cut-every=777", ["--batch=60"], [], ",batch=60", CUT, 5),
    (12, "restart", EVERYWHERE, "close-every=1000,http-503-first=3", [], [], "", r"HTTP 503|closed the connection: 1001", 8),
    (12, "error-frames", [V2], "error-every=1000", [], [], "", "ends the stream: InternalError something went wrong", 5),
    (14, "too-many-requests", EVERYWHERE, "http-429-first=1", [], [], "", r"wait_ms=(9\d\d|1000) .*HTTP 429", 1),
    (15, "fragments", EVERYWHERE, "fragment-every=2", [], [], "", HOST + r"[3-9]\d\d\d messages were sent in fragments", 1),
    (15, "oversized", EVERYWHERE, "oversized-every=2500", [], [], "", "source skips 1 messages .*larger than 33554432 bytes", 2),
]
CASES = [pytest.param(protocol, *case[3:], id=f"row{case[0]}-{case[1]}-{protocol}") for case in DISTURBED for protocol in case[2]]


@pytest.mark.parametrize("protocol, faults, args, sets, more, proof, times", CASES)
def test_a_disturbed_stream_is_whole_in_the_lake(world, protocol, faults, args, sets, more, proof, times):
    host = Host(world, protocol).start("--misbehave", faults, *args)
    collection = Collection(world, [host], *sets).wait(COUNT)
    collection.stop().verify(more=more)
    assert host.process.stop() == 0
    log = (host.process if proof.startswith(HOST) else collection.ingest).text()
    assert len(re.findall(proof.removeprefix(HOST), log)) >= times, log[-3000:]
    assert not collection.gaps() and not collection.letters()


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row10_repeated_events_are_kept_once_and_counted(world, protocol):
    host = Host(world, protocol).start("--misbehave", "duplicate-every=3,cut-every=2000")
    collection = Collection(world, [host]).wait(COUNT)
    wait_for("the repetitions", lambda: metric(world.write_port, "bluelake_events_duplicate_total") >= COUNT // 3 - 5)  # a few are dropped by number
    collection.stop().verify()


@pytest.mark.parametrize("protocol", [V1_ON_V2, V2])
def test_row6_a_host_that_starts_an_hour_early_repeats_and_nothing_is_there_twice(world, protocol):
    """A time is all that means something at another host; this one takes it for the beginning of what it has not sealed yet."""
    first = Host(world, V1, "first").start("--rate", "1500")
    second = Host(world, protocol, "second").start("--seq-start=5000", "--misbehave", "early-start=6000")
    collection = Collection(world, [first, second], "source.host_switch_rewind=100ms").wait(3000)
    first.process.kill()
    collection.wait(COUNT)
    wait_for("the repetitions", lambda: metric(world.write_port, "bluelake_events_duplicate_total") >= 3000)
    collection.stop().verify()
    assert not collection.gaps()


@pytest.mark.parametrize("protocol", EVERYWHERE)
@pytest.mark.parametrize("how", ["silent-first=1000", "vanish-after=1000"])
def test_row3_a_silent_host_makes_room_for_the_next(world, protocol, how):
    silent = Host(world, protocol, "silent").start("--misbehave", how)
    other = Host(world, protocol, "other").start(*(["--seq-start=777777"] if protocol != V1 else []))
    collection = Collection(world, [silent, other], "source.idle_limit=1s").wait(COUNT)
    assert SILENT in collection.ingest.text() and f"source connect host=127.0.0.1:{other.port}" in collection.ingest.text()
    collection.stop().verify()


def test_row4_a_filtered_stream_that_has_nothing_to_say_is_idle_and_one_that_is_dead_is_left(world):
    nobody = "did:plc:" + "2" * 24  # who never writes
    host = Host(world, V1).start("--rate", "500", "--ping", "200ms")
    collection = Collection(world, [host], f"source.dids={nobody}", "source.ping_limit=2s", "ready.received=1s")
    state = lambda: json.loads(get(world.ingest_port, "/health")[1])
    wait_for("ingest answers", lambda: collection.metric("bluelake_jetstream_connected") == 1)
    wait_for("the stream is idle", lambda: state()["stream"] == "idle")
    time.sleep(3)  # longer than both limits: what is tested is that nothing happens
    assert get(world.ingest_port, "/ready")[0] == 200 and collection.metric("bluelake_jetstream_connects_total") == 1
    os.kill(host.process.child.pid, signal.SIGSTOP)  # open, and not even pings: a machine that hangs
    wait_for("the dead host is left", lambda: "no data and no ping for 2" in collection.ingest.text())
    wait_for("it shows", lambda: get(world.ingest_port, "/ready")[0] == 503 and state()["stream"] == "down")
    os.kill(host.process.child.pid, signal.SIGCONT)
    wait_for("it is back", lambda: get(world.ingest_port, "/ready")[0] == 200)
    collection.stop()


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row4_a_whole_stream_that_falls_silent_is_not_ready(world, protocol):
    host = Host(world, protocol).start("--misbehave", "stall-after=1000")
    collection = Collection(world, [host], "ready.received=1s").wait(900)
    wait_for("it shows", lambda: get(world.ingest_port, "/ready")[0] == 503)
    state = json.loads(get(world.ingest_port, "/ready")[1])
    assert state["stream"] == "silent" and "received is late" in state["error"] and state["jetstream_connected"] is True
    assert get(world.ingest_port, "/health")[0] == 200
    collection.stop()


@pytest.mark.parametrize("protocol", [V1])
def test_row1_events_lost_where_replay_meets_live_come_with_the_next_overlap(world, protocol):
    host = Host(world, protocol).start("--rate", "2000", "--misbehave", "cutover-drop=20,cut-every=500")
    Collection(world, [host], f"source.cursor={START}").wait(COUNT).stop().verify()
    left_out = re.search(r"20 events from number (\d+) on are left out", host.process.text())
    assert left_out and 0 < int(left_out[1]) < COUNT, host.process.text()[-3000:]


# what stands behind "after every N events", the fault, and what becomes of it: rows or dead letters
INSERTED = [
    (5, "poison-every=300", 0, {"too_deep": COUNT // 300}),
    (5, "deep-every=300", 0, {"too_deep": COUNT // 300}),
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
    kept_cids = metric(world.write_port, "bluelake_cids_kept_total")
    collection.stop().verify(extras=rows)
    if row == 19:
        assert kept_cids == rows and world.query("SELECT count(*) n FROM others WHERE cid_verified = false") == [{"n": rows}]
    found = collection.letters()
    assert all(found[reason] == n for reason, n in letters.items()) and sum(found.values()) == sum(letters.values()), found


def test_each_reason_to_refuse_a_message_is_counted_and_nothing_else_is_lost(world, tmp_path):
    good = run("simulate", "--ndjson", "--count", 1500).stdout.splitlines()
    like = next(json.loads(line) for line in good if '"app.bsky.feed.like"' in line and '"create"' in line)

    def but(**changes):
        event = {**like, "commit": {**like["commit"]}}
        for name, value in changes.items():
            at = event["commit"] if name in event["commit"] else event
            at[name] = value
            if value is None:
                del at[name]
        return json.dumps(event)

    bad = {
        "json_syntax": ["{", "", but()[:-1], but() + "x", '{"a":01}'], "not_object": ["[]", "7", '"text"', "null"],
        "missing_field": [but(did=None), but(time_us=None), but(kind=None), but(collection=None), but(rkey=None), but(rev=None), but(operation=None), "{}"],
        "wrong_type": [but(did=7), but(time_us="1767571200000000"), but(kind=[]), but(rev={}), but(collection=1)],
        "bad_did": [but(did="did:"), but(did="nobody"), but(did="")], "bad_nsid": [but(collection="likes"), but(collection="")],
        "bad_rkey": [but(rkey="a/b"), but(rkey=""), but(rkey="..")], "bad_rev": [but(rev="yesterday"), but(rev="")],
        "bad_time": [but(time_us=0), but(time_us=-1), but(time_us=1767571200), but(time_us=9 * 10**18)],
        "unknown_kind": [but(kind="wave")], "unknown_operation": [but(operation="replace")],
        "too_deep": [but(record=json.loads("[" * 500 + "]" * 500))], "too_large": [but(record={"text": "x" * (9 << 20)})],
        "utf8": [but(rkey="a").replace('"a"', '"caf\udce9"')],
    }
    lines = good[:500] + [line for group in bad.values() for line in group if line] + good[500:]
    path = tmp_path / "mixed.ndjson"
    path.write_bytes(b"".join(line.encode(errors="surrogateescape") + b"\n" for line in lines))
    expected = {reason: sum(1 for line in group if line) for reason, group in bad.items()}
    collection = Collection(world, [Host(world, V1).start("--from", path, count=0)]).wait(len(good))
    wait_for("the dead letters", lambda: sum(collection.letters().values()) >= sum(expected.values()))
    page = get(world.ingest_port, "/metrics")[1]
    assert {reason: int(n) for reason, n in re.findall(r'bluelake_events_rejected_total{reason="(\w+)"} (\d+)', page) if n != "0"} == expected
    collection.stop()
    assert collection.letters() == expected
    truth = tmp_path / "good.ndjson"
    truth.write_text("".join(line + "\n" for line in good))
    result = json.loads(run("verify", "--data", world.lake, "--against", truth, "--json").stdout)
    assert (result["missing"], result["twice"], result["different"], result["unexpected"], result["problems"]) == (0, 0, 0, 0, 0)


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


def another_instance(world, tmp_path, skew):
    """The same events as another instance of the network tells them: its own times, `skew` seconds off and unsteady, in another order."""
    dice, events = random.Random(9), [json.loads(line) for line in run("simulate", "--ndjson", "--count", COUNT).stdout.splitlines()]
    for event in events:
        event["time_us"] += int(skew * 1e6) + dice.randrange(-200_000, 200_000)
    events.sort(key=lambda event: event["time_us"] + dice.randrange(300_000))
    path = tmp_path / "elsewhere.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path, events


def timeless(event):
    return canonical({k: v for k, v in event.items() if k not in ("time_us", "cursor")})


@pytest.mark.parametrize("skew", [-2, 2])
@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row9_another_instance_with_other_times_and_another_order_takes_over(world, tmp_path, protocol, skew):
    path, events = another_instance(world, tmp_path, skew)
    first = Host(world, V1, "first").start("--rate", "1500")
    second = Host(world, protocol, "second").start("--rate", "3000", "--from", path, *(["--seq-start=9"] if protocol != V1 else []), count=0)
    collection = Collection(world, [first, second], f"source.cursor={START}", "source.host_switch_rewind=5s").wait(2000)
    first.process.kill()
    collection.wait(COUNT).stop()
    lake = [json.loads(line) for line in run("export", "--data", world.lake).stdout.split("\n") if line]
    assert collections.Counter(map(timeless, lake)) == collections.Counter(map(timeless, events))


def test_a_host_whose_name_nobody_knows_makes_room_for_the_next(world):
    host = Host(world, V1).start()
    nameless = "ws://" + "x" * 64 + ".example"  # no such name can exist: nobody is asked
    collection = Collection(world, [host], f"source.urls={nameless},{host.url}").wait(COUNT)
    collection.stop().verify()
    assert re.search(r"source backoff host=x{64}", collection.ingest.text()), collection.ingest.text()[-2000:]


def test_every_class_of_event_is_in_the_log(world):
    host = Host(world, V1).start("--misbehave", "poison-every=1000,cut-every=2500", "--rate", "3000")
    collection = Collection(world, [host], f"source.cursor={START}").wait(COUNT)
    log = collection.stop().ingest.text()
    for line in [r"INFO .*source connect host=\S+ peer=\S+ protocol=v1 cursor=17\d{14}", r"INFO .*source disconnect host=\S+ code=1006 messages=\d+ cursor=17\d{14}",
                 r"INFO .*source backoff host=\S+ next=\S+ wait_ms=\d+", r"WARN .*message refused reason=too_deep bytes=5000 refused_so_far=\d",
                 r"INFO .*flow events_per_second=[\d.]+ received=\d+ buffered=\d+ refused=\d+ lag_seconds=\S+ cursor=\d+ host=127"]:
        assert re.search(line, log), (line, log[-3000:])


@pytest.mark.parametrize("sets, wanted", [
    (["source.collections=posts"], lambda e: e["kind"] != "commit" or e["commit"]["collection"] == "app.bsky.feed.post"),
    (["source.collections=app.bsky.graph.*"], lambda e: e["kind"] != "commit" or e["commit"]["collection"].startswith("app.bsky.graph.")),
], ids=["type", "prefix"])
@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_a_small_part_of_the_stream_is_that_part(world, protocol, sets, wanted):
    truth = [json.loads(line) for line in run("simulate", "--ndjson", "--count", COUNT).stdout.splitlines()]
    part = [event for event in truth if wanted(event)]
    assert 0 < len(part) < COUNT / 2
    host = Host(world, protocol).start("--misbehave", "cut-every=300")
    collection = Collection(world, [host], *sets).wait(len(part))
    collection.stop()
    lake = [json.loads(line) for line in run("export", "--data", world.lake).stdout.split("\n") if line]
    assert collections.Counter(map(timeless, lake)) == collections.Counter(map(timeless, part))


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
    wait_for("the alert", lambda: "JETSTREAM_GAP" in json.loads(get(world.ingest_port, "/health")[1])["alerts"])
    assert collection.metric("bluelake_gaps_total") == 1
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


def test_row23_what_left_accounts_wrote_is_not_shown_and_comes_back_with_them(world, tmp_path):
    gone, hidden, back, there = (f"did:plc:{letter * 24}" for letter in "abcd")

    def at(n, did, kind, inner):
        return {"did": did, "time_us": 1767571200000000 + n * 1000, "kind": kind, kind: inner}

    def post(n, did):
        record = {"$type": "app.bsky.feed.post", "text": f"bluelake of {did}", "createdAt": START, "langs": ["en"]}
        return at(n, did, "commit", {"rev": f"3kaaaaaaaaa{did[-1]}2", "operation": "create", "collection": "app.bsky.feed.post", "rkey": "3kaaaaaaaaa2a", "record": record})

    def account(n, did, active, status=None):
        return at(n, did, "account", {"active": active, "did": did, "seq": n, **({"status": status} if status else {}), "time": START})

    events = [*(post(n, did) for n, did in enumerate([gone, hidden, back, there])), account(10, gone, False, "deleted"), account(11, hidden, False, "takendown"),
              account(12, back, False, "deactivated"), account(13, back, True)]
    path = tmp_path / "accounts.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    collection = Collection(world, [Host(world, V2).start("--from", path, count=0)]).wait(len(events))
    collection.stop()
    found = run("search", "bluelake", "--data", world.lake, "--json").stdout
    assert back in found and there in found and gone not in found and hidden not in found, found
    assert world.query("SELECT count(*) n FROM posts") == [{"n": 4}], "nothing is thrown away"


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row14_a_refusal_that_cannot_change_ends_ingest_with_the_hosts_words(world, protocol):
    host = Host(world, protocol).start("--misbehave", "http-400-first=1000")
    collection = Collection(world, [host])
    assert collection.ingest.child.wait(30) == 2
    assert "as you wish: refused" in collection.ingest.text() and "check source.collections" in collection.ingest.text()


def test_row14_a_host_that_refuses_makes_room_for_one_that_does_not(world):
    bad, good = Host(world, V2, "bad").start("--misbehave", "http-400-first=1000"), Host(world, V1, "good").start()
    Collection(world, [bad, good]).wait(COUNT).stop().verify()


@pytest.mark.parametrize("redundancy", [1, 2])
def test_row14_a_host_that_refused_at_first_is_asked_again(world, redundancy):
    """An address that was blocked for a while, a proxy that was not ready: the first one refuses once, the second one dies later."""
    bad, good = Host(world, V1, "bad").start("--misbehave", "http-400-first=1"), Host(world, V1, "good").start("--rate", "1500")
    collection = Collection(world, [bad, good], f"source.cursor={START}", f"source.redundancy={redundancy}")
    wait_for("the first one is left out", lambda: "source goes on without this host for now" in collection.ingest.text())
    collection.wait(500)
    good.process.kill()
    wait_for("the first one delivers", lambda: f"source connect host=127.0.0.1:{bad.port}" in collection.ingest.text())
    collection.wait(COUNT).stop().verify()
    assert not collection.gaps()


@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row14_a_refusal_in_the_middle_of_the_stream_passes(world, protocol):
    host = Host(world, protocol).start("--rate", "1500")
    collection = Collection(world, [host], f"source.cursor={START}").wait(500)
    host.process.kill()
    host.start("--misbehave", "http-400-first=2")
    wait_for("two refusals", lambda: collection.ingest.text().count("source goes on without this host for now") == 2)
    wait_for("it is back", lambda: collection.metric("bluelake_jetstream_connected") == 1)
    collection.wait(COUNT).stop().verify()
    assert not collection.gaps()


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
    count = 120000
    host = Host(world, protocol).start("--rate", "15000", count=count)
    collection = Collection(world, [host], f"source.cursor={START}", "ingest.queue_bytes=1m", "ingest.spill_bytes=0", "redis.timeout=2s").wait(500)
    redis = [p for p in world.processes if "redis-server" in p.args[0]][0]
    os.kill(redis.child.pid, signal.SIGSTOP)
    time.sleep(10)  # longer than a host waits for a reader
    os.kill(redis.child.pid, signal.SIGCONT)
    collection.wait(count, 120)
    assert collection.metric("bluelake_jetstream_connects_total") >= 2, "the host did not cut it off"
    collection.stop().verify(count)


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


@needs_shim
@pytest.mark.parametrize("jump", ["86400", "-86400"])
@pytest.mark.parametrize("protocol", EVERYWHERE)
def test_row28_a_clock_that_is_set_moves_neither_timers_nor_position(world, protocol, jump):
    """Forward by a day, back, and so on, while the host cuts the connection again and again."""
    host = Host(world, protocol).start("--rate", "1500", "--misbehave", "cut-every=700")
    jumped = world.folder / "jumped"
    shimmed = {**os.environ, "LD_PRELOAD": str(SHIM), "BL_SHIM_CLOCK": jump, "BL_SHIM_WHILE": str(jumped)}
    collection = Collection(world, [host], f"source.cursor={START}", env=shimmed)
    for n in range(4):
        wait_for("some more events", lambda: world.catalog_rows() >= n * 1200 or collection.fail_if_dead())
        jumped.unlink() if jumped.exists() else jumped.touch()
    collection.wait(COUNT)
    assert "no data for" not in collection.ingest.text()
    days = re.findall(r"^(\d{4}-\d\d-\d\d)T", collection.ingest.text(), re.M)
    assert len(set(days)) >= 2, "the clock was not set"
    collection.stop().verify()
    assert not collection.gaps() and not collection.letters()


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
