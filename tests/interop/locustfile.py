"""A hundred readers of one lake, as Locust users. Run by load.py, which says where the server is (LOAD_HOST).

What they ask for is taken from the lake itself at the start: words by how often posts use them, authors, posts, times. It is taken from
before LOAD_END, from where on another network's events come in, so that nothing of it is deleted or hidden meanwhile. Each answer is
looked at, not only its status."""
import collections
import itertools
import json
import os
import random
import re

from locust import FastHttpUser, between, events, task

WORD = re.compile(r"[a-z]{3,}")
SAMPLE_PAGES = 20

words, weights, rare, authors, posts, days, views = [], [], [], [], [], [], []
moments = [0, 0]  # of the newest and the oldest post seen, as text
unseen = itertools.count(random.randrange(10 ** 9))


@events.test_start.add_listener
def learn(environment, **_):
    import urllib.request

    def ask(path):
        with urllib.request.urlopen(environment.host + path, timeout=60) as answer:
            return json.load(answer)

    end = os.environ["LOAD_END"]
    moments[:] = [ask("/status")["oldest"], end]
    counted, seen = collections.Counter(), {}
    cursor = ""
    for _ in range(SAMPLE_PAGES):
        page = ask(f"/search?limit=100&end={end}{cursor}")
        for post in page["results"]:
            seen[post["uri"]] = post
            counted.update(set(WORD.findall(post["text"].lower())))
        if not page["meta"]["next_cursor"]:
            break
        cursor = f"&cursor={page['meta']['next_cursor']}"
    ranked = counted.most_common()
    words[:] = [word for word, _ in ranked[:200]]
    weights[:] = [n for _, n in ranked[:200]]
    rare[:] = [word for word, n in ranked if n == 1]
    authors[:] = sorted({p["username"] for p in seen.values()} - {"handle.invalid"})  # many bear that
    posts[:] = sorted(seen)
    days[:] = sorted({p["timestamp"][:10] for p in seen.values()})
    views[:] = [view["name"] for view in ask("/views")["views"]]


def hour():
    """A stretch of one hour somewhere in the lake."""
    import datetime
    first, last = (datetime.datetime.fromisoformat(m.replace("Z", "+00:00")) for m in moments)
    start = first + random.random() * max(last - first - datetime.timedelta(hours=1), datetime.timedelta())
    return {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "end": (start + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}


def common():
    return random.choices(words, weights)[0]


class Reader(FastHttpUser):
    wait_time = between(1, 3)
    connection_timeout = network_timeout = 120

    def ask(self, path, name, check, **values):
        query = "&".join(f"{k}={self.quote(v)}" for k, v in values.items())
        with self.client.get(path + ("?" + query if query else ""), name=name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
                return None
            try:
                found = answer.json() if check else answer.content
                wrong = check(found) if check else None
            except Exception as broken:  # an answer that cannot be read is a failed request, whatever is wrong with it
                found, wrong = None, f"{type(broken).__name__}: {broken}"
            if wrong:
                answer.failure(wrong)
            return found

    @staticmethod
    def quote(text):
        import urllib.parse
        return urllib.parse.quote(str(text), safe="")

    def search(self, name, least=0, **values):
        def check(page):
            times = [r["timestamp"] for r in page["results"]]
            if times != sorted(times, reverse=True):
                return "not newest first"
            if len({r["uri"] for r in page["results"]}) != len(times):
                return "a post twice"
            return None if len(times) >= least else f"{len(times)} results: {page['meta']['note']}, {values}"
        return self.ask("/search", name, check, **values)

    @task(12)
    def search_common_word(self):
        word = common()
        page = self.search("search: common word", text=word)
        if page:
            assert all(word in r["text"].lower() for r in page["results"])

    @task(5)
    def search_two_words(self):
        self.search("search: two words", q=f"{common()} {common()}")

    @task(5)
    def search_rare_word(self):
        self.search("search: rare word", q=random.choice(rare))

    @task(2)
    def search_absent_word(self):
        page = self.search("search: absent word", q=f"qzx{next(unseen)}")
        if page:
            assert page["results"] == []

    @task(3)
    def search_with_operators(self):
        self.search("search: operators", q=f"{common()} lang:{random.choice(['en', 'ja', 'pt'])} -{common()}")

    @task(3)
    def search_an_hour(self):
        self.search("search: one hour", text=common(), **hour())

    @task(4)
    def turn_pages(self):
        page = self.search("search: newest", limit=50)
        seen = set()
        for _ in range(3):
            if not page or not page["meta"]["next_cursor"]:
                return
            uris = {r["uri"] for r in page["results"]}
            assert not uris & seen, "pages overlap"
            seen |= uris
            page = self.search("search: next page", limit=50, cursor=page["meta"]["next_cursor"])

    @task(3)
    def search_an_author(self):
        self.search("search: from an author", least=1, username=random.choice(authors))

    @task(3)
    def look_at_an_author(self):
        self.ask("/users/" + self.quote(random.choice(authors)), "users", lambda u: None if u["did"] else "no did")

    @task(3)
    def look_at_a_post(self):
        uri = random.choice(posts)
        with self.client.get("/posts/" + self.quote(uri), name="posts", catch_response=True) as answer:
            if answer.status_code != 200 or answer.json()["uri"] != uri:
                answer.failure(f"{answer.status_code}")

    @task(3)
    def count(self):
        self.ask("/counts", "counts", lambda c: None if c["total"] == sum(b["count"] for b in c["buckets"]) else "the sum is wrong", q=common())

    @task(2)
    def look_at_a_day(self):
        day = random.choice(days)
        self.ask("/stats/daily", "stats: a day", lambda d: None if d["date"] == day and d["total_posts"] >= d["unique_authors"] > 0 else f"{d}", date=day)

    @task(5)
    def look_at_a_view(self):
        self.ask("/views/" + random.choice(views), "views", lambda v: None if v["columns"] else "no columns")

    @task(3)
    def look_at_the_status(self):
        self.ask("/status", "status", lambda s: None if s["totals"]["rows"] > 0 else "empty")

    @task(1)
    def export_a_few(self):
        self.ask("/export", "export: one hour, one word", None, format=random.choice(["csv", "ndjson"]), q=common(), **hour())
