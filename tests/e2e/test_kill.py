"""Nothing is lost when everything dies; `make kill-test` is the long run of the same."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
import kill  # noqa: E402


@pytest.mark.parametrize("forget", [False, True], ids=["killed", "redis-forgets"])
def test_every_event_is_written_once_whoever_is_killed(tmp_path, forget):
    events = 200_000
    result = kill.survive(tmp_path, events, kills=8, seed=3, forget=forget)
    assert kill.is_whole(result, events), result
    assert sum(result["kills"].values()) == 8 and len(result["kills"]) == 4
