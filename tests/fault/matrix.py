#!/usr/bin/env python3
"""The crash matrix: the process is killed at every named point of base/fault.h, at several of the times it passes there, and started
again; nothing may be missing, twice or different, and the conservation equation must hold.

    tests/fault/matrix.py             every point once, somewhere (CI)
    tests/fault/matrix.py --full      up to 25 hits of every point in every scenario
Needs build/faults (CMake option BL_FAULTS). Prints the number of points and of crashes tried."""
import argparse
import collections
import concurrent.futures
import contextlib
import datetime
import json
import pathlib
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time

from bench import Case, Simulator, command, environment, settle, wait_for

MARKS = 900


def crashed(done):
    """Ended at the crash point, by SIGKILL; any other end but a good one is a failure."""
    assert done.returncode in (0, -signal.SIGKILL), f"exit {done.returncode}: {done.stderr[-3000:]}"
    return done.returncode == -signal.SIGKILL


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
        return case.end(child)

    def finish(self, case):
        case.finish()
        case.verify_letters()


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
        return case.end(child)


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
        return case.end(child)

    def finish(self, case):
        writer = case.writer()
        wait_for("all is in the lake", lambda: not writer.alive() or (case.rows() >= self.matrix.simulator.count and case.queued() == 0), 60)
        case.stop(writer)
        case.verify()
        case.verify_letters(once=True)
        assert [gap["reason"] for gap in case.gaps()] == ["a test"], case.gaps()


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
        return crashed(self.load(case, env))

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
        return crashed(self.compact(case, env))

    def compact(self, case, env=None):
        return command("compact", "--data", case.lake, env=env)

    def finish(self, case):
        done = self.compact(case)
        assert done.returncode == 0, done.stderr
        case.verify(buffer=False)
        assert not [path for path in self.strays(case) if "-" in path.rsplit("/", 1)[1]], "what was replaced is still there"
        # A new file that was not listed yet may be a compactor's that lives: it goes when a writer opens the lake.
        command("import", "--data", case.lake, "/dev/null")
        assert not self.strays(case), self.strays(case)

    @staticmethod
    def strays(case):
        there = {str(p.relative_to(case.lake)) for p in case.lake.rglob("*.parquet")}
        with contextlib.closing(sqlite3.connect(case.lake / "catalog.sqlite")) as db:
            return there - {row[0] for row in db.execute("SELECT path FROM files")}


class CompactSweep(Compact):
    """The opening of a lake whose compaction died before it removed the old files."""
    name = "compact-sweep"

    def case(self, folder):
        case = super().case(folder)
        assert super().run(case, environment(BL_CRASH="compact.before_unlink:1"))
        return case


class Replay(Import):
    """Dead letters that are valid now become rows; whatever happens, each is a letter or a row."""
    name = "replay"

    def case(self, folder):
        case = Case(folder, self.matrix.simulator)
        shutil.copytree(self.matrix.letters, case.lake)
        return case

    def load(self, case, env=None):
        return command("deadletter", "replay", "--all", "--data", case.lake, env=env)

    def finish(self, case):
        super().finish(case)
        assert case.letters()[1] == 0


class Paced(Ingest):
    """The last part of the stream comes while the case runs, so that something follows on what Redis forgets."""
    RATE, AHEAD = 4000, 3.0

    def case(self, folder):
        case = Case(folder, self.matrix.simulator)
        case.redis_process = case.redis("--aof-load-truncated", "yes")
        began = datetime.datetime.fromtimestamp(time.time() - self.AHEAD, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case.simulator = Simulator(folder, self.matrix.simulator.count, f"--rate={self.RATE}", f"--began={began}", marks=MARKS)
        case.children.append(case.simulator.process)
        return case

    def half(self):
        return self.RATE * self.AHEAD * 0.8

    def ingest(self, case, env=None):
        return case.ingest("source.cursor=2026-01-05", env=env)

    def finish(self, case):
        case.finish("source.cursor=2026-01-05")
        case.verify_letters()


class Forget(Paced):
    """Redis comes back without the end of its append-only file while ingest (crashes) goes on."""
    name = "forget"

    def run(self, case, env):
        child = self.ingest(case, env)
        settle(child, lambda: case.buffered() >= self.half())
        case.redis_process.kill()
        aof = max((case.redis_dir / "appendonlydir").glob("*.incr.aof"))
        with open(aof, "r+b") as file:
            file.truncate(aof.stat().st_size * 6 // 10)
        case.redis("--aof-load-truncated", "yes")
        settle(child, lambda: case.cursor() >= self.matrix.last_cursor)
        return case.end(child)


class Empty(Paced):
    """Redis is emptied under an ingest (crashes) that knows nothing of the blocks before it: it starts over."""
    name = "empty"

    def run(self, case, env):
        first = self.ingest(case)
        settle(first, lambda: case.buffered() >= self.half())
        first.kill()
        child = self.ingest(case, env)
        before = case.buffered()
        settle(child, lambda: case.buffered() > before)
        case.cli("flushall")
        settle(child, lambda: case.cursor() >= self.matrix.last_cursor)
        return case.end(child)


class Gap(Ingest):
    """The host no longer has what follows on the stored position."""
    name = "gap"

    def case(self, folder):
        case = super().case(folder)
        case.simulator = Simulator(folder, self.matrix.simulator.count, "--lookback=20s", marks=MARKS)
        case.children.append(case.simulator.process)
        host = case.simulator.url.removeprefix("ws://")
        case.cli("hset", "firehose:metadata", "cursor_us", self.matrix.times[0] - 100 * 1000000, "cursor_host", host)
        return case

    def finish(self, case):
        ingest, writer = case.ingest(), case.writer()
        wait_for("the last event is buffered", lambda: case.cursor() >= self.matrix.last_cursor and case.queued() == 0)
        case.stop(ingest, writer)
        gaps = case.gaps()
        assert len({(gap["from_us"], gap["to_us"]) for gap in gaps}) == 1, gaps
        lost = sum(gaps[0]["from_us"] < t < gaps[0]["to_us"] for t in self.matrix.times)
        done = command("verify", "--data", case.lake, f"--against-simulator=seed=1,count={len(self.matrix.times)}", "--json")
        result = json.loads(done.stdout)
        wrong = [result[k] for k in ("problems", "twice", "different", "unexpected") if result[k]]
        assert not wrong and 0 < lost == result["missing"], (lost, result)


SCENARIOS = [Ingest, Spill, Forget, Empty, Gap, Write, Sweep, Import, Replay, Compact, CompactSweep]


class Matrix:
    def __init__(self, folder, count, workers):
        self.folder = pathlib.Path(folder)
        self.workers = workers
        self.simulator = Simulator(folder, count, marks=MARKS)
        self.failures = []
        self.lock = threading.Lock()
        self.prepare(count)

    def prepare(self, count):
        events = command("simulate", "--ndjson", f"--count={count}").stdout
        self.file = self.folder / "events.ndjson"
        self.file.write_text(events)
        self.times = [json.loads(line)["time_us"] for line in events.splitlines()]
        self.last_cursor = max(self.times)
        case = Case(self.folder / "fill", self.simulator)
        redis = case.redis()
        ingest = case.ingest()
        wait_for("the buffer holds everything", lambda: case.cursor() >= self.last_cursor and case.buffered() >= count)
        case.stop(ingest)
        case.note_gap()
        redis.stop()
        self.filled = case.redis_dir
        case.socket.unlink(missing_ok=True)
        lines = events.splitlines(keepends=True)
        self.scattered = self.folder / "scattered"
        for part in range(2):
            piece = self.folder / f"piece{part}.ndjson"
            piece.write_text("".join(lines[part::2]))
            command("import", "--data", self.scattered, piece)
        self.with_letters(lines)

    def with_letters(self, lines):
        """A lake in which every tenth event is a dead letter."""
        self.letters = self.folder / "letters"
        piece = self.folder / "most.ndjson"
        piece.write_text("".join(line for i, line in enumerate(lines) if i % 10))
        command("import", "--data", self.letters, piece)
        with contextlib.closing(sqlite3.connect(self.letters / "catalog.sqlite")) as db:
            db.executemany("INSERT INTO dead_letters(type, reason, detail, origin, received_us, message) VALUES(NULL, 'too_deep', '', ?, ?, ?)",
                           [(f"test {i}", i, line.encode()) for i, line in enumerate(lines[::10])])
            db.commit()

    def hits(self, scenario):
        """How often each point is passed when nothing goes wrong."""
        case = scenario.case(self.folder / f"{scenario.name}-count")
        log = case.folder / "points"
        try:
            assert not scenario.run(case, environment(BL_CRASH_LOG=log)), f"{scenario.name} crashes by itself"
            return collections.Counter(log.read_text().split()) if log.exists() else {}
        finally:
            case.close()

    def crash(self, scenario, point, hit):
        case = scenario.case(self.folder / f"{scenario.name}-{point}-{hit}")
        try:
            reached = scenario.run(case, environment(BL_CRASH=f"{point}:{hit}"))
            scenario.finish(case)
            return reached
        except AssertionError as wrong:
            with self.lock:
                self.failures.append(f"{scenario.name} {point}:{hit}: {wrong}")
            return True
        finally:
            case.close()

    def try_job(self, job, surely):
        """How often a point is passed varies a little; a sample that did not come that far takes the first time."""
        scenario, point, hit = job
        return self.crash(scenario, point, hit) or (surely and self.crash(scenario, point, 1))

    def close(self):
        self.simulator.close()


def choose(total, most):
    """At most `most` hits of 1..total, evenly spread, with the first and the last."""
    if total <= most:
        return list(range(1, total + 1))
    return sorted({1 + round(i * (total - 1) / (most - 1)) for i in range(most)}) if most > 1 else [1 + total // 2]


def sample(scenarios, counts, seed):
    """Every point once: in a scenario that passes it, at one of the times it does."""
    rng, jobs = random.Random(seed), []
    for point in sorted({p for c in counts for p in c}):
        index = rng.choice([i for i, c in enumerate(counts) if point in c])
        jobs.append((scenarios[index], point, rng.randint(1, 1 + counts[index][point] // 2)))
    return jobs


def every(scenarios, counts, most):
    return [(s, p, hit) for s, c in zip(scenarios, counts) for p, total in sorted(c.items()) for hit in choose(total, most)]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--full", action="store_true")
    options.add_argument("--count", type=int, default=20000)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--most", type=int, help="hits tried of each point")
    options.add_argument("--only", help="one scenario: " + ", ".join(s.name for s in SCENARIOS))
    options.add_argument("--seed", type=int, default=1, help="of the sample")
    chosen = options.parse_args()
    started = time.monotonic()
    known = set(command(env=environment(BL_CRASH="list")).stdout.split())
    tried, reached, points = 0, 0, set()
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        matrix = Matrix(folder, chosen.count, chosen.workers)
        try:
            scenarios = [s(matrix) for s in SCENARIOS if chosen.only in (None, s.name)]
            with concurrent.futures.ThreadPoolExecutor(chosen.workers) as pool:
                counts = list(pool.map(matrix.hits, scenarios))
                all_of_them = chosen.full or chosen.most or chosen.only
                jobs = every(scenarios, counts, chosen.most or 25) if all_of_them else sample(scenarios, counts, chosen.seed)
                for (scenario, point, hit), came in zip(jobs, pool.map(lambda job: matrix.try_job(job, not all_of_them), jobs)):
                    tried += 1
                    reached += came
                    if came:
                        points.add(point)
        finally:
            matrix.close()
    unreached = sorted(known - points) if chosen.only is None else []
    print(f"{tried - len(matrix.failures)} passed, {len(matrix.failures) + len(unreached)} failed in {time.monotonic() - started:.1f}s")
    print(f"crash matrix: {len(known)} points known, {len(points)} crashed at, {tried} runs, {reached} crashes, "
          f"{len(matrix.failures)} failures, {time.monotonic() - started:.0f} s")
    for failure in matrix.failures:
        print("FAILED", failure)
    if unreached:
        print("never reached:", " ".join(unreached))
    return 1 if matrix.failures or unreached else 0


if __name__ == "__main__":
    sys.exit(main())
