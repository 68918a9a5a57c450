"""The OTLP/HTTP sink: metrics as protobuf or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.rpc.status_pb2 import Status

from exporter_core.conformance.sinks.server import decode_otlp
from exporter_core.conformance.sinks.server.http import (
    Answer,
    HttpServer,
    RefusedError,
    decompress,
    media_type,
    misdirected,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.core import Entry

_JSON, _PROTOBUF = "application/json", "application/x-protobuf"
_INVALID_ARGUMENT, _UNAVAILABLE = 3, 14


class OtlpHttpServer(HttpServer):
    """A sink for OTLP/HTTP metrics."""

    def expects(self, entry: Entry) -> Answer | None:
        """``POST /v1/metrics``."""
        return misdirected(entry, "/v1/metrics")

    def read(self, entry: Entry) -> None:
        """Decode by Content-Type."""
        kind = media_type(entry)
        decompress(entry)
        if kind not in {_PROTOBUF, _JSON}:
            raise RefusedError(f"Content-Type {kind!r} is neither {_PROTOBUF} nor {_JSON}", status=415)
        parse = decode_otlp.parse_json if kind == _JSON else decode_otlp.parse_protobuf
        try:
            message = parse(entry.request.body)
        except ValueError as error:
            raise RefusedError(f"not an ExportMetricsServiceRequest: {error}") from None
        entry.decode = lambda: decode_otlp.points(message)

    def success(self, entry: Entry, partial: Fault | None = None) -> Answer:
        """An ExportMetricsServiceResponse."""
        if partial is None:
            return _answer(entry, 200, {}, decode_otlp.response(None).SerializeToString())
        message = "" if partial.silent else "scripted"
        told = {"errorMessage": message} if message else {}
        value = {"partialSuccess": {"rejectedDataPoints": str(partial.points), **told}}
        return _answer(entry, 200, value, decode_otlp.response(partial.points, message).SerializeToString())

    def failure(self, entry: Entry, status: int, message: str) -> Answer:
        """A google.rpc.Status, as the OTLP specification wants it."""
        code = _INVALID_ARGUMENT if status < 500 else _UNAVAILABLE  # noqa: PLR2004 - the server's statuses
        protobuf = Status(code=code, message=message).SerializeToString()
        return _answer(entry, status, {"code": code, "message": message}, protobuf)


def _answer(entry: Entry, status: int, value: Mapping[str, object], protobuf: bytes) -> Answer:
    """An answer in the request's own encoding."""
    if media_type(entry) == _JSON:
        return Answer(status, json.dumps(value).encode(), {"Content-Type": _JSON})
    return Answer(status, protobuf, {"Content-Type": _PROTOBUF})
