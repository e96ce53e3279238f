"""`bluelake purge`: what deleted accounts wrote is gone for good, everything else is as it was."""
import json

import pytest

from harness import run

HOUR = 3_600_000_000
START = 1_767_571_200_000_000
GONE, AWAY, BACK, HERE = (f"did:plc:{letter * 24}" for letter in "abcd")


def commit(did, at, number, collection="app.bsky.feed.post", record=None):
    record = record or {"$type": collection, "createdAt": "2026-01-05T00:00:00.000Z", "langs": ["en"], "text": f"purple elephants {number}"}
    rkey = "3mbn4yrqx" + "234567abcdefghijklmnopqrstuvwxyz"[number % 32] + "e2c"
    return {"did": did, "time_us": at, "kind": "commit", "commit": {"rev": rkey, "operation": "create", "collection": collection, "rkey": rkey, "record": record}}


def account(did, at, seq, active, status=None):
    body = {"active": active, "did": did, "seq": seq, "time": "2026-01-05T03:00:00.000Z"}
    return {"did": did, "time_us": at, "kind": "account", "account": body | ({"status": status} if status else {})}


def like(did, at, number):
    subject = {"cid": "bafyreibje5djrb6l73l2g6hcpqah4ksej3lh2psggihlck7ws6mgzu4c2m", "uri": f"at://{HERE}/app.bsky.feed.post/3mbn4yrqx2e2c"}
    return commit(did, at, number, "app.bsky.feed.like", {"$type": "app.bsky.feed.like", "createdAt": "2026-01-05T00:00:00.000Z", "subject": subject})


def events():
    accounts = (GONE, AWAY, BACK, HERE)
    made = []
    for number in range(24): # over two hours
        for i, did in enumerate(accounts):
            at = START + number * HOUR // 12 + i
            made.append(commit(did, at, number))
            made.append(like(did, at + 10, number))
    profile = {"$type": "app.bsky.actor.profile", "displayName": "Somebody"}
    made += [commit(did, START + 100 + i, 1, "app.bsky.actor.profile", profile) for i, did in enumerate(accounts)]
    end = START + 2 * HOUR
    made += [account(GONE, end, 1, False, "deleted"), account(AWAY, end + 1, 2, False, "takendown"), account(BACK, end + 2, 3, False, "deleted"),
             account(BACK, end + 3, 4, True)]
    return sorted(made, key=lambda event: event["time_us"])


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events()))
    run("import", "--data", tmp_path / "lake", tmp_path / "events.ndjson")
    return tmp_path / "lake"


def rows(lake):
    """By type and account."""
    counted = {}
    for kind in ("posts", "likes", "profiles", "accounts"):
        for line in run("query", "--data", lake, "--json", f"SELECT did, count(*) AS n FROM {kind} GROUP BY did").stdout.splitlines():
            row = json.loads(line)
            counted[kind, row["did"]] = row["n"]
    return counted


def purge(lake, *options):
    return json.loads(run("purge", "--data", lake, "--json", *options).stdout)


def whole(lake):
    done = run("verify", "--data", lake, check=False)
    return done.returncode == 0 and "0 problems" in done.stdout


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_of_deleted_accounts_are_gone_and_no_others(lake, compacted):
    if compacted:
        run("compact", "--data", lake)
    before = rows(lake)
    told = purge(lake, "--dry-run")
    assert (told["accounts"], told["rows"], told["removed"]) == (1, 49, 0) and rows(lake) == before
    done = purge(lake)
    assert (done["accounts"], done["removed"]) == (1, 49)
    assert {kind: done["by_type"][kind] for kind in ("posts", "likes", "profiles", "accounts")} == {"posts": 24, "likes": 24, "profiles": 1, "accounts": 0}
    assert rows(lake) == {key: n for key, n in before.items() if key[1] != GONE or key[0] == "accounts"}
    assert whole(lake)
    again = purge(lake)
    assert (again["accounts"], again["rows"], again["removed"]) == (1, 0, 0)
    run("compact", "--data", lake)
    assert whole(lake)


def test_files_hold_nothing_of_them_any_more(lake):
    run("search", "--data", lake, "elephants") # builds the index
    run("views", "--refresh", "--data", lake)
    indexed = {file.name for file in lake.glob("index/posts-*.seg")}
    purge(lake)
    assert not any(GONE.encode() in file.read_bytes() for file in lake.glob("year=*/**/*.parquet") if "accounts" not in file.name)
    assert indexed and not indexed & {file.name for file in lake.glob("index/*.seg")}, "the texts in the index are gone as well"
    listed = {line.split(",")[0] for line in run("query", "--data", lake, "--format", "csv", "SELECT DISTINCT did FROM posts").stdout.splitlines()[1:]}
    assert GONE not in listed
    found = [json.loads(line)["did"] for line in run("search", "--data", lake, "--json", "--limit", "200", "elephants").stdout.splitlines()]
    assert len(found) == 2 * 24 and set(found) == {BACK, HERE}
    run("views", "--refresh", "--data", lake)


def test_only_deletions_before_a_time(lake):
    assert purge(lake, "--before", "2026-01-05T01:00:00Z")["accounts"] == 0
    assert purge(lake, "--before", "2026-01-06")["removed"] == 49


def test_what_comes_again_is_written_again_and_goes_again(lake, tmp_path):
    purge(lake)
    run("import", "--data", lake, tmp_path / "events.ndjson")
    assert rows(lake)["posts", GONE] == 24 and whole(lake)
    assert purge(lake)["removed"] == 49 and whole(lake)


def test_a_lake_without_deletions_and_a_folder_without_a_lake(tmp_path):
    (tmp_path / "one.ndjson").write_text(json.dumps(commit(HERE, START, 1)) + "\n")
    run("import", "--data", tmp_path / "lake", tmp_path / "one.ndjson")
    assert "0 deleted accounts" in run("purge", "--data", tmp_path / "lake").stdout
    assert run("purge", "--data", tmp_path / "lake", "extra", check=False).returncode == 2
