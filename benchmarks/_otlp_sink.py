"""Sinks that cost their clients next to nothing: they read requests whole, decode nothing, and say yes.

Run: python benchmarks/_otlp_sink.py http|grpc; prints its port, and ends with its standard input.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

running: object = None
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def sink(kind: str) -> Iterator[int]:
    """The port of a sink in another process."""
    command = [sys.executable, __file__, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        yield int(process.stdout.readline())
        process.stdin.close()


def serve_http() -> int:
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listening.getsockname()[1]
    return port


def answer(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(1 << 20))
    while True:
        received = b""
        while b"\r\n\r\n" not in received:
            count = connection.recv_into(buffer)
            if not count:
                return
            received += buffer[:count]
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:")) - len(body)
        while left:
            left -= connection.recv_into(buffer, min(left, len(buffer)))
        connection.sendall(ANSWER)


def serve_grpc() -> int:
    import grpc  # noqa: PLC0415 - one kind of sink needs it, and goes on as long as somebody refers to it

    global running  # noqa: PLW0603 - who refers to the server for as long as the process lives

    def export(request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG001 - grpc calls it so
        return b""

    running = server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return port


if __name__ == "__main__":
    print({"http": serve_http, "grpc": serve_grpc}[sys.argv[1]](), flush=True)
    sys.stdin.read()
