"""Files and standard output as backends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from exporter_core.conformance.sinks import FileSink, SinkTimeoutError, StdoutSink, stamp

BOUND = 30


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def file(path):
    with FileSink(path) as sink:
        yield sink


@pytest.fixture
def pipe():
    with StdoutSink() as sink:
        yield sink


def test_a_file_that_is_not_there_yet_is_empty(file):
    assert (file.content(), file.lines(), file.points()) == (b"", [], [])


def test_complete_lines_have_the_stamp_of_when_they_were_seen(file, path):
    path.write_text("one\ntw")
    assert [line.text for line in file.lines()] == ["one"]
    before = stamp()
    with path.open("a") as out:
        out.write("o\nthree\n")
    first, second, third = file.lines()
    assert (second.text, third.text) == ("two", "three")
    assert first.seen < before < second.seen == third.seen < stamp()


def test_nothing_is_lost_of_one_that_opens_the_file_just_when_the_gate_shuts(file, path, aside):
    def append(number: int) -> None:
        with path.open("ab", buffering=0) as out:
            out.write(b"line %d\n" % number)

    for number in range(50):
        appending = aside(lambda: append(number))  # noqa: B023 - awaited here
        with file.shut():
            pass
        appending.result()
    texts = [line.text for line in file.lines() if line.text]
    assert sorted(texts) == sorted(f"line {number}" for number in range(50))


def test_a_file_that_was_cut_is_read_from_its_start(file, path):
    path.write_text("a long first line\n")
    file.lines()
    path.write_text("short\n")
    assert [line.text for line in file.lines()] == ["a long first line", "short"]
    file.clear()
    assert file.content() == b""


def test_what_a_file_had_that_was_removed_or_cut_is_forgotten_if_it_is_asked_for(path):
    with FileSink(path, forgets=True) as file:
        path.write_text("first\n")
        file.lines()
        path.unlink()
        path.write_text("after a removal\n")
        assert file.content() == b"after a removal\n"
        path.write_text("cut\n")
        assert file.content() == b"cut\n"
        path.unlink()
        assert file.content() == b""


def test_what_a_file_had_that_is_kept_under_another_name_is_not_forgotten(path):
    with FileSink(path, forgets=True) as file:
        path.write_text("first\n")
        file.lines()
        with path.open("a") as out:
            out.write("second\n")
        path.rename(path.with_suffix(".1"))
        path.write_text("third\n")
        assert [line.text for line in file.lines()] == ["first", "second", "third"]
        path.unlink()  # while there is another one, which may be a copy
        path.write_text("fourth\n")
        assert [line.text for line in file.lines()] == ["first", "second", "third", "fourth"]


def test_otlp_json_lines_are_points(file, path, metrics):
    line = MessageToJson(encode_metrics(metrics), indent=None)
    path.write_text(f"starting {{up}}\n{line}\n{line[:-1]}", encoding="utf-8")
    points = file.points()
    assert [point.metric for point in points] == ["orders", "load", "latency"]
    assert points[0].attributes == {"paid": True, "tags": ["a", "b"]}
    assert points[0].stored is not None


def test_what_the_sdk_prints_is_points(file, path, metrics):
    with path.open("w") as out:
        exporter = ConsoleMetricExporter(out=out)
        exporter.export(metrics)
    orders, load, latency = file.points()
    assert (orders.kind, orders.value, orders.temporality, orders.monotonic) == ("sum", 3, "cumulative", True)
    assert (orders.resource["service.name"], orders.scope_attributes) == ("shop", {"team": "x"})
    assert (load.kind, load.value, latency.kind) == ("gauge", 0.5, "histogram")
    assert latency.value["bucket_counts"] == [0, 1, 0]


def test_other_json_and_text_are_lines_only(file, path):
    path.write_text('{"resourceMetrics": 5}\n{"a": 1}\n{broken\nplain é\n', encoding="utf-8")
    assert file.points() == []
    assert file.lines()[3].text == "plain é"


def test_the_standard_output_of_a_process_is_read(pipe):
    program = "print('héllo' * 5000)"
    subprocess.run([sys.executable, "-X", "utf8", "-c", program], stdout=pipe.writer, check=True, timeout=BOUND)
    assert [line.text for line in pipe.lines()] == ["héllo" * 5000]


def test_what_was_written_before_a_call_is_in_its_answer(pipe):
    for number in range(50):
        os.write(pipe.writer, b"%d\n" % number)
        assert len(pipe.lines()) == number + 1


def test_text_can_be_awaited(pipe, aside):
    waiting = aside(lambda: pipe.await_text("ready"))
    os.write(pipe.writer, b"not rea")
    with pytest.raises(SinkTimeoutError, match="was not written"):
        pipe.await_text("ready", timeout=0.01)
    os.write(pipe.writer, b"dy\n")
    assert waiting.result() is None


def test_a_shut_gate_blocks_the_writer_once_the_pipe_is_full(pipe, aside):
    os.write(pipe.writer, b"before\n")
    with pipe.shut() as gate:
        writing = aside(lambda: os.write(pipe.writer, b"x" * 20000))
        gate.await_entered()
        assert pipe.content() == b"before\n"
        opened = gate.open()
    assert writing.result() == 20000
    os.write(pipe.writer, b"\n")
    assert pipe.lines()[1].text == "x" * 20000
    assert pipe.lines()[0].seen < gate.shut_at < opened < pipe.lines()[1].seen


def test_the_writer_closes_with_the_sink_and_points_are_read_after_its_end(metrics):
    with StdoutSink() as sink:
        with os.fdopen(os.dup(sink.writer), "w") as out:
            ConsoleMetricExporter(out=out).export(metrics)
        writer = sink.writer
        sink.close_writer()
        assert sink.writer == -1
        assert len(sink.points()) == 3
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)
