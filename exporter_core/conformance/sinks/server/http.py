"""HTTP/1.1 as far as exporters speak it, with every fault of the script: the base of the HTTP sinks."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING

from exporter_core.conformance.sinks.server.core import GARBAGE, SIGN_IN, Entry, NetworkServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.listener import Wire

_BODY = 1 << 30  # bytes of a body at most, compressed or not
_ELSEWHERE = "/redirected"


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        """The status line."""
        return f"HTTP/1.1 {self.status} {responses.get(self.status, 'Scripted')}\r\n".encode()

    def rest(self, missing: int = 0) -> bytes:
        """Headers and body; ``missing`` bytes are promised beyond the body."""
        headers = dict(self.headers)
        if self.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(self.body) + missing)
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n" + self.body


_SIGN_IN = Answer(200, SIGN_IN, {"Content-Type": "text/html"})


class RefusedError(Exception):
    """A body that the backend refuses, with the problems that it has."""

    def __init__(self, *problems: str, status: int = 400) -> None:
        super().__init__(problems[0])
        self.problems = problems
        self.status = status


def decompress(entry: Entry) -> None:
    """Undo gzip and deflate; RefusedError for anything else."""
    encoding = entry.header("content-encoding").strip().lower()
    if encoding in {"", "identity"}:
        return
    if encoding not in {"gzip", "deflate"}:
        raise RefusedError(f"Content-Encoding {encoding!r} is not supported")
    reader = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        body = reader.decompress(entry.request.body, _BODY)
    except zlib.error as error:
        raise RefusedError(f"the body is not {encoding}: {error}") from None
    if not reader.eof:
        raise RefusedError(f"the {encoding} body is cut short or larger than {_BODY} bytes")
    entry.update(body=body)


def media_type(entry: Entry) -> str:
    """The request's media type, without parameters."""
    return entry.header("content-type").partition(";")[0].strip().lower()


def misdirected(entry: Entry, path: str) -> Answer | None:
    """The answer to a request that is no POST to the path; None for one that is."""
    if entry.request.path.partition("?")[0] != path:
        return Answer(404)
    return None if entry.request.method == "POST" else Answer(405, headers={"Allow": "POST"})


class HttpServer(NetworkServer):
    """An HTTP sink that takes any request; a protocol overrides the first four methods.

    Args:
        secrets: texts that no record may show.
        port: the port; 0 for a free one.
        success_status: the status of the answer to a stored request, where no protocol says another.
        success_body: the body of that answer.
    """

    def __init__(
        self, secrets: Iterable[str] = (), port: int = 0, success_status: int = 200, success_body: bytes = b""
    ) -> None:
        super().__init__(secrets, port)
        self._success = Answer(success_status, success_body)

    def expects(self, entry: Entry) -> Answer | None:  # noqa: ARG002 - for those that override it
        """None for a request to where exporters send; else the answer, which no script decides."""
        return None

    def read(self, entry: Entry) -> None:
        """Decode the body. Raises RefusedError."""
        try:
            decompress(entry)
        except RefusedError as error:  # kept as it is, since nothing says what it is
            entry.problem(str(error))

    def success(self, entry: Entry, partial: Fault | None = None) -> Answer:  # noqa: ARG002 - for those that override it
        """The answer to a stored request, of which the points of a ``partial`` fault were not stored."""
        return replace(self._success)

    def failure(self, entry: Entry, status: int, message: str) -> Answer:  # noqa: ARG002 - for those that override it
        """The answer to a request that failed."""
        return Answer(status, f"{message}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})

    # --- a connection --------------------------------------------------------------------------------------------

    async def serve(self, wire: Wire) -> None:
        """Answer requests until the connection ends."""
        while True:
            try:
                entry = await self._receive(wire)
            except ValueError:
                wire.write(Answer(400).line() + Answer(400).rest())
                return
            wire.busy = True
            go_on = await self._handle(wire, entry)
            wire.busy = False
            if not go_on or wire.ended or entry.header("connection").lower() == "close":
                return
            if not self.listener.accepting:
                wire.reset()
                return

    async def _receive(self, wire: Wire) -> Entry:
        """Read a request. ValueError if it is none."""
        head = await wire.reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = line.split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        headers = [(name, value.strip()) for name, _, value in (item.partition(":") for item in rest)]
        named = {name.lower(): value for name, value in headers}
        if named.get("expect", "").lower() == "100-continue":
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if named.get("transfer-encoding", "").lower() == "chunked":
            body = await _chunks(wire)
        else:
            body = await wire.reader.readexactly(_size(named.get("content-length", "0"), 10))
        return self.add(wire, method, target, headers, body=body, body_size=len(body))

    async def _handle(self, wire: Wire, entry: Entry) -> bool:
        """Serve one request as the script says; False if the connection is over."""
        elsewhere = entry.request.path.partition("?")[0] == _ELSEWHERE
        unscripted = _SIGN_IN if elsewhere else self.expects(entry)
        if unscripted is not None:
            entry.update(fault="redirect target" if elsewhere else "not scripted")
            return self._answer(wire, entry, unscripted)
        fault = self.take_fault()
        entry.update(fault=fault.text)
        refused = None
        try:
            self.read(entry)
        except RefusedError as error:
            entry.problem(*error.problems)
            refused = self.failure(entry, error.status, str(error))
        self.enter(entry)
        if not await self.pass_gate(wire):
            return False
        if fault.kind not in {"ok", "partial", "drip"}:
            return await self._fail(wire, entry, fault)
        if refused is not None:
            return self._answer(wire, entry, refused)
        if fault.kind == "drip" and not await self._drip(wire, entry, fault):
            return False
        if fault.kind == "partial":
            entry.rejected = min(fault.points, len(entry.points))
        entry.update(stored=self.stamp())
        answer = self.success(entry, fault if fault.kind == "partial" else None)
        return self._answer(wire, entry, answer, begun=fault.kind == "drip")

    async def _drip(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        """Send the answer's beginning a byte at a time, in a header without end; False if the peer has gone."""
        answer = self.success(entry)
        entry.update(status=answer.status)
        begun, drops = self.drips_finished, iter(answer.line() + b"X-Drip: ")
        while await self.drip(fault, begun, wire):
            wire.write(bytes([next(drops, ord("x"))]))
        if not wire.gone():
            wire.write(bytes(drops) + b"\r\n")
        return not wire.gone()

    async def _fail(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        match fault.kind:
            case "reset":
                if fault.stored and not entry.request.problems:
                    entry.update(stored=self.stamp())
                wire.reset()
                self.changed()
            case "garbage" if fault.html:
                return self._answer(wire, entry, _SIGN_IN)
            case "garbage":
                entry.update(answered=self.stamp())
                wire.write(GARBAGE)
            case "truncate":
                answer = self.success(entry)
                answer.status = 200
                entry.update(status=200)
                wire.write(answer.line() + answer.rest(missing=64) + b"\0" * (0 if fault.empty else 32))
            case "stall":
                answer = self.success(entry)
                entry.update(status=answer.status)
                answer.body = b""
                wire.write(answer.line() + answer.rest(missing=64))
                await self.until(wire.gone)
            case "redirect":
                return self._answer(wire, entry, Answer(int(fault.status), headers={"Location": _ELSEWHERE}))
            case "status":
                return self._answer(wire, entry, self.failure(entry, int(fault.status), "scripted"))
            case "retry-after" | "retry-after-date":
                answer = self.failure(entry, int(fault.status or 503), "scripted")
                date = formatdate(time.time() + fault.seconds, usegmt=True)
                answer.headers["Retry-After"] = date if fault.kind == "retry-after-date" else f"{fault.seconds:g}"
                return self._answer(wire, entry, answer)
            case _:  # hang; and refuse, blackhole or silence on a connection that exists
                await self.until(wire.gone)
        return False

    def _answer(self, wire: Wire, entry: Entry, answer: Answer, *, begun: bool = False) -> bool:
        """Send an answer, without its status line if that was ``begun``; True, for the connection goes on."""
        # The stamp comes first, so that no client can have the answer before it.
        entry.update(status=answer.status, answered=self.stamp())
        wire.write((b"" if begun else answer.line()) + answer.rest())
        self.changed()
        return True


async def _chunks(wire: Wire) -> bytes:
    """Read a chunked body. ValueError for a size that is none."""
    body = bytearray()
    while size := _size((await wire.reader.readuntil(b"\r\n")).decode("latin-1").partition(";")[0].strip(), 16):
        body += (await wire.reader.readexactly(size + 2))[:-2]
    await wire.reader.readexactly(2)
    return bytes(body)


def _size(digits: str, base: int) -> int:
    size = int(digits, base) if digits.isalnum() else -1
    if not 0 <= size <= _BODY:
        raise ValueError(digits)
    return size
