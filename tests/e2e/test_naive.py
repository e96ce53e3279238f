"""Searches through the HTTP API against a naive scan over `bluelake export`: the meaning of docs/SEARCH.md written down a second time."""
import concurrent.futures
import datetime
import json
import random
import re
import unicodedata

import pytest

from harness import run
from test_api import Server

QUERIES, PLANTED, SIMULATED, USERS = 520, 3000, 20000, 4
MICRO, START = 1_000_000, datetime.datetime(2026, 11, 20, tzinfo=datetime.timezone.utc)
START_US = int(START.timestamp()) * MICRO
STEP_US = 30 * MICRO  # so that PLANTED posts fill a day and an hour
POST = "app.bsky.feed.post"

# ---- a lake with everything a search can be about ----

WORDS = ["cat", "Cat", "CATS", "bobcats", "dog", "Dogma", "café", "CAFÉ", "cafe", "e\u0301te\u0301", "été", "100%", "1000", "a_b", "axb", "back\\slash", "\U0001f389", "ΣΑΣ", "σας",
         "\u212Aelvin", "kelvin", "İzmir", "izmir", "straße", "STRASSE", "猫", "猫が好き", "แมว", "it's", "say \"hi\"", "(y)", ".*", "x+y", "end$", "a|b", "10:30", "OR", "AND", "--", "don't",
         "cat_", "(cat)", "#caturday", "#Art!", "#猫", "#1", "＃Été", "https://example.com/page", "snake-case", "мир", "МИР"]
NEEDLES = ["cat", "CAT", "ats", "dog", "é", "É", "caf", "café", "%", "100", "_", "a_b", "\\", "\U0001f389", "σας", "Σα", "k", "KELVIN", "i", "ß", "ss", "猫", "แ", "it's", '"hi"', "(y)", ".*",
           "+", "$", "|", "10:30", "OR", "AND", "example.com", "#cat", "cat_", "мир", "e\u0301", "cat dog", "t d", "the", "coffee", "a"]
ACCOUNTS = [f"did:plc:{letter * 24}" for letter in "abcdefg"] + ["did:web:dave.example.com"]
LANGS = ["en", "en-GB", "EN", "de", "pt-BR", "pt", "ja"]
TAGS = ["caturday", "Art", "猫", "ÉTÉ", "été", "x-y"]
LINKS = ["https://example.com", "https://www.example.com/a?b#c", "http://notexample.com/example.com", "https://EXAMPLE.com:8080/x", "https://example.com@evil.test/",
         "https://evil.test/?u=https://example.com", "https://user@example.com/", "https://example.com:1@evil.test/", "https://exampleXcom/", "https://a.test", "https://a.test/%C3%89"]


def picture(kind):
    return {"$type": f"app.bsky.embed.{kind}"}


def embeds(r):
    quoted = {"uri": f"at://{r.choice(ACCOUNTS)}/{POST}/q", "cid": "x"}
    card = {"$type": "app.bsky.embed.external", "external": {"uri": r.choice(LINKS), "title": "t", "description": ""}}
    quote = {"$type": "app.bsky.embed.record", "record": quoted}
    both = {"$type": "app.bsky.embed.recordWithMedia", "record": quote, "media": r.choice([picture("images"), picture("video"), card])}
    return r.choice([None, None, None, picture("images"), picture("video"), card, quote, both])


def feature(kind, name, value):
    return {"index": {"byteStart": 0, "byteEnd": 1}, "features": [{"$type": f"app.bsky.richtext.facet#{kind}", name: value}]}


def facets(r):
    some = [feature("link", "uri", r.choice(LINKS)), feature("mention", "did", r.choice(ACCOUNTS)), feature("tag", "tag", r.choice(TAGS))]
    return r.sample(some, r.randrange(4))


def record(r):
    made = {"$type": POST, "createdAt": "2026-11-20T00:00:00.000Z", "text": " ".join(r.choices(WORDS, k=r.randrange(1, 7)))}
    made |= {"langs": r.sample(LANGS, r.randrange(1, 3))} if r.random() < 0.7 else {}
    made |= {"facets": facets(r)} if r.random() < 0.5 else {}
    made |= {"tags": [r.choice(TAGS)]} if r.random() < 0.2 else {}
    made |= {"embed": e} if (e := embeds(r)) else {}
    if r.random() < 0.25:
        uri = r.choice([*ACCOUNTS, ACCOUNTS[0][:-1]])
        made["reply"] = {"root": {"uri": f"at://{uri}/{POST}/0", "cid": "x"}, "parent": {"uri": f"at://{uri}/{POST}/0", "cid": "x"}}
    return made


def commit(did, us, operation, rkey, made=None):
    body = {"rev": f"r{us}", "operation": operation, "collection": POST, "rkey": rkey}
    return {"did": did, "time_us": us, "kind": "commit", "commit": body | ({"record": made, "cid": "x"} if made else {})}


def told(kind, did, us, **more):
    return {"did": did, "time_us": us, "kind": kind, kind: {"did": did, "seq": us, "time": "2026-11-20T00:00:00Z", **more}}


def planted(r):
    """Posts, edits, deletes, posts of one microsecond, accounts that go and come, handles that change their bearer."""
    events, alive = [], []
    for i in range(PLANTED):
        us = START_US + i * STEP_US
        dice = r.random()
        if alive and dice < 0.12:
            did, rkey = alive.pop(r.randrange(len(alive)))
            edit = r.random() < 0.5
            events.append(commit(did, us, "update", rkey, record(r)) if edit else commit(did, us, "delete", rkey))
            alive += [(did, rkey)] if edit else []
            continue
        for k in range(2 if dice > 0.97 else 1):  # two of one microsecond
            did = r.choice(ACCOUNTS)
            events.append(commit(did, us, "create", f"p{i}{'ab'[k]}", record(r)))
            alive.append((did, f"p{i}{'ab'[k]}"))
    end = START_US + PLANTED * STEP_US
    for n, did in enumerate(ACCOUNTS):
        events.append(told("identity", did, START_US + n, handle=f"user{n}.example.com"))
    events += [told("identity", ACCOUNTS[1], end + 1, handle="Moved.Example.Com"), told("identity", ACCOUNTS[2], end + 2, handle="user1.example.com"),
               told("account", ACCOUNTS[3], end + 3, active=False, status="takendown"), told("account", ACCOUNTS[4], end + 4, active=False, status="deactivated"),
               told("account", ACCOUNTS[4], end + 5, active=True)]
    return events


def add(folder, events):
    file = folder / "piece.ndjson"
    file.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events))
    run("import", "--data", folder / "lake", file)
    file.unlink()


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Made in pieces: a part merged, a part late, a part repeated."""
    folder, r = tmp_path_factory.mktemp("naive"), random.Random(20261121)
    events = planted(r)
    simulated = run("simulate", "--ndjson", "--count", SIMULATED, "--network-rate", 10, "--start", "2026-11-20").stdout.splitlines()
    late = [e for i, e in enumerate(events) if i % 10 == 3]
    add(folder, [e for i, e in enumerate(events) if i % 10 != 3] + [json.loads(line) for line in simulated])
    run("compact", "--data", folder / "lake")
    add(folder, late)
    add(folder, events[:500])
    return folder / "lake"


# ---- what an export says, and the naive reading of it ----


def fold(text):
    return "".join("i" if c == "İ" else c.lower() if len(c.lower()) == 1 else c for c in text)


UNSPACED = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def of_word(c):
    return c == "_" or unicodedata.category(c)[0] in "LMN" and not unicodedata.name(c, "").startswith(UNSPACED)


def alone(text, at, needle):
    end = at + len(needle)
    starts = not of_word(needle[0]) or at == 0 or not of_word(text[at - 1])
    return starts and (not of_word(needle[-1]) or end == len(text) or not of_word(text[end]))


def holds(text, needle, exact):
    if not exact:
        return fold(needle) in fold(text)
    return any(alone(text, m.start(), needle) for m in re.finditer(f"(?={re.escape(needle)})", text))


def is_punctuation(c):
    return unicodedata.category(c)[0] == "P" or c < "\x7f" and not c.isalnum()


def tags_of_text(text):
    """Behind a # that stands at the start or after a blank or a mark, up to a blank or the next #, without marks at its end."""
    found, at, free = [], 0, True
    while at < len(text):
        c, at = text[at], at + 1
        if not (free and c in "#＃"):
            free = c.isspace() or is_punctuation(c)
            continue
        end = at
        while end < len(text) and not text[end].isspace() and text[end] not in "#＃":
            end += 1
        tag, at = text[at:end], end
        while tag and is_punctuation(tag[-1]):
            tag = tag[:-1]
        if any(not is_punctuation(c) and c not in "0123456789" for c in tag) and not tag.startswith("\ufe0f"):
            found.append(tag)
    return found


class Row:
    def __init__(self, event):
        made = event["commit"]["record"]
        self.us, self.did, self.rkey, self.text = event["time_us"], event["did"], event["commit"]["rkey"], made.get("text", "")
        self.uri = f"at://{self.did}/{POST}/{self.rkey}"
        features = [f for facet in made.get("facets") or [] for f in facet["features"]]
        embed = made.get("embed") or {}
        media = embed.get("media", {}) if embed.get("$type", "").endswith("recordWithMedia") else embed
        cards = [media["external"]["uri"]] if "external" in media else []
        of = lambda kind, name: [f[name] for f in features if f["$type"].endswith("#" + kind)]
        self.links, self.mentions, self.langs = of("link", "uri") + cards, of("mention", "did"), made.get("langs") or []
        self.tags = {fold(t.removeprefix("#")) for t in of("tag", "tag") + (made.get("tags") or []) + tags_of_text(self.text)}
        quoted = embed.get("record") or {}
        self.has = {"image": media.get("$type", "").endswith((".images", ".gallery")), "video": media.get("$type", "").endswith(".video"), "link": bool(self.links),
                    "quote": "uri" in quoted or "uri" in quoted.get("record", {}), "reply": "reply" in made}
        self.parent = made.get("reply", {}).get("parent", {}).get("uri", "")


def host_of(link):
    found = re.match(r"[a-z][a-z0-9+.-]*://([^/?#]*)", link, re.I)
    return re.sub(r":[0-9]*$", "", found.group(1).rpartition("@")[2]).lower() if found else ""


class Naive:
    """Every post that may be shown, newest first, and who bears which handle."""

    def __init__(self, lake):
        events = [json.loads(line) for line in run("export", "--data", lake).stdout.split("\n") if line]
        self.exported = len(events)
        posts = [e for e in events if e.get("commit", {}).get("collection") == POST]
        changed, active, handles = {}, {}, {}
        for e in sorted(posts, key=lambda e: e["time_us"]):
            if e["commit"]["operation"] != "create":
                changed[e["did"], e["commit"]["rkey"]] = e["time_us"]
        for e in sorted((e for e in events if e["kind"] in ("account", "identity")), key=lambda e: (e["time_us"], e[e["kind"]].get("seq", 0))):
            if e["kind"] == "account":
                active[e["did"]] = e["account"]["active"]
            elif e["identity"].get("handle"):
                handles[e["did"]] = e["identity"]["handle"].lower()
        self.bearers = {}
        for did, handle in handles.items():
            self.bearers.setdefault(handle, set()).add(did)
        kept = (e for e in posts if "record" in e["commit"] and changed.get((e["did"], e["commit"]["rkey"]), 0) <= e["time_us"] and active.get(e["did"], True))
        self.rows = sorted((Row(e) for e in kept), key=lambda row: (-row.us, row.did, row.rkey))

    def who(self, account):
        account = account.removeprefix("@")
        return {account} if account.startswith("did:") else self.bearers.get(account.lower(), set())

    def true(self, row, question, exact):
        kind, value = question
        if kind == "and":
            return all(self.true(row, q, exact) for q in value)
        if kind == "or":
            return any(self.true(row, q, exact) for q in value)
        if kind == "not":
            return not self.true(row, value, exact)
        return TERMS[kind](self, row, value, exact)


def range_end(value):
    return moment(value) + (24 * 3600 * MICRO - 1 if len(value) == 10 else 0)


def moment(value):
    when = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    when = when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)
    return (when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


TERMS = {
    "word": lambda n, row, value, exact: holds(row.text, value, exact),
    "phrase": lambda n, row, value, exact: holds(row.text, value, exact),
    "#": lambda n, row, value, exact: fold(value) in row.tags,
    "from": lambda n, row, value, exact: row.did in n.who(value),
    "mentions": lambda n, row, value, exact: bool(n.who(value) & set(row.mentions)),
    "to": lambda n, row, value, exact: any(row.parent.startswith(f"at://{did}/") for did in n.who(value)),
    "lang": lambda n, row, value, exact: any(f"{one.lower()}-".startswith(f"{value.lower()}-") for one in row.langs),
    "since": lambda n, row, value, exact: row.us >= moment(value),
    "until": lambda n, row, value, exact: row.us <= range_end(value),
    "domain": lambda n, row, value, exact: any(f".{host_of(link)}".endswith(f".{value.lower()}") for link in row.links),
    "url": lambda n, row, value, exact: any(fold(value) in fold(link) for link in row.links),
    "has": lambda n, row, value, exact: row.has[value],
}

# ---- questions ----

HANDLES = ["user0.example.com", "@USER0.example.com", "user1.example.com", "moved.example.com", "user3.example.com", "user4.example.com", "nobody.example.com"]
DOMAINS = ["example.com", "www.example.com", "EXAMPLE.com", "evil.test", "a.test", "notexample.com"]


def some_moment(r):
    when = START + datetime.timedelta(microseconds=r.randrange(PLANTED * STEP_US))
    return r.choice([when.strftime("%Y-%m-%d"), when.strftime("%Y-%m-%dT%H:%M:%SZ"), when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                     when.astimezone(datetime.timezone(datetime.timedelta(hours=2))).strftime("%Y-%m-%dT%H:%M:%S+02:00")])


VALUES = {
    "word": lambda r: r.choice([n for n in NEEDLES if is_plain(n)]),
    "phrase": lambda r: r.choice(NEEDLES),
    "#": lambda r: r.choice([t for t in TAGS if "-" not in t] + ["CATURDAY", "art", "nothing"]),
    "from": lambda r: r.choice(ACCOUNTS + HANDLES),
    "mentions": lambda r: r.choice(ACCOUNTS + HANDLES),
    "to": lambda r: r.choice(ACCOUNTS + HANDLES),
    "lang": lambda r: r.choice([*LANGS, "fr", "e" * 3]),
    "since": some_moment,
    "until": some_moment,
    "domain": lambda r: r.choice(DOMAINS),
    "url": lambda r: r.choice(["example.com/a", "https://a.test", "EXAMPLE", "%", "://", "%c3%89"]),
    "has": lambda r: r.choice(["image", "video", "link", "quote", "reply"]),
}


def is_plain(text):
    return not re.search(r'[\s()"]', text) and text not in ("OR", "AND") and text[0] not in "-#＃" and not re.match(r"[A-Za-z]+:", text)


def random_question(r, depth):
    kind = r.choice(["and", "or", "or", "or", "not", "not"]) if depth and r.random() < 0.7 else r.choice(list(VALUES))
    if kind in ("and", "or"):
        return kind, [random_question(r, depth - 1) for _ in range(2 if kind == "and" else 3)]
    return kind, random_question(r, depth - 1) if kind == "not" else VALUES[kind](r)


def written(question, top=True):
    kind, value = question
    if kind in ("and", "or"):
        text = {"and": " ", "or": " OR "}[kind].join(written(q, False) for q in value)
        return text if top else f"({text})"
    if kind == "not":
        return "-" + (written(value, False) if value[0] != "not" else f"({written(value, False)})")
    if kind == "phrase":
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value if kind == "word" else f"#{value}" if kind == "#" else f"{kind}:{value}"


def questions():
    """Each operator alone at first, then random combinations; a quarter of them with further parameters."""
    r, made = random.Random(7), []
    alone = [(kind, make(r)) for kind, make in VALUES.items() for _ in range(8)] + [("phrase", needle) for needle in NEEDLES]
    for i in range(QUERIES):
        asked = alone[i] if i < len(alone) else random_question(r, 1 + i % 3)
        exact, more, beside = r.random() < 0.3, {}, []
        if i % 4 == 2:
            names = r.sample(["text", "username", "lang", "start", "start", "end", "end"], r.choice([1, 1, 2]))
            kinds = {"text": "phrase", "username": "from", "lang": "lang", "start": "since", "end": "until"}
            more = {name: VALUES[kinds[name]](r) for name in names}
            if len(more) == 2 and set(more) == {"start", "end"} and range_end(more["end"]) < moment(more["start"]):
                del more["end"]  # refused, as it should be
            beside = [("#", v[1:]) if n == "text" and re.fullmatch(r"#\S+", v) else (kinds[n], v) for n, v in more.items()]
        made.append((written(asked), exact, more, ("and", [asked, *beside]), r.choice([1, 7, 50, 100]), i))
    return made


# ---- the comparison ----

PAGES = 4


def walked(server, values):
    """Hits page by page, as far as PAGES go; whether that was all."""
    found, cursor = [], {}
    for _ in range(PAGES):
        answer = server.results(**values, **cursor)
        found += [(hit["uri"], hit["timestamp"], hit["text"]) for hit in answer["results"]]
        assert answer["meta"]["count"] == len(answer["results"]) <= int(values["limit"])
        if not answer["meta"]["has_more"]:
            return found, True
        cursor = {"cursor": answer["meta"]["next_cursor"]}
    return found, False


def utc(us):
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check(server, naive, asked):
    text, exact, more, meaning, limit, number = asked
    wanted = [(row.uri, utc(row.us), row.text) for row in naive.rows if naive.true(row, meaning, exact)]
    values = {"q": text, **more, **({"exact": "true"} if exact else {})}
    found, all_of_them = walked(server, {**values, "limit": str(limit)})
    assert found == (wanted if all_of_them else wanted[:len(found)]), values
    assert all_of_them == (len(wanted) <= PAGES * limit), values
    if number % 2 == 0:
        assert server.get("/counts", **values).json()["total"] == len(wanted), values
    if number % 8 == 0:
        lines = [json.loads(line) for line in server.get("/export", format="ndjson", **values).body.splitlines()]
        assert sorted((p["uri"], p["timestamp"], p["text"]) for p in lines) == sorted(wanted), values
    return bool(wanted)


def test_every_search_finds_what_a_naive_scan_of_the_export_finds(lake, tmp_path):
    naive = Naive(lake)
    assert naive.exported > 20000 and len(naive.rows) > 2000
    server = Server(tmp_path, lake, "serve.rate_limit=0").ready()
    with concurrent.futures.ThreadPoolExecutor(USERS) as users:
        hits = list(users.map(lambda asked: check(server, naive, asked), questions()))
    assert len(hits) == QUERIES and sum(hits) > QUERIES / 2, f"{sum(hits)} of {len(hits)} found something"
    print(f"{len(hits)} searches over {len(naive.rows)} posts, {sum(hits)} of them with hits")
    server.stop()
