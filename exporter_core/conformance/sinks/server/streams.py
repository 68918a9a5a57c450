"""File and standard output as backends: what was written is read when someone asks, so that the answer is exact."""

from __future__ import annotations

import asyncio
import bisect
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.sinks.records import Line, Point, Stamp
from exporter_core.conformance.sinks.server.extras import extra

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.server.core import Core

_PIPE_SIZE: Final = 4096  # bytes: as small as Linux makes a pipe, so that a writer soon feels a shut gate
_TEMPORALITY: Final = {0: "", 1: "delta", 2: "cumulative"}


class Stream:
    """Text that grows, and when each piece of it was seen."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.content = bytearray()
        self._pieces: list[tuple[int, Stamp]] = []

    def add(self, data: bytes) -> None:
        """Keep one more piece."""
        if data:
            self.content += data
            self._pieces.append((len(self.content), self.core.stamp()))
            self.core.changed()

    def clear(self) -> None:
        """Forget everything seen."""
        self.content.clear()
        self._pieces.clear()

    def seen(self, end: int) -> Stamp:
        """When the byte before this position was seen."""
        return self._pieces[bisect.bisect_left(self._pieces, end, key=lambda piece: piece[0])][1]

    def lines(self) -> list[Line]:
        """The complete lines."""
        found: list[Line] = []
        start = 0
        while (end := self.content.find(b"\n", start)) >= 0:
            found.append(Line(self.content[start:end].decode(errors="replace"), self.seen(end + 1)))
            start = end + 1
        return found

    def points(self) -> list[Point]:
        """The points of every JSON object in it that is OTLP's or the OpenTelemetry SDK's."""
        text = self.content.decode("latin-1")  # one character a byte, so that positions are the stream's
        decoder = json.JSONDecoder()
        found: list[Point] = []
        position = text.find("{")
        while position >= 0:
            try:
                _, end = decoder.raw_decode(text, position)
            except ValueError:
                after = text.find("\n", position)
                position = text.find("{", after) if after >= 0 else -1
                continue
            found.extend(_points_of(json.loads(self.content[position:end]), self.seen(end)))
            position = text.find("{", end)
        return found


class FileStream(Stream):
    """A file that someone else writes."""

    def __init__(self, core: Core, path: str) -> None:
        super().__init__(core)
        self._path = Path(path)
        self._read = 0

    def sync(self) -> None:
        """Read what is in the file beyond what was read before; a file that was cut is read from its start."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read:
                    self._read = 0
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return  # nothing has been written yet
        self._read += len(data)
        self.add(data)


class PipeStream(Stream):
    """The read end of a pipe that stands for someone's standard output; a shut gate stops reading."""

    def __init__(self, core: Core, descriptor: int) -> None:
        super().__init__(core)
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self.ended = False
        self._watch()

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        if not self.core.shut:
            self._drain(once=True)
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self.core.entered += 1
        self.core.changed()

    def reopened(self) -> None:
        """Go on reading after the gate was opened."""
        if not self.ended:
            self._watch()

    def close(self) -> None:
        """Read no more; whoever still writes gets a broken pipe."""
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def sync(self) -> None:
        """Read all that is in the pipe, unless the gate is shut."""
        if not self.core.shut and not self.ended:
            self._drain()

    def _drain(self, *, once: bool = False) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._descriptor)
                os.close(self._descriptor)
                self.ended = True
                self.core.changed()
                return
            self.add(data)
            if once:
                return


def _points_of(value: Any, seen: Stamp) -> list[Point]:  # JSON
    if not isinstance(value, dict):
        return []
    if "resourceMetrics" in value:
        otlp = extra("exporter_core.conformance.sinks.server.decode_otlp")
        try:
            return [replace(point, stored=seen) for point in otlp.points(otlp.from_json(value))]
        except ValueError:
            return []  # something else that has the key; the lines show it
    if "resource_metrics" in value:
        return _sdk_points(value, seen)
    return []


def _sdk_points(value: dict[str, Any], seen: Stamp) -> list[Point]:
    """Points of the OpenTelemetry SDK's ``MetricsData.to_json()``."""
    found: list[Point] = []
    for resource_metrics in value["resource_metrics"]:
        resource = resource_metrics["resource"]
        for scope_metrics in resource_metrics["scope_metrics"]:
            scope = scope_metrics["scope"]
            for metric in scope_metrics["metrics"]:
                data = metric["data"]
                for item in data["data_points"]:
                    kind, number = _sdk_value(data, item)
                    found.append(
                        Point(
                            metric=metric["name"],
                            kind=kind,
                            unit=metric["unit"] or "",
                            description=metric["description"] or "",
                            temporality=_TEMPORALITY.get(data.get("aggregation_temporality", 0), "unknown"),
                            monotonic=data.get("is_monotonic"),
                            value=number,
                            attributes=item["attributes"] or {},
                            time_unix_nano=item["time_unix_nano"],
                            start_time_unix_nano=item["start_time_unix_nano"] or 0,
                            flags=item.get("flags") or 0,
                            exemplars=tuple(item.get("exemplars") or ()),
                            resource=resource["attributes"],
                            resource_schema_url=resource_metrics.get("schema_url") or "",
                            scope=scope["name"],
                            scope_version=scope.get("version") or "",
                            scope_attributes=scope.get("attributes") or {},
                            scope_schema_url=scope_metrics.get("schema_url") or "",
                            stored=seen,
                        )
                    )
    return found


def _sdk_value(data: dict[str, Any], item: dict[str, Any]) -> tuple[str, Any]:
    if "value" in item:
        return ("sum" if "is_monotonic" in data else "gauge"), item["value"]
    names = ["count", "sum", "min", "max"]
    if "bucket_counts" in item:
        kind, more = "histogram", ["bucket_counts", "explicit_bounds"]
    else:
        kind, more = "exponential_histogram", ["scale", "zero_count", "zero_threshold", "positive", "negative"]
    return kind, {name: item.get(name) for name in names + more}
