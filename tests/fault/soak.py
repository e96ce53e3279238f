#!/usr/bin/env python3
"""100,000 events a minute through the whole collection for as long as asked, then five times as many for a while; sampled, judged, compared.

    tests/fault/soak.py [--minutes 60] [--burst-seconds 120] [--samples FILE.csv]

`bluelake up` collects from a simulated Jetstream whose events pass a relay that lets them through at the planned pace. Every ten seconds:
resident memory of every process, memory of Redis, how long events have waited, how many wait. Limits, which decide the exit code:
  memory   the peaks of each process rise by at most 10 % and 8 MB (Redis: 4 MB) in the second half of the steady part; the writer's in its
           last quarter, since the identities of recent events fill write.dedup_memory first
  Redis    the peaks of the memory it counts rise by at most 10 % and 1 MB, those of the events in it by 10 % and 7,000, half of what a
           commit takes along; twice as much in less than half an hour, which has few peaks. Nothing is spilled in the steady part
  errors   no role logs one
  lag      no event takes a second from its receipt to Redis; none waits longer for the lake than write.interval and a minute, and the
           peaks of that wait do not rise
  burst    what had been received when the burst ended is in the lake within 2.5 times its length (120 s: 5 minutes)
  truth    `bluelake verify --against-simulator`: 0 missing, twice, different, unexpected"""
import argparse
import csv
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import threading
import time

os.environ.setdefault("BLUELAKE", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bluelake"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import BINARY, Process, free_port, get, run, wait_for  # noqa: E402

PER_MINUTE, BURST_FACTOR = 100_000, 5
NETWORK_RATE = round(PER_MINUTE / 60)
DRAIN_FACTOR = 2.5  # of the burst's length
ROLES = ("redis-server", "ingest", "write", "compact")
COLUMNS = ["second", "ingest_mb", "write_mb", "redis_mb", "compact_mb", "redis_used_mb", "queue_kb", "buffered_events", "oldest_s",
           "to_redis_max_s", "received", "written", "spilled"]
# column, what its peaks may rise by beside a tenth, part of the steady time before the look
FLAT = [("ingest_mb", 8, 0.5), ("write_mb", 8, 0.75), ("redis_mb", 4, 0.5), ("redis_used_mb", 1, 0.5), ("buffered_events", 7000, 0.5),
        ("oldest_s", 15, 0.5)]
VERIFIED_PER_SECOND = 5000  # far below what any machine does: bounds the wait for verify


TIME = re.compile(rb'"time_us":(\d+)')


class Schedule:
    """Events that may have passed after so many seconds."""

    def __init__(self, steady_seconds, burst_seconds, tail_seconds):
        per_second = PER_MINUTE / 60
        self.parts = [(steady_seconds, per_second), (burst_seconds, per_second * BURST_FACTOR), (tail_seconds, per_second)]
        self.steady, self.burst_end = steady_seconds, steady_seconds + burst_seconds
        self.end = self.burst_end + tail_seconds
        self.count = int(self.allowed(self.end))

    def allowed(self, second):
        total = 0
        for length, rate in self.parts:
            total += rate * max(0, min(second, length))
            second -= length
        return total


def frame_end(data, at):
    """(index after the WebSocket frame at `at`, whether it is data), or None while it is incomplete."""
    if len(data) < at + 2:
        return None
    size, head = data[at + 1] & 127, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < at + 2 + width:
            return None
        size, head = int.from_bytes(data[at + 2:at + 2 + width], "big"), 2 + width
    end = at + head + size
    return (end, data[at] & 15 in (1, 2)) if len(data) >= end else None


class Relay:
    """Stands between ingest and the simulator and lets events pass at the pace of a schedule."""
    TICK = 0.01

    def __init__(self, upstream, schedule):
        self.upstream, self.schedule = upstream, schedule
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.began, self.passed, self.newest_us = None, 0, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def seconds(self):
        return time.monotonic() - self.began if self.began else 0

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.upstream))
            threading.Thread(target=self.copy, args=(client, server), daemon=True).start()
            threading.Thread(target=self.pace, args=(server, client), daemon=True).start()

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pace(self, server, client):
        waiting = bytearray()
        try:
            while b"\r\n\r\n" not in waiting:
                waiting += server.recv(65536)
            head = waiting.index(b"\r\n\r\n") + 4
            client.sendall(waiting[:head])
            del waiting[:head]
            self.began = self.began or time.monotonic()
            while self.let_pass(server, client, waiting):
                time.sleep(self.TICK)
        except OSError:
            pass
        client.close()
        server.close()

    def is_new(self, waiting, at):
        """What comes again after a reconnect is no part of the plan."""
        found = TIME.search(waiting, at, at + 300)
        time_us = int(found.group(1)) if found else self.newest_us + 1
        new = time_us > self.newest_us
        self.newest_us = max(self.newest_us, time_us)
        return new

    def let_pass(self, server, client, waiting):
        allowed, at = self.schedule.allowed(self.seconds()), 0
        while self.passed < allowed:
            frame = frame_end(waiting, at)
            if frame:
                self.passed += frame[1] and self.is_new(waiting, at)
                at = frame[0]
                continue
            if at:
                client.sendall(waiting[:at])
                del waiting[:at]
                at = 0
            server.settimeout(1)
            try:
                data = server.recv(262144)
            except TimeoutError:
                return True  # everything there is has passed
            if not data:
                return False
            waiting += data
        client.sendall(waiting[:at])
        del waiting[:at]
        return True


def children(pid):
    """Role -> process id of what `up` has started."""
    found = {}
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            words = pathlib.Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").split()[:2]
        except OSError:
            continue
        role = next((r for r in ROLES if any(r in word for word in words)), None)
        if role:
            found[role] = int(child)
    return found


def resident_mb(pid):
    try:
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024
    except (OSError, AttributeError):
        return 0.0


class Metrics:
    """One scrape of a role."""

    def __init__(self, port):
        self.text = get(port, "/metrics")[1]

    def __getitem__(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.text.splitlines() if re.match(rf"{name}(\{{| )", line))


class Collection:
    def __init__(self, folder, schedule, sets):
        self.folder = pathlib.Path(folder)
        self.start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.simulator = Process([BINARY, "simulate", "--listen=127.0.0.1:0", f"--count={schedule.count}", f"--network-rate={NETWORK_RATE}",
                                  f"--start={self.start}"], self.folder / "simulator.log")
        found = wait_for("the simulator listens", lambda: re.search(r"listening on ws://127.0.0.1:(\d+)/", self.simulator.text()))
        self.relay = Relay(int(found.group(1)), schedule)
        self.lake = self.folder / "lake"
        self.ingest_port, self.write_port = free_port(), free_port()
        settings = [*sets, f"source.cursor={self.start}", f"ingest.http=127.0.0.1:{self.ingest_port}",
                    f"write.http=127.0.0.1:{self.write_port}"]
        self.up = Process([BINARY, "up", "--data", self.lake, "--source", f"ws://127.0.0.1:{self.relay.port}", "--http", "none",
                           *[f"--set={s}" for s in settings]], self.folder / "up.log")
        wait_for("events flow", lambda: self.relay.began or not self.up.alive())
        wait_for("both roles answer", self.answer)

    def answer(self):
        assert self.up.alive(), self.up.text()[-3000:]
        try:
            return Metrics(self.ingest_port) and Metrics(self.write_port)
        except OSError:
            return False

    def sample(self):
        ingest, write = Metrics(self.ingest_port), Metrics(self.write_port)
        memory = {role: resident_mb(pid) for role, pid in children(self.up.child.pid).items()}
        return dict(zip(COLUMNS, [self.relay.seconds(), memory.get("ingest", 0), memory.get("write", 0), memory.get("redis-server", 0),
                                  memory.get("compact", 0), write["redis_buffer_utilization_bytes"] / 2**20,
                                  ingest["bluelake_ingest_queue_bytes"] / 1024, write["redis_buffer_events_count"],
                                  write["redis_buffer_oldest_event_age_seconds"], ingest["bluelake_receipt_to_redis_max_seconds"],
                                  ingest["bluelake_events_received_total"], write["bluelake_events_written_total"],
                                  ingest["bluelake_events_spilled_total"]]))

    def close(self):
        self.up.stop(180)
        self.up.close()
        self.simulator.close()


def peaks(samples, column, window):
    """The highest value of each window: what a batch leaves behind in memory comes and goes with its commit."""
    found = {}
    for s in samples:
        key = int(s["second"] // window)
        found[key] = max(found.get(key, 0), s[column])
    return [found[key] for key in sorted(found)]


def growth(values):
    """Rise over these values along the line that fits them best (least squares), and their mean."""
    n = len(values)
    mean_x, mean_y = (n - 1) / 2, sum(values) / n
    spread = sum((x - mean_x) ** 2 for x in range(n))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(values)) / spread if spread else 0
    return slope * (n - 1), mean_y


def judge(samples, schedule, interval, drained, times_count=True):
    """Lines of the table, and what is beyond its limit."""
    steady = [s for s in samples if s["second"] <= schedule.steady]
    window = max(schedule.steady / 12, 2 * interval)
    lines, wrong, late = [], [], []
    for column, slack, part in FLAT:
        rise, mean = growth(peaks([s for s in steady if s["second"] >= schedule.steady * part], column, window))
        whole = [s[column] for s in steady]
        lines.append(f"{column:16} mean {sum(whole) / len(whole):9.1f}   highest {max(whole):9.1f}   peaks of the last {1 - part:.0%} "
                     f"{mean:9.1f}, rising by {rise:+7.1f}")
        if column in ("redis_used_mb", "buffered_events") and schedule.steady < 1800:
            slack *= 2
        if rise > 0.1 * mean + slack:
            (late if column == "buffered_events" else wrong).append(f"{column} rises")
    if steady[-1]["spilled"]:
        wrong.append(f"{steady[-1]['spilled']:.0f} events spilled in the steady part")
    for column in ("queue_kb", "buffered_events", "compact_mb"):
        whole = [s[column] for s in samples]
        lines.append(f"{column:16} mean {sum(whole) / len(whole):9.1f}   highest {max(whole):9.1f}   (burst included)")
    slowest, oldest = samples[-1]["to_redis_max_s"], max(s["oldest_s"] for s in samples)
    lines.append(f"receipt to Redis: {slowest * 1000:.1f} ms at most; receipt to lake: {oldest:.1f} s at most (write.interval {interval} s)")
    limit = DRAIN_FACTOR * (schedule.burst_end - schedule.steady)
    lines.append(f"burst of {BURST_FACTOR}x for {schedule.burst_end - schedule.steady} s: in the lake {drained:.1f} s after its end "
                 f"(limit {limit:.0f} s)")
    late += ["receipt to Redis"] if slowest >= 1 else []
    late += ["receipt to lake"] if oldest > interval + 60 else []
    late += ["burst not drained in time"] if drained > limit else []
    lines += [f"beyond the limit: {what}" for what in late]
    return lines, wrong + (late if times_count else [])


def logged_errors(text):
    """What the roles, and `up` itself, logged as errors."""
    return [line for line in text.splitlines() if " ERROR " in line]


def watch(collection, schedule, say, every):
    """Samples until everything is in the lake; also how long the burst took to get there."""
    samples, at_burst_end, drained = [], None, None
    due, said, give_up = 0.0, -60.0, schedule.end + 300
    while not samples or samples[-1]["written"] < schedule.count:
        assert collection.up.alive(), collection.up.text()[-3000:]
        now = collection.relay.seconds()
        assert now < give_up, f"not everything is in the lake: {samples[-1]}"
        # Around the burst every second, so that its end is known to the second.
        near = schedule.steady <= now and drained is None
        if now >= due or near:
            s = collection.sample()
            if now >= due:
                samples.append(s)
                due = now + every
            if at_burst_end is None and now >= schedule.burst_end:
                at_burst_end = s["received"]
            if at_burst_end is not None and drained is None and s["written"] >= at_burst_end:
                drained = now - schedule.burst_end
            if now - said >= 60:
                said = now
                say("%6.0f s  ingest %5.1f  writer %6.1f  redis %6.1f MB  waiting %9d events, %5.1f s  received %10d  written %10d" % (
                    s["second"], s["ingest_mb"], s["write_mb"], s["redis_mb"], s["buffered_events"], s["oldest_s"], s["received"], s["written"]))
        time.sleep(1)
    return samples, drained


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--burst-seconds", type=int, default=120, help="length of the burst at the end")
    options.add_argument("--interval", type=int, default=10, help="write.interval, seconds (10: what `up` takes by itself)")
    options.add_argument("--dedup-memory", default="32m", help="write.dedup_memory: filled early, so that anything else that grows shows")
    options.add_argument("--times-only-reported", action="store_true", help="waits beyond their limits do not fail the run: for a slow machine")
    options.add_argument("--set", action="append", default=[], help="another setting, KEY=VALUE")
    options.add_argument("--every", type=float, default=10, help="seconds between two samples")
    options.add_argument("--samples", help="write every sample here, as CSV")
    o = options.parse_args()
    schedule = Schedule(o.minutes * 60, o.burst_seconds, DRAIN_FACTOR * o.burst_seconds)
    folder = tempfile.mkdtemp(prefix="bluelake-soak-")
    try:
        collection = Collection(folder, schedule, [f"write.interval={o.interval}s", f"write.dedup_memory={o.dedup_memory}", *o.set])
        try:
            samples, drained = watch(collection, schedule, lambda line: print(line, flush=True), o.every)
        finally:
            collection.close()
        errors = logged_errors(collection.up.text())
        assert "Everything received is in the lake" in collection.up.text(), collection.up.text()[-3000:]
        compared = run("verify", "--data", collection.lake, "--against-simulator",
                       f"seed=1,count={schedule.count},start={collection.start},rate={NETWORK_RATE}", "--json", check=False,
                       timeout=600 + schedule.count // VERIFIED_PER_SECOND)
        result = json.loads(compared.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if o.samples:
        with open(o.samples, "w", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            table.writeheader()
            table.writerows({k: round(v, 3) for k, v in s.items()} for s in samples)
    lines, wrong = judge(samples, schedule, o.interval, drained, not o.times_only_reported)
    print("\n".join(lines))
    faults = {k: result[k] for k in ("problems", "missing", "twice", "different", "unexpected") if result[k]}
    wrong += [f"{len(errors)} errors logged, the first: {errors[0]}"] if errors else []
    wrong += [f"verify: {faults}"] if faults or result["compared"] != schedule.count else []
    print(f"soak: {o.minutes:g} minutes at {PER_MINUTE} events/min and a burst: {result['compared']} events compared, "
          f"{result['missing']} missing, {result['twice']} twice, {result['different']} different; "
          + ("PASSED" if not wrong else "FAILED: " + "; ".join(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
