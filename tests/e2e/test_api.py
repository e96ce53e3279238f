"""The HTTP API against the real binary over a real lake: the contract, exports, hostile input, limits and keys."""
import concurrent.futures
import contextlib
import csv
import datetime
import gzip
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.parse

import pytest

import api
from harness import BINARY, SANITIZED, Process, free_port, run, wait_for

EVENTS = 60000
VIEWS = ["posts_by_hour_24h", "posts_weekly", "posts_monthly", "peak_hours", "most_active_daily", "most_active_weekly", "most_active_monthly",
         "engagement_rates", "trending_hashtags_hourly", "trending_hashtags_daily", "trending_hashtags_weekly", "most_liked", "post_length",
         "like_to_post_ratio", "engagement_velocity", "viral", "network_growth", "languages", "link_domains"]


class Server:
    def __init__(self, folder, lake, *sets, http="127.0.0.1:0", name="serve"):
        defaults = ["serve.row_limit=0", f"ingest.http=127.0.0.1:{free_port()}", f"write.http=127.0.0.1:{free_port()}"]
        self.process = Process([BINARY, "serve", "--data", lake, "--http", http, *[f"--set={s}" for s in [*defaults, *sets]]], folder / f"{name}.log")
        found = wait_for("the server's address", lambda: re.search(r"http://\S+:(\d+)$", self.process.text(), re.M) or not self.process.alive())
        assert found is not True, self.process.text()
        self.port = int(found.group(1))
        self.lake = lake

    def ready(self):
        wait_for("the server is ready", lambda: api.ask(self.port, "/ready").status == 200)
        return self

    def get(self, path, headers=None, **values):
        return api.ask(self.port, api.target(path, **values), headers=headers)

    def results(self, **values):
        answer = self.get("/search", **values)
        assert answer.status == 200, answer.body
        return answer.json()

    def resident(self):
        """Bytes of its own; the files it has mapped are the kernel's to keep or drop."""
        return int(re.search(r"RssAnon:\s+(\d+) kB", open(f"/proc/{self.process.child.pid}/status").read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.child.pid}/fd"))

    def stop(self):
        assert self.process.stop(30) == 0, self.process.text()[-3000:]


def make_lake(folder, events):
    file = folder / "events.ndjson"
    with open(file, "wb") as out:
        subprocess.run([BINARY, "simulate", "--ndjson", "--count", str(events), "--network-rate", "10"], stdout=out, check=True)
    run("import", "--data", folder / "lake", file)
    file.unlink()
    return folder / "lake"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return make_lake(tmp_path_factory.mktemp("api"), EVENTS)


@pytest.fixture(scope="module")
def large_lake(tmp_path_factory):
    """Its export is larger than everything between server and client holds."""
    return make_lake(tmp_path_factory.mktemp("large"), 8 * EVENTS)


@pytest.fixture(scope="module")
def server(lake, tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("serve"), lake).ready()
    wait_for("the views are there", lambda: s.get("/views/languages").status == 200)
    yield s
    s.stop()


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


def shown_posts(lake):
    """Every post that may be shown, newest first, by the command line."""
    done = run("search", "--data", lake, "--limit", "10000", "--json", "")
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- the contract ----


def test_each_endpoint_answers_as_the_document_says(server, document):
    post = server.results(limit=1)["results"][0]
    concrete = {"/posts/{uri}": "/posts/" + urllib.parse.quote(post["uri"], safe=""), "/users/{account}": "/users/" + post["did"],
                "/views/{name}": "/views/languages", "/stats/daily": "/stats/daily?date=2026-01-05"}
    for path, operations in document["paths"].items():
        answer = server.get(concrete.get(path, path))
        assert answer.status == 200, (path, answer.body[:300])
        kind, content = next(iter(operations["get"]["responses"]["200"]["content"].items()))
        assert answer.headers["content-type"].startswith(kind), path
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff" and "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        if kind == "application/json":
            assert api.problems(answer.json(), content["schema"], document) == [], path


@pytest.mark.parametrize("path, status, parameter, message, cure", [
    ("/users/nobody", 400, "account", '"nobody" is neither a DID nor a handle', "write did:plc:... or alice.bsky.social"),
    ("/users/nobody.example.com", 404, "account", "nobody.example.com", "/search"),
    ("/posts/foo", 400, "uri", '"foo" is not the address of a post', "write at://DID/app.bsky.feed.post/KEY, or DID/KEY"),
    ("/posts/did:plc:nobody/3kaaaaaaaaa2a", 404, "uri", "the lake holds no such post", "/search"),
    ("/views/langages", 404, "name", 'there is no view "langages"', 'did you mean "languages"?'),
    ("/views/nothing-of-the-kind", 404, "name", 'there is no view "nothing-of-the-kind"', "/views lists them"),
    ("/views/" + "x" * 100, 404, "name", "there is no such view", "/views lists them"),
    ("/stats/daily", 400, "date", "date is needed", "give a date such as 2026-11-21"),
    ("/search?q=cats+form:alice", 400, "q", 'column 6: unknown operator "form:"', 'did you mean "from:"?'),
    ("/search?q=note:this", 400, "q", 'column 1: unknown operator "note:"', "to look for the text itself, put it in quotes"),
    ("/search?q=from:alice", 400, "q", 'column 6: "alice" is neither a DID nor a handle', "write did:plc:... or alice.bsky.social"),
    ("/search?q=%22a", 400, "q", "column 1: this quote is never closed", "write another where the phrase ends"),
    ("/counts?q=(a", 400, "q", "column 1: this parenthesis is never closed", "close it, or put it in quotes"),
    ("/export?q=a+OR", 400, "q", "column 5: nothing to look for after OR", "write what to look for there, or leave it out"),
    ("/search?q=lang:", 400, "q", 'column 1: "lang:" needs a value right after the colon', "write lang:LANGUAGE"),
    ("/search?q=domain:https://a.b", 400, "q", 'column 8: "https://a.b" is not a domain', "write it without https:// and path, such as example.com"),
    ("/search?cursor=abc", 400, "cursor", "cursor: ", "give what an earlier answer gave, unchanged"),
    ("/search?page=1000", 400, "page", "page: pages reach 10000 results deep", "go on with next_cursor"),
    ("/search?page=2&cursor=abc", 400, "cursor", "cursor: both it and a page are given", "give a page or a cursor"),
    ("/search?username=did:web", 400, "username", "username: ", "give a handle such as alice.bsky.social or a DID"),
    ("/search?end=2026-01-01&start=2026-01-02", 400, "end", "end is before start", "exchange them"),
    ("/search?cursor=1~abc", 400, "cursor", "cursor: ", "give what an earlier answer gave, unchanged"),
])
def test_errors_name_the_parameter_and_the_cure(server, path, status, parameter, message, cure):
    answer = server.get(path)
    error = answer.json()["error"]
    assert (answer.status, error["parameter"]) == (status, parameter), error
    assert message in error["message"] and cure in error["cure"] and error["cure"] not in error["message"], error


def test_each_parameter_takes_its_example_and_refuses_nonsense(server, document):
    nonsense = {"integer": ["x", "0", "-1", "1.5", "99999999999999999999", " 1"], "boolean": ["maybe", "TRUE"]}
    for path, operations in document["paths"].items():
        if "{" in path:
            continue
        needed = {p["name"]: p["example"] for p in operations["get"]["parameters"] if p["required"]}
        for p in operations["get"]["parameters"]:
            example = p.get("example")
            if example is not None:
                value = json.dumps(example) if not isinstance(example, str) else example
                answer = server.get(path, **{**needed, p["name"]: value})
                assert answer.status == 200, (path, p["name"], answer.body[:300])
            schema = p["schema"]
            bad = nonsense.get(schema["type"], [])
            bad = bad + (["no-such-choice"] if "enum" in schema else []) + (["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else [])
            bad += ["2026-13-01"] if schema.get("format") == "date" or p["name"] in ("start", "end") else []
            for value in bad:
                answer = server.get(path, **{**needed, p["name"]: value})
                error = answer.json()["error"]
                assert answer.status == 400 and error["parameter"] == p["name"] and error["cure"], (path, p["name"], value)
                assert api.problems(answer.json(), document["components"]["schemas"]["Error"], document) == []
        assert server.get(path, **{**needed, "nonsense": "1"}).json()["error"]["code"] == "unknown_parameter"


def test_each_view_answers(server):
    listed = {v["name"] for v in server.get("/views").json()["views"]}
    assert listed >= set(VIEWS)
    for name in VIEWS:
        answer = server.get(f"/views/{name}")
        assert answer.status == 200, (name, answer.body)
        view = answer.json()
        rows = list(csv.reader(io.StringIO(server.get(f"/views/{name}", format="csv").body.decode(), newline="")))
        assert rows[0] == view["columns"] and len(rows) == len(view["rows"]) + 1
        assert all(len(row) == len(view["columns"]) for row in view["rows"])
    assert server.get("/views/none").status == 404


def test_what_is_not_there_is_said(server):
    assert server.get("/nothing").status == 404
    assert server.get("/posts/did:plc:nobody/3zzzzzzzzzzzz").status == 404
    assert server.get("/users/did:plc:nobody").status in (200, 404)
    changing = api.ask(server.port, "/search", method="DELETE")
    assert changing.status == 405 and changing.headers["allow"] == "GET, HEAD, OPTIONS"
    head = api.ask(server.port, "/search?limit=1", method="HEAD")
    assert head.status == 200 and int(head.headers["content-length"]) > 0
    assert api.ask(server.port, "/export", method="HEAD").status == 200


# ---- search ----


def test_search_finds_what_the_command_line_finds(server, lake):
    everything = shown_posts(lake)
    for values, args in [(dict(text="the"), '"the"'), (dict(q="the -old"), "the -old"), (dict(lang="ja"), "lang:ja"), (dict(text="%"), '"%"'), (dict(text="_"), '"_"'),
                         (dict(username=everything[0]["did"]), "from:" + everything[0]["did"]), (dict(text="the", lang="en", q="has:image"), '"the" lang:en has:image')]:
        done = run("search", "--data", lake, "--json", "--limit", "100", args)
        wanted = [json.loads(line)["uri"] for line in done.stdout.splitlines()]
        assert [r["uri"] for r in server.results(limit=100, **values)["results"]] == wanted, values


def test_twenty_pages_are_disjoint_complete_and_in_order(server, lake):
    everything = [p["uri"] for p in shown_posts(lake)]
    assert len(everything) > 1000
    pages = [server.results(page=n) for n in range(1, 21)]
    uris = [r["uri"] for p in pages for r in p["results"]]
    assert uris == everything[:1000] and len(set(uris)) == 1000
    assert all(p["meta"]["has_more"] and not p["meta"]["truncated"] for p in pages)


def test_a_cursor_walks_to_the_end(server, lake):
    uris, cursor = [], None
    while True:
        answer = server.results(limit=100, text="a", **({"cursor": cursor} if cursor else {}))
        uris += [r["uri"] for r in answer["results"]]
        cursor = answer["meta"]["next_cursor"]
        if not cursor:
            break
    exported = [json.loads(line)["uri"] for line in server.get("/export", format="ndjson", text="a").body.splitlines()]
    assert len(uris) == len(set(uris)) and sorted(uris) == sorted(exported) and len(uris) > 500


def test_the_row_limit_ends_pages_cursors_and_exports(lake, tmp_path):
    s = Server(tmp_path, lake, "serve.row_limit=1000").ready()
    twenty, beyond = s.results(page=20), s.results(page=21)
    assert len(twenty["results"]) == 50 and twenty["meta"]["truncated"] and not twenty["meta"]["has_more"] and not twenty["meta"]["next_cursor"]
    assert beyond["results"] == [] and beyond["meta"]["truncated"]
    count, cursor = 0, s.results(limit=100)["meta"]["next_cursor"]
    while cursor:
        answer = s.results(limit=100, cursor=cursor)
        count, cursor = count + len(answer["results"]), answer["meta"]["next_cursor"]
    assert count == 900
    export = s.get("/export")
    assert export.headers["x-truncated"] == "true" and export.trailers["x-row-count"] == "1000"
    assert s.get("/export", format="parquet").trailers["x-row-count"] == "1000"
    s.stop()


def test_dates_are_inclusive_and_bounds_are_exact(server):
    every = server.get("/counts", bucket="hour").json()
    assert sum(b["count"] for b in every["buckets"]) == every["total"]
    newest = server.results(limit=1)["results"][0]
    day = newest["timestamp"][:10]
    assert server.get("/counts", start=day, end=day).json()["total"] == every["total"]
    assert newest["uri"] in [r["uri"] for r in server.results(start=newest["timestamp"], end=newest["timestamp"])["results"]]
    assert server.results(start="2030-01-01")["results"] == []


def test_an_unknown_handle_is_an_empty_answer_with_a_reason(server):
    answer = server.results(username="@nobody.example.com")
    assert answer["results"] == [] and "nobody.example.com" in answer["meta"]["note"]


# ---- exports ----


def whole(answer):
    assert answer.headers["trailer"].startswith("X-Row-Count, X-Content-SHA256")
    assert answer.trailers["x-content-sha256"] == hashlib.sha256(answer.body).hexdigest()
    return int(answer.trailers["x-row-count"])


def test_an_export_is_the_search_whole_in_every_format(server, tmp_path):
    total = server.get("/counts", text="the").json()["total"]
    table = server.get("/export", text="the")
    assert re.fullmatch(r'attachment; filename="bluesky-posts-\d{4}-\d\d-\d\d\.csv"', table.headers["content-disposition"])
    rows = list(csv.DictReader(io.StringIO(table.body.decode(), newline="")))
    lines = server.get("/export", text="the", format="ndjson")
    posts = [json.loads(line) for line in lines.body.splitlines()]
    parquet = server.get("/export", text="the", format="parquet")
    assert whole(table) == whole(lines) == whole(parquet) == total == len(rows) == len(posts) and total > 1000
    assert parquet.body[:4] == parquet.body[-4:] == b"PAR1"
    assert list(rows[0]) == "timestamp,username,text,uri,did,handle,display_name,langs,created_at,hashtags,links".split(",")
    assert {r["uri"] for r in rows} == {p["uri"] for p in posts}
    by_uri = {p["uri"]: p for p in posts}
    for r in rows:
        p = by_uri[r["uri"]]
        text = r["text"][1:] if r["text"].startswith("'") and not p["text"].startswith("'") else r["text"]
        assert text == p["text"] and r["timestamp"] == p["timestamp"] and r["hashtags"] == " ".join(p["hashtags"])
    first = server.results(text="the", limit=100)["results"]
    assert [p["uri"] for p in posts[:100]] == [p["uri"] for p in first]
    assert server.get("/export", text="the", bom="true").body.startswith(b"\xef\xbb\xbf")


def test_a_client_that_hangs_up_frees_its_session(lake, tmp_path):
    s = Server(tmp_path, lake, "serve.sessions=1").ready()
    for _ in range(5):
        sock, reader = api.send(s.port, "/export?format=ndjson")
        reader.head()
        assert next(reader.chunks())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        reader.file.close()
        sock.close()
    start = time.monotonic()
    assert s.get("/search", text="after", limit=1).status == 200
    assert time.monotonic() - start < 5
    s.stop()


def test_slow_clients_cost_no_memory_and_are_dropped_in_the_end(large_lake, tmp_path):
    s = Server(tmp_path, large_lake, "serve.stall=1s", "serve.sessions=4").ready()
    with concurrent.futures.ThreadPoolExecutor(3) as quick:  # so that every session has once done it
        assert all(n > 40000 for n in quick.map(lambda _: whole(s.get("/export", format="ndjson")), range(3)))
    before = s.resident()
    socks = []
    for _ in range(3):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", s.port))
        sock.sendall(b"GET /export?format=ndjson HTTP/1.1\r\nHost: x\r\n\r\n")
        socks.append(sock)
    assert s.get("/search", limit=1, text="meanwhile").status == 200, "one session stays free for short questions"
    wait_for("the slow ones are dropped", lambda: len(re.findall(r"path=/export .* broken", s.process.text())) == 3, 30)
    for sock in socks:
        reader = api.Reader(sock)
        reader.head()
        with pytest.raises((api.Broken, ConnectionError)):
            for _ in reader.chunks():
                pass
        sock.close()
    assert SANITIZED or s.resident() - before < 64 << 20, "rings, not answers"
    s.stop()


# ---- hostile input ----

INJECTIONS = ["'", "''", '"', "';--", "' OR '1'='1", "'; DROP TABLE posts; --", "\\", "\\'", "%", "_", "%%", "*", "?", "$1", ":x", "`", "{}", "[]", "()", "(", ")",
              "read_csv('/etc/passwd')", "' UNION SELECT * FROM read_text('/etc/passwd') --", "COPY posts TO '/tmp/x'", "ATTACH '/etc/passwd'", "INSTALL httpfs", "\u0000",
              "<script>alert(1)</script>", "${jndi:ldap://x}", "{{7*7}}", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "\r\nSet-Cookie: a=b", "\ufeff", "\u202e", "\U0001f389", "a" * 900,
              "-", "--", "OR", "AND", "NOT", "#", "# ", "from:", "lang:", "since:0", "a:b", "::", "https://", '"unclosed', "\\\"", "{uri}"]


def fingerprint(lake):
    return {f.relative_to(lake): (f.stat().st_size, f.stat().st_mtime_ns) for f in lake.rglob("*.parquet")}


def test_injections_are_only_text(server, lake):
    before = fingerprint(lake)
    for text in INJECTIONS:
        for path, name in [("/search", "text"), ("/search", "q"), ("/search", "username"), ("/search", "lang"), ("/search", "cursor"), ("/search", "start"), ("/export", "text"),
                           ("/counts", "q"), ("/stats/daily", "date")]:
            answer = server.get(path, **{name: text})
            assert answer.status in (200, 400), (path, name, text, answer.body[:300])
            assert b"root:" not in answer.body and "set-cookie" not in answer.headers
            if name == "text" and path == "/search" and answer.status == 200:
                assert all(text.lower() in r["text"].lower() or text.startswith("#") for r in answer.json()["results"])
        for path in ("/posts/", "/users/", "/views/", "/"):
            answer = server.get(path + urllib.parse.quote(text, safe=""))
            assert answer.status in (200, 400, 404), (path, text, answer.body[:300])
            assert b"root:" not in answer.body
    assert fingerprint(lake) == before and not os.path.exists("/tmp/x")


@pytest.mark.parametrize("bad", [b"/search?text=%ff", b"/search?text=%", b"/search?text=%4", b"/search?text=%zz", b"/search?text=\xff\xfe", b"/search?text=%c0%af", b"/search?%ff=1",
                                 b"/%ff", b"/search?text=a%00b", b"/search?text=%ed%a0%80"])
def test_bad_encodings_are_refused(server, bad):
    answer = api.ask(server.port, bad)
    assert answer.status == 400 and answer.json()["error"]["code"] == "bad_encoding"


def test_long_requests_are_refused(server):
    assert server.get("/search", text="x" * 1000).status == 200
    assert server.get("/search", text="x" * 1001).status == 400
    assert server.get("/search", q="x" * 4096).status in (200, 400)
    for n in (20000, 60000, 300000):
        sock, reader = api.send(server.port, "/search?text=" + "x" * n)
        with sock:
            assert 400 <= int(reader.head()[0].split(" ")[1]) < 500
    assert server.get("/health").status == 200


ODD_HEADERS = [{"Accept-Encoding": "gzip;q=x,;,"}, {"Authorization": "Bearer"}, {"Authorization": "Basic zzz"}, {"X-API-Key": "x" * 500}, {"If-None-Match": '"a", W/"b", *'},
               {"Origin": "null"}, {"Content-Length": "5"}, {"Range": "bytes=0-1"}, {"X-Forwarded-For": "'; DROP"}, {"Host": "evil"}]


def fuzzed(r, names):
    """A request nobody would send on purpose."""
    piece = lambda: r.choice([r.choice(INJECTIONS), "".join(chr(r.randrange(1, 0x2ff)) for _ in range(r.randrange(20))), str(r.randrange(-10**6, 10**20)), "2026-01-05", "true", "the"])
    path = r.choice(["/search", "/export", "/counts", "/posts/", "/users/", "/stats/daily", "/views", "/views/", "/status", "/gaps", "/health", "/", "/docs", "/openapi.json", "//", "/."])
    if path.endswith("/"):
        path += urllib.parse.quote(piece(), safe=r.choice(["", "/:"]))
    pairs = [(r.choice(names + [piece()]), piece()) for _ in range(r.randrange(5))]
    query = r.choice(["&", "&", "&", ";", "&&"]).join(f"{urllib.parse.quote(k)}={urllib.parse.quote(v)}" for k, v in pairs)
    line = (path + ("?" + query if query else "")).encode()
    for _ in range(r.choice([0, 0, 0, 1, 3])):
        at = r.randrange(1, len(line) + 1)
        line = line[:at] + bytes([r.choice(b"%%%&=+;?#/\\'\"<>{}\x7f\x80\xff\xc3")]) + line[at:]
    return line, r.choice(["GET"] * 12 + ["HEAD", "OPTIONS", "PUT", "TRACE", "G\u00c9T"]), r.choice([{}, {}, r.choice(ODD_HEADERS)])


def test_two_thousand_fuzzed_requests_find_no_fault(server, document):
    names = sorted({p["name"] for o in document["paths"].values() for p in o["get"]["parameters"]})
    r = random.Random(20261121)
    seen = {}
    for i in range(2000):
        line, method, headers = fuzzed(r, names)
        try:
            sock, reader = api.send(server.port, line, method, headers, timeout=60)
            with sock:
                if "Content-Length" in headers:
                    sock.sendall(b"abcde")
                status = int(reader.head()[0].split(" ")[1])
        except (api.Broken, ConnectionError):
            status = 0  # not HTTP: the connection is closed
        seen[status] = seen.get(status, 0) + 1
        assert status < 500, (i, line, method, headers)
    assert server.process.alive() and server.get("/health").status == 200
    assert seen[200] > 100 and seen[400] > 100 and seen.get(0, 0) < 100, seen
    assert "ERROR" not in server.process.text().replace("ERROR_", ""), "an internal error was logged"


def test_nothing_a_user_asks_reaches_the_log(server):
    server.get("/search", text="verysecretwords")
    server.get("/users/verysecret.example.com")
    wait_for("the requests are logged", lambda: "path=/users/{account}" in server.process.text())
    assert "verysecret" not in server.process.text() and "given=text" in server.process.text()


# ---- the web around it ----


def test_answers_are_kept_compressed_and_not_sent_again(server):
    first = server.get("/search", text="the", headers={"Accept-Encoding": "gzip"})
    again = server.get("/search", text="the", headers={"Accept-Encoding": "gzip"})
    plain = server.get("/search", text="the")
    assert first.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert first.json()["results"] == plain.json()["results"] and len(first.body) < 0.4 * len(gzip.decompress(first.body))
    assert again.body == first.body, "from the cache"
    unchanged = server.get("/search", text="the", headers={"If-None-Match": first.headers["etag"]})
    assert unchanged.status == 304 and unchanged.body == b""
    assert server.get("/search", text="them", headers={"If-None-Match": first.headers["etag"]}).status == 200


def test_the_engine_tells_how_it_goes(server):
    def metrics():
        return dict(line.rsplit(" ", 1) for line in server.get("/metrics").body.decode().splitlines() if not line.startswith("#"))

    errors = metrics()["bluelake_http_errors_total"]
    for _ in range(10):
        server.get("/search", text="hit")
    values = metrics()
    assert float(values["query_engine_healthy"]) == 1 and float(values["query_engine_requests_per_second"]) > 0
    assert float(values["query_engine_response_time_ms"]) > 0 and float(values["query_engine_cache_hit_rate_percent"]) > 0
    assert values["bluelake_http_errors_total"] == errors and 0 <= float(values["query_engine_error_rate_percent"]) <= 100


def test_only_listed_origins_may_ask_from_a_browser(lake, tmp_path):
    s = Server(tmp_path, lake, "serve.cors_origins=https://explorer.example.com").ready()
    good, evil = {"Origin": "https://explorer.example.com"}, {"Origin": "https://evil.example.com"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    before = api.ask(s.port, "/search", "OPTIONS", {**good, **asked})
    assert before.status == 204 and before.headers["access-control-allow-origin"] == good["Origin"]
    assert "Authorization" in before.headers["access-control-allow-headers"] and "GET" in before.headers["access-control-allow-methods"]
    assert s.get("/search", headers=good, limit=1).headers["access-control-allow-origin"] == good["Origin"]
    assert "Origin" in s.get("/search", headers=good, limit=1).headers["vary"]
    assert "access-control-allow-origin" not in api.ask(s.port, "/search", "OPTIONS", {**evil, **asked}).headers
    assert "access-control-allow-origin" not in s.get("/search", headers=evil, limit=1).headers
    s.stop()


def test_gaps_that_touch_the_range_are_stated_with_every_answer(lake, tmp_path):
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    newest = server_time(run("search", "--data", copy, "--limit", "1", "--json", "").stdout)
    with contextlib.closing(sqlite3.connect(copy / "catalog.sqlite")) as db, db:
        for reason, healed in ("lost", 0), ("filled", 1):
            db.execute("INSERT INTO gaps(from_us, to_us, noted_us, host, reason, healed) VALUES (?, ?, ?, 'jetstream.example.com', ?, ?)",
                       (newest - 60 * 10 ** 6, newest - 50 * 10 ** 6, newest, reason, healed))
    s = Server(tmp_path, copy).ready()
    day = datetime.datetime.fromtimestamp(newest / 1e6, datetime.timezone.utc)
    for answer in s.get("/counts", text="the"), s.get("/stats/daily", date=f"{day:%Y-%m-%d}"), s.get("/counts", q=f"since:{day:%Y-%m-%d}"):
        assert [(g["reason"], g["healed"]) for g in answer.json()["gaps"]] == [("lost", False)], answer.body
        assert answer.json()["snapshot"] > 0
    assert s.results(text="the")["meta"]["gaps"] == s.get("/counts", text="the").json()["gaps"]
    for kind in "csv", "ndjson", "parquet":
        assert s.get("/export", text="the", format=kind).trailers["x-gap-count"] == "1"
    before = f"{day - datetime.timedelta(days=2):%Y-%m-%d}"
    assert s.get("/export", end=before).trailers["x-gap-count"] == "0" and s.get("/counts", q=f"until:{before}").json()["gaps"] == []
    assert s.get("/stats/daily", date=before).json()["gaps"] == []
    listed = s.get("/gaps").json()
    assert len(listed["gaps"]) == 2 and listed["snapshot"] == s.get("/status").json()["snapshot"]
    wait_for("the views are there", lambda: s.get("/views/languages").status == 200)
    views = s.get("/views").json()["views"]
    assert all(v["snapshot"] == listed["snapshot"] for v in views if v["refreshed_at"]) and any(v["refreshed_at"] for v in views)
    s.stop()


def server_time(line):
    return int(datetime.datetime.fromisoformat(json.loads(line)["time"].replace("Z", "+00:00")).timestamp() * 1e6)


def test_the_command_line_says_which_snapshot_it_asked(lake):
    asked = [run("search", "--data", lake, "--limit", "1", ""), run("stats", "--data", lake, "2026-01-05"), run("query", "--data", lake, "SELECT 1")]
    found = [re.findall(r"\bsnapshot (\d+)$", done.stderr, re.M) for done in asked]
    assert found[0] and found == [found[0]] * 3 and not any("snapshot" in done.stdout for done in asked)


def test_metrics_tell_how_stale_the_views_are(lake, tmp_path):
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)

    def stale(s):
        return float(re.search(r"^bluelake_views_stale_seconds (\S+)$", s.get("/metrics").body.decode(), re.M).group(1))
    run("views", "--data", copy, "--refresh")
    s = Server(tmp_path, copy, "serve.views_every=0").ready()
    wait_for("their age is seen", lambda: 0 < stale(s) < 1000)
    with contextlib.closing(sqlite3.connect(copy / "views.sqlite")) as db, db:
        db.execute("UPDATE answers SET refreshed_us = refreshed_us - 7200000000 WHERE view = 'languages'")
    wait_for("one is old", lambda: 7200 < stale(s) < 9000)
    run("views", "--data", copy, "--refresh")
    wait_for("none is old", lambda: 0 < stale(s) < 1000)
    s.stop()


def test_who_asks_too_often_waits(lake, tmp_path):
    s = Server(tmp_path, lake, "serve.rate_limit=20").ready()
    answers = [s.get("/search", limit=1) for _ in range(22)]
    assert [a.status for a in answers] == [200] * 20 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1 and answers[-1].json()["error"]["code"] == "rate_limit"
    assert answers[0].headers["x-ratelimit-limit"] == "20" and answers[0].headers["x-ratelimit-remaining"] == "19"
    assert s.get("/health").status == 200, "health is never limited"
    s.stop()


def test_keys_open_doors_until_they_are_revoked(lake, tmp_path):
    try:
        key = run("key", "add", "desk", "--scopes", "search", "--data", lake).stdout.strip()
        s = Server(tmp_path, lake).ready()
        assert re.fullmatch(r"bl_[0-9a-f]{64}", key) and (lake / "keys.json").stat().st_mode & 0o777 == 0o600
        assert key[3:] not in (lake / "keys.json").read_text() and "desk" in run("key", "list", "--data", lake).stdout
        none, wrong = s.get("/search"), s.get("/search", headers={"Authorization": "Bearer bl_" + "0" * 64})
        assert none.status == wrong.status == 401 and none.headers["www-authenticate"].startswith("Bearer")
        assert s.get("/search", headers={"Authorization": f"Bearer {key}"}, limit=1).status == 200
        assert s.get("/search", headers={"X-API-Key": key}, limit=1).status == 200
        assert s.get("/export", headers={"X-API-Key": key}).status == 403 and s.get("/metrics", headers={"X-API-Key": key}).status == 403
        assert s.get("/health").status == 200
        run("key", "revoke", "desk", "--data", lake)
        assert s.get("/search", headers={"X-API-Key": key}, limit=1).status == 401
        assert key not in s.process.text()
        s.stop()
    finally:
        (lake / "keys.json").unlink(missing_ok=True)


def test_strangers_need_keys(lake, tmp_path):
    refused = run("serve", "--data", lake, "--http", "0.0.0.0:0", "--for", "1s", check=False)
    assert refused.returncode == 2 and "bluelake key add" in refused.stderr
    proxied = run("serve", "--data", lake, "--http", "127.0.0.1:0", "--set", "serve.behind_proxy=true", "--for", "1s", check=False)
    assert proxied.returncode == 2 and "serve.behind_proxy" in proxied.stderr and "bluelake key add" in proxied.stderr
    taken = Server(tmp_path, lake).ready()
    second = run("serve", "--data", lake, "--http", f"127.0.0.1:{taken.port}", "--for", "1s", check=False)
    assert second.returncode == 2 and "choose another port" in second.stderr
    taken.stop()


def test_behind_a_proxy_strangers_need_keys_and_are_limited(lake, tmp_path):
    def forged(s, name, key):
        return s.get("/search", headers={"X-Forwarded-For": name, **({"X-API-Key": key} if key else {})}, limit=1)
    try:
        key = run("key", "add", "desk", "--scopes", "search", "--data", lake).stdout.strip()
        s = Server(tmp_path, lake, "serve.behind_proxy=true").ready()
        assert "can claim any address" not in s.process.text()
        assert forged(s, "198.51.100.7", None).status == 401
        answer = forged(s, "198.51.100.7", key)
        assert answer.status == 200 and answer.headers["x-ratelimit-limit"] == "1000"
        s.stop()
        s = Server(tmp_path, lake, "serve.behind_proxy=true", http="0.0.0.0:0", name="open").ready()
        assert "can claim any address in X-Forwarded-For" in s.process.text()
        s.stop()
    finally:
        (lake / "keys.json").unlink(missing_ok=True)


def test_the_first_key_brings_the_limit_with_it(lake, tmp_path):
    try:
        s = Server(tmp_path, lake).ready()
        assert "x-ratelimit-limit" not in s.get("/search", limit=1).headers
        key = run("key", "add", "desk", "--scopes", "search", "--data", lake).stdout.strip()
        assert s.get("/search", limit=1).status == 401
        assert s.get("/search", headers={"X-API-Key": key}, limit=1).headers["x-ratelimit-limit"] == "1000"
        run("key", "revoke", "desk", "--data", lake)
        s.stop()
    finally:
        (lake / "keys.json").unlink(missing_ok=True)


# ---- life ----


def test_before_there_is_a_lake_it_waits_and_then_serves(tmp_path):
    s = Server(tmp_path, tmp_path / "lake")
    assert s.get("/health").status == 200 and s.get("/ready").status == 503
    refused = s.get("/search")
    assert refused.status == 503 and refused.headers["retry-after"] and refused.json()["error"]["code"] == "not_ready"
    events = tmp_path / "events.ndjson"
    events.write_bytes(subprocess.run([BINARY, "simulate", "--ndjson", "--count", "3000"], stdout=subprocess.PIPE, check=True).stdout)
    run("import", "--data", tmp_path / "lake", events)
    s.ready()
    assert len(s.results()["results"]) == 50
    s.stop()


def test_a_lake_that_cannot_be_read_turns_health_red(lake, tmp_path):
    import shutil
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy, ignore=shutil.ignore_patterns("index"))  # what the index knows could be found all the same
    for f in copy.rglob("*.parquet"):
        f.write_bytes(b"PAR1 no more")
    s = Server(tmp_path, copy, "serve.views_every=0")
    wait_for("health is red", lambda: s.get("/health").status == 503, 60)
    assert float(re.search(r"^query_engine_healthy (\S+)", s.get("/metrics").body.decode(), re.M).group(1)) == 0
    s.process.stop(30)


def test_a_question_that_takes_too_long_is_given_up(lake, tmp_path):
    s = Server(tmp_path, lake, "serve.deadline=100ms").ready()
    slow = " OR ".join(f'"{w}zqx{i}"' for i in range(60) for w in ("été", "猫"))
    answer = s.get("/search", q=slow[:4000].rsplit(" OR ", 1)[0])
    assert answer.status in (200, 504)
    if answer.status == 504:
        assert answer.json()["error"]["code"] == "deadline"
    assert s.get("/search", limit=1).status in (200, 504)
    s.stop()


def test_a_hundred_users_at_once_get_right_answers(server):
    words = ["the", "a", "cat", "old", "city", "ja", "no", "is", "it", "do"]
    wanted = {w: [r["uri"] for r in server.results(text=w, limit=20)["results"]] for w in words}

    def user(n):
        connection = api.Keeping(server.port)
        for i in range(8):
            word = words[(n + i) % len(words)]
            status, body = connection.ask(f"/search?text={word}&limit={20 if i % 2 else 10}")
            assert status == 200
            uris = [r["uri"] for r in json.loads(body)["results"]]
            assert uris == wanted[word][:len(uris)]
        return True

    with concurrent.futures.ThreadPoolExecutor(100) as users:
        assert all(users.map(user, range(100)))


def test_a_thousand_open_connections_disturb_nobody(server):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    try:
        assert server.get("/search", limit=1).status == 200
        idle[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for sock in idle:
            sock.close()


def test_stopping_ends_requests_in_good_order(lake, tmp_path):
    s = Server(tmp_path, lake).ready()
    with concurrent.futures.ThreadPoolExecutor(8) as users:
        asked = [users.submit(s.get, "/search", text=f"word{i}") for i in range(40)]
        time.sleep(0.05)
        s.process.child.send_signal(signal.SIGTERM)
        statuses = []
        for one in asked:
            try:
                statuses.append(one.result().status)
            except (OSError, api.Broken, IndexError):
                statuses.append(0)
    assert s.process.child.wait(30) == 0, s.process.text()[-2000:]
    assert set(statuses) <= {200, 503, 0} and 200 in statuses
