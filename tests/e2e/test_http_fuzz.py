"""What strangers may send to the HTTP server: whole requests and torn ones. Meant for the sanitized build as well (tools/test.sh): no answer
with 5xx, no crash, no leak, nothing read that is not the lake's, nothing written at all."""
import hashlib
import json
import os
import random
import re
import socket
import sqlite3
import urllib.parse

import pytest

import api
from harness import run, wait_for
from test_api import Server, make_lake

REQUESTS, TORN = 1200, 200

CORPUS = ["'", '"', "`", "''", '""', "';--", "' OR 1=1 --", "'); DROP TABLE posts; --", "' UNION SELECT content FROM read_text('/etc/passwd') --", "; ATTACH '/etc/passwd' AS x",
          "COPY posts TO '/tmp/bluelake-fuzz'", "read_csv_auto('/etc/passwd')", "INSTALL httpfs; LOAD httpfs", "SET enable_external_access = true", "$1", "?", ":a", "{}", "${7*7}", "{{7*7}}",
          "\0", "a\0b", "\x1b[2J", "\r\nSet-Cookie: a=b", "\n", "\t", "%", "%%", "_", "\\", "\\\\", "\\'", "*", "(", ")", "(" * 500, '"' * 501, "-" * 300, "OR " * 200, "a OR " * 400 + "a",
          "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "....//etc/passwd", "/etc/passwd", "file:///etc/passwd", "catalog.sqlite", "keys.json", "\ufeff", "\u202e", "\ud7ff", "\U0010ffff",
          "e\u0301" * 200, "İ" * 300, "ß", "\U0001f389" * 100, "0", "-1", "1e309", "NaN", "9" * 400, "-" + "9" * 30, "18446744073709551616", "0x10", "１", "true", "false", "null",
          "2026-01-05", "2026-02-30", "0000-00-00", "9999-12-31T23:59:60Z", "2026-01-05T00:00:00+99:99", "-292277-01-27", "now", "from:", "from:@", "from:did:plc:" + "a" * 500, "has:", "has:x",
          "lang:" + "a" * 36, "since:9999-12-31", "until:0001-01-01", "domain:a..b", "url:[", "url:\\", "#", "##", "# a", "a" * 999, "a" * 1001, "a " * 2000, "the", "coffee", "csv", "parquet", "hour"]
RAW = [b"%", b"%4", b"%zz", b"%00", b"%ff%fe", b"\xff\xfe", b"%c0%af", b"%ed%a0%80", b"%f4%90%80%80", b"%u0041", b"+", b"&&", b"=", b"&=&", b";", b"#", b"?", b"%252e%252e", b"\x80"]
PASSWD = re.compile(rb"root:[^\s\"]*:0:0:")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return make_lake(tmp_path_factory.mktemp("fuzz"), 8000)


@pytest.fixture
def server(lake, tmp_path):
    """Ends well, or the test fails: a sanitizer's last word is the exit code."""
    s = Server(tmp_path, lake, "serve.rate_limit=0", "serve.views_every=0").ready()
    yield s
    s.stop()
    for word in ("AddressSanitizer", "LeakSanitizer", "runtime error", "level=ERROR"):
        assert word not in s.process.text(), s.process.text()[-5000:]


def contents(lake):
    """Every byte that is data: files by their hash, the catalogue by its rows (reading it may touch its -shm)."""
    with sqlite3.connect(f"file:{lake}/catalog.sqlite?mode=ro", uri=True) as db:
        rows = hashlib.sha256("\n".join(db.iterdump()).encode()).hexdigest()
    return rows, {str(f.relative_to(lake)): hashlib.sha256(f.read_bytes()).hexdigest() for f in lake.rglob("*.parquet")}


def mutated(r, value):
    value = value.encode("utf-8", "surrogatepass")
    quoted = urllib.parse.quote_from_bytes(value, safe="").encode()
    if r.random() < 0.2:
        at = r.randrange(len(quoted) + 1)
        quoted = quoted[:at] + r.choice(RAW) + quoted[at:]
    return quoted


def value_of(parameter):
    example = parameter["example"]
    return example if isinstance(example, str) else json.dumps(example)


def request_target(r, document):
    """A path of the document with some of its parameters, at least one of them with a value nobody wants."""
    path, operations = r.choice(list(document["paths"].items()))
    path = re.sub(rb"\{\w+\}", lambda _: mutated(r, r.choice(CORPUS)), path.encode())
    parameters = r.sample(operations["get"]["parameters"], min(r.choice([0, 1, 1, 2, 3]), len(operations["get"]["parameters"])))
    fine = r.random() < 0.5  # the values asked for, but for one
    pairs = [urllib.parse.urlencode({p["name"]: value_of(p)}).encode() for p in parameters if fine and "example" in p][:-1]
    for name in [p["name"] for p in parameters][len(pairs):] or [r.choice(CORPUS)] * (r.random() < 0.05):
        pairs.append(mutated(r, name) + b"=" + mutated(r, r.choice(CORPUS)))
    return path + (b"?" + b"&".join(pairs) if pairs else b"")


def clean(target):
    return not re.search(rb"[\x00-\x20\x7f]", target)


def test_no_request_made_of_the_document_and_a_hostile_corpus_finds_a_fault(server, lake):
    document, before, seen, r = server.get("/openapi.json").json(), contents(lake), {}, random.Random(20261121)
    while sum(seen.values()) < REQUESTS:
        target = request_target(r, document)
        if not clean(target):
            continue
        headers = r.choice([{}, {}, {"Accept-Encoding": "gzip, deflate;q=0, *;q=x"}, {"Authorization": "Bearer " + "x" * r.randrange(300)}, {"X-API-Key": "';--"},
                            {"If-None-Match": '"' * r.randrange(40)}, {"Origin": "https://evil.example"}, {"X-Forwarded-For": "1, ::, '"}])
        try:
            answer = api.ask(server.port, target, headers=headers)
        except (api.Broken, ConnectionError, IndexError) as broken:
            raise AssertionError(f"{target!r} has no answer") from broken
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status < 500, (target, answer.body[:500])
        assert answer.status == 200 or answer.status == 304 or api.problems(answer.json(), document["components"]["schemas"]["Error"], document) == [], target
        assert not PASSWD.search(answer.body) and "set-cookie" not in answer.headers, target
    print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
    assert seen[200] > REQUESTS / 10 and seen[400] > REQUESTS / 10, seen
    assert contents(lake) == before and not os.path.exists("/tmp/bluelake-fuzz")


def torn(r):
    """Bytes that are nearly HTTP."""
    line = r.choice([b"GET /search?text=the HTTP/1.1", b"GET /export HTTP/1.1", b"POST /search HTTP/1.1", b"GET / HTTP/9.9", b"GET /search", b"GET http://evil.example/search HTTP/1.1",
                     b"OPTIONS * HTTP/1.1", b"CONNECT evil.example:443 HTTP/1.1", b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\x00", b"GET /" + b"%41" * 5000 + b" HTTP/1.1", b"G" * 3000])
    headers = [b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
               b"Connection: close, keep-alive, \xff", b": no name", b"No colon", b" folded", b"X: " + b"y" * r.choice([10, 9000, 60000]), b"Expect: 100-continue", b"Upgrade: h2c", b"Host: a\r\nHost: b"]
    head = line + b"\r\n" + b"".join(h + b"\r\n" for h in r.sample(headers, r.randrange(6))) + r.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b""])
    data = bytearray(head + r.choice([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20]))
    for _ in range(r.choice([0, 0, 1, 5])):
        data[r.randrange(len(data))] = r.randrange(256)
    return bytes(data[:r.randrange(1, len(data) + 1)] if r.random() < 0.3 else data)


def test_torn_requests_end_their_connection_and_nothing_else(server, lake):
    before, r, answered = contents(lake), random.Random(1121), 0
    for _ in range(TORN):
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as sock:
            try:
                sock.sendall(torn(r))
                data = sock.recv(65536)
            except OSError:  # refused without a word, or the server waits for the rest
                continue
            answered += bool(data)
            for status in re.findall(rb"^HTTP/1\.[01] (\d{3})", data, re.M):
                assert int(status) < 500 or int(status) in (501, 505), data[:300]
    assert answered > TORN / 10, answered
    folder = f"/proc/{server.process.child.pid}/fd"
    wait_for("the connections are gone", lambda: sum(os.readlink(f"{folder}/{n}").startswith("socket") for n in os.listdir(folder) if os.path.islink(f"{folder}/{n}")) < 20)
    assert server.get("/search", text="the").status == 200 and contents(lake) == before


LOCKED = ["SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/bluelake-fuzz'", "ATTACH '/tmp/x.db' AS x",
          "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "RESET lock_configuration", "PRAGMA database_list", "CREATE TABLE t AS SELECT 1", "DROP VIEW posts",
          "SELECT getenv('HOME')", "SELECT 1; DROP VIEW posts", "SELECT * FROM glob('/etc/*')", "EXPORT DATABASE '/tmp/bluelake-fuzz'", "CALL force_checkpoint()"]


@pytest.mark.parametrize("statement", LOCKED)
def test_the_engine_is_locked_down_for_people_who_write_sql(lake, statement):
    before = contents(lake)
    done = run("query", "--data", lake, statement, check=False)
    assert done.returncode != 0 and done.stdout == "" and "root:" not in done.stderr, (statement, done.stdout[:300], done.stderr[:300])
    assert contents(lake) == before and not os.path.exists("/tmp/bluelake-fuzz")
