#!/usr/bin/env python3
"""The fault sweep: one system call or allocation of a small run fails (tests/fault/shim.c), for every one the run makes.

The process either gets over it or ends with a message; never by a signal other than the abort of an exhausted memory. Afterwards the work
is finished without faults, and the lake must hold every event once.

    tests/fault/sweep.py            a sample of each class of calls (CI)
    tests/fault/sweep.py --full     every call and every allocation, but of compaction's
    tests/fault/sweep.py --full --allocations 300    every call, and so many allocations of each scenario, evenly spread
Of the 994,000 allocations of a compaction, all but a thousandth are made inside the libraries, nearly all by DuckDB. --full tries every one
that bluelake's own code makes (class "own" of the shim, which says what belongs to it), and of all of them 1,000, evenly spread.
Needs build/faults. Prints the number of faults tried and the number the run makes, for each class of calls."""
import argparse
import collections
import concurrent.futures
import datetime
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from bench import BINARY, Case, Simulator, command, environment, settle, wait_for

SHIM = BINARY.parent / "fault_shim.so"
COUNT, MARKS = 300, 50
IMPATIENT = "redis.timeout=1s"


def shimmed(**extra):
    return environment(LD_PRELOAD=SHIM, **extra)


class Ends:
    """How the processes with a fault ended, in the order of their ends."""
    STRANGERS = ("libhiredis.so", "libduckdb.so")  # do not stand every failed allocation, see docs/FAULTS.md
    ABORTS = (-signal.SIGSEGV, -signal.SIGABRT)

    def __init__(self):
        self.codes, self.strangers, self.fired = [], collections.defaultdict(list), set()

    def look(self, text, what):
        """Whether the fault came."""
        if re.search(r"^shim: \w+:\d+ failed$", text, re.M):
            self.fired.add(what)

    def check(self, code, text, what):
        self.codes.append(code)
        self.look(text, what)
        place = re.search(r"^shim: (SIG\w+ in (\S+)\+0x\w+)$", text, re.M)
        if code in self.ABORTS and " alloc:" in what and place and place.group(2).startswith(self.STRANGERS):
            self.strangers[place.group(1)].append(what)
        elif code == -signal.SIGABRT:
            assert "bluelake: out of memory" in text, f"{what}: aborted without saying why: {text[-1500:]}"
        else:
            assert code in (0, 1, 2), f"{what}: ended by {code}: {text[-1500:]}"
            assert code == 0 or re.search(r"^bluelake( \w+)?: | ERROR ", text, re.M), f"{what}: ended without a message: {text[-500:]}"

    def report(self, jobs):
        print("ended: " + ", ".join(f"{count} x {signal.Signals(-code).name if code < 0 else f'exit {code}'}"
                                    for code, count in sorted(collections.Counter(self.codes).items())))
        silent = sorted(job for job in jobs if job not in self.fired)
        if silent:
            print(f"{len(silent)} did not come, the run made fewer such calls: {', '.join(silent)}")
        for place, whats in sorted(self.strangers.items()):
            print(f"{len(whats)} x {place}, the lake whole afterwards: {', '.join(sorted(whats))}")


ends = Ends()
check_end = ends.check


class Scenario:
    most_allocations = None

    def __init__(self, sweep):
        self.sweep = sweep

    def narrowed(self, call):
        """Only the calls on files of the lake are meant."""
        return False


class Import(Scenario):
    name = "import"
    faults = ("open", "read", "write", "fsync", "rename", "unlink", "truncate", "alloc")

    def case(self, folder):
        return Case(folder, self.sweep.simulator)

    def load(self, case, env=None):
        return command("import", "--data", case.lake, self.sweep.file, env=env)

    def run(self, case, env, what):
        done = self.load(case, env)
        check_end(done.returncode, done.stderr, what)
        if done.returncode == 0:
            case.verify(buffer=False)

    def finish(self, case):
        done = self.load(case)
        assert done.returncode == 0, done.stderr
        case.verify(buffer=False)


class Compact(Import):
    name = "compact"
    most_allocations = 1000  # and every "own" one
    faults = (*Import.faults, "own")

    def case(self, folder):
        case = super().case(folder)
        shutil.copytree(self.sweep.scattered, case.lake)
        return case

    def run(self, case, env, what):
        done = command("compact", "--data", case.lake, env=env)
        check_end(done.returncode, done.stderr, what)
        case.verify(buffer=False) if done.returncode == 0 else None

    def finish(self, case):
        done = command("compact", "--data", case.lake)
        assert done.returncode == 0, done.stderr
        case.verify(buffer=False)


class Role(Scenario):
    """A long-running role: gets over the fault, or ends and is started again."""
    faults = ("open", "read", "write", "fsync", "rename", "connect", "unlink", "truncate", "reply", "alloc")

    def run(self, case, env, what):
        child = self.start(case, env)
        wait_for(f"{what}: the role is done or has ended", lambda: not child.alive() or self.done(case), 60)
        if child.alive():
            child.child.send_signal(signal.SIGTERM)
        check_end(child.child.wait(90), child.text(), what)


class Write(Role):
    name = "write"

    def case(self, folder):
        case = Case(folder, self.sweep.simulator)
        shutil.copytree(self.sweep.filled, case.redis_dir, dirs_exist_ok=True)
        case.redis()
        return case

    def start(self, case, env=None):
        return case.writer(IMPATIENT, env=env)

    def done(self, case):
        return case.rows() >= COUNT and case.queued() == 0

    def finish(self, case):
        writer = case.writer()
        wait_for("all is in the lake", lambda: not writer.alive() or self.done(case), 60)
        case.stop(writer)
        case.verify()
        case.verify_letters(once=True)
        assert [gap["reason"] for gap in case.gaps()] == ["a test"], case.gaps()


class Ingest(Role):
    name = "ingest"

    def case(self, folder):
        case = Case(folder, self.sweep.simulator)
        case.redis()
        return case

    def start(self, case, env=None):
        return case.ingest(IMPATIENT, env=env)

    def done(self, case):
        return case.cursor() >= self.sweep.last_cursor

    def finish(self, case):
        case.finish()
        case.verify_letters()


class Spill(Ingest):
    """Redis soon takes nothing, so that ingest spills; then it does, and comes back without a part of that; then all is
    written, and ingest notes the settled position. The stream goes on meanwhile, so that it shows what Redis forgot.

    Of the calls those on the lake's files: the others are Ingest's."""
    name = "spill"
    faults = ("open", "read", "write", "fsync", "rename", "unlink", "truncate", "alloc")
    most_allocations = 100
    RATE = 60

    def narrowed(self, call):
        return call != "alloc"

    def case(self, folder):
        case = Case(folder, self.sweep.simulator)
        case.redis_process = case.redis("--aof-load-truncated", "yes")
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case.simulator = Simulator(folder, COUNT, f"--rate={self.RATE}", f"--began={now}", marks=MARKS)
        case.children.append(case.simulator.process)
        return case

    def start(self, case, env=None):
        return case.ingest(IMPATIENT, "source.cursor=2026-01-05", "ingest.spill_after=1ms", "ingest.breaker_retry=30ms", env=env)

    def run(self, case, env, what):
        child = self.start(case, env)
        segments = lambda: list((case.lake / "spill").glob("*.seg"))  # noqa: E731
        settle(child, lambda: "starting run=" in child.text())
        case.cli("config", "set", "min-replicas-to-write", 1)
        settle(child, lambda: sum(path.stat().st_size for path in segments()) > 3000)
        case.cli("config", "set", "min-replicas-to-write", 0)
        settle(child, lambda: self.drained(child.text()))
        self.forget(case)
        settle(child, lambda: case.cursor() >= self.sweep.last_cursor)
        writer = case.writer()
        settle(child, (case.lake / "spill" / "position").exists)
        if "BL_SHIM_UNDER" in env and env.get("BL_SHIM", "unlink").startswith("unlink"):  # a drained segment stays for ten seconds
            settle(child, lambda: not segments() or "shim: unlink" in child.text())  # one it cannot remove is read at the next start
        if child.alive():
            child.child.send_signal(signal.SIGTERM)
        code = child.child.wait(90)
        case.stop(writer)
        check_end(code, child.text(), what)

    @staticmethod
    def drained(text):
        """A segment that cannot be read is set aside, and upstream asked again for it."""
        return "everything that was spilled is in Redis" in text or ("asked again for the rest" in text and "breaker closed" in text)

    @staticmethod
    def forget(case):
        case.redis_process.kill()
        aof = max((case.redis_dir / "appendonlydir").glob("*.incr.aof"))
        with open(aof, "r+b") as file:
            file.truncate(aof.stat().st_size * 6 // 10)
        case.redis("--aof-load-truncated", "yes")

    def finish(self, case):
        case.finish("source.cursor=2026-01-05")
        case.verify_letters()


SCENARIOS = [Import, Compact, Write, Ingest, Spill]


class Sweep:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.simulator = Simulator(folder, COUNT, marks=MARKS)
        self.failures, self.lock = [], threading.Lock()
        self.file = self.folder / "events.ndjson"
        events = command("simulate", "--ndjson", f"--count={COUNT}").stdout
        self.file.write_text(events)
        self.last_cursor = max(json.loads(line)["time_us"] for line in events.splitlines())
        case = Case(self.folder / "fill", self.simulator)
        redis, ingest = case.redis(), case.ingest()
        wait_for("the buffer holds everything", lambda: case.cursor() >= self.last_cursor)
        case.stop(ingest)
        case.note_gap()
        redis.stop()
        case.socket.unlink(missing_ok=True)
        self.filled = case.redis_dir
        self.scattered = self.folder / "scattered"
        lines = events.splitlines(keepends=True)
        for part in range(2):
            piece = self.folder / f"piece{part}.ndjson"
            piece.write_text("".join(lines[part::2]))
            command("import", "--data", self.scattered, piece)

    def counts(self, scenario, calls):
        """How often the run makes each of these calls when nothing goes wrong."""
        found = {}
        for narrowed in {scenario.narrowed(call) for call in calls}:
            case = scenario.case(self.folder / f"{scenario.name}-count-{narrowed}")
            try:
                file = case.folder / "calls"
                scenario.run(case, shimmed(BL_SHIM_COUNT=file, **under(case, narrowed)), f"{scenario.name} without a fault")
                made = {line.split()[0]: int(line.split()[1]) for line in file.read_text().splitlines()}
                found.update({call: made[call] for call in calls if scenario.narrowed(call) == narrowed})
            finally:
                case.close()
        ends.codes.clear()
        return found

    def fault(self, scenario, call, at):
        case = None
        what = f"{scenario.name} {call}:{at}"
        try:
            case = scenario.case(self.folder / f"{scenario.name}-{call}-{at}")
            scenario.run(case, shimmed(BL_SHIM=f"{call}:{at}", **under(case, scenario.narrowed(call))), what)
            scenario.finish(case)
        except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as wrong:
            ends.look(str(wrong), what)
            with self.lock:
                self.failures.append(f"{what}: {wrong}")
        finally:
            if case:
                case.close()


def under(case, narrowed):
    return {"BL_SHIM_UNDER": case.lake} if narrowed else {}


def choose(total, most):
    if most is None or total <= most:
        return range(1, total + 1)
    return sorted({1 + round(i * (total - 1) / (most - 1)) for i in range(most)}) if most > 1 else [1 + total // 2]


def most_of(scenario, call, chosen):
    """How many of this class of calls are tried; None: all."""
    if not chosen.full:
        return chosen.most or (3 if isinstance(scenario, Import) else 1)
    if call == "alloc":
        return min((n for n in (scenario.most_allocations, chosen.allocations, chosen.most) if n), default=None)
    return chosen.most


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--full", action="store_true")
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--most", type=int, help="faults of each class")
    options.add_argument("--only", help="one scenario: " + ", ".join(s.name for s in SCENARIOS))
    options.add_argument("--allocations", type=int, help="allocations tried of each scenario, with --full")
    options.add_argument("--call", help="one class of calls, such as own")
    options.add_argument("--fault", help="one fault, such as alloc:17, with --only")
    chosen = options.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        sweep = Sweep(folder)
        try:
            scenarios = [s(sweep) for s in SCENARIOS if chosen.only in (None, s.name)]
            jobs, made = [], {}
            if chosen.fault:
                jobs = [(scenarios[0], *chosen.fault.split(":"))]
            for scenario in scenarios if not chosen.fault else []:
                calls = [call for call in scenario.faults if chosen.call in (None, call)]
                counts = sweep.counts(scenario, calls)
                made.update({f"{scenario.name} {call}": counts[call] for call in calls})
                jobs += [(scenario, call, at) for call in calls for at in choose(counts[call], most_of(scenario, call, chosen))]
            with concurrent.futures.ThreadPoolExecutor(chosen.workers) as pool:
                list(pool.map(lambda job: sweep.fault(*job), jobs))
        finally:
            sweep.simulator.close()
    names = [f"{scenario.name} {call}:{at}" for scenario, call, at in jobs]
    tried = collections.Counter(name.split(":")[0] for name in names)
    fired = collections.Counter(name.split(":")[0] for name in ends.fired)
    sweep.failures += [f"{name}: not one of {count} faults came" for name, count in tried.items() if not fired[name]]
    print(", ".join(f"{fired[name]} x {name}" + (f" of {made[name]}" if name in made else "") for name in tried))
    ends.report(names)
    print(f"{len(names) - len(sweep.failures)} passed, {len(sweep.failures)} failed in {time.monotonic() - started:.1f}s")
    print(f"fault sweep: {sum(fired.values())} faults came of {len(names)} tried, {len(sweep.failures)} failures, {time.monotonic() - started:.0f} s")
    for failure in sorted(sweep.failures):
        print("FAILED", failure)
    return 1 if sweep.failures else 0


if __name__ == "__main__":
    sys.exit(main())
