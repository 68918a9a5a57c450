"""The file and standard-output sinks: they read when someone asks, so that the answer is exact."""

from __future__ import annotations

import asyncio
import bisect
import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from exporter_core.conformance.sinks.records import Line, Point, Stamp, kept_beside
from exporter_core.conformance.sinks.server.core import SinkServer, identity_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PIPE_SIZE: Final = 4096  # bytes: as small as Linux makes a pipe, so that a writer soon feels a shut gate
_READ: Final = 65536  # bytes read at a time
_TEMPORALITY: Final = {0: "", 1: "delta", 2: "cumulative"}


class StreamServer(SinkServer):
    """A sink of text that grows; it keeps the time at which it saw each piece."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__(secrets)
        self._content = bytearray()
        self._pieces: list[tuple[int, Stamp]] = []

    def sync(self) -> None:
        """Read what was written since the last call."""
        raise NotImplementedError

    def content(self) -> bytes:
        self.sync()
        return bytes(self._content)

    def lines(self) -> list[Line]:
        self.sync()
        found: list[Line] = []
        start = 0
        while (end := self._content.find(b"\n", start)) >= 0:
            found.append(Line(self._content[start:end].decode(errors="replace"), self._seen(end + 1)))
            start = end + 1
        return found

    def points(self) -> list[Point]:
        """The points of every JSON object in the text that is OTLP's or the OpenTelemetry SDK's."""
        return [
            replace(point, stored=self._seen(end))
            for begin, end, _ in self._objects()
            for point in _points_of(json.loads(self._content[begin:end]))
        ]

    def identities(self, names: Sequence[str]) -> list[str]:
        return [identity_in(one, names) for _, _, value in self._objects() for one in _attributes_in(value)]

    def _objects(self) -> Iterator[tuple[int, int, Any]]:  # Any: JSON
        """Every JSON object in the text, with beginning and end; what is not ASCII in it is not right."""
        self.sync()
        text = self._content.decode("latin-1")  # one character a byte, so that positions are the stream's
        decoder = json.JSONDecoder()
        position = text.find("{")
        while position >= 0:
            try:
                value, end = decoder.raw_decode(text, position)
            except ValueError:
                after = text.find("\n", position)
                position = text.find("{", after) if after >= 0 else -1
                continue
            yield position, end, value
            position = text.find("{", end)

    def clear(self) -> None:
        self.sync()
        self._content.clear()
        self._pieces.clear()

    def _add(self, data: bytes) -> None:
        if data:
            self._content += data
            self._pieces.append((len(self._content), self.stamp()))
            self.changed()

    def _forget(self, place: int) -> None:
        """Forget the content from this place on."""
        del self._content[place:]
        self._pieces = [(min(end, place), stamp) for end, stamp in self._pieces]

    def _seen(self, end: int) -> Stamp:
        """The time at which the byte before this position was seen."""
        return self._pieces[bisect.bisect_left(self._pieces, end, key=lambda piece: piece[0])][1]


class FileServer(StreamServer):
    """A file that the exporter writes; while the gate is shut, a full pipe that nobody reads has its name."""

    def __init__(self, path: str, secrets: Iterable[str] = (), *, forgets: bool = False) -> None:
        super().__init__(secrets)
        self._path = Path(path)
        self._forgets = forgets
        self._kept = kept_beside(self._path)
        self._file: BinaryIO | None = None  # open, so that nothing else gets its identity
        self._read = 0
        self._begun = 0  # the place in the content at which the file's begins
        self._pipe: int | None = None
        self._filling = 0  # bytes in the pipe that no exporter wrote

    async def stop(self) -> None:
        """Read no more."""
        await super().stop()
        self._end_pipe()
        self._end_file()

    def shut(self) -> Stamp:
        """Put a full pipe in the place of the file, which is kept beside it."""
        if not self.is_shut:
            self.sync()
            self._end_pipe()
            # Whoever opens the name meanwhile gets the file or a full pipe: it is never gone, and never another's.
            pipe = self._path.with_name(f"{self._path.name}.pipe")
            os.mkfifo(pipe)
            self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            self._filling = _fill(self._pipe, pipe)
            self._path.touch()
            self._kept.hardlink_to(self._path)
            pipe.rename(self._path)
        return super().shut()

    def open(self) -> Stamp:
        """Put the file back, and read the pipe to its end."""
        if self._kept.exists():
            self._kept.replace(self._path)
        was_shut, opened = self.is_shut, super().open()
        if was_shut and self._pipe is not None:
            asyncio.get_running_loop().add_reader(self._pipe, self._read_pipe)
        return opened

    def sync(self) -> None:
        """Read the file beyond what was read before; one that was cut, or that has its name since, from its start."""
        while not self.is_shut and self._read_pipe():
            pass
        if self._file is not None and self._is_gone(os.fstat(self._file.fileno())):
            if self._forgets and not self._has_company():
                self._forget(self._begun)
            self._end_file()
        try:
            file = (self._kept if self._kept.exists() else self._path).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return  # nothing has been written yet, or a fault has the file's name
        now = os.fstat(file.fileno())
        if not stat.S_ISREG(now.st_mode):  # a fault's
            file.close()
            return
        if self._file is None or not os.path.samestat(os.fstat(self._file.fileno()), now):
            self._read_file()  # to the end of one that has another name since
            self._end_file()
            self._file, self._begun = file, len(self._content)
        else:
            file.close()
        self._read_file()

    def clear(self) -> None:
        super().clear()
        self._begun = 0

    def _is_gone(self, now: os.stat_result) -> bool:
        return not now.st_nlink or now.st_size < self._read

    def _has_company(self) -> bool:
        """True if another file is beside this one, such as a compressed copy, which may have what this one had."""
        with os.scandir(self._path.parent) as found:
            return any(one.is_file() and one.name not in (self._path.name, self._kept.name) for one in found)

    def _read_file(self) -> None:
        if self._file is not None:
            self._file.seek(self._read)
            data = self._file.read()
            self._read += len(data)
            self._add(data)

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._read = None, 0

    def _read_pipe(self) -> bool:
        """Read a piece of what was written while the gate was shut; False if there was none."""
        if self._pipe is None:
            return False
        try:
            data = os.read(self._pipe, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._end_pipe()
        filling = min(self._filling, len(data))
        self._filling -= filling
        self._add(data[filling:])
        return bool(data)

    def _end_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)


class PipeServer(StreamServer):
    """The read end of a pipe that stands for an exporter's standard output; a shut gate stops reading."""

    def __init__(self, descriptor: int, secrets: Iterable[str] = ()) -> None:
        super().__init__(secrets)
        self._descriptor = descriptor
        self._ended = False
        os.set_blocking(descriptor, False)
        _make_small(descriptor)
        self._watch()

    async def stop(self) -> None:
        """Read no more; a process that still writes gets a broken pipe."""
        await super().stop()
        self._end()

    def shut(self) -> Stamp:
        self.sync()
        return super().shut()

    def open(self) -> Stamp:
        was_shut, opened = self.is_shut, super().open()
        if was_shut and not self._ended:
            self._watch()
        return opened

    async def await_text(self, text: bytes, timeout: float) -> None:  # noqa: ASYNC109 - the parent's bound
        await self.in_time(lambda: text in self._content, timeout, lambda: f"{text!r} was not written")

    def sync(self) -> None:
        """Read all that is in the pipe, unless the gate is shut."""
        while not self.is_shut and not self._ended and self._read():
            pass

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        if not self.is_shut:
            self._read()
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self.entered += 1
        self.changed()

    def _read(self) -> bool:
        """Read one piece; False if there was none."""
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._end()
        self._add(data)
        return bool(data)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.changed()


def _make_small(pipe: int) -> None:
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def _fill(pipe: int, path: Path) -> int:
    """Fill a pipe that has a name; the number of bytes in it."""
    _make_small(pipe)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    filled = 0
    try:
        while True:
            filled += os.write(writer, b"\n")
    except BlockingIOError:
        return filled
    finally:
        os.close(writer)


def _attributes_in(value: Any) -> Iterator[Mapping[str, object]]:  # Any: JSON
    """The attributes of each point in an object; those of OTLP's JSON that are texts."""
    with suppress(AttributeError, KeyError, TypeError):  # it is something else
        for of_resource in value.get("resourceMetrics") or value.get("resource_metrics") or ():
            for of_scope in of_resource.get("scopeMetrics") or of_resource.get("scope_metrics") or ():
                for metric in of_scope["metrics"]:
                    for data in metric.values():
                        if isinstance(data, dict):
                            yield from map(_attributes_of, data.get("dataPoints") or data.get("data_points") or ())


def _attributes_of(point: Any) -> Mapping[str, object]:  # Any: JSON
    found = point["attributes"] or {}
    return found if isinstance(found, dict) else {one["key"]: one["value"].get("stringValue", "") for one in found}


def _points_of(value: Any) -> list[Point]:  # Any: JSON
    if not isinstance(value, dict):
        return []
    if "resourceMetrics" in value:
        # Only these need protobuf, an extra.
        from exporter_core.conformance.sinks.server import decode_otlp  # noqa: PLC0415 - as the line above says

        try:
            return decode_otlp.points(decode_otlp.from_json(value))
        except ValueError:
            return []  # something else that has the key; the lines show it
    return _sdk_points(value) if "resource_metrics" in value else []


def _sdk_points(value: dict[str, Any]) -> list[Point]:  # Any: JSON
    """Points of the OpenTelemetry SDK's ``MetricsData.to_json()``."""
    return [
        _sdk_point(of_resource, of_scope, metric, item)
        for of_resource in value["resource_metrics"]
        for of_scope in of_resource["scope_metrics"]
        for metric in of_scope["metrics"]
        for item in metric["data"]["data_points"]
    ]


def _sdk_point(of_resource: Any, of_scope: Any, metric: Any, item: Any) -> Point:  # Any: JSON
    scope, data = of_scope["scope"], metric["data"]
    kind, number = _sdk_value(data, item)
    return Point(
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
        resource=of_resource["resource"]["attributes"],
        resource_schema_url=of_resource.get("schema_url") or "",
        scope=scope["name"],
        scope_version=scope.get("version") or "",
        scope_attributes=scope.get("attributes") or {},
        scope_schema_url=of_scope.get("schema_url") or "",
    )


def _sdk_value(data: dict[str, Any], item: dict[str, Any]) -> tuple[str, Any]:
    if "value" in item:
        return ("sum" if "is_monotonic" in data else "gauge"), item["value"]
    names = ["count", "sum", "min", "max"]
    if "bucket_counts" in item:
        kind, more = "histogram", ["bucket_counts", "explicit_bounds"]
    else:
        kind, more = "exponential_histogram", ["scale", "zero_count", "zero_threshold", "positive", "negative"]
    return kind, {name: item.get(name) for name in names + more}
