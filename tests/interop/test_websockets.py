"""Python's websockets library as the other end: client of our simulator, and a Jetstream that our ingest reads."""
import collections
import contextlib
import json
import threading

import pytest
import websockets.exceptions
import zstandard
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import FIXTURE, canonical, run, value_lines, wait_for

COUNT = 3000


def served(world, *extra):
    world.simulator("--count", COUNT, *extra)
    return f"ws://127.0.0.1:{world.source_port}/subscribe"


def expected():
    return run("simulate", "--ndjson", "--count", COUNT).stdout.splitlines()


def test_the_simulators_events_arrive_as_text(world):
    with connect(served(world)) as client:
        assert [client.recv(timeout=10) for _ in range(COUNT)] == expected()
        client.ping().wait(10)


def test_filters_and_cursors_are_honoured(world):
    address = served(world)
    events = [json.loads(line) for line in expected()]
    with connect(f"{address}?cursor={events[1000]['time_us']}", max_queue=None) as client:
        assert json.loads(client.recv(timeout=10))["time_us"] in (events[1000]["time_us"], events[1001]["time_us"])
    wanted = [e for e in events if e["kind"] != "commit" or e["commit"]["collection"] == "app.bsky.graph.follow"]
    with connect(f"{address}?wantedCollections=app.bsky.graph.follow") as client:
        assert [json.loads(client.recv(timeout=10)) for _ in wanted] == wanted


def test_options_sent_later_are_awaited(world):
    events = [json.loads(line) for line in expected()]
    wanted = [e for e in events if e["kind"] != "commit" or e["commit"]["collection"] == "app.bsky.graph.block"]
    with connect(f"{served(world)}?requireHello=true") as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.3)
        client.send(json.dumps({"type": "options_update", "payload": {"wantedCollections": ["app.bsky.graph.block"]}}))
        assert [json.loads(client.recv(timeout=10)) for _ in wanted] == wanted


def test_compressed_messages_unpack_with_the_dictionary(world, dictionary):
    unpack = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary.read_bytes()))
    with connect(served(world, "--dictionary", dictionary) + "?compress=true", compression=None) as client:
        got = [client.recv(timeout=10) for _ in range(COUNT)]
    assert all(isinstance(message, bytes) for message in got)
    assert [unpack.decompress(message, max_output_size=1 << 20).decode() for message in got] == expected()


@pytest.mark.parametrize("query", ["wantedCollections=no+collection", "wantedDids=nobody", "cursor=yesterday", "compress=true"])
def test_bad_parameters_are_refused_with_400_and_a_reason(world, query):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(f"{served(world)}?{query}")
    assert refused.value.response.status_code == 400 and len(refused.value.response.body) > 10


@contextlib.contextmanager
def jetstream(world, lines, fragmented=False):
    """A Jetstream of three lines of Python."""
    asked = []

    def talk(connection):
        asked.append(connection.request.path)
        for line in lines:
            connection.send((line[i:i + 50] for i in range(0, len(line), 50)) if fragmented else line)
        connection.ping().wait(10)
        for _ in connection:
            pass

    with serve(talk, "127.0.0.1", world.source_port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("fragmented", [False, True], ids=["whole", "fragmented"])
def test_ingest_reads_from_an_independent_server(world, fragmented):
    events = value_lines(FIXTURE)
    with jetstream(world, FIXTURE.read_text().splitlines(), fragmented) as asked:
        world.redis()
        writer, ingest = world.writer(), world.ingest()
        wait_for("everything is in the lake", lambda: world.catalog_rows() >= len(events))
        assert ingest.stop() == 0 and writer.stop() == 0
    assert asked[0].startswith("/subscribe")
    got = [json.loads(line) for line in run("export", "--data", world.lake).stdout.split("\n") if line]
    assert collections.Counter(map(canonical, got)) == collections.Counter(map(canonical, events))
