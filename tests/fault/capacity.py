#!/usr/bin/env python3
"""Capacity: eight hours of events without a writer. Redis is killed with all of them in it, restarted, drained to Parquet, compared in full.

    tests/fault/capacity.py [--count 2700000] [--paced 40] [--out FILE.json]

The phases, each with a Redis and a lake of its own:
  baseline  redis-benchmark, and PINGs while the next phase fills Redis
  fill      --count events of every type; SIGKILL of Redis, restart; the writer drains, the queues are empty; all compared
  outage    8 hours at 94 events/s by their time stamps: the writer is killed at the start, Redis after half, the writer comes back after
            the other half; all compared
  rates     bytes an event needs in Redis, and in a spill segment, at 94, 500 and 1,667 events/s
Limits (they decide the exit code), for 2,700,000 events: memory at most 25 % of 2 GB after the fill (for fewer events: that much an event)
and never above 80 %, drained and cleared within 30 s, Redis back within 30 s, a PING (p99) within 100 ms, nothing missing, twice or different."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("BL_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bluelake"))
from bench import Case, Simulator, command, wait_for  # noqa: E402
from harness import metric  # noqa: E402

MAXMEMORY = 2 << 30
EIGHT_HOURS = 2_700_000
RATES = (94, 500, 1667)
LIMITS = {"percent of 2 GB": 25, "highest percent": 80, "drain seconds": 30, "restart seconds": 30, "ping ms": 100}
BEGINNING = "source.cursor=2026-01-05"  # where the simulated network begins; without it a paced one is joined live


def info(case, section, name):
    return int(re.search(rf"^{name}:(\d+)", case.cli("info", section), re.M).group(1))


def by_type(case):
    """Events and bytes Redis holds, by type."""
    found = {}
    lines = case.cli("hgetall", "firehose:metadata").splitlines()
    counts = dict(zip(lines[::2], lines[1::2]))
    for key in sorted(case.cli("keys", "firehose:*:queue").split()):
        name = key.split(":")[1]
        events = int(counts.get(f"received:{name}", 0))
        if events:
            found[name] = {"events": events, "bytes": int(case.cli("memory", "usage", key, "samples", 0))}
    return found


class Pings:
    """How long a PING takes while something else goes on."""

    def __init__(self, case):
        self.case, self.seconds, self.over = case, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with subprocess.Popen(["redis-cli", "-s", str(self.case.socket)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cli:
            while not self.over.wait(0.01):
                began = time.monotonic()
                cli.stdin.write("PING\n")
                cli.stdin.flush()
                cli.stdout.readline()
                self.seconds.append(time.monotonic() - began)
            cli.stdin.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(30)


def baseline(case):
    """Operations a second and latencies of plain commands: {"SET": {...}, "GET": {...}}."""
    done = subprocess.run(["redis-benchmark", "-s", str(case.socket), "-t", "set,get", "-n", "100000", "-c", "50", "-d", "500", "-r", "100000",
                           "--csv"], capture_output=True, text=True, timeout=120, check=True)
    case.cli("flushall")
    rows = [[word.strip('"') for word in line.split(",")] for line in done.stdout.splitlines()]
    return {row[0]: {"ops_per_second": float(row[1]), "p50_ms": float(row[4]), "p95_ms": float(row[5])} for row in rows[1:]}


def start_writer(case):
    """With the production size of a batch."""
    return case.start(os.environ["BL_BINARY"], "write", f"--data={case.lake}", f"--set=redis.socket={case.socket}",
                      "--set=write.http=127.0.0.1:0", "--set=write.interval=2s", log="write.log")


def kill_redis(case, redis):
    """Also returns the seconds until everything is served again."""
    redis.child.send_signal(signal.SIGKILL)
    redis.child.wait(60)
    began = time.monotonic()
    redis = case.redis(wait=False)
    wait_for("Redis has loaded", lambda: case.cli("ping") == "PONG", 120)
    return redis, time.monotonic() - began


def drain(case, count):
    began = time.monotonic()
    writer = start_writer(case)
    wait_for("drained and cleared", lambda: (case.rows() >= count and case.queued() == 0) or not writer.alive(), 600)
    assert writer.alive(), writer.text()[-3000:]
    seconds = time.monotonic() - began
    case.stop(writer)
    return seconds


def compare(case, count, simulated):
    done = command("verify", "--data", case.lake, f"--against-simulator={simulated}", "--json", "--buffer", f"--set=redis.socket={case.socket}",
                   timeout=900)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-3000:])
    result = json.loads(done.stdout)
    wrong = {k: result[k] for k in ("problems", "missing", "twice", "different", "unexpected") if result[k]}
    assert not wrong and result["compared"] == count, result


def fill(folder, count):
    r = {"events": count}
    simulator = Simulator(folder, count)
    case = Case(pathlib.Path(folder) / "fill", simulator)
    try:
        redis = case.redis()
        r["baseline"] = baseline(case)
        idle = info(case, "memory", "used_memory")
        began = time.monotonic()
        with Pings(case) as pings:
            ingest = case.ingest()
            wait_for("everything is buffered", lambda: case.buffered() >= count or not ingest.alive(), 600)
        waits = sorted(pings.seconds)
        r["ping_p99_ms"], r["ping_longest_ms"] = 1000 * waits[len(waits) * 99 // 100], 1000 * waits[-1]
        r["fill_seconds"] = time.monotonic() - began
        case.stop(ingest)
        r["used_memory"] = info(case, "memory", "used_memory")
        r["bytes_per_event"] = (r["used_memory"] - idle) / count
        r["percent_of_2gb"] = 100 * r["bytes_per_event"] * EIGHT_HOURS / MAXMEMORY
        r["types"] = by_type(case)
        assert sum(t["events"] for t in r["types"].values()) == count
        missing = {"posts", "likes", "reposts", "follows", "blocks"} - set(r["types"])
        assert not missing, f"no {missing}"
        time.sleep(1.1)  # what appendfsync everysec needs to be on disk
        redis, r["restart_seconds"] = kill_redis(case, redis)
        assert case.buffered() == count
        r["aof_bytes"] = sum(p.stat().st_size for p in (case.redis_dir / "appendonlydir").iterdir())
        r["drain_seconds"] = drain(case, count)
        r["used_memory_after"] = info(case, "memory", "used_memory")
        r["lake_bytes"] = sum(p.stat().st_size for p in case.lake.rglob("*.parquet"))
        compare(case, count, f"seed=1,count={count}")
        return r
    finally:
        case.close()
        simulator.close()


def outage(folder, count):
    """Eight hours by their time stamps, much faster; the writer is away for nearly all of it, Redis dies half-way."""
    r = {"events": count}
    # Served within a quarter of a minute, so that the writer has its first batch when it dies.
    simulator = Simulator(folder, count, "--network-rate=94", f"--rate={count // 15}")
    case = Case(pathlib.Path(folder) / "outage", simulator)
    try:
        redis = case.redis()
        writer = start_writer(case)
        ingest = case.ingest(BEGINNING, "ingest.breaker_retry=100ms")
        wait_for("the writer has begun", lambda: case.rows() > 0 or not writer.alive())
        writer.kill()
        wait_for("four hours are buffered", lambda: case.buffered() >= count // 2 or not ingest.alive(), 600)
        redis, r["restart_seconds"] = kill_redis(case, redis)
        wait_for("eight hours are buffered", lambda: case.buffered() >= count or not ingest.alive(), 600)
        r["written_before"] = case.rows()
        assert r["written_before"] < count // 2, "the writer was not away"
        r["used_memory"] = info(case, "memory", "used_memory")
        case.stop(ingest)
        r["drain_seconds"] = drain(case, count)
        r["used_memory_after"] = info(case, "memory", "used_memory")
        r["duplicates"] = int(re.findall(r"duplicates=(\d+)", case.children[-1].text())[-1])
        compare(case, count, f"seed=1,count={count},rate=94")
        return r
    finally:
        case.close()
        simulator.close()


def measure_at(folder, rate, seconds, spilled):
    """Bytes an event at a steady rate: the slower it comes, the smaller the blocks that ingest.block_age closes."""
    simulator = Simulator(folder, 0, f"--rate={rate}", f"--network-rate={rate}")
    case = Case(pathlib.Path(folder) / "case", simulator)
    try:
        case.redis()
        # A mark below what an idle Redis uses: everything goes to disk.
        ingest = case.ingest(BEGINNING, *(["redis.high_water=1k", "ingest.spill_after=1ms"] if spilled else []))
        wait_for("events come", lambda: case.buffered() > 0 or list(case.lake.glob("spill/*.seg")) or not ingest.alive())
        time.sleep(seconds)  # the rate is what is measured
        if spilled:
            events = metric(case.port(ingest), "bluelake_events_spilled_total")
            return {"events": events, "bytes_per_event": sum(p.stat().st_size for p in case.lake.glob("spill/*.seg")) / events}
        case.stop(ingest)
        found = by_type(case).values()  # the queues alone: what Redis uses besides does not grow
        events = sum(t["events"] for t in found)
        return {"events": events, "bytes_per_event": sum(t["bytes"] for t in found) / events}
    finally:
        case.close()
        simulator.close()


def measure_rates(seconds):
    jobs = [(rate, spilled) for rate in RATES for spilled in (False, True)]
    with tempfile.TemporaryDirectory(prefix="capacity-") as name, concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        def one(job):
            folder = pathlib.Path(name) / f"{job[0]}-{job[1]}"
            folder.mkdir()
            return measure_at(folder, job[0], seconds, job[1])
        found = dict(zip(jobs, pool.map(one, jobs)))
    result = {}
    for rate in RATES:
        redis, disk = found[rate, False], found[rate, True]
        result[str(rate)] = {"bytes_per_event": redis["bytes_per_event"], "spill_bytes_per_event": disk["bytes_per_event"],
                             "hours": 0.8 * MAXMEMORY / redis["bytes_per_event"] / rate / 3600,
                             "hours_per_gb": (1 << 30) / disk["bytes_per_event"] / rate / 3600}
    return result


def beyond(filled, out):
    """Which limits were missed."""
    measured = [("percent of 2 GB", filled["percent_of_2gb"]), ("highest percent", 100 * max(filled["used_memory"], out["used_memory"]) / MAXMEMORY),
                ("drain seconds", filled["drain_seconds"]), ("drain seconds", out["drain_seconds"]),
                ("restart seconds", max(filled["restart_seconds"], out["restart_seconds"])), ("ping ms", filled["ping_p99_ms"])]
    return [f"{name} {value:.1f} > {LIMITS[name]}" for name, value in measured if value > LIMITS[name]]


def show(r):
    f, o = r["fill"], r["outage"]
    for name, b in f["baseline"].items():
        print(f"baseline: {name} {b['ops_per_second']:.0f} operations/s, p50 {b['p50_ms']:.2f} ms, p95 {b['p95_ms']:.2f} ms")
    for name, t in f["types"].items():
        print(f"  {name:9} {t['events']:9d} events, {t['bytes'] / t['events']:6.1f} B/event in Redis")
    print(f"fill: {f['events']} events, all compared: {f['bytes_per_event']:.1f} B/event = {f['percent_of_2gb']:.1f} % of 2 GB for {EIGHT_HOURS}, "
          f"filled in {f['fill_seconds']:.1f} s (PING p99 {f['ping_p99_ms']:.1f} ms, longest {f['ping_longest_ms']:.1f} ms), Redis back in {f['restart_seconds']:.1f} s after SIGKILL, "
          f"drained and cleared in {f['drain_seconds']:.1f} s ({f['events'] / f['drain_seconds']:.0f} events/s); Redis {f['used_memory'] / 2**20:.0f} "
          f"-> {f['used_memory_after'] / 2**20:.1f} MB, AOF {f['aof_bytes'] / 2**20:.0f} MB, Parquet {f['lake_bytes'] / f['events']:.1f} B/event")
    print(f"outage: {o['events']} events (8 h at 94/s), {o['events'] - o['written_before']} of them while the writer was away, Redis killed half-way "
          f"and back in {o['restart_seconds']:.1f} s, highest memory {100 * o['used_memory'] / MAXMEMORY:.1f} % of 2 GB, drained in "
          f"{o['drain_seconds']:.1f} s; all compared")
    for rate, m in r["rates"].items():
        print(f"at {rate} events/s: {m['bytes_per_event']:.0f} B/event, {m['hours']:.1f} hours to the high-water mark (80 % of 2 GB); "
              f"spilled {m['spill_bytes_per_event']:.0f} B/event, {m['hours_per_gb']:.1f} hours a GB")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=EIGHT_HOURS)
    options.add_argument("--paced", type=int, default=40, help="seconds for which each steady rate is measured; 0 = not")
    options.add_argument("--out", help="write the measured numbers here as JSON")
    chosen = options.parse_args()
    r = {}
    for phase in (fill, outage):
        with tempfile.TemporaryDirectory(prefix="capacity-") as folder:
            r[phase.__name__] = phase(folder, chosen.count)
    r["rates"] = measure_rates(chosen.paced) if chosen.paced else {}
    show(r)
    wrong = beyond(r["fill"], r["outage"])
    print("capacity: PASSED" if not wrong else "capacity: FAILED: " + "; ".join(wrong))
    if chosen.out:
        pathlib.Path(chosen.out).write_text(json.dumps(r, indent=2) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
