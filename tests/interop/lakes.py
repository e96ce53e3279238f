"""The lakes under test, and how each library's view of one becomes comparable rows."""
import pathlib
import sqlite3
import sys

import pyarrow
import pyarrow.compute

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import TYPES, value_lines  # noqa: E402, F401

PARTITIONS = ["year", "month", "day", "hour"]



class Lake:
    def __init__(self, folder, events, export):
        self.folder, self.events, self.export = folder, events, export
        self.rows = {}  # by table, as pyarrow reads them



def pattern(lake, table):
    """The table's files as anybody would name them who knows the folder only."""
    return str(lake.folder / f"year=*/month=*/day=*/hour=*/{table}*.parquet")


def files(lake, table=""):
    return sorted(lake.folder.glob(f"year=*/month=*/day=*/hour=*/{table}*.parquet"))


def listed_rows(lake):
    """{path: rows} of the catalogue."""
    with sqlite3.connect(f"file:{lake.folder}/catalog.sqlite?mode=ro", uri=True) as db:
        return dict(db.execute("SELECT path, rows FROM files"))


def plain(column):
    """Times as microseconds: some users claim years that Python's datetime does not know."""
    if pyarrow.types.is_timestamp(column.type):
        assert column.type.unit == "us", column.type
        column = column.cast(pyarrow.int64())
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.to_pylist()


def rows_of(table):
    """An Arrow table as {column: list}, in one order whoever read it."""
    columns = {name: plain(table[name]) for name in table.column_names}
    keys = [columns[name] for name in ("time_us", "did", "rkey", "rev", "operation", "kind", "seq", "collection") if name in columns]
    order = sorted(range(table.num_rows), key=list(zip(*keys)).__getitem__)
    return {name: [values[i] for i in order] for name, values in columns.items()}


def assert_same(left, right):
    assert set(left) == set(right)
    for name in left:
        different = [i for i, (a, b) in enumerate(zip(left[name], right[name])) if a != b]
        assert len(left[name]) == len(right[name]) and not different, \
            f"{name}: {len(different)} rows differ, first {left[name][different[0]]!r} and {right[name][different[0]]!r}" if different else name
