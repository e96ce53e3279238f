"""Runs the real binary, a real Redis and the real simulator for the end-to-end tests.

Every wait is bounded, every port is free, every process started here ends with the test."""
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("BLUELAKE", REPO / "build/release/bluelake"))
SANITIZED = BINARY.exists() and b"__asan_init" in BINARY.read_bytes()  # which keeps freed memory for a while
SHARED = REPO.parent / "shared"
FIXTURE = REPO / "tests/fixtures/events.ndjson"
TYPES = ["posts", "likes", "reposts", "follows", "blocks", "profiles", "accounts", "others"]


def run(*args, check=True, timeout=300, **options):
    """One bluelake command to its end; returns the CompletedProcess with text output."""
    done = subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=timeout, errors="surrogateescape", **options)
    if check and done.returncode != 0:
        raise AssertionError(f"bluelake {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def wait_for(what, condition, seconds=60):
    """Poll until condition() is true; fails with `what` when the time runs out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def free_port():
    """A port nobody listens on, below the range from which outgoing connections take theirs: it stays free while a server is restarted."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def get(port, path, timeout=10):
    """(status, body) of http://127.0.0.1:port/path."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def metric(port, name):
    """Sum of a metric over its labels, None when it is absent or nobody answers yet."""
    try:
        text = get(port, "/metrics")[1]
    except OSError:
        return None
    values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
    return sum(values) if values else None


class Process:
    """A child with its output in a file; stopped at the end of the test."""

    def __init__(self, args, log, env=None):
        self.args = [str(a) for a in args]
        self.log = pathlib.Path(log)
        self.env = env
        self.child = None
        self.start()

    def start(self):
        self.log_before = len(self.text())
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.args, stdout=out, stderr=subprocess.STDOUT, env=self.env)
        return self

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(30)

    def stop(self, seconds=120):
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(seconds)

    def close(self):
        if self.alive():
            self.child.kill()
            self.child.wait(30)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class World:
    """One lake with its processes: simulator, Redis, ingest, writer."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.lake = self.folder / "lake"
        self.redis_dir = self.folder / "redis"
        self.redis_dir.mkdir(parents=True)
        self.socket = self.redis_dir / "redis.sock"
        self.processes = []
        self.ingest_port, self.write_port, self.source_port = free_port(), free_port(), free_port()

    def add(self, *args, log, env=None):
        process = Process(args, self.folder / log, env)
        self.processes.append(process)
        return process

    def redis(self, *extra, env=None):
        if self.socket.exists():
            self.socket.unlink()
        process = self.add("redis-server", "--port", 0, "--unixsocket", self.socket, "--dir", self.redis_dir, "--appendonly", "yes",
                           "--appendfsync", "everysec", "--save", "", "--maxmemory", "2gb", "--maxmemory-policy", "noeviction", *extra,
                           log="redis.log", env=env)
        wait_for("Redis accepts", lambda: self.redis_cli("ping") == "PONG")
        return process

    def redis_cli(self, *args):
        done = subprocess.run(["redis-cli", "-s", str(self.socket), *map(str, args)], capture_output=True, text=True, timeout=60,
                              errors="replace")
        return done.stdout.strip()

    def simulator(self, *extra):
        process = self.add(BINARY, "simulate", f"--listen=127.0.0.1:{self.source_port}", *extra, log="simulator.log")
        wait_for("the simulator listens", lambda: "listening" in process.text() or not process.alive())
        assert process.alive(), process.text()
        return process

    def ingest(self, *sets, env=None):
        settings = [f"redis.socket={self.socket}", f"source.urls=ws://127.0.0.1:{self.source_port}",
                    f"ingest.http=127.0.0.1:{self.ingest_port}", "source.backoff_max=1s", *sets]
        return self.add(BINARY, "ingest", f"--data={self.lake}", *[f"--set={s}" for s in settings], log="ingest.log", env=env)

    def writer(self, *sets, env=None):
        settings = [f"redis.socket={self.socket}", f"write.http=127.0.0.1:{self.write_port}", "write.interval=1s", *sets]
        return self.add(BINARY, "write", f"--data={self.lake}", *[f"--set={s}" for s in settings], log="write.log", env=env)

    def query(self, sql):
        done = run("query", "--data", self.lake, "--format", "ndjson", sql)
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    def rows(self):
        done = run("verify", "--data", self.lake, "--json", check=False)
        return json.loads(done.stdout)["rows"] if done.returncode in (0, 3) else 0

    def catalog_rows(self):
        """Rows in the catalogue, without opening any file; 0 before the lake exists."""
        import sqlite3
        path = self.lake / "catalog.sqlite"
        if not path.exists():
            return 0
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as db:
            try:
                return db.execute("SELECT coalesce(sum(rows), 0) FROM files").fetchone()[0]
            except sqlite3.OperationalError:
                return 0

    def buffered(self):
        """Events Redis ever took; None while it cannot say (down, or loading)."""
        counts = self.redis_cli("hmget", "firehose:metadata", *[f"received:{name}" for name in TYPES]).split("\n")
        return sum(int(text or 0) for text in counts) if all(text.isdigit() or not text for text in counts) else None

    def close(self):
        for process in reversed(self.processes):
            process.close()


def value_lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


def canonical(event):
    return json.dumps(event, sort_keys=True, ensure_ascii=False)
