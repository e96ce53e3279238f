"""Readers beside a collection under chaos: a process of its own asks `bluelake serve` one question after the other and judges each answer.

What is asked follows from the seed, reader by reader; when, from the machine. What holds for every answer:

* 200, or, while the server is in trouble (killed, stopped, its disk failing, or not ready again yet), a documented 503 or 504 or a broken
  connection. Trouble is declared by whoever makes it, before it begins and until the server is ready again.
* An export is whole: its trailers hold its count and SHA-256. Nothing is in an answer, or in a walk over pages, twice; newest first.
* What an answer of snapshot S held, every answer to the same question of snapshot S or later holds, but for posts that were deleted or
  hidden: those an answer lacks are handed back, to be looked up in the lake at the end.
* Answers to the same question of the same snapshot hold equally many, /counts among them.
* No answer is older than one that was complete LATEST seconds before it was asked for."""
import collections
import hashlib
import json
import multiprocessing
import pathlib
import random
import re
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from api import Broken, ask, send, target  # noqa: E402

READERS = 3
LATEST = 6            # seconds; an answer may be given again for two of them (serve.cache_ttl)
PAUSES = (0.05, 0.6)  # between two questions of a reader
TIMEOUT = 90
REFUSALS = {503: {"busy", "not_ready", "stopping", "unreadable"}, 504: {"deadline"}}
WORDS = ["umbrella", "soup", "bakery", "pluie", "sopa", "café", "#nature", "#astronomy", "楽しみ", "train"]
STREAM_START = 1767571200  # 2026-01-05, the simulator's first event


class Wrong(Exception):
    """An answer that must not be."""


def hour(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(STREAM_START + seconds))


class Known:
    """What the answers so far held, shared by the readers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.found = collections.defaultdict(dict)  # question -> uri -> (timestamp, lowest snapshot it was found at)
        self.totals = {}                            # (question, snapshot) -> how many posts
        self.missed = {}                            # uri -> what lacked it
        self.newest = collections.deque([(0.0, 0)])  # (when complete, highest snapshot until then)

    def posts(self, question, snapshot, posts, reaches):
        """`posts` {uri: timestamp} is all the question finds at this snapshot, from the moment `reaches` on ("": all)."""
        with self.lock:
            found = self.found[question]
            for uri, (timestamp, seen) in found.items():
                if seen <= snapshot and timestamp > reaches and uri not in posts:
                    self.missed.setdefault(uri, f"found by {question} at snapshot {seen}, not at {snapshot}")
            for uri, timestamp in posts.items():
                seen = found.get(uri)
                found[uri] = (timestamp, min(snapshot, seen[1]) if seen else snapshot)

    def total(self, question, snapshot, total):
        with self.lock:
            before = self.totals.setdefault((question, snapshot), total)
        if before != total:
            raise Wrong(f"{question} at snapshot {snapshot}: {total} posts, and {before} in another answer")

    def floor(self, asked):
        """What was the newest snapshot answered a while before."""
        with self.lock:
            while len(self.newest) > 1 and self.newest[1][0] < asked - LATEST:
                self.newest.popleft()
            when, snapshot = self.newest[0]
            return snapshot if when < asked - LATEST else 0

    def answered(self, snapshot):
        with self.lock:
            if snapshot > self.newest[-1][1]:
                self.newest.append((time.monotonic(), snapshot))

    def any_uri(self, rng, floor):
        """One that every answer from now on must know."""
        with self.lock:
            question = rng.choice(list(self.found)) if self.found else None
            uris = [uri for uri, (_, seen) in self.found[question].items() if seen <= floor] if question else []
        return rng.choice(uris) if uris else None


class Reader:
    """One user: asks, checks, pauses."""

    def __init__(self, number, port, seed, began, speed, shared, known):
        self.rng = random.Random(f"{seed}/reader {number}")
        self.port, self.began, self.speed, self.shared, self.known = port, began, speed, shared, known
        self.counted = collections.Counter()

    # ---- answers ----

    def excused(self, asked):
        with self.shared.trouble.get_lock():
            return self.shared.trouble.value > asked

    def refused(self, answer, where):
        """A refusal must be documented, whatever the trouble."""
        try:
            code = json.loads(answer.body)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            code = answer.body[:200]
        if code not in REFUSALS.get(answer.status, ()):
            raise Wrong(f"{where}: {answer.status} {code}")
        self.counted[f"{answer.status} {code}"] += 1

    def get(self, path, **values):
        """The answer and its snapshot, if it was answered."""
        where, asked = target(path, **values), time.monotonic()
        try:
            answer = ask(self.port, where, timeout=TIMEOUT)
        except (OSError, Broken, ValueError, IndexError) as broken:  # nothing at all, or half of it
            if not self.excused(asked):
                raise Wrong(f"{where}: {broken!r} after {time.monotonic() - asked:.1f} s") from broken
            self.counted["broken"] += 1
            return None
        if answer.status in (200, 404):
            self.counted[f"{path.split('/')[1]} {answer.status}"] += 1
            return answer
        self.refused(answer, where)
        if not self.excused(asked):
            raise Wrong(f"{where}: {answer.status} {answer.body[:300]} though nothing troubles the server")
        return None

    def fresh(self, snapshot, asked, where):
        floor = self.known.floor(asked)
        if snapshot < floor and not self.excused(asked):
            raise Wrong(f"{where}: an answer of snapshot {snapshot}, {floor} was answered {LATEST} s before it was asked for")
        self.known.answered(snapshot)

    # ---- questions ----

    def question(self):
        """A word, and all of time or one hour of it, over or not."""
        word, hours = self.rng.choice(WORDS), int((time.time() - self.began) * self.speed) // 3600
        chosen = self.rng.randint(0, hours)
        if self.rng.random() < 0.3:
            return word, "", ""
        return word, hour(chosen * 3600), hour(chosen * 3600 + 3599)

    @staticmethod
    def values(question, **more):
        return {**{k: v for k, v in zip(("text", "start", "end"), question) if v}, **more}

    @staticmethod
    def listed(posts, where, after=None):
        """{uri: timestamp} of a list that must be newest first, without repetitions."""
        times = [post["timestamp"] for post in posts]
        if times != sorted(times, reverse=True) or (after and times and times[0] > after):
            raise Wrong(f"{where}: not newest first")
        uris = {post["uri"]: post["timestamp"] for post in posts}
        if len(uris) != len(posts):
            twice = [uri for uri, n in collections.Counter(post["uri"] for post in posts).items() if n > 1]
            raise Wrong(f"{where}: {twice[:3]} more than once")
        return uris

    def search(self):
        question, asked = self.question(), time.monotonic()
        limit = self.rng.choice([10, 50, 100])
        answer = self.get("/search", **self.values(question, limit=limit))
        if not answer or answer.status != 200:
            return
        body, where = json.loads(answer.body), f"/search {question}"
        posts = self.listed(body["results"], where)
        if body["meta"]["truncated"] or len(posts) > limit:
            raise Wrong(f"{where}: {body['meta']}")
        self.fresh(body["meta"]["snapshot"], asked, where)
        reaches = body["results"][-1]["timestamp"] if body["meta"]["has_more"] else ""
        self.known.posts(question, body["meta"]["snapshot"], posts, reaches)

    def walk(self):
        """A few pages; what comes in meanwhile must not shift them."""
        question, cursor, seen, last = self.question(), None, set(), None
        for _ in range(self.rng.randint(2, 5)):
            answer = self.get("/search", **self.values(question, limit=20, **({"cursor": cursor} if cursor else {})))
            if not answer or answer.status != 200:
                return
            body, where = json.loads(answer.body), f"pages of {question}"
            posts = self.listed(body["results"], where, last)
            if seen & set(posts):
                raise Wrong(f"{where}: {sorted(seen & set(posts))[:3]} on two pages")
            seen |= set(posts)
            cursor = body["meta"]["next_cursor"]
            if not body["meta"]["has_more"]:
                return
            last = body["results"][-1]["timestamp"]

    def export(self):
        question, asked = self.question(), time.monotonic()
        answer = self.get("/export", **self.values(question, format="ndjson"))
        if not answer or answer.status != 200:
            return
        where, snapshot = f"/export {question}", int(answer.headers["x-snapshot"])
        posts = [json.loads(line) for line in answer.body.splitlines()]
        if answer.trailers.get("x-content-sha256") != hashlib.sha256(answer.body).hexdigest() or int(answer.trailers["x-row-count"]) != len(posts):
            raise Wrong(f"{where}: {len(posts)} posts, trailers {answer.trailers}")
        self.fresh(snapshot, asked, where)
        self.known.posts(question, snapshot, self.listed(posts, where), "")
        self.known.total(question, snapshot, len(posts))

    def counts(self):
        question, asked = self.question(), time.monotonic()
        answer = self.get("/counts", **self.values(question, bucket="hour"))
        if not answer or answer.status != 200:
            return
        body, where = json.loads(answer.body), f"/counts {question}"
        if body["partial"] or sum(bucket["count"] for bucket in body["buckets"]) != body["total"]:
            raise Wrong(f"{where}: {str(body)[:500]}")
        self.fresh(body["snapshot"], asked, where)
        self.known.total(question, body["snapshot"], body["total"])

    def post(self):
        """One that was found before."""
        asked = time.monotonic()
        uri = self.known.any_uri(self.rng, self.known.floor(asked))
        answer = self.get("/posts/" + urllib.parse.quote(uri, safe="")) if uri else None
        if answer and answer.status == 404:
            if self.excused(asked):
                return
            with self.known.lock:
                self.known.missed.setdefault(uri, "found by a search, not by /posts")
        elif answer and json.loads(answer.body)["uri"] != uri:
            raise Wrong(f"/posts {uri}: {answer.body[:300]}")

    def other(self):
        where = self.rng.choice(["/status", "/views", "/gaps", "/stats/daily?date=2026-01-05"])
        answer = self.get(where)
        if answer and answer.status != 200:
            raise Wrong(f"{where}: {answer.status}")
        if answer:
            json.loads(answer.body)

    def live(self):
        ways = [self.search, self.walk, self.export, self.counts, self.post, self.other]
        while not self.shared.over.is_set() and multiprocessing.parent_process().is_alive():
            try:
                self.rng.choices(ways, [5, 2, 3, 2, 2, 1])[0]()
            except Wrong as wrong:
                self.shared.wrong.put(str(wrong)[:2000])
            except Exception as strange:  # an answer of another shape
                self.shared.wrong.put(f"{type(strange).__name__}: {strange}"[:2000])
            with self.shared.answers.get_lock():
                self.shared.answers.value = max(self.shared.answers.value, self.known.newest[-1][1])
            self.shared.over.wait(self.rng.uniform(*PAUSES))


class Shared:
    """Between the run and its readers."""

    def __init__(self, context):
        self.trouble = context.Value("d", 0.0)   # until when (CLOCK_MONOTONIC) the server may be in trouble
        self.answers = context.Value("q", 0)     # the newest snapshot answered
        self.over, self.wrong, self.results = context.Event(), context.Queue(), context.Queue()


def read(port, seed, began, speed, shared):
    """The readers' process."""
    known = Known()
    readers = [Reader(n, port, seed, began, speed, shared, known) for n in range(READERS)]
    threads = [threading.Thread(target=reader.live, daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.results.put((sum((reader.counted for reader in readers), collections.Counter()), known.missed,
                        len(set().union(*known.found.values())), len(known.totals)))


class Readers:
    """The run's end of them. Trouble must be declared before it is made."""

    GRACE = 8  # seconds after the server says it is ready: a worker may still hold what failed

    def __init__(self, port, seed, began, speed):
        context = multiprocessing.get_context("spawn")
        self.shared = Shared(context)
        self.declare()
        self.process = context.Process(target=read, args=(port, seed, began, speed, self.shared), daemon=True)
        self.process.start()
        self.troubled = True

    def declare(self):
        """From now on, until `ready`, refusals are to be expected."""
        self.troubled = True
        with self.shared.trouble.get_lock():
            self.shared.trouble.value = float("inf")

    def ready(self):
        self.troubled = False
        with self.shared.trouble.get_lock():
            self.shared.trouble.value = time.monotonic() + self.GRACE

    def newest(self):
        """The newest snapshot that was answered."""
        return self.shared.answers.value

    def wrong(self):
        found = []
        while not self.shared.wrong.empty():
            found.append(self.shared.wrong.get())
        return found

    def finish(self):
        """(answers by kind, {uri: what lacked it}, posts found, totals compared)"""
        self.shared.over.set()
        result = self.shared.results.get(timeout=2 * TIMEOUT)
        self.process.join(30)
        return result

    def close(self):
        if self.process.is_alive():
            self.process.kill()
            self.process.join(30)


def export_all(port):
    """(uris of everything the server shows, snapshot), read as it comes."""
    sock, reader = send(port, "/export?format=ndjson", timeout=TIMEOUT)
    with sock:
        lines = reader.head()
        assert " 200 " in lines[0], lines[0]
        snapshot = int(next(line.split(":")[1] for line in lines if line.lower().startswith("x-snapshot:")))
        digest, uris, rest = hashlib.sha256(), [], b""
        for chunk in reader.chunks():
            digest.update(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            uris += [json.loads(line)["uri"] for line in whole]
        trailers = "\n".join(reader.head())
    assert not rest and digest.hexdigest() in trailers and re.search(rf"(?i)x-row-count: *{len(uris)}\b", trailers), trailers
    return uris, snapshot
