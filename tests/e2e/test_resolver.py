"""Handles the lake has not heard of: the real server asks an API that speaks app.bsky.actor.getProfiles, here on loopback."""
import http.server
import json
import socket
import threading
import time
import urllib.parse

import pytest

from harness import metric, run, wait_for
from test_api import Server, make_lake


class Directory:
    """Knows every account by a handle made of its DID, but for those in `unknown`; notes what it was asked."""

    def __init__(self):
        self.asked, self.unknown, self.status, self.hold = [], set(), 200, threading.Event()
        self.hold.set()
        directory = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                actors = urllib.parse.parse_qs(url.query)["actors"]
                directory.asked.append(actors)
                directory.hold.wait(60)
                assert url.path == "/xrpc/app.bsky.actor.getProfiles" and len(actors) <= 25
                profiles = [directory.profile(actor) for actor in actors if actor not in directory.unknown]
                body = json.dumps({"profiles": [p for p in profiles if p]}).encode()
                self.send_response(directory.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def profile(self, actor):
        word = actor.removeprefix("did:plc:") if actor.startswith("did:plc:") else actor.removesuffix(".example.com")
        if "." in word or ":" in word:
            return None
        return {"did": f"did:plc:{word}", "handle": f"{word}.example.com", "displayName": f"Called {word[:5]}", "labels": []}

    def subjects(self):
        return [actor for actors in self.asked for actor in actors]

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(30)


@pytest.fixture
def directory():
    d = Directory()
    yield d
    d.close()


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return make_lake(tmp_path_factory.mktemp("resolver"), 3000)


@pytest.fixture
def served(tmp_path, lake, directory):
    for file in [*lake.glob("resolved.sqlite*"), *lake.glob("views.sqlite*")]:
        file.unlink()
    started = []

    def start(*sets):
        server = Server(tmp_path, lake, f"resolve.url={directory.url}", "resolve.rate=100", *sets, name=f"serve{len(started)}").ready()
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.alive():
            server.stop()


def nameless(results):
    return [r["did"] for r in results if not r["handle"]]


def test_authors_get_their_names_soon_and_are_asked_for_once(served, directory):
    server = served()
    first = server.get("/search", limit=50)
    dids = set(nameless(first.json()["results"]))
    assert len(dids) > 20 and "etag" not in first.headers and first.headers["x-snapshot"], "an answer that will be better soon is not kept"
    wait_for("all have names", lambda: not nameless(server.results(limit=50)["results"]))
    answer = wait_for("now it may be kept", lambda: (a := server.get("/search", limit=50)) and "etag" in a.headers and a)
    for result in answer.json()["results"]:
        if result["did"] in dids:
            word = result["did"].removeprefix("did:plc:")
            assert (result["handle"], result["display_name"]) == (f"{word}.example.com", f"Called {word[:5]}")
            assert result["username"] == result["handle"]
    assert dids <= set(directory.subjects()) and len(directory.subjects()) == len(set(directory.subjects()))
    server.stop()
    count = len(directory.asked)
    again = served()
    assert not nameless(again.results(limit=50)["results"]), "what was told is kept"
    assert len(directory.asked) == count


def test_the_lakes_own_word_comes_first(served, directory, lake):
    sql = "SELECT a.did, arg_max(a.handle, a.time_us), any_value(d.rkey) FROM accounts a JOIN posts d USING (did) WHERE a.handle IS NOT NULL GROUP BY a.did LIMIT 1"
    row = json.loads(run("query", "--data", lake, "--json", sql).stdout.splitlines()[0])
    did, handle = list(row.values())[:2]
    server = served()
    found = server.results(q=f"from:{handle}")["results"]
    assert found and all(r["did"] == did and r["handle"] == handle for r in found)
    assert handle not in directory.subjects()
    wait_for("the name of the one without a profile", lambda: did in directory.subjects() or found[0]["display_name"])
    assert server.results(q=f"from:{did}")["results"][0]["handle"] == handle


def test_a_search_by_a_handle_the_lake_has_not_heard_of(served, directory):
    server = served()
    did = nameless(server.results(limit=50)["results"])[0]
    handle = did.removeprefix("did:plc:") + ".example.com"
    by_did = server.results(q=f"from:{did}")["results"]
    by_handle = server.results(q=f"from:{handle.upper()}")["results"]
    assert by_did and [r["uri"] for r in by_handle] == [r["uri"] for r in by_did]
    user = server.get(f"/users/@{handle}")
    assert user.status == 200 and user.json()["did"] == did and user.json()["handle"] == handle


def test_nobody_of_that_name(served, directory):
    directory.unknown.add("nobody.example.com")
    server = served()
    for _ in range(3):
        answer = server.results(q="from:nobody.example.com")
        assert answer["results"] == [] and "neither to the lake nor to 127.0.0.1" in answer["meta"]["note"], answer["meta"]
        assert server.get("/users/nobody.example.com").status == 404
    assert directory.subjects().count("nobody.example.com") == 1


def test_a_host_that_fails_or_is_silent_holds_nobody_up(served, directory):
    directory.status = 503
    server = served("resolve.timeout=300ms")
    answer = server.results(q="from:someone.example.com")
    assert answer["results"] == [] and "does not answer" in answer["meta"]["note"]
    assert len(server.results(limit=50)["results"]) == 50, "accounts are shown by their DIDs"
    directory.status = 200
    directory.hold.clear()
    wait_for("a silent host is given up", lambda: "does not answer" in server.results(q="from:other.example.com")["meta"]["note"])
    directory.hold.set()
    wait_for("it is asked again when it is back", lambda: server.results(q="from:other.example.com")["meta"]["note"] is None)
    wait_for("and names come", lambda: not nameless(server.results(limit=50)["results"]))


def test_views_name_who_they_rank(served):
    server = served("serve.views_every=200ms")

    def view():
        answer = server.get("/views/most_active_daily")
        return answer.json() if answer.status == 200 else None

    view = wait_for("the view is there", view)
    rows = [dict(zip(view["columns"], row)) for row in view["rows"]]
    assert rows and all(row["handle"] for row in rows), rows
    assert any(row["handle"] == row["did"].removeprefix("did:plc:") + ".example.com" for row in rows)


def test_nobody_is_asked_for_who_is_not_shown(served, directory):
    server = served("serve.views_every=0")
    known = {r["did"] for r in server.results(limit=1)["results"]}
    page = {r["did"] for r in server.results(limit=10, page=20)["results"]}
    assert server.get("/users/did:plc:" + "z" * 24).status == 404
    first, second = (server.get("/export", format="ndjson") for _ in range(2))
    assert first.status == 200 and first.body == second.body
    wait_for("those that were shown are asked for", lambda: not nameless(server.results(limit=10, page=20)["results"]))
    assert set(directory.subjects()) <= known | page
    assert server.get("/export", format="ndjson").body == first.body, "an export is the same each time"


def test_many_handles_are_asked_for_together_and_nobody_waits_long(served, directory):
    server = served("resolve.timeout=20s", "resolve.rate=1000")
    query = " OR ".join(f"from:nobody.{i}.example.com" for i in range(100))
    answer = server.results(q=query)
    assert answer["results"] == [] and "neither to the lake" in answer["meta"]["note"]
    assert len(directory.asked) == 4 and len(directory.subjects()) == 100


def test_a_client_that_hangs_up_is_waited_for_by_nobody(served, directory):
    server = served("resolve.timeout=60s", "serve.sessions=1", "serve.deadline=100s", "serve.wait=50s")
    directory.hold.clear()
    for i in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(f"GET /search?q=from:x{i}.example.com HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            wait_for("its answer is being looked for", lambda: metric(server.port, "bluelake_http_running") > 0)
    assert len(server.results(limit=5)["results"]) == 5, "not after three times 60 s"


def test_without_the_setting_nobody_is_asked(tmp_path, lake, directory):
    for url in ("auto", "none", ""):
        server = Server(tmp_path, lake, f"resolve.url={url}", name=f"serve-{url}").ready()
        assert nameless(server.results(limit=50)["results"])
        assert "try its DID" in server.results(q="from:someone.example.com")["meta"]["note"]
        server.stop()
    assert directory.asked == []


def test_an_address_that_is_none_is_refused_with_its_cure(lake):
    done = run("serve", "--data", lake, "--http", "127.0.0.1:0", "--set", "resolve.url=public.api.bsky.app", check=False)
    assert done.returncode == 2 and "resolve.url" in done.stderr and "https://HOST" in done.stderr
    done = run("search", "--data", lake, "--resolve", "nonsense", "", check=False)
    assert done.returncode == 2 and "--resolve" in done.stderr


def test_the_command_line_waits_for_names(lake, directory):
    for file in lake.glob("resolved.sqlite*"):
        file.unlink()
    started = time.monotonic()
    lines = [json.loads(line) for line in run("search", "--data", lake, "--resolve", directory.url, "--limit", "20", "--json", "").stdout.splitlines()]
    assert len(lines) == 20 and all(line["handle"] for line in lines), f"after {time.monotonic() - started:.1f} s"
    handle = lines[0]["did"].removeprefix("did:plc:") + ".example.com"
    found = run("search", "--data", lake, "--resolve", directory.url, "--json", f"from:{handle}").stdout.splitlines()
    assert found and all(json.loads(line)["did"] == lines[0]["did"] for line in found)
