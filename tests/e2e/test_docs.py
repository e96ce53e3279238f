"""What the documents tell people to type works as it stands there."""
import re
import shlex

import pytest

from harness import REPO, run

DAY = "2026-11-21"


def commands(page, heading):
    """The bluelake commands of the shell examples below a heading, continued lines joined."""
    text = (REPO / page).read_text()
    part = text[text.index(heading):]
    part = part[:part.find("\n## ", 1)]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", part, re.S))
    found, line = [], ""
    for piece in blocks.split("\n"):
        line = f"{line} {piece.strip()}" if line else piece
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # the quote goes on in the next line
            continue
        line = ""
        if words and words[0] == "bluelake":
            found.append(words[1:words.index(">")] if ">" in words else words[1:])
    return found


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    events = run("simulate", "--ndjson", "--count", 5000, "--start", DAY).stdout
    (folder / "events.ndjson").write_text(events)
    run("import", "--data", folder / "data", folder / "events.ndjson")
    return folder / "data"


@pytest.mark.parametrize("words", commands("README.md", "## Ask"), ids=lambda words: " ".join(words)[:60])
def test_the_questions_of_the_readme_are_answered(lake, words):
    done = run(*words, "--data", lake)
    assert done.stdout or "0 posts" in done.stderr


def test_every_link_between_the_documents_leads_somewhere():
    pages = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
    heads = {page: {anchor(line) for line in page.read_text().splitlines() if line.startswith("#")} for page in pages}
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            path, _, fragment = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            assert not fragment or fragment in heads.get(file, ()), f"{page.name}: {target}"


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")
