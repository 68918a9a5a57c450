"""A receiver that somebody else wrote: rotel takes what is sent, and passes it on to a sink, where it is read."""

import os
import socket
import subprocess
import sysconfig
from pathlib import Path

import pytest
import rotel

from exporter_core import ExporterError

AGENT = Path(rotel.__file__).parent / "rotel-agent"


@pytest.fixture
def receiver(sink, tmp_path):
    """rotel, listening on free ports; ``receiver.http`` is one of them."""
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as grpc:
        ports = http.getsockname()[1], grpc.getsockname()[1]
    listen = ["--otlp-http-endpoint", f"127.0.0.1:{ports[0]}", "--otlp-grpc-endpoint", f"127.0.0.1:{ports[1]}"]
    to_sink = ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--disable-batching"]
    command = [AGENT, "start", *listen, *to_sink, "--otlp-exporter-endpoint", f"http://{sink.address}"]
    # It embeds the interpreter, as a library that the system need not find by itself.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **silent) as process:
        process.http, process.grpc = ports
        yield process
        process.terminate()


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_real_receiver_understands_what_is_sent(
    receiver, sink, make_exporter, context, data_of, encoding, compression
):
    exporter = make_exporter(
        f"http://127.0.0.1:{receiver.http}/v1/metrics", encoding=encoding, compression=compression, timeout=0
    )
    # Of JSON it loses the values that are texts, as OTLP has 64-bit integers there, whoever sends them.
    values = [1.0, 2.5, -0.125] if encoding == "json" else [1, 2.5, -(2**63)]
    exporter.export(context, data_of(values))  # the first attempts find that it has not started yet
    sink.await_stored()
    assert [(point.metric, point.value) for point in sink.points()] == [("metric", value) for value in values]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_real_receiver_understands_what_is_sent_by_grpc(
    receiver, sink, make_grpc_exporter, context, data_of, compression
):
    patient = {"initial_interval": 20, "max_interval": 20}
    exporter = make_grpc_exporter(
        f"http://127.0.0.1:{receiver.grpc}", compression=compression, timeout=0, retry=patient
    )
    exporter.export(context, data_of([1, 2.5, -(2**63)]))  # the first attempts find that it has not started yet
    sink.await_stored()
    assert [point.value for point in sink.points()] == [1, 2.5, -(2**63)]


def test_a_real_receivers_refusal_is_an_error(receiver, make_exporter, context, data):
    exporter = make_exporter(f"http://127.0.0.1:{receiver.http}/v1/elsewhere", timeout=0)
    with pytest.raises(ExporterError, match="/v1/elsewhere: 404 Not Found"):
        exporter.export(context, data)
