"""Dead letters: listed, shown, replayed once they are valid, dropped only on purpose."""
import json
import sqlite3

import pytest

from harness import FIXTURE, run, value_lines, wait_for


@pytest.fixture
def lake(world):
    """A lake with four dead letters: an event it lacks, one it holds, the first over several lines, and one that is no event."""
    lines = FIXTURE.read_text().splitlines()
    known = world.folder / "known.ndjson"
    known.write_text("\n".join(lines[:5]) + "\n")
    run("import", "--data", world.lake, known)
    pretty = json.dumps(json.loads(lines[7]), indent=2, ensure_ascii=False)
    with sqlite3.connect(world.lake / "catalog.sqlite") as db:
        for i, (reason, message) in enumerate([("too_deep", lines[6]), ("too_deep", lines[0]), ("too_deep", pretty), ("json_syntax", "{broken")]):
            db.execute("INSERT INTO dead_letters(type, reason, detail, origin, received_us, message) VALUES(NULL, ?, 'a test', ?, ?, ?)",
                       (reason, f"test {i}", 1767571200000000 + i, message.encode()))
    db.close()
    world.missing = [json.loads(lines[6]), json.loads(lines[7])]
    return world


def letters(world, *filters):
    return [json.loads(x) for x in run("deadletter", "list", "--json", "--data", world.lake, *filters).stdout.splitlines()]


def rows(world):
    return json.loads(run("verify", "--data", world.lake, "--json").stdout)["rows"]


def test_replay_takes_what_is_valid_now_and_keeps_the_rest(lake):
    assert len(letters(lake)) == 4 and len(letters(lake, "--reason", "too_deep")) == 3
    before = rows(lake)
    result = json.loads(run("deadletter", "replay", "--all", "--json", "--data", lake.lake).stdout)
    assert result == {"tried": 4, "revived": 3, "known": 1, "still_dead": 1}
    assert rows(lake) == before + 2 and [x["reason"] for x in letters(lake)] == ["json_syntax"]
    exported = [json.loads(x) for x in run("export", "--data", lake.lake).stdout.splitlines()]
    assert all(event in exported for event in lake.missing)
    again = json.loads(run("deadletter", "replay", "--all", "--json", "--data", lake.lake).stdout)
    assert again["revived"] == 0 and rows(lake) == before + 2


def test_replay_of_one_letter_by_its_id(lake):
    wanted = letters(lake)[-1]["id"]
    result = json.loads(run("deadletter", "replay", wanted, "--json", "--data", lake.lake).stdout)
    assert result["revived"] == 1 and wanted not in [x["id"] for x in letters(lake)]
    done = run("deadletter", "replay", wanted, "--data", lake.lake, check=False)
    assert done.returncode == 1 and f"no dead letter {wanted}" in done.stderr


def test_drop_wants_ids_or_all_and_yes(lake):
    assert run("deadletter", "drop", "--data", lake.lake, check=False).returncode == 2
    assert "4 letters would be dropped" in run("deadletter", "drop", "--all", "--data", lake.lake).stdout and len(letters(lake)) == 4
    broken = letters(lake, "--reason", "json_syntax")[0]["id"]
    assert run("deadletter", "show", broken, "--data", lake.lake).stdout == "{broken\n"
    run("deadletter", "drop", broken, "--data", lake.lake)
    done = run("deadletter", "drop", letters(lake)[0]["id"], 999999, "--data", lake.lake, check=False)
    assert done.returncode == 1 and len(letters(lake)) == 3, "all or none"
    run("deadletter", "drop", "--all", "--reason", "too_deep", "--yes", "--data", lake.lake)
    assert letters(lake) == [] and "no dead letters" in run("deadletter", "list", "--data", lake.lake).stdout
    assert value_lines(FIXTURE) and rows(lake) == 5


def test_a_flood_of_dead_letters_does_not_wait_for_the_next_commit(world):
    """A batch takes all there are, not a handful; stopping leaves none behind."""
    count, every = 8000, 5
    world.simulator(f"--count={count}", f"--misbehave=mark-every={every}")
    world.redis()
    ingest = world.ingest("source.cursor=2026-01-05")
    queued = lambda: int(world.redis_cli("xlen", "firehose:rejected:queue"))
    wait_for("ingest has them all", lambda: queued() >= count // every and (world.buffered() or 0) >= count)
    ingest.stop()
    writer = world.writer("write.interval=1h")
    wait_for("the writer handles signals", lambda: "health and metrics" in writer.text())
    assert writer.stop() == 0
    assert queued() == 0 and len(letters(world, "--limit", "100000")) == count // every
