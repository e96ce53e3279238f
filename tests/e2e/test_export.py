"""`bluelake export`: every format says at its end how many rows it had and what its SHA-256 is; what is not whole says nothing of the kind."""
import csv
import hashlib
import io
import json
import re
import subprocess

import pytest

from harness import BINARY, run
from test_api import make_lake

RECEIPT = re.compile(r"^(\d+) rows, (\d+) bytes, SHA-256 ([0-9a-f]{64})\n$")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return make_lake(tmp_path_factory.mktemp("export"), 20000)


def export(lake, *args):
    return subprocess.run([BINARY, "export", "--data", lake, *args], capture_output=True, timeout=120)


def rows_of(data, form):
    if form == "ndjson":
        return len([json.loads(line) for line in data.split(b"\n") if line])
    if form == "csv":
        return len(list(csv.reader(io.StringIO(data.decode(), newline="")))) - 1
    assert data[:4] == data[-4:] == b"PAR1"
    return None  # read back by tests/interop/test_readers.py


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
@pytest.mark.parametrize("kind", ["posts", "likes"])
def test_the_receipt_is_that_of_what_came_out(lake, form, kind):
    done = export(lake, "--type", kind, "--format", form)
    rows, size, sha256 = RECEIPT.match(done.stderr.decode()).groups()
    counted = json.loads(run("query", "--data", lake, "--format", "ndjson", f"SELECT count(*) AS n FROM {kind}").stdout)["n"]
    assert int(rows) == counted > 1000 and int(size) == len(done.stdout) and sha256 == hashlib.sha256(done.stdout).hexdigest()
    assert rows_of(done.stdout, form) in (counted, None)


def test_an_empty_range_is_a_whole_file_without_rows(lake):
    for form in ("ndjson", "csv", "parquet"):
        done = export(lake, "--type", "posts", "--format", form, "--since", "2031-01-01")
        assert done.returncode == 0 and RECEIPT.match(done.stderr.decode()).group(1) == "0"


def test_an_output_that_cannot_be_written_gets_no_receipt(lake):
    for form in ("ndjson", "csv", "parquet"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "export", "--data", lake, "--type", "likes", "--format", form], stdout=full, stderr=subprocess.PIPE, timeout=120)
        assert done.returncode == 1 and b"No space left" in done.stderr and b"SHA-256" not in done.stderr


def test_a_reader_that_goes_away_ends_it(lake):
    for form in ("ndjson", "csv", "parquet"):
        with subprocess.Popen([BINARY, "export", "--data", lake, "--type", "likes", "--format", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stdout.read(10)
            child.stdout.close()
            assert child.wait(60) != 0 and b"SHA-256" not in child.stderr.read()


def test_what_makes_no_file_is_refused(lake):
    for args in (["--format", "parquet"], ["--format", "csv"], ["--format", "xls"], ["--type", "cats"], ["--since", "2026-01-02", "--until", "2026-01-01"]):
        done = export(lake, *args)
        assert done.returncode == 2 and done.stdout == b"" and b"SHA-256" not in done.stderr
