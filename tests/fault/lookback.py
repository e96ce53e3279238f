"""Hosts that look back a few seconds only: what is lost then, and whether bluelake says so.

The time stamps of the simulated network are strictly increasing, so an event is known by its time alone. An event may be missing from the lake
only when its time lies strictly inside a gap on record that is not healed; a mark, which stands before its event, also on its edges."""
import bisect
import contextlib
import json
import sqlite3

from bench import command


class LookBack:
    def __init__(self, lake, seed, network_rate, query):
        self.lake, self.seed, self.network_rate, self.query = lake, seed, network_rate, query
        self.times = []  # of every event, in order; made as far as it was needed

    def need(self, count):
        if count > len(self.times):
            lines = command("simulate", "--ndjson", f"--seed={self.seed}", f"--network-rate={self.network_rate}", f"--first={len(self.times)}",
                            f"--count={count - len(self.times)}", timeout=600).stdout.splitlines()
            self.times += [json.loads(line)["time_us"] for line in lines]

    def open_gaps(self):
        """[from, to] of those not healed, joined where they overlap."""
        joined = []
        with contextlib.closing(sqlite3.connect(f"file:{self.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10)) as db:
            rows = db.execute("SELECT from_us, to_us FROM gaps WHERE NOT healed ORDER BY from_us").fetchall()
        for start, end in rows:
            if joined and start < joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        return joined

    def reached(self, count):
        """The lake holds something as new as the last of the first `count` events."""
        self.need(count)
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.lake}/catalog.sqlite?mode=ro", uri=True, timeout=10)) as db:
                return (db.execute("SELECT max(max_us) FROM files").fetchone()[0] or 0) >= self.times[count - 1]
        except sqlite3.OperationalError:
            return False

    @staticmethod
    def outside(numbered, gaps, edges=False):
        """The numbers of those whose time is in no gap."""
        starts = [start for start, _ in gaps]
        found = []
        for number, at in numbered:
            i = bisect.bisect_right(starts, at) - 1
            inside = i >= 0 and (gaps[i][0] <= at <= gaps[i][1] if edges else gaps[i][0] < at < gaps[i][1])
            if not inside:
                found.append(number)
        return found

    def judge(self, count, missing, marks_missing):
        """(what is wrong, a sentence): exactly what the open gaps cover may be missing."""
        self.need(count)
        kept = {at for at, in self.query("SELECT time_us FROM events")}
        lost = [(i, at) for i, at in enumerate(self.times[:count]) if at not in kept]
        gaps, wrong = self.open_gaps(), []
        unsaid = self.outside(lost, gaps)
        if unsaid:
            wrong.append(f"{len(unsaid)} events missing that no open gap covers: {[(i, self.times[i]) for i in unsaid[:5]]} of gaps {gaps[:5]}")
        if len(lost) != missing:
            wrong.append(f"{len(lost)} time stamps are missing, verify says {missing}")
        silent = self.outside([(mark, self.times[mark]) for mark in sorted(marks_missing)], gaps, edges=True)
        if silent:
            wrong.append(f"dead letters: marks missing outside of gaps: {silent[:20]}")
        told = f"{len(lost)} of {count} events and {len(marks_missing)} marks missing: all inside {len(gaps)} open gaps"
        return wrong, told if not wrong else ""
