"""Memory stays flat at any backlog: ingest fills Redis with a million events, then the writer drains them with its default settings."""
import re

from harness import BINARY, run, wait_for

EVENTS = 1_000_000
INGEST_LIMIT_MB, WRITER_LIMIT_MB = 64, 512


def peak_mb(process):
    """The most this process ever had resident."""
    with open(f"/proc/{process.child.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) / 1024


def test_ingest_and_writer_stay_within_their_memory_over_a_backlog(world, capsys):
    world.redis()
    world.simulator("--count", EVENTS)
    ingest = world.ingest()
    wait_for("the backlog is in Redis", lambda: world.buffered() >= EVENTS, 180)
    ingest_mb = peak_mb(ingest)
    assert ingest.stop() == 0, ingest.text()
    peaks = []
    writer = world.add(BINARY, "write", f"--data={world.lake}", f"--set=redis.socket={world.socket}", "--set=write.http=127.0.0.1:0", log="write.log")
    wait_for("the writer is ready", lambda: "health and metrics" in writer.text())
    # Its interval is minutes; told to stop, it drains first.
    writer.child.terminate()

    def ended():
        try:
            peaks.append(peak_mb(writer))
        except (OSError, AttributeError):  # between its last work and its end
            pass
        return not writer.alive()

    wait_for("the writer has drained everything", ended, 240)
    assert writer.stop() == 0, writer.text()
    with capsys.disabled():
        print(f"\npeak resident memory over {EVENTS:,} events: ingest {ingest_mb:.0f} MB, writer {max(peaks):.0f} MB")
    result = run("verify", "--data", world.lake, "--against-simulator", f"seed=1,count={EVENTS}", "--json", check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ingest_mb < INGEST_LIMIT_MB and max(peaks) < WRITER_LIMIT_MB
