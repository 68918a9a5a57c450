"""A right exporter of lines over TCP."""

from __future__ import annotations

import socket

from exporter_core import ExporterConfig
from exporter_core.authoring import SerialExporter
from exporter_core.conformance import Capabilities, SinkHarness, flatten
from exporter_core.otlp import JsonEncoder, decode_json
from third_party.wild_base import Transient, attempts, connect, look_up, told


class TcpConfig(ExporterConfig):
    address: str
    """host:port"""


class WildTcpHarness(SinkHarness):
    kind = "tcp"
    capabilities = Capabilities.without_answers("a TCP stream")

    def config(self):
        return {"address": self.address}

    def decode(self, content):
        for line in content.splitlines():
            yield from flatten(decode_json(line))


class WildTcp(SerialExporter[TcpConfig]):
    """Sends a line of OTLP JSON over a TCP connection for each batch, ends it with SHUT_WR, and reads to the end."""

    conformance_harness = WildTcpHarness

    def __init__(self, config):
        super().__init__(config)
        self._encoder = JsonEncoder()

    def deliver(self, context, metrics):
        encoded = self._encoder.encode(metrics)
        if encoded.points:
            attempts(context, lambda: self.attempt(context, encoded.data + b"\n"))
        told(len(encoded.dropped), "")

    def attempt(self, context, data):
        host, _, port = self.config.address.rpartition(":")
        try:
            sock = connect(context, look_up(context, host, int(port)))
        except OSError as error:
            context.raise_if_done()
            raise Transient("no connection") from error

        def end():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        handle = context.on_done(end)
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass
            context.raise_if_done()
        except OSError as error:
            context.raise_if_done()
            raise Transient(f"the connection broke: {type(error).__name__}") from error
        finally:
            handle.unregister()
            sock.close()
