"""`bluelake export --format parquet`: one file that holds what the lake's own files hold, in the order of time."""
import hashlib
import io
import subprocess

import pyarrow.parquet
import pytest

from harness import BINARY, TYPES
from lakes import PARTITIONS, assert_same, rows_of
from test_readers import with_pyarrow


@pytest.mark.parametrize("table", TYPES)
def test_the_exported_file_holds_the_rows_of_the_lake(lake, table):
    done = subprocess.run([BINARY, "export", "--data", lake.folder, "--type", table, "--format", "parquet"], capture_output=True, check=True, timeout=120)
    exported = pyarrow.parquet.read_table(io.BytesIO(done.stdout))
    assert exported["time_us"].to_pylist() == sorted(exported["time_us"].to_pylist())
    assert_same(rows_of(exported), rows_of(with_pyarrow(lake, table).drop(PARTITIONS)))
    assert f"{exported.num_rows} rows, {len(done.stdout)} bytes, SHA-256 {hashlib.sha256(done.stdout).hexdigest()}\n" == done.stderr.decode()
