"""The records of a sink: requests, connections and data points, each with order stamps."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Stamp(NamedTuple):
    """A moment, in an order that holds across processes of one machine.

    ``ns`` is the monotonic clock, which all processes share; ``sequence`` counts the events of one sink from 1, and is
    0 in a stamp of the caller's own.
    """

    ns: int
    sequence: int = 0


def stamp() -> Stamp:
    """The present moment, to compare with the stamps of a sink."""
    return Stamp(time.monotonic_ns())


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One data point as it arrived.

    ``value`` is a number, or for histograms and summaries a dictionary of what the protocol has (``count``, ``sum``,
    ``bucket_counts``, ...). ``kind`` is gauge, sum, histogram, exponential_histogram or summary; from remote write
    sample or native_histogram. ``resource`` and ``scope_attributes`` stay empty where the protocol has none.
    """

    metric: str
    kind: str
    value: Any  # a number or a dictionary, as the protocol has it
    attributes: dict[str, Any]  # attribute values are of several types
    time_unix_nano: int
    start_time_unix_nano: int = 0
    unit: str = ""
    description: str = ""
    temporality: str = ""
    monotonic: bool | None = None
    flags: int = 0
    exemplars: tuple[dict[str, Any], ...] = ()
    resource: dict[str, Any] = field(default_factory=dict)
    resource_schema_url: str = ""
    scope: str = ""
    scope_version: str = ""
    scope_attributes: dict[str, Any] = field(default_factory=dict)
    scope_schema_url: str = ""
    request: int = 0
    """The number of the request that brought it; 0 from a file or standard output."""
    stored: Stamp | None = None
    """The time at which the backend had it; None if the script made the request fail."""

    @property
    def identity(self) -> tuple[object, ...]:
        """The identity of this point, hashable: resource, scope, metric, attributes, value, time.

        Types count: ``1``, ``1.0`` and ``True`` differ; a NaN equals itself.
        """
        scope = (self.scope, self.scope_version, freeze(self.scope_attributes), self.scope_schema_url)
        return (
            freeze(self.resource),
            scope,
            self.metric,
            self.kind,
            freeze(self.attributes),
            freeze(self.value),
            self.time_unix_nano,
        )


def freeze(value: object) -> object:
    """A hashable form of a value that keeps types apart and lets a NaN equal itself."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, freeze(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(freeze(item) for item in value))
    if isinstance(value, float):
        return ("float", value.hex())
    return (type(value).__name__, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, or for raw TCP one piece of data, as the sink saw it. Secrets in path and headers are masked.

    The stamps, in their order: ``received`` (its last byte), ``entered`` (the sink took it up; a shut gate holds it
    here), ``stored`` (the backend has its data), ``answered`` (the last byte of the answer was handed to the operating
    system). A stamp is None for what did not happen.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body_size: int
    """Bytes on the wire, that is compressed."""
    fault: str
    received: Stamp
    entered: Stamp | None = None
    stored: Stamp | None = None
    answered: Stamp | None = None
    status: int | str | None = None
    """The HTTP status or the name of the gRPC status code that was sent."""
    problems: tuple[str, ...] = ()
    """Violations of its protocol, a line each."""
    body: bytes = field(default=b"", repr=False)
    """Decompressed; for gRPC the serialized message."""
    points: tuple[Point, ...] = field(default=(), repr=False)
    """Every point that was sent, stored or not."""
    digests: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def header(self, name: str) -> str | None:
        """The first header of this name, in any case of letters; a secret one is ``***``."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def sent_header(self, name: str, value: str) -> bool:
        """True if it had exactly this header, which may be secret."""
        return (name.lower(), digest(value)) in self.digests

    def as_dict(self) -> dict[str, Any]:
        """The record for a wire log, as JSON has it: all but body, points and digests."""
        return _as_dict(self, leave_out=("body", "points", "digests")) | {"points": len(self.points)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection to the sink; ``closed_by`` is ``"peer"`` or ``"sink"``."""

    number: int
    opened: Stamp
    closed: Stamp | None = None
    closed_by: str | None = None
    bytes_received: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The record for a wire log, as JSON has it."""
        return _as_dict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file or of standard output, without its line feed.

    ``seen`` is when the sink read it, which is after it was written and before the call that returned it.
    """

    text: str
    seen: Stamp


def kept_beside(path: Path) -> Path:
    """The place of a sink's file while its gate is shut."""
    return path.with_name(f"{path.name}.kept")


def digest(value: str) -> str:
    """The hash by which a header's value is compared, so that no record holds the secret."""
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()


def _as_dict(record: Request | Connection, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    values = ((item.name, getattr(record, item.name)) for item in fields(record) if item.name not in leave_out)
    return {name: value._asdict() if isinstance(value, Stamp) else value for name, value in values}
