"""``--sink``: a harness for an exporter that has none, made from the options that point it at a sink of the kit's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, cast

from exporter_core.conformance.observe.harness import Capabilities
from exporter_core.conformance.observe.sink_harness import FileSinkHarness, SinkHarness, StdoutSinkHarness
from exporter_core.conformance.observe.sink_points import IDENTITIES
from exporter_core.conformance.observe.tokens import FIELDS, Point
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from exporter_core.conformance.observe.harness import Harness

SINKS: Final = ("otlp_http", "otlp_grpc", "remote_write", "http", "tcp", "file", "stdout")
"""The kinds of sink."""

PLACEHOLDERS: Final = ("endpoint", "address", "host", "port", "path")
"""The names that options may have in braces: the sink's URL, its ``host:port`` and the parts of that, its file."""

_PLACEHOLDER: Final = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
_TOKEN: Final = re.compile(rb"[A-Z]+-\d\d-(?:raw|guarded)-\d+")
_LARGEST_PORT: Final = 65535
_FIRST_SUCCESS, _LAST_SUCCESS = 200, 299
_BACKENDS: Final = {"file": "a file", "stdout": "a stream"}
_WRITTEN: Final[dict[str, type]] = {"file": FileSinkHarness, "stdout": StdoutSinkHarness}


class SinkChoice(NamedTuple):
    """A sink as ``--sink`` has it: ``KIND[:PORT][,holds][,not_carried=FIELD+FIELD][,success=STATUS[:BODY]]``."""

    kind: str
    port: int
    """0 for a free one."""
    capabilities: Capabilities
    answers: Mapping[str, Any]  # Any: as the sink's constructor has it


def port_of(sink: str) -> int:
    """The port in ``KIND:PORT``, 0 if none is given. Raises SetupError if that is no sink."""
    return _read(sink).port


def pointed(sink: str, options: Mapping[str, Any] | None) -> type[Harness]:  # Any: the exporter's options
    """A harness class over a sink.

    Points are read where the sink understands what it gets; elsewhere the identities of points are looked for in the
    bytes, so that their arrival can be seen and their content cannot.

    Args:
        sink: its kind, or more; see :class:`SinkChoice`.
        options: the exporter's options, with placeholders; without them, ``endpoint`` for a network sink and ``path``
            for a file.

    Raises:
        SetupError: there is no such sink, or nothing in the options can point at it.
    """
    chosen = _read(sink)
    if options is not None and chosen.kind != "stdout" and not chosen.port:
        _check_points_somewhere(chosen.kind, options)
    members = {
        **chosen._asdict(),
        "options": options,
        "gated": True,
        "pointed": True,
        "__module__": __name__,
    }
    made: type[Harness] = type("PointedHarness", (_Pointed, _WRITTEN.get(chosen.kind, SinkHarness)), members)
    return made


def _check_points_somewhere(kind: str, options: Mapping[str, Any]) -> None:  # Any: the exporter's options
    """Raise SetupError if no option has a placeholder: the sink's place is another one in each run."""
    found: list[str] = []

    def look(text: str) -> str:
        found.extend(_PLACEHOLDER.findall(text))
        return text

    in_texts(options, look)
    if not found:
        where = "{path}" if kind == "file" else "{endpoint}, {address} or {port}"
        raise SetupError(f"--sink {kind}: nothing in --config points at it; write {where} where it belongs")


class _Pointed:
    """A harness with the sink's address in its options, that looks for tokens where the sink reads no points."""

    kind: ClassVar[str]
    options: ClassVar[Mapping[str, Any] | None]  # Any: the exporter's options

    def config(self) -> Mapping[str, Any]:  # Any: as above
        values = _values(self)
        if self.options is None:
            return {name: values[name] for name in ("endpoint", "path") if name in values}
        filled = in_texts(self.options, lambda text: _PLACEHOLDER.sub(lambda match: _value(match, values), text))
        return cast("Mapping[str, Any]", filled)  # Any: as above

    def read_back(self) -> Iterable[Point]:
        harness: Any = super()  # of the class that stands after this one
        found = [] if self.kind in ("http", "tcp") else list(harness.read_back())
        if found or self.kind not in ("http", "tcp", *_WRITTEN):
            return found
        return [Point(token, {}) for token in _tokens(harness._contents())]

    def read_identities(self) -> Iterable[str]:
        harness: Any = self  # as above
        found = [] if self.kind in ("http", "tcp") else harness.sink.identities(*IDENTITIES)
        return found if found or self.kind not in ("http", "tcp", *_WRITTEN) else _tokens(harness._contents())


def _tokens(contents: Iterable[bytes]) -> list[str]:
    return [token.decode() for content in contents for token in _TOKEN.findall(content)]


def _read(sink: str) -> SinkChoice:
    place, _, more = sink.partition(",")
    kind, _, port = place.partition(":")
    kind = kind.replace("-", "_")
    if kind not in SINKS:
        raise SetupError(
            f"--sink {sink}: expected one of {', '.join(SINKS)}, with a network sink's port after a colon if need be"
        )
    if port and (kind in _WRITTEN or not port.isdecimal() or not 0 < int(port) <= _LARGEST_PORT):
        raise SetupError(f"--sink {sink}: expected a port from 1 to {_LARGEST_PORT} after a network sink")
    capabilities, answers = _properties(sink, kind, more)
    return SinkChoice(kind, int(port or 0), capabilities, answers)


def _properties(sink: str, kind: str, more: str) -> tuple[Capabilities, Mapping[str, Any]]:  # Any: as above
    """Return the exporter's capabilities and the answer that means success, which follow the sink's place."""
    capabilities = Capabilities.without_answers(_BACKENDS[kind]) if kind in _WRITTEN else Capabilities()
    answers: dict[str, Any] = {}
    more, _, success = more.partition("success=") if more.startswith("success=") else more.partition(",success=")
    for part in filter(None, more.split(",")):
        name, _, value = part.partition("=")
        if part == "holds":
            absent = {pattern: why for pattern, why in capabilities.not_applicable.items() if pattern != "FLU-04"}
            capabilities = replace(capabilities, holds=True, not_applicable=absent)
        elif name == "not_carried" and (value == "*" or FIELDS.issuperset(value.split("+"))):
            capabilities = replace(capabilities, not_carried=FIELDS if value == "*" else frozenset(value.split("+")))
        else:
            known = (
                f"holds, not_carried=* or =FIELD+FIELD with fields of {', '.join(sorted(FIELDS))}, or success=STATUS"
            )
            raise SetupError(f"--sink {sink}: {part!r} is unknown; expected {known}")
    if success:
        status, _, body = success.partition(":")
        if kind != "http" or not status.isdecimal() or not _FIRST_SUCCESS <= int(status) <= _LAST_SUCCESS:
            raise SetupError(f"--sink {sink}: expected success=STATUS or success=STATUS:BODY, from 200 to 299, of http")
        answers = {"success": int(status), "body": body.encode()}
    return capabilities, answers


def _values(harness: object) -> dict[str, str]:
    if isinstance(harness, SinkHarness):
        host, _, port = harness.address.partition(":")
        return {"endpoint": harness.endpoint, "address": harness.address, "host": host, "port": port}
    return {"path": str(harness.path)} if isinstance(harness, FileSinkHarness) else {}


def in_texts(value: Any, change: Callable[[str], str]) -> Any:  # Any: options, or a part of them
    """The value with every text in it changed, keys left as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: in_texts(item, change) for key, item in value.items()}
    return [in_texts(item, change) for item in value] if isinstance(value, list | tuple) else value


def _value(match: re.Match[str], values: Mapping[str, str]) -> str:
    if match[1] not in values:
        known = ", ".join(f"{{{name}}}" for name in values) or "none"
        raise SetupError(f"--config: {match[0]} is not known for this sink; it has {known}")
    return values[match[1]]
