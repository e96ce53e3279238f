"""What the fault tests share: a small collection that can be started, broken, finished and proven whole.

Ports are chosen by the kernel, every wait is bounded, every process started here ends with its case."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import REPO, Process, wait_for  # noqa: E402

BINARY = pathlib.Path(os.environ.get("BL_BINARY", REPO / "build/faults/bluelake"))


def command(*args, env=None, timeout=120):
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=timeout, env=env, errors="replace")


def environment(**extra):
    return {**os.environ, **{k: str(v) for k, v in extra.items()}}


class Simulator:
    """One simulated network, served to any number of cases at once: each connection starts where its cursor says."""

    def __init__(self, folder, count, *extra, marks=0, log="simulator.log"):
        self.count, self.marks = count, marks
        if marks:
            extra = (*extra, f"--misbehave=mark-every={marks}")
        self.process = Process([BINARY, "simulate", "--listen=127.0.0.1:0", f"--count={count}", *extra], pathlib.Path(folder) / log)
        found = wait_for("the simulator listens", lambda: re.search(r"listening on (ws://\S+)/subscribe", self.process.text()))
        self.url = found.group(1)

    def close(self):
        self.process.close()


class Case:
    """A lake and a Redis of their own in `folder`."""

    def __init__(self, folder, simulator):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.simulator = simulator
        self.lake = self.folder / "lake"
        self.redis_dir = self.folder / "redis"
        self.redis_dir.mkdir()
        self.socket = self.redis_dir / "s"
        self.children = []

    def start(self, *args, log, env=None):
        child = Process(args, self.folder / log, env)
        self.children.append(child)
        return child

    def redis(self, *extra, wait=True):
        if self.socket.exists():
            self.socket.unlink()
        child = self.start("redis-server", "--port", 0, "--unixsocket", self.socket, "--dir", self.redis_dir, "--appendonly", "yes",
                           "--appendfsync", "everysec", "--save", "", "--maxmemory", "2gb", "--maxmemory-policy", "noeviction", *extra, log="redis.log")
        if wait:
            wait_for("Redis accepts", lambda: self.cli("ping") == "PONG")
        return child

    def cli(self, *args):
        done = subprocess.run(["redis-cli", "-s", str(self.socket), *map(str, args)], capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def ingest(self, *sets, env=None):
        settings = [f"redis.socket={self.socket}", f"source.urls={self.simulator.url}", "ingest.http=127.0.0.1:0", "source.backoff_max=300ms", *sets]
        return self.start(BINARY, "ingest", f"--data={self.lake}", *[f"--set={s}" for s in settings], log="ingest.log", env=env)

    def writer(self, *sets, env=None):
        settings = [f"redis.socket={self.socket}", "write.http=127.0.0.1:0", "write.interval=300ms", "write.batch_rows=4000", *sets]
        return self.start(BINARY, "write", f"--data={self.lake}", *[f"--set={s}" for s in settings], log="write.log", env=env)

    def port(self, child):
        return int(wait_for("the port is known", lambda: re.search(r"metrics on http://[\d.]+:(\d+)", child.text())).group(1))

    def rows(self):
        path = self.lake / "catalog.sqlite"
        if not path.exists():
            return 0
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
                return db.execute("SELECT coalesce(sum(rows), 0) FROM files").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    def buffered(self):
        """Events ever buffered, over all types."""
        lines = self.cli("hgetall", "firehose:metadata").splitlines()
        return sum(int(v) for k, v in zip(lines[::2], lines[1::2]) if k.startswith("received:"))

    def cursor(self):
        return int(self.cli("hget", "firehose:metadata", "cursor_us") or 0)

    def queued(self):
        return sum(int(self.cli("xlen", key) or 0) for key in self.cli("keys", "firehose:*:queue").split())

    def finish(self, *sets):
        """Everything still to do, without faults, then the proof."""
        count = self.simulator.count
        ingest, writer = self.ingest(*sets), self.writer()
        wait_for(f"{count} events in the lake ({self.folder})", lambda: self.rows() >= count or not writer.alive() or not ingest.alive(), 120)
        for child in (ingest, writer):
            assert child.alive(), child.text()[-3000:]
        self.stop(ingest, writer)
        return self.verify(count)

    def note_gap(self):
        """What ingest leaves in Redis about a gap; the writer makes it a row."""
        note = {"from_us": 1, "to_us": 2, "healed": 0, "reason": "a test", "host": "h"}
        self.cli("xadd", "firehose:rejected:queue", "*", "reason", "gap", "detail", "", "received_us", 3, "message", json.dumps(note))

    def stop(self, *children):
        for child in children:
            self.handles_signals(child)
            code = child.stop()
            assert code == 0, f"exit {code}\n{child.text()[-3000:]}"

    @staticmethod
    def handles_signals(child):
        wait_for("the role handles signals", lambda: "metrics on http" in child.text()[child.log_before:] or not child.alive())

    def end(self, child):
        """Stop a role that may be killed at a crash point while it stops: was it?"""
        self.handles_signals(child)
        code = child.stop()
        assert code in (0, -signal.SIGKILL), f"exit {code}\n{child.text()[-3000:]}"
        return code == -signal.SIGKILL

    def letters(self):
        """(distinct marks, letters in all, letters that are no marks)."""
        with contextlib.closing(sqlite3.connect(f"file:{self.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10)) as db:
            messages = [bytes(row[0]) for row in db.execute("SELECT message FROM dead_letters")]
        found = [re.search(rb'"mark":(\d+)', message) for message in messages]
        return {int(f.group(1)) for f in found if f}, len(messages), [m for m, f in zip(messages, found) if not f]

    def gaps(self):
        return [json.loads(line) for line in command("gaps", "--data", self.lake, "--json").stdout.splitlines()]

    def verify_letters(self, once=False):
        """Every mark the simulator sent is a dead letter, and nothing else is one."""
        marks, letters, others = self.letters()
        sent = set(range(0, self.simulator.count, self.simulator.marks))
        assert marks == sent and not others, f"marks missing {sorted(sent - marks)}, never sent {sorted(marks - sent)}, others {others[:3]}"
        assert not once or letters == len(sent), f"{letters} letters of {len(sent)} marks"

    def verify(self, count=None, buffer=True):
        count = count or self.simulator.count
        with_buffer = ["--buffer", f"--set=redis.socket={self.socket}"] if buffer else []
        done = command("verify", "--data", self.lake, f"--against-simulator=seed=1,count={count}", "--json", *with_buffer)
        if done.returncode != 0:
            done = command("verify", "--data", self.lake, *with_buffer)  # the same, in words
            raise AssertionError(f"verify: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        result = json.loads(done.stdout)
        wrong = {k: result[k] for k in ("problems", "missing", "twice", "different", "unexpected") if result[k]}
        assert not wrong and result["compared"] == count, result
        return result

    def close(self, keep=False):
        for child in reversed(self.children):
            child.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def settle(child, done, seconds=60):
    """Until the child dies or done() holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not child.alive() or done():
            return
        time.sleep(0.02)
    raise AssertionError(f"neither dead nor done within {seconds} s: {child.text()[-2000:]}")
