"""Every bluelake command that README.md and docs/ show is one: subcommand, options and settings exist; what the README asks the server is answered."""
import re
import shlex
import subprocess

import pytest

from harness import REPO, run
from test_api import Server, make_lake

PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]


def lines_of(page):
    """Shell lines of code blocks, continued ones joined."""
    text = page.read_text()
    blocks = re.findall(r"```(?:sh|ini)\n(.*?)```", text, re.S) + re.findall(r"(?:^ {4}\S.*\n)+", text, re.M)
    for block in blocks:
        yield from (line.strip().removeprefix("$ ") for line in re.sub(r"\\\n\s*", "", block).split("\n"))


def commands():
    found = []
    for page in PAGES:
        if page.name == "CLI.md":  # generated from the program itself
            continue
        for line in lines_of(page):
            for part in re.split(r"&&|;(?! )|\|(?= bluelake)", line.removeprefix("ExecStart=/opt/bluelake/")):
                if part.strip().startswith("bluelake "):
                    found.append(pytest.param(part.strip(), id=f"{page.name}: {part.strip()[:60]}"))
    return found


def words_of(command):
    try:
        return shlex.split(re.sub(r"\$\(.*?\)", "X", command), comments=True)
    except ValueError:  # a statement that goes on in the next line
        return shlex.split(command.split("'")[0])


@pytest.fixture(scope="module")
def settings():
    return set(re.findall(r"^\| `([a-z_.]+)`", (REPO / "docs/CONFIG.md").read_text(), re.M))  # generated from conf.def


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_shown_exists(command, settings):
    words = words_of(command)
    if len(words) < 2 or words[1].isupper() or words[1].startswith("-"):
        return
    known = run(words[1], "--help").stdout
    for i, word in enumerate(words[2:], 2):
        if word in (">", "|"):
            break
        if word.startswith("--"):
            assert re.search(rf"^  {word.split('=')[0]}\b", known, re.M), f"{word} of {command}"
        if words[i - 1] == "--set":
            assert word.split("=")[0] in settings, f"{word} of {command}"


def test_there_are_commands_to_check():
    assert len(commands()) > 40


def test_settings_that_are_named_exist(settings):
    families = {name.split(".")[0] for name in settings if "." in name}
    for page in PAGES:
        for name in re.findall(r"`((?:%s)\.[a-z_]+)`" % "|".join(families), page.read_text()):
            assert name in settings or name.endswith((".c", ".h", ".def", ".conf", ".sqlite", ".html")), f"{page.name}: {name}"


def test_metrics_that_are_named_exist():
    known = (REPO / "src/obs/metrics.def").read_text()
    for page in PAGES:
        for name in re.findall(r"\b((?:bluelake|query_engine|redis)_[a-z_]*_(?:seconds|total|events|percent|ms|healthy|keys|bytes|files))\b", page.read_text()):
            base = re.sub(r"_(sum|count|bucket)$", "", name)
            assert base in known, f"{page.name}: {name}"


def test_what_the_readme_asks_the_server_is_answered(tmp_path):
    server = Server(tmp_path, make_lake(tmp_path, 4000)).ready()
    asked = [line for line in lines_of(REPO / "README.md") if line.startswith("curl ")]
    assert len(asked) >= 3
    for line in asked:
        done = subprocess.run(["bash", "-c", line.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}").replace("curl ", "curl -sf ")], cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == 0, line
    assert (tmp_path / "posts.csv").read_bytes().startswith(b"timestamp,username,text")
    server.stop()
