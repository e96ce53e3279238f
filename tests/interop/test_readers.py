"""Parquet readers that know nothing of bluelake open the lake and agree with one another and with `bluelake export`."""
import collections
import json
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from harness import TYPES, canonical
from lakes import PARTITIONS, assert_same, files, listed_rows, pattern, rows_of

CLI = Path(sys.executable).parent / "duckdb"  # of the PyPI package duckdb-cli


HIVE_TYPES = "{'year': INTEGER, 'month': INTEGER, 'day': INTEGER, 'hour': INTEGER}"


def arrow_rows(lake, table):
    if table not in lake.rows:
        lake.rows[table] = rows_of(with_pyarrow(lake, table))
    return lake.rows[table]


def with_pyarrow(lake, table):
    paths = [str(path) for path in files(lake, table)]
    return pyarrow.dataset.dataset(paths, format="parquet", partitioning="hive", partition_base_dir=str(lake.folder)).to_table()


def with_polars(lake, table):
    return polars.scan_parquet(pattern(lake, table), hive_partitioning=True).collect().to_arrow()


def with_duckdb(lake, table):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    source = f"read_parquet(?, hive_partitioning = true, hive_types = {HIVE_TYPES})"
    return connection.execute(f"SELECT * FROM {source}", [pattern(lake, table)]).fetch_arrow_table()


def test_every_file_opens_and_holds_the_rows_the_catalogue_says(lake):
    listed = listed_rows(lake)
    found = files(lake)
    assert {str(path.relative_to(lake.folder)) for path in found} == set(listed)
    for path in found:
        file = pyarrow.parquet.ParquetFile(path)
        assert file.metadata.num_rows == listed[str(path.relative_to(lake.folder))] == file.read().num_rows
        assert polars.read_parquet(path, hive_partitioning=False).height == file.metadata.num_rows
        assert len(pandas.read_parquet(path, columns=["time_us"])) == file.metadata.num_rows
    assert sum(listed.values()) == len(lake.events)


@pytest.mark.parametrize("table", TYPES)
def test_readers_agree_row_by_row_and_column_by_column(lake, table):
    expected = arrow_rows(lake, table)
    assert_same(expected, rows_of(with_polars(lake, table)))
    assert_same(expected, rows_of(with_duckdb(lake, table)))
    for i, time_us in enumerate(expected["time_us"]):
        moment = datetime.fromtimestamp(time_us // 1_000_000, timezone.utc)
        assert (moment.year, moment.month, moment.day, moment.hour) == tuple(expected[name][i] for name in PARTITIONS)


@pytest.mark.parametrize("table", TYPES)
def test_duckdb_recovers_the_types_of_the_partitions(lake, table):
    """Named, they are what they are named; of itself DuckDB keeps "09" a text, so as not to lose its zero."""
    described = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = true, hive_types = {HIVE_TYPES})", [pattern(lake, table)])
    types = {row[0]: row[1] for row in described.fetchall()}
    assert [types[name] for name in PARTITIONS] == ["INTEGER"] * 4
    source = "read_parquet(?, hive_partitioning = true)"
    untold = duckdb.execute(f"SELECT DISTINCT typeof(year), year, month::INT, day::INT, hour::INT FROM {source}", [pattern(lake, table)]).fetchall()
    folders = {tuple(int(part.split("=")[1]) for part in path.relative_to(lake.folder).parts[:4]) for path in files(lake, table)}
    assert {row[0] for row in untold} == {"BIGINT"} and {row[1:] for row in untold} == folders
    assert types["time_us"] == "BIGINT" and types["did"] == "VARCHAR"
    if table == "posts":
        assert types["created_at"] == "TIMESTAMP WITH TIME ZONE" and types["langs"] == "VARCHAR[]"


def test_duckdbs_own_command_line_finds_the_partitions(lake):
    def ask(sql):
        done = subprocess.run([CLI, "-csv", "-noheader", "-c", sql], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    source = f"read_parquet('{pattern(lake, 'likes')}', hive_partitioning = true, hive_types = {HIVE_TYPES})"
    hours = collections.Counter(datetime.fromtimestamp(e["time_us"] // 1_000_000, timezone.utc).hour for e in lake.events
                                if e["kind"] == "commit" and e["commit"]["collection"] == "app.bsky.feed.like")
    counted = [line.split(",") for line in ask(f"SELECT hour, count(*) FROM {source} GROUP BY hour").splitlines()]
    assert {int(hour): int(count) for hour, count in counted} == hours
    hour = max(hours)
    assert int(ask(f"SELECT count(*) FROM {source} WHERE hour = {hour}")) == hours[hour]
    plan = ask(f"EXPLAIN SELECT did FROM {source} WHERE hour = {hour}")
    total, wanted = len(files(lake, "likes")), len([path for path in files(lake, "likes") if f"hour={hour:02}" in str(path)])
    assert total == wanted or f"{wanted}/{total}" in plan, plan  # other hours' files are not opened


# ---- against the export ----

COLLECTIONS = {"app.bsky.feed.post": "posts", "app.bsky.feed.like": "likes", "app.bsky.feed.repost": "reposts", "app.bsky.graph.follow": "follows",
               "app.bsky.graph.block": "blocks", "app.bsky.actor.profile": "profiles"}
CANONICAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RECORD_TEXTS = {  # column: where its text stands in the record
    "posts": {"text": ["text"], "reply_root_uri": ["reply", "root", "uri"], "reply_root_cid": ["reply", "root", "cid"],
              "reply_parent_uri": ["reply", "parent", "uri"], "reply_parent_cid": ["reply", "parent", "cid"]},
    "likes": {"subject_uri": ["subject", "uri"], "subject_cid": ["subject", "cid"], "via_uri": ["via", "uri"], "via_cid": ["via", "cid"]},
    "follows": {"subject_did": ["subject"], "via_uri": ["via", "uri"], "via_cid": ["via", "cid"]},
    "blocks": {"subject_did": ["subject"]},
    "profiles": {"display_name": ["displayName"], "description": ["description"], "pronouns": ["pronouns"], "website": ["website"],
                 "pinned_post_uri": ["pinnedPost", "uri"], "pinned_post_cid": ["pinnedPost", "cid"]},
}
RECORD_TEXTS["reposts"] = RECORD_TEXTS["likes"]
RECORD_JSON = {"posts": {"facets": "facets", "embed": "embed"}, "profiles": {"avatar": "avatar", "banner": "banner"}}


def table_of(event):
    return COLLECTIONS.get(event["commit"]["collection"], "others") if event["kind"] == "commit" else "accounts"


def text_at(record, path):
    """A text at this place; an object with members no column knows stays whole in `extra`."""
    value = record
    for name in path:
        strange = value is not record and isinstance(value, dict) and value.keys() - {"root", "parent", "uri", "cid"}
        value = value.get(name) if isinstance(value, dict) and not strange else None
    return value if isinstance(value, str) and is_unicode(value) else None


def is_unicode(text):
    """Half a surrogate pair has no UTF-8 form: such a text is kept in `extra`."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def microseconds(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // (datetime.resolution)


def account_row(event):
    body = event[event["kind"]]
    return {"time_us": event["time_us"], "did": event["did"], "kind": event["kind"], "seq": body["seq"], "time": body.get("time"),
            "handle": body.get("handle") if event["kind"] == "identity" else None, "active": body.get("active"), "status": body.get("status")}


def commit_row(event, table):
    """What the columns must hold, told from the event alone."""
    commit = event["commit"]
    record = commit.get("record") or {}
    row = {"time_us": event["time_us"], "did": event["did"], **{name: commit[name] for name in ("operation", "rkey", "rev")}}
    if table == "others":
        return {**row, "collection": commit["collection"], "record": commit.get("record")}
    row.update({name: text_at(record, path) for name, path in RECORD_TEXTS[table].items()})
    row.update({name: record.get(member) for name, member in RECORD_JSON.get(table, {}).items()})
    if table == "posts":
        row["langs"] = record.get("langs")
    claimed = text_at(record, ["createdAt"])
    usual = claimed is not None and CANONICAL_TIME.fullmatch(claimed)
    row["created_at_text"] = None if usual else claimed
    if usual:
        row["created_at"] = microseconds(claimed)
    return row


def value_of(rows, name, i):
    value = rows[name][i]
    return json.loads(value) if name in ("facets", "embed", "avatar", "banner", "record") and value is not None else value


@pytest.mark.parametrize("table", TYPES)
def test_columns_say_what_the_export_says(lake, table):
    rows = arrow_rows(lake, table)
    keys = ("did", "kind", "seq") if table == "accounts" else ("did", "rkey", "rev", "operation")
    index = {tuple(rows[name][i] for name in keys): i for i in range(len(rows["did"]))}
    events = [event for event in lake.export if table_of(event) == table]
    assert len(index) == len(events) == len(rows["did"])
    for event in events:
        expected = account_row(event) if table == "accounts" else commit_row(event, table)
        i = index[tuple(expected[name] for name in keys)]
        got = {name: value_of(rows, name, i) for name in expected}
        assert got == expected
        if event.get("commit", {}).get("cid"):  # left out exactly where it follows from the record
            assert rows["cid"][i] == (None if rows["cid_verified"][i] else event["commit"]["cid"])


def test_the_export_equals_what_came_in(lake):
    assert collections.Counter(map(canonical, lake.export)) == collections.Counter(map(canonical, lake.events))
