#!/usr/bin/env python3
"""The crash matrix: the process is killed at every named point of base/fault.h, at several of the times it passes there, and started
again; nothing may be missing, twice or different, and the conservation equation must hold.

    tests/fault/matrix.py             a sample of hits of every point (CI)
    tests/fault/matrix.py --full      up to 25 hits of every point
Needs build/faults (CMake option BL_FAULTS). Prints the number of points and of crashes tried."""
import argparse
import collections
import concurrent.futures
import json
import pathlib
import shutil
import sys
import tempfile
import threading
import time

from bench import Case, Simulator, command, ended_by_fault, environment, settle, wait_for

POISON = ["--misbehave", "poison-every=900"]


class Ingest:
    """Simulator -> ingest (crashes) -> Redis; then everything is finished without faults."""
    name = "ingest"

    def __init__(self, matrix):
        self.matrix = matrix

    def case(self, folder):
        case = Case(folder, self.matrix.simulator)
        case.redis()
        return case

    def run(self, case, env):
        child = case.ingest(env=env)
        settle(child, lambda: case.cursor() >= self.matrix.last_cursor)
        crashed = ended_by_fault(child)
        if child.alive():
            case.stop(child)
        return crashed

    def finish(self, case):
        case.finish()


class Spill(Ingest):
    """Redis is full at first, so ingest (crashes) spills; then there is room, and it drains."""
    name = "spill"

    def run(self, case, env):
        case.cli("config", "set", "maxmemory", "2500000")
        child = case.ingest("ingest.spill_after=1ms", "ingest.breaker_retry=30ms", env=env)
        spill = case.lake / "spill"
        settle(child, lambda: sum(p.stat().st_size for p in spill.glob("*.seg")) > 500000)
        case.cli("config", "set", "maxmemory", "2gb")
        settle(child, lambda: case.cursor() >= self.matrix.last_cursor and not list(spill.glob("*.seg")))
        crashed = ended_by_fault(child)
        if child.alive():
            case.stop(child)
        return crashed


class Write(Ingest):
    """The writer (crashes) drains a Redis that holds the whole collection."""
    name = "write"

    def case(self, folder):
        case = Case(folder, self.matrix.simulator)
        shutil.copytree(self.matrix.filled, case.redis_dir, dirs_exist_ok=True)
        case.redis()
        return case

    def run(self, case, env):
        child = case.writer(env=env)
        settle(child, lambda: case.rows() >= self.matrix.simulator.count and case.queued() == 0)
        crashed = ended_by_fault(child)
        if child.alive():
            case.stop(child)
        return crashed

    def finish(self, case):
        writer = case.writer()
        wait_for("all is in the lake", lambda: not writer.alive() or (case.rows() >= self.matrix.simulator.count and case.queued() == 0), 60)
        case.stop(writer)
        case.verify()


class Sweep(Write):
    """The start of a writer, after one that died between rename and catalogue."""
    name = "sweep"

    def case(self, folder):
        case = super().case(folder)
        assert super().run(case, environment(BL_CRASH="lake.after_rename:2")), "the preparing crash did not come"
        return case


class Import(Ingest):
    """A file straight into the lake; importing it again recognises what is there."""
    name = "import"

    def case(self, folder):
        return Case(folder, self.matrix.simulator)

    def run(self, case, env):
        return self.load(case, env).returncode < 0

    def load(self, case, env=None):
        return command("import", "--data", case.lake, "--set=write.batch_rows=4000", self.matrix.file, env=env)

    def finish(self, case):
        done = self.load(case)
        assert done.returncode == 0, done.stderr
        case.verify(buffer=False)


class Compact(Import):
    """Compaction of hours that lie in several files."""
    name = "compact"

    def case(self, folder):
        case = Case(folder, self.matrix.simulator)
        shutil.copytree(self.matrix.scattered, case.lake)
        return case

    def run(self, case, env):
        return self.compact(case, env).returncode < 0

    def compact(self, case, env=None):
        return command("compact", "--data", case.lake, env=env)

    def finish(self, case):
        done = self.compact(case)
        assert done.returncode == 0, done.stderr
        case.verify(buffer=False)
        left = [p for p in case.lake.rglob("*.parquet") if "-" in p.stem and not p.stem.rsplit("-", 1)[1].isdigit()]
        assert not left and not list((case.lake / ".staging").iterdir()), left


class CompactSweep(Compact):
    """The opening of a lake whose compaction died before it removed the old files."""
    name = "compact-sweep"

    def case(self, folder):
        case = super().case(folder)
        assert super().run(case, environment(BL_CRASH="compact.before_unlink:1"))
        return case


SCENARIOS = [Ingest, Spill, Write, Sweep, Import, Compact, CompactSweep]


class Matrix:
    def __init__(self, folder, count, workers):
        self.folder = pathlib.Path(folder)
        self.workers = workers
        self.simulator = Simulator(folder, count, *POISON)
        self.failures = []
        self.lock = threading.Lock()
        self.prepare(count)

    def prepare(self, count):
        events = command("simulate", "--ndjson", f"--count={count}").stdout
        self.file = self.folder / "events.ndjson"
        self.file.write_text(events)
        self.last_cursor = max(json.loads(line)["time_us"] for line in events.splitlines())
        case = Case(self.folder / "fill", self.simulator)
        redis = case.redis()
        ingest = case.ingest()
        wait_for("the buffer holds everything", lambda: case.cursor() >= self.last_cursor and case.buffered() >= count)
        case.stop(ingest)
        redis.stop()
        self.filled = case.redis_dir
        case.socket.unlink(missing_ok=True)
        lines = events.splitlines(keepends=True)
        self.scattered = self.folder / "scattered"
        for part in range(2):
            piece = self.folder / f"piece{part}.ndjson"
            piece.write_text("".join(lines[part::2]))
            command("import", "--data", self.scattered, piece)

    def hits(self, scenario):
        """How often each point is passed when nothing goes wrong."""
        case = scenario.case(self.folder / f"{scenario.name}-count")
        log = case.folder / "points"
        try:
            crashed = scenario.run(case, environment(BL_CRASH_LOG=log))
            assert not crashed
            return collections.Counter(log.read_text().split()) if log.exists() else {}
        finally:
            case.close()

    def crash(self, scenario, point, hit):
        case = scenario.case(self.folder / f"{scenario.name}-{point}-{hit}")
        try:
            crashed = scenario.run(case, environment(BL_CRASH=f"{point}:{hit}"))
            scenario.finish(case)
            return crashed
        except AssertionError as wrong:
            with self.lock:
                self.failures.append(f"{scenario.name} {point}:{hit}: {wrong}")
            return True
        finally:
            case.close()

    def close(self):
        self.simulator.close()


def choose(total, most):
    """At most `most` hits of 1..total, evenly spread, with the first and the last."""
    if total <= most:
        return list(range(1, total + 1))
    return sorted({1 + round(i * (total - 1) / (most - 1)) for i in range(most)}) if most > 1 else [1 + total // 2]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--full", action="store_true")
    options.add_argument("--count", type=int, default=20000)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--most", type=int, help="hits tried of each point")
    options.add_argument("--only", help="one scenario: " + ", ".join(s.name for s in SCENARIOS))
    chosen = options.parse_args()
    most = chosen.most or (25 if chosen.full else 2)
    started = time.monotonic()
    known = set(command(env=environment(BL_CRASH="list")).stdout.split())
    tried, reached, points = 0, 0, set()
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        matrix = Matrix(folder, chosen.count, chosen.workers)
        try:
            scenarios = [s(matrix) for s in SCENARIOS if chosen.only in (None, s.name)]
            with concurrent.futures.ThreadPoolExecutor(chosen.workers) as pool:
                counts = list(pool.map(matrix.hits, scenarios))
                jobs = [(s, p, hit) for s, c in zip(scenarios, counts) for p, total in sorted(c.items()) for hit in choose(total, most)]
                for (scenario, point, hit), crashed in zip(jobs, pool.map(lambda job: matrix.crash(*job), jobs)):
                    tried += 1
                    reached += crashed
                    if crashed:
                        points.add(point)
        finally:
            matrix.close()
    unreached = sorted(known - points) if chosen.only is None else []
    print(f"crash matrix: {len(known)} points known, {len(points)} crashed at, {tried} runs, {reached} crashes, "
          f"{len(matrix.failures)} failures, {time.monotonic() - started:.0f} s")
    for failure in matrix.failures:
        print("FAILED", failure)
    if unreached:
        print("never reached:", " ".join(unreached))
    return 1 if matrix.failures or unreached else 0


if __name__ == "__main__":
    sys.exit(main())
