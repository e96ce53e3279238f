"""The command line teaches: help everywhere, and errors that name the place and the cure."""
import re

import pytest

from harness import REPO, run

COMMANDS = re.findall(r"^COMMAND\((\w+),", (REPO / "src/cmd/commands.def").read_text(), re.M)


def test_help_lists_every_command():
    text = run("--help").stdout
    assert all(re.search(rf"^  {name} ", text, re.M) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_usage_and_options(name):
    text = run(name, "--help").stdout
    assert f"Usage: bluelake {name}" in text and "--help" in text and "Example" in text or name in ("gaps", "deadletter", "config")


@pytest.mark.parametrize("args, code, message", [
    (["serch"], 2, 'did you mean "search"?'),
    ([], 2, "Usage: bluelake COMMAND"),
    (["up", "--sorce", "auto"], 2, "did you mean --source?"),
    (["up", "--for", "soon"], 2, "--for: \"soon\" is not a duration"),
    (["write", "--set", "write.intervall=5m"], 2, 'did you mean "write.interval"?'),
    (["write", "--set", "write.interval=1ms"], 2, "out of range"),
    (["write", "--set", "write.codec=lzma"], 2, "none of zstd, snappy, gzip, none"),
    (["ingest", "--set", "redis.port=99999"], 2, "out of range: from 1 to 65535"),
    (["ingest", "--set", "source.collections=pots"], 2, "neither a type"),
    (["ingest", "--config", "no-such-file.conf"], 1, "no-such-file.conf"),
    (["query", "--data", "no-such-lake", "SELECT 1"], 1, "no-such-lake"),
    (["simulate"], 2, "--ndjson or --listen"),
    (["simulate", "--ndjson", "--rate", "quick"], 2, "neither a number"),
    (["import"], 2, "which FILE?"),
    (["up", "--set", "redis.cluster=127.0.0.1:7000"], 2, "start `bluelake ingest` and `bluelake write`"),
    (["verify", "--data", "no-such-lake"], 1, "no-such-lake"),
])
def test_errors_name_the_cause_and_the_cure(args, code, message):
    done = run(*args, check=False, timeout=60)
    assert done.returncode == code and message in done.stderr, (done.returncode, done.stderr)


def test_explain_shows_how_a_search_is_understood_and_needs_no_lake():
    done = run("search", "--data", "no-such-lake", "--explain", 'cats -(lang:en OR "hot dogs") url:"?q=a b" #art')
    assert done.stdout.splitlines() == ["all of", '  text contains "cats"', "  not", "    any of", '      in language "en"', '      text contains "hot dogs"',
                                        '  with a link that holds "?q=a b"', '  tagged "art"']
    assert run("search", "--explain", "").stdout == "everything\n"
    wrong = run("search", "--explain", "cats form:alice", check=False)
    assert wrong.returncode == 2 and wrong.stdout == "" and 'column 6: unknown operator "form:": did you mean "from:"?' in wrong.stderr


def test_settings_from_file_environment_and_command_line_take_precedence_in_this_order(tmp_path):
    path = tmp_path / "bluelake.conf"
    path.write_text("# a comment\nredis.port = 7001\nwrite.interval = 7m\n")
    import os
    env = {**os.environ, "BLUELAKE_REDIS_PORT": "7002", "BLUELAKE_REDIS_PASSWORD": "hush"}
    text = run("config", "--config", path, env=env).stdout
    assert "redis.port = 7002" in text and "write.interval = 420000000us" in text and "hush" not in text
    assert "redis.port = 7003" in run("config", "--config", path, "--set", "redis.port=7003", env=env).stdout
    path.write_text("redis.port = 7001\nredis.prot = 1\n")
    done = run("config", "--config", path, check=False)
    assert done.returncode == 2 and f"{path}:2" in done.stderr and 'did you mean "redis.port"?' in done.stderr
    again = tmp_path / "again.conf"
    again.write_text(run("config").stdout)
    run("config", "--config", again)
