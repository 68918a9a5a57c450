"""A receiver that somebody else wrote: rotel takes what is sent, and passes it on to a sink, where it is read.

Protobuf only: the version whose program runs everywhere takes no JSON.
"""

import socket
import subprocess
import time
from pathlib import Path

import pytest
import rotel

from exporter_core import ExporterError

AGENT = Path(rotel.__file__).parent / "rotel-agent"


def start(sink):
    """rotel, listening on free ports (``http``, ``grpc``); None if another program was faster to take one."""
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as grpc:
        ports = http.getsockname()[1], grpc.getsockname()[1]
    listen = ["--otlp-http-endpoint", f"127.0.0.1:{ports[0]}", "--otlp-grpc-endpoint", f"127.0.0.1:{ports[1]}"]
    to_sink = ["--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", f"http://{sink.address}"]
    at_once = ["--otlp-exporter-batch-timeout", "1ms"]
    command = [AGENT, "start", *listen, "--exporter", "otlp", *to_sink, *at_once]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.http, process.grpc = ports
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 10).close()
            except ConnectionRefusedError:
                if process.poll() is not None:
                    return None
                time.sleep(0.01)
            else:
                break
    return process


@pytest.fixture
def receiver(sink):
    for _ in range(5):
        process = start(sink)
        if process is not None:
            break
    with process:
        yield process
        process.terminate()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_real_receiver_understands_what_is_sent(receiver, sink, make_exporter, context, data_of, compression):
    exporter = make_exporter(f"http://127.0.0.1:{receiver.http}/v1/metrics", compression=compression)
    exporter.export(context, data_of([1, 2.5, -(2**63)]))
    sink.await_stored()
    assert [(point.metric, point.value) for point in sink.points()] == [
        ("metric", 1),
        ("metric", 2.5),
        ("metric", -(2**63)),
    ]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_real_receiver_understands_what_is_sent_by_grpc(
    receiver, sink, make_grpc_exporter, context, data_of, compression
):
    exporter = make_grpc_exporter(f"http://127.0.0.1:{receiver.grpc}", compression=compression)
    exporter.export(context, data_of([1, 2.5, -(2**63)]))
    sink.await_stored()
    assert [point.value for point in sink.points()] == [1, 2.5, -(2**63)]


def test_a_real_receivers_refusal_is_an_error(receiver, make_exporter, context, data):
    exporter = make_exporter(f"http://127.0.0.1:{receiver.http}/v1/elsewhere")
    with pytest.raises(ExporterError, match="/v1/elsewhere: 404 Not Found"):
        exporter.export(context, data)
