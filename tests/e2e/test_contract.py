"""What every endpoint promises beyond the shape of its answer: parameters that do what the document says, types, snapshots, HEAD."""
import json
import urllib.parse

import pytest

import api
from harness import wait_for
from test_api import Server, make_lake


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    s = Server(folder, make_lake(folder, 15000)).ready()
    wait_for("the views are there", lambda: s.get("/views/languages").status == 200)
    yield s
    s.stop()


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


@pytest.fixture(scope="module")
def post(server):
    """Not the newest: others lie on both sides."""
    return next(p for p in server.results(limit=100, page=5)["results"] if p["langs"])


def concrete(path, post):
    values = {"uri": post["uri"], "account": post["did"], "name": "languages"}
    for name, value in values.items():
        path = path.replace("{" + name + "}", urllib.parse.quote(value, safe=""))
    return path + ("?date=2026-01-05" if path == "/stats/daily" else "")


def test_each_parameter_of_a_search_narrows_it_as_its_sentence_says(server, post):
    moment, day = post["timestamp"], post["timestamp"][:10]
    word = next(w for w in post["text"].split() if w.isalpha())
    holds = {"text": (word, lambda p: word.lower() in p["text"].lower()), "q": (f'"{word}"', lambda p: word.lower() in p["text"].lower()),
             "username": (post["did"], lambda p: p["did"] == post["did"]), "lang": (post["langs"][0], lambda p: any(one.lower().startswith(post["langs"][0].lower()) for one in p["langs"])),
             "start": (moment, lambda p: p["timestamp"] >= moment), "end": (moment, lambda p: p["timestamp"] <= moment)}
    everything = server.get("/counts").json()["total"]
    for name, (value, true) in holds.items():
        found = server.results(limit=100, **{name: value})["results"]
        assert found and all(true(p) for p in found), name
        total = server.get("/counts", **{name: value}).json()["total"]
        lines = server.get("/export", format="ndjson", **{name: value}).body.splitlines()
        assert 0 < total < everything and total == len(lines) and all(true(json.loads(line)) for line in lines), name
    together = {name: value for name, (value, _) in holds.items()}
    assert [p["uri"] for p in server.results(**together)["results"]] == [post["uri"]] and server.results(start=day, end=day, limit=1)["results"]


def test_an_empty_parameter_counts_as_not_given(server, document):
    for path, operations in document["paths"].items():
        names = [p["name"] for p in operations["get"]["parameters"] if p["in"] == "query" and p["allowEmptyValue"]]
        if names and "{" not in path:
            plain, empty = server.get(path), server.get(path, **{name: "" for name in names})
            assert plain.status == empty.status == 200 and plain.headers["content-type"] == empty.headers["content-type"], path


def test_each_type_of_the_document_is_given_where_it_is_asked_for(server, document):
    for path, forms in {"/export": {"csv": "text/csv", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}, "/views/languages": {"json": "application/json", "csv": "text/csv"}}.items():
        listed = document["paths"][path.replace("languages", "{name}")]["get"]["responses"]["200"]["content"]
        assert set(listed) == set(forms.values())
        for form, kind in forms.items():
            assert server.get(path, format=form).headers["content-type"].startswith(kind)


def test_what_is_made_from_the_lake_names_its_snapshot(server, document, post):
    snapshot = server.get("/status").json()["snapshot"]
    for path, operations in document["paths"].items():
        answer = server.get(concrete(path, post))
        of_lake = "304" in operations["get"]["responses"] or path == "/export"
        assert answer.headers.get("x-snapshot") == (str(snapshot) if of_lake else None), path
        if "etag" in answer.headers:
            again = server.get(concrete(path, post), headers={"If-None-Match": answer.headers["etag"]})
            assert again.status == 304 and again.headers.get("x-snapshot") == answer.headers.get("x-snapshot"), path


def test_head_says_what_get_says_without_saying_it(server, document, post):
    for path in document["paths"]:
        get, head = server.get(concrete(path, post)), api.ask(server.port, concrete(path, post), "HEAD")
        assert (head.status, head.headers["content-type"], head.body) == (get.status, get.headers["content-type"], b""), path
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert api.ask(server.port, concrete(path, post), method).status == 405, (method, path)
