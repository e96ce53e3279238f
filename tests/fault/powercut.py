#!/usr/bin/env python3
"""Power cuts: the file system under lake, Redis and spill is shut down without flushing its journal while everything runs, again and
again; what had not been fsynced is gone. In the end nothing may be missing, twice or different.

    tests/fault/powercut.py [--rounds N]
Needs root, a loop device and ext4. Exit code 77 where they are not to be had, after saying "skipped: why"."""
import argparse
import fcntl
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from bench import Case, Simulator, wait_for

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
SKIPPED = 77  # the exit code that means so to CTest and automake


def tool(*args):
    try:
        return subprocess.run([str(a) for a in args], capture_output=True, text=True)
    except FileNotFoundError as missing:
        return subprocess.CompletedProcess(args, 127, "", str(missing))


class Disk:
    def __init__(self, folder):
        self.image, self.mount = folder / "disk.img", folder / "disk"
        self.mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(4 << 30)  # nothing is spilled onto less than 1 GB

    def make(self):
        """Why it cannot be had; empty when it is there."""
        made = tool("mkfs.ext4", "-q", "-F", self.image)
        return self.attach() if made.returncode == 0 else f"no ext4: {made.stderr.strip()}"

    def attach(self):
        done = tool("mount", "-o", "loop", self.image, self.mount)
        return "" if done.returncode == 0 else f"no mount: {done.stderr.strip() or done.returncode}"

    def cut_power(self):
        with open(self.mount / "anchor", "w") as anchor:
            fcntl.ioctl(anchor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))

    def detach(self):
        wait_for("the file system can be unmounted", lambda: tool("umount", self.mount).returncode == 0, 30)


def start_redis(case):
    """After a power cut the tail of the append-only file may be anything; Redis then wants it cut off (`bluelake up` does the same)."""
    child = case.redis("--aof-load-truncated", "yes", wait=False)
    wait_for("Redis accepts or gives up", lambda: not child.alive() or case.cli("ping") == "PONG")
    if child.alive():
        return
    assert "Bad file format" in child.text(), child.text()[-1500:]
    manifest = case.redis_dir / "appendonlydir" / "appendonly.aof.manifest"
    subprocess.run(["redis-check-aof", "--fix", str(manifest)], input="y\n", text=True, check=True, capture_output=True)
    child.log.unlink()
    case.redis("--aof-load-truncated", "yes")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=60000)
    chosen = options.parse_args()
    rng, started = random.Random(chosen.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="powercut-") as name:
        folder = pathlib.Path(name)
        disk = Disk(folder)
        if why := disk.make():
            print(f"skipped: {' '.join(why.split())}")
            return SKIPPED
        simulator = Simulator(folder, chosen.count, "--rate=15000")
        case = Case(disk.mount / "case", simulator)
        lost = []
        try:
            for _ in range(chosen.rounds):
                start_redis(case)
                roles = [case.ingest("source.cursor=2026-01-05"), case.writer()]
                rows = case.rows()
                wait_for("the lake grows", lambda: case.rows() > rows or case.rows() >= chosen.count)
                time.sleep(rng.uniform(0, 1.5))  # the moment is what is random here
                before = case.rows()
                disk.cut_power()
                for child in case.children:
                    child.close()
                case.children.clear()
                disk.detach()
                why = disk.attach()
                assert not why, f"the file system does not come back: {why}"
                after = case.rows()
                assert after >= before, f"{before} rows were committed, {after} are left"
                lost.append(roles)
            start_redis(case)
            ingest, writer = case.ingest("source.cursor=2026-01-05"), case.writer()
            wait_for("everything is in the lake", lambda: case.rows() >= chosen.count, 120)
            case.stop(ingest, writer)
            case.verify()
        finally:
            case.close(keep=True)
            simulator.close()
            disk.detach()
    print(f"power cuts: {len(lost)} survived, {chosen.count} events, 0 missing, 0 twice, 0 different, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
