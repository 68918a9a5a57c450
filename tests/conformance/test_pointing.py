"""--sink: options that point at a sink, and what is read from sinks that do not know the exporter's format."""

import socket
import urllib.request
from pathlib import Path

import pytest

from exporter_core.conformance.observe.journal import Journal
from exporter_core.conformance.observe.sink_option import pointed
from exporter_core.conformance.observe.tokens import Tokens, compare
from exporter_core.errors import SetupError


@pytest.fixture
def run(tmp_path: Path):
    """Sets up the harness of a sink that options point at."""
    made = []

    def start(sink, options=None):
        harness = pointed(sink, options)()
        harness.setup(tmp_path, Journal().stamp)
        made.append(harness)
        return harness

    yield start
    for harness in made:
        harness.teardown()


def lines(batch) -> bytes:
    """A batch in a format that no sink knows."""
    return "".join(f'{{"id": "{token}"}}\n' for token in batch.tokens).encode()


def test_every_text_of_the_options_may_have_the_sinks_address(run):
    options = {"url": "{endpoint}/x", "nested": {"hosts": ["{host}", "{address}"]}, "port": "{port}", "other": 3}
    harness = run("http", options)
    port = str(harness.sink.port)
    assert harness.config() == {
        "url": f"http://127.0.0.1:{port}/x",
        "nested": {"hosts": ["127.0.0.1", f"127.0.0.1:{port}"]},
        "port": port,
        "other": 3,
    }


def test_without_options_there_is_the_usual_one(run):
    harness = run("otlp-http")
    assert harness.config() == {"endpoint": harness.endpoint}
    harness = run("file")
    assert harness.config() == {"path": str(harness.path)}
    assert pointed("stdout", None)().config() == {}


def test_other_braces_are_left_alone(run):
    assert run("file", {"path": "{path}", "format": "{name} {value:.3f}"}).config()["format"] == "{name} {value:.3f}"


@pytest.mark.parametrize(
    ("sink", "where"), [("otlp_http", "{endpoint}, {address} or {port}"), ("file", "{path}")], ids=["network", "file"]
)
def test_options_that_point_nowhere_are_refused(sink, where):
    with pytest.raises(SetupError, match=f"--sink {sink}: nothing in --config points at it; write {where} where"):
        pointed(sink, {"endpoint": "http://127.0.0.1:4318"})
    pointed("tcp:4318", {"endpoint": "http://127.0.0.1:4318"})
    pointed("stdout", {"format": "json"})


@pytest.mark.parametrize("sink", ["http", "tcp", "file"])
def test_points_are_known_by_their_identities_where_the_format_is_not(run, sink):
    harness, batch, other = run(sink), Tokens("EXP-01-raw").batch(), Tokens("EXP-02-raw").batch()
    if sink == "http":
        urllib.request.urlopen(harness.endpoint, lines(batch), timeout=30).close()  # noqa: S310 - a sink's own
    elif sink == "tcp":
        with socket.create_connection(("127.0.0.1", harness.sink.port)) as connection:
            connection.sendall(lines(batch))
        harness.sink.await_closed()
    else:
        harness.path.write_bytes(lines(batch))
    assert compare(batch.points, harness.read_back()).describe() == ""
    assert len(compare(other.points, harness.read_back()).lost) == 3


STDOUT = """if True:
    import os
    from pathlib import Path
    from exporter_core.conformance.observe.journal import Journal
    from exporter_core.conformance.observe.sink_option import pointed

    harness = pointed("stdout", None)()
    harness.setup(Path(), Journal().stamp)
    os.write(1, b"a line about EXP-01-raw-7")
    found = [point.token for point in harness.read_back()]
    harness.teardown()
    print(found)
"""


def test_standard_output_is_searched_too(run_python):
    assert run_python(STDOUT).strip() == "['EXP-01-raw-7']"
