"""Right exporters of lines of OTLP JSON over TCP, with a connection for each export, ended by a half-close."""

from __future__ import annotations

import socket

from exporter_core import Context, ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter
from exporter_core.conformance import Capabilities, SinkHarness, flatten
from exporter_core.otlp import JsonEncoder, decode_json
from third_party.open_transport import Again, HttpClient, _quietly


class TcpConfig(ExporterConfig):
    address: str
    """Where to send to: host and port, with a colon between them."""


class TcpHarness(SinkHarness):
    kind = "tcp"
    capabilities = Capabilities(
        not_applicable={
            "EXP-0[79]": "there is no answer to drip, nor a Retry-After",
            "EXP-1[1569]": "there is no answer",
        }
    )

    def config(self):
        return {"address": self.address}

    def decode(self, content):
        for line in content.splitlines():
            try:
                metrics = decode_json(line)
            except ValueError:
                continue
            yield from flatten(metrics)


class TcpLines(SerialExporter[TcpConfig]):
    """Connects, sends lines, half-closes, and reads until the server has closed."""

    conformance_harness = TcpHarness
    max_attempts = 5

    def __init__(self, config):
        super().__init__(config)
        self.encoder = JsonEncoder()
        self.host, _, port = config.address.rpartition(":")
        self.port = int(port)

    def deliver(self, context: Context, metrics) -> None:
        requests = self.encoder.split(metrics, max_points=500)
        data = b"".join(self.line(request.data) for request in requests)
        if data:
            self.send(context, data)
        if requests.dropped:
            raise PartialSuccessError("points that JSON cannot hold", rejected_points=len(requests.dropped))

    def line(self, data):
        return (data.encode() if isinstance(data, str) else data).rstrip(b"\n") + b"\n"

    def send(self, context, data):  # noqa: RET503 - the last attempt returns or raises
        for number in range(self.max_attempts):
            context.raise_if_done()
            try:
                return self.attempt(context, data)
            except (Again, OSError) as error:
                context.raise_if_done()
                pause = 0.1 * 2**number
                remaining = context.remaining()
                if number + 1 == self.max_attempts or (remaining is not None and pause >= remaining):
                    raise ExporterError(f"not delivered: {type(error).__name__}") from error
                context.wait(pause)

    def attempt(self, context, data):
        client = object.__new__(HttpClient)
        client.host, client.port, client.scheme = self.host, self.port, "tcp"
        client.connect(context)
        sock = client.sock
        handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        try:
            sock.sendall(data)
            self.end(context, sock)
        finally:
            handle.unregister()
            sock.close()

    def end(self, context, sock):
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1000):
            raise ExporterError("the server speaks, which it should not")
        context.raise_if_done()


class TcpHarnessNA(TcpHarness):
    capabilities = Capabilities(
        not_applicable={
            "EXP-0[79]": "there is no answer to drip, nor a Retry-After",
            "EXP-1[15689]": "there is no answer",
        }
    )


class TcpLinesNA(TcpLines):
    """Does the same, and its harness says that EXP-18 is not applicable either."""

    conformance_harness = TcpHarnessNA
