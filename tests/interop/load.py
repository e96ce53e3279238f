"""Many readers over a large lake while events come in: a simulated Jetstream, ingest, Redis, the writer and the server, all real, and
Locust in front. Needs build/venv (tests/interop/run.sh makes it).

    python load.py --users 100 --seconds 300 [--events 9200000] [--rate 1000]"""
import argparse
import csv
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import BINARY, REPO, World, free_port, get, run, wait_for  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
EVENTS = 9_200_000      # of these a ninth are posts: more than a million
MEMORY_LIMIT = 2 << 30


def import_simulated(lake, events):
    """The lake of so many simulated events: from the simulator's output straight into the files."""
    simulator = subprocess.Popen([BINARY, "simulate", "--ndjson", "--count", str(events)], stdout=subprocess.PIPE)
    try:
        subprocess.run([BINARY, "import", "--data", lake, "-"], stdin=simulator.stdout, check=True, stdout=subprocess.DEVNULL)
    finally:
        simulator.stdout.close()
        simulator.wait(60)


def resident(process, field="VmRSS"):
    with open(f"/proc/{process.child.pid}/status") as status:
        return int(re.search(rf"{field}:\s+(\d+) kB", status.read()).group(1)) * 1024


class Memory(threading.Thread):
    """The most a process had, looked at twice a second. Pss counts a page of a mapped file once, RSS once a mapping: each session maps
    the index for itself."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.pss, self.anonymous, self.stopped = process, 0, 0, threading.Event()

    def run(self):
        while not self.stopped.wait(0.5):
            with open(f"/proc/{self.process.child.pid}/smaps_rollup") as rollup:
                self.pss = max(self.pss, int(re.search(r"Pss:\s+(\d+) kB", rollup.read()).group(1)) * 1024)
            self.anonymous = max(self.anonymous, resident(self.process, "RssAnon"))


class Scene:
    """Everything at work over one lake."""

    def __init__(self, folder, events, rate):
        self.world = World(folder)
        self.rate = rate
        try:
            self.open(events)
        except BaseException:
            self.close()
            raise

    def open(self, events):
        w = self.world
        import_simulated(w.lake, events)
        self.server = self.serve()
        self.end = self.status()["newest"]
        newest = datetime.datetime.fromisoformat(self.end.replace("Z", "+00:00")) + datetime.timedelta(minutes=1)
        w.redis()
        w.simulator("--seed=2", f"--start={newest.strftime('%Y-%m-%dT%H:%M:%SZ')}", f"--rate={self.rate}", f"--network-rate={self.rate}")
        w.ingest("source.cursor=" + newest.strftime("%Y-%m-%dT%H:%M:%SZ"))
        w.writer("write.interval=5s")
        wait_for("the first events are in the lake", lambda: w.catalog_rows() > events, 120)
        wait_for("the views are there", lambda: get(self.port, "/views/most_liked", 60)[0] == 200, 600)

    def serve(self, *sets):
        w = self.world
        settings = [f"ingest.http=127.0.0.1:{w.ingest_port}", f"write.http=127.0.0.1:{w.write_port}", "serve.row_limit=0", *sets]
        server = w.add(BINARY, "serve", f"--data={w.lake}", "--http=127.0.0.1:0", *[f"--set={s}" for s in settings], log="serve.log")
        found = wait_for("the server's address", lambda: re.search(r"http://[\d.]+:(\d+)", server.text()) or not server.alive())
        assert found is not True, server.text()
        self.port = int(found.group(1))
        wait_for("the server is ready", lambda: get(self.port, "/ready")[0] == 200)
        return server

    def status(self):
        return json.loads(get(self.port, "/status", 60)[1])

    def close(self):
        self.world.close()


def locust(port, end, users, seconds, prefix):
    """Runs the readers; returns their rows of figures by name."""
    subprocess.run([sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING", "-f", HERE / "locustfile.py", "--host",
                    f"http://127.0.0.1:{port}", "-u", str(users), "-r", str(max(users // 10, 1)), "-t", f"{seconds}s", "--stop-timeout", "60", "--csv", prefix,
                    "--exit-code-on-error", "0"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=seconds + 300, env={**os.environ, "LOAD_END": end})
    with open(f"{prefix}_stats.csv", newline="") as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def failures(prefix):
    with open(f"{prefix}_failures.csv", newline="") as file, open(f"{prefix}_exceptions.csv", newline="") as thrown:
        return [*csv.DictReader(file), *csv.DictReader(thrown)]


def table(rows):
    lines = [f"{'request':28} {'requests':>8} {'failed':>6} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7} {'max ms':>7} {'req/s':>7}"]
    for name, row in sorted(rows.items(), key=lambda item: (item[0] == "Aggregated", item[0])):
        name = "all" if name == "Aggregated" else name
        lines.append(f"{name:28} {row['Request Count']:>8} {row['Failure Count']:>6} {row['50%']:>7} {row['95%']:>7} {row['99%']:>7} "
                     f"{float(row['Max Response Time']):>7.0f} {float(row['Requests/s']):>7.1f}")
    return "\n".join(lines)


def time_views(port):
    """Milliseconds of each view, asked for one after the other over one connection while nobody else asks, and not given from memory."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(path):
        start = time.monotonic()
        connection.request("GET", path)
        body = connection.getresponse().read()
        return (time.monotonic() - start) * 1000, body

    names = [view["name"] for view in json.loads(ask("/views")[1])["views"]]
    times = []
    for _ in range(3):
        time.sleep(1.1)  # longer than the server remembers them
        times += [ask("/views/" + name)[0] for name in names]
    return times


def measure(folder, users=100, seconds=60, events=EVENTS, rate=1000):
    """Prints the figures; returns what went wrong, as a list of texts."""
    scene = Scene(folder, events, rate)
    try:
        before = scene.status()
        memory = Memory(scene.server)
        memory.start()
        rows = locust(scene.port, scene.end, users, seconds, str(pathlib.Path(folder) / "locust"))
        after = scene.status()
        memory.stopped.set()
        memory.join()
        peak = resident(scene.server, "VmHWM")
        views = time_views(scene.port)
        wrong = [str(dict(row)) for row in failures(str(pathlib.Path(folder) / "locust"))]
        came = after["totals"]["rows"] - before["totals"]["rows"]
        posts = next(t["rows"] for t in after["types"] if t["type"] == "posts")
        print(f"\n{users} users for {seconds} s over {posts:,} posts ({after['totals']['rows']:,} events in {after['totals']['files']} files), "
              f"while {came:,} events came in ({came / seconds:.0f}/s, {after['snapshot'] - before['snapshot']} commits)")
        print(table(rows))
        print(f"server memory at most: RSS {peak / 2**20:.0f} MB with the pages of the index that are mapped; Pss {memory.pss / 2**20:.0f} MB; "
              f"its own {memory.anonymous / 2**20:.0f} MB", flush=True)
        print(f"a view, alone: median {statistics.median(views):.1f} ms, at most {max(views):.1f} ms (while events come in)", flush=True)
        if int(rows["Aggregated"]["Request Count"]) < users:
            wrong.append("hardly anything was asked")
        if came < seconds * rate / 4:
            wrong.append(f"only {came} events came in meanwhile")
        if peak >= MEMORY_LIMIT:
            wrong.append(f"the server needed {peak} bytes")
        for process in scene.world.processes:
            if not process.alive():
                wrong.append(f"{process.args[1]} ended: {process.text()[-500:]}")
        if wrong:
            print(scene.server.text()[-3000:])
        return wrong
    finally:
        scene.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rate", type=int, default=1000)
    options = parser.parse_args()
    place = REPO / "build/load"
    place.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(dir=place)
    try:
        wrong = measure(folder, options.users, options.seconds, options.events, options.rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for text in wrong:
        print("WRONG:", text)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
