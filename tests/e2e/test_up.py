"""`bluelake up`: what `make run` does."""
import json
import os
import re
import signal

from harness import BINARY, Process, free_port, get, metric, run, wait_for


def ports():
    ingest, write = free_port(), free_port()
    return ingest, write, [f"--set=ingest.http=127.0.0.1:{ingest}", f"--set=write.http=127.0.0.1:{write}"]


def test_up_collects_the_simulated_network_and_stops_with_everything_in_the_lake(tmp_path):
    ingest_port, write_port, sets = ports()
    up = Process([BINARY, "up", "--data", tmp_path / "lake", "--source", "simulated", "--rate", "2000", "--set=write.interval=1s", *sets],
                 tmp_path / "up.log")
    try:
        lake = tmp_path / "lake-simulated"
        wait_for("files appear", lambda: list(lake.glob("year=*/**/*.parquet")), 60)
        wait_for("posts can be found", lambda: " posts, " in run("search", "--data", lake, "the", check=False).stderr, 60)
        assert metric(write_port, "redis_connected") == 1 and metric(ingest_port, "bluelake_jetstream_connected") == 1
        received = metric(ingest_port, "bluelake_events_received_total")
        assert up.stop() == 0, up.text()
    finally:
        up.close()
    text = up.text()
    assert "Everything received is in the lake" in text, text
    result = json.loads(run("verify", "--data", lake, "--json").stdout)
    assert result["problems"] == 0 and result["rows"] >= received * 0.99
    assert not [line for line in os.popen(f"pgrep -af {lake}").read().splitlines() if "pgrep" not in line], "a process was left behind"


def test_up_restarts_what_dies_and_goes_on_where_it_was_at_the_next_start(tmp_path):
    lake = tmp_path / "lake-simulated"
    totals = []
    for _ in range(2):
        ingest_port, write_port, sets = ports()
        up = Process([BINARY, "up", "--data", tmp_path / "lake", "--source", "simulated", "--rate", "1000", "--set=write.interval=1s", *sets],
                     tmp_path / "up.log")
        try:
            wait_for("the writer writes", lambda: written(write_port))
            for role in ("ingest", "write"):
                pid = int(re.search(r"(\d+) /proc/self/exe " + role, os.popen(f"pgrep -af 'self/exe {role}.*{lake}'").read()).group(1))
                os.kill(pid, signal.SIGKILL)
            wait_for("the writer writes again", lambda: written(write_port))
            assert up.stop() == 0, up.text()
        finally:
            up.close()
        assert up.text().count("was killed by signal 9; starting it again") >= 2
        up.log.unlink()
        totals.append(json.loads(run("verify", "--data", lake, "--json").stdout)["rows"])
    start = (lake / "simulated-start").read_text()
    result = json.loads(run("verify", "--data", lake, "--against-simulator", f"seed=1,count={totals[1]},start={start},rate=1000", "--json").stdout)
    assert result["missing"] == result["different"] == result["twice"] == result["unexpected"] == 0


def written(port):
    return metric(port, "bluelake_events_written_total")


def test_up_says_so_and_simulates_where_the_network_cannot_be_reached(tmp_path):
    _, write_port, sets = ports()
    done = run("up", "--data", tmp_path / "lake", "--for", "4s", f"--set=source.urls=wss://127.0.0.1:{free_port()}", "--set=write.interval=1s", *sets)
    assert "no Jetstream can be reached" in done.stdout and "simulated network instead" in done.stdout
    assert (tmp_path / "lake-simulated/catalog.sqlite").exists() and not (tmp_path / "lake/catalog.sqlite").exists()


def test_two_at_once_on_one_folder_are_refused(tmp_path):
    _, write_port, sets = ports()
    up = Process([BINARY, "up", "--data", tmp_path / "lake", "--source", "simulated", *sets], tmp_path / "up.log")
    try:
        wait_for("the first one runs", lambda: written(write_port) is not None and "collecting" in up.text())
        second = run("up", "--data", tmp_path / "lake", "--source", "simulated", "--for", "5s", check=False)
        assert second.returncode != 0 and "another `bluelake up`" in second.stderr
        assert up.stop() == 0
    finally:
        up.close()


def test_up_cuts_off_what_a_power_cut_left_at_the_end_of_redis_file(tmp_path):
    lake = tmp_path / "lake-simulated"
    for part in range(2):
        ingest_port, write_port, sets = ports()
        up = Process([BINARY, "up", "--data", tmp_path / "lake", "--source", "simulated", "--rate", "1000", "--set=write.interval=1s", *sets],
                     tmp_path / f"up{part}.log")
        try:
            wait_for("the writer writes", lambda: written(write_port))
            assert up.stop() == 0, up.text()
        finally:
            up.close()
        if part == 0:
            aof, = (lake / "redis/appendonlydir").glob("*.incr.aof")
            with open(aof, "ab") as file:
                file.write(bytes(4096))  # what the file system makes of blocks that were never written
    assert "cutting it off" in up.text(), up.text()
    assert json.loads(run("verify", "--data", lake, "--json").stdout)["problems"] == 0
