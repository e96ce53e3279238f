"""The server among clients that are many, slow, or gone: what they cost, and what the others notice of them."""
import concurrent.futures
import re
import resource
import socket
import time

import pytest

import api
from harness import World, free_port, run, wait_for
from test_api import SANITIZED, Server, lake, large_lake, make_lake, whole  # noqa: F401

MIB = 1 << 20


def quiet(server):
    """Nothing runs and nothing waits."""
    return all(re.search(rf"^bluelake_http_{name} 0$", server.get("/metrics").body.decode(), re.M) for name in ("running", "waiting"))


def start_export(server, buffer=4096):
    """A client that asked for everything and has read the head; its socket."""
    sock = socket.socket()
    sock.settimeout(60)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(b"GET /export?format=ndjson HTTP/1.1\r\nHost: x\r\n\r\n")
    assert sock.recv(12) == b"HTTP/1.1 200"
    return sock


def test_an_export_of_ten_times_the_rows_needs_no_more_memory(lake, large_lake, tmp_path):  # noqa: F811
    peaks = []
    for name, folder, least in (("small", lake, 3000), ("large", large_lake, 40000)):
        s = Server(tmp_path, folder, "serve.views_every=0", name=name).ready()
        assert whole(s.get("/export", format="csv")) > least  # what is built once is built
        most, answers = s.resident(), []
        with concurrent.futures.ThreadPoolExecutor(1) as client:
            asked = client.submit(lambda: [whole(s.get("/export", format=f)) for f in ("csv", "ndjson", "parquet")])
            while not asked.done():
                most = max(most, s.resident())
                time.sleep(0.002)
            answers = asked.result()
        assert len(set(answers)) == 1 and answers[0] > least
        peaks.append(most)
        s.stop()
    print(f"\nanonymous memory while exporting: {peaks[0] / MIB:.0f} MiB, ten times the rows: {peaks[1] / MIB:.0f} MiB")
    assert SANITIZED or peaks[1] - peaks[0] < 64 * MIB


def test_a_limited_export_that_is_large_is_not_held_in_memory(large_lake, tmp_path):  # noqa: F811
    s = Server(tmp_path, large_lake, "serve.row_limit=45000").ready()
    answer = s.get("/export", format="ndjson")
    assert whole(answer) == 45000 and len(answer.body) > 32 * MIB
    assert answer.trailers["x-truncated"] == "true" and "x-truncated" in answer.headers["trailer"].lower()
    s.stop()


def test_slow_readers_hold_up_nobody_else(large_lake, tmp_path):  # noqa: F811
    s = Server(tmp_path, large_lake, "serve.sessions=4").ready()
    slow = [start_export(s) for _ in range(3)]
    end = time.monotonic() + 3
    read = 0
    while time.monotonic() < end:  # about a kilobyte a second each
        read += sum(len(sock.recv(341)) for sock in slow)
        assert s.get("/search", text=f"word{read}", limit=1).status == 200
        assert s.get("/views").status == 200
        time.sleep(0.3)
    for sock in slow:
        sock.close()
    wait_for("they are gone", lambda: quiet(s), 30)
    assert whole(s.get("/export", format="csv")) > 40000
    s.stop()


def test_killed_clients_give_everything_back(large_lake, tmp_path):  # noqa: F811
    s = Server(tmp_path, large_lake, "serve.sessions=4", "serve.stall=600s").ready()
    for _ in range(3):  # every session has its files open
        assert whole(s.get("/export", format="ndjson")) > 40000
    assert whole(s.get("/export", format="parquet")) > 40000
    wait_for("nothing runs", lambda: quiet(s), 30)
    descriptors, memory = s.descriptors(), s.resident()
    for round_ in range(4):
        socks = [start_export(s) for _ in range(3)]
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0" if round_ % 2 else b"\0" * 8)  # a reset, or a close
            sock.close()
        wait_for("their sessions are free", lambda: quiet(s), 30)
    wait_for("their sockets are closed", lambda: s.descriptors() <= descriptors + 12, 30)  # segments another session has opened
    assert SANITIZED or s.resident() - memory < 64 * MIB
    s.stop()


# ---- many connections ----

def allow_files(n):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))


def test_a_thousand_connections_idle_slow_and_kept_alive_disturb_nobody(lake, tmp_path):  # noqa: F811
    allow_files(4096)
    s = Server(tmp_path, lake).ready()
    before = s.resident()
    socks = [socket.create_connection(("127.0.0.1", s.port), timeout=60) for _ in range(1000)]
    try:
        for sock in socks[:300]:  # kept alive after an answer
            sock.sendall(b"GET /search?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        for sock in socks[300:600]:  # in the middle of a request
            sock.sendall(b"GET /search?limit=1 HTT")
        for sock in socks[:300]:
            assert sock.recv(12) == b"HTTP/1.1 200"
        with concurrent.futures.ThreadPoolExecutor(20) as users:
            assert all(a.status == 200 for a in users.map(lambda n: s.get("/search", text=f"word{n % 7}", limit=5), range(200)))
        for sock in socks[300:600]:
            sock.sendall(b"P/1.1\r\nHost: x\r\n\r\n")
        for sock in socks[300:600]:
            assert sock.recv(12) == b"HTTP/1.1 200"
        memory = s.resident() - before
        print(f"\n1000 connections: {memory / MIB:.0f} MiB more")
        assert SANITIZED or memory < 256 * MIB
    finally:
        for sock in socks:
            sock.close()
    s.stop()


def test_one_connection_too_many_is_told_so(lake, tmp_path):  # noqa: F811
    s = Server(tmp_path, lake, "serve.connections=16").ready()
    held = []
    for _ in range(16):
        connection = api.Keeping(s.port)
        assert connection.ask("/search?limit=1")[0] == 200
        held.append(connection)
    answer = s.get("/search", limit=1)
    assert answer.status == 503 and int(answer.headers["retry-after"]) > 0 and answer.json()["error"]["code"] == "busy"
    assert s.get("/health").status == 200
    assert all(connection.ask("/search?limit=2")[0] in (200, 503) for connection in held[:3])
    for connection in held:
        connection.connection.close()
    wait_for("there is room again", lambda: s.get("/search", limit=1).status == 200)
    s.stop()


def test_one_address_cannot_take_all_connections(lake, tmp_path):  # noqa: F811
    s = Server(tmp_path, lake, "serve.connections_per_address=5")
    held = [socket.create_connection(("127.0.0.1", s.port), timeout=30) for _ in range(5)]
    refused = socket.create_connection(("127.0.0.1", s.port), timeout=30)
    try:
        refused.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert refused.recv(1) == b""
    except ConnectionError:
        pass
    held[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held[0].recv(8) == b"HTTP/1.1"
    for sock in [*held, refused]:
        sock.close()
    s.stop()


# ---- addresses and neighbours ----

def test_an_ipv6_address_serves_as_well(lake, tmp_path):  # noqa: F811
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    s = Server(tmp_path, lake, http="[::1]:0")
    assert "http://[::1]:" in s.process.text()
    with socket.create_connection(("::1", s.port), timeout=60) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
    s.stop()


def test_the_status_shows_no_other_collections_writer(lake, tmp_path):  # noqa: F811
    world = World(tmp_path / "other")
    try:
        world.redis()
        writer = world.writer()
        wait_for("the writer answers", lambda: "health and metrics" in writer.text() or not writer.alive())
        port = f"write.http=127.0.0.1:{world.write_port}"
        theirs = Server(tmp_path, world.lake, port, name="theirs")
        ours = Server(tmp_path, lake, port, name="ours").ready()
        status = ours.get("/status").json()
        assert status["writer"] is None and status["note"] == f"another collection answers on 127.0.0.1:{world.write_port}"
        status = wait_for("its own server shows it", lambda: (a := theirs.get("/status")).status == 200 and a.json()["writer"] and a.json())
        assert status["note"] is None and status["writer"]["role"] == "write"
        ours.stop()
        theirs.stop()
    finally:
        world.close()
