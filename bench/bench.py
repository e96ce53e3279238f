"""Measures bluelake against named peers: docs/BENCHMARKS.md says what and how. Run it through `make bench`.

Contenders take turns within each round, so that a slow moment of the machine hits both; medians are compared."""
import argparse
import collections
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests/e2e"))
import harness  # noqa: E402  the roles are started as the end-to-end tests start them

BUILD = pathlib.Path(os.environ.get("BUILD", REPO / "build/release")).resolve()
BLUELAKE, PROGRAMS = BUILD / "bluelake", BUILD / "bench"
harness.BINARY = BLUELAKE
OUT = REPO / "build/bench"
WORK = OUT / "work"
EVENTS = 1_000_000
CORES = "0,1"
COMPARED = 20_000  # events whose loss by the peer is looked at

Row = collections.namedtuple("Row", "what unit ours peer peer_name ratio target ok")
rows, notes = [], []


def median(values):
    return statistics.median(values)


def add(what, unit, ours, peer=None, peer_name="", at_least=None, at_most=None, of_peer=True):
    """A line of the table. `ours`, `peer`: lists of measurements. The target concerns the ratio, or the value itself."""
    ratio = median(ours) / median(peer) if peer else None
    judged = ratio if of_peer else median(ours)
    target, ok = "", None
    if at_least is not None:
        target, ok = f">= {at_least:g}" + ("x" if of_peer else ""), judged >= at_least
    if at_most is not None:
        target, ok = f"<= {at_most:g}" + ("x" if of_peer else ""), judged <= at_most
    rows.append(Row(what, unit, ours, peer, peer_name, ratio, target, ok))


def note(text):
    notes.append(text)
    print(f"  {text}", flush=True)


def number(value):
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} K"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table():
    lines = [["what", "unit", "ours: median (min..max)", "peer: median", "peer", "ratio", "target", ""]]
    for r in rows:
        ours = f"{number(median(r.ours))} ({number(min(r.ours))}..{number(max(r.ours))})"
        peer = number(median(r.peer)) if r.peer else ""
        ratio = f"{r.ratio:.3g}x" if r.ratio else ""
        verdict = {True: "ok", False: "MISS", None: ""}[r.ok]
        lines.append([r.what, r.unit, ours, peer, r.peer_name, ratio, r.target, verdict])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def fresh(name):
    path = WORK / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def run(*args, check=True, cores=None):
    command = [str(a) for a in args]
    if cores:
        command = ["taskset", "-c", cores, *command]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    if check and done.returncode != 0:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        raise SystemExit(f"bench: {' '.join(command)}: exit {done.returncode}\n{said}")
    return done


def timed(*args, cores=None):
    """(seconds of wall clock, seconds of CPU time, output)"""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*args, cores=cores)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def results(output):
    """{name: [median, least, most]} of the RESULT lines; these three stand for all rounds of a program."""
    found = re.findall(r"^RESULT (\S+) (\S+) (\S+) (\S+)$", output, re.M)
    return {name: [float(v) for v in values] for name, *values in found}


def bytes_under(folder):
    return sum(f.stat().st_size for f in folder.rglob("*.parquet"))


def events_file():
    path = WORK / "events.ndjson"
    with open(path, "wb") as out:
        subprocess.run([BLUELAKE, "simulate", "--ndjson", "--count", str(EVENTS)], stdout=out, check=True)
    return path


def warm(path):
    with open(path, "rb") as f:
        while f.read(1 << 22):
            pass


# ---- NDJSON to Parquet

def leaves(value, path=""):
    """The members of a JSON value that hold something, by path; arrays count as a whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif value is not None:
        yield path


def peer_rows(parquet):
    done = run(PROGRAMS / "bench_duckdb_peer", "rows", parquet, COMPARED, 2)
    for line in done.stdout.split("\n"):
        if line:
            yield json.loads(line)


def show_loss(events, parquet):
    lost, hurt, seen = collections.Counter(), 0, 0
    with open(events, encoding="utf-8") as lines:
        for line, row in zip(lines, peer_rows(parquet)):
            missing = set(leaves(json.loads(line))) - set(leaves(row))
            seen += 1
            hurt += bool(missing)
            lost.update(missing)
    members = ", ".join(f"{path} ({n})" for path, n in lost.most_common(6))
    note(f"the peer lost members of {hurt} of the first {seen} events{': ' + members if members else ''}")


def bench_import(rounds, events):
    ours, peer, sizes, peer_sizes, cpu, peer_cpu = [], [], [], [], [], []
    lake = WORK / "lake"
    for _ in range(rounds):
        shutil.rmtree(lake, ignore_errors=True)
        seconds, busy, out = timed(BLUELAKE, "import", "--data", lake, "--threads", 2, "--json", events, cores=CORES)
        done = json.loads(out)
        if done["written"] != EVENTS:
            raise SystemExit(f"bench: import wrote {done['written']} of {EVENTS} events")
        ours.append(EVENTS / seconds)
        cpu.append(busy)
        sizes.append(bytes_under(lake) / EVENTS)
        folder = fresh("peer")
        seconds, busy, _ = timed(PROGRAMS / "bench_duckdb_peer", events, folder / "events.parquet", 2, cores=CORES)
        peer.append(EVENTS / seconds)
        peer_cpu.append(busy)
        peer_sizes.append(bytes_under(folder) / EVENTS)
    add("NDJSON -> Parquet", "events/s", ours, peer, "DuckDB read_json -> COPY", at_least=1.5)
    add("NDJSON -> Parquet, CPU time", "us/event", cpu, peer_cpu, "the same")
    add("NDJSON -> Parquet, size", "bytes/event", sizes, peer_sizes, "DuckDB zstd Parquet", at_most=0.55)
    note(f"import: {done['cids_verified']:,} CIDs recomputed and equal, {done['cids_kept']:,} kept; "
         "every file fsynced before the commit")
    tuned = WORK / "peer/tuned.parquet"
    seconds, _, _ = timed(PROGRAMS / "bench_duckdb_peer", events, tuned, 2, "tuned", cores=CORES)
    note("the peer with PARQUET_VERSION v2 and row groups of a million (one run): "
         f"{number(EVENTS / seconds)} events/s, "
         f"{tuned.stat().st_size / EVENTS:.1f} bytes/event; against that {median(ours) * seconds / EVENTS:.2f}x the rate, "
         f"{median(sizes) * EVENTS / tuned.stat().st_size:.2f}x the bytes")
    verify = run(BLUELAKE, "verify", "--data", lake, "--against", events, check=False)
    summary = [line for line in verify.stdout.strip().split("\n") if line][-1:]
    note(f"bluelake verify --against the file: exit {verify.returncode} ({summary[0] if summary else 'no output'})")
    add("events lost or changed by import", "events", [0 if verify.returncode == 0 else 1], at_most=0, of_peer=False)
    show_loss(events, WORK / "peer/events.parquet")


# ---- single stages

def head(events, count):
    path = WORK / f"events-{count}.ndjson"
    with open(events, "rb") as source, open(path, "wb") as out:
        for _, line in zip(range(count), source):
            out.write(line)
    return path


def bench_extract(rounds, events):
    r = results(run(PROGRAMS / "bench_extract", events, 200000).stdout)
    add("JSON extraction, one thread", "events/s", r["extract.decode"], r["extract.jansson"], "jansson", at_least=15)


def bench_buffer(rounds, events):
    r = results(run(PROGRAMS / "bench_buffer", head(events, 400000)).stdout)
    add("buffer write", "events/s", r["buffer.blocks"], r["buffer.single"], "XADD an event, pipelined", at_least=2)
    add("buffer memory", "bytes/event", r["buffer.blocks_memory"], r["buffer.single_memory"], "XADD an event", at_most=0.25)


def bench_sim(rounds, events):
    r = results(run(PROGRAMS / "bench_sim").stdout)
    add("simulator, one thread", "events/s", r["sim"], at_least=200000, of_peer=False)


def bench_ws(rounds, events):
    found = collections.defaultdict(list)
    for _ in range(rounds):
        out = run(PROGRAMS / "bench_ws", 500000).stdout
        for what, rate in re.findall(r"^(\w+) +([\d.]+) M messages/s", out, re.M):
            found[what].append(float(rate) * 1e6)
    for what, label in (("wsclient", "WebSocket client"), ("source", "Jetstream client (source)")):
        add(label, "messages/s", found[what])


# ---- the roles, end to end

def drain_once(number_of_events):
    world = harness.World(fresh("drain"))
    try:
        world.redis()
        world.simulator("--rate", "max", "--count", number_of_events)
        start = time.monotonic()
        world.ingest()

        def buffered():
            try:
                return harness.metric(world.ingest_port, "bluelake_events_buffered_total") == number_of_events
            except OSError:
                return False
        harness.wait_for("all events are in Redis", buffered, 120)
        filled = time.monotonic() - start
        world.processes.pop().stop()
        start = time.monotonic()
        world.writer()
        harness.wait_for("all events are in the lake", lambda: world.catalog_rows() == number_of_events, 120)
        return number_of_events / filled, number_of_events / (time.monotonic() - start)
    finally:
        world.close()
        shutil.rmtree(world.folder, ignore_errors=True)


def bench_drain(rounds, events):
    fills, drains = zip(*(drain_once(300000) for _ in range(rounds)))
    add("WebSocket -> Redis (ingest)", "events/s", list(fills))
    add("Redis -> durable Parquet (write)", "events/s", list(drains))


# ---- search

def bench_search(rounds, events):
    lake = WORK / "lake"
    if not lake.exists():
        run(BLUELAKE, "import", "--data", lake, events)
    glob = f"{lake}/year=*/month=*/day=*/hour=*/posts*.parquet"
    for what, word in (("common word", "the"), ("rare word", "parapluie"), ("absent word", "zzyzx")):
        ours, peer = [], []
        for _ in range(rounds):
            ours.append(timed(BLUELAKE, "search", "--data", lake, "--json", word, cores=CORES)[0] * 1e3)
            peer.append(timed(PROGRAMS / "bench_duckdb_peer", "search", glob, word, 2, cores=CORES)[0] * 1e3)
        add(f"search, top 50, {what}", "ms", ours, peer, "DuckDB glob + ILIKE")


# ---- a day of posts: searches in one process that stays, against the peer in the same process

DAY_EVENTS, DAY_RATE = 9_200_000, 107  # 24 hours, a little over a million posts


def day_lake():
    lake = WORK / "day"
    simulate = [BLUELAKE, "simulate", "--ndjson", "--count", DAY_EVENTS, "--network-rate", DAY_RATE]
    source = subprocess.Popen([str(a) for a in simulate], stdout=subprocess.PIPE)
    subprocess.run([str(a) for a in (BLUELAKE, "import", "--data", lake, "--threads", 2, "-")], stdin=source.stdout,
                   check=True, capture_output=True)
    source.stdout.close()
    if source.wait() != 0:
        raise SystemExit("bench: simulating a day failed")
    run(BLUELAKE, "compact", "--data", lake)
    return lake


def add_day(found, name, what, peer_name="", **target):
    peer = found.get(f"{name}.peer")
    add(f"day, {what}", "ms", found[f"{name}.ours"], peer, peer_name, of_peer=peer is not None, **target)


def bench_day(rounds, _events):
    output = run(PROGRAMS / "bench_query", day_lake(), max(rounds, 7)).stdout
    found = results(output)
    for line in output.splitlines():
        if not line.startswith("RESULT"):
            note(line)
    peer = "DuckDB glob + ILIKE"
    add_day(found, "common", "top 50, common word", peer, at_most=1 / 9)
    add_day(found, "rare", "top 50, a word of 50 posts", peer, at_most=1 / 2)
    add_day(found, "two-hits", "top 50, a word of 2 posts", peer, at_most=1 / 2)
    add_day(found, "absent", "top 50, absent word", peer)
    add_day(found, "from", "top 50, from:", "DuckDB glob, did = ...")
    add_day(found, "tag", "top 50, #tag", "DuckDB glob, list_contains")
    add_day(found, "newest", "newest 50", "DuckDB glob")
    add_day(found, "excluded", "top 50, with an exclusion", peer)
    add_day(found, "count-all", "counts of all posts")
    add_day(found, "count-word", "counts of a common word")
    add_day(found, "export", "export of all posts")
    for name, what in (("cold-day", "figures of the day"), ("cold-common", "common word"), ("cold-absent", "absent word")):
        add_day(found, name, f"from cold: {what}", at_most=5000)
    add_day(found, "cold-build", "from cold: absent word, index and all")
    add_day(found, "view", "slowest cached view", at_most=10)
    add("day, index", "bytes/post", found["index-bytes.ours"])


def report(started, rounds):
    seconds = time.monotonic() - started
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    processor = model.group(1) if model else "unknown processor"
    machine = f"{os.cpu_count()} cores, {processor}; load average {os.getloadavg()[0]:.1f} at the end"
    missed = [r.what for r in rows if r.ok is False]
    verdict = f"{len(missed)} missed: {', '.join(missed)}" if missed else "every target met"
    text = "\n".join([table(), "", *notes, "", f"{rounds} rounds a line, medians; {machine}; {seconds:.0f} s", verdict, ""])
    (OUT / "report.txt").write_text(text)
    summary = {"machine": machine, "rounds": rounds, "seconds": round(seconds, 1), "notes": notes,
               "results": [r._asdict() for r in rows]}
    (OUT / "report.json").write_text(json.dumps(summary, indent=1) + "\n")
    print("\n" + text, end="")


def main():
    benches = {"import": bench_import, "extract": bench_extract, "buffer": bench_buffer, "sim": bench_sim,
               "ws": bench_ws, "search": bench_search, "day": bench_day, "drain": bench_drain}
    options = argparse.ArgumentParser(prog="bench/run.sh")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default=",".join(benches))
    given = options.parse_args()
    started = time.monotonic()
    fresh("")
    try:
        print(f"bench: simulating {EVENTS:,} events", flush=True)
        events = events_file()
        warm(events)
        for name in given.only.split(","):
            print(f"bench: {name}", flush=True)
            benches[name](given.rounds, events)
        report(started, given.rounds)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


main()
