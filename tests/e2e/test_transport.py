"""wss and zstd: what goes over them arrives; what cannot go over them is said, and stops."""
import subprocess

import pytest

from harness import run, wait_for

COUNT = 20_000


def openssl(folder, *args):
    subprocess.run(["openssl", *map(str, args)], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def certificates(tmp_path):
    """A certificate authority of our own, and a certificate for 127.0.0.1 signed by it: (ca, certificate, key)."""
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(tmp_path, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", 2, "-subj", "/CN=bluelake test authority")
    openssl(tmp_path, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    openssl(tmp_path, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2,
            "-extfile", "names", "-out", "server.pem")
    return tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key"


def train(folder, name, seed):
    """A zstd dictionary made from the simulated events of a seed."""
    samples = folder / f"samples-{name}"
    samples.mkdir()
    lines = run("simulate", "--ndjson", "--count", 3000, "--seed", seed).stdout.splitlines()
    for i, line in enumerate(lines):
        (samples / str(i)).write_text(line)
    subprocess.run(["zstd", "--train", "-q", "-r", samples, "-o", folder / name, "--maxdict=32768"], check=True, timeout=60)
    return folder / name


def collect(world, *settings):
    """Everything the simulator serves goes into the lake, and is the truth."""
    world.redis()
    writer, ingest = world.writer(), world.ingest(*settings)
    wait_for(f"{COUNT} events in the lake", lambda: world.catalog_rows() >= COUNT or not ingest.alive())
    assert ingest.stop() == 0, ingest.text()
    assert writer.stop() == 0, writer.text()
    done = run("verify", "--data", world.lake, "--against-simulator", f"seed=1,count={COUNT}", "--json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_events_arrive_over_wss_from_a_host_whose_authority_is_trusted(world, certificates):
    ca, certificate, key = certificates
    world.simulator("--count", COUNT, "--tls-cert", certificate, "--tls-key", key)
    collect(world, f"source.urls=wss://127.0.0.1:{world.source_port}", f"source.ca_file={ca}")


def test_nothing_is_taken_from_a_host_whose_authority_is_not_trusted(world, certificates):
    _, certificate, key = certificates
    world.simulator("--count", COUNT, "--tls-cert", certificate, "--tls-key", key)
    world.redis()
    ingest = world.ingest(f"source.urls=wss://127.0.0.1:{world.source_port}")
    wait_for("ingest says why", lambda: "certificate" in ingest.text() or not ingest.alive())
    ingest.stop()
    assert "source.ca_file" in ingest.text(), ingest.text()
    assert world.buffered() == 0


def test_nothing_is_taken_from_a_host_with_another_name(world, certificates):
    ca, certificate, key = certificates
    world.simulator("--count", COUNT, "--tls-cert", certificate, "--tls-key", key)
    world.redis()
    ingest = world.ingest(f"source.urls=wss://localhost:{world.source_port}", f"source.ca_file={ca}")
    wait_for("ingest says why", lambda: "certificate" in ingest.text() or not ingest.alive())
    ingest.stop()
    assert world.buffered() == 0


def test_compressed_events_are_the_same_events(world, tmp_path):
    dictionary = train(tmp_path, "right.dict", seed=7)
    world.simulator("--count", COUNT, "--dictionary", dictionary)
    collect(world, f"source.dictionary={dictionary}")


def test_compression_over_wss(world, tmp_path, certificates):
    ca, certificate, key = certificates
    dictionary = train(tmp_path, "right.dict", seed=7)
    world.simulator("--count", COUNT, "--dictionary", dictionary, "--tls-cert", certificate, "--tls-key", key)
    collect(world, f"source.urls=wss://127.0.0.1:{world.source_port}", f"source.ca_file={ca}", f"source.dictionary={dictionary}")


def refused(world, dictionary):
    """What ingest says before it gives up."""
    world.redis()
    ingest = world.ingest(f"source.dictionary={dictionary}")
    wait_for("ingest gives up", lambda: not ingest.alive())
    assert ingest.child.returncode in (1, 2), ingest.text()
    assert world.buffered() in (0, None)
    return ingest.text().splitlines()[-1]


def test_the_wrong_dictionary_ends_ingest_with_the_cure(world, tmp_path):
    world.simulator("--count", COUNT, "--dictionary", train(tmp_path, "theirs.dict", seed=7))
    words = refused(world, train(tmp_path, "ours.dict", seed=8))
    assert "source.dictionary" in words and "dictionary" in words, words


def test_a_host_without_compression_ends_ingest_with_the_cure(world, tmp_path):
    world.simulator("--count", COUNT)
    words = refused(world, train(tmp_path, "ours.dict", seed=8))
    assert "400" in words and "source.dictionary" in words, words


def test_a_file_that_is_no_dictionary_ends_ingest_with_the_cure(world, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Jetstream, ...")
    world.simulator("--count", COUNT, "--dictionary", train(tmp_path, "theirs.dict", seed=7))
    words = refused(world, tmp_path / "letter.txt")
    assert "letter.txt" in words and "source.dictionary" in words, words
