"""otlp_file: what stands in a line, on standard output or in a file, and by which names the exporter is found."""

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from exporter_core_otlp import OtlpFileConfig, OtlpFileExporter
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter_core import (
    Context,
    ContextCancelledError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
    Pipeline,
    load_exporter,
)
from exporter_core.cli import main
from exporter_core.config import load_config
from exporter_core.conformance import flatten
from exporter_core.conformance.observe.tokens import Tokens
from exporter_core.otlp import decode_json, encode

NAMES = ["otlp_file", "otlp_file/development"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def make(path):
    """Makes exporters that write to the file, unless they are told otherwise."""
    made = []

    def exporter(**options):
        made.append(OtlpFileExporter(OtlpFileConfig(**{"output_stream": path.as_uri(), **options})))
        return made[-1]

    yield exporter
    for one in made:
        with contextlib.suppress(ExporterShutdownError):
            one.shutdown(Context.with_timeout(60))


def values(line):
    (resource_metrics,) = decode_json(line).resource_metrics
    return [point.value for point in resource_metrics.scope_metrics[0].metrics[0].data.data_points]


def for_protobuf(value):
    """OTLP has its ids in hex, where protobuf's own JSON has base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in {"traceId", "spanId"} else for_protobuf(item)
            for key, item in value.items()
        }
    return list(map(for_protobuf, value)) if isinstance(value, list) else value


def test_a_line_is_a_request_for_our_decoder_and_for_protobufs(make, path, context):
    exporter, tokens = make(), Tokens("file")
    batches = [tokens.rich(), tokens.batch(), tokens.batch(5)]
    for batch in batches:
        exporter.export(context, batch.metrics)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(batches)
    for line, batch in zip(lines, batches, strict=True):
        assert line.endswith(b"}\n")
        assert {point.token: point.fields for point in flatten(decode_json(line))} == {
            point.token: point.fields for point in batch.points
        }
        official = ParseDict(for_protobuf(json.loads(line)), ExportMetricsServiceRequest())
        # As bytes: a NaN is not equal to itself.
        expected = ExportMetricsServiceRequest.FromString(encode(batch.metrics))
        assert official.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_an_empty_batch_writes_nothing(make, path, context):
    make().export(context, Tokens("file").empty().metrics)
    assert not path.exists()


def test_points_that_otlp_cannot_hold_are_counted_and_the_others_written(make, path, context, data_of):
    with pytest.raises(PartialSuccessError, match="1 of 3 points cannot be written: metric 'metric': ") as caught:
        make().export(context, data_of([1, 2**64, 3]))
    assert caught.value.rejected_points == 1
    assert values(path.read_bytes()) == [1, 3]


def test_a_file_that_is_full_is_rotated(make, path, context, data_of):
    exporter = make(max_file_bytes=1, max_old_files=2)
    for value in range(4):
        exporter.export(context, data_of([value]))
    files = [path.with_name("metrics.jsonl.2"), path.with_name("metrics.jsonl.1"), path]
    assert [values(file.read_bytes()) for file in files] == [[1], [2], [3]]
    assert sorted(path.parent.iterdir()) == sorted(files)


@pytest.mark.parametrize("operation", ["force_flush", "shutdown"])
def test_with_fsync_flush_and_shutdown_have_the_disk_take_what_was_written(
    make, path, context, data, monkeypatch, operation
):
    synchronised, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synchronised.append(os.fstat(descriptor)), fsync(descriptor)))
    exporter = make(fsync=True)
    exporter.export(context, data)
    assert synchronised == []
    getattr(exporter, operation)(context)
    assert os.path.samestat(synchronised[0], path.stat())


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, *(f"exporter-core-otlp:{name}" for name in NAMES)])
def test_it_is_found_by_each_of_its_names(name, path, context, data):
    exporter = load_exporter(name, {"output_stream": path.as_uri()})
    exporter.export(context, data)
    exporter.shutdown(context)
    assert values(path.read_bytes()) == [1]


def test_both_names_are_listed(capsys):
    assert main(["list", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["exporters"]}
    for name in NAMES:
        assert listed[name]["distribution"] == "exporter-core-otlp"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_named_in_a_configuration_file(name, path, tmp_path):
    file = tmp_path / "otel.yaml"
    exporter = f"{{{name}: {{output_stream: {path.as_uri()}}}}}"
    file.write_text(
        f'file_format: "1.1"\nmeter_provider:\n  readers:\n    - periodic:\n        exporter: {exporter}\n',
        encoding="utf-8",
    )
    pipeline = Pipeline(load_config(file))
    pipeline.meter_provider.get_meter("shop").create_counter("orders").add(3)
    report = pipeline.shutdown(timeout=60)
    assert [reader.name for reader in report.readers] == [f"0:{name}"]
    assert values(path.read_bytes()) == [3]


# --- standard output -------------------------------------------------------------------------------------------------


@pytest.fixture
def stdout_to(monkeypatch):
    """Makes a text file over a descriptor the process's standard output, in an encoding that has few characters."""

    def make(descriptor):
        file = os.fdopen(descriptor, "w", encoding="ascii", closefd=False)
        monkeypatch.setattr(sys, "stdout", file)
        return file

    return make


def test_lines_go_to_standard_output_in_utf_8_after_what_was_printed_before(make, stdout_to, context, tmp_path):
    tokens = Tokens("file")
    with (tmp_path / "stdout").open("wb") as file:
        stdout_to(file.fileno())
        print("before")  # noqa: T201 - what a program prints
        batch = tokens.rich()
        make(output_stream="stdout").export(context, batch.metrics)
    first, line = (tmp_path / "stdout").read_bytes().splitlines()
    assert first == b"before"
    assert {point.token for point in flatten(decode_json(line))} == set(batch.tokens)
    assert "⚙".encode() in line


def test_what_takes_the_place_of_standard_output_gets_text(make, context, data, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    make(output_stream="stdout").export(context, data)
    assert values(sys.stdout.getvalue()) == [1]


def test_a_pipe_that_nobody_reads_does_not_hold_an_export_that_is_cancelled_nor_spoil_the_next_line(
    make, stdout_to, context, data, data_of
):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    stdout_to(writing)
    exporter, blocked = make(output_stream="stdout"), Context.background()
    with ThreadPoolExecutor(1) as thread:
        export = thread.submit(exporter.export, blocked, data_of(range(1000)))
        select.select([reading], [], [])  # a part is in the pipe, and there is no room for the rest
        blocked.cancel("enough")
        with pytest.raises(ContextCancelledError, match="enough"):
            export.result()
    cut = os.read(reading, 65536)
    exporter.export(context, data)
    feed, line = os.read(reading, 65536).splitlines()
    assert cut.startswith(b'{"resourceMetrics":')
    assert (feed, values(line)) == (b"", [1])
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_pipe_without_a_reader_is_an_error(make, stdout_to, context, data):
    reading, writing = os.pipe()
    os.close(reading)
    stdout_to(writing)
    with pytest.raises(ExporterError, match="cannot write to stdout: the pipe's reader has closed it"):
        make(output_stream="stdout").export(context, data)
    os.close(writing)


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def umask():
    """The most common one, which takes writing from the group."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("file_mode", "expected"), [(None, 0o644), ("0600", 0o600), ("660", 0o660)])
def test_a_file_is_created_with_the_mode_that_the_option_says(make, path, context, data_of, file_mode, expected):
    exporter = make(file_mode=file_mode, max_file_bytes=1)
    exporter.export(context, data_of([1]))
    exporter.export(context, data_of([2]))  # into a file of its own
    assert [one.stat().st_mode & 0o777 for one in (path, path.with_name("metrics.jsonl.1"))] == [expected] * 2


def test_a_file_that_is_there_keeps_its_mode_and_a_symbolic_link_is_followed(make, path, context, data_of, tmp_path):
    target = tmp_path / "target.jsonl"
    target.touch()
    target.chmod(0o640)
    path.symlink_to(target)
    make(file_mode="0600").export(context, data_of([1]))
    assert target.stat().st_mode & 0o777 == 0o640
    assert path.is_symlink()
    assert values(target.read_bytes()) == [1]
