"""The backends behind the HTTP sinks: OTLP, Prometheus remote write, and one that takes anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.sinks.server.extras import extra
from exporter_core.conformance.sinks.server.http import Answer, BadBodyError, decompress

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.server.core import Entry

_OTLP_PATH = "/v1/metrics"
_REMOTE_WRITE_PATH = "/api/v1/write"
_INVALID_ARGUMENT = 3
_UNAVAILABLE = 14


class OtlpBackend:
    """Takes OTLP/HTTP metrics, as protobuf or JSON."""

    def __init__(self) -> None:
        from exporter_core.conformance.sinks.server import decode_otlp  # noqa: PLC0415 - it needs protobuf

        self._otlp = decode_otlp
        self._status = extra("google.rpc.status_pb2")

    def expects(self, entry: Entry) -> Answer | None:
        """``POST /v1/metrics``."""
        return _only(entry, _OTLP_PATH)

    def read(self, entry: Entry) -> Answer | None:
        """Decode by Content-Type."""
        kind = _media_type(entry)
        entry.body = decompress(entry, entry.body)
        if kind not in {"application/x-protobuf", "application/json"}:
            entry.problems.append(f"Content-Type {kind!r} is neither application/x-protobuf nor application/json")
            return Answer(415)
        parse = self._otlp.parse_json if kind == "application/json" else self._otlp.parse_protobuf
        try:
            message = parse(entry.body)
        except ValueError as error:
            raise BadBodyError(f"not an ExportMetricsServiceRequest: {error}") from None
        entry.decode = lambda: self._otlp.points(message)
        return None

    def success(self, entry: Entry, rejected: int | None = None) -> Answer:
        """An ExportMetricsServiceResponse."""
        if _media_type(entry) == "application/json":
            partial = {"rejectedDataPoints": str(rejected), "errorMessage": "scripted"}
            body = json.dumps({} if rejected is None else {"partialSuccess": partial}).encode()
            return Answer(200, body, {"Content-Type": "application/json"})
        return Answer(
            200, self._otlp.response(rejected).SerializeToString(), {"Content-Type": "application/x-protobuf"}
        )

    def failure(self, entry: Entry, status: int, message: str) -> Answer:
        """A google.rpc.Status, as the OTLP specification wants it."""
        code = _INVALID_ARGUMENT if status < 500 else _UNAVAILABLE  # noqa: PLR2004 - the server's statuses
        if _media_type(entry) == "application/json":
            return Answer(
                status, json.dumps({"code": code, "message": message}).encode(), {"Content-Type": "application/json"}
            )
        body: bytes = self._status.Status(code=code, message=message).SerializeToString()
        return Answer(status, body, {"Content-Type": "application/x-protobuf"})


class RemoteWriteBackend:
    """Takes Prometheus remote write 1.0."""

    def __init__(self) -> None:
        from exporter_core.conformance.sinks.server import decode_remote_write  # noqa: PLC0415 - it needs protobuf

        self._codec = decode_remote_write
        self._snappy: Any = extra("cramjam").snappy  # no types reach here from a lazy import

    def expects(self, entry: Entry) -> Answer | None:
        """``POST /api/v1/write``."""
        return _only(entry, _REMOTE_WRITE_PATH)

    def read(self, entry: Entry) -> Answer | None:
        """Decompress, decode, and note what the specification does not allow."""
        if _media_type(entry) != "application/x-protobuf" or "io.prometheus.write.v2" in entry.header("content-type"):
            entry.problems.append(f"Content-Type {entry.header('content-type')!r} is not remote write 1.0's")
            return Answer(415)
        if entry.header("content-encoding").lower() != "snappy":
            raise BadBodyError(f"Content-Encoding {entry.header('content-encoding')!r} is not snappy")
        if entry.header("x-prometheus-remote-write-version") != "0.1.0":
            entry.problems.append("X-Prometheus-Remote-Write-Version is not 0.1.0")
        try:
            entry.body = bytes(self._snappy.decompress_raw(entry.body))
            message = self._codec.parse(entry.body)
        except (ValueError, self._decompression_error()) as error:
            raise BadBodyError(f"not a snappy-compressed WriteRequest: {error}") from None
        problems = self._codec.problems(message)
        entry.problems.extend(problems)
        if problems:
            return self.failure(entry, 400, problems[0])
        entry.decode = lambda: self._codec.points(message)
        return None

    def _decompression_error(self) -> type[Exception]:
        error: type[Exception] = extra("cramjam").DecompressionError
        return error

    def success(self, entry: Entry, rejected: int | None = None) -> Answer:  # noqa: ARG002 - the other backends use them
        """No content, as Prometheus answers."""
        return Answer(204)

    def failure(self, entry: Entry, status: int, message: str) -> Answer:  # noqa: ARG002 - the other backends use it
        """The message as text, as Prometheus answers."""
        return Answer(status, f"{message}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})


class PlainBackend:
    """Takes any request."""

    def expects(self, entry: Entry) -> Answer | None:  # noqa: ARG002 - the other backends look at it
        """Everything."""
        return None

    def read(self, entry: Entry) -> Answer | None:
        """Undo gzip; keep the body as it is if that fails, since nothing says what it is."""
        try:
            entry.body = decompress(entry, entry.body)
        except BadBodyError as error:
            entry.problems.append(str(error))
        return None

    def success(self, entry: Entry, rejected: int | None = None) -> Answer:  # noqa: ARG002 - the other backends use them
        """An empty 200."""
        return Answer(200)

    def failure(self, entry: Entry, status: int, message: str) -> Answer:  # noqa: ARG002 - the other backends use it
        """The message as text."""
        return Answer(status, f"{message}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})


def _media_type(entry: Entry) -> str:
    return entry.header("content-type").partition(";")[0].strip().lower()


def _only(entry: Entry, path: str) -> Answer | None:
    if entry.path.partition("?")[0] != path:
        return Answer(404)
    return None if entry.method == "POST" else Answer(405, headers={"Allow": "POST"})
