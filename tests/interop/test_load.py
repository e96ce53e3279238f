"""A hundred users at once for five minutes while events come in: no error, and the server's memory stays within its bound.
`make load-test USERS=100 MINUTES=5` is the same by itself."""
import load

SECONDS = 300


def test_a_hundred_readers_find_no_error_while_events_come_in(tmp_path, capfd):
    with capfd.disabled():
        wrong = load.measure(tmp_path, users=100, seconds=SECONDS)
    assert not wrong, "\n".join(wrong)
