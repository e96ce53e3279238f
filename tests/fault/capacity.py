#!/usr/bin/env python3
"""Capacity: eight hours of events in the buffer, Redis killed and restarted, everything drained to Parquet and compared in full.

    tests/fault/capacity.py [--count 2700000] [--out FILE.json]
Limits (they decide the exit code): Redis uses at most 25 % of 2 GB, drained and cleared within 30 s, nothing missing, twice or different."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import time

os.environ.setdefault("BL_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bluelake"))
from bench import Case, Simulator, wait_for  # noqa: E402

MAXMEMORY = 2 << 30
RATES = (94, 500, 1667)


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


def measure_at(folder, rate, seconds):
    """Bytes an event at a steady rate: the slower it comes, the smaller the blocks that ingest.block_age closes."""
    simulator = Simulator(folder, 0, f"--rate={rate}", "--live", f"--start={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}")
    case = Case(pathlib.Path(folder) / "case", simulator)
    try:
        case.redis()
        ingest = case.ingest()
        wait_for("events come", lambda: case.buffered() > 0 or not ingest.alive())
        time.sleep(seconds)  # the rate is what is measured
        case.stop(ingest)
        found = by_type(case).values()  # the queues alone: what Redis uses besides does not grow
        events = sum(t["events"] for t in found)
        return {"events": events, "bytes_per_event": sum(t["bytes"] for t in found) / events}
    finally:
        case.close()
        simulator.close()


def measure_rates(seconds):
    with tempfile.TemporaryDirectory(prefix="capacity-") as name, concurrent.futures.ThreadPoolExecutor(len(RATES)) as pool:
        folders = [pathlib.Path(name) / str(rate) for rate in RATES]
        for folder in folders:
            folder.mkdir()
        found = dict(zip(map(str, RATES), pool.map(lambda x: measure_at(x[0], x[1], seconds), zip(folders, RATES))))
    for rate, m in found.items():
        m["hours"] = 0.8 * MAXMEMORY / m["bytes_per_event"] / int(rate) / 3600
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=2700000)
    options.add_argument("--paced", type=int, default=40, help="seconds for which each steady rate is measured; 0 = not")
    options.add_argument("--out", help="write the measured numbers here as JSON")
    chosen = options.parse_args()
    r = {"events": chosen.count}
    with tempfile.TemporaryDirectory(prefix="capacity-") as name:
        simulator = Simulator(name, chosen.count)
        case = Case(pathlib.Path(name) / "case", simulator)
        try:
            redis = case.redis()
            idle = info(case, "memory", "used_memory")
            began = time.monotonic()
            ingest = case.ingest()
            wait_for("everything is buffered", lambda: case.buffered() >= chosen.count or not ingest.alive(), 600)
            r["fill_seconds"] = time.monotonic() - began
            case.stop(ingest)
            r["used_memory"] = info(case, "memory", "used_memory")
            r["percent_of_2gb"] = 100 * r["used_memory"] / MAXMEMORY
            r["bytes_per_event"] = (r["used_memory"] - idle) / chosen.count
            r["types"] = by_type(case)
            time.sleep(1.1)  # what appendfsync everysec needs to be on disk
            redis.child.send_signal(signal.SIGKILL)
            redis.child.wait(60)
            began = time.monotonic()
            case.redis()
            wait_for("Redis has loaded", lambda: case.buffered() >= chosen.count, 120)
            r["restart_seconds"] = time.monotonic() - began
            r["aof_bytes"] = sum(p.stat().st_size for p in (case.redis_dir / "appendonlydir").iterdir())
            began = time.monotonic()
            writer = case.start(*[os.environ["BL_BINARY"], "write", f"--data={case.lake}", f"--set=redis.socket={case.socket}",
                                  "--set=write.http=127.0.0.1:0", "--set=write.interval=2s"], log="write.log")
            wait_for("drained and cleared", lambda: (case.rows() >= chosen.count and case.queued() == 0) or not writer.alive(), 300)
            r["drain_seconds"] = time.monotonic() - began
            r["used_memory_after"] = info(case, "memory", "used_memory")
            r["lake_bytes"] = sum(p.stat().st_size for p in case.lake.rglob("*.parquet"))
            case.stop(writer)
            case.verify()
        finally:
            case.close()
            simulator.close()
    r["rates"] = measure_rates(chosen.paced) if chosen.paced else {}
    good = r["percent_of_2gb"] <= 25 and r["drain_seconds"] < 30
    print(f"capacity: {chosen.count} events, all compared: {r['percent_of_2gb']:.1f} % of 2 GB ({r['bytes_per_event']:.1f} B/event), "
          f"filled in {r['fill_seconds']:.1f} s, Redis back in {r['restart_seconds']:.1f} s after SIGKILL, drained and cleared in "
          f"{r['drain_seconds']:.1f} s{'' if good else '   BEYOND THE LIMITS'}")
    for rate, m in r["rates"].items():
        print(f"at {rate} events/s: {m['bytes_per_event']:.0f} B/event, {m['hours']:.1f} hours to the high-water mark (80 % of 2 GB)")
    if chosen.out:
        pathlib.Path(chosen.out).write_text(json.dumps(r, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
