#!/usr/bin/env python3
"""Simulated events through the whole path while every role and Redis are killed with SIGKILL; then the lake is compared with the truth.

    tests/fault/kill.py --events 2000000 --kills 20 --seed 1

The simulator serves at full speed; ingest, writer, Redis and simulator die in turn and start again at once. Moments are drawn from the seed
and measured in events, not seconds, so that they lie spread over the run however fast it goes: ingest and simulator die by what has
reached Redis, the writer by what is in the lake, Redis by either. With --forget Redis comes back without the last second of what it had acknowledged, as everysec allows after a power cut:
the end of its append-only file is cut off. Exit code 0 when no event is missing, doubled or changed."""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import TYPES, World, run, wait_for  # noqa: E402

VICTIMS = ["ingest", "writer", "redis", "simulator"]
STALL_SECONDS = 60

FORGET_SECONDS = 1

Kill = collections.namedtuple("Kill", "victim measure at")
Done = collections.namedtuple("Done", "number second victim received written")


def plan(events, kills, seed):
    """Victims in turn, each at a random moment of the stretch in which it is busy."""
    chance = random.Random(seed)
    wanted = []
    for i in range(kills):
        victim = VICTIMS[i % len(VICTIMS)]
        by_lake = victim == "writer" or (victim == "redis" and chance.random() < 0.5)
        wanted.append(Kill(victim, "written" if by_lake else "received", chance.randint(events // 50, events * 49 // 50)))
    return sorted(wanted, key=lambda kill: kill.at)


def newest_start(process):
    """What the process has logged since it was started last."""
    return process.text()[process.log_before:]


class Crowd:
    """The four processes and how far they have come."""

    def __init__(self, world, events, sim_seed, forget=False):
        self.world = world
        self.forget = forget
        self.log_sizes = collections.deque()  # of the append-only file: (moment, path, bytes)
        self.has_past = False  # Redis' file holds a cursor to go back to
        self.members = {
            "redis": world.redis(),
            "simulator": world.simulator("--count", events, "--seed", sim_seed),
            "ingest": world.ingest("source.backoff_min=20ms", "source.backoff_max=200ms", "ingest.http=127.0.0.1:0"),
            "writer": world.writer("write.interval=500ms", "write.http=127.0.0.1:0"),
        }
        self.received = self.written = 0

    def measure(self):
        self.written = self.world.catalog_rows()
        self.received = max(self.received, self.world.buffered() or 0)
        self.watch_log()

    def watch_log(self):
        newest = max(self.world.redis_dir.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[2]), default=None)
        if newest and not self.has_past:
            start = newest.read_bytes()
            self.has_past = b"EXEC" in start[start.find(b"cursor_us"):] and b"cursor_us" in start
        if newest and self.has_past:
            self.log_sizes.append((time.monotonic(), newest, newest.stat().st_size))
        while self.log_sizes and self.log_sizes[0][0] < time.monotonic() - FORGET_SECONDS:
            self.log_sizes.popleft()

    def cut_log(self):
        """Redis' append-only file as it was a second ago; a file begun since stays, its predecessor may be gone already."""
        _, newest, _ = self.log_sizes[-1]
        os.truncate(newest, next(size for _, path, size in self.log_sizes if path == newest))
        self.log_sizes.clear()

    def kill(self, victim):
        member = self.members[victim]
        member.kill()
        if victim == "redis":
            self.world.socket.unlink(missing_ok=True)
            if self.forget:
                self.cut_log()
        member.start()

    def drained(self):
        """Every queue is empty and everybody has come up again."""
        lengths = [self.world.redis_cli("xlen", f"firehose:{name}:queue") for name in TYPES]
        return all(text == "0" for text in lengths) and all("health and metrics" in newest_start(self.members[n]) for n in ("ingest", "writer"))

    def check(self):
        for name, member in self.members.items():
            assert member.alive(), f"{name} ended by itself with {member.child.returncode}:\n{member.text()[-3000:]}"

    def last_words(self):
        return "\n".join(f"--- {name}\n{member.text()[-1500:]}" for name, member in self.members.items())


def drive(crowd, wanted, events, say):
    """Kill as planned until every event is in the lake."""
    done, start = [], time.monotonic()
    progress, progress_at = None, start
    while crowd.written < events or wanted:
        crowd.measure()
        crowd.check()
        due = next((kill for kill in wanted if getattr(crowd, kill.measure) >= kill.at and (crowd.has_past or kill.victim != "redis")), None)
        if due:
            wanted.remove(due)
            crowd.kill(due.victim)
            done.append(Done(len(done) + 1, time.monotonic() - start, due.victim, crowd.received, crowd.written))
            say("%4d  %7.2f s  %-10s  %12s  %12s" % (*done[-1][:3], f"{crowd.received:,}", f"{crowd.written:,}"))
            continue
        if (crowd.received, crowd.written) != progress:
            progress, progress_at = (crowd.received, crowd.written), time.monotonic()
        assert time.monotonic() - progress_at < STALL_SECONDS, f"nothing moves at {progress}:\n{crowd.last_words()}"
        time.sleep(0.01)
    return done


def survive(folder, events, kills, seed, forget=False, say=print):
    """The whole run in `folder`; returns what `bluelake verify` says about the lake."""
    world = World(folder)
    try:
        crowd = Crowd(world, events, seed, forget)
        say("kill     moment  victim          received       written")
        done = drive(crowd, plan(events, kills, seed), events, say)
        wait_for("the queues are empty", crowd.drained, STALL_SECONDS)
        for name in ("ingest", "writer"):
            code = crowd.members[name].stop()
            assert code == 0, f"{name} stopped with {code}:\n{crowd.members[name].text()[-3000:]}"
        buffer = ["--buffer", f"--set=redis.socket={world.socket}"]
        equation = run("verify", "--data", world.lake, *buffer, check=False)
        say(equation.stdout.rstrip())
        compared = run("verify", "--data", world.lake, "--against-simulator", f"seed={seed},count={events}", *buffer, "--json", check=False,
                       timeout=900)
        assert compared.returncode in (0, 3), compared.stderr
        result = json.loads(compared.stdout)
        result["kills"] = dict(collections.Counter(kill.victim for kill in done))
        result["findings"] = compared.stderr[-3000:] + equation.stdout[-3000:] if compared.returncode else ""
        return result
    finally:
        world.close()


def is_whole(result, events):
    wrong = [result[name] for name in ("problems", "missing", "twice", "different", "unexpected")]
    return not any(wrong) and result["rows"] == result["compared"] == events


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--events", type=int, default=2000000)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--forget", action="store_true", help="Redis loses its last second whenever it is killed")
    options.add_argument("--keep", metavar="DIR", help="work in this empty folder and leave it")
    o = options.parse_args()
    folder = o.keep or tempfile.mkdtemp(prefix="bluelake-kill-")
    try:
        result = survive(folder, o.events, o.kills, o.seed, o.forget, lambda line: print(line, flush=True))
    finally:
        if not o.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("kills: " + ", ".join(f"{count} {name}" for name, count in sorted(result["kills"].items())))
    print("%(rows)d rows; compared %(compared)d: %(missing)d missing, %(twice)d twice, %(different)d different, %(unexpected)d unexpected, "
          "%(problems)d problems" % result)
    if is_whole(result, o.events):
        print("PASSED: nothing was lost, nothing doubled, nothing changed")
        return 0
    print(result["findings"])
    print("FAILED")
    return 1


if __name__ == "__main__":
    sys.exit(main())
