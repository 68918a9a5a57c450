"""HTTP/1.1 as far as exporters speak it, with every fault of the script: the server of the HTTP sinks."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from exporter_core.conformance.sinks.server.core import GARBAGE, Entry

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.core import Core
    from exporter_core.conformance.sinks.server.listener import Listener, Wire

_HEAD = 65536  # bytes of a request's head at most
_BODY = 1 << 30  # bytes of a body at most, compressed or not
_ELSEWHERE = "/redirected"
_HTML = b"<!doctype html><title>Sign in</title><p>Sign in to go on."


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def head(self, length: int | None = None) -> bytes:
        """Status line and headers, with the blank line."""
        return f"HTTP/1.1 {self.status} {_phrase(self.status)}\r\n".encode() + self.fields(length)

    def fields(self, length: int | None = None) -> bytes:
        """The headers, with the blank line."""
        headers = dict(self.headers)
        if self.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(self.body) if length is None else length)
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"


class Backend(Protocol):
    """What one protocol makes of requests."""

    def expects(self, entry: Entry) -> Answer | None:
        """None for a request to where exporters send; else the answer, which no script decides."""
        ...

    def read(self, entry: Entry) -> Answer | None:
        """Decode the body; the answer of a backend that refuses it, or None."""
        ...

    def success(self, entry: Entry, rejected: int | None = None) -> Answer:
        """The answer to what was stored; ``rejected`` points were not (None: no partial success)."""
        ...

    def failure(self, entry: Entry, status: int, message: str) -> Answer:
        """The answer to a request that failed."""
        ...


class BadBodyError(Exception):
    """A body that cannot be read; the message says why."""


def decompress(entry: Entry, body: bytes) -> bytes:
    """Undo gzip and deflate; BadBodyError for anything else."""
    encoding = entry.header("content-encoding").strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise BadBodyError(f"Content-Encoding {encoding!r} is not supported")
    reader = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        plain = reader.decompress(body, _BODY)
    except zlib.error as error:
        raise BadBodyError(f"the body is not {encoding}: {error}") from None
    if not reader.eof:
        raise BadBodyError(f"the {encoding} body is cut short or larger than {_BODY} bytes")
    return plain


class HttpServer:
    """Serves the connections of one HTTP sink."""

    def __init__(self, core: Core, backend: Backend) -> None:
        self._core = core
        self._backend = backend
        self.listener: Listener | None = None

    async def serve(self, wire: Wire) -> None:
        """Answer requests until the connection ends."""
        while (entry := await self._read(wire)) is not None:
            wire.busy = True
            go_on = await self._handle(wire, entry)
            wire.busy = False
            if not go_on or wire.ended or entry.header("connection").lower() == "close":
                return
            if self.listener is not None and not self.listener.accepting:
                wire.reset()
                return

    async def _read(self, wire: Wire) -> Entry | None:
        head = await wire.read_until(b"\r\n\r\n", _HEAD)
        if head is None:
            return None
        line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target and version
            wire.write(Answer(400).head())
            return None
        headers = [(name, value.strip()) for name, _, value in (item.partition(":") for item in rest)]
        named = {name.lower(): value for name, value in headers}
        if named.get("expect", "").lower() == "100-continue":
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._body(wire, named)
        if body is None:
            return None
        entry = Entry(self._core, wire.number, words[0], words[1], headers=headers, body_size=len(body))
        entry.body = body
        return entry

    async def _body(self, wire: Wire, headers: dict[str, str]) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > _BODY:
                wire.write(Answer(400).head())
                return None
            return await wire.read_exactly(int(length))
        pieces: list[bytes] = []
        while (line := await wire.read_until(b"\r\n", _HEAD)) is not None:
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                size = -1
            if not 0 <= size <= _BODY:
                wire.write(Answer(400).head())
                return None
            piece = await wire.read_exactly(size + 2)
            if piece is None:
                return None
            if not size:
                return b"".join(pieces)
            pieces.append(piece[:-2])
        return None

    async def _handle(self, wire: Wire, entry: Entry) -> bool:
        """Do with one request what the script says; whether the connection goes on."""
        core = self._core
        if entry.path.partition("?")[0] == _ELSEWHERE:
            entry.note = "redirect target"
            core.entries.append(entry)
            return self._answer(wire, entry, Answer(200, _HTML, {"Content-Type": "text/html"}))
        misdirected = self._backend.expects(entry)
        if misdirected is not None:
            entry.note = "not scripted"
            core.entries.append(entry)
            return self._answer(wire, entry, misdirected)
        entry.fault = fault = core.take_fault()
        core.entries.append(entry)
        refused = self._read_body(entry)
        core.enter(entry)
        if not await core.pass_gate(wire.gone):
            return False
        if fault.kind in {"ok", "partial", "drip"}:
            if refused is not None:
                return self._answer(wire, entry, refused)
            return await self._accept(wire, entry, fault)
        return await self._fail(wire, entry, fault)

    def _read_body(self, entry: Entry) -> Answer | None:
        try:
            return self._backend.read(entry)
        except BadBodyError as error:
            entry.problems.append(str(error))
            return self._backend.failure(entry, 400, str(error))

    async def _accept(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        core = self._core
        if fault.kind == "drip":
            answer = self._backend.success(entry)
            entry.status = answer.status
            begun = core.drips_finished
            drops = iter(f"HTTP/1.1 {answer.status} {_phrase(answer.status)}\r\nX-Drip: ".encode())
            while await core.drip(fault, begun, wire.gone):
                wire.write(bytes([next(drops, ord("x"))]))  # the header goes on until the drip is finished
            if wire.gone():
                return False
            entry.stored = core.stamp()
            entry.answered = core.stamp()
            wire.write(bytes(drops) + b"\r\n" + answer.fields() + answer.body)
            core.changed()
            return True
        if fault.kind == "partial":
            entry.rejected = min(fault.points, len(entry.points()))
        entry.stored = core.stamp()
        return self._answer(
            wire, entry, self._backend.success(entry, fault.points if fault.kind == "partial" else None)
        )

    async def _fail(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        core = self._core
        if fault.kind == "reset":
            wire.reset()
        elif fault.kind == "garbage" and not fault.html:
            entry.answered = core.stamp()
            wire.write(GARBAGE)
        elif fault.kind == "truncate":
            answer = self._backend.success(entry)
            answer.status = entry.status = 200
            wire.write(answer.head(length=len(answer.body) + 64) + answer.body + b"\0" * 32)
        elif fault.kind == "garbage":
            return self._answer(wire, entry, Answer(200, _HTML, {"Content-Type": "text/html"}))
        elif fault.kind == "redirect":
            return self._answer(wire, entry, Answer(int(fault.status), headers={"Location": _ELSEWHERE}))
        elif fault.kind == "status":
            return self._answer(wire, entry, self._backend.failure(entry, int(fault.status), "scripted"))
        elif fault.kind.startswith("retry-after"):
            answer = self._backend.failure(entry, int(fault.status or 503), "scripted")
            dated = fault.kind == "retry-after-date"
            answer.headers["Retry-After"] = (
                formatdate(time.time() + fault.seconds, usegmt=True) if dated else f"{fault.seconds:g}"
            )
            return self._answer(wire, entry, answer)
        else:  # hang; and refuse or blackhole on a connection that exists
            await core.until(wire.gone)
        return False

    def _answer(self, wire: Wire, entry: Entry, answer: Answer) -> bool:
        entry.status = answer.status
        # The stamp comes first, so that no client can have the answer before it.
        entry.answered = self._core.stamp()
        wire.write(answer.head() + answer.body)
        self._core.changed()
        return True


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Scripted"
