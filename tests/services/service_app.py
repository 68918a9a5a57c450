"""The service that the servers of this folder run: every request, task or child records one measurement of its own.

Each measurement has an attribute of its own, so that a point is a measurement, and is written to a file of records when
it has been made: what the file holds is what the service has recorded.
"""

from __future__ import annotations

import asyncio
import os

from exporter_core import Pipeline

pipeline = Pipeline.from_file(os.environ["SERVICE_CONFIG"], shutdown_timeout=float(os.environ["SERVICE_SHUTDOWN"]))
_counter = pipeline.meter_provider.get_meter("service").create_counter("requests")
_records = os.open(os.environ["SERVICE_RECORDS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def record(number: str) -> None:
    """Record one measurement, and then note that it was recorded."""
    _counter.add(1, {"number": number})
    os.write(_records, f"{number} {os.getpid()}\n".encode())


def application(environ, start_response):
    """WSGI."""
    number = environ["QUERY_STRING"]
    if number:
        record(number)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    """ASGI. It shuts down in its lifespan: uvicorn then ends its worker by SIGTERM, which runs no Python."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await asyncio.to_thread(pipeline.shutdown)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["query_string"]:
        record(scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
